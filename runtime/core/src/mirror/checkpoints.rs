//! The places of consumer groups on the target that MirrorMaker 2 has kept, so that a link that
//! takes over knows them again.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::control::{ControlRecord, GroupPartition, GroupRecord, Orphan, SourcePlace};
use crate::mm2::Checkpoint;
use crate::offset::{SourceOffset, TargetOffset};
use crate::topic::PartitionKey;

/// Most places of one group and partition that are kept: MirrorMaker 2 writes a group's offset some
/// time after its checkpoint, so that it may be one of the last few.
const LAST: usize = 5;
/// Most groups and partitions. A process keeps no more of them.
const PLACES_MAX: usize = 100_000;

/// A target topic and partition.
type Place = (Arc<str>, i32);

/// The place of a group at the source, and on the target.
type Pair = (SourceOffset, TargetOffset);

/// The last checkpoints of each group and target partition, in the order of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoints {
    of: BTreeMap<(Arc<str>, Place), Vec<Pair>>,
    left_out: u64,
}

impl Checkpoints {
    /// Takes the next record of `<source>.checkpoints.internal`. One that is no checkpoint, or of a
    /// group that is not selected, is left out.
    pub fn fold(&mut self, key: &[u8], value: Option<&[u8]>, selects: impl Fn(&str) -> bool) {
        let Some(Ok(found)) = value.map(|value| Checkpoint::decode(key, value)) else { return };
        if !selects(&found.group) {
            return;
        }
        let at = (found.group.into(), (found.topic.into(), found.partition));
        if self.of.len() >= PLACES_MAX && !self.of.contains_key(&at) {
            self.left_out += 1;
            return;
        }
        let last = self.of.entry(at).or_default();
        let downstream = TargetOffset(found.downstream);
        last.retain(|(_, known)| *known != downstream);
        last.push((SourceOffset(found.upstream), downstream));
        if last.len() > LAST {
            last.remove(0);
        }
    }

    /// Returns how many records were left out as there are too many groups.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Returns the number of groups and target partitions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.of.len()
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Returns the control records that make them the link's own: the last one counts as written,
    /// those before as offsets that may have been. `keys` has the source partition of each target
    /// partition; checkpoints elsewhere are left out.
    #[must_use]
    pub fn records(&self, keys: &BTreeMap<Place, PartitionKey>, unix_ms: i64) -> Vec<ControlRecord> {
        let mut records: BTreeMap<(Arc<str>, Arc<str>), GroupRecord> = BTreeMap::new();
        for ((group, place), last) in &self.of {
            let (Some(key), Some(((upstream, written), before))) = (keys.get(place), last.split_last()) else {
                continue;
            };
            let orphans = before.iter().map(|(_, offset)| Orphan { offset: *offset, at: unix_ms });
            let known = GroupPartition {
                written: Some(*written),
                // MirrorMaker 2 wrote it, nobody knows when.
                written_at: None,
                source: vec![SourcePlace { partition: key.clone(), offset: *upstream }],
                intended: None,
                orphans: orphans.collect(),
            };
            let record = records.entry((Arc::clone(group), Arc::clone(&place.0))).or_default();
            record.partitions.insert(place.1, known);
        }
        let one = |((group, topic), record)| ControlRecord::Group(group, topic, Some(Arc::new(record)));
        records.into_iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::control::Control;
    use crate::groups::{Committed, GroupOffset, GroupSync, State, Translated, Wish};
    use crate::map::{Answer, Exactness, Why};
    use crate::topic::TopicId;

    const S: Duration = Duration::from_secs(1);

    fn key() -> PartitionKey {
        PartitionKey { topic: "orders".into(), topic_id: TopicId([1; 16]), partition: 0 }
    }

    /// Returns the offset that a link writes for a group which is at `there` on the target and at
    /// `source` at the source, with this answer; `None` if it takes it for the target's.
    fn moves(there: i64, source: i64, answer: i64, exactness: Exactness) -> Option<i64> {
        let mut checkpoints = Checkpoints::default();
        for (group, upstream, downstream) in [("billing", 10, 8), ("other", 1, 1), ("billing", 20, 17)] {
            let (group, topic) = (group.to_owned(), "aws.orders".to_owned());
            let one = Checkpoint { group, topic, partition: 0, upstream, downstream, metadata: String::new() };
            let (key, value) = one.encode().unwrap();
            checkpoints.fold(&key, Some(&value), |group| group == "billing");
            checkpoints.fold(&key, None, |_| true);
            checkpoints.fold(&key, Some(b"no checkpoint"), |_| true);
        }
        assert_eq!((checkpoints.len(), checkpoints.left_out()), (1, 0));
        assert!(checkpoints.records(&BTreeMap::new(), 0).is_empty());
        let place: Place = ("aws.orders".into(), 0);
        let mut control = Control::default();
        control.wrote(&checkpoints.records(&[(place.clone(), key())].into(), 0));
        let (group, mut sync): (Arc<str>, _) = ("billing".into(), GroupSync::of(&control, 0));
        let answer = Answer { offset: TargetOffset(answer), exactness, ahead: 0, not_copied: 0, left_out: 0 };
        let source = vec![SourcePlace { partition: key(), offset: SourceOffset(source) }];
        let wish = Wish { answer, source, metadata: Arc::default() };
        sync.translated(&group, Translated { wishes: [(place.clone(), wish)].into(), ..Translated::default() });
        let found: Committed = [(place, GroupOffset { offset: there, metadata: Arc::default() })].into();
        sync.look(&group, &found, S, 0);
        if sync.states().any(|(_, state)| state == State::TakenOver) {
            return None;
        }
        sync.records();
        let (writes, _) = sync.writes(&group, &found, 0);
        Some(writes.first().map_or(there, |write| write.offset.0))
    }

    #[test]
    fn a_group_that_mirror_maker_has_kept_is_the_links() {
        // At its last checkpoint, and at the one before: the exact place follows.
        assert_eq!(moves(17, 30, 26, Exactness::Exact), Some(26));
        assert_eq!(moves(8, 30, 26, Exactness::Exact), Some(26));
        // Somebody has read on the target.
        assert_eq!(moves(19, 30, 26, Exactness::Exact), None);
        // Older than the map of the link: it stays where MirrorMaker 2 has put it.
        assert_eq!(moves(17, 20, 0, Exactness::Inexact(Why::BeforeMap)), Some(17));
        assert_eq!(moves(17, 25, 0, Exactness::Inexact(Why::BeforeMap)), Some(17));
        // It has gone back on the source.
        assert_eq!(moves(17, 5, 0, Exactness::Inexact(Why::BeforeMap)), Some(0));
    }
}
