//! The topics that a link copies to: opened by the lane that has a record for them, and created
//! before that where the source topic is known, so that an empty one has its counterpart too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use strait_flow::ports::{Class, PortError, TargetTopic, TopicHandle};

use super::{Found, create, find, grow, wait_for};
use crate::config::ClusterConfig;
use crate::error::{blocking, class_of, port_error_because};
use crate::ffi::{Client, Code, FfiError};
use crate::lazy_client::{LazyClient, fail};
use crate::operation::Operation;
use crate::queries::{describe, is_unsupported};

/// Creates and grows topics on the target.
pub struct KafkaTargetTopics {
    client: LazyClient,
    timeout: Duration,
}

/// A topic that could not be created or grown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedTopic {
    /// Name of the topic.
    pub topic: Arc<str>,
    /// The target's reason.
    pub reason: String,
    /// Whether a retry may help.
    pub is_passing: bool,
}

impl KafkaTargetTopics {
    /// Connects on first use. One request to the target takes `timeout` at most.
    #[must_use]
    pub fn new(target: &ClusterConfig, link: &str, timeout: Duration) -> Self {
        let context = format!("link {link}: target topics on cluster {}", target.name);
        Self { client: LazyClient::new(target, format!("{link}/target-topics"), context), timeout }
    }

    /// Creates the missing ones of `wanted` (names and least numbers of partitions) and grows those
    /// that are too small. Returns the topics that the target refused; a lane that has a record for
    /// one reports it.
    ///
    /// # Errors
    /// [`PortError`] when the target does not answer.
    pub async fn ensure(&self, wanted: BTreeMap<Arc<str>, u32>) -> Result<Vec<RefusedTopic>, PortError> {
        let client = self.client.get()?;
        let (context, timeout) = (self.client.context.clone(), self.timeout);
        blocking(&self.client.context, move || ensure(&client, &context, &wanted, timeout)).await?
    }
}

fn ensure(
    client: &Client,
    context: &str,
    wanted: &BTreeMap<Arc<str>, u32>,
    timeout: Duration,
) -> Result<Vec<RefusedTopic>, PortError> {
    let found = client.metadata(None, timeout).map_err(|error| fail(context, &error, Some(client)))?;
    let found: BTreeMap<String, u32> = found
        .into_iter()
        .filter(|(_, _, code)| *code == Code::OK)
        .map(|(topic, partitions, _)| (topic, partitions.unsigned_abs()))
        .collect();
    let mut refused = Vec::new();
    for (topic, partitions) in wanted {
        let result = match found.get(&**topic) {
            Some(found) if found >= partitions => continue,
            Some(_) => grow(client, topic, *partitions, timeout),
            None => create_target(client, topic, *partitions, timeout),
        };
        if let Err(error) = result {
            let is_passing = class_of(error.code) == Class::Retry;
            refused.push(RefusedTopic { topic: Arc::clone(topic), reason: error.to_string(), is_passing });
        }
    }
    Ok(refused)
}

/// Creates a topic that keeps the source's timestamps.
fn create_target(client: &Client, topic: &str, partitions: u32, timeout: Duration) -> Result<(), FfiError> {
    let settings = [("message.timestamp.type", "CreateTime".to_owned())];
    match create(client, topic, partitions.max(1), &settings, timeout) {
        // The mock cluster creates a topic when a producer asks for its metadata.
        Err(error) if is_unsupported(error.code) => client.metadata(Some(topic), timeout).map(|_| ()),
        other => other,
    }
}

/// A target topic as a lane asks for it.
#[derive(Clone, Debug)]
pub(crate) struct OpenRequest {
    /// Name of the topic.
    pub topic: String,
    /// The handle that the topic gets.
    pub handle: TopicHandle,
    /// Least number of partitions.
    pub partitions: u32,
    /// Whether it may be created and grown.
    pub manage: bool,
    /// The beginning of the message when a request fails.
    pub context: String,
    /// How long one request may take.
    pub timeout: Duration,
}

/// The properties of an open target topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub topic: TargetTopic,
    /// In-sync replicas that a partition needs to be written (`min.insync.replicas`).
    pub min_in_sync: u32,
}

impl OpenRequest {
    /// Looks the topic up, and creates or grows it where that is allowed. Blocks for a bounded
    /// time.
    pub(crate) fn open(&self, client: &Client) -> Result<Facts, PortError> {
        let Self { topic, handle, partitions, manage, timeout, .. } = self;
        let (partitions, timeout) = (*partitions, *timeout);
        let context = format!("{}, topic {topic}", self.context);
        let fail = |error: FfiError| port_error_because(context.clone(), &error, client.trouble());
        let found = find(client, topic, timeout).map_err(fail)?;
        if found.is_none() && !manage {
            let text = format!(
                "the topic does not exist and Strait may not create it; create it with at least {partitions} partitions"
            );
            return Err(fail(FfiError::new(Code::UNKNOWN_TOPIC_OR_PART, text)));
        }
        let found = match found {
            None => {
                create_target(client, topic, partitions, timeout).map_err(fail)?;
                wait_for(client, topic, partitions, timeout).map_err(fail)?
            }
            Some(small) if small.partitions < partitions && *manage => match grow(client, topic, partitions, timeout) {
                Ok(()) => wait_for(client, topic, partitions, timeout).map_err(fail)?,
                // The lane continues with the existing partitions and reports the missing ones.
                Err(error) => {
                    let found = small.partitions;
                    tracing::warn!("{context}: cannot be grown from {found} to {partitions} partitions: {error}");
                    small
                }
            },
            Some(found) => found,
        };
        let configs = match client.topic_configs(topic, timeout) {
            Ok(configs) => configs,
            Err(error) if is_unsupported(error.code) => BTreeMap::new(),
            Err(error) => {
                tracing::warn!("{context}: settings cannot be read, Kafka's defaults are assumed: {error}");
                BTreeMap::new()
            }
        };
        check_write(client, topic, timeout).map_err(fail)?;
        // So that the producers' own view has the partitions before the first record.
        client.metadata(Some(topic), timeout).map_err(fail)?;
        Ok(facts(*handle, found, &configs))
    }
}

/// Checks that the principal may write the topic.
///
/// A transaction that fails for lack of this permission reports it in librdkafka's log only, and
/// fails the whole lane. Clusters without an authorizer, and old ones, report no permissions and
/// pass.
fn check_write(client: &Client, topic: &str, timeout: Duration) -> Result<(), FfiError> {
    let described = describe(client, &[topic], true, timeout)?;
    let operations = described.first().map(|topic| topic.operations.as_slice()).unwrap_or_default();
    if operations.is_empty() || operations.iter().any(|number| Operation::from(*number) == Operation::Write) {
        return Ok(());
    }
    Err(FfiError::new(Code::TOPIC_AUTHORIZATION_FAILED, format!("the principal may not write topic {topic}")))
}

/// Reads a topic's settings. Kafka's defaults stand for those that are not reported.
fn facts(handle: TopicHandle, found: Found, configs: &BTreeMap<String, String>) -> Facts {
    let number = |name: &str, default: i64| configs.get(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    Facts {
        topic: TargetTopic {
            handle,
            id: found.id,
            partitions: found.partitions,
            // Kafka's default, and the mock cluster's: 1 MiB and 12 bytes of overhead.
            max_message_bytes: usize::try_from(number("max.message.bytes", 1_048_588)).unwrap_or(1_048_588),
            log_append_time: configs.get("message.timestamp.type").is_some_and(|kind| kind == "LogAppendTime"),
            timestamp_after_max_ms: number("message.timestamp.after.max.ms", i64::MAX),
            timestamp_before_max_ms: number("message.timestamp.before.max.ms", i64::MAX),
        },
        min_in_sync: u32::try_from(number("min.insync.replicas", 1)).unwrap_or(1),
    }
}
