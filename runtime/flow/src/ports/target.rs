//! The writing side.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use strait_core::map::MapRecord;
use strait_core::progress::ProgressRecord;
use strait_core::{HeaderRef, RecordRef, TargetOffset};

use super::PortError;

/// One of a lane's two transactional producers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProducerSlot {
    /// The slot of the first transaction.
    A,
    /// The other one.
    B,
}

impl ProducerSlot {
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

impl TargetTopic {
    /// Returns whether the topic takes a record with this timestamp at the time `now_ms`. None
    /// takes a timestamp of 0 or less: it cannot be sent.
    #[must_use]
    pub fn accepts(&self, timestamp_ms: i64, now_ms: i64) -> bool {
        let latest = now_ms.saturating_add(self.timestamp_after_max_ms);
        let earliest = now_ms.saturating_sub(self.timestamp_before_max_ms);
        timestamp_ms > 0 && (self.log_append_time || (earliest..=latest).contains(&timestamp_ms))
    }

    /// Returns how many bytes a batch for this topic may have before compression. The topic's limit
    /// is on the compressed batch; staying below it uncompressed is always safe.
    #[must_use]
    pub fn batch_bytes_max(&self) -> usize {
        self.max_message_bytes - self.max_message_bytes / 16
    }
}

/// How much of one partition the client can use at a time, as far as it has measured the line to
/// the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleaseHint {
    /// Size of a batch, as a multiple of [`Limits::release_bytes`](crate::Limits::release_bytes).
    /// At least 1; a longer line needs larger batches.
    pub batch_factor: usize,
    /// Whether part of the next batch may wait in the client while a batch of the same partition is
    /// in flight.
    pub may_overlap: bool,
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
pub enum DeliveryReport {
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
    Delivered(Vec<DeliveryReport>),
    /// The transaction that [`Target::commit`] began to end is committed.
    Committed(ProducerSlot),
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
    pub fn ids_from(&self, slot: ProducerSlot) -> Arc<str> {
        match (self.ids, slot) {
            (None, _) => "".into(),
            (Some((a, b)), ProducerSlot::A) => format!("{a}{b}").into(),
            (Some((a, b)), ProducerSlot::B) => format!("{b}{a}").into(),
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
    /// one after the other, which fences every other owner but those of [`Taken::unfenced`]; works with the first two that can.
    /// Only after this is progress final.
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
    fn begin(&mut self, slot: ProducerSlot) -> Result<(), PortError>;

    /// Gives a record to the producer; never waits.
    ///
    /// # Errors
    /// [`ProduceError`]; the record was not taken.
    fn produce(&mut self, slot: ProducerSlot, record: &Outgoing<'_>) -> Result<(), ProduceError>;

    /// Writes progress and map records of the lane in the slot's transaction (or plainly, in at-least-once mode). They are
    /// acknowledged under `stream` with sequences `first_sequence..` in the order given, progress first.
    ///
    /// # Errors
    /// [`ProduceError`].
    fn produce_progress(
        &mut self,
        slot: ProducerSlot,
        stream: u32,
        first_sequence: u64,
        progress: &[ProgressRecord],
        map: &[MapRecord],
    ) -> Result<(), ProduceError>;

    /// Begins to end the slot's transaction; every record in it is acknowledged. The result comes as an event.
    fn commit(&mut self, slot: ProducerSlot);

    /// Waits for the next event. Cancel safe.
    async fn event(&mut self) -> TargetEvent;

    /// In-sync replicas of a target partition and how many its topic needs to be written (`min.insync.replicas`), from
    /// fresh metadata; `None` for the first where it has no leader.
    ///
    /// # Errors
    /// [`PortError`].
    async fn replicas(&mut self, topic: TopicHandle, partition: i32) -> Result<(Option<u32>, u32), PortError>;

    /// Returns how much of one partition to release at a time. Called often.
    fn release_hint(&self) -> ReleaseHint;

    /// Aborts what is open, as far as that goes within `deadline`, and destroys the producers. `take` may follow.
    async fn release(&mut self, deadline: Duration);
}
