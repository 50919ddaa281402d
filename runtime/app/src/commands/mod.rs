//! The commands. Each prints its result to standard output and returns how it ended.

pub mod check;
pub mod config;
pub mod demo;
pub mod lanes;
pub mod partitions;
pub mod plugin;
pub mod reload;
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
    /// Failed.
    Failed = 1,
    /// The configuration is wrong (`EX_USAGE` of sysexits.h, as other daemons use it).
    BadConfig = 64,
    /// A second signal ended it (128 and the number of SIGINT, as shells count).
    Interrupted = 130,
}

impl From<End> for ExitCode {
    fn from(end: End) -> Self {
        Self::from(end as u8)
    }
}

/// Loads the configuration of a command and prints the findings.
///
/// # Errors
/// [`End::BadConfig`]; the findings are printed by then.
pub fn load(config: &ConfigFile) -> Result<Loaded, End> {
    match load::load(&config.file, &Environment::of_process()) {
        Ok(loaded) => {
            print_report(&loaded.report);
            Ok(loaded)
        }
        Err(report) => {
            print_report(&report);
            Err(End::BadConfig)
        }
    }
}

/// Prints the findings of a report to standard error.
pub fn print_report(report: &Report) {
    if !report.findings().is_empty() {
        print_message(&report.render(io::stderr().is_terminal(), width()));
    }
}

/// Returns the width of reports: the terminal's, where the environment has it, within 60 to 160
/// columns.
pub fn width() -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    columns.unwrap_or(100_usize).clamp(60, 160)
}

/// Prints a message to standard error, beside the result.
pub fn print_message(text: &str) {
    let text = text.trim_end();
    // With standard error closed there is nobody to print to.
    drop(writeln!(io::stderr(), "{text}"));
}

/// Prints a result to standard output. A reader that closed the pipe (`strait config show | head`)
/// is no error.
#[must_use]
pub fn print(text: &str) -> End {
    match writeln!(io::stdout(), "{}", text.trim_end()) {
        Ok(()) => End::Ok,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => End::Ok,
        Err(error) => {
            print_message(&format!("cannot write the result: {error}"));
            End::Failed
        }
    }
}
