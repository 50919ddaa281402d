//! Turns the messages of a pull into batches and events.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use strait_core::{BatchBuilder, LeaderEpoch, SourceOffset, TimestampType, TopicId};
use strait_flow::ports::{Class, Fetched, ReadEpoch, ReadFailure};

use super::search::{Border, Damage};
use crate::error::{class_of, port_error};
use crate::ffi::{Code, ConsumedMessage, FfiError, Stamp};
use crate::queries::is_gone;

/// How librdkafka names the codec zstd in the error of a batch (`rdkafka_msgset_reader.c`).
const ZSTD: &str = "codec 0x4)";

/// A partition that is read.
pub(super) struct Assigned {
    pub epoch: ReadEpoch,
    /// The incarnation of the topic that is to be read.
    pub topic_id: TopicId,
    /// Next offset that was not sent to the lane.
    pub next: i64,
    /// Whether the last fetch reached the end of the committed log; `None` before the first one.
    pub is_at_end: Option<bool>,
}

/// The partitions that are read, by topic and number.
pub(super) type AssignedPartitions = BTreeMap<Arc<str>, HashMap<i32, Assigned>>;

/// The messages of one batch, by their index in the pull.
pub(super) struct Group {
    topic: Arc<str>,
    partition: i32,
    epoch: ReadEpoch,
    leader_epoch: i32,
    stamp: Stamp,
    messages: Vec<usize>,
    bytes: usize,
}

/// A finding of a pull: a batch that is still to be copied, another event, or damage.
pub(super) enum Item {
    Batch(Group),
    Other(Fetched),
    Damage(Damage),
}

pub(super) fn partition_of(item: &Result<Fetched, Damage>) -> (&Arc<str>, i32) {
    match item {
        Ok(Fetched::Batch { batch, .. }) => (batch.topic(), batch.partition()),
        Ok(Fetched::Moved { topic, partition, .. } | Fetched::Failed { topic, partition, .. }) => (topic, *partition),
        Err(damage) => (&damage.topic, damage.partition),
    }
}

/// Sorts a pull into batches and other events. The order within each partition stays, and each has
/// one batch unless leader epoch or kind of timestamp change, or another event lies in between.
pub(super) fn sort(
    messages: &[ConsumedMessage<'_>],
    assigned: &mut AssignedPartitions,
    limit: u64,
    context: &str,
) -> Vec<Item> {
    let mut items = Vec::new();
    let mut open: HashMap<(usize, i32), usize> = HashMap::new();
    for (index, message) in messages.iter().enumerate() {
        let identity = (message.topic_address(), message.partition());
        let state = assigned
            .get_key_value(message.topic())
            .map(|(topic, _)| Arc::clone(topic))
            .and_then(|topic| Some((assigned.get_mut(&*topic)?.get_mut(&message.partition())?, topic)));
        let Some((state, topic)) = state else {
            if message.code() != Code::OK && message.topic().is_empty() {
                tracing::warn!("{context}: {}", message.error_text());
            }
            continue;
        };
        let partition = message.partition();
        if message.code() != Code::OK {
            open.remove(&identity);
            items.extend(out_of_band(message, state, topic, limit));
            continue;
        }
        (state.next, state.is_at_end) = (message.offset() + 1, Some(false));
        let (leader_epoch, (_, stamp)) = (message.leader_epoch(), message.timestamp());
        let group = open.get(&identity).and_then(|at| match items.get_mut(*at) {
            Some(Item::Batch(group)) if group.leader_epoch == leader_epoch && group.stamp == stamp => Some(group),
            _ => None,
        });
        if let Some(group) = group {
            group.messages.push(index);
            group.bytes += message.bytes();
            continue;
        }
        open.insert(identity, items.len());
        items.push(Item::Batch(Group {
            topic,
            partition,
            epoch: state.epoch,
            leader_epoch,
            stamp,
            messages: vec![index],
            bytes: message.bytes(),
        }));
    }
    items
}

/// Returns the event of a message without a record.
fn out_of_band(message: &ConsumedMessage<'_>, state: &mut Assigned, topic: Arc<str>, limit: u64) -> Option<Item> {
    let (epoch, partition, code) = (state.epoch, message.partition(), message.code());
    if code == Code::PARTITION_EOF {
        let is_first = state.is_at_end.replace(true).is_none();
        // The first answer is reported although it brings nothing: the partition can be read.
        if message.offset() < state.next || (message.offset() == state.next && !is_first) {
            return None;
        }
        state.next = message.offset();
        return Some(Item::Other(Fetched::Moved { epoch, topic, partition, next: SourceOffset(state.next) }));
    }
    let reason = message.error_text();
    // librdkafka decompresses zstd, whose ratio has no bound, into `receive.message.max.bytes` at
    // most (`rdkafka_zstd.c`). It has checked the batch's checksum before that.
    if code == Code::BAD_COMPRESSION && reason.contains(ZSTD) {
        let failure = ReadFailure::TooLarge { bytes: None, limit };
        return Some(Item::Other(Fetched::Failed { epoch, topic, partition, failure }));
    }
    if code.is_damage() {
        let begin = message.offset();
        let end = Border::behind(begin.max(state.next));
        return Some(Item::Damage(Damage { epoch, topic, partition, begin, reason, end }));
    }
    Some(Item::Other(Fetched::Failed { epoch, topic, partition, failure: failure(code, &reason) }))
}

pub(super) fn failure(code: Code, text: &str) -> ReadFailure {
    match code {
        // With auto.offset.reset=error every lost position has this code, and only the text has the
        // cause.
        Code::AUTO_OFFSET_RESET if text.contains(&Code::LOG_TRUNCATION.text()) => {
            ReadFailure::LogTruncation { end: end_of_epoch(text) }
        }
        Code::AUTO_OFFSET_RESET if text.contains(&Code::OFFSET_OUT_OF_RANGE.text()) => ReadFailure::OutOfRange,
        code if is_gone(code) => ReadFailure::Gone,
        code if class_of(code) == Class::Stop => {
            ReadFailure::Denied(port_error("", &FfiError::new(code, text.to_owned())).reason)
        }
        code => ReadFailure::Other(format!("{text} ({})", code.name())),
    }
}

/// Returns where the leader epoch of the position ends in the log. librdkafka has it in the text
/// of the error only, as `broker end offset is 5 (offset leader epoch 0)`; -1 is unknown.
fn end_of_epoch(text: &str) -> Option<SourceOffset> {
    let (_, rest) = text.split_once("broker end offset is ")?;
    let end = rest.split(' ').next()?.parse().ok()?;
    (end >= 0).then_some(SourceOffset(end))
}

/// Copies the messages of a batch out of librdkafka's memory.
pub(super) fn copy(item: Item, messages: &[ConsumedMessage<'_>], ready: &mut Vec<Result<Fetched, Damage>>) {
    let mut group = match item {
        Item::Other(fetched) => return ready.push(Ok(fetched)),
        Item::Damage(damage) => return ready.push(Err(damage)),
        Item::Batch(group) => group,
    };
    let (batch, damaged) = copy_records(&group, messages);
    let Some((index, damage)) = damaged else {
        return ready.push(Ok(Fetched::Batch { epoch: group.epoch, batch: batch.build() }));
    };
    // The records before it are good.
    group.messages.truncate(index);
    if !group.messages.is_empty() {
        let (batch, _) = copy_records(&group, messages);
        ready.push(Ok(Fetched::Batch { epoch: group.epoch, batch: batch.build() }));
    }
    ready.push(Err(damage));
}

/// Copies the records of a batch up to the first whose headers cannot be read: without them it
/// would lose data. Returns its index in the group too.
fn copy_records(group: &Group, messages: &[ConsumedMessage<'_>]) -> (BatchBuilder, Option<(usize, Damage)>) {
    let stamp = match group.stamp {
        Stamp::Create => TimestampType::Create,
        Stamp::Append => TimestampType::Append,
    };
    let topic = Arc::clone(&group.topic);
    let mut builder = BatchBuilder::new(topic, group.partition, stamp, LeaderEpoch(group.leader_epoch))
        .with_capacity(group.messages.len(), group.bytes);
    let of_group = group.messages.iter().filter_map(|index| messages.get(*index));
    for (index, message) in of_group.enumerate() {
        builder.push(SourceOffset(message.offset()), message.timestamp().0, message.key(), message.value());
        let headers = message.headers(|name, value| builder.push_header(name, value));
        if let Err(code) = headers {
            let (begin, reason) = (message.offset(), format!("its headers cannot be read: {}", code.text()));
            let (epoch, topic, end) = (group.epoch, Arc::clone(&group.topic), Border::behind_record(begin));
            let damage = Damage { epoch, topic, partition: group.partition, begin, reason, end };
            return (builder, Some((index, damage)));
        }
    }
    (builder, None)
}
