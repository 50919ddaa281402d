//! The configuration of the plugin, and its validation.

use std::{borrow::Cow, collections::HashMap};

use serde::Deserialize;
use serde_json::{Map, Value};
use strait_plugin_common::{
    by::By,
    pointer::pointer,
    rewrite::{Mistake, Rewrite},
    tally::Tally,
};
use strait_plugin_sdk::{ConfigError, config_error};
use strait_scheme::names::is_writable;

use crate::{Place, Route, Unmatched};

/// Placeholder for the record's own topic.
const TOPIC: &str = "{topic}";
/// The host accepts 64 patterns of output topics; one is for the default.
const TOPICS_MAX: usize = 63;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    by: String,
    to: To,
    table: Option<Map<String, Value>>,
    hash: Option<HashConfig>,
    pattern: Option<String>,
    replacement: Option<String>,
    default: Option<Value>,
    unmatched: Option<Unmatched>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum To {
    Topic,
    Partition,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HashConfig {
    topics: Option<usize>,
    name: Option<String>,
}

/// How the destination follows from the value.
pub enum Rule {
    Table(HashMap<Vec<u8>, Place>),
    /// One of these topics, by hash.
    Topics(Vec<Place>),
    /// One of the target's partitions, by hash.
    Partitions,
    ToTopic(Rewrite),
    ToPartition(Rewrite),
}

/// A topic name with a placeholder for the record's own topic.
pub fn in_topic<'a>(name: &'a str, topic: &str) -> Cow<'a, str> {
    if name.contains(TOPIC) { Cow::Owned(name.replace(TOPIC, topic)) } else { Cow::Borrowed(name) }
}

impl Config {
    pub fn route(self) -> Result<Route, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let by = By::parse(&self.by).map_err(|e| errors.push(config_error("/by", e))).ok();
        if self.default.is_some() && self.unmatched.is_some() {
            errors.push(config_error("/unmatched", "with a default, every record has a destination"));
        }
        let default = self.default.as_ref().and_then(|value| place(value, self.to, "/default", &mut errors));
        let unmatched = self.unmatched.unwrap_or_default();
        let rule = self.rule(&mut errors);
        match (by, rule) {
            (Some(by), Some(rule)) if errors.is_empty() => {
                Ok(Route { by, rule, default, unmatched, without_place: Tally::default() })
            }
            _ => Err(errors),
        }
    }

    fn rule(self, errors: &mut Vec<ConfigError>) -> Option<Rule> {
        match (self.table, self.hash, self.pattern, self.replacement) {
            (Some(table), None, None, None) => {
                let mut places = HashMap::new();
                for (found, value) in table {
                    let at = pointer("/table", &found);
                    places.extend(place(&value, self.to, &at, errors).map(|place| (found.into_bytes(), place)));
                }
                let mut names: Vec<_> = places.values().filter_map(Place::topic).collect();
                names.sort_unstable();
                names.dedup();
                if names.len() > TOPICS_MAX {
                    let message =
                        format!("{} topics, at most {TOPICS_MAX} are allowed; use a pattern instead", names.len());
                    errors.push(config_error("/table", message));
                }
                Some(Rule::Table(places))
            }
            (None, Some(hash), None, None) => hash.rule(self.to, errors),
            (None, None, Some(pattern), Some(replacement)) => match (Rewrite::new(&pattern, &replacement), self.to) {
                (Ok(rewrite), To::Topic) => Some(Rule::ToTopic(rewrite)),
                (Ok(rewrite), To::Partition) => Some(Rule::ToPartition(rewrite)),
                (Err(Mistake::Pattern(message)), _) => {
                    errors.push(config_error("/pattern", message));
                    None
                }
                (Err(Mistake::Replacement(message)), _) => {
                    errors.push(config_error("/replacement", message));
                    None
                }
            },
            _ => {
                errors.push(config_error("", "expected one of table, hash, or pattern with replacement"));
                None
            }
        }
    }
}

impl HashConfig {
    fn rule(self, to: To, errors: &mut Vec<ConfigError>) -> Option<Rule> {
        if to == To::Partition {
            if self.topics.is_some() || self.name.is_some() {
                errors.push(config_error("/hash", "with to = \"partition\" the hash has no settings: use hash = {}"));
            }
            return Some(Rule::Partitions);
        }
        let Some(topics) = self.topics.filter(|topics| (1..=TOPICS_MAX).contains(topics)) else {
            errors.push(config_error("/hash/topics", format!("expected the number of topics, 1 to {TOPICS_MAX}")));
            return None;
        };
        let name = self.name.unwrap_or_else(|| "{topic}-{n}".into());
        if !is_writable(&in_topic(&name.replace("{n}", "0"), "t")) {
            errors.push(config_error("/hash/name", "Kafka accepts no such name, or it is reserved"));
        }
        if topics > 1 && !name.contains("{n}") {
            errors.push(config_error("/hash/name", "the name needs {n}, or all topics would be the same"));
        }
        Some(Rule::Topics((0..topics).map(|n| Place::Topic(name.replace("{n}", &n.to_string()))).collect()))
    }
}

impl Place {
    fn topic(&self) -> Option<&str> {
        match self {
            Self::Topic(name) => Some(name),
            _ => None,
        }
    }
}

impl Rule {
    pub fn is_hash(&self) -> bool {
        matches!(self, Self::Topics(_) | Self::Partitions)
    }

    pub fn is_to_topic(&self) -> bool {
        match self {
            Self::Table(table) => table.values().any(|place| place.topic().is_some()),
            Self::Topics(_) | Self::ToTopic(_) => true,
            Self::Partitions | Self::ToPartition(_) => false,
        }
    }

    /// Returns patterns for every topic that a record of `topic` can go to.
    pub fn output_topics(&self, default: Option<&Place>, topic: &str) -> Vec<String> {
        let exact = |name: &str| regex_lite::escape(&in_topic(name, topic));
        let mut patterns: Vec<String> = match self {
            Self::Table(table) => table.values().filter_map(Place::topic).map(exact).collect(),
            Self::Topics(topics) => topics.iter().filter_map(Place::topic).map(exact).collect(),
            Self::ToTopic(rewrite) => vec![rewrite.outline(|text| exact(text), ".*")],
            Self::Partitions | Self::ToPartition(_) => Vec::new(),
        };
        patterns.extend(default.and_then(Place::topic).map(exact));
        patterns.sort_unstable();
        patterns.dedup();
        patterns
    }
}

/// A topic's name, or a partition's number.
fn place(value: &Value, to: To, at: &str, errors: &mut Vec<ConfigError>) -> Option<Place> {
    let place = match (to, value) {
        // The length is known when a topic is opened.
        (To::Topic, Value::String(name)) if is_writable(&in_topic(name, "t")) => Some(Place::Topic(name.clone())),
        (To::Partition, Value::Number(number)) => {
            number.as_u64().filter(|n| i32::try_from(*n).is_ok()).map(|n| Place::Partition(n as u32))
        }
        _ => None,
    };
    if place.is_none() {
        let expected = match to {
            To::Topic => "expected the name of a topic that Kafka accepts and that is not reserved",
            To::Partition => "expected the number of a partition, from 0",
        };
        errors.push(config_error(at, expected));
    }
    place
}
