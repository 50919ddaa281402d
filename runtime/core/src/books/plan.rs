//! Which open entries can be replayed, and what holds back the others.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::BookKey;
use crate::offset::SourceOffset;
use crate::progress::{Position, resume_point};
use crate::topic::{PartitionKey, TopicId};

/// A source topic as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundTopic {
    /// Id of this incarnation; unknown where the cluster gives none.
    pub id: TopicId,
    /// The start of the log of each partition that answered.
    pub log_starts: BTreeMap<i32, i64>,
    /// Number of partitions.
    pub partitions: u32,
}

/// Why an open entry cannot be replayed now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HeldBack {
    /// The topic is gone, or does not have the partition.
    TopicGone,
    /// The topic was deleted and created again.
    OtherTopic,
    /// The link does not copy the topic any more.
    NotSelected,
    /// Its partition gave no bounds.
    Silent,
    /// The source has deleted the record.
    Deleted,
    /// The source has the record, with headers that cannot be read.
    Damaged,
    /// The source has another record at its offset than the one that was refused.
    Changed,
    /// The link has not passed the record for good: its lane may yet copy it.
    NotPassed,
}

impl fmt::Display for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TopicGone => "the source has no such partition any more: discard it",
            Self::OtherTopic => {
                "the source topic was deleted and created again, so that its offsets mean other records: discard it"
            }
            Self::NotSelected => "the link does not select its topic any more: select it again, or discard it",
            Self::Silent => "the leader of its source partition does not answer: run this again once it does",
            Self::Deleted => "the source no longer holds it (retention, compaction or deleted records): discard it",
            Self::Damaged => "its headers cannot be read at the source: discard it",
            Self::Changed => {
                "the source has another record at its offset than the one that was refused, which quarantine still \
                 keeps (its log was truncated, by an unclean election perhaps): show that one, and discard it"
            }
            Self::NotPassed => "the link has not passed it yet, and may copy it itself: let the link run first",
        })
    }
}

/// The plan of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayPlan {
    /// The entries that can be replayed, by source partition in ascending order.
    pub ready: Vec<BookKey>,
    /// Those that cannot, and why.
    pub held_back: BTreeMap<BookKey, HeldBack>,
}

/// Plans the replay of these entries. `topics` are the source topics that exist, `positions` those
/// of their lanes, and `selects` tells which topics the link copies.
#[must_use]
pub fn replay_plan<'a>(
    entries: impl IntoIterator<Item = &'a BookKey>,
    topics: &BTreeMap<Arc<str>, FoundTopic>,
    positions: &BTreeMap<PartitionKey, Position>,
    selects: impl Fn(&str) -> bool,
) -> ReplayPlan {
    let mut plan = ReplayPlan::default();
    let mut passed: BTreeMap<PartitionKey, Option<SourceOffset>> = BTreeMap::new();
    for key in entries {
        let partition = &key.partition;
        let next = passed
            .entry(partition.clone())
            .or_insert_with(|| resume_point(positions, partition).map(|point| point.position.next));
        let unselected = (!selects(&partition.topic)).then_some(HeldBack::NotSelected);
        match unselected.or_else(|| judge(key, topics.get(&partition.topic), *next)) {
            None => plan.ready.push(key.clone()),
            Some(why) => {
                plan.held_back.insert(key.clone(), why);
            }
        }
    }
    plan.ready.sort();
    plan
}

fn judge(key: &BookKey, topic: Option<&FoundTopic>, next: Option<SourceOffset>) -> Option<HeldBack> {
    let Some(topic) = topic.filter(|topic| key.partition.partition.unsigned_abs() < topic.partitions) else {
        return Some(HeldBack::TopicGone);
    };
    if topic.id.is_other_than(key.partition.topic_id) {
        return Some(HeldBack::OtherTopic);
    }
    match topic.log_starts.get(&key.partition.partition) {
        None => return Some(HeldBack::Silent),
        Some(start) if key.offset.0 < *start => return Some(HeldBack::Deleted),
        Some(_) => {}
    }
    if next.is_none_or(|next| key.offset >= next) { Some(HeldBack::NotPassed) } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(topic: &str, id: u8, partition: i32, offset: i64) -> BookKey {
        let partition = PartitionKey { topic: topic.into(), topic_id: TopicId([id; 16]), partition };
        BookKey { partition, offset: SourceOffset(offset) }
    }

    fn found(id: u8, starts: &[(i32, i64)], partitions: u32) -> FoundTopic {
        FoundTopic { id: TopicId([id; 16]), log_starts: starts.iter().copied().collect(), partitions }
    }

    fn passed(topic: &str, id: u8, partition: i32, next: i64) -> (PartitionKey, Position) {
        (key(topic, id, partition, 0).partition, Position { next: SourceOffset(next), ..Position::default() })
    }

    #[test]
    fn each_entry_is_held_back_for_its_own_reason_and_no_other() {
        let topics = [("a".into(), found(1, &[(0, 10)], 2)), ("b".into(), found(2, &[(0, 0)], 1))].into();
        let positions = [passed("a", 1, 0, 50), passed("b", 9, 0, 50)].into();
        let cases = [
            (key("a", 1, 0, 20), None),
            (key("a", 0, 0, 20), None),
            (key("a", 1, 0, 9), Some(HeldBack::Deleted)),
            (key("a", 1, 0, 50), Some(HeldBack::NotPassed)),
            (key("a", 1, 1, 20), Some(HeldBack::Silent)),
            (key("a", 1, 2, 20), Some(HeldBack::TopicGone)),
            (key("a", 7, 0, 20), Some(HeldBack::OtherTopic)),
            (key("b", 2, 0, 20), Some(HeldBack::NotPassed)),
            (key("c", 1, 0, 20), Some(HeldBack::TopicGone)),
            (key("d", 1, 0, 20), Some(HeldBack::NotSelected)),
        ];
        let plan = replay_plan(cases.iter().map(|(key, _)| key), &topics, &positions, |topic| topic != "d");
        for (key, why) in &cases {
            assert_eq!(plan.held_back.get(key), why.as_ref(), "{key:?}");
            assert_eq!(plan.ready.contains(key), why.is_none(), "{key:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_ready_ascends_in_each_partition_and_nothing_is_lost(
            entries in prop::collection::btree_set((0i32..3, 0i64..40), 0..30),
            (start, next) in (0i64..40, 0i64..40),
        ) {
            let topics = [("a".into(), found(1, &[(0, start), (1, 0)], 3))].into();
            let positions = [passed("a", 1, 0, 40), passed("a", 1, 1, next)].into();
            let keys: Vec<BookKey> = entries.iter().rev().map(|(p, offset)| key("a", 1, *p, *offset)).collect();
            let plan = replay_plan(&keys, &topics, &positions, |_| true);
            prop_assert!(plan.ready.is_sorted());
            prop_assert_eq!(plan.ready.len() + plan.held_back.len(), keys.len());
            for key in &plan.ready {
                let fits = if key.partition.partition == 0 { key.offset.0 >= start } else { key.offset.0 < next };
                prop_assert!(fits && key.partition.partition < 2);
            }
        }
    }
}
