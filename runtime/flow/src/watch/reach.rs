//! Whether a cluster answers, and whether the group has this process as a member. Pure: it is told
//! of answers and failures.

use std::time::Duration;

use crate::status::Unreachable;

/// A cluster that has given no answer for this long, and whose last request failed, is unreachable.
const SILENT: Duration = Duration::from_secs(15);

/// A change of whether a cluster answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It does not answer any more.
    Lost {
        /// Time since its last answer.
        silent: Duration,
        /// The last error.
        reason: String,
    },
    /// It answers again.
    Back {
        /// How long it did not.
        silent: Duration,
    },
}

/// Whether one cluster answers.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    /// Its last answer: by the link's clock, and in milliseconds since the Unix epoch.
    answered: (Duration, i64),
    /// The error of the last request.
    failure: Option<String>,
    /// When the silence began that was reported.
    reported: Option<Duration>,
    /// The count of the cluster's answers to any client of this process, when it was last read.
    answers: u64,
}

impl Reach {
    /// A cluster that has answered at this time.
    pub fn new(now: Duration, now_ms: i64) -> Self {
        Self { answered: (now, now_ms), failure: None, reported: None, answers: 0 }
    }

    /// Takes the count of answers to any client of this process. One question that fails, as it
    /// needs a controller, say, is no outage of a cluster that answers others.
    pub fn counted(&mut self, answers: u64, now: Duration, now_ms: i64) {
        if self.answers != answers {
            self.answers = answers;
            self.answered(now, now_ms);
        }
    }

    /// It answered.
    pub fn answered(&mut self, now: Duration, now_ms: i64) {
        self.answered = (now, now_ms);
        self.failure = None;
    }

    /// A request failed.
    pub fn failed(&mut self, reason: String) {
        self.failure = Some(reason);
    }

    /// Returns the error of the last request, if it failed.
    pub fn failure(&self) -> Option<&String> {
        self.failure.as_ref()
    }

    /// Returns what has changed since the last call.
    pub fn change(&mut self, now: Duration) -> Option<Change> {
        let silent = now.saturating_sub(self.answered.0);
        match (&self.failure, self.reported) {
            (Some(reason), None) if silent >= SILENT => {
                self.reported = Some(self.answered.0);
                Some(Change::Lost { silent, reason: reason.clone() })
            }
            (None, Some(since)) => {
                self.reported = None;
                Some(Change::Back { silent: self.answered.0.saturating_sub(since) })
            }
            _ => None,
        }
    }

    /// Returns why it counts as unreachable.
    pub fn unreachable(&self) -> Option<Unreachable> {
        let reason = self.failure.clone().filter(|_| self.reported.is_some())?;
        Some(Unreachable { since_ms: self.answered.1, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn a_silent_cluster_is_reported_once_and_its_return_too() {
        let mut reach = Reach::new(Duration::ZERO, 1_000);
        assert_eq!(reach.change(100 * S), None, "nothing was asked");
        reach.failed("refused".to_owned());
        assert_eq!(reach.change(14 * S), None);
        assert_eq!(reach.unreachable(), None);
        reach.failed("timed out".to_owned());
        assert_eq!(reach.change(15 * S), Some(Change::Lost { silent: 15 * S, reason: "timed out".to_owned() }));
        assert_eq!(reach.change(20 * S), None);
        assert_eq!(reach.unreachable().map(|u| (u.since_ms, u.reason)), Some((1_000, "timed out".to_owned())));
        reach.answered(40 * S, 41_000);
        assert_eq!(reach.unreachable(), None);
        assert_eq!(reach.change(45 * S), Some(Change::Back { silent: 40 * S }));
        assert_eq!(reach.change(50 * S), None);
    }

    #[test]
    fn a_cluster_that_answers_other_clients_is_not_silent() {
        let mut reach = Reach::new(Duration::ZERO, 0);
        for second in 1..10 {
            reach.failed("waiting for the controller".to_owned());
            reach.counted(u64::from(second), second * 5 * S, 0);
            reach.failed("waiting for the controller".to_owned());
            assert_eq!(reach.change(second * 5 * S), None);
        }
        // Nobody has an answer any more.
        reach.counted(9, 59 * S, 0);
        assert_eq!(reach.change(59 * S), None);
        reach.counted(9, 60 * S, 0);
        assert!(matches!(reach.change(60 * S), Some(Change::Lost { .. })));
        reach.counted(10, 65 * S, 0);
        assert_eq!(reach.change(65 * S), Some(Change::Back { silent: 20 * S }));
    }

    #[test]
    fn one_failure_between_answers_is_no_outage() {
        let mut reach = Reach::new(Duration::ZERO, 0);
        reach.failed("lost".to_owned());
        reach.answered(20 * S, 0);
        assert_eq!(reach.change(36 * S), None);
    }
}
