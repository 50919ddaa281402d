//! Why a cluster's transaction coordinator does not answer, and whether it does.

use std::time::{Duration, Instant};

use strait_flow::ports::{Class, PortError};

use super::deliveries::{Reports, producer_error};
use crate::config::{ClusterConfig, TargetTuning, writer};
use crate::error::{blocking, port_error_because};
use crate::ffi::{Client, Code, FfiError, Producer};
use crate::queries::{ask_coordinator, describe, is_gone};

/// Kafka's own topic for the state of transactions.
const STATE_TOPIC: &str = "__transaction_state";
/// How long it may take to find out why the coordinator does not answer.
const EXPLAIN: Duration = Duration::from_secs(5);

/// Returns why the coordinator of a transactional id gives no answer, as the end of the error's
/// text; empty where nothing is known, or where it did answer. Blocks for a bounded time.
fn why_silent(client: &Client, error: &FfiError) -> String {
    let is_silent = matches!(error.code, Code::TIMED_OUT | Code::COORDINATOR_NOT_AVAILABLE | Code::NOT_COORDINATOR);
    if !is_silent {
        return String::new();
    }
    let Ok(described) = describe(client, &[STATE_TOPIC], false, EXPLAIN) else { return String::new() };
    let Some(topic) = described.first() else { return String::new() };
    if is_gone(topic.code) {
        return format!(
            "; the target cannot make its topic {STATE_TOPIC}: on its brokers, set transaction.state.log.replication.factor (Kafka's default is 3) to at most the number of brokers, and transaction.state.log.min.isr (default 2) to at most that; delivery = \"at-least-once\" needs no transactions"
        );
    }
    let without_leader = topic.partitions.iter().filter(|partition| partition.leader.is_none()).count();
    let in_sync = topic.partitions.iter().map(|partition| partition.in_sync).min().unwrap_or(0);
    if topic.code != Code::OK {
        return format!("; its topic {STATE_TOPIC} cannot be described: {}", topic.text);
    }
    format!(
        "; of {} partitions of the target's topic {STATE_TOPIC} {without_leader} have no leader, and the fewest in-sync replicas of one are {in_sync}: it needs transaction.state.log.min.isr (Kafka's default is 2) of them",
        topic.partitions.len()
    )
}

/// Returns why a transactional id cannot be initialised. A refused login explains more than the
/// timeout that follows it.
pub(crate) fn init_error(client: &Client, context: &str, error: &FfiError) -> PortError {
    let why = port_error_because(context, error, client.trouble());
    if why.class != Class::Retry {
        return why;
    }
    PortError { reason: why.reason + &why_silent(client, error), ..producer_error(context, error) }
}

/// Initialises a transactional id of the link that no lane uses, to see whether the cluster has
/// transactions and this principal may use them.
///
/// # Errors
/// [`PortError`] with the reason and what to do.
pub async fn probe_transactions(cluster: &ClusterConfig, link: &str, timeout: Duration) -> Result<(), PortError> {
    let id = format!("strait.{link}.check");
    let context = format!("transactional id {id} on cluster {}", cluster.name);
    let settings = writer(cluster, &format!("strait-{link}-check"), &TargetTuning::default(), Some(&id));
    let text = context.clone();
    blocking(&context, move || {
        let reports = Reports::new(text.clone());
        let producer =
            Producer::new(&text, &settings, reports, || ()).map_err(|error| producer_error(text.clone(), &error))?;
        let initialised = initialise(&producer, timeout).map_err(|error| init_error(producer.client(), &text, &error));
        drop(producer);
        initialised
    })
    .await?
}

fn initialise(producer: &Producer, timeout: Duration) -> Result<(), FfiError> {
    let began = Instant::now();
    loop {
        match ask_coordinator(|| producer.init_transactions(Duration::from_secs(2))) {
            Err(error) if began.elapsed() < timeout && error.code == Code::TIMED_OUT => {}
            answer => return answer,
        }
    }
}
