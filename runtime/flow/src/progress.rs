//! The progress of a lane: what its topic held when the lane was taken, and what the lane writes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use strait_core::progress::{self, Border, BorderChange, LaneProgress, LaneRecord, Position, ProgressRecord, Skip};
use strait_core::{Event, OwnerEpoch, PartitionKey};

use crate::partitions::{Accounted, Written};
use crate::ports::{ControlRecord, ControlTopic, ProducerSlot, SourceTopic, Taken};
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
    /// The lane's own record.
    lane: LaneRecord,
    /// It is to be written: the lane is new, or the stored one is not up to date.
    owes_lane: bool,
    /// The protection that the border holds, to be written.
    owed_protection: Vec<ProgressRecord>,
    border_event: Option<Event>,
    next_sequence: u64,
    /// Records of progress, map and books that are not sent.
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
            owes_lane: is_new || record != found,
            lane: record,
            owed_protection: Vec::new(),
            border_event: None,
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
    pub fn resume_point(&self, found: &PartitionKey) -> Option<ResumePoint> {
        let found = progress::resume_point(&self.known, found)?;
        let border = self.borders.get(found.stored).cloned();
        Some(ResumePoint { key: found.key, position: found.position.clone(), border })
    }

    /// Takes out the move of a partition's position by an operator that is to be reported.
    pub fn take_skip(&mut self, partition: &PartitionKey) -> Option<Skip> {
        self.skips.remove(partition)
    }

    /// Returns the positions of older incarnations of a partition. A topic can have been created
    /// more than once since the lane was last taken.
    pub fn former_incarnations(&self, partition: &PartitionKey) -> Vec<(PartitionKey, Position)> {
        let former = progress::former_incarnations(&self.known, partition);
        former.map(|(other, position)| (other.clone(), position.clone())).collect()
    }

    /// Returns whether neither the source nor progress tells which incarnation of its topic a
    /// partition is of.
    pub fn is_ambiguous(&self, found: &PartitionKey) -> bool {
        progress::is_ambiguous(&self.known, found)
    }

    /// Returns whether a partition existed when the lane was first taken.
    pub fn created_with(&self, partition: &PartitionKey) -> bool {
        let count = self.created_with.get(&*partition.topic);
        count.is_some_and(|count| partition.partition < *count)
    }

    /// Keeps a change of the border, to be written and then told.
    pub fn owe_border(&mut self, change: BorderChange, event: Option<Event>) {
        self.border_event = event.or_else(|| self.border_event.take());
        self.owed_protection.extend(change.records);
        if let Some(border) = change.border {
            self.lane.border = Some(border);
            self.owes_lane = true;
        }
    }

    /// Returns whether facts about the lane are still to be written.
    pub fn owes_lane_facts(&self) -> bool {
        self.owes_lane || !self.owed_protection.is_empty()
    }

    /// Takes out what is to be told of the border once it is written.
    pub fn take_border_event(&mut self) -> Option<Event> {
        self.border_event.take()
    }

    /// Takes out the facts about the lane that are still to be written: its own record, and what
    /// its border protects.
    pub fn take_lane_facts(&mut self) -> Vec<ProgressRecord> {
        let mut facts = std::mem::take(&mut self.owed_protection);
        if std::mem::take(&mut self.owes_lane) {
            facts.push(ProgressRecord::Lane(self.lane.clone()));
        }
        facts
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
    /// `bytes_max` together, and at least one. Entries of the books go by themselves, before the
    /// progress that passes their records.
    pub fn take_portion(&mut self, bytes_max: impl FnOnce(ControlTopic) -> usize) -> Vec<ControlRecord> {
        let mut portion = Vec::new();
        let Some(topic) = self.unsent.front().map(|first| first.topic).filter(|_| self.in_flight == 0) else {
            return portion;
        };
        let (bytes_max, mut bytes) = (bytes_max(topic), 0);
        let is_book = |topic: ControlTopic| topic == ControlTopic::Books;
        let mut fits = |record: &mut ControlRecord| {
            bytes += record.bytes();
            is_book(record.topic) == is_book(topic) && (bytes <= bytes_max || bytes == record.bytes())
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

    /// Returns whether records that were sent are not acknowledged yet.
    pub fn is_in_flight(&self) -> bool {
        self.in_flight > 0
    }

    /// Returns whether records of progress, map and books are not acknowledged yet.
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
