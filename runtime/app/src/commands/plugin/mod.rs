//! `strait plugin …`.

mod author;
mod bench;
mod build;
mod cases;
pub mod jsonl;
mod project;
pub mod runner;
mod sdk;
mod tools;

use std::fmt::Display;
use std::path::Path;

use strait_host::{HostEngine, PackageKind, PluginInfo, inspect};

use self::project::ProjectError;
use super::reload::{self, Request};
use super::{End, print, print_message, trust};
use crate::cli::{Output, PluginCommand};

/// Runs the command.
#[must_use]
pub fn plugin(command: &PluginCommand) -> End {
    match command {
        PluginCommand::Reload { on, confirm, force } => {
            reload::send(on, Request::Reload { confirm: *confirm, force: *force })
        }
        PluginCommand::Rollback { on, confirm } => reload::send(on, Request::Rollback { confirm: *confirm }),
        PluginCommand::History(on) => reload::history(on),
        PluginCommand::Keygen { key } => trust::keygen(key),
        PluginCommand::Sign { key, file } => trust::sign(key, file),
        PluginCommand::Verify { plugin, trust, config } => trust::verify(plugin, trust, config),
        PluginCommand::Author(command) => author::run(command),
        PluginCommand::Inspect { file, output } => show(file, *output),
    }
}

/// Why a command gives no result, and how it ends.
#[derive(Debug)]
pub struct Refusal {
    /// For the operator.
    pub text: String,
    end: End,
}

impl Refusal {
    /// Refuses a plugin that does not load, or a configuration: trying again without a change does
    /// not help.
    pub fn unusable(error: &dyn Display) -> Self {
        Self { text: error.to_string(), end: End::BadConfig }
    }

    /// Prints it. Returns how the command ends.
    #[must_use]
    pub fn told(&self) -> End {
        print_message(&self.text);
        self.end
    }
}

impl From<String> for Refusal {
    fn from(text: String) -> Self {
        Self { text, end: End::Failed }
    }
}

impl From<&str> for Refusal {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<ProjectError> for Refusal {
    fn from(error: ProjectError) -> Self {
        match error {
            ProjectError::Manifest { .. } => Self::unusable(&error),
            other => other.to_string().into(),
        }
    }
}

fn show(file: &Path, output: Output) -> End {
    let read = |engine: HostEngine| inspect(&engine, file).map_err(|error| Refusal::unusable(&error));
    let info = match runner::engine().map_err(Refusal::from).and_then(read) {
        Ok(info) => info,
        Err(refusal) => return refusal.told(),
    };
    match output {
        Output::Text => print(&describe(&info)),
        Output::Json => match serde_json::to_string_pretty(&info) {
            Ok(text) => print(&text),
            Err(error) => {
                print_message(&format!("cannot print the result: {error}"));
                End::Failed
            }
        },
    }
}

fn describe(info: &PluginInfo) -> String {
    let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let manifest = &info.manifest;
    let effects: Vec<String> = manifest.effect_names.iter().map(|name| (*name).to_owned()).collect();
    let lines = [
        ("plugin", format!("{} {}", manifest.name, manifest.version)),
        ("description", manifest.description.clone()),
        ("file", info.path.display().to_string()),
        (
            "kind",
            match info.kind {
                PackageKind::Component => "component".to_owned(),
                PackageKind::CoreModule => "core module, made a component when loaded".to_owned(),
            },
        ),
        ("size", format!("{} bytes", info.size_bytes)),
        ("digest", info.digest.clone()),
        ("interface", format!("strait:plugin@{}", info.wit_version)),
        ("imports", list(&info.imports)),
        ("effects", list(&effects)),
        ("fails closed", if manifest.fails_closed { "yes" } else { "no" }.to_owned()),
        ("reject codes", list(&manifest.reject_codes)),
    ];
    let mut text: String = lines.iter().map(|(name, value)| format!("{name:<14}{value}\n")).collect();
    if !manifest.config_schema.is_empty() {
        text.push_str(&format!("config schema\n{}\n", manifest.config_schema));
    }
    text
}
