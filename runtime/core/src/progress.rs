//! What a lane writes to `strait.<link>.progress`, in the same transaction as the data.
//!
//! JSON, so that an operator can read it with any console consumer; the topic is compacted and small.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::offset::{LeaderEpoch, OwnerEpoch, SourceOffset};
use crate::topic::PartitionKey;

/// Name of the progress topic of a link, on the target cluster; one partition per lane.
#[must_use]
pub fn progress_topic(link: &str) -> String {
    format!("strait.{link}.progress")
}

/// Name of the offset map topic of a link, on the target cluster; one partition per lane.
#[must_use]
pub fn map_topic(link: &str) -> String {
    format!("strait.{link}.map")
}

/// Name of the quarantine topic of a link, on the source cluster.
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
    /// Facts about the lane itself, written once when it is first taken.
    Lane,
    /// Where the plugins of a source partition changed. The newest [`BORDERS_KEPT`] are kept: each takes the place of the one
    /// so many before it.
    Border {
        /// Which partition.
        partition: PartitionKey,
        /// The border's number, modulo [`BORDERS_KEPT`].
        slot: u64,
    },
}

/// Borders kept per source partition.
pub const BORDERS_KEPT: u64 = 256;

/// The value under [`ProgressKey::Border`]: from this offset on, up to the next border, these plugins let records pass. So
/// whoever asks about an offset takes the largest `number` whose `from` is not above it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Border {
    /// Ascending by one, from 1.
    pub number: u64,
    /// First offset of the first batch that they judged.
    pub from: SourceOffset,
    /// The plugins, as in [`Position::generation`].
    pub generation: Arc<str>,
}

/// The value under [`ProgressKey::Partition`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The next source offset to read: everything before it is settled and committed.
    pub next: SourceOffset,
    /// Leader epoch of the last record before `next`, for the truncation check when reading resumes.
    #[serde(default)]
    pub leader_epoch: LeaderEpoch,
    /// The plugins that let the last record before `next` pass; what they let pass begins at the newest [`Border`].
    pub generation: Arc<str>,
    /// Who wrote it. Decides in at-least-once mode, where the log alone does not.
    pub owner: OwnerEpoch,
    /// Letters of the two transactional ids that the owner works with: of the transaction that carries this, and of its next
    /// one. Empty in at-least-once mode.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub ids: Arc<str>,
    /// Number of lanes when it was written.
    pub lanes: u32,
    /// Hash of the link's configuration when it was written.
    pub config: Arc<str>,
}

impl Position {
    /// Whether this one, written later, stands in the place of `old`: not if a later owner wrote that, nor if one that counted
    /// the same came further.
    #[must_use]
    pub fn supersedes(&self, old: &Self) -> bool {
        (self.owner.count(), self.next) >= (old.owner.count(), old.next)
    }
}

/// The value under [`ProgressKey::Lane`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneRecord {
    /// Source topics and their partition counts when the lane was first taken: `start` is for these, later ones begin at
    /// the start of their log.
    pub created_with: BTreeMap<String, i32>,
    /// Set while `strait lanes resize` is at work: what it had written when it was interrupted is not to be used.
    #[serde(default)]
    pub closed: bool,
    /// Number of lanes of the link; a process that counts otherwise must not use the lane.
    #[serde(default)]
    pub lanes: u32,
    /// Numbers of lanes that the link had before, oldest first: the offset map of what was copied then stands in the
    /// partitions of the map topic that belonged to those.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lanes_before: Vec<u32>,
}

impl LaneRecord {
    /// Why a process that counts `lanes` lanes must leave this lane alone.
    #[must_use]
    pub fn refusal(&self, lanes: u32) -> Option<String> {
        if self.closed {
            return Some("`strait lanes resize` is at work on the link, or was interrupted: run it again".to_owned());
        }
        let moved = self.lanes > 0 && self.lanes != lanes;
        moved.then(|| {
            format!(
                "the link was resized to {} lanes, this process counts {lanes}: restart it with lanes = {0}",
                self.lanes
            )
        })
    }
}

/// A progress record, before encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgressRecord {
    /// Position of one source partition.
    Partition(PartitionKey, Position),
    /// Facts about the lane.
    Lane(LaneRecord),
    /// Where the plugins of a source partition changed.
    Border(PartitionKey, Border),
}

/// A record of the progress topic that does not read as one.
#[derive(Debug, thiserror::Error)]
#[error(
    "progress record at offset {offset} cannot be read ({reason}): was it written by another program, or by a newer strait?"
)]
pub struct ProgressError {
    /// Offset in the progress topic.
    pub offset: i64,
    /// What is wrong.
    pub reason: String,
}

impl ProgressRecord {
    /// Key and value as they stand in the topic.
    #[must_use]
    pub fn encode(&self) -> (Vec<u8>, Vec<u8>) {
        // Maps with string keys, numbers and strings only: serialising them cannot fail.
        let (key, value) = match self {
            Self::Partition(key, position) => {
                (serde_json::to_vec(&ProgressKey::Partition(key.clone())), serde_json::to_vec(position))
            }
            Self::Lane(lane) => (serde_json::to_vec(&ProgressKey::Lane), serde_json::to_vec(lane)),
            Self::Border(key, border) => {
                let slot = border.number % BORDERS_KEPT;
                let key = ProgressKey::Border { partition: key.clone(), slot };
                (serde_json::to_vec(&key), serde_json::to_vec(border))
            }
        };
        (key.unwrap_or_default(), value.unwrap_or_default())
    }
}

/// All that a takeover knows of a lane: the fold of its progress partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneProgress {
    /// Positions by source partition, old incarnations of topics included.
    pub positions: BTreeMap<PartitionKey, Position>,
    /// Facts about the lane, `None` before it was first taken.
    pub lane: Option<LaneRecord>,
    /// The newest border of each source partition whose plugins ever changed.
    pub borders: BTreeMap<PartitionKey, Border>,
    /// What the last owner wrote last, of whichever partition.
    pub newest: Option<Position>,
}

impl LaneProgress {
    /// Takes in one record of the progress topic, in log order. That alone does not decide: in at-least-once mode an old owner's
    /// record can land behind a newer one's ([`Position::supersedes`]).
    ///
    /// # Errors
    /// [`ProgressError`] when key or value cannot be read; nothing is guessed.
    pub fn fold(&mut self, offset: i64, key: &[u8], value: Option<&[u8]>) -> Result<(), ProgressError> {
        let broken = |reason: serde_json::Error| ProgressError { offset, reason: reason.to_string() };
        let key: ProgressKey = serde_json::from_slice(key).map_err(broken)?;
        match key {
            ProgressKey::Partition(partition) => {
                let Some(value) = value else {
                    self.positions.remove(&partition);
                    return Ok(());
                };
                let new: Position = serde_json::from_slice(value).map_err(broken)?;
                if self.newest.as_ref().is_none_or(|newest| new.owner.count() >= newest.owner.count()) {
                    self.newest = Some(new.clone());
                }
                if self.positions.get(&partition).is_none_or(|old| new.supersedes(old)) {
                    self.positions.insert(partition, new);
                }
            }
            ProgressKey::Border { partition, .. } => {
                let Some(value) = value else { return Ok(()) };
                let new: Border = serde_json::from_slice(value).map_err(broken)?;
                if self.borders.get(&partition).is_none_or(|old| new.number >= old.number) {
                    self.borders.insert(partition, new);
                }
            }
            ProgressKey::Lane => self.lane = value.map(serde_json::from_slice).transpose().map_err(broken)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::TopicId;

    fn key(partition: i32) -> PartitionKey {
        PartitionKey { topic: "orders".into(), topic_id: TopicId([7; 16]), partition }
    }

    fn owner(count: u64, process: u64) -> OwnerEpoch {
        OwnerEpoch(count << 32 | process)
    }

    fn position(count: u64, next: i64) -> Position {
        Position {
            next: SourceOffset(next),
            leader_epoch: LeaderEpoch(3),
            generation: "none".into(),
            owner: owner(count, 1),
            ids: "ab".into(),
            lanes: 4,
            config: "c".into(),
        }
    }

    fn put(progress: &mut LaneProgress, record: &ProgressRecord) {
        let (k, v) = record.encode();
        progress.fold(0, &k, Some(&v)).unwrap();
    }

    #[test]
    fn a_record_reads_back_and_the_largest_owner_and_offset_win() {
        let mut progress = LaneProgress::default();
        let created_with = [("orders".to_owned(), 4)].into();
        let lane = LaneRecord { created_with, closed: false, lanes: 4, lanes_before: vec![2] };
        assert_eq!(lane.refusal(4), None);
        assert!(lane.refusal(2).unwrap().contains("lanes = 4"));
        put(&mut progress, &ProgressRecord::Lane(lane.clone()));
        for (count, next) in [(1, 10), (2, 5), (1, 99), (2, 7), (2, 6)] {
            put(&mut progress, &ProgressRecord::Partition(key(0), position(count, next)));
        }
        assert_eq!(progress.positions.get(&key(0)), Some(&position(2, 7)));
        // A process that counted the same comes behind it: its number decides nothing, how far it came does.
        let rival = |next| Position { owner: owner(2, 9), ..position(2, next) };
        put(&mut progress, &ProgressRecord::Partition(key(0), rival(5)));
        assert_eq!(progress.positions.get(&key(0)), Some(&position(2, 7)));
        assert_eq!(progress.newest, Some(rival(5)), "what was written last was not taken for the newest");
        put(&mut progress, &ProgressRecord::Partition(key(0), position(2, 8)));
        assert_eq!(progress.lane, Some(lane));
        let (one, other) = (owner(2, 9).following(7), owner(2, 1).following(9));
        assert!(one != other && one.count() == 3 && other.count() == 3 && one.following(0).count() == 4);
        assert_eq!((one.process(), other.process()), (7, 9));
        assert_eq!(progress.newest, Some(position(2, 8)));
        for number in [1, 3, 2] {
            let border = Border { number, from: SourceOffset(10), generation: "a@1+2".into() };
            put(&mut progress, &ProgressRecord::Border(key(0), border));
        }
        assert_eq!(progress.borders.get(&key(0)).map(|border| border.number), Some(3));
        let (k, _) = ProgressRecord::Partition(key(0), position(1, 1)).encode();
        progress.fold(9, &k, None).unwrap();
        assert!(progress.positions.is_empty());
    }

    #[test]
    fn a_foreign_record_is_an_error_and_changes_nothing() {
        let mut progress = LaneProgress::default();
        assert!(progress.fold(4, b"not json", Some(b"{}")).unwrap_err().to_string().contains("offset 4"));
        assert!(progress.fold(4, br#"{"kind":"newer"}"#, Some(b"{}")).is_err());
        assert_eq!(progress, LaneProgress::default());
    }
}
