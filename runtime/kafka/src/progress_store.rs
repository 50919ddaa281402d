//! Reads the committed progress of a lane: all of it, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use strait_core::LaneId;
use strait_core::progress::{LaneProgress, ProgressFold, progress_topic};
use strait_flow::ports::{Class, PortError, ProgressStore};

use crate::config::{ClusterConfig, Settings, own_topic_reader};
use crate::error::{blocking, own, port_error, port_error_because};
use crate::ffi::{Code, Consumer, FfiError, OffsetSpec, Place};
use crate::lazy_client::LazyClient;
use crate::queries;

/// How far a read has come.
struct Reached {
    offset: i64,
    /// When it came there.
    since: Instant,
}

impl Reached {
    fn now_at(&mut self, offset: i64) {
        if offset > self.offset {
            *self = Self { offset, since: Instant::now() };
        }
    }
}

/// A [`ProgressStore`] on the link's progress topic, for the owner of a lane: it reads to the high
/// watermark and waits for transactions that are open below it.
#[derive(Clone)]
pub struct KafkaProgressStore {
    pub(crate) cluster: ClusterConfig,
    pub(crate) link: String,
    /// Asks for the ends of the topic's partitions.
    pub(crate) client: Arc<LazyClient>,
    /// How long a request may take, and how long a read may go without a new offset.
    pub(crate) timeout: Duration,
    /// Whether to wait for open transactions.
    waits: bool,
}

impl KafkaProgressStore {
    /// Creates a store that reads the target cluster.
    #[must_use]
    pub fn new(cluster: &ClusterConfig, link: &str, timeout: Duration) -> Self {
        let context = format!("link {link}: progress on cluster {}", cluster.name);
        let client = Arc::new(LazyClient::new(cluster, format!("{link}/watch"), context));
        Self { cluster: cluster.clone(), link: link.to_owned(), client, timeout, waits: true }
    }

    /// Returns a store for readers that do not own the lane: it does not wait for open
    /// transactions. An owner that died may have left one open, and nothing ends it before another
    /// process takes the lane or `transaction.timeout.ms` has passed.
    #[must_use]
    pub fn committed_by_now(self) -> Self {
        Self { waits: false, ..self }
    }

    fn settings(&self, lane: LaneId) -> Settings {
        let client_id = format!("strait-{}-{lane}-progress", self.link);
        let mut settings = own_topic_reader(&self.cluster, &self.link, &client_id);
        settings.set("statistics.interval.ms", 1_000);
        settings
    }

    /// Reads the partition once. Blocks for a bounded time.
    fn read_now(&self, lane: LaneId) -> Result<LaneProgress, PortError> {
        let topic = progress_topic(&self.link);
        let context = format!("link {}, lane {lane}: reading {topic} of cluster {}", self.link, self.cluster.name);
        let partition =
            i32::try_from(lane.0).map_err(|_| own(Class::Stop, context.clone(), "lane number out of range"))?;
        let label = format!("{}/{lane}/progress", self.link);
        let mut consumer = Consumer::new(&label, &self.settings(lane))
            .map_err(|error| port_error_because(context.clone(), &error, None))?;
        let read = self.read_with(&mut consumer, &topic, partition, &context);
        // Destroying a client joins its threads, which the lane need not wait for.
        tokio::task::spawn_blocking(move || drop(consumer));
        read
    }

    fn read_with(
        &self,
        consumer: &mut Consumer,
        topic: &str,
        partition: i32,
        context: &str,
    ) -> Result<LaneProgress, PortError> {
        let fail = |error: FfiError, consumer: Option<&Consumer>| {
            port_error_because(context.to_owned(), &error, consumer.and_then(|c| c.client().trouble()))
        };
        let place = Place { offset: 0, ..Place::of(topic, partition) };
        let list = |spec| {
            // The owner reads past the last stable offset: an earlier owner's commit may be decided
            // and not be written here yet. By then its ids are fenced, or the end of their
            // transactions was requested, so each open one ends.
            let asked = std::slice::from_ref(&place);
            let offsets = queries::list(consumer.client(), asked, spec, !self.waits, self.timeout)?;
            offsets.get(&(topic.to_owned(), partition)).copied().ok_or_else(|| {
                FfiError::new(Code::UNKNOWN_TOPIC_OR_PART, format!("{topic}-{partition} does not exist"))
            })
        };
        // Compaction does not move the log's start, but someone may have deleted records.
        let bounds = list(OffsetSpec::Earliest).and_then(|start| Ok((start, list(OffsetSpec::Latest)?)));
        let (start, end) = bounds.map_err(|error| {
            // Serves the error callback, so that a refused login is reported and not the timeout
            // that follows it.
            consumer.consume(1, Duration::ZERO, |_| ());
            fail(error, Some(&*consumer))
        })?;
        let mut fold = ProgressFold::default();
        if start >= end {
            return Ok(LaneProgress::default());
        }
        consumer.assign(&[Place { offset: start, ..place }]).map_err(|error| fail(error, Some(&*consumer)))?;
        // A long log over a slow line may take long, as long as there is something new.
        let mut reached = Reached { offset: start, since: Instant::now() };
        loop {
            reached.now_at(consumer.client().next_offset().min(end));
            if reached.since.elapsed() > self.timeout {
                let text =
                    format!("offset {end} was not reached: nothing after {} in {:?}", reached.offset, self.timeout);
                return Err(fail(FfiError::new(Code::TIMED_OUT, text), Some(&*consumer)));
            }
            // One message at a time, as a batch call would wait for a full batch.
            let step = consumer.consume(1, Duration::from_millis(100), |messages| {
                let Some(message) = messages.first() else { return Ok(false) };
                reached.now_at(message.offset());
                match message.code() {
                    Code::OK => {
                        let key = message.key().unwrap_or_default();
                        fold.fold(message.offset(), key, message.value());
                        Ok(message.offset() + 1 >= end)
                    }
                    // The position may be past the listed end, behind aborted and control records.
                    Code::PARTITION_EOF => Ok(message.offset() >= end),
                    code => Err(fail(FfiError::new(code, message.error_text()), None)),
                }
            })?;
            if step {
                return fold.finish().map_err(|error| own(Class::Stop, context.to_owned(), error.to_string()));
            }
        }
    }
}

#[async_trait]
impl ProgressStore for KafkaProgressStore {
    async fn read(&self, lane: LaneId) -> Result<LaneProgress, PortError> {
        let store = self.clone();
        blocking(&format!("link {}, lane {lane}: reading progress", self.link), move || store.read_now(lane)).await?
    }

    async fn ends(&self, lanes: u32) -> Result<BTreeMap<LaneId, Result<i64, String>>, PortError> {
        let (topic, timeout) = (progress_topic(&self.link), self.timeout);
        let listed = self.client.ask(move |client| {
            let places: Vec<Place> = Place::all_of(&topic, lanes).collect();
            queries::list_each(client, &places, OffsetSpec::Latest, false, timeout)
        });
        let end = |((_, partition), answer): ((String, i32), Result<i64, FfiError>)| {
            let answer = answer.map_err(|error| port_error("", &error).reason);
            Some((LaneId(u32::try_from(partition).ok()?), answer))
        };
        Ok(listed.await?.into_iter().filter_map(end).collect())
    }
}
