//! The two transactions of a lane: one that takes records, one whose commit is on its way.
//!
//! Slots strictly alternate. A transaction produces no data before every record of the one before it (data, progress, map)
//! is acknowledged, and its end is sent only after the one before it is committed. So the log of every target partition has
//! the source's order, and a takeover finds at most these two to abort.

use std::time::Duration;

use strait_core::SourceOffset;

use crate::ports::ProducerSlot;
use crate::spec::Limits;

/// Where the transaction that takes records stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// None is open.
    Idle,
    /// Takes records.
    Open { since: Duration, bytes: usize, partitions: usize },
    /// Takes no more; its records are being acknowledged.
    Settling { closed_at: Duration },
    /// Progress and map are written and being acknowledged.
    Sealing { closed_at: Duration },
    /// Everything is acknowledged; waits for the commit before it.
    Sealed { closed_at: Duration },
}

/// Progress that becomes true when a transaction is committed: stream of the partition and its next offset.
pub(crate) type Promises = Vec<(u32, SourceOffset)>;

#[derive(Debug)]
pub(crate) struct Transactions {
    pub phase: Phase,
    /// Slot of the transaction that is open, or of the next one.
    pub slot: ProducerSlot,
    /// What the open transaction will have made true.
    pub promises: Promises,
    /// The transaction whose end was sent.
    pub committing: Option<(ProducerSlot, Duration, Promises)>,
    /// Smoothed time from closing to committed.
    commit_time: Duration,
    /// The same of the last one.
    last_took: Duration,
}

impl Transactions {
    pub fn new() -> Self {
        Self {
            phase: Phase::Idle,
            slot: ProducerSlot::A,
            promises: Vec::new(),
            committing: None,
            commit_time: Duration::ZERO,
            last_took: Duration::ZERO,
        }
    }

    /// Whether the slot of the next transaction is free to begin.
    pub fn can_begin(&self) -> bool {
        self.phase == Phase::Idle && self.committing.as_ref().is_none_or(|(slot, _, _)| *slot != self.slot)
    }

    /// Whether records may be added now (an idle lane begins a transaction first).
    pub fn accepts(&self, limits: &Limits) -> bool {
        match self.phase {
            Phase::Idle => self.can_begin(),
            Phase::Open { bytes, .. } => bytes < limits.transaction_bytes_max,
            _ => false,
        }
    }

    /// How long the open transaction may take records: short while nothing waits, long under load, so that the price of a
    /// commit is spread over more records. Follows the measured commit time, and with it the round trip.
    pub fn interval(&self, limits: &Limits, backlog: bool) -> Duration {
        let (least, times) = if backlog { (Duration::from_millis(250), 10) } else { (limits.interval_min, 1) };
        least.max(self.commit_time * times).min(limits.interval_max)
    }

    /// Whether the open transaction should be closed.
    pub fn is_due(&self, now: Duration, limits: &Limits, backlog: bool) -> bool {
        match self.phase {
            Phase::Open { since, bytes, .. } => {
                now.saturating_sub(since) >= self.interval(limits, backlog) || bytes >= limits.transaction_bytes_max
            }
            _ => false,
        }
    }

    /// The sealed transaction's end was sent: the other slot may begin.
    pub fn committing(&mut self, closed_at: Duration) {
        let promises = std::mem::take(&mut self.promises);
        self.committing = Some((self.slot, closed_at, promises));
        self.slot = self.slot.other();
        self.phase = Phase::Idle;
    }

    /// A commit came back; gives what it made true.
    pub fn committed(&mut self, slot: ProducerSlot, now: Duration) -> Option<Promises> {
        if self.committing.as_ref().is_none_or(|(waiting, _, _)| *waiting != slot) {
            return None;
        }
        let (_, closed_at, promises) = self.committing.take()?;
        let took = now.saturating_sub(closed_at);
        self.last_took = took;
        self.commit_time = if self.commit_time.is_zero() { took } else { (self.commit_time * 7 + took) / 8 };
        Some(promises)
    }

    /// From closing to committed, of the last one.
    pub fn last_took(&self) -> Duration {
        self.last_took
    }

    /// How many transactions are open or on their way.
    pub fn unfinished(&self) -> u64 {
        u64::from(self.phase != Phase::Idle) + u64::from(self.committing.is_some())
    }

    /// Nothing is open and nothing is on its way.
    pub fn is_quiet(&self) -> bool {
        self.phase == Phase::Idle && self.committing.is_none()
    }
}
