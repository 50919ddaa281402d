//! The rights that a link needs on its clusters: one table, [`RIGHTS`].
//!
//! `strait acl print` shows it, and `strait check` takes from it the command that grants what is
//! missing. [`topics`] finds the names of the topics, [`grants()`] joins both, [`commands`] and
//! [`msk`] write the result for Kafka's tool and for Amazon MSK.

pub mod commands;
pub mod grants;
pub mod msk;
mod operation;
#[cfg(test)]
mod tests;
pub mod topics;

pub use grants::{Grant, Names, Pattern, Resource, grants};
pub use operation::Operation;

use crate::config::{DeliveryMode, Link, OnRefused, OnTimestampZero, SyncConfigs};
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
    /// Those that keep offsets of groups.
    KeepsGroups,
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
            Self::KeepsGroups => !link.groups.is_empty(),
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

const fn right(
    on: On,
    operation: Operation,
    (when, need): (When, Need),
    why: &'static str,
    without: &'static str,
) -> Right {
    Right { on, operation, when, need, why, without }
}

/// All rights, in the order in which they are shown.
pub static RIGHTS: [Right; 38] = {
    use Need::{Needed, Sometimes, Useful};
    use On::{
        Group, MirrorPositions, Mm2Topics, OwnTopics, Quarantine, SourceCluster, SourceGroups, SourceHeartbeats,
        SourceTopics, SyncedSourceGroups, SyncedTargetGroups, TargetCluster, TargetGroups, TargetTopics,
        TransactionalIds,
    };
    use Operation::{Alter, AlterConfigs, Create, Delete, Describe, DescribeConfigs, IdempotentWrite, Read, Write};
    use When::{
        Always, AtLeastOnce, BeatsOnSource, ExactlyOnce, KeepsGroups, Manages, ManagesBeatsOnSource, ManagesMm2,
        ManagesQuarantine, Quarantines, ReadsConfigs, SyncsAcls, SyncsConfigs, WritesMm2,
    };
    [
        right(
            SourceTopics,
            Read,
            (Always, Needed),
            "lists the topics, reads their offsets and records",
            "the topic is not seen, and nothing of it is copied",
        ),
        right(
            SourceTopics,
            DescribeConfigs,
            (ReadsConfigs, Useful),
            "target topics are created with the retention and limits of their source topics, and follow their settings",
            "target topics are created that delete nothing, and follow no settings (event metadata_denied)",
        ),
        right(
            Quarantine,
            Write,
            (Quarantines, Needed),
            "keeps refused records",
            "the first record that the target refuses or a plugin rejects stops its partition (event \
             quarantine_failed); on_refused = \"stop\" needs no right to write",
        ),
        right(
            Quarantine,
            Create,
            (ManagesQuarantine, Needed),
            "creates the quarantine topic at the first refused record",
            "that record stops its partition, unless the topic is made by hand",
        ),
        right(
            Quarantine,
            Read,
            (Quarantines, Useful),
            "strait quarantine show and list read the kept records, and replay compares them",
            "show fails, list knows no sizes, and replay does not compare them with the source's",
        ),
        right(
            Quarantine,
            Delete,
            (Quarantines, Sometimes),
            "strait quarantine trim deletes records that are dealt with",
            "trim fails, and they stay as long as the topic keeps them",
        ),
        right(
            SourceHeartbeats,
            Write,
            (BeatsOnSource, Useful),
            "writes heartbeats for MirrorMaker 2's clients (mm2.heartbeats = \"both\")",
            "those clients do not find the source upstream of the target (event mm2_unwritable)",
        ),
        right(
            SourceHeartbeats,
            Create,
            (ManagesBeatsOnSource, Useful),
            "creates the topic of heartbeats",
            "it has to be made by hand (event mm2_unwritable)",
        ),
        right(
            SourceGroups,
            Describe,
            (Always, Sometimes),
            "strait offsets translate --group reads what the group GROUP has committed",
            "one offset at a time can be translated (--topic)",
        ),
        right(
            SourceCluster,
            IdempotentWrite,
            (Quarantines, Sometimes),
            "brokers before Kafka 2.8 ask for it: quarantine is written idempotently",
            "quarantine_failed on such brokers",
        ),
        right(
            SourceCluster,
            DescribeConfigs,
            (Always, Sometimes),
            "strait check reads the brokers' socket buffers, over a line of 5 ms and more",
            "the check says what Kafka's defaults would allow",
        ),
        right(
            SourceCluster,
            Describe,
            (SyncsAcls, Useful),
            "reads the access lists of topics, which those of the target follow",
            "no access list is changed (event metadata_denied)",
        ),
        right(
            TargetTopics,
            Write,
            (Always, Needed),
            "writes the copied records",
            "the partitions of the topic stop (event target_denied)",
        ),
        right(
            TargetTopics,
            Create,
            (Manages, Needed),
            "creates target topics that are missing",
            "partitions without a target topic stop (event target_denied); manage_topics = false leaves it to you",
        ),
        right(
            TargetTopics,
            Alter,
            (Manages, Needed),
            "adds partitions when the source topic has grown",
            "the new partitions stop; manage_topics = false leaves it to you",
        ),
        right(
            TargetTopics,
            DescribeConfigs,
            (Always, Useful),
            "reads the largest record, the timestamps and the replicas that a topic takes",
            "Kafka's defaults are assumed, and larger records are refused",
        ),
        right(
            TargetTopics,
            AlterConfigs,
            (SyncsConfigs, Useful),
            "changes the settings of target topics when those of their source topics change",
            "they keep the settings that they were created with (event metadata_denied); sync.configs = \"none\" needs \
             no such right",
        ),
        right(
            OwnTopics,
            Read,
            (Always, Needed),
            "reads the progress of a lane when it is taken, and what the coordinator of the link says",
            "the link does not begin",
        ),
        right(
            OwnTopics,
            Write,
            (Always, Needed),
            "commits progress and offset map with the records",
            "no transaction commits, and nothing is copied",
        ),
        right(
            OwnTopics,
            Create,
            (Manages, Needed),
            "creates the link's own topics at its first run",
            "the link does not begin, unless they are made by hand; manage_topics = false leaves it to you",
        ),
        right(
            OwnTopics,
            Alter,
            (Always, Useful),
            "adds partitions when strait lanes resize gives the link more lanes",
            "strait lanes resize fails",
        ),
        right(
            OwnTopics,
            DescribeConfigs,
            (Always, Useful),
            "sees settings with which progress would be lost, and the largest batch that fits",
            "such settings are not noticed (event link_topic_unfit)",
        ),
        right(
            Mm2Topics,
            Write,
            (WritesMm2, Useful),
            "writes heartbeats, checkpoints and offset syncs for MirrorMaker 2's clients, as mm2 has them",
            "those clients find nothing new (event mm2_unwritable); the options of mm2 switch them off",
        ),
        right(
            Mm2Topics,
            Create,
            (ManagesMm2, Useful),
            "creates these topics",
            "they have to be made by hand (event mm2_unwritable)",
        ),
        right(
            Mm2Topics,
            DescribeConfigs,
            (WritesMm2, Useful),
            "sees that a topic heartbeats is none of somebody's own",
            "only its number of partitions tells",
        ),
        right(
            Group,
            Read,
            (Always, Needed),
            "shares the lanes among the processes of the link",
            "no process is given a lane (event not_in_group)",
        ),
        right(
            TargetGroups,
            Describe,
            (Always, Sometimes),
            "strait offsets translate --group --inverse reads what the group GROUP has committed",
            "one offset at a time can be translated (--topic)",
        ),
        right(
            TransactionalIds,
            Write,
            (ExactlyOnce, Needed),
            "commits records, progress and map together, and fences former owners of a lane and former coordinators of \
             the link",
            "no lane can be taken",
        ),
        right(
            TransactionalIds,
            Write,
            (AtLeastOnce, Useful),
            "the coordinator of the link writes in transactions, and strait lanes resize moves progress in one",
            "no process coordinates the link, so each lists the source's topics for itself (event coordinator_stuck); \
             strait lanes resize fails",
        ),
        right(
            TargetCluster,
            IdempotentWrite,
            (AtLeastOnce, Sometimes),
            "brokers before Kafka 2.8 ask for it: records are written idempotently",
            "nothing is copied to such brokers",
        ),
        right(
            TargetCluster,
            DescribeConfigs,
            (Always, Sometimes),
            "strait check reads the brokers' socket buffers, over a line of 5 ms and more",
            "the check says what Kafka's defaults would allow",
        ),
        right(
            TargetCluster,
            Describe,
            (SyncsAcls, Useful),
            "reads the access lists of topics, to change what differs",
            "no access list is changed (event metadata_denied)",
        ),
        right(
            TargetCluster,
            Alter,
            (SyncsAcls, Useful),
            "adds entries to the access lists of target topics, and removes its own. Whoever has it can grant anything",
            "no access list is changed (event metadata_denied); sync.acls = false needs no such right",
        ),
        right(
            SyncedSourceGroups,
            Describe,
            (KeepsGroups, Useful),
            "lists the groups that the option groups names, and reads what they have committed",
            "the offsets of the groups that are not seen stay as they are on the target",
        ),
        right(
            SyncedTargetGroups,
            Read,
            (KeepsGroups, Useful),
            "reads and writes the offsets of the groups that the option groups names",
            "nothing is written for them (event group_refused)",
        ),
        right(
            TargetTopics,
            Read,
            (KeepsGroups, Useful),
            "brokers ask for it when offsets of groups are written",
            "no offset in the topic is written (event group_refused)",
        ),
        right(
            TargetTopics,
            Read,
            (Always, Sometimes),
            "strait import … --take-over compares the last copied records with the source's",
            "it fails",
        ),
        right(
            MirrorPositions,
            Read,
            (Always, Sometimes),
            "strait import … --take-over reads the positions of MirrorMaker 2, and Describe on its group (SOURCE-mm2) \
             whether it is empty",
            "it fails",
        ),
    ]
};

/// Returns the right that requests of this kind need.
#[must_use]
pub fn right_of(request: MetadataRight) -> (On, Operation) {
    match request {
        MetadataRight::SourceConfigs => (On::SourceTopics, Operation::DescribeConfigs),
        MetadataRight::TargetConfigs => (On::TargetTopics, Operation::DescribeConfigs),
        MetadataRight::AlterConfigs => (On::TargetTopics, Operation::AlterConfigs),
        MetadataRight::Create => (On::TargetTopics, Operation::Create),
        MetadataRight::Grow => (On::TargetTopics, Operation::Alter),
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
