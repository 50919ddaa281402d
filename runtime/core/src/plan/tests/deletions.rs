//! Deletions, tick by tick.

use serde_json::json;

use super::*;
use crate::offset::SourceOffset;
use crate::plan::plan;
use crate::progress::{Tail, Tails};

const H: Duration = Duration::from_secs(3600);
const OURS: TopicId = TopicId([1; 16]);
const OTHER: TopicId = TopicId([2; 16]);
const NOON: i64 = 1_790_000_000_000;

fn link(name: &str, more: serde_json::Value) -> Link {
    let mut link = json!({ "name": name, "source": "s", "target": "t", "topics": ["a.*"], "on_deleted": "delete" });
    link.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(link).unwrap()
}

fn tail(topic: &str) -> Tails {
    let mut tails = Tails::default();
    tails.set(Tail { topic: topic.into(), id: OURS, partition: 0, end: Default::default() });
    tails
}

fn position(next: i64, tails: Tails) -> Position {
    Position { next: SourceOffset(next), tails, ..Position::default() }
}

fn key(topic: &str) -> PartitionKey {
    PartitionKey { topic: topic.into(), topic_id: TopicId([9; 16]), partition: 0 }
}

/// A link whose only coordinator is asked every 20 s.
struct World {
    settings: Settings,
    departures: Departures,
    record: TopicRecord,
    at_source: Option<Presence>,
    at_target: Option<Presence>,
    named_for: BTreeSet<Arc<str>>,
    positions: BTreeMap<PartitionKey, Position>,
    now: Duration,
    now_ms: i64,
    reads: u32,
    plan: Plan,
}

impl World {
    fn new(more: serde_json::Value) -> Self {
        let record = TopicRecord { source: "a".into(), target_id: OURS, made: true, ..TopicRecord::default() };
        Self {
            settings: Settings::of(&link("l", more), None),
            departures: Departures::default(),
            record,
            at_source: Some(Presence::Unknown),
            at_target: Some(Presence::Exists(OURS)),
            named_for: BTreeSet::new(),
            positions: [(key("a"), position(5, tail("s.a")))].into(),
            now: H,
            now_ms: NOON,
            reads: 0,
            plan: Plan::default(),
        }
    }

    fn tick(&mut self) -> Vec<String> {
        self.now += ASK_EVERY;
        self.now_ms += 20_000;
        let gone = GoneTopic {
            at_source: self.at_source.clone(),
            at_target: self.at_target.clone(),
            named_for: self.named_for.clone(),
            ..GoneTopic::of(&self.record)
        };
        let topic: Arc<str> = "s.a".into();
        let mut facts = Facts { gone: [(Arc::clone(&topic), gone)].into(), ..Facts::default() };
        self.departures.hear(&mut facts.gone, self.now);
        if self.departures.needs_feeds(&facts.gone, self.now, &self.settings) {
            self.reads += 1;
            let mut feeds = Feeds::default();
            feeds.add(&self.positions, "a", (&topic, OURS));
            self.departures.fed(&topic, feeds, self.now);
        }
        let news = self.departures.settle(&mut facts.gone, (self.now, self.now_ms), &self.settings);
        if let Some(gone) = news.get(&topic) {
            self.record.gone = *gone;
        }
        self.plan = plan(&facts, &self.settings);
        self.plan.entries().iter().map(ToString::to_string).collect()
    }

    /// Ticks until the topic is to be deleted. Returns how long that took.
    fn until_due(&mut self, most: Duration) -> Option<Duration> {
        let began = self.now;
        while self.now - began < most {
            if self.tick().iter().any(|line| line.starts_with("- topic s.a")) {
                return Some(self.now - began);
            }
        }
        None
    }

    fn ticks(&mut self, time: Duration) -> Vec<String> {
        assert_eq!(self.until_due(time), None);
        self.tick()
    }
}

fn is_about(time: Option<Duration>, expected: Duration, slack: Duration) -> bool {
    time.is_some_and(|time| time >= expected && time < expected + slack)
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_topic_is_deleted_a_day_after_its_source_topic_was_asked_for_three_times() {
    let mut world = World::new(json!({}));
    assert_eq!(world.tick(), world.tick(), "not believed yet");
    assert_eq!(world.record.gone, None);
    let pending = world.tick();
    assert_eq!(world.record.gone.map(|gone| gone.since), Some(NOON + 60_000));
    let due = jiff::Timestamp::from_millisecond(NOON + 60_000 + 86_400_000).unwrap();
    let line =
        format!("= topic s.a: its source topic is gone; due to be deleted at {due}, if the link runs until then");
    assert_eq!(pending, [line]);
    assert!(is_about(world.until_due(25 * H), 24 * H, MINUTE));
    assert!(world.reads <= 4, "the positions were read {} times", world.reads);
    let delete = Action::Delete { topic: "s.a".into(), id: OURS, source: "a".into() };
    assert_eq!(world.plan.actions, [delete]);

    // With 0 it is as sure, and waits for nothing more.
    let mut world = World::new(json!({ "delete_after_h": 0 }));
    assert!(is_about(world.until_due(H), MINUTE, MINUTE));
    let mut world = World::new(json!({ "on_deleted": "delete" }));
    world.settings = Settings { delete_after: None, ..world.settings };
    let gone = GoneTopic { at_source: Some(Presence::Unknown), ..GoneTopic::of(&world.record) };
    let facts = Facts { gone: [("s.a".into(), gone)].into(), ..Facts::default() };
    assert_eq!(plan(&facts, &world.settings), Plan::default(), "kept without a word by default");
}

#[test]
fn a_topic_that_the_source_hides_or_does_not_tell_of_is_not_gone() {
    let hidden = || Some(Presence::Hidden("no right".to_owned()));
    let mut world = World::new(json!({ "delete_after_h": 1 }));
    world.at_source = hidden();
    assert!(world.ticks(48 * H)[0].contains("kept, as the source does not say"));
    assert_eq!(world.record.gone, None);
    // Two answers and a third after something else are not three.
    for between in [hidden(), None, Some(Presence::Exists(OTHER))] {
        world.at_source = between;
        world.tick();
        world.at_source = Some(Presence::Unknown);
        world.tick();
        world.tick();
        assert_eq!(world.record.gone, None);
    }
    world.tick();
    assert!(world.record.gone.is_some());
    // Half an hour in which it is hidden, or the source is silent, does not count.
    let began = world.now;
    assert_eq!(world.until_due(H / 2), None);
    for between in [hidden(), None] {
        world.at_source = between;
        assert_eq!(world.until_due(H / 2), None);
    }
    world.at_source = Some(Presence::Unknown);
    assert!(world.until_due(3 * H).is_some());
    assert!(world.now - began >= 2 * H && world.now - began < 2 * H + H / 8, "{:?}", world.now - began);
}

#[test]
fn a_source_topic_that_comes_back_ends_it_and_a_target_topic_made_anew_is_kept() {
    let mut world = World::new(json!({}));
    assert_eq!(world.until_due(23 * H), None);
    world.at_source = Some(Presence::Exists(OTHER));
    assert_eq!(world.tick(), Vec::<String>::new());
    assert_eq!(world.record.gone, None);
    world.at_source = Some(Presence::Unknown);
    assert!(is_about(world.until_due(25 * H), 24 * H, 2 * MINUTE), "the day begins anew");

    for found in [OTHER, TopicId::UNKNOWN] {
        let mut world = World::new(json!({ "delete_after_h": 1 }));
        assert_eq!(world.until_due(H / 2), None);
        world.at_target = Some(Presence::Exists(found));
        assert!(world.ticks(4 * H)[0].contains("kept, as it is not the topic that the link has created"));
    }
    let mut world = World::new(json!({ "delete_after_h": 1 }));
    world.record.target_id = TopicId::UNKNOWN;
    assert!(world.ticks(4 * H)[0].contains("one of the same name"), "its id was never known");
    world.at_target = Some(Presence::Unknown);
    assert_eq!(world.tick(), Vec::<String>::new(), "there is nothing to delete");
}

#[test]
fn the_time_goes_on_with_another_coordinator_and_no_clock_shortens_it() {
    let mut world = World::new(json!({}));
    let began = world.now;
    let mut turns = 0;
    // Each of them counts by a clock of its own.
    while world.until_due(3 * H).is_none() {
        turns += 1;
        assert!(turns < 20);
        world.departures = Departures::default();
    }
    let took = world.now - began;
    assert!(took >= 24 * H && took < 24 * H + 6 * MINUTE * (turns + 1), "{took:?} in {turns} turns");

    let mut world = World::new(json!({}));
    world.tick();
    for jump in [400 * 24 * 3_600_000, -400 * 24 * 3_600_000] {
        world.now_ms += jump;
        assert_eq!(world.until_due(6 * H), None);
    }
    // The process was stopped for two days: nobody has seen that the topic was gone.
    world.now += 48 * H;
    assert_eq!(world.until_due(6 * H), None);
    assert!(is_about(world.until_due(24 * H), 5 * H, 2 * H));
    // Nor does an answer count that is hours apart from the others.
    let mut world = World::new(json!({}));
    for _ in 0..50 {
        world.now += H;
        world.tick();
    }
    assert_eq!(world.record.gone, None);
}

#[test]
fn a_topic_is_deleted_only_if_nothing_else_feeds_it() {
    let others = |tails| BTreeMap::from([(key("a"), position(5, tail("s.a"))), (key("b"), position(7, tails))]);
    // By name, by the records that went there, and where that is not known.
    let mut world = World::new(json!({ "delete_after_h": 0 }));
    world.named_for = ["b".into()].into();
    assert!(world.ticks(H)[0].contains("kept, as b feed it too"));
    world.named_for.clear();
    world.positions = others(tail("s.a"));
    assert!(world.ticks(H)[0].contains("kept, as b feed it too"));
    assert!(world.reads < 20, "the positions were read {} times", world.reads);
    assert!(world.record.gone.is_none());
    let mut vague = tail("s.b");
    vague.leave_out();
    world.positions = others(vague);
    assert!(world.ticks(H)[0].contains("kept, as b may feed it too"));
    world.positions = others(tail("s.b"));
    assert!(world.until_due(H).is_some());

    // A lane that still reads of the topic.
    let mut world = World::new(json!({ "delete_after_h": 0 }));
    for next in 0..200 {
        world.positions.insert(key("a"), position(next, tail("s.a")));
        assert!(!world.tick().iter().any(|line| line.starts_with('-')));
    }
    assert!(is_about(world.until_due(H), ASK_EVERY, MINUTE));
}

#[test]
fn topics_of_others_are_kept() {
    let kept = |change: &dyn Fn(&mut World)| {
        let mut world = World::new(json!({ "delete_after_h": 0 }));
        change(&mut world);
        let lines = world.ticks(H);
        assert!(world.record.gone.is_none(), "{lines:?}");
        let Some(Left { why: Why::Kept(kept), .. }) = world.plan.left.first() else { panic!("{lines:?}") };
        kept.name()
    };
    assert_eq!(kept(&|world| world.record.made = false), "not_made");
    assert_eq!(kept(&|world| world.record.source = "z".into()), "not_selected");
    assert_eq!(kept(&|world| world.record.source = "a.heartbeats".into()), "reserved");
    let writes = |more| [link("l", json!({})), link("m", more)];
    let beside = |more: serde_json::Value| {
        kept(&move |world: &mut World| world.settings = world.settings.clone().beside(&writes(more.clone())))
    };
    assert_eq!(beside(json!({ "source": "u", "naming": "identity", "topics": ["s.*"] })), "other_link");
    assert_eq!(beside(json!({ "topics": ["a"] })), "other_link");
    for harmless in [json!({ "target": "v" }), json!({ "source": "u" }), json!({ "topics": ["b"] })] {
        let mut world = World::new(json!({ "delete_after_h": 0 }));
        world.settings = world.settings.clone().beside(&writes(harmless));
        assert!(world.until_due(H).is_some());
    }
    for reserved in ["__consumer_offsets", "strait.l.map", "s.checkpoints.internal", ".hidden"] {
        let gone = GoneTopic::of(&World::new(json!({})).record);
        assert_eq!(super::kept(reserved, &gone, &Beside::default()), Some(Kept::Reserved));
    }
}

#[test]
fn a_plan_deletes_a_few_at_a_time() {
    let settings = World::new(json!({})).settings;
    let gone = GoneTopic {
        gone: Some(Gone { waited_s: 86_400, ..Gone::default() }),
        at_source: Some(Presence::Unknown),
        at_target: Some(Presence::Exists(OURS)),
        is_believed: true,
        is_quiet: true,
        feeds: Some(Feeds::default()),
        ..GoneTopic::of(&World::new(json!({})).record)
    };
    let many = (0..25).map(|number| (format!("s.a{number}").into(), gone.clone())).collect();
    let found = plan(&Facts { gone: many, ..Facts::default() }, &settings);
    assert_eq!((found.actions.len(), found.left.len()), (DELETIONS_MAX, 15));
    let unquiet = GoneTopic { is_quiet: false, ..gone.clone() };
    let unread = GoneTopic { feeds: None, ..gone.clone() };
    let unsure = GoneTopic { is_believed: false, ..gone };
    for gone in [unquiet, unread, unsure] {
        let found = plan(&Facts { gone: [("s.a".into(), gone)].into(), ..Facts::default() }, &settings);
        assert_eq!((found.actions.len(), found.left.len()), (0, 1));
    }
}
