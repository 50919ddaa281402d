//! From a link's configuration to a link that can run: plugins loaded, clusters reached, the link's own topics made.

use std::sync::Arc;
use std::time::{Duration, Instant};

use strait_core::LaneId;
use strait_core::config::{LANES_DEFAULT, Link, Start};
use strait_flow::ports::{ChainFactory, Clock, Discovery, EventSink, ProgressStore, SourceTopic, StartAt};
use strait_flow::{LaneDeps, LaneSpec, Limits, LinkService, LinkStatus, Policies, WatchIntervals};
use strait_host::{ActiveChain, ActiveChainDeps, HostChains, HostEngine};
use strait_kafka::config::{ClusterConfig, SourceTuning, TargetTuning};
use strait_kafka::{
    KafkaConnector, KafkaDiscovery, KafkaMembership, KafkaProgressStore, KafkaTargetTopics, LinkTopicsError,
    ensure_link_topics,
};
use tokio::sync::watch;

use super::RunError;
use super::clusters::Clusters;
use super::names::OneEach;
use super::target_topics::TargetTopics;
use crate::admin::board::{Board, LinkBoard, Work};
use crate::compose;
use crate::load::Loaded;

/// How long one question to a cluster may take.
const REQUEST: Duration = Duration::from_secs(15);
/// How long the offset map is kept.
const MAP_RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long keeping a record in quarantine may take. The lane waits for it; what is not kept is tried again later.
const QUARANTINE: Duration = Duration::from_secs(10);
/// How often the line to the source is measured before it is used.
const LOOKS: u32 = 4;
/// Below this round trip a line is short: small fetches, which stay in the processor's cache.
const SHORT_LINE: Duration = Duration::from_millis(5);
/// How often the round trip to the target is looked at, and up to six times less often with thousands of partitions.
const STATISTICS: Duration = Duration::from_secs(5);
/// Most time that a batch may take to be filled over a long line to the target.
const LINGER_MAX: Duration = Duration::from_millis(20);

/// A link that can run.
pub struct Prepared {
    /// Its name.
    pub name: String,
    /// What every lane is told.
    pub spec: LaneSpec,
    /// What lanes are made of.
    pub deps: LaneDeps,
    /// What its lanes have committed, for others than their owners.
    pub progress_by_now: Arc<dyn ProgressStore>,
    /// Finds its topics.
    pub discovery: Arc<dyn Discovery>,
    /// Makes the target topics ahead of their records, where the link may.
    pub target_topics: Option<TargetTopics>,
    topics: watch::Sender<Arc<Vec<SourceTopic>>>,
    target: ClusterConfig,
    watch: WatchIntervals,
}

impl Prepared {
    /// Joins the link's group; the service runs it.
    ///
    /// # Errors
    /// [`RunError::Port`] when a setting is refused.
    pub fn service(self) -> Result<LinkService, RunError> {
        let membership = KafkaMembership::join(&self.target, &self.name)?;
        Ok(LinkService {
            spec: self.spec,
            deps: self.deps,
            topics: self.topics,
            discovery: self.discovery,
            membership: Box::new(membership),
            watch: self.watch,
        })
    }
}

/// A link whose plugins are loaded. Nothing was asked of a cluster yet.
pub struct Planned {
    /// Its place on the board.
    pub told: Arc<LinkBoard>,
    /// Its figures.
    pub status: Arc<LinkStatus>,
    /// Its plugins, exchangeable.
    pub slot: ActiveChain,
    link: Link,
    engine: HostEngine,
    clock: Arc<dyn Clock>,
}

/// Loads the plugins of every link: what can be known without a network is found out before any link begins.
///
/// # Errors
/// The first [`RunError`].
pub async fn plan(
    loaded: &Loaded,
    engine: &HostEngine,
    clock: &Arc<dyn Clock>,
    board: &Board,
) -> Result<Vec<Planned>, RunError> {
    let mut planned = Vec::new();
    for link in &loaded.config.links {
        // The board is made of the same links.
        let Some(told) = board.link(&link.name) else { continue };
        let (for_loading, spec) = (engine.clone(), compose::chain(loaded, link));
        let loading = tokio::task::spawn_blocking(move || HostChains::load(&for_loading, spec));
        let chains = loading.await.map_err(|error| RunError::Engine(error.to_string()))??;
        let events = Arc::clone(told) as Arc<dyn EventSink>;
        let slot_deps = ActiveChainDeps { link: link.name.clone(), clock: Arc::clone(clock), events };
        planned.push(Planned {
            told: Arc::clone(told),
            status: Arc::default(),
            slot: ActiveChain::new(slot_deps, chains),
            link: link.clone(),
            engine: engine.clone(),
            clock: Arc::clone(clock),
        });
    }
    Ok(planned)
}

impl Planned {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.link.name
    }

    /// Asks the clusters for all that the link needs, and makes its own topics. May be done again after an error.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn prepare(&self, clusters: &Clusters) -> Result<Prepared, RunError> {
        let link = &self.link;
        let (source, _) = clusters.reach(&link.source).await?;
        let (target, line) = clusters.reach(&link.target).await?;
        let lanes = lanes(link, target).await?;
        clusters.admit(link, lanes)?;
        let progress = KafkaProgressStore::new(target, &link.name, REQUEST);
        let progress_by_now = Arc::new(progress.clone().committed_by_now());
        // While a resize is under way its new lanes hold nothing yet, and would be taken for lanes that were never used.
        let first = progress_by_now.read(LaneId(0)).await?;
        if let Some(reason) = first.lane.and_then(|lane| lane.refusal(lanes)) {
            return Err(RunError::Resized { link: link.name.clone(), reason });
        }
        let discovery = Arc::new(KafkaDiscovery::new(source, &link.name, &link.topics, &link.topics_exclude, REQUEST)?);
        let (partitions, round_trip) = look(&*discovery).await?;
        let (source_tuning, target_tuning, limits) = tuning(link, lanes, partitions, round_trip, line);
        tracing::info!(
            link = link.name,
            lanes,
            partitions,
            source_round_trip_ms = round_trip.as_millis(),
            target_round_trip_ms = line.as_millis(),
            plugins = self.slot.chains().generation().0.as_ref(),
            "link prepared"
        );
        let status = Arc::clone(&self.status);
        let (topics, topics_receiver) = watch::channel(Arc::new(Vec::new()));
        let connector = KafkaConnector {
            link: link.name.clone(),
            source: source.clone(),
            target: target.clone(),
            source_tuning,
            target_tuning,
            manage_quarantine: link.manage_topics,
            quarantine_timeout: QUARANTINE,
            ended: strait_kafka::EndedIds::default(),
        };
        let chains = chains_of(link, &self.slot, &topics_receiver);
        let target_topics = link.manage_topics.then(|| {
            let target = KafkaTargetTopics::new(target, &link.name, REQUEST);
            TargetTopics::new(&link.name, Arc::clone(&chains), target, topics_receiver.clone())
        });
        let deps = LaneDeps {
            connector: Arc::new(connector),
            progress: Arc::new(progress),
            chains,
            clock: Arc::clone(&self.clock),
            events: Arc::clone(&self.told) as Arc<dyn EventSink>,
            status: Arc::clone(&status),
            topics: topics_receiver,
        };
        let spec = LaneSpec {
            link: link.name.as_str().into(),
            lane: LaneId(0),
            lanes,
            process: clusters.process(),
            delivery: link.delivery,
            start: match link.start {
                Start::Earliest => StartAt::Earliest,
                Start::Latest => StartAt::Latest,
                Start::At { unix_ms } => StartAt::Timestamp(unix_ms),
            },
            policies: Policies {
                on_gap: link.on_gap,
                on_refused: link.on_refused,
                on_timestamp_zero: link.on_timestamp_zero,
            },
            limits,
            config_hash: config_hash(link).into(),
        };
        let work = Work { status, slot: self.slot.clone(), engine: self.engine.clone(), lanes };
        self.told.prepared(work);
        Ok(Prepared {
            name: link.name.clone(),
            spec,
            deps,
            progress_by_now,
            discovery,
            target_topics,
            topics,
            target: target.clone(),
            watch: watch_intervals(link, partitions),
        })
    }
}

/// The chains of the link's lanes: those of the slot, which refuse topics that would share a target topic.
fn chains_of(
    link: &Link,
    slot: &ActiveChain,
    topics: &watch::Receiver<Arc<Vec<SourceTopic>>>,
) -> Arc<dyn ChainFactory> {
    let chains = Arc::new(slot.clone());
    if link.merge_topics { chains } else { Arc::new(OneEach::new(chains, topics.clone())) }
}

/// How often the source is looked at: thousands of partitions less often, so that looking stays below a few per cent of a core.
fn watch_intervals(link: &Link, partitions: usize) -> WatchIntervals {
    let defaults = WatchIntervals::default();
    let every = Duration::from_millis(u64::try_from(partitions).unwrap_or(u64::MAX).saturating_mul(10));
    let every = every.min(Duration::from_secs(60));
    WatchIntervals {
        topics: defaults.topics.max(every / 2),
        bounds: defaults.bounds.max(every),
        hanging_after: Duration::from_secs(link.hanging_transaction_s_max),
    }
}

/// Makes the link's topics where they are missing. A configuration that does not say how many lanes takes what is there.
async fn lanes(link: &Link, target: &ClusterConfig) -> Result<u32, RunError> {
    let ensure =
        |lanes: u32| ensure_link_topics(target, &link.name, lanes, Some(MAP_RETENTION), link.manage_topics, REQUEST);
    match ensure(link.lanes.unwrap_or(LANES_DEFAULT)).await {
        Err(LinkTopicsError::Lanes { existing, .. }) if link.lanes.is_none() => Ok(ensure(existing).await?),
        other => Ok(other?),
    }
}

/// How many partitions the link has, and how long the source takes to answer at best: a busy machine is not a long line.
async fn look(discovery: &dyn Discovery) -> Result<(usize, Duration), RunError> {
    // The first one connects; each later one asks two questions over a connection that is there.
    let mut topics = discovery.topics().await?;
    let mut best = Duration::MAX;
    for _ in 0..LOOKS {
        let asked = Instant::now();
        topics = discovery.topics().await?;
        best = best.min(asked.elapsed() / 2);
    }
    let partitions = topics.iter().map(|t| t.partitions.unsigned_abs() as usize).sum();
    Ok((partitions, best))
}

/// Sizes from the link's memory budget and the length of the line to the source; the line to the target is measured while
/// running (`Lane::quota`).
fn tuning(
    link: &Link,
    lanes: u32,
    partitions: usize,
    round_trip: Duration,
    line: Duration,
) -> (SourceTuning, TargetTuning, Limits) {
    let per_lane = (link.memory_mib_max as usize * (1 << 20)) / lanes.max(1) as usize;
    let fetch_max = link.fetch_mib_max as usize * (1 << 20);
    let length = usize::try_from(round_trip.as_micros() / SHORT_LINE.as_micros()).unwrap_or(usize::MAX).max(1);
    let partition_fetch_bytes = (1_usize << 20).saturating_mul(length).min(8 << 20).min(fetch_max);
    let fetch_bytes = partition_fetch_bytes.saturating_mul(4).min(fetch_max);
    let source = SourceTuning {
        // More than what is on its way and what is being taken only leaves the processor's cache; over a short line nothing is
        // on its way for long.
        fetch_budget_bytes: (partition_fetch_bytes * length.min(2)).clamp(1 << 20, (per_lane / 2).max(1 << 20)),
        partition_fetch_bytes,
        fetch_bytes,
        partitions: partitions.div_ceil(lanes.max(1) as usize),
        request_timeout: REQUEST,
        ..SourceTuning::default()
    };
    let batch_bytes = link.batch_kib_max as usize * 1024;
    let window_bytes = (per_lane / 2).max(8 << 20);
    let target = TargetTuning {
        exactly_once: link.delivery == strait_core::config::DeliveryMode::ExactlyOnce,
        batch_bytes,
        batch_records: (batch_bytes / 64).clamp(10_000, 1_000_000),
        // Room for the whole window and the books, so that the queue is never what holds a lane up.
        queue_bytes: window_bytes * 2 + (16 << 20),
        queue_records: 1_000_000,
        manage_topics: link.manage_topics,
        request_timeout: REQUEST,
        // Long enough to fill a batch of several MiB: one that goes before it is full leaves the rest of what was released
        // waiting behind it, and librdkafka spins until it is answered.
        linger: TargetTuning::default().linger.max((line / 8).min(LINGER_MAX)),
        statistics_interval: STATISTICS.max(Duration::from_millis(partitions as u64 * 10).min(STATISTICS * 6)),
        ..TargetTuning::default()
    };
    let defaults = Limits::default();
    let limits = Limits {
        window_bytes,
        release_bytes_max: batch_bytes,
        release_bytes: defaults.release_bytes.min(batch_bytes),
        interval_max: Duration::from_millis(link.commit_interval_ms_max),
        drain: Duration::from_millis(link.drain_ms_max),
        ..defaults
    };
    (source, target, limits)
}

/// A short name for the link's configuration as written, secrets unresolved.
fn config_hash(link: &Link) -> String {
    let text = serde_json::to_string(link).unwrap_or_default();
    format!("{:016x}", strait_core::lanes::fingerprint(text.as_bytes()))
}
