//! Events about what the target takes over from the source besides records.

use std::sync::Arc;
use std::time::Duration;

use super::Severity;
use crate::topic::TopicId;

/// A kind of request that needs a right, for what the target takes over besides records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetadataRight {
    /// Reading the settings of source topics.
    SourceConfigs,
    /// Reading the settings of target topics.
    TargetConfigs,
    /// Changing the settings of target topics.
    AlterConfigs,
    /// Creating target topics.
    Create,
    /// Adding partitions to target topics.
    Grow,
    /// Deleting target topics.
    Delete,
    /// Reading the access list of the source.
    SourceAcls,
    /// Reading the access list of the target.
    TargetAcls,
    /// Changing the access list of the target.
    AlterAcls,
}

impl MetadataRight {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::SourceConfigs,
        Self::TargetConfigs,
        Self::AlterConfigs,
        Self::Create,
        Self::Grow,
        Self::Delete,
        Self::SourceAcls,
        Self::TargetAcls,
        Self::AlterAcls,
    ];

    /// Returns a stable name for status and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SourceConfigs => "source_configs",
            Self::TargetConfigs => "target_configs",
            Self::AlterConfigs => "alter_configs",
            Self::Create => "create_topics",
            Self::Grow => "grow_topics",
            Self::Delete => "delete_topics",
            Self::SourceAcls => "source_acls",
            Self::TargetAcls => "target_acls",
            Self::AlterAcls => "alter_acls",
        }
    }

    fn harm(self) -> &'static str {
        match self {
            Self::SourceConfigs => "the settings of source topics cannot be read, so the target does not follow them",
            Self::TargetConfigs => "the settings of target topics cannot be read, so they do not follow the source",
            Self::AlterConfigs => "the settings of target topics cannot be changed, so they do not follow the source",
            Self::Create => "target topics cannot be created",
            Self::Grow => "partitions cannot be added to target topics",
            Self::Delete => "target topics whose source topics are deleted cannot be deleted",
            Self::SourceAcls => "the access list of the source cannot be read, so that of the target stays as it is",
            Self::TargetAcls => "the access list of the target cannot be read, so it stays as it is",
            Self::AlterAcls => "the access list of the target cannot be changed, so it does not follow the source",
        }
    }
}

/// Something about what the target takes over besides records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyncEvent {
    /// A right is missing. Records are copied all the same.
    #[error("{}; records are copied all the same: {reason}{}", .right.harm(), grant(.command))]
    Denied {
        /// The right.
        right: MetadataRight,
        /// The topic that it was noticed at, and the cluster's answer.
        reason: String,
        /// The command that grants the right; empty if there is none.
        command: String,
    },
    /// A right that was missing is there.
    #[error("{}: this is over", .right.harm())]
    Granted {
        /// The right.
        right: MetadataRight,
    },
    /// Somebody else keeps on changing a setting. It is left to them.
    #[error(
        "target topic {topic}: {name} was set to {ours} like at the source and found changed ({theirs}) three times in ten minutes: it is left alone"
    )]
    ConfigFight {
        /// The target topic.
        topic: Arc<str>,
        /// Name of the setting.
        name: String,
        /// The value that the source has.
        ours: String,
        /// The value that the target has.
        theirs: String,
    },
    /// The target refuses a setting. It is retried once the source has another value.
    #[error("target topic {topic}: the target refuses {name} = {value} of the source: {reason}")]
    ConfigRefused {
        /// The target topic.
        topic: Arc<str>,
        /// Name of the setting.
        name: String,
        /// The value.
        value: String,
        /// The target's reason.
        reason: String,
    },
    /// A source topic is gone, and its target topic is going to be deleted.
    #[error(
        "target topic {target_topic}: source topic {source_topic} is gone; the target topic is deleted after {}",
        hours(.after)
    )]
    DeletionPending {
        /// The source topic.
        source_topic: Arc<str>,
        /// The target topic.
        target_topic: Arc<str>,
        /// How long the source topic still has to be gone.
        after: Duration,
    },
    /// A target topic was deleted like its source topic.
    #[error("target topic {target_topic} (id {id}) is deleted, like source topic {source_topic}")]
    TopicDeleted {
        /// The source topic.
        source_topic: Arc<str>,
        /// The target topic.
        target_topic: Arc<str>,
        /// Id of the target topic.
        id: TopicId,
    },
    /// A target topic is not deleted although its source topic is gone, or was.
    #[error("target topic {target_topic} of source topic {source_topic} is not deleted: {reason}")]
    DeletionRefused {
        /// The source topic.
        source_topic: Arc<str>,
        /// The target topic.
        target_topic: Arc<str>,
        /// Why.
        reason: String,
    },
}

fn hours(after: &Duration) -> String {
    let minutes = after.as_secs().div_ceil(60);
    if minutes == 0 { "another look".to_owned() } else { format!("{} h {} min", minutes / 60, minutes % 60) }
}

fn grant(command: &str) -> String {
    if command.is_empty() { String::new() } else { format!("; grant it with: {command}") }
}

impl SyncEvent {
    pub(super) fn severity(&self) -> Severity {
        match self {
            Self::Granted { .. } | Self::TopicDeleted { .. } => Severity::Info,
            _ => Severity::Warning,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Denied { .. } => "metadata_denied",
            Self::Granted { .. } => "metadata_granted",
            Self::ConfigFight { .. } => "config_fight",
            Self::ConfigRefused { .. } => "config_refused",
            Self::DeletionPending { .. } => "target_deletion_pending",
            Self::TopicDeleted { .. } => "target_topic_deleted",
            Self::DeletionRefused { .. } => "target_deletion_refused",
        }
    }

    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::Denied { .. } => {
                "grant the right (strait acl print has the commands), or set sync.configs = \"none\", sync.acls = false or on_deleted = \"keep\""
            }
            Self::ConfigFight { .. } => {
                "let only one of both set it: name it in sync.configs_exclude, or stop whoever changes it on the target"
            }
            Self::ConfigRefused { .. } => {
                "set a value that the target takes, or name the setting in sync.configs_exclude"
            }
            Self::DeletionPending { .. } => {
                "none if the source topic was meant to go; to keep the target topic, set on_deleted = \"keep\" and restart, or create the source topic again"
            }
            Self::DeletionRefused { .. } => {
                "none if the target topic is to stay; otherwise delete it by hand once nobody needs it"
            }
            Self::Granted { .. } | Self::TopicDeleted { .. } => "",
        }
    }
}
