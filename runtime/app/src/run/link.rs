//! Prepares a link: loads its plugins, connects to its clusters, creates its own topics.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use strait_core::acl::uses_quarantine;
use strait_core::config::{DeliveryMode, Link, OnDeleted, Start};
use strait_core::mm2::{HeartbeatTopics, Mm2Topic};
use strait_core::progress::{LinkIdentity, quarantine_topic};
use strait_core::{ChainEvent, Event, LaneId};
use strait_flow::ports::{
    BooksReader, ChainFactory, CheckpointSink, Class, Clock, ControlLog, Discovery, EventSink, LinkWork, PortError,
    ProgressStore, SourceTopic, StartAt,
};
use strait_flow::{
    GroupWork, LaneDeps, LaneSpec, LaneThreads, LinkService, LinkStatus, MadeTopics, Mm2, Policies, WatchIntervals,
};
use strait_host::{ActiveChain, ActiveChainDeps, HostChains, HostEngine};
use strait_kafka::config::ClusterConfig;
use strait_kafka::{
    KafkaBooksReader, KafkaConnector, KafkaControl, KafkaDiscovery, KafkaGroupMap, KafkaGroupOffsets, KafkaMapFeed,
    KafkaMembership, KafkaMm2, KafkaProgressStore, KafkaQuarantine, KafkaTargetTopics, LinkTopics, LinkTopicsError,
    LinkTopicsFound, TopicMaker,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::border_copies::Copies;
use super::clusters::Clusters;
use super::rolled_back::RolledBack;
use super::target_topics::TargetTopics;
use super::topic_collisions::CollisionGuard;
use super::tuning::{Measured, REQUEST};
use super::{RunError, Until, loops, works};
use crate::board::{Board, LinkBoard, Work};
use crate::compose;
use crate::heartbeats::around;
use crate::load::Loaded;

/// How long writing refused records to quarantine may take. The lane waits for it; a failure is
/// retried.
const QUARANTINE: Duration = Duration::from_secs(10);
/// How often the round trip to the source is measured before the link runs.
const MEASUREMENTS: u32 = 4;

/// A prepared link.
pub struct Prepared {
    /// Name of the link.
    pub name: String,
    /// The facts and limits of all lanes of the link.
    pub spec: LaneSpec,
    /// The ports and figures that its lanes are made of.
    pub deps: LaneDeps,
    /// Reads what any lane has committed, without taking it.
    pub committed_progress: Arc<dyn ProgressStore>,
    /// Counts the records in quarantine.
    books: Arc<dyn BooksReader>,
    /// The topic in which the link's coordinator speaks.
    control: Option<Arc<dyn ControlLog>>,
    /// The works that change clusters for the link as a whole.
    works: Vec<Arc<dyn LinkWork>>,
    /// Hash of the settings for what concerns the link as a whole.
    settings: Arc<str>,
    /// Topics for MirrorMaker 2's clients, and what writes them.
    mm2: Option<Mm2>,
    /// Finds the source topics.
    pub discovery: Arc<dyn Discovery>,
    /// Creates target topics ahead of their records, where the link manages its topics.
    pub target_topics: Option<TargetTopics>,
    topics: watch::Sender<Arc<Vec<SourceTopic>>>,
    target: ClusterConfig,
    watch: WatchIntervals,
}

impl Prepared {
    /// Joins the link's group and returns the service that runs the link. `abort` ends its drain.
    ///
    /// # Errors
    /// [`RunError::Port`] when a setting is refused.
    pub fn service(self, abort: CancellationToken) -> Result<LinkService, RunError> {
        let membership = KafkaMembership::join(&self.target, &self.name, self.spec.process)?;
        Ok(LinkService {
            spec: self.spec,
            deps: self.deps,
            lanes: Arc::new(LaneThreads),
            topics: self.topics,
            discovery: self.discovery,
            committed_progress: self.committed_progress,
            books: self.books,
            control: self.control,
            works: self.works,
            settings: self.settings,
            mm2: self.mm2,
            membership: Box::new(membership),
            watch: self.watch,
            abort,
        })
    }
}

/// A link whose plugins are loaded. No cluster was asked anything yet.
pub struct Planned {
    /// The state of the link.
    pub board: Arc<LinkBoard>,
    /// The figures of the link.
    pub status: Arc<LinkStatus>,
    /// The slot that holds its plugins.
    pub slot: ActiveChain,
    link: Link,
    /// All links of the configuration.
    links: Arc<[Link]>,
    heartbeats: Option<HeartbeatTopics>,
    engine: HostEngine,
    clock: Arc<dyn Clock>,
    state_dir: PathBuf,
    /// Whether nothing but records is written to the target.
    only_records: bool,
}

/// Loads the plugins of every link. A wrong configuration fails before any link begins. Where a
/// process runs on and on, a link whose plugins do not load waits for other files, and the others
/// run.
///
/// # Errors
/// The first [`RunError`].
pub async fn plan(
    loaded: &Loaded,
    engine: &HostEngine,
    clock: &Arc<dyn Clock>,
    board: &Board,
    until: Until,
) -> Result<Vec<Planned>, RunError> {
    let links: Arc<[Link]> = loaded.config.links.as_slice().into();
    let mut planned = Vec::new();
    for link in &loaded.config.links {
        let board = board.link(&link.name).ok_or_else(|| RunError::NotOnBoard(link.name.clone()))?;
        let (for_loading, spec) = (engine.clone(), compose::chain(loaded, link));
        let loading = tokio::task::spawn_blocking(move || {
            let error = match HostChains::load(&for_loading, spec.clone()) {
                Err(error) if until == Until::Stopped && !error.is_configuration() => error,
                other => return other,
            };
            HostChains::not_loaded(&for_loading, spec, &error)
        });
        let chains = loading.await.map_err(|error| RunError::Engine(error.to_string()))??;
        let events = Arc::clone(board) as Arc<dyn EventSink>;
        let rolled_back = Arc::new(RolledBack::new(events, loaded.state_dir(), &link.name));
        rolled_back.begins_with(&chains.generation());
        let events = rolled_back as Arc<dyn EventSink>;
        let slot_deps = ActiveChainDeps { link: link.name.clone(), clock: Arc::clone(clock), events };
        if let Some(fault) = chains.fault() {
            let event = ChainEvent::NotLoaded { reason: fault.to_owned() };
            board.emit(&link.name, Event::Chain(event));
        }
        let slot = ActiveChain::new(slot_deps, chains);
        slot.accept(link.accept.as_deref().map(Into::into));
        planned.push(Planned {
            board: Arc::clone(board),
            status: Arc::default(),
            slot,
            link: link.clone(),
            links: Arc::clone(&links),
            heartbeats: loaded.config.heartbeats_of(link),
            engine: engine.clone(),
            clock: Arc::clone(clock),
            state_dir: loaded.state_dir(),
            only_records: loaded.only_records,
        });
    }
    Ok(planned)
}

impl Planned {
    /// Tells where refused records would expire. Whoever may not read the settings is told by
    /// `strait check`.
    async fn judge_quarantine(&self, source: &ClusterConfig) {
        let link = &self.link;
        if !uses_quarantine(link) {
            return;
        }
        match KafkaQuarantine::new(source, &link.name, link.manage_topics, REQUEST).fault().await {
            Ok(None) => {}
            Ok(Some(reason)) => {
                let topic = quarantine_topic(&link.name).into();
                self.board.emit(&link.name, Event::LinkTopicUnfit { topic, reason });
            }
            Err(error) => {
                tracing::debug!(link = link.name, %error, "the settings of the quarantine topic are not known")
            }
        }
    }

    /// Returns the name of the link.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.link.name
    }

    /// Connects to the clusters and creates the link's own topics. May be retried after an error.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn prepare(&self, clusters: &Clusters) -> Result<Prepared, RunError> {
        let link = &self.link;
        if let Some(fault) = self.slot.chains().fault() {
            return Err(RunError::PluginsNotLoaded { link: link.name.clone(), fault: fault.to_owned() });
        }
        let source_reached = clusters.reach(&link.source).await?;
        let target_reached = clusters.reach(&link.target).await?;
        let (source, target) = (&source_reached.config, &target_reached.config);
        loops::refuse(&self.board, link, source_reached, target_reached).await?;
        check_delivery(link, target)?;
        let target_round_trip = target_reached.round_trip;
        // Beside each other, as the start waits for both.
        let own_topics = tokio::join!(ensure_topics(link, target), self.judge_quarantine(source)).0?;
        let (lanes, batch_bytes_max) = (own_topics.lanes, own_topics.batch_bytes_max);
        for (topic, reason) in own_topics.unfit {
            self.board.emit(&link.name, Event::LinkTopicUnfit { topic: topic.into(), reason });
        }
        clusters.admit(link, lanes)?;
        let identity = clusters.identity(link, source_reached.id.clone());
        let progress = KafkaProgressStore::new(target, &link.name, REQUEST);
        let committed_progress = Arc::new(progress.clone().committed_by_now());
        let books = Arc::new(KafkaBooksReader::beside(&committed_progress));
        // During a resize the new lanes hold no progress yet, and would be taken for lanes that
        // never ran.
        let first = committed_progress.read(LaneId(0)).await?;
        let refused = first.lane.and_then(|lane| RunError::of_lane(&link.name, &lane, lanes, &identity));
        refused.map_or(Ok(()), Err)?;
        let control = control_of(target, &link.name);
        let excluded = loops::excluded(link, source_reached.id.as_deref(), target_reached.id.as_deref());
        let discovery = KafkaDiscovery::new(source, &link.name, &link.topics, &excluded, REQUEST)?;
        let discovery = Arc::new(discovery.with_heartbeats(self.heartbeats.clone()));
        let (partitions, source_round_trip) = measure_source(&*discovery).await?;
        let measured = Measured { lanes, batch_bytes_max, partitions, source_round_trip, target_round_trip };
        tracing::info!(
            link = link.name,
            lanes,
            partitions,
            source_round_trip_ms = source_round_trip.as_millis(),
            target_round_trip_ms = target_round_trip.as_millis(),
            plugins = self.slot.chains().generation().0.as_ref(),
            "link prepared"
        );
        let (topics, topics_receiver) = watch::channel(Arc::new(Vec::new()));
        let events = Arc::clone(&self.board) as Arc<dyn EventSink>;
        let manages = link.manage_topics && !self.only_records;
        let made = Arc::<MadeTopics>::default();
        let maker = || TopicMaker::new(source, &link.name, &link.sync, Arc::clone(&events), REQUEST);
        let maker = manages.then(|| Arc::new(maker().noting(Arc::clone(&made))));
        let connector = connector_of(link, (source, target), &measured, maker.clone());
        let chains = chains_of(link, &self.slot, self.heartbeats.clone(), &topics_receiver);
        let target_topics = maker.map(|maker| {
            let target = KafkaTargetTopics::new(target, &link.name, maker, REQUEST);
            let progress = (Arc::clone(&committed_progress) as Arc<dyn ProgressStore>, lanes);
            TargetTopics::new(&link.name, Arc::clone(&chains), target, progress, topics_receiver.clone())
        });
        let deps = LaneDeps {
            connector: Arc::new(connector),
            progress: Arc::new(progress),
            chains,
            borders: Arc::new(Copies::new(self.state_dir.clone(), &link.name)),
            clock: Arc::clone(&self.clock),
            events,
            status: Arc::clone(&self.status),
            topics: topics_receiver,
            requests: Arc::default(),
        };
        let (slot, only_records, links) = (&self.slot, self.only_records, &*self.links);
        let ends = works::Ends { link, source, target, slot, lanes, only_records, links, made: &made };
        // Offsets of groups are to be fresh; what topics take over can wait for the next batch.
        let mm2 = if self.only_records { None } else { mm2_of(link, source, target) };
        let mut works: Vec<Arc<dyn LinkWork>> = self.groups((source, target), mm2.as_ref())?.into_iter().collect();
        works.push(Arc::new(ends.upkeep(&deps, Arc::clone(&committed_progress) as Arc<dyn ProgressStore>)));
        let (status, slot, engine) = (Arc::clone(&self.status), self.slot.clone(), self.engine.clone());
        let requests = Arc::clone(&deps.requests);
        self.board.set_prepared(Work { status, slot, engine, lanes, requests });
        Ok(Prepared {
            name: link.name.clone(),
            spec: lane_spec(link, &measured, clusters.process(), identity),
            deps,
            committed_progress,
            books,
            control,
            works,
            settings: settings_hash(link).into(),
            mm2,
            discovery,
            target_topics,
            topics,
            target: target.clone(),
            watch: watch_intervals(link, partitions),
        })
    }
}

impl Planned {
    /// Returns what keeps the offsets of consumer groups on the target, where the link is to.
    /// Its answers are the checkpoints of `mm2`.
    fn groups(
        &self,
        (source, target): (&ClusterConfig, &ClusterConfig),
        mm2: Option<&Mm2>,
    ) -> Result<Option<Arc<dyn LinkWork>>, RunError> {
        let link = &self.link;
        if link.groups.is_empty() || self.only_records {
            return Ok(None);
        }
        let selector = link
            .group_selector()
            .map_err(|error| PortError::new(Class::Stop, format!("link {}: groups", link.name), error.to_string()))?;
        let offsets = Arc::new(KafkaGroupOffsets::new(source, target, &link.name, selector));
        let map = Arc::new(KafkaGroupMap::new(source, target, link, &self.links, REQUEST)?);
        let work = GroupWork::new(
            link.name.as_str().into(),
            (offsets, map),
            link.sync.groups,
            Arc::clone(&self.clock),
            Arc::clone(&self.board) as Arc<dyn EventSink>,
            Arc::clone(&self.status),
        );
        let written = mm2.filter(|mm2| mm2.topics.contains(&Mm2Topic::Checkpoints));
        let checkpoints = written.map(|mm2| Arc::clone(&mm2.checkpoints) as Arc<dyn CheckpointSink>);
        Ok(Some(Arc::new(work.with_checkpoints(checkpoints))))
    }
}

/// Returns what connects the lanes of a link to its clusters.
fn connector_of(
    link: &Link,
    (source, target): (&ClusterConfig, &ClusterConfig),
    measured: &Measured,
    maker: Option<Arc<TopicMaker>>,
) -> KafkaConnector {
    KafkaConnector {
        link: link.name.clone(),
        source: source.clone(),
        target: target.clone(),
        source_tuning: measured.source(link),
        target_tuning: measured.target(link),
        maker,
        quarantine_timeout: QUARANTINE,
        ended: strait_kafka::EndedIds::default(),
    }
}

/// Returns the control topic of a link; `None` where nobody could be fenced from it.
fn control_of(target: &ClusterConfig, link: &str) -> Option<Arc<dyn ControlLog>> {
    target.has_idempotence().then(|| Arc::new(KafkaControl::new(target, link, REQUEST)) as _)
}

/// Refuses exactly-once delivery to a target without transactions, and says what at-least-once
/// delivery means on a target without idempotence.
fn check_delivery(link: &Link, target: &ClusterConfig) -> Result<(), RunError> {
    if target.has_idempotence() {
        return Ok(());
    }
    if link.delivery == DeliveryMode::ExactlyOnce {
        return Err(RunError::NoTransactions { link: link.name.clone(), target: target.name.clone() });
    }
    tracing::warn!(link = link.name, target = target.name, "{}", super::error::WITHOUT_IDEMPOTENCE);
    Ok(())
}

fn lane_spec(link: &Link, measured: &Measured, process: u32, identity: LinkIdentity) -> LaneSpec {
    LaneSpec {
        link: link.name.as_str().into(),
        lane: LaneId(0),
        lanes: measured.lanes,
        process,
        identity,
        delivery: link.delivery,
        start: match link.start {
            Start::Earliest => StartAt::Earliest,
            Start::Latest => StartAt::Latest,
            Start::At { unix_ms } => StartAt::Timestamp(unix_ms),
        },
        policies: Policies {
            on_gap: link.on_gap,
            on_corrupt: link.on_corrupt,
            on_target_recreated: link.on_target_recreated,
            on_refused: link.on_refused,
            on_timestamp_zero: link.on_timestamp_zero,
        },
        limits: measured.limits(link),
        config_hash: config_hash(link).into(),
    }
}

/// Returns what the link writes for MirrorMaker 2's clients; `None` where that is nothing.
fn mm2_of(link: &Link, source: &ClusterConfig, target: &ClusterConfig) -> Option<Mm2> {
    let topics: Vec<Mm2Topic> = Mm2Topic::ALL.into_iter().filter(|topic| link.mm2.writes(*topic)).collect();
    let (naming, from) = (link.naming.clone(), link.source.clone());
    (!topics.is_empty()).then(|| Mm2 {
        source: link.source.as_str().into(),
        target: link.target.as_str().into(),
        topics,
        copies: Arc::new(move |topic| naming.apply(&from, topic)),
        writer: Arc::new(KafkaMm2::new(source, target, &link.name, link.manage_topics, REQUEST)),
        map: Arc::new(KafkaMapFeed::new(target, &link.name, REQUEST)),
        checkpoints: Arc::default(),
    })
}

/// Returns the chains of the link's lanes: those of the slot, around which heartbeats pass, guarded
/// against topics that would share a target topic.
fn chains_of(
    link: &Link,
    slot: &ActiveChain,
    heartbeats: Option<HeartbeatTopics>,
    topics: &watch::Receiver<Arc<Vec<SourceTopic>>>,
) -> Arc<dyn ChainFactory> {
    let chains = around(Arc::new(slot.clone()), heartbeats);
    if link.merge_topics { chains } else { Arc::new(CollisionGuard::new(chains, topics.clone())) }
}

/// Time between two lists of the source's topics, per partition: a list has some 55 bytes for each,
/// and at most 128 KiB/s are asked for.
const LISTED_US: u64 = 430;

/// Returns how often the source is polled. Thousands of partitions are polled less often, so that
/// polling stays below a few per cent of a core.
fn watch_intervals(link: &Link, partitions: usize) -> WatchIntervals {
    let defaults = WatchIntervals::default();
    let partitions = u64::try_from(partitions).unwrap_or(u64::MAX);
    let every = Duration::from_millis(partitions.saturating_mul(10)).min(Duration::from_secs(60));
    let listed = Duration::from_micros(partitions.saturating_mul(LISTED_US)).min(Duration::from_secs(60));
    WatchIntervals {
        topics: Duration::from_secs(link.discover_s).max(listed),
        bounds: defaults.bounds.max(every),
        hanging_after: Duration::from_secs(link.hanging_transaction_s_max),
    }
}

/// Returns the topics that the link keeps for itself on the target.
#[must_use]
pub fn own_topics(link: &Link, target: &ClusterConfig, lanes: u32, timeout: Duration) -> LinkTopics {
    LinkTopics {
        target: target.clone(),
        link: link.name.clone(),
        lanes,
        map_retention: Some(Duration::from_secs(u64::from(link.map_retention_days) * 24 * 3600)),
        manage: link.manage_topics,
        timeout,
    }
}

/// Creates the link's own topics where they are missing. Where the configuration sets no number of
/// lanes, that of the existing topics counts.
pub async fn ensure_topics(link: &Link, target: &ClusterConfig) -> Result<LinkTopicsFound, RunError> {
    let topics = |lanes: u32| own_topics(link, target, lanes, REQUEST);
    match topics(link.lanes_to_create()).ensure().await {
        Err(LinkTopicsError::Lanes { existing, .. }) if link.lanes.is_none() => Ok(topics(existing).ensure().await?),
        other => Ok(other?),
    }
}

/// Returns how many partitions the link has, and the shortest of some round trips to the source: a
/// busy machine is not a long line.
async fn measure_source(discovery: &dyn Discovery) -> Result<(usize, Duration), RunError> {
    // The first call connects. Each later one is two requests over the open connection.
    let mut topics = discovery.topics().await?.listed;
    let mut best = Duration::MAX;
    for _ in 0..MEASUREMENTS {
        let asked = Instant::now();
        topics = discovery.topics().await?.listed;
        best = best.min(asked.elapsed() / 2);
    }
    let partitions = topics.iter().map(|t| t.partitions.unsigned_abs() as usize).sum();
    Ok((partitions, best))
}

/// Returns a short fingerprint of the settings that decide what concerns the link as a whole.
/// Processes with other plugins can coordinate a link by turns, so they are left out.
fn settings_hash(link: &Link) -> String {
    let Link { source, target, topics, topics_exclude, naming, manage_topics, sync, mm2, map_retention_days, .. } =
        link;
    let groups = (&link.groups, &link.groups_exclude);
    let all = (source, target, topics, topics_exclude, naming, manage_topics, sync, mm2, map_retention_days, groups);
    let mut text = serde_json::to_string(&all).unwrap_or_default();
    // Without it the hash is that of earlier versions, which may still coordinate the link.
    if link.on_deleted == OnDeleted::Delete {
        text.push_str(&format!("on_deleted {}", link.delete_after_h));
    }
    format!("{:016x}", strait_core::lanes::fingerprint(text.as_bytes()))
}

/// Returns a short fingerprint of the link's configuration as written, secrets unresolved.
fn config_hash(link: &Link) -> String {
    let text = serde_json::to_string(link).unwrap_or_default();
    format!("{:016x}", strait_core::lanes::fingerprint(text.as_bytes()))
}
