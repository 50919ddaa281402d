//! Access lists of topics: which entries to add, which to remove, and which are left to people.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Acl, AclFacts, AclPattern, Action, Facts, Left, Part, Plan, Settings, Why};
use crate::acl::Operation;

/// The principal that is everybody.
const EVERYBODY: &str = "User:*";
/// The name that is every topic.
const EVERY_TOPIC: &str = "*";
/// Operations that Strait needs on target topics: a denial to everybody would be one to Strait.
const OURS: [Operation; 7] = [
    Operation::All,
    Operation::Write,
    Operation::Describe,
    Operation::Create,
    Operation::Alter,
    Operation::AlterConfigs,
    Operation::DescribeConfigs,
];

pub(super) fn plan(facts: &Facts, settings: &Settings, plan: &mut Plan) {
    let Some(acls) = &facts.acls else { return };
    let source = acls.source.as_ref().map_err(|unread| ("access list of the source".to_owned(), unread));
    let target = acls.target.as_ref().map_err(|unread| ("access list of the target".to_owned(), unread));
    let (source, target) = match (source, target) {
        (Ok(source), Ok(target)) => (source, target),
        (source, target) => {
            for (of, unread) in source.err().into_iter().chain(target.err()) {
                plan.not_known(of, &unread.reason);
            }
            return;
        }
    };
    let mut fed: BTreeMap<&Arc<str>, u32> = BTreeMap::new();
    for source in facts.sources.values() {
        *fed.entry(&source.target).or_default() += 1;
    }
    let mut wanted: BTreeSet<Acl> = BTreeSet::new();
    let mut leave = |acl: &Acl, topic: &Arc<str>, why| {
        let (source, part) = (None, Part::Acl(acl.clone()));
        plan.leave(Left { topic: Arc::clone(topic), part, source, target: None, why });
    };
    for acl in source {
        if acl.pattern == AclPattern::Prefixed || &*acl.topic == EVERY_TOPIC {
            if facts.sources.keys().any(|topic| is_on(acl, topic)) {
                leave(acl, &acl.topic, Why::Wide);
            }
            continue;
        }
        let Some(topic) = facts.sources.get(&acl.topic) else { continue };
        if fed.get(&topic.target).is_some_and(|count| *count > 1) {
            // Whoever may read one of them may not read the others.
            leave(acl, &topic.target, Why::Merged);
            continue;
        }
        match copy(acl, &topic.target, settings) {
            Ok(copy) => {
                wanted.insert(copy);
            }
            Err(why) => leave(acl, &topic.target, why),
        }
    }
    let removed: Vec<Acl> = removable(acls, &wanted, target, &fed).cloned().collect();
    let (gone, just_gone): (Vec<Acl>, Vec<Acl>) = removed.into_iter().partition(|acl| acls.gone.contains(acl));
    for acl in &just_gone {
        leave(acl, &acl.topic, Why::JustGone);
    }
    plan.actions.extend(wanted.into_iter().filter(|acl| !target.contains(acl)).map(Action::AddAcl));
    plan.actions.extend(gone.into_iter().map(Action::RemoveAcl));
}

/// Returns those of our entries on the link's topics that the source does not ask for.
fn removable<'a>(
    acls: &'a AclFacts,
    wanted: &'a BTreeSet<Acl>,
    target: &'a BTreeSet<Acl>,
    fed: &'a BTreeMap<&Arc<str>, u32>,
) -> impl Iterator<Item = &'a Acl> {
    let is_of_link = |acl: &&Acl| fed.contains_key(&acl.topic);
    acls.ours.iter().filter(is_of_link).filter(|acl| !wanted.contains(*acl) && target.contains(*acl))
}

fn is_on(acl: &Acl, topic: &str) -> bool {
    &*acl.topic == EVERY_TOPIC || topic.starts_with(&*acl.topic)
}

/// Returns the entry for the copy of a topic.
fn copy(acl: &Acl, target: &Arc<str>, settings: &Settings) -> Result<Acl, Why> {
    let principal = settings.sync.principals.get(&acl.principal).unwrap_or(&acl.principal);
    let operation = match acl.operation {
        Operation::Write if acl.allows => return Err(Why::OnlyWeWrite),
        Operation::All if acl.allows => Operation::Read,
        other => other,
    };
    let is_ours = principal == EVERYBODY || settings.own_principal.as_ref() == Some(principal);
    if !acl.allows && is_ours && OURS.contains(&operation) {
        return Err(Why::HitsOurselves);
    }
    Ok(Acl { topic: Arc::clone(target), principal: principal.clone(), operation, ..acl.clone() })
}
