//! Why a partition is not read.

use std::time::Duration;

use crate::status::Activity;

/// Why a partition is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// Stopped by policy, or by a fault that time does not repair.
    Stopped,
    /// Retried at this time: the target does not take its records, or the source does not give
    /// them.
    Waiting {
        /// When it is retried.
        retry_at: Duration,
    },
    /// An operator must act. Retried at this time, in case that has been done.
    NeedsOperator {
        /// When it is retried.
        retry_at: Duration,
    },
}

impl Pause {
    /// Returns whether it is due for a retry.
    pub fn is_due(self, now: Duration) -> bool {
        match self {
            Self::Stopped => false,
            Self::Waiting { retry_at } | Self::NeedsOperator { retry_at } => retry_at <= now,
        }
    }

    /// Returns the activity that status shows for a partition with this pause.
    pub fn activity(pause: Option<Self>) -> Activity {
        match pause {
            None => Activity::Running,
            Some(Self::Stopped | Self::NeedsOperator { .. }) => Activity::Stopped,
            Some(Self::Waiting { .. }) => Activity::Stuck,
        }
    }
}
