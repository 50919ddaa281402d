//! `strait lanes resize`: gives a link more lanes while no process runs it.
//!
//! The lane of a source partition follows from the number of lanes. With another number, positions
//! belong into other partitions of the progress topic. Everything that could write meanwhile is
//! fenced or refused: the group must be empty, every transactional id of every lane is initialised,
//! and the lanes are marked as closed before their topic grows. One transaction then writes all
//! positions to their new places and removes the marks. An interrupted resize can be run again, and
//! until then no process takes a lane.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use strait_core::progress::{
    Border, LaneProgress, LaneRecord, Position, ProgressKey, ProgressRecord, map_topic, progress_topic,
};
use strait_core::{LaneId, PartitionKey, lanes::lane_of};
use strait_flow::ports::{Class, PortError, ProgressStore, Target};

use crate::config::{ClusterConfig, TargetTuning, writer};
use crate::error::{blocking, own};
use crate::ffi::{Client, FfiError, Observer, OutMessage, Producer};
use crate::lazy_client::{connect, fail};
use crate::progress_store::KafkaProgressStore;
use crate::target::KafkaTarget;
use crate::topics::{count, wait_for};

/// A record of the progress topic, key and value, and its lane.
type OfLane = (u32, (Vec<u8>, Vec<u8>));

/// Why lanes were not resized.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ResizeError {
    /// The link has no topics yet.
    #[error("link {link} has not been run yet ({topic} does not exist): set lanes = {lanes} and run it")]
    NeverRun {
        /// Name of the link.
        link: String,
        /// Its progress topic.
        topic: String,
        /// The requested number of lanes.
        lanes: u32,
    },
    /// A topic cannot lose partitions.
    #[error(
        "link {link} has {existing} lanes and cannot have fewer: a Kafka topic cannot lose partitions. Fewer processes can share them all the same"
    )]
    Fewer {
        /// Name of the link.
        link: String,
        /// The number of lanes it has.
        existing: u32,
    },
    /// A process runs the link.
    #[error("link {link} is being run ({} in group strait.{link}: {}): stop every process of it first", members.len(), members.join(", "))]
    Running {
        /// Name of the link.
        link: String,
        /// Client ids of the group's members.
        members: Vec<String>,
    },
    /// A request to the cluster failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// The result of a resize.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resized {
    /// Number of lanes before.
    pub before: u32,
    /// Number of lanes now.
    pub lanes: u32,
    /// Source partitions whose progress moved to another lane.
    pub moved: usize,
}

/// An observer of a producer whose delivery reports nobody needs.
struct Quiet;

impl Observer for Quiet {}

/// Gives a link `lanes` lanes. Its progress stays exact. Its offset map stays in the old
/// partitions, and the lane records say so.
///
/// # Errors
/// [`ResizeError`]. After [`ResizeError::Port`] the link may stay closed until this is run again.
pub async fn resize_lanes(
    target: &ClusterConfig,
    link: &str,
    lanes: u32,
    exactly_once: bool,
    timeout: Duration,
) -> Result<Resized, ResizeError> {
    let context = format!("link {link}: resizing its lanes on cluster {}", target.name);
    let client = Arc::new(connect(target, &format!("{link}/resize")).map_err(|error| fail(&context, &error, None))?);
    let (asked, name, place) = (Arc::clone(&client), link.to_owned(), context.clone());
    let existing = blocking(&context, move || check(&asked, &name, lanes, &place, timeout)).await??;

    let tuning = TargetTuning { exactly_once, request_timeout: timeout, ..TargetTuning::default() };
    let (cluster, name, place, wanted) = (target.clone(), link.to_owned(), context.clone(), tuning.clone());
    // First, so that of two resizes the earlier one is fenced, and nothing that it has read can be
    // written later.
    let writer = blocking(&context, move || Writer::new(&cluster, &name, &wanted, &place)).await??;
    // Reading would wait for a transaction that a dead owner has left open.
    fence(target, link, existing, &tuning).await?;
    let store = KafkaProgressStore::new(target, link, timeout);
    let closed = LaneRecord { closed: true, ..Plan::new(&read(&store, existing).await?, lanes).record };
    let writer = blocking(&context, move || {
        let marks = (0..existing).map(|lane| (lane, ProgressRecord::Lane(closed.clone()).encode()));
        writer.write(marks.collect(), &[]).map(|()| writer)
    })
    .await??;
    // This fences owners that took a lane before the marks. Later owners find the marks.
    fence(target, link, existing, &tuning).await?;
    let (asked, name, place) = (Arc::clone(&client), link.to_owned(), context.clone());
    blocking(&context, move || check(&asked, &name, lanes, &place, timeout)).await??;
    let known = read(&store, existing).await?;
    if known.iter().any(|lane| lane.lane.as_ref().is_none_or(|lane| !lane.closed)) {
        let reason = "a process has taken a lane meanwhile; see that none is started, and run this again";
        return Err(own(Class::Retry, context, reason).into());
    }
    let plan = Plan::new(&known, lanes);
    let link = link.to_owned();
    blocking(&context.clone(), move || {
        for topic in [progress_topic(&link), map_topic(&link)] {
            grow(&client, &topic, lanes, timeout).map_err(|error| fail(&context, &error, Some(&client)))?;
        }
        // The producer is a client of its own, which must know the new partitions before it gets
        // records for them.
        writer.refresh(lanes, timeout)?;
        writer.write(plan.records(), &plan.leaving)?;
        Ok(Resized { before: plan.before, lanes, moved: plan.leaving.len() })
    })
    .await?
}

/// Reads the progress of every lane.
async fn read(store: &KafkaProgressStore, lanes: u32) -> Result<Vec<LaneProgress>, PortError> {
    let mut known = Vec::new();
    for lane in 0..lanes {
        known.push(store.read(LaneId(lane)).await?);
    }
    Ok(known)
}

fn check(client: &Client, link: &str, lanes: u32, context: &str, timeout: Duration) -> Result<u32, ResizeError> {
    let port = |error: FfiError| fail(context, &error, Some(client));
    let topic = progress_topic(link);
    let existing = count(client, &topic, timeout).map_err(port)?;
    let link = link.to_owned();
    if existing == 0 {
        return Err(ResizeError::NeverRun { link, topic, lanes });
    }
    if lanes < existing {
        return Err(ResizeError::Fewer { link, existing });
    }
    let members = client.group_members(&format!("strait.{link}"), timeout).map_err(port)?;
    if !members.is_empty() {
        return Err(ResizeError::Running { link, members });
    }
    Ok(existing)
}

/// Initialises the ids of every lane, which fences old owners and ends their transactions.
async fn fence(target: &ClusterConfig, link: &str, lanes: u32, tuning: &TargetTuning) -> Result<(), PortError> {
    if !tuning.exactly_once {
        return Ok(());
    }
    for lane in 0..lanes {
        let mut owner = KafkaTarget::new(target, link, lane, tuning);
        let taken = owner.take().await;
        owner.release(Duration::from_secs(5)).await;
        if !taken?.unfenced.is_empty() {
            let context = format!("link {link}, lane {lane}, cluster {}", target.name);
            let reason = "transactions of an earlier owner cannot end yet: a target partition has no leader, or fewer replicas in sync than min.insync.replicas; run it again when that is fixed";
            return Err(own(Class::Retry, context, reason));
        }
    }
    Ok(())
}

fn grow(client: &Client, topic: &str, partitions: u32, timeout: Duration) -> Result<(), FfiError> {
    if count(client, topic, timeout)? < partitions {
        client.create_partitions(topic, partitions as usize, timeout)?;
        wait_for(client, topic, partitions, timeout)?;
    }
    client.metadata(Some(topic), timeout).map(|_| ())
}

/// The records of all lanes after the resize.
struct Plan {
    before: u32,
    lanes: u32,
    record: LaneRecord,
    positions: BTreeMap<PartitionKey, Position>,
    /// The newest border of each partition, so that numbers continue. Older ones stay where they
    /// were written.
    borders: BTreeMap<PartitionKey, Border>,
    /// Positions that belong to another lane now, with the lane that has them.
    leaving: Vec<(u32, PartitionKey)>,
}

impl Plan {
    /// Makes the plan from the progress of all lanes. After an interrupted resize a position may
    /// exist twice; the newer one counts.
    fn new(known: &[LaneProgress], lanes: u32) -> Self {
        let mut record = LaneRecord { created_with: BTreeMap::new(), closed: false, lanes, lanes_before: Vec::new() };
        let mut positions: BTreeMap<PartitionKey, Position> = BTreeMap::new();
        let mut borders: BTreeMap<PartitionKey, Border> = BTreeMap::new();
        let mut leaving = Vec::new();
        let mut before = 0;
        let mut common: Option<BTreeMap<String, i32>> = None;
        for (lane, progress) in (0_u32..).zip(known) {
            if let Some(lane) = &progress.lane {
                // A topic that some lane did not have at its first take may be newer, so it is
                // copied from its beginning.
                record.created_with = match common.take() {
                    None => lane.created_with.clone(),
                    Some(common) => intersection(&common, &lane.created_with),
                };
                common = Some(record.created_with.clone());
                if lane.lanes_before.len() > record.lanes_before.len() {
                    record.lanes_before.clone_from(&lane.lanes_before);
                }
                before = before.max(if lane.closed { 0 } else { lane.lanes });
            }
            for (key, border) in &progress.borders {
                if borders.get(key).is_none_or(|old| border.number > old.number) {
                    borders.insert(key.clone(), border.clone());
                }
            }
            for (key, position) in &progress.positions {
                before = before.max(position.lanes);
                if positions.get(key).is_none_or(|old| !old.supersedes(position)) {
                    positions.insert(key.clone(), position.clone());
                }
                if lane_of(&key.topic, key.partition, lanes).0 != lane {
                    leaving.push((lane, key.clone()));
                }
            }
        }
        if before > 0 && before != lanes && record.lanes_before.last() != Some(&before) {
            record.lanes_before.push(before);
        }
        for position in positions.values_mut() {
            position.lanes = lanes;
        }
        Self { before, lanes, record, positions, borders, leaving }
    }

    /// Returns the records to write, each with its lane.
    fn records(&self) -> Vec<OfLane> {
        let positions = self.positions.iter().map(|(key, position)| {
            let lane = lane_of(&key.topic, key.partition, self.lanes).0;
            (lane, ProgressRecord::Partition(key.clone(), position.clone()).encode())
        });
        let facts = (0..self.lanes).map(|lane| (lane, ProgressRecord::Lane(self.record.clone()).encode()));
        let borders = self.borders.iter().map(|(key, border)| {
            let lane = lane_of(&key.topic, key.partition, self.lanes).0;
            (lane, ProgressRecord::Border(key.clone(), border.clone()).encode())
        });
        positions.chain(borders).chain(facts).collect()
    }
}

/// Returns the topics in both, with the smaller numbers of partitions.
fn intersection(one: &BTreeMap<String, i32>, other: &BTreeMap<String, i32>) -> BTreeMap<String, i32> {
    let shared = one.iter().filter_map(|(topic, count)| Some((topic.clone(), *count.min(other.get(topic)?))));
    shared.collect()
}

/// A transactional producer on the progress topic. It has an id of its own, so that of two resizes
/// one is fenced.
struct Writer {
    producer: Producer,
    topic: String,
    context: String,
    timeout: Duration,
}

impl Writer {
    fn new(cluster: &ClusterConfig, link: &str, tuning: &TargetTuning, context: &str) -> Result<Self, PortError> {
        let id = format!("{}.{link}.resize", tuning.transactional_id_prefix);
        let settings = writer(cluster, &format!("strait-{link}-resize"), tuning, Some(&id));
        let producer = Producer::new(&format!("{link}/resize"), &settings, Arc::new(Quiet), || {})
            .map_err(|error| fail(context, &error, None))?;
        let writer = Self {
            producer,
            topic: progress_topic(link),
            context: context.to_owned(),
            timeout: tuning.transaction_timeout,
        };
        writer.producer.init_transactions(writer.timeout).map_err(|error| writer.fail(&error))?;
        Ok(writer)
    }

    fn fail(&self, error: &FfiError) -> PortError {
        fail(&self.context, error, Some(self.producer.client()))
    }

    /// Waits until the producer knows of so many partitions. The broker that it asks may be behind
    /// the one asked before.
    fn refresh(&self, partitions: u32, timeout: Duration) -> Result<(), PortError> {
        self.producer.open(&self.topic).map_err(|error| self.fail(&error))?;
        let deadline = Instant::now() + timeout;
        loop {
            let known =
                self.producer.client().metadata(Some(&self.topic), timeout).map_err(|error| self.fail(&error))?;
            if known.iter().any(|(_, found, _)| found.unsigned_abs() >= partitions) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let reason = format!("{} does not show {partitions} partitions yet; run this again", self.topic);
                return Err(own(Class::Retry, self.context.clone(), reason));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Writes records and tombstones in one transaction.
    fn write(&self, records: Vec<OfLane>, gone: &[(u32, PartitionKey)]) -> Result<(), PortError> {
        self.producer.begin_transaction().map_err(|error| self.fail(&error))?;
        let written = self.produce(&records, gone);
        let ended =
            written.and_then(|()| self.producer.commit_transaction(self.timeout).map_err(|error| self.fail(&error)));
        if ended.is_err()
            && let Err(error) = self.producer.abort_transaction(self.timeout)
        {
            tracing::debug!("{}: abort: {error}", self.context);
        }
        ended
    }

    fn produce(&self, records: &[OfLane], gone: &[(u32, PartitionKey)]) -> Result<(), PortError> {
        let topic = self.producer.open(&self.topic).map_err(|error| self.fail(&error))?;
        let send = |lane: u32, key: &[u8], value: Option<&[u8]>| {
            let partition = i32::try_from(lane)
                .map_err(|_| own(Class::Stop, self.context.clone(), format!("lane {lane} is out of range")))?;
            let message =
                OutMessage { topic, partition, key: Some(key), value, timestamp_ms: 0, token: u64::from(lane) };
            self.producer.produce(&message, None).map_err(|error| self.fail(&error))
        };
        for (lane, (key, value)) in records {
            send(*lane, key, Some(value))?;
        }
        for (lane, key) in gone {
            let key = serde_json::to_vec(&ProgressKey::Partition(key.clone()))
                .map_err(|error| own(Class::Stop, self.context.clone(), error.to_string()))?;
            send(*lane, &key, None)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strait_core::{LeaderEpoch, OwnerEpoch, SourceOffset, TopicId};

    fn lane(lanes: u32, positions: &[(i32, u64, i64)]) -> LaneProgress {
        let created_with = [("t".to_owned(), 8)].into();
        let record = LaneRecord { created_with, closed: false, lanes, lanes_before: Vec::new() };
        let mut progress = LaneProgress { lane: Some(record), ..LaneProgress::default() };
        for (partition, owner, next) in positions {
            let key = PartitionKey { topic: "t".into(), topic_id: TopicId([1; 16]), partition: *partition };
            let position = Position {
                next: SourceOffset(*next),
                leader_epoch: LeaderEpoch(0),
                generation: "none".into(),
                owner: OwnerEpoch(*owner << 32),
                ids: "ab".into(),
                lanes,
                config: "c".into(),
            };
            progress.positions.insert(key, position);
        }
        progress
    }

    #[test]
    fn every_position_goes_to_its_lane_and_leaves_the_others() {
        let mut known = [lane(2, &[]), lane(2, &[])];
        for partition in 0..8 {
            let at = lane_of("t", partition, 2).0 as usize;
            known[at].positions.extend(lane(2, &[(partition, 3, 100 + i64::from(partition))]).positions);
        }
        let plan = Plan::new(&known, 4);
        assert_eq!((plan.before, plan.record.lanes_before.as_slice()), (2, &[2][..]));
        assert_eq!(plan.positions.len(), 8);
        for (lane, key) in &plan.leaving {
            assert_ne!(lane_of("t", key.partition, 4).0, *lane);
        }
        assert_eq!(plan.leaving.len(), 4);
        assert_eq!(plan.records().len(), 8 + 4);

        // Run again after an interruption that left old copies: the newest position counts, and
        // nothing else changes.
        let again = Plan::new(&[known[0].clone(), known[1].clone(), lane(4, &[(0, 4, 999)])], 4);
        assert_eq!(again.positions.values().map(|p| p.next.0).max(), Some(999));
    }
}
