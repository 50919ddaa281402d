//! `strait partitions …`.

use strait_core::config::DeliveryMode;
use strait_flow::SystemClock;
use strait_flow::ports::Clock;
use strait_kafka::{SkipRequest, Skipped, plan_skip, skip_partition};

use super::{End, REQUEST, block_on, cluster_of, link_of, load, print};
use crate::cli::{PartitionsCommand, SkipPartition};
use crate::compose;

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
        Err(end) => end,
    }
}

fn skip(args: &SkipPartition) -> Result<Skipped, End> {
    let loaded = load(&args.config)?;
    let link = link_of(&loaded, &args.link)?;
    let (source, target) = (cluster_of(&loaded, &link.source)?, cluster_of(&loaded, &link.target)?);
    let request = SkipRequest {
        link: link.name.clone(),
        topic: args.topic.clone(),
        partition: args.partition,
        to: args.to,
        by: std::env::var("USER").unwrap_or_else(|_| "unknown".to_owned()),
        at: SystemClock::start().unix_ms(),
        process: rand::random(),
        exactly_once: link.delivery == DeliveryMode::ExactlyOnce,
        identity: compose::identity(&loaded, link, None),
    };
    block_on(async {
        if args.yes {
            skip_partition(&source, &target, &request, REQUEST).await
        } else {
            plan_skip(&source, &target, &request, REQUEST).await
        }
    })
}
