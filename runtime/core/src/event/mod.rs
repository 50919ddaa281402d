//! Events for the operator, as types with coordinates, for logs, status, metrics and tests.

mod access;
mod border;
mod chain;
mod coordinator;
mod facts;
mod groups;
mod loops;
mod mm2;
mod new_topics;
mod outage;
mod side;
mod sync;
mod words;

use std::sync::Arc;

pub use self::access::AccessEvent;
pub use self::border::BorderEvent;
pub use self::chain::ChainEvent;
pub use self::coordinator::CoordinatorEvent;
pub use self::facts::Severity;
pub use self::groups::GroupEvent;
pub use self::loops::LoopEvent;
pub use self::mm2::Mm2Event;
pub use self::new_topics::NewTopicsRefused;
pub use self::outage::Outage;
pub use self::side::Side;
pub use self::sync::{MetadataRight, SyncEvent};
use crate::offset::{LeaderEpoch, SourceOffset};
use crate::topic::{PartitionKey, TopicId};
use words::{again, and_others, at, batch_size, end, until};

/// An event on a link, with the partition and offsets, or the lane or generation, concerned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Event {
    /// Retention deleted records before they were read.
    #[error("{partition}: retention overtook the link: next offset {expected}, but the log starts at {log_start}; {} records are gone", log_start.0 - expected.0)]
    RetentionOverrun {
        /// The source partition.
        partition: PartitionKey,
        /// The offset that the link would have read next.
        expected: SourceOffset,
        /// The first offset that still exists in the log.
        log_start: SourceOffset,
    },
    /// An unclean election took entries below the link's position: records that were copied no
    /// longer exist at the source, and others may have their offsets.
    #[error(
        "{partition}: the source log was truncated at offset {log_end}, and the next offset is {expected}: what was read from {log_end} on no longer exists, and other records may be in its place"
    )]
    Truncated {
        /// The source partition.
        partition: PartitionKey,
        /// The offset that the link would have read next.
        expected: SourceOffset,
        /// Where the log that was read ends.
        log_end: SourceOffset,
    },
    /// The topic has another id than before: it was deleted and created again.
    #[error("{partition}: the topic was deleted and created again (id {} before, {found} now); the old one was copied up to offset {position}", partition.topic_id)]
    TopicRecreated {
        /// The source partition of the old incarnation.
        partition: PartitionKey,
        /// The topic's current id.
        found: TopicId,
        /// The next offset of the old incarnation.
        position: SourceOffset,
    },
    /// A leader epoch fell: another incarnation of the topic, or an unclean election.
    #[error("{partition}: the leader epoch fell from {seen} to {found} at offset {offset}")]
    EpochRegression {
        /// The source partition.
        partition: PartitionKey,
        /// The largest epoch so far.
        seen: LeaderEpoch,
        /// The record's leader epoch.
        found: LeaderEpoch,
        /// The record's offset.
        offset: SourceOffset,
    },
    /// The source returned an offset that was already read.
    #[error("{partition}: the source went back: expected offset {expected} or later, received {found}")]
    OffsetRegression {
        /// The source partition.
        partition: PartitionKey,
        /// The smallest valid offset.
        expected: SourceOffset,
        /// The offset received.
        found: SourceOffset,
    },
    /// A transaction at the source stays open. Readers of committed data cannot pass it.
    #[error(
        "{partition}: a transaction has been open for {open_secs} s at offset {first_offset}; readers of committed records, including this link, cannot pass it (kafka-transactions.sh find-hanging names its producer)"
    )]
    HangingTransaction {
        /// The source partition.
        partition: PartitionKey,
        /// The last stable offset, which is the first offset of the transaction.
        first_offset: SourceOffset,
        /// How long the last stable offset has not moved, in seconds.
        open_secs: u64,
    },
    /// A source partition no longer exists.
    #[error("{partition}: the source topic or partition is gone; copied up to offset {position}")]
    SourceGone {
        /// The source partition.
        partition: PartitionKey,
        /// The next offset that would have been read.
        position: SourceOffset,
    },
    /// The source does not allow our principal to read the partition.
    #[error("{partition}: the source does not allow reads: {reason}; next attempt in {retry_ms} ms")]
    SourceDenied {
        /// The source partition.
        partition: PartitionKey,
        /// The broker's error, and what to do.
        reason: String,
        /// Time until the next attempt, in milliseconds.
        retry_ms: u64,
    },
    /// A source partition cannot be read now: it has no leader, its broker does not answer, or
    /// reading fails. Other partitions continue.
    #[error("{partition}: cannot be read: {reason}; other partitions continue, next attempt in {retry_ms} ms")]
    SourceUnavailable {
        /// The source partition.
        partition: PartitionKey,
        /// The cause, as far as it is known.
        reason: String,
        /// Time until the next attempt, in milliseconds.
        retry_ms: u64,
    },
    /// The next batch of a source partition is larger than the link takes.
    #[error("{partition}: stopped at offset {offset}: {}, and this link takes {limit} bytes at most; raise memory_mib_max, half of which is that limit, and restart", batch_size(*bytes))]
    SourceBatchTooLarge {
        /// The source partition.
        partition: PartitionKey,
        /// The next offset, which the batch contains.
        offset: SourceOffset,
        /// Size of the response with the batch, in bytes; `None` if the batch is too large only
        /// once it is decompressed.
        bytes: Option<u64>,
        /// The most that the link takes, in bytes.
        limit: u64,
    },
    /// A batch, or a record, of a source partition is damaged, and the policy for it is `stop`.
    #[error("{partition}: stopped at offset {offset}, which is damaged at the source{}: {reason}; repair it (another replica may be sound), delete the records up to there, or set on_corrupt = \"skip\"", until(*end))]
    SourceCorrupt {
        /// The source partition.
        partition: PartitionKey,
        /// The next offset, which cannot be read.
        offset: SourceOffset,
        /// The first offset behind the damage, if it is known.
        end: Option<SourceOffset>,
        /// The damage.
        reason: String,
    },
    /// Damaged offsets of a source partition were skipped, because `on_corrupt` is `skip`.
    #[error("{partition}: skipped offset {offset}, which is damaged at the source{} (on_corrupt = \"skip\"): {reason}", until(Some(*end)))]
    CorruptSkipped {
        /// The source partition.
        partition: PartitionKey,
        /// The first offset that was skipped.
        offset: SourceOffset,
        /// The next offset that is read.
        end: SourceOffset,
        /// The damage.
        reason: String,
    },
    /// An operator has moved the position of a partition (`strait partitions skip`).
    #[error("{partition}: moved from offset {from} to {to} by {by}: what lies between is not copied")]
    Skipped {
        /// The source partition.
        partition: PartitionKey,
        /// The position before.
        from: SourceOffset,
        /// The new position.
        to: SourceOffset,
        /// Who moved it.
        by: Arc<str>,
    },
    /// The target topic has too few partitions, and Strait could not add them.
    #[error(
        "{partition}: target topic {target_topic} has {found} partitions, {needed} are needed ({reason}); add partitions to it (Strait never merges partitions)"
    )]
    TargetPartitionsMissing {
        /// The source partition.
        partition: PartitionKey,
        /// The target topic.
        target_topic: Arc<str>,
        /// The number of partitions that the target topic has.
        found: u32,
        /// The number of partitions that it needs.
        needed: u32,
        /// Why Strait could not add them.
        reason: String,
    },
    /// The target does not allow our principal to create the topic or write to it.
    #[error("{partition}: target topic {target_topic} cannot be written: {reason}")]
    TargetDenied {
        /// The source partition.
        partition: PartitionKey,
        /// The target topic.
        target_topic: Arc<str>,
        /// The broker's error, and what to do.
        reason: String,
    },
    /// The target refuses to create the topic. The lane continues without the partitions that need
    /// it.
    #[error("{partition}: target topic {target_topic} cannot be created: {reason}; will retry")]
    TargetTopicRefused {
        /// The source partition.
        partition: PartitionKey,
        /// The target topic.
        target_topic: Arc<str>,
        /// The broker's error, and what to do.
        reason: String,
    },
    /// A target topic that the link has written to was deleted, and maybe created again.
    #[error(
        "{partition}: target topic {target_topic} (id {was}) was deleted{}; the partition was copied there up to offset {position}. Nothing is created or copied anew on its own: see on_target_recreated", again(*found)
    )]
    TargetRecreated {
        /// The source partition.
        partition: PartitionKey,
        /// The target topic.
        target_topic: Arc<str>,
        /// Its id when the partition was copied there.
        was: TopicId,
        /// Its present id, if it exists.
        found: Option<TopicId>,
        /// The next offset of the partition.
        position: SourceOffset,
    },
    /// A partition is copied again from the start of its log, because its target topic is another
    /// one and `on_target_recreated` is `recopy`.
    #[error(
        "{partition}: target topic {target_topic} is not the one (id {was}) that the partition was copied to up to offset {position}; copying it again from the start of its log (on_target_recreated = \"recopy\")"
    )]
    TargetRecopied {
        /// The source partition.
        partition: PartitionKey,
        /// The target topic.
        target_topic: Arc<str>,
        /// Its id when the partition was copied there.
        was: TopicId,
        /// The next offset of the partition until now.
        position: SourceOffset,
    },
    /// A target topic was created without its source topic's settings, because those could not be
    /// read.
    #[error(
        "target topic {target_topic} was created with cleanup.policy=delete and retention.ms=-1, so that it keeps every record: the settings of source topic {source_topic} cannot be read ({reason}); grant DescribeConfigs on the source topics, and set this topic's settings with kafka-configs.sh"
    )]
    SourceConfigUnknown {
        /// The source topic.
        source_topic: Arc<str>,
        /// The target topic.
        target_topic: Arc<str>,
        /// The source's error.
        reason: String,
    },
    /// The target did not accept some settings of a topic. It was created without them.
    #[error("target topic {target_topic} was created without {left_out}, which the target refused: {reason}")]
    SettingsLeftOut {
        /// The target topic.
        target_topic: Arc<str>,
        /// Names of the settings.
        left_out: String,
        /// The broker's error.
        reason: String,
    },
    /// The target does not acknowledge a partition's records. The lane continues without it.
    #[error(
        "{partition}: the target has not acknowledged its records for {waited_ms} ms ({reason}); other partitions continue, next attempt in {retry_ms} ms"
    )]
    TargetStuck {
        /// The source partition.
        partition: PartitionKey,
        /// Time since the oldest unacknowledged record was sent, in milliseconds.
        waited_ms: u64,
        /// Time until the next attempt, in milliseconds.
        retry_ms: u64,
        /// The cause, as far as it is known.
        reason: String,
    },
    /// A record was written to the quarantine topic on the source cluster.
    #[error("{partition}: record at offset {offset} quarantined: {reason}")]
    Quarantined {
        /// The source partition.
        partition: PartitionKey,
        /// The record's offset.
        offset: SourceOffset,
        /// The reason.
        reason: String,
    },
    /// A record cannot be copied, and the policy for it is `stop`.
    #[error("{partition}: stopped at offset {offset}: {reason}")]
    RecordStopped {
        /// The source partition.
        partition: PartitionKey,
        /// The record's offset.
        offset: SourceOffset,
        /// The reason, and what to do.
        reason: String,
    },
    /// A refused record could not be written to quarantine, or be booked. Its partition stops.
    #[error("{partition}: stopped at offset {offset}: cannot keep the record in quarantine ({reason}); will retry")]
    QuarantineFailed {
        /// The source partition.
        partition: PartitionKey,
        /// Offset of the first record that could not be written.
        offset: SourceOffset,
        /// The error of the source or the target, and what to do.
        reason: String,
    },
    /// Plugins send records to more topics that do not exist than may be created for that.
    #[error("{0}")]
    NewTopicsRefused(NewTopicsRefused),
    /// A plugin refuses the topic, or returns an invalid plan or topic name: waiting does not help.
    #[error("{partition}: plugin {plugin} failed on offsets {first}..={last}: {reason}")]
    PluginFailed {
        /// The source partition.
        partition: PartitionKey,
        /// Name of the plugin.
        plugin: Arc<str>,
        /// First offset of the failed records.
        first: SourceOffset,
        /// Last offset of the failed records.
        last: SourceOffset,
        /// The reason.
        reason: String,
    },
    /// A plugin is not called for a while, because it failed too often or cannot be started.
    /// Nothing passes it: records that it has not judged wait at the source.
    #[error("{partition}: waiting at offset {offset} for plugin {plugin}: {reason}; next attempt in {retry_ms} ms")]
    PluginWaiting {
        /// The source partition.
        partition: PartitionKey,
        /// Name of the plugin.
        plugin: Arc<str>,
        /// Offset of the first waiting record.
        offset: SourceOffset,
        /// The reason, and what to do.
        reason: String,
        /// Time until the next attempt, in milliseconds.
        retry_ms: u64,
    },
    /// A partition continues at a given offset, because `on_gap` is `continue`.
    #[error("{partition}: continuing at offset {resumed} (on_gap = \"continue\")")]
    Resumed {
        /// The source partition.
        partition: PartitionKey,
        /// The next offset that would have been read.
        resumed: SourceOffset,
    },
    /// The target does not acknowledge a lane's progress. Its records may be written, but after a
    /// restart they would be copied again. The lane releases no more until it does.
    #[error(
        "lane {lane}: the target has not acknowledged its progress for {waited_ms} ms; its partitions of the link's progress and map topics need a leader and min.insync.replicas"
    )]
    ProgressStuck {
        /// Number of the lane.
        lane: u32,
        /// Time since the progress was written, in milliseconds.
        waited_ms: u64,
    },
    /// A target topic replaces the timestamps of records by its own time.
    #[error(
        "target topic {target_topic} has message.timestamp.type=LogAppendTime: the records' own timestamps are lost there; set CreateTime to keep them"
    )]
    TimestampsLost {
        /// The target topic.
        target_topic: Arc<str>,
    },
    /// A partition that has something to copy does not move.
    #[error(
        "{partition}: has not moved for {still_s} s: {}, {}, lane {lane} {lane_state}; {reason}{}", at(*.position), end(*.last_stable, *.bounds_age_s), and_others(*.others)
    )]
    StandingStill {
        /// The source partition.
        partition: PartitionKey,
        /// Committed progress: the next offset. `None` where it is not known.
        position: Option<SourceOffset>,
        /// The last stable offset, as last read. `None` where it never was.
        last_stable: Option<SourceOffset>,
        /// Age of `last_stable`, in seconds.
        bounds_age_s: Option<u64>,
        /// How long it has not moved, in seconds.
        still_s: u64,
        /// Number of the partition's lane.
        lane: u32,
        /// The lane's state in this process.
        lane_state: &'static str,
        /// The reason as far as it is known, and what to do.
        reason: String,
        /// Further partitions of the lane that do not move for the same reason and are reported by
        /// this event.
        others: u64,
    },
    /// A partition moves again after a standstill, or has nothing to copy any more.
    #[error("{partition}: moves again after {still_s} s: {}{}", at(*.position), and_others(*.others))]
    MovesAgain {
        /// The source partition.
        partition: PartitionKey,
        /// Committed progress: the next offset. `None` where it is not known.
        position: Option<SourceOffset>,
        /// How long it did not move, in seconds.
        still_s: u64,
        /// Further partitions of its lane that are reported by this event.
        others: u64,
    },
    /// A partition that was at a standstill is not watched by this process any more: another
    /// process moves its lane, or the source does not have it any more.
    #[error("{partition}: leaves the watch of this process after {still_s} s without a move, and whether it moves now is not known here{}", and_others(*.others))]
    Unwatched {
        /// The source partition.
        partition: PartitionKey,
        /// How long it did not move while it was watched, in seconds.
        still_s: u64,
        /// Further partitions that are reported by this event.
        others: u64,
    },
    /// Something that the link as a whole depends on is away, or back.
    #[error("{0}")]
    Outage(Outage),
    /// Something happened to the login of a cluster.
    #[error("{0}")]
    Access(AccessEvent),
    /// The border of a lane.
    #[error("{0}")]
    Border(BorderEvent),
    /// The plugins of the link as a whole.
    #[error("{0}")]
    Chain(ChainEvent),
    /// The coordinator of the link.
    #[error("{0}")]
    Coordinator(CoordinatorEvent),
    /// The things that the target takes over besides records.
    #[error("{0}")]
    Sync(SyncEvent),
    /// The offsets of a consumer group on the target.
    #[error("{0}")]
    Group(GroupEvent),
    /// A topic for MirrorMaker 2's clients.
    #[error("{0}")]
    Mm2(Mm2Event),
    /// Copies of the link would be copied for ever.
    #[error("{0}")]
    Loop(LoopEvent),
    /// A topic that the link keeps for itself is not as it should be. The link goes on.
    #[error("topic {topic}: {reason}")]
    LinkTopicUnfit {
        /// Name of the topic.
        topic: Arc<str>,
        /// The faults, their harm, and the command that mends them.
        reason: String,
    },
    /// The lane was last taken with another delivery guarantee.
    #[error(
        "lane {lane}: was last taken with delivery = \"{before}\", this process uses \"{now}\"; see that every process of the link has the same configuration"
    )]
    DeliveryChanged {
        /// Number of the lane.
        lane: u32,
        /// The recorded guarantee.
        before: Arc<str>,
        /// The guarantee of this process.
        now: Arc<str>,
    },
    /// Another process owns the lane, or owned it for a moment.
    #[error("lane {lane}: fenced by another owner: {reason}")]
    Fenced {
        /// Number of the lane.
        lane: u32,
        /// The broker's error.
        reason: String,
    },
    /// A cluster refuses the login of a lane that has logged in before.
    #[error("lane {lane}: the login is refused: {reason}; next attempt in {retry_ms} ms")]
    LoginRefused {
        /// Number of the lane.
        lane: u32,
        /// The cluster, its error, and what to do.
        reason: String,
        /// Time until the next attempt, in milliseconds.
        retry_ms: u64,
    },
    /// An attempt of a lane ended with an error. The lane is taken again.
    #[error("lane {lane}: {reason}; next attempt in {backoff_ms} ms")]
    LaneRestarted {
        /// Number of the lane.
        lane: u32,
        /// The reason.
        reason: String,
        /// Time until the lane is taken again, in milliseconds.
        backoff_ms: u64,
    },
}
