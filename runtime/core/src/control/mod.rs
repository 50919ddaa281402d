//! The records of `strait.<link>.control`, where the one coordinator of a link says that it is at
//! work, what it has found and what it is about to change.
//!
//! JSON in a compacted topic of one partition. Only the coordinator writes it, in transactions
//! under [`coordinator_id`], so that of two that take themselves for it one is fenced. Kinds and
//! members that this version does not know are skipped. [`turn`] decides what a coordinator does
//! next, [`follow`] what the other processes make of its records.

mod fold;
pub mod follow;
mod group;
#[cfg(test)]
mod tests;
pub mod turn;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::offset::OwnerEpoch;
use crate::topic::TopicId;

pub use fold::{Control, ControlError};
pub use group::{GroupPartition, GroupRecord, Intent, Orphan, SourcePlace, TakenOver};

/// Partition of the control topic that has its records. It has no other.
pub const CONTROL_PARTITION: i32 = 0;
/// Most topics in one record, which must fit a batch.
pub const TOPICS_PER_PART: usize = 500;

/// Returns the name of a link's control topic on the target cluster.
#[must_use]
pub fn control_topic(link: &str) -> String {
    format!("strait.{link}.control")
}

/// Returns the transactional id under which a link's coordinator writes. There is one, so that two
/// coordinators fence each other.
#[must_use]
pub fn coordinator_id(prefix: &str, link: &str) -> String {
    format!("{prefix}.{link}.coordinator")
}

/// The key of a control record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ControlKey {
    /// The last sign of life of the coordinator.
    Tick,
    /// A part of the list of the link's source topics.
    Topics {
        /// Number of the part, from 0.
        part: u32,
    },
    /// A target topic.
    Topic {
        /// Its name.
        topic: Arc<str>,
    },
    /// A consumer group, in one target topic.
    Group {
        /// Name of the group.
        group: Arc<str>,
        /// Name of the target topic.
        topic: Arc<str>,
    },
    /// A kind that this version does not know. Never written.
    #[serde(other)]
    Unknown,
}

/// The value of [`ControlKey::Tick`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// The coordinator that wrote it.
    pub owner: OwnerEpoch,
    /// The coordinator's settings for link-wide work, as a hash.
    pub settings: Arc<str>,
    /// The time of the writer, in milliseconds since the Unix epoch. Decides nothing.
    #[serde(default)]
    pub at: i64,
    /// The coordinator has ended, and changes nothing any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub released: bool,
    /// The coordinator still waits for its predecessor, whose last batch may be on its way: whoever
    /// follows has to wait too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits: bool,
    /// Number of the batch of changes that its transaction announces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announces: Option<u64>,
    /// How long ago the coordinator last listed the source's topics, in seconds; `None` where it
    /// has not, or is of a version that does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed_s: Option<u64>,
}

/// A source topic of the link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedTopic {
    /// Name.
    pub topic: Arc<str>,
    /// Id of this incarnation.
    pub id: TopicId,
    /// Number of partitions.
    pub partitions: i32,
}

/// The value of [`ControlKey::Topics`]. A list is whole where all its parts have the same owner and
/// version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicsPart {
    /// The coordinator that listed the topics.
    pub owner: OwnerEpoch,
    /// Number of the list, counted from 1 over all coordinators.
    pub version: u64,
    /// Number of parts of the list.
    pub parts: u32,
    /// The topics of this part, sorted by name.
    pub topics: Vec<ListedTopic>,
}

/// The value of [`ControlKey::Topic`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicRecord {
    /// The source topic that it was made for, or gets its settings from.
    pub source: Arc<str>,
    /// Id of the source topic then.
    #[serde(default)]
    pub source_id: TopicId,
    /// Id of the target topic.
    #[serde(default)]
    pub target_id: TopicId,
    /// The link has created it.
    #[serde(default)]
    pub made: bool,
    /// The settings that were last applied, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub applied: BTreeMap<Arc<str>, Arc<str>>,
    /// The entries of its access list that the link has made.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub acls: BTreeSet<MadeAcl>,
    /// Its source topic is gone, and it is to be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<Gone>,
}

/// How long a source topic has been gone. The time is counted by those who have seen it: no clock
/// of a machine decides, and the next coordinator counts on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// When it was first believed, in milliseconds since the Unix epoch. Decides nothing.
    pub since: i64,
    /// When `waited_s` was written, likewise.
    #[serde(default)]
    pub at: i64,
    /// For how long coordinators have found the topic gone since, in seconds.
    #[serde(default)]
    pub waited_s: u64,
}

impl Gone {
    /// Returns when a topic is due that waits for `after`, in milliseconds since the Unix epoch, if
    /// a process coordinates the link all the time.
    #[must_use]
    pub fn due_ms(&self, after: Duration) -> i64 {
        let left = after.saturating_sub(Duration::from_secs(self.waited_s));
        self.at.saturating_add(i64::try_from(left.as_millis()).unwrap_or(i64::MAX))
    }
}

/// An entry of the access list of a target topic that the link has made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MadeAcl {
    /// Who is allowed or denied.
    pub principal: String,
    /// From where.
    pub host: String,
    /// Number of the operation in Kafka's protocol.
    pub operation: u32,
    /// Whether it allows; else it denies.
    pub allows: bool,
}

/// A control record before encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlRecord {
    /// A sign of life of the coordinator.
    Tick(Tick),
    /// A part of the list of topics; `None` deletes it.
    Topics(u32, Option<TopicsPart>),
    /// The state of a target topic; `None` deletes it.
    Topic(Arc<str>, Option<TopicRecord>),
    /// A group's offsets in a target topic; `None` deletes them. Shared, as they are many.
    Group(Arc<str>, Arc<str>, Option<Arc<GroupRecord>>),
}

impl ControlRecord {
    /// Returns the key of the record.
    #[must_use]
    pub fn key(&self) -> ControlKey {
        match self {
            Self::Tick(_) => ControlKey::Tick,
            Self::Topics(part, _) => ControlKey::Topics { part: *part },
            Self::Topic(topic, _) => ControlKey::Topic { topic: Arc::clone(topic) },
            Self::Group(group, topic, _) => ControlKey::Group { group: Arc::clone(group), topic: Arc::clone(topic) },
        }
    }

    /// Encodes key and value for the topic.
    #[must_use]
    pub fn encode(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        // Maps with string keys, numbers and strings only: serialising them cannot fail.
        let value = match self {
            Self::Tick(tick) => Some(serde_json::to_vec(tick)),
            Self::Topics(_, part) => part.as_ref().map(serde_json::to_vec),
            Self::Topic(_, topic) => topic.as_ref().map(serde_json::to_vec),
            Self::Group(_, _, group) => group.as_deref().map(serde_json::to_vec),
        };
        (serde_json::to_vec(&self.key()).unwrap_or_default(), value.map(Result::unwrap_or_default))
    }
}
