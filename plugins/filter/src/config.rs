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
    #[serde(default = "keep")]
    pub tombstones: Verdict,
    #[serde(default)]
    pub missing: MissingConfig,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Keep,
    Drop,
    #[default]
    Reject,
}

fn keep() -> Verdict {
    Verdict::Keep
}

/// The value of a missing field or header in an expression.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MissingConfig {
    #[default]
    Null,
    Unmatched,
}

impl From<MissingConfig> for Missing {
    fn from(config: MissingConfig) -> Self {
        match config {
            MissingConfig::Null => Self::Null,
            MissingConfig::Unmatched => Self::Error,
        }
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
    pub fn compile(self, at: &str) -> Result<(Node, Reads), ConfigError> {
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
                // A missing field is not null here.
                Node::And(vec![
                    Node::Has(source.clone()),
                    Node::Compare { left: Operand::Source(source), by: Comparison::Equal, right: equals },
                ])
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
