//! Checks what positions say besides their offset: totals and tails, against the source's history
//! and the target's logs.

use std::collections::BTreeMap;
use std::sync::Arc;

use strait_core::invariants::Fate;
use strait_core::progress::{Position, TAILS_MAX, Totals};
use strait_core::{Event, PartitionKey, SourceOffset};

use super::World;
use super::source::Kind;

/// The account of one source partition, as the world counts it.
#[derive(Clone, Debug, Default)]
pub struct Account {
    totals: Totals,
    /// Offset after the last record in each target partition.
    ends: BTreeMap<(usize, i32), i64>,
    /// Something happened to the source that makes the figures a matter of luck: records that may
    /// or may not have been read before they vanished.
    is_vague: bool,
}

impl World {
    /// Records a committed copy.
    pub fn account_for_copy(&mut self, key: &PartitionKey, topic: usize, partition: i32, offset: i64) {
        let account = self.books.accounts.entry(key.clone()).or_default();
        account.ends.insert((topic, partition), offset + 1);
    }

    /// Checks a committed position that covers the offsets from `from` on.
    pub fn check_account(&mut self, key: &PartitionKey, from: SourceOffset, position: &Position) {
        let mut account = self.books.accounts.remove(key).unwrap_or_default();
        account.is_vague |= self.was_tampered_with(key) || position.next < from;
        for offset in from.0..position.next.0 {
            self.count(key, SourceOffset(offset), &mut account);
        }
        account.totals.seen = account.totals.kept + account.totals.dropped + account.totals.quarantined;
        if !account.is_vague && position.totals != Some(account.totals) {
            let expected = account.totals;
            self.wrong(format!("{key}: totals at {} are {:?} and not {expected:?}", position.next, position.totals));
        }
        let name = |topic: usize| Arc::clone(&self.target.topics[topic].name);
        let mut told = BTreeMap::new();
        for tail in position.tails.list() {
            let topic = self.target.topics.iter().position(|topic| *topic.name == *tail.topic && topic.id == tail.id);
            told.insert((topic.unwrap_or(usize::MAX), tail.partition), tail.end.0);
        }
        let complete = told.len() == TAILS_MAX.min(account.ends.len());
        let right = told.iter().all(|(place, end)| account.ends.get(place) == Some(end));
        if !(account.is_vague || complete && right) {
            let ends: Vec<_> = account.ends.iter().map(|((topic, p), end)| (name(*topic), *p, *end)).collect();
            self.wrong(format!("{key}: tails at {} are {:?} and not {ends:?}", position.next, position.tails));
        }
        self.books.accounts.insert(key.clone(), account);
    }

    fn count(&self, key: &PartitionKey, offset: SourceOffset, account: &mut Account) {
        let ids = self.source.ids_at(key, offset);
        if ids.is_empty() {
            return;
        }
        let [id] = ids[..] else {
            account.is_vague = true;
            return;
        };
        // An election took it, and who read the log before that read it.
        if !self.still_stands(key, offset, id) {
            account.is_vague = true;
            return;
        }
        let record = &self.source.records[id as usize];
        match self.fate(key, offset) {
            Fate::Copied => {
                account.totals.kept += 1;
                account.totals.copies += self.copies(record).len() as u64;
            }
            Fate::Quarantined => account.totals.quarantined += 1,
            Fate::Nothing if record.committed && record.kind == Kind::Drop => account.totals.dropped += 1,
            Fate::Nothing => {}
            // The other checks report these.
            Fate::Missing | Fate::Lost | Fate::Stops => account.is_vague = true,
        }
    }

    /// Returns whether something happened to the source that makes it a matter of luck which
    /// records of a partition were read.
    pub(super) fn was_tampered_with(&self, key: &PartitionKey) -> bool {
        let reported = self.events.iter().any(|(_, _, event)| match event {
            Event::Truncated { partition, .. } | Event::RetentionOverrun { partition, .. } => partition.may_be(key),
            _ => false,
        });
        reported
            || self.source.recreated.contains(&key.topic)
            || self.source.emptied.iter().any(|(emptied, _)| emptied.may_be(key))
    }
}
