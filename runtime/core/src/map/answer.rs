//! Where a reader of source partitions resumes on the target.
//!
//! The answer never skips a copied record at or above the reader's position. It is exact where it
//! repeats none below it.

use super::FoldedMap;
use crate::offset::{SourceOffset, TargetOffset};
use crate::progress::{Position, Tail};
use crate::topic::{PartitionKey, TopicId};

/// A source partition, as far as it has records in the target partition in question.
#[derive(Clone, Copy, Debug)]
pub struct SourceSide<'a> {
    /// The partition.
    pub key: &'a PartitionKey,
    /// The next source offset that the reader would read, or `None` if it has no position there.
    pub position: Option<SourceOffset>,
    /// The link's position.
    pub progress: Option<&'a Position>,
    /// The offset map of this partition and the target topic.
    pub map: Option<&'a FoldedMap>,
    /// Whether the map reaches back to the link's first record: nothing of it has expired.
    pub map_is_whole: bool,
}

/// A target partition.
#[derive(Clone, Copy, Debug)]
pub struct TargetSide<'a> {
    /// Name of the topic.
    pub topic: &'a str,
    /// Id of the topic; unknown where the cluster gives none.
    pub id: TopicId,
    /// Partition number.
    pub partition: i32,
    /// The first offset of the log.
    pub start: TargetOffset,
    /// The last stable offset.
    pub end: TargetOffset,
}

/// How good an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exactness {
    /// The reader continues with exactly the records that it would read next.
    Exact,
    /// It reads this many records again. Several source partitions feed the target partition, and
    /// the reader is further in one of them.
    ReReads(u64),
    /// It may read records again; how many is not known.
    Inexact(Why),
}

/// Why an answer is not exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The position is older than the map reaches back: the answer is the start of the target's
    /// log.
    BeforeMap,
    /// The reader has read records that the link has not copied yet: it would read them again.
    Ahead,
    /// The link delivers at least once: records may be on the target twice.
    AtLeastOnce,
    /// Several source partitions feed the target partition, and older parts of the map have expired
    /// or were left out to save memory: what is read again cannot be counted.
    MapCut,
}

/// Where the reader resumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The next target offset to read.
    pub offset: TargetOffset,
    /// How good the answer is.
    pub exactness: Exactness,
    /// By how many source offsets the reader is ahead of the link: these records are still to come,
    /// and the reader would read them again.
    pub ahead: i64,
    /// Source offsets from the reader's position to the first one that the link ever copied.
    pub not_copied: i64,
    /// Source offsets between the reader's position and the record that the answer is the copy of:
    /// the chain left them out, or they hold no record. Where several source partitions feed the
    /// target partition, the sum.
    pub left_out: i64,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// The reader has no position in these source partitions, whose records are also there.
    NoCommit(Vec<PartitionKey>),
    /// The target topic was created again since: the map is of another log.
    TargetRecreated,
    /// Progress names copies that the map does not have yet.
    Pending(PartitionKey),
    /// The position is older than what the memory holds of the map.
    NotInMemory(PartitionKey),
}

impl SourceSide<'_> {
    fn tails<'a>(&'a self, target: &'a TargetSide<'_>) -> impl Iterator<Item = &'a Tail> {
        let tails = self.progress.map(|position| position.tails.list()).unwrap_or_default();
        tails.iter().filter(|tail| *tail.topic == *target.topic)
    }

    /// Returns the offset after the last copy on the target, by map and progress.
    pub(super) fn end(&self, target: &TargetSide<'_>) -> Option<TargetOffset> {
        let by_tails = self.tails(target).find(|tail| tail.partition == target.partition).map(|tail| tail.end);
        by_tails.max(self.map.and_then(|map| map.end_in(target.partition)))
    }

    /// Returns whether the map lacks the last copies that progress names, and the next record of
    /// the reader may be one of them. Both are written together, and become visible one after the
    /// other.
    fn is_behind(&self, target: &TargetSide<'_>) -> bool {
        let by_map = self.map.and_then(|map| map.end_in(target.partition));
        let lacks = by_map.is_some_and(|end| self.end(target).is_some_and(|tail| end < tail));
        let is_settled = self.progress.zip(self.position).is_none_or(|(progress, position)| position >= progress.next);
        let position = self.position.unwrap_or_default();
        lacks && !is_settled && self.map.is_some_and(|map| map.first_kept(position, target.partition).is_none())
    }

    /// Returns the target offset from which on the map has all copies; `None` if it has all there
    /// ever were.
    fn known_from(&self, target: &TargetSide<'_>) -> Option<TargetOffset> {
        if self.map_is_whole && !self.map.is_some_and(FoldedMap::has_forgotten) {
            return None;
        }
        let mut runs = self.map.map(FoldedMap::runs).unwrap_or_default().iter();
        let first = runs.find(|run| run.target_partition == target.partition).map(|run| run.target);
        first.or_else(|| self.end(target))
    }

    /// Returns whether what is known is of another incarnation of the target topic.
    pub(super) fn is_former(&self, target: &TargetSide<'_>) -> bool {
        let ids = self.tails(target).map(|tail| tail.id).chain(self.map.map(FoldedMap::target_id));
        ids.into_iter().any(|id| id.is_other_than(target.id))
    }
}

/// Returns where a reader resumes in a target partition. `sources` are the source partitions that
/// have, or may have, records there; `exactly_once` is how the link delivers.
///
/// # Errors
/// [`NoAnswer`].
pub fn translate(sources: &[SourceSide<'_>], target: &TargetSide<'_>, exactly_once: bool) -> Result<Answer, NoAnswer> {
    if sources.iter().any(|source| source.is_former(target)) {
        return Err(NoAnswer::TargetRecreated);
    }
    let there: Vec<&SourceSide<'_>> = sources.iter().filter(|source| source.end(target).is_some()).collect();
    let silent: Vec<PartitionKey> =
        there.iter().filter(|source| source.position.is_none()).map(|source| source.key.clone()).collect();
    if !silent.is_empty() {
        return Err(NoAnswer::NoCommit(silent));
    }
    if let Some(source) = there.iter().find(|source| source.is_behind(target)) {
        return Err(NoAnswer::Pending(source.key.clone()));
    }
    let nexts: Vec<Next> = there.iter().filter_map(|source| next_of(source, target)).collect();
    let first = nexts.iter().filter_map(|next| next.first).min();
    let end = there.iter().filter_map(|source| source.end(target)).max();
    // Without a record of ours everything that follows is new.
    let offset = first.or(end).unwrap_or(target.end);
    // Records between the start of the log and the answer are older ones, or there are none.
    let is_before_map = nexts.iter().any(|next| next.is_before_map) && offset > target.start;
    let offset = if is_before_map { target.start } else { offset.max(target.start).min(target.end) };
    let behind: u64 = there
        .iter()
        .filter_map(|source| Some(source.map?.copies_behind(source.position?, target.partition, offset)))
        .sum();
    let is_cut = there.iter().any(|source| source.known_from(target).is_some_and(|known| offset < known));
    // Without a record of ours, those that the reader has read may still come.
    let ahead = if there.is_empty() { sources.iter().collect() } else { there };
    let ahead = ahead.into_iter().filter_map(|source| next_of(source, target)).map(|next| next.ahead);
    let ahead = ahead.fold(0, i64::saturating_add);
    let exactness = match behind {
        _ if is_before_map => Exactness::Inexact(Why::BeforeMap),
        _ if ahead > 0 => Exactness::Inexact(Why::Ahead),
        _ if !exactly_once => Exactness::Inexact(Why::AtLeastOnce),
        _ if is_cut => Exactness::Inexact(Why::MapCut),
        0 => Exactness::Exact,
        behind => Exactness::ReReads(behind),
    };
    let sum = |of: fn(&Next) -> i64| nexts.iter().map(of).fold(0, i64::saturating_add);
    Ok(Answer {
        offset,
        exactness,
        ahead,
        not_copied: sum(|next| next.not_copied),
        left_out: sum(|next| next.left_out),
    })
}

/// The records that follow a reader's position in one source partition.
struct Next {
    /// Target offset of the first copied record at or above the position.
    first: Option<TargetOffset>,
    is_before_map: bool,
    ahead: i64,
    not_copied: i64,
    left_out: i64,
}

fn next_of(source: &SourceSide<'_>, target: &TargetSide<'_>) -> Option<Next> {
    let position = source.position?;
    let first = source.map.and_then(|map| map.first_kept(position, target.partition));
    let settled = source.progress.map(|progress| progress.next);
    let origin = source.progress.and_then(|progress| progress.origin);
    let begins = origin.map_or(position, |origin| origin.max(position));
    // Without a record of the map only what the link has settled is known: nothing follows there.
    let floor = source.map.and_then(FoldedMap::first).or(settled);
    let is_whole = source.map_is_whole && !source.map.is_some_and(FoldedMap::is_cut);
    let is_before_map = !is_whole && floor.is_some_and(|floor| begins < floor);
    let reached = match (first, settled) {
        (Some((source, _)), _) => source,
        (None, Some(settled)) => settled,
        (None, None) => begins,
    };
    Some(Next {
        first: first.map(|(_, target)| target),
        is_before_map,
        ahead: if first.is_some() { 0 } else { settled.map_or(0, |settled| beyond(settled, position)) },
        not_copied: origin.map_or(0, |origin| beyond(position, origin)),
        left_out: beyond(begins, reached),
    })
}

/// Returns by how much `to` is above `from`.
fn beyond(from: SourceOffset, to: SourceOffset) -> i64 {
    to.0.saturating_sub(from.0).max(0)
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
