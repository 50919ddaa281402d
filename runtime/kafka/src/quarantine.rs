//! Stores refused records in the link's quarantine topic, on the source cluster.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use strait_core::SourceOffset;
use strait_core::books::KeptAt;
use strait_core::link_topics::{quarantine_faults, quarantine_settings};
use strait_core::progress::quarantine_topic;
use strait_flow::ports::{Class, PortError, Quarantine, QuarantineRecord};
use strait_flow::{lock, millis};
use tokio::sync::Notify;

use crate::config::{ClusterConfig, TargetTuning, writer};
use crate::error::{blocking, own, port_error};
use crate::ffi::{
    Client, Code, FfiError, Handle, Observer, OutHeaderList, OutMessage, Producer, ReportedMessage, Trouble,
};
use crate::lazy_client::{self, fail};
use crate::topics::outlook::Outlook;
use crate::topics::{Creation, TopicSettings, count, create, own_replicas, wait_for};

/// Bits of a token that number the records of a call.
const INDEX_BITS: u32 = 32;

/// The outcome of one call.
#[derive(Default)]
struct Outcome {
    /// Number of the call.
    batch: u64,
    /// Where each record is, as far as that is known.
    places: Vec<Option<KeptAt>>,
    acknowledged: usize,
    failed: Option<(Code, String)>,
}

impl Outcome {
    /// Takes the report of a record. Returns whether the record is of this call.
    fn delivered(&mut self, message: &ReportedMessage<'_>) -> bool {
        let (batch, index) = (message.token() >> INDEX_BITS, message.token() & ((1 << INDEX_BITS) - 1));
        if self.batch != batch {
            return false;
        }
        let (code, offset) = (message.code(), message.offset());
        let place = usize::try_from(index).ok().and_then(|index| self.places.get_mut(index));
        match place {
            Some(place) if code == Code::OK && offset >= 0 => {
                *place = Some(KeptAt { partition: message.partition().1, offset: SourceOffset(offset) });
                self.acknowledged += 1;
            }
            // A duplicate of an earlier request: it is written, and nobody knows where.
            _ if code == Code::OK => {
                let text = "acknowledged without an offset".to_owned();
                self.failed.get_or_insert((Code::STATE, text));
            }
            _ => drop(self.failed.get_or_insert_with(|| (code, code.text()))),
        }
        true
    }
}

#[derive(Default)]
struct Acknowledgements {
    outcome: Mutex<Outcome>,
    notify: Notify,
}

impl Acknowledgements {
    fn with<T>(&self, access: impl FnOnce(&mut Outcome) -> T) -> T {
        access(&mut lock(&self.outcome))
    }

    fn fail(&self, code: Code, text: String) {
        self.with(|outcome| {
            outcome.failed.get_or_insert((code, text));
        });
        self.notify.notify_one();
    }
}

impl Observer for Acknowledgements {
    fn delivered(&self, message: &ReportedMessage<'_>) {
        if self.with(|outcome| outcome.delivered(message)) {
            self.notify.notify_one();
        }
    }

    fn trouble(&self, trouble: &Trouble) {
        if trouble.fatal || trouble.code == Code::AUTHENTICATION {
            self.fail(trouble.code, trouble.text.clone());
        }
    }
}

struct Open {
    producer: Arc<Producer>,
    topic: Handle,
    partitions: i32,
}

/// A [`Quarantine`] on the link's quarantine topic. Connects at the first record, unless it was
/// prepared before.
pub struct KafkaQuarantine {
    cluster: ClusterConfig,
    link: String,
    /// Whether Strait may create the topic.
    manage: bool,
    timeout: Duration,
    context: String,
    acknowledgements: Arc<Acknowledgements>,
    open: Option<Open>,
}

impl KafkaQuarantine {
    /// Creates a quarantine on the source cluster. `timeout` bounds each call.
    #[must_use]
    pub fn new(source: &ClusterConfig, link: &str, manage: bool, timeout: Duration) -> Self {
        Self {
            context: format!("link {link}: quarantine topic {} on cluster {}", quarantine_topic(link), source.name),
            cluster: source.clone(),
            link: link.to_owned(),
            manage,
            timeout,
            acknowledgements: Arc::default(),
            open: None,
        }
    }

    /// Asks the source whether it would have the topic created, without changing anything. `None`
    /// if the topic exists, or if the source cannot be asked.
    ///
    /// # Errors
    /// [`PortError`] when the source does not answer, or does not describe the topic.
    pub async fn outlook(&self) -> Result<Option<Outlook>, PortError> {
        let (cluster, manage, timeout) = (self.cluster.clone(), self.manage, self.timeout);
        let (link, context) = (self.link.clone(), self.context.clone());
        blocking(&self.context, move || {
            let client = lazy_client::connect(&cluster, &format!("{link}/quarantine-check"))
                .map_err(|error| fail(&context, &error, None))?;
            let topic = quarantine_topic(&link);
            if count(&client, &topic, timeout).map_err(|error| fail(&context, &error, Some(&client)))? > 0 {
                return Ok(None);
            }
            let settings = topic_settings();
            let creation = creation(&client, &topic, &settings, timeout);
            Ok(creation.outlook(&client, (manage, &cluster.bootstrap_servers), timeout, |_| Vec::new()))
        })
        .await?
    }

    /// Judges the settings of the topic where it exists: anybody may have made it, with those of
    /// the broker, by which refused records expire.
    ///
    /// # Errors
    /// [`PortError`] when the source does not answer, or does not tell the settings.
    pub async fn fault(&self) -> Result<Option<String>, PortError> {
        let (cluster, timeout) = (self.cluster.clone(), self.timeout);
        let (link, context) = (self.link.clone(), self.context.clone());
        blocking(&self.context, move || {
            let client = lazy_client::connect(&cluster, &format!("{link}/quarantine-check"))
                .map_err(|error| fail(&context, &error, None))?;
            let port = |error: FfiError| fail(&context, &error, Some(&client));
            let topic = quarantine_topic(&link);
            if count(&client, &topic, timeout).map_err(port)? == 0 {
                return Ok(None);
            }
            let found = client.topic_configs(&topic, timeout).map_err(port)?;
            Ok(quarantine_faults(&link, &cluster.bootstrap_servers, &found))
        })
        .await?
    }

    async fn open(&mut self) -> Result<(), PortError> {
        if self.open.is_some() {
            return Ok(());
        }
        self.acknowledgements = Arc::default();
        let (cluster, link, manage, timeout) = (self.cluster.clone(), self.link.clone(), self.manage, self.timeout);
        let (context, observer) = (self.context.clone(), Arc::clone(&self.acknowledgements));
        let opened =
            blocking(&self.context, move || connect(&cluster, &link, manage, timeout, &context, observer)).await??;
        self.open = Some(opened);
        Ok(())
    }

    /// Queues all records. None is stored before its acknowledgement.
    fn send(&self, open: &Open, batch: u64, records: &[QuarantineRecord<'_>]) -> Result<(), PortError> {
        for (index, record) in (0..).zip(records) {
            let source = record.partition;
            let message = OutMessage {
                topic: open.topic,
                partition: source.partition.rem_euclid(open.partitions.max(1)),
                key: record.record.key,
                value: record.record.value,
                // The time of writing, as the record's own timestamp may be why it was refused.
                timestamp_ms: 0,
                token: (batch << INDEX_BITS) | index,
            };
            open.producer.produce(&message, Some(headers(&self.link, record))).map_err(|error| {
                let context = format!("{}: {source} offset {}", self.context, record.record.offset);
                let mut port = port_error(context, &error);
                if error.code == Code::MSG_SIZE_TOO_LARGE {
                    port.class = Class::Stop;
                }
                port
            })?;
        }
        Ok(())
    }
}

/// Returns the headers of a record in quarantine.
fn headers(link: &str, record: &QuarantineRecord<'_>) -> OutHeaderList {
    let mut list = OutHeaderList::with_capacity(record.record.headers.len() + 11);
    each_header(link, record, |name, value| list.push(name, value));
    list
}

/// Lists the record's own headers, then the reason and the origin, with numbers as decimal text.
pub(crate) fn each_header(link: &str, record: &QuarantineRecord<'_>, mut push: impl FnMut(&[u8], Option<&[u8]>)) {
    for header in record.record.headers.iter() {
        push(header.name, header.value);
    }
    // Behind the record's own headers and never left out: the last header of each name is ours,
    // also where a producer has set it.
    push(b"strait-plugin-digest", record.digest.map(str::as_bytes));
    let source = record.partition;
    let mut add = |name: &str, value: &str| push(name.as_bytes(), Some(value.as_bytes()));
    add("strait-link", link);
    add("strait-plugin", record.by);
    add("strait-code", record.code);
    add("strait-text", record.text);
    add("strait-generation", &record.generation.0);
    add("strait-source-topic", &source.topic);
    add("strait-source-topic-id", &source.topic_id.to_string());
    add("strait-source-partition", &source.partition.to_string());
    add("strait-source-offset", &record.record.offset.to_string());
    add("strait-source-timestamp", &record.record.timestamp_ms.to_string());
}

fn connect(
    cluster: &ClusterConfig,
    link: &str,
    manage: bool,
    timeout: Duration,
    context: &str,
    observer: Arc<Acknowledgements>,
) -> Result<Open, PortError> {
    // A partition waits for each record, so lingering gains nothing.
    let tuning =
        TargetTuning { exactly_once: false, queue_bytes: 256 << 20, linger: Duration::ZERO, ..TargetTuning::default() };
    let mut settings = writer(cluster, &format!("strait-{link}-quarantine"), &tuning, None);
    settings.set("message.timeout.ms", millis(timeout).max(1));
    settings.set("statistics.interval.ms", 0);
    let producer = Producer::new(&format!("{link}/quarantine"), &settings, observer, || {})
        .map_err(|error| port_error(context, &error))?;
    let client = Arc::clone(producer.client());
    let port = |error: FfiError| fail(context, &error, Some(&client));
    let topic = quarantine_topic(link);
    let mut partitions = count(&client, &topic, timeout).map_err(port)?;
    if partitions == 0 {
        if !manage {
            let reason =
                "it does not exist and Strait may not create it; without it a rejected record stops its partition";
            return Err(own(Class::Stop, context, reason));
        }
        let settings = topic_settings();
        let creation = creation(&client, &topic, &settings, timeout);
        create(&client, &creation, timeout).map_err(port)?;
        partitions = wait_for(&client, &topic, 1, timeout).map_err(port)?.partitions;
    }
    client.metadata(Some(&topic), timeout).map_err(port)?;
    let topic = producer.open(&topic).map_err(port)?;
    Ok(Open { producer: Arc::new(producer), topic, partitions: i32::try_from(partitions).unwrap_or(1) })
}

/// Returns the settings of the topic. A cluster that allows no messages of that size gets it
/// without, and a record that is larger than its own limit stops its partition.
fn topic_settings() -> TopicSettings {
    let mut all = quarantine_settings();
    all.push(("max.message.bytes", (32 << 20).to_string()));
    TopicSettings { all, dispensable: &["max.message.bytes"] }
}

fn creation<'a>(client: &Client, name: &'a str, settings: &'a TopicSettings, timeout: Duration) -> Creation<'a> {
    Creation { name, partitions: 1, replicas: own_replicas(client, timeout), settings }
}

#[async_trait]
impl Quarantine for KafkaQuarantine {
    async fn prepare(&mut self) -> Result<(), PortError> {
        self.open().await
    }

    async fn write(&mut self, records: &[QuarantineRecord<'_>]) -> Result<Vec<KeptAt>, PortError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        self.open().await?;
        let acknowledgements = Arc::clone(&self.acknowledgements);
        let batch = acknowledgements.with(|outcome| {
            let places = vec![None; records.len()];
            *outcome = Outcome { batch: outcome.batch + 1, places, ..Outcome::default() };
            outcome.batch
        });
        let Some(open) = &self.open else {
            return Err(own(Class::Retry, self.context.clone(), "not connected"));
        };
        let sent = self.send(open, batch, records);
        let deadline = tokio::time::Instant::now() + self.timeout;
        let result = match sent {
            Err(error) => Err(error),
            Ok(()) => loop {
                let notified = acknowledgements.notify.notified();
                let (acknowledged, failed) =
                    acknowledgements.with(|outcome| (outcome.acknowledged, outcome.failed.clone()));
                if let Some((code, text)) = failed {
                    break Err(port_error(self.context.clone(), &FfiError::new(code, text)));
                }
                if acknowledged == records.len() {
                    break Ok(acknowledgements.with(|outcome| std::mem::take(&mut outcome.places)));
                }
                if tokio::time::timeout_at(deadline, notified).await.is_err() {
                    let reason = format!("{acknowledged} of {} records acknowledged in time", records.len());
                    break Err(own(Class::Retry, self.context.clone(), reason));
                }
            },
        };
        if result.is_err() {
            // Queued records must not be counted for a later batch, so the next call starts with a
            // new client.
            if let Some(open) = self.open.take() {
                blocking(&self.context, move || drop(open)).await?;
            }
        }
        Ok(result?.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topics::create_with;

    #[test]
    fn a_cluster_that_allows_no_large_messages_gets_the_topic_without_that_setting_alone() {
        let settings = topic_settings();
        let has = |settings: &[(&'static str, String)], name: &str| settings.iter().any(|(found, _)| *found == name);
        assert!(has(&settings.all, "max.message.bytes"));
        let mut sent = Vec::new();
        let created = create_with(&settings, Some(3), |settings, _| {
            sent.push(settings.to_vec());
            let refused = has(settings, "max.message.bytes");
            if refused { Err(FfiError::new(Code::POLICY_VIOLATION, "no")) } else { Ok(()) }
        });
        let created = created.unwrap().unwrap();
        assert_eq!(created.left_out, ["max.message.bytes"], "and not the replication");
        let last = sent.pop().unwrap();
        assert!(quarantine_settings().iter().all(|(name, _)| has(&last, name)), "{last:?}");
    }
}
