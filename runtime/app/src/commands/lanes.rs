//! `strait lanes resize`.

use std::time::Duration;

use strait_core::config::DeliveryMode;
use strait_kafka::{ResizeError, Resized, resize_lanes};

use super::{End, load, print, print_message};
use crate::cli::{ConfigFile, LanesCommand};
use crate::compose;

/// How long one request to the target may take.
const REQUEST: Duration = Duration::from_secs(15);

/// Runs the command.
#[must_use]
pub fn lanes(command: &LanesCommand) -> End {
    let LanesCommand::Resize { link, lanes, config } = command;
    match resize(link, *lanes, config) {
        Ok(done) if done.moved == 0 && done.before == done.lanes => print(&format!("{link} has {lanes} lanes already")),
        Ok(done) => print(&format!(
            "{link} has {} lanes now (before: {}); the progress of {} partitions moved. Put lanes = {} into the configuration",
            done.lanes, done.before, done.moved, done.lanes
        )),
        Err(LanesError::Configuration(end)) => end,
        Err(error) => {
            print_message(&format!("error: {error}"));
            End::Failed
        }
    }
}

/// Why a link was not resized.
#[derive(Debug, thiserror::Error)]
enum LanesError {
    /// The configuration does not load; the findings are printed.
    #[error("the configuration is not valid")]
    Configuration(End),
    /// The configuration has no such link.
    #[error("the configuration has no link '{link}'; there are: {known}")]
    UnknownLink { link: String, known: String },
    /// The link names a cluster that does not exist. Validation refuses that earlier.
    #[error("unknown cluster '{0}'")]
    UnknownCluster(String),
    /// The async runtime does not start.
    #[error("cannot start: {0}")]
    Start(std::io::Error),
    /// The resize failed.
    #[error(transparent)]
    Resize(#[from] ResizeError),
}

fn resize(name: &str, lanes: u32, config: &ConfigFile) -> Result<Resized, LanesError> {
    let loaded = load(config).map_err(LanesError::Configuration)?;
    let known = || loaded.config.links.iter().map(|link| link.name.as_str()).collect::<Vec<_>>().join(", ");
    let link = loaded.config.links.iter().find(|link| link.name == name);
    let link = link.ok_or_else(|| LanesError::UnknownLink { link: name.to_owned(), known: known() })?;
    let cluster = loaded.config.cluster(&link.target);
    let cluster = cluster.ok_or_else(|| LanesError::UnknownCluster(link.target.clone()))?;
    let target = compose::cluster(&link.target, cluster);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(LanesError::Start)?;
    let exactly_once = link.delivery == DeliveryMode::ExactlyOnce;
    Ok(runtime.block_on(resize_lanes(&target, name, lanes, exactly_once, REQUEST))?)
}
