//! The records of the source, and those that the target must have.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use strait_e2e::{
    ClientError, GeneratorSpec, Isolation, LogRecord, Record, TestClient, Writer, check, generate, write_records,
};

use super::Course;
use crate::support::{SOON, noise, record, wait_until};

/// A topic of the source.
struct Topic {
    writer: Writer,
    partitions: i32,
}

#[derive(Default)]
struct State {
    /// Topics that records are written to now.
    living: BTreeMap<String, Topic>,
    /// The logs of deleted incarnations, oldest first.
    past: BTreeMap<String, Vec<Vec<LogRecord>>>,
    /// Contents of records that the target refuses.
    refused: HashSet<u128>,
    /// Ids in aborted transactions, as far as they are known.
    aborted: HashSet<u64>,
    /// Numbers the records, so that each has a content of its own.
    number: u64,
}

/// The topics of the source, with what was written and deleted.
pub struct Model {
    source: TestClient,
    target: TestClient,
    state: Mutex<State>,
}

impl Model {
    pub fn new(source: TestClient, target: TestClient) -> Self {
        Self { source, target, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a topic, for the first time or again.
    pub fn make(&self, topic: &str, partitions: i32) {
        patiently("made", topic, "TopicAlreadyExists", || self.source.create_topic(topic, partitions, &[]));
        self.open(topic, partitions);
    }

    fn open(&self, topic: &str, partitions: i32) {
        let writer = Writer::new(&self.source.config(), topic).unwrap();
        self.state().living.insert(topic.to_owned(), Topic { writer, partitions });
    }

    /// Adds partitions to a topic.
    pub fn grow(&self, topic: &str, partitions: i32) {
        patiently("grown", topic, "InvalidPartitions", || self.source.grow_topic(topic, partitions));
        // Anew: the old writer learns of the partitions late.
        self.close(topic);
        self.open(topic, partitions);
    }

    fn close(&self, topic: &str) {
        let closed = self.state().living.remove(topic);
        if let Some(closed) = closed {
            closed.writer.flush().unwrap();
        }
    }

    /// Deletes a topic; what its log has by then belongs to its past.
    pub fn delete(&self, topic: &str) {
        self.close(topic);
        let log = self.source.read_log(topic, Isolation::Committed).unwrap();
        patiently("deleted", topic, "UnknownTopic", || self.source.delete_topic(topic));
        self.state().past.entry(topic.to_owned()).or_default().push(log);
    }

    /// The topics that are written to, with their partitions.
    pub fn living(&self) -> Vec<(String, i32)> {
        self.state().living.iter().map(|(name, topic)| (name.clone(), topic.partitions)).collect()
    }

    /// Writes one record to every partition of every topic, again and again.
    pub fn feed(&self, course: &Course, pause: Duration) {
        while course.goes_on() {
            let mut state = self.state();
            let State { living, number, .. } = &mut *state;
            for topic in living.values() {
                for partition in 0..topic.partitions {
                    *number += 1;
                    let text = number.to_string();
                    let record = Record { partition, ..record(Some(text.as_bytes()), Some(text.as_bytes())) };
                    topic.writer.send(&record).unwrap();
                }
            }
            drop(state);
            std::thread::sleep(pause);
        }
        for topic in self.state().living.values() {
            topic.writer.flush().unwrap();
        }
    }

    /// Writes a record that the target refuses for its size.
    pub fn write_refused(&self, topic: &str, partition: i32, bytes: usize) {
        let mut state = self.state();
        let State { living, number, refused, .. } = &mut *state;
        let Some(topic) = living.get(topic) else { return };
        *number += 1;
        let mut value = noise(bytes);
        value.extend_from_slice(&number.to_be_bytes());
        let record = Record { partition, ..record(Some(b"refused"), Some(&value)) };
        refused.insert(record.summary().content);
        topic.writer.send(&record).unwrap();
    }

    /// Writes a batch of 10 MB that compresses to some kB.
    pub fn write_dense(&self, topic: &str) {
        const RECORDS: u64 = 10_000;
        let first = {
            let mut state = self.state();
            state.number += RECORDS;
            state.number - RECORDS
        };
        let mut config = self.source.config();
        config.set("batch.size", "20000000").set("batch.num.messages", "100000").set("linger.ms", "500");
        config.set("compression.type", "zstd").set("message.max.bytes", "20000000");
        let zeros = [0; 1_000];
        let one = |number: u64| record(Some(format!("dense-{number}").as_bytes()), Some(&zeros));
        let records: Vec<Record> = (first..first + RECORDS).map(one).collect();
        write_records(&config, topic, &records).unwrap();
    }

    /// A client of the source.
    pub fn source(&self) -> &TestClient {
        &self.source
    }

    /// Writes transactions, aborted ones among them. A broker that goes away in the middle may end
    /// it early: the source's own log says then what was committed.
    pub fn write_transactions(&self, topic: &str, partitions: i32, records: u64, seed: u64) -> Result<u64, String> {
        let spec = GeneratorSpec {
            transaction_records_max: 50,
            value_bytes_max: 2_000,
            ..GeneratorSpec::new(topic, partitions, records, seed)
        };
        let generated = generate(&self.source.config(), &spec).map_err(|error| error.to_string())?;
        self.state().aborted.extend(generated.aborted_ids);
        Ok(generated.committed)
    }

    /// Compares each topic with its copy; returns what is wrong, and the number of records.
    pub fn judge(&self) -> (Vec<String>, usize) {
        let state = self.state();
        let mut wrong = Vec::new();
        let mut records = 0;
        let topics: HashSet<&String> = state.living.keys().chain(state.past.keys()).collect();
        for topic in topics {
            let copy = format!("source.{topic}");
            let found = self.target.read_log(&copy, Isolation::Committed).unwrap_or_default();
            let mut wanted = Vec::new();
            for log in state.past.get(topic).into_iter().flatten() {
                wanted.extend(copied_part(log, &found));
            }
            if state.living.contains_key(topic) {
                wanted.extend(self.source.read_log(topic, Isolation::Committed).unwrap());
            }
            wanted.retain(|record| !state.refused.contains(&record.content));
            records += found.len();
            let report = check(&wanted, &found, &state.aborted);
            if !report.is_clean() {
                wrong.push(format!("{topic} -> {copy}: {report}"));
            }
        }
        (wrong, records)
    }

    /// Compares the quarantine topic with the records that the target refuses; returns those that
    /// it lacks.
    pub fn missing_in_quarantine(&self, link: &str) -> usize {
        let refused = self.state().refused.len();
        if refused == 0 {
            return 0;
        }
        let topic = format!("strait.{link}.quarantine");
        let kept = self.source.read_records(&topic, Isolation::Committed).unwrap_or_default();
        let kept: HashSet<Option<Vec<u8>>> = kept.into_iter().map(|record| record.value).collect();
        refused.saturating_sub(kept.len())
    }
}

/// Asks until the cluster does it: with a broker down it refuses some requests. `done` is the error
/// of a request that an earlier one has fulfilled without an answer.
fn patiently(what: &str, topic: &str, done: &str, mut ask: impl FnMut() -> Result<(), ClientError>) {
    wait_until(&format!("{topic} {what}"), SOON * 2, || match ask() {
        Ok(()) => Some(()),
        Err(error) => error.to_string().contains(done).then_some(()),
    });
}

/// Returns the records of a deleted log that were copied before it was deleted: of each partition
/// as many of the first ones as the copy has of it.
fn copied_part(log: &[LogRecord], found: &[LogRecord]) -> Vec<LogRecord> {
    let found: HashSet<(i32, u128)> = found.iter().map(|record| (record.partition, record.content)).collect();
    let mut counts: HashMap<i32, usize> = HashMap::new();
    for record in log {
        *counts.entry(record.partition).or_default() +=
            usize::from(found.contains(&(record.partition, record.content)));
    }
    let mut part = Vec::new();
    for record in log {
        let left = counts.entry(record.partition).or_default();
        if *left > 0 {
            *left -= 1;
            part.push(*record);
        }
    }
    part
}
