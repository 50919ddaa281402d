//! Which source records a reader of the target has read.

use super::FoldedMap;
use crate::offset::{SourceOffset, TargetOffset};

/// The source position of a reader of a target partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inverse {
    /// The next source offset to read.
    pub offset: SourceOffset,
    /// Whether the reader has read all records before it that were copied, and none behind it.
    pub is_exact: bool,
}

/// Returns the source offset of the first record whose copy is at or above `target` in a target
/// partition, or of the last one plus 1. `None` if the map has no record there.
///
/// The answer is not exact where the map has forgotten older runs and the position may be among
/// them.
#[must_use]
pub fn inverse(map: &FoldedMap, target_partition: i32, target: TargetOffset, map_is_whole: bool) -> Option<Inverse> {
    let mut runs = map.runs().iter().filter(|run| run.target_partition == target_partition).peekable();
    let begins = runs.peek().map(|run| run.target)?;
    let mut last = None;
    for run in runs {
        last = Some(run.end());
        if run.target_end() > target {
            let inside = target.0.saturating_sub(run.target.0).max(0);
            let is_exact = target > begins || (map_is_whole && !map.has_forgotten());
            return Some(Inverse { offset: SourceOffset(run.source.0.saturating_add(inside)), is_exact });
        }
    }
    last.map(|offset| Inverse { offset, is_exact: true })
}
