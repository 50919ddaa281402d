//! Sends and reads a few records for the demonstration, without guarantees and without speed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use strait_core::Record;

use crate::config::{ClusterConfig, Settings, committed_reader};
use crate::ffi::{Code, Consumer, FfiError, Observer, OutHeaderList, OutMessage, Place, Producer, ReportedMessage};

#[derive(Default)]
struct Refused(AtomicUsize);

impl Observer for Refused {
    fn delivered(&self, message: &ReportedMessage<'_>) {
        if message.code() != Code::OK {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Sends records to their topics and waits until all are acknowledged. Offsets are not used.
/// Blocks.
///
/// # Errors
/// [`FfiError`] when the cluster does not take them all in time.
pub fn send(cluster: &ClusterConfig, records: &[Record], timeout: Duration) -> Result<(), FfiError> {
    let mut settings = Settings::of(cluster, "strait-sample");
    settings.set("enable.idempotence", "true");
    let refused = Arc::new(Refused::default());
    let producer = Producer::new("sample", &settings, Arc::clone(&refused) as Arc<dyn Observer>, || ())?;
    let mut topics = BTreeMap::new();
    for record in records {
        let topic = match topics.get(&record.topic) {
            Some(topic) => *topic,
            None => {
                let topic = producer.open(&record.topic)?;
                topics.insert(&record.topic, topic);
                topic
            }
        };
        let mut headers = OutHeaderList::with_capacity(record.headers.len());
        for (name, value) in &record.headers {
            headers.push(name, value.as_deref());
        }
        let message = OutMessage {
            topic,
            partition: record.partition,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            timestamp_ms: record.timestamp_ms,
            token: 0,
        };
        producer.produce(&message, Some(headers))?;
    }
    producer.flush(timeout)?;
    match refused.0.load(Ordering::Relaxed) {
        0 => Ok(()),
        count => Err(FfiError::new(Code::STATE, format!("{count} records were not taken"))),
    }
}

/// Reads a topic from its beginning until every partition's end. Blocks.
///
/// # Errors
/// [`FfiError`] when an end is not reached in time.
pub fn read(cluster: &ClusterConfig, topic: &str, partitions: i32, timeout: Duration) -> Result<Vec<Record>, FfiError> {
    let mut settings = Settings::of(cluster, "strait-sample");
    committed_reader(&mut settings);
    settings.set("group.id", "strait.sample");
    settings.set("enable.partition.eof", "true");
    let mut consumer = Consumer::new("sample", &settings)?;
    let places: Vec<Place> = (0..partitions).map(|p| Place { offset: 0, ..Place::of(topic, p) }).collect();
    consumer.assign(&places)?;
    let deadline = Instant::now() + timeout;
    let mut records = Vec::new();
    let mut ended = 0;
    while ended < partitions {
        if Instant::now() > deadline {
            return Err(FfiError::new(Code::TIMED_OUT, format!("{topic} was not read to its end within {timeout:?}")));
        }
        consumer.consume(1, Duration::from_millis(50), |messages| {
            for message in messages {
                match message.code() {
                    Code::OK => {
                        records.push(message.to_record()?);
                    }
                    Code::PARTITION_EOF => ended += 1,
                    code => return Err(FfiError::new(code, message.error_text())),
                }
            }
            Ok(())
        })?;
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok(records)
}
