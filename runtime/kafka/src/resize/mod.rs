//! `strait lanes resize`: gives a link more lanes while no process runs it.
//!
//! The lane of a source partition follows from the number of lanes. With another number, positions
//! belong into other partitions of the progress topic. Everything that could write meanwhile is
//! fenced or refused: the group must be empty, every transactional id of every lane is initialised,
//! and the lanes are marked as closed before their topic grows. One transaction then writes all
//! positions to their new places and removes the marks. An interrupted resize can be run again, and
//! until then no process takes a lane.

mod plan;

use std::sync::Arc;
use std::time::Duration;

use strait_core::LaneId;
use strait_core::progress::{LaneProgress, LaneRecord, ProgressRecord, map_topic, progress_topic};
use strait_flow::ports::{Class, PortError, ProgressStore};

use crate::config::{ClusterConfig, TargetTuning, group};
use crate::error::{blocking, own};
use crate::ffi::{Client, FfiError};
use crate::lazy_client::{connect, fail};
use crate::link_admin::{ProgressWriter, fence};
use crate::probe::{self, ProbeError};
use crate::progress_store::KafkaProgressStore;
use crate::topics::{count, wait_for};
use plan::Plan;

/// Why lanes were not resized.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ResizeError {
    /// The link has no topics yet.
    #[error("link {link} has not been run yet ({topic} does not exist): set lanes = {lanes} and run it")]
    NeverRun {
        /// Name of the link.
        link: String,
        /// Its progress topic.
        topic: String,
        /// The requested number of lanes.
        lanes: u32,
    },
    /// A topic cannot lose partitions.
    #[error(
        "link {link} has {existing} lanes and cannot have fewer: a Kafka topic cannot lose partitions. Fewer processes can share them all the same"
    )]
    Fewer {
        /// Name of the link.
        link: String,
        /// The number of lanes it has.
        existing: u32,
    },
    /// A process runs the link.
    #[error("link {link} is being run ({} in group strait.{link}: {}): stop every process of it first", members.len(), members.join(", "))]
    Running {
        /// Name of the link.
        link: String,
        /// Client ids of the group's members.
        members: Vec<String>,
    },
    /// The target has no transactions.
    #[error(
        "cluster {cluster} has no transactions, without which positions cannot be moved to other lanes safely; a link of another name with lanes = {lanes} begins anew at `start`"
    )]
    NoTransactions {
        /// Name of the target cluster.
        cluster: String,
        /// The requested number of lanes.
        lanes: u32,
    },
    /// The target cannot be used.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// A request to the cluster failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// The result of a resize.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resized {
    /// Number of lanes before.
    pub before: u32,
    /// Number of lanes now.
    pub lanes: u32,
    /// Source partitions whose progress moved to another lane.
    pub moved: usize,
}

/// Gives a link `lanes` lanes. Its progress stays exact. Its offset map stays in the old
/// partitions, and the lane records say so.
///
/// # Errors
/// [`ResizeError`]. After [`ResizeError::Port`] the link may stay closed until this is run again.
pub async fn resize_lanes(
    target: &ClusterConfig,
    link: &str,
    lanes: u32,
    exactly_once: bool,
    timeout: Duration,
) -> Result<Resized, ResizeError> {
    let context = format!("link {link}: resizing its lanes on cluster {}", target.name);
    let client = Arc::new(connect(target, &format!("{link}/resize")).map_err(|error| fail(&context, &error, None))?);
    let (asked, name, place) = (Arc::clone(&client), link.to_owned(), context.clone());
    let existing = blocking(&context, move || check(&asked, &name, lanes, &place, timeout)).await??;
    if !probe::probe(target, timeout).await?.has_idempotence {
        return Err(ResizeError::NoTransactions { cluster: target.name.clone(), lanes });
    }

    let tuning = TargetTuning { exactly_once, request_timeout: timeout, ..TargetTuning::default() };
    let (cluster, name, place, wanted) = (target.clone(), link.to_owned(), context.clone(), tuning.clone());
    // First, so that of two resizes the earlier one is fenced, and nothing that it has read can be
    // written later.
    let writer = blocking(&context, move || ProgressWriter::new(&cluster, &name, &wanted, &place)).await??;
    // Reading would wait for a transaction that a dead owner has left open.
    fence(target, link, existing, &tuning).await?;
    let store = KafkaProgressStore::new(target, link, timeout);
    let by_other = |lane: &LaneProgress| lane.lane.as_ref().and_then(|lane| lane.closed_by.clone());
    if let Some(by) = read(&store, existing).await?.iter().find_map(by_other) {
        let reason = format!("`{by}` is running on the link, or was interrupted: run it again first");
        return Err(own(Class::Stop, context, reason).into());
    }
    let closed = LaneRecord { closed: true, ..Plan::new(&read(&store, existing).await?, lanes).record };
    let writer = blocking(&context, move || {
        let marks = (0..existing).map(|lane| (lane, ProgressRecord::Lane(closed.clone()).encode()));
        writer.write(marks.collect(), &[]).map(|()| writer)
    })
    .await??;
    // This fences owners that took a lane before the marks. Later owners find the marks.
    fence(target, link, existing, &tuning).await?;
    let (asked, name, place) = (Arc::clone(&client), link.to_owned(), context.clone());
    blocking(&context, move || check(&asked, &name, lanes, &place, timeout)).await??;
    let known = read(&store, existing).await?;
    if known.iter().any(|lane| lane.lane.as_ref().is_none_or(|lane| !lane.closed)) {
        let reason = "a process has taken a lane meanwhile; see that none is started, and run this again";
        return Err(own(Class::Retry, context, reason).into());
    }
    let plan = Plan::new(&known, lanes);
    let link = link.to_owned();
    blocking(&context.clone(), move || {
        for topic in [progress_topic(&link), map_topic(&link)] {
            grow(&client, &topic, lanes, timeout).map_err(|error| fail(&context, &error, Some(&client)))?;
        }
        // The producer is a client of its own, which must know the new partitions before it gets
        // records for them.
        writer.refresh(lanes, timeout)?;
        writer.write(plan.records(), &plan.leaving)?;
        Ok(Resized { before: plan.before, lanes, moved: plan.leaving.len() })
    })
    .await?
}

/// Reads the progress of every lane.
async fn read(store: &KafkaProgressStore, lanes: u32) -> Result<Vec<LaneProgress>, PortError> {
    let mut known = Vec::new();
    for lane in 0..lanes {
        known.push(store.read(LaneId(lane)).await?);
    }
    Ok(known)
}

fn check(client: &Client, link: &str, lanes: u32, context: &str, timeout: Duration) -> Result<u32, ResizeError> {
    let port = |error: FfiError| fail(context, &error, Some(client));
    let topic = progress_topic(link);
    let existing = count(client, &topic, timeout).map_err(port)?;
    let link = link.to_owned();
    if existing == 0 {
        return Err(ResizeError::NeverRun { link, topic, lanes });
    }
    if lanes < existing {
        return Err(ResizeError::Fewer { link, existing });
    }
    let members = client.group_members(&group(&link), timeout).map_err(port)?;
    if !members.is_empty() {
        return Err(ResizeError::Running { link, members });
    }
    Ok(existing)
}

fn grow(client: &Client, topic: &str, partitions: u32, timeout: Duration) -> Result<(), FfiError> {
    if count(client, topic, timeout)? < partitions {
        client.create_partitions(topic, partitions, false, timeout)?;
        wait_for(client, topic, partitions, timeout)?;
    }
    client.metadata(Some(topic), timeout).map(|_| ())
}
