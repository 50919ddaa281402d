//! Topics that would share a name, with a chain of the test's own.

use std::sync::Mutex;
use std::time::Duration;

use strait_core::batch::{BatchBuilder, TimestampType};
use strait_core::progress::ChainBorder;
use strait_core::protects::Protection;
use strait_core::{LeaderEpoch, TopicId};

use super::*;

/// A chain that strips a suffix such as `.v1` where its plugins are called `strips`, and counts how
/// often it was asked for a name.
#[derive(Clone, Default)]
struct Stripping {
    plugins: Arc<Mutex<(String, usize)>>,
    /// The topic that it fails on.
    broken: Arc<Mutex<&'static str>>,
}

impl Stripping {
    fn take_over(&self, plugins: &str) {
        self.plugins.lock().unwrap().0 = plugins.to_owned();
    }

    fn asked(&self) -> usize {
        self.plugins.lock().unwrap().1
    }
}

impl ChainFactory for Stripping {
    fn chain(&self) -> Result<Box<dyn Chain>, ChainError> {
        Ok(Box::new(self.clone()))
    }
}

impl Chain for Stripping {
    fn warm_up_needed(&mut self, _partition: &PartitionKey, _next: SourceOffset, _partitions: u32) -> Vec<WarmUp> {
        Vec::new()
    }

    fn warm_up(&mut self, _batch: &Batch, _until: SourceOffset, _partitions: u32) -> Result<(), ChainError> {
        Ok(())
    }

    fn warmed_up(&mut self, _partition: &PartitionKey, _until: SourceOffset) {}

    fn forget(&mut self, _partition: &PartitionKey) {}

    fn version(&self) -> u64 {
        0
    }

    fn apply(&mut self, batch: Batch, partitions: u32) -> Result<Processed, ChainError> {
        let target_topic = self.target_topic(batch.topic(), partitions)?;
        Ok(Processed { target_topic, batch, dispositions: Vec::new(), generation: self.generation() })
    }

    fn target_topic(&mut self, topic: &str, _partitions: u32) -> Result<Arc<str>, ChainError> {
        if *self.broken.lock().unwrap() == topic {
            return Err(ChainError {
                plugin: "p".into(),
                generation: self.generation(),
                offset: None,
                reason: "it broke".to_owned(),
                next: Next::RetryAfter(Duration::from_secs(1)),
            });
        }
        let mut plugins = self.plugins.lock().unwrap();
        plugins.1 += 1;
        let stripped = topic.split('.').next().unwrap();
        Ok(if plugins.0 == "strips" { stripped.into() } else { topic.into() })
    }

    fn protection(&mut self, _topic: &str, _partitions: u32) -> Result<Protection, ChainError> {
        Ok(Protection::default())
    }

    fn trial_protection(&mut self, _topic: &str, _partitions: u32) -> Option<Protection> {
        None
    }

    fn refuse_trial(&mut self, _losses: &str) {}

    fn keep_up(&mut self) {}

    fn border(&self) -> ChainBorder {
        ChainBorder::default()
    }

    fn generation(&self) -> Generation {
        Generation(self.plugins.lock().unwrap().0.as_str().into())
    }
}

fn topics(names: &[&str]) -> Arc<Vec<SourceTopic>> {
    let topic = |name: &&str| SourceTopic { topic: (*name).into(), id: TopicId([1; 16]), partitions: 3 };
    Arc::new(names.iter().map(topic).collect())
}

fn batch(topic: &str) -> Batch {
    let mut builder = BatchBuilder::new(topic.into(), 0, TimestampType::Create, LeaderEpoch(0));
    builder.push(SourceOffset(0), 1, Some(b"k"), Some(b"v"));
    builder.build()
}

/// The plugins of a link with these source topics, the sender of its topics, and its guarded
/// chains.
fn link_of(names: &[&str]) -> (Stripping, watch::Sender<Arc<Vec<SourceTopic>>>, CollisionGuard) {
    let plugins = Stripping::default();
    let (sender, receiver) = watch::channel(topics(names));
    let chains = CollisionGuard::new(Arc::new(plugins.clone()), receiver);
    (plugins, sender, chains)
}

#[test]
fn topics_that_would_share_a_name_are_refused_and_the_others_are_copied() {
    let (plugins, sender, chains) = link_of(&["orders.v1", "payments.v1"]);
    plugins.take_over("strips");
    let mut chain = chains.chain().unwrap();
    assert_eq!(&*chain.apply(batch("orders.v1"), 3).unwrap().target_topic, "orders");
    let asked = plugins.asked();
    chain.apply(batch("orders.v1"), 3).unwrap();
    chains.chain().unwrap().apply(batch("payments.v1"), 3).unwrap();
    assert_eq!(plugins.asked(), asked + 2, "names are asked for once, for all chains of the link");

    // A topic comes whose name is taken: which of the two is meant cannot be known.
    sender.send_replace(topics(&["orders.v1", "orders.v2", "payments.v1"]));
    for topic in ["orders.v1", "orders.v2"] {
        let error = chain.apply(batch(topic), 3).unwrap_err();
        assert_eq!(error.next, Next::Stop);
        for word in ["'orders.v1', 'orders.v2'", "target topic 'orders'", "merge_topics = true"] {
            assert!(error.reason.contains(word), "{error}");
        }
        assert!(chain.target_topic(topic, 3).is_err(), "no target topic is made for it");
    }
    assert_eq!(&*chain.apply(batch("payments.v1"), 3).unwrap().target_topic, "payments");
    sender.send_replace(topics(&["orders.v2", "payments.v1"]));
    assert_eq!(&*chain.apply(batch("orders.v2"), 3).unwrap().target_topic, "orders");
}

#[test]
fn a_plan_names_topics_as_a_run_does() {
    let plugins = Stripping::default();
    plugins.take_over("strips");
    let all = topics(&["orders.v1", "orders.v2", "payments.v1"]);
    let names = |merges: bool| {
        let (named, unnamed) = target_names(Arc::new(plugins.clone()), merges, all.to_vec()).unwrap();
        let named: Vec<String> = named.iter().map(|(topic, name)| format!("{} -> {name}", topic.topic)).collect();
        (named, unnamed)
    };
    let (named, unnamed) = names(false);
    assert_eq!(named, ["payments.v1 -> payments"]);
    assert!(unnamed.len() == 2 && unnamed["orders.v1"].contains("merge_topics = true"), "{unnamed:?}");
    let (named, unnamed) = names(true);
    assert_eq!((named.len(), unnamed.len()), (3, 0));
}

#[test]
fn names_are_compared_again_after_a_reload() {
    let (plugins, _sender, chains) = link_of(&["orders.v1", "orders.v2"]);
    let mut chain = chains.chain().unwrap();
    assert_eq!(&*chain.apply(batch("orders.v1"), 3).unwrap().target_topic, "orders.v1");
    plugins.take_over("strips");
    assert!(chain.apply(batch("orders.v1"), 3).is_err());
    plugins.take_over("");
    assert!(chain.apply(batch("orders.v1"), 3).is_ok());
}

#[test]
fn a_topic_without_a_name_is_compared_again_before_it_is_copied() {
    let (plugins, _sender, chains) = link_of(&["orders.v1", "orders.v2"]);
    plugins.take_over("strips");
    *plugins.broken.lock().unwrap() = "orders.v1";
    let (mut one, mut other) = (chains.chain().unwrap(), chains.chain().unwrap());
    assert!(one.apply(batch("orders.v2"), 3).is_ok());
    let own = other.apply(batch("orders.v1"), 3).unwrap_err();
    assert_ne!(own.next, Next::Stop, "the plugin's own word");
    *plugins.broken.lock().unwrap() = "";
    assert!(other.apply(batch("orders.v1"), 3).unwrap_err().reason.contains("'orders.v1', 'orders.v2'"));
}

#[test]
fn a_long_list_of_topics_is_cut() {
    let topics: Vec<Arc<str>> = (0..8).map(|n| format!("t{n}").into()).collect();
    let found = collisions(topics.iter().map(|topic| (topic, Arc::from("x"))));
    assert_eq!(found.len(), 8);
    assert!(found["t7"].contains("'t4' and 3 more"), "{}", found["t7"]);
}
