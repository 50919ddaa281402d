use std::time::Duration;

use strait_core::{BatchBuilder, Generation, LeaderEpoch, SourceOffset, TimestampType};
use strait_flow::ports::{Discovery, ProducerSlot, Quarantine, QuarantineRecord, ReadEpoch, Target};
use strait_kafka::probe::{ProbeError, probe};
use strait_kafka::{KafkaDiscovery, KafkaQuarantine, LinkTopics, LinkTopicsError, MockCluster, TargetTuning};

use crate::common::{Rig, WAIT, acknowledged, from, key, open, read_to, send};

pub async fn lanes_are_fixed_when_the_topics_are_made(rig: Rig) {
    rig.topics("lanes", 3).await;
    rig.topics("lanes", 3).await;
    let error = rig.link_topics("lanes", 5).ensure().await.unwrap_err();
    assert!(matches!(&error, LinkTopicsError::Lanes { configured: 5, existing: 3, .. }), "{error}");
    assert!(error.to_string().contains("strait lanes resize lanes 5"));
    let unmanaged = LinkTopics { manage: false, ..rig.link_topics("unmanaged", 1) };
    let error = unmanaged.ensure().await.unwrap_err();
    assert!(error.to_string().contains("strait.unmanaged.progress does not exist"), "{error}");
}

pub async fn quarantine_keeps_the_record_and_its_reason(rig: Rig) {
    let mut builder = BatchBuilder::new("orders".into(), 5, TimestampType::Create, LeaderEpoch(0));
    builder.push(SourceOffset(42), -1, None, Some(b"bad"));
    builder.push_header(b"\xff", None);
    // A producer's own.
    builder.push_header(b"strait-code", Some(b"forged"));
    builder.push_header(b"strait-plugin-digest", Some(b"sha256:ff"));
    let batch = builder.build();
    let record = QuarantineRecord {
        partition: &key("orders", 5),
        record: batch.get(0).unwrap(),
        by: "redact",
        digest: Some("sha256:00"),
        code: "not-json",
        text: "at 1:1",
        generation: &Generation::default(),
    };
    let mut unmanaged = KafkaQuarantine::new(&rig.cluster, "kept", false, WAIT);
    assert!(unmanaged.write(std::slice::from_ref(&record)).await.is_err());
    let mut quarantine = KafkaQuarantine::new(&rig.cluster, "kept", true, WAIT);
    quarantine.write(std::slice::from_ref(&record)).await.unwrap();
    quarantine.write(std::slice::from_ref(&record)).await.unwrap();
    quarantine.write(&[QuarantineRecord { digest: None, ..record }]).await.unwrap();
    assert_eq!(quarantine.fault().await.unwrap(), None, "nothing expires there");

    let mut source = rig.source("kept");
    source.assign(ReadEpoch(1), &[from("strait.kept.quarantine", 0, 0, -1)]).await.unwrap();
    let records = read_to(&mut source, ReadEpoch(1), 3).await;
    assert_eq!((records[0].key.as_deref(), records[0].value.as_deref()), (None, Some(&b"bad"[..])));
    assert!(records[0].timestamp_ms > 0);
    assert_eq!(records[1].headers[0], (b"\xff".to_vec(), None));
    // As the clients of Kafka read it: the last header of a name.
    let last = |record: usize, name: &str| {
        let header = records[record].headers.iter().rev().find(|(n, _)| n == name.as_bytes());
        header.unwrap().1.clone().map(|value| String::from_utf8(value).unwrap())
    };
    assert_eq!(last(2, "strait-plugin-digest"), None, "and not the producer's");
    for (name, value) in [
        ("strait-link", "kept"),
        ("strait-plugin", "redact"),
        ("strait-plugin-digest", "sha256:00"),
        ("strait-code", "not-json"),
        ("strait-text", "at 1:1"),
        ("strait-generation", "none"),
        ("strait-source-topic", "orders"),
        ("strait-source-topic-id", "00000000000000000000000000000000"),
        ("strait-source-partition", "5"),
        ("strait-source-offset", "42"),
        ("strait-source-timestamp", "-1"),
    ] {
        assert_eq!(last(1, name).as_deref(), Some(value), "{name}");
    }
    source.close().await;
}

pub async fn discovery_selects_by_full_match(rig: Rig) {
    rig.topics("find", 1).await;
    for (topic, partitions) in [("find-a", 1), ("find-b", 2), ("find-b-old", 1), ("xfind-a", 1)] {
        rig.create(topic, partitions, &[]).await;
    }
    let find = |include: &str, exclude: &str| {
        KafkaDiscovery::new(&rig.cluster, "find", &[include.to_owned()], &[exclude.to_owned()], WAIT)
    };
    let discovery = find("find-.*|strait.*", ".*-old").unwrap();
    let mut topics = discovery.topics().await.unwrap().listed;
    // A broker hears of new topics a moment after they were created.
    let deadline = tokio::time::Instant::now() + WAIT;
    while topics.len() < 2 && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
        topics = discovery.topics().await.unwrap().listed;
    }
    let found: Vec<_> = topics.iter().map(|t| (&*t.topic, t.partitions, t.id.is_known())).collect();
    assert_eq!(found, [("find-a", 1, true), ("find-b", 2, true)]);
    assert!(find("(", "").is_err());
}

pub async fn a_probe_says_what_is_wrong(rig: Rig) {
    let info = probe(&rig.cluster, WAIT).await.unwrap();
    assert_eq!((info.brokers, info.cluster_id.map(|id| id.len())), (1, Some(22)));

    let mut closed = rig.cluster.clone();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    closed.bootstrap_servers = format!("127.0.0.1:{port}");
    let error = probe(&closed, Duration::from_secs(20)).await.unwrap_err();
    assert!(matches!(error, ProbeError::Refused { .. }), "{error}");

    let mut wrong = rig.cluster.clone();
    wrong.properties.insert("security.protocol".to_owned(), "SSL".to_owned());
    let error = probe(&wrong, Duration::from_secs(20)).await.unwrap_err();
    assert!(matches!(error, ProbeError::Security { .. }), "{error}");

    wrong.properties.insert("no.such.setting".to_owned(), "1".to_owned());
    let error = probe(&wrong, WAIT).await.unwrap_err();
    assert!(error.to_string().contains("no.such.setting"), "{error}");
}

pub async fn a_mock_cluster_serves_a_demonstration() {
    let mock = MockCluster::start(1).unwrap();
    mock.create_topic("demo", 2).unwrap();
    for (topic, partitions) in [("progress", 1), ("map", 1), ("operate", 2), ("control", 1)] {
        mock.create_topic(&format!("strait.demo.{topic}"), partitions).unwrap();
    }
    let rig = Rig::new(&mock.bootstrap_servers());
    rig.topics("demo", 1).await;
    let tuning = TargetTuning { exactly_once: false, ..TargetTuning::default() };
    let mut target = rig.taken("demo", 0, &tuning).await;
    let handle = open(&mut target, "demo", 2).await.handle;
    for sequence in 0..10 {
        send(&mut target, ProducerSlot::A, handle, sequence, Some(b"v"), &[]);
    }
    acknowledged(&mut target, 10).await;
    target.close(WAIT).await;
    let mut source = rig.source("demo");
    let bounds = source.bounds(&[key("demo", 0)]).await.unwrap()[&key("demo", 0)];
    assert_eq!(bounds.last_stable.0, 10);
    source.assign(ReadEpoch(1), &[from("demo", 0, 0, -1)]).await.unwrap();
    assert_eq!(read_to(&mut source, ReadEpoch(1), 10).await.len(), 10);
    source.close().await;
    let discovery = KafkaDiscovery::new(&rig.cluster, "demo", &["demo".to_owned()], &[], WAIT).unwrap();
    assert_eq!(discovery.topics().await.unwrap().listed.len(), 1);
    drop(mock);
}
