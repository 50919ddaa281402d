//! The offset map: the exact target offset of each source offset.
//!
//! One or more records per source partition, target topic and commit in `strait.<link>.map`,
//! written in the same transaction as the data. A commit that kept no record writes none. `codec`
//! has the bytes, `fold` puts the records of many commits together, `answer` and `inverse`
//! translate offsets with it, and `offset_syncs` picks pairs for MirrorMaker 2's readers.

mod answer;
mod back;
mod build;
mod codec;
mod fold;
mod inverse;
mod link_map;
mod live;
pub mod offset_syncs;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use answer::{Answer, Exactness, NoAnswer, SourceSide, TargetSide, Why, translate};
pub use back::Back;
pub use build::MapBuilder;
pub use fold::FoldedMap;
pub use inverse::inverse;
pub use link_map::{LinkMap, MAP_MEMORY_BYTES, TooManyRuns};
pub use live::{Answered, LiveMap};

use crate::offset::{SourceOffset, TargetOffset};
use crate::topic::{PartitionKey, TopicId};

/// Map records are split at this many runs, so that a value stays well below a broker's default
/// message size limit.
pub const RUNS_PER_RECORD_MAX: usize = 20_000;

/// Consecutive source offsets at consecutive offsets of one target partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// First source offset of the run.
    pub source: SourceOffset,
    /// Partition of the target topic.
    pub target_partition: i32,
    /// Target offset of the first record.
    pub target: TargetOffset,
    /// Number of records.
    pub count: u32,
}

impl Run {
    /// Returns the source offset after the last one of the run.
    #[must_use]
    pub fn end(&self) -> SourceOffset {
        SourceOffset(self.source.0.saturating_add(i64::from(self.count)))
    }

    /// Returns the target offset after the last record of the run.
    #[must_use]
    pub fn target_end(&self) -> TargetOffset {
        TargetOffset(self.target.0.saturating_add(i64::from(self.count)))
    }
}

/// Why the records of a map record are on the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MapKind {
    /// The link copied them, in source order. Only these answer for an offset.
    #[default]
    Copy,
    /// They were replayed from quarantine, behind newer ones.
    Replay,
    /// A repair added what was missing.
    Repair,
}

/// The offsets that one commit mapped, for one source partition and target topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapRecord {
    /// The source partition.
    pub partition: PartitionKey,
    /// The target topic.
    pub target_topic: Arc<str>,
    /// Id of this incarnation of the target topic. Unknown in records of version 1, and where the
    /// cluster gives none.
    pub target_id: TopicId,
    /// Why the records are there.
    pub kind: MapKind,
    /// First source offset that this record covers.
    pub first: SourceOffset,
    /// The source offset after the last one that this record covers.
    pub next: SourceOffset,
    /// Copied records, ascending by source offset. Copies of one source record are separate runs
    /// with the same source offset, in the order of the copies; further ones than a record has room
    /// for are in the next map record, whose first run then begins one before `first`. Offsets
    /// between runs were dropped, aborted, compacted or control records.
    pub runs: Vec<Run>,
}

/// A map record that cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("offset map record cannot be read: {reason}")]
pub struct MapError {
    /// The reason.
    pub reason: String,
}

#[cfg(test)]
mod tests;
