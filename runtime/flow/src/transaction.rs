//! The two transactions of a lane: one that takes records, one whose commit is under way.
//!
//! Slots strictly alternate. A transaction produces no data before every record of the previous one
//! (data, progress, map) is acknowledged, and its end is sent only after the previous one is
//! committed. So the log of every target partition has the source's order, and a takeover finds at
//! most these two to abort.

use std::time::Duration;

use strait_core::SourceOffset;
use strait_core::progress::HeldBorder;

use crate::partitions::Stream;
use crate::ports::ProducerSlot;
use crate::spec::Limits;

/// How far the transaction that takes records has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// None is open.
    Idle,
    /// It takes records.
    Open { since: Duration, bytes: usize, partitions: usize },
    /// It takes no more; its records are being acknowledged.
    Settling { closed_at: Duration },
    /// Progress and map are written and being acknowledged.
    Sealing { closed_at: Duration },
    /// Everything is acknowledged. It waits for the previous commit.
    Sealed { closed_at: Duration },
}

/// Progress that becomes true when a transaction is committed.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    /// The next offset of each partition.
    pub positions: Vec<(Stream, SourceOffset)>,
    /// The border of the lane, if it was written.
    pub border: Option<HeldBorder>,
}

impl Promises {
    fn is_empty(&self) -> bool {
        self.positions.is_empty() && self.border.is_none()
    }
}

/// A transaction whose end was sent.
#[derive(Debug)]
struct Committing {
    slot: ProducerSlot,
    closed_at: Duration,
    promises: Promises,
}

/// The transactions of one attempt at a lane.
#[derive(Debug)]
pub(crate) struct Transactions {
    phase: Phase,
    /// Slot of the open transaction, or of the next one.
    slot: ProducerSlot,
    /// Promises of the open transaction.
    promises: Promises,
    committing: Option<Committing>,
    /// Smoothed time from closing to committed.
    commit_time: Duration,
}

impl Transactions {
    pub fn new() -> Self {
        Self {
            phase: Phase::Idle,
            slot: ProducerSlot::A,
            promises: Promises::default(),
            committing: None,
            commit_time: Duration::ZERO,
        }
    }

    /// Returns the slot of the open transaction, or of the next one.
    pub fn slot(&self) -> ProducerSlot {
        self.slot
    }

    /// Returns whether none takes records.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// Returns whether the next transaction may begin: its slot is free.
    pub fn can_begin(&self) -> bool {
        let is_free = |committing: &Committing| committing.slot != self.slot;
        self.is_idle() && self.committing.as_ref().is_none_or(is_free)
    }

    /// Opens a transaction.
    pub fn begin(&mut self, now: Duration) {
        self.phase = Phase::Open { since: now, bytes: 0, partitions: 0 };
    }

    /// Returns whether records may be added now. An idle lane begins a transaction first.
    pub fn accepts(&self, limits: &Limits) -> bool {
        match self.phase {
            Phase::Idle => self.can_begin(),
            Phase::Open { bytes, .. } => bytes < limits.transaction_bytes_max,
            _ => false,
        }
    }

    /// Returns whether another partition may join.
    pub fn accepts_partition(&self, limits: &Limits) -> bool {
        match self.phase {
            Phase::Idle => true,
            Phase::Open { partitions, .. } => partitions < limits.transaction_partitions_max,
            _ => false,
        }
    }

    /// Returns whether a transaction takes records.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    /// Counts a partition of the open transaction.
    pub fn add_partition(&mut self) {
        if let Phase::Open { partitions, .. } = &mut self.phase {
            *partitions += 1;
        }
    }

    /// Counts bytes of the open transaction.
    pub fn add_bytes(&mut self, more: usize) {
        if let Phase::Open { bytes, .. } = &mut self.phase {
            *bytes += more;
        }
    }

    /// Returns how long the open transaction may take records: short while nothing waits, and long
    /// under load, so that the price of a commit is spread over more records. Follows the measured
    /// commit time, and with it the round trip.
    fn interval(&self, limits: &Limits, backlog: bool) -> Duration {
        let (least, times) = if backlog { (Duration::from_millis(250), 10) } else { (limits.interval_min, 1) };
        least.max(self.commit_time * times).min(limits.interval_max)
    }

    /// Returns when the open transaction is due to close, if one is open.
    pub fn due_at(&self, limits: &Limits, backlog: bool) -> Option<Duration> {
        match self.phase {
            Phase::Open { since, .. } => Some(since + self.interval(limits, backlog)),
            _ => None,
        }
    }

    /// Returns whether the open transaction should close.
    pub fn is_due(&self, now: Duration, limits: &Limits, backlog: bool) -> bool {
        match self.phase {
            // It only carries progress, so it has nothing to wait for.
            Phase::Open { bytes: 0, partitions: 0, .. } => true,
            Phase::Open { since, bytes, .. } => {
                now.saturating_sub(since) >= self.interval(limits, backlog) || bytes >= limits.transaction_bytes_max
            }
            _ => false,
        }
    }

    /// The open transaction takes no more records.
    pub fn close(&mut self, now: Duration) {
        self.phase = Phase::Settling { closed_at: now };
    }

    /// Returns whether a closed transaction waits for its records to be acknowledged.
    pub fn is_settling(&self) -> bool {
        matches!(self.phase, Phase::Settling { .. })
    }

    /// Marks progress and map as written.
    pub fn progress_written(&mut self) {
        if let Phase::Settling { closed_at } = self.phase {
            self.phase = Phase::Sealing { closed_at };
        }
    }

    /// Marks progress and map as acknowledged, if they are written.
    pub fn progress_acknowledged(&mut self) {
        if let Phase::Sealing { closed_at } = self.phase {
            self.phase = Phase::Sealed { closed_at };
        }
    }

    /// Starts to commit the sealed transaction, if the previous commit has returned. Returns its
    /// slot. The other slot may begin.
    pub fn start_commit(&mut self) -> Option<ProducerSlot> {
        let Phase::Sealed { closed_at } = self.phase else { return None };
        if self.committing.is_some() {
            return None;
        }
        let (slot, promises) = (self.slot, std::mem::take(&mut self.promises));
        self.committing = Some(Committing { slot, closed_at, promises });
        self.slot = slot.other();
        self.phase = Phase::Idle;
        Some(slot)
    }

    /// Ends a commit. Returns its promises and the time from closing to committed, or `None` if
    /// this slot had no commit under way.
    pub fn committed(&mut self, slot: ProducerSlot, now: Duration) -> Option<(Promises, Duration)> {
        let Committing { closed_at, promises, .. } = self.committing.take_if(|committing| committing.slot == slot)?;
        let took = now.saturating_sub(closed_at);
        let is_first = self.commit_time.is_zero();
        self.commit_time = if is_first { took } else { (self.commit_time * 7 + took) / 8 };
        Some((promises, took))
    }

    /// Adds a promise to the open transaction.
    pub fn promise(&mut self, stream: Stream, next: SourceOffset) {
        self.promises.positions.push((stream, next));
    }

    /// Adds the border, as it is written in the open transaction.
    pub fn promise_border(&mut self, border: HeldBorder) {
        self.promises.border = Some(border);
    }

    /// Takes out the promises that no commit has taken. In at-least-once mode, which has no
    /// commits, they are true once progress is acknowledged.
    pub fn take_promises(&mut self) -> Promises {
        std::mem::take(&mut self.promises)
    }

    /// Returns how many transactions are open or being committed.
    pub fn unfinished(&self) -> u64 {
        u64::from(!self.is_idle()) + u64::from(self.committing.is_some())
    }

    /// Returns whether nothing is open, being committed or promised.
    pub fn is_quiet(&self) -> bool {
        self.unfinished() == 0 && self.promises.is_empty()
    }
}
