//! Writing given records, byte for byte.

use std::ffi::CString;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::producer::{DefaultProducerContext, Producer as _, ThreadedProducer};

use crate::client::TestClient;
use crate::error::ClientError;
use crate::ffi::{self, ProduceError};
use crate::record::Record;

const DEADLINE: Duration = Duration::from_secs(60);

/// A plain producer that keeps each partition's order; its batches are not compressed, so that
/// their size is known.
pub struct Writer {
    producer: ThreadedProducer<DefaultProducerContext>,
    topic: CString,
    name: String,
}

impl Writer {
    /// A writer of one topic.
    ///
    /// # Errors
    /// The library's error.
    pub fn new(config: &ClientConfig, topic: &str) -> Result<Self, ClientError> {
        let mut config = config.clone();
        config.set("enable.idempotence", "true");
        for (name, value) in [("linger.ms", "2"), ("message.max.bytes", "10000000")] {
            if config.get(name).is_none() {
                config.set(name, value);
            }
        }
        let producer = config.create().map_err(ClientError::kafka("making a writer", topic))?;
        let raw = CString::new(topic).map_err(|error| failed(topic, error.to_string()))?;
        Ok(Self { producer, topic: raw, name: topic.to_owned() })
    }

    /// Queues a record for its partition.
    ///
    /// # Errors
    /// The library's error, or a queue that stays full.
    pub fn send(&self, record: &Record) -> Result<(), ClientError> {
        let began = Instant::now();
        loop {
            match ffi::produce(&self.producer, &self.topic, record) {
                Ok(()) => return Ok(()),
                Err(ProduceError::QueueFull) if began.elapsed() < DEADLINE => {
                    std::thread::sleep(Duration::from_millis(1))
                }
                Err(ProduceError::QueueFull) => return Err(failed(&self.name, "the queue stays full".to_owned())),
                Err(ProduceError::Failed(reason)) => return Err(failed(&self.name, reason)),
            }
        }
    }

    /// Waits until everything queued has been answered.
    ///
    /// # Errors
    /// The library's error.
    pub fn flush(&self) -> Result<(), ClientError> {
        self.producer.flush(DEADLINE).map_err(ClientError::kafka("flushing", &self.name))
    }

    /// Sends a record alone, so that it is a batch of its own.
    ///
    /// # Errors
    /// As [`Writer::send`] and [`Writer::flush`].
    pub fn send_alone(&self, record: &Record) -> Result<(), ClientError> {
        self.flush()?;
        self.send(record)?;
        self.flush()
    }
}

fn failed(topic: &str, reason: String) -> ClientError {
    ClientError::Raw { what: "writing", topic: topic.to_owned(), reason }
}

impl TestClient {
    /// Writes records in order and waits until the broker has them.
    ///
    /// # Errors
    /// As [`write_records`].
    pub fn write(&self, topic: &str, records: &[Record]) -> Result<(), ClientError> {
        write_records(&self.config(), topic, records)
    }
}

/// Writes records in order and waits until the broker has them.
///
/// # Errors
/// As [`Writer`]. A record that the broker refuses is missing later: compare what is read.
pub fn write_records(config: &ClientConfig, topic: &str, records: &[Record]) -> Result<(), ClientError> {
    let writer = Writer::new(config, topic)?;
    for record in records {
        writer.send(record)?;
    }
    writer.flush()
}
