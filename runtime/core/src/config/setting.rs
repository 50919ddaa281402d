//! String values that may be secrets: the written form is kept apart from the resolved value.
//!
//! Nothing here prints a resolved value. `Debug` and `Serialize` show references as written and
//! known secrets as `***`. Only [`Setting::expose`] and [`PluginConfig::expose`] return the
//! resolved value.

use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::reference::{self, Lookup, RefError};
use super::secrets;

/// The types of a [`Setting`] in the schema: text, however it is written.
pub(super) const TEXT_OF_ANY_SPELLING: [&str; 3] = ["string", "number", "boolean"];

/// The text shown in place of a secret.
pub const HIDDEN: &str = "***";

/// A string in which the loader resolves `${env:NAME}` and `${file:/path}`.
///
/// Numbers and booleans are read as text, because librdkafka properties are text
/// (`"socket.timeout.ms" = 30000`). A loader that knows the text as written passes that: a number
/// with a fraction has lost it, so it is refused here.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Setting {
    written: String,
    resolved: Option<String>,
}

impl Setting {
    /// Creates a setting. References in it are not resolved yet.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { written: text.into(), resolved: None }
    }

    /// Returns the text as written in the configuration, references included.
    #[must_use]
    pub fn written(&self) -> &str {
        &self.written
    }

    /// Returns the resolved value. It may be a secret: pass it to a client or a plugin and nowhere
    /// else.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.resolved.as_deref().unwrap_or(&self.written)
    }

    /// Returns the resolved value if the text had references. Logs must mask it.
    #[must_use]
    pub fn resolved(&self) -> Option<&str> {
        self.resolved.as_deref()
    }

    /// Returns what logs must mask of a setting that is a secret: its value, or as long as that is
    /// not known, what is written beside the references.
    #[must_use]
    pub fn secret_parts(&self) -> Vec<&str> {
        match &self.resolved {
            Some(value) => vec![value],
            None => reference::beside(&self.written),
        }
    }

    /// Returns what logs must mask of URLs in the value.
    #[must_use]
    pub fn url_secrets(&self) -> Vec<&str> {
        if self.is_unresolved() { Vec::new() } else { secrets::url_secrets(self.expose()) }
    }

    /// Returns whether the text has a reference.
    #[must_use]
    pub fn has_reference(&self) -> bool {
        reference::has_reference(&self.written)
    }

    /// Returns whether the text has a reference that was not resolved.
    #[must_use]
    pub fn is_unresolved(&self) -> bool {
        self.resolved.is_none() && self.has_reference()
    }

    /// Resolves the references.
    ///
    /// # Errors
    /// [`RefError`], which names the reference and never a value.
    pub fn resolve(&mut self, lookup: &mut Lookup<'_>) -> Result<(), RefError> {
        self.resolved = reference::resolve(&self.written, lookup)?;
        Ok(())
    }

    fn shown(&self, secret: bool) -> String {
        // A reference names a secret without revealing it, but text next to a reference may be a
        // secret.
        if secret && !reference::is_only_references(&self.written) {
            return HIDDEN.to_owned();
        }
        secrets::without_url_secrets(&self.written)
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without its name a setting cannot tell whether it is a secret.
        f.write_str(&self.shown(true))
    }
}

impl Serialize for Setting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.shown(false))
    }
}

/// Serializes a setting that is a secret by its place.
pub(super) fn serialize_secret<S: Serializer>(setting: &Option<Setting>, serializer: S) -> Result<S::Ok, S::Error> {
    setting.as_ref().map(|setting| setting.shown(true)).serialize(serializer)
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self::new(text)),
            Value::Number(number) if !number.is_f64() => Ok(Self::new(number.to_string())),
            Value::Bool(flag) => Ok(Self::new(flag.to_string())),
            // The message leaves the value out: it may be a secret.
            _ => Err(D::Error::invalid_type(
                Unexpected::Other("a list, a table, null or a number with a fraction"),
                &"a string, a whole number or a boolean",
            )),
        }
    }
}

impl JsonSchema for Setting {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Setting".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": TEXT_OF_ANY_SPELLING })
    }
}

/// librdkafka properties of a cluster.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct KafkaProperties(pub BTreeMap<String, Setting>);

impl KafkaProperties {
    /// Returns the resolved value of a property. It may be a secret.
    #[must_use]
    pub fn expose(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(Setting::expose)
    }

    /// Iterates over name and resolved value of every property. Values may be secrets.
    pub fn iter_exposed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.expose()))
    }

    fn shown(&self) -> BTreeMap<&str, String> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.shown(secrets::is_secret_property(name)))).collect()
    }
}

impl fmt::Debug for KafkaProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.shown()).finish()
    }
}

impl Serialize for KafkaProperties {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.shown().serialize(serializer)
    }
}

/// Configuration of a plugin: any object. References in its strings are resolved at any depth.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct PluginConfig {
    written: Value,
    #[serde(skip)]
    resolved: Option<Value>,
}

impl Default for PluginConfig {
    fn default() -> Self {
        Self::new(Value::Object(serde_json::Map::new()))
    }
}

impl PluginConfig {
    /// Creates a configuration. References in it are not resolved yet.
    #[must_use]
    pub fn new(written: Value) -> Self {
        Self { written, resolved: None }
    }

    /// Returns the text as written in the configuration, references included.
    #[must_use]
    pub fn written(&self) -> &Value {
        &self.written
    }

    /// Returns the resolved configuration. It may contain secrets: pass it to `configure` and
    /// nowhere else.
    #[must_use]
    pub fn expose(&self) -> &Value {
        self.resolved.as_ref().unwrap_or(&self.written)
    }

    /// Resolves the references in every string.
    ///
    /// # Errors
    /// The first [`RefError`], with its place inside the object.
    pub fn resolve(&mut self, lookup: &mut Lookup<'_>) -> Result<(), (super::Path, RefError)> {
        let mut value = self.written.clone();
        let mut at = super::Path::default();
        if resolve_value(&mut value, &mut at, lookup).map_err(|error| (at, error))? {
            self.resolved = Some(value);
        }
        Ok(())
    }

    /// Returns the files that strings refer to, as written.
    #[must_use]
    pub fn files(&self) -> Vec<&str> {
        let mut found = Vec::new();
        strings(&self.written, false, &mut |text, _| found.extend(reference::files(text)));
        found
    }

    /// Returns the strings that contain resolved references, and those with the name of a secret.
    /// Logs must mask them.
    #[must_use]
    pub fn resolved_values(&self) -> Vec<&str> {
        let mut found = Vec::new();
        if let Some(resolved) = &self.resolved {
            changed_strings(&self.written, resolved, &mut found);
        }
        strings(self.expose(), false, &mut |text, is_secret| match self.resolved {
            _ if !is_secret => {}
            Some(_) => found.push(text),
            None => found.extend(reference::beside(text)),
        });
        found
    }
}

/// Shows each string of a value, and whether it is in a member with the name of a secret.
fn strings<'a>(value: &'a Value, is_secret: bool, show: &mut impl FnMut(&'a str, bool)) {
    match value {
        Value::String(text) => show(text, is_secret),
        Value::Array(items) => items.iter().for_each(|item| strings(item, is_secret, show)),
        Value::Object(members) => {
            for (name, member) in members {
                strings(member, is_secret || secrets::is_secret_field(name), show);
            }
        }
        _ => {}
    }
}

/// Returns whether anything was resolved. On an error, `at` is the place of the error.
fn resolve_value(value: &mut Value, at: &mut super::Path, lookup: &mut Lookup<'_>) -> Result<bool, RefError> {
    match value {
        Value::String(text) => match reference::resolve(text, lookup)? {
            Some(resolved) => {
                *text = resolved;
                Ok(true)
            }
            None => Ok(false),
        },
        Value::Array(items) => {
            let mut any = false;
            for (index, item) in items.iter_mut().enumerate() {
                at.push_index(index);
                any |= resolve_value(item, at, lookup)?;
                at.pop();
            }
            Ok(any)
        }
        Value::Object(fields) => {
            let mut any = false;
            for (name, item) in fields {
                at.push_key(name);
                any |= resolve_value(item, at, lookup)?;
                at.pop();
            }
            Ok(any)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(false),
    }
}

fn changed_strings<'a>(written: &Value, resolved: &'a Value, found: &mut Vec<&'a str>) {
    match (written, resolved) {
        (Value::String(before), Value::String(after)) if before != after => found.push(after),
        (Value::Array(before), Value::Array(after)) => {
            for (before, after) in before.iter().zip(after) {
                changed_strings(before, after, found);
            }
        }
        (Value::Object(before), Value::Object(after)) => {
            for (name, after) in after {
                if let Some(before) = before.get(name) {
                    changed_strings(before, after, found);
                }
            }
        }
        _ => {}
    }
}

fn shown_value(value: &Value, secret: bool) -> Value {
    match value {
        Value::String(text) => Value::String(Setting::new(text.as_str()).shown(secret)),
        Value::Array(items) => items.iter().map(|item| shown_value(item, secret)).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, item)| (name.clone(), shown_value(item, secret || secrets::is_secret_field(name))))
            .collect(),
        Value::Number(_) if secret => Value::String(HIDDEN.to_owned()),
        other => other.clone(),
    }
}

impl fmt::Debug for PluginConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&shown_value(&self.written, false), f)
    }
}

impl Serialize for PluginConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        shown_value(&self.written, false).serialize(serializer)
    }
}

impl JsonSchema for PluginConfig {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PluginConfig".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reference::Reference;
    use serde_json::json;

    const CANARY: &str = "canary-4711";

    #[test]
    fn only_expose_returns_resolved_values() {
        let mut lookup = |_: &Reference<'_>| Ok(CANARY.to_owned());
        let mut properties: KafkaProperties = serde_json::from_value(json!({
            "sasl.password": "${env:P}", "ssl.key.password": "literal-secret", "client.id": "x${env:P}",
            "socket.timeout.ms": 5, "sasl.oauthbearer.token.endpoint.url": "https://u:literal-secret@host/x",
        }))
        .unwrap();
        properties.0.values_mut().for_each(|s| s.resolve(&mut lookup).unwrap());
        let mut plugin = PluginConfig::new(json!({
            "rules": [{ "secret": "${file:/k}", "salt": "literal", "text": "a ${env:P}" }], "password": "literal-secret",
        }));
        plugin.resolve(&mut lookup).unwrap();

        for (text, parts) in [
            ("plain", &["plain"][..]),
            ("${env:EU_WEST_SSL_KEYSTORE_PASSWORD}", &["", ""]),
            ("before${file:/a/b}after", &["before", "after"]),
            ("before${file:/a/b", &["before"]),
        ] {
            assert_eq!(Setting::new(text).secret_parts(), parts);
            let plugin = PluginConfig::new(json!({ "password": text }));
            assert_eq!(plugin.resolved_values(), parts, "as long as it is not resolved");
        }
        assert_eq!(properties.expose("client.id"), Some("xcanary-4711"));
        assert_eq!(plugin.expose()["rules"][0]["text"], "a canary-4711");
        assert_eq!(plugin.resolved_values(), [CANARY, "a canary-4711", "literal-secret", CANARY]);

        let shown = format!(
            "{properties:?} {plugin:?} {:?} {} {}",
            properties.0["sasl.password"],
            serde_json::to_string(&properties).unwrap(),
            serde_json::to_string(&plugin).unwrap()
        );
        assert!(!shown.contains(CANARY) && !shown.contains("literal-secret"), "{shown}");
        for kept in ["${env:P}", "${file:/k}", "***", "https://***@host/x", "x${env:P}"] {
            assert!(shown.contains(kept), "{kept} in {shown}");
        }
    }
}
