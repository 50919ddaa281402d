//! What an operator must hear about, as types with coordinates. Logs, status, metrics and tests read the same events.

use std::sync::Arc;

use crate::offset::{LeaderEpoch, SourceOffset};
use crate::topic::{PartitionKey, TopicId};

/// What the reader of an event should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing: it explains what happens.
    Info,
    /// Look at it today.
    Warning,
    /// Someone must act: something stands still.
    Error,
}

/// Something that happened on a link. Every event names the partition and the offsets it is about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Event {
    /// Retention deleted records before they were read.
    #[error("{partition}: retention overtook the link: next offset {expected}, but the log starts at {log_start}; {} records are gone", log_start.0 - expected.0)]
    RetentionOverrun {
        /// Where.
        partition: PartitionKey,
        /// The offset that the link wanted next.
        expected: SourceOffset,
        /// The first offset that still exists.
        log_start: SourceOffset,
    },
    /// The source log ends before the link's position: records that were copied no longer exist at the source.
    #[error("{partition}: the source log was truncated: next offset {expected}, but the log ends at {log_end}")]
    Truncated {
        /// Where.
        partition: PartitionKey,
        /// The offset that the link wanted next.
        expected: SourceOffset,
        /// Where the log ends now.
        log_end: SourceOffset,
    },
    /// A topic of the same name but with another id: deleted and created again.
    #[error("{partition}: the topic was deleted and created again (id {} before, {found} now); copied up to offset {position} of the old one", partition.topic_id)]
    TopicRecreated {
        /// The old incarnation.
        partition: PartitionKey,
        /// The id the topic has now.
        found: TopicId,
        /// Next offset of the old incarnation.
        position: SourceOffset,
    },
    /// A record's leader epoch is below one seen before: another incarnation, or an unclean election.
    #[error("{partition}: the leader epoch fell from {seen} to {found} at offset {offset}")]
    EpochRegression {
        /// Where.
        partition: PartitionKey,
        /// Largest epoch seen before.
        seen: LeaderEpoch,
        /// The record's epoch.
        found: LeaderEpoch,
        /// The record's offset.
        offset: SourceOffset,
    },
    /// The source gave an offset that was already read.
    #[error("{partition}: the source went back: offset {found} came where {expected} or later was due")]
    OffsetRegression {
        /// Where.
        partition: PartitionKey,
        /// Smallest offset that could come.
        expected: SourceOffset,
        /// What came.
        found: SourceOffset,
    },
    /// Readers of committed data cannot pass an open transaction.
    #[error(
        "{partition}: a transaction has been open for {open_secs} s at offset {first_offset}; committed readers, this link among them, cannot pass it (kafka-transactions.sh find-hanging names its producer)"
    )]
    HangingTransaction {
        /// Where.
        partition: PartitionKey,
        /// The last stable offset, which is the transaction's first.
        first_offset: SourceOffset,
        /// For how long it has not moved, in seconds.
        open_secs: u64,
    },
    /// A source partition does not exist any more.
    #[error("{partition}: the source topic or partition is gone; copied up to offset {position}")]
    SourceGone {
        /// Where.
        partition: PartitionKey,
        /// Next offset.
        position: SourceOffset,
    },
    /// The source does not let our principal read the partition.
    #[error("{partition}: the source refuses to be read: {reason}; next try in {retry_ms} ms")]
    SourceDenied {
        /// Where.
        partition: PartitionKey,
        /// What the broker said, and what to do.
        reason: String,
        /// When it is tried again, in milliseconds.
        retry_ms: u64,
    },
    /// The target topic has too few partitions and could not be grown.
    #[error(
        "{partition}: target topic {target_topic} has {found} partitions, {needed} are needed; add partitions there (never folded)"
    )]
    TargetPartitionsMissing {
        /// Where.
        partition: PartitionKey,
        /// Topic on the target.
        target_topic: Arc<str>,
        /// Partitions it has.
        found: u32,
        /// Partitions it needs.
        needed: u32,
    },
    /// The target does not let our principal make or write the topic.
    #[error("{partition}: target topic {target_topic} cannot be written: {reason}")]
    TargetDenied {
        /// Where.
        partition: PartitionKey,
        /// Topic on the target.
        target_topic: Arc<str>,
        /// What the broker said, and what to do.
        reason: String,
    },
    /// The target does not acknowledge a partition's records; the lane goes on without it and tries again later.
    #[error(
        "{partition}: the target has not acknowledged its records for {waited_ms} ms ({reason}); the others go on, next try in {retry_ms} ms"
    )]
    TargetStuck {
        /// Where.
        partition: PartitionKey,
        /// Unacknowledged since, in milliseconds.
        waited_ms: u64,
        /// When it is tried again, in milliseconds.
        retry_ms: u64,
        /// What is known of the cause.
        reason: String,
    },
    /// A record went to the quarantine topic on the source side.
    #[error("{partition}: record at offset {offset} quarantined: {reason}")]
    Quarantined {
        /// Where.
        partition: PartitionKey,
        /// Its offset.
        offset: SourceOffset,
        /// Why.
        reason: String,
    },
    /// A record cannot go on and policy says stop.
    #[error("{partition}: stopped at offset {offset}: {reason}")]
    RecordStopped {
        /// Where.
        partition: PartitionKey,
        /// Its offset.
        offset: SourceOffset,
        /// Why, and what to do.
        reason: String,
    },
    /// A record is refused and could not be kept in the quarantine topic, so nothing passes it.
    #[error(
        "{partition}: stopped at offset {offset}, as quarantine cannot take the record: {reason}; it is tried again"
    )]
    QuarantineFailed {
        /// Where.
        partition: PartitionKey,
        /// The first record that could not be kept.
        offset: SourceOffset,
        /// What the source said, and what to do.
        reason: String,
    },
    /// A plugin failed (trap, deadline, bad edit).
    #[error("{partition}: plugin {plugin} failed on offsets {first}..={last}: {reason}")]
    PluginFailed {
        /// Where.
        partition: PartitionKey,
        /// Which plugin.
        plugin: Arc<str>,
        /// First offset of the batch, or the record's.
        first: SourceOffset,
        /// Last offset.
        last: SourceOffset,
        /// Why.
        reason: String,
    },
    /// A plugin is not called for a while, because it broke too often or cannot be started: nothing passes it, and what it has
    /// not judged waits at the source.
    #[error("{partition}: waits at offset {offset} for plugin {plugin}: {reason}; next try in {retry_ms} ms")]
    PluginWaiting {
        /// Where.
        partition: PartitionKey,
        /// Which plugin.
        plugin: Arc<str>,
        /// The first record that waits.
        offset: SourceOffset,
        /// Why, and what to do.
        reason: String,
        /// When it is tried again, in milliseconds.
        retry_ms: u64,
    },
    /// Other plugins, or other versions of them, judge from the lanes' next batches on.
    #[error("the plugins are {generation} from the next batch on (made ready in {took_ms} ms){}", after(.reason))]
    PluginsReloaded {
        /// Names, digests and configurations.
        generation: Arc<str>,
        /// Reading, compiling and starting, in milliseconds.
        took_ms: u64,
        /// What came before, or nothing.
        reason: String,
    },
    /// Other plugins are tried before they serve.
    #[error("the plugins {generation} are tried before they serve: {reason}")]
    PluginsOnTrial {
        /// Names, digests and configurations.
        generation: Arc<str>,
        /// How and for how long.
        reason: String,
    },
    /// A changed plugin or configuration is not taken; what served before goes on.
    #[error("the plugins were not reloaded, {serving} go on: {reason}")]
    PluginsRefused {
        /// What serves.
        serving: Arc<str>,
        /// Why, and what to do.
        reason: String,
    },
    /// New plugins broke, or an operator wants the old ones: what served before serves again.
    #[error("the plugins {generation} were taken back, {serving} serve again: {reason}")]
    PluginsRolledBack {
        /// What was taken back.
        generation: Arc<str>,
        /// What serves.
        serving: Arc<str>,
        /// Why.
        reason: String,
    },
    /// A partition goes on from a stated place because policy says `continue`.
    #[error("{partition}: continuing at offset {resumed}, as on_gap says")]
    Resumed {
        /// Where.
        partition: PartitionKey,
        /// Next offset.
        resumed: SourceOffset,
    },
    /// Another process owns the lane now, or did for a moment.
    #[error("lane {lane}: fenced by another owner: {reason}")]
    Fenced {
        /// Which lane.
        lane: u32,
        /// What the broker said.
        reason: String,
    },
    /// A lane generation ended with an error and is taken again.
    #[error("lane {lane}: {reason}; taken again in {backoff_ms} ms")]
    LaneRestarted {
        /// Which lane.
        lane: u32,
        /// Why.
        reason: String,
        /// Wait before it is taken again, in milliseconds.
        backoff_ms: u64,
    },
}

impl Event {
    /// What the reader should do.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::Quarantined { .. }
            | Self::Resumed { .. }
            | Self::LaneRestarted { .. }
            | Self::Fenced { .. }
            | Self::PluginsRefused { .. }
            | Self::PluginsRolledBack { .. }
            | Self::TargetStuck { .. } => Severity::Warning,
            Self::PluginsReloaded { .. } | Self::PluginsOnTrial { .. } => Severity::Info,
            _ => Severity::Error,
        }
    }

    /// The source partition that it is about; `None` for a lane as a whole.
    #[must_use]
    pub fn partition(&self) -> Option<&PartitionKey> {
        match self {
            Self::RetentionOverrun { partition, .. }
            | Self::Truncated { partition, .. }
            | Self::TopicRecreated { partition, .. }
            | Self::EpochRegression { partition, .. }
            | Self::OffsetRegression { partition, .. }
            | Self::HangingTransaction { partition, .. }
            | Self::SourceGone { partition, .. }
            | Self::SourceDenied { partition, .. }
            | Self::TargetPartitionsMissing { partition, .. }
            | Self::TargetDenied { partition, .. }
            | Self::TargetStuck { partition, .. }
            | Self::Quarantined { partition, .. }
            | Self::RecordStopped { partition, .. }
            | Self::QuarantineFailed { partition, .. }
            | Self::PluginFailed { partition, .. }
            | Self::PluginWaiting { partition, .. }
            | Self::Resumed { partition, .. } => Some(partition),
            Self::PluginsReloaded { .. }
            | Self::PluginsOnTrial { .. }
            | Self::PluginsRefused { .. }
            | Self::PluginsRolledBack { .. }
            | Self::Fenced { .. }
            | Self::LaneRestarted { .. } => None,
        }
    }

    /// Whether a partition that stands still for this is tried again after a while: what is wrong can be mended at the clusters,
    /// and nothing else tells when it is.
    #[must_use]
    pub fn is_tried_again(&self) -> bool {
        matches!(self, Self::TargetPartitionsMissing { .. } | Self::TargetDenied { .. } | Self::QuarantineFailed { .. })
    }

    /// Whether a partition that stands still for this may go on when other plugins judge its records.
    #[must_use]
    pub fn may_pass_with_other_plugins(&self) -> bool {
        self.is_tried_again() || matches!(self, Self::RecordStopped { .. } | Self::PluginFailed { .. })
    }

    /// A stable name for metrics, status and tests.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::RetentionOverrun { .. } => "retention_overrun",
            Self::Truncated { .. } => "truncated",
            Self::TopicRecreated { .. } => "topic_recreated",
            Self::EpochRegression { .. } => "epoch_regression",
            Self::OffsetRegression { .. } => "offset_regression",
            Self::HangingTransaction { .. } => "hanging_transaction",
            Self::SourceGone { .. } => "source_gone",
            Self::SourceDenied { .. } => "source_denied",
            Self::TargetPartitionsMissing { .. } => "target_partitions_missing",
            Self::TargetDenied { .. } => "target_denied",
            Self::TargetStuck { .. } => "target_stuck",
            Self::Quarantined { .. } => "quarantined",
            Self::RecordStopped { .. } => "record_stopped",
            Self::QuarantineFailed { .. } => "quarantine_failed",
            Self::PluginFailed { .. } => "plugin_failed",
            Self::PluginWaiting { .. } => "plugin_waiting",
            Self::PluginsReloaded { .. } => "plugins_reloaded",
            Self::PluginsOnTrial { .. } => "plugins_on_trial",
            Self::PluginsRefused { .. } => "plugins_refused",
            Self::PluginsRolledBack { .. } => "plugins_rolled_back",
            Self::Resumed { .. } => "resumed",
            Self::Fenced { .. } => "fenced",
            Self::LaneRestarted { .. } => "lane_restarted",
        }
    }
}

/// A reason behind a message, where there is one.
fn after(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(", {reason}") }
}
