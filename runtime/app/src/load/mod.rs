//! Loads a configuration: merges its layers, resolves references, judges the result.
//!
//! The file and the overrides of the environment become one tree, and each of its entries knows its
//! line or its variable.

mod document;
mod environment;
#[cfg(test)]
mod field_tests;
mod foreign;
mod layers;
mod masked_text;
mod overrides;
#[cfg(test)]
mod tests;
mod text_file;
mod tree;
mod yaml;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path as FilePath, PathBuf};

use serde_json::Value;
use strait_core::config::reference::Reference;
use strait_core::config::structure::{self, Shape};
use strait_core::config::{self, AdminListen, Config, Gravity, Part, Problem, Setting, Step};

use crate::cli::DEFAULT_FILE;
use crate::mask::Mask;
use crate::report::{Finding, Place, Report};
use document::Format;
pub use environment::Environment;
pub use foreign::ForeignYaml;
use layers::Merged;
pub use overrides::PLUGIN_TOOLS;
use tree::{Parsed, Places};

/// A valid configuration.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration, with references resolved.
    pub config: Config,
    /// The warnings.
    pub report: Report,
    /// Whether a run writes nothing but records to the targets, and its own topics.
    pub only_records: bool,
    base: PathBuf,
    file: PathBuf,
    environment: Environment,
}

impl Loaded {
    /// Returns the file of the configuration.
    #[must_use]
    pub fn file(&self) -> &FilePath {
        &self.file
    }

    /// Returns the mask of the secrets in this configuration, and in those that were loaded before.
    #[must_use]
    pub fn mask(&self) -> &Mask {
        &self.environment.mask
    }

    /// Loads the file again, in the same environment.
    ///
    /// # Errors
    /// As [`load`].
    pub fn load_again(&self) -> Result<Self, Report> {
        load(&self.file, &self.environment)
    }

    /// Reads the references of a setting anew, in the same environment.
    ///
    /// # Errors
    /// Why one cannot be resolved. Names the reference and never a value.
    pub fn resolve_again(&self, setting: &Setting) -> Result<String, String> {
        let mut setting = setting.clone();
        let mut look_up = |reference: &Reference<'_>| self.environment.look_up(reference, &self.base);
        setting.resolve(&mut look_up).map_err(|error| error.to_string())?;
        Ok(setting.expose().to_owned())
    }

    /// Returns the folder of the plugins: `plugin_dir`, relative to the file.
    #[must_use]
    pub fn plugin_dir(&self) -> PathBuf {
        self.beside(self.config.plugin_dir.expose())
    }

    /// Returns the folder for Strait's own state: `state_dir`, relative to the file.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.beside(self.config.state_dir.expose())
    }

    /// Returns the path of what the configuration names, relative to its file.
    #[must_use]
    pub fn beside(&self, file: &str) -> PathBuf {
        self.base.join(file)
    }
}

/// Loads and validates a file.
///
/// # Errors
/// A report with all errors.
pub fn load(file: &FilePath, environment: &Environment) -> Result<Loaded, Report> {
    let name = file.display().to_string();
    let fail = |message: String, help: &str| Report::failure(&name, "unreadable", message, help);
    let Some(format) = Format::of(file) else {
        return Err(fail(
            format!("cannot tell what {name} is written in"),
            "its name must end in .toml, .yaml, .yml or .json",
        ));
    };
    let text = text_file::read(file).map_err(|error| {
        let help = match error.kind() {
            std::io::ErrorKind::NotFound => "name the file with -c FILE",
            std::io::ErrorKind::InvalidData => "save the file in the encoding UTF-8",
            _ => "the process must be allowed to read it",
        };
        fail(format!("cannot read {name}: {error}"), help)
    })?;
    let base = file.parent().unwrap_or_else(|| FilePath::new("")).to_owned();
    let loaded = judge(&name, &text, format, &base, environment)?;
    Ok(Loaded { file: file.to_owned(), ..loaded })
}

/// Why a single setting cannot be read from a configuration.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// The extension of the file is of no known format.
    #[error("cannot tell what {0} is written in")]
    UnknownFormat(String),
    /// The file cannot be read.
    #[error("cannot read {file}: {error}")]
    Read {
        /// The file.
        file: String,
        /// The system's error.
        error: std::io::Error,
    },
    /// The file does not parse.
    #[error("{file} is not valid {format}; see strait check")]
    Syntax {
        /// The file.
        file: String,
        /// The format of its extension.
        format: Format,
    },
    /// The layers cannot be merged: a bug.
    #[error("{file}: its layers cannot be merged: {error}")]
    Layers {
        /// The file.
        file: String,
        /// figment's error.
        error: Box<figment::Error>,
    },
    /// `[admin] listen` is wrong.
    #[error("{file}: [admin] listen: {reason}")]
    Listen {
        /// The file.
        file: String,
        /// The fault.
        reason: &'static str,
    },
    /// The processes listen on any free port.
    #[error("{file}: its processes listen on any free port of {host}: their log says which")]
    AnyPort {
        /// The file.
        file: String,
        /// The address without the port.
        host: std::net::IpAddr,
    },
}

/// Returns the address of the admin API of a configuration's processes; `None` where it is off.
///
/// Reads nothing else, so it needs none of the configuration's secrets. Without a file it is the
/// default address.
///
/// # Errors
/// [`SettingError`].
pub fn admin_address(file: &FilePath, environment: &Environment) -> Result<Option<SocketAddr>, SettingError> {
    let tree = as_written(file, environment)?;
    let listen = tree.pointer("/admin/listen").and_then(Value::as_str);
    match AdminListen::parse(listen)
        .map_err(|reason| SettingError::Listen { file: file.display().to_string(), reason })?
    {
        AdminListen::Off => Ok(None),
        AdminListen::Default(address) | AdminListen::Explicit(address) if address.port() == 0 => {
            Err(SettingError::AnyPort { file: file.display().to_string(), host: address.ip() })
        }
        AdminListen::Default(address) | AdminListen::Explicit(address) => Ok(Some(address)),
    }
}

/// Returns the `trusted_plugin_keys` of a configuration, as written. Reads nothing else.
///
/// # Errors
/// [`SettingError`].
pub fn trusted_plugin_keys(file: &FilePath, environment: &Environment) -> Result<Vec<String>, SettingError> {
    let tree = as_written(file, environment)?;
    let keys = tree.get("trusted_plugin_keys").and_then(Value::as_array).into_iter().flatten();
    Ok(keys.map(|key| key.as_str().unwrap_or_default().to_owned()).collect())
}

/// Returns the merged layers without validation; only the environment where the default file does
/// not exist. One that was named must: another process listens at the default address.
fn as_written(file: &FilePath, environment: &Environment) -> Result<Value, SettingError> {
    let name = file.display().to_string();
    let mut tree = Value::Object(serde_json::Map::new());
    match (Format::of(file), text_file::read(file)) {
        (Some(format), Ok(text)) => {
            let parsed = document::parse(&text, format);
            let mut parsed = parsed.map_err(|_| SettingError::Syntax { file: name.clone(), format })?;
            parsed.keep_texts(&config::Path::default(), &Shape::default());
            tree = parsed.tree;
        }
        (None, _) => return Err(SettingError::UnknownFormat(name)),
        (_, Err(error)) if error.kind() == std::io::ErrorKind::NotFound && name == DEFAULT_FILE => {}
        (_, Err(error)) => return Err(SettingError::Read { file: name, error }),
    }
    let merged = layers::merge(&name, tree, &environment.variables);
    Ok(merged.map_err(|error| SettingError::Layers { file: name, error })?.tree)
}

fn judge(name: &str, text: &str, format: Format, base: &FilePath, environment: &Environment) -> Result<Loaded, Report> {
    let mut parsed = document::parse(text, format).map_err(|errors| {
        let findings = errors.into_iter().map(|error| Finding {
            code: "syntax",
            gravity: Gravity::Error,
            message: format!("not valid {format}: {}", error.message),
            help: None,
            path: String::new(),
            place: Place::Span(error.span),
        });
        Report::new(name, masked_text::mask_secret_lines(text), findings.collect())
    })?;
    let lost = parsed.keep_texts(&config::Path::default(), &Shape::default());
    let shown = masked_text::mask_secrets(text, &parsed);
    let Parsed { tree: file, mut places, .. } = parsed;
    let Merged { tree, set, replaced, problems } =
        layers::merge(name, file, &environment.variables).map_err(|error| {
            let message = format!("the layers of the configuration cannot be merged: {error}");
            Report::failure(name, "layers", message, "report this as a bug")
        })?;
    replaced.iter().for_each(|list| places.forget_inside(list));
    let place = |problem: &Problem| place_of(problem, &set, &places);
    let mut findings: Vec<Finding> =
        problems.iter().map(|(variable, problem)| Finding::new(problem, Place::Variable(variable.clone()))).collect();

    findings.extend(
        lost.iter().filter(|lost| !is_replaced(&lost.at, &replaced)).map(|lost| Finding::new(lost, place(lost))),
    );

    let (config, problems) = structure::read(tree);
    findings.extend(problems.iter().map(|problem| Finding::new(problem, place(problem))));
    let Some(mut config) = config else {
        return Err(Report::new(name, shown, findings));
    };
    let unresolved = config::resolve(&mut config, &mut |reference| environment.look_up(reference, base));
    let bundled: Vec<&str> = strait_host::bundled_names().collect();
    let mut judged = config::validate(&config, &bundled);
    judged.extend(invalid_keys(&config));
    judged.extend(refused_values(&config, &judged));
    findings.extend(unresolved.iter().map(|problem| Finding::new(problem, place(problem))));
    findings.extend(judged.iter().map(|problem| Finding::new(problem, place(problem))));
    // A message may quote a value, and a value may have come out of a reference.
    environment.mask.learn(&config.resolved_values());
    for finding in &mut findings {
        finding.mask(&environment.mask);
    }
    let report = Report::new(name, shown, findings);
    if report.has_errors() {
        return Err(report);
    }
    let (base, file, environment) = (base.to_owned(), PathBuf::from(name), environment.clone());
    Ok(Loaded { config, report, only_records: false, base, file, environment })
}

/// Returns the position of a problem: the variable that set its entry, else the line in the file;
/// where the entry has neither, that of the nearest entry around it.
fn place_of(problem: &Problem, set: &BTreeMap<config::Path, String>, places: &Places) -> Place {
    let (mut at, mut part) = (problem.at.clone(), problem.part);
    loop {
        if let Some(variable) = set.get(&at) {
            return Place::Variable(variable.clone());
        }
        if let Some(span) = places.find(&at, part) {
            return Place::Span(span);
        }
        match at.parent().filter(|outer| !outer.steps().is_empty()) {
            // The one text that stands for a list is the place of its entry.
            Some(outer) => {
                part = if matches!(at.steps().last(), Some(Step::Index(_))) { Part::Value } else { Part::Key };
                at = outer;
            }
            None => return Place::Nowhere,
        }
    }
}

/// Returns whether a variable has replaced an entry of the file, or a list around it.
fn is_replaced(at: &config::Path, replaced: &[config::Path]) -> bool {
    replaced.iter().any(|outer| at.inside(outer).is_some())
}

/// Returns the values of properties that librdkafka does not take, unless `known` has the property
/// already.
fn refused_values(config: &Config, known: &[Problem]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, cluster) in &config.clusters {
        let properties = config::Path::default().key("clusters").key(name).key("kafka");
        for (property, value) in cluster.kafka.0.iter().filter(|(_, value)| !value.is_unresolved()) {
            let at = properties.key(property);
            if known.iter().any(|problem| problem.at == at && problem.what.gravity() == Gravity::Error) {
                continue;
            }
            if let Some(reason) = strait_kafka::refused_value(property, value.expose()) {
                problems.push(Problem { at, part: Part::Value, what: config::What::RefusedValue { reason } });
            }
        }
    }
    problems
}

/// Returns trusted keys that are written like keys but are not on the curve, which only the host
/// knows.
fn invalid_keys(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, key) in config.trusted_plugin_keys.iter().enumerate() {
        if config::pin::public_key(key).is_ok()
            && let Err(reason) = strait_host::PublicKey::parse(key)
        {
            let at = config::Path::default().key("trusted_plugin_keys").index(index);
            let what = config::What::BadSetting { value: key.clone(), reason };
            problems.push(Problem { at, part: Part::Value, what });
        }
    }
    problems
}
