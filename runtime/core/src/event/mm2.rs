//! Events about the topics that a link writes for MirrorMaker 2's clients.

use std::sync::Arc;

use super::Severity;

/// A topic for MirrorMaker 2's clients can be written, or cannot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mm2Event {
    /// It cannot be written. Everything else goes on.
    #[error(
        "topic {topic} on cluster {cluster}, for MirrorMaker 2's clients, cannot be written: {reason}; it is not written at all with {without}; next attempt in {retry_ms} ms"
    )]
    Unwritable {
        /// Name of the topic.
        topic: Arc<str>,
        /// Name of its cluster.
        cluster: Arc<str>,
        /// The reason, and what to do.
        reason: String,
        /// The option that switches it off.
        without: &'static str,
        /// Time until the next attempt, in milliseconds.
        retry_ms: u64,
    },
    /// It can be written again.
    #[error("topic {topic} on cluster {cluster}, for MirrorMaker 2's clients, is written again")]
    Writable {
        /// Name of the topic.
        topic: Arc<str>,
        /// Name of its cluster.
        cluster: Arc<str>,
    },
}

impl Mm2Event {
    pub(super) fn severity(&self) -> Severity {
        match self {
            Self::Unwritable { .. } => Severity::Warning,
            Self::Writable { .. } => Severity::Info,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Unwritable { .. } => "mm2_unwritable",
            Self::Writable { .. } => "mm2_writable",
        }
    }

    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::Unwritable { .. } => {
                "follow the reason: grant Create, Describe and Write on the topic (strait acl print has the commands), \
                 or switch it off with the option that the event names"
            }
            Self::Writable { .. } => "",
        }
    }
}
