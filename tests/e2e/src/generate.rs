//! Source topics with everything in them that Kafka allows and a replicator may trip over.

use std::collections::HashSet;
use std::ffi::CString;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rdkafka::ClientConfig;
use rdkafka::producer::{DefaultProducerContext, Producer as _, ThreadedProducer};

use crate::error::ClientError;
use crate::ffi::{self, ProduceError};
use crate::record::{Header, ID_HEADER, Record, id_bytes};

const DEADLINE: Duration = Duration::from_secs(120);
/// Values are cut out of a block of this size, so that generating costs little.
const POOL_BYTES: usize = 2 << 20;
const LARGE_BYTES_MIN: usize = 10_000;

/// The records to generate.
#[derive(Debug, Clone)]
pub struct GeneratorSpec {
    /// Topic; it exists already.
    pub topic: String,
    /// Its partitions, or the first ones of them.
    pub partitions: i32,
    /// Committed records to write; aborted ones come on top.
    pub records: u64,
    /// Same seed, same records; how two producers' batches interleave in the log is the broker's
    /// affair.
    pub seed: u64,
    /// Share of transactions that end in an abort, 0 to 1.
    pub abort_share: f64,
    /// Producers whose transactions are open at the same time, at least 1.
    pub producers: usize,
    /// Most records of one transaction.
    pub transaction_records_max: u64,
    /// Longest value, bytes.
    pub value_bytes_max: usize,
    /// Timestamp of the first record, ms since the epoch; every later one is 0 to 2 ms after the
    /// one before.
    pub timestamp_ms_start: i64,
}

impl GeneratorSpec {
    /// Two producers, a tenth of the transactions aborted, values up to 900 kB: about 300 MB per
    /// million.
    #[must_use]
    pub fn new(topic: impl Into<String>, partitions: i32, records: u64, seed: u64) -> Self {
        Self {
            topic: topic.into(),
            partitions,
            records,
            seed,
            abort_share: 0.1,
            producers: 2,
            transaction_records_max: 2_000,
            value_bytes_max: 900_000,
            timestamp_ms_start: 1_700_000_000_000,
        }
    }
}

/// The records written.
#[derive(Debug, Clone, Default)]
pub struct Generated {
    /// Committed records.
    pub committed: u64,
    /// Keys, values and headers of the committed records, bytes.
    pub committed_bytes: u64,
    /// Transactions that were aborted after all their records had reached the broker.
    pub transactions_aborted: u64,
    /// Transactions that were committed.
    pub transactions_committed: u64,
    /// Ids of committed records that carry one.
    pub committed_ids: HashSet<u64>,
    /// Ids of the aborted records; unlike committed ones, all of them carry one.
    pub aborted_ids: HashSet<u64>,
}

/// One record to produce; its offset means nothing yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedRecord {
    /// The record.
    pub record: Record,
    /// Counted from 0. The record carries it in its value, else in a header, except that half of
    /// the null and short values carry none: a checker must do without.
    pub number: u64,
}

/// The endless, seeded sequence of records.
#[derive(Debug)]
pub struct Generator {
    rng: StdRng,
    pool: Vec<u8>,
    partitions: i32,
    value_bytes_max: usize,
    timestamp: i64,
    number: u64,
}

impl Generator {
    /// The sequence for these settings.
    #[must_use]
    pub fn new(spec: &GeneratorSpec) -> Self {
        let mut rng = StdRng::seed_from_u64(spec.seed);
        // Letters: compresses by about a third, as text does, and no worse than random bytes would.
        let pool = (0..POOL_BYTES).map(|_| rng.random_range(b'A'..=b'Z')).collect();
        Self {
            rng,
            pool,
            partitions: spec.partitions.max(1),
            value_bytes_max: spec.value_bytes_max,
            timestamp: spec.timestamp_ms_start,
            number: 0,
        }
    }

    /// Null, empty, or of a length with a long tail: about 300 bytes on average.
    fn value(&mut self) -> Option<Vec<u8>> {
        let length = match self.rng.random_range(0..100_000_u32) {
            0..5_000 => return None,
            5_000..8_000 => 0,
            8_000..12_000 => self.rng.random_range(1..16),
            12_000..65_000 => self.rng.random_range(16..200),
            65_000..95_000 => self.rng.random_range(200..600),
            95_000..99_995 => self.rng.random_range(600..LARGE_BYTES_MIN / 2),
            _ => self.rng.random_range(LARGE_BYTES_MIN..=900_000),
        };
        Some(self.bytes(length.min(self.value_bytes_max)))
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let start = self.rng.random_range(0..POOL_BYTES.saturating_sub(length).max(1));
        self.pool.get(start..start + length).unwrap_or_default().to_vec()
    }

    /// Null, empty, not text, or one of many that repeat.
    fn key(&mut self) -> Option<Vec<u8>> {
        match self.rng.random_range(0..100_u32) {
            0..40 => None,
            40..43 => Some(Vec::new()),
            43..50 => Some(vec![0xff, 0x00, self.rng.random()]),
            _ => Some(format!("key-{}", self.rng.random_range(0..5_000_u32)).into_bytes()),
        }
    }

    /// Mostly none; else a few, with names that repeat, are empty or not UTF-8, and values that are
    /// null, empty or any bytes.
    fn headers(&mut self) -> Vec<Header> {
        const NAMES: [&[u8]; 6] =
            [b"traceparent", b"content-type", b"content-type", b"", b"\xff\xfe\xfd", "s\u{fc}\u{df}".as_bytes()];
        if self.rng.random_range(0..100_u32) < 75 {
            return Vec::new();
        }
        let count = self.rng.random_range(1..6);
        let mut headers = Vec::with_capacity(count);
        for _ in 0..count {
            let name = NAMES.get(self.rng.random_range(0..NAMES.len())).copied().unwrap_or_default();
            let value = match self.rng.random_range(0..4_u32) {
                0 => None,
                1 => Some(Vec::new()),
                _ => {
                    let mut value = vec![0; self.rng.random_range(1..40)];
                    self.rng.fill_bytes(&mut value);
                    Some(value)
                }
            };
            headers.push((name.to_vec(), value));
        }
        headers
    }
}

impl Iterator for Generator {
    type Item = GeneratedRecord;

    fn next(&mut self) -> Option<GeneratedRecord> {
        let number = self.number;
        self.number += 1;
        self.timestamp += self.rng.random_range(0..3);
        let partition = self.rng.random_range(0..self.partitions);
        let key = self.key();
        let mut value = self.value();
        let mut headers = self.headers();
        let id = id_bytes(number);
        if let Some(start) = value.as_mut().and_then(|value| value.first_chunk_mut()) {
            *start = id;
        } else if self.rng.random() {
            headers.push((ID_HEADER.to_vec(), Some(id.to_vec())));
        }
        let record = Record { partition, offset: -1, timestamp: self.timestamp, key, value, headers };
        Some(GeneratedRecord { record, number })
    }
}

/// One producer and its open transaction.
struct Transaction {
    producer: ThreadedProducer<DefaultProducerContext>,
    /// Id and bytes of each record so far.
    records: Vec<(Option<u64>, u64)>,
    records_max: u64,
    aborts: bool,
}

/// Writes the records in transactions, some of which abort, of several producers at once. Blocks.
///
/// # Errors
/// The library's error; a refused record is one.
pub fn generate(config: &ClientConfig, spec: &GeneratorSpec) -> Result<Generated, ClientError> {
    let failed = |what| ClientError::kafka(what, &spec.topic);
    let topic = CString::new(spec.topic.as_str()).map_err(|error| ClientError::Raw {
        what: "naming",
        topic: spec.topic.clone(),
        reason: error.to_string(),
    })?;
    // Decisions about transactions have a generator of their own: the records do not depend on
    // them.
    let mut rng = StdRng::seed_from_u64(!spec.seed);
    let mut open = Vec::new();
    for index in 0..spec.producers.max(1) {
        let producer = producer(config, spec, index).map_err(failed("making a producer"))?;
        producer.init_transactions(DEADLINE).map_err(failed("initialising transactions"))?;
        open.push(Transaction { producer, records: Vec::new(), records_max: 0, aborts: false });
    }
    let mut records = Generator::new(spec);
    let mut generated = Generated::default();
    let mut pending = 0;
    while generated.committed < spec.records {
        let index = rng.random_range(0..open.len());
        // Enough is on its way: end the transactions that are open, those with records first.
        let enough = generated.committed + pending >= spec.records;
        let index = if enough { open.iter().position(|one| !one.records.is_empty()).unwrap_or(index) } else { index };
        let Some(transaction) = open.get_mut(index) else {
            continue;
        };
        if !enough {
            if transaction.records.is_empty() {
                transaction.records_max = rng.random_range(1..=spec.transaction_records_max.max(1));
                transaction.aborts = rng.random_bool(spec.abort_share.clamp(0.0, 0.95));
                transaction.producer.begin_transaction().map_err(failed("beginning a transaction"))?;
            }
            let Some(GeneratedRecord { mut record, number }) = records.next() else {
                continue;
            };
            // Without an id it could equal a committed record, and nobody could tell which one was
            // copied.
            if transaction.aborts && record.id().is_none() {
                record.headers.push((ID_HEADER.to_vec(), Some(id_bytes(number).to_vec())));
            }
            send(transaction, &topic, &record, spec)?;
            pending += u64::from(!transaction.aborts);
        }
        if enough || transaction.records.len() as u64 >= transaction.records_max {
            pending -= if transaction.aborts { 0 } else { transaction.records.len() as u64 };
            end(transaction, &mut generated, spec)?;
        }
    }
    for transaction in open.iter_mut().filter(|one| !one.records.is_empty()) {
        // Only transactions that abort can be left when enough is committed.
        end(transaction, &mut generated, spec)?;
    }
    Ok(generated)
}

fn producer(
    config: &ClientConfig,
    spec: &GeneratorSpec,
    index: usize,
) -> Result<ThreadedProducer<DefaultProducerContext>, rdkafka::error::KafkaError> {
    config
        .clone()
        .set("transactional.id", format!("generator-{}-{index}", spec.topic))
        .set("transaction.timeout.ms", "120000")
        .set("linger.ms", "5")
        .set("compression.type", "lz4")
        .set("queue.buffering.max.kbytes", "65536")
        .set("queue.buffering.max.messages", "100000")
        .create()
}

fn send(
    transaction: &mut Transaction,
    topic: &CString,
    record: &Record,
    spec: &GeneratorSpec,
) -> Result<(), ClientError> {
    let began = Instant::now();
    loop {
        match ffi::produce(&transaction.producer, topic, record) {
            Ok(()) => break,
            Err(ProduceError::QueueFull) if began.elapsed() < DEADLINE => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(ProduceError::QueueFull) => {
                let wanted = "taking records from the producer's queue".to_owned();
                return Err(ClientError::Deadline { topic: spec.topic.clone(), wanted, waited_s: DEADLINE.as_secs() });
            }
            Err(ProduceError::Failed(reason)) => {
                return Err(ClientError::Raw { what: "producing", topic: spec.topic.clone(), reason });
            }
        }
    }
    transaction.records.push((record.id(), bytes_of(record)));
    Ok(())
}

/// Commits or aborts; an aborted transaction's records reach the log first.
fn end(transaction: &mut Transaction, generated: &mut Generated, spec: &GeneratorSpec) -> Result<(), ClientError> {
    let records = std::mem::take(&mut transaction.records);
    let ids = records.iter().filter_map(|(id, _)| *id);
    let ended = if transaction.aborts {
        ffi::flush_and_abort(&transaction.producer, DEADLINE)
    } else {
        ffi::commit(&transaction.producer, DEADLINE)
    };
    ended.map_err(|reason| ClientError::Raw {
        what: if transaction.aborts { "aborting a transaction" } else { "committing a transaction" },
        topic: spec.topic.clone(),
        reason,
    })?;
    if transaction.aborts {
        generated.transactions_aborted += 1;
        generated.aborted_ids.extend(ids);
        return Ok(());
    }
    generated.transactions_committed += 1;
    generated.committed_ids.extend(ids);
    generated.committed += records.len() as u64;
    generated.committed_bytes += records.iter().map(|(_, bytes)| bytes).sum::<u64>();
    Ok(())
}

fn bytes_of(record: &Record) -> u64 {
    let length = |field: &Option<Vec<u8>>| field.as_ref().map_or(0, Vec::len);
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + length(value)).sum();
    (length(&record.key) + length(&record.value) + headers) as u64
}
