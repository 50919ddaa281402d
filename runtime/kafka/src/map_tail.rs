//! Follows the offset map of a link, from what was committed last.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use strait_core::map::MapRecord;
use strait_core::progress::map_topic;
use strait_flow::ports::{Class, MapFeed, MapNews, MapTail, PortError};

use crate::config::{ClusterConfig, own_topic_reader};
use crate::error::{blocking, drop_blocking, own, port_error_because};
use crate::ffi::{Code, Consumer, FfiError, Place};
use crate::queries;
use crate::topics::count;

/// Offsets before the end of each partition at which a reader begins: some 3 MiB. Source partitions
/// at rest may have their last record before.
const BACK: i64 = 20_000;
/// Most records of one answer.
const MESSAGES: usize = 1_000;
/// How often the client's queue is looked at. No thread waits at it.
const POLL: Duration = Duration::from_millis(200);
/// Looks of one call.
const POLLS: u32 = 5;

/// A [`MapFeed`] on the link's target.
pub struct KafkaMapFeed {
    cluster: ClusterConfig,
    link: String,
    timeout: Duration,
}

impl KafkaMapFeed {
    /// Creates the feed of a link on its target cluster. A request may take `timeout`.
    #[must_use]
    pub fn new(target: &ClusterConfig, link: &str, timeout: Duration) -> Self {
        Self { cluster: target.clone(), link: link.to_owned(), timeout }
    }
}

#[async_trait]
impl MapFeed for KafkaMapFeed {
    async fn follow(&self) -> Result<Box<dyn MapTail>, PortError> {
        let (cluster, link, timeout) = (self.cluster.clone(), self.link.clone(), self.timeout);
        let context = format!("link {link}: following {} on cluster {}", map_topic(&link), cluster.name);
        let doing = context.clone();
        Ok(Box::new(blocking(&doing, move || KafkaMapTail::open(&cluster, &link, context, timeout)).await??))
    }
}

struct KafkaMapTail {
    context: String,
    link: String,
    cluster: ClusterConfig,
    /// The rolls of the access when the consumer was made.
    rolls: u64,
    /// `None` once it is being destroyed.
    consumer: Option<Consumer>,
    /// Where the partitions ended that are not read to there yet.
    ahead: BTreeMap<i32, i64>,
}

impl KafkaMapTail {
    /// Begins near the end. Blocks for a bounded time.
    fn open(cluster: &ClusterConfig, link: &str, context: String, timeout: Duration) -> Result<Self, PortError> {
        let rolls = cluster.access.client_rolls();
        let mut settings = own_topic_reader(cluster, link, &format!("strait-{link}-map-tail"));
        settings.set("fetch.wait.max.ms", 500);
        settings.set("queued.max.messages.kbytes", 4096);
        let mut consumer = Consumer::new(&format!("{link}/map-tail"), &settings)
            .map_err(|error| port_error_because(&*context, &error, None))?;
        let began = begin(&mut consumer, &map_topic(link), timeout);
        let ahead = began.map_err(|error| port_error_because(&*context, &error, consumer.client().trouble()))?;
        let (link, cluster) = (link.to_owned(), cluster.clone());
        Ok(Self { context, link, cluster, rolls, consumer: Some(consumer), ahead })
    }

    /// Takes what is there, without waiting.
    fn take(&mut self, news: &mut MapNews) -> Result<(), PortError> {
        let Some(consumer) = &mut self.consumer else {
            return Err(own(Class::Retry, &*self.context, "the consumer is gone"));
        };
        let (ahead, link) = (&mut self.ahead, &self.link);
        let taken = consumer.consume(MESSAGES, Duration::ZERO, |messages| {
            for message in messages {
                let next = match message.code() {
                    Code::OK => {
                        let (key, value) = (message.key().unwrap_or_default(), message.value().unwrap_or_default());
                        match MapRecord::decode(key, value) {
                            Ok(record) => news.records.push(record),
                            Err(error) => tracing::debug!(link, %error, "left out a map record"),
                        }
                        message.offset() + 1
                    }
                    // Behind aborted and control records.
                    Code::PARTITION_EOF => message.offset(),
                    code => return Err(FfiError::new(code, message.error_text())),
                };
                if ahead.get(&message.partition()).is_some_and(|end| next >= *end) {
                    ahead.remove(&message.partition());
                }
            }
            Ok(())
        });
        let trouble = consumer.client().take_trouble();
        taken.map_err(|error| port_error_because(&*self.context, &error, trouble))
    }
}

/// Assigns every partition near its end. Returns where those end that have something to read.
fn begin(consumer: &mut Consumer, topic: &str, timeout: Duration) -> Result<BTreeMap<i32, i64>, FfiError> {
    let partitions = count(consumer.client(), topic, timeout)?;
    let places: Vec<Place> = Place::all_of(topic, partitions).collect();
    let (mut assigned, mut ahead) = (Vec::new(), BTreeMap::new());
    for ((topic, partition), (start, end)) in queries::spans(consumer.client(), &places, timeout)? {
        let from = start.max(end - BACK);
        if from < end {
            ahead.insert(partition, end);
        }
        assigned.push(Place { offset: from, ..Place::of(topic, partition) });
    }
    consumer.assign(&assigned)?;
    Ok(ahead)
}

#[async_trait]
impl MapTail for KafkaMapTail {
    async fn next(&mut self) -> Result<MapNews, PortError> {
        if self.cluster.access.client_rolls() != self.rolls {
            let reason = "the certificates of the cluster have changed, and the client is made anew";
            return Err(own(Class::Retry, &*self.context, reason));
        }
        let mut news = MapNews::default();
        for _ in 0..POLLS {
            self.take(&mut news)?;
            if !news.records.is_empty() {
                break;
            }
            tokio::time::sleep(POLL).await;
        }
        news.is_caught_up = self.ahead.is_empty();
        Ok(news)
    }
}

impl Drop for KafkaMapTail {
    fn drop(&mut self) {
        drop_blocking(self.consumer.take());
    }
}
