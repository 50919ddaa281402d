//! Refuses source topics that would share a target topic.
//!
//! Records of two topics under one name can no longer be separated. So unless the link allows it
//! (`merge_topics`), none of these topics is copied. Neither takes precedence: no process knows for
//! sure which one was copied first, and a topic that continues where the other one wrote would mix
//! them all the same.

#[cfg(test)]
mod tests;

use strait_flow::lock;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use strait_core::progress::ChainBorder;
use strait_core::protects::Protection;
use strait_core::{Batch, Generation, PartitionKey, Processed, SourceOffset};
use strait_flow::ports::{Chain, ChainError, ChainFactory, Next, SourceTopic, WarmUp};
use tokio::sync::watch;

/// Most topics named in a message; the others are counted.
const NAMED_MAX: usize = 5;

/// Returns the source topics that share their target topic with another one, each with the reason
/// why it cannot be copied. `named` are pairs of source and target topic.
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

/// Source topics with their names on the target.
pub type Named = Vec<(SourceTopic, Arc<str>)>;

/// Names the target topics of these source topics as a run does: without `merges` topics that would
/// share one have none. Returns those without a name as well, each with the reason.
///
/// # Errors
/// [`ChainError`] if the plugins do not start.
pub fn target_names(
    chains: Arc<dyn ChainFactory>,
    merges: bool,
    topics: Vec<SourceTopic>,
) -> Result<(Named, BTreeMap<Arc<str>, String>), ChainError> {
    let topics = Arc::new(topics);
    let (_topics, receiver) = watch::channel(Arc::clone(&topics));
    let mut chain = if merges { chains.chain() } else { CollisionGuard::new(chains, receiver).chain() }?;
    Ok(names_by(&mut *chain, &topics))
}

/// Names the target topics of these source topics by a chain. Returns those without a name as well,
/// each with the reason.
pub fn names_by(chain: &mut dyn Chain, topics: &[SourceTopic]) -> (Named, BTreeMap<Arc<str>, String>) {
    let (mut named, mut unnamed) = (Named::new(), BTreeMap::new());
    for topic in topics {
        match chain.target_topic(&topic.topic, topic.partitions.unsigned_abs()) {
            Ok(target) => named.push((topic.clone(), target)),
            Err(error) => {
                unnamed.insert(Arc::clone(&topic.topic), error.to_string());
            }
        }
    }
    (named, unnamed)
}

fn reason(name: &str, topics: &[&Arc<str>]) -> String {
    let quoted: Vec<String> = topics.iter().take(NAMED_MAX).map(|topic| format!("'{topic}'")).collect();
    let more = topics.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!(
        "the source topics {}{more} would all be target topic '{name}', and their records mixed: give them different names, leave all but \
         one out of the link, or set merge_topics = true if that is intended",
        quoted.join(", ")
    )
}

/// The result of the last comparison of a link's topic names.
#[derive(Default)]
struct Comparison {
    /// The topics compared.
    topics: Arc<Vec<SourceTopic>>,
    /// The plugins that named them.
    plugins: Generation,
    collisions: BTreeMap<Arc<str>, String>,
    /// Topics whose name a plugin failed to give. It may succeed the next time.
    unnamed: BTreeSet<Arc<str>>,
}

impl Comparison {
    /// Returns whether the comparison still holds for this topic.
    fn covers(&self, topic: &str, topics: &Arc<Vec<SourceTopic>>, plugins: &Generation) -> bool {
        Arc::ptr_eq(&self.topics, topics) && self.plugins == *plugins && !self.unnamed.contains(topic)
    }
}

/// A factory of chains that refuse colliding topics.
pub struct CollisionGuard {
    chains: Arc<dyn ChainFactory>,
    shared: Shared,
}

/// The target topics that the chains of a link use, shared by all of them.
#[derive(Clone)]
struct Shared {
    topics: watch::Receiver<Arc<Vec<SourceTopic>>>,
    /// The last comparison. The first chain that needs a new one makes it, for all.
    last: Arc<Mutex<Arc<Comparison>>>,
}

impl CollisionGuard {
    /// Guards the chains of a link whose source topics are published in `topics`.
    #[must_use]
    pub fn new(chains: Arc<dyn ChainFactory>, topics: watch::Receiver<Arc<Vec<SourceTopic>>>) -> Self {
        Self { chains, shared: Shared { topics, last: Arc::default() } }
    }
}

impl ChainFactory for CollisionGuard {
    fn chain(&self) -> Result<Box<dyn Chain>, ChainError> {
        let (chain, shared) = (self.chains.chain()?, self.shared.clone());
        Ok(Box::new(GuardedChain { chain, shared, comparison: Arc::default() }))
    }
}

struct GuardedChain {
    chain: Box<dyn Chain>,
    shared: Shared,
    /// A copy of the link's last comparison, which needs no lock.
    comparison: Arc<Comparison>,
}

impl GuardedChain {
    /// Refuses a topic that shares its name. Compares names only when topics or plugins have
    /// changed.
    fn check(&mut self, topic: &str) -> Result<(), ChainError> {
        let topics = Arc::clone(&self.shared.topics.borrow());
        let plugins = self.chain.generation();
        if !self.comparison.covers(topic, &topics, &plugins) {
            let last = Arc::clone(&self.shared.last);
            let mut last = lock(&last);
            if !last.covers(topic, &topics, &plugins) {
                *last = Arc::new(self.compare(topics, plugins.clone()));
            }
            self.comparison = Arc::clone(&last);
        }
        let Some(reason) = self.comparison.collisions.get(topic) else { return Ok(()) };
        let reason = reason.clone();
        Err(ChainError { plugin: "naming".into(), generation: plugins, offset: None, reason, next: Next::Stop })
    }

    /// Refuses a batch that plugins on trial have judged, where their name for its topic collides.
    fn check_trial(&mut self, processed: &Processed) -> Result<(), ChainError> {
        let (own, name) = (processed.batch.topic(), &processed.target_topic);
        let topics = Arc::clone(&self.shared.topics.borrow());
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

    fn compare(&mut self, topics: Arc<Vec<SourceTopic>>, plugins: Generation) -> Comparison {
        let (mut named, mut unnamed) = (Vec::new(), BTreeSet::new());
        for topic in topics.iter() {
            match self.chain.target_topic(&topic.topic, topic.partitions.unsigned_abs()) {
                Ok(name) => named.push((&topic.topic, name)),
                Err(error) if error.next != Next::Stop => {
                    unnamed.insert(Arc::clone(&topic.topic));
                }
                // A topic that a plugin refuses is not copied, so it collides with nothing.
                Err(_) => {}
            }
        }
        let collisions = collisions(named);
        Comparison { topics, plugins, collisions, unnamed }
    }
}

impl Chain for GuardedChain {
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
        // Other plugins may have judged this batch, or the first ones that gave the topic a name.
        self.check(processed.batch.topic())?;
        if processed.generation != self.chain.generation() {
            self.check_trial(&processed)?;
        }
        Ok(processed)
    }

    fn target_topic(&mut self, topic: &str, partitions: u32) -> Result<Arc<str>, ChainError> {
        self.check(topic)?;
        self.chain.target_topic(topic, partitions)
    }

    fn protection(&mut self, topic: &str, partitions: u32) -> Result<Protection, ChainError> {
        self.chain.protection(topic, partitions)
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
