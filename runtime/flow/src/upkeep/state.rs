//! The state of the upkeep of a target: its findings, and its next actions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use strait_core::control::{Control, ControlRecord, TopicRecord};
use strait_core::plan::{Action, Answer, Facts, Memory, Rest};
use strait_core::{MetadataRight, TopicId};

use super::LOOK_EVERY;
use super::deletions::{Goings, News};
use crate::ports::{PortError, SourceTopic};

/// How old facts may be that are acted upon.
const FRESH: Duration = Duration::from_secs(15);
/// How long an action rests that lacks a right, or that the target refuses.
const REST: Duration = Duration::from_secs(300);

/// The state of an upkeep.
#[derive(Default)]
pub(super) struct State {
    pub memory: Memory,
    /// When all topics are looked at next.
    pub next: Duration,
    /// When the access lists are read next.
    pub next_acls: Duration,
    /// The topics that were looked at: id and number of partitions.
    seen: BTreeMap<Arc<str>, (TopicId, i32)>,
    /// The plan that is to be carried out.
    pub batch: Option<Batch>,
    /// A failure that is to be told.
    pub failed: Option<PortError>,
    /// The rights that are missing, and the answers.
    pub denied: BTreeMap<MetadataRight, String>,
    /// Actions that are not tried, and until when.
    rests: BTreeMap<(Arc<str>, MetadataRight), Duration>,
    /// The actions of the last plan that nothing is done about.
    left_undone: usize,
    /// Topics that are gone at the source.
    pub gone: Goings,
}

/// Returns the right that an action needs.
pub(super) fn right_of(action: &Action) -> MetadataRight {
    match action {
        Action::Create { .. } => MetadataRight::Create,
        Action::Grow { .. } => MetadataRight::Grow,
        Action::Alter { .. } => MetadataRight::AlterConfigs,
        Action::Delete { .. } => MetadataRight::Delete,
        Action::AddAcl(_) | Action::RemoveAcl(_) => MetadataRight::AlterAcls,
    }
}

fn key(action: &Action) -> (Arc<str>, MetadataRight) {
    (Arc::clone(action.topic()), right_of(action))
}

/// Returns why a setting rests.
pub(super) fn words(rest: &Rest) -> String {
    match rest {
        Rest::Refused(Some(value)) => format!("the target refuses {value}"),
        Rest::Refused(None) => "the target refuses to go back to its own".to_owned(),
        Rest::Fight(_) => "somebody else keeps on changing it".to_owned(),
    }
}

impl State {
    fn is_new(&self, topic: &SourceTopic) -> bool {
        self.seen.get(&topic.topic) != Some(&(topic.id, topic.partitions))
    }

    /// Keeps the topics that were not looked at, with the others that feed the same target topics.
    /// Another one is kept too: it shows the settings of a topic that has none of its own.
    pub fn keep_new(&self, named: &mut Vec<(SourceTopic, Arc<str>)>) {
        let new = named.iter().filter(|(topic, _)| self.is_new(topic));
        let targets: BTreeSet<Arc<str>> = new.map(|(_, target)| Arc::clone(target)).collect();
        if targets.is_empty() {
            return named.clear();
        }
        let mut others = 0;
        named.retain(|(_, target)| {
            let is_of_new = targets.contains(target);
            others += usize::from(!is_of_new);
            is_of_new || others == 1
        });
    }

    pub fn has_new(&self, topics: &[SourceTopic]) -> bool {
        topics.iter().any(|topic| self.is_new(topic))
    }

    /// Records that these topics were looked at: all, or those that are new.
    pub fn looked(&mut self, topics: &[SourceTopic], all: bool, now: Duration) {
        let of = |topic: &SourceTopic| (Arc::clone(&topic.topic), (topic.id, topic.partitions));
        self.seen = topics.iter().map(of).collect();
        if all {
            let topics = u32::try_from(topics.len()).unwrap_or(u32::MAX);
            self.next = now + LOOK_EVERY.0.max(LOOK_EVERY.1.saturating_mul(topics));
        }
    }

    /// Drops what an earlier turn was about to do, by a control topic that its records may never
    /// have reached. All topics are looked at again.
    pub fn begin(&mut self) {
        self.failed = None;
        self.gone.begin();
        if self.batch.take().is_some() {
            self.next = Duration::ZERO;
        }
    }

    /// Returns whether a batch waits, or a failure. A batch that has waited for too long is dropped
    /// and made anew.
    pub fn is_waiting(&mut self, now: Duration) -> bool {
        if self.batch.as_ref().is_some_and(|batch| now.saturating_sub(batch.at) >= FRESH) {
            self.batch = None;
            self.next = now;
        }
        self.batch.is_some() || self.failed.is_some()
    }

    /// An action is not retried for a while.
    pub fn rest(&mut self, action: &Action, now: Duration) {
        self.rests.insert(key(action), now + REST);
    }

    /// Takes out the actions that rest. With all topics in the plan, or with all that are gone,
    /// those that are not in it any more rest no more. Returns the rights that no action lacks any
    /// more.
    pub fn without_rests(
        &mut self,
        actions: &mut Vec<Action>,
        (all, all_gone): (bool, bool),
        now: Duration,
    ) -> Vec<MetadataRight> {
        let before: BTreeSet<MetadataRight> = self.rests.keys().map(|(_, right)| *right).collect();
        let wanted: BTreeSet<(Arc<str>, MetadataRight)> = actions.iter().map(key).collect();
        let is_whole = |right: MetadataRight| if right == MetadataRight::Delete { all_gone } else { all };
        self.rests.retain(|key, _| !is_whole(key.1) || wanted.contains(key));
        actions.retain(|action| self.rests.get(&key(action)).is_none_or(|until| *until <= now));
        before.into_iter().filter(|right| !self.rests.keys().any(|(_, rests)| rests == right)).collect()
    }

    /// The target has taken an action. Returns its right, if it was missing and is no more.
    pub fn acted(&mut self, action: &Action) -> Option<MetadataRight> {
        let right = right_of(action);
        self.rests.remove(&key(action));
        (!self.rests.keys().any(|(_, rests)| *rests == right)).then_some(right)
    }

    /// Says how much of a plan nothing is done about, where that has changed.
    pub fn note_left_undone(&mut self, link: &str, actions: usize) {
        if std::mem::replace(&mut self.left_undone, actions) != actions {
            tracing::info!(
                link,
                actions,
                "the target differs, and nothing but records is changed there: see strait plan"
            );
        }
    }
}

/// A plan on its way.
pub(super) struct Batch {
    pub facts: Facts,
    actions: VecDeque<Action>,
    /// The records of the control topic on topics, as they are and as they are to be.
    known: BTreeMap<Arc<str>, TopicRecord>,
    changed: BTreeSet<Arc<str>>,
    at: Duration,
}

impl Batch {
    /// Makes a batch of a plan; `None` if there is nothing to do and nothing to write.
    pub fn new((facts, news): (Facts, News), actions: Vec<Action>, control: &Control, at: Duration) -> Option<Self> {
        let targets = facts.targets.keys().chain(actions.iter().map(Action::topic)).chain(news.topics());
        let known = targets.filter_map(|topic| Some((Arc::clone(topic), control.topic(topic)?.clone()))).collect();
        let mut batch = Self { facts, actions: actions.into(), known, changed: BTreeSet::new(), at };
        batch.notice_ids();
        news.enter(&mut batch.known, &mut batch.changed);
        (!batch.is_done() || !batch.changed.is_empty()).then_some(batch)
    }

    /// Takes over the ids of topics that the control topic knows. Of one that was created again,
    /// nothing is ours but what its access list has.
    fn notice_ids(&mut self) {
        for (topic, record) in &mut self.known {
            let Some(Ok(found)) = self.facts.targets.get(topic) else { continue };
            if record.target_id == found.id {
                continue;
            }
            if record.target_id.is_other_than(found.id) {
                record.made = false;
                record.applied.clear();
            }
            record.target_id = found.id;
            self.changed.insert(Arc::clone(topic));
        }
    }

    /// Puts an action back that there was no time for.
    pub fn put_back(&mut self, action: Action) {
        self.actions.push_front(action);
    }

    /// Returns the next action.
    pub fn next(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub fn is_done(&self) -> bool {
        self.actions.is_empty()
    }

    /// Makes one action of each change, where there are several. Returns whether there are.
    pub fn split(&mut self, action: &Action) -> bool {
        let Action::Alter { topic, changes } = action else { return false };
        if changes.len() < 2 {
            return false;
        }
        for change in changes.iter().rev() {
            self.actions.push_front(Action::Alter { topic: Arc::clone(topic), changes: vec![change.clone()] });
        }
        true
    }

    /// Enters what the target has taken.
    pub fn taken(&mut self, action: &Action, answer: &Answer) {
        let topic = action.topic();
        if matches!(action, Action::Delete { .. }) {
            return self.deleted(topic);
        }
        let found = self.facts.targets.get(topic).and_then(|found| found.as_ref().ok());
        let target_id = found.map_or(TopicId::UNKNOWN, |found| found.id);
        let source = self.facts.sources.iter().find(|(_, source)| source.target == *topic);
        let record = self.known.entry(Arc::clone(topic)).or_default();
        if let Some((name, source)) = source {
            (record.source, record.source_id) = (Arc::clone(name), source.topic.id);
        }
        match action {
            Action::Create { .. } if *answer == Answer::WasSo => return,
            Action::Create { .. } => *record = TopicRecord { made: true, ..new_incarnation(record) },
            Action::Grow { .. } => return,
            Action::Alter { changes, .. } => {
                if target_id.is_known() {
                    record.target_id = target_id;
                }
                for change in changes {
                    let name: Arc<str> = change.name.as_str().into();
                    match &change.to {
                        Some(value) => record.applied.insert(name, value.as_str().into()),
                        None => record.applied.remove(&name),
                    };
                }
            }
            Action::AddAcl(acl) => drop(record.acls.insert(acl.made())),
            Action::RemoveAcl(acl) => drop(record.acls.remove(&acl.made())),
            Action::Delete { .. } => {}
        }
        self.changed.insert(Arc::clone(topic));
    }

    /// Enters that a topic is deleted. Its entries of the access list are still there, and ours.
    fn deleted(&mut self, topic: &Arc<str>) {
        let acls = self.known.remove(topic).map(|record| record.acls).unwrap_or_default();
        if !acls.is_empty() {
            self.known.insert(Arc::clone(topic), TopicRecord { acls, ..TopicRecord::default() });
        }
        self.changed.insert(Arc::clone(topic));
    }

    /// Returns what the control topic is to say by now.
    pub fn records(&mut self) -> Vec<ControlRecord> {
        let changed = std::mem::take(&mut self.changed);
        let record = |topic: Arc<str>| {
            let record = self.known.get(&topic).cloned();
            ControlRecord::Topic(topic, record)
        };
        changed.into_iter().map(record).collect()
    }
}

/// Returns the record of a topic that is created: what was applied to the one before is gone.
fn new_incarnation(record: &TopicRecord) -> TopicRecord {
    let (target_id, applied) = (TopicId::UNKNOWN, BTreeMap::new());
    TopicRecord { target_id, applied, ..record.clone() }
}
