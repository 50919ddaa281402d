//! The offset map and the progress of a link, read by one consumer as they grow.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use strait_core::config::{DeliveryMode, Link};
use strait_core::map::{LiveMap, MapRecord};
use strait_core::progress::{map_topic, progress_topic};
use strait_flow::ports::PortError;

use crate::config::{ClusterConfig, own_topic_reader};
use crate::error::{drop_blocking, is_gone_topic, port_error_because};
use crate::ffi::{Code, ConsumedMessage, Consumer, FfiError, Place as At};
use crate::queries;
use crate::topics::count;

/// Messages that are decoded at a time.
const MESSAGES: usize = 1_000;
/// How long one call reads on before it returns.
const READ_FOR: Duration = Duration::from_secs(1);
/// How long a call waits for messages while the topics are read for the first time.
const WAIT: Duration = Duration::from_millis(100);
/// How long the topics are not read again after a failure.
const AGAIN: Duration = Duration::from_secs(10);

/// The tail, or why there is none.
pub(crate) struct Reading {
    cluster: ClusterConfig,
    link: String,
    exactly_once: bool,
    bytes_max: usize,
    timeout: Duration,
    /// Whether the link may never have run: then there is nothing to read.
    may_lack: bool,
    tail: Option<Tail>,
    failed: Option<(Instant, PortError)>,
}

/// Reads both topics with one consumer.
struct Tail {
    consumer: Consumer,
    /// The rolls of the access when the consumer was made.
    rolls: u64,
    /// Ends that are not reached yet since the first reading began, by partition.
    open: BTreeMap<(String, i32), i64>,
    is_whole: bool,
    map_topic: String,
    map: LiveMap,
}

impl Reading {
    /// Reads the map of a link that keeps it on `cluster`, and holds it in so many bytes. A request
    /// takes `timeout` at most.
    pub(crate) fn new(cluster: &ClusterConfig, link: &Link, bytes_max: usize, timeout: Duration) -> Self {
        Self {
            cluster: cluster.clone(),
            link: link.name.clone(),
            exactly_once: link.delivery == DeliveryMode::ExactlyOnce,
            bytes_max,
            timeout,
            may_lack: false,
            tail: None,
            failed: None,
        }
    }

    /// Takes it for no failure that the link has no topics.
    pub(crate) fn if_there(self) -> Self {
        Self { may_lack: true, ..self }
    }

    /// Returns the map, once it was read to the end that it had at first.
    pub(crate) fn map(&self) -> Option<&LiveMap> {
        self.tail.as_ref().map(|tail| &tail.map).filter(|map| map.is_read())
    }

    /// Returns whether there is nothing to read, and that is no failure.
    pub(crate) fn is_absent(&self) -> bool {
        self.may_lack && self.failed.as_ref().is_some_and(|(_, error)| is_gone_topic(error))
    }

    /// Destroys the consumer. It blocks.
    pub(crate) fn close(&mut self) {
        drop_blocking(self.tail.take());
    }

    /// Reads what is new. A failure begins anew, after a while.
    pub(crate) fn refresh(&mut self) -> Result<(), PortError> {
        if let Some((at, error)) = &self.failed
            && at.elapsed() < AGAIN
        {
            return if self.is_absent() { Ok(()) } else { Err(error.clone()) };
        }
        let read = self.read_on();
        self.failed = read.as_ref().err().map(|error| (Instant::now(), error.clone()));
        if read.is_err() {
            self.tail = None;
        }
        if self.is_absent() { Ok(()) } else { read }
    }

    fn read_on(&mut self) -> Result<(), PortError> {
        let rolls = self.cluster.access.client_rolls();
        let mut tail = match self.tail.take().filter(|tail| tail.rolls == rolls) {
            Some(tail) => tail,
            None => self.open(rolls)?,
        };
        let read = tail.read().map_err(|error| self.fail(&error, &tail.consumer));
        self.tail = Some(tail);
        read
    }

    fn fail(&self, error: &FfiError, consumer: &Consumer) -> PortError {
        let context = format!("link {}: reading the offset map of cluster {}", self.link, self.cluster.name);
        port_error_because(context, error, consumer.client().take_trouble())
    }

    /// Begins at the start of both topics.
    fn open(&self, rolls: u64) -> Result<Tail, PortError> {
        let mut settings = own_topic_reader(&self.cluster, &self.link, &format!("strait-{}-groups", self.link));
        // It is read for as long as the process coordinates the link.
        settings.set("fetch.wait.max.ms", 500);
        settings.set("queued.max.messages.kbytes", 4096);
        let made = Consumer::new(&format!("{}/groups", self.link), &settings);
        let context = format!("link {}: reading the offset map of cluster {}", self.link, self.cluster.name);
        let consumer = made.map_err(|error| port_error_because(context, &error, None))?;
        let mut tail = Tail {
            consumer,
            rolls,
            open: BTreeMap::new(),
            is_whole: true,
            map_topic: map_topic(&self.link),
            map: LiveMap::new(self.exactly_once, self.bytes_max),
        };
        let begun = tail.begin(&progress_topic(&self.link), self.timeout);
        begun.map_err(|error| self.fail(&error, &tail.consumer))?;
        Ok(tail)
    }
}

impl Tail {
    fn begin(&mut self, progress: &str, timeout: Duration) -> Result<(), FfiError> {
        let client = Arc::clone(self.consumer.client());
        let mut places: Vec<At> = Vec::new();
        for topic in [&*self.map_topic, progress] {
            let partitions = count(&client, topic, timeout)?;
            places.extend(At::all_of(topic, partitions));
        }
        let mut assigned = Vec::new();
        for ((topic, partition), (start, end)) in queries::spans(&client, &places, timeout)? {
            // Retention cuts the map, compaction the progress.
            self.is_whole &= topic != self.map_topic || start == 0;
            if start < end {
                self.open.insert((topic.clone(), partition), end);
            }
            assigned.push(At { offset: start, ..At::of(topic, partition) });
        }
        self.consumer.assign(&assigned)
    }

    /// Reads on while there is something, for a bounded time.
    fn read(&mut self) -> Result<(), FfiError> {
        let began = Instant::now();
        loop {
            let wait = if self.open.is_empty() { Duration::ZERO } else { WAIT };
            let Self { consumer, open, map, map_topic, .. } = self;
            let got = consumer.consume(MESSAGES, wait, |messages| {
                messages.iter().try_for_each(|message| take(message, map_topic, map, open))?;
                Ok::<_, FfiError>(messages.len())
            })?;
            if self.open.is_empty() && !self.map.is_read() {
                self.map.read(self.is_whole);
            }
            let is_done = got == 0 && self.open.is_empty();
            if is_done || began.elapsed() >= READ_FOR {
                return Ok(());
            }
        }
    }
}

fn take(
    message: &ConsumedMessage<'_>,
    map_topic: &str,
    map: &mut LiveMap,
    open: &mut BTreeMap<(String, i32), i64>,
) -> Result<(), FfiError> {
    let topic = message.topic();
    let next = match message.code() {
        Code::OK => {
            let (key, value) = (message.key().unwrap_or_default(), message.value());
            let bad = |reason: String| {
                let (partition, offset) = (message.partition(), message.offset());
                FfiError::new(Code::BAD_MSG, format!("{topic}-{partition}, offset {offset}: {reason}"))
            };
            if topic == map_topic {
                let record = MapRecord::decode(key, value.unwrap_or_default());
                map.fold(message.partition(), &record.map_err(|error| bad(error.to_string()))?);
            } else {
                map.settle_record(key, value).map_err(|error| bad(error.to_string()))?;
            }
            message.offset() + 1
        }
        // Behind aborted and control records.
        Code::PARTITION_EOF => message.offset(),
        code => return Err(FfiError::new(code, message.error_text())),
    };
    if open.is_empty() {
        return Ok(());
    }
    let place = (topic.to_owned(), message.partition());
    if open.get(&place).is_some_and(|end| next >= *end) {
        open.remove(&place);
    }
    Ok(())
}
