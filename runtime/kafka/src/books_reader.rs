//! Reads the books of a link, to count the records that are open in quarantine.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use strait_core::TopicId;
use strait_core::books::BOOKS_PARTITION;
use strait_core::open_records::OpenRecords;
use strait_core::progress::operate_topic;
use strait_flow::lock;
use strait_flow::ports::{BooksReader, Class, OpenCount, PortError};

use crate::config::{ClusterConfig, own_topic_reader};
use crate::error::{blocking, own, port_error};
use crate::ffi::{Client, Code, Consumer, FfiError, OffsetSpec, Place};
use crate::lazy_client::LazyClient;
use crate::progress_store::KafkaProgressStore;
use crate::queries;
use crate::topics::find;

/// How long one look may read. What is left is read by the next.
const READ_MAX: Duration = Duration::from_secs(5);
/// How long the books are not read again from their beginning after more records were open than can
/// be counted.
const AGAIN: Duration = Duration::from_secs(600);

/// The bounds of the books.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    id: TopicId,
    start: i64,
    last_stable: i64,
    end: i64,
}

/// The books as far as they were read.
struct Read {
    /// The incarnation of the topic.
    id: TopicId,
    open: OpenRecords,
    /// The next offset to read.
    next: i64,
    /// Where the books ended at some time, which the read has not reached since.
    waits_for: Option<(i64, Instant)>,
    /// When the books were as they were read.
    as_of: Instant,
    began: Instant,
}

impl Read {
    fn new(id: TopicId) -> Self {
        let now = Instant::now();
        Self { id, open: OpenRecords::default(), next: 0, waits_for: None, as_of: now, began: now }
    }

    /// Everything that was committed up to the last stable offset is read. `asked_at` is when the
    /// bounds were asked for.
    fn reached(&mut self, bounds: Bounds, asked_at: Instant) {
        self.next = bounds.last_stable;
        if bounds.last_stable >= bounds.end {
            (self.as_of, self.waits_for) = (asked_at, None);
            return;
        }
        // Behind the last stable offset a transaction is open, as there always may be one.
        let (_, since) = *self.waits_for.get_or_insert((bounds.end, asked_at));
        if self.waits_for.is_some_and(|(end, _)| bounds.last_stable >= end) {
            (self.as_of, self.waits_for) = (since, Some((bounds.end, asked_at)));
        }
    }
}

/// A [`BooksReader`] on the link's own topic at the target. It keeps no connection open for reading
/// while nothing is new.
#[derive(Clone)]
pub struct KafkaBooksReader {
    cluster: ClusterConfig,
    link: String,
    /// The beginning of its errors.
    context: Arc<str>,
    client: Arc<LazyClient>,
    timeout: Duration,
    read: Arc<Mutex<Option<Read>>>,
}

impl KafkaBooksReader {
    /// Creates a reader of the same link and cluster as the store, with the store's client for
    /// requests.
    #[must_use]
    pub fn beside(store: &KafkaProgressStore) -> Self {
        let KafkaProgressStore { cluster, link, client, timeout, .. } = store;
        let context = format!("link {link}: books on cluster {}", cluster.name).into();
        let (cluster, link, client) = (cluster.clone(), link.clone(), Arc::clone(client));
        Self { cluster, link, context, client, timeout: *timeout, read: Arc::default() }
    }

    fn look(&self) -> Result<OpenCount, PortError> {
        let (topic, timeout) = (operate_topic(&self.link), self.timeout);
        let asked_at = Instant::now();
        let bounds = self.client.ask_here(|client| bounds(client, &topic, timeout))?;
        let mut guard = lock(&self.read);
        let read = guard.get_or_insert_with(|| Read::new(bounds.id));
        let is_other = read.id != bounds.id || bounds.last_stable < read.next;
        if is_other || (read.open.count().is_none() && read.began.elapsed() > AGAIN) {
            *read = Read::new(bounds.id);
        }
        read.next = read.next.max(bounds.start);
        if read.next < bounds.last_stable {
            let fail = |error: FfiError| port_error(&*self.context, &error);
            let settings = own_topic_reader(&self.cluster, &self.link, &format!("strait-{}-books", self.link));
            let mut consumer = Consumer::new(&format!("{}/books-reader", self.link), &settings).map_err(fail)?;
            let result = read_to(&mut consumer, &topic, bounds.last_stable, timeout, read);
            // Destroying a client joins its threads.
            drop(consumer);
            result.map_err(fail)?;
        }
        read.reached(bounds, asked_at);
        let Some(records) = read.open.count() else {
            let reason = "more records are open in quarantine than this process counts";
            return Err(own(Class::Retry, &*self.context, reason));
        };
        Ok(OpenCount { records, oldest_ms: read.open.oldest_ms(), age: read.as_of.elapsed() })
    }
}

/// Asks for the bounds of the books.
fn bounds(client: &Client, topic: &str, timeout: Duration) -> Result<Bounds, FfiError> {
    let missing = || {
        let text = format!("{topic}-{BOOKS_PARTITION} does not exist");
        FfiError::new(Code::UNKNOWN_TOPIC_OR_PART, text)
    };
    let found = find(client, topic, timeout)?.ok_or_else(missing)?;
    let place = Place { offset: 0, ..Place::of(topic, BOOKS_PARTITION) };
    let list = |spec, committed| {
        let offsets = queries::list(client, std::slice::from_ref(&place), spec, committed, timeout)?;
        offsets.get(&(topic.to_owned(), BOOKS_PARTITION)).copied().ok_or_else(missing)
    };
    // The end first: what is committed by then is below the last stable offset that comes after.
    let end = list(OffsetSpec::Latest, false)?;
    let last_stable = list(OffsetSpec::Latest, true)?;
    Ok(Bounds { id: found.id, start: list(OffsetSpec::Earliest, true)?, last_stable, end })
}

/// Reads the books up to `end`.
fn read_to(consumer: &mut Consumer, topic: &str, end: i64, timeout: Duration, read: &mut Read) -> Result<(), FfiError> {
    let began = Instant::now();
    consumer.assign(&[Place { offset: read.next, ..Place::of(topic, BOOKS_PARTITION) }])?;
    let mut heard = Instant::now();
    loop {
        if began.elapsed() > READ_MAX || heard.elapsed() > timeout {
            let text = format!("{topic}-{BOOKS_PARTITION}: still reading, at offset {} of {end}", read.next);
            return Err(FfiError::new(Code::TIMED_OUT, text));
        }
        // One message at a time, as a batch call would wait for a full batch.
        let is_done = consumer.consume(1, Duration::from_millis(100), |messages| {
            let Some(message) = messages.first() else { return Ok(false) };
            heard = Instant::now();
            match message.code() {
                Code::OK => {
                    read.open.take(message.key().unwrap_or_default(), message.value(), message.timestamp().0);
                    read.next = message.offset() + 1;
                    Ok(read.next >= end)
                }
                // Control records and aborted ones have no message.
                Code::PARTITION_EOF => {
                    read.next = read.next.max(message.offset());
                    Ok(message.offset() >= end)
                }
                code => Err(FfiError::new(code, message.error_text())),
            }
        })?;
        if is_done {
            return Ok(());
        }
    }
}

#[async_trait]
impl BooksReader for KafkaBooksReader {
    async fn open_records(&self) -> Result<OpenCount, PortError> {
        let reader = self.clone();
        blocking(&self.context, move || reader.look()).await?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knowledge_grows_old_only_while_one_transaction_does_not_end() {
        let mut read = Read::new(TopicId::UNKNOWN);
        let began = read.as_of;
        let at = |s| began + Duration::from_secs(s);
        let bounds = |last_stable, end| Bounds { id: TopicId::UNKNOWN, start: 0, last_stable, end };
        for (last_stable, end, asked, as_of) in [
            (10, 10, 5, 5),
            // A transaction is open.
            (10, 14, 10, 5),
            // It has ended, and the next one is open: as they were when the first was seen.
            (16, 20, 15, 10),
            (22, 25, 20, 15),
            // This one does not end.
            (24, 25, 25, 15),
            (24, 30, 60, 15),
            (31, 31, 65, 65),
        ] {
            read.reached(bounds(last_stable, end), at(asked));
            assert_eq!((read.as_of - began).as_secs(), as_of, "at {asked} s");
            assert_eq!(read.next, last_stable);
        }
    }
}
