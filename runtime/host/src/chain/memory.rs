//! Plugins with memory: one instance per source partition, which is shown the log before it judges.
//!
//! What such an instance remembers is only what it was shown, in order, each record once. So whenever that is not sure any
//! more (a call failed, a batch was judged in part, another chain judged one), the instance is thrown away and a fresh one is
//! shown the log again. A record on which it breaks cannot be found by halves, as each try costs the memory: the records of a
//! call that failed go one by one the next time, and the guilty one is not shown again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use strait_core::batch::Batch;
use strait_core::offset::SourceOffset;
use strait_core::topic::{PartitionKey, TopicId};

use super::error::Failure;
use crate::guest::{Instance, Share};

/// Guilty records remembered per partition; they lie within the lookback. With more of them it is the plugin that is broken.
const GUILTY_MAX: usize = 100;

/// A source partition, by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
}

impl From<&PartitionKey> for Place {
    fn from(key: &PartitionKey) -> Self {
        Self { topic: key.topic.clone(), partition: key.partition }
    }
}

impl From<&Batch> for Place {
    fn from(batch: &Batch) -> Self {
        Self { topic: batch.topic().clone(), partition: batch.partition() }
    }
}

/// What an instance has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// Not known; it must not be called.
    Lost,
    /// It is being shown the log.
    Recalling,
    /// All that it has to have seen before this offset.
    Before(SourceOffset),
    /// The same, and part of the batch at hand.
    Judging,
}

/// An instance with its part of the budget.
pub(super) type Kept = (Instance, Share);

/// A plugin's memory of one partition.
struct Memory {
    /// The incarnation of the topic.
    topic_id: TopicId,
    seen: Seen,
    /// `None` before it is called for the first time.
    instance: Option<Kept>,
    /// Records below are shown one by one.
    alone_until: SourceOffset,
    /// Records that broke it, with how.
    guilty: BTreeMap<SourceOffset, Failure>,
    /// How many of them were found since a record was judged.
    guilty_in_a_row: u64,
    /// Those before the first record of this recall were left out of them.
    is_pruned: bool,
}

/// A plugin's memories of a lane's partitions.
#[derive(Default)]
pub(super) struct Memories {
    of: HashMap<Place, Memory>,
}

impl Memories {
    /// Whether a batch that begins at `next` can be judged.
    pub(super) fn reach(&self, partition: &PartitionKey, next: SourceOffset) -> bool {
        self.of.get(&partition.into()).is_some_and(|memory| {
            let seen = matches!(memory.seen, Seen::Before(known) if known <= next);
            seen && memory.topic_id == partition.topic_id
        })
    }

    /// Forgets a partition that will be shown again; which of its records are guilty is kept.
    pub(super) fn begin(&mut self, partition: &PartitionKey) {
        let place = partition.into();
        let known = self.of.remove(&place).filter(|memory| memory.topic_id == partition.topic_id);
        let (alone_until, guilty, guilty_in_a_row) =
            known.map_or_else(Default::default, |known| (known.alone_until, known.guilty, known.guilty_in_a_row));
        let topic_id = partition.topic_id;
        let (seen, instance, is_pruned) = (Seen::Recalling, None, false);
        let memory = Memory { topic_id, seen, instance, alone_until, guilty, guilty_in_a_row, is_pruned };
        self.of.insert(place, memory);
    }

    /// Whether a partition is being shown.
    pub(super) fn is_recalling(&self, place: &Place) -> bool {
        self.of.get(place).is_some_and(|memory| memory.seen == Seen::Recalling)
    }

    /// Everything before `until` was shown.
    pub(super) fn complete(&mut self, place: &Place, until: SourceOffset) {
        if let Some(memory) = self.of.get_mut(place).filter(|memory| memory.seen == Seen::Recalling) {
            memory.seen = Seen::Before(until);
        }
    }

    /// It is not known any more what a partition's instance has seen.
    pub(super) fn forget(&mut self, place: &Place) {
        if let Some(memory) = self.of.get_mut(place) {
            memory.instance = None;
            memory.seen = Seen::Lost;
        }
    }

    /// A partition is not judged any more, or not as it was.
    pub(super) fn remove(&mut self, place: &Place) {
        self.of.remove(place);
    }

    /// A batch is about to be judged. Unless [`Self::accept`] follows, the memory is worth nothing.
    pub(super) fn enter(&mut self, place: &Place) {
        match self.of.get_mut(place) {
            Some(memory) if matches!(memory.seen, Seen::Before(_)) => memory.seen = Seen::Judging,
            Some(_) => self.forget(place),
            None => {}
        }
    }

    /// The batch was judged; everything before `next` was shown.
    pub(super) fn accept(&mut self, place: &Place, next: SourceOffset) {
        if let Some(memory) = self.of.get_mut(place).filter(|memory| memory.seen == Seen::Judging) {
            memory.seen = Seen::Before(next);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Linear memories of all instances, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.of
            .values()
            .filter_map(|memory| memory.instance.as_ref())
            .map(|(instance, _)| instance.memory_bytes())
            .sum()
    }

    /// The instance, which has to be put back; `start` makes one where there is none yet. `None` where the log has to be shown
    /// to it first.
    pub(super) fn take(
        &mut self,
        place: &Place,
        start: impl FnOnce() -> Result<Kept, String>,
    ) -> Result<Option<Kept>, String> {
        match self.of.get_mut(place) {
            Some(memory) if matches!(memory.seen, Seen::Recalling | Seen::Judging) => {
                memory.instance.take().map_or_else(start, Ok).map(Some)
            }
            _ => Ok(None),
        }
    }

    pub(super) fn put_back(&mut self, place: &Place, instance: Kept) {
        if let Some(memory) = self.of.get_mut(place) {
            memory.instance = Some(instance);
        }
    }

    /// Whether the record goes to the plugin by itself.
    pub(super) fn is_alone(&self, place: &Place, offset: SourceOffset) -> bool {
        self.of.get(place).is_some_and(|memory| offset < memory.alone_until)
    }

    /// Records up to this one go one by one from now on.
    pub(super) fn alone_through(&mut self, place: &Place, last: SourceOffset) {
        if let Some(memory) = self.of.get_mut(place) {
            memory.alone_until = memory.alone_until.max(last.next());
        }
    }

    /// How a record broke the plugin, if it did.
    pub(super) fn guilty(&self, place: &Place, offset: SourceOffset) -> Option<&Failure> {
        self.of.get(place)?.guilty.get(&offset)
    }

    /// Ends a row of guilty records: one was judged, or they were enough to call the plugin broken.
    pub(super) fn end_row(&mut self, place: &Place) {
        if let Some(memory) = self.of.get_mut(place) {
            memory.guilty_in_a_row = 0;
        }
    }

    /// It was shown records up to this one and did not break: that ends the row too, if it is behind all guilty ones.
    pub(super) fn shown_through(&mut self, place: &Place, last: SourceOffset) {
        if let Some(memory) = self.of.get_mut(place)
            && memory.guilty.last_key_value().is_none_or(|(guilty, _)| *guilty < last)
        {
            memory.guilty_in_a_row = 0;
        }
    }

    /// Notes a guilty record. Gives how many there are in a row.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn found(&mut self, place: &Place, offset: SourceOffset, failure: Failure) -> Result<u64, String> {
        let Some(memory) = self.of.get_mut(place) else { return Ok(0) };
        if memory.guilty.len() >= GUILTY_MAX {
            return Err(format!(
                "it broke on {GUILTY_MAX} records that it has to remember, the last time: {}; mend the plugin",
                failure.reason
            ));
        }
        memory.guilty.insert(offset, failure);
        memory.guilty_in_a_row += 1;
        Ok(memory.guilty_in_a_row)
    }

    /// It is shown the log from here on: of guilty records before it nobody needs to know any more.
    pub(super) fn shown_from(&mut self, place: &Place, first: SourceOffset) {
        if let Some(memory) = self.of.get_mut(place).filter(|memory| !memory.is_pruned) {
            memory.is_pruned = true;
            memory.guilty = memory.guilty.split_off(&first);
        }
    }
}
