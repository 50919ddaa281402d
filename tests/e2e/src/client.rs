use std::collections::HashSet;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication, TopicResult};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::error::ClientError;
use crate::ffi;
use crate::record::{LogRecord, Record};

/// For every call of the library and every wait of this module.
const DEADLINE: Duration = Duration::from_secs(60);
/// Without a single record or partition end for this long, reading has failed.
const READ_STALL: Duration = Duration::from_secs(60);

/// Which records a reader sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Committed ones, up to the last stable offset.
    Committed,
    /// All, those of aborted and open transactions too, up to the high watermark.
    Uncommitted,
}

impl Isolation {
    fn property(self) -> &'static str {
        match self {
            Self::Committed => "read_committed",
            Self::Uncommitted => "read_uncommitted",
        }
    }
}

/// Sets up and reads topics. Use [`strait_test_cluster::Cluster::internal_bootstrap`], so that the
/// faults of a test do not reach its checks. All calls block: in an async test use
/// `tokio::task::spawn_blocking`, or the multi-threaded runtime.
#[derive(Debug, Clone)]
pub struct TestClient {
    bootstrap: String,
    properties: Vec<(String, String)>,
}

impl TestClient {
    /// A plaintext client.
    #[must_use]
    pub fn new(bootstrap: impl Into<String>) -> Self {
        Self { bootstrap: bootstrap.into(), properties: Vec::new() }
    }

    /// Adds a librdkafka property, for security for example.
    #[must_use]
    pub fn with_property(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.push((key.into(), value.into()));
        self
    }

    /// The configuration that every client of this kind starts from.
    #[must_use]
    pub fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("allow.auto.create.topics", "false");
        for (key, value) in &self.properties {
            config.set(key, value);
        }
        config
    }

    /// Creates a topic with the cluster's default replication and waits until every partition has a
    /// leader.
    ///
    /// # Errors
    /// The broker's refusal, or a missed deadline.
    pub fn create_topic(&self, topic: &str, partitions: i32, configs: &[(&str, &str)]) -> Result<(), ClientError> {
        self.create(topic, partitions, TopicReplication::Fixed(-1), configs)
    }

    /// Creates a topic with the replicas of each partition on these brokers, the first of them as
    /// its leader.
    ///
    /// # Errors
    /// As [`TestClient::create_topic`].
    pub fn create_topic_on(
        &self,
        topic: &str,
        replicas: &[&[i32]],
        configs: &[(&str, &str)],
    ) -> Result<(), ClientError> {
        let partitions = i32::try_from(replicas.len()).unwrap_or_default();
        self.create(topic, partitions, TopicReplication::Variable(replicas), configs)
    }

    fn create(
        &self,
        topic: &str,
        partitions: i32,
        replication: TopicReplication<'_>,
        configs: &[(&str, &str)],
    ) -> Result<(), ClientError> {
        let mut new = NewTopic::new(topic, partitions, replication);
        for (key, value) in configs {
            new = new.set(key, value);
        }
        let admin = self.admin(topic)?;
        let results = block_on(admin.create_topics([&new], &options()));
        self.accepted("creating", topic, results)?;
        self.wait_for(topic, &format!("there with {partitions} partitions"), |found| found == Some(partitions))
    }

    /// Deletes a topic and waits until it is gone.
    ///
    /// # Errors
    /// The broker's refusal, or a missed deadline.
    pub fn delete_topic(&self, topic: &str) -> Result<(), ClientError> {
        let admin = self.admin(topic)?;
        let results = block_on(admin.delete_topics(&[topic], &options()));
        self.accepted("deleting", topic, results)?;
        self.wait_for(topic, "gone", |found| found.is_none())
    }

    /// Grows a topic to this many partitions and waits until each has a leader.
    ///
    /// # Errors
    /// The broker's refusal, or a missed deadline.
    pub fn grow_topic(&self, topic: &str, partitions: i32) -> Result<(), ClientError> {
        let admin = self.admin(topic)?;
        let count = usize::try_from(partitions).unwrap_or_default();
        let results = block_on(admin.create_partitions([&NewPartitions::new(topic, count)], &options()));
        self.accepted("growing", topic, results)?;
        self.wait_for(topic, &format!("of {partitions} partitions"), |found| found == Some(partitions))
    }

    /// Deletes a partition's records before `offset`, as retention would.
    ///
    /// # Errors
    /// The broker's refusal.
    pub fn delete_records(&self, topic: &str, partition: i32, offset: i64) -> Result<(), ClientError> {
        let what = "deleting records";
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).map_err(ClientError::kafka(what, topic))?;
        let admin = self.admin(topic)?;
        let deleted = block_on(admin.delete_records(&list, &options())).map_err(ClientError::kafka(what, topic))?;
        for element in deleted.elements() {
            element.error().map_err(ClientError::kafka(what, topic))?;
        }
        Ok(())
    }

    /// Every topic with its number of partitions, internal ones too.
    ///
    /// # Errors
    /// The library's error.
    pub fn topics(&self) -> Result<Vec<(String, usize)>, ClientError> {
        let consumer = self.consumer(Isolation::Uncommitted, "")?;
        let metadata = consumer.fetch_metadata(None, DEADLINE).map_err(ClientError::kafka("listing", ""))?;
        Ok(metadata.topics().iter().map(|topic| (topic.name().to_owned(), topic.partitions().len())).collect())
    }

    /// First offset and end of a partition: the last stable offset or the high watermark, by
    /// isolation.
    ///
    /// # Errors
    /// The library's error.
    pub fn offsets(&self, topic: &str, partition: i32, isolation: Isolation) -> Result<(i64, i64), ClientError> {
        let consumer = self.consumer(isolation, topic)?;
        consumer.fetch_watermarks(topic, partition, DEADLINE).map_err(ClientError::kafka("asking for offsets", topic))
    }

    /// Reads the whole topic, in the short form: about 64 bytes a record in memory.
    ///
    /// # Errors
    /// The library's error, or a missed deadline.
    pub fn read_log(&self, topic: &str, isolation: Isolation) -> Result<Vec<LogRecord>, ClientError> {
        let mut log = Vec::new();
        self.read_each(topic, isolation, |record| log.push(record.summary()))?;
        Ok(log)
    }

    /// Reads the whole topic with all its bytes.
    ///
    /// # Errors
    /// The library's error, or a missed deadline.
    pub fn read_records(&self, topic: &str, isolation: Isolation) -> Result<Vec<Record>, ClientError> {
        let mut records = Vec::new();
        self.read_each(topic, isolation, |record| records.push(record))?;
        Ok(records)
    }

    /// Reads every partition from its first offset to the end it has when the reader gets there,
    /// which is at or after the end it had at the call.
    fn read_each(&self, topic: &str, isolation: Isolation, mut each: impl FnMut(Record)) -> Result<(), ClientError> {
        let what = "reading";
        let failed = || ClientError::kafka(what, topic);
        let consumer = self.consumer(isolation, topic)?;
        let metadata = consumer.fetch_metadata(Some(topic), DEADLINE).map_err(failed())?;
        let (partitions, _) = partitions_of(&metadata, topic).ok_or_else(|| ClientError::Kafka {
            what,
            topic: topic.to_owned(),
            error: KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition),
        })?;
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition, Offset::Beginning).map_err(failed())?;
        }
        consumer.assign(&list).map_err(failed())?;
        let mut left: HashSet<i32> = (0..partitions).collect();
        let mut last_news = Instant::now();
        while !left.is_empty() {
            match consumer.poll(Duration::from_millis(200)) {
                None if last_news.elapsed() > READ_STALL => return Err(self.overdue(topic, "read to its end")),
                None => continue,
                Some(Ok(message)) => {
                    // Past the end that was reported; a later call of the test's may want it, this
                    // one does not.
                    if !left.contains(&rdkafka::Message::partition(&message)) {
                        continue;
                    }
                    let record = ffi::record_of(&message);
                    each(record.map_err(|reason| ClientError::Raw { what, topic: topic.to_owned(), reason })?);
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    left.remove(&partition);
                }
                // librdkafka reconnects by itself; the stall deadline bounds it.
                Some(Err(error)) if is_transient(&error) => continue,
                Some(Err(error)) => return Err(failed()(error)),
            }
            last_news = Instant::now();
        }
        Ok(())
    }

    fn consumer(&self, isolation: Isolation, topic: &str) -> Result<BaseConsumer, ClientError> {
        self.config()
            .set("group.id", "strait-test-reader")
            .set("isolation.level", isolation.property())
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            .set("check.crcs", "true")
            .set("queued.max.messages.kbytes", "16384")
            .set("fetch.queue.backoff.ms", "5")
            .set("fetch.wait.max.ms", "50")
            .create()
            .map_err(ClientError::kafka("making a reader", topic))
    }

    fn admin(&self, topic: &str) -> Result<AdminClient<DefaultClientContext>, ClientError> {
        self.config().create().map_err(ClientError::kafka("making an admin client", topic))
    }

    fn accepted(
        &self,
        what: &'static str,
        topic: &str,
        results: Result<Vec<TopicResult>, KafkaError>,
    ) -> Result<(), ClientError> {
        for result in results.map_err(ClientError::kafka(what, topic))? {
            result.map_err(|(_, code)| ClientError::kafka(what, topic)(KafkaError::AdminOp(code)))?;
        }
        Ok(())
    }

    /// Waits until this number of partitions has a leader (`None`: the topic does not exist).
    fn wait_for(&self, topic: &str, wanted: &str, done: impl Fn(Option<i32>) -> bool) -> Result<(), ClientError> {
        let consumer = self.consumer(Isolation::Uncommitted, topic)?;
        let began = Instant::now();
        while began.elapsed() < DEADLINE {
            let metadata =
                consumer.fetch_metadata(Some(topic), DEADLINE).map_err(ClientError::kafka("looking at", topic))?;
            if done(partitions_of(&metadata, topic).map(|(_, led)| led).filter(|led| *led > 0)) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(self.overdue(topic, wanted))
    }

    fn overdue(&self, topic: &str, wanted: &str) -> ClientError {
        ClientError::Deadline { topic: topic.to_owned(), wanted: wanted.to_owned(), waited_s: DEADLINE.as_secs() }
    }
}

/// Returns the number of partitions of the topic, and how many of them have a leader; `None` if the
/// topic is unknown.
fn partitions_of(metadata: &rdkafka::metadata::Metadata, topic: &str) -> Option<(i32, i32)> {
    let found = metadata.topics().iter().find(|found| found.name() == topic && found.error().is_none())?;
    let led = found.partitions().iter().filter(|partition| partition.leader() >= 0).count();
    Some((i32::try_from(found.partitions().len()).ok()?, i32::try_from(led).ok()?))
}

fn is_transient(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::Resolve
        )
    )
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(DEADLINE)).operation_timeout(Some(DEADLINE))
}

/// Waits for an answer of the admin client, whose own thread drives it.
fn block_on<T>(answer: impl Future<Output = T>) -> T {
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};
    use std::thread::{self, Thread};

    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut answer = pin!(answer);
    loop {
        if let Poll::Ready(value) = answer.as_mut().poll(&mut context) {
            return value;
        }
        thread::park();
    }
}
