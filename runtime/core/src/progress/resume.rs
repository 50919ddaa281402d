//! Where a partition resumes, by the positions of its lane. All that reads positions to move one
//! asks here: topic ids come and go.

use std::collections::BTreeMap;

use super::Position;
use crate::topic::PartitionKey;

/// Where a partition resumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumePoint<'a> {
    /// The key that its progress is written under from now on.
    pub key: PartitionKey,
    /// The key that its position is stored under.
    pub stored: &'a PartitionKey,
    /// The committed position.
    pub position: &'a Position,
}

/// Returns where a partition resumes that the source has now, or `None` if it is new.
///
/// A cluster may begin to report topic ids, and may for a while not report them. So an unknown id
/// is that of the newest position, and a position without an id belongs to the topic unless
/// progress knows another incarnation of it.
#[must_use]
pub fn resume_point<'a>(known: &'a BTreeMap<PartitionKey, Position>, found: &PartitionKey) -> Option<ResumePoint<'a>> {
    let same = PartitionKey::of_topic(known, &found.topic).filter(|(key, _)| key.may_be(found));
    let (stored, position) = same.reduce(|one, other| if other.1.supersedes(one.1) { other } else { one })?;
    let is_sure = known.contains_key(found) || former_incarnations(known, found).next().is_none();
    let key = if found.topic_id.is_known() { found.clone() } else { stored.clone() };
    is_sure.then_some(ResumePoint { key, stored, position })
}

/// Returns the positions of older incarnations of a partition. A topic can have been created more
/// than once since the lane was last taken.
pub fn former_incarnations<'a>(
    known: &'a BTreeMap<PartitionKey, Position>,
    partition: &PartitionKey,
) -> impl Iterator<Item = (&'a PartitionKey, &'a Position)> {
    PartitionKey::of_topic(known, &partition.topic)
        .filter(|(other, _)| other.partition == partition.partition && other.topic_id.is_other_than(partition.topic_id))
}

/// Returns whether progress does not tell which incarnation of a topic comes last, and the source
/// tells no id either: one owner has copied several of them.
#[must_use]
pub fn is_ambiguous(known: &BTreeMap<PartitionKey, Position>, found: &PartitionKey) -> bool {
    let same = |(key, _): &(&PartitionKey, &Position)| key.topic_id.is_known() && key.may_be(found);
    let counts =
        || PartitionKey::of_topic(known, &found.topic).filter(same).map(|(_, position)| position.owner.count());
    let last = counts().max();
    !found.topic_id.is_known() && counts().filter(|count| Some(*count) == last).count() > 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offset::{OwnerEpoch, SourceOffset};
    use crate::topic::TopicId;

    fn key(id: u8) -> PartitionKey {
        PartitionKey { topic: "t".into(), topic_id: TopicId([id; 16]), partition: 3 }
    }

    /// Returns positions stored under these ids, each with owner count and offset, and two that are
    /// of other partitions.
    fn known(stored: &[(u8, u64, i64)]) -> BTreeMap<PartitionKey, Position> {
        let mut known = BTreeMap::new();
        for (id, count, next) in stored {
            let (owner, next) = (OwnerEpoch(count << 32), SourceOffset(*next));
            known.insert(key(*id), Position { owner, next, ..Position::default() });
        }
        let other = Position { owner: OwnerEpoch(u64::MAX), ..Position::default() };
        known.insert(PartitionKey { partition: 2, ..key(0) }, other.clone());
        known.insert(PartitionKey { topic: "u".into(), ..key(0) }, other);
        known
    }

    /// Returns what `found` resumes at: the id that it is written under, and the offset.
    fn resumed(stored: &[(u8, u64, i64)], found: u8) -> Option<(u8, i64)> {
        let known = known(stored);
        let point = resume_point(&known, &key(found))?;
        Some((point.key.topic_id.0[0], point.position.next.0))
    }

    #[test]
    fn a_topic_id_that_comes_or_goes_moves_no_position() {
        assert_eq!(resumed(&[], 1), None);
        assert_eq!(resumed(&[(1, 1, 10)], 1), Some((1, 10)));
        // It becomes known, and vanishes again.
        assert_eq!(resumed(&[(0, 1, 10)], 1), Some((1, 10)));
        assert_eq!(resumed(&[(0, 1, 10), (1, 2, 20)], 1), Some((1, 20)));
        assert_eq!(resumed(&[(0, 1, 10), (1, 2, 20)], 0), Some((1, 20)));
        assert_eq!(resumed(&[(1, 1, 10)], 0), Some((1, 10)));
        // An earlier version wrote without the id when it was not reported.
        assert_eq!(resumed(&[(1, 1, 10), (0, 2, 30)], 1), Some((1, 30)));
        // The newest incarnation is the one that lives.
        assert_eq!(resumed(&[(1, 3, 10), (2, 5, 7)], 0), Some((2, 7)));
        // Another incarnation is no such case, and an unknown position may be of the other one.
        assert_eq!(resumed(&[(1, 1, 10)], 2), None);
        assert_eq!(resumed(&[(1, 1, 10), (0, 2, 30)], 2), None);
    }

    #[test]
    fn incarnations_of_one_owner_are_ambiguous_without_an_id() {
        let ambiguous = |stored: &[(u8, u64, i64)], found: u8| is_ambiguous(&known(stored), &key(found));
        assert!(ambiguous(&[(1, 5, 23), (2, 5, 7)], 0));
        assert!(ambiguous(&[(1, 5, 23), (2, 5, 7), (3, 4, 9)], 0));
        assert!(!ambiguous(&[(1, 5, 23), (2, 5, 7)], 1));
        assert!(!ambiguous(&[(1, 5, 23), (2, 6, 7)], 0));
        assert!(!ambiguous(&[(0, 5, 23), (2, 5, 7)], 0));
        assert!(!ambiguous(&[(1, 5, 23)], 0));
        assert!(!ambiguous(&[], 0));
    }
}
