//! Facts about both clusters, and about what Strait has done there before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::GoneTopic;
use crate::acl::Operation;
use crate::control::{Control, MadeAcl};
use crate::progress::{Position, target_ids};
use crate::topic::{PartitionKey, TopicId};

/// Something that was read, or why it could not be.
pub type Reading<T> = Result<T, Unread>;

/// Why something could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The cluster's answer, and what to do.
    pub reason: String,
    /// The principal lacks a right.
    pub is_denied: bool,
}

impl From<&str> for Unread {
    fn from(reason: &str) -> Self {
        Self { reason: reason.to_owned(), is_denied: false }
    }
}

/// The settings of a topic by name, defaults included.
pub type Configs = BTreeMap<String, ConfigEntry>;

/// One setting of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigEntry {
    /// The value in force; none where the cluster keeps it secret.
    pub value: Option<String>,
    /// Whether it is set on the topic itself, and not for the cluster or by default.
    pub is_override: bool,
    /// The value that would be in force without the topic's own, as far as the cluster tells it.
    pub beneath: Option<String>,
    /// Nobody can set it.
    pub read_only: bool,
    /// The cluster does not tell it.
    pub sensitive: bool,
}

/// A topic as its cluster describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFacts {
    /// Id of this incarnation.
    pub id: TopicId,
    /// Number of partitions.
    pub partitions: u32,
    /// Most replicas of a partition; 0 if it is not known.
    pub replicas: u32,
    /// Its settings.
    pub configs: Reading<Configs>,
}

/// A source topic that the link selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFacts {
    /// Name of the target topic that its unchanged records go to.
    pub target: Arc<str>,
    /// The topic.
    pub topic: TopicFacts,
}

/// Facts about a target topic from before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Id of the incarnation that the link has written to; unknown if it has not.
    pub id: TopicId,
    /// Whether the link has written to it.
    pub is_written: bool,
    /// Settings that Strait has set after the topic was created, with the values that it set.
    pub configs: BTreeMap<String, String>,
    /// Settings that are left alone for now.
    pub resting: BTreeMap<String, Rest>,
}

/// Why a setting is left alone for now, and which value of it; none deletes the topic's own one.
/// Another value is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The target has refused it.
    Refused(Option<String>),
    /// Somebody else keeps on changing it.
    Fight(Option<String>),
}

/// How the name of an [`Acl`] is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AclPattern {
    /// The topic of exactly this name; `*` is every topic.
    Literal,
    /// All topics whose names begin so.
    Prefixed,
}

/// One entry of the access list of topics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Acl {
    /// Name of the topic.
    pub topic: Arc<str>,
    /// How the name is meant.
    pub pattern: AclPattern,
    /// Who is allowed or denied.
    pub principal: String,
    /// From where; `*` is everywhere.
    pub host: String,
    /// The operation that is allowed or denied.
    pub operation: Operation,
    /// Whether it allows; else it denies.
    pub allows: bool,
}

impl Acl {
    /// Returns an entry that the link has made on one of its target topics.
    #[must_use]
    pub fn made_on(topic: &Arc<str>, made: &MadeAcl) -> Self {
        Self {
            topic: Arc::clone(topic),
            pattern: AclPattern::Literal,
            principal: made.principal.clone(),
            host: made.host.clone(),
            operation: Operation::from(made.operation),
            allows: made.allows,
        }
    }

    /// Returns what the control topic says of an entry that the link has made.
    #[must_use]
    pub fn made(&self) -> MadeAcl {
        let Self { principal, host, operation, allows, .. } = self;
        MadeAcl { principal: principal.clone(), host: host.clone(), operation: operation.number(), allows: *allows }
    }
}

/// The access lists of both clusters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclFacts {
    /// Entries on topics of the source.
    pub source: Reading<BTreeSet<Acl>>,
    /// Entries on topics of the target.
    pub target: Reading<BTreeSet<Acl>>,
    /// Entries on the target that Strait has made.
    pub ours: BTreeSet<Acl>,
    /// Those of them that the source did not have any more when it was read before.
    pub gone: BTreeSet<Acl>,
}

/// All that a plan is made of.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The selected source topics that have a name on the target.
    pub sources: BTreeMap<Arc<str>, SourceFacts>,
    /// Selected source topics without a name on the target, and why.
    pub unnamed: BTreeMap<Arc<str>, String>,
    /// Source topics that cannot be described, and why.
    pub hidden: BTreeMap<Arc<str>, String>,
    /// Those of the target topics that exist, or why one cannot be described.
    pub targets: BTreeMap<Arc<str>, Reading<TopicFacts>>,
    /// Number of brokers of the target, where it tells.
    pub brokers: Option<usize>,
    /// Ids of the source topics that the link has read.
    pub read: BTreeMap<Arc<str>, BTreeSet<TopicId>>,
    /// Facts about target topics from before.
    pub known: BTreeMap<Arc<str>, Known>,
    /// Access lists; none where they are not synced.
    pub acls: Option<AclFacts>,
    /// Target topics that the link knows and whose source topics are not listed.
    pub gone: BTreeMap<Arc<str>, GoneTopic>,
}

impl Facts {
    /// Adds what the control topic of the link tells: the settings and entries that it has made.
    pub fn recall(&mut self, control: &Control) {
        for (topic, record) in control.topics().iter().filter(|(_, record)| !record.applied.is_empty()) {
            // What was set on a topic of this name before was not set on this one.
            let found = self.targets.get(topic).and_then(|found| found.as_ref().ok());
            if found.is_some_and(|found| record.target_id.is_other_than(found.id)) {
                continue;
            }
            let applied = record.applied.iter().map(|(name, value)| (name.to_string(), value.to_string()));
            self.known.entry(Arc::clone(topic)).or_default().configs = applied.collect();
        }
        if let Some(acls) = &mut self.acls {
            let ours = control
                .topics()
                .iter()
                .flat_map(|(topic, record)| record.acls.iter().map(|acl| Acl::made_on(topic, acl)));
            acls.ours = ours.collect();
        }
    }

    /// Adds what the positions of the link tell: which topics it has read and written.
    pub fn learn(&mut self, positions: &BTreeMap<PartitionKey, Position>) {
        for key in positions.keys().filter(|key| key.topic_id.is_known()) {
            self.read.entry(Arc::clone(&key.topic)).or_default().insert(key.topic_id);
        }
        for (topic, id) in target_ids(positions) {
            let known = self.known.entry(topic).or_default();
            (known.id, known.is_written) = (id, true);
        }
    }

    /// Returns the settings of a target topic that has none of its own, as far as another one shows
    /// them; empty if none does.
    pub(super) fn target_defaults(&self) -> Configs {
        let known = self.targets.values().filter_map(|topic| topic.as_ref().ok()?.configs.as_ref().ok());
        let plain =
            |entry: &ConfigEntry| ConfigEntry { value: entry.beneath.clone(), is_override: false, ..entry.clone() };
        let of = |configs: &Configs| configs.iter().map(|(name, entry)| (name.clone(), plain(entry))).collect();
        known.filter(|configs| !configs.is_empty()).map(of).next().unwrap_or_default()
    }
}
