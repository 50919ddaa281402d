//! The topics for MirrorMaker 2's clients, written by a plain producer for each end of a link that
//! nothing else uses.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use strait_core::mm2::Mm2Topic;
use strait_core::mm2::names::PARTITION;
use strait_flow::ports::{Class, Mm2Record, Mm2Writer, PortError};
use strait_flow::{lock, millis};
use tokio::sync::Notify;

use crate::config::{ClusterConfig, TargetTuning, writer};
use crate::error::{blocking, drop_blocking, own, port_error_because};
use crate::ffi::{Client, Code, FfiError, Handle, Observer, OutMessage, Producer, ReportedMessage, Trouble};
use crate::lazy_client::{self, fail};
use crate::queries::{is_denied, is_unsupported};
use crate::topics::outlook::Outlook;
use crate::topics::{Creation, TopicSettings, create, find, own_replicas, wait_for};

/// How long a record may wait to be written. A write takes somewhat longer.
const RECORD: Duration = Duration::from_secs(10);
/// Bits of a token that number the records of a write.
const INDEX_BITS: u32 = 32;

/// A [`Mm2Writer`] on the clusters of a link.
#[derive(Clone)]
pub struct KafkaMm2 {
    link: Arc<str>,
    source: Arc<End>,
    target: Arc<End>,
    /// Whether Strait may create topics.
    manage: bool,
    timeout: Duration,
}

/// One end of a link.
struct End {
    cluster: ClusterConfig,
    open: Mutex<Option<Open>>,
}

/// A producer at work.
#[derive(Clone)]
struct Open {
    producer: Arc<Producer>,
    reports: Arc<Reports>,
    topics: Arc<Mutex<BTreeMap<String, Handle>>>,
    /// The rolls of the access when it was made.
    rolls: u64,
}

/// The writes whose records are not all reported.
#[derive(Default)]
struct Reports {
    inner: Mutex<Calls>,
    notify: Notify,
}

#[derive(Default)]
struct Calls {
    last: u64,
    open: BTreeMap<u64, Call>,
    /// The producer cannot be used any more.
    is_broken: bool,
}

#[derive(Default)]
struct Call {
    /// Indexes of the records that are not reported.
    left: BTreeSet<u64>,
    failed: Option<Code>,
}

impl Observer for Reports {
    fn delivered(&self, message: &ReportedMessage<'_>) {
        let (number, index) = (message.token() >> INDEX_BITS, message.token() & ((1 << INDEX_BITS) - 1));
        let mut calls = lock(&self.inner);
        let Some(call) = calls.open.get_mut(&number) else { return };
        call.left.remove(&index);
        if message.code() != Code::OK {
            call.failed.get_or_insert_with(|| message.code());
        }
        let is_over = call.left.is_empty();
        drop(calls);
        if is_over {
            self.notify.notify_waiters();
        }
    }

    fn trouble(&self, trouble: &Trouble) {
        if trouble.fatal {
            lock(&self.inner).is_broken = true;
        }
    }
}

/// Forgets a write when nobody waits for it any more.
struct Written<'a> {
    reports: &'a Reports,
    number: u64,
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        lock(&self.reports.inner).open.remove(&self.number);
    }
}

impl Reports {
    fn begin(&self, records: usize) -> Written<'_> {
        let mut calls = lock(&self.inner);
        // Fits the token beside the index.
        calls.last = (calls.last + 1) & ((1 << INDEX_BITS) - 1);
        let number = calls.last;
        calls.open.insert(number, Call { left: (0..records as u64).collect(), failed: None });
        Written { reports: self, number }
    }
}

impl Written<'_> {
    /// Returns the outcome once every record is reported: the first failure, if there is one.
    fn outcome(&self) -> Option<Option<Code>> {
        let calls = lock(&self.reports.inner);
        let call = calls.open.get(&self.number)?;
        call.left.is_empty().then_some(call.failed)
    }

    async fn wait(&self) -> Option<Code> {
        loop {
            let notified = self.reports.notify.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if let Some(outcome) = self.outcome() {
                return outcome;
            }
            notified.await;
        }
    }
}

impl KafkaMm2 {
    /// Creates the writer of a link from `source` to `target`. It connects when the first topic is
    /// opened; `timeout` bounds each request about topics.
    #[must_use]
    pub fn new(source: &ClusterConfig, target: &ClusterConfig, link: &str, manage: bool, timeout: Duration) -> Self {
        let end = |cluster: &ClusterConfig| Arc::new(End { cluster: cluster.clone(), open: Mutex::default() });
        Self { link: link.into(), source: end(source), target: end(target), manage, timeout }
    }

    fn end(&self, topic: Mm2Topic) -> &Arc<End> {
        if topic.is_on_source() { &self.source } else { &self.target }
    }

    fn name(&self, topic: Mm2Topic) -> String {
        topic.name(&self.source.cluster.name)
    }

    fn context(&self, topic: Mm2Topic) -> String {
        format!("link {}: topic {} on cluster {}", self.link, self.name(topic), self.end(topic).cluster.name)
    }

    /// Sees to the topic, from a blocking thread.
    fn open_blocking(&self, topic: Mm2Topic) -> Result<(), PortError> {
        let (context, name, end) = (self.context(topic), self.name(topic), self.end(topic));
        let open = end.connect(&self.link, topic.is_on_source(), &context)?;
        let client = open.producer.client();
        let port = |error: FfiError| fail(&context, &error, Some(client));
        match find(client, &name, self.timeout).map_err(port)? {
            Some(found) => self.judge(client, topic, found.partitions, &context)?,
            None => self.create(client, topic, &context)?,
        }
        // Without it the first record of a topic waits until the client has asked for it.
        client.metadata(Some(&name), self.timeout).map_err(port)?;
        if let Entry::Vacant(place) = lock(&open.topics).entry(name) {
            let opened = open.producer.open(place.key());
            place.insert(opened.map_err(|error| fail(&context, &error, None))?);
        }
        Ok(())
    }

    /// Asks the clusters, without changing anything, about those of the topics that they do not
    /// have yet.
    ///
    /// # Errors
    /// [`PortError`] when a cluster does not answer.
    pub async fn outlook(&self, topics: Vec<Mm2Topic>) -> Result<BTreeMap<Mm2Topic, (String, Outlook)>, PortError> {
        let this = self.clone();
        let context = format!("link {}: topics for MirrorMaker 2's clients", self.link);
        blocking(&context, move || {
            let mut outlooks = BTreeMap::new();
            let (on_source, on_target): (Vec<_>, Vec<_>) = topics.into_iter().partition(|topic| topic.is_on_source());
            for (end, topics) in [(&this.source, on_source), (&this.target, on_target)] {
                if !topics.is_empty() {
                    this.outlook_at(&end.cluster, topics, &mut outlooks)?;
                }
            }
            Ok(outlooks)
        })
        .await?
    }

    fn outlook_at(
        &self,
        cluster: &ClusterConfig,
        topics: Vec<Mm2Topic>,
        outlooks: &mut BTreeMap<Mm2Topic, (String, Outlook)>,
    ) -> Result<(), PortError> {
        let context = format!("link {}: topics for MirrorMaker 2's clients on cluster {}", self.link, cluster.name);
        let client = lazy_client::connect(cluster, &format!("{}/mm2-check", self.link));
        let client = client.map_err(|error| fail(&context, &error, None))?;
        for topic in topics {
            let (name, settings) = (self.name(topic), settings());
            let found = find(&client, &name, self.timeout);
            if found.map_err(|error| fail(&self.context(topic), &error, Some(&client)))?.is_some() {
                continue;
            }
            let creation = creation(&client, &name, &settings, self.timeout);
            let at = (self.manage, &*cluster.bootstrap_servers);
            let outlook = creation.outlook(&client, at, self.timeout, |_| Vec::new());
            outlooks.extend(outlook.map(|outlook| (topic, (name, outlook))));
        }
        Ok(())
    }

    fn create(&self, client: &Client, topic: Mm2Topic, context: &str) -> Result<(), PortError> {
        let (name, settings) = (self.name(topic), settings());
        let creation = creation(client, &name, &settings, self.timeout);
        let port = |error: FfiError| fail(context, &error, Some(client));
        if !self.manage {
            let command = creation.command(&self.end(topic).cluster.bootstrap_servers);
            let reason = format!("it does not exist and Strait may not create it: {command}");
            return Err(own(Class::Stop, context, reason));
        }
        create(client, &creation, self.timeout).map_err(port)?;
        match wait_for(client, &name, 1, self.timeout) {
            Ok(_) => Ok(()),
            Err(error) if error.code == Code::TIMED_OUT => {
                let reason = format!(
                    "it exists and cannot be seen, so the principal may lack Describe and Write on it: {error}"
                );
                Err(own(Class::Stop, context, reason))
            }
            Err(error) => Err(port(error)),
        }
    }

    /// Refuses a topic `heartbeats` that is none of MirrorMaker 2's: anybody may have one of that
    /// name, with records of their own.
    fn judge(&self, client: &Client, topic: Mm2Topic, partitions: u32, context: &str) -> Result<(), PortError> {
        if !matches!(topic, Mm2Topic::Heartbeats | Mm2Topic::SourceHeartbeats) {
            return Ok(());
        }
        let policy = match client.topic_configs(&self.name(topic), self.timeout) {
            Ok(configs) => configs.get("cleanup.policy").cloned(),
            // The number of partitions has to do.
            Err(error) if is_unsupported(error.code) || is_denied(error.code) => None,
            Err(error) => return Err(fail(context, &error, Some(client))),
        };
        let is_compacted = policy.as_ref().is_none_or(|policy| policy.split(',').any(|word| word.trim() == "compact"));
        if partitions == 1 && is_compacted {
            return Ok(());
        }
        let policy = policy.map(|policy| format!(", cleanup.policy={policy}")).unwrap_or_default();
        let reason = format!(
            "it has {partitions} partitions{policy}, so it is none of MirrorMaker 2's, which has one partition and is \
             compacted; nothing is written to it, as it may be somebody's own"
        );
        Err(own(Class::Stop, context, reason))
    }

    /// Queues the records in this order.
    fn produce(&self, open: &Open, name: &str, number: u64, records: &[Mm2Record]) -> Result<(), FfiError> {
        let topic = lock(&open.topics).get(name).copied();
        let topic = topic.ok_or_else(|| FfiError::new(Code::UNKNOWN_TOPIC, "the client is made anew"))?;
        for (index, record) in (0..).zip(records) {
            let message = OutMessage {
                topic,
                partition: PARTITION,
                key: Some(&record.key),
                value: Some(&record.value),
                timestamp_ms: record.timestamp_ms,
                token: (number << INDEX_BITS) | index,
            };
            open.producer.produce(&message, None)?;
        }
        Ok(())
    }
}

fn creation<'a>(client: &Client, name: &'a str, settings: &'a TopicSettings, timeout: Duration) -> Creation<'a> {
    Creation { name, partitions: 1, replicas: own_replicas(client, timeout), settings }
}

/// Returns the settings that MirrorMaker 2 creates such topics with.
fn settings() -> TopicSettings {
    let all = [("cleanup.policy", "compact".to_owned())];
    TopicSettings { all: all.into(), dispensable: &[] }
}

impl End {
    /// Returns the producer at work, or makes one. Blocks while the former one ends.
    fn connect(&self, link: &str, is_source: bool, context: &str) -> Result<Open, PortError> {
        let rolls = self.cluster.access.client_rolls();
        let former = {
            let mut open = lock(&self.open);
            let is_usable = |open: &&Open| open.rolls == rolls && !lock(&open.reports.inner).is_broken;
            if let Some(open) = open.as_ref().filter(is_usable) {
                return Ok(open.clone());
            }
            open.take()
        };
        drop(former);
        let part = if is_source { "mm2-source" } else { "mm2" };
        let tuning = TargetTuning {
            exactly_once: false,
            linger: Duration::ZERO,
            queue_bytes: 4 << 20,
            queue_records: 10_000,
            batch_bytes: 256 << 10,
            ..TargetTuning::default()
        };
        let mut settings = writer(&self.cluster, &format!("strait-{link}-{part}"), &tuning, None);
        settings.set("message.timeout.ms", millis(RECORD));
        settings.set("statistics.interval.ms", 0);
        let reports = Arc::new(Reports::default());
        let observer = Arc::clone(&reports) as Arc<dyn Observer>;
        let producer = Producer::new(&format!("{link}/{part}"), &settings, observer, || {})
            .map_err(|error| fail(context, &error, None))?;
        let open = Open { producer: Arc::new(producer), reports, topics: Arc::default(), rolls };
        *lock(&self.open) = Some(open.clone());
        Ok(open)
    }
}

#[async_trait]
impl Mm2Writer for KafkaMm2 {
    async fn open(&self, topic: Mm2Topic) -> Result<(), PortError> {
        let this = self.clone();
        blocking(&self.context(topic), move || this.open_blocking(topic)).await?
    }

    async fn write(&self, topic: Mm2Topic, records: Vec<Mm2Record>) -> Result<(), PortError> {
        let (context, name, end) = (self.context(topic), self.name(topic), self.end(topic));
        let open = lock(&end.open).clone();
        let is_usable = |open: &Open| open.rolls == end.cluster.access.client_rolls();
        let Some(open) = open.filter(is_usable) else {
            return Err(own(Class::Retry, context, "the client is made anew"));
        };
        let written = open.reports.begin(records.len());
        let failed = match self.produce(&open, &name, written.number, &records) {
            Err(error) => Some(error),
            Ok(()) => {
                let waited = tokio::time::timeout(RECORD * 2, written.wait()).await;
                let code = waited.unwrap_or(Some(Code::TIMED_OUT));
                code.map(|code| FfiError::new(code, code.text()))
            }
        };
        let trouble = open.producer.client().take_trouble();
        drop(written);
        // The last one destroys it, which joins its threads.
        blocking(&context, move || drop(open)).await?;
        failed.map_or(Ok(()), |error| Err(port_error_because(context, &error, trouble)))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        drop_blocking(lock(&self.open).take());
    }
}
