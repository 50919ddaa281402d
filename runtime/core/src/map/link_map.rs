//! The part of the offset map that translates some positions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::{Answer, FoldedMap, MapKind, MapRecord, NoAnswer, Run, SourceSide, TargetSide, inverse, translate};
use crate::offset::{SourceOffset, TargetOffset};
use crate::progress::{Position, Tail, resume_point};
use crate::topic::PartitionKey;

/// Memory for runs, in bytes.
pub const MAP_MEMORY_BYTES: usize = 256 << 20;

/// The positions of a reader, and the offset map that translates them. Fold all records of the map
/// topic, each partition in order, then ask.
#[derive(Clone, Debug)]
pub struct LinkMap {
    /// Positions of the reader.
    asked: BTreeMap<PartitionKey, SourceOffset>,
    /// Their keys by topic and number.
    places: HashMap<(Arc<str>, i32), PartitionKey>,
    /// Positions of the link.
    progress: BTreeMap<PartitionKey, Position>,
    /// By source partition and target topic.
    maps: BTreeMap<PartitionKey, BTreeMap<Arc<str>, FoldedMap>>,
    /// The same for each partition of the map topic, until all are read: a partition that changed
    /// its lane has records in several, which come in any order.
    parts: BTreeMap<(PartitionKey, Arc<str>), BTreeMap<i32, FoldedMap>>,
    /// How many copies all records of a source partition have mapped.
    mapped: BTreeMap<PartitionKey, u64>,
    runs: usize,
    runs_max: usize,
    is_whole: bool,
    exactly_once: bool,
}

/// The map has more runs than fit into the memory, also without those below the positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the offset map has more than {0} runs behind these positions: ask for one topic or partition at a time")]
pub struct TooManyRuns(usize);

impl LinkMap {
    /// Creates an empty map for these positions. Their keys have the ids that the source's topics
    /// have now; `progress` has the link's positions.
    #[must_use]
    pub fn new(
        asked: BTreeMap<PartitionKey, SourceOffset>,
        progress: BTreeMap<PartitionKey, Position>,
        exactly_once: bool,
    ) -> Self {
        let runs_max = MAP_MEMORY_BYTES / size_of::<Run>();
        let places = asked.keys().map(|key| (place(key), key.clone())).collect();
        Self {
            asked,
            places,
            progress,
            maps: BTreeMap::new(),
            parts: BTreeMap::new(),
            mapped: BTreeMap::new(),
            runs: 0,
            runs_max,
            is_whole: false,
            exactly_once,
        }
    }

    /// Adds the next record of a partition of the map topic.
    ///
    /// # Errors
    /// [`TooManyRuns`].
    pub fn fold(&mut self, map_partition: i32, record: &MapRecord) -> Result<(), TooManyRuns> {
        let key = match self.places.get(&place(&record.partition)) {
            // What is mapped of an older incarnation of the topic is of another log.
            Some(asked) if !asked.may_be(&record.partition) => return Ok(()),
            Some(asked) => asked.clone(),
            None => record.partition.clone(),
        };
        let is_asked = self.asked.contains_key(&key);
        if record.kind == MapKind::Copy {
            let mapped = self.mapped.entry(key.clone()).or_default();
            *mapped += record.runs.iter().map(|run| u64::from(run.count)).sum::<u64>();
        }
        let parts = self.parts.entry((key, Arc::clone(&record.target_topic))).or_default();
        let map = parts.entry(map_partition).or_default();
        let before = map.runs().len();
        map.fold(record);
        // Of the others only where they have records is needed.
        if !is_asked {
            map.forget_below(SourceOffset(i64::MAX));
        }
        self.runs = (self.runs + map.runs().len()).saturating_sub(before);
        if self.runs > self.runs_max {
            self.shrink()?;
        }
        Ok(())
    }

    /// Forgets what lies below the positions.
    fn shrink(&mut self) -> Result<(), TooManyRuns> {
        self.runs = 0;
        for ((key, _), parts) in &mut self.parts {
            let position = self.asked.get(key).copied().unwrap_or(SourceOffset(i64::MAX));
            for map in parts.values_mut() {
                map.forget_below(position);
                self.runs += map.runs().len();
            }
        }
        // Not again with the next record: at least a part must have become free.
        if self.runs > self.runs_max / 8 * 7 { Err(TooManyRuns(self.runs_max)) } else { Ok(()) }
    }

    /// Ends the reading. `is_whole` says that the map topic still has its first record: nothing of
    /// it has expired.
    pub fn finish(&mut self, is_whole: bool) {
        self.is_whole = is_whole;
        for ((key, topic), parts) in std::mem::take(&mut self.parts) {
            self.maps.entry(key).or_default().insert(topic, FoldedMap::joined(parts.into_values(), is_whole));
        }
    }

    /// Returns whether a source partition has records in target partitions that neither map nor
    /// progress name any more.
    #[must_use]
    pub fn has_unnamed_targets(&self, key: &PartitionKey) -> bool {
        !self.is_whole_of(key) && self.progress_of(key).is_some_and(|position| position.tails.has_more())
    }

    /// Returns whether the link delivers exactly once.
    #[must_use]
    pub fn is_exactly_once(&self) -> bool {
        self.exactly_once
    }

    /// Returns the target partitions with records of the reader's source partitions, each with all
    /// source partitions that have records there.
    #[must_use]
    pub fn targets(&self) -> BTreeMap<(Arc<str>, i32), Vec<&PartitionKey>> {
        let is_other = |key: &&PartitionKey| !self.places.contains_key(&place(key));
        let others: BTreeSet<&PartitionKey> = self.maps.keys().chain(self.progress.keys()).filter(is_other).collect();
        let mut targets: BTreeMap<_, Vec<&PartitionKey>> = BTreeMap::new();
        for key in self.asked.keys() {
            for target in self.targets_of(key) {
                targets.entry(target).or_default().push(key);
            }
        }
        for key in others {
            for target in self.targets_of(key) {
                targets.entry(target).and_modify(|sources| sources.push(key));
            }
        }
        targets
    }

    /// Returns the target partitions with records of a source partition.
    #[must_use]
    pub fn targets_of(&self, key: &PartitionKey) -> BTreeSet<(Arc<str>, i32)> {
        let maps = self.maps.get(key).into_iter().flatten();
        let by_map = maps.flat_map(|(topic, map)| {
            map.target_partitions().into_iter().map(move |partition| (Arc::clone(topic), partition))
        });
        let tails = self.progress_of(key).map(|position| position.tails.list()).unwrap_or_default();
        by_map.chain(tails.iter().map(|tail: &Tail| (Arc::clone(&tail.topic), tail.partition))).collect()
    }

    /// Returns whether the link has a position in a source partition.
    #[must_use]
    pub fn is_settled(&self, key: &PartitionKey) -> bool {
        self.progress_of(key).is_some()
    }

    /// Returns whether what is mapped of a source partition is of another incarnation of the target
    /// topic.
    #[must_use]
    pub fn is_former(&self, key: &PartitionKey, target: &TargetSide<'_>) -> bool {
        self.side(key, target.topic).is_former(target)
    }

    /// Returns whether the map has all that was ever copied of a source partition. A map topic that
    /// was deleted and created again has its first record too, so the counts in progress decide:
    /// the map never has fewer copies. Where progress has none, it is not known.
    fn is_whole_of(&self, key: &PartitionKey) -> bool {
        let Some(position) = self.progress_of(key).filter(|_| self.is_whole) else { return self.is_whole };
        let Some(totals) = position.totals else { return false };
        let same = PartitionKey::of_topic(&self.mapped, &key.topic).filter(|(other, _)| other.may_be(key));
        let mapped: u64 = same.map(|(_, copies)| *copies).sum();
        mapped >= totals.copies || self.lags(key, position)
    }

    /// Returns whether the map lacks the last copies that progress names: both are written
    /// together, and become visible one after the other.
    fn lags(&self, key: &PartitionKey, position: &Position) -> bool {
        let end_of = |tail: &Tail| self.maps.get(key)?.get(&tail.topic)?.end_in(tail.partition);
        position.tails.list().iter().any(|tail| end_of(tail).is_some_and(|end| end < tail.end))
    }

    fn progress_of(&self, key: &PartitionKey) -> Option<&Position> {
        resume_point(&self.progress, key).map(|point| point.position)
    }

    fn side<'a>(&'a self, key: &'a PartitionKey, topic: &str) -> SourceSide<'a> {
        SourceSide {
            key,
            position: self.asked.get(key).copied(),
            progress: self.progress_of(key),
            map: self.maps.get(key).and_then(|maps| maps.get(topic)),
            map_is_whole: self.is_whole_of(key),
        }
    }

    /// Returns where the reader resumes in a target partition that these source partitions have
    /// records in ([`LinkMap::targets`]).
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub fn answer(&self, sources: &[&PartitionKey], target: &TargetSide<'_>) -> Result<Answer, NoAnswer> {
        let sides: Vec<_> = sources.iter().map(|key| self.side(key, target.topic)).collect();
        translate(&sides, target, self.exactly_once)
    }

    /// Returns the source position of a reader of a target partition in one of the partitions asked
    /// for. `None` if the map does not reach back so far, or has no record of it there.
    #[must_use]
    pub fn inverse(
        &self,
        key: &PartitionKey,
        topic: &str,
        partition: i32,
        offset: TargetOffset,
    ) -> Option<SourceOffset> {
        inverse(self.maps.get(key)?.get(topic)?, partition, offset, self.is_whole_of(key))
    }
}

fn place(key: &PartitionKey) -> (Arc<str>, i32) {
    (Arc::clone(&key.topic), key.partition)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::{Exactness, MapBuilder, Why};
    use crate::progress::{Tails, Totals};
    use crate::topic::TopicId;

    fn key(topic: &str, id: u8, partition: i32) -> PartitionKey {
        PartitionKey { topic: topic.into(), topic_id: TopicId([id; 16]), partition }
    }

    /// Returns a map record of `count` records from `source` on, every second one at `target` on.
    fn record(partition: PartitionKey, source: i64, target: i64, count: i64) -> MapRecord {
        let mut builder = MapBuilder::default();
        for step in 0..count {
            builder.push(SourceOffset(source + 2 * step), 0, TargetOffset(target + step));
        }
        let whole = MapRecord {
            partition,
            target_topic: "copy".into(),
            target_id: TopicId([9; 16]),
            kind: MapKind::Copy,
            first: SourceOffset(source),
            next: SourceOffset(source + 2 * count),
            runs: Vec::new(),
        };
        builder.finish(&whole, usize::MAX).remove(0)
    }

    fn target() -> TargetSide<'static> {
        let (start, end) = (TargetOffset(0), TargetOffset(1_000));
        TargetSide { topic: "copy", id: TopicId([9; 16]), partition: 0, start, end }
    }

    #[test]
    fn partitions_that_share_a_target_partition_need_a_position_each() {
        let asked = |keys: &[(&str, i64)]| {
            keys.iter().map(|(topic, offset)| (key(topic, 1, 0), SourceOffset(*offset))).collect()
        };
        let folded = |asked| {
            let mut map = LinkMap::new(asked, BTreeMap::new(), true);
            // An older incarnation of `a`, then both.
            for record in
                [record(key("a", 7, 0), 0, 0, 50), record(key("a", 1, 0), 0, 60, 10), record(key("b", 1, 0), 0, 80, 10)]
            {
                map.fold(0, &record).unwrap();
            }
            map.finish(true);
            map
        };
        let (a, b) = (key("a", 1, 0), key("b", 1, 0));
        let one = folded(asked(&[("a", 4)]));
        assert_eq!(one.targets(), [(("copy".into(), 0), vec![&a, &b])].into());
        assert_eq!(one.answer(&[&a, &b], &target()), Err(NoAnswer::NoCommit(vec![b.clone()])));
        assert_eq!(one.answer(&[&a], &target()).unwrap().offset, TargetOffset(62));
        let both = folded(asked(&[("a", 4), ("b", 2)]));
        assert_eq!(both.answer(&[&a, &b], &target()).unwrap().offset, TargetOffset(62));
        let found = both.inverse(&key("b", 1, 0), "copy", 0, TargetOffset(81)).unwrap();
        assert_eq!(found, SourceOffset(2));
    }

    #[test]
    fn a_partition_that_changed_its_lane_is_put_together_in_the_order_of_its_lanes() {
        let a = key("a", 1, 0);
        // The later lane is read first, or the earlier one.
        for order in [[1, 0], [0, 1]] {
            let mut map = LinkMap::new([(a.clone(), SourceOffset(150))].into(), BTreeMap::new(), true);
            let parts = [record(a.clone(), 0, 0, 50), record(a.clone(), 100, 60, 50)];
            order.iter().for_each(|part| map.fold(*part as i32, &parts[*part]).unwrap());
            map.finish(true);
            assert_eq!(map.answer(&[&a], &target()).unwrap().offset, TargetOffset(85), "{order:?}");
            assert_eq!(map.inverse(&a, "copy", 0, TargetOffset(10)), Some(SourceOffset(20)));
            map.is_whole = false;
            assert_eq!(map.inverse(&a, "copy", 0, TargetOffset(-1)), None, "older than the map");
        }
    }

    #[test]
    fn a_map_topic_that_was_created_again_is_not_whole() {
        let a = key("a", 1, 0);
        let (id, topic) = (TopicId([9; 16]), "copy".into());
        let mut tails = Tails::default();
        tails.set(Tail { topic, id, partition: 0, end: TargetOffset(110) });
        let totals = Totals { seen: 110, kept: 110, copies: 110, ..Totals::default() };
        let position = Position {
            next: SourceOffset(220),
            origin: Some(SourceOffset(0)),
            totals: Some(totals),
            tails,
            ..Position::default()
        };
        let first = record(a.clone(), 0, 0, 50);
        let second = record(a.clone(), 100, 50, 50);
        let third = record(a.clone(), 200, 100, 10);
        let answer = |position: &Position, records: &[&MapRecord]| {
            let progress = [(a.clone(), position.clone())].into();
            let mut map = LinkMap::new([(a.clone(), SourceOffset(40))].into(), progress, true);
            records.iter().for_each(|record| map.fold(0, record).unwrap());
            map.finish(true);
            let inverse = map.inverse(&a, "copy", 0, TargetOffset(20));
            map.answer(&[&a], &target()).map(|answer| (answer.offset.0, answer.exactness, inverse.map(|at| at.0)))
        };
        let before_map = Exactness::Inexact(Why::BeforeMap);
        assert_eq!(answer(&position, &[&first, &second, &third]), Ok((20, Exactness::Exact, Some(40))));
        // Deleted in between, and nothing was copied since, or something was.
        assert_eq!(answer(&position, &[]), Ok((0, before_map, None)));
        assert_eq!(answer(&position, &[&second, &third]), Ok((0, before_map, None)));
        // The last record is just arriving.
        assert_eq!(answer(&position, &[&first, &second]), Ok((20, Exactness::Exact, Some(40))));
        // Nobody has counted.
        let uncounted = Position { totals: None, ..position };
        assert_eq!(answer(&uncounted, &[&second, &third]), Ok((0, before_map, None)));
    }

    #[test]
    fn what_lies_below_the_positions_is_forgotten_before_the_memory_is_full() {
        let asked = [(key("a", 1, 0), SourceOffset(150))].into();
        let mut map = LinkMap { runs_max: 64, ..LinkMap::new(asked, BTreeMap::new(), true) };
        for step in 0..10 {
            map.fold(0, &record(key("a", 1, 0), step * 20, step * 20, 10)).unwrap();
            map.fold(0, &record(key("b", 1, 0), step * 20, step * 20 + 10, 10)).unwrap();
        }
        assert!(map.runs <= 64);
        map.finish(true);
        let alone = map.answer(&[&key("a", 1, 0)], &target()).unwrap();
        assert_eq!(alone.offset, TargetOffset(145));
        let mut fold = (10..20).map(|step| map.fold(0, &record(key("a", 1, 0), step * 20, step * 20, 10)));
        assert_eq!(fold.find_map(Result::err), Some(TooManyRuns(64)));
    }
}
