//! The part of a position that its partition's window knows.

use std::sync::Arc;

use strait_core::{LeaderEpoch, SourceOffset};

use super::Accounted;

/// The part of a position that its partition's window knows.
#[derive(Debug)]
pub(crate) struct Written {
    /// The next source offset: everything before it is settled.
    pub next: SourceOffset,
    /// Leader epoch of the last record before it.
    pub leader_epoch: LeaderEpoch,
    /// The plugins that judged that record.
    pub generation: Arc<str>,
    /// The parts of the position besides its offset.
    pub accounted: Accounted,
}
