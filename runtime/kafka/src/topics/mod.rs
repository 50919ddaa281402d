//! Topics on a cluster: looked up, created, grown.
//!
//! [`link`] has the topics that a link keeps for itself, [`target`] those that it copies to, which
//! [`maker`] creates. They use the calls of this file, which block for a bounded time, and
//! [`settings`], which knows what a topic can do without where a cluster refuses something.

pub(crate) mod link;
pub(crate) mod maker;
pub(crate) mod outlook;
mod settings;
pub(crate) mod target;

use std::time::{Duration, Instant};

use strait_core::TopicId;

use self::settings::Created;
#[cfg(test)]
pub(crate) use self::settings::create_with;
pub(crate) use self::settings::{Creation, TopicSettings};
use crate::ffi::{Client, Code, FfiError, Place, TopicDescription};
use crate::queries::{describe_one, is_gone, not_served};

/// How long a topic that was just created may take to be described by every broker.
const APPEAR: Duration = Duration::from_secs(10);
/// Most replicas of a topic of Strait's own.
const OWN_REPLICAS_MAX: u32 = 3;
const APPEAR_POLL: Duration = Duration::from_millis(50);

/// Creates a topic of Strait's own with as many of its settings as the cluster accepts. One that
/// somebody else created meanwhile is as good.
pub(crate) fn create(client: &Client, creation: &Creation<'_>, timeout: Duration) -> Result<(), FfiError> {
    let created = creation.send(client, false, timeout)?;
    if let Some(Created { left_out, refusal }) = created.filter(|created| !created.left_out.is_empty()) {
        let (topic, left_out) = (creation.name, left_out.join(", "));
        tracing::warn!(topic, left_out, reason = refusal, "created a topic without settings that the cluster refused");
    }
    Ok(())
}

/// Returns how many replicas a topic of Strait's own gets; `None` for the broker's default.
pub(crate) fn own_replicas(client: &Client, timeout: Duration) -> Option<u32> {
    // Where the cluster does not say how many brokers it has, its default is the better guess.
    let brokers = client.describe_cluster(timeout).ok()?.brokers;
    u32::try_from(brokers).ok().map(|brokers| brokers.clamp(1, OWN_REPLICAS_MAX))
}

/// Grows a topic to `partitions` partitions. One that another process grew meanwhile is as good.
pub(crate) fn grow(client: &Client, topic: &str, partitions: u32, timeout: Duration) -> Result<(), FfiError> {
    match client.create_partitions(topic, partitions, false, timeout) {
        Err(FfiError { code: Code::INVALID_PARTITIONS, .. }) => Ok(()),
        other => other,
    }
}

/// A topic as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Id of this incarnation; unknown where the cluster gives none.
    pub id: TopicId,
    /// Number of partitions.
    pub partitions: u32,
}

impl Found {
    pub(crate) fn of(described: &TopicDescription) -> Self {
        let partitions = u32::try_from(described.partitions.len()).unwrap_or(u32::MAX);
        Self { id: TopicId(described.id), partitions }
    }
}

/// Looks a topic up; `None` where it does not exist.
pub(crate) fn find(client: &Client, topic: &str, timeout: Duration) -> Result<Option<Found>, FfiError> {
    Ok(describe_one(client, topic, timeout)?.as_ref().map(Found::of))
}

/// Returns the number of partitions of a topic, 0 where it does not exist.
pub(crate) fn count(client: &Client, topic: &str, timeout: Duration) -> Result<u32, FfiError> {
    Ok(find(client, topic, timeout)?.map_or(0, |found| found.partitions))
}

/// Waits until a topic has `partitions` partitions, all served by a leader. Returns it as it is
/// then.
pub(crate) fn wait_for(client: &Client, topic: &str, partitions: u32, timeout: Duration) -> Result<Found, FfiError> {
    wait_up_to(APPEAR, client, topic, partitions, timeout)
}

/// As [`wait_for`], with another patience.
pub(crate) fn wait_up_to(
    patience: Duration,
    client: &Client,
    topic: &str,
    partitions: u32,
    timeout: Duration,
) -> Result<Found, FfiError> {
    let deadline = Instant::now() + patience;
    loop {
        let described = match describe_one(client, topic, timeout) {
            Err(error) if is_gone(error.code) || error.code == Code::LEADER_NOT_AVAILABLE => None,
            other => other?,
        };
        let led = described.as_ref().filter(|topic| topic.partitions.iter().all(|p| p.leader.is_some()));
        if let Some(found) = led.map(Found::of).filter(|found| found.partitions >= partitions)
            && is_served(client, topic, found.partitions, timeout.min(patience))
        {
            return Ok(found);
        }
        if Instant::now() > deadline {
            let found = described.map_or(0, |topic| topic.partitions.len());
            let text = format!("{found} of {partitions} partitions have appeared after {patience:?}");
            return Err(FfiError::new(Code::TIMED_OUT, text));
        }
        std::thread::sleep(APPEAR_POLL);
    }
}

/// Waits until the leaders of a topic's partitions serve them. Gives up after `patience`, because a
/// partition may stay without one.
pub(crate) fn wait_served(patience: Duration, client: &Client, topic: &str, partitions: u32) {
    let deadline = Instant::now() + patience;
    while !is_served(client, topic, partitions, patience) && Instant::now() < deadline {
        std::thread::sleep(APPEAR_POLL);
    }
}

fn is_served(client: &Client, topic: &str, partitions: u32, timeout: Duration) -> bool {
    not_served(client, &Place::all_of(topic, partitions).collect::<Vec<_>>(), timeout).is_empty()
}
