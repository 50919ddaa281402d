//! Why a link ended.

use strait_core::progress::{LaneRecord, LinkIdentity};
use strait_flow::ports::PortError;
use strait_kafka::LinkTopicsError;

use crate::plugin_memory::PluginMemoryError;

/// Why a link, or the run of all of them, ended with an error.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A cluster cannot be used.
    #[error(transparent)]
    Probe(#[from] strait_kafka::probe::ProbeError),
    /// A plugin does not load.
    #[error(transparent)]
    Plugin(#[from] strait_host::LoadError),
    /// The plugins of a link did not load, and no file of theirs has changed since.
    #[error(
        "link {link} waits for plugins that load, and copies nothing: {fault}. It starts as soon as they do: a file that changes is loaded; other links run meanwhile"
    )]
    PluginsNotLoaded {
        /// Name of the link.
        link: String,
        /// The fault, and the remedy.
        fault: String,
    },
    /// The plugin engine does not start.
    #[error("the plugin engine does not start: {0}")]
    Engine(String),
    /// The plugins may need more memory than the process may give them.
    #[error(transparent)]
    PluginMemory(#[from] PluginMemoryError),
    /// The link's own topics are not as they must be.
    #[error(transparent)]
    LinkTopics(#[from] LinkTopicsError),
    /// The target has no transactions, and the link needs them.
    #[error("link {link}: {}", without_transactions(target))]
    NoTransactions {
        /// Name of the link.
        link: String,
        /// Its target cluster.
        target: String,
    },
    /// The copies of the link would be copied for ever.
    #[error("link {link}: {reason}; {remedy}")]
    Loop {
        /// Name of the link.
        link: String,
        /// How the copies come back.
        reason: String,
        /// The remedy.
        remedy: &'static str,
    },
    /// An operator's command has closed the link.
    #[error("link {link} is in standby and copies nothing: {reason}")]
    Standby {
        /// Name of the link.
        link: String,
        /// The command, and what to do.
        reason: String,
    },
    /// The lanes of the link refuse this process: they were resized, or belong to another
    /// configuration.
    #[error("link {link}: {reason}")]
    LaneRefused {
        /// Name of the link.
        link: String,
        /// The difference, and the remedy.
        reason: String,
    },
    /// A cluster refused a request for good.
    #[error(transparent)]
    Port(#[from] PortError),
    /// With `--until-caught-up`: partitions are stopped.
    #[error("link {link}: {count} of its partitions are stopped and were not copied to the end: {partitions}")]
    Stopped {
        /// Name of the link.
        link: String,
        /// Number of stopped partitions.
        count: usize,
        /// The first of them.
        partitions: String,
    },
    /// With `--until-caught-up`: topics that the configuration names cannot be described.
    #[error("link {link}: {topics} cannot be described and nothing of it was copied: {reason}")]
    Hidden {
        /// Name of the link.
        link: String,
        /// The topics.
        topics: String,
        /// The source's error about the first of them.
        reason: String,
    },
    /// With `--until-caught-up`: topics that the configuration names do not exist.
    #[error("link {link}: nothing was copied of topics that `topics` names: {topics}")]
    Missing {
        /// Name of the link.
        link: String,
        /// The topics, each with the reason.
        topics: String,
    },
    /// The board was made of another configuration: a bug.
    #[error("link {0} is not on the board: please report this as a bug")]
    NotOnBoard(String),
    /// A link's task panicked: a bug.
    #[error("link {0} panicked: please report this as a bug")]
    Panicked(String),
}

impl RunError {
    /// Returns why the lanes of a link do not take this process, by the record of its first lane.
    pub fn of_lane(link: &str, first: &LaneRecord, lanes: u32, identity: &LinkIdentity) -> Option<Self> {
        let link = link.to_owned();
        match first.closing() {
            Some(reason) => Some(Self::Standby { link, reason }),
            None => first.refusal(lanes, identity).map(|reason| Self::LaneRefused { link, reason }),
        }
    }
}

/// At-least-once delivery on a target without idempotent producers.
pub const WITHOUT_IDEMPOTENCE: &str = "the target has no idempotent producers: one request is in flight to each broker, which keeps the order, and a request that is retried after a lost answer can write its records twice";

/// Returns what a target without transactions means for a link that needs them.
#[must_use]
pub fn without_transactions(target: &str) -> String {
    format!(
        "cluster {target} has no transactions, which delivery = \"exactly-once\" needs: delivery = \"at-least-once\" would work"
    )
}

impl RunError {
    /// Returns whether a retry can only succeed after the configuration, or a plugin that it names,
    /// was changed.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::Plugin(_)
                | Self::PluginMemory(_)
                | Self::LinkTopics(LinkTopicsError::Lanes { .. })
                | Self::NoTransactions { .. }
                | Self::Loop { .. }
        )
    }
}
