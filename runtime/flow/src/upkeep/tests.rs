//! Upkeep against two clusters that are maps.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use strait_core::config::{OnGap, OnTargetRecreated, Selector, Sync};
use strait_core::plan::{
    Acl, AclFacts, AclPattern, Beside, ConfigEntry, Configs, Excluded, Presence, SourceFacts, TopicFacts,
};
use strait_core::progress::LaneProgress;
use strait_core::{LaneId, OwnerEpoch, Side, TopicId};

use super::*;

const S: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Ends {
    /// Settings by topic, on the topics themselves.
    source: BTreeMap<Arc<str>, BTreeMap<String, String>>,
    target: BTreeMap<Arc<str>, BTreeMap<String, String>>,
    source_acls: BTreeSet<Acl>,
    target_acls: BTreeSet<Acl>,
    /// Values that the target refuses, and topics that may not be changed.
    bad: BTreeSet<String>,
    forbidden: BTreeSet<Arc<str>>,
    silent: bool,
    /// Source topics that the principal may not see, and ids of target topics that are not [7; 16].
    hidden: BTreeSet<Arc<str>>,
    ids: BTreeMap<Arc<str>, TopicId>,
    /// Happens right before the last questions of a deletion: another topic under the same name.
    swapped: Option<Arc<str>>,
    questions: u32,
    requests: Vec<String>,
}

#[derive(Clone, Default)]
struct World {
    ends: Arc<Mutex<Ends>>,
    events: Arc<Mutex<Vec<String>>>,
    reads: Arc<AtomicU32>,
    /// The batch is carried out by now.
    asks_again: Arc<AtomicBool>,
}

fn configs(own: &BTreeMap<String, String>) -> Configs {
    let entry = |name: &str, value: &str, is_override| {
        let beneath = Some("default".to_owned());
        (name.to_owned(), ConfigEntry { value: Some(value.to_owned()), is_override, beneath, ..ConfigEntry::default() })
    };
    let names = ["a", "b", "c"].map(|name| entry(name, "default", false));
    let keeps = [("cleanup.policy", "delete"), ("retention.ms", "1")].map(|(name, value)| entry(name, value, false));
    let own = own.iter().map(|(name, value)| entry(name, value, true));
    names.into_iter().chain(keeps).chain(own).collect()
}

fn topic(own: &BTreeMap<String, String>) -> TopicFacts {
    TopicFacts { id: TopicId([7; 16]), partitions: 1, replicas: 1, configs: Ok(configs(own)) }
}

#[async_trait]
impl Planner for World {
    async fn facts(&self, named: Vec<(SourceTopic, Arc<str>)>, acls: bool) -> Result<Facts, PortError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let ends = lock(&self.ends);
        if ends.silent {
            return Err(PortError::new(Class::Retry, "source", "silent"));
        }
        let mut facts = Facts { brokers: Some(1), ..Facts::default() };
        for (source, target) in named {
            if let Some(own) = ends.target.get(&target) {
                facts.targets.insert(Arc::clone(&target), Ok(topic(own)));
            }
            let found = ends.source.get(&source.topic).map(topic);
            facts.sources.extend(found.map(|topic| (source.topic, SourceFacts { target, topic })));
        }
        facts.acls = acls.then(|| AclFacts {
            source: Ok(ends.source_acls.clone()),
            target: Ok(ends.target_acls.clone()),
            ours: BTreeSet::new(),
            gone: BTreeSet::new(),
        });
        Ok(facts)
    }

    async fn presence(&self, side: Side, topics: Vec<Arc<str>>) -> Result<BTreeMap<Arc<str>, Presence>, PortError> {
        let mut ends = lock(&self.ends);
        if ends.silent {
            return Err(PortError::new(Class::Retry, "source", "silent"));
        }
        ends.questions += 1;
        let presence = |topic: Arc<str>| {
            let (found, id) = match side {
                Side::Source => (ends.source.contains_key(&topic), TopicId([1; 16])),
                Side::Target => {
                    (ends.target.contains_key(&topic), ends.ids.get(&topic).copied().unwrap_or(TopicId([7; 16])))
                }
            };
            let presence = match found {
                _ if side == Side::Source && ends.hidden.contains(&topic) => Presence::Hidden("no right".to_owned()),
                true => Presence::Exists(id),
                false => Presence::Unknown,
            };
            (topic, presence)
        };
        let told = topics.into_iter().map(presence).collect();
        let asks_again = self.asks_again.load(Ordering::Relaxed);
        if asks_again
            && side == Side::Source
            && let Some(topic) = ends.swapped.take()
        {
            ends.ids.insert(topic, TopicId([8; 16]));
        }
        Ok(told)
    }

    async fn carry_out(&self, action: Action) -> Result<Answer, PortError> {
        let mut ends = lock(&self.ends);
        ends.requests.extend(action.entries().iter().map(ToString::to_string));
        if ends.forbidden.contains(action.topic()) {
            return Ok(Answer::Denied("no right".to_owned()));
        }
        match action {
            Action::Create { topic, .. } => drop(ends.target.insert(topic, BTreeMap::new())),
            Action::Alter { topic, changes } => {
                let is_bad = |change: &strait_core::plan::ConfigChange| {
                    change.to.as_ref().is_some_and(|value| ends.bad.contains(value))
                };
                if changes.iter().any(is_bad) {
                    return Ok(Answer::Refused("bad value".to_owned()));
                }
                let own = ends.target.entry(topic).or_default();
                for change in changes {
                    match change.to {
                        Some(value) => own.insert(change.name, value),
                        None => own.remove(&change.name),
                    };
                }
            }
            Action::AddAcl(acl) => drop(ends.target_acls.insert(acl)),
            Action::RemoveAcl(acl) => drop(ends.target_acls.remove(&acl)),
            Action::Delete { topic, .. } => drop(ends.target.remove(&topic)),
            Action::Grow { .. } => {}
        }
        Ok(Answer::Taken)
    }
}

#[async_trait]
impl ProgressStore for World {
    async fn read(&self, _lane: LaneId) -> Result<LaneProgress, PortError> {
        Ok(LaneProgress::default())
    }

    async fn ends(&self, _lanes: u32) -> Result<BTreeMap<LaneId, Result<i64, String>>, PortError> {
        Ok(BTreeMap::new())
    }
}

impl EventSink for World {
    fn emit(&self, _link: &str, event: Event) {
        lock(&self.events).push(format!("{}: {event}", event.name()));
    }
}

/// A clock that the test sets.
struct Hands(Mutex<Duration>);

impl Clock for Hands {
    fn now(&self) -> Duration {
        *lock(&self.0)
    }

    fn unix_ms(&self) -> i64 {
        0
    }
}

struct Bench {
    world: World,
    clock: Arc<Hands>,
    control: Control,
    upkeep: Upkeep,
    topics: watch::Sender<Arc<Vec<SourceTopic>>>,
}

impl Bench {
    /// Returns one that deletes target topics an hour after their source topics.
    fn deleting() -> Self {
        let mut bench = Self::new(Sync::default());
        bench.upkeep.deps.settings.beside = Beside::selecting(Selector::new(&[".*".to_owned()], &[]).unwrap());
        bench.upkeep.deps.settings.delete_after = Some(S * 3_600);
        bench
    }

    fn new(sync: Sync) -> Self {
        let world = World::default();
        let clock = Arc::new(Hands(Mutex::new(S)));
        let (topics, receiver) = watch::channel(Arc::default());
        let settings = Settings {
            manages: true,
            excluded: Excluded::of(&sync),
            sync,
            on_gap: OnGap::Stop,
            on_target_recreated: OnTargetRecreated::Stop,
            own_principal: None,
            delete_after: None,
            beside: Beside::default(),
        };
        let named: Named = Arc::new(|topics: &[SourceTopic]| {
            let named = |topic: &SourceTopic| (topic.clone(), format!("s.{}", topic.topic).into());
            Some(topics.iter().map(named).collect())
        });
        let upkeep = Upkeep::new(UpkeepDeps {
            link: "l".into(),
            settings,
            only_looks: false,
            topics: receiver,
            named,
            planner: Arc::new(world.clone()),
            progress: Arc::new(world.clone()),
            lanes: 1,
            made: Arc::default(),
            grants: [(MetadataRight::AlterConfigs, "the command".to_owned())].into(),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            events: Arc::new(world.clone()),
            status: Arc::default(),
        });
        Self { world, clock, control: Control::default(), upkeep, topics }
    }

    fn topic(&self, name: &str, source: &[(&str, &str)], target: Option<&[(&str, &str)]>) {
        let own = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let mut ends = lock(&self.world.ends);
        ends.source.insert(name.into(), own(source));
        ends.target.extend(target.map(|target| (format!("s.{name}").into(), own(target))));
        let listed = |topic: &Arc<str>| SourceTopic { topic: Arc::clone(topic), id: TopicId([1; 16]), partitions: 1 };
        self.topics.send_replace(Arc::new(ends.source.keys().map(listed).collect()));
    }

    fn drop_source(&self, name: &str) {
        lock(&self.world.ends).source.remove(name);
        self.topics.send_modify(|topics| {
            *topics = Arc::new(topics.iter().filter(|topic| &*topic.topic != name).cloned().collect());
        });
    }

    /// Lets time pass, 20 s at a time. Returns the requests.
    async fn pass(&mut self, time: Duration) -> Vec<String> {
        let (mut requests, end) = (Vec::new(), self.clock.now() + time);
        while self.clock.now() < end {
            *lock(&self.clock.0) += S * 20;
            requests.extend(self.rest().await.unwrap());
        }
        requests
    }

    fn set(&self, topic: &str, name: &str, value: &str) {
        lock(&self.world.ends).target.get_mut(topic).unwrap().insert(name.to_owned(), value.to_owned());
    }

    fn target(&self, topic: &str) -> Vec<String> {
        lock(&self.world.ends).target[topic].iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    /// Lets half a minute pass, and carries out what is wanted by then. Returns the requests.
    async fn look(&mut self) -> Result<Vec<String>, PortError> {
        *lock(&self.clock.0) += S * 31;
        self.rest().await
    }

    async fn rest(&mut self) -> Result<Vec<String>, PortError> {
        lock(&self.world.ends).requests.clear();
        let wanted = tokio::time::timeout(S, self.upkeep.wanted(self.control.clone())).await;
        if wanted.is_ok() {
            let until = self.clock.now() + S * 5;
            let permit = Permit { owner: OwnerEpoch::default(), batch: 1, until };
            let clock = Arc::clone(&self.clock);
            self.world.asks_again.store(true, Ordering::Relaxed);
            let records = self.upkeep.carry_out(permit, &move || clock.now()).await?;
            self.world.asks_again.store(false, Ordering::Relaxed);
            self.control.wrote(&records);
        }
        Ok(lock(&self.world.ends).requests.clone())
    }

    fn events(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.world.events))
    }
}

#[tokio::test(start_paused = true)]
async fn settings_follow_the_source_and_what_others_set_stays() {
    let mut bench = Bench::new(Sync::default());
    bench.topic("t", &[("a", "1"), ("b", "2")], Some(&[("c", "by hand")]));
    assert_eq!(bench.look().await.unwrap().len(), 2);
    assert_eq!(bench.target("s.t"), ["a=1", "b=2", "c=by hand"]);
    let quiet = bench.world.reads.load(Ordering::Relaxed);
    assert!(bench.rest().await.unwrap().is_empty(), "not before half a minute is over");
    assert_eq!(bench.world.reads.load(Ordering::Relaxed), quiet);
    assert!(bench.look().await.unwrap().is_empty());
    // An edit of a synced name is undone, and a name that the source gives up is deleted.
    bench.set("s.t", "a", "9");
    lock(&bench.world.ends).source.get_mut("t").unwrap().remove("b");
    assert_eq!(bench.look().await.unwrap().len(), 2);
    assert_eq!(bench.target("s.t"), ["a=1", "c=by hand"]);
    // Another process that coordinates the link knows what was applied.
    assert_eq!(bench.control.topic("s.t").unwrap().applied.len(), 1);

    // A new topic is looked at at once.
    bench.topic("new", &[("a", "5")], None);
    let requests = bench.rest().await.unwrap();
    assert!(requests[0].starts_with("+ topic s.new") && requests[1].contains("a default -> 5"), "{requests:?}");
    assert_eq!(bench.target("s.new"), ["a=5"]);
    let record = bench.control.topic("s.new").unwrap();
    assert!(record.made && record.target_id == TopicId::UNKNOWN, "{record:?}");
    bench.look().await.unwrap();
    assert_eq!(bench.control.topic("s.new").unwrap().target_id, TopicId([7; 16]));
    assert_eq!(bench.events(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_turn_was_about_to_do_is_looked_at_anew() {
    let mut bench = Bench::new(Sync::default());
    bench.topic("t", &[("a", "1")], Some(&[]));
    *lock(&bench.clock.0) += S * 31;
    bench.upkeep.wanted(bench.control.clone()).await;
    let reads = bench.world.reads.load(Ordering::Relaxed);
    bench.upkeep.begins();
    assert_eq!(bench.rest().await.unwrap().len(), 1);
    assert!(bench.world.reads.load(Ordering::Relaxed) > reads, "carried out by what the turn before had read");
}

#[tokio::test(start_paused = true)]
async fn a_refused_value_and_a_missing_right_stop_only_themselves_and_are_told_once() {
    let mut bench = Bench::new(Sync::default());
    bench.topic("t", &[("a", "bad"), ("b", "2")], Some(&[]));
    bench.topic("u", &[("a", "1")], Some(&[]));
    bench.topic("v", &[("a", "1")], Some(&[]));
    lock(&bench.world.ends).bad.insert("bad".to_owned());
    lock(&bench.world.ends).forbidden.extend(["s.u".into(), "s.v".into()]);
    bench.look().await.unwrap();
    assert_eq!(bench.target("s.t"), ["b=2"]);
    let events = bench.events();
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(events[0].starts_with("config_refused: target topic s.t: the target refuses a = bad"), "{events:?}");
    assert!(
        events[1].starts_with("metadata_denied: ") && events[1].ends_with("grant it with: the command"),
        "{events:?}"
    );
    assert!(bench.look().await.unwrap().is_empty(), "they rest");
    lock(&bench.world.ends).source.get_mut("t").unwrap().insert("a".to_owned(), "good".to_owned());
    assert_eq!(bench.look().await.unwrap().len(), 1, "another value is tried");
    *lock(&bench.clock.0) += S * 300;
    assert_eq!(bench.look().await.unwrap().len(), 2);
    assert_eq!(bench.events(), Vec::<String>::new(), "told once");
    lock(&bench.world.ends).forbidden.clear();
    *lock(&bench.clock.0) += S * 300;
    assert_eq!(bench.look().await.unwrap().len(), 2);
    let events = bench.events();
    assert!(events.len() == 1 && events[0].starts_with("metadata_granted: "), "{events:?}");

    lock(&bench.world.ends).silent = true;
    assert_eq!(bench.look().await.unwrap_err().reason, "silent");
    lock(&bench.world.ends).silent = false;
    for value in ["x", "y", "z"] {
        assert!(bench.events().is_empty());
        bench.set("s.t", "b", value);
        bench.look().await.unwrap();
    }
    assert_eq!(bench.target("s.t"), ["a=good", "b=z"]);
    let events = bench.events();
    assert!(events.len() == 1 && events[0].starts_with("config_fight: "), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn an_entry_of_the_access_list_is_removed_by_two_readings_and_only_if_it_is_ours() {
    let acl = |topic: &str, user: &str| Acl {
        topic: topic.into(),
        pattern: AclPattern::Literal,
        principal: format!("User:{user}"),
        host: "*".to_owned(),
        operation: strait_core::acl::Operation::Read,
        allows: true,
    };
    let mut bench = Bench::new(Sync { acls: true, ..Sync::default() });
    bench.topic("t", &[], Some(&[]));
    lock(&bench.world.ends).source_acls.insert(acl("t", "a"));
    lock(&bench.world.ends).target_acls.insert(acl("s.t", "theirs"));
    assert_eq!(bench.look().await.unwrap(), ["+ acl s.t: allow Read to User:a"]);
    lock(&bench.world.ends).source_acls.clear();
    let mut removed = Vec::new();
    for seconds in (31..).step_by(31).take(5) {
        removed.push((seconds, bench.look().await.unwrap().len()));
    }
    assert_eq!(removed.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [0, 0, 0, 1, 0], "{removed:?}");
    assert_eq!(lock(&bench.world.ends).target_acls, [acl("s.t", "theirs")].into());
    assert!(bench.control.topic("s.t").unwrap().acls.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_target_topic_is_deleted_like_its_source_topic_if_the_link_has_made_it() {
    let mut bench = Bench::deleting();
    bench.topic("made", &[], None);
    bench.topic("before", &[("a", "1")], Some(&[]));
    bench.topic("stays", &[], Some(&[]));
    bench.look().await.unwrap();
    // Lanes create topics too, and say so.
    bench.topic("by-lane", &[], Some(&[]));
    bench.upkeep.deps.made.note(&"s.by-lane".into(), &"by-lane".into());
    bench.pass(S * 60).await;
    for made in ["s.made", "s.by-lane"] {
        let record = bench.control.topic(made).unwrap();
        assert!(record.made && record.target_id == TopicId([7; 16]), "{made}: {record:?}");
    }
    assert!(bench.upkeep.unrecorded(&bench.control).is_empty());
    assert_eq!(bench.events(), Vec::<String>::new());

    for gone in ["made", "before", "by-lane"] {
        bench.drop_source(gone);
    }
    assert!(bench.pass(S * 1_800).await.is_empty());
    let mut events = bench.events();
    events.sort();
    assert_eq!(events.len(), 3, "{events:#?}");
    assert!(events[0].starts_with("target_deletion_pending: target topic s.by-lane: source topic by-lane is gone"));
    assert!(events[0].ends_with("deleted after 1 h 0 min"), "{events:#?}");
    assert!(events[2].contains("s.before") && events[2].contains("nothing says that the link has created it"));
    // Another coordinator goes on by what the control topic says.
    bench.upkeep.begins();
    let deleted = bench.pass(S * 2_400).await;
    assert_eq!(deleted.len(), 2, "{deleted:?}");
    assert!(deleted.iter().all(|line| line.starts_with("- topic s.")), "{deleted:?}");
    let left: Vec<Arc<str>> = lock(&bench.world.ends).target.keys().cloned().collect();
    assert_eq!(left, ["s.before".into(), "s.stays".into()]);
    assert!(bench.control.topic("s.made").is_none(), "nothing is left of it");
    let mut events = bench.events();
    events.sort();
    assert!(events.len() == 2 && events[0].starts_with("target_topic_deleted: target topic s.by-lane"), "{events:#?}");

    // What is gone is not asked for again and again.
    lock(&bench.world.ends).source.remove("before");
    bench.control.wrote(&[ControlRecord::Topic("s.before".into(), None)]);
    let before = lock(&bench.world.ends).questions;
    bench.pass(S * 3_600).await;
    assert_eq!(lock(&bench.world.ends).questions, before);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_hidden_comes_back_or_is_made_anew_is_not_deleted() {
    let mut bench = Bench::deleting();
    for topic in ["hidden", "back", "anew", "swapped", "denied"] {
        bench.topic(topic, &[], None);
    }
    bench.look().await.unwrap();
    bench.pass(S * 60).await;
    let drop_all =
        |bench: &Bench| ["hidden", "back", "anew", "swapped", "denied"].map(|topic| bench.drop_source(topic));
    lock(&bench.world.ends).hidden.insert("hidden".into());
    drop_all(&bench);
    bench.pass(S * 1_800).await;
    bench.events();
    // Kept for a while, they wait anew.
    let after = bench.upkeep.deps.settings.delete_after.take();
    bench.pass(S * 20).await;
    assert!(bench.control.topics().values().all(|record| record.gone.is_none()));
    bench.upkeep.deps.settings.delete_after = after;
    bench.pass(S * 1_800).await;
    assert_eq!(bench.events().len(), 4, "pending once more");
    bench.topic("back", &[], None);
    lock(&bench.world.ends).ids.insert("s.anew".into(), TopicId([8; 16]));
    lock(&bench.world.ends).swapped = Some("s.swapped".into());
    lock(&bench.world.ends).forbidden.insert("s.denied".into());
    let requests = bench.pass(S * 7_200).await;
    assert!(requests.iter().all(|line| line.starts_with("- topic s.denied")), "{requests:?}");
    assert!((2..=30).contains(&requests.len()), "it rests between two tries: {}", requests.len());
    assert_eq!(lock(&bench.world.ends).target.len(), 5);
    let (events, refused) = (bench.events(), "target_deletion_refused");
    let told =
        |name: &str, text: &str| events.iter().filter(|event| event.starts_with(name) && event.contains(text)).count();
    assert_eq!(told(refused, "s.back of source topic back is not deleted: the source has the topic again"), 1);
    assert_eq!((told(refused, "s.anew"), told(refused, "s.swapped")), (1, 1), "{events:#?}");
    assert_eq!(told("metadata_denied", "s.denied: no right"), 1, "{events:#?}");
    assert_eq!(events.len(), 4, "{events:#?}");
    assert!(bench.control.topic("s.back").unwrap().gone.is_none());

    // The right is granted, and nothing is asked of a silent source.
    lock(&bench.world.ends).forbidden.clear();
    assert_eq!(bench.pass(S * 600).await.len(), 1);
    assert_eq!(bench.events().len(), 2, "metadata_granted and target_topic_deleted");
    lock(&bench.world.ends).silent = true;
    *lock(&bench.clock.0) += S * 20;
    assert!(bench.rest().await.is_err());
}
