//! Plans what the target lacks to be like the source: topics, partitions, settings, access lists.
//!
//! [`plan`] is a function of [`Facts`] and [`Settings`]; `strait plan` prints its [`Plan`], and
//! whoever applies one carries out its [`Action`]s one by one. Applied, and planned again, it has
//! no action. Nothing is planned but what is a function of the source, so that an action that is
//! carried out late, or twice, does no harm.

mod acls;
mod action;
mod configs;
mod creation;
mod deletions;
mod excluded;
mod facts;
mod left;
mod memory;
mod show;
#[cfg(test)]
mod tests;
mod topics;

pub use action::{Action, Answer, ConfigChange, Plan, Sign, Unknown};
pub use creation::{CARRIED, Setting, TIMESTAMP_TYPE, TopicSettings, replicas};
pub use deletions::{ASK_EVERY, Beside, Departures, Feeds, GoneTopic, Kept, Presence};
pub use excluded::Excluded;
pub use facts::{
    Acl, AclFacts, AclPattern, ConfigEntry, Configs, Facts, Known, Reading, Rest, SourceFacts, TopicFacts, Unread,
};
pub use left::{Left, Part, Why};
pub use memory::{Fought, Memory};
pub use show::Entry;

use std::time::Duration;

use crate::config::{Link, OnDeleted, OnGap, OnTargetRecreated, Sync};

/// The options of a link that decide about a plan.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether Strait creates and grows topics.
    pub manages: bool,
    /// The things that the target takes over.
    pub sync: Sync,
    /// Names of settings that it does not take over.
    pub excluded: Excluded,
    /// The reaction where a source topic was created again.
    pub on_gap: OnGap,
    /// The reaction where a target topic was deleted or created again.
    pub on_target_recreated: OnTargetRecreated,
    /// Our principal on the target, as far as it is known.
    pub own_principal: Option<String>,
    /// How long source topics have to be gone before their target topics are deleted; `None` if
    /// those are kept.
    pub delete_after: Option<Duration>,
    /// The topics of this link, and the other links to its target.
    pub beside: Beside,
}

impl Settings {
    /// Returns those of a link. `own_principal` is who Strait is on the target, where that is
    /// known.
    #[must_use]
    pub fn of(link: &Link, own_principal: Option<String>) -> Self {
        Self {
            manages: link.manage_topics,
            sync: link.sync.clone(),
            excluded: Excluded::of(&link.sync),
            on_gap: link.on_gap,
            on_target_recreated: link.on_target_recreated,
            own_principal,
            delete_after: (link.on_deleted == OnDeleted::Delete)
                .then(|| Duration::from_secs(u64::from(link.delete_after_h) * 3_600)),
            beside: Beside::alone(link),
        }
    }

    /// Returns these with the other links of a configuration.
    #[must_use]
    pub fn beside(self, links: &[Link]) -> Self {
        Self { beside: self.beside.with(links), ..self }
    }
}

/// Returns what to change at the target, what differs and is left as it is, and what is not known.
#[must_use]
pub fn plan(facts: &Facts, settings: &Settings) -> Plan {
    let mut plan = Plan::default();
    topics::plan(facts, settings, &mut plan);
    acls::plan(facts, settings, &mut plan);
    deletions::plan(facts, settings, &mut plan);
    plan.left.sort();
    plan.left.dedup();
    plan.unknown.sort();
    plan.unknown.dedup();
    plan
}
