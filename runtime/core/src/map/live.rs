//! The offset map while it grows, for the positions of any reader.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Answer, FoldedMap, MapKind, MapRecord, NoAnswer, Run, SourceSide, TargetSide, translate};
use crate::offset::SourceOffset;
use crate::progress::{Position, ProgressKey, resume_point};
use crate::topic::PartitionKey;

/// A target topic and partition.
type Place = (Arc<str>, i32);

/// The offset map and the link's positions, record by record. What it holds is bounded: the oldest
/// runs are forgotten first, and a position that needs them gets no answer.
#[derive(Clone, Debug)]
pub struct LiveMap {
    progress: BTreeMap<PartitionKey, Position>,
    maps: BTreeMap<PartitionKey, BTreeMap<Arc<str>, FoldedMap>>,
    /// The same for each partition of the map topic, until all are read to their ends: a partition
    /// that changed its lane has records in several, which come in any order.
    parts: BTreeMap<(PartitionKey, Arc<str>), BTreeMap<i32, FoldedMap>>,
    /// The target partitions of each source partition, and the other way round.
    targets: BTreeMap<PartitionKey, BTreeSet<Place>>,
    sources: BTreeMap<Place, BTreeSet<PartitionKey>>,
    /// How many copies all records of a source partition have mapped.
    mapped: BTreeMap<PartitionKey, u64>,
    runs: usize,
    runs_max: usize,
    /// The map topic had its first record when it was read.
    is_whole: bool,
    is_read: bool,
    exactly_once: bool,
}

/// An answer, with the positions of the reader that it stands for.
pub type Answered<'a> = (Answer, Vec<(&'a PartitionKey, SourceOffset)>);

impl LiveMap {
    /// Creates an empty map that holds runs in so many bytes.
    #[must_use]
    pub fn new(exactly_once: bool, bytes_max: usize) -> Self {
        Self {
            progress: BTreeMap::new(),
            maps: BTreeMap::new(),
            parts: BTreeMap::new(),
            targets: BTreeMap::new(),
            sources: BTreeMap::new(),
            mapped: BTreeMap::new(),
            runs: 0,
            // A vector that grows has up to twice the room that it needs.
            runs_max: bytes_max / (2 * size_of::<Run>()),
            is_whole: false,
            is_read: false,
            exactly_once,
        }
    }

    /// Takes the link's position in a source partition.
    pub fn settle(&mut self, key: PartitionKey, position: Position) {
        if self.progress.get(&key).is_some_and(|known| !position.supersedes(known)) {
            return;
        }
        for tail in position.tails.list() {
            self.index(&key, (Arc::clone(&tail.topic), tail.partition));
        }
        self.progress.insert(key, position);
    }

    /// Takes the next record of the progress topic.
    ///
    /// # Errors
    /// A record of a position that cannot be decoded.
    pub fn settle_record(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), serde_json::Error> {
        let ProgressKey::Partition(key) = serde_json::from_slice(key)? else { return Ok(()) };
        match value {
            Some(value) => self.settle(key, serde_json::from_slice(value)?),
            None => drop(self.progress.remove(&key)),
        }
        Ok(())
    }

    /// Takes the next record of a partition of the map topic.
    pub fn fold(&mut self, map_partition: i32, record: &MapRecord) {
        if record.kind != MapKind::Copy {
            return;
        }
        let key = &record.partition;
        let copies = record.runs.iter().map(|run| u64::from(run.count)).sum::<u64>();
        *self.mapped.entry(key.clone()).or_default() += copies;
        let partitions: BTreeSet<i32> = record.runs.iter().map(|run| run.target_partition).collect();
        for partition in partitions {
            self.index(key, (Arc::clone(&record.target_topic), partition));
        }
        let map = match self.is_read {
            true => self.maps.entry(key.clone()).or_default().entry(Arc::clone(&record.target_topic)).or_default(),
            false => {
                let parts = self.parts.entry((key.clone(), Arc::clone(&record.target_topic))).or_default();
                parts.entry(map_partition).or_default()
            }
        };
        let before = map.runs().len();
        map.fold(record);
        self.runs = (self.runs + map.runs().len()).saturating_sub(before);
        if self.runs > self.runs_max {
            self.shrink();
        }
    }

    fn index(&mut self, key: &PartitionKey, place: Place) {
        let targets = self.targets.entry(key.clone()).or_default();
        if !targets.contains(&place) {
            targets.insert(place.clone());
            self.sources.entry(place).or_default().insert(key.clone());
        }
    }

    /// Forgets the older half of what each partition has more than its share of.
    fn shrink(&mut self) {
        let parts = self.parts.values_mut().flat_map(BTreeMap::values_mut);
        let maps: Vec<&mut FoldedMap> = self.maps.values_mut().flat_map(BTreeMap::values_mut).chain(parts).collect();
        let share = self.runs_max / maps.len().max(1) / 2;
        self.runs = 0;
        for map in maps {
            let excess = map.runs().len().saturating_sub(share);
            map.forget(excess.div_ceil(2));
            self.runs += map.runs().len();
        }
    }

    /// The map topic is read to the end that it had when the reading began. `is_whole` says that it
    /// still had its first record.
    pub fn read(&mut self, is_whole: bool) {
        (self.is_whole, self.is_read) = (is_whole, true);
        for ((key, topic), parts) in std::mem::take(&mut self.parts) {
            self.maps.entry(key).or_default().insert(topic, FoldedMap::joined(parts.into_values(), is_whole));
        }
    }

    /// Returns whether the map was read to the end that it had at first.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.is_read
    }

    /// Returns how many bytes the runs have.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.runs * size_of::<Run>()
    }

    /// Returns whether the link has a position in a source partition.
    #[must_use]
    pub fn is_settled(&self, key: &PartitionKey) -> bool {
        self.progress_of(key).is_some()
    }

    /// Returns the target partitions with records of a source partition.
    pub fn targets_of<'a>(&'a self, key: &'a PartitionKey) -> impl Iterator<Item = &'a Place> {
        let same = PartitionKey::of_topic(&self.targets, &key.topic).filter(|(other, _)| other.may_be(key));
        same.flat_map(|(_, places)| places)
    }

    /// Returns where a reader at these positions resumes in a target partition, and those of its
    /// positions that the answer stands for. `None` if nothing that is copied is there.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub fn answer<'a>(
        &self,
        asked: &'a BTreeMap<PartitionKey, SourceOffset>,
        target: &TargetSide<'_>,
    ) -> Result<Option<Answered<'a>>, NoAnswer> {
        let place = (Arc::from(target.topic), target.partition);
        let mut sides = Vec::new();
        let mut mine = Vec::new();
        for source in self.sources.get(&place).into_iter().flatten() {
            let is_same = |(key, _): &(&PartitionKey, &SourceOffset)| key.partition == source.partition;
            let known = PartitionKey::of_topic(asked, &source.topic).find(is_same);
            let key = match known {
                Some((key, _)) if key.may_be(source) => key,
                // Of an older incarnation of the topic.
                Some(_) => continue,
                None => source,
            };
            let side = self.side(key, known.map(|(_, offset)| *offset), target.topic);
            if let Some(position) = side.position
                && side.map.is_some_and(|map| map.has_forgotten_at(position))
            {
                return Err(NoAnswer::NotInMemory(key.clone()));
            }
            mine.extend(known.map(|(key, offset)| (key, *offset)));
            sides.push(side);
        }
        let end = sides.iter().filter_map(|side| side.end(target)).max();
        let Some(end) = end.filter(|_| !mine.is_empty()) else { return Ok(None) };
        // What is committed there is below the end of the log, whenever that was asked for.
        let target = TargetSide { end: target.end.max(end), ..*target };
        translate(&sides, &target, self.exactly_once).map(|answer| Some((answer, mine)))
    }

    /// Returns the source partitions with records in each target partition.
    pub(super) fn sources(&self) -> &BTreeMap<Place, BTreeSet<PartitionKey>> {
        &self.sources
    }

    /// Returns the map of a source partition and target topic.
    pub(super) fn map_of(&self, key: &PartitionKey, topic: &str) -> Option<&FoldedMap> {
        key.entry_of(&self.maps).and_then(|maps| maps.get(topic))
    }

    /// Returns whether the link delivers exactly once.
    pub(super) fn is_exactly_once(&self) -> bool {
        self.exactly_once
    }

    /// Returns whether a source partition has records in target partitions that neither map nor
    /// progress name any more.
    pub(super) fn has_unnamed_targets(&self, key: &PartitionKey) -> bool {
        !self.is_whole_of(key) && self.progress_of(key).is_some_and(|position| position.tails.has_more())
    }

    /// Returns whether the map lacks the last copies that progress names in a target partition.
    pub(super) fn lags_in(&self, key: &PartitionKey, (topic, partition): &Place) -> bool {
        let tails = self.progress_of(key).map(|position| position.tails.list()).unwrap_or_default();
        let tail = tails.iter().find(|tail| tail.topic == *topic && tail.partition == *partition);
        let end = self.map_of(key, topic).and_then(|map| map.end_in(*partition));
        tail.is_some_and(|tail| end < Some(tail.end))
    }

    fn side<'a>(&'a self, key: &'a PartitionKey, position: Option<SourceOffset>, topic: &str) -> SourceSide<'a> {
        SourceSide {
            key,
            position,
            progress: self.progress_of(key),
            map: self.map_of(key, topic),
            map_is_whole: self.is_whole_of(key),
        }
    }

    fn progress_of(&self, key: &PartitionKey) -> Option<&Position> {
        resume_point(&self.progress, key).map(|point| point.position)
    }

    /// Returns whether the map had all that was ever copied of a source partition, by the counts in
    /// progress: a map topic that was created again has its first record too.
    pub(super) fn is_whole_of(&self, key: &PartitionKey) -> bool {
        let Some(position) = self.progress_of(key).filter(|_| self.is_whole) else { return self.is_whole };
        let Some(totals) = position.totals else { return false };
        let same = PartitionKey::of_topic(&self.mapped, &key.topic).filter(|(other, _)| other.may_be(key));
        let mapped: u64 = same.map(|(_, copies)| *copies).sum();
        mapped >= totals.copies || self.lags(key, position)
    }

    /// Returns whether the map lacks the last copies that progress names: both are written
    /// together, and become visible one after the other.
    fn lags(&self, key: &PartitionKey, position: &Position) -> bool {
        let maps = key.entry_of(&self.maps);
        let mut tails = position.tails.list().iter();
        tails.any(|tail| {
            let end = maps.and_then(|maps| maps.get(&tail.topic)).and_then(|map| map.end_in(tail.partition));
            end.is_some_and(|end| end < tail.end)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::{Exactness, LinkMap, MapBuilder};
    use crate::offset::TargetOffset;
    use crate::progress::{Tail, Tails, Totals};
    use crate::topic::TopicId;
    use proptest::prelude::*;

    fn key(partition: i32) -> PartitionKey {
        PartitionKey { topic: "orders".into(), topic_id: TopicId([1; 16]), partition }
    }

    fn target(end: i64) -> TargetSide<'static> {
        TargetSide { topic: "copy", id: TopicId([9; 16]), partition: 0, start: TargetOffset(0), end: TargetOffset(end) }
    }

    /// Returns the record of a commit that kept every `every`th of `count` records from `first` on.
    fn record(partition: i32, first: i64, count: i64, every: i64, target: &mut i64) -> MapRecord {
        let mut builder = MapBuilder::default();
        for source in (first..first + count).filter(|source| source % every == 0) {
            builder.push(SourceOffset(source), 0, TargetOffset(*target));
            *target += 1;
        }
        let whole = MapRecord {
            partition: key(partition),
            target_topic: "copy".into(),
            target_id: TopicId([9; 16]),
            kind: MapKind::Copy,
            first: SourceOffset(first),
            next: SourceOffset(first + count),
            runs: Vec::new(),
        };
        *target += 1;
        builder.finish(&whole, usize::MAX).remove(0)
    }

    fn position(next: i64, copies: u64, end: i64) -> Position {
        let mut tails = Tails::default();
        tails.set(Tail { topic: "copy".into(), id: TopicId([9; 16]), partition: 0, end: TargetOffset(end) });
        let totals = Totals { copies, ..Totals::default() };
        Position {
            next: SourceOffset(next),
            origin: Some(SourceOffset(0)),
            totals: Some(totals),
            tails,
            ..Position::default()
        }
    }

    proptest! {
        /// It answers as the map that is read once, whatever was read before `read` and after, and
        /// gives either the same answer or none where its memory is small.
        #[test]
        fn a_growing_map_answers_as_one_that_is_read_at_once(
            commits in prop::collection::vec((0i32..2, 1i64..20, 1i64..4), 1..30),
            split in 0usize..30,
            asked in prop::collection::vec(0i64..300, 2),
            runs_max in 4usize..60,
        ) {
            let (mut ends, mut next, mut copies) = (3i64, [0i64; 2], [0u64; 2]);
            let mut records = Vec::new();
            let mut tails = [None; 2];
            for (partition, count, every) in commits {
                let index = partition as usize;
                // The first record is kept, so that there is a map record.
                let first = (next[index] + every - 1) / every * every;
                let record = record(partition, first, count, every, &mut ends);
                next[index] = record.next.0;
                copies[index] += record.runs.iter().map(|run| u64::from(run.count)).sum::<u64>();
                tails[index] = record.runs.last().map(Run::target_end);
                records.push(record);
            }
            let asked: BTreeMap<PartitionKey, SourceOffset> =
                (0..2).map(|index| (key(index), SourceOffset(asked[index as usize]))).collect();
            let progress: BTreeMap<PartitionKey, Position> = (0..2_usize)
                .filter_map(|index| Some((key(index as i32), position(next[index], copies[index], tails[index]?.0))))
                .collect();
            let mut at_once = LinkMap::new(asked.clone(), progress.clone(), true);
            let mut live = LiveMap::new(true, usize::MAX);
            let mut small = LiveMap { runs_max, ..LiveMap::new(true, 0) };
            for (index, record) in records.iter().enumerate() {
                at_once.fold(0, record).unwrap();
                for map in [&mut live, &mut small] {
                    if index == split {
                        map.read(true);
                    }
                    map.fold(0, record);
                }
            }
            at_once.finish(true);
            for map in [&mut live, &mut small] {
                if split >= records.len() {
                    map.read(true);
                }
                progress.iter().for_each(|(key, position)| map.settle(key.clone(), position.clone()));
            }
            prop_assert!(small.runs <= runs_max + 20, "{} of {runs_max}", small.runs);
            let sources = at_once.targets().remove(&(Arc::from("copy"), 0)).unwrap();
            let expected = at_once.answer(&sources, &target(ends));
            let found = live.answer(&asked, &target(ends)).map(|answer| answer.unwrap().0);
            prop_assert_eq!(&found, &expected);
            match small.answer(&asked, &target(ends)) {
                Err(NoAnswer::NotInMemory(_)) => {}
                other => {
                    let (other, expected) = (other.unwrap().unwrap().0, expected.unwrap());
                    prop_assert_eq!(other.offset, expected.offset);
                    prop_assert!(other.exactness != Exactness::Exact || other.exactness == expected.exactness);
                }
            }
        }
    }

    #[test]
    fn an_older_incarnation_and_other_partitions_count_as_they_should() {
        let mut live = LiveMap::new(true, usize::MAX);
        let mut ends = 0;
        live.read(true);
        live.fold(0, &record(0, 0, 10, 1, &mut ends));
        live.settle(key(0), position(10, 10, 10));
        let ask = |live: &LiveMap, id: u8, partition: i32, offset: i64| {
            let key = PartitionKey { topic_id: TopicId([id; 16]), ..key(partition) };
            let asked = [(key, SourceOffset(offset))].into();
            live.answer(&asked, &target(100)).map(|found| found.map(|(answer, mine)| (answer.offset.0, mine.len())))
        };
        assert_eq!(ask(&live, 1, 0, 4), Ok(Some((4, 1))));
        assert_eq!(ask(&live, 0, 0, 4), Ok(Some((4, 1))), "an id that is not known");
        assert_eq!(ask(&live, 2, 0, 4), Ok(None), "nothing of this incarnation is there");
        assert_eq!(ask(&live, 1, 1, 4), Ok(None), "nor of this partition");
        live.fold(0, &record(1, 0, 10, 1, &mut ends));
        assert_eq!(ask(&live, 1, 0, 4), Err(NoAnswer::NoCommit(vec![key(1)])));
        assert_eq!(live.targets_of(&key(1)).count(), 1);
    }
}
