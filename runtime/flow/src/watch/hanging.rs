//! Transactions at the source that never end.

use std::collections::BTreeMap;
use std::time::Duration;

use strait_core::{Event, PartitionKey, SourceOffset};

use crate::ports::LogBounds;

#[derive(Clone, Copy, Debug)]
struct Open {
    /// The last stable offset, and since when it is the same, below the high watermark.
    at: SourceOffset,
    since: Duration,
    is_reported: bool,
}

/// The transactions that are open at the source.
#[derive(Debug, Default)]
pub(super) struct Hanging {
    open: BTreeMap<PartitionKey, Open>,
}

impl Hanging {
    /// Takes the bounds of a look. Returns events of transactions that have been open for `after`.
    pub fn look(&mut self, known: &BTreeMap<PartitionKey, LogBounds>, now: Duration, after: Duration) -> Vec<Event> {
        let mut events = Vec::new();
        for (key, bounds) in known {
            let at = bounds.last_stable;
            if at >= bounds.high_watermark {
                self.open.remove(key);
                continue;
            }
            let new = Open { at, since: now, is_reported: false };
            let open = self.open.entry(key.clone()).or_insert(new);
            if open.at != at {
                *open = new;
            }
            let open_for = now.saturating_sub(open.since);
            if open_for >= after && !std::mem::replace(&mut open.is_reported, true) {
                let (partition, open_secs) = (key.clone(), open_for.as_secs());
                events.push(Event::HangingTransaction { partition, first_offset: at, open_secs });
            }
        }
        events
    }

    /// Forgets other partitions than these.
    pub fn keep(&mut self, is_watched: impl Fn(&PartitionKey) -> bool) {
        self.open.retain(|key, _| is_watched(key));
    }
}

#[cfg(test)]
mod tests {
    use strait_core::TopicId;

    use super::*;

    #[test]
    fn a_transaction_that_stays_open_is_reported_once() {
        let key = PartitionKey { topic: "t".into(), topic_id: TopicId([1; 16]), partition: 0 };
        let mut hanging = Hanging::default();
        let mut look = |stable: i64, end: i64, minute: u64| {
            let bounds = LogBounds {
                log_start: SourceOffset(0),
                last_stable: SourceOffset(stable),
                high_watermark: SourceOffset(end),
            };
            let known = BTreeMap::from([(key.clone(), bounds)]);
            let (now, after) = (Duration::from_secs(minute * 60), Duration::from_secs(15 * 60));
            hanging.look(&known, now, after).len()
        };
        assert_eq!([look(5, 9, 0), look(5, 12, 14), look(5, 12, 15), look(5, 12, 16)], [0, 0, 1, 0]);
        assert_eq!([look(8, 12, 17), look(8, 12, 31), look(12, 12, 32), look(12, 15, 33)], [0, 0, 0, 0]);
        assert_eq!([look(12, 15, 47), look(12, 15, 48)], [0, 1]);
        hanging.keep(|watched| *watched != key);
        assert!(hanging.open.is_empty());
    }
}
