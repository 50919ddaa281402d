//! The formats against bytes of MirrorMaker 2's own classes, and the pairs against its reader.

use std::time::Duration;

use proptest::prelude::*;

use super::formats::Bytes;
use super::names::HeartbeatTopics;
use super::*;
use crate::batch::{BatchBuilder, TimestampType};
use crate::map::offset_syncs::{EVERY, Pairs};
use crate::map::{MapKind, MapRecord, Run};
use crate::offset::{LeaderEpoch, SourceOffset, TargetOffset};
use crate::topic::{PartitionKey, TopicId};

/// Printed by `tests/e2e/tests/acceptance/Mm2.java` from Kafka's own classes; a scenario there
/// holds the file to them.
const VECTORS: &str = include_str!("vectors.txt");

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Returns the fields of a vector, which are separated by tabs, and its bytes.
fn vectors(kind: &str) -> Vec<(Vec<&'static str>, Bytes)> {
    let of_kind = VECTORS.lines().filter_map(|line| line.strip_prefix(kind)?.strip_prefix('\t'));
    let split = |line: &'static str| {
        let mut fields: Vec<&str> = line.split('\t').collect();
        let value = bytes(fields.pop().unwrap());
        let key = bytes(fields.pop().unwrap());
        (fields, (key, value))
    };
    of_kind.map(split).collect()
}

fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

#[test]
fn records_are_to_the_byte_those_of_mirror_makers_classes() {
    let mut count = 0;
    for (fields, (key, value)) in vectors("heartbeat") {
        let (source, target) = (fields[0].to_owned(), fields[1].to_owned());
        let record = Heartbeat { source, target, timestamp_ms: number(fields[2]) };
        assert_eq!(Heartbeat::decode(&key, &value), Ok(record.clone()));
        assert_eq!(record.encode(), Ok((key, value)));
        count += 1;
    }
    for (fields, (key, value)) in vectors("checkpoint") {
        let record = Checkpoint {
            group: fields[0].to_owned(),
            topic: fields[1].to_owned(),
            partition: number(fields[2]),
            upstream: number(fields[3]),
            downstream: number(fields[4]),
            metadata: fields[5].to_owned(),
        };
        assert_eq!(Checkpoint::decode(&key, &value), Ok(record.clone()));
        assert_eq!(record.encode(), Ok((key, value)));
        count += 1;
    }
    for (fields, (key, value)) in vectors("offset-sync") {
        let record = OffsetSync {
            topic: fields[0].to_owned(),
            partition: number(fields[1]),
            upstream: number(fields[2]),
            downstream: number(fields[3]),
        };
        assert_eq!(OffsetSync::decode(&key, &value), Ok(record.clone()));
        assert_eq!(record.encode(), Ok((key, value)));
        count += 1;
    }
    assert_eq!(count, VECTORS.lines().filter(|line| !line.starts_with('#')).count(), "each line was read");
    assert!(count >= 9, "{count}");
}

#[test]
fn records_that_the_format_has_no_room_for_and_bytes_that_are_none_are_refused() {
    let long = "x".repeat(32_768);
    let heartbeat = |source: &str| Heartbeat { source: source.to_owned(), target: "b".to_owned(), timestamp_ms: 1 };
    assert_eq!(heartbeat(&long).encode(), Err(FormatError::TooLong { part: "the source's name", bytes: 32_768 }));
    let (key, value) = heartbeat(&long[1..]).encode().unwrap();
    assert_eq!(Heartbeat::decode(&key, &value), Ok(heartbeat(&long[1..])));

    let (key, value) = heartbeat("a").encode().unwrap();
    for (key, value, error) in [
        (&key[..key.len() - 1], &value[..], FormatError::Length),
        (&key, &value[1..], FormatError::Length),
        (&[&key[..], b"x"].concat(), &value, FormatError::Length),
        (&key, &[&value[..], b"x"].concat(), FormatError::Length),
        (&key, &[&[0, 1], &value[2..]].concat(), FormatError::Version { found: 1 }),
        (&[0xff, 0xff], &value, FormatError::Text),
        (&[0, 1, 0xff, 0, 1, b'b'], &value, FormatError::Text),
        (&[], &[], FormatError::Length),
    ] {
        assert_eq!(Heartbeat::decode(key, value), Err(error));
    }
}

proptest! {
    #[test]
    fn every_record_reads_back_and_no_bytes_panic(
        texts in prop::collection::vec("\\PC{0,40}", 3),
        partition in any::<i32>(),
        numbers in any::<(i64, i64)>(),
        noise in any::<(Vec<u8>, Vec<u8>)>(),
    ) {
        let [one, two, three] = [0, 1, 2].map(|index| texts[index].clone());
        let (upstream, downstream) = numbers;
        let record = Heartbeat { source: one.clone(), target: two.clone(), timestamp_ms: upstream };
        let (key, value) = record.encode().unwrap();
        prop_assert_eq!(Heartbeat::decode(&key, &value), Ok(record));
        let record = OffsetSync { topic: one.clone(), partition, upstream, downstream };
        let (key, value) = record.encode().unwrap();
        prop_assert_eq!(OffsetSync::decode(&key, &value), Ok(record));
        let record = Checkpoint { group: one, topic: two, partition, upstream, downstream, metadata: three };
        let (key, value) = record.encode().unwrap();
        prop_assert_eq!(Checkpoint::decode(&key, &value), Ok(record));

        let (key, value) = noise;
        if let Ok(record) = Heartbeat::decode(&key, &value) {
            prop_assert_eq!(record.encode(), Ok((key.clone(), value.clone())));
        }
        if let Ok(record) = Checkpoint::decode(&key, &value) {
            prop_assert_eq!(record.encode(), Ok((key, value)));
        }
    }
}

#[test]
fn heartbeats_of_configured_clusters_go_round_no_circle_and_take_nothing_along() {
    let topics = HeartbeatTopics::new(["a", "b", "c", "d"], "a", "b");
    for (topic, is_copied) in [
        ("heartbeats", true),
        ("c.heartbeats", true),
        ("d.c.heartbeats", true),
        ("b.heartbeats", false),
        ("c.b.heartbeats", false),
        ("a.heartbeats", false),
        ("c.c.heartbeats", false),
        ("team.heartbeats", false),
        ("c-heartbeats", false),
        ("cheartbeats", false),
        (".heartbeats", false),
        ("heartbeats.c", false),
        ("orders", false),
    ] {
        assert_eq!(topics.has(topic), is_copied, "{topic}");
    }
    assert_eq!(topics.name_on_target("c.heartbeats"), "a.c.heartbeats");

    let is_heartbeat = |source: &str, value_ms: i64, record_ms: i64, header: bool, tail: &[u8]| {
        let heartbeat = Heartbeat { source: source.to_owned(), target: "a".to_owned(), timestamp_ms: value_ms };
        let (key, value) = heartbeat.encode().unwrap();
        let mut batch = BatchBuilder::new("heartbeats".into(), 0, TimestampType::Create, LeaderEpoch(0));
        batch.push(SourceOffset(0), record_ms, Some(&key), Some(&[&value[..], tail].concat()));
        if header {
            batch.push_header(b"h", None);
        }
        let batch = batch.build();
        topics.is_heartbeat(&batch.get(0).unwrap())
    };
    assert!(is_heartbeat("c", 5, 5, false, b""));
    assert!(!is_heartbeat("secret", 5, 5, false, b""), "not a configured cluster");
    assert!(!is_heartbeat("c", 6, 5, false, b""), "a time of its own");
    assert!(!is_heartbeat("c", 5, 5, true, b""), "a header");
    assert!(!is_heartbeat("c", 5, 5, false, b"x"), "a byte more");
}

const ORDERS: &str = "a.orders";

/// Returns the map record of one commit of source partition 0.
fn committed(topic_id: u8, first: i64, next: i64, copies: &[(i64, i64)]) -> MapRecord {
    let run = |&(source, target): &(i64, i64)| Run {
        source: SourceOffset(source),
        target_partition: 0,
        target: TargetOffset(target),
        count: 1,
    };
    MapRecord {
        partition: PartitionKey { topic: "orders".into(), topic_id: TopicId([topic_id; 16]), partition: 0 },
        target_topic: ORDERS.into(),
        target_id: TopicId([9; 16]),
        kind: MapKind::Copy,
        first: SourceOffset(first),
        next: SourceOffset(next),
        runs: copies.iter().map(run).collect(),
    }
}

fn pair(syncs: &[OffsetSync]) -> Option<(i64, i64)> {
    assert!(syncs.len() <= 1);
    syncs.first().map(|sync| (sync.upstream, sync.downstream))
}

#[test]
fn a_partition_has_a_sync_a_second_and_one_at_rest_and_only_of_its_plain_copy() {
    let (mut pairs, s) = (Pairs::default(), Duration::from_secs);
    pairs.learn(&committed(1, 0, 10, &[(3, 30), (8, 35)]), ORDERS);
    assert_eq!(pair(&pairs.due(s(100))), Some((8, 35)));
    pairs.learn(&committed(1, 10, 20, &[(12, 40)]), ORDERS);
    pairs.learn(&committed(1, 20, 30, &[(25, 43), (26, 44)]), ORDERS);
    assert_eq!(pair(&pairs.due(s(100) + EVERY / 2)), None, "a second is not over");
    assert_eq!(pair(&pairs.due(s(101))), Some((26, 44)), "the newest, at rest too");
    assert_eq!(pair(&pairs.due(s(110))), None, "nothing new");

    let elsewhere = MapRecord { target_topic: "eu.orders".into(), ..committed(1, 30, 40, &[(35, 50)]) };
    let replayed = MapRecord { kind: MapKind::Replay, ..committed(1, 0, 5, &[(4, 60)]) };
    let mut other_partition = committed(1, 30, 40, &[(35, 50)]);
    other_partition.runs[0].target_partition = 1;
    for record in [elsewhere, replayed, other_partition, committed(1, 40, 45, &[])] {
        pairs.learn(&record, ORDERS);
        assert_eq!(pair(&pairs.due(s(120))), None);
    }

    pairs.learn(&committed(1, 45, 50, &[(47, 70), (47, 71)]), ORDERS);
    // A further copy of the same record, in the map record behind.
    pairs.learn(&committed(1, 48, 50, &[(47, 72)]), ORDERS);
    let syncs = pairs.due(s(130));
    assert_eq!(pair(&syncs), Some((47, 70)), "the first copy");
    pairs.failed(&syncs);
    assert_eq!(pair(&pairs.due(s(131))), Some((47, 70)), "again, as it was not written");

    pairs.learn(&committed(1, 20, 30, &[(22, 80)]), ORDERS);
    assert_eq!(pair(&pairs.due(s(140))), Some((22, 80)), "the source was truncated");
    pairs.learn(&committed(2, 0, 30, &[(2, 90)]), ORDERS);
    assert_eq!(pair(&pairs.due(s(150))), Some((2, 90)), "another incarnation");
}

proptest! {
    /// MirrorMaker 2's reader on the syncs skips no record that a group has not read, and is exact
    /// for a group that has read all.
    #[test]
    fn the_reader_of_the_syncs_skips_nothing(
        commits in prop::collection::vec((prop::collection::vec((any::<bool>(), 0i64..3), 0..6), 0u64..1500), 1..20),
    ) {
        let (mut pairs, mut syncs, mut copies) = (Pairs::default(), Vec::new(), Vec::<(i64, i64)>::new());
        let (mut source, mut target, mut now) = (0i64, 0i64, Duration::ZERO);
        for (records, later_ms) in commits {
            let first = source;
            let mut committed_now = Vec::new();
            for (is_kept, gap) in records {
                if is_kept {
                    // Between copies there may be markers and records of others.
                    target += gap;
                    committed_now.push((source, target));
                    target += 1;
                }
                source += 1;
            }
            copies.extend(&committed_now);
            pairs.learn(&committed(1, first, source, &committed_now), ORDERS);
            now += Duration::from_millis(later_ms);
            syncs.extend(pairs.due(now));
        }
        syncs.extend(pairs.due(now + EVERY));
        let upstreams: Vec<i64> = syncs.iter().map(|sync| sync.upstream).collect();
        prop_assert!(upstreams.is_sorted_by(|one, two| one < two), "{upstreams:?}");
        for group in 0..=source {
            let Some(sync) = syncs.iter().rfind(|sync| sync.upstream <= group) else { continue };
            let translated = sync.downstream + i64::from(sync.upstream < group);
            let wanted = copies.iter().find(|(source, _)| *source >= group).map(|(_, target)| *target);
            let end = copies.last().map_or(0, |(_, target)| target + 1);
            prop_assert!(translated <= wanted.unwrap_or(end), "group at {group}: {translated}, {wanted:?}");
            if wanted.is_none() {
                prop_assert_eq!(translated, end);
            }
        }
    }
}
