//! Topics that would share a name: chains without plugins of their own, then a link between mock clusters.

use std::sync::Mutex;
use std::time::Duration;

use strait_core::batch::{BatchBuilder, TimestampType};
use strait_core::{LeaderEpoch, TopicId};
use strait_kafka::MockCluster;
use strait_kafka::config::ClusterConfig;
use strait_kafka::sample::{self, SampleRecord};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::admin::board::Board;
use crate::load::{self, Environment};
use crate::run::{self, RunError};

/// Takes a suffix such as `.v1` off where its plugins are called `strips`, and counts how often it was asked for a name.
#[derive(Clone, Default)]
struct Stripping {
    plugins: Arc<Mutex<(String, usize)>>,
    /// The topic that it breaks on.
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

/// Chains of a link with these source topics, their plugins, and where its topics are told.
fn link_of(names: &[&str]) -> (Stripping, watch::Sender<Arc<Vec<SourceTopic>>>, OneEach) {
    let plugins = Stripping::default();
    let (tell, told) = watch::channel(topics(names));
    let chains = OneEach::new(Arc::new(plugins.clone()), told);
    (plugins, tell, chains)
}

#[test]
fn topics_that_would_share_a_name_stand_still_and_the_others_go_on() {
    let (plugins, tell, chains) = link_of(&["orders.v1", "payments.v1"]);
    plugins.take_over("strips");
    let mut chain = chains.chain().unwrap();
    assert_eq!(&*chain.apply(batch("orders.v1"), 3).unwrap().target_topic, "orders");
    let asked = plugins.asked();
    chain.apply(batch("orders.v1"), 3).unwrap();
    chains.chain().unwrap().apply(batch("payments.v1"), 3).unwrap();
    assert_eq!(plugins.asked(), asked + 2, "names are asked for once, for all chains of the link");

    // A topic comes whose name is taken: which of the two is meant cannot be known.
    tell.send_replace(topics(&["orders.v1", "orders.v2", "payments.v1"]));
    for topic in ["orders.v1", "orders.v2"] {
        let error = chain.apply(batch(topic), 3).unwrap_err();
        assert_eq!(error.next, Next::Stop);
        for word in ["'orders.v1', 'orders.v2'", "target topic 'orders'", "merge_topics = true"] {
            assert!(error.reason.contains(word), "{error}");
        }
        assert!(chain.target_topic(topic, 3).is_err(), "no target topic is made for it");
    }
    assert_eq!(&*chain.apply(batch("payments.v1"), 3).unwrap().target_topic, "payments");
    tell.send_replace(topics(&["orders.v2", "payments.v1"]));
    assert_eq!(&*chain.apply(batch("orders.v2"), 3).unwrap().target_topic, "orders");
}

#[test]
fn plugins_that_are_taken_over_later_are_asked_for_their_names() {
    let (plugins, _tell, chains) = link_of(&["orders.v1", "orders.v2"]);
    let mut chain = chains.chain().unwrap();
    assert_eq!(&*chain.apply(batch("orders.v1"), 3).unwrap().target_topic, "orders.v1");
    plugins.take_over("strips");
    assert!(chain.apply(batch("orders.v1"), 3).is_err());
    plugins.take_over("");
    assert!(chain.apply(batch("orders.v1"), 3).is_ok());
}

#[test]
fn a_topic_that_had_no_name_is_compared_again_before_it_is_copied() {
    let (plugins, _tell, chains) = link_of(&["orders.v1", "orders.v2"]);
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

#[test]
fn a_link_copies_the_others_and_says_which_it_does_not() {
    const PATIENCE: Duration = Duration::from_secs(60);
    let (aws, gcp) = (MockCluster::start(1).unwrap(), MockCluster::start(1).unwrap());
    let config = |cluster: &MockCluster| ClusterConfig {
        name: "mock".to_owned(),
        bootstrap_servers: cluster.bootstrap_servers(),
        properties: BTreeMap::new(),
    };
    for topic in ["orders.v1", "orders.v2", "payments.v1"] {
        aws.create_topic(topic, 1).unwrap();
        let record = SampleRecord {
            key: topic.to_owned(),
            value: "v".to_owned(),
            timestamp_ms: 1_000,
            ..SampleRecord::default()
        };
        sample::send(&config(&aws), topic, &[record], PATIENCE).unwrap();
    }
    // The mock cluster has no admin interface.
    for (topic, partitions) in [("aws.orders", 1), ("aws.payments", 1), ("strait.l.progress", 1), ("strait.l.map", 1)] {
        gcp.create_topic(topic, partitions).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[clusters.aws]\nbootstrap_servers = \"{}\"\n[clusters.gcp]\nbootstrap_servers = \"{}\"\n\
         [[links]]\nname = \"l\"\nsource = \"aws\"\ntarget = \"gcp\"\ntopics = [\".*\"]\n\
         delivery = \"at-least-once\"\nlanes = 1\n[[links.plugins]]\nplugin = \"rename\"\n\
         config = {{ pattern = \"(.*)\\\\.v\\\\d\", replacement = \"$1\" }}\n",
        aws.bootstrap_servers(),
        gcp.bootstrap_servers()
    );
    let file = folder.path().join("strait.toml");
    std::fs::write(&file, text).unwrap();
    let loaded =
        Arc::new(load::load(&file, &Environment::default()).unwrap_or_else(|r| panic!("{}", r.render(false, 100))));

    let steps = crate::commands::check::steps::all(&loaded);
    let said: String = steps.iter().map(|step| step.text()).collect();
    assert!(said.contains("✓ topics of l: 1 with 1 partitions: payments.v1 -> aws.payments"), "{said}");
    assert!(
        said.contains(
            "✗ topics of l: the source topics 'orders.v1', 'orders.v2' would all be target topic 'aws.orders'"
        ),
        "{said}"
    );

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let board = Board::new(&loaded.config);
    let copying = run::run(&loaded, true, CancellationToken::new(), &board);
    let ended = runtime.block_on(async { tokio::time::timeout(PATIENCE, copying).await.unwrap() });
    let errors = ended.unwrap_err();
    assert!(matches!(&errors[..], [RunError::Stopped { count: 2, .. }]), "{errors:?}");
    let copied = |topic: &str| sample::read(&config(&gcp), topic, 1, PATIENCE).unwrap().len();
    assert_eq!((copied("aws.payments"), copied("aws.orders")), (1, 0));
}
