//! The writing side.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use strait_core::books::{BookEntry, BookKey, ReadAgain};
use strait_core::map::MapRecord;
use strait_core::progress::ProgressRecord;
use strait_core::{HeaderRef, RecordRef, SourceOffset, TargetOffset, TopicId};

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

/// Identifies a produced record until its delivery is known. Runs of acknowledgements are runs of
/// `sequence`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token {
    /// The lane's number of the source partition, or that of progress and map records or of the
    /// books.
    pub stream: u32,
    /// Ascends within the stream, and never wraps (2^40 records).
    pub sequence: u64,
}

/// Handle of an open target topic. Valid until the target is taken again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicHandle(pub u32);

/// A target topic that records need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedTopic {
    /// Its name.
    pub name: Arc<str>,
    /// The source topic of the records. A new topic gets its settings.
    pub like: Arc<str>,
    /// Number of partitions of that source topic. A new topic gets as many.
    pub partitions: u32,
    /// Whether an existing topic with fewer partitions is to be grown. False for a topic that
    /// plugins name per record: others may write there by key.
    pub grows: bool,
    /// Whether it is to be created if it is missing.
    pub creates: bool,
}

/// The answer to a request for a target topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicAnswer {
    /// It can be written.
    Open(TargetTopic),
    /// It can be written, but has fewer partitions than it should have been grown to. The text says
    /// why it was not grown.
    TooSmall(TargetTopic, String),
    /// It was created and is not there yet: ask again.
    Appearing,
    /// It does not exist, and was not to be created.
    Missing,
    /// It cannot be written: a permission is missing, or it does not exist and Strait may not
    /// create it.
    Denied(String),
    /// The target refuses to create it.
    NotCreated(String),
}

/// An open target topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetTopic {
    /// Handle to produce with.
    pub handle: TopicHandle,
    /// Id of this incarnation of the topic; unknown where the cluster gives none.
    pub id: TopicId,
    /// Number of partitions.
    pub partitions: u32,
    /// Largest compressed batch that it takes, in bytes.
    pub max_message_bytes: usize,
    /// The target replaces the timestamps of records by its own time.
    pub log_append_time: bool,
    /// How far a record's timestamp may be ahead of the target's clock, in milliseconds.
    pub timestamp_after_max_ms: i64,
    /// How far a record's timestamp may be behind the target's clock, in milliseconds.
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

/// Headers to send: the original ones of a record, or another list.
#[derive(Clone, Copy, Debug)]
pub enum OutHeaders<'a> {
    /// The record's own headers.
    Original(RecordRef<'a>),
    /// Another list, in order.
    List(&'a [(Vec<u8>, Option<Vec<u8>>)]),
}

impl Outgoing<'_> {
    /// Returns the bytes that the record counts, including what it costs besides its own bytes, so
    /// that a flood of empty records is bounded too. A batch of only this record is not larger.
    #[must_use]
    pub fn counted_bytes(&self) -> usize {
        let mut bytes = self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len);
        // The lengths of name and value cost up to 5 bytes each.
        self.headers.for_each(|header| bytes += header.name.len() + header.value.map_or(0, <[u8]>::len) + 10);
        bytes + 64
    }
}

impl OutHeaders<'_> {
    /// Returns the number of headers.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Original(record) => record.headers.len(),
            Self::List(list) => list.len(),
        }
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Visits the headers in order.
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

/// A topic that a link keeps for itself, and a lane writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlTopic {
    /// Progress.
    Progress,
    /// The offset map.
    Map,
    /// The books, which all lanes write to one partition.
    Books,
}

/// A record of progress, of the offset map or of the books, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlRecord {
    /// The topic. The partition is the lane's, or the one of the books.
    pub topic: ControlTopic,
    /// Key.
    pub key: Vec<u8>,
    /// Value.
    pub value: Vec<u8>,
}

impl ControlRecord {
    /// Returns the bytes that the record takes in a batch, at most.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.len() + 64
    }
}

impl From<&ProgressRecord> for ControlRecord {
    fn from(record: &ProgressRecord) -> Self {
        let (key, value) = record.encode();
        Self { topic: ControlTopic::Progress, key, value }
    }
}

impl From<&MapRecord> for ControlRecord {
    fn from(record: &MapRecord) -> Self {
        let (key, value) = record.encode();
        Self { topic: ControlTopic::Map, key, value }
    }
}

impl ControlRecord {
    /// Encodes an entry of the books.
    #[must_use]
    pub fn of_books(key: &BookKey, entry: &BookEntry) -> Self {
        let (key, value) = entry.encode(key);
        Self { topic: ControlTopic::Books, key, value }
    }

    /// Encodes the mark of a source partition that is read again, and was at `was` before.
    #[must_use]
    pub fn of_read_again(mark: &ReadAgain, was: SourceOffset) -> Self {
        let (key, value) = mark.encode(was);
        Self { topic: ControlTopic::Books, key, value }
    }
}

/// The answer to [`Target::open_books`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BooksAnswer {
    /// They can be written.
    Open {
        /// Largest batch that they take, in bytes.
        batch_bytes_max: usize,
    },
    /// They cannot be written: why, and what to do.
    Closed(String),
}

/// A record to produce.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Handle of the topic.
    pub topic: TopicHandle,
    /// The target partition.
    pub partition: i32,
    /// Comes back with the delivery report.
    pub token: Token,
    /// Key.
    pub key: Option<&'a [u8]>,
    /// Value.
    pub value: Option<&'a [u8]>,
    /// Headers.
    pub headers: OutHeaders<'a>,
    /// Milliseconds since the Unix epoch. Never 0 or less: the lane deals with those before.
    pub timestamp_ms: i64,
}

/// Why the producer did not take a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProduceError {
    /// The client's queue is full: retry after some deliveries.
    QueueFull,
    /// The client refuses this specific record.
    Refused(String),
    /// The producer is broken. An event gives the reason.
    Broken(String),
}

/// The fate of produced records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryReport {
    /// `count` records with ascending tokens have ascending offsets of one target partition.
    Acknowledged {
        /// Token of the first.
        first: Token,
        /// Number of records.
        count: u32,
        /// Target offset of the first.
        offset: TargetOffset,
    },
    /// The target (or the client) refused this specific record: too large, bad timestamp, invalid.
    Refused {
        /// Token of the record.
        token: Token,
        /// The target named this specific record. If not, any record of its request may be the
        /// refused one.
        named: bool,
        /// The reason.
        reason: String,
    },
    /// It is not known whether it was written, for a reason that is not its own (purged, timed out,
    /// connection, fenced), or it was acknowledged without an offset.
    Failed {
        /// Token of the record.
        token: Token,
        /// The reason.
        reason: String,
    },
}

/// An event of the target.
#[derive(Debug)]
pub enum TargetEvent {
    /// Delivery reports, in the order in which they became known.
    Delivered(Vec<DeliveryReport>),
    /// The transaction passed to [`Target::commit`] is committed.
    Committed(ProducerSlot),
    /// The answer to [`Target::ask_topic_ids`]: the ids of the open topics that exist. An id that
    /// the cluster does not tell is unknown.
    TopicIds(BTreeMap<Arc<str>, TopicId>),
    /// A slot is broken (commit failed or with unknown result, fenced, fatal). Both must be taken
    /// again.
    Broken(PortError),
}

/// The transactional ids of a lane that was taken, by their letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The two ids at work, of slot A and of slot B. `None` in at-least-once mode.
    pub ids: Option<(char, char)>,
    /// The ids that are not fenced: their last transaction has been decided but cannot complete
    /// yet. Initialising them does not fence the producer that decided it.
    pub unfenced: String,
    /// Why they are not fenced and what changes that, for the operator. Empty if all are fenced.
    pub unfenced_because: &'static str,
}

impl Taken {
    /// Returns the letters of this slot's id and of the other one.
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
/// In exactly-once mode, `take` makes two transactional producers. In at-least-once mode there is
/// one idempotent producer, `begin` and `commit` are not called, and every record goes to slot A.
#[async_trait]
pub trait Target: Send {
    /// Takes the lane: destroys what is left of older producers, then initialises the lane's
    /// transactional ids one after the other, which fences every other owner but those of
    /// [`Taken::unfenced`]. The first two that can work are used. Only after this is progress
    /// final.
    ///
    /// # Errors
    /// [`PortError`], also if fewer than two ids can work.
    async fn take(&mut self) -> Result<Taken, PortError>;

    /// Opens a topic. Creates or grows it, if the link may.
    ///
    /// # Errors
    /// [`PortError`] if the target does not answer. What concerns the topic alone is an answer.
    async fn open_topic(&mut self, wanted: &WantedTopic) -> Result<TopicAnswer, PortError>;

    /// Opens those of these topics that exist, may be written and have enough partitions, in as few
    /// requests as their number allows. The others are left to [`Target::open_topic`].
    ///
    /// # Errors
    /// [`PortError`] if the target does not answer.
    async fn open_existing(&mut self, wanted: Vec<WantedTopic>) -> Result<Vec<(Arc<str>, TargetTopic)>, PortError>;

    /// Returns the ids of those of these topics that exist. An id that the cluster does not tell is
    /// unknown.
    ///
    /// # Errors
    /// [`PortError`] if the target does not answer.
    async fn topic_ids(&mut self, topics: Vec<Arc<str>>) -> Result<BTreeMap<Arc<str>, TopicId>, PortError>;

    /// Asks for the ids of the open topics. The answer comes as an event; none comes if the target
    /// does not answer.
    fn ask_topic_ids(&mut self);

    /// Opens the books, if they can be written: their partition exists, has a leader and enough
    /// replicas in sync, and may be written. Creates nothing. May be asked again.
    ///
    /// # Errors
    /// [`PortError`] if the target does not answer.
    async fn open_books(&mut self) -> Result<BooksAnswer, PortError>;

    /// Begins a transaction.
    ///
    /// # Errors
    /// [`PortError`].
    fn begin(&mut self, slot: ProducerSlot) -> Result<(), PortError>;

    /// Sends a record to the producer. Never waits.
    ///
    /// # Errors
    /// [`ProduceError`]: the record was not taken.
    fn produce(&mut self, slot: ProducerSlot, record: &Outgoing<'_>) -> Result<(), ProduceError>;

    /// Writes progress and map records of the lane, or entries of the books once those are open, in
    /// the slot's transaction (or plainly, in at-least-once mode). They are acknowledged under
    /// `stream` with sequences `first_sequence..` in this order. Those of one topic may go out in
    /// one batch.
    ///
    /// # Errors
    /// [`ProduceError`].
    fn produce_control(
        &mut self,
        slot: ProducerSlot,
        stream: u32,
        first_sequence: u64,
        records: &[ControlRecord],
    ) -> Result<(), ProduceError>;

    /// Starts the commit of the slot's transaction. Every record of it must be acknowledged. The
    /// result comes as an event.
    fn commit(&mut self, slot: ProducerSlot);

    /// Waits for the next event. Cancel safe.
    async fn event(&mut self) -> TargetEvent;

    /// Asks for the in-sync replicas of a target partition and how many it needs to be written. The
    /// first is `None` if the partition has no leader.
    ///
    /// # Errors
    /// [`PortError`].
    async fn replicas(&mut self, topic: TopicHandle, partition: i32) -> Result<(Option<u32>, u32), PortError>;

    /// Returns the least number of bytes that a batch of only this record may have after
    /// compression. Called for records that are too large without.
    fn least_batch_bytes(&self, record: &Outgoing<'_>) -> usize;

    /// Returns how much of one partition to release at a time. Called often.
    fn release_hint(&self) -> ReleaseHint;

    /// Aborts open transactions, as far as that goes within `deadline`, and destroys the producers.
    /// `take` may follow.
    async fn close(&mut self, deadline: Duration);
}
