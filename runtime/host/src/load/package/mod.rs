//! A plugin's file, checked: size, validity, imports, version, digest.

mod count;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;

use std::borrow::Cow;
use std::io::ErrorKind;
use std::path::Path;

use serde::Serialize;
use sha2::{Digest, Sha256};
use strait_core::config::nearest;
use wasmparser::{Encoding, Parser, Payload};

use super::bundled::{bundled, bundled_names};
use super::spec::PluginSource;
use super::trust::{Trust, Vouched};
use crate::api::{Interface, TRANSFORM, version_in};
use crate::error::LoadProblem;
use crate::file::{FileError, read_file};
use crate::guest::{GuestLimits, Import, judge};
use crate::text::clean;

const PACKAGE: &str = "strait:plugin/";

/// The format of a plugin's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageKind {
    /// A component.
    Component,
    /// A core module, which is made a component when it is loaded.
    CoreModule,
}

/// A checked file.
#[derive(Debug)]
pub(crate) struct Package {
    /// The file. It is validated when it is compiled.
    pub(crate) bytes: Cow<'static, [u8]>,
    pub(crate) digest: [u8; 32],
    pub(crate) kind: PackageKind,
    /// Version of `strait:plugin` that it exports.
    pub(crate) version: String,
    pub(crate) interface: Interface,
    pub(crate) imports: Vec<String>,
    /// The signature, where there has to be one.
    pub(crate) vouched: Option<Vouched>,
}

impl Package {
    /// Reads and checks a plugin without running it. The file is read once: the checked bytes are
    /// the compiled ones.
    pub(crate) fn open(
        source: &PluginSource,
        limits: &GuestLimits,
        trust: &Trust,
        wasi: bool,
    ) -> Result<Self, LoadProblem> {
        let bytes = read(source, limits)?;
        let digest = Sha256::digest(&bytes).into();
        let vouched = trust.check(source, &bytes, &digest)?;
        Ok(Self { vouched, ..Self::check(bytes, digest, limits, wasi)? })
    }

    /// Returns the SHA-256 of the file as it is now, and the version of the interface that it
    /// exports.
    pub(crate) fn identity(source: &PluginSource, limits: &GuestLimits) -> Result<([u8; 32], Interface), LoadProblem> {
        let bytes = read(source, limits)?;
        check_size(bytes.len(), limits)?;
        count::check(&bytes, limits)?;
        let (_, interface) = Names::read(&bytes)?.version()?;
        Ok((Sha256::digest(&bytes).into(), interface))
    }

    fn check(
        bytes: Cow<'static, [u8]>,
        digest: [u8; 32],
        limits: &GuestLimits,
        wasi: bool,
    ) -> Result<Self, LoadProblem> {
        check_size(bytes.len(), limits)?;
        // Before anything else looks into it.
        count::check(&bytes, limits)?;
        let names = Names::read(&bytes)?;
        names.check_imports(wasi)?;
        let (version, interface) = names.version()?;
        Ok(Self { bytes, digest, kind: names.kind, version, interface, imports: names.imports, vouched: None })
    }
}

fn read(source: &PluginSource, limits: &GuestLimits) -> Result<Cow<'static, [u8]>, LoadProblem> {
    match source {
        PluginSource::File(path) => match read_file(path, limits.file_bytes_max) {
            Err(FileError::Unreadable(error)) if error.kind() == ErrorKind::NotFound => Err(no_such_file(path)),
            read => Ok(read?.into()),
        },
        PluginSource::Bundled(name) => match bundled(name) {
            Some(bytes) => Ok(bytes.into()),
            None if bundled_names().next().is_none() => Err(LoadProblem::NothingBundled),
            None => Err(LoadProblem::NotBundled { available: bundled_names().collect::<Vec<_>>().join(", ") }),
        },
    }
}

fn no_such_file(path: &Path) -> LoadProblem {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let meant = nearest(&name, bundled_names()).filter(|meant| *meant != name);
    LoadProblem::NoSuchFile { meant, bundled: bundled_names().collect::<Vec<_>>().join(", ") }
}

fn check_size(bytes: usize, limits: &GuestLimits) -> Result<(), LoadProblem> {
    if bytes > limits.file_bytes_max {
        return Err(LoadProblem::TooLarge { bytes, bytes_max: limits.file_bytes_max });
    }
    Ok(())
}

/// The outer imports and exports of a file.
struct Names {
    kind: PackageKind,
    imports: Vec<String>,
    exports: Vec<String>,
}

impl Names {
    fn read(bytes: &[u8]) -> Result<Self, LoadProblem> {
        let invalid = |e: wasmparser::BinaryReaderError| LoadProblem::NotWasm(e.to_string());
        let mut names = Self { kind: PackageKind::CoreModule, imports: Vec::new(), exports: Vec::new() };
        // Modules and components inside a component have names of their own.
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(invalid)? {
                Payload::Version { encoding, .. } if depth == 0 => {
                    depth = 1;
                    names.kind = match encoding {
                        Encoding::Component => PackageKind::Component,
                        Encoding::Module => PackageKind::CoreModule,
                    };
                }
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ImportSection(section) if depth == 1 => {
                    for import in section.into_imports() {
                        let import = import.map_err(invalid)?;
                        names.imports.push(core_import(import.module, import.name));
                    }
                }
                Payload::ExportSection(section) if depth == 1 => {
                    for export in section {
                        names.exports.push(export.map_err(invalid)?.name.to_owned());
                    }
                }
                Payload::ComponentImportSection(section) if depth == 1 => {
                    for import in section {
                        names.imports.push(import.map_err(invalid)?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) if depth == 1 => {
                    for export in section {
                        names.exports.push(export.map_err(invalid)?.name.name.to_owned());
                    }
                }
                _ => {}
            }
        }
        names.imports.sort();
        names.imports.dedup();
        Ok(names)
    }

    fn check_imports(&self, wasi: bool) -> Result<(), LoadProblem> {
        for import in &self.imports {
            match judge(import) {
                Import::Known if wasi && self.kind == PackageKind::Component => continue,
                Import::Known if self.kind == PackageKind::Component => {
                    return Err(LoadProblem::WasiNotGranted { import: clean(import, 256) });
                }
                Import::Known | Import::Never | Import::Other => {}
            }
            let (interface, version) = import.split_once('@').unwrap_or((import, ""));
            if !matches!(interface, "strait:plugin/host" | "strait:plugin/types") {
                return Err(LoadProblem::UnknownImport { import: clean(import, 256) });
            }
            if Interface::of(version).is_none() {
                return Err(LoadProblem::WrongVersion { version: clean(version, 32) });
            }
        }
        Ok(())
    }

    fn version(&self) -> Result<(String, Interface), LoadProblem> {
        let exports = || self.exports.iter().map(String::as_str);
        if let Some((interface, version)) = Interface::newest_in(exports()) {
            return Ok((version.to_owned(), interface));
        }
        Err(match exports().find_map(version_in) {
            Some(version) => LoadProblem::WrongVersion { version: clean(version, 32) },
            None => LoadProblem::MissingExport { export: format!("{TRANSFORM}0.2.0"), detail: String::new() },
        })
    }
}

/// Returns the name of an import of a core module: the interface for the host's own, else with the
/// function.
fn core_import(module: &str, name: &str) -> String {
    if module.starts_with(PACKAGE) {
        return module.to_owned();
    }
    format!("{module}.{name}")
}
