//! The sizes and times of a link, from its memory budget and the length of its lines.
//!
//! The line to the source is measured before the link runs. The line to the target is measured here
//! once and then by the target itself, while the link runs.

use std::time::Duration;

use strait_core::config::{DeliveryMode, Link};
use strait_flow::Limits;
use strait_kafka::config::{SourceTuning, TargetTuning};

/// How long one request to a cluster may take.
pub const REQUEST: Duration = Duration::from_secs(15);
/// Up to this round trip a line is short, and fetches stay small enough for the processor's cache.
const SHORT_ROUND_TRIP: Duration = Duration::from_millis(5);
/// How often the target reports its round trip; up to six times less often with thousands of
/// partitions.
const STATISTICS: Duration = Duration::from_secs(5);
/// Longest time that a batch waits to be filled over a long line to the target.
const LINGER_MAX: Duration = Duration::from_millis(20);
const MIB: usize = 1 << 20;

/// The facts from which the tuning of a link follows.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Lanes of the link, in all processes.
    pub lanes: u32,
    /// Largest batch that the link's own topics take, in bytes, where the target tells it.
    pub batch_bytes_max: Option<usize>,
    /// Source partitions of the link.
    pub partitions: usize,
    /// Round trip to the source.
    pub source_round_trip: Duration,
    /// Round trip to the target.
    pub target_round_trip: Duration,
}

impl Measured {
    /// Returns the memory of one lane, in bytes.
    fn bytes_per_lane(&self, link: &Link) -> usize {
        (link.memory_mib_max as usize * MIB) / self.lanes.max(1) as usize
    }

    /// Returns the bytes that one lane may hold between its source and its target.
    fn window_bytes(&self, link: &Link) -> usize {
        (self.bytes_per_lane(link) / 2).max(MIB)
    }

    /// Returns how a lane reads: 1 MiB per partition over a short line, more in proportion to the
    /// round trip.
    #[must_use]
    pub fn source(&self, link: &Link) -> SourceTuning {
        let fetch_max = link.fetch_mib_max as usize * MIB;
        let short_lines = self.source_round_trip.as_micros() / SHORT_ROUND_TRIP.as_micros();
        let short_lines = usize::try_from(short_lines).unwrap_or(usize::MAX).max(1);
        let half_of_lane = (self.bytes_per_lane(link) / 2).max(MIB);
        // Half of the memory for one batch, whatever the number of lanes: batches larger than a
        // fetch are rare.
        let answer_bytes = link.memory_mib_max as usize * MIB / 2;
        let partition_fetch_bytes = MIB.saturating_mul(short_lines).min(8 * MIB).min(fetch_max).min(answer_bytes);
        SourceTuning {
            // One fetch being read, and over a long line one on its way. More would only leave the
            // processor's cache.
            fetch_budget_bytes: (partition_fetch_bytes * short_lines.min(2)).clamp(MIB, half_of_lane),
            partition_fetch_bytes,
            fetch_bytes: partition_fetch_bytes.saturating_mul(4).min(fetch_max).min(answer_bytes),
            answer_bytes,
            partitions: self.partitions.div_ceil(self.lanes.max(1) as usize),
            request_timeout: REQUEST,
            ..SourceTuning::default()
        }
    }

    /// Returns how a lane writes.
    #[must_use]
    pub fn target(&self, link: &Link) -> TargetTuning {
        let batch_bytes = link.batch_kib_max as usize * 1024;
        let commit_interval = Duration::from_millis(link.commit_interval_ms_max);
        let linger = (self.target_round_trip / 8).min(LINGER_MAX);
        let statistics = Duration::from_millis(self.partitions as u64 * 10).min(STATISTICS * 6);
        TargetTuning {
            exactly_once: link.delivery == DeliveryMode::ExactlyOnce,
            batch_bytes,
            batch_records: (batch_bytes / 64).clamp(10_000, 1_000_000),
            // Room for the whole window and its progress records, so that the queue never holds up
            // a lane.
            queue_bytes: self.window_bytes(link) * 2 + 16 * MIB,
            queue_records: 1_000_000,
            request_timeout: REQUEST,
            // Long enough to fill a batch of several MiB. A batch that goes out before it is full
            // leaves the rest of the release waiting behind it, and librdkafka spins until it is
            // answered.
            linger: TargetTuning::default().linger.max(linger),
            transaction_timeout: TargetTuning::default().transaction_timeout.max(commit_interval * 4),
            statistics_interval: STATISTICS.max(statistics),
            ..TargetTuning::default()
        }
    }

    /// Returns the limits of a lane.
    #[must_use]
    pub fn limits(&self, link: &Link) -> Limits {
        let batch_bytes = link.batch_kib_max as usize * 1024;
        let defaults = Limits::default();
        Limits {
            window_bytes: self.window_bytes(link),
            release_bytes_max: batch_bytes,
            release_bytes: defaults.release_bytes.min(batch_bytes),
            interval_max: Duration::from_millis(link.commit_interval_ms_max),
            new_topics_max: link.new_topics_max as usize,
            drain: Duration::from_millis(link.drain_ms_max),
            // The limit is on the compressed batch; staying below it uncompressed is always safe.
            control_bytes_max: self.batch_bytes_max.map_or(defaults.control_bytes_max, |max| max - max / 16),
            ..defaults
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn link_with(options: &serde_json::Value) -> Link {
        let mut all = json!({ "name": "l", "source": "a", "target": "b", "topics": ["t"] });
        all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        serde_json::from_value(all).unwrap()
    }

    fn measured(lanes: u32, partitions: usize, source_ms: u64, target_ms: u64) -> Measured {
        let (source_round_trip, target_round_trip) =
            (Duration::from_millis(source_ms), Duration::from_millis(target_ms));
        Measured { lanes, batch_bytes_max: None, partitions, source_round_trip, target_round_trip }
    }

    #[test]
    fn fetches_grow_with_the_round_trip_up_to_eight_mib_and_the_configured_maximum() {
        let link = link_with(&json!({ "fetch_mib_max": 6, "memory_mib_max": 4096 }));
        let fetch = |ms| measured(1, 1, ms, 0).source(&link).partition_fetch_bytes / MIB;
        assert_eq!([0, 9, 10, 25, 500].map(fetch), [1, 1, 2, 5, 6]);
        let link = link_with(&json!({ "fetch_mib_max": 64, "memory_mib_max": 4096 }));
        let tuning = measured(1, 1, 500, 0).source(&link);
        assert_eq!((tuning.partition_fetch_bytes, tuning.fetch_bytes), (8 * MIB, 32 * MIB));
        // No answer is larger than what one batch may have, however long the line is.
        for memory in [2, 8, 16] {
            let link = link_with(&json!({ "fetch_mib_max": 64, "memory_mib_max": memory }));
            let tuning = measured(1, 1, 500, 0).source(&link);
            assert_eq!((tuning.fetch_bytes, tuning.answer_bytes), (memory * MIB / 2, memory * MIB / 2));
            assert!(tuning.partition_fetch_bytes <= tuning.fetch_bytes);
        }
    }

    #[test]
    fn a_lane_fetches_ahead_over_a_long_line_only_and_never_more_than_half_of_its_memory() {
        let link = link_with(&json!({ "fetch_mib_max": 8, "memory_mib_max": 48 }));
        let budget = |lanes, ms| measured(lanes, 1, ms, 0).source(&link).fetch_budget_bytes / MIB;
        assert_eq!((budget(1, 0), budget(1, 10), budget(1, 20)), (1, 4, 8));
        assert_eq!(budget(4, 1000), 6);
    }

    #[test]
    fn partitions_are_shared_among_the_lanes() {
        let link = link_with(&json!({}));
        assert_eq!(measured(4, 9, 0, 0).source(&link).partitions, 3);
    }

    #[test]
    fn half_of_a_lanes_memory_is_its_window_and_the_queue_has_room_for_two_windows() {
        let link = link_with(&json!({ "memory_mib_max": 128 }));
        assert_eq!(measured(4, 1, 0, 0).limits(&link).window_bytes, 16 * MIB);
        assert_eq!(measured(4, 1, 0, 0).target(&link).queue_bytes, 48 * MIB);
        assert_eq!(measured(64, 1, 0, 0).limits(&link).window_bytes, MIB, "many lanes share the memory too");
    }

    #[test]
    fn a_batch_bounds_what_is_released_and_how_many_records_it_has() {
        let limits = |kib| {
            let limits = measured(1, 1, 0, 0).limits(&link_with(&json!({ "batch_kib_max": kib })));
            (limits.release_bytes_max, limits.release_bytes)
        };
        let release = Limits::default().release_bytes;
        assert_eq!(limits(16), (16 << 10, release.min(16 << 10)));
        assert_eq!(limits(4096), (4 * MIB, release.min(4 * MIB)));
        let records = |kib| measured(1, 1, 0, 0).target(&link_with(&json!({ "batch_kib_max": kib }))).batch_records;
        assert_eq!((records(16), records(1024), records(16384)), (10_000, 16_384, 262_144));
    }

    #[test]
    fn what_a_commit_writes_beside_its_records_stays_below_what_the_links_topics_take() {
        let link = link_with(&json!({}));
        let bytes =
            |batch_bytes_max| Measured { batch_bytes_max, ..measured(1, 1, 0, 0) }.limits(&link).control_bytes_max;
        assert_eq!(bytes(Some(160_000)), 150_000);
        assert_eq!(bytes(None), Limits::default().control_bytes_max);
    }

    #[test]
    fn batches_linger_longer_over_a_long_line_to_the_target() {
        let link = link_with(&json!({}));
        let linger = |ms| measured(1, 1, 0, ms).target(&link).linger.as_millis();
        assert_eq!((linger(0), linger(80), linger(1000)), (5, 10, 20));
    }

    #[test]
    fn the_broker_does_not_abort_a_transaction_before_the_link_commits_it() {
        let timeout = |interval_ms: u64| {
            let link = link_with(&json!({ "commit_interval_ms_max": interval_ms }));
            measured(1, 1, 0, 0).target(&link).transaction_timeout.as_secs()
        };
        assert_eq!((timeout(10), timeout(3_000), timeout(60_000)), (60, 60, 240));
    }

    #[test]
    fn statistics_come_less_often_with_thousands_of_partitions() {
        let link = link_with(&json!({}));
        let seconds = |partitions| measured(1, partitions, 0, 0).target(&link).statistics_interval.as_secs();
        assert_eq!((seconds(1), seconds(1000), seconds(100_000)), (5, 10, 30));
    }

    #[test]
    fn options_of_the_link_go_through() {
        let link = link_with(&json!({
            "delivery": "at-least-once", "commit_interval_ms_max": 77, "drain_ms_max": 5
        }));
        let measured = measured(1, 1, 0, 0);
        assert!(!measured.target(&link).exactly_once);
        let limits = measured.limits(&link);
        assert_eq!((limits.interval_max, limits.drain), (Duration::from_millis(77), Duration::from_millis(5)));
    }
}
