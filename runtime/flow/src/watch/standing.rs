//! Finds the partitions that do not move. A pure rule that looks at positions from outside: it does
//! not depend on a lane that admits a fault.

use std::collections::BTreeMap;
use std::time::Duration;

use strait_core::{PartitionKey, SourceOffset};

use crate::ports::LogBounds;

/// The last log bounds of a partition and their age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastBounds {
    /// The bounds.
    pub bounds: LogBounds,
    /// Time since they were read.
    pub age: Duration,
    /// The source has said since then that the partition does not exist.
    pub is_gone: bool,
}

/// The verdict about one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It moves, or has nothing to copy.
    Well,
    /// It has something to copy and has not moved for this long, which is not long enough to count.
    Slow(Duration),
    /// It counts as a standstill since this look.
    Began(Duration),
    /// It is at a standstill, as before.
    Stands(Duration),
    /// It was at a standstill for this long and is not any more.
    Ended(Duration),
}

#[derive(Clone, Copy, Debug)]
struct Track {
    position: Option<SourceOffset>,
    /// When it last moved or had nothing to copy.
    since: Duration,
    stands: bool,
}

/// Follows the positions of partitions.
#[derive(Debug)]
pub struct StandingRule {
    after: Duration,
    stale_after: Duration,
    tracks: BTreeMap<PartitionKey, Track>,
}

impl StandingRule {
    /// Creates the rule. A partition with something to copy is at a standstill once it has not
    /// moved for `after`. Bounds that are older than `stale_after` prove nothing.
    #[must_use]
    pub fn new(after: Duration, stale_after: Duration) -> Self {
        Self { after, stale_after, tracks: BTreeMap::new() }
    }

    /// Judges a partition. `position` is its committed progress and `None` where that is not known:
    /// then the last known one counts.
    /// `last` is `None` where its bounds were never read.
    pub fn observe(
        &mut self,
        key: &PartitionKey,
        position: Option<SourceOffset>,
        last: Option<LastBounds>,
        now: Duration,
    ) -> Verdict {
        let position = position.or_else(|| self.tracks.get(key)?.position);
        let is_well = self.has_nothing_to_copy(position, last);
        let Some(track) = self.tracks.get_mut(key) else {
            self.tracks.insert(key.clone(), Track { position, since: now, stands: false });
            return Verdict::Well;
        };
        let still = now.saturating_sub(track.since);
        if is_well || track.position != position {
            let stood = std::mem::replace(track, Track { position, since: now, stands: false }).stands;
            return if stood { Verdict::Ended(still) } else { Verdict::Well };
        }
        if still < self.after {
            return Verdict::Slow(still);
        }
        if std::mem::replace(&mut track.stands, true) { Verdict::Stands(still) } else { Verdict::Began(still) }
    }

    /// Forgets other partitions than these. Returns those at a standstill, and for how long.
    pub fn keep(&mut self, is_watched: impl Fn(&PartitionKey) -> bool, now: Duration) -> Vec<(PartitionKey, Duration)> {
        let mut ended = Vec::new();
        self.tracks.retain(|key, track| {
            let keep = is_watched(key);
            if !keep && track.stands {
                ended.push((key.clone(), now.saturating_sub(track.since)));
            }
            keep
        });
        ended
    }

    /// Returns whether a partition is at a standstill.
    #[must_use]
    pub fn stands(&self, key: &PartitionKey) -> bool {
        self.tracks.get(key).is_some_and(|track| track.stands)
    }

    /// Returns when a partition last moved or had nothing to copy.
    #[must_use]
    pub fn since(&self, key: &PartitionKey) -> Option<Duration> {
        self.tracks.get(key).map(|track| track.since)
    }

    fn has_nothing_to_copy(&self, position: Option<SourceOffset>, last: Option<LastBounds>) -> bool {
        let Some(LastBounds { bounds, age, is_gone }) = last else { return false };
        // Nobody can say of a partition that is not asked about whether it has anything new.
        if !is_gone && age > self.stale_after {
            return false;
        }
        match position {
            Some(position) => position >= bounds.last_stable,
            None => bounds.last_stable <= bounds.log_start,
        }
    }
}

#[cfg(test)]
mod tests {
    use strait_core::TopicId;

    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn key() -> PartitionKey {
        PartitionKey { topic: "orders".into(), topic_id: TopicId([1; 16]), partition: 0 }
    }

    fn rule() -> StandingRule {
        StandingRule::new(30 * S, 45 * S)
    }

    fn last(log_start: i64, last_stable: i64, age: Duration) -> Option<LastBounds> {
        let (log_start, last_stable) = (SourceOffset(log_start), SourceOffset(last_stable));
        Some(LastBounds {
            bounds: LogBounds { log_start, last_stable, high_watermark: last_stable },
            age,
            is_gone: false,
        })
    }

    /// Observes the same every 5 s, and returns the seconds at which a standstill began.
    fn begins(position: Option<i64>, last: Option<LastBounds>) -> Option<u64> {
        let mut rule = rule();
        (0..30).map(|look| look * 5).find(|at| {
            let now = Duration::from_secs(*at);
            matches!(rule.observe(&key(), position.map(SourceOffset), last, now), Verdict::Began(_))
        })
    }

    #[test]
    fn a_partition_with_something_to_copy_stands_still_after_thirty_seconds() {
        for (position, last, begun) in [
            (Some(5), last(0, 10, S), Some(30)),
            (Some(10), last(0, 10, S), None),
            // The last stable offset of a truncated log.
            (Some(12), last(0, 10, S), None),
            // Behind a hanging transaction nobody can read.
            (Some(0), last(0, 0, S), None),
            // All copied, but nobody knows what came since then.
            (Some(10), last(0, 10, 46 * S), Some(30)),
            (Some(10), None, Some(30)),
            // No lane has begun with it.
            (None, last(3, 10, S), Some(30)),
            (None, last(3, 3, S), None),
            (None, None, Some(30)),
        ] {
            assert_eq!(begins(position, last), begun, "{position:?} {last:?}");
        }
    }

    #[test]
    fn a_partition_that_is_gone_stands_still_only_with_something_left_to_copy() {
        let gone = |position: i64| {
            let last = last(0, 10, 500 * S).map(|last| LastBounds { is_gone: true, ..last });
            begins(Some(position), last)
        };
        assert_eq!((gone(10), gone(9)), (None, Some(30)));
    }

    #[test]
    fn a_position_that_is_not_known_any_more_is_no_move() {
        let mut rule = rule();
        let mut at = |position: Option<i64>, now: u64| {
            rule.observe(&key(), position.map(SourceOffset), last(0, 10, S), Duration::from_secs(now))
        };
        assert_eq!([at(Some(5), 0), at(Some(5), 30)], [Verdict::Well, Verdict::Began(30 * S)]);
        // Its lane is given up, and taken again.
        assert_eq!([at(None, 40), at(Some(5), 50)], [Verdict::Stands(40 * S), Verdict::Stands(50 * S)]);
        assert_eq!(at(Some(6), 60), Verdict::Ended(60 * S));
        assert!(!rule.stands(&key()));
    }

    #[test]
    fn each_move_and_each_idle_moment_begins_the_time_anew() {
        let mut rule = rule();
        let mut at = |position: i64, end: i64, now: u64| {
            rule.observe(&key(), Some(SourceOffset(position)), last(0, end, S), Duration::from_secs(now))
        };
        assert_eq!(at(0, 10, 0), Verdict::Well);
        assert_eq!(at(0, 10, 29), Verdict::Slow(29 * S));
        assert_eq!(at(1, 10, 30), Verdict::Well);
        assert_eq!(at(1, 10, 59), Verdict::Slow(29 * S));
        assert_eq!(at(1, 10, 60), Verdict::Began(30 * S));
        assert_eq!(at(1, 20, 70), Verdict::Stands(40 * S));
        assert_eq!(at(2, 20, 80), Verdict::Ended(50 * S));
        assert_eq!(at(20, 20, 500), Verdict::Well);
        // A record that arrives after a long silence has thirty seconds too.
        assert_eq!(at(20, 21, 501), Verdict::Slow(S));
        assert_eq!(at(20, 21, 530), Verdict::Began(30 * S));
        // Moving back is a move: a rewind after a truncation.
        assert_eq!(at(5, 21, 531), Verdict::Ended(31 * S));
        assert_eq!(at(5, 21, 561), Verdict::Began(30 * S));
        assert_eq!(rule.keep(|_| false, Duration::from_secs(570)), [(key(), 39 * S)]);
        assert_eq!(rule.since(&key()), None);
    }
}
