//! The books: everything that is committed, checked at that moment against what the source held.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use strait_core::invariants::{self, Fate, Place, Violation};
use strait_core::map::MapRecord;
use strait_core::progress::Position;
use strait_core::{Event, PartitionKey, SourceOffset, TargetOffset};
use strait_flow::{DeliveryMode, OnTimestampZero};

use super::World;
use super::accounts::Account;
use super::entries::Entries;
use super::source::{Kind, Record};
use super::target::{Content, ROUTED, State, target_name};

/// The books of one source partition.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// Committed progress.
    pub position: Option<Position>,
    /// The first position.
    pub start: Option<SourceOffset>,
    /// Everything below this offset was checked.
    pub verified: SourceOffset,
    /// Last committed record by target topic and partition (and client, in at-least-once mode).
    last: BTreeMap<(usize, i32, usize), Place>,
    /// End of the last map record by target topic (and client, in at-least-once mode).
    map_next: BTreeMap<(Arc<str>, usize), SourceOffset>,
}

/// All books.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// The books by source partition.
    pub of: BTreeMap<PartitionKey, Book>,
    /// Committed copies: record, number of the copy, target topic, partition.
    pub copied: BTreeSet<(u64, u32, usize, i32)>,
    /// Partitions of deleted topics whose progress passed an offset without its record. An event
    /// must report each by the end of the run.
    pub owed: BTreeSet<PartitionKey>,
    /// The accounts that the positions must agree with.
    pub accounts: BTreeMap<PartitionKey, Account>,
    /// The link's books.
    pub entries: Entries,
    /// Number of committed records.
    pub records: u64,
    /// Number of copies written more than once, in at-least-once mode.
    pub repeated: u64,
    /// Number of committed transactions.
    pub transactions: u64,
}

struct Datum {
    topic: usize,
    partition: i32,
    offset: i64,
    record: u64,
    copy: u32,
    client: usize,
}

impl World {
    fn datum(&self, topic: usize, partition: i32, offset: i64) -> Option<Datum> {
        let entry = self.target.log(topic, partition)?.entries.get(offset as usize)?;
        let Content::Data { record, copy } = entry.content else { return None };
        Some(Datum { topic, partition, offset, record, copy, client: entry.client })
    }

    fn record(&self, id: u64) -> Record {
        self.source.records[id as usize].clone()
    }

    /// Records a committed transaction: everything in it becomes true at once.
    pub fn committed(&mut self, txn: usize) {
        self.books.transactions += 1;
        let entries = self.target.txns[txn].entries.clone();
        let data: Vec<Datum> = entries.iter().filter_map(|(t, p, o)| self.datum(*t, *p, *o)).collect();
        let mut progress = Vec::new();
        let mut facts = Vec::new();
        let mut maps = Vec::new();
        let mut entered = Vec::new();
        let mut owner = None;
        for (topic, partition, offset) in entries {
            let entry = self.target.log(topic, partition).map(|log| log.entries[offset as usize].clone());
            let client = entry.as_ref().map_or(usize::MAX, |entry| entry.client);
            match entry.map(|entry| entry.content) {
                Some(Content::Progress(stored)) => {
                    match self.position_in(&stored) {
                        Some(position) => progress.push(position),
                        None => facts.push(stored),
                    }
                    owner = u32::try_from(partition).ok().map(|lane| (lane, client));
                }
                Some(Content::Map(stored)) => maps.extend(self.map_in(&stored)),
                Some(Content::Book(stored)) => entered.push(stored),
                _ => {}
            }
        }
        if let Some((lane, client)) = owner {
            let records: Vec<u64> = data.iter().map(|datum| datum.record).collect();
            self.check_border(lane, client, &records, &facts);
        }
        let claims = self.check_maps(&maps, &data);
        let mut touched: BTreeMap<PartitionKey, SourceOffset> = BTreeMap::new();
        for datum in &data {
            let record = self.record(datum.record);
            let claimed = claims.get(&(datum.topic, datum.partition, datum.offset));
            let key = claimed.cloned().unwrap_or_else(|| record.partition.clone());
            // Only ids tell incarnations apart.
            let is_untold = self.source.hides_ids || !key.topic_id.is_known();
            if key.topic_id != record.partition.topic_id && !is_untold {
                self.wrong(format!("{key}: a record of another incarnation was copied"));
            }
            if key.topic_id != record.partition.topic_id {
                self.books.owed.insert(key.clone());
            }
            self.check_order(&key, datum, &record, 0);
            self.account_for_copy(&key, datum.topic, datum.partition, datum.offset);
            touched.insert(key, record.offset);
        }
        self.begin_entries(&entered);
        let moved: BTreeSet<PartitionKey> = progress.iter().map(|(key, _)| key.clone()).collect();
        for (key, position) in progress {
            self.check_progress(&key, position);
        }
        self.end_entries(|key| moved.contains(key));
        for (key, last) in touched {
            let next = self.books.of.get(&key).and_then(|b| b.position.as_ref()).map(|p| p.next);
            self.check(invariants::covered(&key, last, next));
        }
    }

    /// Records an entry outside of any transaction, which is true at once.
    pub fn appended_plainly(&mut self, topic: usize, partition: i32, offset: i64) {
        let Some(entry) = self.target.log(topic, partition).and_then(|l| l.entries.get(offset as usize)).cloned()
        else {
            return;
        };
        match entry.content {
            Content::Data { .. } => {
                let Some(datum) = self.datum(topic, partition, offset) else { return };
                let record = self.record(datum.record);
                let key = record.partition.clone();
                if self.source.recreated.contains(&key.topic) {
                    self.books.copied.insert((datum.record, datum.copy, topic, partition));
                    return;
                }
                self.check_order(&key, &datum, &record, datum.client + 1);
            }
            Content::Progress(stored) => {
                if let Some((key, position)) = self.position_in(&stored) {
                    self.check_progress(&key, position);
                }
            }
            Content::Map(stored) => {
                if let Some(map) = self.map_in(&stored) {
                    self.check_plain_map(&map, entry.client);
                }
            }
            Content::Book(stored) => self.plain_entry(&stored),
            _ => {}
        }
    }

    fn check_order(&mut self, key: &PartitionKey, datum: &Datum, record: &Record, client: usize) {
        let place = Place { leader_epoch: record.leader_epoch, offset: record.offset, copy: datum.copy };
        // Offsets of another incarnation are not ordered with these. An event must report that the
        // record was copied.
        if key.topic_id == record.partition.topic_id {
            let book = self.books.of.entry(key.clone()).or_default();
            let last = book.last.insert((datum.topic, datum.partition, client), place);
            self.check(invariants::follows(key, last, place));
        }
        if !record.committed {
            self.wrong(format!("{key}: offset {} was copied, but its transaction is not committed", record.offset));
        }
        let expected = self.copies(record);
        let name = Arc::clone(&self.target.topics[datum.topic].name);
        let meant = expected.iter().any(|(topic, partition, copy)| {
            *topic == *name && *copy == datum.copy && partition.is_none_or(|p| p == datum.partition)
        });
        if !meant {
            self.wrong(format!(
                "{key}: offset {} copy {} was not meant for {name}-{}",
                record.offset, datum.copy, datum.partition
            ));
        }
        let new = self.books.copied.insert((datum.record, datum.copy, datum.topic, datum.partition));
        self.books.records += 1;
        self.books.repeated += u64::from(!new);
    }

    /// Returns the places of a record's copies: topic, partition (if it is fixed), number of the
    /// copy.
    pub(super) fn copies(&self, record: &Record) -> Vec<(String, Option<i32>, u32)> {
        let own = || (target_name(&record.partition.topic), Some(record.partition.partition));
        let first = |(topic, partition)| vec![(topic, partition, 0)];
        match record.kind {
            Kind::Pass | Kind::Hesitate | Kind::Refused { .. } => first(own()),
            Kind::Trap | Kind::Halt if self.mended => first(own()),
            Kind::Change => vec![(own().0, own().1, 1)],
            Kind::Twice => vec![(own().0, own().1, 1), (own().0, own().1, 2)],
            Kind::Split => vec![(own().0, own().1, 0), (ROUTED.to_owned(), None, 1)],
            Kind::Route => vec![(ROUTED.to_owned(), None, 0)],
            Kind::TimestampZero if self.policies.on_timestamp_zero == OnTimestampZero::Now => first(own()),
            Kind::Drop | Kind::Reject | Kind::Trap | Kind::Halt | Kind::TimestampZero | Kind::TimestampFar => {
                Vec::new()
            }
        }
    }

    fn check_progress(&mut self, key: &PartitionKey, position: Position) {
        let plain = self.delivery == DeliveryMode::AtLeastOnce;
        let old = self.books.of.entry(key.clone()).or_default().position.clone();
        let from = match &old {
            None => self.check_start(key, &position),
            Some(old) => {
                if !plain {
                    self.check(invariants::advances(key, Some(old), &position));
                }
                self.books.of.get(key).map_or(old.next, |b| b.verified)
            }
        };
        self.note(format_args!(
            "progress of {key} ({:?}) {} -> {} owner {}",
            key.topic_id.0[0], from, position.next, position.owner
        ));
        let fell = old.as_ref().is_some_and(|old| position.next < old.next);
        if fell && !plain && !old.as_ref().is_some_and(|old| self.source.was_truncated_below(key, old.next)) {
            self.wrong(format!("{key}: progress fell to {}", position.next));
        }
        if fell && !plain {
            self.check_mark(key, position.next);
        }
        let world = &*self;
        let is_untold = !key.topic_id.is_known() && world.source.recreated.contains(&key.topic);
        let recreated = is_untold || !world.source.is_current(key);
        // Without fencing two processes can each be the first to place a partition. Of what
        // retention has deleted by then neither has read a record.
        let is_first = plain
            && old.as_ref().is_some_and(|old| {
                let first = world.books.of.get(key).and_then(|book| book.start);
                old.owner.process() != position.owner.process() && first == Some(old.next)
            });
        let log_start = world.source.log_start(key).filter(|_| is_first).unwrap_or(i64::MIN);
        let mut owed = false;
        let result = invariants::accounted(key, from, position.next, |offset| match world.fate(key, offset) {
            Fate::Missing | Fate::Lost | Fate::Stops if offset.0 < log_start => Fate::Nothing,
            // Records of a deleted topic are gone for good. The event is due once the deletion is
            // noticed.
            Fate::Missing | Fate::Lost | Fate::Stops if recreated => {
                owed = true;
                Fate::Nothing
            }
            fate => fate,
        });
        let newer = old.is_none_or(|old| position.supersedes(&old));
        if plain && !newer && result.is_err() {
            // It is of an owner that has lost the lane without knowing. Readers take the newer
            // owner's.
            return;
        }
        if owed {
            self.books.owed.insert(key.clone());
        }
        if let Err(
            Violation::Gap { offset, .. }
            | Violation::NotQuarantined { offset, .. }
            | Violation::PassedStop { offset, .. },
        ) = &result
        {
            for id in self.source.ids_at(key, *offset).into_owned() {
                let record = self.record(id);
                self.note(format_args!("of this record: {id} {:?} epoch {}", record.kind, record.leader_epoch));
            }
        }
        self.check(result);
        // One that has lost the lane without knowing may pass what it has not read: readers take
        // the newer owner's progress, and the entries are that one's.
        if newer || !plain {
            self.check_entries(key, from, position.next);
        }
        if !plain {
            self.check_account(key, from, &position);
        }
        let book = self.books.of.entry(key.clone()).or_default();
        book.verified = book.verified.max(position.next);
        if fell && !plain {
            book.verified = position.next;
            book.map_next.clear();
        }
        if newer {
            book.position = Some(position);
        }
    }

    /// Checks the first position of a partition, which is the start of its log when it was asked
    /// for.
    fn check_start(&mut self, key: &PartitionKey, position: &Position) -> SourceOffset {
        let log = self.source.log(&key.topic, key.partition);
        if self.source.topics.get(&key.topic).is_some_and(|t| t.id == key.topic_id)
            && log.is_some_and(|log| log.log_start < position.next.0)
        {
            self.wrong(format!("{key}: the first position is {}, behind the log's start", position.next));
        }
        let book = self.books.of.entry(key.clone()).or_default();
        (book.start, book.verified) = (Some(position.next), position.next);
        position.next
    }

    /// Checks the maps of a transaction against its data. Returns the partition under which each
    /// record was copied.
    fn check_maps(&mut self, maps: &[MapRecord], data: &[Datum]) -> BTreeMap<(usize, i32, i64), PartitionKey> {
        let mut claims = BTreeMap::new();
        let mut groups: BTreeMap<
            (Arc<str>, i32, usize),
            (Vec<&MapRecord>, BTreeSet<(SourceOffset, i32, TargetOffset)>),
        > = BTreeMap::new();
        for map in maps {
            let Some(topic) = self.target.topic(&map.target_topic) else {
                self.wrong(format!(
                    "{}: the map names topic {}, which does not exist",
                    map.partition, map.target_topic
                ));
                continue;
            };
            if self.target.topics[topic].id != map.target_id {
                self.wrong(format!("{}: the map names another incarnation of {}", map.partition, map.target_topic));
            }
            let book = self.books.of.entry(map.partition.clone()).or_default();
            let last = book.map_next.insert((Arc::clone(&map.target_topic), 0), map.next);
            let restarted = last.is_some_and(|last| self.source.was_truncated_below(&map.partition, last));
            self.check(invariants::map_ascends(last.filter(|_| !restarted), map));
            for run in &map.runs {
                for step in 0..i64::from(run.count) {
                    claims.insert((topic, run.target_partition, run.target.0 + step), map.partition.clone());
                }
            }
            let group = (Arc::clone(&map.partition.topic), map.partition.partition, topic);
            groups.entry(group).or_default().0.push(map);
        }
        for datum in data {
            let record = self.record(datum.record);
            let group = (Arc::clone(&record.partition.topic), record.partition.partition, datum.topic);
            let entry = (record.offset, datum.partition, TargetOffset(datum.offset));
            groups.entry(group).or_default().1.insert(entry);
        }
        for ((topic, partition, _), (maps, data)) in groups {
            let key = maps.first().map(|m| m.partition.clone()).unwrap_or(PartitionKey {
                topic,
                topic_id: strait_core::TopicId::UNKNOWN,
                partition,
            });
            self.check(invariants::map_exact(&key, maps, &data));
        }
        claims
    }

    /// Checks a map in at-least-once mode: each run names a record that is there.
    fn check_plain_map(&mut self, map: &MapRecord, client: usize) {
        let Some(topic) = self.target.topic(&map.target_topic) else { return };
        let book = self.books.of.entry(map.partition.clone()).or_default();
        let last = book.map_next.insert((Arc::clone(&map.target_topic), client), map.next);
        self.check(invariants::map_ascends(last, map));
        for run in &map.runs {
            for step in 0..i64::from(run.count) {
                let found = self.datum(topic, run.target_partition, run.target.0 + step).map(|d| self.record(d.record));
                let right = found.is_some_and(|r| {
                    r.partition.topic == map.partition.topic
                        && r.partition.partition == map.partition.partition
                        && r.offset.0 == run.source.0 + step
                });
                if !right {
                    self.wrong(format!("{}: the map is wrong at {}", map.partition, run.source.0 + step));
                }
            }
        }
    }

    /// Checks the whole target as a reader of committed data sees it at the end: nothing twice,
    /// nothing out of order, no open transaction.
    pub fn check_whole_target(&mut self) {
        if self.target.open_transactions() > 0 {
            self.wrong("a transaction was left open".to_owned());
        }
        let mut last: BTreeMap<(PartitionKey, usize, i32), Place> = BTreeMap::new();
        for topic in 0..self.target.topics.len() {
            for partition in 0..self.target.topics[topic].logs.len() as i32 {
                let end = self.target.last_stable(topic, partition);
                let len = self.target.log(topic, partition).map_or(0, |l| l.entries.len());
                if end != len {
                    self.wrong(format!(
                        "readers of committed data stop at {end} of {len} in topic {topic}-{partition}"
                    ));
                }
                for offset in 0..end as i64 {
                    let Some(datum) = self.datum(topic, partition, offset) else { continue };
                    let txn = self.target.log(topic, partition).and_then(|l| l.entries[offset as usize].txn);
                    if txn.is_some_and(|t| self.target.txns[t].state != State::Committed) {
                        continue;
                    }
                    let record = self.record(datum.record);
                    let place = Place { leader_epoch: record.leader_epoch, offset: record.offset, copy: datum.copy };
                    if self.delivery == DeliveryMode::AtLeastOnce
                        || self.source.recreated.contains(&record.partition.topic)
                    {
                        continue;
                    }
                    let before = last.insert((record.partition.clone(), topic, partition), place);
                    self.check(invariants::follows(&record.partition, before, place));
                }
            }
        }
        for key in self.books.owed.clone() {
            let told = |e: &Event| match e {
                Event::TopicRecreated { partition, .. }
                | Event::SourceGone { partition, .. }
                | Event::EpochRegression { partition, .. } => *partition == key,
                _ => false,
            };
            if !self.events.iter().any(|(_, _, e)| told(e)) {
                self.wrong(format!(
                    "{key} ({}): records were lost with a deleted topic and no event says so",
                    key.topic_id
                ));
            }
        }
    }
}
