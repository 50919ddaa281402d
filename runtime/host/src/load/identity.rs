//! Identities: of a plugin by its file and configuration, and of a generation by its plugins.

use serde_json::Value;
use sha2::{Digest, Sha256};
use strait_core::edit::Generation;

use super::package::Package;
use super::spec::ChainSpec;
use crate::error::LoadError;
use crate::text::hex;

/// Digits of a digest in a generation.
const DIGEST_DIGITS: usize = 12;

pub(super) fn identity(name: &str, digest: &str, config_digest: &str) -> String {
    let short = |digest: &str| digest.get(..DIGEST_DIGITS).unwrap_or(digest).to_owned();
    format!("{name}@{}+{}", short(digest), short(config_digest))
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
        let digest = Package::digest(&plugin.source, &plugin.limits).map_err(|problem| LoadError {
            plugin: plugin.name.clone(),
            origin: plugin.source.to_string(),
            problem,
        })?;
        let empty = Value::Object(serde_json::Map::new());
        let config = if plugin.config.is_null() { &empty } else { &plugin.config };
        let config_digest = config_digest(plugin.config_as_written.as_ref().unwrap_or(config));
        identities.push(identity(&plugin.name, &hex(&digest), &config_digest));
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
