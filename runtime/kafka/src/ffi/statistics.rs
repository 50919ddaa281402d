//! The figures that are read from librdkafka's statistics.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// The figures of one report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Statistics {
    /// Round trip to the brokers in microseconds, weighted by requests. `None` without a request.
    pub round_trip_us: Option<u64>,
    /// The largest offset that a consumer fetches next, over all partitions.
    pub next_offset: i64,
}

impl Statistics {
    /// Reads a report; `None` if it is of another kind. It has an offset for each partition, which
    /// are read for a consumer only.
    pub fn of(json: &[u8], with_offsets: bool) -> Option<Self> {
        if with_offsets {
            let report = serde_json::from_slice::<Report<BTreeMap<String, Topic>>>(json).ok()?;
            let partitions = report.topics.values().flat_map(|topic| topic.partitions.values());
            let next_offset = partitions.map(|partition| partition.next_offset).max().unwrap_or(0).max(0);
            return Some(Self { round_trip_us: report.round_trip_us(), next_offset });
        }
        let report = serde_json::from_slice::<Report<IgnoredAny>>(json).ok()?;
        Some(Self { round_trip_us: report.round_trip_us(), next_offset: 0 })
    }
}

#[derive(Deserialize)]
struct Report<T> {
    #[serde(default)]
    brokers: BTreeMap<String, Broker>,
    #[serde(default)]
    topics: T,
}

impl<T> Report<T> {
    fn round_trip_us(&self) -> Option<u64> {
        let (mut total, mut count) = (0_u64, 0_u64);
        for broker in self.brokers.values().filter(|broker| broker.nodeid >= 0) {
            total = total.saturating_add(broker.rtt.avg.saturating_mul(broker.rtt.cnt));
            count = count.saturating_add(broker.rtt.cnt);
        }
        total.checked_div(count).map(|average| average.max(1))
    }
}

#[derive(Deserialize)]
struct Broker {
    nodeid: i64,
    rtt: Window,
}

#[derive(Deserialize)]
struct Window {
    avg: u64,
    cnt: u64,
}

#[derive(Deserialize)]
struct Topic {
    #[serde(default)]
    partitions: BTreeMap<String, Partition>,
}

#[derive(Deserialize)]
struct Partition {
    next_offset: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_and_others_skipped() {
        let json = br#"{"name":"x","brokers":{"b:1/bootstrap":{"nodeid":-1,"rtt":{"avg":9,"cnt":9}},
            "b:1/1":{"nodeid":1,"rtt":{"avg":100,"cnt":1}},"b:2/2":{"nodeid":2,"rtt":{"avg":200,"cnt":3}}},
            "topics":{"t":{"partitions":{"0":{"next_offset":70,"lo_offset":1},"-1":{"next_offset":-1001}}}}}"#;
        assert_eq!(Statistics::of(json, true), Some(Statistics { round_trip_us: Some(175), next_offset: 70 }));
        assert_eq!(Statistics::of(b"{}", true), Some(Statistics { round_trip_us: None, next_offset: 0 }));
        assert_eq!(Statistics::of(b"no JSON", true), None);
    }
}
