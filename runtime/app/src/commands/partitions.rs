//! `strait partitions …`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use strait_core::config::DeliveryMode;
use strait_kafka::{SkipError, SkipRequest, Skipped, plan_skip, skip_partition};

use super::{End, load, print, print_message};
use crate::cli::{PartitionsCommand, SkipPartition};
use crate::compose;

/// How long one request to a cluster may take.
const REQUEST: Duration = Duration::from_secs(15);

/// Runs the command.
#[must_use]
pub fn partitions(command: &PartitionsCommand) -> End {
    let PartitionsCommand::Skip(args) = command;
    let (topic, partition) = (&args.topic, args.partition);
    match skip(args) {
        Ok(Skipped { from, to, lost, .. }) if !args.yes => print(&format!(
            "{topic}-{partition} is at offset {from}. Skipping to {to} leaves out up to {lost} records, for good. Nothing was changed: add --yes to do it"
        )),
        Ok(Skipped { from, to, lost, .. }) => print(&format!(
            "{topic}-{partition} was at offset {from} and goes on at {to}: up to {lost} records are not copied"
        )),
        Err(SkipCommandError::Configuration(end)) => end,
        Err(error) => {
            print_message(&format!("error: {error}"));
            End::Failed
        }
    }
}

/// Why a position was not moved.
#[derive(Debug, thiserror::Error)]
enum SkipCommandError {
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
    /// The skip failed.
    #[error(transparent)]
    Skip(#[from] SkipError),
}

fn skip(args: &SkipPartition) -> Result<Skipped, SkipCommandError> {
    let loaded = load(&args.config).map_err(SkipCommandError::Configuration)?;
    let links = &loaded.config.links;
    let known = || links.iter().map(|link| link.name.as_str()).collect::<Vec<_>>().join(", ");
    let link = links.iter().find(|link| link.name == args.link);
    let link = link.ok_or_else(|| SkipCommandError::UnknownLink { link: args.link.clone(), known: known() })?;
    let cluster = |name: &str| {
        let cluster = loaded.config.cluster(name).map(|cluster| compose::cluster(name, cluster));
        cluster.ok_or_else(|| SkipCommandError::UnknownCluster(name.to_owned()))
    };
    let (source, target) = (cluster(&link.source)?, cluster(&link.target)?);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let request = SkipRequest {
        link: link.name.clone(),
        topic: args.topic.clone(),
        partition: args.partition,
        to: args.to,
        by: std::env::var("USER").unwrap_or_else(|_| "unknown".to_owned()),
        at: i64::try_from(now.as_millis()).unwrap_or(i64::MAX),
        process: rand::random(),
        exactly_once: link.delivery == DeliveryMode::ExactlyOnce,
        identity: compose::identity(&loaded, link, None),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(SkipCommandError::Start)?;
    Ok(if args.yes {
        runtime.block_on(skip_partition(&source, &target, &request, REQUEST))?
    } else {
        runtime.block_on(plan_skip(&source, &target, &request, REQUEST))?
    })
}
