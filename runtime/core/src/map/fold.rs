//! The map records of many commits as one map.

use std::collections::{BTreeMap, BTreeSet};

use super::{MapKind, MapRecord, Run};
use crate::offset::{SourceOffset, TargetOffset};
use crate::topic::TopicId;

/// The map of one source partition and target topic, from its records in log order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoldedMap {
    runs: Vec<Run>,
    /// The source offset after the last one that a record covered.
    next: SourceOffset,
    /// The first source offset that a record covered.
    first: Option<SourceOffset>,
    /// The incarnation of the target topic that the runs are in.
    target_id: TopicId,
    /// The ends of what was forgotten, by target partition.
    forgotten: BTreeMap<i32, TargetOffset>,
    /// The source offset after the last one that was forgotten.
    forgotten_to: Option<SourceOffset>,
    /// The part before the first offset is not known, whatever the link has copied there.
    is_cut: bool,
}

impl FoldedMap {
    /// Adds the next record of the log. One that begins below what an earlier record covered cuts
    /// the earlier runs there: the source was truncated, or the records were copied again. What
    /// was replayed or repaired moves nothing. Where the target topic was created again, only the
    /// new one counts.
    pub fn fold(&mut self, record: &MapRecord) {
        if record.kind != MapKind::Copy {
            return;
        }
        if self.target_id.is_other_than(record.target_id) {
            *self = Self::default();
        }
        if record.target_id.is_known() {
            self.target_id = record.target_id;
        }
        self.first = Some(self.first.map_or(record.first, |first| first.min(record.first)));
        if record.first < self.next {
            self.cut(record.first);
        }
        self.runs.extend(&record.runs);
        self.next = record.next;
    }

    /// Joins what the partitions of the map topic have of one source partition and target topic. A
    /// link is closed while lanes are added, and a partition may come back to a lane that it had
    /// before, so what one lane has may lie on both sides of what another one has. `is_whole` says
    /// that nothing of the map topic has expired: else the part that begins last may lack what lay
    /// before it, and only what follows there is known without a hole.
    pub fn joined(parts: impl IntoIterator<Item = Self>, is_whole: bool) -> Self {
        let mut parts: Vec<Self> = parts.into_iter().filter(|part| part.first.is_some()).collect();
        parts.sort_by_key(Self::next);
        let Some(newest) = parts.pop() else { return Self::default() };
        parts.retain(|part| !part.target_id.is_other_than(newest.target_id));
        if parts.is_empty() {
            return newest;
        }
        parts.push(newest);
        let from = parts.iter().filter_map(Self::first).max().filter(|_| !is_whole);
        let mut whole = Self { first: parts.iter().filter_map(Self::first).min(), ..Self::default() };
        let mut runs: Vec<(usize, Run)> = Vec::new();
        for (index, part) in parts.into_iter().enumerate() {
            for (partition, end) in part.forgotten {
                let known = whole.forgotten.entry(partition).or_default();
                *known = end.max(*known);
            }
            whole.forgotten_to = whole.forgotten_to.max(part.forgotten_to);
            whole.next = whole.next.max(part.next);
            if part.target_id.is_known() {
                whole.target_id = part.target_id;
            }
            runs.extend(part.runs.into_iter().map(|run| (index, run)));
        }
        // The sort is stable: the copies of one record stay in their order.
        runs.sort_by_key(|(_, run)| run.source);
        let (runs, unclear) = merged(runs);
        whole.runs = runs;
        if let Some(from) = from.max(unclear) {
            (whole.first, whole.is_cut) = (Some(from), true);
            let below = whole.runs.partition_point(|run| run.source < from);
            for run in whole.runs.drain(..below) {
                let end = whole.forgotten.entry(run.target_partition).or_default();
                *end = run.target_end().max(*end);
            }
        }
        whole
    }

    /// Returns the source offset after the last one that the map covers.
    #[must_use]
    pub fn next(&self) -> SourceOffset {
        self.next
    }

    /// Removes what is mapped at or above `at`.
    fn cut(&mut self, at: SourceOffset) {
        while self.runs.pop_if(|run| run.source >= at).is_some() {}
        // Only the last one can reach over it: each begins at most one before the end of the one
        // before.
        if let Some(last) = self.runs.last_mut().filter(|run| run.end() > at) {
            last.count = u32::try_from(at.0.saturating_sub(last.source.0)).unwrap_or(0);
        }
    }

    /// Forgets the runs that end at or before `below`, to save memory. Only where they end on the
    /// target is kept.
    pub fn forget_below(&mut self, below: SourceOffset) {
        self.forget(self.runs.partition_point(|run| run.end() <= below));
    }

    /// Forgets this many of the oldest runs.
    pub fn forget(&mut self, count: usize) {
        for run in self.runs.drain(..count.min(self.runs.len())) {
            self.forgotten.insert(run.target_partition, run.target_end());
            self.forgotten_to = self.forgotten_to.max(Some(run.end()));
        }
    }

    /// Returns whether runs were forgotten that a reader at this position may need.
    #[must_use]
    pub fn has_forgotten_at(&self, position: SourceOffset) -> bool {
        self.forgotten_to.is_some_and(|to| position < to)
    }

    /// Returns whether nothing is known before the first offset, although the map topic may still
    /// have all of its records.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Returns the runs, ascending by source offset.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Returns whether runs were forgotten.
    #[must_use]
    pub fn has_forgotten(&self) -> bool {
        !self.forgotten.is_empty()
    }

    /// Returns the first source offset that a record of the map covered.
    #[must_use]
    pub fn first(&self) -> Option<SourceOffset> {
        self.first
    }

    /// Returns the id of the target topic; unknown where no record tells it.
    #[must_use]
    pub fn target_id(&self) -> TopicId {
        self.target_id
    }

    /// Returns the target partitions with a copied record, ascending.
    #[must_use]
    pub fn target_partitions(&self) -> BTreeSet<i32> {
        self.runs.iter().map(|run| run.target_partition).chain(self.forgotten.keys().copied()).collect()
    }

    /// Returns the offset after the last copied record in a target partition.
    #[must_use]
    pub fn end_in(&self, target_partition: i32) -> Option<TargetOffset> {
        let last = self.runs.iter().rev().find(|run| run.target_partition == target_partition).map(Run::target_end);
        last.or_else(|| self.forgotten.get(&target_partition).copied())
    }

    /// Returns source and target offset of the first copied record at or after `source` in a target
    /// partition.
    #[must_use]
    pub fn first_kept(&self, source: SourceOffset, target_partition: i32) -> Option<(SourceOffset, TargetOffset)> {
        let from = self.runs.partition_point(|run| run.end() <= source);
        // A further copy of a record begins before the end of the run before it.
        let run = self.runs.get(from..)?.iter().find(|run| run.target_partition == target_partition)?;
        let inside = source.0.saturating_sub(run.source.0).max(0);
        Some((SourceOffset(run.source.0.saturating_add(inside)), TargetOffset(run.target.0.saturating_add(inside))))
    }

    /// Returns how many copies of records before `source` are at or behind `target` in a target
    /// partition.
    #[must_use]
    pub fn copies_behind(&self, source: SourceOffset, target_partition: i32, target: TargetOffset) -> u64 {
        let before = self.runs.partition_point(|run| run.source < source);
        // A log grows at its end, so later copies are further behind there.
        let runs = self.runs.get(..before).unwrap_or_default().iter().rev();
        let behind = runs.filter(|run| run.target_partition == target_partition);
        let behind = behind.take_while(|run| run.target_end() > target).map(|run| {
            let before = source.0.saturating_sub(run.source.0).min(i64::from(run.count));
            let skipped = target.0.saturating_sub(run.target.0).max(0);
            u64::try_from(before.saturating_sub(skipped)).unwrap_or(0)
        });
        behind.sum()
    }

    /// Returns how many copies of the records from `from` to before `to` are in a target partition.
    #[must_use]
    pub fn copies_between(&self, target_partition: i32, from: SourceOffset, to: SourceOffset) -> u64 {
        let first = self.runs.partition_point(|run| run.end() <= from);
        let runs = self.runs.get(first..).unwrap_or_default().iter().take_while(|run| run.source < to);
        let inside = runs.filter(|run| run.target_partition == target_partition);
        inside.map(|run| u64::try_from(run.end().min(to).0.saturating_sub(run.source.max(from).0)).unwrap_or(0)).sum()
    }

    /// Returns target partition and offset of the first copied record at or after `source`.
    #[must_use]
    pub fn translate(&self, source: SourceOffset) -> Option<(i32, TargetOffset)> {
        let run = self.runs.get(self.runs.partition_point(|run| run.end() <= source))?;
        let inside = source.0.saturating_sub(run.source.0).max(0);
        Some((run.target_partition, TargetOffset(run.target.0.saturating_add(inside))))
    }
}

/// Puts the runs of several parts together, each with the number of its part, sorted by source
/// offset. A log grows at its end: of what several parts have of the same source offsets, the one
/// that is further behind on the target was copied later, and counts. In two target partitions
/// nobody can tell, and nothing is said of what lies before: the second value is where that ends.
fn merged(sorted: Vec<(usize, Run)>) -> (Vec<Run>, Option<SourceOffset>) {
    let mut runs: Vec<(usize, Run)> = Vec::with_capacity(sorted.len());
    let mut ends: BTreeMap<i32, TargetOffset> = BTreeMap::new();
    let mut unclear = None;
    for (part, run) in sorted {
        let end = ends.entry(run.target_partition).or_default();
        if run.target < *end {
            continue;
        }
        *end = run.target_end();
        if let Some((other, last)) = runs.last_mut()
            && *other != part
            && run.source < last.end()
        {
            if last.target_partition != run.target_partition {
                unclear = Some(last.end().max(run.end()));
            }
            last.count = u32::try_from(run.source.0.saturating_sub(last.source.0)).unwrap_or(0);
        }
        runs.push((part, run));
    }
    (runs.into_iter().map(|(_, run)| run).filter(|run| run.count > 0).collect(), unclear)
}
