//! The reading side.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use strait_core::{Batch, LeaderEpoch, PartitionKey, SourceOffset, TopicId};

use super::PortError;

/// A place in a source partition, always an explicit number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadFrom {
    /// The source partition.
    pub partition: PartitionKey,
    /// The first offset to read.
    pub next: SourceOffset,
    /// Leader epoch of the record before it, with which the cluster can detect a truncation.
    /// `UNKNOWN` skips that check.
    pub leader_epoch: LeaderEpoch,
}

/// Number of an assignment. It separates what was fetched before a seek from what was fetched after
/// it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadEpoch(pub u64);

/// A result of the source.
#[derive(Debug)]
pub enum Fetched {
    /// At least one record. Within a read epoch, batches of a partition come in offset order.
    Batch {
        /// The assignment that it was fetched under. Older than the lane's own: drop it.
        epoch: ReadEpoch,
        /// The records.
        batch: Batch,
    },
    /// The reader moved on without records: aborted, control or compacted offsets. Comes after
    /// every batch before `next`.
    Moved {
        /// The assignment that it was fetched under.
        epoch: ReadEpoch,
        /// Name of the topic.
        topic: Arc<str>,
        /// Partition number.
        partition: i32,
        /// The next offset that the reader will ask for.
        next: SourceOffset,
    },
    /// Reading a partition failed. Nothing more comes for it until it is assigned again.
    Failed {
        /// The assignment that it was fetched under.
        epoch: ReadEpoch,
        /// Name of the topic.
        topic: Arc<str>,
        /// Partition number.
        partition: i32,
        /// The reason.
        failure: ReadFailure,
    },
}

/// Why reading a partition stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadFailure {
    /// The offset is not in the log (deleted by retention, or beyond its end): compare the log's
    /// bounds.
    OutOfRange,
    /// The log and the position's leader epoch do not agree: from `end` on, the log holds other
    /// entries than when the record before the position was read. The log was truncated, or the
    /// offsets between held no records.
    LogTruncation {
        /// Where the leader epoch ends in the log, or `None` if the log does not know it: another
        /// incarnation of the topic.
        end: Option<SourceOffset>,
    },
    /// The source reads another incarnation of the topic than was asked for. Nothing of it was
    /// given.
    OtherIncarnation {
        /// The id under which it reads the topic.
        id: TopicId,
    },
    /// The topic or partition does not exist.
    Gone,
    /// Our principal may not read the topic; with the reason and the remedy. Retried from time to
    /// time, as the permission may be granted.
    Denied(String),
    /// The next batch is larger than the reader takes. No other partition is held up by it.
    TooLarge {
        /// Size of the batch in bytes, where the cluster said it.
        bytes: Option<u64>,
        /// The most that the reader takes, in bytes.
        limit: u64,
    },
    /// A batch, or one record of it, cannot be read however often it is fetched.
    Corrupt {
        /// Its first offset; it may lie before the position.
        offset: SourceOffset,
        /// The first offset behind it, if that was found out.
        end: Option<SourceOffset>,
        /// The damage.
        reason: String,
    },
    /// Any other failure, as text. Retried.
    Other(String),
}

/// The bounds of a source partition's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogBounds {
    /// First offset that exists.
    pub log_start: SourceOffset,
    /// Where readers of committed data stop (last stable offset).
    pub last_stable: SourceOffset,
    /// Where the log ends (high watermark).
    pub high_watermark: SourceOffset,
}

/// Where a link begins in a partition that it sees for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// The log's start.
    Earliest,
    /// The last stable offset at that moment.
    Latest,
    /// The first record at or after this time, in milliseconds since the Unix epoch; the log's end
    /// if there is none.
    Timestamp(i64),
}

/// The reading side.
#[async_trait]
pub trait Source: Send {
    /// Starts reading partitions at explicit places. A partition that is assigned already is moved
    /// (a seek). Everything fetched before is void: later results carry `epoch`.
    ///
    /// # Errors
    /// [`PortError`] if the client refuses.
    async fn assign(&mut self, epoch: ReadEpoch, places: &[ReadFrom]) -> Result<(), PortError>;

    /// Stops reading partitions.
    ///
    /// # Errors
    /// [`PortError`] if the client refuses.
    async fn unassign(&mut self, partitions: &[PartitionKey]) -> Result<(), PortError>;

    /// Waits for the next result. Cancel safe: a result that was not returned is returned by the
    /// next call. Not calling it is the backpressure.
    ///
    /// # Errors
    /// [`PortError`] if the client as a whole is broken.
    async fn next(&mut self) -> Result<Fetched, PortError>;

    /// Asks for the log bounds of partitions. A partition that does not exist is left out.
    ///
    /// # Errors
    /// [`PortError`] if the cluster does not answer in time.
    async fn bounds(&mut self, partitions: &[PartitionKey]) -> Result<BTreeMap<PartitionKey, LogBounds>, PortError>;

    /// Resolves `start` to an offset for each partition, or says why it cannot: one that has no
    /// leader or may not be read hides no other. A partition that does not exist is left out.
    ///
    /// # Errors
    /// [`PortError`] if the cluster does not answer in time.
    async fn resolve(
        &mut self,
        start: StartAt,
        partitions: &[PartitionKey],
    ) -> Result<BTreeMap<PartitionKey, Result<SourceOffset, PortError>>, PortError>;

    /// Asks for the ids of topics. A topic that does not exist is left out; one that cannot be
    /// described has the id `UNKNOWN`, and hides no other.
    ///
    /// # Errors
    /// [`PortError`] if the cluster does not answer in time.
    async fn topic_ids(&mut self, topics: &[Arc<str>]) -> Result<BTreeMap<Arc<str>, TopicId>, PortError>;

    /// Ends the client. Bounded; the implementor logs errors.
    async fn close(self: Box<Self>);
}
