//! How long a link is retried before it runs.

use std::time::Duration;

use strait_flow::ports::{Class, PortError};
use strait_kafka::LinkTopicsError;
use strait_kafka::probe::ProbeError;
use tokio::time::Instant;

use super::RunError;

/// First and longest pause between two attempts.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How often it is looked whether plugins that did not load have been replaced.
const PLUGINS: Duration = Duration::from_secs(1);
/// How often it is looked whether the command that has closed a link has ended.
const STANDBY: Duration = Duration::from_secs(5);
/// How long a run that ends by itself retries a cluster that has answered before: enough for a
/// broker restart or an election.
const SHORT: Duration = Duration::from_secs(60);

/// How long a link retries clusters that do not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Until it is stopped: other links run meanwhile, and the outage may be the one that this link
    /// is for.
    Endless,
    /// For a minute, and not at all where a cluster has never answered: somebody waits for the run
    /// to end.
    Short,
}

/// The retries of one link.
pub struct StartupRetry {
    patience: Patience,
    until: Instant,
    pause: Duration,
}

impl StartupRetry {
    /// Starts to count from now on.
    #[must_use]
    pub fn new(patience: Patience) -> Self {
        Self { patience, until: Instant::now() + SHORT, pause: PAUSE.0 }
    }

    /// Returns the pause before the next attempt; `None` where a retry does not help, or patience
    /// is over.
    pub fn pause_after(&mut self, error: &RunError) -> Option<Duration> {
        let endless = self.patience == Patience::Endless;
        if matches!(error, RunError::PluginsNotLoaded { .. }) {
            return Some(PLUGINS);
        }
        if matches!(error, RunError::Standby { .. }) {
            return endless.then_some(STANDBY);
        }
        let is_passing = match error {
            RunError::Probe(ProbeError::Authentication { .. } | ProbeError::Setting { .. }) => false,
            RunError::Probe(_) => endless,
            RunError::Port(PortError { class, .. })
            | RunError::LinkTopics(LinkTopicsError::Port(PortError { class, .. })) => {
                // The probe has logged in before.
                matches!(class, Class::Retry | Class::Login)
            }
            _ => false,
        };
        if !is_passing || (!endless && Instant::now() >= self.until) {
            return None;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSE.1);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(class: Class) -> RunError {
        PortError::new(class, "asking", "no").into()
    }

    fn down() -> RunError {
        let reason = "connection refused".to_owned();
        ProbeError::Refused { cluster: "a".to_owned(), servers: "a:1".to_owned(), reason }.into()
    }

    /// The pauses in seconds where every attempt ends with this error; nine at most.
    async fn pauses_s(patience: Patience, error: RunError) -> Vec<u64> {
        let (mut retry, mut all) = (StartupRetry::new(patience), Vec::new());
        while let Some(pause) = retry.pause_after(&error).filter(|_| all.len() < 9) {
            all.push(pause.as_secs());
            tokio::time::sleep(pause).await;
        }
        all
    }

    #[tokio::test(start_paused = true)]
    async fn only_passing_errors_are_retried_and_a_run_that_ends_by_itself_stops_after_a_minute() {
        use Patience::{Endless, Short};
        let refused = || {
            let (cluster, reason) = ("a".to_owned(), "wrong password".to_owned());
            RunError::from(ProbeError::Authentication { cluster, said: String::new(), reason })
        };
        let (endless, none) = (vec![1, 2, 4, 8, 16, 30, 30, 30, 30], Vec::<u64>::new());
        assert_eq!(pauses_s(Endless, error(Class::Retry)).await, endless);
        assert_eq!(pauses_s(Endless, down()).await, endless);
        assert_eq!(pauses_s(Endless, refused()).await, none);
        assert_eq!(pauses_s(Endless, error(Class::Stop)).await, none);
        assert_eq!(pauses_s(Short, error(Class::Retry)).await, [1, 2, 4, 8, 16, 30]);
        assert_eq!(pauses_s(Short, down()).await, none);
    }
}
