//! Options for the things that the target takes over from the source besides records.

use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The properties that target topics take over from their source topics. Settings that decide how
/// long records live and how large they may be are taken over when Strait creates a topic. From
/// then on it follows the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sync {
    /// Number of replicas of the target topics that Strait creates. If the target refuses it, the
    /// topic is created with the broker's default, and event `settings_left_out` reports it.
    #[serde(default)]
    pub replication: Replication,
    /// Settings that target topics take over while the link runs. A change of one of them on the
    /// target is undone. In the first two modes `cleanup.policy`, `retention.ms`,
    /// `retention.bytes`, `delete.retention.ms` and `max.message.bytes` are those in force at the
    /// source, so that the target does not delete by its own what was copied, and
    /// `max.message.bytes` is never lowered. A purge by a short `retention.ms` at the source purges
    /// the copy too. Needs AlterConfigs on the target topics.
    #[serde(default)]
    pub configs: SyncConfigs,
    /// Names of settings that are not taken over, nor given to a topic that is created: regular
    /// expressions that must match the whole name. Without `retention.ms`, the target deletes
    /// records by its own. Never taken over are throttled replicas,
    /// `unclean.leader.election.enable`, `min.insync.replicas`, `message.timestamp.*`, `remote.*`,
    /// `local.retention.*` and `confluent.*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub configs_exclude: Vec<String>,
    /// Whether the target takes over the access lists of the copied topics: whoever may read a
    /// topic may read its copy. Entries on one topic count, with its name on the target: Write is
    /// left out, All becomes Read, and what would deny Strait itself is left to people, like
    /// entries on more than one topic. Needs Describe on the source cluster, and Describe and Alter
    /// on the target cluster, with which anything can be granted there.
    #[serde(default)]
    pub acls: bool,
    /// Principals of the source, each with its name on the target, such as `"User:app" =
    /// "User:app-eu"`. Others keep their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub principals: BTreeMap<String, String>,
    /// Whether the offsets of the groups that the option `groups` names are written on the target.
    /// With `false` they are only translated: MirrorMaker's clients find the answers in the
    /// checkpoints (`mm2.checkpoints`), and the groups on the target stay as they are. That is
    /// `sync.group.offsets.enabled = false`, MirrorMaker 2's default.
    #[serde(default = "default_groups")]
    pub groups: bool,
}

impl Default for Sync {
    fn default() -> Self {
        Self {
            replication: Replication::default(),
            configs: SyncConfigs::default(),
            configs_exclude: Vec::new(),
            acls: false,
            principals: BTreeMap::new(),
            groups: default_groups(),
        }
    }
}

fn default_groups() -> bool {
    true
}

/// Settings that the target takes over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SyncConfigs {
    /// Those set on the source topic itself. One that is set on the target topic alone stays.
    #[default]
    Overrides,
    /// Those in force at the source, defaults and settings of the cluster included.
    Effective,
    /// Nothing after a topic is created.
    None,
}

/// Action when a target topic is another one than the link has written to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnTargetRecreated {
    /// Stop the partitions that were copied there until an operator decides; nothing is created.
    #[default]
    Stop,
    /// Create the topic if it is missing, and copy these partitions again from the start of their
    /// logs. Records that plugins routed from them to other topics are copied there again too.
    Recopy,
}

/// Action when a source topic is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnDeleted {
    /// Keep its target topic.
    #[default]
    Keep,
    /// Delete its target topic after `delete_after_h`, if the link has created it and nothing else
    /// feeds it.
    Delete,
}

pub(super) fn default_delete_after_h() -> u32 {
    24
}

/// Number of replicas of a new target topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replication {
    /// As many as the source topic has, at most the target's brokers.
    #[default]
    Source,
    /// The target's `default.replication.factor`.
    Default,
    /// This many.
    Number(u32),
}

impl Replication {
    /// Largest number that Kafka's protocol has room for.
    const MAX: u32 = 32_767;

    /// Parses `source`, `default` or a number.
    ///
    /// # Errors
    /// A message for the user if the text is none of these.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "source" => Ok(Self::Source),
            "default" => Ok(Self::Default),
            _ => match text.parse() {
                Ok(count) if (1..=Self::MAX).contains(&count) => Ok(Self::Number(count)),
                _ => Err(format!("'{text}' is neither 'source', 'default' nor a number from 1 to {}", Self::MAX)),
            },
        }
    }
}

impl fmt::Display for Replication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source => f.write_str("source"),
            Self::Default => f.write_str("default"),
            Self::Number(count) => count.fmt(f),
        }
    }
}

impl Serialize for Replication {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(count) => serializer.serialize_u32(*count),
            _ => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Replication {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u32),
            Text(String),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Number(count) => count.to_string(),
            Written::Text(text) => text,
        };
        Self::parse(&text).map_err(de::Error::custom)
    }
}

impl JsonSchema for Replication {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Replication".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Number of replicas of a new target topic.",
            "anyOf": [
                {
                    "const": "source",
                    "description": "As many as the source topic has, at most as many as the target has brokers."
                },
                { "const": "default", "description": "The target's `default.replication.factor`." },
                { "type": "integer", "minimum": 1, "maximum": 32767, "description": "A number: this many." },
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replication_is_a_word_or_a_number_and_is_written_as_it_is_read() {
        for (json, value) in
            [("\"source\"", Replication::Source), ("\"default\"", Replication::Default), ("3", Replication::Number(3))]
        {
            assert_eq!(serde_json::from_str::<Replication>(json).unwrap(), value);
            assert_eq!(serde_json::to_string(&value).unwrap(), json);
        }
        assert_eq!(serde_json::from_str::<Replication>("\"3\"").unwrap(), Replication::Number(3), "from a variable");
        for bad in ["0", "40000", "-1", "\"three\"", "\"\""] {
            assert!(serde_json::from_str::<Replication>(bad).is_err(), "{bad}");
        }
    }
}
