//! Leaders that go and come back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use strait_core::{PartitionKey, TopicId};
use strait_flow::ports::{BoundsAnswer, Discovery as _};
use strait_kafka::ffi::{Client, ClientKind};
use strait_kafka::{ClusterConfig, KafkaDiscovery, config::Settings};
use strait_test_cluster::{Cluster, ClusterSpec};

use super::common::{Rig, WAIT};

const TOPIC: &str = "led";
const BROKER: usize = 0;

/// Returns the leader of each partition, by a client that knows nothing yet.
async fn leaders(cluster: &ClusterConfig) -> Option<Vec<Option<i32>>> {
    let cluster = cluster.clone();
    let asked = tokio::task::spawn_blocking(move || {
        let client = Client::new(ClientKind::Producer, "fresh", &Settings::of(&cluster, "fresh"), None).ok()?;
        let described = client.describe_topics(&[TOPIC], false, Duration::from_secs(5)).ok()?;
        Some(described.first()?.partitions.iter().map(|partition| partition.leader).collect())
    });
    asked.await.unwrap()
}

async fn wait_leaders(cluster: &ClusterConfig, wanted: impl Fn(&[Option<i32>]) -> bool) {
    let began = Instant::now();
    while !leaders(cluster).await.is_some_and(|found| wanted(&found)) {
        assert!(began.elapsed() < WAIT * 2, "leaders {:?}", leaders(cluster).await);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bounds_are_known_at_once_when_a_leader_has_gone_and_come_back() {
    let spec = ClusterSpec::new("leaders")
        .with_brokers(3)
        .with_property("leader.imbalance.check.interval.seconds", "1")
        .with_property("leader.imbalance.per.broker.percentage", "0");
    let cluster = Cluster::start(spec).await.unwrap();
    let rig = Rig::new(&cluster.bootstrap());
    rig.create(TOPIC, 3, &[]).await;
    let discovery = KafkaDiscovery::new(&rig.cluster, "leaders", &[TOPIC.to_owned()], &[], WAIT).unwrap();
    let id: TopicId = discovery.topics().await.unwrap().listed[0].id;
    let partitions: Vec<PartitionKey> =
        (0..3).map(|partition| PartitionKey { topic: TOPIC.into(), topic_id: id, partition }).collect();
    let known = |answers: BTreeMap<PartitionKey, BoundsAnswer>| {
        answers.len() == 3 && answers.values().all(|answer| matches!(answer, BoundsAnswer::Known(_)))
    };
    assert!(known(discovery.bounds(&partitions).await.unwrap()));

    // Frozen, not stopped: nothing tells the client that another broker leads meanwhile.
    let broker = cluster.broker(BROKER).unwrap();
    let node = i32::try_from(broker.id()).unwrap();
    broker.pause().unwrap();
    wait_leaders(&rig.cluster, |found| found.iter().all(|leader| leader.is_some_and(|leader| leader != node))).await;
    broker.resume().unwrap();
    wait_leaders(&rig.cluster, |found| found.contains(&Some(node))).await;
    let answers = discovery.bounds(&partitions).await.unwrap();
    assert!(known(answers.clone()), "{answers:?}");
}
