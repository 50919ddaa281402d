//! The progress of a lane: what its topic held when the lane was taken, and what the lane writes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use strait_core::progress::{Border, LaneProgress, LaneRecord, Position, ProgressRecord, Skip};
use strait_core::{OwnerEpoch, PartitionKey};

use crate::partitions::{Accounted, Written};
use crate::ports::{ControlRecord, ProducerSlot, SourceTopic, Taken};
use crate::spec::LaneSpec;

/// How long the target may leave progress unacknowledged before that is reported and no further
/// record is released.
const LATE: Duration = Duration::from_secs(30);

/// The progress of a lane, for one attempt.
pub(crate) struct Progress {
    owner: OwnerEpoch,
    /// The transactional ids of the lane.
    taken: Taken,
    /// Positions when the lane was taken. Nobody else can have written any since.
    known: BTreeMap<PartitionKey, Position>,
    /// Moves of positions by an operator that are to be reported.
    skips: BTreeMap<PartitionKey, Skip>,
    /// The newest border of each partition when the lane was taken.
    borders: BTreeMap<PartitionKey, Border>,
    /// Topics and partition counts when the lane was first taken.
    created_with: BTreeMap<String, i32>,
    /// Written with the first progress of a new lane, and where the stored one is not up to date.
    lane_record: Option<LaneRecord>,
    next_sequence: u64,
    /// Progress and map records that are not sent.
    unsent: VecDeque<ControlRecord>,
    /// Number of those that are sent and not acknowledged.
    in_flight: usize,
    last_written: Duration,
}

/// Where a partition resumes.
pub(crate) struct ResumePoint {
    /// The key that its progress is written under from now on.
    pub key: PartitionKey,
    /// The committed position.
    pub position: Position,
    /// Its newest border.
    pub border: Option<Border>,
}

impl Progress {
    /// Creates the progress of an attempt from what the progress topic holds.
    pub fn new(
        read: LaneProgress,
        owner: OwnerEpoch,
        taken: Taken,
        topics: &[SourceTopic],
        spec: &LaneSpec,
        now: Duration,
    ) -> Self {
        let is_new = read.lane.is_none();
        let skips = read.unseen_skips();
        let created_with = topics.iter().map(|topic| (topic.topic.to_string(), topic.partitions));
        let found = read.lane.unwrap_or_else(|| LaneRecord::new(created_with.collect(), spec.lanes));
        let record = found.updated(&spec.identity, spec.delivery);
        Self {
            owner,
            taken,
            known: read.positions,
            skips,
            borders: read.borders,
            lane_record: (is_new || record != found).then_some(record),
            created_with: found.created_with,
            next_sequence: 0,
            unsent: VecDeque::new(),
            in_flight: 0,
            last_written: now,
        }
    }

    /// Returns the owner epoch of this attempt.
    pub fn owner(&self) -> OwnerEpoch {
        self.owner
    }

    /// Returns how many of the lane's transactional ids are not fenced, because their last
    /// transaction cannot end yet.
    pub fn unfenced(&self) -> usize {
        self.taken.unfenced.len()
    }

    /// Returns all positions when the lane was taken.
    pub fn known(&self) -> impl Iterator<Item = (&PartitionKey, &Position)> {
        self.known.iter()
    }

    /// Returns where to resume a partition that the source has now, or `None` if it is new.
    ///
    /// A cluster may begin to report topic ids, and may for a while not report them. So an unknown
    /// id is that of the newest position, and a position without an id belongs to the topic unless
    /// progress knows another incarnation of it.
    pub fn resume_point(&self, found: &PartitionKey) -> Option<ResumePoint> {
        let same = PartitionKey::of_topic(&self.known, &found.topic).filter(|(key, _)| key.may_be(found));
        let (stored, position) = same.reduce(|one, other| if other.1.supersedes(one.1) { other } else { one })?;
        let is_sure = self.known.contains_key(found) || self.former_incarnations(found).is_empty();
        let key = if found.topic_id.is_known() { found.clone() } else { stored.clone() };
        let border = self.borders.get(stored).cloned();
        is_sure.then(|| ResumePoint { key, position: position.clone(), border })
    }

    /// Takes out the move of a partition's position by an operator that is to be reported.
    pub fn take_skip(&mut self, partition: &PartitionKey) -> Option<Skip> {
        self.skips.remove(partition)
    }

    /// Returns the positions of older incarnations of a partition. A topic can have been created
    /// more than once since the lane was last taken.
    pub fn former_incarnations(&self, partition: &PartitionKey) -> Vec<(PartitionKey, Position)> {
        let is_former = |(other, _): &(&PartitionKey, &Position)| {
            other.partition == partition.partition && other.topic_id.is_other_than(partition.topic_id)
        };
        let former = PartitionKey::of_topic(&self.known, &partition.topic).filter(is_former);
        former.map(|(other, position)| (other.clone(), position.clone())).collect()
    }

    /// Returns whether a partition existed when the lane was first taken.
    pub fn created_with(&self, partition: &PartitionKey) -> bool {
        let count = self.created_with.get(&*partition.topic);
        count.is_some_and(|count| partition.partition < *count)
    }

    /// Returns whether the lane's own record is still to be written.
    pub fn owes_lane_record(&self) -> bool {
        self.lane_record.is_some()
    }

    /// Takes out the lane's own record, if it is still to be written.
    pub fn take_lane_record(&mut self) -> Option<ProgressRecord> {
        self.lane_record.take().map(ProgressRecord::Lane)
    }

    /// Returns the position to write for a partition, in the transaction that these ids carry.
    pub fn position(&self, written: Written, ids: &Arc<str>, spec: &LaneSpec) -> Position {
        let Written { next, leader_epoch, generation, accounted } = written;
        let Accounted { tails, origin, totals } = accounted;
        Position {
            next,
            leader_epoch,
            generation,
            owner: self.owner,
            ids: Arc::clone(ids),
            lanes: spec.lanes,
            config: Arc::clone(&spec.config_hash),
            origin,
            totals,
            tails,
        }
    }

    /// Returns the letters of this slot's transactional id and of the next one.
    pub fn ids_from(&self, slot: ProducerSlot) -> Arc<str> {
        self.taken.ids_from(slot)
    }

    /// Returns the sequence of the next progress or map record.
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Takes progress and map records to be sent.
    pub fn write(&mut self, records: impl IntoIterator<Item = ControlRecord>, now: Duration) {
        self.unsent.extend(records);
        self.last_written = now;
    }

    /// Takes out the next records to send: none while others are in flight, then as many as have
    /// `bytes_max` together, and at least one.
    pub fn take_portion(&mut self, bytes_max: usize) -> Vec<ControlRecord> {
        let mut portion = Vec::new();
        if self.in_flight > 0 {
            return portion;
        }
        let mut bytes = 0;
        let mut fits = |record: &mut ControlRecord| {
            bytes += record.bytes();
            bytes <= bytes_max || bytes == record.bytes()
        };
        while let Some(record) = self.unsent.pop_front_if(&mut fits) {
            portion.push(record);
        }
        self.next_sequence += portion.len() as u64;
        self.in_flight += portion.len();
        portion
    }

    /// Counts progress and map records as acknowledged.
    pub fn acknowledged(&mut self, count: u32) {
        self.in_flight = self.in_flight.saturating_sub(count as usize);
    }

    /// Returns whether progress and map records are not acknowledged yet.
    pub fn is_outstanding(&self) -> bool {
        self.in_flight > 0 || !self.unsent.is_empty()
    }

    /// Returns for how long progress and map records have waited for their acknowledgement, once
    /// that is too long.
    pub fn late_for(&self, now: Duration) -> Option<Duration> {
        let waited = now.saturating_sub(self.last_written);
        Some(waited).filter(|waited| self.is_outstanding() && *waited >= LATE)
    }

    /// Returns whether nothing was written for this long.
    pub fn is_idle_for(&self, interval: Duration, now: Duration) -> bool {
        now.saturating_sub(self.last_written) >= interval
    }
}

#[cfg(test)]
mod tests {
    use strait_core::{SourceOffset, TopicId};

    use super::*;

    /// Returns what a lane resumes `found` at that has stored positions under these ids, each with
    /// owner count and offset: the id that it writes under, and the offset.
    fn resumed(stored: &[(u8, u64, i64)], found: u8) -> Option<(u8, i64)> {
        let key = |id: u8| PartitionKey { topic: "t".into(), topic_id: TopicId([id; 16]), partition: 3 };
        let mut known = BTreeMap::new();
        for (id, count, next) in stored {
            let (owner, next) = (OwnerEpoch(count << 32), SourceOffset(*next));
            known.insert(key(*id), Position { owner, next, ..Position::default() });
        }
        // Neither of these is the partition.
        let other = Position { owner: OwnerEpoch(u64::MAX), ..Position::default() };
        known.insert(PartitionKey { partition: 2, ..key(0) }, other.clone());
        known.insert(PartitionKey { topic: "u".into(), ..key(0) }, other);
        let progress = Progress {
            owner: OwnerEpoch::default(),
            taken: Taken::default(),
            known,
            skips: BTreeMap::new(),
            borders: BTreeMap::new(),
            created_with: BTreeMap::new(),
            lane_record: None,
            next_sequence: 0,
            unsent: VecDeque::new(),
            in_flight: 0,
            last_written: Duration::ZERO,
        };
        let point = progress.resume_point(&key(found))?;
        Some((point.key.topic_id.0[0], point.position.next.0))
    }

    #[test]
    fn a_topic_id_that_comes_or_goes_moves_no_position() {
        assert_eq!(resumed(&[], 1), None);
        assert_eq!(resumed(&[(1, 1, 10)], 1), Some((1, 10)));
        // It becomes known, and vanishes again.
        assert_eq!(resumed(&[(0, 1, 10)], 1), Some((1, 10)));
        assert_eq!(resumed(&[(0, 1, 10), (1, 2, 20)], 1), Some((1, 20)));
        assert_eq!(resumed(&[(0, 1, 10), (1, 2, 20)], 0), Some((1, 20)));
        assert_eq!(resumed(&[(1, 1, 10)], 0), Some((1, 10)));
        // An earlier version wrote without the id when it was not reported.
        assert_eq!(resumed(&[(1, 1, 10), (0, 2, 30)], 1), Some((1, 30)));
        // The newest incarnation is the one that lives.
        assert_eq!(resumed(&[(1, 3, 10), (2, 5, 7)], 0), Some((2, 7)));
        // Another incarnation is no such case, and an unknown position may be of the other one.
        assert_eq!(resumed(&[(1, 1, 10)], 2), None);
        assert_eq!(resumed(&[(1, 1, 10), (0, 2, 30)], 2), None);
    }
}
