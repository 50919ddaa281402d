//! Inspection of a plugin file without a link.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::manifest::Manifest;
use super::package::{Package, PackageKind};
use super::schema;
use super::spec::PluginSource;
use super::trust::Trust;
use crate::error::LoadError;
use crate::guest::{GuestLimits, HostEngine, Instance};
use crate::text::{clean_lines, hex};

/// The result of `strait plugin inspect`.
#[derive(Clone, Debug, Serialize)]
pub struct PluginInfo {
    /// Path of the file.
    pub path: PathBuf,
    /// Component or core module.
    pub kind: PackageKind,
    /// Size of the file.
    pub size_bytes: usize,
    /// Digest of the file: `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// Version of `strait:plugin` that it exports.
    pub wit_version: String,
    /// Its imports: of the host, or of WASI, which needs `wasi = true` in a link.
    pub imports: Vec<String>,
    /// Its description.
    pub manifest: Manifest,
}

/// Checks a plugin file, starts it once and reads its description. Does not configure it.
///
/// # Errors
/// [`LoadError`] as at load.
pub fn inspect(engine: &HostEngine, path: &Path) -> Result<PluginInfo, LoadError> {
    let fail = |problem| LoadError {
        plugin: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        origin: path.display().to_string(),
        of_file: true,
        problem,
    };
    let limits = GuestLimits::default();
    let source = PluginSource::File(path.to_owned());
    let package = Package::open(&source, &limits, &Trust::default(), true).map_err(fail)?;
    let pre = engine.compile(package.digest, package.interface, &package.bytes, &limits).map_err(fail)?;
    let mut instance = Instance::start(engine, &pre, &limits).map_err(|f| fail(f.at("start")))?;
    let about = instance.describe(&limits).map_err(|f| fail(f.at("describe")))?;
    let mut manifest = Manifest::check(about).map_err(fail)?;
    schema::bound(&manifest.config_schema).map_err(fail)?;
    // It is printed, and it is the one text of a guest that may have lines.
    manifest.config_schema = clean_lines(&manifest.config_schema);
    Ok(PluginInfo {
        path: path.to_owned(),
        kind: package.kind,
        size_bytes: package.bytes.len(),
        digest: format!("sha256:{}", hex(&package.digest)),
        wit_version: package.version,
        imports: package.imports,
        manifest,
    })
}
