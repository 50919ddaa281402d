use proptest::prelude::*;

use super::*;

fn key() -> PartitionKey {
    PartitionKey { topic: "orders".into(), topic_id: TopicId([1; 16]), partition: 2 }
}

fn whole(first: i64, next: i64) -> MapRecord {
    MapRecord {
        partition: key(),
        target_topic: "aws.orders".into(),
        target_id: TopicId([9; 16]),
        kind: MapKind::Copy,
        first: SourceOffset(first),
        next: SourceOffset(next),
        runs: Vec::new(),
    }
}

fn run(source: i64, target_partition: i32, target: i64, count: u32) -> Run {
    Run { source: SourceOffset(source), target_partition, target: TargetOffset(target), count }
}

fn decoded(record: &MapRecord) -> MapRecord {
    let (key, value) = record.encode();
    MapRecord::decode(&key, &value).unwrap()
}

/// Returns source offset, target partition and target offset of every record, in map order.
fn places(runs: &[Run]) -> Vec<(i64, i32, i64)> {
    let steps = runs.iter().flat_map(|run| (0..i64::from(run.count)).map(move |step| (run, step)));
    steps.map(|(run, step)| (run.source.0 + step, run.target_partition, run.target.0 + step)).collect()
}

proptest! {
    /// Decoding returns exactly the records pushed, copies of one record included, wherever the map
    /// records are split. A translation finds the first copy of the first copied record at or after
    /// each source offset.
    #[test]
    fn the_map_is_exact_and_reads_back(
        steps in prop::collection::vec((0i64..4, 0i32..3, 1i64..5), 0..200),
        start in 0i64..1_000_000,
        runs_max in 1usize..40,
    ) {
        let mut builder = MapBuilder::default();
        let mut next_target = [10i64, 500, 90];
        let mut kept = Vec::new();
        let mut source = start;
        for (gap, partition, target_gap) in steps {
            source += gap;
            let slot = &mut next_target[partition as usize];
            *slot += target_gap;
            builder.push(SourceOffset(source), partition, TargetOffset(*slot));
            kept.push((source, partition, *slot));
        }
        let records = builder.finish(&whole(start, source + 3), runs_max);
        prop_assert!(builder.is_empty());
        prop_assert_eq!(records.is_empty(), kept.is_empty());
        let mut folded = FoldedMap::default();
        for record in &records {
            prop_assert_eq!(&decoded(record), record);
            prop_assert!(record.runs.len() <= runs_max);
            folded.fold(&decoded(record));
        }
        prop_assert!(records.windows(2).all(|pair| pair[0].next == pair[1].first));
        prop_assert_eq!(places(folded.runs()), kept.clone());
        for asked in start..=source + 2 {
            let expected = kept.iter().find(|(s, _, _)| *s >= asked).map(|(_, p, t)| (*p, TargetOffset(*t)));
            prop_assert_eq!(folded.translate(SourceOffset(asked)), expected);
        }
    }

    /// Records are written again from lower offsets: the later copy of each offset counts, and
    /// nothing of the earlier ones is left at or above the place where they begin.
    #[test]
    fn later_records_cut_earlier_ones(
        rounds in prop::collection::vec((0i64..30, prop::collection::vec((0i64..3, 0i32..2), 1..30)), 1..6),
    ) {
        let mut folded = FoldedMap::default();
        let mut expected: Vec<(i64, i32, i64)> = Vec::new();
        let (mut next, mut target) = (0i64, 0i64);
        for (back, steps) in rounds {
            let first = (next - back).max(0);
            expected.retain(|(source, _, _)| *source < first);
            let mut builder = MapBuilder::default();
            let mut source = first;
            for (gap, partition) in steps {
                source += gap;
                target += 1 + gap;
                builder.push(SourceOffset(source), partition, TargetOffset(target));
                expected.push((source, partition, target));
            }
            next = source + 1;
            for record in builder.finish(&whole(first, next), 7) {
                folded.fold(&decoded(&record));
            }
        }
        prop_assert_eq!(places(folded.runs()), expected);
    }

    /// Arbitrary bytes are decoded or refused, and never panic.
    #[test]
    fn decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), version in 1u8..=2) {
        let (key, _) = whole(0, 0).encode();
        let mut value = vec![version];
        value.extend(&bytes);
        for value in [&bytes, &value] {
            if let Ok(record) = MapRecord::decode(&key, value) {
                let mut folded = FoldedMap::default();
                folded.fold(&record);
                let found = folded.translate(SourceOffset(7));
                prop_assert!(record.kind == MapKind::Copy || found.is_none());
            }
        }
    }
}

#[test]
fn copies_of_one_record_keep_their_places() {
    let mut builder = MapBuilder::default();
    for (source, target) in [(5, 100), (5, 101), (6, 102), (6, 103)] {
        builder.push(SourceOffset(source), 0, TargetOffset(target));
    }
    let records = builder.finish(&whole(5, 7), RUNS_PER_RECORD_MAX);
    assert_eq!(places(&decoded(&records[0]).runs), [(5, 0, 100), (5, 0, 101), (6, 0, 102), (6, 0, 103)]);
}

/// The stored contract. A change here is a new version.
#[test]
fn the_bytes_of_both_versions_are_pinned() {
    let pinned_key = br#"{"topic":"orders","topic_id":"01010101010101010101010101010101","partition":2,"target_topic":"aws.orders"}"#;
    let runs = vec![run(100, 0, 40, 3), run(102, 1, 7, 1), run(105, 1, 8, 2)];
    let record = MapRecord { kind: MapKind::Replay, runs: runs.clone(), ..whole(98, 300) };
    let (key, value) = record.encode();
    assert_eq!(String::from_utf8(key).unwrap(), String::from_utf8(pinned_key.to_vec()).unwrap());
    let mut pinned = vec![2, 1];
    pinned.extend([9; 16]);
    pinned.extend([98, 0xca, 1, 3]);
    pinned.extend([4, 0, 80, 3]);
    pinned.extend([1, 2, 71, 1]);
    pinned.extend([4, 0, 0, 2]);
    assert_eq!(value, pinned);
    assert_eq!(MapRecord::decode(pinned_key, &pinned).unwrap(), record);

    // Version 1: no kind, no id, gaps without a sign.
    let runs = vec![run(100, 0, 40, 3), run(104, 1, 7, 1), run(105, 1, 8, 2)];
    let version_1 = [1, 98, 0xca, 1, 3, 2, 0, 80, 3, 1, 2, 71, 1, 0, 0, 0, 2];
    let expected = MapRecord { target_id: TopicId::UNKNOWN, runs, ..whole(98, 300) };
    assert_eq!(MapRecord::decode(pinned_key, &version_1).unwrap(), expected);
    // It wrote the copies (5,5,6,6) so, and they would read back as (5,7,8,10).
    let copies = [1, 5, 2, 3, 0, 0, 200, 1, 1, 1, 0, 0, 2, 1, 0, 0, 1];
    assert!(MapRecord::decode(pinned_key, &copies).unwrap_err().reason.contains("copies of one record"));
    let newer = MapRecord::decode(pinned_key, &[3]).unwrap_err();
    assert!(newer.reason.contains("version 3"), "{newer}");
}

#[test]
fn many_runs_are_split_without_a_gap() {
    let mut builder = MapBuilder::default();
    for i in 0..(RUNS_PER_RECORD_MAX as i64 * 2 + 5) {
        builder.push(SourceOffset(i * 2), 0, TargetOffset(i));
    }
    let records = builder.finish(&whole(0, 1_000_000), RUNS_PER_RECORD_MAX);
    assert_eq!(records.len(), 3);
    assert!(records.windows(2).all(|w| w[0].next == w[1].first));
    assert_eq!(records[2].next, SourceOffset(1_000_000));
}

#[test]
fn the_ends_are_those_written_last() {
    let mut builder = MapBuilder::default();
    for (source, partition, target) in [(1, 3, 10), (2, 0, 20), (3, 3, 11), (4, 1, 30)] {
        builder.push(SourceOffset(source), partition, TargetOffset(target));
    }
    let end = |partition, end| (partition, TargetOffset(end));
    assert_eq!(builder.ends(16), (vec![end(0, 21), end(3, 12), end(1, 31)], false));
    assert_eq!(builder.ends(2), (vec![end(3, 12), end(1, 31)], true));
    assert_eq!(MapBuilder::default().ends(16), (vec![], false));
}

/// Returns what a lane has written: for each range of source offsets, where the copies begin.
fn part(ranges: &[(i64, i64, i64)]) -> FoldedMap {
    let mut part = FoldedMap::default();
    for (first, next, target) in ranges {
        let runs = vec![run(*first, 0, *target, u32::try_from(next - first).unwrap())];
        part.fold(&MapRecord { runs, ..whole(*first, *next) });
    }
    part
}

#[test]
fn a_partition_that_comes_back_to_a_lane_loses_nothing_between() {
    let found = |map: &FoldedMap, source| map.translate(SourceOffset(source)).map(|(_, target)| target.0);
    // With two lanes it was in lane 1, with three in lane 2, with four in lane 1 again.
    let lane_1 = part(&[(0, 100, 0), (200, 300, 200)]);
    let lane_2 = part(&[(100, 200, 100)]);
    for parts in [[&lane_1, &lane_2], [&lane_2, &lane_1]] {
        let joined = FoldedMap::joined(parts.map(Clone::clone), true);
        for source in 0..300 {
            assert_eq!(found(&joined, source), Some(source));
        }
        assert_eq!((found(&joined, 300), joined.next().0), (None, 300));
    }
    // The source was truncated while it was in lane 2: what lane 1 has above is of another past.
    let joined = FoldedMap::joined([part(&[(0, 300, 0)]), part(&[(250, 270, 500)])], true);
    assert_eq!([249, 250, 269, 270].map(|source| found(&joined, source)), [Some(249), Some(500), Some(519), None]);
    // And while it was in lane 1 again.
    let joined = FoldedMap::joined([part(&[(250, 270, 250)]), part(&[(0, 250, 0), (240, 280, 500)])], true);
    assert_eq!([239, 240, 265, 280].map(|source| found(&joined, source)), [Some(239), Some(500), Some(525), None]);
}

#[test]
fn what_a_younger_lane_has_lost_is_not_skipped_over() {
    // Lane 2 has lost what it had written from 100 on, and lane 1 nothing.
    let parts = [part(&[(0, 100, 0)]), part(&[(500, 600, 500)])];
    let joined = FoldedMap::joined(parts.clone(), false);
    assert_eq!((joined.first(), joined.runs().len()), (Some(SourceOffset(500)), 1));
    assert_eq!(joined.target_partitions().len(), 1);
    assert_eq!(inverse(&joined, 0, TargetOffset(200), false), None);
    assert_eq!(FoldedMap::joined(parts, true).first(), Some(SourceOffset(0)));
    // In two target partitions nobody can tell which copy is the later one.
    let mut other = FoldedMap::default();
    other.fold(&MapRecord { runs: vec![run(250, 1, 7, 20)], ..whole(250, 270) });
    let joined = FoldedMap::joined([part(&[(0, 300, 0), (310, 320, 310)]), other], true);
    assert_eq!(joined.first(), Some(SourceOffset(300)));
    assert_eq!(joined.translate(SourceOffset(305)), Some((0, TargetOffset(310))));
}

#[test]
fn each_run_counts_as_held_until_the_commit() {
    let mut builder = MapBuilder::default();
    assert_eq!(builder.held_bytes(), 0);
    // Two partitions take turns, as keys route records: no two records make a run.
    for record in 0..1000 {
        builder.push(SourceOffset(record), (record % 2) as i32, TargetOffset(record));
    }
    assert!(builder.held_bytes() >= 1000 * size_of::<Run>(), "{}", builder.held_bytes());
    builder.finish(&whole(0, 1000), 100);
    assert_eq!(builder.held_bytes(), 0);
    (0..1000).for_each(|record| builder.push(SourceOffset(record), 0, TargetOffset(record)));
    assert_eq!(builder.held_bytes(), size_of::<Run>(), "one run");
}
