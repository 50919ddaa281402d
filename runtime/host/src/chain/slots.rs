//! The records of a batch in the chain, and the copies that plugins made of them.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use strait_core::batch::Batch;
use strait_core::edit::Disposition;
use strait_core::offset::SourceOffset;

use super::view::View;
use crate::fields::DocId;

/// Records and copies of one batch together.
const SLOTS_MAX: usize = 1 << 18;

/// A record or a copy of one.
#[derive(Debug)]
pub(super) struct RecordSlot {
    /// Its index in the batch.
    pub(super) record: usize,
    /// `None` passes unchanged. A replacement is a single record: copies have slots of their own.
    pub(super) disposition: Option<Disposition>,
    /// Its value as a document, while the value is the same.
    pub(super) doc: DocId,
}

/// The slots of a batch, in its order: the copies of a record, then the record itself.
#[derive(Debug, Default)]
pub(super) struct RecordSlots {
    list: Vec<RecordSlot>,
    /// Copies of the current stage, by the row of their original. Settled after it, so that it does
    /// not see them.
    emitted: Vec<(usize, RecordSlot)>,
    /// Number of copies by record; without records that have none.
    copies: HashMap<usize, usize>,
}

/// The change of one record by a call.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) disposition: Option<Disposition>,
    /// The value differs from before.
    pub(super) is_value_new: bool,
}

/// The edits of one call, checked but not yet applied.
#[derive(Debug, Default)]
pub(super) struct CallEdits {
    pub(super) changes: Vec<(usize, Change)>,
    pub(super) emitted: Vec<(usize, Change)>,
}

impl RecordSlot {
    /// Renames the topic of a record that has a topic of its own.
    pub(super) fn rename_topic(&mut self, name: &Arc<str>) {
        if let Some(Disposition::Replace(records)) = &mut self.disposition {
            for record in records {
                record.topic = Some(Arc::clone(name));
            }
        }
    }
}

fn is_changed(slot: &RecordSlot, copies: &HashMap<usize, usize>) -> bool {
    slot.disposition.is_some() || copies.contains_key(&slot.record)
}

impl RecordSlots {
    /// Makes one slot for each record of a batch.
    pub(super) fn reset(&mut self, records: usize) {
        self.list.clear();
        self.emitted.clear();
        self.copies.clear();
        self.list.extend((0..records).map(|record| RecordSlot { record, disposition: None, doc: DocId::default() }));
    }

    /// Drops the records from an offset on.
    pub(super) fn drop_from(&mut self, batch: &Batch, until: SourceOffset) {
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

    /// Returns the slots as [`RecordSlots::drain`] does, and keeps them.
    pub(super) fn changed(&self) -> impl Iterator<Item = (usize, Option<Disposition>)> {
        let changed = self.list.iter().filter(|slot| is_changed(slot, &self.copies));
        changed.map(|slot| (slot.record, slot.disposition.clone()))
    }

    /// Drains the slots, without records that pass and have no copies. The slots of a record are
    /// adjacent.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (usize, Option<Disposition>)> {
        let copies = &self.copies;
        self.list.drain(..).filter(|slot| is_changed(slot, copies)).map(|slot| (slot.record, slot.disposition))
    }

    /// Returns a record as the next plugin sees it.
    #[inline]
    pub(super) fn view<'a>(&'a self, row: usize, batch: &'a Batch) -> Option<View<'a>> {
        let slot = self.list.get(row)?;
        Some(View::new(batch.get(slot.record)?, slot.disposition.as_ref()))
    }

    /// Returns the number of copies of a record in all stages so far.
    pub(super) fn copies(&self, record: usize) -> usize {
        self.copies.get(&record).copied().unwrap_or(0)
    }

    /// Returns whether the batch has room for that many more copies.
    pub(super) fn has_room(&self, copies: usize) -> bool {
        self.list.len() + self.emitted.len() + copies <= SLOTS_MAX
    }

    /// Applies the edits of a call.
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

    /// Inserts the copies of a stage. A record with any refused copy is refused as a whole: no part
    /// of it may go out, so no part goes on.
    pub(super) fn settle(&mut self) {
        if self.copies.is_empty() {
            return;
        }
        let emitted = mem::take(&mut self.emitted);
        if !emitted.is_empty() {
            // Calls may come by topic, not in the order of the batch. The order within a slot
            // stays.
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
                // It stops the partition, which takes precedence over a reject.
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
