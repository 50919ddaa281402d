//! One source topic for each target topic of a link. Records of two topics under one name cannot be told apart any more, so where
//! the link does not say that this is meant (`merge_topics`) none of such topics is copied.
//!
//! Neither goes before the other: which one was copied first is known to no process for sure, and one that began to write where
//! the other one wrote before would mix them all the same.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use strait_core::{Batch, Generation, PartitionKey, Processed, SourceOffset};
use strait_flow::ports::{Chain, ChainError, ChainFactory, Next, SourceTopic, WarmUp};
use tokio::sync::watch;

/// Topics named in a message; the others are counted.
const NAMED_MAX: usize = 5;

/// Why topics cannot be copied, by source topic: those whose target topic is another one's as well. Takes source and target
/// topic of each.
#[must_use]
pub fn collisions<'a>(named: impl IntoIterator<Item = (&'a Arc<str>, Arc<str>)>) -> BTreeMap<Arc<str>, String> {
    let mut by_name: BTreeMap<Arc<str>, Vec<&Arc<str>>> = BTreeMap::new();
    for (topic, name) in named {
        by_name.entry(name).or_default().push(topic);
    }
    let mut collisions = BTreeMap::new();
    for (name, topics) in by_name.into_iter().filter(|(_, topics)| topics.len() > 1) {
        let reason = reason(&name, &topics);
        collisions.extend(topics.into_iter().map(|topic| (Arc::clone(topic), reason.clone())));
    }
    collisions
}

fn reason(name: &str, topics: &[&Arc<str>]) -> String {
    let quoted: Vec<String> = topics.iter().take(NAMED_MAX).map(|topic| format!("'{topic}'")).collect();
    let more = topics.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!(
        "the source topics {}{more} would all be target topic '{name}', and their records mixed: name them apart, leave all but \
         one out of the link, or say merge_topics = true if that is meant",
        quoted.join(", ")
    )
}

/// What the chains of a link have found when they last compared the names of its topics.
#[derive(Default)]
struct Found {
    /// Of which topics.
    topics: Arc<Vec<SourceTopic>>,
    /// By which plugins.
    plugins: Generation,
    collisions: BTreeMap<Arc<str>, String>,
    /// Topics that a plugin broke on when it was asked for their names. It may not the next time.
    unnamed: BTreeSet<Arc<str>>,
}

impl Found {
    fn answers(&self, topic: &str, topics: &Arc<Vec<SourceTopic>>, plugins: &Generation) -> bool {
        Arc::ptr_eq(&self.topics, topics) && self.plugins == *plugins && !self.unnamed.contains(topic)
    }
}

/// Makes chains that refuse the topics of a collision.
pub struct OneEach {
    chains: Arc<dyn ChainFactory>,
    names: Names,
}

#[derive(Clone)]
struct Names {
    topics: watch::Receiver<Arc<Vec<SourceTopic>>>,
    /// The names are compared by the first chain that needs them, for all of the link.
    found: Arc<Mutex<Arc<Found>>>,
}

impl OneEach {
    /// Of a link whose source topics are published in `topics`.
    #[must_use]
    pub fn new(chains: Arc<dyn ChainFactory>, topics: watch::Receiver<Arc<Vec<SourceTopic>>>) -> Self {
        Self { chains, names: Names { topics, found: Arc::default() } }
    }
}

impl ChainFactory for OneEach {
    fn chain(&self) -> Result<Box<dyn Chain>, ChainError> {
        Ok(Box::new(Checked { chain: self.chains.chain()?, names: self.names.clone(), found: Arc::default() }))
    }
}

struct Checked {
    chain: Box<dyn Chain>,
    names: Names,
    /// The link's, without its lock.
    found: Arc<Found>,
}

impl Checked {
    /// Refuses a topic that shares its name. Names are asked for when topics or plugins have changed, else nothing is done.
    fn check(&mut self, topic: &str) -> Result<(), ChainError> {
        let topics = Arc::clone(&self.names.topics.borrow());
        let plugins = self.chain.generation();
        if !self.found.answers(topic, &topics, &plugins) {
            let shared = Arc::clone(&self.names.found);
            let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            if !shared.answers(topic, &topics, &plugins) {
                *shared = Arc::new(self.look(topics, plugins.clone()));
            }
            self.found = Arc::clone(&shared);
        }
        let Some(reason) = self.found.collisions.get(topic) else { return Ok(()) };
        let reason = reason.clone();
        Err(ChainError { plugin: "naming".into(), generation: plugins, offset: None, reason, next: Next::Stop })
    }

    /// Plugins that are tried on this partition judged it, and may name its topic otherwise.
    fn check_other(&mut self, processed: &Processed) -> Result<(), ChainError> {
        let (own, name) = (processed.batch.topic(), &processed.target_topic);
        let topics = Arc::clone(&self.names.topics.borrow());
        let mut named = |topic: &SourceTopic| {
            self.chain.target_topic(&topic.topic, topic.partitions.unsigned_abs()).is_ok_and(|other| other == *name)
        };
        if topics.iter().find(|topic| topic.topic == *own).is_some_and(&mut named) {
            return Ok(());
        }
        let Some(other) = topics.iter().filter(|topic| topic.topic != *own).find(|topic| named(topic)) else {
            return Ok(());
        };
        let (generation, reason) = (processed.generation.clone(), reason(name, &[own, &other.topic]));
        Err(ChainError { plugin: "naming".into(), generation, offset: None, reason, next: Next::Stop })
    }

    fn look(&mut self, topics: Arc<Vec<SourceTopic>>, plugins: Generation) -> Found {
        let (mut named, mut unnamed) = (Vec::new(), BTreeSet::new());
        for topic in topics.iter() {
            match self.chain.target_topic(&topic.topic, topic.partitions.unsigned_abs()) {
                Ok(name) => named.push((&topic.topic, name)),
                Err(error) if error.next != Next::Stop => {
                    unnamed.insert(Arc::clone(&topic.topic));
                }
                // A topic that a plugin refuses is not copied, and so in nobody's way.
                Err(_) => {}
            }
        }
        let collisions = collisions(named);
        Found { topics, plugins, collisions, unnamed }
    }
}

impl Chain for Checked {
    fn warm_up_needed(&mut self, partition: &PartitionKey, next: SourceOffset, partitions: u32) -> Vec<WarmUp> {
        self.chain.warm_up_needed(partition, next, partitions)
    }

    fn warm_up(&mut self, batch: &Batch, until: SourceOffset, partitions: u32) -> Result<(), ChainError> {
        self.chain.warm_up(batch, until, partitions)
    }

    fn warmed_up(&mut self, partition: &PartitionKey, until: SourceOffset) {
        self.chain.warmed_up(partition, until);
    }

    fn forget(&mut self, partition: &PartitionKey) {
        self.chain.forget(partition);
    }

    fn apply(&mut self, batch: Batch, partitions: u32) -> Result<Processed, ChainError> {
        self.check(batch.topic())?;
        let processed = self.chain.apply(batch, partitions)?;
        // It may be the first batch of other plugins, or the first time that a plugin did not break on the topic.
        self.check(processed.batch.topic())?;
        if processed.generation != self.chain.generation() {
            self.check_other(&processed)?;
        }
        Ok(processed)
    }

    fn target_topic(&mut self, topic: &str, partitions: u32) -> Result<Arc<str>, ChainError> {
        self.check(topic)?;
        self.chain.target_topic(topic, partitions)
    }

    fn generation(&self) -> Generation {
        self.chain.generation()
    }

    fn version(&self) -> u64 {
        self.chain.version()
    }
}
