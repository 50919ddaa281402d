//! The outcome of a replay, for people.

use std::collections::BTreeMap;

use strait_core::books::{BookKey, HeldBack};
use strait_kafka::Outcome;

use super::records;
use crate::commands::status::plain;

/// Records named for one reason; the others are counted.
const NAMED_MAX: usize = 5;

/// The counts of a replay.
#[derive(Debug, Default)]
pub struct Summary {
    asked: usize,
    copied: usize,
    dropped: usize,
    /// Records that stay open, by reason.
    open: BTreeMap<String, Vec<BookKey>>,
    /// Records that were not tried, because one before them was refused.
    pub untried: usize,
}

impl Summary {
    /// Begins with the number of records that were asked for.
    #[must_use]
    pub fn of(asked: usize) -> Self {
        Self { asked, ..Self::default() }
    }

    /// Adds a record that cannot be replayed now.
    pub fn hold_back(&mut self, key: BookKey, why: &HeldBack) {
        self.open.entry(why.to_string()).or_default().push(key);
    }

    /// Adds records that are not replayed because something stops their source partition.
    pub fn leave(&mut self, keys: Vec<BookKey>, cause: &str) {
        if !keys.is_empty() {
            self.open.entry(cause.to_owned()).or_default().extend(keys);
        }
    }

    /// Adds the outcome of a record.
    pub fn add(&mut self, key: BookKey, outcome: Outcome) {
        match outcome {
            Outcome::Copied(_) => self.copied += 1,
            Outcome::Dropped => self.dropped += 1,
            Outcome::Refused { by, code, text } => {
                let text = if text.is_empty() { String::new() } else { format!(": {text}") };
                self.open.entry(format!("refused again by {by} ({code}){text}")).or_default().push(key);
            }
        }
    }

    /// Returns the number of records that are replayed.
    #[must_use]
    pub fn replayed(&self) -> usize {
        self.copied + self.dropped
    }

    /// Returns whether every record that was asked for is replayed.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.open.is_empty() && self.untried == 0
    }

    /// Returns the summary as text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = format!(
            "{} of {} replayed: {} copied, {} dropped by the plugins\n",
            self.replayed(),
            records(self.asked),
            self.copied,
            self.dropped
        );
        out.push_str(&self.still_open());
        if self.untried > 0 {
            out.push_str(&format!("{} behind it not tried (--stop-at-reject)\n", records(self.untried)));
        }
        out
    }

    /// Returns the records that stay open, by reason.
    #[must_use]
    pub fn still_open(&self) -> String {
        let mut out = String::new();
        for (reason, keys) in &self.open {
            let named = keys.iter().take(NAMED_MAX).map(|key| format!("{} offset {}", key.partition, key.offset));
            let mut named = named.collect::<Vec<_>>().join(", ");
            let more = keys.len().saturating_sub(NAMED_MAX);
            if more > 0 {
                named.push_str(&format!(" and {more} more"));
            }
            out.push_str(&format!("{} open: {} ({})\n", records(keys.len()), plain(reason), plain(&named)));
        }
        out
    }
}
