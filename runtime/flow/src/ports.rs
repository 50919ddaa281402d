//! What a lane needs of the world. `strait-kafka` and `strait-host` implement these; so does the simulation.
//!
//! The ports speak in batches and runs, never assume librdkafka, and are object safe: a lane holds `Box<dyn …>`, so that
//! its code reads without type parameters. A call that may wait is async; every such call is bounded by its implementor.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use strait_core::map::MapRecord;
use strait_core::progress::{LaneProgress, ProgressRecord};
use strait_core::{
    Batch, Event, Generation, HeaderRef, LaneId, LeaderEpoch, PartitionKey, Processed, RecordRef, SourceOffset,
    TargetOffset, TopicId,
};
use tokio::sync::oneshot;

/// How a failed port call is to be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Passing: take the lane again after a backoff.
    Retry,
    /// Another owner has the lane's ids: back off, confirm membership, then take it again or give it up.
    Fenced,
    /// Waiting does not mend it (no permission, bad credentials, incompatible stored state): said loudly, tried rarely.
    Stop,
}

/// A failed port call.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{context}: {reason}")]
pub struct PortError {
    /// How to meet it.
    pub class: Class,
    /// What was being done, with its coordinates (cluster, topic, partition, transactional id).
    pub context: String,
    /// What the other side said, and what to do where that is known.
    pub reason: String,
}

/// A place in a source partition, always an explicit number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadFrom {
    /// Where.
    pub partition: PartitionKey,
    /// The first offset wanted.
    pub next: SourceOffset,
    /// Leader epoch of the record before it, so that the broker can notice a truncation; `UNKNOWN` skips that check.
    pub leader_epoch: LeaderEpoch,
}

/// Numbers every assignment of a partition, so that what was fetched before a seek is told apart from what comes after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadEpoch(pub u64);

/// What a source gives.
#[derive(Debug)]
pub enum Fetched {
    /// Records, never empty. Within a read epoch batches of a partition come in offset order.
    Batch {
        /// The assignment it was fetched under; older than the lane's own means: throw it away.
        epoch: ReadEpoch,
        /// The records.
        batch: Batch,
    },
    /// The reader moved on without records: aborted, control or compacted offsets. Comes behind every batch before `next`.
    Moved {
        /// The assignment.
        epoch: ReadEpoch,
        /// Topic.
        topic: Arc<str>,
        /// Partition number.
        partition: i32,
        /// The next offset the reader will ask for.
        next: SourceOffset,
    },
    /// Reading a partition failed; nothing more comes for it until it is assigned again.
    Failed {
        /// The assignment.
        epoch: ReadEpoch,
        /// Topic.
        topic: Arc<str>,
        /// Partition number.
        partition: i32,
        /// Why.
        failure: ReadFailure,
    },
}

/// Why reading a partition stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadFailure {
    /// The wanted offset is not in the log (deleted by retention, or beyond its end): look at the log's bounds.
    OutOfRange,
    /// The broker's log and the position's leader epoch do not agree: truncated or recreated.
    LogTruncation,
    /// The topic or partition does not exist.
    Gone,
    /// Our principal may not read the topic; with the reason and what to do. Tried again from time to time, as the permission may
    /// be given.
    Denied(String),
    /// Anything else (corrupt batch, decompression); retried and named.
    Other(String),
}

/// The bounds of a source partition's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogBounds {
    /// First offset that exists.
    pub log_start: SourceOffset,
    /// Where committed readers stop (last stable offset).
    pub last_stable: SourceOffset,
    /// Where the log ends (high watermark).
    pub high_watermark: SourceOffset,
}

/// Where a link begins on its first sight of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// The log's start.
    Earliest,
    /// The last stable offset at that moment.
    Latest,
    /// The first record at or after this time, milliseconds since the Unix epoch; the log's end if there is none.
    Timestamp(i64),
}

/// The reading side of a lane: one client, used by one lane.
#[async_trait]
pub trait Source: Send {
    /// Starts reading partitions at explicit places; one that is already assigned is moved (a seek). Everything fetched
    /// before is void: later results carry `epoch`.
    ///
    /// # Errors
    /// [`PortError`] when the client refuses.
    async fn assign(&mut self, epoch: ReadEpoch, places: &[ReadFrom]) -> Result<(), PortError>;

    /// Stops reading partitions.
    ///
    /// # Errors
    /// [`PortError`] when the client refuses.
    async fn unassign(&mut self, partitions: &[PartitionKey]) -> Result<(), PortError>;

    /// Waits for what comes next. Cancel safe: what was not returned is returned by the next call. Not calling it is the
    /// backpressure.
    ///
    /// # Errors
    /// [`PortError`] when the client as a whole is broken.
    async fn next(&mut self) -> Result<Fetched, PortError>;

    /// The log bounds of partitions, asked of the brokers now. A partition that does not exist is left out.
    ///
    /// # Errors
    /// [`PortError`] when the brokers do not answer in time.
    async fn bounds(&mut self, partitions: &[PartitionKey]) -> Result<BTreeMap<PartitionKey, LogBounds>, PortError>;

    /// Resolves `start` to a number for each partition. A partition that does not exist is left out.
    ///
    /// # Errors
    /// [`PortError`] when the brokers do not answer in time.
    async fn resolve(
        &mut self,
        start: StartAt,
        partitions: &[PartitionKey],
    ) -> Result<BTreeMap<PartitionKey, SourceOffset>, PortError>;

    /// The ids of topics as they are now. A topic that does not exist is left out.
    ///
    /// # Errors
    /// [`PortError`] when the brokers do not answer in time.
    async fn topic_ids(&mut self, topics: &[Arc<str>]) -> Result<BTreeMap<Arc<str>, TopicId>, PortError>;

    /// Ends the client. Bounded; errors are logged by the implementor.
    async fn close(self: Box<Self>);
}

/// One of a lane's two transactional producers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slot {
    /// The slot of the first transaction.
    A,
    /// The other one.
    B,
}

impl Slot {
    /// The slot that the next transaction uses.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Identifies a produced record until its delivery is known: the lane's number of the source partition and the record's
/// number within it. Runs of acknowledgements are runs of `sequence`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token {
    /// The lane's index of the source partition (or one of the lane's own, for progress, map and quarantine).
    pub stream: u32,
    /// Ascending within the stream, wrapping never (2^40 records).
    pub sequence: u64,
}

/// Handle of an open target topic; valid until the target is taken again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicHandle(pub u32);

/// What is known of an open target topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetTopic {
    /// Handle to produce with.
    pub handle: TopicHandle,
    /// Number of partitions.
    pub partitions: u32,
    /// `max.message.bytes`: the largest compressed batch, in bytes.
    pub max_message_bytes: usize,
    /// Whether the target stamps records itself (`message.timestamp.type=LogAppendTime`), losing the source's time.
    pub log_append_time: bool,
    /// How far ahead of the broker's clock a CreateTime may be (`message.timestamp.after.max.ms`), in milliseconds.
    pub timestamp_after_max_ms: i64,
    /// How far behind (`message.timestamp.before.max.ms`), in milliseconds.
    pub timestamp_before_max_ms: i64,
}

/// Headers to send: the original ones of a record, or a list of their own.
#[derive(Clone, Copy, Debug)]
pub enum OutHeaders<'a> {
    /// The record's own.
    Original(RecordRef<'a>),
    /// A new list, in order.
    List(&'a [(Vec<u8>, Option<Vec<u8>>)]),
}

impl OutHeaders<'_> {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Original(record) => record.headers.len(),
            Self::List(list) => list.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Visits them in order.
    pub fn for_each(&self, mut visit: impl FnMut(HeaderRef<'_>)) {
        match self {
            Self::Original(record) => record.headers.iter().for_each(visit),
            Self::List(list) => {
                for (name, value) in *list {
                    visit(HeaderRef { name, value: value.as_deref() });
                }
            }
        }
    }
}

/// A record on its way to the target.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Open topic.
    pub topic: TopicHandle,
    /// Partition, already decided.
    pub partition: i32,
    /// Comes back with the delivery.
    pub token: Token,
    /// Key.
    pub key: Option<&'a [u8]>,
    /// Value.
    pub value: Option<&'a [u8]>,
    /// Headers.
    pub headers: OutHeaders<'a>,
    /// Milliseconds since the Unix epoch; never 0 or less (the lane decides on those before).
    pub timestamp_ms: i64,
}

/// Why a record was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProduceError {
    /// The client's queue is full: go on after some deliveries.
    QueueFull,
    /// The client refuses this record for what it is.
    Refused(String),
    /// The producer is broken; an event says more.
    Broken(String),
}

/// What became of records that were produced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// `count` records with ascending tokens became as many ascending offsets of one target partition.
    Acknowledged {
        /// Token of the first.
        first: Token,
        /// How many.
        count: u32,
        /// Target offset of the first.
        offset: TargetOffset,
    },
    /// The broker (or the client) refused this record for what it is: too large, bad timestamp, invalid.
    Refused {
        /// Which.
        token: Token,
        /// Whether the broker named this very record; if not, any record of its request may be the culprit.
        named: bool,
        /// What it said.
        reason: String,
    },
    /// It is not known to be written, for a reason that is not its own (purged, timed out, connection, fenced), or was
    /// acknowledged without an offset.
    Failed {
        /// Which.
        token: Token,
        /// What happened.
        reason: String,
    },
}

/// What a target tells.
#[derive(Debug)]
pub enum TargetEvent {
    /// Deliveries, in the order in which they became known.
    Delivered(Vec<Delivery>),
    /// The transaction that [`Target::commit`] began to end is committed.
    Committed(Slot),
    /// A slot is broken (commit failed or of unknown result, fenced, fatal): both must be taken again.
    Broken(PortError),
}

/// The transactional ids of a lane that was taken, by their letters; none in at-least-once mode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The two that work, of slot A and of slot B.
    pub ids: Option<(char, char)>,
    /// Those that were left as they are, because their last transaction is decided and cannot end yet: whoever asked for that
    /// end is not fenced by them.
    pub unfenced: String,
}

impl Taken {
    /// The id of this slot, then the other one.
    #[must_use]
    pub fn ids_from(&self, slot: Slot) -> Arc<str> {
        match (self.ids, slot) {
            (None, _) => "".into(),
            (Some((a, b)), Slot::A) => format!("{a}{b}").into(),
            (Some((a, b)), Slot::B) => format!("{b}{a}").into(),
        }
    }
}

/// The writing side of a lane: its producers, used by one lane.
///
/// In exactly-once mode `take` makes two transactional producers; in at-least-once mode there is one idempotent producer,
/// `begin`, `commit` are not called and every record goes to slot A.
#[async_trait]
pub trait Target: Send {
    /// Takes the lane: destroys what is left of older producers, then makes and initialises the transactional ids of the lane,
    /// one after the other, which fences every other owner; works with the first two that can. Only after this is progress
    /// final.
    ///
    /// # Errors
    /// [`PortError`], also where fewer than two ids can work.
    async fn take(&mut self) -> Result<Taken, PortError>;

    /// Opens a topic that has at least `partitions` partitions; makes it, or grows it, where the link may.
    ///
    /// # Errors
    /// [`PortError`]; `Ok` may have fewer partitions than asked for, where it could not be grown.
    async fn open_topic(&mut self, topic: &str, partitions: u32) -> Result<TargetTopic, PortError>;

    /// Begins a transaction.
    ///
    /// # Errors
    /// [`PortError`].
    fn begin(&mut self, slot: Slot) -> Result<(), PortError>;

    /// Gives a record to the producer; never waits.
    ///
    /// # Errors
    /// [`ProduceError`]; the record was not taken.
    fn produce(&mut self, slot: Slot, record: &Outgoing<'_>) -> Result<(), ProduceError>;

    /// Writes progress and map records of the lane in the slot's transaction (or plainly, in at-least-once mode). They are
    /// acknowledged under `stream` with sequences `first_sequence..` in the order given, progress first.
    ///
    /// # Errors
    /// [`ProduceError`].
    fn produce_progress(
        &mut self,
        slot: Slot,
        stream: u32,
        first_sequence: u64,
        progress: &[ProgressRecord],
        map: &[MapRecord],
    ) -> Result<(), ProduceError>;

    /// Begins to end the slot's transaction; every record in it is acknowledged. The result comes as an event.
    fn commit(&mut self, slot: Slot);

    /// Waits for the next event. Cancel safe.
    async fn event(&mut self) -> TargetEvent;

    /// In-sync replicas of a target partition and how many its topic needs to be written (`min.insync.replicas`), from
    /// fresh metadata; `None` for the first where it has no leader.
    ///
    /// # Errors
    /// [`PortError`].
    async fn replicas(&mut self, topic: TopicHandle, partition: i32) -> Result<(Option<u32>, u32), PortError>;

    /// Measured round trip to the target's brokers; zero before the first.
    fn round_trip(&self) -> Duration;

    /// Aborts what is open, as far as that goes within `deadline`, and destroys the producers. `take` may follow.
    async fn release(&mut self, deadline: Duration);
}

/// Reads what lanes have committed.
#[async_trait]
pub trait ProgressStore: Send + Sync {
    /// All that is committed in the lane's partition of the progress topic. Asked by the owner of a lane, it also waits for
    /// what a predecessor has asked to commit; its ids are fenced before.
    ///
    /// # Errors
    /// [`PortError`]; class `Stop` where a record cannot be read.
    async fn read(&self, lane: LaneId) -> Result<LaneProgress, PortError>;
}

/// A record for the quarantine topic on the source cluster.
#[derive(Debug)]
pub struct QuarantineRecord<'a> {
    /// Where it came from.
    pub partition: &'a PartitionKey,
    /// The record, as read.
    pub record: RecordRef<'a>,
    /// Who refused it: a plugin's name, or `target` or `strait`.
    pub by: &'a str,
    /// The plugin's file, where it was a plugin: `sha256:` and 64 hexadecimal digits.
    pub digest: Option<&'a str>,
    /// A stable code.
    pub code: &'a str,
    /// Detail.
    pub text: &'a str,
    /// The chain's generation.
    pub generation: &'a Generation,
}

/// Keeps refused records on the source side.
#[async_trait]
pub trait Quarantine: Send {
    /// Connects, and makes what is missing, ahead of the first record: a partition need not wait for that.
    ///
    /// # Errors
    /// [`PortError`]: a record that is refused would stop its partition.
    async fn prepare(&mut self) -> Result<(), PortError> {
        Ok(())
    }

    /// Writes records and returns once every one is acknowledged (`acks=all`). Before that, nothing that passes them may
    /// be committed.
    ///
    /// # Errors
    /// [`PortError`]: none of them counts as kept.
    async fn keep(&mut self, records: &[QuarantineRecord<'_>]) -> Result<(), PortError>;
}

/// A plugin broke on a batch.
#[derive(Clone, Debug, thiserror::Error)]
#[error("plugin {plugin} (generation {}): {reason}", generation.0)]
pub struct ChainError {
    /// Which plugin.
    pub plugin: Arc<str>,
    /// The generation it belongs to.
    pub generation: Generation,
    /// Offset of the guilty record, where it is known.
    pub offset: Option<SourceOffset>,
    /// Trap, deadline, memory, bad edit: what happened and what to do.
    pub reason: String,
    /// The same batch may be judged after this long; `None` where waiting does not mend it. Zero: a plugin has lost its
    /// memory, and asks for the log again.
    pub retry_after: Option<Duration>,
}

impl ChainError {
    /// Whether a plugin has lost its memory, and nothing else is wrong.
    #[must_use]
    pub fn is_memory_lost(&self) -> bool {
        self.retry_after == Some(Duration::ZERO)
    }
}

/// How much of a partition's log a plugin has to have seen to judge a record: what is not further back than both say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookback {
    /// At most this many offsets before the record.
    pub records: u32,
    /// Not older than the record by more than so many milliseconds; 0 does not bound it.
    pub ms: u64,
}

/// A lane's own instance of the link's plugin chain. Calls run on the lane's thread and end by themselves: each guest call
/// has a deadline.
pub trait Chain: Send {
    /// What the chain has to be shown of the log, with [`Chain::remember`], before it can judge a batch of this partition that
    /// begins at `next`; nothing where its plugins have no memory, or remember what came before. To be asked before every
    /// batch. Where it asks, the partition is forgotten.
    fn lookback(&mut self, partition: &PartitionKey, next: SourceOffset, partitions: u32) -> Vec<Lookback>;

    /// Shows the chain the records of a batch below `until`, which were judged before: only what plugins remember of them
    /// stays. In order, each once.
    ///
    /// # Errors
    /// [`ChainError`]: the partition is forgotten, and has to be shown from the beginning.
    fn remember(&mut self, batch: &Batch, until: SourceOffset, partitions: u32) -> Result<(), ChainError>;

    /// Everything that it asked for, up to `until`, was shown.
    fn remembered(&mut self, partition: &PartitionKey, until: SourceOffset);

    /// The partition is not read any more, or its log is another one than it was.
    fn forget(&mut self, partition: &PartitionKey);

    /// Judges a batch. The topic is opened on first sight: plugins may rename it, and `naming` is applied once, last.
    ///
    /// # Errors
    /// [`ChainError`]: nothing of the batch was judged.
    fn apply(&mut self, batch: Batch, partitions: u32) -> Result<Processed, ChainError>;

    /// Final topic of untouched records of a source topic.
    ///
    /// # Errors
    /// [`ChainError`] when a plugin refuses the topic or the name is not allowed.
    fn target_topic(&mut self, topic: &str, partitions: u32) -> Result<Arc<str>, ChainError>;

    /// The plugins as they are now.
    fn generation(&self) -> Generation;
}

/// Makes chains, one per lane.
pub trait ChainFactory: Send + Sync {
    /// A fresh chain.
    ///
    /// # Errors
    /// [`ChainError`] when an instance cannot be made.
    fn chain(&self) -> Result<Box<dyn Chain>, ChainError>;
}

/// Makes the clients of one lane.
#[async_trait]
pub trait LaneConnector: Send + Sync {
    /// A reader of the source.
    ///
    /// # Errors
    /// [`PortError`].
    async fn source(&self, lane: LaneId) -> Result<Box<dyn Source>, PortError>;

    /// A writer to the target; it owns no id before [`Target::take`].
    ///
    /// # Errors
    /// [`PortError`].
    async fn target(&self, lane: LaneId) -> Result<Box<dyn Target>, PortError>;

    /// A writer to the quarantine topic.
    ///
    /// # Errors
    /// [`PortError`].
    async fn quarantine(&self, lane: LaneId) -> Result<Box<dyn Quarantine>, PortError>;
}

/// What the group says about this process's lanes.
#[derive(Debug)]
pub enum MembershipEvent {
    /// These lanes are ours now, besides those we have; none where others have them all.
    Assigned(Vec<LaneId>),
    /// These lanes must be given up; answer when their work is committed or aborted. The group waits a few seconds only.
    Revoked(Vec<LaneId>, oneshot::Sender<()>),
    /// These lanes are gone already: another may own them.
    Lost(Vec<LaneId>),
    /// The group cannot be reached or refuses us; it goes on trying. Lanes go on: fencing keeps them safe.
    Trouble(PortError),
}

/// Membership in the link's group: which lanes are ours.
#[async_trait]
pub trait Membership: Send {
    /// Waits for the next event. Cancel safe.
    async fn next(&mut self) -> MembershipEvent;

    /// Leaves the group.
    async fn leave(self: Box<Self>);
}

/// A source topic that the link has selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceTopic {
    /// Name.
    pub topic: Arc<str>,
    /// Incarnation.
    pub id: TopicId,
    /// Number of partitions.
    pub partitions: i32,
}

/// Finds the topics of a link on the source.
#[async_trait]
pub trait Discovery: Send + Sync {
    /// The selected topics as they are now, sorted by name.
    ///
    /// # Errors
    /// [`PortError`].
    async fn topics(&self) -> Result<Vec<SourceTopic>, PortError>;
}

/// Time, injected. `tokio::time` measures waiting; this reads.
pub trait Clock: Send + Sync {
    /// Monotonic, since some start.
    fn now(&self) -> Duration;
    /// Milliseconds since the Unix epoch.
    fn unix_ms(&self) -> i64;
}

/// Takes events. Never waits, never fails.
pub trait EventSink: Send + Sync {
    /// Something happened on a link.
    fn emit(&self, link: &str, event: Event);
}
