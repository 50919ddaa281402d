//! Reads the committed progress of a lane: all of it, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use strait_core::LaneId;
use strait_core::progress::{LaneProgress, ProgressFold, progress_topic};
use strait_flow::ports::{Class, PortError, ProgressStore};

use crate::config::{ClusterConfig, Settings, own_topic_reader};
use crate::error::{blocking, drop_blocking, own, port_error, port_error_because};
use crate::ffi::{Code, Consumer, FfiError, OffsetSpec, Place};
use crate::lazy_client::LazyClient;
use crate::own_topic::OwnPartition;
use crate::queries;

/// Bytes that a request asks for over a line on which no whole answer of the usual size arrived in
/// time: an answer is counted once all of it is there. A line of 5 KB/s takes this one.
const SLOW_FETCH_BYTES: usize = 64 << 10;

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
    /// A read has run out of time.
    is_slow: Arc<AtomicBool>,
}

impl KafkaProgressStore {
    /// Creates a store that reads the target cluster.
    #[must_use]
    pub fn new(cluster: &ClusterConfig, link: &str, timeout: Duration) -> Self {
        let context = format!("link {link}: progress on cluster {}", cluster.name);
        let client = Arc::new(LazyClient::new(cluster, format!("{link}/watch"), context));
        Self { cluster: cluster.clone(), link: link.to_owned(), client, timeout, waits: true, is_slow: Arc::default() }
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
        if self.is_slow.load(Ordering::Relaxed) {
            settings.set("fetch.message.max.bytes", SLOW_FETCH_BYTES);
        }
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
        let mut fold = ProgressFold::default();
        let whole = OwnPartition { topic: &topic, partition, waits: self.waits, timeout: self.timeout };
        let read = whole.read(&mut consumer, &mut |message| {
            fold.fold(message.offset(), message.key().unwrap_or_default(), message.value());
        });
        if read.as_ref().is_err_and(|error| error.code == Code::TIMED_OUT) {
            self.is_slow.store(true, Ordering::Relaxed);
        }
        let read = read.map_err(|error| port_error_because(context.clone(), &error, consumer.client().trouble()));
        // The lane need not wait for it.
        drop_blocking(consumer);
        read?;
        fold.finish().map_err(|error| own(Class::Stop, context, error.to_string()))
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
        let listed = self.client.ask_patiently(move |client| {
            let places: Vec<Place> = Place::all_of(&topic, lanes).collect();
            queries::list_each(client, &places, OffsetSpec::Latest, false, timeout)
        });
        let listed = listed.await?;
        let end = |((_, partition), answer): ((String, i32), Result<i64, FfiError>)| {
            let answer = answer.map_err(|error| port_error("", &error).reason);
            Some((LaneId(u32::try_from(partition).ok()?), answer))
        };
        Ok(listed.into_iter().filter_map(end).collect())
    }

    fn answers(&self) -> u64 {
        self.client.answers()
    }
}
