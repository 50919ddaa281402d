//! The facts and limits of a lane, fixed for its life.

use std::sync::Arc;
use std::time::Duration;

use strait_core::LaneId;
pub use strait_core::config::{DeliveryMode, OnCorrupt, OnGap, OnRefused, OnTargetRecreated, OnTimestampZero};
use strait_core::progress::LinkIdentity;

use crate::ports::StartAt;

/// The policies of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policies {
    /// For retention overruns, truncations and recreated topics.
    pub on_gap: OnGap,
    /// For records of the source that are damaged.
    pub on_corrupt: OnCorrupt,
    /// For target topics that are deleted, or deleted and created again.
    pub on_target_recreated: OnTargetRecreated,
    /// For refused records.
    pub on_refused: OnRefused,
    /// For records without a usable timestamp.
    pub on_timestamp_zero: OnTimestampZero,
}

/// The limits of a lane. Decisions and `docs/benchmarks.md` explain the values.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes fetched and not yet acknowledged, over all partitions of the lane.
    pub window_bytes: usize,
    /// Bytes of one partition in flight to the target over a short line. Grows with the round trip.
    pub release_bytes: usize,
    /// Upper bound of that growth.
    pub release_bytes_max: usize,
    /// A transaction closes this long after it began if no records wait.
    pub interval_min: Duration,
    /// No transaction takes records for longer.
    pub interval_max: Duration,
    /// Interval at which progress is written for partitions that passed offsets without records.
    pub idle_interval: Duration,
    /// Most source partitions in one transaction.
    pub transaction_partitions_max: usize,
    /// Most bytes in one transaction.
    pub transaction_bytes_max: usize,
    /// Most bytes of progress and map records in flight: all that are may be one batch, which must
    /// not be larger than their topics take.
    pub control_bytes_max: usize,
    /// A partition without an acknowledgement for this long leaves the flow, while the others
    /// continue.
    pub stuck_after: Duration,
    /// Minimum and maximum wait before a stuck partition is retried.
    pub stuck_retry: (Duration, Duration),
    /// Minimum and maximum wait before a lane is taken again after a failure.
    pub restart_backoff: (Duration, Duration),
    /// Most topics that plugins have created by naming them for single records, over all lanes of
    /// the link in this process.
    pub new_topics_max: usize,
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
            // Kafka's default for a topic, less a sixteenth.
            control_bytes_max: 960 << 10,
            stuck_after: Duration::from_secs(5),
            stuck_retry: (Duration::from_secs(5), Duration::from_secs(60)),
            restart_backoff: (Duration::from_millis(100), Duration::from_secs(30)),
            new_topics_max: 100,
            drain: Duration::from_secs(20),
        }
    }
}

/// One lane of one link.
#[derive(Clone, Debug)]
pub struct LaneSpec {
    /// Name of the link.
    pub link: Arc<str>,
    /// Number of the lane.
    pub lane: LaneId,
    /// Number of lanes of the link.
    pub lanes: u32,
    /// A number that no other process has. It is written with progress, so that a lane knows
    /// whether this process was the last to write.
    pub process: u32,
    /// The ends of the link.
    pub identity: LinkIdentity,
    /// Delivery mode.
    pub delivery: DeliveryMode,
    /// Start of partitions that existed when the link was created.
    pub start: StartAt,
    /// Policies of the link.
    pub policies: Policies,
    /// Limits.
    pub limits: Limits,
    /// Hash of the link's configuration, written with progress.
    pub config_hash: Arc<str>,
}
