//! What a lane needs of the world. `strait-kafka` and `strait-host` implement these; so does the simulation.
//!
//! The ports speak in batches and runs, never assume librdkafka, and are object safe: a lane holds `Box<dyn …>`, so that
//! its code reads without type parameters. A call that may wait is async; every such call is bounded by its implementor.

mod chain;
mod source;
mod target;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
pub use chain::{Chain, ChainError, ChainFactory, Next, WarmUp};
pub use source::{Fetched, LogBounds, ReadEpoch, ReadFailure, ReadFrom, Source, StartAt};
use strait_core::progress::LaneProgress;
use strait_core::{Event, Generation, LaneId, PartitionKey, RecordRef, TopicId};
pub use target::{
    DeliveryReport, OutHeaders, Outgoing, ProduceError, ProducerSlot, ReleaseHint, Taken, Target, TargetEvent,
    TargetTopic, Token, TopicHandle,
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

/// Reads what lanes have committed.
#[async_trait]
pub trait ProgressStore: Send + Sync {
    /// All that is committed in the lane's partition of the progress topic. Asked by the owner of a lane, it also waits for
    /// what a predecessor has asked to commit: the lane is taken before.
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
    async fn write(&mut self, records: &[QuarantineRecord<'_>]) -> Result<(), PortError>;
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

    /// The lane may have been with another process: nothing that was learnt of its transactional ids holds any more.
    fn forget(&self, lane: LaneId) {
        let _ = lane;
    }

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
