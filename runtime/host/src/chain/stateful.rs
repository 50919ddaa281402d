//! The instances of a stateful plugin: one per source partition, warmed up from the log before it
//! judges.
//!
//! The state of such an instance is exactly what it was shown: in order, each record once. Whenever
//! that is in doubt (a call failed, a batch was judged in part, another chain judged one), the
//! instance is dropped and a fresh one is warmed up. A guilty record cannot be found by halves, as
//! each try costs the state: the records of a call that failed go one by one the next time, and the
//! guilty one is not shown again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use strait_core::batch::Batch;
use strait_core::offset::SourceOffset;
use strait_core::topic::{PartitionKey, TopicId};

use super::error::{Failure, InstanceError};
use crate::guest::{GuestLimits, Instance, Share};

/// Guilty records kept per partition; they lie within the warm-up. With more of them it is the
/// plugin that is broken.
const GUILTY_MAX: usize = 100;

/// A source partition, by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SourcePartition {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
}

impl From<&PartitionKey> for SourcePartition {
    fn from(key: &PartitionKey) -> Self {
        Self { topic: Arc::clone(&key.topic), partition: key.partition }
    }
}

impl From<&Batch> for SourcePartition {
    fn from(batch: &Batch) -> Self {
        Self { topic: Arc::clone(batch.topic()), partition: batch.partition() }
    }
}

/// An instance with its part of the budget.
pub(super) type BudgetedInstance = (Instance, Share);

/// How much of the log an instance has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// Not known: it must not be called.
    Lost,
    /// A part: it is being warmed up.
    WarmingUp,
    /// All that it needs before this offset.
    Before(SourceOffset),
    /// All that it needs, and a part of the batch at hand.
    Judging,
}

/// A plugin's instance for one partition.
struct PartitionInstance {
    /// The incarnation of the topic.
    topic_id: TopicId,
    seen: Seen,
    /// `None` before the first call.
    instance: Option<BudgetedInstance>,
    /// Records below this offset are shown one by one.
    alone_until: SourceOffset,
    /// Records that broke the plugin, and how.
    guilty: BTreeMap<SourceOffset, Failure>,
    /// Guilty records since one was judged.
    guilty_in_a_row: u64,
    /// The guilty records before the first record of this warm-up were removed.
    is_pruned: bool,
}

/// A plugin's instances for the partitions of a lane.
#[derive(Default)]
pub(super) struct StatefulInstances {
    of: HashMap<SourcePartition, PartitionInstance>,
}

impl StatefulInstances {
    /// Returns whether a batch that begins at `next` can be judged.
    pub(super) fn reaches(&self, key: &PartitionKey, next: SourceOffset) -> bool {
        self.of.get(&key.into()).is_some_and(|one| {
            let seen = matches!(one.seen, Seen::Before(known) if known <= next);
            seen && one.topic_id == key.topic_id
        })
    }

    /// Starts a warm-up. The instance is dropped; the guilty records stay known.
    pub(super) fn begin_warm_up(&mut self, key: &PartitionKey) {
        let partition = key.into();
        let known = self.of.remove(&partition).filter(|one| one.topic_id == key.topic_id);
        let (alone_until, guilty, guilty_in_a_row) =
            known.map_or_else(Default::default, |known| (known.alone_until, known.guilty, known.guilty_in_a_row));
        let topic_id = key.topic_id;
        let (seen, instance, is_pruned) = (Seen::WarmingUp, None, false);
        let one = PartitionInstance { topic_id, seen, instance, alone_until, guilty, guilty_in_a_row, is_pruned };
        self.of.insert(partition, one);
    }

    pub(super) fn is_warming_up(&self, partition: &SourcePartition) -> bool {
        self.of.get(partition).is_some_and(|one| one.seen == Seen::WarmingUp)
    }

    /// Ends a warm-up: everything before `until` was shown.
    pub(super) fn end_warm_up(&mut self, partition: &SourcePartition, until: SourceOffset) {
        if let Some(one) = self.of.get_mut(partition).filter(|one| one.seen == Seen::WarmingUp) {
            one.seen = Seen::Before(until);
        }
    }

    /// Drops a partition's instance, as its state is in doubt.
    pub(super) fn forget(&mut self, partition: &SourcePartition) {
        if let Some(one) = self.of.get_mut(partition) {
            one.instance = None;
            one.seen = Seen::Lost;
        }
    }

    /// Removes a partition that is not judged any more, or not as it was.
    pub(super) fn remove(&mut self, partition: &SourcePartition) {
        self.of.remove(partition);
    }

    /// A batch is about to be judged. Unless [`Self::accept`] follows, the state is in doubt.
    pub(super) fn enter(&mut self, partition: &SourcePartition) {
        match self.of.get_mut(partition) {
            Some(one) if matches!(one.seen, Seen::Before(_)) => one.seen = Seen::Judging,
            Some(_) => self.forget(partition),
            None => {}
        }
    }

    /// The batch was judged; everything before `next` was shown. Returns whether the instance is
    /// dropped because its memory has grown near its limit: a fresh one is warmed up then.
    pub(super) fn accept(&mut self, partition: &SourcePartition, next: SourceOffset, limits: &GuestLimits) -> bool {
        let Some(one) = self.of.get_mut(partition).filter(|one| one.seen == Seen::Judging) else {
            return false;
        };
        one.seen = Seen::Before(next);
        let is_worn = one.instance.as_mut().is_some_and(|(instance, _)| instance.is_worn(limits));
        if is_worn {
            self.forget(partition);
        }
        is_worn
    }

    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Returns the bytes of the linear memories of all instances.
    pub(super) fn memory_bytes(&self) -> usize {
        let instances = self.of.values().filter_map(|one| one.instance.as_ref());
        instances.map(|(instance, _)| instance.memory_bytes()).sum()
    }

    /// Takes the partition's instance, which has to be put back; `start` makes one where there is
    /// none yet. Returns `None` where the partition has to be warmed up first.
    pub(super) fn take(
        &mut self,
        partition: &SourcePartition,
        start: impl FnOnce() -> Result<BudgetedInstance, InstanceError>,
    ) -> Result<Option<BudgetedInstance>, InstanceError> {
        match self.of.get_mut(partition) {
            Some(one) if matches!(one.seen, Seen::WarmingUp | Seen::Judging) => {
                one.instance.take().map_or_else(start, Ok).map(Some)
            }
            _ => Ok(None),
        }
    }

    pub(super) fn put_back(&mut self, partition: &SourcePartition, instance: BudgetedInstance) {
        if let Some(one) = self.of.get_mut(partition) {
            one.instance = Some(instance);
        }
    }

    /// Returns whether a record goes to the plugin by itself.
    pub(super) fn is_alone(&self, partition: &SourcePartition, offset: SourceOffset) -> bool {
        self.of.get(partition).is_some_and(|one| offset < one.alone_until)
    }

    /// Lets records up to this one go one by one from now on.
    pub(super) fn alone_through(&mut self, partition: &SourcePartition, last: SourceOffset) {
        if let Some(one) = self.of.get_mut(partition) {
            one.alone_until = one.alone_until.max(last.next());
        }
    }

    /// Returns how a record broke the plugin, if it did.
    pub(super) fn guilty(&self, partition: &SourcePartition, offset: SourceOffset) -> Option<&Failure> {
        self.of.get(partition)?.guilty.get(&offset)
    }

    /// Ends a row of guilty records: a record was judged, or there were enough to call the plugin
    /// broken.
    pub(super) fn end_guilty_row(&mut self, partition: &SourcePartition) {
        if let Some(one) = self.of.get_mut(partition) {
            one.guilty_in_a_row = 0;
        }
    }

    /// The plugin saw records up to this one and did not break. That ends the row too, if it is
    /// past all guilty records.
    pub(super) fn shown_through(&mut self, partition: &SourcePartition, last: SourceOffset) {
        if let Some(one) = self.of.get_mut(partition)
            && one.guilty.last_key_value().is_none_or(|(guilty, _)| *guilty < last)
        {
            one.guilty_in_a_row = 0;
        }
    }

    /// Adds a guilty record. Returns how many there are in a row.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn add_guilty(
        &mut self,
        partition: &SourcePartition,
        offset: SourceOffset,
        failure: Failure,
    ) -> Result<u64, String> {
        let Some(one) = self.of.get_mut(partition) else { return Ok(0) };
        if one.guilty.len() >= GUILTY_MAX {
            return Err(format!(
                "it broke on {GUILTY_MAX} records that it has to remember, the last time: {}; fix the plugin",
                failure.reason
            ));
        }
        one.guilty.insert(offset, failure);
        one.guilty_in_a_row += 1;
        Ok(one.guilty_in_a_row)
    }

    /// The warm-up starts at this record: guilty records before it are not needed any more.
    pub(super) fn shown_from(&mut self, partition: &SourcePartition, first: SourceOffset) {
        if let Some(one) = self.of.get_mut(partition).filter(|one| !one.is_pruned) {
            one.is_pruned = true;
            one.guilty = one.guilty.split_off(&first);
        }
    }
}
