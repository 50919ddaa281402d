//! A plan for people and for programs: both list the same entries in the same order.

use std::fmt;

use serde_json::{Map, Value, json};

use super::{Acl, AclPattern, Action, ConfigChange, Left, Part, Plan, Sign, Unknown};

/// One line of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its kind.
    pub sign: Sign,
    /// `topic`, `partitions`, `replicas`, `config`, `acl` or `unknown`.
    pub kind: &'static str,
    /// The target topic; empty where it is about none.
    pub topic: String,
    /// The line for people, without the sign.
    pub text: String,
    /// The other fields for programs.
    fields: Map<String, Value>,
}

impl Entry {
    fn new(sign: Sign, kind: &'static str, topic: &str, text: String, fields: Value) -> Self {
        let fields = match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        Self { sign, kind, topic: topic.to_owned(), text, fields }
    }

    /// Returns the entry for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut json = Map::new();
        json.insert("sign".to_owned(), json!(self.sign.character().to_string()));
        json.insert("kind".to_owned(), json!(self.kind));
        json.insert("topic".to_owned(), json!(self.topic));
        json.extend(self.fields.clone());
        Value::Object(json)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.sign.character(), self.text)
    }
}

impl Action {
    /// Returns the lines of the action.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        match self {
            Self::Create { topic, like, partitions, replicas, settings, unlike } => {
                let count = replicas.map_or_else(|| "default".to_owned(), |count| count.to_string());
                let mut text = format!("topic {topic}: like {like}, partitions {partitions}, replicas {count}");
                for (name, value) in &settings.all {
                    text.push_str(&format!(", {name}={value}"));
                }
                if let Some(reason) = unlike {
                    text.push_str(&format!("; the settings of {like} are not known: {reason}"));
                }
                let configs: Map<String, Value> =
                    settings.all.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
                let fields = json!({
                    "like": like, "partitions": partitions, "replicas": replicas, "configs": configs,
                    "unknown": unlike,
                });
                vec![Entry::new(Sign::Make, "topic", topic, text, fields)]
            }
            Self::Grow { topic, from, to } => {
                let text = format!("topic {topic}: partitions {from} -> {to}");
                let fields = json!({ "from": from.to_string(), "to": to.to_string() });
                vec![Entry::new(Sign::Change, "partitions", topic, text, fields)]
            }
            Self::Alter { topic, changes } => changes.iter().map(|change| config(topic, change)).collect(),
            Self::AddAcl(acl) => vec![of_acl(Sign::Make, acl)],
            Self::RemoveAcl(acl) => vec![of_acl(Sign::Delete, acl)],
            Self::Delete { topic, id, source } => {
                let text = format!("topic {topic} (id {id}): its source topic {source} is gone");
                let fields = json!({ "like": source, "id": id.to_string() });
                vec![Entry::new(Sign::Delete, "topic", topic, text, fields)]
            }
        }
    }
}

fn config(topic: &str, change: &ConfigChange) -> Entry {
    let ConfigChange { name, from, to, purges } = change;
    let before = from.as_deref().unwrap_or("the target's own");
    let after = to.as_deref().unwrap_or("the target's own");
    let warning = if *purges { " (the target deletes records by it)" } else { "" };
    let sign = if to.is_some() { Sign::Change } else { Sign::Delete };
    let text = format!("topic {topic}: {name} {before} -> {after}{warning}");
    let fields = json!({ "name": name, "from": from, "to": to, "purges": purges });
    Entry::new(sign, "config", topic, text, fields)
}

fn of_acl(sign: Sign, acl: &Acl) -> Entry {
    Entry::new(sign, "acl", &acl.topic, acl.to_string(), acl_fields(acl))
}

fn acl_fields(acl: &Acl) -> Value {
    json!({
        "name": acl.topic,
        "pattern": acl.pattern.name(),
        "principal": acl.principal,
        "host": acl.host,
        "operation": acl.operation.name(),
        "permission": if acl.allows { "allow" } else { "deny" },
    })
}

impl AclPattern {
    /// Returns the name for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Literal => "literal",
            Self::Prefixed => "prefixed",
        }
    }
}

impl fmt::Display for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, pattern, principal, host, operation, allows } = self;
        let permission = if *allows { "allow" } else { "deny" };
        let pattern = if *pattern == AclPattern::Prefixed { " and all that begin so" } else { "" };
        write!(f, "acl {topic}{pattern}: {permission} {} to {principal}", operation.name())?;
        if host == "*" { Ok(()) } else { write!(f, " from {host}") }
    }
}

impl Left {
    /// Returns the line.
    #[must_use]
    pub fn entry(&self) -> Entry {
        let Self { topic, part, source, target, why } = self;
        let mut fields = match part {
            Part::Acl(acl) => acl_fields(acl),
            Part::Config(name) => json!({ "name": name }),
            Part::Topic | Part::Partitions | Part::Replicas => json!({}),
        };
        if let Value::Object(fields) = &mut fields {
            let more = [("source", json!(source)), ("target", json!(target))];
            fields.extend(more.into_iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.to_owned(), v)));
            fields.insert("why".to_owned(), json!(why.name()));
            fields.insert("reason".to_owned(), json!(why.to_string()));
        }
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
        let values = || format!("{} at the source, {} at the target", value(source), value(target));
        let (kind, what) = match part {
            Part::Topic => ("topic", format!("topic {topic}")),
            Part::Partitions => ("partitions", format!("topic {topic}: partitions {}", values())),
            Part::Replicas => {
                ("replicas", format!("topic {topic}: replicas {} wanted, {} found", value(source), value(target)))
            }
            Part::Config(name) => ("config", format!("topic {topic}: {name} {}", values())),
            Part::Acl(acl) => ("acl", format!("{acl}")),
        };
        Entry::new(Sign::Leave, kind, topic, format!("{what}: {why}"), fields)
    }
}

impl Unknown {
    /// Returns the line.
    #[must_use]
    pub fn entry(&self) -> Entry {
        let Self { of, reason } = self;
        let fields = json!({ "of": of, "reason": reason });
        Entry::new(Sign::Unknown, "unknown", "", format!("{of}: {reason}"), fields)
    }
}

impl Plan {
    /// Returns all lines: the actions, then what is left, then what is not known.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let actions = self.actions.iter().flat_map(Action::entries);
        let left = self.left.iter().map(Left::entry);
        actions.chain(left).chain(self.unknown.iter().map(Unknown::entry)).collect()
    }
}
