//! Opening target topics: looking, making, growing, and what their settings mean for records.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use strait_flow::ports::{PortError, TargetTopic, TopicHandle};

use crate::error::port_error_because;
use crate::ffi::{Client, Code, FfiError};
use crate::link_topics;
use crate::offsets::{describe, describe_one, is_gone, is_unsupported};

/// How long a topic that was just made may take to be described by every broker.
const APPEAR: Duration = Duration::from_secs(10);

/// What is known of a target topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub topic: TargetTopic,
    pub min_in_sync: u32,
}

/// Looks a topic up, making or growing it where that is allowed; it gets this handle. Blocks for a bounded time.
pub(super) fn open(
    client: &Client,
    context: &str,
    (topic, handle): (&str, TopicHandle),
    partitions: u32,
    manage: bool,
    timeout: Duration,
) -> Result<Facts, PortError> {
    let context = format!("{context}, topic {topic}");
    let fail = |error: FfiError| port_error_because(context.clone(), &error, client.trouble());
    let mut found = count(client, topic, timeout).map_err(fail)?;
    if found == 0 && !manage {
        let error = FfiError::new(
            Code::UNKNOWN_TOPIC_OR_PART,
            format!(
                "the topic does not exist and Strait may not make it; make it with at least {partitions} partitions"
            ),
        );
        return Err(fail(error));
    }
    if found == 0 {
        make(client, topic, partitions, timeout).map_err(fail)?;
        found = wait_for(client, topic, partitions, timeout).map_err(fail)?;
    } else if found < partitions && manage {
        match grow(client, topic, partitions, timeout) {
            Ok(()) => found = wait_for(client, topic, partitions, timeout).map_err(fail)?,
            // The lane goes on with the partitions that there are and names those that are missing.
            Err(error) => tracing::warn!("{context}: cannot be grown from {found} to {partitions} partitions: {error}"),
        }
    }
    let configs = match client.topic_configs(topic, timeout) {
        Ok(configs) => configs,
        Err(error) if is_unsupported(error.code) => BTreeMap::new(),
        Err(error) => {
            tracing::warn!("{context}: settings cannot be read, Kafka's defaults are assumed: {error}");
            BTreeMap::new()
        }
    };
    may_write(client, topic, timeout).map_err(fail)?;
    // So that the producers' own view has the partitions before the first record.
    client.metadata(Some(topic), timeout).map_err(fail)?;
    Ok(facts(handle, found, &configs))
}

/// A transaction that fails for lack of this permission says so in librdkafka's log only, and takes the whole lane along: so it is
/// asked for before. Clusters without an authorizer, and old ones, tell nothing.
fn may_write(client: &Client, topic: &str, timeout: Duration) -> Result<(), FfiError> {
    const WRITE: u32 = 4;
    let described = describe(client, &[topic], true, timeout)?;
    let operations = described.first().map(|topic| topic.operations.as_slice()).unwrap_or_default();
    if operations.is_empty() || operations.contains(&WRITE) {
        return Ok(());
    }
    Err(FfiError::new(Code(29), format!("the principal may not write topic {topic}")))
}

/// Makes a topic that keeps the source's timestamps; one that somebody else made meanwhile is as good.
pub(crate) fn make(client: &Client, topic: &str, partitions: u32, timeout: Duration) -> Result<(), FfiError> {
    let settings = [("message.timestamp.type", "CreateTime".to_owned())];
    match link_topics::make(client, topic, partitions.max(1), &settings, timeout) {
        // The mock cluster makes a topic when its metadata is asked for by a producer.
        Err(error) if is_unsupported(error.code) => client.metadata(Some(topic), timeout).map(|_| ()),
        other => other,
    }
}

/// Adds partitions to a topic; one that a lane or another process of the link grew meanwhile is as good.
pub(crate) fn grow(client: &Client, topic: &str, partitions: u32, timeout: Duration) -> Result<(), FfiError> {
    match client.create_partitions(topic, partitions as usize, timeout) {
        Err(FfiError { code: Code::INVALID_PARTITIONS, .. }) => Ok(()),
        other => other,
    }
}

/// Partitions of a topic, 0 where it does not exist.
pub(crate) fn count(client: &Client, topic: &str, timeout: Duration) -> Result<u32, FfiError> {
    let described = describe_one(client, topic, timeout)?;
    Ok(described.map_or(0, |topic| u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX)))
}

/// Waits until a change of a topic is visible with leaders; returns the partitions it has by then.
pub(crate) fn wait_for(client: &Client, topic: &str, partitions: u32, timeout: Duration) -> Result<u32, FfiError> {
    let deadline = Instant::now() + APPEAR;
    loop {
        let described = match describe_one(client, topic, timeout) {
            Err(error) if is_gone(error.code) || error.code == Code(5) => None,
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
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Kafka's defaults where a setting is not told.
fn facts(handle: TopicHandle, partitions: u32, configs: &BTreeMap<String, String>) -> Facts {
    let number = |name: &str, default: i64| configs.get(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    Facts {
        topic: TargetTopic {
            handle,
            partitions,
            // Kafka's default, and librdkafka's mock cluster's: 1 MiB and 12 bytes of overhead.
            max_message_bytes: usize::try_from(number("max.message.bytes", 1_048_588)).unwrap_or(1_048_588),
            log_append_time: configs.get("message.timestamp.type").is_some_and(|kind| kind == "LogAppendTime"),
            timestamp_after_max_ms: number("message.timestamp.after.max.ms", i64::MAX),
            timestamp_before_max_ms: number("message.timestamp.before.max.ms", i64::MAX),
        },
        min_in_sync: u32::try_from(number("min.insync.replicas", 1)).unwrap_or(1),
    }
}
