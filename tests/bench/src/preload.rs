//! Source topics: uppercase letters in lz4 batches, and keys that number the records of each
//! partition.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::types::RDKafkaErrorCode;

use crate::error::BenchError;
use crate::kafka::Kafka;
use crate::stop;

/// Values are cut out of a block of this size: large beside lz4's window of 64 KiB, so that cuts
/// rarely repeat within it.
const POOL_BYTES: usize = 16 << 20;
const FLUSH_DEADLINE: Duration = Duration::from_secs(120);
const KEY_PREFIX: &str = "key";

/// A source topic to be made.
#[derive(Debug, Clone)]
pub struct Source {
    pub topic: String,
    pub partitions: i32,
    pub records: u64,
    pub value_bytes: usize,
}

/// The key of the record with this number: 15 bytes.
pub fn key(number: u64) -> String {
    format!("{KEY_PREFIX}{number:012}")
}

/// The number in a key.
pub fn number(key: &[u8]) -> Option<u64> {
    std::str::from_utf8(key.strip_prefix(KEY_PREFIX.as_bytes())?).ok()?.parse().ok()
}

/// Uppercase letters to cut values from.
pub fn pool() -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(1);
    let mut pool = vec![0; POOL_BYTES];
    rng.fill_bytes(&mut pool);
    for byte in &mut pool {
        *byte = b'A' + *byte % 26;
    }
    pool
}

/// Makes the topic and fills it: record n goes to partition n modulo their number.
///
/// # Errors
/// A refusal of the broker, or a topic that does not hold exactly these records afterwards.
pub fn fill(kafka: &Kafka, source: &Source) -> Result<(), BenchError> {
    let topic = source.topic.as_str();
    kafka.create(topic, source.partitions, &[])?;
    let producer: BaseProducer = kafka
        .config()
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", "50")
        .set("batch.size", "170000")
        .set("queue.buffering.max.messages", "400000")
        .set("queue.buffering.max.kbytes", "131072")
        .create()
        .map_err(BenchError::kafka("making a producer"))?;
    let pool = pool();
    let mut rng = StdRng::seed_from_u64(2);
    let partitions = u64::try_from(source.partitions).unwrap_or(1);
    let began = Instant::now();
    for number in 0..source.records {
        let key = key(number);
        let start = rng.random_range(0..POOL_BYTES - source.value_bytes);
        let value = pool.get(start..start + source.value_bytes).unwrap_or_default();
        let partition = i32::try_from(number % partitions).unwrap_or_default();
        let mut record = BaseRecord::to(topic).partition(partition).key(&key).payload(value);
        loop {
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                    record = refused;
                    stop::check()?;
                    producer.poll(Duration::from_millis(20));
                }
                Err((error, _)) => return Err(BenchError::kafka(format!("preloading {topic}"))(error)),
            }
        }
        if number % 1024 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(FLUSH_DEADLINE).map_err(BenchError::kafka(format!("preloading {topic}")))?;
    kafka.renew()?;
    let held = kafka.stable_end(topic, source.partitions)?;
    if held != source.records {
        let reason = format!("{held} records instead of {}", source.records);
        return Err(BenchError::Preload { topic: topic.to_owned(), reason });
    }
    eprintln!(
        "{topic}: {} records of {} bytes preloaded in {:.0} s",
        source.records,
        source.value_bytes,
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_fifteen_bytes_and_gives_its_number_back() {
        assert_eq!(key(5_999_999).len(), 15);
        assert_eq!(number(key(5_999_999).as_bytes()), Some(5_999_999));
        assert_eq!(number(b"key"), None);
        assert_eq!(number(b"other"), None);
    }
}
