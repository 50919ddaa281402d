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
    /// A broker that took the client's login has answered since the last report.
    pub is_answered: bool,
}

impl Statistics {
    /// Reads a report; `None` if it is of another kind. It has an offset for each partition, which
    /// are read for a consumer only.
    pub fn of(json: &[u8], with_offsets: bool) -> Option<Self> {
        if with_offsets {
            let report = serde_json::from_slice::<Report<BTreeMap<String, Topic>>>(json).ok()?;
            let partitions = report.topics.values().flat_map(|topic| topic.partitions.values());
            let next_offset = partitions.map(|partition| partition.next_offset).max().unwrap_or(0).max(0);
            let (round_trip_us, is_answered) = (report.round_trip_us(), report.is_answered());
            return Some(Self { round_trip_us, next_offset, is_answered });
        }
        let report = serde_json::from_slice::<Report<IgnoredAny>>(json).ok()?;
        Some(Self { round_trip_us: report.round_trip_us(), next_offset: 0, is_answered: report.is_answered() })
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

    fn is_answered(&self) -> bool {
        self.brokers.values().any(|broker| broker.nodeid >= 0 && broker.state == State::Up && broker.rtt.cnt > 0)
    }
}

#[derive(Deserialize)]
struct Broker {
    nodeid: i64,
    #[serde(default)]
    state: State,
    rtt: Window,
}

/// The state of a connection.
#[derive(Default, Deserialize, PartialEq)]
enum State {
    /// Behind the login.
    #[serde(rename = "UP")]
    Up,
    #[default]
    #[serde(other)]
    Other,
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
        let of = |round_trip_us, next_offset| Statistics { round_trip_us, next_offset, is_answered: false };
        assert_eq!(Statistics::of(json, true), Some(of(Some(175), 70)));
        assert_eq!(Statistics::of(b"{}", true), Some(of(None, 0)));
        assert_eq!(Statistics::of(b"no JSON", true), None);
    }

    #[test]
    fn an_answer_counts_where_the_broker_took_the_login() {
        let of = |nodeid: i32, state: &str, count: u32| {
            let json = format!(
                r#"{{"brokers":{{"b":{{"nodeid":{nodeid},"state":"{state}","rtt":{{"avg":9,"cnt":{count}}}}}}}}}"#
            );
            [true, false].map(|with_offsets| Statistics::of(json.as_bytes(), with_offsets).unwrap().is_answered)
        };
        assert_eq!(of(1, "UP", 1), [true; 2]);
        for (nodeid, state, count) in [(1, "UP", 0), (1, "DOWN", 3), (1, "AUTH_REQ", 3), (-1, "UP", 3)] {
            assert_eq!(of(nodeid, state, count), [false; 2], "{nodeid} {state} {count}");
        }
    }
}
