//! The one table of rights.

use super::{Need, On, Operation, Right, When};

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
pub static RIGHTS: [Right; 39] = {
    use Need::{Needed, Sometimes, Useful};
    use On::{
        Group, MirrorPositions, Mm2Topics, OwnTopics, Quarantine, SourceCluster, SourceGroups, SourceHeartbeats,
        SourceTopics, SyncedSourceGroups, SyncedTargetGroups, TargetCluster, TargetGroups, TargetTopics,
        TransactionalIds,
    };
    use Operation::{Alter, AlterConfigs, Create, Delete, Describe, DescribeConfigs, IdempotentWrite, Read, Write};
    use When::{
        Always, AtLeastOnce, BeatsOnSource, Deletes, ExactlyOnce, KeepsGroups, Manages, ManagesBeatsOnSource,
        ManagesMm2, ManagesQuarantine, Quarantines, ReadsConfigs, SyncsAcls, SyncsConfigs, WritesGroups, WritesMm2,
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
            TargetTopics,
            Delete,
            (Deletes, Useful),
            "deletes target topics that the link has created and whose source topics are deleted (on_deleted)",
            "they stay (event metadata_denied); on_deleted = \"keep\" needs no such right",
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
            (WritesGroups, Useful),
            "reads and writes the offsets of the groups that the option groups names",
            "nothing is written for them (event group_refused)",
        ),
        right(
            TargetTopics,
            Read,
            (WritesGroups, Useful),
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
