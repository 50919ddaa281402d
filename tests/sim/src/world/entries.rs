//! The link's books: each record that progress passes by quarantine has one open entry there, which
//! tells where the record is.

use std::collections::BTreeMap;

use strait_core::books::{
    BOOKS_PARTITION, BookEntry, BookFilter, BookKey, BookLine, BookState, Booked, IndexFold, KeptAt, ReadAgain,
};
use strait_core::invariants::Fate;
use strait_core::{PartitionKey, SourceOffset};
use strait_flow::DeliveryMode;

use super::World;
use super::stored::Stored;
use super::target::{Content, OPERATE};

/// Why the target does not take entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BooksFault {
    /// The topic does not exist, and the target says so.
    Missing,
    /// The target says that it takes them, and does not.
    Untold,
    /// The target does not say whether it takes them.
    Silent,
}

/// The entries that are committed.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    /// How many of each record.
    written: BTreeMap<BookKey, u64>,
    /// Those of the transaction that is being checked.
    in_transaction: BTreeMap<BookKey, u64>,
    /// The marks of that transaction, of partitions that are read again.
    marks: Vec<ReadAgain>,
}

impl World {
    /// Takes the entries of a committed transaction.
    pub(super) fn begin_entries(&mut self, stored: &[Stored]) {
        self.books.entries.in_transaction.clear();
        self.books.entries.marks.clear();
        for stored in stored {
            if let Some(mark) = self.mark_in(stored) {
                self.books.entries.marks.push(mark);
                continue;
            }
            let Some(key) = self.entry_in(stored) else { continue };
            *self.books.entries.in_transaction.entry(key.clone()).or_default() += 1;
            *self.books.entries.written.entry(key).or_default() += 1;
        }
    }

    /// Takes an entry outside of any transaction.
    pub(super) fn plain_entry(&mut self, stored: &Stored) {
        if self.mark_in(stored).is_some() {
            return;
        }
        if let Some(key) = self.entry_in(stored) {
            *self.books.entries.written.entry(key).or_default() += 1;
        }
    }

    /// Takes a mark: the entries before it that it is about count no more.
    fn mark_in(&mut self, stored: &Stored) -> Option<ReadAgain> {
        let Some(BookLine::ReadAgain(mark)) = BookLine::decode(&stored.key) else { return None };
        self.books.entries.written.retain(|key, _| !mark.ends(key));
        Some(mark)
    }

    /// Checks that progress which goes back to `next` has its mark in the same transaction.
    pub(super) fn check_mark(&mut self, key: &PartitionKey, next: SourceOffset) {
        let is_its = |mark: &ReadAgain| mark.partition == *key && mark.read_again_from <= next;
        if !self.books.entries.marks.iter().any(is_its) {
            self.wrong(format!("{key}: progress goes back to {next}, and the books do not say so"));
        }
    }

    /// Checks an entry by itself.
    fn entry_in(&mut self, stored: &Stored) -> Option<BookKey> {
        let (key, entry) = match BookEntry::decode(&stored.key, &stored.value) {
            Ok(decoded) => decoded,
            Err(error) => {
                self.wrong(error.to_string());
                return None;
            }
        };
        let (partition, offset) = (&key.partition, key.offset);
        let BookEntry { state, place: KeptAt { offset: place, .. }, .. } = &entry;
        if *state != BookState::Open {
            self.wrong(format!("{partition}: the entry of {offset} is {}", state.word()));
        }
        let id = usize::try_from(place.0).ok().and_then(|place| self.kept.get(place)).copied();
        let is_here = id.is_some_and(|id| self.source.ids_at(partition, offset).contains(&id));
        // Who reads by name while a topic is created again may take a record of the new one.
        if !is_here && !self.source.recreated.contains(&partition.topic) {
            self.wrong(format!("{partition}: the entry of {offset} names the place of record {id:?}"));
        }
        Some(key)
    }

    /// Checks the entries with the progress of their transaction, which passes the offsets from
    /// `from` to `next`.
    pub(super) fn check_entries(&mut self, key: &PartitionKey, from: SourceOffset, next: SourceOffset) {
        let of = |offset: i64| BookKey { partition: key.clone(), offset: SourceOffset(offset) };
        let plain = self.delivery == DeliveryMode::AtLeastOnce;
        let was_read = !self.was_tampered_with(key);
        for offset in (from.0..next.0).filter(|_| was_read) {
            let ids = self.source.ids_at(key, SourceOffset(offset));
            let [id] = &ids[..] else { continue };
            if !self.still_stands(key, SourceOffset(offset), *id)
                || self.fate(key, SourceOffset(offset)) != Fate::Quarantined
            {
                continue;
            }
            let Entries { written, in_transaction, .. } = &self.books.entries;
            let entries = if plain { written } else { in_transaction };
            let count = entries.get(&of(offset)).copied().unwrap_or_default();
            if count == 0 || (count > 1 && !plain) {
                self.wrong(format!(
                    "{key}: progress passes {offset}, which is in quarantine and has {count} entries in the books"
                ));
            }
        }
        let early = self.books.entries.in_transaction.range(of(next.0)..).next();
        if let Some((entry, _)) = early.filter(|(entry, _)| entry.partition == *key) {
            let offset = entry.offset;
            self.wrong(format!("{key}: the books have an entry of {offset}, and progress is {next}"));
        }
    }

    /// Checks at the end of a transaction that each entry has progress of its partition.
    pub(super) fn end_entries(&mut self, moved: impl Fn(&PartitionKey) -> bool) {
        let alone = self.books.entries.in_transaction.keys().find(|key| !moved(&key.partition));
        if let Some(BookKey { partition, offset }) = alone.cloned() {
            self.wrong(format!("{partition}: the books have an entry of {offset} without progress"));
        }
        self.books.entries.in_transaction.clear();
    }

    /// Returns the records that are open in the books, as a reader of committed data finds them.
    #[must_use]
    pub fn open_records(&self) -> BTreeMap<BookKey, Booked> {
        let Some(topic) = self.target.topic(OPERATE) else { return BTreeMap::new() };
        let end = self.target.last_stable(topic, BOOKS_PARTITION);
        let entries = self.target.log(topic, BOOKS_PARTITION).map_or(&[][..], |log| &log.entries);
        let mut fold = IndexFold::new(BookFilter::default());
        for entry in entries.iter().take(end).filter(|entry| self.target.is_committed(entry)) {
            let Content::Book(stored) = &entry.content else { continue };
            if fold.fold(&stored.key, Some(&stored.value), 0).is_err() {
                break;
            }
        }
        fold.finish().unwrap_or_default().entries
    }

    /// Checks that a reader of committed data finds each entry that was committed, and that no
    /// replay of an open one copies what a lane has copied.
    pub fn check_all_entries(&mut self) {
        let open = self.open_records();
        let lost = self.books.entries.written.keys().find(|key| !open.contains_key(key));
        if let Some(BookKey { partition, offset }) = lost.cloned() {
            self.wrong(format!("{partition}: readers do not find the entry of {offset} in the books"));
        }
        if self.delivery == DeliveryMode::AtLeastOnce {
            return;
        }
        let is_copied = |key: &&BookKey| {
            let current = self.source.topics.get(&key.partition.topic).is_some_and(|t| t.id == key.partition.topic_id);
            let log = self.source.log(&key.partition.topic, key.partition.partition).filter(|_| current);
            let Some(id) = log.and_then(|log| log.entries.get(key.offset.0 as usize)?.record) else { return false };
            self.books.copied.range((id, 0, 0, i32::MIN)..(id + 1, 0, 0, i32::MIN)).next().is_some()
        };
        if let Some(BookKey { partition, offset }) = open.keys().find(is_copied).cloned() {
            self.wrong(format!("{partition}: {offset} is copied and open in the books: a replay would copy it again"));
        }
    }
}
