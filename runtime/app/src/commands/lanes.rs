//! `strait lanes resize`.

use std::time::Duration;

use strait_core::config::DeliveryMode;
use strait_kafka::{ResizeError, Resized, resize_lanes};

use super::{End, load, print, print_message};
use crate::cli::{ConfigFile, LanesCommand};
use crate::compose;

/// How long one question to the target may take.
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
        Err(Stopped::Said(end)) => end,
        Err(Stopped::Because(reason)) => {
            print_message(&format!("error: {reason}"));
            End::Failed
        }
    }
}

enum Stopped {
    /// Everything was told.
    Said(End),
    Because(String),
}

impl From<ResizeError> for Stopped {
    fn from(error: ResizeError) -> Self {
        Self::Because(error.to_string())
    }
}

fn resize(name: &str, lanes: u32, config: &ConfigFile) -> Result<Resized, Stopped> {
    let loaded = load(config).map_err(Stopped::Said)?;
    let names = || loaded.config.links.iter().map(|link| link.name.as_str()).collect::<Vec<_>>().join(", ");
    let link = loaded.config.links.iter().find(|link| link.name == name);
    let link = link
        .ok_or_else(|| Stopped::Because(format!("the configuration has no link '{name}'; there are: {}", names())))?;
    let cluster = loaded.config.cluster(&link.target);
    let cluster = cluster.ok_or_else(|| Stopped::Because(format!("unknown cluster '{}'", link.target)))?;
    let target = compose::cluster(&link.target, cluster);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| Stopped::Because(format!("cannot start: {error}")))?;
    let exactly_once = link.delivery == DeliveryMode::ExactlyOnce;
    Ok(runtime.block_on(resize_lanes(&target, name, lanes, exactly_once, REQUEST))?)
}
