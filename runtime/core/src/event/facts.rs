//! Derives from an event how urgent it is, what it concerns and what to do.

use super::{Event, NewTopicsRefused};
use crate::topic::PartitionKey;

/// How urgently an event needs attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// No action needed: it explains what happens.
    Info,
    /// Look at it today.
    Warning,
    /// Someone must act: something has stopped.
    Error,
}

impl Event {
    /// Returns how urgently the event needs attention.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::Quarantined { .. }
            | Self::Resumed { .. }
            | Self::LaneRestarted { .. }
            | Self::DeliveryChanged { .. }
            | Self::LinkTopicUnfit { .. }
            | Self::Fenced { .. }
            | Self::CorruptSkipped { .. }
            | Self::SourceUnavailable { .. }
            | Self::Skipped { .. }
            | Self::NewTopicsRefused(_)
            | Self::TargetRecopied { .. }
            | Self::SourceConfigUnknown { .. }
            | Self::SettingsLeftOut { .. }
            | Self::TimestampsLost { .. }
            | Self::TargetStuck { .. } => Severity::Warning,
            Self::MovesAgain { .. } | Self::Unwatched { .. } => Severity::Info,
            Self::Outage(outage) => outage.severity(),
            Self::Access(access) => access.severity(),
            Self::Border(border) => border.severity(),
            Self::Chain(chain) => chain.severity(),
            Self::Coordinator(coordinator) => coordinator.severity(),
            Self::Sync(sync) => sync.severity(),
            Self::Group(group) => group.severity(),
            Self::Mm2(mm2) => mm2.severity(),
            Self::Loop(event) => event.severity(),
            _ => Severity::Error,
        }
    }

    /// Returns the source partition, or `None` if the event is about a lane or link as a whole.
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
            | Self::SourceBatchTooLarge { partition, .. }
            | Self::SourceCorrupt { partition, .. }
            | Self::CorruptSkipped { partition, .. }
            | Self::SourceUnavailable { partition, .. }
            | Self::Skipped { partition, .. }
            | Self::TargetPartitionsMissing { partition, .. }
            | Self::TargetDenied { partition, .. }
            | Self::TargetTopicRefused { partition, .. }
            | Self::TargetRecreated { partition, .. }
            | Self::TargetRecopied { partition, .. }
            | Self::TargetStuck { partition, .. }
            | Self::Quarantined { partition, .. }
            | Self::RecordStopped { partition, .. }
            | Self::QuarantineFailed { partition, .. }
            | Self::NewTopicsRefused(NewTopicsRefused { partition, .. })
            | Self::PluginFailed { partition, .. }
            | Self::PluginWaiting { partition, .. }
            | Self::StandingStill { partition, .. }
            | Self::MovesAgain { partition, .. }
            | Self::Unwatched { partition, .. }
            | Self::Resumed { partition, .. } => Some(partition),
            Self::ProgressStuck { .. }
            | Self::TimestampsLost { .. }
            | Self::Outage(_)
            | Self::Access(_)
            | Self::Border(_)
            | Self::Chain(_)
            | Self::Coordinator(_)
            | Self::Sync(_)
            | Self::Group(_)
            | Self::Mm2(_)
            | Self::Loop(_)
            | Self::SourceConfigUnknown { .. }
            | Self::SettingsLeftOut { .. }
            | Self::DeliveryChanged { .. }
            | Self::LinkTopicUnfit { .. }
            | Self::Fenced { .. }
            | Self::LoginRefused { .. }
            | Self::LaneRestarted { .. } => None,
        }
    }

    /// Returns whether a partition that this event stopped is retried after a while. True if the
    /// cause can be fixed at the clusters, because nothing else reports that it was.
    #[must_use]
    pub fn is_tried_again(&self) -> bool {
        matches!(
            self,
            Self::SourceGone { .. }
                | Self::TargetPartitionsMissing { .. }
                | Self::TargetDenied { .. }
                | Self::TargetTopicRefused { .. }
                | Self::TargetRecreated { found: None, .. }
                | Self::QuarantineFailed { .. }
                | Self::SourceCorrupt { .. }
        )
    }

    /// Returns whether a partition that this event stopped may resume under other plugins.
    #[must_use]
    pub fn may_pass_with_other_plugins(&self) -> bool {
        self.is_tried_again() || matches!(self, Self::RecordStopped { .. } | Self::PluginFailed { .. })
    }

    /// Returns a stable name for metrics, status and tests.
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
            Self::SourceBatchTooLarge { .. } => "source_batch_too_large",
            Self::SourceCorrupt { .. } => "source_corrupt",
            Self::CorruptSkipped { .. } => "corrupt_skipped",
            Self::SourceUnavailable { .. } => "source_unavailable",
            Self::Skipped { .. } => "skipped",
            Self::TargetPartitionsMissing { .. } => "target_partitions_missing",
            Self::TargetDenied { .. } => "target_denied",
            Self::TargetTopicRefused { .. } => "target_topic_refused",
            Self::TargetRecreated { found: None, .. } => "target_gone",
            Self::TargetRecreated { found: Some(_), .. } => "target_recreated",
            Self::TargetRecopied { .. } => "target_recopied",
            Self::SourceConfigUnknown { .. } => "source_config_unknown",
            Self::SettingsLeftOut { .. } => "settings_left_out",
            Self::TargetStuck { .. } => "target_stuck",
            Self::Quarantined { .. } => "quarantined",
            Self::RecordStopped { .. } => "record_stopped",
            Self::QuarantineFailed { .. } => "quarantine_failed",
            Self::NewTopicsRefused(_) => "new_topics_refused",
            Self::PluginFailed { .. } => "plugin_failed",
            Self::PluginWaiting { .. } => "plugin_waiting",
            Self::Resumed { .. } => "resumed",
            Self::ProgressStuck { .. } => "progress_stuck",
            Self::TimestampsLost { .. } => "timestamps_lost",
            Self::StandingStill { .. } => "standing_still",
            Self::MovesAgain { .. } => "moves_again",
            Self::Unwatched { .. } => "unwatched",
            Self::Outage(outage) => outage.name(),
            Self::Access(access) => access.name(),
            Self::Border(border) => border.name(),
            Self::Chain(chain) => chain.name(),
            Self::Coordinator(coordinator) => coordinator.name(),
            Self::Sync(sync) => sync.name(),
            Self::Group(group) => group.name(),
            Self::Mm2(mm2) => mm2.name(),
            Self::Loop(event) => event.name(),
            Self::LinkTopicUnfit { .. } => "link_topic_unfit",
            Self::DeliveryChanged { .. } => "delivery_changed",
            Self::Fenced { .. } => "fenced",
            Self::LoginRefused { .. } => "login_refused",
            Self::LaneRestarted { .. } => "lane_restarted",
        }
    }

    /// Returns what to do about the event; empty if it says so itself or nothing is to be done.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::RetentionOverrun { .. } => {
                "raise the source's retention or the throughput; on_gap = \"continue\" goes on at the start of the log"
            }
            Self::Truncated { .. } => {
                "compare source and target; on_gap = \"continue\" goes on at the offset where the log was truncated"
            }
            Self::TopicRecreated { .. } => {
                "on_gap = \"continue\" copies the new topic behind the records of the old one"
            }
            Self::EpochRegression { .. } | Self::OffsetRegression { .. } => {
                "examine the source cluster: its log went back"
            }
            Self::HangingTransaction { .. } => "run kafka-transactions.sh find-hanging at the source, then abort",
            Self::SourceGone { .. } => "create the topic again, or remove it from topics",
            Self::SourceDenied { .. } => "grant Read on the source topic; strait check prints the command",
            Self::SourceUnavailable { .. } => "repair the source partition: it needs a leader that answers",
            Self::SourceBatchTooLarge { .. } => "raise memory_mib_max and restart",
            Self::SourceCorrupt { .. } => "repair the source's log, or set on_corrupt = \"skip\"",
            Self::TargetPartitionsMissing { .. } => "add partitions to the target topic",
            Self::TargetDenied { .. } => {
                "grant Write on the target topic (Create, Alter); strait check prints the command"
            }
            Self::TargetTopicRefused { .. } => "create the target topic by hand; strait check prints the command",
            Self::TargetRecreated { .. } => {
                "set on_target_recreated = \"recopy\" and restart to copy its source partitions again"
            }
            Self::SourceConfigUnknown { .. } => {
                "grant DescribeConfigs on the source topics; strait check prints the command"
            }
            Self::TargetStuck { .. } => "repair the target partition: it needs a leader and min.insync.replicas",
            Self::RecordStopped { .. } => {
                "change the plugins so that they drop or change the record, change the policy that stops it, or move the \
                 partition past it with strait partitions skip"
            }
            Self::QuarantineFailed { .. } => {
                "make the topic that the reason names writable: the quarantine topic at the source, or strait.<link>.operate at \
                 the target (strait check prints the command that grants a missing right)"
            }
            Self::NewTopicsRefused(_) => {
                "create the topics by hand, raise new_topics_max, or narrow output_topics of the plugin"
            }
            Self::PluginFailed { .. } => "fix the plugin or the names that it returns",
            Self::PluginWaiting { .. } => "replace the plugin or fix its configuration",
            Self::Outage(outage) => outage.remedy(),
            Self::Access(access) => access.remedy(),
            Self::Chain(chain) => chain.remedy(),
            Self::Coordinator(coordinator) => coordinator.remedy(),
            Self::Sync(sync) => sync.remedy(),
            Self::Group(group) => group.remedy(),
            Self::Mm2(mm2) => mm2.remedy(),
            Self::Loop(event) => event.remedy(),
            _ => "",
        }
    }
}
