//! A steady stream of records into many topics, and when each of them arrives.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use strait_e2e::TestClient;

use super::Course;
use crate::support::unix_ms;

/// A record that has arrived.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    at: Instant,
    latency: Duration,
}

/// The arrivals of a topic from one moment to another.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    pub p99: Duration,
    pub max: Duration,
    /// The longest time without a record, the time until the first and since the last included.
    pub gap: Duration,
}

/// Partition 0 of many topics, written at a steady rate and read on the other side.
pub struct Stream {
    topics: Vec<String>,
    arrivals: Mutex<BTreeMap<usize, Vec<Arrival>>>,
    /// Topics that are not written to now: a test has deleted them.
    muted: Mutex<Vec<usize>>,
}

impl Stream {
    pub fn new(topics: Vec<String>) -> Self {
        Self { topics, arrivals: Mutex::default(), muted: Mutex::default() }
    }

    pub fn topics(&self) -> &[String] {
        &self.topics
    }

    pub fn mute(&self, topic: usize, on: bool) {
        let mut muted = self.muted.lock().unwrap_or_else(PoisonError::into_inner);
        muted.retain(|other| *other != topic);
        if on {
            muted.push(topic);
        }
    }

    /// Writes a record to each topic at this pace until the course is over.
    pub fn write(&self, course: &Course, client: &TestClient, pause: Duration) {
        let producer: ThreadedProducer<DefaultProducerContext> =
            client.config().set("linger.ms", "5").set("topic.metadata.refresh.interval.ms", "1000").create().unwrap();
        let mut number = 0_u64;
        while course.goes_on() {
            let began = Instant::now();
            let muted = self.muted.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for (_, topic) in self.topics.iter().enumerate().filter(|(index, _)| !muted.contains(index)) {
                number += 1;
                let text = number.to_string();
                let record = BaseRecord::to(topic).partition(0).key(&text).payload(&text).timestamp(unix_ms());
                // A topic that has just been deleted, or made again, is unknown for a moment.
                producer.send(record).ok();
            }
            std::thread::sleep(pause.saturating_sub(began.elapsed()));
        }
        producer.flush(Duration::from_secs(30)).unwrap();
    }

    /// Reads the copies until the course is over.
    pub fn read(&self, course: &Course, client: &TestClient, prefix: &str) {
        let consumer: BaseConsumer = client
            .config()
            .set("group.id", "strait-test-stream")
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "20")
            .set("topic.metadata.refresh.interval.ms", "1000")
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        for topic in &self.topics {
            list.add_partition_offset(&format!("{prefix}{topic}"), 0, Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        let indexes: BTreeMap<String, usize> =
            self.topics.iter().enumerate().map(|(index, topic)| (format!("{prefix}{topic}"), index)).collect();
        while course.goes_on() {
            // A topic that is deleted or denied is an error here, and no concern of the others.
            let Some(Ok(message)) = consumer.poll(Duration::from_millis(20)) else { continue };
            let Some(index) = indexes.get(message.topic()) else { continue };
            let age = unix_ms() - message.timestamp().to_millis().unwrap_or_default();
            let latency = Duration::from_millis(u64::try_from(age).unwrap_or_default());
            self.arrivals().entry(*index).or_default().push(Arrival { at: Instant::now(), latency });
        }
    }

    fn arrivals(&self) -> MutexGuard<'_, BTreeMap<usize, Vec<Arrival>>> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Figures over the topics from `index` on but without that one, which are those that nothing
    /// has broken, of what arrived from one moment to another.
    pub fn figures(&self, index: usize, from: Instant, until: Instant) -> Figures {
        let arrivals = self.arrivals();
        let mut latencies = Vec::new();
        let mut gap = Duration::ZERO;
        for index in index + 1..self.topics.len() {
            let mut last = from;
            let of_topic = arrivals.get(&index).into_iter().flatten();
            for arrival in of_topic.filter(|arrival| (from..until).contains(&arrival.at)) {
                latencies.push(arrival.latency);
                gap = gap.max(arrival.at - last);
                last = arrival.at;
            }
            gap = gap.max(until - last);
        }
        latencies.sort_unstable();
        let p99 = latencies.get(latencies.len() * 99 / 100).or_else(|| latencies.last());
        Figures {
            p99: p99.copied().unwrap_or(Duration::MAX),
            max: latencies.last().copied().unwrap_or(Duration::MAX),
            gap,
        }
    }

    /// Waits until every topic that was not broken, those from `index` on, gets its records within
    /// a second; reports whether it came to that.
    pub fn is_calm(&self, index: usize, course: &Course, within: Duration) -> bool {
        let began = Instant::now();
        let soon = Duration::from_secs(1);
        let is_prompt = |arrival: &Arrival| arrival.at.elapsed() < soon && arrival.latency < soon;
        while began.elapsed() < within {
            let arrivals = self.arrivals();
            let last = |index: usize| arrivals.get(&index).and_then(|list| list.last()).copied();
            if (index..self.topics.len()).all(|index| last(index).as_ref().is_some_and(is_prompt)) {
                return true;
            }
            drop(arrivals);
            course.wait(Duration::from_millis(200));
        }
        false
    }

    /// Reports whether every topic has had a record since this moment.
    pub fn all_move(&self, since: Instant) -> bool {
        let arrivals = self.arrivals();
        (0..self.topics.len())
            .all(|index| arrivals.get(&index).and_then(|list| list.last()).is_some_and(|arrival| arrival.at > since))
    }
}
