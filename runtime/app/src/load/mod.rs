//! Loads a configuration: merges its layers, resolves references, judges the result.
//!
//! The file and the overrides of the environment become one tree, and each of its entries knows its line or
//! its variable.

mod document;
mod environment;
mod layers;
mod masked_text;
mod overrides;
#[cfg(test)]
mod tests;
mod tree;
mod yaml;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path as FilePath, PathBuf};

use serde_json::Value;
use strait_core::config::{self, AdminListen, Config, Gravity, Part, Problem, structure};

use crate::report::{Finding, Place, Report};
use crate::telemetry::Mask;
use document::Format;
pub use environment::Environment;
use layers::Merged;
use tree::{Parsed, Places};

/// A valid configuration.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration, references resolved.
    pub config: Config,
    /// Warnings.
    pub report: Report,
    base: PathBuf,
    file: PathBuf,
    environment: Environment,
}

impl Loaded {
    /// The file it came from.
    #[must_use]
    pub fn file(&self) -> &FilePath {
        &self.file
    }

    /// Loads the file again as it is now, in the same environment.
    ///
    /// # Errors
    /// As [`load`].
    pub fn load_again(&self) -> Result<Self, Report> {
        load(&self.file, &self.environment)
    }

    /// The folder of the plugins: `plugin_dir`, relative to the file.
    #[must_use]
    pub fn plugin_dir(&self) -> PathBuf {
        self.base.join(self.config.plugin_dir.expose())
    }

    /// The folder that Strait keeps to itself: `state_dir`, relative to the file.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.base.join(self.config.state_dir.expose())
    }
}

/// Loads and judges a file.
///
/// # Errors
/// A report with everything that is wrong.
pub fn load(file: &FilePath, environment: &Environment) -> Result<Loaded, Report> {
    let name = file.display().to_string();
    let fail = |message: String, help: &str| Report::failure(&name, "unreadable", message, help);
    let Some(format) = Format::of(file) else {
        return Err(fail(
            format!("cannot tell what {name} is written in"),
            "its name must end in .toml, .yaml, .yml or .json",
        ));
    };
    let text = std::fs::read_to_string(file).map_err(|error| {
        let help = match error.kind() {
            std::io::ErrorKind::NotFound => "name the file with -c FILE",
            std::io::ErrorKind::InvalidData => "a configuration is UTF-8 text",
            _ => "the process must be allowed to read it",
        };
        fail(format!("cannot read {name}: {error}"), help)
    })?;
    let base = file.parent().unwrap_or_else(|| FilePath::new("")).to_owned();
    let loaded = judge(&name, &text, format, &base, environment)?;
    Ok(Loaded { file: file.to_owned(), ..loaded })
}

/// Where the processes of a configuration listen with their admin API; `None` where they do not. Reads nothing else, so that
/// it works where the configuration's secrets are not to be had, and without a file as well: then it is the default.
///
/// # Errors
/// What is wrong with the file or the setting.
pub fn admin_address(file: &FilePath, environment: &Environment) -> Result<Option<SocketAddr>, String> {
    let name = file.display();
    let tree = as_written(file, environment)?;
    let listen = tree.pointer("/admin/listen").and_then(Value::as_str);
    match AdminListen::parse(listen).map_err(|reason| format!("{name}: [admin] listen: {reason}"))? {
        AdminListen::Off => Ok(None),
        AdminListen::Default(address) | AdminListen::Explicit(address) if address.port() == 0 => {
            Err(format!("{name}: its processes listen on any free port of {}: their log says which", address.ip()))
        }
        AdminListen::Default(address) | AdminListen::Explicit(address) => Ok(Some(address)),
    }
}

/// The `trusted_plugin_keys` of a configuration, as written. Reads nothing else.
///
/// # Errors
/// What is wrong with the file.
pub fn trusted_plugin_keys(file: &FilePath, environment: &Environment) -> Result<Vec<String>, String> {
    let tree = as_written(file, environment)?;
    let keys = tree.get("trusted_plugin_keys").and_then(Value::as_array).into_iter().flatten();
    Ok(keys.map(|key| key.as_str().unwrap_or_default().to_owned()).collect())
}

/// The tree of a file with the environment's overrides, not judged; empty where there is no file.
fn as_written(file: &FilePath, environment: &Environment) -> Result<Value, String> {
    let name = file.display();
    let mut tree = Value::Object(serde_json::Map::new());
    match (Format::of(file), std::fs::read_to_string(file)) {
        (Some(format), Ok(text)) => {
            let parsed = document::parse(&text, format);
            tree = parsed.map_err(|_| format!("{name} is not valid {format}; see strait check"))?.tree;
        }
        (None, _) => return Err(format!("cannot tell what {name} is written in")),
        (_, Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {}
        (_, Err(error)) => return Err(format!("cannot read {name}: {error}")),
    }
    let merged = layers::merge(&name.to_string(), tree, &environment.variables);
    Ok(merged.map_err(|error| format!("{name}: its layers cannot be merged: {error}"))?.tree)
}

fn judge(name: &str, text: &str, format: Format, base: &FilePath, environment: &Environment) -> Result<Loaded, Report> {
    let parsed = document::parse(text, format).map_err(|errors| {
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
    let shown = masked_text::mask_secrets(text, &parsed);
    let Parsed { tree: file, places } = parsed;
    let Merged { tree, set, problems } = layers::merge(name, file, &environment.variables).map_err(|error| {
        let message = format!("the layers of the configuration cannot be merged: {error}");
        Report::failure(name, "layers", message, "report this as a bug")
    })?;
    let place = |problem: &Problem| place_of(problem, &set, &places);
    let mut findings: Vec<Finding> =
        problems.iter().map(|(variable, problem)| Finding::new(problem, Place::Variable(variable.clone()))).collect();

    let (config, problems) = structure::read(tree);
    findings.extend(problems.iter().map(|problem| Finding::new(problem, place(problem))));
    let Some(mut config) = config else {
        return Err(Report::new(name, shown, findings));
    };
    let unresolved = config::resolve(&mut config, &mut |reference| environment.look_up(reference, base));
    let bundled: Vec<&str> = strait_host::bundled_names().collect();
    let mut judged = config::validate(&config, &bundled);
    judged.extend(invalid_keys(&config));
    findings.extend(unresolved.iter().map(|problem| Finding::new(problem, place(problem))));
    findings.extend(judged.iter().map(|problem| Finding::new(problem, place(problem))));
    // A message may quote a value, and a value may have come out of a reference.
    let mask = Mask::new(&config.resolved_values());
    for finding in &mut findings {
        finding.mask(&mask);
    }
    let report = Report::new(name, shown, findings);
    if report.has_errors() {
        return Err(report);
    }
    Ok(Loaded { config, report, base: base.to_owned(), file: PathBuf::from(name), environment: environment.clone() })
}

/// Returns the position of a problem: the variable that set its entry, else the line in the file; where the
/// entry has neither, that of the nearest entry around it.
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
            Some(outer) => (at, part) = (outer, Part::Key),
            None => return Place::Nowhere,
        }
    }
}

/// Returns trusted keys that are written like keys but are not on the curve, which only the host knows.
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
