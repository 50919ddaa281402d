//! How long a link waits for its clusters before it runs.

use std::time::Duration;

use strait_flow::ports::{Class, PortError};
use strait_kafka::LinkTopicsError;
use strait_kafka::probe::ProbeError;
use tokio::time::Instant;

use super::RunError;

/// First and longest pause between two tries.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// For how long a cluster that has answered before may fail to answer a run that ends by itself: a broker that restarts, an
/// election.
const A_WHILE: Duration = Duration::from_secs(60);

/// What a link does when a cluster does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Goes on asking: other links run meanwhile, and the outage may be one that this link is there for.
    Endless,
    /// Asks for a minute, and not at all where the cluster has not answered once: somebody waits for the end of the run.
    Short,
}

/// The waits of one link.
pub struct Waits {
    patience: Patience,
    until: Instant,
    pause: Duration,
}

impl Waits {
    /// From now on.
    #[must_use]
    pub fn begin(patience: Patience) -> Self {
        Self { patience, until: Instant::now() + A_WHILE, pause: PAUSE.0 }
    }

    /// How long to wait before the next try; `None` where waiting does not mend the error, or has lasted long enough.
    pub fn after(&mut self, error: &RunError) -> Option<Duration> {
        let endless = self.patience == Patience::Endless;
        let passes = match error {
            RunError::Probe(ProbeError::Authentication { .. } | ProbeError::Setting { .. }) => false,
            RunError::Probe(_) => endless,
            RunError::Port(PortError { class, .. })
            | RunError::LinkTopics(LinkTopicsError::Port(PortError { class, .. })) => *class == Class::Retry,
            _ => false,
        };
        if !passes || (!endless && Instant::now() >= self.until) {
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
        PortError { class, context: "asking".to_owned(), reason: "no".to_owned() }.into()
    }

    fn down() -> RunError {
        let reason = "connection refused".to_owned();
        ProbeError::Refused { cluster: "a".to_owned(), servers: "a:1".to_owned(), reason }.into()
    }

    /// The seconds waited for when nothing but this error comes, at most nine times.
    async fn waited_s(patience: Patience, error: RunError) -> Vec<u64> {
        let (mut waits, mut all) = (Waits::begin(patience), Vec::new());
        while let Some(pause) = waits.after(&error).filter(|_| all.len() < 9) {
            all.push(pause.as_secs());
            tokio::time::sleep(pause).await;
        }
        all
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_waited_for_and_nothing_else_is() {
        use Patience::{Endless, Short};
        let refused = || {
            let (cluster, reason) = ("a".to_owned(), "wrong password".to_owned());
            RunError::from(ProbeError::Authentication { cluster, reason })
        };
        let (endless, none) = (vec![1, 2, 4, 8, 16, 30, 30, 30, 30], Vec::<u64>::new());
        assert_eq!(waited_s(Endless, error(Class::Retry)).await, endless);
        assert_eq!(waited_s(Endless, down()).await, endless);
        assert_eq!(waited_s(Endless, refused()).await, none);
        assert_eq!(waited_s(Endless, error(Class::Stop)).await, none);
        assert_eq!(waited_s(Short, error(Class::Retry)).await, [1, 2, 4, 8, 16, 30]);
        assert_eq!(waited_s(Short, down()).await, none);
    }
}
