//! Which source offset is safe: the books of one source partition between release and acknowledgement.
//!
//! Records are released in source order. Dropped ones settle at once, produced ones when the target acknowledges every
//! copy. [`Ledger::settled`] never passes a record that is not settled; that is what may be written as progress.

use std::collections::VecDeque;

use crate::offset::{SourceOffset, TargetOffset};

/// A record that was produced, once it is acknowledged and everything before it is too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Source offset.
    pub source: SourceOffset,
    /// The lane's number of the target topic.
    pub topic: u32,
    /// Target partition.
    pub partition: i32,
    /// Target offset.
    pub target: TargetOffset,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    source: SourceOffset,
    target: Option<TargetOffset>,
    topic: u32,
    partition: i32,
    bytes: u32,
}

/// The books do not add up; the lane must be taken again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// An acknowledgement for a record that was never produced, or is settled already.
    #[error("acknowledgement of sequence {sequence}, but {first}..{end} are in flight")]
    Unknown {
        /// The sequence acknowledged.
        sequence: u64,
        /// First sequence in flight.
        first: u64,
        /// End of those in flight.
        end: u64,
    },
    /// An acknowledgement that came before.
    #[error("sequence {sequence} acknowledged twice")]
    Twice {
        /// The sequence.
        sequence: u64,
    },
    /// A record released out of order.
    #[error("offset {offset} released after {released} was passed")]
    Backwards {
        /// The offset.
        offset: SourceOffset,
        /// What was passed before.
        released: SourceOffset,
    },
}

/// The books of one source partition.
#[derive(Clone, Debug)]
pub struct Ledger {
    entries: VecDeque<Entry>,
    /// Sequence of the first entry.
    first_sequence: u64,
    /// Every source offset below this one was produced, dropped or kept elsewhere.
    released: SourceOffset,
    /// Bytes of entries that are not acknowledged.
    in_flight_bytes: usize,
    unacknowledged: usize,
}

impl Ledger {
    /// Opens the books at the next offset to read.
    #[must_use]
    pub fn new(next: SourceOffset) -> Self {
        Self { entries: VecDeque::new(), first_sequence: 0, released: next, in_flight_bytes: 0, unacknowledged: 0 }
    }

    /// The sequence that the next produced record gets.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.first_sequence + self.entries.len() as u64
    }

    /// Books a produced record. Several copies of one source record are booked one after the other.
    ///
    /// # Errors
    /// [`LedgerError::Backwards`] when the offset was passed before.
    pub fn produced(
        &mut self,
        source: SourceOffset,
        topic: u32,
        partition: i32,
        bytes: usize,
    ) -> Result<(), LedgerError> {
        if source < self.released {
            return Err(LedgerError::Backwards { offset: source, released: self.released });
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.entries.push_back(Entry { source, target: None, topic, partition, bytes });
        self.in_flight_bytes += bytes as usize;
        self.unacknowledged += 1;
        Ok(())
    }

    /// Everything below `next` has been produced, dropped or kept elsewhere.
    pub fn pass(&mut self, next: SourceOffset) {
        self.released = self.released.max(next);
    }

    /// Books the acknowledgement of `count` consecutive sequences as consecutive target offsets.
    ///
    /// # Errors
    /// [`LedgerError`]; what was booked before the error stays, so the caller must give the lane up.
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

    /// Takes out what is settled, in source order: every copy of the record was released and is acknowledged, and everything
    /// before it too. A record of which one copy is missing stays whole, so that map and progress never disagree about it.
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

    /// The next offset that may be written as progress: everything before it is settled.
    #[must_use]
    pub fn settled(&self) -> SourceOffset {
        // Entries before the first unacknowledged one may still wait for `settle`; they are settled all the same.
        self.entries.iter().find(|e| e.target.is_none()).map_or(self.released, |e| e.source)
    }

    /// Everything below this was released.
    #[must_use]
    pub fn released(&self) -> SourceOffset {
        self.released
    }

    /// Bytes produced and not acknowledged.
    #[must_use]
    pub fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes
    }

    /// Records produced and not acknowledged.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.unacknowledged
    }

    /// Source offset of a sequence in flight.
    #[must_use]
    pub fn source_of(&self, sequence: u64) -> Option<SourceOffset> {
        let index = sequence.checked_sub(self.first_sequence)?;
        self.entries.get(usize::try_from(index).ok()?).map(|e| e.source)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wrong_acknowledgements_are_errors() {
        let mut ledger = Ledger::new(SourceOffset(10));
        ledger.produced(SourceOffset(10), 0, 0, 5).unwrap();
        ledger.pass(SourceOffset(11));
        assert_eq!(ledger.settled(), SourceOffset(10));
        assert!(matches!(ledger.acknowledge(1, 1, TargetOffset(0)), Err(LedgerError::Unknown { .. })));
        ledger.acknowledge(0, 1, TargetOffset(3)).unwrap();
        assert_eq!(ledger.acknowledge(0, 1, TargetOffset(3)), Err(LedgerError::Twice { sequence: 0 }));
        assert_eq!((ledger.settled(), ledger.in_flight_bytes()), (SourceOffset(11), 0));
        ledger.settle(|_| ());
        // Of two copies one is released and acknowledged before the other is released: the record stays whole.
        let mut halves = Ledger::new(SourceOffset(0));
        let mut out = 0;
        halves.produced(SourceOffset(0), 0, 0, 5).unwrap();
        halves.acknowledge(0, 1, TargetOffset(0)).unwrap();
        halves.settle(|_| out += 1);
        assert_eq!((halves.settled(), out), (SourceOffset(0), 0));
        halves.produced(SourceOffset(0), 0, 1, 5).unwrap();
        halves.pass(SourceOffset(1));
        halves.settle(|_| out += 1);
        assert_eq!((halves.settled(), out), (SourceOffset(0), 0));
        halves.acknowledge(1, 1, TargetOffset(9)).unwrap();
        halves.settle(|_| out += 1);
        assert_eq!((halves.settled(), out), (SourceOffset(1), 2));
        assert!(matches!(ledger.acknowledge(0, 1, TargetOffset(3)), Err(LedgerError::Unknown { .. })));
        assert!(matches!(ledger.produced(SourceOffset(10), 0, 0, 1), Err(LedgerError::Backwards { .. })));
    }

    proptest! {
        /// Whatever is dropped or copied and in whatever order acknowledgements come: the settled offset never passes an
        /// unacknowledged record, never falls, and ends at the end; settled records come out once, in order.
        #[test]
        fn settled_never_passes_an_open_record(copies in prop::collection::vec(0usize..4, 1..60), order in any::<u64>()) {
            let mut ledger = Ledger::new(SourceOffset(0));
            let mut open = Vec::new();
            for (offset, copies) in copies.iter().enumerate() {
                let source = SourceOffset(offset as i64);
                for copy in 0..*copies {
                    open.push((ledger.next_sequence(), source));
                    ledger.produced(source, 0, copy as i32, 7).unwrap();
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
