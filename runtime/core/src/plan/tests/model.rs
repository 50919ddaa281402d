//! A model of two clusters: a plan that is carried out leaves nothing to do, touches nothing but
//! what the link syncs, and may be carried out in any order of topics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use crate::acl::Operation;
use crate::config::{OnGap, OnTargetRecreated, Replication, Sync, SyncConfigs};
use crate::plan::*;
use crate::topic::TopicId;

/// Names of settings, each with the values that it takes here.
const NAMES: [(&str, [&str; 3]); 11] = [
    ("cleanup.policy", ["delete", "compact", "delete,compact"]),
    ("retention.ms", ["-1", "1000", "2000"]),
    ("retention.bytes", ["-1", "1", "2"]),
    ("delete.retention.ms", ["1", "2", "3"]),
    ("max.message.bytes", ["10", "20", "30"]),
    ("message.timestamp.type", ["CreateTime", "LogAppendTime", "CreateTime"]),
    ("segment.bytes", ["1", "2", "3"]),
    ("compression.type", ["zstd", "lz4", "producer"]),
    ("flush.ms", ["1", "2", "3"]),
    ("min.insync.replicas", ["1", "2", "3"]),
    ("remote.storage.enable", ["true", "false", "true"]),
];
/// Source topics; the first two go to one target topic where topics are merged.
const TOPICS: [&str; 5] = ["a", "b", "c", "d.x", "d_x"];

type Values = BTreeMap<String, String>;

#[derive(Clone, Debug, PartialEq)]
struct Topic {
    partitions: u32,
    replicas: u32,
    overrides: Values,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Cluster {
    defaults: Values,
    topics: BTreeMap<Arc<str>, Topic>,
    acls: BTreeSet<Acl>,
}

#[derive(Clone, Debug)]
struct World {
    source: Cluster,
    target: Cluster,
    merges: bool,
    known: BTreeMap<Arc<str>, Known>,
    ours: BTreeSet<Acl>,
    gone: BTreeSet<Acl>,
}

impl Cluster {
    fn facts(&self, topic: &Topic) -> TopicFacts {
        let entry = |(name, beneath): (&String, &String)| {
            let own = topic.overrides.get(name);
            let entry = ConfigEntry {
                value: Some(own.unwrap_or(beneath).clone()),
                is_override: own.is_some(),
                beneath: Some(beneath.clone()),
                ..ConfigEntry::default()
            };
            (name.clone(), entry)
        };
        TopicFacts {
            id: TopicId::UNKNOWN,
            partitions: topic.partitions,
            replicas: topic.replicas,
            configs: Ok(self.defaults.iter().map(entry).collect()),
        }
    }

    fn in_force(&self, topic: &str, name: &str) -> Option<&String> {
        self.topics.get(topic)?.overrides.get(name).or_else(|| self.defaults.get(name))
    }
}

impl World {
    fn target_of(&self, topic: &str) -> Arc<str> {
        if self.merges && topic == "b" { "s.a".into() } else { format!("s.{topic}").into() }
    }

    fn facts(&self) -> Facts {
        let sources = self.source.topics.iter().map(|(name, topic)| {
            (Arc::clone(name), SourceFacts { target: self.target_of(name), topic: self.source.facts(topic) })
        });
        let of_link: BTreeSet<Arc<str>> = TOPICS.iter().map(|topic| self.target_of(topic)).collect();
        let targets = self.target.topics.iter().filter(|(name, _)| of_link.contains(*name));
        Facts {
            sources: sources.collect(),
            targets: targets.map(|(name, topic)| (Arc::clone(name), Ok(self.target.facts(topic)))).collect(),
            brokers: Some(2),
            known: self.known.clone(),
            acls: Some(AclFacts {
                source: Ok(self.source.acls.clone()),
                target: Ok(self.target.acls.clone()),
                ours: self.ours.clone(),
                gone: self.gone.clone(),
            }),
            ..Facts::default()
        }
    }

    fn apply(&mut self, action: &Action) {
        match action {
            Action::Create { topic, partitions, replicas, settings, .. } => {
                let overrides = settings.all.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
                let made = Topic { partitions: *partitions, replicas: replicas.unwrap_or(1), overrides };
                assert!(self.target.topics.insert(Arc::clone(topic), made).is_none(), "{topic} exists");
            }
            Action::Grow { topic, from, to } => {
                let found = self.target.topics.get_mut(topic).unwrap();
                assert!(found.partitions == *from && from < to, "{action:?}");
                found.partitions = *to;
            }
            Action::Alter { topic, changes } => {
                let known = self.known.entry(Arc::clone(topic)).or_default();
                let found = self.target.topics.get_mut(topic).unwrap();
                for change in changes {
                    match &change.to {
                        Some(value) => found.overrides.insert(change.name.clone(), value.clone()),
                        None => found.overrides.remove(&change.name),
                    };
                    known.changed(change);
                }
            }
            Action::AddAcl(acl) => {
                assert!(self.target.acls.insert(acl.clone()), "{acl} is there");
                self.ours.insert(acl.clone());
            }
            Action::Delete { .. } => unreachable!("no source topic is gone"),
            Action::RemoveAcl(acl) => {
                assert!(self.ours.remove(acl) && self.target.acls.remove(acl), "{acl} is not ours");
            }
        }
    }
}

fn values() -> impl Strategy<Value = Values> {
    prop::collection::vec(prop::option::of(0usize..3), NAMES.len()).prop_map(|picks| {
        let picked = NAMES.iter().zip(picks).filter_map(|((name, values), pick)| Some((*name, values[pick?])));
        picked.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    })
}

fn defaults() -> impl Strategy<Value = Values> {
    prop::collection::vec(0usize..3, NAMES.len()).prop_map(|picks| {
        let picked = NAMES.iter().zip(picks).map(|((name, values), pick)| (*name, values[pick]));
        picked.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    })
}

fn topics() -> impl Strategy<Value = Vec<Option<Topic>>> {
    let topic = (1u32..5, 1u32..4, values());
    let topic = topic.prop_map(|(partitions, replicas, overrides)| Topic { partitions, replicas, overrides });
    prop::collection::vec(prop::option::weighted(0.7, topic), TOPICS.len())
}

fn acls() -> impl Strategy<Value = BTreeSet<(usize, usize, usize, bool)>> {
    prop::collection::btree_set((0usize..TOPICS.len() + 2, 0usize..3, 0usize..5, any::<bool>()), 0..12)
}

fn acl((topic, principal, operation, allows): (usize, usize, usize, bool), prefix: &str) -> Acl {
    let named = TOPICS.get(topic).map(|topic| format!("{prefix}{topic}"));
    let pattern = if topic == TOPICS.len() { AclPattern::Prefixed } else { AclPattern::Literal };
    let wide = if topic == TOPICS.len() { "a" } else { "*" };
    let operations = [Operation::Read, Operation::Write, Operation::All, Operation::Describe, Operation::Delete];
    Acl {
        topic: named.unwrap_or_else(|| wide.to_owned()).into(),
        pattern,
        principal: ["User:*", "User:app", "User:strait"][principal].to_owned(),
        host: "*".to_owned(),
        operation: operations[operation],
        allows,
    }
}

prop_compose! {
    fn worlds()(
        source_defaults in defaults(), target_defaults in defaults(),
        source in topics(), target in topics(),
        source_acls in acls(), target_acls in acls(),
        merges in any::<bool>(),
    ) -> World {
        let named = |topics: Vec<Option<Topic>>, prefix: &str| {
            let named = TOPICS.iter().zip(topics);
            named.filter_map(|(name, topic)| Some((format!("{prefix}{name}").into(), topic?))).collect()
        };
        let source = Cluster {
            defaults: source_defaults,
            topics: named(source, ""),
            acls: source_acls.into_iter().map(|picks| acl(picks, "")).collect(),
        };
        let mut target = Cluster {
            defaults: target_defaults,
            topics: named(target, "s."),
            acls: target_acls.into_iter().map(|picks| acl(picks, "s.")).collect(),
        };
        let foreign = Topic { partitions: 1, replicas: 1, overrides: Values::new() };
        target.topics.insert("s.foreign".into(), foreign);
        World { source, target, merges, known: BTreeMap::new(), ours: BTreeSet::new(), gone: BTreeSet::new() }
    }
}

prop_compose! {
    fn settings()(
        configs in prop::sample::select(vec![SyncConfigs::Overrides, SyncConfigs::Effective, SyncConfigs::None]),
        excludes in any::<bool>(),
        manages in prop::bool::weighted(0.9),
        replication in prop::sample::select(vec![Replication::Source, Replication::Default, Replication::Number(2)]),
    ) -> Settings {
        let sync = Sync {
            replication,
            configs,
            configs_exclude: if excludes { vec!["flush\\..*".into(), "retention.bytes".into()] } else { Vec::new() },
            acls: true,
            principals: [("User:app".to_owned(), "User:app-eu".to_owned())].into(),
            groups: true,
        };
        Settings {
            manages,
            excluded: Excluded::of(&sync),
            sync,
            on_gap: OnGap::Stop,
            on_target_recreated: OnTargetRecreated::Stop,
            own_principal: Some("User:strait".to_owned()),
            delete_after: None,
            beside: Beside::default(),
        }
    }
}

/// Carries a plan out, the topics in an order by `turns`.
fn carried_out(world: &World, plan: &Plan, turns: &[usize]) -> World {
    let mut world = world.clone();
    let mut by_topic: BTreeMap<&Arc<str>, Vec<&Action>> = BTreeMap::new();
    for action in &plan.actions {
        by_topic.entry(action.topic()).or_default().push(action);
    }
    let mut topics: Vec<_> = by_topic.into_iter().collect();
    for (place, turn) in turns.iter().enumerate().take(topics.len()) {
        let other = turn % topics.len();
        topics.swap(place, other);
    }
    for (_, actions) in topics {
        actions.into_iter().for_each(|action| world.apply(action));
    }
    world
}

/// Names of settings of a target topic that a link may touch.
fn may_touch(name: &str, settings: &Settings, source: Option<&Topic>, known: Option<&Known>) -> bool {
    let is_source = match settings.sync.configs {
        SyncConfigs::None => return false,
        SyncConfigs::Effective => true,
        SyncConfigs::Overrides => source.is_some_and(|topic| topic.overrides.contains_key(name)),
    };
    let is_kept = CARRIED.contains(&name) && !settings.excluded.is_named(name);
    let is_set = is_source || known.is_some_and(|known| known.configs.contains_key(name));
    is_kept || name == TIMESTAMP_TYPE || (is_set && !settings.excluded.has(name))
}

fn untouched(before: &World, after: &World, settings: &Settings) -> Result<(), TestCaseError> {
    prop_assert_eq!(&before.source, &after.source);
    for (name, topic) in &before.target.topics {
        let now = &after.target.topics[name];
        let feeds: Vec<_> = before.source.topics.keys().filter(|source| before.target_of(source) == *name).collect();
        if feeds.is_empty() {
            prop_assert_eq!(topic, now, "{} is not of the link", name);
        }
        prop_assert!(now.partitions >= topic.partitions && now.replicas == topic.replicas);
        let source = feeds.first().and_then(|source| before.source.topics.get(*source));
        for (setting, _) in NAMES {
            let (old, new) = (topic.overrides.get(setting), now.overrides.get(setting));
            let may = feeds.len() == 1 && may_touch(setting, settings, source, before.known.get(name));
            prop_assert!(old == new || may, "{name}: {setting} {old:?} -> {new:?}");
            if new.is_none() && old.is_some() {
                prop_assert!(!CARRIED.contains(&setting), "{name} lost {setting}");
            }
        }
        let size = |cluster: &Cluster| cluster.in_force(name, "max.message.bytes").unwrap().parse::<i64>().unwrap();
        prop_assert!(size(&after.target) >= size(&before.target));
    }
    let removed: Vec<_> = before.target.acls.difference(&after.target.acls).collect();
    prop_assert!(removed.iter().all(|acl| before.ours.contains(*acl) && before.gone.contains(*acl)), "{removed:?}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]
    #[test]
    fn a_plan_that_is_carried_out_leaves_nothing_to_do_and_touches_nothing_else(
        world in worlds(),
        settings in settings(),
        turns in prop::collection::vec(0usize..20, 12),
        later in topics(),
        later_acls in acls(),
    ) {
        let first = plan(&world.facts(), &settings);
        let mut after = carried_out(&world, &first, &[]);
        untouched(&world, &after, &settings)?;
        let other = carried_out(&world, &first, &turns);
        prop_assert_eq!(&after.target, &other.target, "the order of topics counts");
        prop_assert_eq!(&after.known, &other.known);
        let second = plan(&after.facts(), &settings);
        prop_assert!(second.is_empty(), "{:#?}\n{:#?}", first, second);

        // The source changes, and settings that were set for it go.
        let named = TOPICS.iter().zip(later).filter_map(|(name, topic)| Some((Arc::from(*name), topic?)));
        after.source.topics.extend(named.collect::<BTreeMap<Arc<str>, Topic>>());
        after.source.acls = later_acls.into_iter().map(|picks| acl(picks, "")).collect();
        let once = plan(&after.facts(), &settings);
        let mut twice = carried_out(&after, &once, &turns);
        untouched(&after, &twice, &settings)?;
        twice.gone = once.left.iter().filter_map(|left| match (&left.part, &left.why) {
            (Part::Acl(acl), Why::JustGone) => Some(acl.clone()),
            _ => None,
        }).collect();
        let removal = plan(&twice.facts(), &settings);
        prop_assert!(removal.actions.iter().all(|action| matches!(action, Action::RemoveAcl(_))), "{removal:#?}");
        let end = carried_out(&twice, &removal, &[]);
        untouched(&twice, &end, &settings)?;
        prop_assert!(plan(&end.facts(), &settings).is_empty());
        // What the link syncs by value in force is so, or said.
        for (name, source) in end.source.topics.iter().filter(|_| settings.sync.configs != SyncConfigs::None) {
            let target = end.target_of(name);
            // One that several source topics feed follows the first of them.
            let is_second = end.merges && **name == *"b" && end.source.topics.contains_key("a");
            if is_second || !end.target.topics.contains_key(&target) {
                continue;
            }
            for setting in CARRIED {
                let (wanted, found) = (end.source.in_force(name, setting), end.target.in_force(&target, setting));
                let said = plan(&end.facts(), &settings).left.iter().any(|left| {
                    left.topic == target && left.part == Part::Config(setting.to_owned())
                });
                prop_assert!(wanted == found || said, "{name} {source:?}: {setting} {wanted:?} {found:?}");
            }
        }
    }
}
