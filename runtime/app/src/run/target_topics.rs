//! Makes the target topics of a link as soon as their source topics are known, so that an empty topic is there as well.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use strait_flow::ports::{ChainError, ChainFactory, SourceTopic};
use strait_kafka::KafkaTargetTopics;
use tokio::sync::watch;

/// Before a target that did not answer is asked again.
const AGAIN: Duration = Duration::from_secs(10);

/// What the source topics ask for.
#[derive(Default)]
struct Wanted {
    /// The names that untouched records will have, and how many partitions they need.
    topics: BTreeMap<Arc<str>, u32>,
    /// Source topics that get no name, and why.
    unnamed: Vec<(Arc<str>, ChainError)>,
}

/// Keeps the target topics of one link.
pub struct TargetTopics {
    link: String,
    chains: Arc<dyn ChainFactory>,
    target: KafkaTargetTopics,
    topics: watch::Receiver<Arc<Vec<SourceTopic>>>,
    /// Source topics without a name and target topics that cannot be made; each is told once.
    refused: BTreeSet<Arc<str>>,
}

impl TargetTopics {
    /// Of a link whose source topics are published in `topics`.
    #[must_use]
    pub fn new(
        link: &str,
        chains: Arc<dyn ChainFactory>,
        target: KafkaTargetTopics,
        topics: watch::Receiver<Arc<Vec<SourceTopic>>>,
    ) -> Self {
        Self { link: link.to_owned(), chains, target, topics, refused: BTreeSet::new() }
    }

    /// Makes what is missing whenever the source's topics change. Ends when the link does.
    pub async fn keep(&mut self) {
        loop {
            let pause = if self.make().await { None } else { Some(AGAIN) };
            let again = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.topics.changed() => if changed.is_err() { return },
                () = again => {}
            }
        }
    }

    /// Makes what is missing now. False where another try may go better.
    pub async fn make(&mut self) -> bool {
        let topics = Arc::clone(&self.topics.borrow_and_update());
        if topics.is_empty() {
            return true;
        }
        let Some(Wanted { topics: wanted, unnamed }) = self.wanted(topics).await else {
            // The lanes meet the same fault, and tell it.
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
                    done &= !topic.passing;
                    if self.refused.insert(Arc::clone(&topic.topic)) {
                        let (link, reason) = (&self.link, topic.reason);
                        tracing::warn!(link, topic = &*topic.topic, reason, "a target topic cannot be made or grown");
                    }
                }
                done
            }
            Err(error) => {
                tracing::warn!(link = self.link, %error, "target topics cannot be made yet, will try again");
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
        // A panic in there is told by the panic hook; the lanes make their topics all the same.
        named.await.unwrap_or_default()
    }
}
