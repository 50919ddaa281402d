//! The records of a batch on their way through the chain, and the copies that plugins made of them.

use std::collections::HashMap;
use std::mem;

use strait_core::batch::Batch;
use strait_core::offset::SourceOffset;

use super::patch::{Fate, View};
use crate::fields::DocId;

/// Records and copies of one batch together: what a chain may hold at once.
const SLOTS_MAX: usize = 1 << 18;

/// A record or a copy of one.
#[derive(Debug)]
pub(super) struct Slot {
    /// Its index in the batch.
    pub(super) record: usize,
    pub(super) fate: Fate,
    /// What was read of its value, while that is the same.
    pub(super) doc: DocId,
}

/// All of a batch: in the order of the batch, copies of a record before what became of the record itself.
#[derive(Debug, Default)]
pub(super) struct Slots {
    list: Vec<Slot>,
    /// Copies of the stage at hand by the slot that they were made of; settled after it, so that it does not see them.
    emitted: Vec<(usize, Slot)>,
    /// Copies by record, for those that have some.
    copies: HashMap<usize, usize>,
}

/// What one call's edits make of a record.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) fate: Fate,
    /// Whether the value is another one than before.
    pub(super) is_value_new: bool,
}

/// What one call's edits amount to; nothing happened yet.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) changes: Vec<(usize, Change)>,
    pub(super) emitted: Vec<(usize, Change)>,
}

impl Slots {
    /// One slot for each record of a batch.
    pub(super) fn reset(&mut self, records: usize) {
        self.list.clear();
        self.emitted.clear();
        self.copies.clear();
        self.list.extend((0..records).map(|record| Slot { record, fate: Fate::Pass, doc: DocId::default() }));
    }

    /// Takes the records at and behind an offset out.
    pub(super) fn leave_from(&mut self, batch: &Batch, until: SourceOffset) {
        for slot in &mut self.list {
            if batch.get(slot.record).is_none_or(|record| record.offset >= until) {
                slot.fate = Fate::Drop;
            }
        }
    }

    #[inline]
    pub(super) fn get(&self, row: usize) -> Option<&Slot> {
        self.list.get(row)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, row: usize) -> Option<&mut Slot> {
        self.list.get_mut(row)
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Slot> {
        self.list.iter()
    }

    /// What became of the records, but for those that pass and have no copies. Of each record all is next to each other.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (usize, Fate)> {
        let copies = &self.copies;
        let changed = |slot: &Slot| !matches!(slot.fate, Fate::Pass) || copies.contains_key(&slot.record);
        self.list.drain(..).filter(changed).map(|slot| (slot.record, slot.fate))
    }

    /// A record as the next plugin sees it.
    #[inline]
    pub(super) fn view<'a>(&'a self, row: usize, batch: &'a Batch) -> Option<View<'a>> {
        let slot = self.list.get(row)?;
        Some(View::new(batch.get(slot.record)?, &slot.fate))
    }

    /// Copies of a record so far, in this stage and before.
    pub(super) fn copies(&self, record: usize) -> usize {
        self.copies.get(&record).copied().unwrap_or(0)
    }

    /// Whether the batch can take so many more copies.
    pub(super) fn has_room(&self, copies: usize) -> bool {
        self.list.len() + self.emitted.len() + copies <= SLOTS_MAX
    }

    /// Makes the edits of a call happen.
    pub(super) fn commit(&mut self, outcome: Outcome) {
        for (row, change) in outcome.emitted {
            let Some(slot) = self.list.get(row) else { continue };
            let doc = if change.is_value_new { DocId::default() } else { slot.doc };
            *self.copies.entry(slot.record).or_insert(0) += 1;
            self.emitted.push((row, Slot { record: slot.record, fate: change.fate, doc }));
        }
        for (row, change) in outcome.changes {
            let Some(slot) = self.list.get_mut(row) else { continue };
            slot.fate = change.fate;
            if change.is_value_new {
                slot.doc = DocId::default();
            }
        }
    }

    /// Puts the copies of a stage in their places. A record of which anything was refused is refused as a whole: nothing of
    /// it may go out, so nothing of it goes on.
    pub(super) fn settle(&mut self) {
        if self.copies.is_empty() {
            return;
        }
        let emitted = mem::take(&mut self.emitted);
        if !emitted.is_empty() {
            // Calls may have come by topic, not in the order of the batch; within a slot the order stays.
            let mut by_slot = emitted;
            by_slot.sort_by_key(|(row, _)| *row);
            let mut by_slot = by_slot.into_iter().peekable();
            let mut list = Vec::with_capacity(self.list.len() + by_slot.len());
            for (row, slot) in mem::take(&mut self.list).into_iter().enumerate() {
                while let Some((_, copy)) = by_slot.next_if(|(of, _)| *of == row) {
                    list.push(copy);
                }
                list.push(slot);
            }
            self.list = list;
        }
        let copies = &self.copies;
        let mut refused: HashMap<usize, usize> = HashMap::new();
        for (row, slot) in self.list.iter().enumerate() {
            match slot.fate {
                // The partition stands still at it: that outweighs a reject.
                Fate::Halt(_) if copies.contains_key(&slot.record) => {
                    refused.insert(slot.record, row);
                }
                Fate::Reject(_) if copies.contains_key(&slot.record) => {
                    refused.entry(slot.record).or_insert(row);
                }
                _ => {}
            }
        }
        if refused.is_empty() {
            return;
        }
        let mut row = 0;
        self.list.retain(|slot| {
            row += 1;
            refused.get(&slot.record).is_none_or(|kept| *kept == row - 1)
        });
    }
}
