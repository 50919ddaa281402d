//! Identities: of a plugin by its file and all that is set for it, and of a generation by its
//! plugins.

use std::sync::Arc;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use strait_core::edit::Generation;
use strait_core::generation::{Manifest, NoDigest, PluginConfig, PluginManifest};

use super::package::Package;
use super::spec::{ChainSpec, LinkInfo, PluginSpec, TopicNaming};
use crate::api::Interface;
use crate::error::{ConfigMistake, LoadError, LoadProblem};
use crate::text::hex;

/// Returns a plugin as it stands in the manifest of its generation: its name, the digest of its
/// file and all that is set for it, with key ids in place of secrets.
pub(super) fn entry(spec: &PluginSpec, file: &[u8], interface: Interface) -> PluginManifest {
    let empty = Value::Object(Map::new());
    let used = if spec.config.is_null() { &empty } else { &spec.config };
    let written = spec.config_as_written.as_ref().filter(|written| !written.is_null()).unwrap_or(used);
    PluginManifest {
        name: spec.name.as_str().into(),
        digest: format!("sha256:{}", hex(file)).into(),
        wit: interface.full().into(),
        config: PluginConfig::new(used, written),
        required: spec.required,
        on_error: spec.on_error,
        allow_after: spec.allow_after,
        may_see_raw: spec.may_see_raw,
        output_topics: spec.output_topics.iter().flatten().map(|pattern| pattern.as_str().into()).collect(),
        grants: spec.wasi.then(|| "wasi".into()).into_iter().collect(),
    }
}

/// Returns the identity of a plugin for people.
///
/// # Errors
/// [`LoadProblem::ConfigureRefused`]: the configuration has no digest.
pub(super) fn identity(entry: &PluginManifest) -> Result<String, LoadProblem> {
    entry.display().map_err(no_digest)
}

/// Returns the digest of a generation.
///
/// # Errors
/// [`LoadError`]: the configuration of a plugin has no digest.
pub(super) fn digest(
    plugins: Vec<PluginManifest>,
    naming: &TopicNaming,
    link: &LinkInfo,
) -> Result<Arc<str>, LoadError> {
    let naming = naming.apply("{topic}").into();
    let manifest = Manifest { plugins, naming, framing: link.framing.clone(), residency: link.residency };
    manifest.digest().map_err(|error| LoadError {
        plugin: link.link.clone(),
        origin: "the plugins of the link".to_owned(),
        of_file: false,
        problem: no_digest(error),
    })
}

fn no_digest(error: NoDigest) -> LoadProblem {
    LoadProblem::ConfigureRefused(vec![ConfigMistake { pointer: String::new(), message: error.to_string() }])
}

pub(super) fn config_digest(written: &Value) -> String {
    hex(&Sha256::digest(written.to_string().as_bytes()))
}

/// Computes the generation, for people and as one digest, from the files as they are now, without
/// checking or running them.
///
/// # Errors
/// [`LoadError`] of the first plugin whose file cannot be read.
pub fn generation_of(spec: &ChainSpec) -> Result<(Generation, Arc<str>), LoadError> {
    let (mut identities, mut entries) = (Vec::new(), Vec::new());
    for plugin in &spec.plugins {
        let found = Package::identity(&plugin.source, &plugin.limits).and_then(|(digest, interface)| {
            let entry = entry(plugin, &digest, interface);
            Ok((identity(&entry)?, entry))
        });
        let (identity, entry) = found.map_err(|problem| plugin.source.error(&plugin.name, problem))?;
        identities.push(identity);
        entries.push(entry);
    }
    Ok((generation(&identities), digest(entries, &spec.naming, &spec.link)?))
}

pub(super) fn generation(identities: &[impl AsRef<str>]) -> Generation {
    if identities.is_empty() {
        return Generation::default();
    }
    let all: Vec<&str> = identities.iter().map(AsRef::as_ref).collect();
    Generation(all.join(",").into())
}
