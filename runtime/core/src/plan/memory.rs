//! The memory of whoever carries plans out, from one to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{Acl, Action, ConfigChange, Facts, Part, Plan, Rest, Why};

/// A value of ours that is found changed so often within this time is left to whoever changes it.
const FIGHT: (usize, Duration) = (3, Duration::from_secs(600));
/// Settings that are remembered; those of more topics are retried with each plan.
const TOPICS_MAX: usize = 10_000;

/// A setting that somebody else keeps on changing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fought {
    /// The target topic.
    pub topic: Arc<str>,
    /// Name of the setting.
    pub name: String,
    /// The value of the link.
    pub ours: String,
    /// The value that was found, where there is one.
    pub theirs: Option<String>,
}

#[derive(Debug, Default)]
struct TopicMemory {
    resting: BTreeMap<String, Rest>,
    /// When a value of ours was found changed and was set again, by the name of the setting.
    set_again: BTreeMap<String, Vec<Duration>>,
}

/// The memory from one plan of a link to the next, while one process coordinates it.
#[derive(Debug, Default)]
pub struct Memory {
    topics: BTreeMap<Arc<str>, TopicMemory>,
    /// Entries of ours that the source did not ask for when its access list was last read.
    gone: BTreeSet<Acl>,
}

impl Memory {
    /// Adds to facts what is left alone for now. They know the control topic already
    /// ([`Facts::recall`]).
    pub fn remind(&self, facts: &mut Facts) {
        for (topic, memory) in self.topics.iter().filter(|(_, memory)| !memory.resting.is_empty()) {
            facts.known.entry(Arc::clone(topic)).or_default().resting = memory.resting.clone();
        }
        if let Some(acls) = &mut facts.acls {
            acls.gone = self.gone.clone();
        }
    }

    /// Looks at a plan of these facts before it is carried out. Takes out of it what somebody else
    /// keeps on changing, and returns it.
    pub fn look(&mut self, facts: &Facts, plan: &mut Plan, now: Duration) -> Vec<Fought> {
        self.prune(facts, plan, now);
        if facts.acls.as_ref().is_some_and(|acls| acls.source.is_ok() && acls.target.is_ok()) {
            let just_gone = plan.left.iter().filter(|left| left.why == Why::JustGone);
            let just_gone = just_gone.filter_map(|left| match &left.part {
                Part::Acl(acl) => Some(acl.clone()),
                _ => None,
            });
            let still_gone = plan.actions.iter().filter_map(|action| match action {
                Action::RemoveAcl(acl) => Some(acl.clone()),
                _ => None,
            });
            self.gone = just_gone.chain(still_gone).collect();
        }
        let mut fought = Vec::new();
        for action in &mut plan.actions {
            let Action::Alter { topic, changes } = action else { continue };
            changes.retain(|change| {
                let Some(found) = self.fights(facts, topic, change) else { return true };
                fought.push(found);
                false
            });
        }
        plan.actions.retain(|action| !matches!(action, Action::Alter { changes, .. } if changes.is_empty()));
        fought
    }

    /// Forgets what rests no more, of the topics of these facts, and what was long ago.
    fn prune(&mut self, facts: &Facts, plan: &Plan, now: Duration) {
        let looked_at: BTreeSet<&Arc<str>> = facts.sources.values().map(|source| &source.target).collect();
        let rests: BTreeSet<(&Arc<str>, &String)> = plan
            .left
            .iter()
            .filter(|left| matches!(left.why, Why::Refused | Why::Fight))
            .filter_map(|left| match &left.part {
                Part::Config(name) => Some((&left.topic, name)),
                _ => None,
            })
            .collect();
        for (topic, memory) in &mut self.topics {
            if looked_at.contains(topic) {
                memory.resting.retain(|name, _| rests.contains(&(topic, name)));
            }
            for times in memory.set_again.values_mut() {
                times.retain(|at| now.saturating_sub(*at) < FIGHT.1);
            }
            memory.set_again.retain(|_, times| !times.is_empty());
        }
        self.topics.retain(|_, memory| !memory.resting.is_empty() || !memory.set_again.is_empty());
    }

    fn fights(&mut self, facts: &Facts, topic: &Arc<str>, change: &ConfigChange) -> Option<Fought> {
        let ours = change.to.as_ref().filter(|_| is_changed_back(facts, topic, change))?;
        let memory = self.topics.get_mut(topic)?;
        // With the change that was just found.
        let times = memory.set_again.get(&change.name).map_or(0, Vec::len) + 1;
        if times < FIGHT.0 {
            return None;
        }
        memory.set_again.remove(&change.name);
        memory.resting.insert(change.name.clone(), Rest::Fight(change.to.clone()));
        let (topic, name) = (Arc::clone(topic), change.name.clone());
        Some(Fought { topic, name, ours: ours.clone(), theirs: change.from.clone() })
    }

    /// The target has taken a change of a plan of these facts.
    pub fn taken(&mut self, facts: &Facts, topic: &Arc<str>, change: &ConfigChange, now: Duration) {
        if is_changed_back(facts, topic, change)
            && let Some(memory) = self.of(topic)
        {
            memory.set_again.entry(change.name.clone()).or_default().push(now);
        }
    }

    /// The target has refused a change: it rests until the source has another value.
    pub fn refused(&mut self, topic: &Arc<str>, change: &ConfigChange) {
        if let Some(memory) = self.of(topic) {
            memory.resting.insert(change.name.clone(), Rest::Refused(change.to.clone()));
        }
    }

    fn of(&mut self, topic: &Arc<str>) -> Option<&mut TopicMemory> {
        if self.topics.len() >= TOPICS_MAX && !self.topics.contains_key(topic) {
            return None;
        }
        Some(self.topics.entry(Arc::clone(topic)).or_default())
    }

    /// Returns the settings that are left alone for now, each with its topic.
    pub fn resting(&self) -> impl Iterator<Item = (&Arc<str>, &String, &Rest)> {
        self.topics
            .iter()
            .flat_map(|(topic, memory)| memory.resting.iter().map(move |(name, rest)| (topic, name, rest)))
    }
}

/// Returns whether the link has set this value before, and somebody has changed it since.
fn is_changed_back(facts: &Facts, topic: &Arc<str>, change: &ConfigChange) -> bool {
    let applied = facts.known.get(topic).and_then(|known| known.configs.get(&change.name));
    applied.is_some() && applied == change.to.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Known;

    const S: Duration = Duration::from_secs(1);

    fn change(to: &str) -> ConfigChange {
        ConfigChange { name: "n".to_owned(), from: Some("theirs".to_owned()), to: Some(to.to_owned()), purges: false }
    }

    fn plan(to: &str) -> Plan {
        let actions = vec![Action::Alter { topic: "t".into(), changes: vec![change(to)] }];
        Plan { actions, ..Plan::default() }
    }

    #[test]
    fn a_value_that_is_found_changed_three_times_in_ten_minutes_is_left_alone() {
        let topic: Arc<str> = "t".into();
        let known = Known { configs: [("n".to_owned(), "ours".to_owned())].into(), ..Known::default() };
        let facts = Facts { known: [(Arc::clone(&topic), known)].into(), ..Facts::default() };
        let at = |times: &[u32]| {
            let mut memory = Memory::default();
            let mut fought = Vec::new();
            for second in times {
                let mut plan = plan("ours");
                fought = memory.look(&facts, &mut plan, S * *second);
                assert_eq!(plan.is_empty(), !fought.is_empty());
                if fought.is_empty() {
                    memory.taken(&facts, &topic, &change("ours"), S * *second);
                }
            }
            (memory, fought)
        };
        assert_eq!(at(&[1, 400, 1000]).1, [], "not within ten minutes");
        let (memory, fought) = at(&[1, 300, 600]);
        assert_eq!(fought.len(), 1);
        assert_eq!((fought[0].ours.as_str(), fought[0].theirs.as_deref()), ("ours", Some("theirs")));
        let mut reminded = Facts::default();
        memory.remind(&mut reminded);
        assert_eq!(reminded.known[&topic].resting["n"], Rest::Fight(Some("ours".to_owned())));
        // A change that follows the source is none.
        let (mut memory, mut other) = (Memory::default(), plan("new"));
        for second in 0..9 {
            assert_eq!(memory.look(&facts, &mut other, S * second), []);
            memory.taken(&facts, &topic, &change("new"), S * second);
        }
    }
}
