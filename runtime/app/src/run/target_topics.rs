//! Creates the target topics of a link as soon as their source topics are known, so that an empty
//! topic has its counterpart too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use strait_core::TopicId;
use strait_flow::ports::{ChainFactory, PortError, ProgressStore, SourceTopic, WantedTopic};
use strait_kafka::{KafkaTargetTopics, Lacking, RefusedTopic};
use tokio::sync::watch;

use super::topic_collisions::names_by;

/// Minimum and maximum pause before topics that could not be created yet are retried. Doubles per
/// retry.
const RETRY: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));

/// Returns what the target needs for source topics with these names. A topic that several of them
/// feed gets the settings of the first one, and the most partitions.
pub fn wanted_topics<'a>(named: impl IntoIterator<Item = (&'a SourceTopic, Arc<str>)>) -> Vec<WantedTopic> {
    let mut wanted: BTreeMap<Arc<str>, WantedTopic> = BTreeMap::new();
    for (topic, name) in named {
        let (partitions, like) = (topic.partitions.unsigned_abs(), Arc::clone(&topic.topic));
        let new = WantedTopic { name: Arc::clone(&name), like, partitions, grows: true, creates: true };
        let known = wanted.entry(name).or_insert(new);
        known.partitions = partitions.max(known.partitions);
    }
    wanted.into_values().collect()
}

/// The target topics that the source topics need.
struct Wanted {
    /// The topics that unchanged records go to.
    topics: Vec<WantedTopic>,
    /// Source topics that have no target topic, and why.
    unnamed: BTreeMap<Arc<str>, String>,
}

/// The ids of the topics that lanes have written to.
#[derive(Default)]
struct Written(BTreeMap<Arc<str>, BTreeSet<TopicId>>);

impl Written {
    fn add(&mut self, ids: BTreeMap<Arc<str>, TopicId>) {
        for (topic, id) in ids {
            self.0.entry(topic).or_default().insert(id);
        }
    }

    /// Takes out of `lacking` what is for the lanes. `found` are the ids of the topics of now.
    fn leave(&self, lacking: &mut Lacking, found: &BTreeMap<Arc<str>, TopicId>) {
        lacking.missing.retain(|topic| !self.0.contains_key(&topic.name));
        lacking.small.retain(|topic| {
            let Some(written) = self.0.get(&topic.name) else { return true };
            // Without an answer it is asked for again.
            found.get(&topic.name).is_some_and(|found| !written.iter().any(|written| written.is_other_than(*found)))
        });
    }
}

/// Creates the target topics of one link.
pub struct TargetTopics {
    link: String,
    chains: Arc<dyn ChainFactory>,
    target: KafkaTargetTopics,
    /// Reads the progress that the lanes of the link have committed.
    progress: Arc<dyn ProgressStore>,
    lanes: u32,
    topics: watch::Receiver<Arc<Vec<SourceTopic>>>,
    /// Source topics without a target topic and target topics that cannot be created, so that each
    /// is logged once.
    refused: BTreeSet<Arc<str>>,
}

impl TargetTopics {
    /// Creates the keeper of the target topics of a link with so many lanes, whose source topics
    /// are published in `topics`. `progress` is read where a topic is missing.
    #[must_use]
    pub fn new(
        link: &str,
        chains: Arc<dyn ChainFactory>,
        target: KafkaTargetTopics,
        (progress, lanes): (Arc<dyn ProgressStore>, u32),
        topics: watch::Receiver<Arc<Vec<SourceTopic>>>,
    ) -> Self {
        Self { link: link.to_owned(), chains, target, progress, lanes, topics, refused: BTreeSet::new() }
    }

    /// Creates missing topics whenever the source's topics change. Ends when the link does.
    pub async fn run(&mut self) {
        let mut next = RETRY.0;
        loop {
            let pause = (!self.ensure().await).then_some(next);
            next = if pause.is_some() { (next * 2).min(RETRY.1) } else { RETRY.0 };
            let retry = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.topics.changed() => match changed {
                    Ok(()) => next = RETRY.0,
                    Err(_) => return,
                },
                () = retry => {}
            }
        }
    }

    /// Creates missing topics now. Returns false where a retry may help.
    pub async fn ensure(&mut self) -> bool {
        let topics = Arc::clone(&self.topics.borrow_and_update());
        if topics.is_empty() {
            return true;
        }
        let Some(Wanted { topics: wanted, unnamed }) = self.wanted(topics).await else {
            // The lanes meet the same fault and report it.
            return false;
        };
        for (topic, error) in unnamed {
            if self.refused.insert(Arc::clone(&topic)) {
                let (link, topic) = (&self.link, &*topic);
                tracing::warn!(link, topic, %error, "a source topic has no target topic yet: none of its records can be copied");
            }
        }
        match self.provide(wanted).await {
            Ok(refused) => {
                // Whatever the reason, an operator may mend it at the target.
                let done = refused.is_empty();
                for topic in refused {
                    if self.refused.insert(Arc::clone(&topic.topic)) {
                        let (link, reason) = (&self.link, topic.reason);
                        tracing::warn!(
                            link,
                            topic = &*topic.topic,
                            reason,
                            "a target topic cannot be created or grown"
                        );
                    }
                }
                done
            }
            Err(error) => {
                tracing::warn!(link = self.link, %error, "target topics cannot be created yet, will retry");
                false
            }
        }
    }

    /// Creates and grows what the target lacks. A topic that lanes have written to, and that is
    /// another one now, is left to them: it was deleted, and policy decides.
    async fn provide(&self, wanted: Vec<WantedTopic>) -> Result<Vec<RefusedTopic>, PortError> {
        let mut lacking = self.target.lacking(wanted).await?;
        if !lacking.missing.is_empty() || !lacking.small.is_empty() {
            let mut written = Written::default();
            for lane in self.progress.read_written(self.lanes).await? {
                written.add(lane.target_ids());
            }
            let known = lacking.small.iter().filter(|topic| written.0.contains_key(&topic.name));
            let found = self.target.ids(known.map(|topic| Arc::clone(&topic.name)).collect()).await?;
            written.leave(&mut lacking, &found);
        }
        self.target.provide(lacking).await
    }

    async fn wanted(&self, topics: Arc<Vec<SourceTopic>>) -> Option<Wanted> {
        let chains = Arc::clone(&self.chains);
        let named = tokio::task::spawn_blocking(move || {
            let (named, unnamed) = names_by(&mut *chains.chain().ok()?, &topics);
            Some(Wanted { topics: wanted_topics(named.iter().map(|(topic, name)| (topic, Arc::clone(name)))), unnamed })
        });
        // The panic hook reports a panic in there. The lanes create their topics all the same.
        named.await.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_was_created_again_is_neither_made_nor_grown() {
        let topic = |name: &str| WantedTopic {
            name: name.into(),
            like: name.into(),
            partitions: 9,
            grows: true,
            creates: true,
        };
        let ids = |known: &[(&str, u8)]| -> BTreeMap<Arc<str>, TopicId> {
            known.iter().map(|(name, id)| ((*name).into(), TopicId([*id; 16]))).collect()
        };
        let mut written = Written::default();
        written.add(ids(&[("same", 1), ("again", 1), ("gone", 1)]));
        written.add(ids(&[("same", 1), ("half", 1)]));
        written.add(ids(&[("half", 2)]));
        let small = ["same", "again", "half", "foreign"].map(topic).to_vec();
        let mut lacking = Lacking { missing: ["gone", "new"].map(topic).to_vec(), small };
        written.leave(&mut lacking, &ids(&[("same", 1), ("again", 2), ("half", 2)]));
        let names = |topics: &[WantedTopic]| topics.iter().map(|topic| topic.name.to_string()).collect::<Vec<_>>();
        assert_eq!(
            (names(&lacking.missing), names(&lacking.small)),
            (vec!["new".into()], vec!["same".into(), "foreign".into()])
        );
    }
}
