//! The rights of one link: [`RIGHTS`] with names.

use super::topics::{Topics, of_entry, source_topics, target_topics};
use super::{IDS, On, Operation, RIGHTS, Right, mm2_topics};
use crate::config::{Link, PluginUse};
use crate::event::Side;
use crate::progress::quarantine_topic;

/// The group in grants for groups that an operator names later.
const ANY_GROUP: &str = "GROUP";

/// A kind of resource in Kafka's access control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// Topics.
    Topic,
    /// Consumer groups.
    Group,
    /// Transactional ids.
    TransactionalId,
    /// The cluster as a whole.
    Cluster,
}

impl Resource {
    /// Returns the name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Group => "group",
            Self::TransactionalId => "transactional-id",
            Self::Cluster => "cluster",
        }
    }
}

/// How the name of a grant is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    /// The resource of exactly this name.
    Literal,
    /// All whose names begin so.
    Prefixed,
    /// Each that the expression matches or the text describes; nothing that Kafka could grant.
    Matching,
}

impl Pattern {
    /// Returns the name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Literal => "literal",
            Self::Prefixed => "prefixed",
            Self::Matching => "matching",
        }
    }
}

/// The topics of a link, by its ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Those that it reads.
    pub source: Vec<Topics>,
    /// Those that it writes.
    pub target: Vec<Topics>,
}

impl Names {
    /// Returns the topics of a link. `namers` are its plugins that may name topics, `seen` the
    /// topics that were seen on the source, each with its name on the target.
    #[must_use]
    pub fn of(link: &Link, namers: &[&PluginUse], seen: &[(String, String)]) -> Self {
        let sources: Vec<String> = seen.iter().map(|(source, _)| source.clone()).collect();
        let targets: Vec<String> = seen.iter().map(|(_, target)| target.clone()).collect();
        Self { source: source_topics(link, &sources), target: target_topics(link, namers, &targets) }
    }
}

/// A right on a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The right.
    pub right: &'static Right,
    /// The kind of the resource.
    pub resource: Resource,
    /// Its name, or how its name begins.
    pub name: String,
    /// How the name is meant.
    pub pattern: Pattern,
}

impl Grant {
    fn of(right: &'static Right, resource: Resource, name: impl Into<String>, pattern: Pattern) -> Self {
        Self { right, resource, name: name.into(), pattern }
    }

    fn on_topics(right: &'static Right, topics: &Topics) -> Self {
        let (name, pattern) = match topics {
            Topics::Named(name) => (name, Pattern::Literal),
            Topics::Beginning(text) => (text, Pattern::Prefixed),
            Topics::Matching(text) => (text, Pattern::Matching),
        };
        Self::of(right, Resource::Topic, name, pattern)
    }

    /// Returns the cluster that it is granted on.
    #[must_use]
    pub fn side(&self) -> Side {
        self.right.on.side()
    }

    fn is_on(&self, name: &str) -> bool {
        match self.pattern {
            Pattern::Literal => self.name == name,
            Pattern::Prefixed => name.starts_with(&self.name),
            Pattern::Matching => false,
        }
    }
}

/// Returns all rights of a link, in the order of the table.
#[must_use]
pub fn grants(link: &Link, names: &Names) -> Vec<Grant> {
    let rights = RIGHTS.iter().filter(|right| right.when.is(link));
    rights.flat_map(|right| on(right, link, names)).collect()
}

fn on(right: &'static Right, link: &Link, names: &Names) -> Vec<Grant> {
    let one = |resource, name: String, pattern| vec![Grant::of(right, resource, name, pattern)];
    let on_all = |topics: &[Topics]| topics.iter().map(|topics| Grant::on_topics(right, topics)).collect();
    let own = &link.name;
    match right.on {
        On::SourceTopics => on_all(&names.source),
        On::TargetTopics => on_all(&names.target),
        On::Quarantine => one(Resource::Topic, quarantine_topic(own), Pattern::Literal),
        // With the dot: without it they would be those of a link with a longer name too.
        On::OwnTopics => one(Resource::Topic, format!("strait.{own}."), Pattern::Prefixed),
        On::SourceHeartbeats | On::Mm2Topics => {
            let names = mm2_topics(link, right.on.side()).map(|topic| topic.name(&link.source));
            names.map(|name| Grant::of(right, Resource::Topic, name, Pattern::Literal)).collect()
        }
        On::SourceGroups | On::TargetGroups => one(Resource::Group, ANY_GROUP.to_owned(), Pattern::Literal),
        On::SyncedSourceGroups | On::SyncedTargetGroups => {
            let mut groups: Vec<Grant> = link.groups.iter().flat_map(|entry| on_groups(right, entry)).collect();
            groups.sort_by(|one, other| (one.pattern, &one.name).cmp(&(other.pattern, &other.name)));
            groups.dedup();
            groups
        }
        // As its dedicated mode names it.
        On::MirrorPositions => one(Resource::Topic, format!("mm2-offsets.{}.internal", link.source), Pattern::Literal),
        On::Group => one(Resource::Group, format!("strait.{own}"), Pattern::Literal),
        On::TransactionalIds => one(Resource::TransactionalId, format!("{IDS}.{own}."), Pattern::Prefixed),
        On::SourceCluster | On::TargetCluster => one(Resource::Cluster, String::new(), Pattern::Literal),
    }
}

/// Returns the grants on the groups of an entry of `groups`. A pattern that may begin with anything
/// stands for all groups, which Kafka writes as `*`.
fn on_groups(right: &'static Right, entry: &str) -> Vec<Grant> {
    let one = |topics: Topics| {
        let (name, pattern) = match topics {
            Topics::Named(name) => (name, Pattern::Literal),
            Topics::Beginning(text) => (text, Pattern::Prefixed),
            Topics::Matching(_) => ("*".to_owned(), Pattern::Literal),
        };
        Grant::of(right, Resource::Group, name, pattern)
    };
    let mut named = of_entry(entry);
    // Names of groups may have characters that those of topics have not.
    if named.is_empty() {
        named.push(Topics::Matching(entry.to_owned()));
    }
    named.into_iter().map(one).collect()
}

/// Returns the grant that gives an operation on the resource of this name; where none of them names
/// it, one that does. `None` where links need no such right.
#[must_use]
pub fn granting(grants: &[Grant], on: On, operation: Operation, name: &str) -> Option<Grant> {
    let mut fitting = grants.iter().filter(|grant| grant.right.on == on && grant.right.operation == operation);
    let first = fitting.clone().next()?;
    let found = fitting.find(|grant| grant.is_on(name)).cloned();
    Some(found.unwrap_or_else(|| Grant::of(first.right, first.resource, name, Pattern::Literal)))
}
