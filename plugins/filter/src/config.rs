//! The configuration of the plugin.

use serde::Deserialize;
use serde_json::Value;
use strait_plugin_sdk::{ConfigError, column, config_error, path::Path};

use crate::{
    case::Missing,
    compile::compile,
    node::{Node, Operand, Reads},
    number::Number,
    val::{Comparison, Val},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub keep: Option<RuleConfig>,
    pub drop: Option<RuleConfig>,
    #[serde(default)]
    pub unmatched: Verdict,
    pub tombstones: Option<Verdict>,
    pub missing: Option<MissingConfig>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Keep,
    Drop,
    #[default]
    Reject,
}

/// The value of a missing field or header in an expression.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MissingConfig {
    Null,
    Unmatched,
}

impl Config {
    /// Returns the result for a missing field or header. Where residency is demanded, what is
    /// missing passes only if the operator says so.
    pub fn missing(&self, residency: bool) -> Missing {
        match self.missing {
            Some(MissingConfig::Null) => Missing::Null,
            Some(MissingConfig::Unmatched) => Missing::Error,
            None if residency => Missing::Error,
            None => Missing::Null,
        }
    }

    /// Returns the verdict for a tombstone, of which a field is asked for. Its key may be that of a
    /// record that was held back.
    pub fn tombstones(&self, residency: bool) -> Verdict {
        self.tombstones.unwrap_or(if residency { Verdict::Reject } else { Verdict::Keep })
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
pub enum RuleConfig {
    Expression(String),
    Key(KeyRule),
    KeyPrefix(KeyPrefixRule),
    Header(HeaderRule),
    Field(FieldRule),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRule {
    key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyPrefixRule {
    key_prefix: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderRule {
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
pub struct FieldRule {
    field: String,
    equals: Value,
}

impl RuleConfig {
    /// Compiles the rule and returns what it reads. `at` is its JSON Pointer in the configuration.
    pub fn compile(self, at: &str, missing: Missing) -> Result<(Node, Reads), ConfigError> {
        let mut reads = Reads::default();
        let node = match self {
            Self::Expression(text) => return compile(&text).map_err(|e| config_error(at, e)),
            Self::Key(rule) => {
                reads.columns(column::KEY);
                Node::KeyIs(rule.key.into_bytes())
            }
            Self::KeyPrefix(rule) if rule.key_prefix.is_empty() => {
                return Err(config_error(format!("{at}/key_prefix"), "an empty prefix matches every key"));
            }
            Self::KeyPrefix(rule) => {
                reads.columns(column::KEY);
                Node::KeyStartsWith(rule.key_prefix.into_bytes())
            }
            Self::Header(rule) => {
                reads.header(rule.header.name.as_bytes());
                Node::HeaderIs { name: rule.header.name.into_bytes(), value: rule.header.equals.into_bytes() }
            }
            Self::Field(rule) => {
                let path = Path::parse(&rule.field).map_err(|e| config_error(format!("{at}/field"), e))?;
                let single = |path: &Path| path.steps.iter().all(|step| !step.is_many());
                if !single(&path) {
                    let message = "expected a path to one place, such as $.customer.region";
                    return Err(config_error(format!("{at}/field"), message));
                }
                let Some(equals) = scalar(&rule.equals) else {
                    let message = "expected a text, number, true, false or null";
                    return Err(config_error(format!("{at}/equals"), message));
                };
                let source = reads.field(path);
                let has = Node::Has(source.clone());
                let compare = Node::Compare { left: Operand::Source(source), by: Comparison::Equal, right: equals };
                match missing {
                    // A missing field is not null here.
                    Missing::Null => Node::And(vec![has, compare]),
                    Missing::Error => compare,
                }
            }
        };
        Ok((node, reads))
    }
}

fn scalar(json: &Value) -> Option<Val<'static>> {
    Some(match json {
        Value::Null => Val::Null,
        Value::Bool(holds) => Val::Bool(*holds),
        Value::String(text) => Val::Text(text.clone().into()),
        Value::Number(number) => Val::Number(Number::parse(number.to_string().as_bytes()).ok()?),
        Value::Array(_) | Value::Object(_) => return None,
    })
}
