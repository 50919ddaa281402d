//! Why an attempt at a lane ended early.

use std::sync::Arc;

use strait_core::PartitionKey;

use crate::ports::PortError;

/// The reason why an attempt ended before the lane was asked to stop. The supervisor takes the
/// lane again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaneError {
    /// A port failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The acknowledgements do not match the ledger, or it is not known whether a record was
    /// written.
    #[error("{0}")]
    Delivery(String),
    /// The target refused a record. The next attempt knows which records to treat with caution.
    #[error("the target refused a record: {0}")]
    Refused(String),
    /// A partition leaves the flow because the target does not acknowledge its records, or could
    /// join it again.
    #[error("stuck at the target: {0}")]
    Stuck(String),
    /// A target topic is another one than before. The next attempt finds the partitions concerned.
    #[error("target topic {0} was deleted, or deleted and created again")]
    TargetChanged(Arc<str>),
    /// A source partition lost records below its progress. The next attempt goes back.
    #[error("{0} was truncated below the copied offset")]
    Truncated(PartitionKey),
    /// The plugins would protect less than the border of the lane.
    #[error(
        "the plugins would protect less than those before: {losses}; put them back, or agree with accept = \"{digest}\""
    )]
    Looser {
        /// The generation: names, digests and configurations of the plugins.
        generation: Arc<str>,
        /// Its digest.
        digest: Arc<str>,
        /// How they would protect less.
        losses: String,
    },
    /// An operator's command has closed the lane. It stands by until the command has ended.
    #[error("{0}")]
    Closed(String),
    /// This process cannot use the lane any more.
    #[error("{0}")]
    Unusable(String),
    /// The lane is in a state that no sequence of events should lead to.
    #[error("{0}: please report this as a bug")]
    Impossible(String),
}

impl LaneError {
    /// Returns an error for a state that should not exist.
    pub fn impossible(state: impl Into<String>) -> Self {
        Self::Impossible(state.into())
    }
}
