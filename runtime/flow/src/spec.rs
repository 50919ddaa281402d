//! What a lane is told: facts and limits, fixed for its life.

use std::sync::Arc;
use std::time::Duration;

use strait_core::LaneId;
pub use strait_core::config::{DeliveryMode, OnGap, OnRefused, OnTimestampZero};

use crate::ports::StartAt;

/// The policies of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policies {
    /// Retention overrun, truncation, recreated topics.
    pub on_gap: OnGap,
    /// Refused records.
    pub on_refused: OnRefused,
    /// Records without a usable timestamp.
    pub on_timestamp_zero: OnTimestampZero,
}

/// The bounds of a lane. Times and sizes are chosen in `docs/decisions` and measured in `docs/benchmarks.md`.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes fetched and not yet acknowledged, over all partitions of the lane.
    pub window_bytes: usize,
    /// Bytes of one partition in flight to the target over a short line; grows with the round trip.
    pub release_bytes: usize,
    /// Upper bound of that growth.
    pub release_bytes_max: usize,
    /// A transaction with nothing left to add is closed this long after it began.
    pub interval_min: Duration,
    /// No transaction is open for longer.
    pub interval_max: Duration,
    /// Progress of partitions that moved without records is written this often.
    pub idle_interval: Duration,
    /// Source partitions in one transaction.
    pub transaction_partitions_max: usize,
    /// Bytes in one transaction.
    pub transaction_bytes_max: usize,
    /// A partition unacknowledged for this long, while others are, is taken out.
    pub stuck_after: Duration,
    /// First and largest wait before a stuck partition is tried again.
    pub stuck_retry: (Duration, Duration),
    /// First and largest wait before a broken lane is taken again.
    pub restart_backoff: (Duration, Duration),
    /// Time to commit or abort when the lane is given up.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            window_bytes: 24 << 20,
            release_bytes: 512 << 10,
            release_bytes_max: 8 << 20,
            interval_min: Duration::from_millis(25),
            interval_max: Duration::from_secs(3),
            idle_interval: Duration::from_millis(500),
            transaction_partitions_max: 500,
            transaction_bytes_max: 1 << 30,
            stuck_after: Duration::from_secs(5),
            stuck_retry: (Duration::from_secs(5), Duration::from_secs(60)),
            restart_backoff: (Duration::from_millis(100), Duration::from_secs(30)),
            drain: Duration::from_secs(20),
        }
    }
}

/// One lane of one link.
#[derive(Clone, Debug)]
pub struct LaneSpec {
    /// Link name.
    pub link: Arc<str>,
    /// Which lane.
    pub lane: LaneId,
    /// How many the link has.
    pub lanes: u32,
    /// A number that no other process has, written with progress: a lane knows by it whether it was the last to copy.
    pub process: u32,
    /// Delivery mode.
    pub delivery: DeliveryMode,
    /// Where partitions begin that existed when the link was made.
    pub start: StartAt,
    /// Policies.
    pub policies: Policies,
    /// Bounds.
    pub limits: Limits,
    /// Hash of the link's configuration, written with progress.
    pub config_hash: Arc<str>,
}
