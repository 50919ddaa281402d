//! Events about the coordinator of a link: the one process that does what concerns the link as a
//! whole.

use std::sync::Arc;

use super::Severity;

/// Something about the coordinator of a link has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoordinatorEvent {
    /// This process coordinates the link in place of one that has not said that it ended.
    #[error("this process has taken over as coordinator (owner {owner}): the one before has not said that it ended")]
    Began {
        /// Number of coordinators so far, with this one.
        owner: u64,
    },
    /// This process cannot coordinate the link any more, and retries.
    #[error("this process does not coordinate the link any more: {reason}; next attempt in {retry_ms} ms")]
    Lost {
        /// The reason.
        reason: String,
        /// Time until the next attempt, in milliseconds.
        retry_ms: u64,
    },
    /// This process has lane 0 and should coordinate the link, and cannot.
    #[error(
        "this process has lane 0 and has not coordinated the link for {silent_s} s, so nobody does; records are copied all the same: {reason}"
    )]
    Stuck {
        /// Time since it last did, or since it was given the lane, in seconds.
        silent_s: u64,
        /// The reason.
        reason: String,
    },
    /// Another process has lane 0, if any, and nothing is heard of a coordinator.
    #[error(
        "no process of the link has said for {silent_s} s that it coordinates the link, so each lists the source's topics every 30 s{}", because(.reason)
    )]
    Missing {
        /// Time since one last did, in seconds.
        silent_s: u64,
        /// Why this process cannot hear of one; empty if it can.
        reason: String,
    },
    /// There is a coordinator again.
    #[error("the link has a coordinator again after {silent_s} s")]
    Back {
        /// How long it had none, in seconds.
        silent_s: u64,
    },
    /// Work for the link as a whole fails. It is retried, and other work is not concerned.
    #[error("work for the link as a whole failed ({work}) and will be retried: {reason}")]
    WorkFailed {
        /// Name of the work.
        work: &'static str,
        /// The reason.
        reason: String,
    },
    /// Processes of the link have different settings for what concerns the link as a whole.
    #[error(
        "another process of the link has other settings ({other} and not {own}): whoever coordinates the link works by its own"
    )]
    SettingsDisagree {
        /// Hash of the settings of this process.
        own: Arc<str>,
        /// Hash of those of the other one.
        other: Arc<str>,
    },
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!("; this process cannot follow the control topic: {reason}") }
}

impl CoordinatorEvent {
    pub(super) fn severity(&self) -> Severity {
        match self {
            Self::Began { .. } | Self::Back { .. } => Severity::Info,
            _ => Severity::Warning,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Began { .. } => "coordinator_began",
            Self::Lost { .. } => "coordinator_lost",
            Self::Stuck { .. } => "coordinator_stuck",
            Self::Missing { .. } => "no_coordinator",
            Self::Back { .. } => "coordinator_back",
            Self::WorkFailed { .. } => "link_work_failed",
            Self::SettingsDisagree { .. } => "settings_disagree",
        }
    }

    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::Stuck { .. } => {
                "follow the reason: it needs the topic strait.<link>.control on the target and the transactional id \
                 strait.<link>.coordinator; strait check prints the command that grants a missing right"
            }
            Self::Missing { .. } => {
                "see that a process of the link has lane 0 (strait status), and what it says of the coordinator"
            }
            Self::SettingsDisagree { .. } => {
                "give every process of the link the same configuration, and restart those that have another one"
            }
            _ => "",
        }
    }
}
