//! The topics that a link copies to: opened by the lane that has a record for them, and created
//! before that where the source topic is known, so that an empty one has its counterpart too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use strait_core::TopicId;
use strait_core::acl::Operation;
use strait_flow::ports::{PortError, TargetTopic, TopicAnswer, TopicHandle, WantedTopic};

use super::maker::TopicMaker;
use super::{Found, find, grow, wait_served, wait_up_to};
use crate::config::ClusterConfig;
use crate::error::{blocking, port_error_because};
use crate::ffi::{Client, Code, FfiError, Place, TopicConfigs, TopicDescription};
use crate::lazy_client::LazyClient;
use crate::queries::{describe, is_denied, is_unsupported, not_served};

/// How long a topic that a lane has created may take to be there. The lane's other topics wait
/// meanwhile.
const APPEAR_IN_LANE: Duration = Duration::from_millis(400);

/// Creates and grows topics on the target.
pub struct KafkaTargetTopics {
    pub(super) client: LazyClient,
    pub(super) maker: Arc<TopicMaker>,
    pub(super) timeout: Duration,
}

/// A topic that could not be created or grown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedTopic {
    /// Name of the topic.
    pub topic: Arc<str>,
    /// The target's reason.
    pub reason: String,
}

impl KafkaTargetTopics {
    /// Connects on first use. One request to the target takes `timeout` at most.
    #[must_use]
    pub fn new(target: &ClusterConfig, link: &str, maker: Arc<TopicMaker>, timeout: Duration) -> Self {
        let context = format!("link {link}: target topics on cluster {}", target.name);
        Self { client: LazyClient::new(target, format!("{link}/target-topics"), context), maker, timeout }
    }

    /// Returns those of `wanted` that the target lacks.
    ///
    /// # Errors
    /// [`PortError`] when the target does not answer.
    pub async fn lacking(&self, wanted: Vec<WantedTopic>) -> Result<Lacking, PortError> {
        let timeout = self.timeout;
        self.client.ask(move |client| lacking(client, wanted, timeout)).await
    }

    /// Returns the ids of these topics, as far as they exist.
    ///
    /// # Errors
    /// [`PortError`] when the target does not answer.
    pub async fn ids(&self, topics: Vec<Arc<str>>) -> Result<BTreeMap<Arc<str>, TopicId>, PortError> {
        if topics.is_empty() {
            return Ok(BTreeMap::new());
        }
        let timeout = self.timeout;
        let described = self.client.ask(move |client| {
            let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
            describe(client, &names, false, timeout)
        });
        let found = described.await?.into_iter().filter(|topic| topic.code == Code::OK);
        Ok(found.map(|topic| (topic.topic.into(), TopicId(topic.id))).collect())
    }

    /// Creates and grows topics. Returns those that the target refused; a lane that has a record
    /// for one reports it.
    ///
    /// # Errors
    /// [`PortError`] when the source does not answer.
    pub async fn provide(&self, lacking: Lacking) -> Result<Vec<RefusedTopic>, PortError> {
        let client = self.client.get()?;
        let (maker, timeout) = (Arc::clone(&self.maker), self.timeout);
        blocking(&self.client.context, move || {
            let mut refused = maker.create(&client, &lacking.missing.iter().collect::<Vec<_>>())?;
            for topic in lacking.small {
                if let Err(error) = grow(&client, &topic.name, topic.partitions, timeout) {
                    refused.push((Arc::clone(&topic.name), error));
                }
            }
            Ok(refused.into_iter().map(|(topic, error)| RefusedTopic { topic, reason: error.to_string() }).collect())
        })
        .await?
    }
}

/// Topics that the target lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lacking {
    /// They do not exist.
    pub missing: Vec<WantedTopic>,
    /// They have too few partitions.
    pub small: Vec<WantedTopic>,
}

/// Returns those of `wanted` that the target lacks.
pub(super) fn lacking(client: &Client, wanted: Vec<WantedTopic>, timeout: Duration) -> Result<Lacking, FfiError> {
    let found: BTreeMap<String, u32> = client
        .metadata(None, timeout)?
        .into_iter()
        .filter(|(_, _, code)| *code == Code::OK)
        .map(|(topic, partitions, _)| (topic, partitions.unsigned_abs()))
        .collect();
    let mut lacking = Lacking::default();
    for topic in wanted {
        match found.get(&*topic.name) {
            None => lacking.missing.push(topic),
            Some(found) if *found < topic.partitions => lacking.small.push(topic),
            Some(_) => {}
        }
    }
    Ok(lacking)
}

/// A target topic as a lane asks for it.
#[derive(Clone)]
pub(crate) struct OpenRequest {
    /// The topic.
    pub wanted: WantedTopic,
    /// The handle that the topic gets.
    pub handle: TopicHandle,
    /// Creates it; `None` if Strait may neither create nor grow topics.
    pub maker: Option<Arc<TopicMaker>>,
    /// The beginning of the message when a request fails.
    pub context: String,
    /// How long one request may take.
    pub timeout: Duration,
}

/// The answer to an [`OpenRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub answer: TopicAnswer,
    /// In-sync replicas that a partition needs to be written (`min.insync.replicas`).
    pub min_in_sync: u32,
}

impl From<TopicAnswer> for Opened {
    fn from(answer: TopicAnswer) -> Self {
        Self { answer, min_in_sync: 1 }
    }
}

impl OpenRequest {
    /// Looks the topic up, and creates or grows it where that is allowed. Blocks for a bounded
    /// time.
    pub(crate) fn open(&self, client: &Client) -> Result<Opened, PortError> {
        let WantedTopic { name: topic, partitions, grows, .. } = &self.wanted;
        let (partitions, timeout) = (*partitions, self.timeout);
        let context = format!("{}, topic {topic}", self.context);
        let fail = |error: FfiError| port_error_because(context.clone(), &error, client.trouble());
        let mut found = match find(client, topic, timeout).map_err(fail)? {
            Some(found) => {
                wait_served(APPEAR_IN_LANE, client, topic, found.partitions);
                found
            }
            None if !self.wanted.creates => return Ok(TopicAnswer::Missing.into()),
            None => match self.create(client)? {
                Ok(created) => created,
                Err(refusal) => return Ok(refusal.into()),
            },
        };
        let mut not_grown = None;
        if found.partitions < partitions && *grows {
            match self.grow(client) {
                Ok(Some(grown)) => found = grown,
                Ok(None) => return Ok(TopicAnswer::Appearing.into()),
                Err(reason) => not_grown = Some(reason),
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
        match check_write(client, topic, timeout) {
            Err(error) if error.code == Code::TOPIC_AUTHORIZATION_FAILED => {
                return Ok(TopicAnswer::Denied(fail(error).reason).into());
            }
            other => other.map_err(fail)?,
        }
        // So that the producers' own view has the partitions before the first record.
        client.metadata(Some(topic), timeout).map_err(fail)?;
        let (topic, min_in_sync) = facts(self.handle, found, &configs);
        let answer = not_grown.map_or(TopicAnswer::Open(topic), |reason| TopicAnswer::TooSmall(topic, reason));
        Ok(Opened { answer, min_in_sync })
    }

    /// Lets another client learn of the topic, so that its own view has the partitions before the
    /// first record.
    pub(crate) fn learn(&self, client: &Client) -> Result<(), PortError> {
        let WantedTopic { name, partitions, .. } = &self.wanted;
        let learned = client.metadata(Some(name), self.timeout);
        let context = || format!("{}, topic {name} with {partitions} partitions", self.context);
        learned.map(drop).map_err(|error| port_error_because(context(), &error, client.trouble()))
    }

    /// Creates the topic. Whatever keeps it from being created concerns this topic alone, and is an
    /// answer.
    fn create(&self, client: &Client) -> Result<Result<Found, TopicAnswer>, PortError> {
        let partitions = self.wanted.partitions;
        let Some(maker) = &self.maker else {
            let text = format!(
                "the topic does not exist and Strait may not create it; create it with at least {partitions} partitions"
            );
            return Ok(Err(TopicAnswer::Denied(text)));
        };
        let refused = match maker.create(client, &[&self.wanted]) {
            Ok(mut refused) => refused.pop(),
            // The source does not tell its settings now. Other topics of the lane need none of
            // them.
            Err(error) => return Ok(Err(TopicAnswer::NotCreated(error.to_string()))),
        };
        if let Some((_, error)) = refused {
            let reason = port_error_because(&self.context, &error, client.trouble()).reason;
            let denied = is_denied(error.code);
            return Ok(Err(if denied { TopicAnswer::Denied(reason) } else { TopicAnswer::NotCreated(reason) }));
        }
        let found = self.appeared(client);
        let found = found.map_err(|error| port_error_because(&self.context, &error, client.trouble()))?;
        Ok(found.ok_or(TopicAnswer::Appearing))
    }

    /// Waits for the partitions that were created. `None` if they have not appeared yet.
    fn appeared(&self, client: &Client) -> Result<Option<Found>, FfiError> {
        let WantedTopic { name, partitions, .. } = &self.wanted;
        match wait_up_to(APPEAR_IN_LANE, client, name, *partitions, self.timeout) {
            Err(error) if error.code == Code::TIMED_OUT => Ok(None),
            found => found.map(Some),
        }
    }

    /// Grows the topic. Returns it as it is then, or `None` while its new partitions appear.
    ///
    /// # Errors
    /// Why it has not grown.
    fn grow(&self, client: &Client) -> Result<Option<Found>, String> {
        let WantedTopic { name, partitions, .. } = &self.wanted;
        if self.maker.is_none() {
            return Err("Strait may not add partitions: manage_topics is off".to_owned());
        }
        tracing::info!("{}, topic {name}: growing it to {partitions} partitions", self.context);
        grow(client, name, *partitions, self.timeout).map_err(|error| error.to_string())?;
        self.appeared(client).map_err(|error| error.to_string())
    }
}

/// A target topic that is as it should be.
pub(crate) struct Existing {
    pub name: Arc<str>,
    pub topic: TargetTopic,
    /// In-sync replicas that a partition needs to be written.
    pub min_in_sync: u32,
}

/// Returns those of `wanted` that exist, may be written and have enough partitions that are served,
/// without their handles.
pub(crate) fn existing(
    client: &Client,
    wanted: Vec<WantedTopic>,
    timeout: Duration,
) -> Result<Vec<Existing>, FfiError> {
    let names: Vec<&str> = wanted.iter().map(|topic| &*topic.name).collect();
    let described = describe(client, &names, true, timeout)?;
    let good = |topic: &&TopicDescription| topic.code == Code::OK && may_write(topic);
    let found: BTreeMap<&str, Found> =
        described.iter().filter(good).map(|topic| (topic.topic.as_str(), Found::of(topic))).collect();
    let found_of = |topic: &WantedTopic| found.get(&*topic.name).filter(|found| found.partitions >= topic.partitions);
    let places = wanted.iter().filter_map(|topic| Some((topic, found_of(topic)?.partitions)));
    let places: Vec<Place> = places.flat_map(|(topic, partitions)| Place::all_of(&topic.name, partitions)).collect();
    let fresh = not_served(client, &places, APPEAR_IN_LANE);
    let is_ready = |topic: &&WantedTopic| found_of(topic).is_some() && !fresh.contains(&*topic.name);
    let wanted: Vec<&WantedTopic> = wanted.iter().filter(is_ready).collect();
    let names: Vec<&str> = wanted.iter().map(|topic| &*topic.name).collect();
    let configs: BTreeMap<String, TopicConfigs> = match client.configs_of_topics(&names, timeout) {
        Err(error) if is_unsupported(error.code) => BTreeMap::new(),
        other => other?.into_iter().filter_map(|(topic, configs)| Some((topic, known(configs)?))).collect(),
    };
    let existing = wanted.into_iter().filter_map(|topic| {
        let none = TopicConfigs::new();
        let configs = configs.get(&*topic.name).unwrap_or(&none);
        let (name, found) = (Arc::clone(&topic.name), *found.get(&*topic.name)?);
        let (topic, min_in_sync) = facts(TopicHandle(0), found, configs);
        Some(Existing { name, topic, min_in_sync })
    });
    Ok(existing.collect())
}

fn known(configs: Result<TopicConfigs, FfiError>) -> Option<TopicConfigs> {
    let assumed = |error: &FfiError| {
        tracing::warn!("settings of a target topic cannot be read, Kafka's defaults are assumed: {error}");
    };
    configs.inspect_err(assumed).ok()
}

/// Returns whether the principal may write the topic. Clusters without an authorizer, and old ones,
/// report no permissions.
pub(crate) fn may_write(described: &TopicDescription) -> bool {
    let operations = &described.operations;
    operations.is_empty() || operations.iter().any(|number| Operation::from(*number) == Operation::Write)
}

/// Checks that the principal may write the topic.
///
/// A transaction that fails for lack of this permission reports it in librdkafka's log only, and
/// fails the whole lane. Clusters without an authorizer, and old ones, report no permissions and
/// pass.
fn check_write(client: &Client, topic: &str, timeout: Duration) -> Result<(), FfiError> {
    if describe(client, &[topic], true, timeout)?.first().is_none_or(may_write) {
        return Ok(());
    }
    Err(FfiError::new(Code::TOPIC_AUTHORIZATION_FAILED, format!("the principal may not write topic {topic}")))
}

/// Reads a topic's settings, and how many in-sync replicas a partition needs to be written. Kafka's
/// defaults stand for what is not reported.
fn facts(handle: TopicHandle, found: Found, configs: &TopicConfigs) -> (TargetTopic, u32) {
    let number = |name: &str, default: i64| configs.get(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let topic = TargetTopic {
        handle,
        id: found.id,
        partitions: found.partitions,
        // Kafka's default, and the mock cluster's: 1 MiB and 12 bytes of overhead.
        max_message_bytes: usize::try_from(number("max.message.bytes", 1_048_588)).unwrap_or(1_048_588),
        log_append_time: configs.get("message.timestamp.type").is_some_and(|kind| kind == "LogAppendTime"),
        timestamp_after_max_ms: number("message.timestamp.after.max.ms", i64::MAX),
        timestamp_before_max_ms: number("message.timestamp.before.max.ms", i64::MAX),
    };
    (topic, u32::try_from(number("min.insync.replicas", 1)).unwrap_or(1))
}
