//! The parts of a partition's progress besides its offset: the offset maps of the open transaction,
//! the ends of its copies, the counts of its records, and the books of those in quarantine.

use std::collections::VecDeque;
use std::sync::Arc;

use strait_core::ledger::Settled;
use strait_core::map::{MapBuilder, MapKind, MapRecord, RUNS_PER_RECORD_MAX};
use strait_core::progress::{Position, TAILS_MAX, Tail, Tails, Totals};
use strait_core::{PartitionKey, SourceOffset};

use crate::error::LaneError;
use crate::ports::{ControlRecord, TopicHandle};
use crate::target_topics::TargetTopics;

/// The account of one source partition.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// One map for each target topic that received records since the last commit. Few: most
    /// partitions have one.
    maps: Vec<(TopicHandle, MapBuilder)>,
    tails: Tails,
    origin: Option<SourceOffset>,
    /// Counts of the settled records. `None` if the partition began before that was counted.
    totals: Option<Totals>,
    /// The last record of which a copy is settled.
    last_kept: Option<SourceOffset>,
    /// Records without a copy that progress has not passed, in source order.
    left_out: VecDeque<LeftOut>,
    /// The entries of the books for those that are in quarantine, in source order.
    entries: VecDeque<(SourceOffset, ControlRecord)>,
    /// Memory of `entries`, in bytes.
    entry_bytes: usize,
}

/// Records without a copy, with none in between that has one.
#[derive(Clone, Copy, Debug)]
struct LeftOut {
    last: SourceOffset,
    /// Sequence of the next copy that was sent.
    before: u64,
    dropped: u64,
    quarantined: u64,
}

/// The part of a position that the account knows.
#[derive(Debug)]
pub(crate) struct Accounted {
    pub tails: Tails,
    pub origin: Option<SourceOffset>,
    pub totals: Option<Totals>,
}

impl Account {
    /// Creates the account of a partition that begins here.
    pub fn begin(origin: SourceOffset) -> Self {
        Self { origin: Some(origin), totals: Some(Totals::default()), ..Self::default() }
    }

    /// Continues the account of a committed position.
    pub fn resume(position: &Position) -> Self {
        let Position { tails, origin, totals, .. } = position;
        Self { tails: tails.clone(), origin: *origin, totals: *totals, ..Self::default() }
    }

    /// Returns the memory that the maps of the open transaction and the entries of the books hold,
    /// in bytes.
    pub fn held_bytes(&self) -> usize {
        self.maps.iter().map(|(_, builder)| builder.held_bytes()).sum::<usize>() + self.entry_bytes
    }

    /// Adds the entry of the books for a record in quarantine.
    pub fn enter(&mut self, offset: SourceOffset, entry: ControlRecord) {
        self.entry_bytes += entry.bytes();
        self.entries.push_back((offset, entry));
    }

    /// Takes out the entries of records before `next`.
    pub fn take_entries_before(&mut self, next: SourceOffset, books: &mut Vec<ControlRecord>) {
        while let Some((_, entry)) = self.entries.pop_front_if(|(offset, _)| *offset < next) {
            self.entry_bytes -= entry.bytes();
            books.push(entry);
        }
    }

    /// Adds a settled copy of a record. Copies of one record follow each other.
    pub fn settled(&mut self, copy: Settled) {
        if let Some(totals) = &mut self.totals {
            totals.copies += 1;
            if self.last_kept.replace(copy.source) != Some(copy.source) {
                totals.kept += 1;
            }
        }
        let topic = TopicHandle(copy.topic);
        let builder = match self.maps.iter_mut().position(|(of, _)| *of == topic) {
            Some(at) => self.maps.get_mut(at),
            None => {
                self.maps.push((topic, MapBuilder::default()));
                self.maps.last_mut()
            }
        };
        if let Some((_, builder)) = builder {
            builder.push(copy.source, copy.partition, copy.target);
        }
    }

    /// Adds a record without a copy. `next_sequence` is that of the next copy that is sent.
    pub fn leave_out(&mut self, offset: SourceOffset, next_sequence: u64, is_quarantined: bool) {
        if self.totals.is_none() {
            return;
        }
        let (dropped, quarantined) = (u64::from(!is_quarantined), u64::from(is_quarantined));
        match self.left_out.back_mut().filter(|last| last.before == next_sequence) {
            Some(last) => {
                last.last = offset;
                last.dropped += dropped;
                last.quarantined += quarantined;
            }
            None => self.left_out.push_back(LeftOut { last: offset, before: next_sequence, dropped, quarantined }),
        }
    }

    /// Takes out the maps of the source offsets from `first` to `next`, into `maps`. Returns what
    /// the position at `next` says.
    pub fn write(
        &mut self,
        key: &PartitionKey,
        topics: &TargetTopics,
        (first, next): (SourceOffset, SourceOffset),
        maps: &mut Vec<MapRecord>,
        runs_max: usize,
    ) -> Result<Accounted, LaneError> {
        for (topic, builder) in self.maps.iter_mut().filter(|(_, builder)| !builder.is_empty()) {
            let (name, target_id) = topics.identity_of(*topic)?;
            let (ends, more) = builder.ends(TAILS_MAX);
            for (partition, end) in ends {
                self.tails.set(Tail { topic: Arc::clone(name), id: target_id, partition, end });
            }
            if more {
                self.tails.leave_out();
            }
            let (partition, target_topic, runs) = (key.clone(), Arc::clone(name), Vec::new());
            let whole = MapRecord { partition, target_topic, target_id, kind: MapKind::Copy, first, next, runs };
            maps.append(&mut builder.finish(&whole, runs_max.min(RUNS_PER_RECORD_MAX)));
        }
        while let Some(left) = self.left_out.pop_front_if(|left| left.last < next) {
            if let Some(totals) = &mut self.totals {
                totals.dropped += left.dropped;
                totals.quarantined += left.quarantined;
            }
        }
        if let Some(totals) = &mut self.totals {
            totals.seen = totals.kept + totals.dropped + totals.quarantined;
        }
        Ok(Accounted { tails: self.tails.clone(), origin: self.origin, totals: self.totals })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strait_core::TargetOffset;

    fn totals(account: &mut Account, next: i64) -> (u64, u64, u64, u64, u64) {
        let key = PartitionKey { topic: "t".into(), topic_id: strait_core::TopicId([1; 16]), partition: 0 };
        account.maps.clear();
        let range = (SourceOffset(0), SourceOffset(next));
        let written = account.write(&key, &TargetTopics::default(), range, &mut Vec::new(), 1).unwrap();
        let Totals { seen, kept, dropped, quarantined, copies } = written.totals.unwrap();
        (seen, kept, dropped, quarantined, copies)
    }

    #[test]
    fn totals_count_what_progress_has_passed_and_nothing_else() {
        let mut account = Account::begin(SourceOffset(10));
        let copy = |source, target| Settled {
            source: SourceOffset(source),
            topic: 0,
            partition: 0,
            target: TargetOffset(target),
        };
        // 10 dropped, 11 quarantined, 12 sent twice (sequences 0 and 1), 13 dropped, 14 sent, 15
        // dropped.
        account.leave_out(SourceOffset(10), 0, false);
        account.leave_out(SourceOffset(11), 0, true);
        account.leave_out(SourceOffset(13), 2, false);
        account.leave_out(SourceOffset(15), 3, false);
        assert_eq!(totals(&mut account, 12), (2, 0, 1, 1, 0));
        account.settled(copy(12, 0));
        account.settled(copy(12, 1));
        assert_eq!(totals(&mut account, 14), (4, 1, 2, 1, 2));
        account.settled(copy(14, 2));
        assert_eq!(totals(&mut account, 16), (6, 2, 3, 1, 3));
        // A position of an earlier version has none, and none are made up.
        let mut account = Account::resume(&Position::default());
        account.leave_out(SourceOffset(1), 0, false);
        account.settled(copy(2, 3));
        assert_eq!((account.totals, account.left_out.len()), (None, 0));
    }
}
