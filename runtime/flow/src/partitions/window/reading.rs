//! Reading a partition: where the source reads on, what came of it, and pauses.

use std::sync::Arc;
use std::time::Duration;

use strait_core::{Batch, LeaderEpoch, SourceOffset};

use super::PartitionWindow;
use crate::partitions::Pause;
use crate::partitions::warming_up::WarmingUp;
use crate::ports::{ReadEpoch, ReadFrom};
use crate::status::Activity;

/// Reading.
impl PartitionWindow {
    /// Returns whether something fetched under this read epoch is current.
    pub fn accepts(&self, epoch: ReadEpoch) -> bool {
        self.read_epoch == epoch && self.pause.is_none()
    }

    /// Returns the place to read from. What was fetched under an older read epoch is void.
    pub fn start_reading(&mut self, epoch: ReadEpoch) -> ReadFrom {
        self.read_epoch = epoch;
        self.warming_up = None;
        let unread = self.unread_from.filter(|from| *from < self.expected);
        self.changed_from = self.changed_from.or(unread);
        let next = self.changed_from.unwrap_or(self.expected);
        ReadFrom { partition: self.key.clone(), next, leader_epoch: self.lineage.leader_epoch() }
    }

    /// Makes the next read begin at `end`: from there to the expected offset the log holds other
    /// entries than those that were read. Control records and aborted ones may have been there,
    /// under a newer leader epoch than the last record; then nothing is wrong.
    pub fn look_from(&mut self, end: SourceOffset) {
        self.changed_from = Some(end);
    }

    /// Skips what retention has deleted of the entries that are read again.
    pub fn skip_deleted(&mut self, log_start: SourceOffset) {
        self.changed_from = self.changed_from.map(|from| from.max(log_start)).filter(|from| *from < self.expected);
        self.unread_from = self.unread_from.map(|from| from.max(log_start));
    }

    /// Returns where the log was truncated, if a record at `first` shows that it was: nobody has
    /// read it, and the expected offset lies behind it.
    pub fn truncated_by(&mut self, first: SourceOffset) -> Option<SourceOffset> {
        let end = self.changed_from?;
        if first < self.expected {
            return Some(end);
        }
        self.changed_from = None;
        None
    }

    /// Begins a warm-up that ends at the expected offset. Returns the place to read from.
    pub fn start_warm_up(&mut self, epoch: ReadEpoch, from: SourceOffset, now: Duration) -> ReadFrom {
        self.read_epoch = epoch;
        self.warming_up = Some(WarmingUp::new(self.expected, now));
        ReadFrom { partition: self.key.clone(), next: from, leader_epoch: LeaderEpoch::UNKNOWN }
    }

    /// Returns the end of the warm-up under way, for which the source just gave something.
    pub fn hear_warm_up(&mut self, now: Duration) -> Option<SourceOffset> {
        self.warming_up.as_mut().map(|warming_up| warming_up.hear(now))
    }

    /// Returns whether the source has given nothing for a warm-up for this long.
    pub fn is_warm_up_stalled(&self, now: Duration, patience: Duration) -> bool {
        self.pause.is_none() && self.warming_up.is_some_and(|warming_up| warming_up.is_stalled(now, patience))
    }

    /// Returns the largest leader epoch read.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.lineage.leader_epoch()
    }

    /// Returns the leader epoch of the last record before committed progress.
    pub fn committed_epoch(&mut self) -> LeaderEpoch {
        self.lineage.take_epoch_before(self.committed)
    }

    /// Marks a batch as read.
    pub fn read(&mut self, batch: &Batch, first: SourceOffset, last: SourceOffset) {
        self.expected = last.next();
        self.unread_from = None;
        self.lineage.read_under(first, batch.leader_epoch());
        if let Some(record) = batch.get(batch.len() - 1) {
            self.samples.record(last, record.timestamp_ms);
        }
    }

    /// Forgets that the batch from `first` on was read: the source is where its records wait.
    pub fn read_again(&mut self, first: SourceOffset) {
        self.expected = first;
    }

    /// Records which plugins judged the batch from `first` on.
    pub fn judged_by(&mut self, first: SourceOffset, generation: &Arc<str>) {
        self.lineage.judged_by(first, generation);
    }

    /// Records that the reader reached `next` without further records.
    pub fn pass(&mut self, next: SourceOffset) {
        if next >= self.expected {
            self.changed_from = None;
        }
        self.expected = self.expected.max(next);
        self.passed = self.passed.max(next);
        self.release_passed();
    }

    /// Continues at `resume` after a gap in the source, behind a record of this leader epoch or of
    /// a later one.
    pub fn continue_at(&mut self, resume: SourceOffset, leader_epoch: LeaderEpoch) {
        self.changed_from = None;
        self.unread_from = self.unread_from.map(|_| resume);
        self.expected = resume;
        self.passed = resume;
        self.lineage.read_under(SourceOffset(resume.0.saturating_sub(1)), leader_epoch);
        self.release_passed();
    }

    /// With nothing queued, offsets without records count as released.
    pub fn release_passed(&mut self) {
        if self.queue.is_empty() {
            self.ledger.pass(self.passed);
        }
    }
}

/// Pausing.
impl PartitionWindow {
    pub fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    /// Returns whether it is paused until an operator acts.
    pub fn is_stopped(&self) -> bool {
        self.activity() == Activity::Stopped
    }

    /// Returns whether it is paused and its retry is due.
    pub fn is_retry_due(&self, now: Duration) -> bool {
        self.pause.is_some_and(|pause| pause.is_due(now))
    }

    pub fn pause(&mut self, pause: Pause) {
        self.pause = Some(pause);
    }

    /// Stops after the queued records. If it resumes, it reads from there.
    pub fn stop(&mut self, pause: Pause) {
        self.pause = Some(pause);
        self.expected = self.passed;
        // A warm-up may end behind a gap in the log, where `expected` was before.
        self.warming_up = None;
        self.changed_from = None;
    }

    /// Ends the pause. Returns whether the partition may be read now.
    pub fn unpause(&mut self) -> bool {
        self.pause = None;
        !self.awaits_start
    }
}
