//! Reads a link's offset map and progress to its present end, and what is needed beside them to
//! translate offsets: committed offsets of groups, topic ids, and the bounds of target partitions.
//! Changes nothing, and waits for no open transaction.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use strait_core::map::{LinkMap, MapRecord, TargetSide};
use strait_core::progress::{LaneRecord, Position, map_topic, progress_topic};
use strait_core::{LaneId, PartitionKey, SourceOffset, TargetOffset, TopicId};
use strait_flow::ports::{Class, PortError, ProgressStore as _};

use crate::config::{ClusterConfig, own_topic_reader};
use crate::error::{blocking, own, port_error_because};
use crate::ffi::{Code, Consumer, FfiError, OffsetSpec, Place};
use crate::lazy_client::LazyClient;
use crate::progress_store::KafkaProgressStore;
use crate::queries;
use crate::topics::count;

/// Messages of the map that are decoded at a time.
const MESSAGES: usize = 1_000;

/// Committed offsets by topic and partition.
pub type Committed = BTreeMap<(Arc<str>, i32), i64>;

/// A target partition as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetBounds {
    id: TopicId,
    start: TargetOffset,
    end: TargetOffset,
}

impl TargetBounds {
    /// Returns the id of the topic.
    pub(crate) fn id(&self) -> TopicId {
        self.id
    }

    /// Returns an offset as it can be written there: within the log.
    pub(crate) fn within(&self, offset: TargetOffset) -> TargetOffset {
        offset.max(self.start).min(self.end.max(self.start))
    }

    /// Returns the partition with its bounds.
    #[must_use]
    pub fn side<'a>(&self, topic: &'a str, partition: i32) -> TargetSide<'a> {
        TargetSide { topic, id: self.id, partition, start: self.start, end: self.end }
    }
}

/// Bounds of target partitions, or why one has none.
pub type AllBounds = BTreeMap<(Arc<str>, i32), Result<TargetBounds, Arc<str>>>;

/// The ends of a link, to translate offsets between them.
pub struct MapLog {
    link: String,
    source: LazyClient,
    target: LazyClient,
    cluster: ClusterConfig,
    timeout: Duration,
}

impl MapLog {
    /// Creates the reader of a link from `source` to `target`. A request may take `timeout`, and so
    /// long may reading the map go without a new offset.
    #[must_use]
    pub fn new(source: &ClusterConfig, target: &ClusterConfig, link: &str, timeout: Duration) -> Self {
        let client = |cluster: &ClusterConfig| {
            let context = format!("link {link}: offsets on cluster {}", cluster.name);
            LazyClient::new(cluster, format!("{link}/offsets"), context)
        };
        let (source, asked) = (client(source), client(target));
        Self { link: link.to_owned(), source, target: asked, cluster: target.clone(), timeout }
    }

    /// Returns what a group has committed on the source.
    ///
    /// # Errors
    /// [`PortError`].
    pub async fn committed_on_source(&self, group: &str) -> Result<Committed, PortError> {
        committed(&self.source, group, self.timeout).await
    }

    /// Returns what a group has committed on the target.
    ///
    /// # Errors
    /// [`PortError`].
    pub async fn committed_on_target(&self, group: &str) -> Result<Committed, PortError> {
        committed(&self.target, group, self.timeout).await
    }

    /// Returns the ids of those of these source topics that exist.
    ///
    /// # Errors
    /// [`PortError`].
    pub async fn source_ids(&self, topics: Vec<Arc<str>>) -> Result<BTreeMap<Arc<str>, TopicId>, PortError> {
        let timeout = self.timeout;
        self.source.ask(move |client| queries::topic_ids(client, &topics, timeout)).await
    }

    /// Returns those of these target partitions that exist, as they are now. One that cannot be
    /// asked, without a leader for instance, has the reason in place of its bounds.
    ///
    /// # Errors
    /// [`PortError`].
    pub async fn target_bounds(&self, partitions: Vec<(Arc<str>, i32)>) -> Result<AllBounds, PortError> {
        let timeout = self.timeout;
        let answer = self.target.ask(move |client| {
            let topics: Vec<Arc<str>> = partitions.iter().map(|(topic, _)| Arc::clone(topic)).collect();
            let ids = queries::topic_ids(client, &topics, timeout)?;
            let places: Vec<Place> = partitions
                .iter()
                .filter(|(topic, _)| ids.contains_key(topic))
                .map(|(topic, partition)| Place::of(&**topic, *partition))
                .collect();
            let starts = queries::list_each(client, &places, OffsetSpec::Earliest, true, timeout)?;
            let mut ends = queries::list_each(client, &places, OffsetSpec::Latest, true, timeout)?;
            let bounds = starts.into_iter().filter_map(|(place, start)| {
                let end = ends.remove(&place)?;
                let topic: Arc<str> = place.0.into();
                let id = ids.get(&topic).copied().unwrap_or(TopicId::UNKNOWN);
                let bounds = |start, end| TargetBounds { id, start: TargetOffset(start), end: TargetOffset(end) };
                let both = start.and_then(|start| Ok(bounds(start, end?)));
                Some(((topic, place.1), both.map_err(|error| error.to_string().into())))
            });
            Ok(bounds.collect())
        });
        answer.await
    }

    /// Returns the positions of the link, and the record of each lane that was taken. Both are
    /// empty if the link was never run.
    ///
    /// # Errors
    /// [`PortError`].
    pub async fn progress(&self) -> Result<(BTreeMap<PartitionKey, Position>, Vec<LaneRecord>), PortError> {
        let (topic, timeout) = (progress_topic(&self.link), self.timeout);
        let lanes = self.target.ask(move |client| count(client, &topic, timeout)).await?;
        let store = KafkaProgressStore::new(&self.cluster, &self.link, timeout).committed_by_now();
        let (mut positions, mut taken) = (BTreeMap::<PartitionKey, Position>::new(), Vec::new());
        for lane in 0..lanes {
            let read = store.read(LaneId(lane)).await?;
            taken.extend(read.lane);
            for (key, position) in read.positions {
                // After a resize a partition may also be in the lane that had it before.
                let is_newer = positions.get(&key).is_none_or(|known| position.supersedes(known));
                if is_newer {
                    positions.insert(key, position);
                }
            }
        }
        Ok((positions, taken))
    }

    /// Folds all that the map topic holds now into `map`.
    ///
    /// # Errors
    /// [`PortError`], also for a map that is too large for the memory or cannot be decoded.
    pub async fn read(&self, map: LinkMap) -> Result<LinkMap, PortError> {
        let topic = map_topic(&self.link);
        let context = format!("link {}: reading {topic} of cluster {}", self.link, self.cluster.name);
        let (cluster, link, timeout) = (self.cluster.clone(), self.link.clone(), self.timeout);
        let label = context.clone();
        blocking(&label, move || {
            let mut log = Log { topic, context, timeout, map };
            log.read(&cluster, &link)?;
            Ok(log.map)
        })
        .await?
    }
}

async fn committed(client: &LazyClient, group: &str, timeout: Duration) -> Result<Committed, PortError> {
    let group = group.to_owned();
    let listed = client.ask(move |client| client.group_offsets(&group, timeout)).await?;
    let mut committed = Committed::new();
    for partition in listed.into_iter().map(|found| found.listed) {
        if partition.code != Code::OK {
            let reason = format!("{}-{}: {}", partition.topic, partition.partition, partition.code.text());
            return Err(own(Class::Stop, &*client.context, reason));
        }
        // Without a committed offset.
        if partition.offset >= 0 {
            committed.insert((partition.topic.into(), partition.partition), partition.offset);
        }
    }
    Ok(committed)
}

/// One reading of the map topic.
struct Log {
    topic: String,
    context: String,
    timeout: Duration,
    map: LinkMap,
}

impl Log {
    fn read(&mut self, cluster: &ClusterConfig, link: &str) -> Result<(), PortError> {
        let settings = own_topic_reader(cluster, link, &format!("strait-{link}-map"));
        let mut consumer = Consumer::new(&format!("{link}/map"), &settings)
            .map_err(|error| port_error_because(&*self.context, &error, None))?;
        let read = self.read_with(&mut consumer);
        read.map_err(|error| match error {
            Failure::Port(error) => error,
            Failure::Client(error) => port_error_because(&*self.context, &error, consumer.client().trouble()),
        })
    }

    fn read_with(&mut self, consumer: &mut Consumer) -> Result<(), Failure> {
        let partitions = count(consumer.client(), &self.topic, self.timeout)?;
        let places: Vec<Place> = Place::all_of(&self.topic, partitions).collect();
        let spans = queries::spans(consumer.client(), &places, self.timeout)?;
        let is_whole = spans.values().all(|(start, _)| *start == 0);
        let mut open: BTreeMap<i32, i64> = BTreeMap::new();
        let mut assigned = Vec::new();
        for ((topic, partition), (start, end)) in spans {
            if start < end {
                open.insert(partition, end);
                assigned.push(Place { offset: start, ..Place::of(topic, partition) });
            }
        }
        if open.is_empty() {
            self.map.finish(is_whole);
            return Ok(());
        }
        consumer.assign(&assigned)?;
        // A long log over a slow line may take long, as long as there is something new.
        let mut since = Instant::now();
        while !open.is_empty() {
            if since.elapsed() > self.timeout {
                let missing: Vec<String> = open.keys().map(|partition| format!("{}-{partition}", self.topic)).collect();
                let text = format!("nothing new of {} in {:?}", missing.join(", "), self.timeout);
                return Err(FfiError::new(Code::TIMED_OUT, text).into());
            }
            let advanced = consumer.consume(MESSAGES, Duration::from_millis(100), |messages| {
                let mut advanced = false;
                for message in messages {
                    // One that is read to its end must not keep another one from timing out.
                    if !open.contains_key(&message.partition()) {
                        continue;
                    }
                    advanced = true;
                    let next = match message.code() {
                        Code::OK => {
                            self.fold(message.partition(), message.offset(), message.key(), message.value())?;
                            message.offset() + 1
                        }
                        // Behind aborted and control records.
                        Code::PARTITION_EOF => message.offset(),
                        code => return Err(FfiError::new(code, message.error_text()).into()),
                    };
                    if open.get(&message.partition()).is_some_and(|end| next >= *end) {
                        open.remove(&message.partition());
                    }
                }
                Ok::<_, Failure>(advanced)
            })?;
            if advanced {
                since = Instant::now();
            }
        }
        self.map.finish(is_whole);
        Ok(())
    }

    fn fold(&mut self, partition: i32, offset: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), PortError> {
        let stop = |reason: String| own(Class::Stop, &*self.context, format!("{partition}, offset {offset}: {reason}"));
        let record = MapRecord::decode(key.unwrap_or_default(), value.unwrap_or_default());
        let record = record.map_err(|error| stop(error.to_string()))?;
        self.map.fold(partition, &record).map_err(|error| stop(error.to_string()))
    }
}

enum Failure {
    Port(PortError),
    Client(FfiError),
}

impl From<PortError> for Failure {
    fn from(error: PortError) -> Self {
        Self::Port(error)
    }
}

impl From<FfiError> for Failure {
    fn from(error: FfiError) -> Self {
        Self::Client(error)
    }
}

/// Returns the keys of these partitions of topics with these ids. Those of other topics are left
/// out.
#[must_use]
pub fn positions_of(committed: &Committed, ids: &BTreeMap<Arc<str>, TopicId>) -> BTreeMap<PartitionKey, SourceOffset> {
    let key = |((topic, partition), offset): (&(Arc<str>, i32), &i64)| {
        let topic_id = *ids.get(topic)?;
        Some((PartitionKey { topic: Arc::clone(topic), topic_id, partition: *partition }, SourceOffset(*offset)))
    };
    committed.iter().filter_map(key).collect()
}
