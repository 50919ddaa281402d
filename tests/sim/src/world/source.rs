//! The source cluster: topics with ids, logs with gaps, open transactions, retention, unclean
//! elections.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use strait_core::{LeaderEpoch, PartitionKey, SourceOffset, TopicId};
use strait_flow::ports::{LogBounds, SourceTopic, StartAt};

use super::{Faults, World};

/// Number of past lists of topics that brokers may tell.
const PAST_LISTS: usize = 4;

/// Milliseconds since the Unix epoch at which every run begins.
pub const UNIX_START_MS: i64 = 1_700_000_000_000;

/// The treatment of a record by plugins and target. Decided when the record is written, so that it
/// is the same however often the record is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It passes.
    Pass,
    /// A plugin drops it.
    Drop,
    /// A plugin changes it.
    Change,
    /// A plugin replaces it by two copies.
    Twice,
    /// The original passes, and a copy goes to the topic of routed records.
    Split,
    /// It goes to the topic of routed records only.
    Route,
    /// A plugin rejects it.
    Reject,
    /// The target refuses it.
    Refused {
        /// The refusal names the record.
        named: bool,
    },
    /// Its timestamp is 0.
    TimestampZero,
    /// Its timestamp is out of the target's range.
    TimestampFar,
    /// A plugin traps on it.
    Trap,
    /// A plugin breaks on it and its policy says stop.
    Halt,
    /// A plugin asks for a retry; then the record passes.
    Hesitate,
}

/// How many of 1000 records are of each kind. The others pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// [`Kind::Drop`].
    pub drop: u64,
    /// [`Kind::Change`].
    pub change: u64,
    /// [`Kind::Twice`].
    pub twice: u64,
    /// [`Kind::Split`].
    pub split: u64,
    /// [`Kind::Route`].
    pub route: u64,
    /// [`Kind::Reject`].
    pub reject: u64,
    /// [`Kind::Refused`].
    pub refused: u64,
    /// [`Kind::TimestampZero`].
    pub timestamp_zero: u64,
    /// [`Kind::TimestampFar`].
    pub timestamp_far: u64,
    /// [`Kind::Trap`].
    pub trap: u64,
    /// [`Kind::Halt`].
    pub halt: u64,
    /// [`Kind::Hesitate`].
    pub hesitate: u64,
    /// The plugins are stateful, and check that they have seen exactly the records before each one.
    pub memory: bool,
}

/// A record that was ever written to the source.
#[derive(Clone, Debug)]
pub struct Record {
    /// The source partition.
    pub partition: PartitionKey,
    /// Its offset.
    pub offset: SourceOffset,
    /// Its leader epoch.
    pub leader_epoch: LeaderEpoch,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// Its treatment.
    pub kind: Kind,
    /// Readers of committed data see it.
    pub committed: bool,
}

/// One offset of a log.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Index into [`SourceCluster::records`]. `None` for control records and compacted ones.
    pub record: Option<u64>,
    /// It belongs to an open transaction.
    pub open: bool,
    /// Leader epoch.
    pub epoch: i32,
}

/// A partition. Offsets are indexes into `entries`.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// First offset that exists.
    pub log_start: i64,
    /// All entries, deleted ones included.
    pub entries: Vec<Entry>,
    /// Leader epoch of the next entry.
    pub epoch: i32,
    /// An election took entries away.
    pub lost: bool,
}

impl Log {
    /// Returns the end of the log.
    #[must_use]
    pub fn end(&self) -> i64 {
        self.entries.len() as i64
    }

    /// Returns the last stable offset, where readers of committed data stop.
    #[must_use]
    pub fn last_stable(&self) -> i64 {
        self.entries.iter().position(|e| e.open).map_or(self.end(), |at| at as i64)
    }

    /// Returns the end of the largest leader epoch that is not above `epoch`, as
    /// OffsetForLeaderEpoch does. `None` if no leader has had the epoch yet: another incarnation of
    /// the topic.
    #[must_use]
    pub fn end_of_epoch(&self, epoch: i32) -> Option<i64> {
        let end = self.entries.iter().position(|e| e.epoch > epoch).map_or(self.end(), |at| at as i64);
        (epoch <= self.epoch).then(|| end.max(self.log_start))
    }
}

/// A topic.
#[derive(Clone, Debug)]
pub struct Topic {
    /// The id of this incarnation.
    pub id: TopicId,
    /// The partitions.
    pub logs: Vec<Log>,
}

/// The source cluster.
#[derive(Debug, Default)]
pub struct SourceCluster {
    /// Topics by name.
    pub topics: BTreeMap<Arc<str>, Topic>,
    /// Every record ever written.
    pub records: Vec<Record>,
    /// The records that were ever at an offset.
    pub history: BTreeMap<PartitionKey, BTreeMap<i64, Vec<u64>>>,
    /// Offsets without a record that an election took. A reader may have passed them before.
    pub emptied: std::collections::BTreeSet<(PartitionKey, i64)>,
    /// Where elections have truncated each log.
    pub truncations: BTreeMap<PartitionKey, Vec<i64>>,
    /// Names of topics that were ever deleted.
    pub recreated: std::collections::BTreeSet<Arc<str>>,
    /// Where the logs of deleted topics began at their end.
    pub ended: BTreeMap<PartitionKey, i64>,
    /// The cluster reports no topic ids for now.
    pub hides_ids: bool,
    /// The lists of topics before the last changes, which brokers that are behind still tell.
    past: VecDeque<Vec<SourceTopic>>,
    ids: u8,
}

impl SourceCluster {
    /// Returns the log of a partition, by name, as clients ask for it.
    #[must_use]
    pub fn log(&self, topic: &str, partition: i32) -> Option<&Log> {
        self.topics.get(topic)?.logs.get(usize::try_from(partition).ok()?)
    }

    /// Returns the furthest that retention has come in a partition, or came before its topic was
    /// deleted: somebody may learn of it later.
    #[must_use]
    pub fn log_start(&self, partition: &PartitionKey) -> Option<i64> {
        let is_now = self.is_current(partition);
        let now = self.log(&partition.topic, partition.partition).filter(|_| is_now).map(|log| log.log_start);
        let ended = self.ended.iter().filter(|(key, _)| key.may_be(partition)).map(|(_, start)| *start);
        ended.chain(now).max()
    }

    /// Returns the records that were ever at an offset. Without a topic id these are the records of
    /// every topic that had the name.
    #[must_use]
    pub fn ids_at(&self, partition: &PartitionKey, offset: SourceOffset) -> Cow<'_, [u64]> {
        if partition.topic_id.is_known() {
            let ids = self.history.get(partition).and_then(|history| history.get(&offset.0));
            return Cow::Borrowed(ids.map_or(&[], Vec::as_slice));
        }
        let of_name = PartitionKey::of_topic(&self.history, &partition.topic).filter(|(key, _)| key.may_be(partition));
        Cow::Owned(of_name.filter_map(|(_, history)| history.get(&offset.0)).flatten().copied().collect())
    }

    /// Returns whether the topic that is there now is the one of the partition, as far as ids say.
    #[must_use]
    pub fn is_current(&self, partition: &PartitionKey) -> bool {
        self.topics.get(&partition.topic).is_some_and(|topic| !topic.id.is_other_than(partition.topic_id))
    }

    /// Returns whether an election took an offset without a record.
    #[must_use]
    pub fn was_emptied(&self, partition: &PartitionKey, offset: SourceOffset) -> bool {
        self.emptied.contains(&(partition.clone(), offset.0))
            || !partition.topic_id.is_known()
                && self.emptied.iter().any(|(key, at)| *at == offset.0 && key.may_be(partition))
    }

    fn log_mut(&mut self, topic: &str, partition: i32) -> Option<&mut Log> {
        self.topics.get_mut(topic)?.logs.get_mut(usize::try_from(partition).ok()?)
    }

    /// Returns all topics with their ids and partition counts.
    #[must_use]
    pub fn list(&self) -> Vec<SourceTopic> {
        let topic = |(name, topic): (&Arc<str>, &Topic)| SourceTopic {
            topic: Arc::clone(name),
            id: self.told_id(topic),
            partitions: topic.logs.len() as i32,
        };
        self.topics.iter().map(topic).collect()
    }

    /// Returns the id of a topic as clients hear it.
    #[must_use]
    pub fn told_id(&self, topic: &Topic) -> TopicId {
        if self.hides_ids { TopicId::UNKNOWN } else { topic.id }
    }

    /// Returns all partitions.
    #[must_use]
    pub fn partitions(&self) -> Vec<PartitionKey> {
        let of = |(name, topic): (&Arc<str>, &Topic)| {
            let (name, topic_id) = (Arc::clone(name), topic.id);
            let key = move |partition| PartitionKey { topic: Arc::clone(&name), topic_id, partition };
            (0..topic.logs.len() as i32).map(key)
        };
        self.topics.iter().flat_map(of).collect()
    }

    /// Returns the bounds of a log.
    #[must_use]
    pub fn bounds(&self, topic: &str, partition: i32) -> Option<LogBounds> {
        let log = self.log(topic, partition)?;
        Some(LogBounds {
            log_start: SourceOffset(log.log_start),
            last_stable: SourceOffset(log.last_stable()),
            high_watermark: SourceOffset(log.end()),
        })
    }

    /// Returns whether an election ever took the entry before this offset.
    #[must_use]
    pub fn was_truncated_below(&self, key: &PartitionKey, offset: SourceOffset) -> bool {
        let of_name = PartitionKey::of_topic(&self.truncations, &key.topic).filter(|(of, _)| of.may_be(key));
        of_name.flat_map(|(_, ends)| ends).any(|end| *end < offset.0)
    }

    /// Resolves a start to an offset.
    #[must_use]
    pub fn resolve(&self, start: StartAt, topic: &str, partition: i32) -> Option<SourceOffset> {
        let log = self.log(topic, partition)?;
        let offset = match start {
            StartAt::Earliest => log.log_start,
            StartAt::Latest => log.last_stable(),
            StartAt::Timestamp(at) => (log.log_start..log.end())
                .find(|o| log.entries[*o as usize].record.is_some_and(|r| self.records[r as usize].timestamp_ms >= at))
                .unwrap_or(log.end()),
        };
        Some(SourceOffset(offset))
    }
}

impl World {
    /// Tells the topics as a broker does that may be behind.
    pub fn tell_topics(&mut self) -> Vec<SourceTopic> {
        let Faults { stale_topics, no_ids, .. } = self.faults;
        let mut list = self.source.list();
        if self.rng.chance(stale_topics) && !self.source.past.is_empty() {
            let at = self.rng.index(self.source.past.len());
            list.clone_from(&self.source.past[at]);
        }
        if self.rng.chance(no_ids) {
            list.iter_mut().for_each(|topic| topic.id = TopicId::UNKNOWN);
        }
        list
    }

    /// Returns whether progress names every partition of a topic by the topic's present id. A topic
    /// that is first seen without an id is the same for a lane whatever incarnation it is.
    #[must_use]
    pub fn is_known_by_id(&self, name: &str) -> bool {
        let mut partitions = self.source.partitions().into_iter().filter(|key| &*key.topic == name);
        partitions.all(|key| self.books.of.get(&key).is_some_and(|book| book.position.is_some()))
    }

    /// Keeps the list of topics that is about to change.
    fn keep_list(&mut self) {
        let list = self.source.list();
        self.source.past.push_back(list);
        if self.source.past.len() > PAST_LISTS {
            self.source.past.pop_front();
        }
    }

    /// Creates a topic.
    pub fn create_source_topic(&mut self, name: &str, partitions: usize) {
        self.keep_list();
        self.source.ids += 1;
        let id = TopicId([self.source.ids; 16]);
        self.note(format_args!("source topic {name} {id} with {partitions} partitions"));
        self.source.topics.insert(name.into(), Topic { id, logs: vec![Log::default(); partitions] });
        self.source_changed.notify_waiters();
    }

    /// Deletes a topic.
    pub fn delete_source_topic(&mut self, name: &str) {
        self.keep_list();
        self.note(format_args!("source topic {name} deleted"));
        self.source.recreated.insert(name.into());
        if let Some(Topic { id: topic_id, logs }) = self.source.topics.remove(name) {
            for (partition, log) in (0..).zip(logs) {
                self.source.ended.insert(PartitionKey { topic: name.into(), topic_id, partition }, log.log_start);
            }
        }
        self.source_changed.notify_waiters();
    }

    /// Adds a partition.
    pub fn grow_source_topic(&mut self, name: &str) {
        self.keep_list();
        self.note(format_args!("source topic {name} grows"));
        if let Some(topic) = self.source.topics.get_mut(name) {
            topic.logs.push(Log::default());
        }
    }

    /// Appends `count` records, some of them after a control record, in a transaction that stays
    /// open if `open` is set.
    pub fn append(&mut self, name: &str, partition: i32, count: u64, open: bool) {
        let now_ms = UNIX_START_MS + self.now() as i64;
        for _ in 0..count {
            let kind = self.kind();
            let id = self.source.records.len() as u64;
            let gap = self.rng.chance(60);
            let Some(topic) = self.source.topics.get_mut(name) else { return };
            let topic_id = topic.id;
            let Some(log) = topic.logs.get_mut(partition as usize) else { return };
            let epoch = log.epoch;
            if gap {
                log.entries.push(Entry { record: None, open, epoch });
            }
            let offset = log.end();
            log.entries.push(Entry { record: Some(id), open, epoch });
            let key = PartitionKey { topic: name.into(), topic_id, partition };
            self.source.history.entry(key.clone()).or_default().entry(offset).or_default().push(id);
            self.source.records.push(Record {
                partition: key,
                offset: SourceOffset(offset),
                leader_epoch: LeaderEpoch(epoch),
                timestamp_ms: match kind {
                    Kind::TimestampZero => 0,
                    Kind::TimestampFar => 5,
                    _ => now_ms,
                },
                kind,
                committed: !open,
            });
        }
        self.note(format_args!("append {count} to {name}-{partition} open={open}"));
        self.source_changed.notify_waiters();
    }

    /// Appends a control record only.
    pub fn append_control(&mut self, name: &str, partition: i32) {
        if let Some(log) = self.source.log_mut(name, partition) {
            let epoch = log.epoch;
            log.entries.push(Entry { record: None, open: false, epoch });
        }
        self.source_changed.notify_waiters();
    }

    fn kind(&mut self) -> Kind {
        let rules = self.rules;
        let mut left = self.rng.below(1000);
        let named = self.rng.chance(500);
        for (weight, kind) in [
            (rules.drop, Kind::Drop),
            (rules.change, Kind::Change),
            (rules.twice, Kind::Twice),
            (rules.split, Kind::Split),
            (rules.route, Kind::Route),
            (rules.reject, Kind::Reject),
            (rules.refused, Kind::Refused { named }),
            (rules.timestamp_zero, Kind::TimestampZero),
            (rules.timestamp_far, Kind::TimestampFar),
            (rules.trap, Kind::Trap),
            (rules.halt, Kind::Halt),
            (rules.hesitate, Kind::Hesitate),
        ] {
            if left < weight {
                return kind;
            }
            left -= weight;
        }
        Kind::Pass
    }

    /// Ends the open transactions of a partition.
    pub fn end_source_transaction(&mut self, name: &str, partition: i32, commit: bool) {
        let Some(log) = self.source.topics.get_mut(name).and_then(|t| t.logs.get_mut(partition as usize)) else {
            return;
        };
        let mut any = false;
        for entry in log.entries.iter_mut().filter(|e| e.open) {
            any = true;
            entry.open = false;
            let Some(id) = entry.record else { continue };
            if commit {
                self.source.records[id as usize].committed = true;
            } else {
                // It is aborted: readers of committed data pass it.
                entry.record = None;
            }
        }
        if !any {
            return;
        }
        let epoch = log.epoch;
        log.entries.push(Entry { record: None, open: false, epoch });
        self.note(format_args!("transaction on {name}-{partition} ends, commit={commit}"));
        self.source_changed.notify_waiters();
    }

    /// Deletes the records below `offset`.
    pub fn retain(&mut self, name: &str, partition: i32, offset: i64) {
        if let Some(log) = self.source.log_mut(name, partition) {
            log.log_start = log.log_start.max(offset.min(log.last_stable()));
            let start = log.log_start;
            self.note(format_args!("retention: {name}-{partition} starts at {start}"));
        }
    }

    /// Elects a new leader. An unclean election loses the records at or past `keep`.
    pub fn elect(&mut self, name: &str, partition: i32, keep: Option<i64>) {
        if let (Some(keep), Some(topic)) = (keep, self.source.topics.get(name)) {
            let key = PartitionKey { topic: name.into(), topic_id: topic.id, partition };
            let log = topic.logs.get(partition as usize).map_or(&[][..], |log| &log.entries);
            let taken = log.iter().enumerate().skip(usize::try_from(keep).unwrap_or(0));
            let empty = taken.filter(|(_, entry)| entry.record.is_none());
            self.source.emptied.extend(empty.map(|(at, _)| (key.clone(), at as i64)));
            let keep = keep.max(topic.logs.get(partition as usize).map_or(0, |log| log.log_start));
            if keep < log.len() as i64 {
                self.source.truncations.entry(key).or_default().push(keep);
            }
        }
        if let Some(log) = self.source.log_mut(name, partition) {
            log.epoch += 1;
            if let Some(keep) = keep {
                let keep = keep.max(log.log_start);
                log.lost |= keep < log.end();
                log.entries.truncate(usize::try_from(keep).unwrap_or(0));
            }
            let (end, epoch) = (log.end(), log.epoch);
            self.note(format_args!("election: {name}-{partition} epoch {epoch}, ends at {end}"));
        }
    }
}
