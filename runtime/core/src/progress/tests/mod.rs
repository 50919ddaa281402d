use proptest::prelude::*;

use super::*;
use crate::config::DeliveryMode;
use crate::offset::{LeaderEpoch, OwnerEpoch, TargetOffset};
use crate::topic::TopicId;

mod trial;

fn key(partition: i32) -> PartitionKey {
    PartitionKey { topic: "orders".into(), topic_id: TopicId([7; 16]), partition }
}

fn owner(count: u64, process: u64) -> OwnerEpoch {
    OwnerEpoch(count << 32 | process)
}

fn position(count: u64, next: i64) -> Position {
    Position {
        next: SourceOffset(next),
        leader_epoch: LeaderEpoch(3),
        generation: "none".into(),
        owner: owner(count, 1),
        ids: "ab".into(),
        lanes: 4,
        config: "c".into(),
        ..Position::default()
    }
}

fn tail(topic: &str, id: u8, partition: i32, end: i64) -> Tail {
    Tail { topic: topic.into(), id: TopicId([id; 16]), partition, end: TargetOffset(end) }
}

fn identity(source_cluster: &str, naming: &str) -> LinkIdentity {
    let source_cluster = (!source_cluster.is_empty()).then(|| source_cluster.into());
    LinkIdentity { source: "aws".into(), source_cluster, former_ids: Vec::new(), naming: naming.into() }
}

/// A fold that tests look into between two records.
#[derive(Default)]
struct Log(Vec<(Vec<u8>, Option<Vec<u8>>)>);

impl Log {
    fn put(&mut self, record: &ProgressRecord) {
        let (key, value) = record.encode();
        self.0.push((key, Some(value)));
    }

    fn put_text(&mut self, key: &str, value: &str) {
        self.0.push((key.into(), Some(value.into())));
    }

    fn folded(&self) -> Result<LaneProgress, ProgressError> {
        let mut fold = ProgressFold::default();
        for (offset, (key, value)) in (0..).zip(&self.0) {
            fold.fold(offset, key, value.as_deref());
        }
        fold.finish()
    }

    fn progress(&self) -> LaneProgress {
        self.folded().unwrap()
    }
}

#[test]
fn a_moved_position_is_reported_until_another_owner_has_written() {
    let mut log = Log::default();
    log.put(&ProgressRecord::Partition(key(0), position(1, 10)));
    log.put(&ProgressRecord::Partition(key(0), position(2, 20)));
    let from_to = (SourceOffset(10), SourceOffset(20));
    let skip = Skip { by: "me".into(), at: 5, from: from_to.0, to: from_to.1, owner: owner(2, 1) };
    log.put(&ProgressRecord::Skipped(key(0), skip.clone()));
    let moved = log.progress();
    assert_eq!((moved.positions[&key(0)].next, moved.unseen_skips().get(&key(0))), (from_to.1, Some(&skip)));
    log.put(&ProgressRecord::Partition(key(1), position(3, 1)));
    let seen = log.progress();
    assert_eq!((seen.skips.get(&key(0)), seen.unseen_skips().len()), (Some(&skip), 0));
}

#[test]
fn a_record_reads_back_and_the_largest_owner_and_offset_win() {
    let mut log = Log::default();
    let created_with = [("orders".to_owned(), 4)].into();
    let lane = LaneRecord { lanes_before: vec![2], ..LaneRecord::new(created_with, 4) };
    assert_eq!(lane.refusal(4, &LinkIdentity::default()), None);
    assert!(lane.refusal(2, &LinkIdentity::default()).unwrap().contains("lanes = 4"));
    // Whoever does not stand by must refuse a closed lane, too.
    let closed = LaneRecord { closed: true, ..lane.clone() };
    assert_eq!(closed.refusal(4, &LinkIdentity::default()), closed.closing());
    assert!(closed.closing().unwrap().contains("strait lanes resize") && lane.closing().is_none());
    log.put(&ProgressRecord::Lane(lane.clone()));
    for (count, next) in [(1, 10), (2, 5), (1, 99), (2, 7), (2, 6)] {
        log.put(&ProgressRecord::Partition(key(0), position(count, next)));
    }
    assert_eq!(log.progress().positions.get(&key(0)), Some(&position(2, 7)));
    // A rival with the same count wrote later: the larger offset wins, the process number decides
    // nothing.
    let rival = |next| Position { owner: owner(2, 9), ..position(2, next) };
    log.put(&ProgressRecord::Partition(key(0), rival(5)));
    assert_eq!(log.progress().positions.get(&key(0)), Some(&position(2, 7)));
    assert_eq!(log.progress().newest, Some(rival(5)), "what was written last was not taken for the newest");
    log.put(&ProgressRecord::Partition(key(0), position(2, 8)));
    // A rival that was frozen since before retention reached 9 begins there.
    let late = |next| Position { origin: Some(SourceOffset(9)), ..rival(next) };
    assert!(!late(9).supersedes(&position(2, 8)) && !late(99).supersedes(&position(2, 8)));
    assert!(position(2, 8).supersedes(&late(99)) && late(99).supersedes(&position(2, 9)));
    assert_eq!(log.progress().lane, Some(lane));
    let (one, other) = (owner(2, 9).following(7), owner(2, 1).following(9));
    assert!(one != other && one.count() == 3 && other.count() == 3 && one.following(0).count() == 4);
    assert_eq!((one.process(), other.process()), (7, 9));
    assert_eq!(log.progress().newest, Some(position(2, 8)));
    for number in [1, 3, 2] {
        let border = Border { number, from: SourceOffset(10), generation: "a@1+2".into() };
        log.put(&ProgressRecord::Border(key(0), border));
    }
    assert_eq!(log.progress().borders.get(&key(0)).map(|border| border.number), Some(3));
    let (k, _) = ProgressRecord::Partition(key(0), position(1, 1)).encode();
    log.0.push((k, None));
    assert!(log.progress().positions.is_empty());
}

#[test]
fn a_record_of_another_program_is_an_error() {
    let mut log = Log::default();
    log.put(&ProgressRecord::Partition(key(0), position(1, 1)));
    log.put_text("not json", "{}");
    assert!(log.folded().unwrap_err().to_string().contains("offset 1"));
    let mut log = Log::default();
    log.put_text(r#"{"topic":"orders"}"#, "{}");
    assert!(log.folded().is_err(), "a key without a kind is of another program");
}

#[test]
fn unknown_kinds_and_members_are_skipped_and_the_format_alone_refuses() {
    let mut log = Log::default();
    log.put(&ProgressRecord::Partition(key(0), position(1, 1)));
    log.put_text(r#"{"kind":"weather","place":[1]}"#, "not even json");
    log.put_text(
        r#"{"kind":"lane"}"#,
        r#"{"format":2,"created_with":{},"lanes":4,"mood":"good","border":{"number":1,"generation":"g","colour":"red"}}"#,
    );
    let (k, v) = ProgressRecord::Partition(key(1), position(1, 5)).encode();
    let v = String::from_utf8(v).unwrap().replacen('{', r#"{"shade":{"a":[1]},"#, 1);
    log.put_text(&String::from_utf8(k).unwrap(), &v);
    let known = log.progress();
    assert_eq!(known.positions.get(&key(1)), Some(&position(1, 5)));
    assert_eq!(known.lane.and_then(|lane| lane.border).map(|border| border.number), Some(1));
    // A newer format, and nothing else of the record as it was.
    log.put_text(r#"{"kind":"lane"}"#, r#"{"format":3,"created_with":[7]}"#);
    assert_eq!(log.folded(), Err(ProgressError::Newer { format: 3 }));
    // What it writes besides need not decode: the reason is the format.
    log.put_text(
        r#"{"kind":"partition","topic":"orders","topic_id":"07070707070707070707070707070707","partition":0}"#,
        r#"{"at":7}"#,
    );
    assert_eq!(log.folded(), Err(ProgressError::Newer { format: 3 }));
}

/// The stored contract. What earlier versions wrote must decode for as long as there are links.
#[test]
fn the_text_of_every_kind_is_pinned() {
    let mut log = Log::default();
    log.put_text(
        r#"{"kind":"partition","topic":"orders","topic_id":"07070707070707070707070707070707","partition":0}"#,
        r#"{"next":42,"leader_epoch":3,"generation":"none","owner":4294967297,"ids":"ab","lanes":4,"config":"c"}"#,
    );
    log.put_text(r#"{"kind":"lane"}"#, r#"{"created_with":{"orders":4},"closed":false,"lanes":4}"#);
    log.put_text(
        r#"{"kind":"border","partition":{"topic":"orders","topic_id":"07070707070707070707070707070707","partition":0},"slot":1}"#,
        r#"{"number":1,"from":10,"generation":"a@1+2"}"#,
    );
    let old = log.progress();
    assert_eq!(old.positions.get(&key(0)), Some(&position(1, 42)));
    let lane = LaneRecord { created_with: [("orders".to_owned(), 4)].into(), lanes: 4, ..LaneRecord::default() };
    assert_eq!(old.lane, Some(lane.clone()));
    assert_eq!(old.borders.len(), 1);

    let mut new = position(1, 42);
    new.origin = Some(SourceOffset(7));
    new.totals = Some(Totals { seen: 35, kept: 30, dropped: 4, quarantined: 1, copies: 31 });
    new.tails.set(tail("aws.orders", 9, 3, 31));
    new.tails.leave_out();
    let lane = LaneRecord {
        border: Some(LaneBorder { number: 1, generation: "g".into(), ..LaneBorder::default() }),
        ..lane.updated(&identity("abc", "aws.{topic}"), DeliveryMode::ExactlyOnce)
    };
    let digest: Arc<str> = "sha256:00".into();
    let counts = RuleCounts { counters: [("seen".into(), 5)].into() };
    let records = [
        ProgressRecord::Partition(key(0), new),
        ProgressRecord::Lane(lane),
        ProgressRecord::Protects("orders".into(), Protects { digest: Arc::clone(&digest) }),
        ProgressRecord::Text(digest, ProtectsText { text: "[]".into() }),
        ProgressRecord::Counts("card".into(), counts),
    ];
    let texts: Vec<String> = records
        .iter()
        .map(|record| {
            let (k, v) = record.encode();
            format!("{} {}", String::from_utf8(k).unwrap(), String::from_utf8(v).unwrap())
        })
        .collect();
    let pinned = [
        r#"{"kind":"partition","topic":"orders","topic_id":"07070707070707070707070707070707","partition":0} {"next":42,"leader_epoch":3,"generation":"none","owner":4294967297,"ids":"ab","lanes":4,"config":"c","origin":7,"totals":{"seen":35,"kept":30,"dropped":4,"quarantined":1,"copies":31},"tails":[["aws.orders","09090909090909090909090909090909",3,31]],"tails_more":true}"#,
        r#"{"kind":"lane"} {"format":2,"created_with":{"orders":4},"closed":false,"lanes":4,"source_cluster":"abc","naming":"aws.{topic}","delivery":"exactly-once","border":{"number":1,"generation":"g","policy":null,"serial":0,"why":"","by":"","at":0}}"#,
        r#"{"kind":"protects","topic":"orders"} {"digest":"sha256:00"}"#,
        r#"{"kind":"text","digest":"sha256:00"} {"text":"[]"}"#,
        r#"{"kind":"counts","rule":"card"} {"counters":{"seen":5}}"#,
    ];
    assert_eq!(texts, pinned);
    let mut log = Log::default();
    records.iter().for_each(|record| log.put(record));
    let read = log.progress();
    assert_eq!(read.lane.and_then(|lane| lane.source_cluster), Some("abc".into()));
    assert_eq!(read.positions.get(&key(0)).and_then(|position| position.origin), Some(SourceOffset(7)));
    assert_eq!((read.protects.len(), read.texts.len(), read.counts.len()), (1, 1, 1));
}

#[test]
fn the_protection_of_topics_is_stored_with_each_text_once() {
    use crate::protects::{ByTopic, Protection, looser, read_claims};
    let of = |text: &str| Protection { claims: read_claims(text).unwrap().0, ..Protection::default() };
    let ssn = of(r#"[{"rule":"r","at":"value$.ssn","leaves":"nothing"}]"#);
    let both = of(
        r#"[{"rule":"s","at":"key","leaves":"token","key":"k","domain":"d"},{"rule":"r","at":"value$.ssn","leaves":"nothing"}]"#,
    );
    let now: ByTopic = [("a".into(), ssn.clone()), ("b".into(), both.clone()), ("c".into(), ssn.clone())].into();
    let mut log = Log::default();
    let chain = |generation: &str, protection: &ByTopic, agreement: Option<Agreement>| ChainBorder {
        generation: generation.into(),
        has_plugins: true,
        protection: protection.clone(),
        agreement,
        trial: None,
    };
    let judge = |log: &Log, chain: &ChainBorder| HeldBorder::of(&log.progress()).judge(chain, 7);
    let passes = |judged: Judged| match judged {
        Judged::Passes(change) => change,
        Judged::Looser(lost) | Judged::TrialLooser(lost) => panic!("{lost:?}"),
    };
    let first = passes(judge(&log, &chain("g1", &now, None)));
    let border = first.border.clone().unwrap();
    assert_eq!((border.number, &*border.generation, &*border.why, border.at), (1, "g1", "first", 7));
    let records = first.records;
    let texts = records.iter().filter(|record| matches!(record, ProgressRecord::Text(..))).count();
    assert_eq!((records.len(), texts), (5, 2));
    records.iter().for_each(|record| log.put(record));
    let lane = LaneRecord { border: Some(border), ..LaneRecord::default() };
    log.put(&ProgressRecord::Lane(lane));
    let known = log.progress();
    let held = HeldBorder::of(&known);
    assert!(passes(judge(&log, &chain("g1", &now, None))).is_empty());
    let read: ByTopic = now.keys().map(|topic| (Arc::clone(topic), held.protection(topic).unwrap())).collect();
    assert!(looser(&now, &read).is_empty() && looser(&read, &now).is_empty());
    assert_eq!(held.protection("d"), None);
    // The border is compared by topic, and a topic that is not copied any more has nothing to lose.
    let weaker: ByTopic = [("a".into(), ssn.clone()), ("b".into(), ssn)].into();
    let lost: Vec<String> = looser(&read, &weaker).iter().map(|(topic, lost)| format!("{topic}: {lost}")).collect();
    assert_eq!(lost, ["b: key (rule s) is not protected any more"]);
    assert_eq!(judge(&log, &chain("g2", &weaker, None)), Judged::Looser(looser(&read, &weaker)));
    let agreement = Agreement { why: "accept".into(), by: "ops".into() };
    let agreed = passes(judge(&log, &chain("g2", &weaker, Some(agreement.clone()))));
    let border = agreed.border.unwrap();
    assert_eq!((border.number, &*border.why, &*border.by), (2, "accept", "ops"));
    assert_eq!((agreed.records.len(), agreed.loosened.len()), (1, 1));
    // An agreement that nobody needed is not recorded, and a chain that protects more passes.
    let tighter: ByTopic = [("a".into(), both.clone())].into();
    let tightened = passes(judge(&log, &chain("g3", &tighter, Some(agreement))));
    let border = tightened.border.clone().unwrap();
    assert_eq!((border.number, &*border.why, &*border.by), (2, "protects as much", ""));
    let mut changed = held.clone();
    changed.change(&tightened);
    assert_eq!(changed.judge(&chain("g3", &tighter, None), 8), Judged::Passes(BorderChange::default()));
    assert!(matches!(changed.judge(&chain("g1", &now, None), 8), Judged::Looser(_)));
    // A topic that was not copied before has nothing to lose, nor has a link without plugins.
    let new: ByTopic = [("d".into(), Protection::default())].into();
    assert_eq!(passes(judge(&log, &chain("g1", &new, None))), BorderChange::default());
    let none = ChainBorder { has_plugins: false, ..chain("g0", &new, None) };
    assert_eq!(HeldBorder::default().judge(&none, 7), Judged::Passes(BorderChange::default()));
    // A text that is gone, or is not the one that was written, is no acceptance.
    let digest = Arc::clone(&known.protects.get("b").unwrap().digest);
    for text in [None, Some("{\"claims\":[],\"sights\":[]}"), Some("no text")] {
        let mut changed = known.clone();
        changed.texts.remove(&digest);
        changed.texts.extend(text.map(|text| (Arc::clone(&digest), ProtectsText { text: text.into() })));
        let changed = HeldBorder::of(&changed);
        let found = changed.protection("b").unwrap();
        assert_eq!((found.unread, found.claims.len()), (1, 0));
        assert!(matches!(changed.judge(&chain("g1", &now, None), 7), Judged::Looser(_)));
        let agreement = Agreement { why: "accept".into(), by: "".into() };
        let written = passes(changed.judge(&chain("g1", &now, Some(agreement)), 7)).records;
        assert_eq!(written, [ProgressRecord::Text(Arc::clone(&digest), ProtectsText { text: both.text().into() })]);
    }
}

#[test]
fn what_progress_has_lost_is_restored_from_a_copy_that_is_not_older() {
    use crate::protects::{ByTopic, Protection, read_claims};
    let of = |at: &str| {
        let text = format!(r#"[{{"rule":"r","at":"{at}","leaves":"nothing"}}]"#);
        Protection { claims: read_claims(&text).unwrap().0, ..Protection::default() }
    };
    let chain = |generation: &str, protection: &ByTopic| ChainBorder {
        generation: generation.into(),
        has_plugins: true,
        protection: protection.clone(),
        agreement: None,
        trial: None,
    };
    let change = |held: &HeldBorder, chain: &ChainBorder| match held.judge(chain, 7) {
        Judged::Passes(change) => change,
        Judged::Looser(lost) | Judged::TrialLooser(lost) => panic!("{lost:?}"),
    };
    let both: ByTopic = [("a".into(), of("value$.ssn")), ("b".into(), of("key"))].into();
    let first = change(&HeldBorder::default(), &chain("g1", &both));
    let mut copy = HeldBorder::default();
    copy.change(&first);
    // As it is written to a file.
    let copy: HeldBorder = serde_json::from_str(&serde_json::to_string(&copy).unwrap()).unwrap();

    // Nothing is lost.
    let mut held = copy.clone();
    assert!(
        held.restore(&copy).is_empty() && held.judge(&chain("g1", &both), 8) == Judged::Passes(BorderChange::default())
    );
    // All of it, or the protection of one topic. Both are refused what protects less, and written
    // again.
    for kept in [&[][..], &first.records[1..]] {
        let mut log = Log::default();
        kept.iter().for_each(|record| log.put(record));
        let mut held = HeldBorder::of(&log.progress());
        let lost = held.restore(&copy);
        assert!(!lost.is_empty() && lost.len() <= 2, "{lost:?}");
        for (topic, _) in &lost {
            let weaker: ByTopic = [(Arc::clone(topic), Protection::default())].into();
            assert!(matches!(held.judge(&chain("g2", &weaker), 8), Judged::Looser(_)), "{topic}");
        }
        let again = change(&held, &chain("g1", &both));
        assert_eq!(&*again.border.clone().unwrap().why, "restored");
        held.change(&again);
        again.records.iter().for_each(|record| log.put(record));
        let read = HeldBorder::of(&log.progress());
        assert!(both.keys().all(|topic| read.protection(topic) == copy.protection(topic)), "{read:?}");
        assert_eq!(held.judge(&chain("g1", &both), 9), Judged::Passes(BorderChange::default()));
    }
    // A topic that is not copied any more is written as it was, and an agreement is not forgotten.
    let mut held = HeldBorder::default();
    assert_eq!(held.restore(&copy).len(), 2);
    let nothing: ByTopic = [("a".into(), Protection::default())].into();
    let agreement = Some(Agreement { why: "accept".into(), by: "ops".into() });
    let agreed = change(&held, &ChainBorder { agreement, ..chain("g2", &nothing) });
    held.change(&agreed);
    assert_eq!(held.protection("a"), Some(Protection::default()));
    assert_eq!(held.protection("b"), copy.protection("b"));
    assert_eq!(held.judge(&chain("g2", &nothing), 9), Judged::Passes(BorderChange::default()), "it has settled");
    // An operator has agreed to less since the copy was written, in another process.
    let mut newer = copy.clone();
    let none: ByTopic = [("a".into(), Protection::default())].into();
    let agreement = Some(Agreement { why: "accept".into(), by: "ops".into() });
    newer.change(&change(&copy, &ChainBorder { agreement, ..chain("g2", &none) }));
    assert!(newer.restore(&copy).is_empty());
}

#[test]
fn lanes_that_are_put_together_protect_what_each_of_them_did() {
    use crate::protects::{ByTopic, Protection, loosened, read_claims};
    let of = |at: &str| {
        let text = format!(r#"[{{"rule":"r","at":"{at}","leaves":"nothing"}}]"#);
        Protection { claims: read_claims(&text).unwrap().0, ..Protection::default() }
    };
    let held = |topics: &[(&str, Protection)]| {
        let protection: ByTopic = topics.iter().map(|(topic, of)| ((*topic).into(), of.clone())).collect();
        let mut held = HeldBorder::default();
        let Judged::Passes(change) = held.judge(&ChainBorder { protection, ..ChainBorder::default() }, 7) else {
            panic!("nothing was held");
        };
        held.change(&change);
        held
    };
    let one = held(&[("a", of("value$.ssn")), ("b", of("key"))]);
    let other = held(&[("a", of("key")), ("b", of("key")), ("c", of("value$.ssn"))]);
    let mut damaged = LaneProgress::default();
    damaged.protects.insert("b".into(), Protects { digest: "sha256:00".into() });
    let damaged = HeldBorder::of(&damaged);
    for lanes in [[&one, &other, &damaged], [&damaged, &other, &one], [&other, &damaged, &one]] {
        let mut together = HeldBorder::default();
        lanes.iter().for_each(|lane| together.join(lane));
        let mut log = Log::default();
        together.protects_records().iter().for_each(|record| log.put(record));
        let read = HeldBorder::of(&log.progress());
        for (topic, lane) in [("a", &one), ("a", &other), ("c", &other)] {
            let found = loosened(&lane.protection(topic).unwrap(), &read.protection(topic).unwrap());
            assert!(found.is_empty(), "{topic}: {found:?}");
        }
        assert_eq!(read.protection("b").unwrap().unread, 1, "nobody knows what the damaged lane protected");
    }
}

proptest! {
    /// However a partition is routed, the tails are the places written last, each with its last
    /// end, and they read back.
    #[test]
    fn tails_are_the_places_written_last(
        writes in prop::collection::vec((0u8..3, 0i32..12, 0i64..1_000), 0..120),
    ) {
        let mut tails = Tails::default();
        let mut expected: Vec<(u8, i32, i64)> = Vec::new();
        for (topic, partition, end) in writes {
            tails.set(tail(&format!("t{topic}"), topic + 1, partition, end));
            expected.retain(|(t, p, _)| (*t, *p) != (topic, partition));
            expected.push((topic, partition, end));
        }
        let more = expected.len().saturating_sub(TAILS_MAX);
        prop_assert_eq!(tails.has_more(), more > 0);
        let position = Position { tails: tails.clone(), ..position(1, 1) };
        let (_, value) = ProgressRecord::Partition(key(0), position.clone()).encode();
        let read: Position = serde_json::from_slice(&value).unwrap();
        prop_assert_eq!(&read, &position);
        let found: Vec<_> = read.tails.list().iter().map(|t| (t.id.0[0] - 1, t.partition, t.end.0)).collect();
        prop_assert_eq!(found, &expected[more..]);
    }
}

#[test]
fn the_tails_of_a_recreated_topic_are_gone_and_an_unknown_id_recreates_nothing() {
    let mut tails = Tails::default();
    tails.set(tail("a", 0, 0, 5));
    assert_eq!(tails.list(), [tail("a", 0, 0, 5)]);
    tails.set(tail("a", 1, 1, 7));
    tails.set(tail("b", 2, 0, 1));
    assert_eq!(tails.list(), [tail("a", 0, 0, 5), tail("a", 1, 1, 7), tail("b", 2, 0, 1)]);
    tails.set(tail("a", 0, 1, 8));
    assert_eq!(tails.list(), [tail("a", 0, 0, 5), tail("b", 2, 0, 1), tail("a", 1, 1, 8)]);
    tails.set(tail("a", 3, 0, 2));
    assert_eq!(tails.list(), [tail("b", 2, 0, 1), tail("a", 3, 0, 2)]);
}

#[test]
fn a_lane_knows_under_which_ids_it_last_wrote_its_target_topics() {
    let mut log = Log::default();
    for (partition, count, topic, id) in [(0, 5, "a", 1), (1, 7, "a", 2), (2, 6, "b", 3), (3, 6, "c", 0)] {
        let mut position = position(count, 10);
        position.tails.set(tail(topic, id, 0, 4));
        log.put(&ProgressRecord::Partition(key(partition), position));
    }
    let expected = [("a".into(), TopicId([2; 16])), ("b".into(), TopicId([3; 16]))];
    assert_eq!(log.progress().target_ids(), expected.into());
}

#[test]
fn another_source_or_naming_is_refused_by_name_and_another_delivery_is_told() {
    use DeliveryMode::{AtLeastOnce, ExactlyOnce};
    let mine = identity("abc", "aws.{topic}");
    let lane = LaneRecord::new(BTreeMap::new(), 4).updated(&mine, ExactlyOnce);
    assert_eq!((lane.refusal(4, &mine), lane.other_delivery(ExactlyOnce)), (None, None));
    assert_eq!(lane.other_delivery(AtLeastOnce).map(|before| &**before), Some("exactly-once"));
    let reason = lane.refusal(4, &identity("xyz", "aws.{topic}")).unwrap();
    for part in ["id abc", "id xyz", "former_ids = [\"abc\"]", "[clusters.aws]"] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    let rebuilt = LinkIdentity { former_ids: vec!["old".into(), "abc".into()], ..identity("xyz", "aws.{topic}") };
    assert_eq!(lane.refusal(4, &rebuilt), None);
    // From then on it is the rebuilt one, and a process of the old one is refused.
    let moved = lane.updated(&rebuilt, ExactlyOnce);
    assert!(moved.refusal(4, &mine).unwrap().contains("former_ids = [\"xyz\"]"));
    // A cluster that gives no id is taken for the same, and what was known stays known.
    let nameless = identity("", "aws.{topic}");
    assert_eq!(lane.refusal(4, &nameless), None);
    assert_eq!(lane.updated(&nameless, ExactlyOnce), lane);
    let reason = lane.refusal(4, &identity("abc", "{topic}")).unwrap();
    assert!(reason.contains("\"aws.{topic}\"") && reason.contains("\"{topic}\""), "{reason}");
    // A record of an earlier version knows nothing of it.
    let old = LaneRecord { lanes: 4, ..LaneRecord::default() };
    assert_eq!((old.refusal(4, &mine), old.other_delivery(AtLeastOnce)), (None, None));
}
