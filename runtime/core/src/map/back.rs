//! Where a reader of a link's copies resumes at the source: the offset map read backwards, as it
//! grows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Exactness, LiveMap, NoAnswer, Why, inverse};
use crate::offset::{SourceOffset, TargetOffset};
use crate::topic::{PartitionKey, TopicId};

/// A target topic and partition.
type Place = (Arc<str>, i32);

/// Where a reader of copies resumes in a source partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Back {
    /// The source partition.
    pub key: PartitionKey,
    /// The places of its copies that the reader has a position in.
    pub places: Vec<Place>,
    /// The next source offset, and whether it repeats records; or why there is no answer.
    pub answer: Result<(SourceOffset, Exactness), NoAnswer>,
}

impl LiveMap {
    /// Returns whether the link has copied anything to this target topic.
    #[must_use]
    pub fn has_copies_in(&self, topic: &str) -> bool {
        let first = (Arc::from(topic), i32::MIN);
        self.sources().range(first..).next().is_some_and(|((found, _), _)| **found == *topic)
    }

    /// Returns where a reader of copies at these target offsets resumes in each source partition
    /// that they come from. `ids` are those of the target topics now.
    ///
    /// Its copies behind the reader in every partition that it reads are what it has read, and no
    /// other record below the answer was ever copied there.
    #[must_use]
    pub fn back(&self, asked: &BTreeMap<Place, TargetOffset>, ids: &BTreeMap<Arc<str>, TopicId>) -> Vec<Back> {
        let of = |place: &Place| self.sources().get(place).into_iter().flatten();
        let keys: BTreeSet<&PartitionKey> = asked.keys().flat_map(of).collect();
        let backs = keys.into_iter().map(|key| {
            let places: BTreeSet<&Place> = self.targets_of(key).collect();
            let mine = places.iter().filter(|place| asked.contains_key(**place)).map(|place| (*place).clone());
            Back { key: key.clone(), places: mine.collect(), answer: self.back_to(key, &places, asked, ids) }
        });
        backs.collect()
    }

    fn back_to(
        &self,
        key: &PartitionKey,
        places: &BTreeSet<&Place>,
        asked: &BTreeMap<Place, TargetOffset>,
        ids: &BTreeMap<Arc<str>, TopicId>,
    ) -> Result<(SourceOffset, Exactness), NoAnswer> {
        // Of target partitions that are named no more nobody knows what the reader has read there.
        if self.has_unnamed_targets(key) {
            return Err(NoAnswer::NotInMemory(key.clone()));
        }
        let mut found = Vec::new();
        let mut silent = Vec::new();
        for place in places {
            let (topic, partition) = place;
            let Some(offset) = asked.get(*place) else {
                let topic_id = ids.get(topic).copied().unwrap_or(TopicId::UNKNOWN);
                silent.push(PartitionKey { topic: Arc::clone(topic), topic_id, partition: *partition });
                continue;
            };
            let Some(map) = self.map_of(key, topic) else { return Err(NoAnswer::Pending(key.clone())) };
            if ids.get(topic).is_none_or(|id| map.target_id().is_other_than(*id)) {
                return Err(NoAnswer::TargetRecreated);
            }
            // The reader has read copies that the map does not name yet.
            let end = map.end_in(*partition);
            if end.is_none_or(|end| *offset > end) && self.lags_in(key, place) {
                return Err(NoAnswer::Pending(key.clone()));
            }
            let at = inverse(map, *partition, *offset, self.is_whole_of(key));
            found.push((map, *partition, at.ok_or_else(|| NoAnswer::NotInMemory(key.clone()))?));
        }
        if !silent.is_empty() {
            return Err(NoAnswer::NoCommit(silent));
        }
        let Some(lowest) = found.iter().map(|(.., at)| *at).min() else {
            return Err(NoAnswer::Pending(key.clone()));
        };
        // Where it is further in another target partition, it reads those copies again.
        let again: u64 = found.iter().map(|(map, partition, at)| map.copies_between(*partition, lowest, *at)).sum();
        let exactness = match again {
            _ if !self.is_exactly_once() => Exactness::Inexact(Why::AtLeastOnce),
            0 => Exactness::Exact,
            again => Exactness::ReReads(again),
        };
        Ok((lowest, exactness))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::map::{MapBuilder, MapKind, MapRecord};
    use crate::progress::{Position, Tail, Tails, Totals};

    fn key() -> PartitionKey {
        PartitionKey { topic: "orders".into(), topic_id: TopicId([1; 16]), partition: 0 }
    }

    fn ids() -> BTreeMap<Arc<str>, TopicId> {
        [("gcp.orders".into(), TopicId([9; 16]))].into()
    }

    /// Returns the map of a link that has copied the records of one source partition to these
    /// partitions of its target, `None` where the chain has left one out, and all copies.
    fn copied(records: &[Option<i32>]) -> (LiveMap, Vec<(i64, i32, i64)>) {
        let (mut map, mut builder) = (LiveMap::new(true, usize::MAX), MapBuilder::default());
        let (mut ends, mut copies, mut tails) = ([4i64, 9], Vec::new(), Tails::default());
        map.read(true);
        for (source, record) in records.iter().enumerate() {
            let Some(partition) = record else { continue };
            let end = &mut ends[*partition as usize];
            // A marker stands before every fourth.
            *end += if *end % 4 == 0 { 2 } else { 1 };
            builder.push(SourceOffset(source as i64), *partition, TargetOffset(*end));
            copies.push((source as i64, *partition, *end));
        }
        for (partition, end) in builder.ends(16).0 {
            tails.set(Tail { topic: "gcp.orders".into(), id: TopicId([9; 16]), partition, end });
        }
        let next = SourceOffset(records.len() as i64);
        let whole = MapRecord {
            partition: key(),
            target_topic: "gcp.orders".into(),
            target_id: TopicId([9; 16]),
            kind: MapKind::Copy,
            first: SourceOffset(0),
            next,
            runs: Vec::new(),
        };
        builder.finish(&whole, 5).iter().for_each(|record| map.fold(0, record));
        let totals = Some(Totals { copies: copies.len() as u64, ..Totals::default() });
        let origin = Some(SourceOffset(0));
        map.settle(key(), Position { next, origin, totals, tails, ..Position::default() });
        (map, copies)
    }

    proptest! {
        /// No record whose copy the reader has not read is below the answer, and those at or above
        /// it that it has read are counted.
        #[test]
        fn a_reader_of_copies_goes_on_behind_what_it_has_read(
            records in prop::collection::vec(prop::option::weighted(0.7, 0i32..2), 1..40),
            at in (0i64..40, 0i64..40),
        ) {
            let (map, copies) = copied(&records);
            let asked: BTreeMap<Place, TargetOffset> = [(0, at.0), (1, at.1)]
                .into_iter()
                .map(|(partition, at)| (("gcp.orders".into(), partition), TargetOffset(at)))
                .collect();
            let backs = map.back(&asked, &ids());
            prop_assert_eq!(backs.len(), usize::from(!copies.is_empty()));
            prop_assert_eq!(map.has_copies_in("gcp.orders"), !copies.is_empty());
            let Some(back) = backs.first() else { return Ok(()) };
            let read = |partition: i32, target: i64| target < if partition == 0 { at.0 } else { at.1 };
            let (answer, exactness) = back.answer.clone().unwrap();
            for (source, partition, target) in &copies {
                prop_assert!(*source >= answer.0 || read(*partition, *target), "{source} is skipped");
            }
            let again = copies.iter().filter(|(source, p, target)| *source >= answer.0 && read(*p, *target)).count();
            let expected = if again == 0 { Exactness::Exact } else { Exactness::ReReads(again as u64) };
            prop_assert_eq!(exactness, expected);
        }
    }

    #[test]
    fn there_is_no_answer_where_something_is_not_known() {
        let (map, _) = copied(&[Some(0), None, Some(1), Some(0)]);
        let at = |offsets: &[(i32, i64)]| -> BTreeMap<Place, TargetOffset> {
            let one = |(partition, at): &(i32, i64)| (("gcp.orders".into(), *partition), TargetOffset(*at));
            offsets.iter().map(one).collect()
        };
        let other = PartitionKey { topic: "gcp.orders".into(), topic_id: TopicId([9; 16]), partition: 1 };
        assert_eq!(map.back(&at(&[(0, 5)]), &ids())[0].answer, Err(NoAnswer::NoCommit(vec![other])));
        let recreated = [("gcp.orders".into(), TopicId([8; 16]))].into();
        assert_eq!(map.back(&at(&[(0, 5), (1, 5)]), &recreated)[0].answer, Err(NoAnswer::TargetRecreated));
        assert!(map.back(&at(&[(7, 5)]), &ids()).is_empty());
        assert!(!map.has_copies_in("gcp.order") && !map.has_copies_in("gcp.orders.x"));
        // Progress names a copy that the map does not have yet.
        let mut map = map;
        let mut tails = Tails::default();
        tails.set(Tail { topic: "gcp.orders".into(), id: TopicId([9; 16]), partition: 0, end: TargetOffset(60) });
        let totals = Some(Totals { copies: 4, ..Totals::default() });
        map.settle(key(), Position { next: SourceOffset(5), totals, tails, ..Position::default() });
        let pending = Err(NoAnswer::Pending(key()));
        assert_eq!(map.back(&at(&[(0, 60), (1, 50)]), &ids())[0].answer, pending);
    }
}
