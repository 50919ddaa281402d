//! Decides what a transaction of a replay does with each judged record.

use std::collections::BTreeMap;
use std::sync::Arc;

use strait_core::books::{BookKey, Booked};
use strait_core::{Disposition, LaneId, OutRecord, PartitionKey, Processed, RecordRef, Route, partitioner};
use strait_flow::OnTimestampZero;
use strait_flow::ports::TargetTopic;

use super::ReplayError;
use super::topics::{OpenTopic, Opened, ReplayTopics, Topics};
use crate::ffi::Producer;

/// A judged batch of a source partition.
#[derive(Debug)]
pub struct Judged {
    /// The source partition, as the books name it.
    pub partition: PartitionKey,
    /// Its lane.
    pub lane: LaneId,
    /// Number of partitions of the source topic.
    pub partitions: u32,
    /// The batch, and what the plugins do with its records.
    pub processed: Processed,
}

/// The outcome of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has so many copies on the target.
    Copied(usize),
    /// The plugins drop it.
    Dropped,
    /// It stays open.
    Refused {
        /// Name of the plugin, or `target` or `strait`.
        by: Arc<str>,
        /// Stable code of the reason.
        code: Arc<str>,
        /// Detail for the operator.
        text: String,
    },
}

/// A source partition whose records stay open from one of them on: those behind it would come
/// before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The source partition.
    pub partition: PartitionKey,
    /// Why, and what to do.
    pub cause: String,
}

/// A transaction to write.
pub struct Work<'a> {
    /// The judged batches, ascending.
    pub judged: &'a [Judged],
    /// The open entries.
    pub entries: &'a dyn Fn(&BookKey) -> Option<Booked>,
    /// Who replays.
    pub by: Arc<str>,
    /// Milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// Digest of the plugins.
    pub generation: Arc<str>,
    /// The link's policy.
    pub on_timestamp_zero: OnTimestampZero,
    /// Whether nothing behind a refused record is written.
    pub stop_at_reject: bool,
}

/// A record and what to do with it.
pub(super) struct Decided<'a> {
    pub key: BookKey,
    pub lane: LaneId,
    pub record: RecordRef<'a>,
    pub fate: Fate<'a>,
}

pub(super) enum Fate<'a> {
    Copies(Vec<OutCopy<'a>>),
    Dropped,
    Refused(Outcome),
    /// Its place on the target cannot be written now, for this reason.
    Blocked(String),
}

/// One copy of a record.
pub(super) struct OutCopy<'a> {
    pub edit: Option<&'a OutRecord>,
    pub topic: OpenTopic,
    pub partition: i32,
    pub timestamp_ms: i64,
}

/// Decides by the topics that the target has.
pub(super) struct Decider<'a> {
    pub topics: &'a mut Topics,
    /// Target partitions that did not take records, and why.
    pub bad: &'a BTreeMap<(Arc<str>, i32), String>,
    pub rules: &'a mut ReplayTopics,
    pub producer: &'a Producer,
}

/// The decisions about the records of a transaction, the partitions that are blocked, and whether a
/// refused record keeps those behind it out.
type Decisions<'a> = (Vec<Decided<'a>>, Vec<Blocked>, bool);

impl Decider<'_> {
    /// Decides about every record before a transaction begins.
    pub fn decide<'a>(&mut self, work: &Work<'a>) -> Result<Decisions<'a>, ReplayError> {
        let (mut decided, mut blocked) = (Vec::new(), Vec::<Blocked>::new());
        for judged in work.judged {
            // A partition can have several batches.
            if blocked.last().is_some_and(|last| last.partition == judged.partition) {
                continue;
            }
            let mut dispositions = judged.processed.dispositions.iter().peekable();
            for (index, record) in judged.processed.batch.iter().enumerate() {
                let disposition = dispositions.next_if(|(at, _)| *at == index).map(|(_, found)| found);
                let fate = self.fate(judged, record, disposition, work)?;
                if let Fate::Blocked(cause) = fate {
                    blocked.push(Blocked { partition: judged.partition.clone(), cause });
                    break;
                }
                let is_refused = matches!(fate, Fate::Refused(_));
                let key = BookKey { partition: judged.partition.clone(), offset: record.offset };
                decided.push(Decided { key, lane: judged.lane, record, fate });
                if is_refused && work.stop_at_reject {
                    return Ok((decided, blocked, true));
                }
            }
        }
        Ok((decided, blocked, false))
    }

    fn fate<'a>(
        &mut self,
        judged: &'a Judged,
        record: RecordRef<'a>,
        disposition: Option<&'a Disposition>,
        work: &Work<'a>,
    ) -> Result<Fate<'a>, ReplayError> {
        let edits: Vec<Option<&OutRecord>> = match disposition {
            None => vec![None],
            Some(Disposition::Replace(copies)) if copies.is_empty() => return Ok(Fate::Dropped),
            Some(Disposition::Replace(copies)) => copies.iter().map(Some).collect(),
            Some(Disposition::Drop) => return Ok(Fate::Dropped),
            Some(Disposition::Reject(reject) | Disposition::Halt(reject)) => {
                let (by, code) = (Arc::clone(&reject.plugin), Arc::clone(&reject.code));
                return Ok(Fate::Refused(Outcome::Refused { by, code, text: reject.text.clone() }));
            }
        };
        let like = (judged.processed.batch.topic(), judged.partitions);
        let mut copies = Vec::with_capacity(edits.len());
        for edit in edits {
            let own = &judged.processed.target_topic;
            let name = edit.and_then(|edit| edit.topic.as_ref()).unwrap_or(own);
            let topic = match self.topics.open(name, like, name == own, self.rules, self.producer) {
                Ok(Opened::Open(topic)) => topic,
                Ok(Opened::Refused(code, text)) => return Ok(refused(code, text)),
                Err(error) if error.ends_all() => return Err(error),
                Err(error) => return Ok(Fate::Blocked(error.to_string())),
            };
            match copy_to(edit, record, topic, judged.partition.partition, work) {
                Ok(copy) => match self.bad.get(&(Arc::clone(name), copy.partition)) {
                    Some(cause) => return Ok(Fate::Blocked(cause.clone())),
                    None => copies.push(copy),
                },
                Err(refused) => return Ok(refused),
            }
        }
        Ok(Fate::Copies(copies))
    }
}

fn refused<'a>(code: &str, text: String) -> Fate<'a> {
    Fate::Refused(Outcome::Refused { by: "strait".into(), code: code.into(), text })
}

/// Returns a copy of a record, or why it cannot be sent.
fn copy_to<'a>(
    edit: Option<&'a OutRecord>,
    record: RecordRef<'a>,
    topic: OpenTopic,
    source_partition: i32,
    work: &Work<'_>,
) -> Result<OutCopy<'a>, Fate<'a>> {
    let key = edit.map_or(record.key, |edit| edit.key.resolve(record.key));
    let partition =
        target_partition(edit.map_or(&Route::Keep, |edit| &edit.route), key, &topic.topic, source_partition);
    if partition.unsigned_abs() >= topic.topic.partitions {
        let text = format!("partition {partition} does not exist, the topic has {}", topic.topic.partitions);
        return Err(refused("no-such-partition", text));
    }
    let mut timestamp_ms = edit.and_then(|edit| edit.timestamp_ms).unwrap_or(record.timestamp_ms);
    if timestamp_ms <= 0 {
        if work.on_timestamp_zero != OnTimestampZero::Now {
            let text = format!("timestamp {timestamp_ms} cannot be sent (see on_timestamp_zero)");
            return Err(refused("timestamp-zero", text));
        }
        timestamp_ms = work.now_ms;
    } else if !topic.topic.accepts(timestamp_ms, work.now_ms) {
        let text = format!(
            "timestamp {timestamp_ms} ms is further from the target's clock than message.timestamp.after.max.ms or before.max.ms of the topic allow"
        );
        return Err(refused("timestamp", text));
    }
    Ok(OutCopy { edit, topic, partition, timestamp_ms })
}

/// Returns the target partition of a copy, as a lane chooses it.
fn target_partition(route: &Route, key: Option<&[u8]>, topic: &TargetTopic, source_partition: i32) -> i32 {
    match route {
        Route::Partition(partition) => *partition,
        Route::Hash(bytes) => partitioner::partition_of(bytes, topic.partitions),
        Route::Keep if source_partition.unsigned_abs() < topic.partitions => source_partition,
        Route::Keep | Route::ByKey => match key {
            Some(key) => partitioner::partition_of(key, topic.partitions),
            None => source_partition % i32::try_from(topic.partitions.max(1)).unwrap_or(i32::MAX),
        },
    }
}
