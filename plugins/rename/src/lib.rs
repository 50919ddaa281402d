//! Renames topics when they are opened, so a record costs nothing.

use std::collections::BTreeMap;

use serde::Deserialize;
use strait_plugin_common::{
    pointer::pointer,
    rewrite::{Mistake, Rewrite},
};
use strait_plugin_sdk::{About, ConfigError, LinkInfo, Plugin, TopicPlan, config_error, effect, plugin};

const SCHEMA: &str = include_str!("../config.schema.json");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    table: BTreeMap<String, String>,
    pattern: Option<String>,
    replacement: Option<String>,
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    suffix: String,
    #[serde(default)]
    merge: bool,
}

struct Rename {
    table: BTreeMap<String, String>,
    /// The topic that the table maps to each name.
    taken: BTreeMap<String, String>,
    pattern: Option<Rewrite>,
    prefix: String,
    suffix: String,
    /// Whether several topics may get one name.
    merge: bool,
}

impl Rename {
    /// Returns the new name. A name in the table is final; otherwise the pattern applies if it
    /// matches the whole name, then prefix and suffix.
    fn rename(&self, topic: &str) -> String {
        if let Some(name) = self.table.get(topic) {
            return name.clone();
        }
        let middle = self.pattern.as_ref().and_then(|pattern| pattern.apply(topic));
        format!("{}{}{}", self.prefix, middle.as_deref().unwrap_or(topic), self.suffix)
    }

    /// Checks whether two topics would get one name, as far as the configuration and one topic show
    /// it.
    fn check(&self, topic: &str, name: &str) -> Result<(), String> {
        match self.taken.get(name) {
            Some(other) if other != topic && !self.merge => Err(format!(
                "'{topic}' would get the name '{name}', which the table gives to '{other}', and their records would be mixed; \
                 give one of them another name, exclude one from the link, or set merge = true"
            )),
            _ => Ok(()),
        }
    }
}

impl Config {
    fn mistakes(&self, pattern: Option<&Rewrite>) -> Vec<ConfigError> {
        let mut mistakes = Vec::new();
        if pattern.is_none() && self.table.is_empty() && self.prefix.is_empty() && self.suffix.is_empty() {
            let message = "nothing to rename: set table, pattern and replacement, prefix or suffix";
            mistakes.push(config_error("", message));
        }
        if self.merge {
            return mistakes;
        }
        let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
        for (topic, name) in &self.table {
            if let Some(other) = taken.insert(name, topic) {
                let message = format!(
                    "'{other}' and '{topic}' would both get the name '{name}'; set merge = true if that is intended"
                );
                mistakes.push(config_error(pointer("/table", topic), message));
            }
        }
        if pattern.is_some_and(Rewrite::is_constant) {
            let message = "it refers to no group, so every matching topic would get this name; set merge = true if that \
                           is intended, or use table for a single topic";
            mistakes.push(config_error("/replacement", message));
        }
        mistakes
    }
}

impl Plugin for Rename {
    fn about() -> About {
        About {
            name: "rename".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            description: "Renames topics by table, pattern, prefix and suffix; costs nothing per record".into(),
            config_schema: SCHEMA.into(),
            effects: effect::TOPIC,
            ..About::default()
        }
    }

    fn configure(config: &str, _link: &LinkInfo) -> Result<Self, Vec<ConfigError>> {
        let config: Config = serde_json::from_str(config).map_err(|e| vec![config_error("", e.to_string())])?;
        let pattern = match (&config.pattern, &config.replacement) {
            (Some(pattern), Some(replacement)) => Some(Rewrite::new(pattern, replacement).map_err(|mistake| {
                vec![match mistake {
                    Mistake::Pattern(message) => config_error("/pattern", message),
                    Mistake::Replacement(message) => config_error("/replacement", message),
                }]
            })?),
            (None, None) => None,
            (Some(_), None) => return Err(vec![config_error("/pattern", "a pattern needs a replacement")]),
            (None, Some(_)) => return Err(vec![config_error("/replacement", "a replacement needs a pattern")]),
        };
        let mistakes = config.mistakes(pattern.as_ref());
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let Config { table, prefix, suffix, merge, .. } = config;
        let taken = table.iter().map(|(topic, name)| (name.clone(), topic.clone())).collect();
        Ok(Self { table, taken, pattern, prefix, suffix, merge })
    }

    fn open_topic(&mut self, topic: &str, _partitions: u32) -> Result<TopicPlan, String> {
        let name = self.rename(topic);
        self.check(topic, &name)?;
        if name == topic {
            return Ok(TopicPlan::ignore());
        }
        Ok(TopicPlan::ignore().named(name))
    }
}

plugin!(Rename);

#[cfg(test)]
mod tests {
    use strait_plugin_sdk::testing::Tester;

    use super::*;

    fn names(config: serde_json::Value, topics: &[&str]) -> Vec<String> {
        let mut tester = match Tester::<Rename>::new(&config.to_string()) {
            Ok(tester) => tester,
            Err(problem) => return vec![problem.split(':').next().unwrap_or_default().to_owned()],
        };
        let name = |topic: &&str| match tester.open(topic, 6) {
            Ok(name) => name.unwrap_or_else(|| "-".into()),
            Err(_) => "refused".into(),
        };
        topics.iter().map(name).collect()
    }

    #[test]
    fn the_table_is_final_then_pattern_prefix_and_suffix() {
        let config = serde_json::json!({
            "table": {"a.v1": "A", "same": "same"}, "pattern": "(.*)\\.v(\\d)", "replacement": "v$2.$1", "prefix": "p-", "suffix": "-s",
        });
        assert_eq!(names(config, &["a.v1", "b.v2", "c", "same"]), ["A", "p-v2.b-s", "p-c-s", "-"]);
    }

    #[test]
    fn two_topics_with_one_name_are_refused_if_the_plugin_can_tell() {
        let twice = serde_json::json!({"table": {"orders": "x", "a/b~c": "x"}});
        assert_eq!(names(twice, &[]), ["/table/orders"]);
        let constant = serde_json::json!({"pattern": "a.*", "replacement": "x"});
        assert_eq!(names(constant, &[]), ["/replacement"]);
        // b keeps its name, which the table gives to a; c gets a name that the table gives to d.
        let chained =
            serde_json::json!({"table": {"a": "b", "z": "d", "y": "z"}, "pattern": "(c)", "replacement": "d"});
        assert_eq!(names(chained, &[]), ["/replacement"]);
        let chained =
            serde_json::json!({"table": {"orders": "b", "z": "d1", "y": "z"}, "pattern": "c(.)", "replacement": "d$1"});
        assert_eq!(
            names(chained, &["orders", "b", "c1", "c2", "z", "y"]),
            ["b", "refused", "refused", "d2", "d1", "z"]
        );
        let swapped = serde_json::json!({"table": {"orders": "b", "b": "orders"}});
        assert_eq!(names(swapped, &["orders", "b"]), ["b", "orders"]);
        let meant =
            serde_json::json!({"table": {"orders": "x", "b": "x"}, "pattern": "c.", "replacement": "x", "merge": true});
        assert_eq!(names(meant, &["orders", "b", "c1", "x"]), ["x", "x", "x", "-"]);
    }
}
