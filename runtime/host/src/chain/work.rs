//! The current batch and the chain's state around it, as a stage sees them.

use std::collections::HashMap;
use std::sync::Arc;

use strait_core::batch::{Batch, RecordRef};
use strait_core::edit::Disposition;
use strait_core::offset::SourceOffset;

use super::columns::{Packer, Scene};
use super::names::Names;
use super::plan::Needs;
use super::slots::RecordSlots;
use super::stateful::SourcePartition;
use crate::fields::{Docs, Lens};
use crate::load::PluginSet;

/// Buffers that are reused from call to call.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) rows: Vec<usize>,
    pub(super) packer: Packer,
}

/// The current batch in the chain.
pub(super) struct Work<'a> {
    pub(super) set: &'a PluginSet,
    pub(super) batch: &'a Batch,
    pub(super) partitions: u32,
    pub(super) slots: &'a mut RecordSlots,
    pub(super) docs: &'a mut Docs,
    /// The stage's lens for records under the batch's topic.
    pub(super) lens: Option<&'a Lens>,
    /// The batch as it was fetched, if the framing of its values was taken off.
    pub(super) framed: Option<&'a Batch>,
    pub(super) scratch: &'a mut Scratch,
    pub(super) names: &'a mut Names,
    /// Set if any record has a topic of its own.
    pub(super) redirects: &'a mut bool,
    pub(super) purpose: Purpose,
}

/// The purpose for which a chain sees a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Judge it.
    Judge,
    /// Judge it on probation or on trial: any failure ends the batch, and another chain judges it.
    Prove,
    /// Warm up stateful plugins with the records before this offset.
    WarmUp(SourceOffset),
}

/// Records for the same calls: under the batch's topic, or under one from an earlier plugin.
pub(super) struct Group {
    /// `None` for the batch's topic.
    pub(super) topic: Option<Arc<str>>,
    pub(super) rows: Vec<usize>,
}

impl Work<'_> {
    /// Returns the source partition.
    pub(super) fn partition(&self) -> SourcePartition {
        self.batch.into()
    }

    pub(super) fn is_warm_up(&self) -> bool {
        matches!(self.purpose, Purpose::WarmUp(_))
    }

    /// Returns the record of a slot, as it was fetched.
    pub(super) fn record(&self, row: usize) -> Option<RecordRef<'_>> {
        self.batch.get(self.slots.get(row)?.record)
    }

    /// Returns the record of a slot with the framing of its value, if that was taken off.
    pub(super) fn framed(&self, row: usize) -> Option<RecordRef<'_>> {
        self.framed?.get(self.slots.get(row)?.record)
    }

    pub(super) fn scene<'b>(&'b self, needs: &'b Needs, lens: Option<&'b Lens>) -> Scene<'b> {
        Scene { needs, batch: self.batch, slots: self.slots, docs: self.docs, lens }
    }

    /// Groups the records that are still in the chain by topic, the batch's own topic first.
    pub(super) fn groups(&self) -> Vec<Group> {
        let mut groups = vec![Group { topic: None, rows: Vec::new() }];
        // By topic: a plugin can name as many as there are records.
        let mut known: HashMap<&Arc<str>, usize> = HashMap::new();
        for (row, slot) in self.slots.iter().enumerate() {
            let topic = match &slot.disposition {
                None => None,
                Some(Disposition::Replace(records)) => records.first().and_then(|record| record.topic.as_ref()),
                Some(Disposition::Drop | Disposition::Reject(_) | Disposition::Halt(_)) => continue,
            };
            let at = match topic {
                None => 0,
                Some(topic) => *known.entry(topic).or_insert(groups.len()),
            };
            match groups.get_mut(at) {
                Some(group) => group.rows.push(row),
                None => groups.push(Group { topic: topic.cloned(), rows: vec![row] }),
            }
        }
        groups
    }
}
