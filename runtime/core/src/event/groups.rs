//! Events about the offsets of consumer groups that the link keeps on the target.

use std::sync::Arc;

use super::Severity;
use crate::offset::TargetOffset;

/// Something about a group's offsets on the target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupEvent {
    /// The group has an offset on the target that is not the link's.
    #[error(
        "group {group} is the target's from now on, and nothing more is written for it: {topic}-{partition} is at {found}, and the link has written {}",
        number(*.written)
    )]
    TakenOver {
        /// The group.
        group: Arc<str>,
        /// The target topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// The offset that was found.
        found: TargetOffset,
        /// The offset that the link has written, if it has.
        written: Option<TargetOffset>,
    },
    /// The place of the group on the target fell, although it did not fall on the source.
    #[error(
        "group {group} stays at {found} in {topic}-{partition}: its place would be {answer}, which is before, although its source offsets did not fall"
    )]
    Fell {
        /// The group.
        group: Arc<str>,
        /// The target topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// The offset that is there.
        found: TargetOffset,
        /// The answer of the offset map.
        answer: TargetOffset,
    },
    /// The target refuses the group's offsets.
    #[error("the offsets of group {group} in {topic} cannot be written: {reason}; will retry")]
    Refused {
        /// The group.
        group: Arc<str>,
        /// The target topic.
        topic: Arc<str>,
        /// The target's reason.
        reason: String,
    },
    /// The metadata that the group keeps beside its offset is larger than the target takes.
    #[error(
        "the metadata that group {group} keeps beside its offset is left out in {topic}-{partition}: it is larger than the target's offset.metadata.max.bytes"
    )]
    MetadataLeftOut {
        /// The group.
        group: Arc<str>,
        /// The target topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
    },
    /// Another link writes to a target topic too.
    #[error(
        "the offsets of groups in {topic} are not kept on the target: link {other} writes to it too (shared_target)"
    )]
    SharedTarget {
        /// The target topic.
        topic: Arc<str>,
        /// The other link.
        other: Arc<str>,
    },
    /// Groups cannot be read, so their offsets on the target stay as they are.
    #[error("the offsets of groups on the {side} cannot be read: {reason}; will retry")]
    Unread {
        /// The source or the target.
        side: super::Side,
        /// The error, and what to do.
        reason: String,
    },
}

fn number(offset: Option<TargetOffset>) -> String {
    offset.map_or_else(|| "nothing there".to_owned(), |offset| offset.to_string())
}

impl GroupEvent {
    pub(super) fn severity(&self) -> Severity {
        match self {
            Self::TakenOver { .. } => Severity::Info,
            Self::Refused { .. } | Self::MetadataLeftOut { .. } | Self::SharedTarget { .. } | Self::Unread { .. } => {
                Severity::Warning
            }
            Self::Fell { .. } => Severity::Error,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::TakenOver { .. } => "group_taken_over",
            Self::Fell { .. } => "translation_fell",
            Self::Refused { .. } => "group_refused",
            Self::MetadataLeftOut { .. } => "group_metadata_left_out",
            Self::SharedTarget { .. } => "shared_target",
            Self::Unread { .. } => "groups_unread",
        }
    }

    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::TakenOver { .. } => {
                "nothing, if the group has moved to the target; else strait groups resync LINK --group GROUP gives it \
                 back to the link"
            }
            Self::Fell { .. } => {
                "compare strait offsets translate with the group; strait groups resync LINK --group GROUP writes the \
                 answer all the same"
            }
            Self::Refused { .. } => {
                "grant Read on the group and on the target topic, or list the group in groups_exclude"
            }
            Self::MetadataLeftOut { .. } => "raise the target's offset.metadata.max.bytes if the group needs it",
            Self::SharedTarget { .. } => {
                "let one link write the topic, or give the copies of one link other names (naming); until then move such \
                 groups by hand"
            }
            Self::Unread { .. } => {
                "grant Describe on the groups and on the topics that they read; strait acl print has the commands"
            }
        }
    }
}
