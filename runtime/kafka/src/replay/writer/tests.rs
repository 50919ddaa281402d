//! Replays against librdkafka's mock cluster.

use strait_core::SourceOffset;
use strait_core::books::{HeldBack, KeptAt};

use super::super::ReplayJob;
use super::*;
use crate::config::{ClusterConfig, TargetTuning};
use crate::ffi::MockCluster;

/// Returns a link of this name between a mock cluster and itself.
fn spec(mock: &MockCluster, link: &str, queue_records: usize) -> ReplaySpec {
    let cluster = ClusterConfig {
        name: "mock".to_owned(),
        bootstrap_servers: mock.bootstrap_servers(),
        properties: BTreeMap::new(),
        access: crate::access::Access::default(),
    };
    ReplaySpec {
        link: link.to_owned(),
        source: cluster.clone(),
        target: cluster,
        tuning: TargetTuning { queue_records, ..TargetTuning::default() },
        timeout: Duration::from_secs(10),
    }
}

#[test]
fn a_record_that_took_the_place_of_the_refused_one_is_held_back() {
    let mock = MockCluster::start(1).unwrap();
    for (topic, partitions) in [("orders", 1), ("strait.same.quarantine", 1), ("strait.same.operate", 2)] {
        mock.create_topic(topic, partitions).unwrap();
    }
    let mut job = ReplayJob::begin(spec(&mock, "same", 100), None).unwrap();
    let writer = &job.writer;
    let [orders, quarantine] = ["orders", "strait.same.quarantine"].map(|topic| writer.producer.open(topic).unwrap());
    let put = |topic, value: &str, of: Option<&str>| {
        let (key, value) = (Some(&b"k"[..]), Some(value.as_bytes()));
        let message = OutMessage { topic, partition: 0, key, value, timestamp_ms: 1, token: 0 };
        let headers = || {
            let mut list = OutHeaderList::with_capacity(4);
            for (name, value) in [
                ("strait-plugin-digest", "sha256:"),
                ("strait-source-topic", "orders"),
                ("strait-source-partition", "0"),
                ("strait-source-offset", of?),
            ] {
                list.push(name.as_bytes(), Some(value.as_bytes()));
            }
            Some(list)
        };
        writer.send(&message, headers)
    };
    let wrote = writer.transact(|_| {
        ["a", "b", "c", "d"].iter().try_for_each(|value| put(orders, value, None))?;
        // The third place has a record of another entry, and the fourth is gone.
        put(quarantine, "a", Some("0"))?;
        put(quarantine, "lost", Some("1"))?;
        put(quarantine, "lost", Some("9"))
    });
    assert!(wrote.is_ok());
    let partition = PartitionKey { topic: "orders".into(), topic_id: strait_core::TopicId::UNKNOWN, partition: 0 };
    let key = |offset| BookKey { partition: partition.clone(), offset: SourceOffset(offset) };
    let keys: Vec<BookKey> = (0..4).map(key).collect();
    let place_of = |key: &BookKey| Some(KeptAt { partition: 0, offset: key.offset });
    let fetched = job.fetch(&keys, &place_of, 10).unwrap();
    assert_eq!(fetched.held_back, [(key(1), HeldBack::Changed)]);
    assert_eq!((fetched.records(), fetched.done), (3, 4));
}

#[test]
fn more_copies_than_the_queue_holds_are_waited_for() {
    let mock = MockCluster::start(1).unwrap();
    mock.create_topic("strait.wide.operate", 2).unwrap();
    mock.create_topic("copies", 1).unwrap();
    let writer = Writer::begin(&spec(&mock, "wide", 16), None).unwrap();
    let topic = writer.producer.open("copies").unwrap();
    let copies = 500;
    let wrote = writer.transact(|writer| {
        (0..copies).try_for_each(|token| {
            let value = Some(&b"copy"[..]);
            let message = OutMessage { topic, partition: 0, key: None, value, timestamp_ms: 1, token };
            writer.send(&message, || None)
        })
    });
    assert!(wrote.is_ok());
    assert_eq!(lock(&writer.reports.0).offsets.len() as u64, copies);
}
