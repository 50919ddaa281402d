//! A batch on its way through the chain.

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

/// Reused from call to call.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) rows: Vec<usize>,
    pub(super) packer: Packer,
}

/// A batch on its way through the chain.
pub(super) struct Work<'a> {
    pub(super) set: &'a PluginSet,
    pub(super) batch: &'a Batch,
    pub(super) partitions: u32,
    pub(super) slots: &'a mut RecordSlots,
    pub(super) docs: &'a mut Docs,
    /// How the stage sees the values of records that are under the batch's topic.
    pub(super) lens: Option<&'a Lens>,
    pub(super) scratch: &'a mut Scratch,
    pub(super) names: &'a mut Names,
    /// Whether any record has a topic of its own.
    pub(super) redirects: &'a mut bool,
    pub(super) purpose: Purpose,
}

/// Why a chain is shown a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To judge it.
    Judge,
    /// To judge it, and what a plugin breaks on ends the batch: the chain before is there to judge it.
    Prove,
    /// To remember the records before this offset.
    WarmUp(SourceOffset),
}

/// Records that go to a plugin together: those still under the batch's topic, or under one that an earlier plugin gave them.
pub(super) struct Group {
    /// `None` is the batch's.
    pub(super) topic: Option<Arc<str>>,
    pub(super) rows: Vec<usize>,
}

impl Work<'_> {
    /// The source partition.
    pub(super) fn partition(&self) -> SourcePartition {
        self.batch.into()
    }

    pub(super) fn is_warm_up(&self) -> bool {
        matches!(self.purpose, Purpose::WarmUp(_))
    }

    /// The record of a slot, as it was fetched.
    pub(super) fn record(&self, row: usize) -> Option<RecordRef<'_>> {
        self.batch.get(self.slots.get(row)?.record)
    }

    pub(super) fn scene<'b>(&'b self, needs: &'b Needs, lens: Option<&'b Lens>) -> Scene<'b> {
        Scene { needs, batch: self.batch, slots: self.slots, docs: self.docs, lens }
    }

    /// Every record that is still on its way, by its topic; the batch's own group first.
    pub(super) fn groups(&self) -> Vec<Group> {
        let mut groups = vec![Group { topic: None, rows: Vec::new() }];
        for (row, slot) in self.slots.iter().enumerate() {
            let topic = match &slot.disposition {
                None => None,
                Some(Disposition::Replace(records)) => records.first().and_then(|record| record.topic.as_ref()),
                Some(Disposition::Drop | Disposition::Reject(_) | Disposition::Halt(_)) => continue,
            };
            match groups.iter_mut().find(|group| group.topic.as_ref() == topic) {
                Some(group) => group.rows.push(row),
                None => groups.push(Group { topic: topic.cloned(), rows: vec![row] }),
            }
        }
        groups
    }
}
