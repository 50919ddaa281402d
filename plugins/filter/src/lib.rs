//! Keeps or drops records by one rule on the key, a header or a field of a JSON value. Asks for the columns that the rule
//! reads and for nothing else.

mod field;

use serde::Deserialize;
use serde_json::Value;
use strait_plugin_sdk::{
    About, Action, ConfigError, LinkInfo, Needs, Plugin, Record, TopicPlan, column, config_error, effect, plugin,
};

const SCHEMA: &str = include_str!("../config.schema.json");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    keep: Option<RuleConfig>,
    drop: Option<RuleConfig>,
    #[serde(default)]
    unmatched: Verdict,
    #[serde(default = "keep")]
    tombstones: Verdict,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RuleConfig {
    Key(KeyRule),
    KeyPrefix(KeyPrefixRule),
    Header(HeaderRule),
    Field(FieldRule),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyRule {
    key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyPrefixRule {
    key_prefix: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderRule {
    header: HeaderEquals,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderEquals {
    name: String,
    equals: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldRule {
    field: String,
    equals: Value,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Keep,
    Drop,
    #[default]
    Reject,
}

fn keep() -> Verdict {
    Verdict::Keep
}

enum Rule {
    Key(Vec<u8>),
    KeyPrefix(Vec<u8>),
    Header { name: Vec<u8>, equals: Vec<u8> },
    Field { path: Vec<String>, equals: Value },
}

struct Filter {
    rule: Rule,
    /// Whether records that match are the ones that go on.
    keeps: bool,
    unmatched: Verdict,
    tombstones: Verdict,
}

impl Rule {
    fn new(config: RuleConfig, at: &str) -> Result<Self, ConfigError> {
        Ok(match config {
            RuleConfig::Key(rule) => Self::Key(rule.key.into_bytes()),
            RuleConfig::KeyPrefix(rule) if rule.key_prefix.is_empty() => {
                let message = "an empty prefix matches every key";
                return Err(config_error(format!("{at}/key_prefix"), message));
            }
            RuleConfig::KeyPrefix(rule) => Self::KeyPrefix(rule.key_prefix.into_bytes()),
            RuleConfig::Header(rule) => {
                Self::Header { name: rule.header.name.into_bytes(), equals: rule.header.equals.into_bytes() }
            }
            RuleConfig::Field(rule) => {
                let Some(path) = field::parse_path(&rule.field) else {
                    let message = "a path of names is expected, such as $.customer.region";
                    return Err(config_error(format!("{at}/field"), message));
                };
                if rule.equals.is_array() || rule.equals.is_object() {
                    let message = "a text, number, true, false or null is expected";
                    return Err(config_error(format!("{at}/equals"), message));
                }
                Self::Field { path, equals: rule.equals }
            }
        })
    }

    fn needs(&self) -> Needs {
        match self {
            Self::Key(_) | Self::KeyPrefix(_) => Needs::columns(column::KEY, effect::DROP),
            Self::Header { name, .. } => Needs::columns(&[], effect::DROP).headers([name.as_slice()]),
            Self::Field { .. } => Needs::columns(column::VALUE, effect::DROP | effect::REJECT),
        }
    }

    /// Whether the record matches, or what else is to become of it.
    fn matches(&self, record: &Record<'_>, filter: &Filter) -> Result<bool, Verdict> {
        match self {
            Self::Key(key) => Ok(record.key() == Some(key)),
            Self::KeyPrefix(prefix) => Ok(record.key().is_some_and(|key| key.starts_with(prefix))),
            Self::Header { equals, .. } => Ok(record.headers().iter().any(|h| h.value == Some(equals))),
            Self::Field { path, equals } => {
                let value = record.value().ok_or(filter.tombstones)?;
                field::equals(value, path, equals).map_err(|_| filter.unmatched)
            }
        }
    }
}

impl Plugin for Filter {
    fn about() -> About {
        About {
            name: "filter".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            description: "Keeps or drops records by key, header or a field of a JSON value".into(),
            config_schema: SCHEMA.into(),
            effects: effect::DROP | effect::REJECT,
            reject_codes: vec!["not-judged".into()],
            ..About::default()
        }
    }

    fn configure(config: &str, _link: &LinkInfo) -> Result<Self, Vec<ConfigError>> {
        let config: Config = serde_json::from_str(config).map_err(|e| vec![config_error("", e.to_string())])?;
        let (rule, keeps, at) = match (config.keep, config.drop) {
            (Some(rule), None) => (rule, true, "/keep"),
            (None, Some(rule)) => (rule, false, "/drop"),
            _ => return Err(vec![config_error("", "either keep or drop is expected")]),
        };
        Ok(Self {
            rule: Rule::new(rule, at).map_err(|e| vec![e])?,
            keeps,
            unmatched: config.unmatched,
            tombstones: config.tombstones,
        })
    }

    fn open_topic(&mut self, _topic: &str, _partitions: u32) -> Result<TopicPlan, String> {
        Ok(TopicPlan::reads(self.rule.needs()))
    }

    fn on_record(&mut self, record: &Record<'_>) -> Action {
        match self.rule.matches(record, self) {
            Ok(matches) if matches == self.keeps => Action::Pass,
            Ok(_) | Err(Verdict::Drop) => Action::Drop,
            Err(Verdict::Keep) => Action::Pass,
            // Says nothing of the value itself: it may hold personal data.
            Err(Verdict::Reject) => Action::Reject {
                code: 0,
                reason: "the value is not one well-formed JSON document, or a name on the path occurs twice".into(),
            },
        }
    }
}

plugin!(Filter);
