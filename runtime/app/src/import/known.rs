//! The properties of MirrorMaker 2's flows, and the fate of each. The one table that the import
//! goes by, which a test walks.

use super::Outcome;
use super::clusters::matches;

/// A property of a flow.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its name. A `*` at the end stands for any ending.
    pub name: &'static str,
    /// Its fate where its value is one that can be carried over.
    pub outcome: Outcome,
    /// The option, or the reason.
    pub text: &'static str,
}

const fn option(name: &'static str, text: &'static str) -> Known {
    Known { name, outcome: Outcome::Option, text }
}

const fn note(name: &'static str, text: &'static str) -> Known {
    Known { name, outcome: Outcome::Note, text }
}

const fn refused(name: &'static str, text: &'static str) -> Known {
    Known { name, outcome: Outcome::Refused, text }
}

const SIZE: &str = "Strait's own topics are made with the target's default";
const CLASS: &str = "a class of its own cannot be carried over";

/// The properties of a flow, as `MirrorConnectorConfig` and its three connectors define them, and
/// those that Kafka Connect has for every source connector.
pub const FLOW: &[Known] = &[
    option("enabled", "a link"),
    option("topics", "topics"),
    option("topics.exclude", "topics_exclude"),
    option("topics.blacklist", "topics_exclude"),
    option("tasks.max", "lanes"),
    option("replication.policy.class", "naming"),
    option("replication.policy.separator", "naming"),
    option("replication.factor", "sync.replication"),
    option("sync.topic.configs.enabled", "sync.configs"),
    option("use.defaults.from", "sync.configs"),
    option("config.properties.exclude", "sync.configs_exclude"),
    option("config.properties.blacklist", "sync.configs_exclude"),
    option("sync.topic.acls.enabled", "sync.acls"),
    note("transforms", "each by its own lines"),
    note("predicates*", "part of the transforms"),
    note("replication.policy.internal.topic.separator.enabled", "Strait's own topics are named strait.LINK.…"),
    note("groups*", GROUPS),
    note("sync.group.offsets.*", GROUPS),
    note("refresh.groups.*", "groups are listed every 5 s"),
    note("refresh.topics.*", "new topics and partitions are found within seconds"),
    note("sync.topic.configs.interval.seconds", "Strait decides when settings are compared"),
    note("sync.topic.acls.interval.seconds", "Strait decides when access lists are compared"),
    note("use.incremental.alter.configs", "settings are changed one by one, and only those that differ"),
    note("emit.heartbeats.*", "mm2.heartbeats writes them, one a second"),
    note("heartbeats.replication.enabled", "mm2.heartbeats decides whether heartbeats are written and copied"),
    note("heartbeats.topic.replication.factor", SIZE),
    note("emit.checkpoints.*", "mm2.checkpoints writes one for each change"),
    note("checkpoints.topic.replication.factor", SIZE),
    note("emit.offset-syncs.*", "the offset map takes their place: it has every record"),
    note("offset-syncs.topic.*", "the offset map takes their place, on the target"),
    note("offset.lag.max", "the offset map has every record"),
    note("consumer.poll.timeout.ms", "Strait decides it"),
    note("admin.timeout.ms", "Strait decides it"),
    note("admin.*", "Strait decides it"),
    note("add.source.alias.to.metrics", "metrics are labelled by link"),
    note("auto.include.jmx.reporter", "metrics are at /metrics"),
    note("metric.reporters", "metrics are at /metrics"),
    note("metrics.*", "metrics are at /metrics"),
    note("errors.*", "a record that the target refuses goes to quarantine (on_refused)"),
    note("tasks.max.enforce", "lanes are as many as lanes says"),
    note("name", "links are named SOURCE-TARGET"),
    note("connector.class", "there are no connectors"),
    note("connector.plugin.version", "there are no connectors"),
    note("config.action.reload", "changed plugins are reloaded; other changes need a restart"),
    note("offsets.storage.topic", "positions are in strait.LINK.progress on the target"),
    note("transaction.boundary*", "commit_interval_ms_max of a link bounds a transaction"),
    note("exactly.once.support", "delivery of a link; exactly-once is the default"),
    note("topic.creation.*", "Strait makes the topics of a link with the settings of their source topics"),
    note("key.converter*", "records are copied as they are"),
    note("value.converter*", "records are copied as they are"),
    note("header.converter*", "records are copied as they are"),
    note("provenance.*", "Strait adds no headers"),
    refused(
        "topic.filter.class",
        "a class of its own cannot be carried over: list what it selects in topics and topics_exclude",
    ),
    refused("group.filter.class", CLASS),
    refused("config.property.filter.class", CLASS),
    refused(
        "forwarding.admin.class",
        "a class of its own cannot be carried over: let Strait create topics, or set manage_topics = false",
    ),
    refused("source.cluster.*", "set it for the source cluster: here a cluster has one address and one login"),
    refused("target.cluster.*", "set it for the target cluster: here a cluster has one address and one login"),
];

/// Said of the groups.
pub const GROUPS: &str = "the option groups names the groups whose offsets the link keeps on the target";

/// Returns the entry of a property.
pub fn of(name: &str) -> Option<&'static Known> {
    FLOW.iter().find(|known| matches(&[known.name], name))
}

/// Returns whether a property is a connector's own by its whole name.
pub fn is_own(name: &str) -> bool {
    FLOW.iter().any(|known| known.name == name)
}
