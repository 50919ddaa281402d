//! Creates the target topics of a link as soon as their source topics are known, so that an empty
//! topic has its counterpart too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use strait_flow::ports::{ChainError, ChainFactory, SourceTopic};
use strait_kafka::KafkaTargetTopics;
use tokio::sync::watch;

/// Pause before topics that could not be created yet are retried.
const RETRY: Duration = Duration::from_secs(10);

/// The target topics that the source topics need.
#[derive(Default)]
struct Wanted {
    /// The names that unchanged records will have, and the least number of partitions.
    topics: BTreeMap<Arc<str>, u32>,
    /// Source topics that have no target topic, and why.
    unnamed: Vec<(Arc<str>, ChainError)>,
}

/// Creates the target topics of one link.
pub struct TargetTopics {
    link: String,
    chains: Arc<dyn ChainFactory>,
    target: KafkaTargetTopics,
    topics: watch::Receiver<Arc<Vec<SourceTopic>>>,
    /// Source topics without a target topic and target topics that cannot be created, so that each
    /// is logged once.
    refused: BTreeSet<Arc<str>>,
}

impl TargetTopics {
    /// Creates the keeper of the target topics of a link, whose source topics are published in
    /// `topics`.
    #[must_use]
    pub fn new(
        link: &str,
        chains: Arc<dyn ChainFactory>,
        target: KafkaTargetTopics,
        topics: watch::Receiver<Arc<Vec<SourceTopic>>>,
    ) -> Self {
        Self { link: link.to_owned(), chains, target, topics, refused: BTreeSet::new() }
    }

    /// Creates missing topics whenever the source's topics change. Ends when the link does.
    pub async fn run(&mut self) {
        loop {
            let pause = if self.ensure().await { None } else { Some(RETRY) };
            let retry = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.topics.changed() => if changed.is_err() { return },
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
        match self.target.ensure(wanted).await {
            Ok(refused) => {
                let mut done = true;
                for topic in refused {
                    done &= !topic.is_passing;
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

    async fn wanted(&self, topics: Arc<Vec<SourceTopic>>) -> Option<Wanted> {
        let chains = Arc::clone(&self.chains);
        let named = tokio::task::spawn_blocking(move || {
            let mut wanted = Wanted::default();
            let mut chain = chains.chain().ok()?;
            for topic in topics.iter() {
                let partitions = topic.partitions.unsigned_abs();
                match chain.target_topic(&topic.topic, partitions) {
                    Ok(name) => {
                        let least = wanted.topics.entry(name).or_default();
                        *least = partitions.max(*least);
                    }
                    Err(error) => wanted.unnamed.push((Arc::clone(&topic.topic), error)),
                }
            }
            Some(wanted)
        });
        // The panic hook reports a panic in there. The lanes create their topics all the same.
        named.await.unwrap_or_default()
    }
}
