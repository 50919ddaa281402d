//! Settings that a target topic never takes over from its source topic.

use regex::RegexSet;

use crate::config::Sync;

/// Settings that belong to a cluster and not to the contents of a topic.
const NAMES: [&str; 8] = [
    "follower.replication.throttled.replicas",
    "leader.replication.throttled.replicas",
    "message.timestamp.difference.max.ms",
    "message.timestamp.type",
    "unclean.leader.election.enable",
    "min.insync.replicas",
    // They would refuse records that the source has.
    "message.timestamp.before.max.ms",
    "message.timestamp.after.max.ms",
];
/// Beginnings of such names: tiered storage, and those of one vendor.
const BEGINNINGS: [&str; 3] = ["remote.", "local.retention.", "confluent."];

/// The names of settings that a link does not take over.
#[derive(Clone, Debug)]
pub struct Excluded(RegexSet);

impl Default for Excluded {
    fn default() -> Self {
        Self(RegexSet::empty())
    }
}

impl Excluded {
    /// Compiles the `configs_exclude` of a link. Patterns that are not regular expressions count
    /// for nothing here, as validation has refused them.
    #[must_use]
    pub fn of(sync: &Sync) -> Self {
        let patterns = sync.configs_exclude.iter().map(|pattern| format!("^(?:{pattern})$"));
        RegexSet::new(patterns).map(Self).unwrap_or_default()
    }

    /// Returns whether the link does not take over the setting.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        NAMES.contains(&name) || BEGINNINGS.iter().any(|text| name.starts_with(text)) || self.is_named(name)
    }

    /// Returns whether the configuration of the link leaves the setting out.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}
