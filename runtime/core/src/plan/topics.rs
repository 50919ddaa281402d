//! Topics: which to create and which to grow, and the settings of each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::configs::{self, Treatment};
use super::{
    Action, ConfigEntry, Configs, Facts, Known, Left, Part, Plan, Settings, SourceFacts, TopicFacts, TopicSettings,
    Unread, Why, replicas,
};
use crate::config::{OnGap, OnTargetRecreated, SyncConfigs};
use crate::topic::{TopicId, collision_key};

/// A target topic, with the source topics that feed it, in the order of their names.
struct Fed<'a> {
    target: &'a Arc<str>,
    first: (&'a Arc<str>, &'a SourceFacts),
    others: Vec<(&'a Arc<str>, &'a SourceFacts)>,
    known: &'a Known,
}

impl Fed<'_> {
    fn partitions(&self) -> u32 {
        let others = self.others.iter().map(|(_, source)| source.topic.partitions);
        others.fold(self.first.1.topic.partitions, u32::max).max(1)
    }

    fn left(&self, part: Part, why: Why) -> Left {
        Left { topic: Arc::clone(self.target), part, source: None, target: None, why }
    }

    /// Returns whether a source topic was created again since the link has read it.
    fn is_recreated(&self, read: &BTreeMap<Arc<str>, BTreeSet<TopicId>>) -> bool {
        let is_other = |(name, source): &(&Arc<str>, &SourceFacts)| {
            let ids = read.get(*name).filter(|ids| !ids.is_empty());
            ids.is_some_and(|ids| ids.iter().all(|id| id.is_other_than(source.topic.id)))
        };
        std::iter::once(&self.first).chain(&self.others).any(is_other)
    }
}

pub(super) fn plan(facts: &Facts, settings: &Settings, plan: &mut Plan) {
    for (topic, reason) in &facts.unnamed {
        let why = Why::NoName(reason.clone());
        plan.leave(Left { topic: Arc::clone(topic), part: Part::Topic, source: None, target: None, why });
    }
    for (topic, reason) in &facts.hidden {
        plan.not_known(format!("source topic {topic}"), reason);
    }
    let nothing = Known::default();
    let mut all: BTreeMap<&Arc<str>, Fed<'_>> = BTreeMap::new();
    for source in &facts.sources {
        match all.get_mut(&source.1.target) {
            Some(fed) => fed.others.push(source),
            None => {
                let (target, others) = (&source.1.target, Vec::new());
                let known = facts.known.get(target).unwrap_or(&nothing);
                all.insert(target, Fed { target, first: source, others, known });
            }
        }
    }
    let mut by_key: BTreeMap<String, Vec<Arc<str>>> = BTreeMap::new();
    for target in all.keys().filter(|target| !facts.targets.contains_key(**target)) {
        by_key.entry(collision_key(target)).or_default().push(Arc::clone(target));
    }
    for fed in all.values() {
        match facts.targets.get(fed.target) {
            Some(Err(unread)) => plan.not_known(format!("target topic {}", fed.target), &unread.reason),
            Some(Ok(found)) => existing(fed, found, facts, settings, plan),
            None => {
                let alike = by_key.get(&collision_key(fed.target)).filter(|alike| alike.len() > 1);
                missing(fed, alike, facts, settings, plan);
            }
        }
    }
}

fn missing(fed: &Fed<'_>, alike: Option<&Vec<Arc<str>>>, facts: &Facts, settings: &Settings, plan: &mut Plan) {
    if fed.known.is_written && settings.on_target_recreated == OnTargetRecreated::Stop {
        return plan.leave(fed.left(Part::Topic, Why::TargetGone));
    }
    if let Some(alike) = alike {
        return plan.leave(fed.left(Part::Topic, Why::Collides(alike.clone())));
    }
    if !settings.manages {
        return plan.leave(fed.left(Part::Topic, Why::NotManaged));
    }
    let (like, source) = fed.first;
    let values = |configs: &Configs| {
        configs.iter().filter_map(|(name, entry)| Some((name.clone(), entry.value.clone()?))).collect()
    };
    let known = source.topic.configs.as_ref().map_err(|unread| unread.reason.clone()).and_then(|configs| {
        let incomplete = || "cleanup.policy and retention.ms are not reported".to_owned();
        TopicSettings::like_source(&values(configs), &settings.excluded).ok_or_else(incomplete)
    });
    let unlike = known.as_ref().err().cloned();
    let created = known.unwrap_or_else(|_| TopicSettings::keeping_everything(&settings.excluded));
    plan.actions.push(Action::Create {
        topic: Arc::clone(fed.target),
        like: Arc::clone(like),
        partitions: fed.partitions(),
        replicas: replicas(settings.sync.replication, source.topic.replicas, facts.brokers.unwrap_or(usize::MAX)),
        settings: created.clone(),
        unlike: unlike.clone(),
    });
    if let Some(reason) = unlike {
        return plan.not_known(format!("settings of source topic {like}"), &reason);
    }
    // What a topic with these settings would be.
    let mut target = facts.target_defaults();
    let is_known = !target.is_empty();
    for (name, value) in created.all {
        let beneath = target.remove(name).and_then(|entry| entry.value);
        let entry = ConfigEntry { value: Some(value), is_override: true, beneath, ..ConfigEntry::default() };
        target.insert(name.to_owned(), entry);
    }
    if let Ok(source) = &source.topic.configs {
        alter(fed, source, Ok(&target), is_known, settings, plan);
    }
}

fn existing(fed: &Fed<'_>, found: &TopicFacts, facts: &Facts, settings: &Settings, plan: &mut Plan) {
    if fed.known.id.is_other_than(found.id) && settings.on_target_recreated == OnTargetRecreated::Stop {
        return plan.leave(fed.left(Part::Topic, Why::TargetRecreated));
    }
    if fed.is_recreated(&facts.read) && settings.on_gap == OnGap::Stop {
        return plan.leave(fed.left(Part::Topic, Why::SourceRecreated));
    }
    let (name, source) = fed.first;
    let wanted = fed.partitions();
    let numbers = |part, source: u32, target: u32, why| {
        let number = |number: u32| Some(number.to_string());
        Left { source: number(source), target: number(target), ..fed.left(part, why) }
    };
    if found.partitions < wanted && settings.manages {
        plan.actions.push(Action::Grow { topic: Arc::clone(fed.target), from: found.partitions, to: wanted });
    } else if found.partitions < wanted {
        plan.leave(numbers(Part::Partitions, wanted, found.partitions, Why::NotManaged));
    } else if found.partitions > wanted {
        plan.leave(numbers(Part::Partitions, wanted, found.partitions, Why::NotShrunk));
    }
    let brokers = facts.brokers.unwrap_or(usize::MAX);
    let at_creation = replicas(settings.sync.replication, source.topic.replicas, brokers);
    if let Some(replicas) = at_creation.filter(|replicas| found.replicas > 0 && *replicas != found.replicas) {
        plan.leave(numbers(Part::Replicas, replicas, found.replicas, Why::AtCreationOnly));
    }
    match &source.topic.configs {
        Ok(source) => alter(fed, source, found.configs.as_ref(), true, settings, plan),
        Err(unread) => plan.not_known(format!("settings of source topic {name}"), &unread.reason),
    }
}

/// Plans the settings of a topic. `is_known` tells whether `target` has every setting that the
/// target knows.
fn alter(
    fed: &Fed<'_>,
    source: &Configs,
    target: Result<&Configs, &Unread>,
    is_known: bool,
    settings: &Settings,
    plan: &mut Plan,
) {
    let target = match target {
        Ok(target) => target,
        Err(unread) => return plan.not_known(format!("settings of target topic {}", fed.target), &unread.reason),
    };
    let treatment = if !fed.others.is_empty() {
        Treatment::Merged
    } else {
        match settings.sync.configs {
            SyncConfigs::Overrides => Treatment::Overrides,
            SyncConfigs::Effective => Treatment::Effective,
            SyncConfigs::None => Treatment::None,
        }
    };
    let compared = configs::Compared { source, target, is_known, known: fed.known, excluded: &settings.excluded };
    let (changes, left) = compared.with(treatment);
    let left = left.into_iter().map(|left| Left {
        topic: Arc::clone(fed.target),
        part: Part::Config(left.name),
        source: left.source,
        target: left.target,
        why: left.why,
    });
    left.for_each(|left| plan.leave(left));
    if !changes.is_empty() {
        plan.actions.push(Action::Alter { topic: Arc::clone(fed.target), changes });
    }
}
