//! The fold of the records of a progress partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{
    Border, FORMAT, LaneRecord, Position, ProgressError, ProgressKey, Protects, ProtectsText, RuleCounts, Skip,
};
use crate::offset::OwnerEpoch;
use crate::topic::{PartitionKey, TopicId};

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
    /// The digests of what is protected, by source topic.
    pub protects: BTreeMap<Arc<str>, Protects>,
    /// The texts that say what is protected, by digest.
    pub texts: BTreeMap<Arc<str>, ProtectsText>,
    /// The counters of plugins, by rule.
    pub counts: BTreeMap<Arc<str>, RuleCounts>,
    /// The last move of each position that an operator has moved.
    pub skips: BTreeMap<PartitionKey, Skip>,
}

impl LaneProgress {
    /// Returns the epoch of a new owner in `process` that has read this.
    #[must_use]
    pub fn next_owner(&self, process: u32) -> OwnerEpoch {
        self.newest.as_ref().map_or_else(OwnerEpoch::default, |newest| newest.owner).following(process)
    }

    /// Returns the moves of positions that no owner has seen yet: those of the last owner.
    #[must_use]
    pub fn unseen_skips(&self) -> BTreeMap<PartitionKey, Skip> {
        let last = self.newest.as_ref().map(|newest| newest.owner);
        let skips = self.skips.iter().filter(|(_, skip)| Some(skip.owner) == last);
        skips.map(|(partition, skip)| (partition.clone(), skip.clone())).collect()
    }

    /// Returns the ids of the target topics that the lane has written, each as the newest owner
    /// wrote it. Topics without an id are omitted.
    #[must_use]
    pub fn target_ids(&self) -> BTreeMap<Arc<str>, TopicId> {
        target_ids(&self.positions)
    }
}

/// Returns the ids of the target topics that are written by these positions, each as the newest
/// owner wrote it. Topics without an id are omitted.
#[must_use]
pub fn target_ids(positions: &BTreeMap<PartitionKey, Position>) -> BTreeMap<Arc<str>, TopicId> {
    let mut positions: Vec<&Position> = positions.values().collect();
    positions.sort_by_key(|position| position.owner.count());
    let tails = positions.into_iter().flat_map(|position| position.tails.list());
    let known = tails.filter(|tail| tail.id.is_known());
    known.map(|tail| (Arc::clone(&tail.topic), tail.id)).collect()
}

/// The fold of a progress partition, record by record.
#[derive(Debug, Default)]
pub struct ProgressFold {
    progress: LaneProgress,
    broken: Option<ProgressError>,
    /// The largest format that a record of the lane names.
    format: u32,
}

impl ProgressFold {
    /// Applies one record of the progress topic, in log order. Log order alone does not decide: in
    /// at-least-once mode the record of an old owner can land behind a newer one's
    /// ([`Position::supersedes`]).
    pub fn fold(&mut self, offset: i64, key: &[u8], value: Option<&[u8]>) {
        if let Err(error) = self.apply(key, value) {
            self.broken.get_or_insert_with(|| ProgressError::Broken { offset, reason: error.to_string() });
        }
    }

    /// Returns what the lane has committed.
    ///
    /// # Errors
    /// [`ProgressError`] if a newer version writes the lane, or a record cannot be decoded. Nothing
    /// is guessed.
    pub fn finish(self) -> Result<LaneProgress, ProgressError> {
        if self.format > FORMAT {
            return Err(ProgressError::Newer { format: self.format });
        }
        self.broken.map_or(Ok(self.progress), Err)
    }

    fn apply(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), serde_json::Error> {
        let LaneProgress { positions, lane, borders, newest, protects, texts, counts, skips } = &mut self.progress;
        match serde_json::from_slice(key)? {
            ProgressKey::Partition(partition) => {
                let Some(new) = decoded::<Position>(value)? else {
                    positions.remove(&partition);
                    return Ok(());
                };
                if newest.as_ref().is_none_or(|newest| new.owner.count() >= newest.owner.count()) {
                    *newest = Some(new.clone());
                }
                if positions.get(&partition).is_none_or(|old| new.supersedes(old)) {
                    positions.insert(partition, new);
                }
            }
            ProgressKey::Border { partition, .. } => {
                let Some(new) = decoded::<Border>(value)? else { return Ok(()) };
                if borders.get(&partition).is_none_or(|old| new.number >= old.number) {
                    borders.insert(partition, new);
                }
            }
            ProgressKey::Lane => {
                // First the format alone: what a newer version writes besides may not decode.
                let format = decoded::<Format>(value)?.unwrap_or_default().format;
                self.format = self.format.max(format);
                *lane = decoded(value)?;
            }
            ProgressKey::Protects { topic } => put(protects, topic, decoded(value)?),
            ProgressKey::Text { digest } => put(texts, digest, decoded(value)?),
            ProgressKey::Counts { rule } => put(counts, rule, decoded(value)?),
            ProgressKey::Skipped { partition } => put(skips, partition, decoded(value)?),
            ProgressKey::Unknown => {}
        }
        Ok(())
    }
}

#[derive(Default, Deserialize)]
struct Format {
    #[serde(default)]
    format: u32,
}

fn decoded<T: DeserializeOwned>(value: Option<&[u8]>) -> Result<Option<T>, serde_json::Error> {
    value.map(serde_json::from_slice).transpose()
}

fn put<K: Ord, T>(map: &mut BTreeMap<K, T>, key: K, value: Option<T>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}
