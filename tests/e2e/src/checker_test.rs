use proptest::prelude::*;

use super::*;

/// A record whose content is `content`; contents above 1000 carry an id.
fn record(partition: i32, offset: i64, content: u128) -> LogRecord {
    let id = (content > 1000).then_some(content as u64);
    LogRecord { partition, offset, timestamp: 1, id, content }
}

/// A log of these contents with gaps in its offsets, as commit markers leave them.
fn log(partition: i32, contents: &[u128]) -> Vec<LogRecord> {
    contents.iter().enumerate().map(|(place, content)| record(partition, place as i64 * 2, *content)).collect()
}

fn counts(report: &Report) -> Vec<(AnomalyKind, u64)> {
    report.counts.iter().map(|(kind, count)| (*kind, *count)).collect()
}

#[test]
fn every_anomaly_has_its_name_and_place() {
    use AnomalyKind::{AbortedRead, Duplicate, Lost, Phantom, Reordered};
    let aborted = HashSet::from([6001]);
    let source = log(0, &[1001, 5, 5, 1002, 1003]);
    type Case = (&'static str, &'static [u128], &'static [(AnomalyKind, u64)]);
    let cases: &[Case] = &[
        ("a copy", &[1001, 5, 5, 1002, 1003], &[]),
        ("one gone", &[1001, 5, 5, 1003], &[(Lost, 1)]),
        ("the tail gone", &[1001, 5], &[(Lost, 3)]),
        ("one of two equal ones gone", &[1001, 5, 1002, 1003], &[(Lost, 1)]),
        ("one twice", &[1001, 5, 5, 1002, 1002, 1003], &[(Duplicate, 1)]),
        ("one without id three times", &[1001, 5, 5, 5, 1002, 1003], &[(Duplicate, 1)]),
        ("a replayed stretch", &[1001, 5, 5, 1002, 5, 1002, 1003], &[(Duplicate, 2)]),
        ("two exchanged", &[1001, 5, 5, 1003, 1002], &[(Reordered, 1)]),
        ("past an equal one", &[1001, 5, 1002, 5, 1003], &[(Reordered, 1)]),
        ("an aborted one, by id", &[1001, 5, 5, 6001, 1002, 1003], &[(AbortedRead, 1)]),
        ("one from nowhere", &[1001, 5, 5, 1002, 1003, 9999], &[(Phantom, 1)]),
        ("nothing at all", &[], &[(Lost, 5)]),
        ("one lost, another twice", &[1001, 5, 5, 1003, 1003], &[(Lost, 1), (Duplicate, 1)]),
    ];
    for (what, target, expected) in cases {
        let report = check(&source, &log(0, target), &aborted);
        assert_eq!(counts(&report), *expected, "{what}: {report}");
        assert_eq!(report.is_clean(), expected.is_empty(), "{what}");
    }

    let report = check(&source, &log(0, &[1001, 5, 5, 1003, 1002, 6001]), &aborted);
    let listed: Vec<_> = report.listed().iter().map(|one| (one.kind, one.source_offset, one.target_offset)).collect();
    assert_eq!(listed, [(Reordered, Some(6), Some(8)), (AbortedRead, None, Some(10))]);
    assert!(report.to_string().contains("AbortedRead: 1\n  partition 0, target offset 10, id 6001"), "{report}");
}

#[test]
fn a_record_on_another_partition_is_missed_there() {
    let source = [log(0, &[1001, 1002]), log(1, &[1003])].concat();
    let target = [log(0, &[1001]), log(1, &[1003, 1002])].concat();
    let report = check(&source, &target, &HashSet::new());
    assert_eq!(counts(&report), [(AnomalyKind::Lost, 1), (AnomalyKind::Phantom, 1)]);
    assert_eq!(offset_pairs(&source, &target), None);
    assert_eq!(offset_pairs(&source, &source).unwrap()[&0], [(0, 0), (2, 2)]);
}

#[test]
fn listing_is_bounded_and_counting_is_not() {
    let report = check(&log(0, &(0..500).collect::<Vec<_>>()), &[], &HashSet::new());
    assert_eq!((report.count(AnomalyKind::Lost), report.listed().len()), (500, LISTED_MAX));
}

/// Contents with many equal ones, over three partitions.
fn source_log() -> impl Strategy<Value = Vec<LogRecord>> {
    let contents = prop::collection::vec(prop_oneof![0_u128..4, 1001_u128..1200], 2..40);
    prop::collection::vec(contents, 1..4).prop_map(|partitions| {
        partitions.iter().enumerate().flat_map(|(partition, contents)| log(partition as i32, contents)).collect()
    })
}

/// A copy as a target would have it: other offsets, partitions in another order.
fn copy_of(source: &[LogRecord]) -> Vec<LogRecord> {
    let mut copy: Vec<LogRecord> =
        source.iter().map(|record| LogRecord { offset: record.offset + 100, ..*record }).collect();
    copy.sort_by_key(|record| (-record.partition, record.offset));
    copy
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_clean_copy_is_clean(source in source_log()) {
        let report = check(&source, &copy_of(&source), &HashSet::new());
        prop_assert!(report.is_clean(), "{report}");
        prop_assert!(offset_pairs(&source, &copy_of(&source)).is_some());
    }

    #[test]
    fn a_planted_anomaly_is_found(source in source_log(), at in any::<prop::sample::Index>(), kind in 0..5) {
        let mut target = copy_of(&source);
        let place = at.index(target.len());
        let victim = target[place];
        let aborted = HashSet::from([u64::MAX]);
        let expected = match kind {
            0 => {
                target.remove(place);
                AnomalyKind::Lost
            }
            1 => {
                target.insert(place, victim);
                AnomalyKind::Duplicate
            }
            2 => {
                // The nearest later record of the partition that can be told from this one.
                let other = (place + 1..target.len())
                    .find(|other| target[*other].partition == victim.partition && target[*other].content != victim.content);
                let Some(other) = other else { return Ok(()) };
                target.swap(place, other);
                AnomalyKind::Reordered
            }
            3 => {
                target.insert(place, LogRecord { id: Some(u64::MAX), content: u128::MAX, ..victim });
                AnomalyKind::AbortedRead
            }
            _ => {
                target.insert(place, LogRecord { id: None, content: u128::MAX, ..victim });
                AnomalyKind::Phantom
            }
        };
        let report = check(&source, &target, &aborted);
        prop_assert!(report.count(expected) > 0, "{expected:?} not found: {report}");
        for other in [AnomalyKind::Lost, AnomalyKind::Duplicate, AnomalyKind::AbortedRead, AnomalyKind::Phantom] {
            prop_assert_eq!(report.count(other), u64::from(other == expected), "{}", report);
        }
    }

    #[test]
    fn clean_means_equal_sequences(source in source_log(), target in source_log()) {
        let contents = |log: &[LogRecord]| {
            let records = by_partition(log).into_iter();
            records.map(|(partition, of)| (partition, of.iter().map(|one| one.content).collect())).collect::<BTreeMap<i32, Vec<u128>>>()
        };
        let clean = check(&source, &target, &HashSet::new()).is_clean();
        prop_assert_eq!(clean, contents(&source) == contents(&target));
    }
}
