//! `strait config schema` and `strait config show`.

use strait_core::config::{Config, structure};

use super::{End, load, print, print_message};
use crate::cli::{ConfigCommand, Output};

/// Runs the command.
#[must_use]
pub fn config(command: &ConfigCommand) -> End {
    match command {
        ConfigCommand::Schema => print(&format!("{:#}", structure::schema())),
        ConfigCommand::Show { config, output } => match load(config) {
            Ok(loaded) => show(&loaded.config, *output),
            Err(end) => end,
        },
    }
}

fn show(config: &Config, output: Output) -> End {
    // The model's types mask secrets when they are serialized.
    let text = match output {
        Output::Json => serde_json::to_string_pretty(config).map_err(|error| error.to_string()),
        Output::Text => toml::to_string_pretty(config).map_err(|error| error.to_string()),
    };
    match text {
        Ok(text) => print(&text),
        Err(error) => {
            print_message(&format!("cannot print the configuration: {error}"));
            End::Failed
        }
    }
}
