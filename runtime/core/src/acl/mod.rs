//! The rights that a link needs on its clusters: one table, [`RIGHTS`].
//!
//! `strait acl print` shows it, and `strait check` takes from it the command that grants what is
//! missing. [`topics`] finds the names of the topics, [`grants()`] joins both, [`commands`] and
//! [`msk`] write the result for Kafka's tool and for Amazon MSK.

pub mod commands;
pub mod grants;
pub mod msk;
mod operation;
mod table;
#[cfg(test)]
mod tests;
pub mod topics;

pub use grants::{Grant, Names, Pattern, Resource, grants};
pub use operation::Operation;
pub use table::RIGHTS;

use crate::config::{DeliveryMode, Link, OnDeleted, OnRefused, OnTimestampZero, SyncConfigs};
use crate::event::{MetadataRight, Side};
use crate::mm2::Mm2Topic;

/// The beginning of the transactional ids of all links.
const IDS: &str = "strait";

/// The thing that a right is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum On {
    /// The topics that the link copies.
    SourceTopics,
    /// The link's quarantine topic.
    Quarantine,
    /// The topic for MirrorMaker 2's clients on the source: `heartbeats`.
    SourceHeartbeats,
    /// Consumer groups of the source that an operator asks for.
    SourceGroups,
    /// Consumer groups of the source whose offsets the link keeps on the target.
    SyncedSourceGroups,
    /// The source cluster.
    SourceCluster,
    /// The topics that the link writes.
    TargetTopics,
    /// The link's own topics on the target: progress, offset map, books, control.
    OwnTopics,
    /// The topics for MirrorMaker 2's clients on the target.
    Mm2Topics,
    /// The link's consumer group.
    Group,
    /// Consumer groups of the target that an operator asks for.
    TargetGroups,
    /// Consumer groups of the target whose offsets the link keeps.
    SyncedTargetGroups,
    /// The topic in which MirrorMaker 2 keeps its positions.
    MirrorPositions,
    /// The link's transactional ids.
    TransactionalIds,
    /// The target cluster.
    TargetCluster,
}

impl On {
    /// Returns the end of the link at which it is.
    #[must_use]
    pub fn side(self) -> Side {
        match self {
            Self::SourceTopics
            | Self::Quarantine
            | Self::SourceHeartbeats
            | Self::SourceGroups
            | Self::SyncedSourceGroups
            | Self::SourceCluster => Side::Source,
            Self::TargetTopics
            | Self::OwnTopics
            | Self::Mm2Topics
            | Self::Group
            | Self::TargetGroups
            | Self::SyncedTargetGroups
            | Self::MirrorPositions
            | Self::TransactionalIds
            | Self::TargetCluster => Side::Target,
        }
    }
}

/// The links that need a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// All.
    Always,
    /// Those with `manage_topics`.
    Manages,
    /// Those that write refused records to quarantine.
    Quarantines,
    /// Those that do both.
    ManagesQuarantine,
    /// Those that deliver exactly once.
    ExactlyOnce,
    /// Those that deliver at least once.
    AtLeastOnce,
    /// Those whose target topics are created like their source topics, or follow them.
    ReadsConfigs,
    /// Those whose target topics follow the settings of their source topics.
    SyncsConfigs,
    /// Those whose target topics follow the access lists of their source topics.
    SyncsAcls,
    /// Those that delete target topics whose source topics are deleted.
    Deletes,
    /// Those that keep offsets of groups.
    KeepsGroups,
    /// Those of them that write these offsets on the target.
    WritesGroups,
    /// Those that write for MirrorMaker 2's clients on the target.
    WritesMm2,
    /// Those of them with `manage_topics`.
    ManagesMm2,
    /// Those that write heartbeats on the source.
    BeatsOnSource,
    /// Those of them with `manage_topics`.
    ManagesBeatsOnSource,
}

impl When {
    /// Returns whether the link is one of them.
    #[must_use]
    pub fn is(self, link: &Link) -> bool {
        match self {
            Self::Always => true,
            Self::Manages => link.manage_topics,
            Self::Quarantines => uses_quarantine(link),
            Self::ManagesQuarantine => link.manage_topics && uses_quarantine(link),
            Self::ExactlyOnce => link.delivery == DeliveryMode::ExactlyOnce,
            Self::AtLeastOnce => link.delivery == DeliveryMode::AtLeastOnce,
            Self::ReadsConfigs => link.manage_topics || link.sync.configs != SyncConfigs::None,
            Self::SyncsConfigs => link.sync.configs != SyncConfigs::None,
            Self::SyncsAcls => link.sync.acls,
            Self::Deletes => link.on_deleted == OnDeleted::Delete,
            Self::KeepsGroups => !link.groups.is_empty(),
            Self::WritesGroups => !link.groups.is_empty() && link.sync.groups,
            Self::WritesMm2 => mm2_topics(link, Side::Target).next().is_some(),
            Self::ManagesMm2 => link.manage_topics && Self::WritesMm2.is(link),
            Self::BeatsOnSource => mm2_topics(link, Side::Source).next().is_some(),
            Self::ManagesBeatsOnSource => link.manage_topics && Self::BeatsOnSource.is(link),
        }
    }
}

/// The weight of a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Records are not copied without it, at once or later.
    Needed,
    /// The link continues without it, in a worse way.
    Useful,
    /// It counts in the case that its reason names. It is shown, not granted.
    Sometimes,
}

impl Need {
    /// Returns the name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Needed => "needed",
            Self::Useful => "useful",
            Self::Sometimes => "sometimes",
        }
    }
}

/// A right that links need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// The thing that it is on.
    pub on: On,
    /// The operation. Read, Write and Alter include Describe.
    pub operation: Operation,
    /// The links that need it.
    pub when: When,
    /// Its weight.
    pub need: Need,
    /// The use that Strait makes of it.
    pub why: &'static str,
    /// The harm of its absence.
    pub without: &'static str,
}

/// Returns the right that requests of this kind need.
#[must_use]
pub fn right_of(request: MetadataRight) -> (On, Operation) {
    match request {
        MetadataRight::SourceConfigs => (On::SourceTopics, Operation::DescribeConfigs),
        MetadataRight::TargetConfigs => (On::TargetTopics, Operation::DescribeConfigs),
        MetadataRight::AlterConfigs => (On::TargetTopics, Operation::AlterConfigs),
        MetadataRight::Create => (On::TargetTopics, Operation::Create),
        MetadataRight::Grow => (On::TargetTopics, Operation::Alter),
        MetadataRight::Delete => (On::TargetTopics, Operation::Delete),
        MetadataRight::SourceAcls => (On::SourceCluster, Operation::Describe),
        MetadataRight::TargetAcls => (On::TargetCluster, Operation::Describe),
        MetadataRight::AlterAcls => (On::TargetCluster, Operation::Alter),
    }
}

/// Returns the topics that the link writes for MirrorMaker 2's clients at one end.
pub(crate) fn mm2_topics(link: &Link, side: Side) -> impl Iterator<Item = Mm2Topic> {
    let options = link.mm2;
    let is_here = move |topic: &Mm2Topic| topic.is_on_source() == (side == Side::Source) && options.writes(*topic);
    Mm2Topic::ALL.into_iter().filter(is_here)
}

/// Returns whether the link writes refused records to quarantine.
#[must_use]
pub fn uses_quarantine(link: &Link) -> bool {
    link.on_refused == OnRefused::Quarantine || link.on_timestamp_zero == OnTimestampZero::Quarantine
}
