//! The offset maps of one source partition in the open transaction.

use strait_core::ledger::Settled;
use strait_core::map::{MapBuilder, MapRecord};
use strait_core::{PartitionKey, SourceOffset};

use crate::error::LaneError;
use crate::ports::TopicHandle;
use crate::target_topics::TargetTopics;

/// One map for each target topic that received records since the last commit. Few: most partitions
/// have one.
#[derive(Debug, Default)]
pub(crate) struct Maps(Vec<(TopicHandle, MapBuilder)>);

impl Maps {
    /// Adds a settled record.
    pub fn push(&mut self, record: Settled) {
        let topic = TopicHandle(record.topic);
        let builder = match self.0.iter_mut().position(|(of, _)| *of == topic) {
            Some(at) => self.0.get_mut(at),
            None => {
                self.0.push((topic, MapBuilder::default()));
                self.0.last_mut()
            }
        };
        if let Some((_, builder)) = builder {
            builder.push(record.source, record.partition, record.target);
        }
    }

    /// Takes out the maps of the source offsets from `from` to `next`.
    pub fn take(
        &mut self,
        key: &PartitionKey,
        topics: &TargetTopics,
        (from, next): (SourceOffset, SourceOffset),
        maps: &mut Vec<MapRecord>,
    ) -> Result<(), LaneError> {
        for (topic, builder) in &mut self.0 {
            let name = topics.name_of(*topic)?;
            maps.append(&mut builder.finish(key, name, from, next));
        }
        Ok(())
    }
}
