//! How far the partitions of a link are behind their source.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::board::LinkBoard;

/// Records that committed readers of the source could read and the target does not have yet,
/// control records included. What is not known is never counted as 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lag {
    /// Over all partitions whose log end is known. `None` where it is known of none.
    pub records: Option<u64>,
    /// Of the partition that is furthest behind.
    pub records_max: Option<u64>,
    /// Largest age of the newest committed record of a partition that is behind, in seconds. `None`
    /// where no partition is behind, or this process has not committed a record of any that is.
    pub seconds_max: Option<f64>,
    /// Partitions whose log end is known.
    pub known_partitions: u64,
    /// Partitions whose log end is not known: not looked up yet, or the source gave no answer for
    /// a while. What they lack is in none of these figures.
    pub unknown_partitions: u64,
}

/// The lag of a link, by topic.
#[derive(Debug, Default)]
pub struct Lags {
    /// By source topic.
    pub topics: BTreeMap<String, Lag>,
}

impl Lags {
    /// Computes the lag of a link at `now_ms`.
    #[must_use]
    pub fn of(link: &LinkBoard, now_ms: i64) -> Self {
        let mut lags = Self::default();
        let Some(work) = link.work() else { return lags };
        let bounds = work.status.bounds();
        for (key, partition) in work.status.partitions() {
            let lag = lags.topics.entry(key.topic.to_string()).or_default();
            let Some(bounds) = bounds.get(&key).filter(|known| known.is_fresh).map(|known| known.bounds) else {
                lag.unknown_partitions += 1;
                continue;
            };
            let records = u64::try_from(bounds.last_stable.0.saturating_sub(partition.committed.0)).unwrap_or(0);
            let age = partition.committed_time_ms.filter(|_| records > 0).map(|time_ms| seconds(now_ms, time_ms));
            lag.add(&Lag {
                records: Some(records),
                records_max: Some(records),
                seconds_max: age,
                known_partitions: 1,
                unknown_partitions: 0,
            });
        }
        lags
    }

    /// Returns the lag of the link as a whole.
    #[must_use]
    pub fn all(&self) -> Lag {
        let mut all = Lag::default();
        self.topics.values().for_each(|lag| all.add(lag));
        all
    }
}

impl Lag {
    fn add(&mut self, other: &Self) {
        self.records = match (self.records, other.records) {
            (Some(one), Some(two)) => Some(one + two),
            (one, two) => one.or(two),
        };
        self.records_max = self.records_max.max(other.records_max);
        self.known_partitions += other.known_partitions;
        self.unknown_partitions += other.unknown_partitions;
        self.seconds_max = match (self.seconds_max, other.seconds_max) {
            (Some(one), Some(two)) => Some(one.max(two)),
            (one, two) => one.or(two),
        };
    }
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds of centuries fit into 53 bits")]
fn seconds(now_ms: i64, then_ms: i64) -> f64 {
    now_ms.saturating_sub(then_ms).max(0) as f64 / 1000.0
}
