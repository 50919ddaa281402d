//! `strait lanes resize`.

use strait_core::config::DeliveryMode;
use strait_kafka::{Resized, resize_lanes};

use super::{End, REQUEST, block_on_told, cluster_of, link_of, load, print, reach};
use crate::cli::{ConfigFile, LanesCommand};

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
        Err(end) => end,
    }
}

fn resize(name: &str, lanes: u32, config: &ConfigFile) -> Result<Resized, End> {
    let loaded = load(config)?;
    let link = link_of(&loaded, name)?;
    let target = cluster_of(&loaded, &link.target)?;
    reach(&target)?;
    let exactly_once = link.delivery == DeliveryMode::ExactlyOnce;
    let what = format!("waiting for the transactions and the progress of link {name} on cluster {}", target.name);
    block_on_told(&what, resize_lanes(&target, name, lanes, exactly_once, REQUEST))
}
