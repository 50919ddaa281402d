//! The records of one source partition between fetch and commit: a queue of judged batches, and the
//! ledger of those that were released.

mod reading;

use std::collections::VecDeque;
use std::sync::Arc;

use strait_core::map::MapRecord;
use strait_core::progress::{Border, Position};
use strait_core::{LeaderEpoch, Ledger, PartitionKey, RecordMark, SourceOffset, TargetOffset, invariants};

use crate::error::LaneError;
use crate::partitions::account::Account;
use crate::partitions::in_flight::{Manner, Place};
use crate::partitions::latency::LatencySamples;
use crate::partitions::lineage::Lineage;
use crate::partitions::pause::Pause;
use crate::partitions::positions::Positions;
use crate::partitions::queued::{OutCopy, Queued};
use crate::partitions::suspects::Suspects;
use crate::partitions::warming_up::WarmingUp;
use crate::partitions::written::Written;
use crate::ports::{ControlRecord, ReadEpoch, TargetTopic, TopicHandle};
use crate::status::Activity;
use crate::target_topics::TargetTopics;

/// Memory that the client needs for a record in flight besides the record's bytes.
const MESSAGE_BYTES: usize = 192;

/// One source partition of a lane. Its positions and their order: [`Positions`].
#[derive(Debug)]
pub(crate) struct PartitionWindow {
    key: PartitionKey,
    /// Partition count of the source topic, for target topics that are created.
    source_partitions: u32,
    read_epoch: ReadEpoch,
    pause: Option<Pause>,
    warming_up: Option<WarmingUp>,
    /// From here to `expected` the log holds other entries than those that were read there. They
    /// are read again: a record among them shows that the log was truncated here.
    changed_from: Option<SourceOffset>,
    /// The first position, as long as no record was read. No leader epoch is known then that would
    /// tell whether the log was truncated since.
    unread_from: Option<SourceOffset>,
    queue: VecDeque<Queued>,
    ledger: Ledger,
    account: Account,
    lineage: Lineage,
    samples: LatencySamples,
    expected: SourceOffset,
    passed: SourceOffset,
    written: SourceOffset,
    committed: SourceOffset,
    /// The window begins below committed progress, because the source was truncated.
    is_rewound: bool,
    /// The mark of the books that ends the entries of what is read again. It goes with the first
    /// progress.
    read_again: Option<ControlRecord>,
    suspects: Suspects,
    is_in_transaction: bool,
    /// Progress is due although nothing moved: the first position, a rewind, or a claim.
    owes_progress: bool,
    /// The first position is not committed yet. Nothing is fetched before that.
    awaits_start: bool,
}

/// Making windows.
impl PartitionWindow {
    /// Creates a window that begins at `next`, behind a record of this leader epoch.
    pub fn new(key: PartitionKey, source_partitions: u32, next: SourceOffset, leader_epoch: LeaderEpoch) -> Self {
        Self {
            key,
            source_partitions,
            read_epoch: ReadEpoch::default(),
            pause: None,
            warming_up: None,
            changed_from: None,
            unread_from: None,
            queue: VecDeque::new(),
            ledger: Ledger::new(next),
            account: Account::default(),
            lineage: Lineage::new(next, leader_epoch),
            samples: LatencySamples::default(),
            expected: next,
            passed: next,
            written: next,
            committed: next,
            is_rewound: false,
            read_again: None,
            suspects: Suspects::default(),
            is_in_transaction: false,
            owes_progress: false,
            awaits_start: false,
        }
    }

    /// Creates the window of a partition without progress. Its `start` is committed before anything
    /// is fetched.
    pub fn first_seen(key: PartitionKey, source_partitions: u32, start: SourceOffset) -> Self {
        let new = Self::new(key, source_partitions, start, LeaderEpoch::UNKNOWN);
        let (account, unread_from) = (Account::begin(start), Some(start));
        Self { account, unread_from, owes_progress: true, awaits_start: true, ..new }
    }

    /// Creates a window that resumes at committed progress, or at `rewound` if the source was
    /// truncated below it. A rewind is written at once: another owner must not wait at an offset
    /// that no longer exists.
    pub fn resume(
        key: PartitionKey,
        source_partitions: u32,
        position: &Position,
        border: Option<Border>,
        rewound: Option<SourceOffset>,
    ) -> Self {
        let next = rewound.unwrap_or(position.next);
        let mut new = Self::new(key, source_partitions, next, position.leader_epoch);
        new.lineage.resume(Arc::clone(&position.generation), border);
        new.account = Account::resume(position);
        let unread = position.totals.is_some_and(|totals| totals.seen == 0);
        new.unread_from = position.origin.filter(|_| unread && position.leader_epoch == LeaderEpoch::UNKNOWN);
        Self { committed: position.next, is_rewound: rewound.is_some(), owes_progress: rewound.is_some(), ..new }
    }

    /// Writes this mark into the books with the first progress.
    pub fn with_read_again(self, read_again: Option<ControlRecord>) -> Self {
        Self { read_again, ..self }
    }

    /// Sends these records in requests of their own.
    pub fn with_suspects(self, suspects: Suspects) -> Self {
        Self { suspects, ..self }
    }

    /// Does not read the partition for now.
    pub fn with_pause(self, pause: Option<Pause>) -> Self {
        Self { pause, ..self }
    }
}

/// Identity, positions, status.
impl PartitionWindow {
    pub fn key(&self) -> &PartitionKey {
        &self.key
    }

    pub fn source_partitions(&self) -> u32 {
        self.source_partitions
    }

    /// Raises the partition count of the source topic to at least `partitions`.
    pub fn source_grew(&mut self, partitions: u32) {
        self.source_partitions = self.source_partitions.max(partitions);
    }

    pub fn committed(&self) -> SourceOffset {
        self.committed
    }

    pub fn expected(&self) -> SourceOffset {
        self.expected
    }

    pub fn passed(&self) -> SourceOffset {
        self.passed
    }

    /// Returns the offset after the last queued record, or the released offset if none is queued.
    pub fn queue_end(&self) -> SourceOffset {
        self.queue.back().and_then(Queued::end_offset).unwrap_or_else(|| self.ledger.released())
    }

    pub fn positions(&self) -> Positions {
        let first = self.queue.front().and_then(Queued::current).map(|record| record.offset);
        // Everything before a record that is sent in part is released.
        let in_part = first.filter(|_| self.is_partial());
        let released = in_part.unwrap_or_else(|| self.ledger.released());
        let in_flight = self.ledger.in_flight() > 0;
        Positions {
            committed: self.committed,
            written: self.written,
            settled: if in_flight { self.ledger.settled() } else { released },
            released,
            queue_start: first.unwrap_or(released),
            queue_end: self.queue_end(),
            passed: self.passed,
            expected: self.expected,
            warm_up_end: self.warming_up.map(|warming_up| warming_up.until),
        }
    }

    /// Checks that the positions are in order.
    pub fn check(&self) -> Result<(), LaneError> {
        self.positions().check(self.is_rewound).map_err(|found| LaneError::impossible(format!("{}: {found}", self.key)))
    }

    pub fn activity(&self) -> Activity {
        Pause::activity(self.pause)
    }
}

/// Queue and release.
impl PartitionWindow {
    /// Queues a judged batch. Its records end at `stop_at` if the partition stops there. Returns
    /// the memory that the queue holds in addition.
    pub fn enqueue(&mut self, queued: Queued, stop_at: Option<SourceOffset>) -> usize {
        self.passed = stop_at.unwrap_or(self.expected).max(self.passed);
        if queued.is_done() {
            return 0;
        }
        let held = queued.held_bytes();
        self.queue.push_back(queued);
        held
    }

    /// Adds the entry of the books for a record that is left out. It is written with the progress
    /// that passes the record.
    pub fn enter(&mut self, offset: SourceOffset, entry: ControlRecord) {
        self.account.enter(offset, entry);
    }

    pub fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Returns the batch that is released next.
    pub fn front(&self) -> Option<&Queued> {
        self.queue.front()
    }

    /// Returns the next copy to send of the record that is released next.
    pub fn next_copy(&self) -> Option<OutCopy<'_>> {
        self.queue.front()?.next_copy()
    }

    /// Returns whether some copies of a record are sent and others are not.
    pub fn is_partial(&self) -> bool {
        self.queue.front().is_some_and(Queued::is_partial)
    }

    /// Returns how the copies of a record share their requests.
    pub fn manner(&self, offset: SourceOffset) -> Manner {
        match self.suspects {
            Suspects { until, .. } if offset >= until && self.is_partial() => Manner::Rest,
            Suspects { until, .. } if offset >= until => Manner::Plain,
            Suspects { group: 0 | 1, .. } => Manner::Alone,
            Suspects { .. } => Manner::Suspect,
        }
    }

    /// Returns whether the next record must wait until all that is in flight is acknowledged:
    /// another group of suspects is in flight. So must the first record after the suspects.
    pub fn must_wait_for_suspects(&self, offset: SourceOffset) -> bool {
        let Suspects { until, group } = self.suspects;
        let in_flight = self.ledger.in_flight();
        in_flight > 0 && self.ledger.settled() < until && (offset >= until || in_flight >= group)
    }

    /// Returns the sequence of the next copy that is sent.
    pub fn next_sequence(&self) -> u64 {
        self.ledger.next_sequence()
    }

    /// Marks a copy of the record at the cursor as sent.
    pub fn sent(
        &mut self,
        record: (SourceOffset, RecordMark),
        topic: &TargetTopic,
        partition: i32,
        bytes: usize,
    ) -> Result<(), LaneError> {
        self.ledger
            .produced(record, topic.handle.0, partition, bytes)
            .map_err(|error| LaneError::Delivery(format!("{}: {error}", self.key)))?;
        if let Some(front) = self.queue.front_mut() {
            front.copy_sent();
        }
        Ok(())
    }

    /// Moves on to the next record. Returns the memory that the queue gives back.
    pub fn advance(&mut self) -> usize {
        let Some(front) = self.queue.front_mut() else { return 0 };
        if let Some(record) = front.current() {
            if !front.is_partial() {
                self.account.leave_out(record.offset, self.ledger.next_sequence(), front.is_quarantined());
            }
            self.ledger.pass(record.offset.next());
        }
        front.advance();
        if !front.is_done() {
            return 0;
        }
        let held = front.held_bytes();
        self.queue.pop_front();
        self.release_passed();
        held
    }
}

/// Acknowledgements.
impl PartitionWindow {
    pub fn in_flight(&self) -> usize {
        self.ledger.in_flight()
    }

    pub fn in_flight_bytes(&self) -> usize {
        self.ledger.in_flight_bytes()
    }

    /// Returns the memory of what is in flight, in bytes: the client's copy of each record, and the
    /// entries of the ledger.
    pub fn in_flight_memory(&self) -> usize {
        self.in_flight_bytes() + self.in_flight() * MESSAGE_BYTES + self.ledger.held_bytes()
    }

    /// Returns the memory that the offset maps of the open transaction and the entries of the books
    /// hold, in bytes.
    pub fn control_memory(&self) -> usize {
        self.account.held_bytes()
    }

    /// Settles acknowledged records and maps them. Returns the acknowledged bytes.
    pub fn acknowledge(&mut self, first_sequence: u64, count: u32, offset: TargetOffset) -> Result<usize, LaneError> {
        let before = self.ledger.in_flight_bytes();
        self.ledger
            .acknowledge(first_sequence, count, offset)
            .map_err(|error| LaneError::Delivery(format!("{}: {error}", self.key)))?;
        let Self { ledger, account, .. } = self;
        ledger.settle(|copy| account.settled(copy));
        Ok(before - self.ledger.in_flight_bytes())
    }

    /// Returns the source offset of a copy in flight, and the mark of its record.
    pub fn record_of(&self, sequence: u64) -> Option<(SourceOffset, RecordMark)> {
        self.ledger.source_of(sequence)
    }

    /// Returns the target partition of a copy in flight.
    pub fn place_of(&self, sequence: u64) -> Option<Place> {
        let (topic, partition) = self.ledger.target_of(sequence)?;
        Some(Place { topic: TopicHandle(topic), partition })
    }

    /// Returns the offset of the last record of which a copy is in flight to a target partition.
    pub fn last_in_flight_to(&self, place: Place) -> Option<SourceOffset> {
        self.ledger.last_unacknowledged(place.topic.0, place.partition)
    }
}

/// Transactions and progress.
impl PartitionWindow {
    pub fn is_in_transaction(&self) -> bool {
        self.is_in_transaction
    }

    /// Joins the open transaction. Returns whether it was not in it.
    pub fn join_transaction(&mut self) -> bool {
        !std::mem::replace(&mut self.is_in_transaction, true)
    }

    /// The transaction takes no more records.
    pub fn leave_transaction(&mut self) {
        self.is_in_transaction = false;
    }

    /// Makes progress due although nothing moved.
    pub fn owe_progress(&mut self) {
        self.owes_progress = true;
    }

    pub fn owes_progress(&self) -> bool {
        self.owes_progress
    }

    /// Returns whether progress has something to write.
    pub fn is_dirty(&self) -> bool {
        self.owes_progress || self.ledger.settled() > self.written
    }

    /// Takes out what a transaction writes about the partition, its maps into `maps`, each with at
    /// most `runs_max` runs, and its entries of the books into `books`. Also returns the changes of
    /// plugins that were not written before.
    pub fn write(
        &mut self,
        topics: &TargetTopics,
        maps: &mut Vec<MapRecord>,
        books: &mut Vec<ControlRecord>,
        runs_max: usize,
    ) -> Result<(Written, Vec<Border>), LaneError> {
        self.check()?;
        let next = self.ledger.settled();
        invariants::behind_unsettled(&self.key, next, self.oldest_waiting())
            .map_err(|violation| LaneError::Delivery(violation.to_string()))?;
        let accounted = self.account.write(&self.key, topics, (self.written, next), maps, runs_max)?;
        // Before the entries: those that stand behind the mark count.
        books.extend(self.read_again.take());
        self.account.take_entries_before(next, books);
        let (generation, borders) = self.lineage.take_generation_before(next);
        self.written = next;
        self.owes_progress = false;
        let leader_epoch = self.lineage.take_epoch_before(next);
        Ok((Written { next, leader_epoch, generation, accounted }, borders))
    }

    /// Marks progress as committed. Returns whether the partition may be read for the first time
    /// now.
    pub fn commit(&mut self, next: SourceOffset) -> bool {
        self.committed = next;
        self.is_rewound = false;
        std::mem::take(&mut self.awaits_start) && self.pause.is_none()
    }

    /// Takes out the timestamps of records below `next`, oldest first.
    pub fn take_times_below(&mut self, next: SourceOffset) -> impl Iterator<Item = i64> + '_ {
        self.samples.take_below(next)
    }

    /// Returns the first record that is neither acknowledged nor left out, from what is in flight
    /// and queued and not from the ledger's own count.
    fn oldest_waiting(&self) -> Option<SourceOffset> {
        let in_flight = (self.ledger.in_flight() > 0).then(|| self.ledger.settled());
        let queued = self.queue.front().and_then(Queued::current).map(|record| record.offset);
        in_flight.or(queued)
    }
}
