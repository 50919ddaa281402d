//! What each command does. A command prints its result to standard output and says how it ended.

pub mod check;
pub mod config;
pub mod demo;
pub mod exchange;
pub mod lanes;
pub mod plugin;
pub mod run;
pub mod status;
pub mod trust;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use crate::cli::ConfigFile;
use crate::load::{self, Environment, Loaded};
use crate::report::Report;

/// How a command ended; the numbers are the exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum End {
    /// Done.
    Ok = 0,
    /// Tried, and failed.
    Failed = 1,
    /// The configuration is wrong (`EX_USAGE` of sysexits.h, as other daemons use it).
    BadConfig = 64,
}

impl From<End> for ExitCode {
    fn from(end: End) -> Self {
        Self::from(end as u8)
    }
}

/// Loads the configuration of a command and prints its warnings, or says what is wrong and with which code to end.
///
/// # Errors
/// [`End::BadConfig`]; everything has been printed.
pub fn load(config: &ConfigFile) -> Result<Loaded, End> {
    match load::load(&config.file, &Environment::of_process()) {
        Ok(loaded) => {
            complain(&loaded.report);
            Ok(loaded)
        }
        Err(report) => {
            complain(&report);
            Err(End::BadConfig)
        }
    }
}

/// Prints what was found, to the person at the terminal.
pub fn complain(report: &Report) {
    if !report.findings().is_empty() {
        say(&report.render(io::stderr().is_terminal(), width()));
    }
}

/// Columns for reports: the terminal's as far as the environment tells, within reason.
pub fn width() -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    columns.unwrap_or(100_usize).clamp(60, 160)
}

/// Says something to the person at the terminal, beside the result.
pub fn say(text: &str) {
    let text = text.trim_end();
    // Nobody is left to be told when standard error is closed.
    drop(writeln!(io::stderr(), "{text}"));
}

/// Prints a result. A reader who has gone away (`strait config show | head`) is not an error of ours.
#[must_use]
pub fn print(text: &str) -> End {
    match writeln!(io::stdout(), "{}", text.trim_end()) {
        Ok(()) => End::Ok,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => End::Ok,
        Err(error) => {
            say(&format!("cannot write the result: {error}"));
            End::Failed
        }
    }
}
