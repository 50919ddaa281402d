//! The records of `strait.<link>.progress`, written in the same transaction as the data.
//!
//! JSON, so that an operator can read them with any console consumer. The topic is compacted and
//! small. Members and kinds that this version does not know are skipped; what must not be skipped
//! raises [`FORMAT`].

mod fold;
mod held;
mod lane;
mod position;
mod resume;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::offset::{OwnerEpoch, SourceOffset};
use crate::topic::PartitionKey;

pub use fold::{LaneProgress, ProgressFold, target_ids};
pub use held::{Agreement, BorderChange, ChainBorder, HeldBorder, Judged};
pub use lane::{FORMAT, LaneBorder, LaneRecord, LinkIdentity, TAKE_OVER};
pub use position::{Position, TAILS_MAX, Tail, Tails, Totals};
pub use resume::{ResumePoint, former_incarnations, is_ambiguous, resume_point};

/// Returns the name of a link's progress topic on the target cluster. It has one partition per
/// lane.
#[must_use]
pub fn progress_topic(link: &str) -> String {
    format!("strait.{link}.progress")
}

/// Returns the name of a link's offset map topic on the target cluster. It has one partition per
/// lane.
#[must_use]
pub fn map_topic(link: &str) -> String {
    format!("strait.{link}.map")
}

/// Returns the name of the topic on the target cluster that the processes of a link share. Its
/// partition [`BOOKS_PARTITION`](crate::books::BOOKS_PARTITION) has the books.
#[must_use]
pub fn operate_topic(link: &str) -> String {
    format!("strait.{link}.operate")
}

/// Returns the name of a link's quarantine topic on the source cluster.
#[must_use]
pub fn quarantine_topic(link: &str) -> String {
    format!("strait.{link}.quarantine")
}

/// The key of a progress record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ProgressKey {
    /// Position of one source partition.
    Partition(PartitionKey),
    /// Facts about the lane, written when it is first taken.
    Lane,
    /// An offset at which the plugins of a source partition changed. The newest [`BORDERS_KEPT`]
    /// are kept, as a ring: each replaces the one with the same `slot`.
    Border {
        /// The source partition.
        partition: PartitionKey,
        /// Place in the ring: the border's number modulo [`BORDERS_KEPT`].
        slot: u64,
    },
    /// Digest of the text that says what the border protects in a source topic.
    Protects {
        /// Name of the source topic.
        topic: Arc<str>,
    },
    /// A text that [`ProgressKey::Protects`] names.
    Text {
        /// Its digest: `sha256:` and 64 hexadecimal digits.
        digest: Arc<str>,
    },
    /// The lane's counters of one rule of a plugin.
    Counts {
        /// The operator's name of the rule, or a digest of it.
        rule: Arc<str>,
    },
    /// The last time that an operator moved the position of a source partition.
    Skipped {
        /// The source partition.
        partition: PartitionKey,
    },
    /// A kind that this version does not know. Never written.
    #[serde(other)]
    Unknown,
}

/// Number of borders kept per source partition.
pub const BORDERS_KEPT: u64 = 256;

/// The value of [`ProgressKey::Border`]: from this offset up to the next border, these plugins let
/// records pass. For a given offset, the border with the largest `number` and `from` not above the
/// offset applies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Border {
    /// Number of the border, counted from 1.
    pub number: u64,
    /// First offset of the first batch that these plugins judged.
    pub from: SourceOffset,
    /// The plugins, as in [`Position::generation`].
    pub generation: Arc<str>,
}

/// The value of [`ProgressKey::Protects`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protects {
    /// Digest of the text, as in [`ProgressKey::Text`].
    pub digest: Arc<str>,
}

/// The value of [`ProgressKey::Text`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtectsText {
    /// The text.
    pub text: Arc<str>,
}

/// The value of [`ProgressKey::Counts`]: cumulative, by the name of the counter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleCounts {
    /// The counters.
    pub counters: BTreeMap<Arc<str>, u64>,
}

/// The value of [`ProgressKey::Skipped`], written in the same transaction as the position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skip {
    /// Who moved the position.
    pub by: Arc<str>,
    /// When, in milliseconds since the Unix epoch.
    pub at: i64,
    /// The position before.
    pub from: SourceOffset,
    /// The new position.
    pub to: SourceOffset,
    /// The owner epoch under which it was moved.
    pub owner: OwnerEpoch,
}

/// A progress record before encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgressRecord {
    /// Position of one source partition.
    Partition(PartitionKey, Position),
    /// Facts about the lane.
    Lane(LaneRecord),
    /// An offset at which the plugins of a source partition changed.
    Border(PartitionKey, Border),
    /// The digest of what the border protects in a source topic.
    Protects(Arc<str>, Protects),
    /// A text, by its digest.
    Text(Arc<str>, ProtectsText),
    /// The counters of a rule.
    Counts(Arc<str>, RuleCounts),
    /// An operator moved the position of a source partition.
    Skipped(PartitionKey, Skip),
}

/// A progress topic that this process cannot use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProgressError {
    /// A record that cannot be decoded.
    #[error(
        "cannot read progress record at offset {offset} ({reason}): was it written by another program, or by a newer strait?"
    )]
    Broken {
        /// Offset of the record in the progress topic.
        offset: i64,
        /// The reason.
        reason: String,
    },
    /// A newer strait has taken the lane, and writes what this one would drop.
    #[error(
        "a newer strait writes this lane (format {format}, this process knows {FORMAT}): run its version, or a later one, in every process of the link"
    )]
    Newer {
        /// Format of the lane.
        format: u32,
    },
}

impl ProgressRecord {
    /// Returns the key of the record.
    #[must_use]
    pub fn key(&self) -> ProgressKey {
        match self {
            Self::Partition(key, _) => ProgressKey::Partition(key.clone()),
            Self::Lane(_) => ProgressKey::Lane,
            Self::Border(key, border) => {
                ProgressKey::Border { partition: key.clone(), slot: border.number % BORDERS_KEPT }
            }
            Self::Protects(topic, _) => ProgressKey::Protects { topic: Arc::clone(topic) },
            Self::Text(digest, _) => ProgressKey::Text { digest: Arc::clone(digest) },
            Self::Counts(rule, _) => ProgressKey::Counts { rule: Arc::clone(rule) },
            Self::Skipped(key, _) => ProgressKey::Skipped { partition: key.clone() },
        }
    }

    /// Encodes key and value for the topic.
    #[must_use]
    pub fn encode(&self) -> (Vec<u8>, Vec<u8>) {
        // Maps with string keys, numbers and strings only: serialising them cannot fail.
        let value = match self {
            Self::Partition(_, position) => serde_json::to_vec(position),
            Self::Lane(lane) => serde_json::to_vec(lane),
            Self::Border(_, border) => serde_json::to_vec(border),
            Self::Protects(_, protects) => serde_json::to_vec(protects),
            Self::Text(_, text) => serde_json::to_vec(text),
            Self::Counts(_, counts) => serde_json::to_vec(counts),
            Self::Skipped(_, skip) => serde_json::to_vec(skip),
        };
        (serde_json::to_vec(&self.key()).unwrap_or_default(), value.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
