//! `strait import … --take-over`: a link begins where MirrorMaker 2 has stopped.
//!
//! Its positions are read from the topic in which Kafka Connect keeps them. What it copied after it
//! last wrote them is found by comparing the ends of source and target
//! ([`strait_core::mirror::match_tail`]). The first positions of the link are then written before
//! any process runs it, in one transaction, with its lanes closed meanwhile.

mod compare;
mod positions;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use strait_core::config::{DeliveryMode, GroupSelector};
use strait_core::mirror::{Checkpoints, ConnectorsError, MirrorPositions, Tail};
use strait_core::mm2::Mm2Topic;
use strait_core::progress::{LinkIdentity, Tail as TargetTail};
use strait_core::{PartitionKey, SourceOffset};
use strait_flow::ports::{Class, Discovery as _, PortError, SourceTopic};

use crate::config::ClusterConfig;
use crate::discovery::KafkaDiscovery;
use crate::error::{blocking, own};
use crate::lazy_client::{connect, fail};

/// A flow of MirrorMaker 2, and the link that takes its place.
#[derive(Clone, Debug)]
pub struct TakeOverSpec {
    /// Name of the link.
    pub link: String,
    /// Alias of the source cluster at MirrorMaker 2.
    pub alias: String,
    /// The topic on the target with its positions.
    pub offsets_topic: String,
    /// The group of its workers on the target.
    pub group: String,
    /// The connector to take over from, where several have copied from the source.
    pub connector: Option<String>,
    /// Whether it copied committed records alone.
    pub reads_committed: bool,
    /// Whether records are on the target as they are at the source, so that they can be compared.
    pub copies_as_they_are: bool,
    /// Whether it began at the end of partitions that it has no position in.
    pub begins_at_end: bool,
    /// Delivery guarantee of the link.
    pub delivery: DeliveryMode,
    /// The groups whose offsets the link keeps; `None` if it keeps none.
    pub groups: Option<GroupSelector>,
    /// The ends of the link. The id of the source cluster is asked for.
    pub identity: LinkIdentity,
    /// A random number that stands for this process.
    pub process: u32,
}

/// Why a link does not take over.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TakeOverError {
    /// The target has no such topic.
    #[error(
        "cluster {cluster} has no topic {topic}, in which MirrorMaker 2 keeps its positions: see that the file has the same offset.storage.topic as it"
    )]
    NoTopic {
        /// Name of the target cluster.
        cluster: String,
        /// The topic.
        topic: String,
    },
    /// The positions are not those of one connector.
    #[error(transparent)]
    Connectors(#[from] ConnectorsError),
    /// MirrorMaker 2 is at work.
    #[error("MirrorMaker 2 is running: {what} while it was looked at; stop it, or its connector, then run this again")]
    Running {
        /// The thing that has moved.
        what: String,
    },
    /// The link has begun already.
    #[error(
        "link {link} has progress already, which a take-over would replace: strait run continues from there. To take over all the same, give the link another name, or stop its processes and delete its topics strait.{link}.*"
    )]
    HasProgress {
        /// Name of the link.
        link: String,
    },
    /// A process runs the link.
    #[error("link {link} is being run ({}): stop every process of it first", .members.join(", "))]
    LinkRuns {
        /// Name of the link.
        link: String,
        /// Client ids of the group's members.
        members: Vec<String>,
    },
    /// A request failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// A partition of the source, and where its copying continues.
#[derive(Clone, Debug, PartialEq)]
pub struct TakenOver {
    /// The partition.
    pub key: PartitionKey,
    /// The last offset that MirrorMaker 2 had written as copied.
    pub written: Option<i64>,
    /// The next offset to copy; `None` leaves it to the link's `start`.
    pub next: Option<SourceOffset>,
    /// The log's bounds at the source.
    pub bounds: (i64, i64),
    /// The result of the comparison of the ends. `None` without one.
    pub tail: Option<Tail>,
    /// The end of the target partition.
    pub target: Option<TargetTail>,
}

/// The findings that a take-over writes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// The partitions of the topics that the link copies.
    pub partitions: Vec<TakenOver>,
    /// Positions of topics that the link does not copy, or that are gone.
    pub others: usize,
}

/// A take-over.
pub struct TakeOver {
    spec: TakeOverSpec,
    source: ClusterConfig,
    target: ClusterConfig,
    timeout: Duration,
}

impl TakeOver {
    /// Prepares a take-over. A request may take `timeout`, and so long may a reading go without a
    /// new record.
    #[must_use]
    pub fn new(source: &ClusterConfig, target: &ClusterConfig, spec: TakeOverSpec, timeout: Duration) -> Self {
        Self { spec, source: source.clone(), target: target.clone(), timeout }
    }

    fn context(&self) -> String {
        format!("link {}: taking over from MirrorMaker 2", self.spec.link)
    }

    /// Returns the client ids of the workers of MirrorMaker 2.
    ///
    /// # Errors
    /// [`PortError`].
    pub async fn workers(&self) -> Result<Vec<String>, PortError> {
        self.members(self.spec.group.clone()).await
    }

    async fn members(&self, group: String) -> Result<Vec<String>, PortError> {
        let (target, context, timeout) = (self.target.clone(), self.context(), self.timeout);
        let label = format!("{}/takeover", self.spec.link);
        blocking(&self.context(), move || {
            let client = connect(&target, &label).map_err(|error| fail(&context, &error, None))?;
            client.group_members(&group, timeout).map_err(|error| fail(&context, &error, Some(&client)))
        })
        .await?
    }

    /// Reads the positions of MirrorMaker 2: what is committed of all partitions of its topic.
    ///
    /// # Errors
    /// [`TakeOverError`].
    pub async fn positions(&self) -> Result<MirrorPositions, TakeOverError> {
        let reading = positions::Reading {
            cluster: self.target.clone(),
            link: self.spec.link.clone(),
            topic: self.spec.offsets_topic.clone(),
            context: self.context(),
            timeout: self.timeout,
        };
        blocking(&self.context(), move || reading.read()).await?
    }

    /// Returns the topics that the link copies.
    ///
    /// # Errors
    /// [`PortError`].
    pub async fn topics(&self, include: &[String], exclude: &[String]) -> Result<Vec<SourceTopic>, PortError> {
        let discovery = KafkaDiscovery::new(&self.source, &self.spec.link, include, exclude, self.timeout)?;
        Ok(discovery.topics().await?.listed)
    }

    /// Reads where MirrorMaker 2 has put the groups that the link keeps. Without its topic there
    /// are none.
    ///
    /// # Errors
    /// [`PortError`].
    pub async fn checkpoints(&self) -> Result<Checkpoints, PortError> {
        let Some(selector) = self.spec.groups.clone() else { return Ok(Checkpoints::default()) };
        let reading = positions::Reading {
            cluster: self.target.clone(),
            link: self.spec.link.clone(),
            topic: Mm2Topic::Checkpoints.name(&self.spec.alias),
            context: self.context(),
            timeout: self.timeout,
        };
        blocking(&self.context(), move || reading.read_checkpoints(&selector)).await?
    }

    /// Finds where each partition continues. `topics` are those that the link copies, each with its
    /// name on the target.
    ///
    /// # Errors
    /// [`TakeOverError`].
    pub async fn find(
        &self,
        positions: &MirrorPositions,
        topics: Vec<(SourceTopic, Option<String>)>,
    ) -> Result<Findings, TakeOverError> {
        let written = positions.of(&self.spec.alias, self.spec.connector.as_deref())?;
        let comparing = compare::Comparing {
            spec: self.spec.clone(),
            source: self.source.clone(),
            target: self.target.clone(),
            context: self.context(),
            timeout: self.timeout,
        };
        Ok(blocking(&self.context(), move || comparing.all(&written, topics)).await??)
    }

    /// Looks whether MirrorMaker 2 has written anything since.
    ///
    /// # Errors
    /// [`TakeOverError::Running`] if it has.
    pub async fn check_at_rest(&self, positions: &MirrorPositions, found: &Findings) -> Result<(), TakeOverError> {
        if self.positions().await? != *positions {
            return Err(TakeOverError::Running { what: format!("its positions in {} moved", self.spec.offsets_topic) });
        }
        let ends: BTreeMap<(Arc<str>, i32), i64> = found
            .partitions
            .iter()
            .filter_map(|partition| partition.target.as_ref())
            .map(|tail| ((Arc::clone(&tail.topic), tail.partition), tail.end.0))
            .collect();
        let (target, context, timeout) = (self.target.clone(), self.context(), self.timeout);
        let label = format!("{}/takeover", self.spec.link);
        let moved =
            blocking(&self.context(), move || compare::moved(&target, &label, &context, &ends, timeout)).await??;
        match moved {
            Some((topic, partition)) => {
                Err(TakeOverError::Running { what: format!("{topic}-{partition} of the target grew") })
            }
            None => Ok(()),
        }
    }

    /// Writes the first positions of the link, and where the groups are. Its own topics must exist,
    /// with `lanes` lanes, and `topics` are those that it copies.
    ///
    /// # Errors
    /// [`TakeOverError`]. After [`TakeOverError::Port`] the link may stay closed until this is run
    /// again.
    pub async fn write(
        &self,
        (found, checkpoints): (&Findings, &Checkpoints),
        topics: &[SourceTopic],
        lanes: u32,
    ) -> Result<usize, TakeOverError> {
        if !self.target.has_idempotence() {
            let reason = format!("cluster {} has no transactions, in which positions are written", self.target.name);
            return Err(own(Class::Stop, self.context(), reason).into());
        }
        write::Writing { take_over: self, lanes }.write((found, checkpoints), topics).await
    }
}
