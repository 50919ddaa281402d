use strait_core::map::{MapKind, MapRecord, Run};
use strait_core::mm2::{Checkpoint, Heartbeat, Mm2Topic};
use strait_core::{SourceOffset, TargetOffset, TopicId};
use strait_flow::ports::{
    Class, ControlRecord, ControlTopic, MapFeed as _, MapTail, Mm2Record, Mm2Writer as _, ProducerSlot, ReadEpoch,
    Target as _,
};
use strait_kafka::{ClusterConfig, KafkaMapFeed, KafkaMm2, TargetTuning};

use crate::common::{Rig, WAIT, acknowledged, committed, from, key, read_to};

/// Returns the writer of a link whose source has this name, and its target another.
fn writer(rig: &Rig, source: &str, manage: bool) -> KafkaMm2 {
    let named = |name: &str| ClusterConfig { name: name.to_owned(), ..rig.cluster.clone() };
    KafkaMm2::new(&named(source), &named("mm2-target"), "mm2", manage, WAIT)
}

fn encoded((key, value): (Vec<u8>, Vec<u8>), timestamp_ms: i64) -> Mm2Record {
    Mm2Record { key, value, timestamp_ms }
}

pub async fn topics_for_mirror_makers_clients_are_made_and_written_in_order(rig: Rig) {
    let unmanaged = writer(&rig, "mm2-no", false);
    let error = unmanaged.open(Mm2Topic::Checkpoints).await.unwrap_err();
    assert_eq!(error.class, Class::Stop);
    assert!(error.to_string().contains("--create --topic mm2-no.checkpoints.internal --partitions 1"), "{error}");
    let written = unmanaged.write(Mm2Topic::Checkpoints, vec![encoded(Default::default(), 0)]).await;
    assert!(written.is_err(), "it is not open");

    let mm2 = writer(&rig, "mm2-a", true);
    for topic in [Mm2Topic::Heartbeats, Mm2Topic::SourceHeartbeats, Mm2Topic::Checkpoints] {
        mm2.open(topic).await.unwrap();
    }
    let answer = |number: i64| Checkpoint {
        group: "g".to_owned(),
        topic: "mm2-a.orders".to_owned(),
        partition: 1,
        upstream: number,
        downstream: number / 2,
        metadata: "of the group".to_owned(),
    };
    let records: Vec<Mm2Record> = (0..500).map(|number| encoded(answer(number).encode().unwrap(), 0)).collect();
    let heartbeat = |timestamp_ms| {
        let (source, target) = ("mm2-a".to_owned(), "mm2-target".to_owned());
        encoded(Heartbeat { source, target, timestamp_ms }.encode().unwrap(), timestamp_ms)
    };
    // Both at once, by one producer.
    let beats = mm2.write(Mm2Topic::Heartbeats, vec![heartbeat(5), heartbeat(6)]);
    let (checkpoints, beats) = tokio::join!(mm2.write(Mm2Topic::Checkpoints, records), beats);
    checkpoints.unwrap();
    beats.unwrap();
    // Another process finds the topic, and writes behind.
    let other = writer(&rig, "mm2-a", true);
    other.open(Mm2Topic::Checkpoints).await.unwrap();
    other.write(Mm2Topic::Checkpoints, vec![encoded(answer(500).encode().unwrap(), 0)]).await.unwrap();

    let mut source = rig.source("mm2-read");
    source.assign(ReadEpoch(1), &[from("mm2-a.checkpoints.internal", 0, 0, -1)]).await.unwrap();
    let read = read_to(&mut source, ReadEpoch(1), 501).await;
    for (number, record) in (0..).zip(&read) {
        let (key, value) = (record.key.as_deref().unwrap(), record.value.as_deref().unwrap());
        assert_eq!(Checkpoint::decode(key, value), Ok(answer(number)));
        assert!(record.headers.is_empty() && record.timestamp_ms > 0);
    }
    source.assign(ReadEpoch(2), &[from("heartbeats", 0, 0, -1)]).await.unwrap();
    let times: Vec<i64> = read_to(&mut source, ReadEpoch(2), 2).await.iter().map(|r| r.timestamp_ms).collect();
    assert_eq!(times, [5, 6]);
}

fn map_record(first: i64) -> MapRecord {
    MapRecord {
        partition: key("orders", 0),
        target_topic: "mm2-a.orders".into(),
        target_id: TopicId::UNKNOWN,
        kind: MapKind::Copy,
        first: SourceOffset(first),
        next: SourceOffset(first + 1),
        runs: vec![Run { source: SourceOffset(first), target_partition: 0, target: TargetOffset(first), count: 1 }],
    }
}

/// Reads until there are so many records.
async fn read(tail: &mut Box<dyn MapTail>, count: usize) -> (Vec<i64>, bool) {
    let mut all = Vec::new();
    loop {
        let news = tail.next().await.unwrap();
        all.extend(news.records.iter().map(|record| record.first.0));
        if all.len() >= count && news.is_caught_up {
            return (all, news.is_caught_up);
        }
    }
}

pub async fn the_map_is_followed_from_near_its_end(rig: Rig) {
    rig.topics("mapped", 1).await;
    let feed = KafkaMapFeed::new(&rig.cluster, "mapped", WAIT);
    let mut empty = feed.follow().await.unwrap();
    assert!(empty.next().await.unwrap().is_caught_up, "there is nothing to come to");
    let mut target = rig.taken("mapped", 0, &TargetTuning::default()).await;
    for (number, slot) in (0..4).zip([ProducerSlot::A, ProducerSlot::B].into_iter().cycle()) {
        target.begin(slot).unwrap();
        let (key, value) = map_record(number).encode();
        let record = ControlRecord { topic: ControlTopic::Map, key, value };
        target.produce_control(slot, 9, number.unsigned_abs(), &[record]).unwrap();
        acknowledged(&mut target, 1).await;
        committed(&mut target, slot).await;
    }
    assert_eq!(read(&mut empty, 4).await, (vec![0, 1, 2, 3], true));
    let mut late = feed.follow().await.unwrap();
    assert_eq!(read(&mut late, 4).await, (vec![0, 1, 2, 3], true));
    target.close(WAIT).await;
}
