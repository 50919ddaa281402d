//! The marks of lanes that go back, looked for just before a transaction of a replay is committed.

use std::time::{Duration, Instant};

use strait_core::books::{BOOKS_PARTITION, BookKey, BookLine, ReadAgain};
use strait_core::progress::operate_topic;
use strait_flow::ports::PortError;

use crate::config::{ClusterConfig, own_topic_reader};
use crate::error::port_error_because;
use crate::ffi::{Code, Consumer, FfiError, OffsetSpec, Place};
use crate::queries;

/// The marks behind the last reading of the books.
pub(super) struct Marks {
    target: ClusterConfig,
    link: String,
    topic: String,
    context: String,
    timeout: Duration,
    consumer: Option<Consumer>,
    /// The next offset to look at.
    next: i64,
    found: Vec<ReadAgain>,
}

impl Marks {
    pub fn new(target: &ClusterConfig, link: &str, timeout: Duration) -> Self {
        let topic = operate_topic(link);
        let context = format!("link {link}: looking for marks in {topic} of cluster {}", target.name);
        let (target, link) = (target.clone(), link.to_owned());
        Self { target, link, topic, context, timeout, consumer: None, next: 0, found: Vec::new() }
    }

    /// The books were read up to this offset: only what stands behind it is news.
    pub fn begin(&mut self, end: i64) {
        self.next = end;
        self.found.clear();
    }

    /// Looks up to the present end of the log.
    ///
    /// A mark of a transaction that is not decided counts too. Its lane is about to go back, and to
    /// wait for it could be to wait for the transaction of this job.
    ///
    /// # Errors
    /// [`PortError`].
    pub fn look(&mut self) -> Result<(), PortError> {
        let mut consumer = match self.consumer.take() {
            Some(consumer) => consumer,
            None => self.connect().map_err(|error| port_error_because(self.context.clone(), &error, None))?,
        };
        self.read(&mut consumer).map_err(|error| {
            // Serves the error callback, so that a refused login is named.
            consumer.consume(1, Duration::ZERO, |_| ());
            port_error_because(self.context.clone(), &error, consumer.client().trouble())
        })?;
        self.consumer = Some(consumer);
        Ok(())
    }

    /// Returns whether a lane reads a record again that was open when the books were read.
    pub fn ends(&self, key: &BookKey) -> bool {
        self.found.iter().any(|mark| mark.ends(key))
    }

    fn connect(&self) -> Result<Consumer, FfiError> {
        let client_id = format!("strait-{}-marks", self.link);
        let mut settings = own_topic_reader(&self.target, &self.link, &client_id);
        settings.set("isolation.level", "read_uncommitted");
        Consumer::new(&format!("{}/marks", self.link), &settings)
    }

    fn read(&mut self, consumer: &mut Consumer) -> Result<(), FfiError> {
        let place = Place { offset: self.next, ..Place::of(&*self.topic, BOOKS_PARTITION) };
        let asked = std::slice::from_ref(&place);
        let ends = queries::list(consumer.client(), asked, OffsetSpec::Latest, false, self.timeout)?;
        let end = ends.into_values().next().unwrap_or(self.next);
        if end <= self.next {
            return Ok(());
        }
        consumer.assign(std::slice::from_ref(&place))?;
        let mut since = Instant::now();
        while self.next < end {
            let (next, found) = (&mut self.next, &mut self.found);
            let is_news = consumer.consume(1, Duration::from_millis(100), |messages| {
                let Some(message) = messages.first() else { return Ok(false) };
                match message.code() {
                    Code::OK => {
                        *next = message.offset() + 1;
                        let mark = BookLine::decode(message.key().unwrap_or_default());
                        if let (Some(BookLine::ReadAgain(mark)), Some(_)) = (mark, message.value()) {
                            found.push(mark);
                        }
                    }
                    // Behind control records.
                    Code::PARTITION_EOF => *next = message.offset(),
                    code => return Err(FfiError::new(code, message.error_text())),
                }
                Ok(true)
            })?;
            if is_news {
                since = Instant::now();
            }
            if since.elapsed() > self.timeout {
                let text = format!("offset {end} was not reached: nothing after {}", self.next);
                return Err(FfiError::new(Code::TIMED_OUT, text));
            }
        }
        // The next look assigns it again, from where this one has come to.
        consumer.unassign(&[place])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use strait_core::{PartitionKey, SourceOffset, TopicId};

    use super::*;
    use crate::config::{TargetTuning, writer};
    use crate::ffi::{Handle, MockCluster, Observer, OutMessage, Producer};

    struct Quiet;

    impl Observer for Quiet {}

    #[test]
    fn a_lane_that_goes_back_after_the_books_were_read_is_found_before_the_commit() {
        let mock = MockCluster::start(1).unwrap();
        mock.create_topic("strait.back.operate", 2).unwrap();
        let cluster = ClusterConfig {
            name: "mock".to_owned(),
            bootstrap_servers: mock.bootstrap_servers(),
            properties: BTreeMap::new(),
            access: crate::access::Access::default(),
        };
        let settings = writer(&cluster, "lane", &TargetTuning::default(), None);
        let producer = Producer::new("lane", &settings, Arc::new(Quiet), || {}).unwrap();
        let topic: Handle = producer.open("strait.back.operate").unwrap();
        let mark = |from: i64| {
            let partition = PartitionKey { topic: "orders".into(), topic_id: TopicId([1; 16]), partition: 0 };
            let mark = ReadAgain { partition, read_again_from: SourceOffset(from) };
            let (key, value) = mark.encode(SourceOffset(from + 50));
            let (key, value) = (Some(&*key), Some(&*value));
            let message = OutMessage { topic, partition: BOOKS_PARTITION, key, value, timestamp_ms: 1, token: 0 };
            producer.produce(&message, None).unwrap();
            producer.flush(Duration::from_secs(30)).unwrap();
        };
        let entry = |offset: i64| {
            let partition = PartitionKey { topic: "orders".into(), topic_id: TopicId([1; 16]), partition: 0 };
            BookKey { partition, offset: SourceOffset(offset) }
        };
        mark(10);
        let mut marks = Marks::new(&cluster, "back", Duration::from_secs(30));
        marks.begin(1);
        marks.look().unwrap();
        assert!(!marks.ends(&entry(60)), "it was there when the books were read");
        mark(50);
        marks.look().unwrap();
        assert!(marks.ends(&entry(50)) && !marks.ends(&entry(49)));
        marks.look().unwrap();
        assert!(marks.ends(&entry(60)), "until the books are read again");
        mark(40);
        marks.look().unwrap();
        assert!(marks.ends(&entry(49)) && !marks.ends(&entry(39)), "by a second look that finds something");
        marks.begin(3);
        marks.look().unwrap();
        assert!(!marks.ends(&entry(60)));
    }
}
