//! Which source records a reader of the target has read.

use super::FoldedMap;
use crate::offset::{SourceOffset, TargetOffset};

/// Returns the source offset of the first record whose copy is at or above `target` in a target
/// partition, or of the last one plus 1: the next source offset of a reader that has read so far.
/// `None` if the map has no record there, or does not reach back so far.
#[must_use]
pub fn inverse(
    map: &FoldedMap,
    target_partition: i32,
    target: TargetOffset,
    map_is_whole: bool,
) -> Option<SourceOffset> {
    let is_whole = map_is_whole && !map.has_forgotten();
    let mut runs = map.runs().iter().filter(|run| run.target_partition == target_partition).peekable();
    let begins = runs.peek().map(|run| run.target)?;
    if target < begins && !is_whole {
        return None;
    }
    let mut last = None;
    for run in runs {
        last = Some(run.end());
        if run.target_end() > target {
            let inside = target.0.saturating_sub(run.target.0).max(0);
            return Some(SourceOffset(run.source.0.saturating_add(inside)));
        }
    }
    last
}
