use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use strait_e2e::TestClient;

use crate::error::BenchError;
use crate::stop;

const DEADLINE: Duration = Duration::from_secs(30);

/// One cluster as the benchmark sees it, around its proxies.
pub struct Kafka {
    pub bootstrap: String,
    client: TestClient,
    watcher: Mutex<BaseConsumer>,
}

impl Kafka {
    /// # Errors
    /// The library's refusal.
    pub fn connect(bootstrap: String) -> Result<Self, BenchError> {
        let client = TestClient::new(&bootstrap);
        let watcher = reader_config(&client).create().map_err(BenchError::kafka("making a consumer"))?;
        Ok(Self { bootstrap, client, watcher: Mutex::new(watcher) })
    }

    /// Forgets which topics there were: librdkafka asks no more for one that it did not find, or
    /// that was deleted.
    ///
    /// # Errors
    /// The library's refusal.
    pub fn renew(&self) -> Result<(), BenchError> {
        *self.watcher() = self.reader()?;
        Ok(())
    }

    /// A client configuration for this cluster.
    pub fn config(&self) -> ClientConfig {
        self.client.config()
    }

    /// A consumer of committed records that reads whatever partitions it is given.
    ///
    /// # Errors
    /// The library's refusal.
    pub fn reader(&self) -> Result<BaseConsumer, BenchError> {
        reader_config(&self.client).create().map_err(BenchError::kafka("making a consumer"))
    }

    /// # Errors
    /// The broker's refusal, or a missed deadline.
    pub fn create(&self, topic: &str, partitions: i32, configs: &[(&str, &str)]) -> Result<(), BenchError> {
        Ok(self.client.create_topic(topic, partitions, configs)?)
    }

    /// Deletes the topics that `selected` picks, and says how many there were.
    ///
    /// # Errors
    /// The library's refusal.
    pub fn delete_where(&self, selected: impl Fn(&str) -> bool) -> Result<usize, BenchError> {
        let mut deleted = 0;
        for (topic, _) in self.client.topics()? {
            if selected(&topic) && !topic.starts_with("__") {
                self.client.delete_topic(&topic)?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }

    /// Partitions of a topic; `None` while there is no such topic.
    ///
    /// # Errors
    /// The library's refusal.
    pub fn partitions(&self, topic: &str) -> Result<Option<i32>, BenchError> {
        let topics = self.client.topics()?;
        let found = topics.into_iter().find(|(name, _)| name == topic);
        Ok(found.and_then(|(_, count)| i32::try_from(count).ok()).filter(|count| *count > 0))
    }

    /// All topics with their numbers of partitions.
    ///
    /// # Errors
    /// The library's refusal.
    pub fn topics(&self) -> Result<Vec<(String, usize)>, BenchError> {
        Ok(self.client.topics()?)
    }

    /// Last stable offset of every partition, in order; zero where a leader is missing. The topic
    /// has to be there.
    ///
    /// # Errors
    /// The library's refusal of anything else.
    pub fn stable_ends(&self, topic: &str, partitions: i32) -> Result<Vec<i64>, BenchError> {
        stop::check()?;
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition, Offset::End).map_err(BenchError::kafka("asking for ends"))?;
        }
        let answer = self.watcher().offsets_for_times(list, DEADLINE);
        let answer = answer.map_err(BenchError::kafka(format!("asking for the ends of {topic}")))?;
        let end = |partition| {
            let found = answer.find_partition(topic, partition);
            match found.map(|found| found.offset()) {
                Some(Offset::Offset(offset)) => offset,
                _ => 0,
            }
        };
        Ok((0..partitions).map(end).collect())
    }

    fn watcher(&self) -> MutexGuard<'_, BaseConsumer> {
        self.watcher.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same as a sum over the partitions.
    ///
    /// # Errors
    /// As [`Kafka::stable_ends`].
    pub fn stable_end(&self, topic: &str, partitions: i32) -> Result<u64, BenchError> {
        Ok(self.stable_ends(topic, partitions)?.iter().map(|end| u64::try_from(*end).unwrap_or_default()).sum())
    }
}

fn reader_config(client: &TestClient) -> ClientConfig {
    let mut config = client.config();
    config
        .set("group.id", "strait-bench")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "true")
        .set("queued.max.messages.kbytes", "32768")
        .set("fetch.queue.backoff.ms", "2");
    config
}
