//! Reads the first records of a topic for `strait plugin capture`. Joins no group and commits
//! nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use strait_core::Record;

use crate::config::{ClusterConfig, Settings, committed_reader};
use crate::ffi::{Code, Consumer, FfiError, Place};

/// librdkafka's logical offset of the log's start (`RD_KAFKA_OFFSET_BEGINNING`).
const BEGINNING: i64 = -2;

/// Returns the earliest committed records of a topic, `records_max` at most, by partition and
/// offset. Each partition gives the same number of records, as far as it has them. Blocks.
///
/// # Errors
/// [`FfiError`] when the topic does not exist, may not be read or is not read in time.
pub fn capture(
    cluster: &ClusterConfig,
    topic: &str,
    records_max: usize,
    timeout: Duration,
) -> Result<Vec<Record>, FfiError> {
    let deadline = Instant::now() + timeout;
    let mut settings = Settings::of(cluster, "strait-capture");
    committed_reader(&mut settings);
    // librdkafka requires a group, though partitions are assigned and nothing is committed.
    settings.set("group.id", "strait.capture");
    settings.set("enable.partition.eof", "true");
    let mut consumer = Consumer::new("capture", &settings)?;
    let partitions = partitions(&consumer, topic, timeout)?;
    let each_max = records_max.div_ceil(usize::try_from(partitions).unwrap_or(1).max(1));
    let places: Vec<Place> = (0..partitions).map(|p| Place { offset: BEGINNING, ..Place::of(topic, p) }).collect();
    consumer.assign(&places)?;
    let mut taken: BTreeMap<i32, (Vec<Record>, bool)> =
        (0..partitions).map(|p| (p, (Vec::new(), each_max == 0))).collect();
    while taken.values().any(|(_, done)| !done) {
        if Instant::now() > deadline {
            return Err(FfiError::new(Code::TIMED_OUT, format!("{topic} was not read within {timeout:?}")));
        }
        consumer.consume(100, Duration::from_millis(50), |messages| {
            for message in messages {
                let Some((records, done)) = taken.get_mut(&message.partition()) else { continue };
                match message.code() {
                    Code::OK if records.len() < each_max => {
                        records.push(message.to_record()?);
                        *done = records.len() >= each_max;
                    }
                    Code::OK => {}
                    Code::PARTITION_EOF => *done = true,
                    code => return Err(FfiError::new(code, message.error_text())),
                }
            }
            Ok(())
        })?;
    }
    let mut records: Vec<Record> = taken.into_values().flat_map(|(records, _)| records).collect();
    records.truncate(records_max);
    Ok(records)
}

fn partitions(consumer: &Consumer, topic: &str, timeout: Duration) -> Result<i32, FfiError> {
    let known = consumer.client().metadata(Some(topic), timeout)?;
    match known.into_iter().find(|(name, ..)| name == topic) {
        Some((_, partitions, Code::OK)) if partitions > 0 => Ok(partitions),
        Some((_, _, code)) if code != Code::OK => Err(FfiError::new(code, format!("{topic} cannot be read"))),
        _ => Err(FfiError::new(Code::UNKNOWN_TOPIC_OR_PART, format!("there is no topic {topic}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MockCluster;
    use crate::demo_records;

    #[test]
    fn the_first_records_of_each_partition_are_exact() {
        let patience = Duration::from_secs(30);
        let mock = MockCluster::start(1).unwrap();
        mock.create_topic("orders", 2).unwrap();
        let cluster = ClusterConfig {
            name: "mock".to_owned(),
            bootstrap_servers: mock.bootstrap_servers(),
            properties: BTreeMap::new(),
            access: Default::default(),
        };
        let record = |n: i32| Record {
            topic: "orders".to_owned(),
            partition: i32::from(n >= 5),
            key: Some(format!("k{n}").into_bytes()),
            value: Some(format!("v{n}").into_bytes()),
            headers: vec![(b"h".to_vec(), Some(n.to_string().into_bytes()))],
            timestamp_ms: 1_000 + i64::from(n),
            ..Record::default()
        };
        demo_records::send(&cluster, &(0..6).map(record).collect::<Vec<_>>(), patience).unwrap();
        let taken = capture(&cluster, "orders", 4, patience).unwrap();
        let places: Vec<_> = taken.iter().map(|r| (r.partition, r.offset, r.key.clone().unwrap())).collect();
        assert_eq!(places, [(0, 0, b"k0".to_vec()), (0, 1, b"k1".to_vec()), (1, 0, b"k5".to_vec())]);
        let last = taken.last().unwrap();
        assert_eq!((last.timestamp_ms, last.value.as_deref()), (1_005, Some(&b"v5"[..])));
        assert_eq!(last.headers, [(b"h".to_vec(), Some(b"5".to_vec()))]);
    }
}
