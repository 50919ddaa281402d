//! The ports: everything that a lane needs of the world. The crates above this one implement them
//! for real clusters and plugins, and `tests/sim` for simulated ones.
//!
//! The ports pass batches and runs, assume no client library, and are object safe: a lane holds
//! `Box<dyn …>`, so its code has no type parameters. A call that may wait is async, and its
//! implementor bounds the wait.

mod books;
mod chain;
mod control;
mod groups;
mod mm2;
mod planner;
mod source;
mod target;

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
pub use books::{BooksReader, OpenCount};
pub use chain::{BorderCopies, Chain, ChainError, ChainFactory, Next, WarmUp};
pub use control::{ControlEntry, ControlLog, ControlTail, ControlWriter, LinkWork, Now};
pub use groups::{GroupList, GroupMap, GroupOffsets};
pub use mm2::{CheckpointSink, GroupAnswer, MapFeed, MapNews, MapTail, Mm2Record, Mm2Writer};
pub use planner::Planner;
pub use source::{Fetched, LogBounds, ReadEpoch, ReadFailure, ReadFrom, Source, StartAt};
use strait_core::books::KeptAt;
use strait_core::progress::LaneProgress;
use strait_core::{Event, Generation, LaneId, PartitionKey, RecordRef, TopicId};
pub use target::{
    BooksAnswer, ControlRecord, ControlTopic, DeliveryReport, OutHeaders, Outgoing, ProduceError, ProducerSlot,
    ReleaseHint, Taken, Target, TargetEvent, TargetTopic, Token, TopicAnswer, TopicHandle, WantedTopic,
};
use tokio::sync::oneshot;

/// How to treat a failed port call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It may pass: take the lane again after a wait.
    Retry,
    /// Another owner has the lane's ids: wait, then take the lane again, unless the group has taken
    /// it away meanwhile (decision 22).
    Fenced,
    /// The cluster refuses the login, although this process has logged in to it before: wait for
    /// long before the next attempt.
    Login,
    /// Waiting does not cure it (no permission, bad credentials, incompatible stored state): report
    /// it at once and retry rarely.
    Stop,
}

/// A failed port call.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{context}: {reason}")]
pub struct PortError {
    /// How to treat it.
    pub class: Class,
    /// The operation, with its coordinates (cluster, topic, partition, transactional id).
    pub context: String,
    /// The answer of the other side, and the remedy if it is known.
    pub reason: String,
    /// The error that caused it, if there is one below the port. Its text is part of `reason`.
    pub source: Option<Arc<dyn Error + Send + Sync>>,
}

impl PortError {
    /// Creates an error without a cause below the port.
    #[must_use]
    pub fn new(class: Class, context: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { class, context: context.into(), reason: reason.into(), source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(self, source: impl Error + Send + Sync + 'static) -> Self {
        Self { source: Some(Arc::new(source)), ..self }
    }
}

/// Reads what lanes have committed.
#[async_trait]
pub trait ProgressStore: Send + Sync {
    /// Returns everything that is committed in the lane's partition of the progress topic. For the
    /// owner of a taken lane, it waits for commits that a previous owner has asked for.
    ///
    /// # Errors
    /// [`PortError`]; class `Stop` if a record cannot be decoded.
    async fn read(&self, lane: LaneId) -> Result<LaneProgress, PortError>;

    /// Returns where the progress of each lane ends in its topic, or why that is not known. A lane
    /// at work moves it.
    ///
    /// # Errors
    /// [`PortError`] if the target as a whole does not answer.
    async fn ends(&self, lanes: u32) -> Result<BTreeMap<LaneId, Result<i64, String>>, PortError>;

    /// Returns what is committed in the lanes that have a record. The others, as all of a new link,
    /// have written nothing.
    ///
    /// # Errors
    /// [`PortError`].
    async fn read_written(&self, lanes: u32) -> Result<Vec<LaneProgress>, PortError> {
        let ends = self.ends(lanes).await?;
        let mut written = Vec::new();
        for lane in (0..lanes).map(LaneId).filter(|lane| ends.get(lane) != Some(&Ok(0))) {
            written.push(self.read(lane).await?);
        }
        Ok(written)
    }

    /// Counts what shows that the target answers, to any client of this process; it stays 0 where
    /// that is not counted.
    fn answers(&self) -> u64 {
        0
    }
}

/// A record for the quarantine topic on the source cluster.
#[derive(Debug)]
pub struct QuarantineRecord<'a> {
    /// The source partition.
    pub partition: &'a PartitionKey,
    /// The record, as read.
    pub record: RecordRef<'a>,
    /// The name of the plugin that refused it, or `target` or `strait`.
    pub by: &'a str,
    /// Digest of the plugin's file, if it was a plugin: `sha256:` and 64 hexadecimal digits.
    pub digest: Option<&'a str>,
    /// A stable code of the reason.
    pub code: &'a str,
    /// Detail for the operator.
    pub text: &'a str,
    /// The plugins that judged the batch.
    pub generation: &'a Generation,
}

/// Writes refused records to the source side.
#[async_trait]
pub trait Quarantine: Send {
    /// Connects, and creates what is missing, ahead of the first record.
    ///
    /// # Errors
    /// [`PortError`]: a refused record would stop its partition.
    async fn prepare(&mut self) -> Result<(), PortError> {
        Ok(())
    }

    /// Writes records and returns once every one is acknowledged by all replicas in sync, with the
    /// place of each. Nothing that passes them may be committed before that.
    ///
    /// # Errors
    /// [`PortError`]: none of them counts as written.
    async fn write(&mut self, records: &[QuarantineRecord<'_>]) -> Result<Vec<KeptAt>, PortError>;
}

/// Creates the clients of a lane.
#[async_trait]
pub trait LaneConnector: Send + Sync {
    /// Returns a reader of the source.
    ///
    /// # Errors
    /// [`PortError`].
    async fn source(&self, lane: LaneId) -> Result<Box<dyn Source>, PortError>;

    /// Returns a writer to the target. It owns no id before [`Target::take`].
    ///
    /// # Errors
    /// [`PortError`].
    async fn target(&self, lane: LaneId) -> Result<Box<dyn Target>, PortError>;

    /// Forgets what is known of the lane's transactional ids: another process may have had the
    /// lane.
    fn forget(&self, lane: LaneId) {
        let _ = lane;
    }

    /// Returns once a login that was refused may be taken: it has changed since the call. Without
    /// such logins it never returns.
    async fn login_changed(&self) {
        std::future::pending().await
    }

    /// Returns a writer to the quarantine topic.
    ///
    /// # Errors
    /// [`PortError`].
    async fn quarantine(&self, lane: LaneId) -> Result<Box<dyn Quarantine>, PortError>;
}

/// Changes of this process's lanes, as the group reports them.
#[derive(Debug)]
pub enum MembershipEvent {
    /// These lanes are ours now, in addition to those that we have. Empty if others have them all.
    Assigned(Vec<LaneId>),
    /// These lanes must be given up. Answer when their work is committed or aborted; the group
    /// waits a few seconds only.
    Revoked(Vec<LaneId>, oneshot::Sender<()>),
    /// These lanes are gone already: another process may own them.
    Lost(Vec<LaneId>),
    /// This process is a member, and the group's coordinator answers. Comes every few seconds.
    Member,
    /// The group cannot be reached or refuses us. It retries, and lanes go on: fencing keeps them
    /// safe. Comes every few seconds.
    Trouble(PortError),
    /// No other event comes.
    Ended(PortError),
}

/// Membership in the link's group, which assigns lanes to processes.
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
    /// Id of this incarnation.
    pub id: TopicId,
    /// Number of partitions.
    pub partitions: i32,
}

/// The source topics of a link.
#[derive(Clone, Debug, Default)]
pub struct SourceTopics {
    /// The selected topics as they are now, sorted by name.
    pub listed: Vec<SourceTopic>,
    /// Topics that cannot be described, each with the reason. They may exist.
    pub hidden: BTreeMap<Arc<str>, PortError>,
    /// Topics that the configuration names and that do not exist, each with the topic that may be
    /// meant.
    pub missing: BTreeMap<Arc<str>, Option<Arc<str>>>,
}

impl SourceTopics {
    /// Returns why nothing of a missing topic is copied.
    #[must_use]
    pub fn reason_missing(meant: Option<&Arc<str>>) -> String {
        let meant = meant.map(|meant| format!("; did you mean '{meant}'?")).unwrap_or_default();
        format!("the source has no topic of this name{meant}")
    }
}

/// The answer to a question about the log bounds of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoundsAnswer {
    /// The bounds.
    Known(LogBounds),
    /// The partition does not exist.
    Gone,
    /// Its leader gave no bounds, and why.
    Failed(String),
}

/// Watches the source of a link: its topics and their log bounds.
#[async_trait]
pub trait Discovery: Send + Sync {
    /// Returns the selected topics. One that cannot be described hides no other.
    ///
    /// # Errors
    /// [`PortError`].
    async fn topics(&self) -> Result<SourceTopics, PortError>;

    /// Reads the log bounds of partitions, of each by itself: one that has no leader or may not be
    /// read hides no other.
    ///
    /// # Errors
    /// [`PortError`] if the cluster as a whole does not answer.
    async fn bounds(&self, partitions: &[PartitionKey]) -> Result<BTreeMap<PartitionKey, BoundsAnswer>, PortError>;

    /// Counts what shows that the source answers, to any client of this process; it stays 0 where
    /// that is not counted.
    fn answers(&self) -> u64 {
        0
    }
}

/// The time. `tokio::time` measures waits; this reads clocks.
pub trait Clock: Send + Sync {
    /// Returns the monotonic time since some start.
    fn now(&self) -> Duration;
    /// Returns milliseconds since the Unix epoch.
    fn unix_ms(&self) -> i64;
}

/// Takes events. It never waits and never fails.
pub trait EventSink: Send + Sync {
    /// Reports an event of a link.
    fn emit(&self, link: &str, event: Event);
}
