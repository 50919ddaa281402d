//! Steps back after truncations.

use std::collections::BTreeMap;

use strait_core::progress::Position;
use strait_core::{LeaderEpoch, OwnerEpoch, PartitionKey, SourceOffset};

/// A step back after a truncation. It is valid while progress is where it was when the truncation
/// was found: once another owner has written some, it is out of date. The owner epoch alone does
/// not decide that, because two owners that wrote nothing have the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rewind {
    /// Where to read again.
    pub resume: SourceOffset,
    /// The owner that found the truncation.
    pub owner: OwnerEpoch,
    /// Committed progress at that time.
    pub committed: SourceOffset,
    /// Leader epoch of the last record before `committed`.
    pub leader_epoch: LeaderEpoch,
}

impl Rewind {
    fn applies(&self, position: &Position) -> bool {
        position.owner.count() <= self.owner.count()
            && (position.next, position.leader_epoch) == (self.committed, self.leader_epoch)
    }
}

/// The steps back of a lane, each with whether it was told. They are kept until one is committed:
/// an attempt can end before, because another partition is found to be truncated, and each of the
/// two would make the other one's be forgotten.
#[derive(Debug, Default)]
pub(crate) struct Rewinds(BTreeMap<PartitionKey, (Rewind, bool)>);

impl Rewinds {
    /// Has the next attempts read a partition again. Returns whether that is news.
    pub fn add(&mut self, partition: PartitionKey, rewind: Rewind) -> bool {
        let before = self.0.get(&partition).filter(|(before, _)| before.resume == rewind.resume);
        let is_told = before.is_some_and(|(_, is_told)| *is_told);
        let is_news = before.is_none();
        self.0.insert(partition, (rewind, is_told));
        is_news
    }

    /// Returns the offset at which a partition with this position is read again. A step back that
    /// is not valid any more is forgotten.
    pub fn of(&mut self, partition: &PartitionKey, position: &Position) -> Option<SourceOffset> {
        let (rewind, _) = self.0.get(partition)?;
        if rewind.applies(position) {
            return Some(rewind.resume);
        }
        self.0.remove(partition);
        None
    }

    /// Notes that a step back is told. Returns whether it was not before.
    pub fn tell(&mut self, partition: &PartitionKey) -> bool {
        self.0.get_mut(partition).is_some_and(|(_, is_told)| !std::mem::replace(is_told, true))
    }
}
