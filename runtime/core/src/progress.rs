//! The records of `strait.<link>.progress`, written in the same transaction as the data.
//!
//! JSON, so that an operator can read them with any console consumer. The topic is compacted and
//! small.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::offset::{LeaderEpoch, OwnerEpoch, SourceOffset};
use crate::topic::PartitionKey;

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

/// The value of [`ProgressKey::Partition`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The next source offset to read. Everything before it is settled and committed.
    pub next: SourceOffset,
    /// Leader epoch of the last record before `next`, for the truncation check when reading
    /// resumes.
    #[serde(default)]
    pub leader_epoch: LeaderEpoch,
    /// The plugins that let the last record before `next` pass. The newest [`Border`] tells from
    /// which offset on.
    pub generation: Arc<str>,
    /// The owner that wrote the position. It decides in at-least-once mode, where the order of the
    /// log does not.
    pub owner: OwnerEpoch,
    /// Letters of two of the owner's transactional ids: of the transaction that carries this
    /// position, and of the next transaction. Empty in at-least-once mode.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub ids: Arc<str>,
    /// Number of lanes of the link when the position was written.
    pub lanes: u32,
    /// Hash of the link's configuration when the position was written.
    pub config: Arc<str>,
}

impl Position {
    /// Returns whether this position, written after `old`, replaces it. It does not if `old` has a
    /// later owner, or an owner with the same count and a larger offset.
    #[must_use]
    pub fn supersedes(&self, old: &Self) -> bool {
        (self.owner.count(), self.next) >= (old.owner.count(), old.next)
    }
}

/// The value of [`ProgressKey::Lane`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneRecord {
    /// Source topics and their partition counts when the lane was first taken. `start` applies to
    /// these partitions; later ones begin at the start of their log.
    pub created_with: BTreeMap<String, i32>,
    /// Set while `strait lanes resize` runs. If it was interrupted, the lane must not be used until
    /// it was run again.
    #[serde(default)]
    pub closed: bool,
    /// Number of lanes of the link. A process configured with another number must not use the lane.
    #[serde(default)]
    pub lanes: u32,
    /// Earlier numbers of lanes of the link, oldest first. The offset map of records copied then is
    /// in the map topic's partitions of that time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lanes_before: Vec<u32>,
}

impl LaneRecord {
    /// Returns why a process configured with `lanes` lanes must not use this lane, or `None` if it
    /// may.
    #[must_use]
    pub fn refusal(&self, lanes: u32) -> Option<String> {
        if self.closed {
            return Some("`strait lanes resize` is running on the link, or was interrupted: run it again".to_owned());
        }
        let moved = self.lanes > 0 && self.lanes != lanes;
        moved.then(|| {
            format!(
                "the link was resized to {} lanes, but this process is configured with {lanes}: restart it with lanes = {0}",
                self.lanes
            )
        })
    }
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
}

/// A record of the progress topic that cannot be decoded.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot read progress record at offset {offset} ({reason}): was it written by another program, or by a newer strait?"
)]
pub struct ProgressError {
    /// Offset of the record in the progress topic.
    pub offset: i64,
    /// The reason.
    pub reason: String,
}

impl ProgressRecord {
    /// Encodes key and value for the topic.
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

/// Everything a new owner knows about a lane: the fold of its progress partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneProgress {
    /// Positions by source partition, including old incarnations of topics.
    pub positions: BTreeMap<PartitionKey, Position>,
    /// Facts about the lane, or `None` if it was never taken.
    pub lane: Option<LaneRecord>,
    /// The newest border of each source partition that has one.
    pub borders: BTreeMap<PartitionKey, Border>,
    /// The last position written by the last owner, of any partition.
    pub newest: Option<Position>,
}

impl LaneProgress {
    /// Applies one record of the progress topic, in log order. Log order alone does not decide: in
    /// at-least-once mode the record of an old owner can land behind a newer one's
    /// ([`Position::supersedes`]).
    ///
    /// # Errors
    /// [`ProgressError`] if key or value cannot be decoded. Nothing is guessed.
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
        // A rival with the same count wrote later: the larger offset wins, the process number
        // decides nothing.
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
    fn a_record_of_another_program_is_an_error_and_changes_nothing() {
        let mut progress = LaneProgress::default();
        assert!(progress.fold(4, b"not json", Some(b"{}")).unwrap_err().to_string().contains("offset 4"));
        assert!(progress.fold(4, br#"{"kind":"newer"}"#, Some(b"{}")).is_err());
        assert_eq!(progress, LaneProgress::default());
    }
}
