//! Loads a configuration: defaults, then the file, then the environment; then references; then judgement.
//!
//! One tree is made of the file and the overrides, so every problem knows its line or its variable.

mod document;
mod layers;
mod overlay;
#[cfg(test)]
mod tests;
mod yaml;

use std::net::SocketAddr;
use std::path::{Path as FilePath, PathBuf};

use serde_json::Value;
use strait_core::config::{self, AdminListen, Config, Gravity, Problem, reference::Reference, structure};

use crate::report::{Finding, Place, Report};
use crate::telemetry::Mask;
use document::{Format, Parsed};
use overlay::Overlay;

/// Largest file that a `${file:…}` reference reads, in bytes.
const SECRET_BYTES_MAX: u64 = 1 << 20;

/// The environment, given so that tests need not change the process's own.
#[derive(Clone, Default)]
pub struct Environment {
    variables: Vec<(String, String)>,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values may be secrets.
        f.debug_struct("Environment").field("variables", &self.variables.len()).finish()
    }
}

impl Environment {
    /// The process's own. Variables that are not UTF-8 are left out.
    #[must_use]
    pub fn of_process() -> Self {
        let utf8 = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self { variables: std::env::vars_os().filter_map(utf8).collect() }
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.variables.iter().find(|(variable, _)| variable == name);
        found.map(|(_, value)| value.as_str())
    }
}

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
    pub fn again(&self) -> Result<Self, Report> {
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
    overlay::overlay(&mut tree, &environment.variables);
    Ok(tree)
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
        Report::new(name, document::hide_secret_lines(text), findings.collect())
    })?;
    let shown = document::hide_secrets(text, &parsed);
    let Parsed { tree: file, places } = parsed;
    let mut tree = file.clone();
    let Overlay { set, problems } = overlay::overlay(&mut tree, &environment.variables);
    if file.is_object() {
        let touched = set.keys().filter_map(|at| match at.steps().first() {
            Some(config::Step::Key(key)) => Some(key.clone()),
            _ => None,
        });
        tree = layers::merge(name, &file, &tree, &touched.collect()).map_err(|error| {
            Report::failure(
                name,
                "layers",
                format!("the layers of the configuration cannot be merged: {error}"),
                "report this as a bug",
            )
        })?;
    }

    let place = |problem: &Problem| {
        let mut at = Some(problem.at.clone());
        while let Some(outer) = at {
            if let Some(variable) = set.get(&outer) {
                return Place::Variable(variable.clone());
            }
            at = outer.parent();
        }
        places.find(&problem.at, problem.part).map_or(Place::Nowhere, Place::Span)
    };
    let mut findings: Vec<Finding> =
        problems.iter().map(|(variable, problem)| Finding::new(problem, Place::Variable(variable.clone()))).collect();

    let (config, problems) = structure::read(tree);
    findings.extend(problems.iter().map(|problem| Finding::new(problem, place(problem))));
    let Some(mut config) = config else {
        return Err(Report::new(name, shown, findings));
    };
    let unresolved = config::resolve(&mut config, &mut |reference| look_up(reference, base, environment));
    let mut judged = config::validate(&config);
    judged.extend(keys_that_are_none(&config));
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

/// Trusted keys that are written as keys and are none: only the host knows the curve.
fn keys_that_are_none(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, key) in config.trusted_plugin_keys.iter().enumerate() {
        if config::pin::public_key(key).is_ok()
            && let Err(reason) = strait_host::PublicKey::parse(key)
        {
            let at = config::Path::default().key("trusted_plugin_keys").index(index);
            let what = config::What::BadSetting { value: key.clone(), reason };
            problems.push(Problem { at, part: config::Part::Value, what });
        }
    }
    problems
}

fn look_up(reference: &Reference<'_>, base: &FilePath, environment: &Environment) -> Result<String, String> {
    match reference {
        Reference::Env(name) => match environment.get(name) {
            Some(value) => Ok(value.to_owned()),
            None => Err("is not set".to_owned()),
        },
        Reference::File(path) => read_secret(&base.join(path)),
    }
}

fn read_secret(path: &FilePath) -> Result<String, String> {
    // The reference names the path as it was written; the error must not show where that leads on this machine.
    let metadata = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    if !metadata.is_file() {
        return Err("is not a file".to_owned());
    }
    if metadata.len() > SECRET_BYTES_MAX {
        return Err(format!("is larger than {SECRET_BYTES_MAX} bytes"));
    }
    let mut text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    // Editors and `echo` end files with a line break that nobody means.
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}
