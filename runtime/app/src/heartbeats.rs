//! Heartbeats on their way through a link: named by the prefix, and passed around the plugins.
//!
//! Plugins know nothing of them: one that renames topics would hide them from MirrorMaker 2's
//! clients, and one that expects JSON would refuse one a second. What is in such a topic and is not
//! exactly a heartbeat goes through the plugins like everything else, so that the topic's name is
//! no way around them.

use std::collections::BTreeSet;
use std::sync::Arc;

use strait_core::mm2::HeartbeatTopics;
use strait_core::progress::ChainBorder;
use strait_core::protects::Protection;
use strait_core::{Batch, Generation, PartitionKey, Processed, SourceOffset};
use strait_flow::ports::{Chain, ChainError, ChainFactory, Next, WarmUp};

/// Partitions of a topic of heartbeats. One with more is somebody's own.
const PARTITIONS: u32 = 1;

/// Makes chains of a link that pass heartbeats around its plugins.
pub struct AroundHeartbeats {
    chains: Arc<dyn ChainFactory>,
    topics: HeartbeatTopics,
}

/// Returns the chains of a link that copies these heartbeats, if any.
pub fn around(chains: Arc<dyn ChainFactory>, topics: Option<HeartbeatTopics>) -> Arc<dyn ChainFactory> {
    match topics {
        Some(topics) => Arc::new(AroundHeartbeats { chains, topics }),
        None => chains,
    }
}

/// Returns the name on the target of a topic of heartbeats; `None` for any other topic, which the
/// plugins and the link's naming name.
#[must_use]
pub fn name(topics: Option<&HeartbeatTopics>, topic: &str, partitions: u32) -> Option<Arc<str>> {
    let topics = topics.filter(|topics| partitions == PARTITIONS && topics.has(topic))?;
    Some(topics.name_on_target(topic).into())
}

impl ChainFactory for AroundHeartbeats {
    fn chain(&self) -> Result<Box<dyn Chain>, ChainError> {
        let (chain, topics) = (self.chains.chain()?, self.topics.clone());
        Ok(Box::new(Around { chain, topics, asked: None, through: BTreeSet::new() }))
    }
}

struct Around {
    chain: Box<dyn Chain>,
    topics: HeartbeatTopics,
    /// The partition whose batch is judged next, where it is one of heartbeats.
    asked: Option<PartitionKey>,
    /// Partitions of heartbeats whose next batch has other records too, for which a plugin wants to
    /// see what came before.
    through: BTreeSet<PartitionKey>,
}

impl Around {
    fn name(&self, topic: &str, partitions: u32) -> Option<Arc<str>> {
        name(Some(&self.topics), topic, partitions)
    }

    /// Has the plugins judge a batch that is not only of heartbeats. What they say of those does
    /// not count.
    fn judge(
        &mut self,
        batch: Batch,
        (partitions, target_topic): (u32, Arc<str>),
        own: &BTreeSet<usize>,
    ) -> Result<Processed, ChainError> {
        let partition = self.asked.take().filter(|asked| !self.through.contains(asked));
        if let (Some(partition), Some(first)) = (partition, batch.first_offset())
            && !self.chain.warm_up_needed(&partition, first, partitions).is_empty()
        {
            self.through.insert(partition);
            let reason = "plugins see what came before the records that are no heartbeats".to_owned();
            let generation = self.chain.generation();
            return Err(ChainError {
                plugin: "heartbeats".into(),
                generation,
                offset: None,
                reason,
                next: Next::WarmUp,
            });
        }
        let mut processed = self.chain.apply(batch, partitions)?;
        self.through.clear();
        processed.target_topic = target_topic;
        processed.dispositions.retain(|(index, _)| !own.contains(index));
        Ok(processed)
    }
}

impl Chain for Around {
    fn warm_up_needed(&mut self, partition: &PartitionKey, next: SourceOffset, partitions: u32) -> Vec<WarmUp> {
        self.asked = None;
        if self.name(&partition.topic, partitions).is_some() {
            self.asked = Some(partition.clone());
            if !self.through.contains(partition) {
                return Vec::new();
            }
        }
        self.chain.warm_up_needed(partition, next, partitions)
    }

    fn warm_up(&mut self, batch: &Batch, until: SourceOffset, partitions: u32) -> Result<(), ChainError> {
        self.chain.warm_up(batch, until, partitions)
    }

    fn warmed_up(&mut self, partition: &PartitionKey, until: SourceOffset) {
        self.chain.warmed_up(partition, until);
    }

    fn forget(&mut self, partition: &PartitionKey) {
        self.through.remove(partition);
        self.chain.forget(partition);
    }

    fn apply(&mut self, batch: Batch, partitions: u32) -> Result<Processed, ChainError> {
        let Some(target_topic) = self.name(batch.topic(), partitions) else {
            return self.chain.apply(batch, partitions);
        };
        let is_heartbeat = batch.iter().enumerate().filter(|(_, record)| self.topics.is_heartbeat(record));
        let own: BTreeSet<usize> = is_heartbeat.map(|(index, _)| index).collect();
        if own.len() < batch.len() {
            return self.judge(batch, (partitions, target_topic), &own);
        }
        let generation = self.chain.generation();
        Ok(Processed { batch, target_topic, dispositions: Vec::new(), generation })
    }

    fn target_topic(&mut self, topic: &str, partitions: u32) -> Result<Arc<str>, ChainError> {
        match self.name(topic, partitions) {
            Some(name) => Ok(name),
            None => self.chain.target_topic(topic, partitions),
        }
    }

    fn protection(&mut self, topic: &str, partitions: u32) -> Result<Protection, ChainError> {
        match self.chain.protection(topic, partitions) {
            // Plugins that refuse the topic refuse each record in it that is no heartbeat.
            Err(error) if error.next == Next::Stop && self.name(topic, partitions).is_some() => {
                Ok(Protection::default())
            }
            other => other,
        }
    }

    fn trial_protection(&mut self, topic: &str, partitions: u32) -> Option<Protection> {
        self.chain.trial_protection(topic, partitions)
    }

    fn refuse_trial(&mut self, losses: &str) {
        self.chain.refuse_trial(losses);
    }

    fn keep_up(&mut self) {
        self.chain.keep_up();
    }

    fn border(&self) -> ChainBorder {
        self.chain.border()
    }

    fn generation(&self) -> Generation {
        self.chain.generation()
    }

    fn version(&self) -> u64 {
        self.chain.version()
    }
}

#[cfg(test)]
mod tests {
    use strait_core::mm2::Heartbeat;
    use strait_core::{BatchBuilder, Disposition, LeaderEpoch, Reject, TimestampType, TopicId};

    use super::*;

    /// A chain that renames every topic, refuses every record and looks back.
    #[derive(Clone, Default)]
    struct Strict {
        is_warm: bool,
        judged: usize,
        exchanged: u64,
    }

    impl ChainFactory for Strict {
        fn chain(&self) -> Result<Box<dyn Chain>, ChainError> {
            Ok(Box::new(self.clone()))
        }
    }

    impl Chain for Strict {
        fn warm_up_needed(&mut self, _partition: &PartitionKey, _next: SourceOffset, _partitions: u32) -> Vec<WarmUp> {
            if self.is_warm { Vec::new() } else { vec![WarmUp { records: 10, ms: 0 }] }
        }

        fn warm_up(&mut self, _batch: &Batch, _until: SourceOffset, _partitions: u32) -> Result<(), ChainError> {
            Ok(())
        }

        fn warmed_up(&mut self, _partition: &PartitionKey, _until: SourceOffset) {
            self.is_warm = true;
        }

        fn forget(&mut self, _partition: &PartitionKey) {
            self.is_warm = false;
        }

        fn apply(&mut self, batch: Batch, partitions: u32) -> Result<Processed, ChainError> {
            self.judged += 1;
            let reject = || Reject {
                plugin: "redact".into(),
                digest: "".into(),
                code: "value-not-json".into(),
                rule: None,
                text: String::new(),
            };
            let dispositions = (0..batch.len()).map(|index| (index, Disposition::Reject(Box::new(reject())))).collect();
            let target_topic = self.target_topic(batch.topic(), partitions)?;
            Ok(Processed { batch, target_topic, dispositions, generation: self.generation() })
        }

        fn target_topic(&mut self, topic: &str, _partitions: u32) -> Result<Arc<str>, ChainError> {
            Ok(format!("renamed-{topic}").into())
        }

        fn protection(&mut self, _topic: &str, _partitions: u32) -> Result<Protection, ChainError> {
            let (plugin, generation) = ("redact".into(), self.generation());
            Err(ChainError {
                plugin,
                generation,
                offset: None,
                reason: "no topic of mine".to_owned(),
                next: Next::Stop,
            })
        }

        fn trial_protection(&mut self, _topic: &str, _partitions: u32) -> Option<Protection> {
            None
        }

        fn refuse_trial(&mut self, _losses: &str) {}

        fn keep_up(&mut self) {
            self.exchanged += 1;
        }

        fn border(&self) -> ChainBorder {
            ChainBorder::default()
        }

        fn generation(&self) -> Generation {
            Generation(format!("judged-{}", self.judged).into())
        }

        fn version(&self) -> u64 {
            7 + self.exchanged
        }
    }

    fn chain() -> Box<dyn Chain> {
        let topics = HeartbeatTopics::new(["a", "b"], "a", "b");
        around(Arc::new(Strict::default()), Some(topics)).chain().unwrap()
    }

    /// Returns a batch of heartbeats, with something else in place of those with `false`.
    fn batch(topic: &str, heartbeats: &[bool]) -> Batch {
        let mut batch = BatchBuilder::new(topic.into(), 0, TimestampType::Create, LeaderEpoch(0));
        for (offset, is_heartbeat) in (0..).zip(heartbeats) {
            let heartbeat = Heartbeat { source: "b".to_owned(), target: "a".to_owned(), timestamp_ms: 5 };
            let (key, value) = heartbeat.encode().unwrap();
            let value = if *is_heartbeat { &value } else { &b"{}"[..] };
            batch.push(SourceOffset(offset), 5, Some(&key), Some(value));
        }
        batch.build()
    }

    fn place(topic: &str) -> PartitionKey {
        PartitionKey { topic: topic.into(), topic_id: TopicId([1; 16]), partition: 0 }
    }

    #[test]
    fn heartbeats_pass_around_plugins_that_rename_refuse_and_look_back() {
        let mut chain = chain();
        assert!(chain.warm_up_needed(&place("heartbeats"), SourceOffset(0), 1).is_empty());
        let processed = chain.apply(batch("heartbeats", &[true, true]), 1).unwrap();
        assert_eq!((&*processed.target_topic, processed.dispositions.len()), ("a.heartbeats", 0));
        assert_eq!(&*processed.generation.0, "judged-0", "no plugin has seen them");
        assert_eq!(&*chain.target_topic("heartbeats", 1).unwrap(), "a.heartbeats");
        assert!(chain.protection("heartbeats", 1).is_ok() && chain.protection("orders", 1).is_err());

        for (topic, partitions) in [("orders", 1), ("heartbeats", 2), ("b.heartbeats", 1)] {
            let renamed = format!("renamed-{topic}");
            assert_eq!(*chain.target_topic(topic, partitions).unwrap(), *renamed);
            let processed = chain.apply(batch(topic, &[true]), partitions).unwrap();
            assert_eq!((&*processed.target_topic, processed.dispositions.len()), (&*renamed, 1), "{topic}");
        }
        assert_eq!(chain.version(), 7);
        chain.keep_up();
        assert_eq!(chain.version(), 8, "plugins that were exchanged take over");
    }

    #[test]
    fn what_is_no_heartbeat_goes_through_the_plugins_once_they_have_seen_what_came_before() {
        let (mut chain, heartbeats) = (chain(), place("heartbeats"));
        let mixed = || batch("heartbeats", &[true, false, true]);
        assert!(chain.warm_up_needed(&heartbeats, SourceOffset(0), 1).is_empty());
        let error = chain.apply(mixed(), 1).unwrap_err();
        assert!(error.needs_warm_up());
        assert_eq!(chain.warm_up_needed(&heartbeats, SourceOffset(0), 1).len(), 1);
        chain.warmed_up(&heartbeats, SourceOffset(0));
        assert!(chain.warm_up_needed(&heartbeats, SourceOffset(0), 1).is_empty());
        let processed = chain.apply(mixed(), 1).unwrap();
        let refused: Vec<usize> = processed.dispositions.iter().map(|(index, _)| *index).collect();
        assert_eq!((&*processed.target_topic, refused), ("a.heartbeats", vec![1]));
        // Afterwards heartbeats alone pass as before.
        chain.forget(&heartbeats);
        assert!(chain.warm_up_needed(&heartbeats, SourceOffset(3), 1).is_empty());
        assert_eq!(chain.apply(batch("heartbeats", &[true]), 1).unwrap().dispositions.len(), 0);
    }
}
