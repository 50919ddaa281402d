//! The records of a batch on their way through the chain, and the copies that plugins made of them.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use strait_core::batch::Batch;
use strait_core::edit::Disposition;
use strait_core::offset::SourceOffset;

use super::view::View;
use crate::fields::DocId;

/// Records and copies of one batch together: what a chain may hold at once.
const SLOTS_MAX: usize = 1 << 18;

/// A record or a copy of one.
#[derive(Debug)]
pub(super) struct RecordSlot {
    /// Its index in the batch.
    pub(super) record: usize,
    /// `None` passes unchanged. A replacement is one record: copies have slots of their own.
    pub(super) disposition: Option<Disposition>,
    /// What was read of its value, while that is the same.
    pub(super) doc: DocId,
}

/// All of a batch: in the order of the batch, copies of a record before what became of the record itself.
#[derive(Debug, Default)]
pub(super) struct RecordSlots {
    list: Vec<RecordSlot>,
    /// Copies of the stage at hand by the slot that they were made of; settled after it, so that it does not see them.
    emitted: Vec<(usize, RecordSlot)>,
    /// Copies by record, for those that have some.
    copies: HashMap<usize, usize>,
}

/// What one call's edits make of a record.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) disposition: Option<Disposition>,
    /// Whether the value is another one than before.
    pub(super) is_value_new: bool,
}

/// What one call's edits amount to; nothing happened yet.
#[derive(Debug, Default)]
pub(super) struct CallEdits {
    pub(super) changes: Vec<(usize, Change)>,
    pub(super) emitted: Vec<(usize, Change)>,
}

impl RecordSlot {
    /// Gives a record that has a topic of its own another one.
    pub(super) fn rename_topic(&mut self, name: &Arc<str>) {
        if let Some(Disposition::Replace(records)) = &mut self.disposition {
            for record in records {
                record.topic = Some(Arc::clone(name));
            }
        }
    }
}

impl RecordSlots {
    /// One slot for each record of a batch.
    pub(super) fn reset(&mut self, records: usize) {
        self.list.clear();
        self.emitted.clear();
        self.copies.clear();
        self.list.extend((0..records).map(|record| RecordSlot { record, disposition: None, doc: DocId::default() }));
    }

    /// Takes the records at and behind an offset out.
    pub(super) fn leave_from(&mut self, batch: &Batch, until: SourceOffset) {
        for slot in &mut self.list {
            if batch.get(slot.record).is_none_or(|record| record.offset >= until) {
                slot.disposition = Some(Disposition::Drop);
            }
        }
    }

    #[inline]
    pub(super) fn get(&self, row: usize) -> Option<&RecordSlot> {
        self.list.get(row)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, row: usize) -> Option<&mut RecordSlot> {
        self.list.get_mut(row)
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, RecordSlot> {
        self.list.iter()
    }

    /// What became of the records, but for those that pass and have no copies. Of each record all is next to each other.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (usize, Option<Disposition>)> {
        let copies = &self.copies;
        let changed = |slot: &RecordSlot| slot.disposition.is_some() || copies.contains_key(&slot.record);
        self.list.drain(..).filter(changed).map(|slot| (slot.record, slot.disposition))
    }

    /// A record as the next plugin sees it.
    #[inline]
    pub(super) fn view<'a>(&'a self, row: usize, batch: &'a Batch) -> Option<View<'a>> {
        let slot = self.list.get(row)?;
        Some(View::new(batch.get(slot.record)?, slot.disposition.as_ref()))
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
    pub(super) fn commit(&mut self, outcome: CallEdits) {
        for (row, change) in outcome.emitted {
            let Some(slot) = self.list.get(row) else { continue };
            let doc = if change.is_value_new { DocId::default() } else { slot.doc };
            *self.copies.entry(slot.record).or_insert(0) += 1;
            self.emitted.push((row, RecordSlot { record: slot.record, disposition: change.disposition, doc }));
        }
        for (row, change) in outcome.changes {
            let Some(slot) = self.list.get_mut(row) else { continue };
            slot.disposition = change.disposition;
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
            match slot.disposition {
                // The partition stands still at it: that outweighs a reject.
                Some(Disposition::Halt(_)) if copies.contains_key(&slot.record) => {
                    refused.insert(slot.record, row);
                }
                Some(Disposition::Reject(_)) if copies.contains_key(&slot.record) => {
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
