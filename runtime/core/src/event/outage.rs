//! Events about what a link as a whole depends on: its clusters, its group, and the list of its
//! topics.

use std::sync::Arc;

use super::{Severity, Side};

/// Something that a link depends on is away, or back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Outage {
    /// A cluster of the link has not answered for a while.
    #[error("the {side} has not answered for {silent_s} s: {reason}")]
    Unreachable {
        /// The source or the target.
        side: Side,
        /// Time since the last answer, in seconds.
        silent_s: u64,
        /// The last error, and what to do.
        reason: String,
    },
    /// A cluster that was unreachable answers again.
    #[error("the {side} answers again after {silent_s} s")]
    Reachable {
        /// The source or the target.
        side: Side,
        /// How long it did not answer, in seconds.
        silent_s: u64,
    },
    /// The link's group has not had this process as a member for a while.
    #[error(
        "this process has not been a member of the link's group for {silent_s} s, so it is given no lanes: {reason}"
    )]
    NotInGroup {
        /// Time since it was a member, or since the link began, in seconds.
        silent_s: u64,
        /// The last error, and what to do.
        reason: String,
    },
    /// This process is a member of the link's group again.
    #[error("this process is a member of the link's group again after {silent_s} s")]
    InGroupAgain {
        /// How long it was none, in seconds.
        silent_s: u64,
    },
    /// The source has not listed its topics for this process for a while, and answers otherwise.
    #[error(
        "the source has not listed its topics for this process for {silent_s} s, so it finds no new topics and partitions; those that it knows are copied: {reason}"
    )]
    TopicsNotListed {
        /// Time since the last list, or since the link began, in seconds.
        silent_s: u64,
        /// The last error, and what to do.
        reason: String,
    },
    /// The source lists its topics again.
    #[error("the source lists its topics again after {silent_s} s")]
    TopicsListedAgain {
        /// How long it did not, in seconds.
        silent_s: u64,
    },
    /// An operator's command has closed the lane, or the link where none is named. It waits until
    /// the command opens it again.
    #[error("{} in standby and copies nothing: {reason}", lane.map_or_else(|| "the link is".to_owned(), |lane| format!("lane {lane} is")))]
    Standby {
        /// Number of the lane.
        lane: Option<u32>,
        /// The command, and what to do.
        reason: String,
    },
    /// The link does not run any more in this process.
    #[error("the link has ended, and this process copies nothing of it any more: {reason}")]
    LinkEnded {
        /// The reason, and what to do.
        reason: String,
    },
    /// A topic that the configuration names cannot be described, so nothing of it is copied.
    #[error("source topic {topic} cannot be described, and nothing of it is copied: {reason}")]
    TopicHidden {
        /// Name of the topic.
        topic: Arc<str>,
        /// The source's error, and what to do.
        reason: String,
    },
    /// A topic that the configuration names does not exist, so nothing of it is copied.
    #[error("source topic {topic} does not exist, and nothing of it is copied{}", meant.as_ref().map(|meant| format!("; did you mean '{meant}'?")).unwrap_or_default())]
    TopicMissing {
        /// Name of the topic.
        topic: Arc<str>,
        /// The topic that may be meant.
        meant: Option<Arc<str>>,
    },
}

impl Outage {
    pub(super) fn severity(&self) -> Severity {
        match self {
            Self::Reachable { .. } | Self::InGroupAgain { .. } | Self::TopicsListedAgain { .. } => Severity::Info,
            Self::TopicMissing { .. } | Self::Standby { .. } => Severity::Warning,
            Self::Unreachable { .. }
            | Self::NotInGroup { .. }
            | Self::TopicsNotListed { .. }
            | Self::LinkEnded { .. }
            | Self::TopicHidden { .. } => Severity::Error,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Unreachable { side: Side::Source, .. } => "source_unreachable",
            Self::Unreachable { side: Side::Target, .. } => "target_unreachable",
            Self::Reachable { side: Side::Source, .. } => "source_reachable",
            Self::Reachable { side: Side::Target, .. } => "target_reachable",
            Self::NotInGroup { .. } => "not_in_group",
            Self::InGroupAgain { .. } => "in_group_again",
            Self::TopicsNotListed { .. } => "topics_not_listed",
            Self::TopicsListedAgain { .. } => "topics_listed_again",
            Self::Standby { .. } => "standby",
            Self::LinkEnded { .. } => "link_ended",
            Self::TopicHidden { .. } => "topic_hidden",
            Self::TopicMissing { .. } => "topic_missing",
        }
    }

    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::NotInGroup { .. } => {
                "see that the target's group coordinator answers, and grant Read and Describe on the group strait.<link>"
            }
            Self::TopicsNotListed { .. } => {
                "see that this process reaches every broker of the source; meanwhile the others list the topics themselves"
            }
            Self::LinkEnded { .. } => "mend the reason and restart the process; other links run meanwhile",
            Self::TopicHidden { .. } => "grant Read and Describe on the source topic, or remove it from topics",
            Self::TopicMissing { .. } => {
                "correct the name in topics, or create the topic; it is looked for all the time"
            }
            _ => "",
        }
    }
}
