//! Translation against a model that knows where each copy is.

use proptest::prelude::*;

use super::*;
use crate::map::{MapBuilder, MapKind, MapRecord, Run, inverse};
use crate::progress::Tails;

/// A copy on the target: source partition, source offset, target partition, target offset.
type Copied = (usize, i64, i32, i64);

/// One record: its source partition, source offsets left out before it, target partition, number of
/// copies, and whether a commit follows.
type Step = (usize, i64, i32, usize, bool);

/// A link that has copied what `steps` say.
struct Model {
    keys: Vec<PartitionKey>,
    copies: Vec<Copied>,
    records: Vec<Vec<MapRecord>>,
    positions: Vec<Position>,
    ends: [i64; 2],
}

fn key(partition: usize) -> PartitionKey {
    PartitionKey { topic: "orders".into(), topic_id: TopicId([1; 16]), partition: partition as i32 }
}

fn run(steps: &[Step], origin: i64) -> Model {
    let keys: Vec<PartitionKey> = (0..3).map(key).collect();
    let mut builders = vec![MapBuilder::default(); 3];
    let mut next = [origin; 3];
    let mut begun = [origin; 3];
    let mut tails = vec![Tails::default(); 3];
    let (mut copies, mut records, mut ends) = (Vec::new(), vec![Vec::new(); 3], [7i64, 40]);
    let last = (0, 0, 0, 0, true);
    for (partition, gap, target, count, commits) in steps.iter().copied().chain([last]) {
        next[partition] += gap;
        for _ in 0..count {
            let end = &mut ends[target as usize];
            builders[partition].push(SourceOffset(next[partition]), target, TargetOffset(*end));
            copies.push((partition, next[partition], target, *end));
            *end += 1;
        }
        next[partition] += i64::from(count > 0);
        if !commits {
            continue;
        }
        for (index, builder) in builders.iter_mut().enumerate() {
            for (partition, end) in builder.ends(16).0 {
                tails[index].set(Tail { topic: "copy".into(), id: TopicId([9; 16]), partition, end });
            }
            let whole = MapRecord {
                partition: keys[index].clone(),
                target_topic: "copy".into(),
                target_id: TopicId([9; 16]),
                kind: MapKind::Copy,
                first: SourceOffset(begun[index]),
                next: SourceOffset(next[index]),
                runs: Vec::new(),
            };
            records[index].extend(builder.finish(&whole, 3));
            begun[index] = next[index];
        }
        // The markers of the transaction.
        ends.iter_mut().for_each(|end| *end += 1);
    }
    let position = |(next, tails): (&i64, Tails)| Position {
        next: SourceOffset(*next),
        origin: Some(SourceOffset(origin)),
        tails,
        ..Position::default()
    };
    let positions = next.iter().zip(tails).map(position).collect();
    Model { keys, copies, records, positions, ends }
}

impl Model {
    /// Returns the maps without their first `expired` records.
    fn maps(&self, expired: usize) -> Vec<FoldedMap> {
        let fold = |records: &Vec<MapRecord>| {
            let mut map = FoldedMap::default();
            records.iter().skip(expired).for_each(|record| map.fold(record));
            map
        };
        self.records.iter().map(fold).collect()
    }

    fn ask(&self, maps: &[FoldedMap], wanted: &[i64], target: i32, whole: bool) -> Result<Answer, NoAnswer> {
        let side = |index: usize| SourceSide {
            key: &self.keys[index],
            position: Some(SourceOffset(wanted[index])),
            progress: Some(&self.positions[index]),
            map: Some(&maps[index]),
            map_is_whole: whole,
        };
        let sources: Vec<_> = (0..3).map(side).collect();
        translate(&sources, &self.target(target), true)
    }

    fn target(&self, partition: i32) -> TargetSide<'static> {
        let end = TargetOffset(self.ends[partition as usize]);
        TargetSide { topic: "copy", id: TopicId([9; 16]), partition, start: TargetOffset(0), end }
    }

    fn in_partition(&self, target: i32) -> impl Iterator<Item = &Copied> {
        self.copies.iter().filter(move |copy| copy.2 == target)
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0usize..3, 0i64..3, 0i32..2, 0usize..3, prop::bool::weighted(0.2)), 1..60)
}

proptest! {
    /// No copied record at or above the positions lies before the answer, none below lies behind it
    /// but those that it counts, and it never falls while a position rises. With an older part of
    /// the map gone it still skips nothing, and says exact only where it is.
    #[test]
    fn an_answer_skips_nothing_and_counts_what_it_repeats(
        steps in steps(),
        origin in 0i64..3,
        wanted in prop::collection::vec(0i64..70, 3),
        expired in 0usize..6,
        target in 0i32..2,
    ) {
        let model = run(&steps, origin);
        let answer = model.ask(&model.maps(0), &wanted, target, true).unwrap();
        let is_new = |(partition, source, ..): &Copied| *source >= wanted[*partition];
        let first = model.in_partition(target).filter(|copy| is_new(copy)).map(|copy| copy.3).min();
        let end = model.in_partition(target).map(|copy| copy.3 + 1).max();
        let expected = first.or(end).unwrap_or(model.ends[target as usize]);
        prop_assert_eq!(answer.offset.0, expected);
        let repeated = |answer: i64| model.in_partition(target).filter(|copy| !is_new(copy) && copy.3 >= answer).count();
        let is_there = |index: usize| model.in_partition(target).any(|copy| copy.0 == index);
        let any_there = (0..3).any(is_there);
        let is_ahead = |index: usize| wanted[index] > model.positions[index].next.0 && (is_there(index) || !any_there);
        let exactness = match repeated(expected) {
            _ if (0..3).any(is_ahead) => Exactness::Inexact(Why::Ahead),
            0 => Exactness::Exact,
            count => Exactness::ReReads(count as u64),
        };
        prop_assert_eq!(answer.exactness, exactness);

        let mut further = wanted.clone();
        further[0] += 1;
        prop_assert!(model.ask(&model.maps(0), &further, target, true).unwrap().offset >= answer.offset);

        let of_rest = model.ask(&model.maps(expired), &wanted, target, expired == 0).unwrap();
        prop_assert!(first.is_none_or(|first| of_rest.offset.0 <= first), "{:?} skips {:?}", of_rest, first);
        if of_rest.exactness == Exactness::Exact {
            prop_assert_eq!(repeated(of_rest.offset.0), 0);
        }

        let mut small = model.maps(0);
        for (map, position) in small.iter_mut().zip(&wanted) {
            map.forget_below(SourceOffset(*position));
        }
        let of_small = model.ask(&small, &wanted, target, true).unwrap();
        prop_assert_eq!(of_small.offset, answer.offset);
        prop_assert!(of_small.exactness == Exactness::Inexact(Why::MapCut) || of_small == answer);
    }

    /// The inverse of a target offset is the source offset of the first copy at or above it.
    #[test]
    fn an_inverse_finds_the_first_record_not_read(steps in steps(), wanted in 0i64..120, target in 0i32..2) {
        let model = run(&steps, 0);
        for (index, map) in model.maps(0).iter().enumerate() {
            let of_partition = || model.in_partition(target).filter(|copy| copy.0 == index);
            let first = of_partition().find(|copy| copy.3 >= wanted).map(|copy| copy.1);
            let last = of_partition().last().map(|copy| copy.1 + 1);
            let found = inverse(map, target, TargetOffset(wanted), true).map(|offset| offset.0);
            prop_assert_eq!(found, first.or(last));
        }
    }
}

/// Asks for one source partition with records 10..20 at 100..110 in partition 0.
fn ask(position: Option<i64>, change: impl FnOnce(&mut Position, &mut FoldedMap, &mut TargetSide<'_>)) -> String {
    let mut map = FoldedMap::default();
    let runs = vec![Run { source: SourceOffset(10), target_partition: 0, target: TargetOffset(100), count: 10 }];
    map.fold(&MapRecord {
        partition: key(0),
        target_topic: "copy".into(),
        target_id: TopicId([9; 16]),
        kind: MapKind::Copy,
        first: SourceOffset(10),
        next: SourceOffset(20),
        runs,
    });
    let (next, origin) = (SourceOffset(25), Some(SourceOffset(5)));
    let mut progress = Position { next, origin, ..Position::default() };
    let (start, end) = (TargetOffset(0), TargetOffset(200));
    let mut target = TargetSide { topic: "copy", id: TopicId([9; 16]), partition: 0, start, end };
    change(&mut progress, &mut map, &mut target);
    let position = position.map(SourceOffset);
    let source = SourceSide { key: &key(0), position, progress: Some(&progress), map: Some(&map), map_is_whole: true };
    match translate(&[source], &target, true) {
        Ok(Answer { offset, exactness, ahead, not_copied, left_out }) => {
            format!("{} {exactness:?} {ahead} {not_copied} {left_out}", offset.0)
        }
        Err(error) => format!("{error:?}"),
    }
}

#[test]
fn each_place_of_a_position_has_its_answer() {
    let same = |_: &mut Position, _: &mut FoldedMap, _: &mut TargetSide<'_>| ();
    assert_eq!(ask(Some(15), same), "105 Exact 0 0 0", "behind");
    assert_eq!(ask(Some(7), same), "100 Exact 0 0 3", "in a hole");
    assert_eq!(ask(Some(20), same), "110 Exact 0 0 5", "behind the last copied record");
    assert_eq!(ask(Some(25), same), "110 Exact 0 0 0", "caught up");
    assert_eq!(ask(Some(30), same), "110 Inexact(Ahead) 5 0 0", "ahead of the link");
    assert_eq!(ask(Some(2), same), "100 Exact 0 3 5", "below the link's first offset");
    assert!(ask(None, same).starts_with("NoCommit"), "{}", ask(None, same));
    assert_eq!(ask(Some(15), |_, _, target| target.id = TopicId([8; 16])), "TargetRecreated");
    assert_eq!(ask(Some(15), |_, _, target| target.start = TargetOffset(107)), "107 Exact 0 0 0", "expired there");
    assert_eq!(ask(Some(15), |_, _, target| target.partition = 1), "200 Exact 0 0 0", "nothing of ours is there");
    assert_eq!(ask(Some(30), |_, _, target| target.partition = 1), "200 Inexact(Ahead) 5 0 0", "and more may come");
    // Only the tails are left of the map.
    let by_tails = |progress: &mut Position, map: &mut FoldedMap, _: &mut TargetSide<'_>| {
        *map = FoldedMap::default();
        let end = TargetOffset(110);
        progress.tails.set(Tail { topic: "copy".into(), id: TopicId::UNKNOWN, partition: 0, end });
    };
    assert_eq!(ask(Some(25), by_tails), "110 Exact 0 0 0");
}

#[test]
fn a_position_older_than_the_map_reads_from_the_start_of_the_target() {
    let model = run(&[(0, 0, 0, 1, true), (0, 0, 0, 1, true), (0, 0, 0, 1, true)], 0);
    let maps = model.maps(1);
    let answer = model.ask(&maps, &[0, 0, 0], 0, false).unwrap();
    assert_eq!((answer.offset.0, answer.exactness), (0, Exactness::Inexact(Why::BeforeMap)));
    let first = model.copies[1].3;
    let side = SourceSide {
        key: &model.keys[0],
        position: Some(SourceOffset(0)),
        progress: Some(&model.positions[0]),
        map: Some(&maps[0]),
        map_is_whole: false,
    };
    let target = TargetSide { start: TargetOffset(first), ..model.target(0) };
    let answer = translate(&[side], &target, true).unwrap();
    assert_eq!((answer.offset.0, answer.exactness), (first, Exactness::Exact), "nothing older is left there");
    let answer = translate(&[side], &target, false).unwrap();
    assert_eq!(answer.exactness, Exactness::Inexact(Why::AtLeastOnce));
}
