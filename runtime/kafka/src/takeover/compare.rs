//! Compares the ends of source and target, partition by partition.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use openssl::sha::Sha256;
use strait_core::mirror::{MATCH_MIN, Seen, Tail, match_tail};
use strait_core::progress::Tail as TargetTail;
use strait_core::{PartitionKey, SourceOffset, TargetOffset, TopicId};
use strait_flow::ports::{PortError, SourceTopic};

use super::{Findings, TakeOverSpec, TakenOver};
use crate::config::{ClusterConfig, own_topic_reader};
use crate::error::port_error_because;
use crate::ffi::{Client, Code, ConsumedMessage, Consumer, FfiError, OffsetSpec, Place, Stamp};
use crate::lazy_client::{connect, fail};
use crate::queries;

/// Records behind a position that are looked at: first so many, then so many.
const BEHIND: [usize; 2] = [20_000, 1_000_000];
/// Offsets before a position from which on records are read, for the hundred that a match needs
/// where little was copied behind it.
const BEFORE: i64 = 1_000;
/// Messages that are taken at a time.
const MESSAGES: usize = 1_000;

/// One comparison.
pub(super) struct Comparing {
    pub spec: TakeOverSpec,
    pub source: ClusterConfig,
    pub target: ClusterConfig,
    pub context: String,
    pub timeout: Duration,
}

/// A target topic as it is now.
#[derive(Clone, Copy)]
struct TargetSide {
    id: TopicId,
    start: i64,
    end: i64,
}

impl Comparing {
    /// Finds where the copying of each partition of these topics continues.
    pub fn all(
        &self,
        written: &BTreeMap<(Arc<str>, i32), i64>,
        topics: Vec<(SourceTopic, Option<String>)>,
    ) -> Result<Findings, PortError> {
        let mut source = self.end(&self.source, self.spec.reads_committed)?;
        let mut target = self.end(&self.target, true)?;
        let mut found = Findings::default();
        let mut used = 0;
        for (topic, name) in topics {
            let places: Vec<Place> = Place::all_of(&topic.topic, topic.partitions.unsigned_abs()).collect();
            let bounds = source.bounds(&places)?;
            let name: Option<Arc<str>> = name.map(Into::into);
            let targets = match &name {
                Some(name) => target.topic(name, topic.partitions.unsigned_abs())?,
                None => BTreeMap::new(),
            };
            for place in &places {
                let key =
                    PartitionKey { topic: Arc::clone(&topic.topic), topic_id: topic.id, partition: place.partition };
                let written = written.get(&(Arc::clone(&topic.topic), place.partition)).copied();
                used += usize::from(written.is_some());
                let Some(bounds) = bounds.get(&place.partition).copied() else { continue };
                let side = targets.get(&place.partition).copied();
                let tail = name.as_ref().zip(side).map(|(name, side)| TargetTail {
                    topic: Arc::clone(name),
                    id: side.id,
                    partition: place.partition,
                    end: TargetOffset(side.end),
                });
                let behind = written.map_or(bounds.0, |offset| offset.saturating_add(1));
                let is_comparable = self.spec.copies_as_they_are
                    && (bounds.0..bounds.1).contains(&behind)
                    && (written.is_some() || !self.spec.begins_at_end);
                let compared = match (&name, side) {
                    (Some(name), Some(side)) if is_comparable && side.start < side.end => {
                        Some(compare((&mut source, place), bounds, behind, (&mut target, &**name), side)?)
                    }
                    _ => None,
                };
                let next = match (written, compared) {
                    (_, Some(Tail::Matched { next, .. })) => Some(next),
                    (Some(_), _) => Some(behind),
                    (None, _) if self.spec.begins_at_end => Some(bounds.1),
                    (None, _) => None,
                };
                let next = next.map(SourceOffset);
                found.partitions.push(TakenOver { key, written, next, bounds, tail: compared, target: tail });
            }
        }
        found.others = written.len().saturating_sub(used);
        Ok(found)
    }

    fn end(&self, cluster: &ClusterConfig, committed: bool) -> Result<End, PortError> {
        let mut settings = own_topic_reader(cluster, &self.spec.link, &format!("strait-{}-takeover", self.spec.link));
        if !committed {
            settings.set("isolation.level", "read_uncommitted");
        }
        let context = format!("{}: reading cluster {}", self.context, cluster.name);
        let consumer = Consumer::new(&format!("{}/takeover", self.spec.link), &settings)
            .map_err(|error| port_error_because(context.clone(), &error, None))?;
        Ok(End { consumer, committed, context, timeout: self.timeout })
    }
}

/// A cluster that records are read from.
struct End {
    consumer: Consumer,
    committed: bool,
    context: String,
    timeout: Duration,
}

/// A record as it was read. The target may set its own timestamps.
struct Raw {
    offset: i64,
    with_time: u128,
    without_time: u128,
    value: u64,
    stamp: Stamp,
}

impl End {
    fn fail(&self, error: &FfiError) -> PortError {
        port_error_because(self.context.clone(), error, self.consumer.client().trouble())
    }

    /// Returns start and end of these partitions of one topic.
    fn bounds(&mut self, places: &[Place]) -> Result<BTreeMap<i32, (i64, i64)>, PortError> {
        let list = |spec| queries::list(self.consumer.client(), places, spec, self.committed, self.timeout);
        let (starts, ends) = match (list(OffsetSpec::Earliest), list(OffsetSpec::Latest)) {
            (Ok(starts), Ok(ends)) => (starts, ends),
            (Err(error), _) | (_, Err(error)) => return Err(self.fail(&error)),
        };
        Ok(starts.into_iter().filter_map(|(place, start)| Some((place.1, (start, *ends.get(&place)?)))).collect())
    }

    /// Returns the partitions of a topic, at most `partitions` of them; none where it does not
    /// exist.
    fn topic(&mut self, name: &Arc<str>, partitions: u32) -> Result<BTreeMap<i32, TargetSide>, PortError> {
        let ids = queries::topic_ids(self.consumer.client(), std::slice::from_ref(name), self.timeout);
        let ids = ids.map_err(|error| self.fail(&error))?;
        let Some(id) = ids.get(name).copied() else { return Ok(BTreeMap::new()) };
        let places: Vec<Place> = Place::all_of(name, partitions).collect();
        let bounds = self.bounds(&places)?;
        Ok(bounds.into_iter().map(|(partition, (start, end))| (partition, TargetSide { id, start, end })).collect())
    }

    /// Reads the records of a partition from `from` up to `end`, at most `count` from `next` on.
    /// Returns them, and whether there are more.
    fn read(
        &mut self,
        topic: &str,
        partition: i32,
        (from, next, end): (i64, i64, i64),
        count: usize,
    ) -> Result<(Vec<Raw>, bool), PortError> {
        let place = Place { offset: from, ..Place::of(topic, partition) };
        self.consumer.assign(std::slice::from_ref(&place)).map_err(|error| self.fail(&error))?;
        let read = self.read_assigned(partition, (next, end), count);
        let ended = self.consumer.unassign(&[place]);
        let read = read.map_err(|error| self.fail(&error))?;
        ended.map_err(|error| self.fail(&error))?;
        Ok(read)
    }

    fn read_assigned(
        &mut self,
        partition: i32,
        (next, end): (i64, i64),
        count: usize,
    ) -> Result<(Vec<Raw>, bool), FfiError> {
        let (mut found, mut behind) = (Vec::new(), 0_usize);
        let mut since = Instant::now();
        loop {
            if since.elapsed() > self.timeout {
                let text = format!("offset {end} of partition {partition} was not reached in {:?}", self.timeout);
                return Err(FfiError::new(Code::TIMED_OUT, text));
            }
            let before = found.len();
            let is_done = self.consumer.consume(MESSAGES, Duration::from_millis(20), |messages| {
                for message in messages.iter().filter(|message| message.partition() == partition) {
                    match message.code() {
                        Code::OK if message.offset() >= end => return Ok(true),
                        Code::OK => {}
                        Code::PARTITION_EOF => return Ok(true),
                        code => return Err(FfiError::new(code, message.error_text())),
                    }
                    behind += usize::from(message.offset() >= next);
                    if behind > count {
                        return Ok(true);
                    }
                    found.push(raw(message)?);
                    if message.offset() + 1 >= end {
                        return Ok(true);
                    }
                }
                Ok(false)
            })?;
            if is_done {
                return Ok((found, behind > count));
            }
            if found.len() > before {
                since = Instant::now();
            }
        }
    }
}

/// Compares the ends of one partition: what the source has behind the position, and the last
/// records of the target.
fn compare(
    (source, place): (&mut End, &Place),
    (start, end): (i64, i64),
    behind: i64,
    (target, name): (&mut End, &str),
    side: TargetSide,
) -> Result<Tail, PortError> {
    let from = behind.saturating_sub(BEFORE).max(start);
    let mut answer = Tail::Unsure { possible: 0 };
    for count in BEHIND {
        let (ours, has_more) = source.read(&place.topic, place.partition, (from, behind, end), count)?;
        // With room for the markers of transactions and what they have aborted.
        let wanted = i64::try_from(ours.len().max(MATCH_MIN)).unwrap_or(i64::MAX);
        let reach = wanted.saturating_add(wanted / 2).saturating_add(BEFORE);
        let first = side.end.saturating_sub(reach).max(side.start);
        let (theirs, _) = target.read(name, place.partition, (first, first, side.end), usize::MAX - 1)?;
        // A topic of the broker's time has none of the source's.
        let has_time = theirs.iter().all(|record| record.stamp == Stamp::Create);
        let seen = |records: Vec<Raw>| -> Vec<Seen> {
            let digest = |raw: &Raw| if has_time { raw.with_time } else { raw.without_time };
            records.iter().map(|raw| Seen { offset: raw.offset, digest: digest(raw), value: raw.value }).collect()
        };
        let theirs = seen(theirs);
        answer = match_tail(&seen(ours), behind, &theirs);
        if matches!(answer, Tail::Matched { .. }) || !has_more {
            break;
        }
    }
    Ok(answer)
}

fn raw(message: &ConsumedMessage<'_>) -> Result<Raw, FfiError> {
    let mut digest = Sha256::new();
    let part = |digest: &mut Sha256, part: Option<&[u8]>| {
        let length = part.map_or(u64::MAX, |part| part.len() as u64);
        digest.update(&length.to_be_bytes());
        digest.update(part.unwrap_or_default());
    };
    part(&mut digest, message.key());
    part(&mut digest, message.value());
    message
        .headers(|name, value| {
            part(&mut digest, Some(name));
            part(&mut digest, value);
        })
        .map_err(|code| FfiError::new(code, "headers cannot be read".to_owned()))?;
    let (time, stamp) = message.timestamp();
    let mut timed = digest.clone();
    timed.update(&time.to_be_bytes());
    let mut value = DefaultHasher::new();
    message.value().hash(&mut value);
    let (with_time, without_time) = (short(timed), short(digest));
    Ok(Raw { offset: message.offset(), with_time, without_time, value: value.finish(), stamp })
}

/// Returns the first half of a digest.
fn short(digest: Sha256) -> u128 {
    let bytes = digest.finish();
    bytes.first_chunk::<16>().map_or(0, |half| u128::from_be_bytes(*half))
}

/// Returns a partition of the target that does not end where it did.
pub(super) fn moved(
    target: &ClusterConfig,
    label: &str,
    context: &str,
    ends: &BTreeMap<(Arc<str>, i32), i64>,
    timeout: Duration,
) -> Result<Option<(String, i32)>, PortError> {
    let client = connect(target, label).map_err(|error| fail(context, &error, None))?;
    let places: Vec<Place> = ends.keys().map(|(topic, partition)| Place::of(&**topic, *partition)).collect();
    let now = list_ends(&client, &places, timeout).map_err(|error| fail(context, &error, Some(&client)))?;
    let is_other = |((topic, partition), end): &((String, i32), i64)| {
        ends.get(&(topic.as_str().into(), *partition)).is_some_and(|before| before != end)
    };
    Ok(now.into_iter().find(is_other).map(|(place, _)| place))
}

fn list_ends(client: &Client, places: &[Place], timeout: Duration) -> Result<queries::Offsets, FfiError> {
    queries::list(client, places, OffsetSpec::Latest, true, timeout)
}
