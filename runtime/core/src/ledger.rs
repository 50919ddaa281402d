//! The ledger of one source partition: which source offset is safe to write as progress. It holds
//! the records between release and acknowledgement.
//!
//! Records are released in source order. A dropped record settles at once, a produced one when the
//! target has acknowledged every copy. [`Ledger::settled`] never passes an unsettled record, and
//! that offset is what may be written as progress.

use std::collections::VecDeque;

use crate::batch::RecordMark;
use crate::offset::{SourceOffset, TargetOffset};

/// A produced record that is acknowledged, as is every record before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The source offset.
    pub source: SourceOffset,
    /// The target topic, as the lane's number for it.
    pub topic: u32,
    /// The target partition.
    pub partition: i32,
    /// The target offset.
    pub target: TargetOffset,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    source: SourceOffset,
    target: Option<TargetOffset>,
    topic: u32,
    partition: i32,
    bytes: u32,
    mark: RecordMark,
}

/// The ledger is inconsistent, and the lane must be taken again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// An acknowledgement for a record that was never produced, or is already settled.
    #[error("acknowledgement of sequence {sequence}, but {first}..{end} are in flight")]
    Unknown {
        /// The acknowledged sequence.
        sequence: u64,
        /// The first sequence in flight.
        first: u64,
        /// The end (exclusive) of the sequences in flight.
        end: u64,
    },
    /// A second acknowledgement of the same record.
    #[error("sequence {sequence} acknowledged twice")]
    Twice {
        /// The acknowledged sequence.
        sequence: u64,
    },
    /// A record was released out of order.
    #[error("offset {offset} released after {released} was passed")]
    Backwards {
        /// The record's source offset.
        offset: SourceOffset,
        /// The offset up to which records were already released.
        released: SourceOffset,
    },
}

/// The ledger of one source partition.
#[derive(Clone, Debug)]
pub struct Ledger {
    entries: VecDeque<Entry>,
    /// Sequence of the first entry.
    first_sequence: u64,
    /// Every source offset below this one was produced, dropped or quarantined.
    released: SourceOffset,
    /// Bytes of the unacknowledged entries.
    in_flight_bytes: usize,
    unacknowledged: usize,
}

impl Ledger {
    /// Creates a ledger that begins at the next offset to read.
    #[must_use]
    pub fn new(next: SourceOffset) -> Self {
        Self { entries: VecDeque::new(), first_sequence: 0, released: next, in_flight_bytes: 0, unacknowledged: 0 }
    }

    /// Returns the sequence of the next produced record.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.first_sequence + self.entries.len() as u64
    }

    /// Records that a record was produced. Copies of one source record are recorded one after
    /// another.
    ///
    /// # Errors
    /// [`LedgerError::Backwards`] if the offset was passed before.
    pub fn produced(
        &mut self,
        (source, mark): (SourceOffset, RecordMark),
        topic: u32,
        partition: i32,
        bytes: usize,
    ) -> Result<(), LedgerError> {
        if source < self.released {
            return Err(LedgerError::Backwards { offset: source, released: self.released });
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.entries.push_back(Entry { source, target: None, topic, partition, bytes, mark });
        self.in_flight_bytes += bytes as usize;
        self.unacknowledged += 1;
        Ok(())
    }

    /// Records that everything below `next` was produced, dropped or quarantined.
    pub fn pass(&mut self, next: SourceOffset) {
        self.released = self.released.max(next);
    }

    /// Records the acknowledgement of `count` consecutive sequences, at consecutive target offsets.
    ///
    /// # Errors
    /// [`LedgerError`]. Acknowledgements before the error stay recorded, so the caller must end the
    /// attempt.
    pub fn acknowledge(&mut self, first: u64, count: u32, offset: TargetOffset) -> Result<(), LedgerError> {
        let end = self.next_sequence();
        for step in 0..u64::from(count) {
            let sequence = first + step;
            let unknown = LedgerError::Unknown { sequence, first: self.first_sequence, end };
            let Some(index) = sequence.checked_sub(self.first_sequence) else {
                return Err(unknown);
            };
            let Some(entry) = usize::try_from(index).ok().and_then(|i| self.entries.get_mut(i)) else {
                return Err(unknown);
            };
            if entry.target.is_some() {
                return Err(LedgerError::Twice { sequence });
            }
            entry.target = Some(TargetOffset(offset.0 + step as i64));
            self.in_flight_bytes -= entry.bytes as usize;
            self.unacknowledged -= 1;
        }
        Ok(())
    }

    /// Removes settled records in source order and passes them to `each`. A record is settled if
    /// all its copies are released and acknowledged, and so is every record before it. A record
    /// with a missing copy stays whole, so that offset map and progress never disagree about it.
    pub fn settle(&mut self, mut each: impl FnMut(Settled)) {
        let settled = self.settled();
        while let Some(Entry { source, target: Some(target), topic, partition, .. }) = self.entries.front().copied() {
            if source >= settled {
                return;
            }
            self.entries.pop_front();
            self.first_sequence += 1;
            each(Settled { source, topic, partition, target });
        }
    }

    /// Returns the next offset that may be written as progress: every record before it is settled.
    #[must_use]
    pub fn settled(&self) -> SourceOffset {
        // Entries before the first unacknowledged one may still wait for `settle`, but are settled.
        self.entries.iter().find(|e| e.target.is_none()).map_or(self.released, |e| e.source)
    }

    /// Returns the offset below which everything was released.
    #[must_use]
    pub fn released(&self) -> SourceOffset {
        self.released
    }

    /// Returns the number of bytes produced and not acknowledged.
    #[must_use]
    pub fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes
    }

    /// Returns the memory that the entries hold, in bytes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.entries.len() * size_of::<Entry>()
    }

    /// Returns the number of records produced and not acknowledged.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.unacknowledged
    }

    /// Returns the source offset of a sequence in flight, and the mark of the record.
    #[must_use]
    pub fn source_of(&self, sequence: u64) -> Option<(SourceOffset, RecordMark)> {
        self.entry(sequence).map(|e| (e.source, e.mark))
    }

    /// Returns the target topic and partition of a sequence in flight.
    #[must_use]
    pub fn target_of(&self, sequence: u64) -> Option<(u32, i32)> {
        self.entry(sequence).map(|e| (e.topic, e.partition))
    }

    fn entry(&self, sequence: u64) -> Option<&Entry> {
        let index = sequence.checked_sub(self.first_sequence)?;
        self.entries.get(usize::try_from(index).ok()?)
    }

    /// Returns the source offset of the last unacknowledged copy for a target partition.
    #[must_use]
    pub fn last_unacknowledged(&self, topic: u32, partition: i32) -> Option<SourceOffset> {
        let waits = |e: &&Entry| e.target.is_none() && (e.topic, e.partition) == (topic, partition);
        self.entries.iter().rev().find(waits).map(|e| e.source)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(offset: i64) -> (SourceOffset, RecordMark) {
        (SourceOffset(offset), RecordMark::default())
    }

    #[test]
    fn invalid_acknowledgements_are_errors() {
        let mut ledger = Ledger::new(SourceOffset(10));
        ledger.produced(at(10), 0, 0, 5).unwrap();
        ledger.pass(SourceOffset(11));
        assert_eq!(ledger.settled(), SourceOffset(10));
        assert_eq!((ledger.target_of(0), ledger.target_of(1)), (Some((0, 0)), None));
        assert_eq!(ledger.last_unacknowledged(0, 0), Some(SourceOffset(10)));
        assert_eq!(ledger.last_unacknowledged(0, 1), None);
        assert!(matches!(ledger.acknowledge(1, 1, TargetOffset(0)), Err(LedgerError::Unknown { .. })));
        ledger.acknowledge(0, 1, TargetOffset(3)).unwrap();
        assert_eq!(ledger.acknowledge(0, 1, TargetOffset(3)), Err(LedgerError::Twice { sequence: 0 }));
        assert_eq!((ledger.settled(), ledger.in_flight_bytes()), (SourceOffset(11), 0));
        assert_eq!(ledger.last_unacknowledged(0, 0), None);
        ledger.settle(|_| ());
        // One of two copies is acknowledged before the other is released: the record stays whole.
        let mut halves = Ledger::new(SourceOffset(0));
        let mut out = 0;
        halves.produced(at(0), 0, 0, 5).unwrap();
        halves.acknowledge(0, 1, TargetOffset(0)).unwrap();
        halves.settle(|_| out += 1);
        assert_eq!((halves.settled(), out), (SourceOffset(0), 0));
        halves.produced(at(0), 0, 1, 5).unwrap();
        halves.pass(SourceOffset(1));
        halves.settle(|_| out += 1);
        assert_eq!((halves.settled(), out), (SourceOffset(0), 0));
        halves.acknowledge(1, 1, TargetOffset(9)).unwrap();
        halves.settle(|_| out += 1);
        assert_eq!((halves.settled(), out), (SourceOffset(1), 2));
        assert!(matches!(ledger.acknowledge(0, 1, TargetOffset(3)), Err(LedgerError::Unknown { .. })));
        assert!(matches!(ledger.produced(at(10), 0, 0, 1), Err(LedgerError::Backwards { .. })));
    }

    proptest! {
        /// For any copies and any order of acknowledgements: the settled offset never passes an
        /// unacknowledged record, never falls, and reaches the end; settled records come out once,
        /// in order.
        #[test]
        fn settled_never_passes_an_open_record(copies in prop::collection::vec(0usize..4, 1..60), order in any::<u64>()) {
            let mut ledger = Ledger::new(SourceOffset(0));
            let mut open = Vec::new();
            for (offset, copies) in copies.iter().enumerate() {
                let source = SourceOffset(offset as i64);
                for copy in 0..*copies {
                    open.push((ledger.next_sequence(), source));
                    ledger.produced((source, RecordMark::default()), 0, copy as i32, 7).unwrap();
                }
                ledger.pass(source.next());
            }
            let total = open.len();
            let mut state = order;
            let mut out = Vec::new();
            let mut last = ledger.settled();
            while !open.is_empty() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let (sequence, _) = open.swap_remove((state >> 33) as usize % open.len());
                ledger.acknowledge(sequence, 1, TargetOffset(sequence as i64)).unwrap();
                if state & 1 == 0 { ledger.settle(|s| out.push(s)); }
                let settled = ledger.settled();
                prop_assert!(settled >= last);
                prop_assert!(open.iter().all(|(_, source)| *source >= settled));
                last = settled;
            }
            ledger.settle(|s| out.push(s));
            prop_assert_eq!(ledger.settled(), SourceOffset(copies.len() as i64));
            prop_assert_eq!(out.len(), total);
            prop_assert!(out.windows(2).all(|w| w[0].source <= w[1].source && w[0].target < w[1].target));
            prop_assert_eq!((ledger.in_flight(), ledger.in_flight_bytes()), (0, 0));
        }
    }
}
