//! The records of consumer groups whose offsets the link keeps on the target.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::offset::{SourceOffset, TargetOffset};
use crate::topic::{PartitionKey, TopicId};

/// The value of [`ControlKey::Group`](super::ControlKey::Group): the offsets of a group in one
/// target topic, as the link has written them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// The partitions of the topic.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub partitions: BTreeMap<i32, GroupPartition>,
    /// The group was found at an offset in this topic that is not the link's: it is the target's,
    /// and nothing is written for it in any topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<TakenOver>,
    /// An operator gives the group back to the link: the offset that is found there counts as the
    /// link's, once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resync: bool,
}

/// A group's offset in one target partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPartition {
    /// The offset that the link has written, as the target has confirmed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<TargetOffset>,
    /// When that was, in milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_at: Option<i64>,
    /// The group's source offsets that it stands for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source: Vec<SourcePlace>,
    /// The offset that the link is about to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intended: Option<Intent>,
    /// Offsets that were intended and of which nobody knows whether they were written, or still
    /// will be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orphans: Vec<Orphan>,
}

/// An offset that is about to be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The target offset.
    pub offset: TargetOffset,
    /// The group's source offsets that it stands for.
    pub source: Vec<SourcePlace>,
}

/// An offset that may have been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(TargetOffset, i64)", into = "(TargetOffset, i64)")]
pub struct Orphan {
    /// The target offset.
    pub offset: TargetOffset,
    /// When it was given up, in milliseconds since the Unix epoch.
    pub at: i64,
}

impl From<(TargetOffset, i64)> for Orphan {
    fn from((offset, at): (TargetOffset, i64)) -> Self {
        Self { offset, at }
    }
}

impl From<Orphan> for (TargetOffset, i64) {
    fn from(orphan: Orphan) -> Self {
        (orphan.offset, orphan.at)
    }
}

/// A group's offset in a source partition. Stored as an array, as there are many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredPlace", into = "StoredPlace")]
pub struct SourcePlace {
    /// The partition.
    pub partition: PartitionKey,
    /// The next offset that the group would read.
    pub offset: SourceOffset,
}

#[derive(Serialize, Deserialize)]
struct StoredPlace(Arc<str>, TopicId, i32, SourceOffset);

impl From<StoredPlace> for SourcePlace {
    fn from(StoredPlace(topic, topic_id, partition, offset): StoredPlace) -> Self {
        Self { partition: PartitionKey { topic, topic_id, partition }, offset }
    }
}

impl From<SourcePlace> for StoredPlace {
    fn from(SourcePlace { partition, offset }: SourcePlace) -> Self {
        Self(partition.topic, partition.topic_id, partition.partition, offset)
    }
}

/// Why a group is the target's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenOver {
    /// The target partition in which it showed.
    pub partition: i32,
    /// The offset that was found there.
    pub found: TargetOffset,
    /// When, in milliseconds since the Unix epoch.
    pub at: i64,
}
