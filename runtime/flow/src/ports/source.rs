//! The reading side.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use strait_core::{Batch, LeaderEpoch, PartitionKey, SourceOffset, TopicId};

use super::PortError;

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
