//! Events about what a link as a whole depends on: its clusters.

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
}

impl Outage {
    pub(super) fn severity(&self) -> Severity {
        match self {
            Self::Reachable { .. } => Severity::Info,
            Self::Unreachable { .. } => Severity::Error,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Unreachable { side: Side::Source, .. } => "source_unreachable",
            Self::Unreachable { side: Side::Target, .. } => "target_unreachable",
            Self::Reachable { side: Side::Source, .. } => "source_reachable",
            Self::Reachable { side: Side::Target, .. } => "target_reachable",
        }
    }
}
