//! A source partition without a leader holds up no other one.

use std::collections::BTreeMap;

use strait_e2e::{Isolation, LogLine, Strait, write_records};

use crate::support::{Pair, SOON, Turn, key_range, keys, link, now, numbered, single, wait_until};
use strait_test_cluster::ClusterSpec;

const PARTITIONS: i32 = 6;

#[test]
fn partitions_without_a_leader_wait_alone_and_are_copied_when_it_is_back() {
    let _turn = Turn::beside_another();
    let source = ClusterSpec { brokers: 3, ..ClusterSpec::new("leaderless") };
    let source = source.with_property("default.replication.factor", "1");
    let pair = Pair::of(source, single("leaderless-target"));
    let client = pair.at_source();
    client.create_topic("alone", PARTITIONS, &[]).unwrap();
    for partition in 0..PARTITIONS {
        write_records(&client.config(), "alone", &numbered(partition, 0, 50)).unwrap();
    }
    now(pair.source.broker(1).unwrap().stop()).unwrap();

    let config = pair.config(&link("alone", &["alone"], 2, ""));
    let mut strait = Strait::run("alone", &config, &[]).unwrap();
    let copied = || {
        if !pair.has_target_topic("source.alone") {
            return BTreeMap::new();
        }
        let records = pair.at_target().read_records("source.alone", Isolation::Committed).unwrap();
        (0..PARTITIONS).map(|p| (p, keys(&records, p))).filter(|(_, keys)| *keys == key_range(0, 50)).collect()
    };
    let waiting = || {
        let of = |line: &LogLine| line.message().split(':').next().unwrap().to_owned();
        let mut names: Vec<String> = strait.events("source_unavailable").iter().map(of).collect();
        names.sort();
        names
    };
    // The others are copied, and each that waits is named.
    wait_until("copied beside those without a leader", SOON, || {
        let (copied, waiting) = (copied(), waiting());
        let all = copied.len() + waiting.len() == usize::try_from(PARTITIONS).unwrap();
        (all && !copied.is_empty() && !waiting.is_empty()).then_some(())
    });
    println!("{:?} wait: {}", waiting(), strait.events("source_unavailable")[0].message());

    now(pair.source.broker(1).unwrap().restart()).unwrap();
    wait_until("all copied", SOON, || (copied().len() == usize::try_from(PARTITIONS).unwrap()).then_some(()));
    let mut once = waiting();
    once.dedup();
    assert_eq!(once, waiting(), "named more than once");
    assert!(strait.events("lane_restarted").is_empty(), "{:?}", strait.events("lane_restarted"));
    strait.terminate().unwrap();
    assert_eq!(strait.wait_end(SOON).unwrap().code(), Some(0));
}
