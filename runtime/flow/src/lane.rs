//! A lane: fetch -> chain -> produce -> progress, for a fixed set of source partitions.
//!
//! [`Lane::flow`] is the whole path. A fetched batch is judged by the plugin chain and queued in its partition's window
//! (`admit.rs`). `release.rs` gives queued records to the target, one batch per partition at a time. Deliveries settle
//! them in the ledger. When a transaction is due, `commit.rs` waits for every acknowledgement, writes progress and the
//! offset map into the same transaction and commits it. Any error ends this generation of the lane: everything in memory is
//! forgotten, and the supervisor takes the lane again from the progress that is committed. Nothing is ever patched up.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use strait_core::progress::{Border, LaneRecord, Position};
use strait_core::{Event, OwnerEpoch, PartitionKey};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::memory::LaneMemory;
use crate::ports::{
    Chain, ChainFactory, Clock, DeliveryReport, EventSink, Fetched, LaneConnector, PortError, ProgressStore,
    Quarantine, Source, SourceTopic, Taken, Target, TargetEvent, TargetTopic,
};
use crate::spec::LaneSpec;
use crate::status::LinkStatus;
use crate::transaction::Transactions;
use crate::window::PartitionWindow;

/// The stream of progress and map records among [`Token::stream`]s.
pub(crate) const CONTROL_STREAM: u32 = 0xff_ffff;

/// What lanes are made of; shared by all lanes of a link.
#[derive(Clone)]
pub struct LaneDeps {
    /// Makes the clients.
    pub connector: Arc<dyn LaneConnector>,
    /// Reads committed progress.
    pub progress: Arc<dyn ProgressStore>,
    /// Makes plugin chains.
    pub chains: Arc<dyn ChainFactory>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Takes events.
    pub events: Arc<dyn EventSink>,
    /// Takes figures.
    pub status: Arc<LinkStatus>,
    /// The link's source topics as last discovered.
    pub topics: watch::Receiver<Arc<Vec<SourceTopic>>>,
}

/// Why a generation of a lane ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaneError {
    /// A port failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// Deliveries and books disagree, or a record is not known to be written.
    #[error("{0}")]
    Delivery(String),
    /// The target refused a record; the next generation knows which ones to treat with care.
    #[error("the target refused a record: {0}")]
    Refused(String),
    /// A partition is taken out because the target does not acknowledge it, or could join again.
    #[error("stuck at the target: {0}")]
    Stuck(String),
    /// The lane cannot be used any more.
    #[error("{0}")]
    Closed(String),
}

/// One generation of a lane, from the moment it is taken.
pub(crate) struct Lane<'a> {
    pub spec: &'a LaneSpec,
    pub deps: &'a LaneDeps,
    pub memory: &'a mut LaneMemory,
    pub source: Box<dyn Source>,
    pub target: Box<dyn Target>,
    pub quarantine: Box<dyn Quarantine>,
    pub chain: Box<dyn Chain>,
    /// Its transactional ids.
    pub taken: Taken,
    /// Index = the partition's stream. Never shrinks within a generation.
    pub partitions: Vec<PartitionWindow>,
    pub by_place: HashMap<(Arc<str>, i32), u32>,
    pub topics: BTreeMap<Arc<str>, TargetTopic>,
    pub topic_names: HashMap<u32, Arc<str>>,
    /// Target topics that cannot be written, or have too few partitions, and until when they are not asked for again.
    pub lacking: BTreeMap<Arc<str>, (Duration, Result<TargetTopic, String>)>,
    pub transactions: Transactions,
    pub owner: OwnerEpoch,
    /// Progress as it was when the lane was taken. Nobody else can have written any since.
    pub known: BTreeMap<PartitionKey, Position>,
    /// The newest border of each partition's plugins, as it was when the lane was taken.
    pub borders: BTreeMap<PartitionKey, Border>,
    /// Written with the first progress of a new lane.
    pub lane_record: Option<LaneRecord>,
    pub created_with: BTreeMap<String, i32>,
    /// Memory of batches that are queued.
    pub queued_bytes: usize,
    pub control_sequence: u64,
    pub control_outstanding: usize,
    /// When anything was last acknowledged.
    pub last_ack: Duration,
    pub last_progress: Duration,
    pub read_epochs: u64,
    pub now: Duration,
    /// When the periodic work is due again.
    pub next_tick: Duration,
    /// When the target may be asked again about partitions that it does not acknowledge.
    pub next_probe: Duration,
    /// Records that plugins left out, not yet added to the totals.
    pub dropped: u64,
    /// Where the round robin over partitions begins.
    pub turn: usize,
}

impl Lane<'_> {
    /// Moves records until `stop`, then commits what is released and returns.
    pub async fn flow(&mut self, stop: &CancellationToken) -> Result<(), LaneError> {
        let mut topics = self.deps.topics.clone();
        let mut draining = false;
        loop {
            self.now = self.deps.clock.now();
            if !draining {
                self.tick().await?;
            }
            // First, and even where a full transaction takes nothing more: it cannot close before.
            self.finish_partial()?;
            if !draining {
                self.release()?;
            }
            if self.dropped > 0 {
                let dropped = std::mem::take(&mut self.dropped);
                self.deps.status.add(|t| t.records_dropped += dropped);
            }
            self.advance_transaction(draining).await?;
            if draining && self.is_drained() {
                return Ok(());
            }
            let wake = self.wake_after();
            let room = !draining && self.has_room();
            tokio::select! { biased;
                event = self.target.event() => self.on_target(event).await?,
                () = stop.cancelled(), if !draining => draining = true,
                Ok(()) = topics.changed(), if !draining => {
                    let topics = Arc::clone(&topics.borrow_and_update());
                    self.on_topics(&topics).await?;
                }
                fetched = self.source.next(), if room => self.on_fetched(fetched?).await?,
                () = tokio::time::sleep(wake) => {}
            }
        }
    }

    /// Whether the window takes another batch. Not asking the source is the backpressure. The window is what the busy
    /// partitions can use on a line of this length and no more: small windows stay in the processor's cache.
    fn has_room(&self) -> bool {
        let mut held = self.queued_bytes;
        let mut busy = 1;
        for partition in &self.partitions {
            held += partition.ledger.in_flight_bytes();
            busy += usize::from(partition.has_queued() || partition.ledger.in_flight() > 0);
        }
        let useful = busy.saturating_mul(self.release_size().saturating_mul(2)).saturating_add(2 << 20);
        held < useful.min(self.spec.limits.window_bytes)
    }

    async fn on_fetched(&mut self, fetched: Fetched) -> Result<(), LaneError> {
        match fetched {
            Fetched::Batch { epoch, batch } => {
                let Some(stream) = self.current(batch.topic(), batch.partition(), epoch) else {
                    return Ok(());
                };
                self.admit(stream, batch).await
            }
            Fetched::Moved { epoch, topic, partition, next } => {
                let Some(stream) = self.current(&topic, partition, epoch) else {
                    return Ok(());
                };
                self.on_moved(stream, next).await
            }
            Fetched::Failed { epoch, topic, partition, failure } => {
                let Some(stream) = self.current(&topic, partition, epoch) else {
                    return Ok(());
                };
                self.on_read_failure(stream, failure).await
            }
        }
    }

    async fn on_target(&mut self, event: TargetEvent) -> Result<(), LaneError> {
        self.now = self.deps.clock.now();
        match event {
            TargetEvent::Delivered(mut deliveries) => {
                // The culprit before those that failed because of it: the first of them ends this generation.
                if let Some(at) = deliveries.iter().position(|d| matches!(d, DeliveryReport::Refused { .. })) {
                    deliveries.swap(0, at);
                }
                for delivery in deliveries {
                    self.on_delivery(delivery)?;
                }
                Ok(())
            }
            TargetEvent::Committed(slot) => self.on_committed(slot).await,
            TargetEvent::Broken(error) => Err(error.into()),
        }
    }

    fn on_delivery(&mut self, delivery: DeliveryReport) -> Result<(), LaneError> {
        match delivery {
            DeliveryReport::Acknowledged { first, count, .. } if first.stream == CONTROL_STREAM => {
                self.last_ack = self.now;
                self.control_outstanding = self.control_outstanding.saturating_sub(count as usize);
                Ok(())
            }
            DeliveryReport::Acknowledged { first, count, offset } => {
                self.last_ack = self.now;
                self.memory.proven = true;
                let Some(partition) = self.partitions.get_mut(first.stream as usize) else {
                    return Err(LaneError::Delivery(format!("acknowledgement for unknown stream {}", first.stream)));
                };
                let before = partition.ledger.in_flight_bytes();
                partition
                    .ledger
                    .acknowledge(first.sequence, count, offset)
                    .map_err(|e| LaneError::Delivery(format!("{}: {e}", partition.key)))?;
                partition.settle();
                partition.waiting_since = (partition.ledger.in_flight() > 0).then_some(self.now);
                let bytes = (before - partition.ledger.in_flight_bytes()) as u64;
                self.deps.status.add_of(&partition.key.topic, |all, topic| {
                    all.records_written += u64::from(count);
                    all.bytes_written += bytes;
                    topic.records_written += u64::from(count);
                    topic.bytes_written += bytes;
                });
                Ok(())
            }
            DeliveryReport::Refused { token, named, reason } => Err(self.on_refused(token, named, reason)),
            DeliveryReport::Failed { token, reason } => {
                let place = self.partitions.get(token.stream as usize).map(|p| p.key.to_string());
                Err(LaneError::Delivery(format!(
                    "{}: not delivered: {reason}",
                    place.unwrap_or_else(|| "progress".to_owned())
                )))
            }
        }
    }

    pub fn emit(&self, event: Event) {
        self.deps.events.emit(&self.spec.link, event);
    }
}
