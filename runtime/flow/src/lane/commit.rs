//! Commit: when a transaction begins, closes and commits, and what is written with it.

use std::time::Duration;

use strait_core::map::MapRecord;
use strait_core::progress::ProgressRecord;

use super::Lane;
use crate::error::LaneError;
use crate::partitions::{BOOKS_STREAM, CONTROL_STREAM};
use crate::ports::{ControlRecord, ControlTopic, ProduceError, ProducerSlot};
use crate::spec::DeliveryMode;
use crate::transaction::Promises;

/// Most bytes of a run in a map record.
const RUN_BYTES_MAX: usize = 32;

/// Most time between two transactions of a lane with a stopped partition. A transaction shows
/// whether somebody else took the lane, as `strait partitions skip` does to move that partition. A
/// lane that moves nothing would not notice.
const OWNERSHIP_CHECK: Duration = Duration::from_secs(10);

/// Longest sleep of the loop when nothing happens.
const IDLE_MAX: Duration = Duration::from_millis(200);

impl Lane<'_> {
    /// Begins a transaction, unless one is open.
    pub(super) fn begin(&mut self, now: Duration) -> Result<(), LaneError> {
        if self.transactions.is_idle() {
            self.target.begin(self.transactions.slot())?;
            self.transactions.begin(now);
        }
        Ok(())
    }

    /// Moves the transactions on as far as they can go now.
    pub(super) async fn advance_transaction(&mut self, draining: bool, now: Duration) -> Result<(), LaneError> {
        if self.spec.delivery == DeliveryMode::AtLeastOnce {
            return self.advance_plain(draining, now).await;
        }
        if self.transactions.can_begin() && self.progress_is_due(draining, now) {
            self.begin(now)?;
        }
        let is_due = || self.transactions.is_due(now, &self.spec.limits, self.has_backlog()) || self.maps_are_large();
        // At the end of a drain there is nothing to wait for.
        if self.transactions.is_open() && (draining || is_due()) && !self.partitions.has_partial() {
            self.transactions.close(now);
        }
        if self.transactions.is_settling() && self.partitions.is_settled() {
            self.write_progress(now)?;
            self.transactions.progress_written();
        }
        self.send_control(self.transactions.slot(), now)?;
        if !self.progress.is_outstanding() {
            self.transactions.progress_acknowledged();
        }
        if let Some(slot) = self.transactions.start_commit() {
            self.target.commit(slot);
            self.release.next_turn();
        }
        Ok(())
    }

    /// Returns whether the offset maps and the entries of the books hold so much memory that they
    /// should be written: each record that goes to a partition of its own, and each refused one,
    /// adds to them until then.
    fn maps_are_large(&self) -> bool {
        self.partitions.control_memory() > self.spec.limits.window_bytes / 4
    }

    /// In at-least-once mode, progress follows the acknowledgements without a transaction around
    /// it.
    async fn advance_plain(&mut self, draining: bool, now: Duration) -> Result<(), LaneError> {
        self.send_control(ProducerSlot::A, now)?;
        if self.progress.is_outstanding() {
            return Ok(());
        }
        let promises = self.transactions.take_promises();
        self.fulfil(promises).await?;
        if self.progress_is_due(draining, now) && (!draining || self.partitions.is_settled()) {
            self.write_progress(now)?;
            self.send_control(ProducerSlot::A, now)?;
        }
        Ok(())
    }

    /// Returns whether progress should be written although no record asks for it: for partitions
    /// that passed offsets without records, for those seen for the first time, and to check that
    /// the lane is still this process's.
    fn progress_is_due(&self, draining: bool, now: Duration) -> bool {
        let idle = self.progress.is_idle_for(self.spec.limits.idle_interval, now);
        let owes = || self.progress.owes_lane_facts() || self.partitions.owes_progress();
        let urgent = || owes() || self.maps_are_large();
        let has_reason = self.has_progress() && (idle || draining || urgent());
        has_reason || (!draining && self.ownership_is_due(now))
    }

    /// Returns whether to commit unchanged progress, to see whether the lane was taken.
    fn ownership_is_due(&self, now: Duration) -> bool {
        self.spec.delivery == DeliveryMode::ExactlyOnce
            && self.progress.is_idle_for(OWNERSHIP_CHECK, now)
            && self.partitions.has_stopped()
    }

    /// Returns whether there is progress to write.
    fn has_progress(&self) -> bool {
        self.progress.owes_lane_facts() || self.partitions.is_dirty()
    }

    /// Writes the books, the offset map and progress of every partition that moved. They are sent
    /// from then on.
    fn write_progress(&mut self, now: Duration) -> Result<(), LaneError> {
        // Every transaction carries progress of some partition: another owner learns from it which
        // id comes next.
        if !self.partitions.is_dirty() {
            self.partitions.claim();
        }
        if let Some(event) = self.progress.take_border_event() {
            self.emit(event);
        }
        if self.progress.owes_lane_facts()
            && let Some(border) = self.border.to_copy()
        {
            self.transactions.promise_border(border);
        }
        let Self { partitions, topics, progress, transactions, spec, caution, .. } = self;
        let ids = progress.ids_from(transactions.slot());
        let runs_max = caution.control_bytes_max(&spec.limits) / RUN_BYTES_MAX;
        let mut records: Vec<ProgressRecord> = progress.take_lane_facts();
        let mut maps: Vec<MapRecord> = Vec::new();
        let mut books: Vec<ControlRecord> = Vec::new();
        for (stream, window) in partitions.iter_mut() {
            window.leave_transaction();
            if !window.is_dirty() {
                continue;
            }
            let (written, borders) = window.write(topics, &mut maps, &mut books, runs_max)?;
            let key = window.key();
            transactions.promise(stream, written.next);
            records.push(ProgressRecord::Partition(key.clone(), progress.position(written, &ids, spec)));
            records.extend(borders.into_iter().map(|border| ProgressRecord::Border(key.clone(), border)));
        }
        // Without transactions, progress must not be ahead of the books and the map.
        let records = maps.iter().map(ControlRecord::from).chain(records.iter().map(ControlRecord::from));
        progress.write(books.into_iter().chain(records), now);
        Ok(())
    }

    /// Sends the next records of books, map and progress, once those before them are acknowledged:
    /// their topics refuse a batch that is too large.
    fn send_control(&mut self, slot: ProducerSlot, now: Duration) -> Result<(), LaneError> {
        let sequence = self.progress.next_sequence();
        let bytes_max = self.caution.control_bytes_max(&self.spec.limits);
        let portion = self.progress.take_portion(|topic| match topic {
            ControlTopic::Books => self.books.bytes_max(bytes_max),
            ControlTopic::Progress | ControlTopic::Map => bytes_max,
        });
        let Some(first) = portion.first() else { return Ok(()) };
        let (stream, subject) = match first.topic {
            ControlTopic::Books => (BOOKS_STREAM, "the books"),
            ControlTopic::Progress | ControlTopic::Map => (CONTROL_STREAM, "progress"),
        };
        if stream == BOOKS_STREAM {
            self.books.sent(now);
        }
        self.target.produce_control(slot, stream, sequence, &portion).map_err(|error| match error {
            ProduceError::QueueFull => LaneError::Delivery(format!("no room for {subject} in the client's queue")),
            ProduceError::Refused(reason) if stream == BOOKS_STREAM => self.entries_refused(&reason),
            ProduceError::Refused(reason) => self.control_refused(&reason),
            ProduceError::Broken(reason) => LaneError::Delivery(format!("{subject}: {reason}")),
        })
    }

    /// Handles progress or map records that the target refuses. The next attempt sends fewer at a
    /// time.
    pub(super) fn control_refused(&mut self, reason: &str) -> LaneError {
        let bytes = self.caution.control_refused(&self.spec.limits);
        LaneError::Delivery(format!("progress was refused, with at most {bytes} bytes of it in flight: {reason}"))
    }

    /// Handles the end of a commit.
    pub(super) async fn on_committed(&mut self, slot: ProducerSlot, now: Duration) -> Result<(), LaneError> {
        let Some((promises, took)) = self.transactions.committed(slot, now) else {
            return Err(LaneError::Delivery(
                "the target reported a commit for a slot that has none in progress".to_owned(),
            ));
        };
        self.deps.status.add(|totals| totals.transactions += 1);
        self.deps.status.time(|timings| timings.transaction.observe(took));
        self.fulfil(promises).await
    }

    /// Handles progress that is committed. Partitions whose first position is committed begin to be
    /// read.
    async fn fulfil(&mut self, promises: Promises) -> Result<(), LaneError> {
        if let Some(border) = promises.border {
            self.deps.borders.write(self.spec.lane, &border);
        }
        if promises.positions.is_empty() {
            return Ok(());
        }
        let mut starting = Vec::new();
        let now_ms = self.deps.clock.unix_ms();
        for (stream, next) in promises.positions {
            let window = self.partitions.at_mut(stream);
            if window.commit(next) {
                starting.push(stream);
            }
            self.caution.forget_below(window.key(), next);
            if !window.is_paused() {
                self.caution.unstick(window.key());
            }
            let key = window.key().clone();
            self.show(stream);
            for time_ms in self.partitions.at_mut(stream).take_times_below(next) {
                let latency_ms = u64::try_from(now_ms.saturating_sub(time_ms)).unwrap_or(0);
                self.deps.status.committed(&key, time_ms, Duration::from_millis(latency_ms));
            }
        }
        self.start_reading(&starting).await
    }

    /// Returns whether everything that was released is committed.
    pub(super) fn is_drained(&self) -> bool {
        self.partitions.is_settled()
            && !self.progress.is_outstanding()
            && self.transactions.is_quiet()
            && !self.has_progress()
    }

    /// Returns how long the loop may sleep if nothing happens.
    pub(super) fn wake_after(&self, now: Duration) -> Duration {
        if !self.transactions.is_open() {
            return IDLE_MAX;
        }
        let due = self.transactions.due_at(&self.spec.limits, self.has_backlog()).unwrap_or(now);
        due.saturating_sub(now).clamp(Duration::from_millis(1), IDLE_MAX)
    }
}
