//! The lane's reader of the simulated source.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use strait_core::batch::{BatchBuilder, TimestampType};
use strait_core::{LeaderEpoch, PartitionKey, SourceOffset, TopicId};
use strait_flow::ports::{Fetched, LogBounds, PortError, ReadEpoch, ReadFailure, ReadFrom, Source, StartAt};
use tokio::time::Instant;

use crate::world::{Bug, Faults, Sim, World, retry};

type Spot = (Arc<str>, i32);

#[derive(Clone, Debug)]
struct Place {
    epoch: ReadEpoch,
    /// The incarnation that was asked for.
    topic_id: TopicId,
    next: i64,
    /// Leader epoch to check against the log before the next fetch. The client does so after an
    /// assignment and after an election.
    validate: Option<i32>,
    /// Leader epoch of the last record read.
    last: Option<i32>,
    /// Leader epoch of the partition at the last fetch.
    seen: i32,
    failed: bool,
    /// Something of this assignment was given.
    answered: bool,
}

/// A reader by name, like librdkafka. It knows the id under which it reads a topic, if the cluster
/// tells ids.
pub struct SimSource {
    sim: Sim,
    places: BTreeMap<Spot, Place>,
    ready_at: Option<Instant>,
    turn: usize,
    /// A result fetched before a seek and delivered after it.
    stale: Option<Fetched>,
}

impl SimSource {
    /// Creates a reader without assignments.
    #[must_use]
    pub fn new(sim: Sim) -> Self {
        Self { sim, places: BTreeMap::new(), ready_at: None, turn: 0, stale: None }
    }

    fn fetch(&mut self, world: &mut World) -> Option<Fetched> {
        if let Some(stale) = self.stale.take() {
            return Some(stale);
        }
        let spots: Vec<Spot> = self.places.keys().cloned().collect();
        for step in 0..spots.len() {
            let spot = &spots[(self.turn + step) % spots.len()];
            let Some(place) = self.places.get_mut(spot) else { continue };
            if place.failed {
                continue;
            }
            if let Some(fetched) = fetch_from(world, spot, place) {
                self.turn = self.turn.wrapping_add(step + 1);
                return Some(fetched);
            }
        }
        None
    }
}

fn fail(place: &mut Place, topic: Arc<str>, partition: i32, failure: ReadFailure) -> Option<Fetched> {
    place.failed = true;
    Some(Fetched::Failed { epoch: place.epoch, topic, partition, failure })
}

fn fetch_from(world: &mut World, spot: &Spot, place: &mut Place) -> Option<Fetched> {
    let (topic, partition) = (Arc::clone(&spot.0), spot.1);
    let read_fault = world.faults.read;
    if world.rng.chance(read_fault) {
        return fail(place, topic, partition, ReadFailure::Other("corrupt batch".to_owned()));
    }
    let (records_max, skip) = (world.rng.within(1, 12), world.bug == Some(Bug::SkipSource) && world.rng.chance(20));
    let is_behind = world.faults.unknown > 0 && world.rng.chance(world.faults.unknown);
    let Some(log) = world.source.log(&topic, partition).filter(|_| !is_behind) else {
        return fail(place, topic, partition, ReadFailure::Gone);
    };
    let id = world.source.topics.get(&topic).map_or(TopicId::UNKNOWN, |topic| topic.id);
    let is_told = !world.source.hides_ids && world.bug != Some(Bug::ReadByName);
    if is_told && place.topic_id.is_other_than(id) {
        return fail(place, topic, partition, ReadFailure::OtherIncarnation { id });
    }
    if log.epoch != place.seen {
        place.seen = log.epoch;
        place.validate = place.validate.or(place.last);
    }
    if let Some(epoch) = place.validate.take()
        && log.end_of_epoch(epoch).is_none_or(|end| end < place.next)
    {
        let end = log.end_of_epoch(epoch).map(SourceOffset);
        return fail(place, topic, partition, ReadFailure::LogTruncation { end });
    }
    if place.next < log.log_start || place.next > log.end() {
        return fail(place, topic, partition, ReadFailure::OutOfRange);
    }
    let stable = log.last_stable();
    let mut builder: Option<(BatchBuilder, i32)> = None;
    let mut next = place.next;
    while next < stable {
        let entry = log.entries[next as usize];
        let Some(id) = entry.record else {
            next += 1;
            continue;
        };
        let builder = match &mut builder {
            Some((builder, epoch)) if *epoch == entry.epoch && (builder.len() as u64) < records_max => builder,
            Some(_) => break,
            None => {
                let epoch = LeaderEpoch(entry.epoch);
                let new = BatchBuilder::new(Arc::clone(&topic), partition, TimestampType::Create, epoch);
                &mut builder.insert((new, entry.epoch)).0
            }
        };
        let record = &world.source.records[id as usize];
        let bytes = id.to_le_bytes();
        if !(skip && builder.len() == 1) {
            builder.push(SourceOffset(next), record.timestamp_ms, Some(&bytes), Some(&bytes));
        }
        next += 1;
        place.next = next;
        place.last = Some(entry.epoch);
    }
    let epoch = place.epoch;
    if let Some((builder, _)) = builder {
        place.answered = true;
        return Some(Fetched::Batch { epoch, batch: builder.build() });
    }
    // The first answer is given although it brings nothing.
    if next == place.next && std::mem::replace(&mut place.answered, true) {
        return None;
    }
    if next > place.next {
        // The client knows the leader epoch of entries that it does not show.
        place.last = log.entries.get(next as usize - 1).map(|e| e.epoch);
        place.next = next;
    }
    Some(Fetched::Moved { epoch, topic, partition, next: SourceOffset(next) })
}

#[async_trait]
impl Source for SimSource {
    async fn assign(&mut self, epoch: ReadEpoch, places: &[ReadFrom]) -> Result<(), PortError> {
        let sim = self.sim.clone();
        let mut world = sim.lock();
        for from in places {
            let spot = (Arc::clone(&from.partition.topic), from.partition.partition);
            if let Some(old) = self.places.get_mut(&spot)
                && world.rng.chance(500)
            {
                self.stale = fetch_from(&mut world, &spot, old);
            }
            let seen = world.source.log(&spot.0, spot.1).map_or(0, |log| log.epoch);
            let validate = (from.leader_epoch != LeaderEpoch::UNKNOWN).then_some(from.leader_epoch.0);
            self.places.insert(
                spot,
                Place {
                    epoch,
                    topic_id: from.partition.topic_id,
                    next: from.next.0,
                    validate,
                    last: validate,
                    seen,
                    failed: false,
                    answered: false,
                },
            );
        }
        Ok(())
    }

    async fn unassign(&mut self, partitions: &[PartitionKey]) -> Result<(), PortError> {
        for key in partitions {
            self.places.remove(&(Arc::clone(&key.topic), key.partition));
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Fetched, PortError> {
        let sim = self.sim.clone();
        loop {
            let at = match self.ready_at {
                Some(at) => at,
                None => {
                    let latency = sim.lock().latency();
                    *self.ready_at.insert(Instant::now() + Duration::from_millis(latency))
                }
            };
            tokio::time::sleep_until(at).await;
            let changed = sim.source_changed.notified();
            {
                let mut world = sim.lock();
                let broken = world.faults.read_broken;
                if world.rng.chance(broken) {
                    return Err(retry("reading the source", "all brokers down"));
                }
                if let Some(fetched) = self.fetch(&mut world) {
                    self.ready_at = None;
                    return Ok(fetched);
                }
            }
            // Nothing is there. It polls again when woken, or after a while.
            tokio::time::timeout(Duration::from_millis(500), changed).await.ok();
        }
    }

    async fn bounds(&mut self, partitions: &[PartitionKey]) -> Result<BTreeMap<PartitionKey, LogBounds>, PortError> {
        let asked = partitions.to_vec();
        let answer = move |world: &mut World| {
            let bounds = |key: PartitionKey| world.source.bounds(&key.topic, key.partition).map(|b| (key, b));
            asked.into_iter().filter_map(bounds).collect()
        };
        self.sim.call("listing offsets of the source", answer).await
    }

    async fn resolve(
        &mut self,
        start: StartAt,
        partitions: &[PartitionKey],
    ) -> Result<BTreeMap<PartitionKey, Result<SourceOffset, PortError>>, PortError> {
        let asked = partitions.to_vec();
        let answer = move |world: &mut World| {
            let no_start = world.faults.no_start;
            let resolve = |key: PartitionKey| {
                let start = world.source.resolve(start, &key.topic, key.partition)?;
                if world.rng.chance(no_start) {
                    return Some((key, Err(retry("source", "the partition has no leader"))));
                }
                (!world.rng.chance(no_start)).then_some((key, Ok(start)))
            };
            asked.into_iter().filter_map(resolve).collect()
        };
        self.sim.call("listing offsets of the source", answer).await
    }

    async fn topic_ids(&mut self, topics: &[Arc<str>]) -> Result<BTreeMap<Arc<str>, TopicId>, PortError> {
        let asked = topics.to_vec();
        let answer = move |world: &mut World| {
            let Faults { no_ids, undescribed, unknown, .. } = world.faults;
            for name in &asked {
                *world.asked_ids.entry(Arc::clone(name)).or_default() += 1;
            }
            if world.rng.chance(undescribed) {
                return Err(retry("describing topics of the source", "no answer"));
            }
            let hides = world.rng.chance(no_ids);
            let id = |name: Arc<str>| {
                if unknown > 0 && world.rng.chance(unknown) {
                    return None;
                }
                let topic = world.source.topics.get(&name)?;
                let is_hidden = hides && world.is_known_by_id(&name);
                let id = if is_hidden { TopicId::UNKNOWN } else { world.source.told_id(topic) };
                Some((name, id))
            };
            Ok(asked.into_iter().filter_map(id).collect())
        };
        self.sim.call("describing topics of the source", answer).await?
    }

    async fn close(self: Box<Self>) {}
}
