//! Topics on a cluster: looked up, created, grown.
//!
//! [`link`] has the topics that a link keeps for itself, [`target`] those that it copies to. Both
//! use the calls of this file, which block for a bounded time.

pub(crate) mod link;
pub(crate) mod target;

use std::time::{Duration, Instant};

use crate::ffi::{Client, Code, FfiError};
use crate::queries::{describe_one, is_gone};

/// How long a topic that was just created may take to be described by every broker.
const APPEAR: Duration = Duration::from_secs(10);
const APPEAR_POLL: Duration = Duration::from_millis(50);

/// Creates a topic. One that somebody else created meanwhile is as good.
pub(crate) fn create(
    client: &Client,
    topic: &str,
    partitions: u32,
    settings: &[(&str, String)],
    timeout: Duration,
) -> Result<(), FfiError> {
    let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
    match client.create_topic(topic, partitions, settings, timeout) {
        Ok(()) | Err(FfiError { code: Code::TOPIC_ALREADY_EXISTS, .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Grows a topic to `partitions` partitions. One that another process grew meanwhile is as good.
pub(crate) fn grow(client: &Client, topic: &str, partitions: u32, timeout: Duration) -> Result<(), FfiError> {
    match client.create_partitions(topic, partitions as usize, timeout) {
        Err(FfiError { code: Code::INVALID_PARTITIONS, .. }) => Ok(()),
        other => other,
    }
}

/// Returns the number of partitions of a topic, 0 where it does not exist.
pub(crate) fn count(client: &Client, topic: &str, timeout: Duration) -> Result<u32, FfiError> {
    let described = describe_one(client, topic, timeout)?;
    Ok(described.map_or(0, |topic| u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX)))
}

/// Waits until a topic has `partitions` partitions, all with a leader. Returns how many it has by
/// then.
pub(crate) fn wait_for(client: &Client, topic: &str, partitions: u32, timeout: Duration) -> Result<u32, FfiError> {
    let deadline = Instant::now() + APPEAR;
    loop {
        let described = match describe_one(client, topic, timeout) {
            Err(error) if is_gone(error.code) || error.code == Code::LEADER_NOT_AVAILABLE => None,
            other => other?,
        };
        let led = described.as_ref().is_some_and(|topic| topic.partitions.iter().all(|p| p.leader.is_some()));
        let found = described.map_or(0, |topic| u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX));
        if led && found >= partitions {
            return Ok(found);
        }
        if Instant::now() > deadline {
            let text = format!("{found} of {partitions} partitions have appeared after {APPEAR:?}");
            return Err(FfiError::new(Code::TIMED_OUT, text));
        }
        std::thread::sleep(APPEAR_POLL);
    }
}
