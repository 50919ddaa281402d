use proptest::prelude::*;

use super::follow::{FRESH, Follower};
use super::turn::{ANNOUNCED_FOR, CHANGE_AFTER, HANDOVER, Step, TICK_EVERY, Turn};
use super::*;
use crate::offset::{SourceOffset, TargetOffset};
use crate::topic::PartitionKey;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);

fn owner(count: u64, process: u32) -> OwnerEpoch {
    OwnerEpoch((count << 32) | u64::from(process))
}

fn tick(owner: OwnerEpoch, at: i64) -> Tick {
    Tick { owner, settings: "a1".into(), at, released: false, waits: false, announces: None, listed_s: None }
}

fn listed(names: impl IntoIterator<Item = String>) -> Vec<ListedTopic> {
    let one = |name: String| ListedTopic { topic: name.into(), id: TopicId([7; 16]), partitions: 3 };
    names.into_iter().map(one).collect()
}

fn applied(control: &mut Control, records: &[ControlRecord]) {
    for record in records {
        let (key, value) = record.encode();
        control.apply(&key, value.as_deref()).unwrap();
    }
}

#[test]
fn records_are_written_as_they_always_were() {
    let acl = MadeAcl { principal: "User:a".to_owned(), host: "*".to_owned(), operation: 3, allows: true };
    let topic = TopicRecord {
        source: "orders".into(),
        source_id: TopicId([1; 16]),
        target_id: TopicId([2; 16]),
        made: true,
        applied: BTreeMap::from([("retention.ms".into(), "5".into())]),
        acls: BTreeSet::from([acl]),
        gone: None,
    };
    let going = TopicRecord {
        source: "old".into(),
        target_id: TopicId([2; 16]),
        made: true,
        gone: Some(Gone { since: 5, at: 7, waited_s: 600 }),
        ..TopicRecord::default()
    };
    let at = |offset: i64| SourcePlace {
        partition: PartitionKey { topic: "orders".into(), topic_id: TopicId([1; 16]), partition: 2 },
        offset: SourceOffset(offset),
    };
    let in_partition = GroupPartition {
        written: Some(TargetOffset(50)),
        written_at: Some(4),
        source: vec![at(70)],
        intended: Some(Intent { offset: TargetOffset(60), source: vec![at(90)] }),
        orphans: vec![Orphan { offset: TargetOffset(40), at: 5 }],
    };
    let group = GroupRecord {
        partitions: BTreeMap::from([(2, in_partition)]),
        taken: Some(TakenOver { partition: 2, found: TargetOffset(7), at: 5 }),
        resync: true,
    };
    let part = TopicsPart { owner: owner(2, 9), version: 4, parts: 1, topics: listed(["orders".to_owned()]) };
    let vectors = [
        (
            ControlRecord::Tick(tick(owner(1, 7), 5)),
            r#"{"kind":"tick"}"#,
            r#"{"owner":4294967303,"settings":"a1","at":5}"#,
        ),
        (
            ControlRecord::Tick(Tick { released: true, announces: Some(3), ..tick(owner(1, 7), 5) }),
            r#"{"kind":"tick"}"#,
            r#"{"owner":4294967303,"settings":"a1","at":5,"released":true,"announces":3}"#,
        ),
        (
            ControlRecord::Tick(Tick { waits: true, ..tick(owner(1, 7), 5) }),
            r#"{"kind":"tick"}"#,
            r#"{"owner":4294967303,"settings":"a1","at":5,"waits":true}"#,
        ),
        (
            ControlRecord::Tick(Tick { listed_s: Some(2), ..tick(owner(1, 7), 5) }),
            r#"{"kind":"tick"}"#,
            r#"{"owner":4294967303,"settings":"a1","at":5,"listed_s":2}"#,
        ),
        (
            ControlRecord::Topics(0, Some(part)),
            r#"{"kind":"topics","part":0}"#,
            r#"{"owner":8589934601,"version":4,"parts":1,"topics":[{"topic":"orders","id":"07070707070707070707070707070707","partitions":3}]}"#,
        ),
        (
            ControlRecord::Topic("eu.orders".into(), Some(topic)),
            r#"{"kind":"topic","topic":"eu.orders"}"#,
            r#"{"source":"orders","source_id":"01010101010101010101010101010101","target_id":"02020202020202020202020202020202","made":true,"applied":{"retention.ms":"5"},"acls":[{"principal":"User:a","host":"*","operation":3,"allows":true}]}"#,
        ),
        (
            ControlRecord::Topic("eu.old".into(), Some(going)),
            r#"{"kind":"topic","topic":"eu.old"}"#,
            r#"{"source":"old","source_id":"00000000000000000000000000000000","target_id":"02020202020202020202020202020202","made":true,"gone":{"since":5,"at":7,"waited_s":600}}"#,
        ),
        (
            ControlRecord::Group("billing".into(), "eu.orders".into(), Some(Arc::new(group))),
            r#"{"kind":"group","group":"billing","topic":"eu.orders"}"#,
            r#"{"partitions":{"2":{"written":50,"written_at":4,"source":[["orders","01010101010101010101010101010101",2,70]],"intended":{"offset":60,"source":[["orders","01010101010101010101010101010101",2,90]]},"orphans":[[40,5]]}},"taken":{"partition":2,"found":7,"at":5},"resync":true}"#,
        ),
    ];
    for (record, key, value) in &vectors {
        let (written, text) = record.encode();
        assert_eq!((String::from_utf8_lossy(&written), text.as_deref()), ((*key).into(), Some(value.as_bytes())));
    }
    assert_eq!(ControlRecord::Topics(3, None).encode().1, None);
    let mut control = Control::default();
    vectors.iter().for_each(|(_, key, value)| control.apply(key.as_bytes(), Some(value.as_bytes())).unwrap());
    let mut wrote = Control::default();
    wrote.wrote(&vectors.map(|(record, ..)| record));
    assert_eq!(control, wrote, "a coordinator knows what others read");
    assert_eq!((control_topic("l"), coordinator_id("p", "l")), ("strait.l.control".into(), "p.l.coordinator".into()));
}

#[test]
fn later_kinds_and_members_are_skipped_and_what_cannot_be_read_is_gone() {
    let mut control = Control::default();
    control.apply(br#"{"kind":"pair","group":"g","topic":"t"}"#, Some(b"\xff")).unwrap();
    control.apply(br#"{"kind":"link"}"#, None).unwrap();
    assert_eq!(control, Control::default());
    let newer = br#"{"owner":4294967303,"settings":"a1","at":5,"from":"later"}"#;
    control.apply(br#"{"kind":"tick","from":"later"}"#, Some(newer)).unwrap();
    assert_eq!(control.tick(), Some(&tick(owner(1, 7), 5)));
    for (key, value) in [(&br#"{"kind":"tick"}"#[..], &b"{}"[..]), (b"\xff", b"{}"), (b"[]", b"{}")] {
        assert!(control.apply(key, Some(value)).is_err());
    }
    assert_eq!(control.tick(), None, "the tick that it replaced says nothing any more");
    let part = br#"{"kind":"topics","part":4294967295}"#;
    assert!(control.apply(part, Some(b"{}")).is_err());
}

proptest! {
    /// A reader sees whole lists only, wherever it is in the log, and ends with the last one.
    #[test]
    fn a_list_is_seen_whole_or_not_at_all(
        sizes in prop::collection::vec(0_usize..1_700, 1..6),
        cuts in prop::collection::vec(0_usize..20, 1..6),
    ) {
        let (mut writer, mut reader) = (Control::default(), Control::default());
        for (number, size) in sizes.iter().enumerate() {
            let topics = listed((0..*size).map(|topic| format!("t{topic:05}")));
            let before = reader.listed();
            let records = writer.list(owner(number as u64, 1), &topics);
            writer.wrote(&records);
            let (first, rest) = records.split_at(cuts.get(number).copied().unwrap_or(0).min(records.len()));
            applied(&mut reader, first);
            let found = reader.listed();
            prop_assert!(found.is_none() || found == before || found == writer.listed());
            applied(&mut reader, rest);
            prop_assert_eq!(&reader, &writer);
            prop_assert_eq!(reader.source_topics(), topics);
            prop_assert_eq!(reader.listed(), Some((owner(number as u64, 1), number as u64 + 1)));
        }
    }

    /// Whatever happens when: a batch begins under its own announcement and while that counts, none
    /// before the predecessor can be at work no more, ticks do not stop, and the last record says
    /// that the turn is over.
    #[test]
    fn a_turn_runs_only_what_it_has_announced(
        last in prop::option::of((0_u64..3, 1_u32..3, any::<bool>(), any::<bool>())),
        events in prop::collection::vec((0_u8..5, 1_u64..2_000), 1..60),
    ) {
        let mut control = Control::default();
        if let Some((count, process, released, waits)) = last {
            control.wrote(&[ControlRecord::Tick(Tick { released, waits, ..tick(owner(count, process), 0) })]);
        }
        let taken = S;
        let mut now = taken;
        let mut turn = Turn::new(control, 1, "a1".into(), taken);
        let is_alone = last.is_some_and(|(_, process, released, waits)| !waits && (released || process == 1));
        prop_assert_eq!(turn.owner().count(), last.map_or(0, |(count, ..)| count) + 1);
        let (mut announced, mut running, mut ended, mut last_tick) = (None, false, false, now);
        for (what, wait) in events {
            match what {
                0 => turn.want_batch(now),
                1 => turn.publish(&listed([format!("t{wait}")]), now),
                2 if running => {
                    running = false;
                    turn.batch_ended();
                }
                3 if wait < 50 => turn.end(),
                _ => {}
            }
            let wake = now + MS * u32::try_from(wait).unwrap();
            for _ in 0..20 {
                match turn.step(now, 0) {
                    Step::Commit(records) => {
                        let began = now;
                        // A commit may take long.
                        now += MS * u32::try_from(if what == 4 { wait * 3 } else { 5 }).unwrap();
                        let Some(ControlRecord::Tick(tick)) = records.last() else { panic!("{records:?}") };
                        prop_assert!(!ended);
                        prop_assert!(!tick.released || !running);
                        prop_assert!(!(tick.announces.is_some() && (running || tick.released)));
                        prop_assert!(tick.announces.is_none() || is_alone || began >= taken + HANDOVER);
                        prop_assert_eq!(tick.waits, !is_alone && began < taken + HANDOVER);
                        prop_assert_eq!(tick.owner, turn.owner());
                        if let Some(number) = tick.announces {
                            announced = Some((number, began));
                        }
                        ended = tick.released;
                        last_tick = began;
                        turn.committed(began);
                    }
                    Step::Run(permit) => {
                        prop_assert!(!running && !ended);
                        let (number, began) = announced.take().unwrap();
                        prop_assert_eq!((permit.batch, permit.until), (number, began + ANNOUNCED_FOR));
                        prop_assert!(permit.allows(now) && !permit.allows(permit.until));
                        running = true;
                    }
                    Step::Wait(until) => {
                        prop_assert!(until > now && until <= last_tick + TICK_EVERY && !ended);
                        if until > wake {
                            break;
                        }
                        now = until;
                    }
                    Step::End => {
                        prop_assert!(ended);
                        break;
                    }
                }
            }
            now = now.max(wake);
        }
    }
}

#[test]
fn changes_are_written_together_soon_and_a_batch_waits_for_its_predecessor() {
    let mut control = Control::default();
    control.wrote(&[ControlRecord::Tick(tick(owner(4, 2), 0))]);
    let mut turn = Turn::new(control, 1, "a1".into(), S);
    let commit = |turn: &mut Turn, now: Duration| match turn.step(now, 0) {
        Step::Commit(records) => {
            turn.committed(now);
            records
        }
        other => panic!("{other:?}"),
    };
    let waiting = Tick { waits: true, ..tick(owner(5, 1), 0) };
    assert_eq!(commit(&mut turn, S), [ControlRecord::Tick(waiting)]);
    let topics = listed(["a".to_owned()]);
    turn.publish(&listed(["b".to_owned()]), S);
    turn.want_batch(S);
    turn.publish(&topics, S + 50 * MS);
    assert_eq!(turn.step(S, 0), Step::Wait(S + CHANGE_AFTER));
    let written = commit(&mut turn, S + CHANGE_AFTER);
    assert!(
        matches!(&written[..], [ControlRecord::Topics(0, Some(part)), ControlRecord::Tick(Tick { announces: None, .. })] if part.topics == topics),
        "{written:?}"
    );
    turn.publish(&topics, 2 * S);
    assert_eq!(commit(&mut turn, 3 * S).len(), 1, "the same list is not written again");
    assert_eq!(turn.step(3 * S, 0), Step::Wait(4 * S));
    turn.listed_at(Some(3 * S));
    for second in 4..=8 {
        let written = commit(&mut turn, S * second);
        let age = Some(u64::from(second) - 3);
        assert!(
            matches!(&written[..], [ControlRecord::Tick(Tick { announces: None, listed_s, .. })] if *listed_s == age),
            "{written:?}"
        );
    }
    let began = S + HANDOVER;
    let written = commit(&mut turn, began);
    assert!(matches!(&written[..], [ControlRecord::Tick(Tick { announces: Some(1), .. })]), "{written:?}");
    // The announcement is too old by the time that it is committed.
    let late = began + ANNOUNCED_FOR;
    let written = commit(&mut turn, late);
    assert!(matches!(&written[..], [ControlRecord::Tick(Tick { announces: Some(2), .. })]), "{written:?}");
    let Step::Run(permit) = turn.step(late + S, 0) else { panic!() };
    turn.end();
    assert_eq!((permit.batch, permit.owner), (2, owner(5, 1)));
    let written = commit(&mut turn, late + 2 * S);
    assert!(matches!(&written[..], [ControlRecord::Tick(Tick { released: false, .. })]), "the batch is under way");
    turn.batch_ended();
    let written = commit(&mut turn, late + 2 * S);
    assert!(matches!(&written[..], [ControlRecord::Tick(Tick { released: true, .. })]), "{written:?}");
    assert_eq!(turn.step(late + 9 * S, 0), Step::End);
}

#[test]
fn others_take_the_list_of_a_coordinator_at_work_and_of_no_other() {
    let mut follower = Follower::default();
    let mut control = Control::default();
    let read = |follower: &mut Follower, records: &[ControlRecord], is_old: bool, now: Duration| {
        for record in records {
            let (key, value) = record.encode();
            follower.read((&key, value.as_deref()), is_old, now).unwrap();
        }
    };
    let old = control.list(owner(1, 1), &listed(["a".to_owned()]));
    control.wrote(&old);
    read(&mut follower, &old, true, S);
    read(&mut follower, &[ControlRecord::Tick(tick(owner(1, 1), 1))], true, S);
    assert_eq!(
        (follower.coordinator(S), follower.source_topics("a1", S, 30 * S)),
        (None, None),
        "nobody knows how old it is"
    );
    read(&mut follower, &[ControlRecord::Tick(tick(owner(1, 1), 2))], false, 2 * S);
    assert_eq!(follower.source_topics("a1", 2 * S, 30 * S).map(|topics| topics.len()), Some(1));
    assert_eq!(follower.source_topics("b2", 2 * S, 30 * S), None, "other settings may select other topics");
    assert_eq!(follower.source_topics("a1", 2 * S + FRESH, 30 * S), None);
    assert!(follower.seen().is_some());
    // A successor counts once it has listed the topics itself.
    read(&mut follower, &[ControlRecord::Tick(tick(owner(2, 2), 3))], false, 3 * S);
    assert_eq!(follower.coordinator(3 * S).map(|seen| seen.owner), Some(owner(2, 2)));
    assert_eq!(follower.source_topics("a1", 3 * S, 30 * S), None);
    read(&mut follower, &control.list(owner(2, 2), &listed([])), false, 3 * S);
    assert_eq!(follower.source_topics("a1", 3 * S, 30 * S).map(|topics| topics.len()), Some(0));
    read(&mut follower, &[ControlRecord::Tick(Tick { released: true, ..tick(owner(2, 2), 4) })], false, 4 * S);
    assert_eq!((follower.coordinator(4 * S), follower.source_topics("a1", 4 * S, 30 * S)), (None, None));
    // One that ticks and does not reach the source any more.
    read(&mut follower, &control.list(owner(3, 3), &listed([])), false, 5 * S);
    read(&mut follower, &[ControlRecord::Tick(Tick { listed_s: Some(28), ..tick(owner(3, 3), 5) })], false, 5 * S);
    let known = |follower: &Follower, now: Duration| follower.source_topics("a1", now, 30 * S).is_some();
    assert!(known(&follower, 6 * S) && !known(&follower, 7 * S));
    read(&mut follower, &[ControlRecord::Tick(Tick { listed_s: Some(30), ..tick(owner(3, 3), 7) })], false, 7 * S);
    assert!(!known(&follower, 7 * S) && follower.coordinator(7 * S).is_some());
}

#[test]
fn settings_disagree_when_they_take_turns_or_stay_different() {
    let look = |seen: &[(&str, u32)], now: u32| -> Option<String> {
        let mut follower = Follower::default();
        for (settings, at) in seen {
            let record =
                ControlRecord::Tick(Tick { settings: (*settings).into(), ..tick(owner(1, 1), i64::from(*at)) });
            let (key, value) = record.encode();
            follower.read((&key, value.as_deref()), false, S * *at).unwrap();
        }
        follower.disagrees("mine", S * now).map(ToString::to_string)
    };
    assert_eq!(look(&[("mine", 1), ("mine", 900)], 901), None);
    // As in a rolling restart.
    assert_eq!(look(&[("mine", 1), ("new", 2), ("new", 200)], 201), None);
    assert_eq!(look(&[("mine", 1), ("new", 2), ("new", 302)], 303), Some("new".to_owned()));
    assert_eq!(look(&[("mine", 1), ("new", 2), ("new", 302)], 400), None, "the other has gone");
    for last in [("mine", 4), ("new", 5)] {
        assert_eq!(look(&[("mine", 1), ("new", 2), ("mine", 3), last], 6), Some("new".to_owned()));
    }
    assert_eq!(look(&[("new", 1), ("mine", 2), ("mine", 900)], 901), None);
}
