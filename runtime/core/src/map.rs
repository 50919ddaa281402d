//! The offset map: which source offset became which target offset, exactly.
//!
//! One record per source partition and commit in `strait.<link>.map`, written in the same transaction as the data.
//!
//! Layout of a value, all integers LEB128 varints (zigzag where they may be negative):
//! version (1), flags (bit 0: inexact), first source offset, next source offset, number of runs, then for each run
//! the target partition (zigzag delta), the gap to the run before in source offsets, the target offset (zigzag delta to the
//! end of the run before on any partition), the number of records, and the stride kind (0: consecutive on both sides).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::offset::{SourceOffset, TargetOffset};
use crate::topic::PartitionKey;

/// Consecutive source offsets that became consecutive offsets of one target partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// First source offset.
    pub source: SourceOffset,
    /// Partition of the target topic.
    pub target_partition: i32,
    /// Target offset of the first.
    pub target: TargetOffset,
    /// Number of records.
    pub count: u32,
}

/// What one commit did to one source partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapRecord {
    /// The source partition.
    pub partition: PartitionKey,
    /// The target topic.
    pub target_topic: Arc<str>,
    /// First source offset that this commit covers.
    pub first: SourceOffset,
    /// The next one after it.
    pub next: SourceOffset,
    /// Kept records, ascending by source offset. Offsets between runs were dropped, aborted, compacted or control records.
    pub runs: Vec<Run>,
}
