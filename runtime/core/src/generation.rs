//! The generation of a chain: a digest of all that decides which records pass and what is shown of
//! them.
//!
//! A member that is added later is left out of the canonical text while it has its default, so that
//! the digest of a chain that does not use it stays.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use strait_scheme::pseudonym::key_id;

use crate::config::OnError;

/// All that decides which records pass and what is shown of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Manifest {
    /// The plugins in the order in which they see a record.
    pub plugins: Vec<PluginManifest>,
    /// The names of the copied topics, with `{topic}` in place of the source topic.
    pub naming: Arc<str>,
    /// The framing of keys and values.
    pub framing: Vec<Framing>,
    /// Residency is demanded of the link.
    pub residency: bool,
}

/// One plugin of a [`Manifest`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PluginManifest {
    /// Its name in the link.
    pub name: Arc<str>,
    /// Digest of its file: `sha256:` and 64 hexadecimal digits.
    pub digest: Arc<str>,
    /// Version of the interface that it speaks.
    pub wit: Arc<str>,
    /// Its configuration.
    #[serde(flatten)]
    pub config: PluginConfig,
    /// No record passes without its judgement.
    pub required: bool,
    /// Action for a record that breaks it.
    pub on_error: OnError,
    /// It may follow a required plugin although it could undo that plugin's edits.
    pub allow_after: bool,
    /// It may see records before a required plugin does.
    pub may_see_raw: bool,
    /// The operator's bound on the topics that it may name, as regular expressions.
    pub output_topics: BTreeSet<Arc<str>>,
    /// Its other grants, such as `wasi`.
    pub grants: BTreeSet<Arc<str>>,
}

/// The configuration of a plugin with key ids in place of secrets.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PluginConfig {
    /// The configuration, with null in place of each secret.
    config: Value,
    /// The key ids of the secrets, by JSON Pointer into the configuration.
    secrets: BTreeMap<String, String>,
}

/// The framing of one part of the records of some topics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Framing {
    /// The topics, as regular expressions.
    pub topics: Vec<Arc<str>>,
    /// `value` or `key`.
    pub part: Arc<str>,
    /// `none` or `confluent`.
    pub frame: Arc<str>,
}

/// A manifest without a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration of a plugin has no canonical form: {0}")]
pub struct NoDigest(#[from] strait_scheme::canonical::NotCanonical);

impl Manifest {
    /// Returns the generation: the digest of the canonical text.
    ///
    /// # Errors
    /// [`NoDigest`]: a plugin's configuration is nested too deeply.
    pub fn digest(&self) -> Result<Arc<str>, NoDigest> {
        let json = serde_json::to_vec(self).unwrap_or_default();
        Ok(strait_scheme::digest(&json)?.into())
    }

    /// Returns the generation for people: each plugin as [`PluginManifest::display`]. Nothing may
    /// be accepted by it.
    ///
    /// # Errors
    /// [`NoDigest`].
    pub fn display(&self) -> Result<Arc<str>, NoDigest> {
        if self.plugins.is_empty() {
            return Ok(crate::Generation::default().0);
        }
        let plugins: Result<Vec<String>, NoDigest> = self.plugins.iter().map(PluginManifest::display).collect();
        Ok(plugins?.join(",").into())
    }
}

impl PluginManifest {
    /// Returns the plugin for people: `name@` with the first digits of the digests of its file and
    /// of all that is set for it.
    ///
    /// # Errors
    /// [`NoDigest`].
    pub fn display(&self) -> Result<String, NoDigest> {
        const DIGITS: usize = 12;
        let short = |digest: &str| digest.trim_start_matches("sha256:").get(..DIGITS).unwrap_or(digest).to_owned();
        let all = strait_scheme::digest(&serde_json::to_vec(self).unwrap_or_default())?;
        Ok(format!("{}@{}+{}", self.name, short(&self.digest), short(&all)))
    }
}

impl PluginConfig {
    /// Takes the secrets out of a configuration: whatever differs between the configuration as it
    /// is used and as it was written, where references stand.
    #[must_use]
    pub fn new(used: &Value, written: &Value) -> Self {
        let mut secrets = BTreeMap::new();
        let config = without_secrets(used, written, &mut String::new(), &mut secrets);
        Self { config, secrets }
    }
}

fn without_secrets(used: &Value, written: &Value, at: &mut String, secrets: &mut BTreeMap<String, String>) -> Value {
    let length = at.len();
    match (used, written) {
        (Value::Object(used), Value::Object(written)) if used.keys().eq(written.keys()) => {
            let members = used.iter().zip(written.values()).map(|((name, used), written)| {
                at.push('/');
                at.push_str(&name.replace('~', "~0").replace('/', "~1"));
                let value = without_secrets(used, written, at, secrets);
                at.truncate(length);
                (name.clone(), value)
            });
            Value::Object(members.collect())
        }
        (Value::Array(used), Value::Array(written)) if used.len() == written.len() => {
            let elements = used.iter().zip(written).enumerate().map(|(index, (used, written))| {
                at.push_str(&format!("/{index}"));
                let value = without_secrets(used, written, at, secrets);
                at.truncate(length);
                value
            });
            Value::Array(elements.collect())
        }
        (used, written) if used == written => used.clone(),
        (used, _) => {
            let secret = used.as_str().map_or_else(|| used.to_string(), str::to_owned);
            secrets.insert(at.clone(), key_id(secret.as_bytes()));
            Value::Null
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest() -> Manifest {
        let used = json!({"rules": [{"secret": "0123456789abcdef", "keep": 4}], "a/b": 9_007_199_254_740_993_u64});
        let written = json!({"rules": [{"secret": "${env:KEY}", "keep": 4}], "a/b": 9_007_199_254_740_993_u64});
        Manifest {
            plugins: vec![PluginManifest {
                name: "redact".into(),
                digest: format!("sha256:{}", "ab".repeat(32)).into(),
                wit: "0.1.0".into(),
                config: PluginConfig::new(&used, &written),
                required: true,
                on_error: OnError::default(),
                allow_after: false,
                may_see_raw: false,
                output_topics: BTreeSet::new(),
                grants: BTreeSet::new(),
            }],
            naming: "aws.{topic}".into(),
            framing: Vec::new(),
            residency: false,
        }
    }

    /// The stored contract: borders name generations by this digest.
    #[test]
    fn the_canonical_text_of_a_manifest_is_pinned() {
        let mut text = Vec::new();
        strait_scheme::canonical::write(&serde_json::to_vec(&manifest()).unwrap(), &mut text).unwrap();
        let digest = format!("sha256:{}", "ab".repeat(32));
        let id = key_id(b"0123456789abcdef");
        assert_eq!(
            String::from_utf8(text).unwrap(),
            format!(
                r#"{{"framing":[],"naming":"aws.{{topic}}","plugins":[{{"allow_after":false,"config":{{"a/b":9007199254740993,"rules":[{{"keep":4,"secret":null}}]}},"digest":"{digest}","grants":[],"may_see_raw":false,"name":"redact","on_error":"quarantine","output_topics":[],"required":true,"secrets":{{"/rules/0/secret":"{id}"}},"wit":"0.1.0"}}],"residency":false}}"#
            )
        );
        assert_eq!(manifest().digest().unwrap().len(), "sha256:".len() + 64);
    }

    #[test]
    fn whatever_decides_what_passes_changes_the_generation() {
        let of = |change: fn(&mut Manifest)| {
            let mut manifest = manifest();
            change(&mut manifest);
            manifest.digest().unwrap()
        };
        let plugin = |change: fn(&mut PluginManifest)| {
            let mut manifest = manifest();
            manifest.plugins.iter_mut().for_each(change);
            manifest.digest().unwrap()
        };
        let config = |used: Value, written: Value| {
            let mut manifest = manifest();
            manifest.plugins.iter_mut().for_each(|plugin| plugin.config = PluginConfig::new(&used, &written));
            manifest.digest().unwrap()
        };
        let all = [
            of(|_| ()),
            of(|manifest| manifest.naming = "{topic}".into()),
            of(|manifest| manifest.residency = true),
            of(|manifest| manifest.plugins.clear()),
            of(|manifest| manifest.plugins.extend(manifest.plugins.clone())),
            of(|manifest| {
                manifest.framing.push(Framing { topics: vec![], part: "value".into(), frame: "confluent".into() });
            }),
            plugin(|plugin| plugin.name = "other".into()),
            // The file differs behind the twelve digits that people see.
            plugin(|plugin| plugin.digest = format!("sha256:{}cd", "ab".repeat(31)).into()),
            plugin(|plugin| plugin.wit = "0.2.0".into()),
            plugin(|plugin| plugin.required = false),
            plugin(|plugin| plugin.on_error = OnError::Stop),
            plugin(|plugin| plugin.allow_after = true),
            plugin(|plugin| plugin.may_see_raw = true),
            plugin(|plugin| plugin.output_topics = ["a".into()].into()),
            plugin(|plugin| plugin.grants = ["wasi".into()].into()),
            config(json!({"s": "one secret"}), json!({"s": "${env:S}"})),
            config(json!({"s": "another secret"}), json!({"s": "${env:S}"})),
            config(json!({"s": null}), json!({"s": null})),
            config(json!({"s": ["one secret"]}), json!({"s": "${env:S}"})),
            config(json!({"s": 9_007_199_254_740_993_u64}), json!({"s": 9_007_199_254_740_993_u64})),
            config(json!({"s": 9_007_199_254_740_992_u64}), json!({"s": 9_007_199_254_740_992_u64})),
        ];
        let different: BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn the_display_is_short_and_a_chain_without_plugins_is_none() {
        let mut manifest = manifest();
        let display = manifest.display().unwrap();
        assert!(display.starts_with("redact@abababababab+") && display.len() == "redact@".len() + 12 + 1 + 12);
        manifest.plugins.clear();
        assert_eq!(&*manifest.display().unwrap(), "none");
    }

    #[test]
    fn no_secret_is_in_a_manifest() {
        let text = serde_json::to_string(&manifest()).unwrap();
        assert!(!text.contains("0123456789abcdef") && text.contains(&key_id(b"0123456789abcdef")));
    }
}
