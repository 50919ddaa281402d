//! The commands. Each prints its result to standard output and returns how it ended.

pub mod acl;
pub mod check;
pub mod config;
pub mod demo;
pub mod groups;
pub mod import;
pub mod lanes;
pub mod offsets;
pub mod partitions;
pub mod plan;
pub mod plugin;
pub mod quarantine;
pub mod reload;
pub mod run;
pub mod status;
pub mod trust;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use strait_core::config::Link;
use strait_kafka::ClusterConfig;
use strait_kafka::probe::{self, ProbeError};

use crate::cli::ConfigFile;
use crate::compose;
use crate::load::{self, Environment, Loaded};
use crate::mask;
use crate::report::Report;

/// How long one request to a cluster may take.
pub const REQUEST: Duration = Duration::from_secs(15);
/// After how long a command says that it waits for a cluster.
const QUIET: Duration = Duration::from_secs(2);
/// How often a command says that it still waits.
const SAID_AGAIN: Duration = Duration::from_secs(10);

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

/// Returns the link of this name.
///
/// # Errors
/// [`End::Failed`]; the error is printed by then.
pub fn link_of<'a>(loaded: &'a Loaded, name: &str) -> Result<&'a Link, End> {
    let links = &loaded.config.links;
    links.iter().find(|link| link.name == name).ok_or_else(|| {
        let known: Vec<&str> = links.iter().map(|link| link.name.as_str()).collect();
        failed(&format!("the configuration has no link '{name}'; there are: {}", known.join(", ")))
    })
}

/// Returns the cluster of this name. Validation has refused links with others.
///
/// # Errors
/// [`End::Failed`]; the error is printed by then.
pub fn cluster_of(loaded: &Loaded, name: &str) -> Result<ClusterConfig, End> {
    let cluster = loaded.config.cluster(name).map(|cluster| compose::cluster(loaded, name, cluster));
    cluster.ok_or_else(|| failed(&format!("unknown cluster '{name}'")))
}

/// Returns source and target of a link once both answer. One that does not is said at once, and
/// with its address.
///
/// # Errors
/// [`End::Failed`]; the error is printed by then.
pub fn ends_of(loaded: &Loaded, link: &Link) -> Result<(ClusterConfig, ClusterConfig), End> {
    let (source, target) = (cluster_of(loaded, &link.source)?, cluster_of(loaded, &link.target)?);
    reach(&source)?;
    reach(&target)?;
    Ok((source, target))
}

/// Asks whether a cluster answers, and prints a line if that takes a while. Returns the cluster as
/// its writers must take it.
///
/// # Errors
/// [`ProbeError`], as `strait check` says it.
pub async fn reached(cluster: &ClusterConfig) -> Result<ClusterConfig, ProbeError> {
    let mut asked = pin!(probe::reach(cluster, REQUEST));
    let answer = match tokio::time::timeout(QUIET, &mut asked).await {
        Ok(answer) => answer,
        Err(_) => {
            let ClusterConfig { name, bootstrap_servers, .. } = cluster;
            print_message(&format!(
                "waiting for cluster {name} at {bootstrap_servers}, for up to {} s",
                REQUEST.as_secs()
            ));
            asked.await
        }
    };
    answer.map(|(cluster, _)| cluster)
}

/// Waits until a cluster answers.
///
/// # Errors
/// [`End::Failed`]; the error is printed by then.
pub fn reach(cluster: &ClusterConfig) -> Result<ClusterConfig, End> {
    block_on(reached(cluster))
}

/// Waits for requests to clusters.
///
/// # Errors
/// [`End::Failed`]; the error is printed by then.
pub fn block_on<T, E: Display>(requests: impl Future<Output = Result<T, E>>) -> Result<T, End> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| failed(&format!("cannot start: {error}")))?;
    runtime.block_on(requests).map_err(|error| failed(&error))
}

/// Waits for requests to clusters, and prints a line about what is waited for if that takes a
/// while, and another one now and then.
///
/// # Errors
/// [`End::Failed`]; the error is printed by then.
pub fn block_on_told<T, E: Display>(what: &str, requests: impl Future<Output = Result<T, E>>) -> Result<T, End> {
    block_on(told(what, requests, print_message))
}

async fn told<T>(what: &str, requests: impl Future<Output = T>, mut say: impl FnMut(&str)) -> T {
    let (mut requests, began) = (pin!(requests), tokio::time::Instant::now());
    let mut wait = QUIET;
    loop {
        if let Ok(done) = tokio::time::timeout(wait, &mut requests).await {
            return done;
        }
        say(&format!("{what}, for {} s by now", began.elapsed().as_secs()));
        wait = SAID_AGAIN;
    }
}

/// Prints an error. Returns how its command ends.
pub fn failed(error: &dyn Display) -> End {
    print_message(&format!("error: {error}"));
    End::Failed
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
    let text = mask::all().apply(text.trim_end());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_command_that_waits_says_so_and_a_quick_one_does_not() {
        let mut said = Vec::new();
        told("waiting", tokio::time::sleep(Duration::from_secs(1)), |line| said.push(line.to_owned())).await;
        assert!(said.is_empty(), "{said:?}");
        told("waiting", tokio::time::sleep(Duration::from_secs(15)), |line| said.push(line.to_owned())).await;
        assert_eq!(said, ["waiting, for 2 s by now", "waiting, for 12 s by now"]);
    }
}
