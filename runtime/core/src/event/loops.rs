//! Events about links whose copies would be copied for ever.

use std::sync::Arc;

use super::Severity;

/// The copies of a link are, or come back to, what it copies.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoopEvent {
    /// Source and target are one Kafka cluster under two names, and copies have the names of their
    /// topics. The link does not start.
    #[error(
        "source and target are one Kafka cluster under two names (id {id}), where each topic would be copied into itself (naming = \"identity\"): the link does not start"
    )]
    OneCluster {
        /// Id of the cluster.
        id: Arc<str>,
    },
    /// Another link copies the same topics in the opposite direction.
    #[error(
        "link {other} copies {topics} from the target of this link to its source, where this link copies them back{}", if *refused { ": the link does not start" } else { ", unless a plugin of either link ends that" }
    )]
    Opposite {
        /// Name of the other link.
        other: Arc<str>,
        /// The topics of the target that come back to it.
        topics: String,
        /// Whether the link does not start for it.
        refused: bool,
    },
}

impl LoopEvent {
    pub(super) fn severity(&self) -> Severity {
        match self {
            Self::OneCluster { .. } | Self::Opposite { refused: true, .. } => Severity::Error,
            Self::Opposite { refused: false, .. } => Severity::Warning,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::OneCluster { .. } => "one_cluster",
            Self::Opposite { .. } => "opposite_link",
        }
    }

    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::OneCluster { .. } => "correct bootstrap_servers of one of the two clusters, and restart",
            Self::Opposite { .. } => {
                "leave the topics out of one of the links (topics_exclude), or stop the other link, and restart"
            }
        }
    }
}
