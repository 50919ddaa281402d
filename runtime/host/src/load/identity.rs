//! Identities: of a plugin by its file and all that is set for it, and of a generation by its
//! plugins.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use strait_core::edit::Generation;
use strait_core::generation::{PluginConfig, PluginManifest};

use super::package::Package;
use super::spec::{ChainSpec, PluginSpec};
use crate::error::{ConfigMistake, LoadError, LoadProblem};
use crate::text::hex;

/// The interface that plugins speak.
const WIT: &str = "0.1.0";

/// Returns the identity of a plugin: its name, and digests of its file and of all that is set for
/// it, with key ids in place of secrets.
///
/// # Errors
/// [`LoadProblem::ConfigureRefused`]: the configuration has no digest.
pub(super) fn identity(spec: &PluginSpec, file: &[u8]) -> Result<String, LoadProblem> {
    let empty = Value::Object(Map::new());
    let used = if spec.config.is_null() { &empty } else { &spec.config };
    let written = spec.config_as_written.as_ref().filter(|written| !written.is_null()).unwrap_or(used);
    let manifest = PluginManifest {
        name: spec.name.as_str().into(),
        digest: format!("sha256:{}", hex(file)).into(),
        wit: WIT.into(),
        config: PluginConfig::new(used, written),
        required: spec.required,
        on_error: spec.on_error,
        allow_after: spec.allow_after,
        may_see_raw: false,
        output_topics: [].into(),
        grants: spec.wasi.then(|| "wasi".into()).into_iter().collect(),
    };
    manifest.display().map_err(|error| {
        LoadProblem::ConfigureRefused(vec![ConfigMistake { pointer: String::new(), message: error.to_string() }])
    })
}

pub(super) fn config_digest(written: &Value) -> String {
    hex(&Sha256::digest(written.to_string().as_bytes()))
}

/// Computes the generation from the files as they are now, without checking or running them.
///
/// # Errors
/// [`LoadError`] of the first plugin whose file cannot be read.
pub fn generation_of(spec: &ChainSpec) -> Result<Generation, LoadError> {
    let mut identities = Vec::new();
    for plugin in &spec.plugins {
        let found = Package::digest(&plugin.source, &plugin.limits).and_then(|digest| identity(plugin, &digest));
        identities.push(found.map_err(|problem| LoadError {
            plugin: plugin.name.clone(),
            origin: plugin.source.to_string(),
            problem,
        })?);
    }
    Ok(generation(&identities))
}

pub(super) fn generation(identities: &[impl AsRef<str>]) -> Generation {
    if identities.is_empty() {
        return Generation::default();
    }
    let all: Vec<&str> = identities.iter().map(AsRef::as_ref).collect();
    Generation(all.join(",").into())
}
