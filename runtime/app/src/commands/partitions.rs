//! `strait partitions …`.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use serde_json::{Value, json};
use strait_core::config::DeliveryMode;
use strait_flow::SystemClock;
use strait_flow::ports::Clock;
use strait_kafka::{SkipRequest, Skipped, plan_skip, skip_partition};

use super::status::{client, plain};
use super::{End, REQUEST, block_on_told, ends_of, failed, link_of, load, print};
use crate::cli::{PartitionOf, PartitionsCommand, RetryPartition, SkipPartition};
use crate::compose;

/// How long the process may take to answer: its lane has ten seconds.
const RETRY_TIMEOUT: Duration = Duration::from_secs(15);

/// Runs the command.
#[must_use]
pub fn partitions(command: &PartitionsCommand) -> End {
    match command {
        PartitionsCommand::Skip(args) => skip(args),
        PartitionsCommand::Retry(args) => retry(args),
    }
}

fn retry(args: &RetryPartition) -> End {
    let client = match client(&args.at) {
        Ok(client) => client,
        Err(end) => return end,
    };
    let PartitionOf { link, topic, number: partition } = &args.partition;
    let body = json!({ "topic": topic, "partition": partition });
    match client.post(&format!("/api/v1/partitions/{link}/retry"), &body, RETRY_TIMEOUT) {
        Ok(answer) if answer.get("outcome").and_then(Value::as_str) == Some("running") => {
            print(&format!("{topic}-{partition} runs already"))
        }
        Ok(_) => print(&format!("{topic}-{partition} is retried now: strait status and the log say what comes of it")),
        Err(error) => failed(&plain(&error.to_string())),
    }
}

fn skip(args: &SkipPartition) -> End {
    let PartitionOf { topic, number: partition, .. } = &args.partition;
    match try_skip(args) {
        Ok(Skipped { from, to, lost, .. }) if !args.yes => print(&format!(
            "{topic}-{partition} is at offset {from}. Skipping to {to} leaves out up to {lost} records, for good. Nothing was changed: add --yes to do it"
        )),
        Ok(Skipped { from, to, .. }) if to < from => print(&format!(
            "{topic}-{partition} was at offset {from}, behind the end of a truncated log, and goes on at {to}. Records of quarantine from before {to} stay open; strait quarantine replay leaves out those that the source has lost"
        )),
        Ok(Skipped { from, to, lost, .. }) => print(&format!(
            "{topic}-{partition} was at offset {from} and goes on at {to}: up to {lost} records are not copied"
        )),
        Err(end) => end,
    }
}

/// Returns who runs this process: the name of the user, or the number where no name is set (in a
/// container).
pub fn user() -> String {
    let named =
        ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    let number = || std::fs::metadata("/proc/self").ok().map(|of_process| format!("user {}", of_process.uid()));
    named.or_else(number).unwrap_or_else(|| "unknown".to_owned())
}

fn try_skip(args: &SkipPartition) -> Result<Skipped, End> {
    let loaded = load(&args.config)?;
    let PartitionOf { link, topic, number } = &args.partition;
    let link = link_of(&loaded, link)?;
    let (source, target) = ends_of(&loaded, link)?;
    let request = SkipRequest {
        link: link.name.clone(),
        topic: topic.clone(),
        partition: *number,
        to: args.to,
        by: user(),
        at: SystemClock::start().unix_ms(),
        process: rand::random(),
        exactly_once: link.delivery == DeliveryMode::ExactlyOnce,
        identity: compose::identity(&loaded, link, None),
    };
    let what = format!("waiting for the position of {topic}-{number} on cluster {}", target.name);
    block_on_told(&what, async {
        if args.yes {
            skip_partition(&source, &target, &request, REQUEST).await
        } else {
            plan_skip(&source, &target, &request, REQUEST).await
        }
    })
}
