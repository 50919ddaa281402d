//! Groups that continue at the other cluster: their offsets there are exact, and no record is
//! delivered again.

use std::collections::BTreeMap;

use super::fixture::{Case, PARTITIONS, RECORDS, Suite, commit, everywhere, has_topic, member, read, read_on};
use crate::support::stop;

/// Reads a topic on at `primary` and compares the group's places at `backup`: no record would be
/// delivered again.
fn reads_on(case: &Case<'_>, topic: &str, wanted: u64) {
    assert_eq!(read_on(&case.suite.primary(), &case.group(), topic, true), wanted);
    case.wait_synced(&case.group(), topic);
}

fn assert_nothing_again(case: &Case<'_>, topic: &str) {
    let again = read_on(&case.suite.backup(), &case.group(), &case.remote(topic), false);
    assert_eq!(again, 0, "records of {topic} that were delivered again");
}

fn assert_only_forward(checkpoints: &BTreeMap<i32, Vec<(i64, i64)>>) {
    assert_eq!(checkpoints.len(), 10);
    for (partition, points) in checkpoints {
        let sorted = points.is_sorted_by_key(|(up, _)| up) && points.is_sorted_by_key(|(_, down)| down);
        assert!(sorted, "partition {partition}: {points:?}");
    }
}

pub fn replication_with_empty_partition(suite: &Suite) {
    let case = suite.case("empty");
    let topic = case.make(1, &[]);
    let filled: Vec<i32> = (1..PARTITIONS).collect();
    case.write(&suite.primary(), &topic, &filled, 0, RECORDS);
    let (_config, mut strait) = case.run();
    let mut numbers = everywhere(0, RECORDS);
    numbers[0] = (0, 0);
    case.wait_copied(&topic, &numbers);
    assert_eq!(read_on(&suite.primary(), &case.group(), &topic, true), 90);
    let there = case.wait_synced(&case.group(), &topic);
    assert_eq!(there[0], Some(0), "of the partition without a record");
    let checkpoints = case.wait_checkpoints(&case.group(), &topic);
    assert_eq!(checkpoints[&0].last(), Some(&(0, 0)), "exact, so it is told");
    assert_nothing_again(&case, &topic);
    stop(&mut strait);
}

pub fn one_way_replication_with_auto_offset_sync(suite: &Suite) {
    let case = suite.case("auto");
    let (topic, _config, mut strait) = case.begin();
    reads_on(&case, &topic, 100);
    assert_nothing_again(&case, &topic);
    let later = case.make(2, &[]);
    case.write_all(&later, 0);
    case.wait_copied(&later, &everywhere(0, RECORDS));
    reads_on(&case, &later, 100);
    assert_nothing_again(&case, &later);
    for topic in [&topic, &later] {
        assert_only_forward(&case.wait_checkpoints(&case.group(), topic));
        assert!(!has_topic(&suite.primary(), &format!("backup.{topic}")), "nothing is copied back");
    }
    stop(&mut strait);
}

pub fn one_way_replication_with_frequent_offset_syncs(suite: &Suite) {
    let case = suite.case("frequent");
    let topic = case.make(1, &[]);
    case.write_all(&topic, 0);
    let (_config, mut strait) = case.run();
    for round in 1..=4 {
        case.wait_copied(&topic, &everywhere(0, round * RECORDS));
        reads_on(&case, &topic, 100);
        case.write_all(&topic, round * RECORDS);
    }
    case.wait_copied(&topic, &everywhere(0, 5 * RECORDS));
    reads_on(&case, &topic, 100);
    assert_nothing_again(&case, &topic);
    assert_only_forward(&case.wait_checkpoints(&case.group(), &topic));
    assert!(!has_topic(&suite.primary(), &format!("backup.{topic}")), "nothing is copied back");
    stop(&mut strait);
}

pub fn restart_replication(suite: &Suite) {
    let case = suite.case("restart");
    let (topic, _config, mut strait) = case.begin();
    reads_on(&case, &topic, 100);
    case.wait_checkpoints(&case.group(), &topic);
    stop(&mut strait);
    case.write_all(&topic, RECORDS);
    let (_config, mut strait) = case.run();
    case.wait_copied(&topic, &everywhere(0, 2 * RECORDS));
    reads_on(&case, &topic, 100);
    assert_nothing_again(&case, &topic);
    assert_only_forward(&case.wait_checkpoints(&case.group(), &topic));
    stop(&mut strait);
}

pub fn offset_translation_behind_replication_flow(suite: &Suite) {
    const EACH: u64 = 1_000;
    let case = suite.case("behind");
    let topic = case.make(1, &[]);
    let all: Vec<i32> = (0..PARTITIONS).collect();
    case.write(&suite.primary(), &topic, &all, 0, EACH);
    let (_config, mut strait) = case.run();
    case.wait_copied(&topic, &everywhere(0, EACH));
    let source = read(&suite.primary(), &topic);
    let reader = member(&suite.primary(), &case.group());
    let mut found = Vec::new();
    for number in [900, 100] {
        let of = |partition| source.iter().filter(|record| record.partition == partition).nth(number).unwrap().offset;
        let places: Vec<i64> = all.iter().copied().map(of).collect();
        commit(&reader, &topic, &places);
        let there = case.wait_synced(&case.group(), &topic);
        let checkpoints = case.wait_checkpoints(&case.group(), &topic);
        let last: Vec<Option<i64>> = checkpoints.values().map(|points| points.last().map(|point| point.1)).collect();
        assert_eq!(last, there, "at {number} of {EACH}");
        found.push(last);
    }
    assert!(found[1].iter().zip(&found[0]).all(|(behind, ahead)| behind < ahead), "{found:?}");
    stop(&mut strait);
}
