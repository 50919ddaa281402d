//! The offset map and the progress of a link as they grow, to translate the offsets of groups.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use strait_core::config::{DeliveryMode, Link, Naming, Selector};
use strait_core::control::SourcePlace;
use strait_core::groups::{Committed, Lack, Place, Translated, Wish};
use strait_core::map::{Answer, Exactness, LiveMap, MapRecord, Why};
use strait_core::progress::{map_topic, progress_topic};
use strait_core::{PartitionKey, SourceOffset, TopicId};
use strait_flow::lock;
use strait_flow::ports::{Class, GroupMap, PortError};

use crate::config::{ClusterConfig, own_topic_reader};
use crate::error::{blocking, drop_blocking, own, port_error_because};
use crate::ffi::{Code, ConsumedMessage, Consumer, FfiError, Place as At};
use crate::map_log::{MapLog, TargetBounds};
use crate::queries;
use crate::topics::count;

/// Messages that are decoded at a time.
const MESSAGES: usize = 1_000;
/// How long one call reads on before it returns.
const READ_FOR: Duration = Duration::from_secs(1);
/// How long a call waits for messages while the topics are read for the first time.
const WAIT: Duration = Duration::from_millis(100);
/// How long topic ids and the bounds of target partitions count.
const KNOWN_FOR: Duration = Duration::from_secs(10);
/// How long the topics are not read again after a failure.
const AGAIN: Duration = Duration::from_secs(10);

/// A [`GroupMap`] on the target of a link.
pub struct KafkaGroupMap {
    link: String,
    source: String,
    naming: Naming,
    selector: Selector,
    log: MapLog,
    tail: Arc<Mutex<Reading>>,
    asked: tokio::sync::Mutex<Asked>,
}

/// The answers of the clusters beside the map.
#[derive(Default)]
struct Asked {
    at: Option<Instant>,
    ids: BTreeMap<Arc<str>, TopicId>,
    bounds: BTreeMap<Place, TargetBounds>,
    /// Places that were asked for, whether or not they exist.
    places: BTreeSet<Place>,
    topics: BTreeSet<Arc<str>>,
}

/// The tail, or why there is none.
struct Reading {
    cluster: ClusterConfig,
    link: String,
    exactly_once: bool,
    bytes_max: usize,
    timeout: Duration,
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

impl KafkaGroupMap {
    /// Connects on first use. One request takes `timeout` at most.
    ///
    /// # Errors
    /// A pattern of the link's topics that is no regular expression.
    pub fn new(
        source: &ClusterConfig,
        target: &ClusterConfig,
        link: &Link,
        timeout: Duration,
    ) -> Result<Self, PortError> {
        let selector = link.selector().map_err(|error| own(Class::Stop, "topics", error.to_string()))?;
        let reading = Reading {
            cluster: target.clone(),
            link: link.name.clone(),
            exactly_once: link.delivery == DeliveryMode::ExactlyOnce,
            bytes_max: usize::try_from(link.map_memory_mib).unwrap_or(usize::MAX).saturating_mul(1 << 20),
            timeout,
            tail: None,
            failed: None,
        };
        Ok(Self {
            link: link.name.clone(),
            source: link.source.clone(),
            naming: link.naming.clone(),
            selector,
            log: MapLog::new(source, target, &link.name, timeout),
            tail: Arc::new(Mutex::new(reading)),
            asked: tokio::sync::Mutex::default(),
        })
    }

    /// Returns whether the map was read to the end that it had at first.
    #[must_use]
    pub fn is_read(&self) -> bool {
        lock(&self.tail).tail.as_ref().is_some_and(|tail| tail.map.is_read())
    }

    /// Returns the positions of the group in the topics that the link copies, with the ids that
    /// these have now.
    async fn positions(&self, committed: &Committed) -> Result<BTreeMap<PartitionKey, SourceOffset>, PortError> {
        let selected = |(topic, _): &&Place| self.selector.selects(topic);
        let topics: BTreeSet<Arc<str>> =
            committed.keys().filter(selected).map(|(topic, _)| Arc::clone(topic)).collect();
        let mut asked = self.asked.lock().await;
        let is_old = asked.at.is_none_or(|at| at.elapsed() >= KNOWN_FOR);
        if is_old || !topics.is_subset(&asked.topics) {
            let all: BTreeSet<Arc<str>> = asked.topics.union(&topics).cloned().collect();
            asked.ids = self.log.source_ids(all.iter().cloned().collect()).await?;
            asked.topics = all;
        }
        let key = |(topic, partition): &Place| {
            let topic_id = *asked.ids.get(topic)?;
            Some(PartitionKey { topic: Arc::clone(topic), topic_id, partition: *partition })
        };
        let positions = committed.iter().filter(|(place, _)| selected(place));
        Ok(positions.filter_map(|(place, found)| Some((key(place)?, SourceOffset(found.offset)))).collect())
    }

    /// Returns these target partitions as they are, as far as they exist.
    async fn bounds(&self, places: &BTreeSet<Place>) -> Result<BTreeMap<Place, TargetBounds>, PortError> {
        let mut asked = self.asked.lock().await;
        let is_old = asked.at.is_none_or(|at| at.elapsed() >= KNOWN_FOR);
        // One that does not exist yet is asked for again.
        let is_missing = places.iter().any(|place| !asked.places.contains(place));
        if is_old || is_missing {
            let all: BTreeSet<Place> = asked.places.union(places).cloned().collect();
            asked.bounds = self.log.target_bounds(all.iter().cloned().collect()).await?;
            asked.places = all;
            asked.at = Some(Instant::now());
        }
        let known = places.iter().filter_map(|place| Some((place.clone(), *asked.bounds.get(place)?)));
        Ok(known.collect())
    }

    /// Returns the target partitions that these positions lead to: those with their copies, or
    /// where the first copy will be.
    fn places(&self, positions: &BTreeMap<PartitionKey, SourceOffset>) -> Option<BTreeMap<Place, Vec<PartitionKey>>> {
        let reading = lock(&self.tail);
        let map = reading.tail.as_ref().map(|tail| &tail.map).filter(|map| map.is_read())?;
        let mut places: BTreeMap<Place, Vec<PartitionKey>> = BTreeMap::new();
        for key in positions.keys().filter(|key| map.is_settled(key)) {
            let mut targets = map.targets_of(key).peekable();
            if targets.peek().is_none() {
                let name = self.naming.apply(&self.source, &key.topic);
                places.entry((name.into(), key.partition)).or_default().push(key.clone());
            }
            for place in targets {
                places.entry(place.clone()).or_default();
            }
        }
        Some(places)
    }
}

#[async_trait]
impl GroupMap for KafkaGroupMap {
    async fn refresh(&self) -> Result<(), PortError> {
        let tail = Arc::clone(&self.tail);
        blocking(&format!("link {}: reading the offset map", self.link), move || lock(&tail).refresh()).await?
    }

    async fn translate(&self, committed: &Committed) -> Result<Translated, PortError> {
        let positions = self.positions(committed).await?;
        let mut translated = Translated::default();
        let Some(places) = self.places(&positions) else {
            for key in positions.keys() {
                let name = self.naming.apply(&self.source, &key.topic);
                translated.lacks.insert((name.into(), key.partition), Lack::MapUnread);
            }
            return Ok(translated);
        };
        let bounds = self.bounds(&places.keys().cloned().collect()).await?;
        let reading = lock(&self.tail);
        let Some(map) = reading.tail.as_ref().map(|tail| &tail.map) else { return Ok(translated) };
        for (place, untouched) in places {
            let Some(bounds) = bounds.get(&place) else {
                translated.lacks.insert(place, Lack::NoTarget);
                continue;
            };
            let side = bounds.side(&place.0, place.1);
            let wish = match map.answer(&positions, &side) {
                Ok(Some((answer, mine))) => {
                    let mine = mine.into_iter().map(|(key, offset)| (key.clone(), offset)).collect();
                    Some(wish(answer, mine, committed))
                }
                Ok(None) => {
                    // From the start of the log nothing is skipped, whatever arrives there.
                    let is_empty = side.start == side.end;
                    let exactness = if is_empty { Exactness::Exact } else { Exactness::Inexact(Why::AtLeastOnce) };
                    let answer = Answer { offset: side.start, exactness, ahead: 0, not_copied: 0, left_out: 0 };
                    let mine = untouched.into_iter().filter_map(|key| {
                        let offset = *positions.get(&key)?;
                        Some((key, offset))
                    });
                    let mine: Vec<_> = mine.collect();
                    (!mine.is_empty()).then(|| wish(answer, mine, committed))
                }
                Err(why) => {
                    translated.lacks.insert(place.clone(), Lack::NoAnswer(why));
                    None
                }
            };
            if let Some(wish) = wish {
                translated.wishes.insert(place, wish);
            }
        }
        Ok(translated)
    }
}

impl Drop for KafkaGroupMap {
    fn drop(&mut self) {
        drop_blocking(lock(&self.tail).tail.take());
    }
}

fn wish(answer: Answer, mine: Vec<(PartitionKey, SourceOffset)>, committed: &Committed) -> Wish {
    let kept = mine.first().and_then(|(key, _)| committed.get(&(Arc::clone(&key.topic), key.partition)));
    let metadata = kept.map(|kept| Arc::clone(&kept.metadata)).unwrap_or_default();
    let source = mine.into_iter().map(|(partition, offset)| SourcePlace { partition, offset }).collect();
    Wish { answer, source, metadata }
}

impl Reading {
    /// Reads what is new. A failure begins anew, after a while.
    fn refresh(&mut self) -> Result<(), PortError> {
        if let Some((at, error)) = &self.failed
            && at.elapsed() < AGAIN
        {
            return Err(error.clone());
        }
        let read = self.read_on();
        self.failed = read.as_ref().err().map(|error| (Instant::now(), error.clone()));
        if read.is_err() {
            self.tail = None;
        }
        read
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
