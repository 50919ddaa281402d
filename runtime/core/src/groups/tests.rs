//! The rules against a model of a target that answers as Kafka's brokers do, with a coordinator
//! that crashes, and with requests that arrive late.

use proptest::prelude::*;

use super::*;
use crate::control::{Control, ControlRecord, GroupPartition, Intent, Orphan};
use crate::event::GroupEvent;
use crate::map::{Exactness, Why};
use crate::offset::SourceOffset;
use crate::topic::{PartitionKey, TopicId};
use std::time::Duration;

const S: Duration = Duration::from_secs(1);

fn key(id: u8) -> PartitionKey {
    PartitionKey { topic: "orders".into(), topic_id: TopicId([id; 16]), partition: 0 }
}

fn place() -> Place {
    ("aws.orders".into(), 0)
}

fn group() -> Arc<str> {
    "billing".into()
}

fn source(offset: i64) -> Vec<SourcePlace> {
    vec![SourcePlace { partition: key(1), offset: SourceOffset(offset) }]
}

fn wish(source_offset: i64, offset: i64) -> Wish {
    let answer =
        Answer { offset: TargetOffset(offset), exactness: Exactness::Exact, ahead: 0, not_copied: 0, left_out: 0 };
    Wish { answer, source: source(source_offset), metadata: Arc::from(*b"kept") }
}

fn translated(wish: Wish) -> Translated {
    Translated { wishes: [(place(), wish)].into(), ..Translated::default() }
}

fn found(offset: Option<i64>) -> Committed {
    offset.map(|offset| (place(), GroupOffset { offset, metadata: Arc::from(*b"kept") })).into_iter().collect()
}

fn known(written: i64, source_offset: i64) -> GroupPartition {
    GroupPartition { written: Some(TargetOffset(written)), source: source(source_offset), ..GroupPartition::default() }
}

#[test]
fn an_offset_is_written_over_what_is_ours_alone() {
    let at = |offset: i64| Some(TargetOffset(offset));
    let no = (false, false);
    let ours = known(50, 100);
    let intended = Some(Intent { offset: TargetOffset(60), source: source(120) });
    let orphans = vec![Orphan { offset: TargetOffset(40), at: 0 }];
    let struggled = GroupPartition { intended, orphans, ..ours.clone() };
    let up = wish(140, 70);
    let write = Verdict::Write(TargetOffset(70));
    // Nothing is known: nothing there, our answer, another offset.
    assert_eq!(judge(None, None, Some(&up), no), write);
    assert_eq!(judge(None, at(70), Some(&up), no), Verdict::Adopt(TargetOffset(70)));
    assert_eq!(judge(None, at(69), Some(&up), no), Verdict::Foreign(TargetOffset(69)));
    assert_eq!(judge(None, at(69), None, no), Verdict::Leave, "before the first answer");
    assert_eq!(judge(None, None, None, no), Verdict::Leave);
    // What was written, intended or given up is ours, also after a crash in between.
    for offset in [50, 60, 40] {
        assert_eq!(judge(Some(&struggled), at(offset), Some(&up), no), write, "{offset}");
    }
    for offset in [0, 51, 71] {
        assert_eq!(judge(Some(&struggled), at(offset), Some(&up), no), Verdict::Foreign(TargetOffset(offset)));
        assert_eq!(judge(Some(&struggled), at(offset), None, no), Verdict::Foreign(TargetOffset(offset)));
        assert_eq!(judge(Some(&struggled), at(offset), Some(&up), (true, false)), write, "resync");
    }
    // Expired: written again, but not without an answer: the log may be another one.
    assert_eq!(judge(Some(&ours), None, Some(&up), no), write);
    assert_eq!(judge(Some(&ours), None, None, no), Verdict::Leave);
    assert_eq!(judge(Some(&ours), at(50), None, (false, true)), Verdict::Write(TargetOffset(50)));
    assert_eq!(judge(Some(&ours), at(50), Some(&wish(100, 50)), no), Verdict::Leave);
    assert_eq!(judge(Some(&ours), at(50), Some(&wish(110, 50)), no), Verdict::Adopt(TargetOffset(50)));
    // Down with the source, with another incarnation or partition, and not otherwise.
    let down = |wish: Wish| judge(Some(&ours), at(50), Some(&wish), no);
    let fell = Verdict::Fell { found: TargetOffset(50), answer: TargetOffset(30) };
    assert_eq!(down(wish(99, 30)), Verdict::Write(TargetOffset(30)));
    assert_eq!(down(wish(100, 30)), fell);
    assert_eq!(down(wish(140, 30)), fell);
    let again = Wish { source: vec![SourcePlace { partition: key(2), offset: SourceOffset(500) }], ..wish(0, 30) };
    assert_eq!(down(again), Verdict::Write(TargetOffset(30)));
    // The map does not reach back any more: what was written when it did is kept.
    let before_map = |source: i64, offset: i64| {
        let mut wish = wish(source, offset);
        wish.answer.exactness = Exactness::Inexact(Why::BeforeMap);
        down(wish)
    };
    assert_eq!(before_map(100, 0), Verdict::Leave);
    assert_eq!(before_map(120, 0), Verdict::Adopt(TargetOffset(50)));
    assert_eq!(before_map(90, 0), Verdict::Write(TargetOffset(0)));
}

/// Lets the machine look, save and write, as the coordinator does, against a target that answers
/// so.
fn round(sync: &mut GroupSync, control: &mut Control, offset: &mut Option<i64>, now: Duration, answer: &Written) {
    let unix_ms = i64::try_from(now.as_millis()).unwrap();
    for name in sync.due(now) {
        sync.look(&name, &found(*offset), now, unix_ms);
    }
    let records = sync.records();
    control.wrote(&records);
    for name in sync.announced() {
        let (writes, _) = sync.writes(&name, &found(*offset), unix_ms);
        let taken = *answer == Written::Taken;
        let answers = writes.iter().map(|write| {
            if taken {
                *offset = Some(write.offset.0);
            }
            (write.place.clone(), answer.clone())
        });
        let answers = answers.collect();
        sync.wrote(&name, &answers, now, unix_ms);
        let records = sync.records();
        control.wrote(&records);
    }
}

#[test]
fn a_group_is_written_once_a_second_and_looked_at_each_thirty() {
    let (mut control, mut offset) = (Control::default(), None);
    let mut sync = GroupSync::of(&control, 0);
    sync.translated(&group(), translated(wish(10, 5)));
    round(&mut sync, &mut control, &mut offset, S, &Written::Taken);
    assert_eq!(offset, Some(5));
    sync.translated(&group(), translated(wish(20, 9)));
    assert!(sync.due(S + S / 2).is_empty(), "not twice in a second");
    round(&mut sync, &mut control, &mut offset, 2 * S, &Written::Taken);
    assert_eq!(offset, Some(9));
    assert!(sync.due(31 * S).is_empty() && !sync.has_work());
    // It has expired, and so it does again when the source has the group no more.
    for now in [33 * S, 70 * S] {
        offset = None;
        round(&mut sync, &mut control, &mut offset, now, &Written::Taken);
        assert_eq!(offset, Some(9));
        sync.gone(&group());
    }
    // Not at the offset that another incarnation of its source topic gives, though.
    offset = None;
    let other = Wish { source: vec![SourcePlace { partition: key(2), offset: SourceOffset(20) }], ..wish(20, 9) };
    sync.translated(&group(), translated(other));
    round(&mut sync, &mut control, &mut offset, 110 * S, &Written::Taken);
    assert_eq!(offset, None);
    let successor = GroupSync::of(&control, 0);
    assert_eq!(
        successor.kept(&group()).into_iter().map(|(at, kept)| (at.1, kept.offset)).collect::<Vec<_>>(),
        [(0, 20)]
    );
    sync.here(&group());
    sync.translated(&group(), translated(wish(20, 9)));
    round(&mut sync, &mut control, &mut offset, 150 * S, &Written::Taken);
    assert_eq!(offset, Some(9));
    // Once a day it is written again, also by one who has coordinated for a short time only.
    let mut other = Some(9);
    round(&mut sync, &mut control, &mut other, 80_000 * S, &Written::Unknown(String::new()));
    assert!(!sync.has_work());
    let mut sync = GroupSync::of(&control, 80_000_000);
    sync.translated(&group(), translated(wish(20, 9)));
    round(&mut sync, &mut control, &mut other, 90_000 * S, &Written::Active);
    assert_eq!(sync.states().next().map(|(_, state)| state), Some(State::Active));
    assert!(sync.due(90_004 * S).is_empty() && sync.due(90_005 * S).len() == 1, "an active group rests");
}

#[test]
fn a_group_of_the_target_stays_so_until_it_is_given_back() {
    let (mut control, mut offset) = (Control::default(), Some(3));
    let mut sync = GroupSync::of(&control, 0);
    sync.translated(&group(), translated(wish(10, 5)));
    let events = sync.look(&group(), &found(offset), S, 7);
    assert!(matches!(&events[..], [GroupEvent::TakenOver { found: TargetOffset(3), written: None, .. }]), "{events:?}");
    control.wrote(&sync.records());
    assert!(sync.announced().is_empty() && sync.due(100 * S).is_empty());
    // A successor knows.
    let mut sync = GroupSync::of(&control, 8);
    sync.translated(&group(), translated(wish(10, 5)));
    assert!(sync.due(200 * S).is_empty());
    assert_eq!(sync.states().next().map(|(_, state)| state), Some(State::TakenOver));
    // An operator gives it back: it is written, downwards too, and only once over what is there.
    for down in [9, 2] {
        let records: Vec<_> = control
            .groups()
            .iter()
            .map(|((group, topic), record)| {
                let record = crate::control::GroupRecord { resync: true, ..(**record).clone() };
                ControlRecord::Group(Arc::clone(group), Arc::clone(topic), Some(Arc::new(record)))
            })
            .collect();
        control.wrote(&records);
        let mut sync = GroupSync::of(&control, 9);
        sync.translated(&group(), translated(wish(10, down)));
        round(&mut sync, &mut control, &mut offset, 301 * S, &Written::Taken);
        assert_eq!(offset, Some(down));
        offset = Some(77);
        sync.look(&group(), &found(offset), 340 * S, 10);
        control.wrote(&sync.records());
        assert_eq!(sync.states().next().map(|(_, state)| state), Some(State::TakenOver));
    }
}

#[test]
fn what_the_target_refuses_is_told_once() {
    let mut sync = GroupSync::of(&Control::default(), 0);
    sync.translated(&group(), translated(wish(10, 5)));
    let mut now = S;
    let mut write = |answer: Written| {
        now += 61 * S;
        sync.look(&group(), &found(None), now, 0);
        sync.records();
        assert_eq!(sync.announced().len(), 1);
        let (writes, _) = sync.writes(&group(), &found(None), 0);
        let answers = [(place(), answer)].into();
        (writes[0].metadata.to_vec(), sync.wrote(&group(), &answers, now, 0).len())
    };
    let denied = Written::Denied("no".to_owned());
    assert_eq!([write(denied.clone()).1, write(denied).1], [1, 0]);
    assert_eq!(write(Written::MetadataTooLarge), (b"kept".to_vec(), 1));
    assert_eq!(write(Written::OtherKind), (Vec::new(), 1), "without what was too large");
    assert_eq!(write(Written::NoPartition).1, 0);
}

/// One step of a history.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The source group moves on, or back.
    Source(i64),
    /// The coordinator looks, announces and writes; the request arrives after so many steps, or is
    /// lost, and the coordinator hears the answer or not.
    Work { late: usize, lost: bool, deaf: bool },
    /// The coordinator ends anywhere, and another one begins.
    Crash,
    /// Somebody reads on the target and leaves.
    Read(i64),
    /// The target forgets the offset.
    Expire,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let work = (0usize..4, prop::bool::weighted(0.1), prop::bool::weighted(0.2));
    let step = prop_oneof![
        4 => (-3i64..12).prop_map(Step::Source),
        8 => work.prop_map(|(late, lost, deaf)| Step::Work { late, lost, deaf }),
        2 => Just(Step::Crash),
        1 => (1i64..5).prop_map(Step::Read),
        1 => Just(Step::Expire),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    /// As long as nobody reads on the target, no history of crashes, lost answers and late requests
    /// makes a group look like the target's, and in the end its place is there. Once somebody has
    /// read, nothing that begins later moves the group.
    #[test]
    fn own_offsets_are_known_again_and_others_are_left(steps in steps()) {
        let (mut control, mut offset, mut at_source) = (Control::default(), None::<i64>, 20i64);
        let mut sync = GroupSync::of(&control, 0);
        // Requests under way, and after how many steps they arrive.
        let mut late: Vec<(usize, i64)> = Vec::new();
        let mut read: Option<i64> = None;
        let calm = std::iter::repeat_n(Step::Work { late: 0, lost: false, deaf: false }, 4);
        for (index, step) in steps.into_iter().chain(calm).enumerate() {
            let (now, unix_ms) = (40 * S * (index as u32 + 1), 40_000 * (index as i64 + 1));
            for (wait, target) in &mut late {
                if *wait == 0 {
                    offset = Some(*target);
                }
                *wait = wait.wrapping_sub(1);
            }
            late.retain(|(wait, _)| *wait != usize::MAX);
            sync.translated(&group(), translated(wish(at_source, at_source * 2)));
            match step {
                Step::Source(by) => at_source = (at_source + by).max(0),
                Step::Crash => sync = GroupSync::of(&control, unix_ms),
                Step::Expire if read.is_none() => offset = None,
                Step::Expire => {}
                Step::Read(by) => {
                    // What is under way then is the one thing that Kafka leaves open.
                    late.clear();
                    // Odd, so that it is none of ours.
                    offset = Some(offset.unwrap_or(0) / 2 * 2 + by * 2 + 1);
                    read = offset;
                }
                Step::Work { late: wait, lost, deaf } => {
                    for name in sync.due(now) {
                        sync.look(&name, &found(offset), now, unix_ms);
                    }
                    control.wrote(&sync.records());
                    for name in sync.announced() {
                        let (writes, _) = sync.writes(&name, &found(offset), unix_ms);
                        control.wrote(&sync.records());
                        let mut answers = BTreeMap::new();
                        for write in writes {
                            let is_late = wait > 0 && !lost;
                            if is_late {
                                late.push((wait, write.offset.0));
                            } else if !lost {
                                offset = Some(write.offset.0);
                            }
                            if !lost && !is_late && !deaf {
                                answers.insert(write.place, Written::Taken);
                            }
                        }
                        sync.wrote(&name, &answers, now, unix_ms);
                        if !deaf {
                            control.wrote(&sync.records());
                        }
                    }
                }
            }
            let state = sync.states().next().map(|(_, state)| state);
            if read.is_none() {
                prop_assert_ne!(state, Some(State::TakenOver), "at step {}", index);
            } else {
                prop_assert_eq!(offset, read, "a group that has read on the target was moved at step {}", index);
            }
        }
        if read.is_none() && late.is_empty() {
            prop_assert_eq!(offset, Some(at_source * 2));
        }
    }
}
