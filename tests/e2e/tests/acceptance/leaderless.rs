//! A source partition without a leader holds up no other one.

use strait_e2e::{Isolation, LogLine, Strait};
use strait_test_cluster::ClusterSpec;

use crate::support::{Pair, SOON, Turn, key_range, keys, link, now, single, stop, wait_until, write_numbered};

const PARTITIONS: i32 = 6;

#[test]
fn partitions_without_a_leader_wait_alone_and_are_copied_when_it_is_back() {
    let _turn = Turn::waiting();
    let source = ClusterSpec { brokers: 3, ..ClusterSpec::new("leaderless") };
    let source = source.with_property("default.replication.factor", "1");
    let pair = Pair::of(source, single("leaderless-target"));
    let client = pair.at_source();
    client.create_topic("alone", PARTITIONS, &[]).unwrap();
    for partition in 0..PARTITIONS {
        write_numbered(&client, "alone", partition, 0, 50);
    }
    now(pair.source.broker(1).unwrap().stop()).unwrap();

    let config = pair.config(&link("alone", &["alone"], 2, ""));
    let mut strait = Strait::run("alone", &config, &[]).unwrap();
    let wanted = key_range(0, 50);
    let copied = || {
        if !pair.has_target_topic("source.alone") {
            return 0;
        }
        let records = pair.at_target().read_records("source.alone", Isolation::Committed).unwrap();
        (0..PARTITIONS).filter(|partition| keys(&records, *partition) == wanted).count()
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
        let all = copied + waiting.len() == usize::try_from(PARTITIONS).unwrap();
        (all && copied > 0 && !waiting.is_empty()).then_some(())
    });
    println!("{:?} wait: {}", waiting(), strait.events("source_unavailable")[0].message());

    now(pair.source.broker(1).unwrap().restart()).unwrap();
    let all: Vec<(i32, &[String])> = (0..PARTITIONS).map(|partition| (partition, &*wanted)).collect();
    pair.wait_all_keys("source.alone", &all);
    let mut once = waiting();
    once.dedup();
    assert_eq!(once, waiting(), "named more than once");
    assert!(strait.events("lane_restarted").is_empty(), "{:?}", strait.events("lane_restarted"));
    stop(&mut strait);
}
