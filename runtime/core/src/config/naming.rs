//! The names of copied topics on the target.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::topic::{NAME_LENGTH_MAX, is_in_names, is_reserved};

/// Stands for the name of the topic at the source.
const TOPIC: &str = "{topic}";
/// Stands for the name of the source cluster.
const SOURCE: &str = "{source}";
/// Name of a topic to try a template with: no reserved name begins or ends so.
const SAMPLE: &str = "x";

/// Names of the copied topics on the target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Naming {
    /// Source cluster, dot, topic: `aws.orders`.
    #[default]
    Prefix,
    /// The same name. Together with a link in the opposite direction this is a loop, which is
    /// refused as far as it is seen: see Checks between links.
    Identity,
    /// A name with parts that stay.
    Template(Template),
}

/// A text with `{topic}` in it once, and `{source}` as often as wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Template(String);

/// The texts around the topic's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Around {
    /// Before it.
    pub before: String,
    /// Behind it.
    pub after: String,
}

impl Around {
    /// Returns the name on the target.
    #[must_use]
    pub fn apply(&self, topic: &str) -> String {
        let Self { before, after } = self;
        format!("{before}{topic}{after}")
    }
}

impl Naming {
    /// Returns the naming by a template.
    #[must_use]
    pub fn template(text: &str) -> Self {
        Self::Template(Template(text.to_owned()))
    }

    /// Returns what the names have around the topic's name, for topics of cluster `source`.
    #[must_use]
    pub fn around(&self, source: &str) -> Around {
        match self {
            Self::Identity => Around::default(),
            Self::Prefix => Around { before: format!("{source}."), after: String::new() },
            Self::Template(Template(text)) => {
                let (before, after) = text.split_once(TOPIC).unwrap_or((text, ""));
                let part = |part: &str| part.replace(SOURCE, source);
                Around { before: part(before), after: part(after) }
            }
        }
    }

    /// Returns the name on the target of a topic of cluster `source`.
    #[must_use]
    pub fn apply(&self, source: &str, topic: &str) -> String {
        self.around(source).apply(topic)
    }

    /// Returns why the naming cannot be used for topics of cluster `source`, if it cannot.
    #[must_use]
    pub(super) fn fault(&self, source: &str) -> Option<&'static str> {
        let Self::Template(Template(text)) = self else { return None };
        if text.matches(TOPIC).count() != 1 {
            return Some("a template has {topic} once, and {source} where the source cluster's name is wanted");
        }
        let rest = text.replace(TOPIC, "").replace(SOURCE, "");
        if rest.contains(['{', '}']) {
            return Some("a template has {topic} and {source}; nothing else stands in braces");
        }
        if !rest.chars().all(is_in_names) {
            return Some("names of topics have letters, digits, '.', '_' and '-' alone");
        }
        let around = self.around(source);
        if around.before.len() + around.after.len() >= NAME_LENGTH_MAX {
            return Some("Kafka's names have 249 characters at most, so none is left for the topic's");
        }
        if around == Around::default() {
            return Some("it leaves names as they are: write naming = \"identity\"");
        }
        let reserved = [SAMPLE, "x.checkpoints"].iter().any(|topic| is_reserved(&around.apply(topic)));
        reserved.then_some(
            "every name of it is reserved (strait.*, __*, *-internal and MirrorMaker 2's internal topics are never written)",
        )
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for Naming {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Naming".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Names of the copied topics on the target.",
            "anyOf": [
                { "const": "prefix", "description": "Source cluster, dot, topic: `aws.orders`." },
                {
                    "const": "identity",
                    "description": "The same name. Together with a link in the opposite direction this is a loop, which is refused."
                },
                {
                    "type": "object",
                    "properties": { "template": { "type": "string" } },
                    "required": ["template"],
                    "additionalProperties": false,
                    "description": "`{ template = \"{source}_{topic}\" }`: this text, with the names of the source cluster and of the topic in it. Without `{source}` topics of two clusters can get one name; two links that show it are a warning."
                },
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_what_stands_around_the_name() {
        let cases = [
            ("{source}_{topic}", "aws_orders.v1"),
            ("copy-of-{topic}", "copy-of-orders.v1"),
            ("{topic}.{source}", "orders.v1.aws"),
            ("{source}.{topic}.{source}", "aws.orders.v1.aws"),
        ];
        for (text, name) in cases {
            let naming = Naming::template(text);
            assert_eq!((naming.fault("aws"), naming.apply("aws", "orders.v1")), (None, name.to_owned()), "{text}");
            let json = serde_json::to_string(&naming).unwrap();
            assert_eq!(json, format!("{{\"template\":\"{text}\"}}"));
            assert_eq!(serde_json::from_str::<Naming>(&json).unwrap(), naming);
        }
        assert_eq!(Naming::Prefix.apply("aws", "t"), "aws.t");
        assert_eq!(Naming::Identity.apply("aws", "t"), "t");
        assert_eq!(serde_json::to_string(&Naming::Prefix).unwrap(), "\"prefix\"");
    }

    #[test]
    fn a_template_that_names_no_topic_or_a_reserved_one_is_refused() {
        for (text, why) in [
            ("{source}", "has {topic} once"),
            ("{topic}{topic}", "has {topic} once"),
            ("{cluster}{topic}", "nothing else"),
            ("{topic}}", "nothing else"),
            ("a b{topic}", "letters, digits"),
            ("{topic}", "identity"),
            ("__{topic}", "reserved"),
            ("strait.{topic}", "reserved"),
            ("{topic}-internal", "reserved"),
            ("{topic}.internal", "reserved"),
            ("mm2.{topic}.internal", "reserved"),
        ] {
            let fault = Naming::template(text).fault("aws").unwrap_or_default();
            assert!(fault.contains(why), "{text}: {fault}");
        }
        // The name of the cluster decides too.
        assert!(Naming::template("{source}_{topic}").fault("_").is_some_and(|fault| fault.contains("reserved")));
        assert!(Naming::template("{source}_{topic}").fault(&"a".repeat(300)).is_some());
    }
}
