//! A lane: fetch -> chain -> produce -> progress, for a fixed set of source partitions.
//!
//! [`Lane::flow`] is the whole path. A fetched batch is judged by the plugin chain and queued in its partition's window
//! (`admit.rs`). [`Lane::release`] gives queued records to the target, one batch per partition at a time. Deliveries settle
//! them in the ledger. When a transaction is due, `commit.rs` waits for every acknowledgement, writes progress and the
//! offset map into the same transaction and commits it. Any error ends this generation of the lane: everything in memory is
//! forgotten, and the supervisor takes the lane again from the progress that is committed. Nothing is ever patched up.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use strait_core::edit::OutRecord;
use strait_core::progress::{Border, LaneRecord, Position};
use strait_core::{Disposition, Event, OwnerEpoch, PartitionKey, RecordRef, Route, partitioner};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::memory::LaneMemory;
use crate::ports::{
    Chain, ChainFactory, Clock, DeliveryReport, EventSink, Fetched, LaneConnector, OutHeaders, Outgoing, PortError,
    ProduceError, ProgressStore, Quarantine, Source, SourceTopic, Taken, Target, TargetEvent, TargetTopic, Token,
};
use crate::spec::{DeliveryMode, LaneSpec};
use crate::status::LinkStatus;
use crate::transaction::{Phase, Transactions};
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

/// How far giving a partition's records to the target went.
enum Sent {
    Done,
    Full,
}

/// What became of one record.
enum Step {
    /// All copies are sent; their bytes.
    Sent(usize),
    /// The client's queue is full.
    QueueFull,
    /// Together with what is in flight it could make a batch that the target topic refuses.
    BatchFull,
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

    /// Gives queued records to the target: per partition up to one batch in flight (and over a short line part of the next),
    /// because an idempotent librdkafka producer moves one batch per partition and round trip, and spins a core while a
    /// second one waits behind it.
    fn release(&mut self) -> Result<(), LaneError> {
        let count = self.partitions.len();
        for step in 0..count {
            let stream = (self.turn + step) % count;
            if !self.transactions.accepts(&self.spec.limits) && self.spec.delivery == DeliveryMode::ExactlyOnce {
                return Ok(());
            }
            if let Sent::Full = self.release_partition(stream)? {
                self.turn = stream;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether a record has sent some of its copies and not the rest: no transaction may close on that.
    pub(crate) fn has_partial(&self) -> bool {
        self.partitions.iter().any(|p| p.queue.front().is_some_and(|q| q.copies_sent > 0))
    }

    /// Sends the missing copies of such records, and nothing else.
    fn finish_partial(&mut self) -> Result<(), LaneError> {
        for stream in 0..self.partitions.len() {
            let partial = self.partitions.get(stream).and_then(|p| p.queue.front()).filter(|q| q.copies_sent > 0);
            if partial.is_some() {
                self.send_and_pass(stream)?;
            }
        }
        Ok(())
    }

    fn release_partition(&mut self, stream: usize) -> Result<Sent, LaneError> {
        let Some(partition) = self.partitions.get(stream) else {
            return Ok(Sent::Done);
        };
        if !partition.has_queued() {
            if let Some(partition) = self.partitions.get_mut(stream) {
                partition.pass_moved();
            }
            return Ok(Sent::Done);
        }
        if !self.may_touch(stream) {
            return Ok(Sent::Done);
        }
        let mut quota = self.quota(stream);
        while quota > 0 {
            let Some(partition) = self.partitions.get_mut(stream) else {
                return Ok(Sent::Done);
            };
            let Some(queued) = partition.queue.front() else { return Ok(Sent::Done) };
            let Some(offset) = queued.processed.batch.get(queued.cursor).map(|r| r.offset) else {
                return Ok(Sent::Done);
            };
            let careful = offset < partition.careful_until;
            // Also the first one behind them waits: in one request with a suspect it would be blamed together with it.
            let suspects = partition.ledger.settled() < partition.careful_until;
            if suspects && partition.ledger.in_flight() > 0 {
                return Ok(Sent::Done);
            }
            self.touch(stream)?;
            quota = match self.send_and_pass(stream)? {
                Step::QueueFull => return Ok(Sent::Full),
                Step::Sent(bytes) if !careful => quota.saturating_sub(bytes.max(1)),
                Step::Sent(_) | Step::BatchFull => 0,
            };
        }
        Ok(Sent::Done)
    }

    /// Sends the record at a partition's cursor and moves the cursor behind it.
    fn send_and_pass(&mut self, stream: usize) -> Result<Step, LaneError> {
        let step = self.send_current(stream)?;
        if !matches!(step, Step::Sent(_)) {
            return Ok(step);
        }
        let Some(partition) = self.partitions.get_mut(stream) else { return Ok(step) };
        let Some(queued) = partition.queue.front_mut() else { return Ok(step) };
        if let Some(record) = queued.processed.batch.get(queued.cursor) {
            partition.ledger.pass(record.offset.next());
        }
        queued.advance();
        if queued.is_done() {
            self.queued_bytes -= queued.held_bytes;
            partition.queue.pop_front();
            partition.pass_moved();
        }
        Ok(step)
    }

    /// Sends every copy of the record at a partition's cursor.
    fn send_current(&mut self, stream: usize) -> Result<Step, LaneError> {
        let Self { partitions, target, topics, transactions, memory, dropped, now, .. } = self;
        let Some(partition) = partitions.get_mut(stream) else {
            return Ok(Step::Sent(0));
        };
        let Some(queued) = partition.queue.front_mut() else {
            return Ok(Step::Sent(0));
        };
        let Some(record) = queued.processed.batch.get(queued.cursor) else {
            return Ok(Step::Sent(0));
        };
        let unchanged = [OutRecord::default()];
        let copies = match queued.current_disposition() {
            None => &unchanged[..],
            Some(Disposition::Replace(copies)) => copies.as_slice(),
            Some(Disposition::Drop | Disposition::Reject(_) | Disposition::Halt(_)) => {
                *dropped += 1;
                return Ok(Step::Sent(0));
            }
        };
        let mut bytes = 0;
        let mut sent = 0;
        let mut stopped = None;
        for copy in copies.iter().skip(queued.copies_sent) {
            let topic = copy.topic.as_ref().and_then(|t| topics.get(t)).copied().unwrap_or(queued.topic);
            let outgoing =
                outgoing(&record, copy, &topic, partition.key.partition, stream, partition.ledger.next_sequence());
            let size = outgoing_bytes(&outgoing);
            // All that is in flight may end up in one batch of the client: a record that would not fit into it waits.
            if partition.ledger.in_flight() > 0 && partition.ledger.in_flight_bytes() + size > batch_bytes_max(&topic) {
                stopped = Some(Step::BatchFull);
                break;
            }
            match target.produce(transactions.slot, &outgoing) {
                Ok(()) => {}
                Err(ProduceError::QueueFull) => {
                    stopped = Some(Step::QueueFull);
                    break;
                }
                Err(ProduceError::Refused(reason)) => {
                    memory.doom(&partition.key, record.offset, queued.processed.batch.leader_epoch(), &reason);
                    return Err(LaneError::Refused(format!("{} at offset {}: {reason}", partition.key, record.offset)));
                }
                Err(ProduceError::Broken(reason)) => return Err(LaneError::Delivery(reason)),
            }
            partition
                .ledger
                .produced(record.offset, topic.handle.0, outgoing.partition, size)
                .map_err(|e| LaneError::Delivery(format!("{}: {e}", partition.key)))?;
            partition.waiting_since.get_or_insert(*now);
            bytes += size;
            sent += 1;
        }
        queued.copies_sent += sent;
        if let Phase::Open { bytes: total, .. } = &mut transactions.phase {
            *total += bytes;
        }
        Ok(stopped.unwrap_or(Step::Sent(bytes)))
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

/// The record to send for one copy, its partition decided.
fn outgoing<'a>(
    record: &RecordRef<'a>,
    copy: &'a OutRecord,
    topic: &TargetTopic,
    source_partition: i32,
    stream: usize,
    sequence: u64,
) -> Outgoing<'a> {
    let key = copy.key.resolve(record.key);
    Outgoing {
        topic: topic.handle,
        partition: match &copy.route {
            Route::Partition(partition) => *partition,
            Route::Hash(bytes) => partitioner::partition_of(bytes, topic.partitions),
            Route::Keep if source_partition.unsigned_abs() < topic.partitions => source_partition,
            // A routed record whose number does not exist there: as Kafka's default partitioner, null keys by number.
            Route::Keep => match key {
                Some(key) => partitioner::partition_of(key, topic.partitions),
                None => source_partition % i32::try_from(topic.partitions.max(1)).unwrap_or(i32::MAX),
            },
        },
        token: Token { stream: u32::try_from(stream).unwrap_or(CONTROL_STREAM), sequence },
        key,
        value: copy.value.resolve(record.value),
        headers: match &copy.headers {
            Some(list) => OutHeaders::List(list),
            None => OutHeaders::Original(*record),
        },
        timestamp_ms: copy.timestamp_ms.unwrap_or(record.timestamp_ms),
    }
}

/// Bytes that a batch for this topic may have before compression. The broker's limit is on the compressed batch; staying
/// below it uncompressed is always safe.
pub(crate) fn batch_bytes_max(topic: &TargetTopic) -> usize {
    topic.max_message_bytes - topic.max_message_bytes / 16
}

fn outgoing_bytes(record: &Outgoing<'_>) -> usize {
    let mut bytes = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
    // The lengths of name and value cost up to 5 bytes each.
    record.headers.for_each(|h| bytes += h.name.len() + h.value.map_or(0, <[u8]>::len) + 10);
    // What a record costs besides its bytes, so that a flood of empty ones is bounded too.
    bytes + 64
}
