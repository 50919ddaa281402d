//! Renames topics. The whole work is done when a topic is opened: a record costs nothing.

use std::collections::BTreeMap;

use regex_lite::{Captures, Regex};
use serde::Deserialize;
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
}

struct Rename {
    table: BTreeMap<String, String>,
    pattern: Option<(Regex, String)>,
    prefix: String,
    suffix: String,
}

impl Rename {
    /// A name of the table is final; else the pattern, where it matches the whole name, then prefix and suffix.
    fn rename(&self, topic: &str) -> String {
        if let Some(name) = self.table.get(topic) {
            return name.clone();
        }
        let captures =
            self.pattern.as_ref().and_then(|(regex, replacement)| Some((regex.captures(topic)?, replacement)));
        let middle =
            captures.map_or_else(|| topic.to_owned(), |(captures, replacement)| expand(&captures, replacement));
        format!("{}{middle}{}", self.prefix, self.suffix)
    }
}

fn expand(captures: &Captures<'_>, replacement: &str) -> String {
    let mut name = String::new();
    captures.expand(replacement, &mut name);
    name
}

/// Refers to groups by number or name, as `$1`, `${1}` and `${name}`. One that the pattern lacks would silently become
/// nothing; `$1_x` is the group `1_x`, which is the usual way to get there.
fn check_references(regex: &Regex, replacement: &str) -> Result<(), String> {
    let mut rest = replacement;
    while let Some((_, after)) = rest.split_once('$') {
        if let Some(after) = after.strip_prefix('$') {
            rest = after;
            continue;
        }
        let name = match after.strip_prefix('{') {
            Some(braced) => braced.split_once('}').map(|(name, _)| name).ok_or("a '${' has no '}'")?,
            None => {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                &after[..end]
            }
        };
        rest = after;
        let known = match name.parse::<usize>() {
            Ok(number) => number < regex.captures_len(),
            Err(_) => regex.capture_names().flatten().any(|group| group == name),
        };
        if !known {
            return Err(format!(
                "the pattern has no group '{name}'; write ${{1}} where a letter, digit or '_' follows, and $$ for a dollar"
            ));
        }
    }
    Ok(())
}

fn compile(pattern: &str, replacement: &str) -> Result<(Regex, String), ConfigError> {
    let regex = Regex::new(&format!("^(?:{pattern})$")).map_err(|e| config_error("/pattern", e.to_string()))?;
    check_references(&regex, replacement).map_err(|e| config_error("/replacement", e))?;
    Ok((regex, replacement.to_owned()))
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
            (Some(pattern), Some(replacement)) => Some(compile(pattern, replacement).map_err(|e| vec![e])?),
            (None, None) => None,
            (Some(_), None) => return Err(vec![config_error("/pattern", "a pattern needs a replacement")]),
            (None, Some(_)) => return Err(vec![config_error("/replacement", "a replacement needs a pattern")]),
        };
        if pattern.is_none() && config.table.is_empty() && config.prefix.is_empty() && config.suffix.is_empty() {
            let message = "nothing to rename by: give table, pattern and replacement, prefix or suffix";
            return Err(vec![config_error("", message)]);
        }
        Ok(Self { table: config.table, pattern, prefix: config.prefix, suffix: config.suffix })
    }

    fn open_topic(&mut self, topic: &str, _partitions: u32) -> Result<TopicPlan, String> {
        let name = self.rename(topic);
        if name == topic {
            return Ok(TopicPlan::ignore());
        }
        Ok(TopicPlan::ignore().named(name))
    }
}

plugin!(Rename);
