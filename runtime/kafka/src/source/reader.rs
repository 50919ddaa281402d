//! The thread that owns a lane's consumer.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use strait_core::{BatchBuilder, LeaderEpoch, SourceOffset, TimestampType};
use strait_flow::ports::{Class, Fetched, PortError, ReadEpoch, ReadFailure};
use tokio::sync::{mpsc, oneshot};

use super::search::{Border, Damage, Found, Search};
use crate::config::Settings;
use crate::error::{class_of, port_error};
use crate::ffi::{Code, ConsumedMessage, Consumer, FfiError, Place, Stamp};
use crate::queries::is_gone;

/// Fewest messages of one pull, whatever their size.
const PULL_MIN: usize = 32;
/// Most messages of one pull.
const PULL_MAX: usize = 20_000;
/// Longest sleep. Commands, room and records wake the thread, so this is only a safety net.
const IDLE: Duration = Duration::from_millis(250);
/// How long a seek waits for an assignment to take effect.
const SEEK_TIMEOUT: Duration = Duration::from_secs(3);

/// How librdkafka names the codec zstd in the error of a batch (`rdkafka_msgset_reader.c`).
const ZSTD: &str = "codec 0x4)";

pub(super) type Answer = oneshot::Sender<Result<(), FfiError>>;

/// A command of the lane to the thread.
pub(super) enum Command {
    Assign(ReadEpoch, Vec<Place>, Answer),
    Unassign(Vec<Place>, Answer),
}

struct Assigned {
    epoch: ReadEpoch,
    /// Next offset that was not sent to the lane.
    next: i64,
    /// Whether the last fetch reached the end of the committed log.
    is_at_end: bool,
}

pub(super) struct Reader {
    consumer: Consumer,
    commands: mpsc::Receiver<Command>,
    out: mpsc::Sender<Result<Fetched, PortError>>,
    /// Output of the last pull that the channel had no room for.
    waiting: VecDeque<Result<Fetched, PortError>>,
    assigned: BTreeMap<Arc<str>, HashMap<i32, Assigned>>,
    pull_bytes: usize,
    record_bytes: usize,
    context: String,
    last_trouble: Option<Instant>,
    settings: Settings,
    search: Search,
}

/// The messages of one batch, by their index in the pull.
struct Group {
    topic: Arc<str>,
    partition: i32,
    epoch: ReadEpoch,
    leader_epoch: i32,
    stamp: Stamp,
    messages: Vec<usize>,
    bytes: usize,
}

/// A finding of a pull: a batch that is still to be copied (`G`), another event, or damage.
enum Item<G> {
    Batch(G),
    Other(Fetched),
    Damage(Damage),
}

impl Reader {
    pub(super) fn new(
        consumer: Consumer,
        commands: mpsc::Receiver<Command>,
        out: mpsc::Sender<Result<Fetched, PortError>>,
        pull_bytes: usize,
        settings: Settings,
        context: String,
    ) -> Self {
        let label = format!("{}/scout", consumer.client().label());
        Self {
            consumer,
            commands,
            out,
            waiting: VecDeque::new(),
            assigned: BTreeMap::new(),
            pull_bytes,
            record_bytes: 1024,
            context,
            last_trouble: None,
            search: Search::new(label, settings.clone()),
            settings,
        }
    }

    /// Runs until the lane closes a channel.
    pub(super) fn run(mut self) {
        self.consumer.wake(std::thread::current());
        loop {
            match self.commands.try_recv() {
                Ok(command) => {
                    self.execute(command);
                    continue;
                }
                Err(mpsc::error::TryRecvError::Disconnected) => return,
                Err(mpsc::error::TryRecvError::Empty) => {}
            }
            self.report_trouble();
            self.report_missing();
            while let Some(item) = self.waiting.pop_front() {
                match self.out.try_send(item) {
                    Ok(()) => {}
                    Err(mpsc::error::TrySendError::Full(item)) => {
                        self.waiting.push_front(item);
                        break;
                    }
                    Err(mpsc::error::TrySendError::Closed(_)) => return,
                }
            }
            // Woken by a command, by the lane taking a batch, or by records after the queue was
            // empty.
            let is_idle = !self.waiting.is_empty() || self.pull() == 0;
            if !self.search() && is_idle {
                std::thread::park_timeout(IDLE);
            }
        }
    }

    fn execute(&mut self, command: Command) {
        let (result, answer) = match command {
            Command::Assign(epoch, places, answer) => (self.assign(epoch, &places), answer),
            Command::Unassign(places, answer) => (self.unassign(&places), answer),
        };
        if answer.send(result).is_err() {
            tracing::debug!("{}: the lane has not waited for the answer", self.context);
        }
    }

    fn assign(&mut self, epoch: ReadEpoch, places: &[Place]) -> Result<(), FfiError> {
        self.unassign(places)?;
        // Earlier reports belong to an older assignment.
        self.report_missing();
        self.consumer.assign(places)?;
        for place in places {
            let topic = Arc::from(place.topic.as_str());
            let state = Assigned { epoch, next: place.offset, is_at_end: false };
            self.assigned.entry(topic).or_default().insert(place.partition, state);
        }
        let checked: Vec<Place> =
            places.iter().filter(|place| place.leader_epoch >= 0 && place.offset > 0).cloned().collect();
        for (place, code) in self.check_epochs(checked)? {
            self.unassign(std::slice::from_ref(&place))?;
            self.waiting.push_back(Ok(Fetched::Failed {
                epoch,
                topic: place.topic.into(),
                partition: place.partition,
                failure: failure(code, &code.text()),
            }));
        }
        Ok(())
    }

    /// Seeks to the current positions, because only a seek makes the broker check the leader epoch.
    /// Returns the partitions that could not be sought: as far as the client can find out in time,
    /// they do not exist.
    fn check_epochs(&mut self, mut places: Vec<Place>) -> Result<Vec<(Place, Code)>, FfiError> {
        let deadline = Instant::now() + SEEK_TIMEOUT;
        let mut failed = Vec::new();
        while !places.is_empty() {
            let answers = self.consumer.seek(&places, SEEK_TIMEOUT)?;
            let mut again = Vec::new();
            for (place, answer) in places.into_iter().zip(answers) {
                match answer.code {
                    Code::OK => {}
                    // Not started yet: metadata, or an earlier unassign of the partition, is still
                    // on its way.
                    _ if Instant::now() < deadline => again.push(place),
                    code => failed.push((place, code)),
                }
            }
            places = again;
            if !places.is_empty() {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        Ok(failed)
    }

    fn unassign(&mut self, places: &[Place]) -> Result<(), FfiError> {
        let mut present = Vec::new();
        for place in places {
            let Some(partitions) = self.assigned.get_mut(place.topic.as_str()) else {
                continue;
            };
            if partitions.remove(&place.partition).is_some() {
                present.push(place.clone());
            }
            if partitions.is_empty() {
                self.assigned.remove(place.topic.as_str());
            }
        }
        if present.is_empty() {
            return Ok(());
        }
        self.consumer.unassign(&present)
    }

    /// Takes the messages that librdkafka has queued. Returns their number.
    fn pull(&mut self) -> usize {
        let count = (self.pull_bytes / self.record_bytes.max(1)).clamp(PULL_MIN, PULL_MAX);
        let limit = self.limit();
        let (assigned, context) = (&mut self.assigned, self.context.as_str());
        let (got, bytes, ready) = self.consumer.consume(count, Duration::ZERO, |messages| {
            let items = sort(messages, assigned, limit, context);
            let bytes: usize = messages.iter().map(ConsumedMessage::bytes).sum();
            let mut ready = Vec::new();
            items.into_iter().for_each(|item| copy(item, messages, &mut ready));
            (messages.len(), bytes, ready)
        });
        let mut failed: Vec<Place> = Vec::new();
        for item in ready {
            let (topic, partition) = partition_of(&item);
            // After a failure nothing is sent until the partition is assigned again.
            if failed.iter().any(|place| place.topic == **topic && place.partition == partition) {
                continue;
            }
            if matches!(item, Item::Damage(_) | Item::Other(Fetched::Failed { .. })) {
                failed.push(Place::of(&**topic, partition));
            }
            match item {
                Item::Batch(fetched) | Item::Other(fetched) => self.waiting.push_back(Ok(fetched)),
                Item::Damage(damage) => self.search.find_end(damage),
            }
        }
        if let Err(error) = self.unassign(&failed) {
            tracing::warn!("{}: unassigning a failed partition: {error}", self.context);
        }
        if let Some(average) = bytes.checked_div(got) {
            // Follows a change of record sizes within a few pulls.
            self.record_bytes = (self.record_bytes * 3 + average + 64) / 4;
        }
        got
    }

    /// Reports partitions that the brokers do not know any more.
    fn report_missing(&mut self) {
        for (topic, partition) in self.consumer.take_missing() {
            let known = self.assigned.get_key_value(topic.as_str());
            let known =
                known.and_then(|(topic, partitions)| Some((Arc::clone(topic), partitions.get(&partition)?.epoch)));
            let Some((topic, epoch)) = known else { continue };
            if let Err(error) = self.unassign(&[Place::of(&*topic, partition)]) {
                tracing::warn!("{}: unassigning {topic}-{partition}: {error}", self.context);
            }
            let failure = ReadFailure::Gone;
            self.waiting.push_back(Ok(Fetched::Failed { epoch, topic, partition, failure }));
        }
    }

    /// Returns the largest response that the client takes, in bytes.
    fn limit(&self) -> u64 {
        self.settings.get("receive.message.max.bytes").and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// Searches for what librdkafka does not say of batches that cannot be read. Returns whether it
    /// has something to report.
    fn search(&mut self) -> bool {
        if let Some(bytes) = self.consumer.take_too_large()
            && !self.search.has_suspects()
        {
            tracing::warn!("{}: a response of {bytes} bytes is too large, looking for its partition", self.context);
            self.search.suspect(self.suspects());
        }
        match self.search.step() {
            None => false,
            Some(Found::TooLarge(place, bytes)) => self.report_too_large(&place, bytes),
            Some(Found::Damage(damage)) => {
                let Damage { epoch, topic, partition, begin, reason, end } = damage;
                let end = end.get().map(SourceOffset);
                let failure = ReadFailure::Corrupt { offset: SourceOffset(begin), end, reason };
                self.waiting.push_back(Ok(Fetched::Failed { epoch, topic, partition, failure }));
                true
            }
        }
    }

    /// Returns the places of all partitions, those at the end of their log first: they are the last
    /// ones to be asked.
    fn suspects(&self) -> Vec<Place> {
        let mut suspects = Vec::new();
        for (topic, partitions) in &self.assigned {
            let of_topic = partitions.iter().map(|(number, state)| {
                let place = Place { offset: state.next, ..Place::of(&**topic, *number) };
                (!state.is_at_end, place)
            });
            suspects.extend(of_topic);
        }
        suspects.sort_by_key(|(is_behind, _)| *is_behind);
        suspects.into_iter().map(|(_, place)| place).collect()
    }

    /// Reports a partition whose next batch is too large, unless it was read or moved since.
    fn report_too_large(&mut self, place: &Place, bytes: u64) -> bool {
        let topic = self.assigned.get_key_value(place.topic.as_str()).map(|(topic, _)| Arc::clone(topic));
        let state = topic.and_then(|topic| Some((self.assigned.get(&topic)?.get(&place.partition)?, topic)));
        let Some((state, topic)) = state.filter(|(state, _)| state.next == place.offset) else {
            return false;
        };
        let (epoch, partition) = (state.epoch, place.partition);
        if let Err(error) = self.unassign(std::slice::from_ref(place)) {
            tracing::warn!("{}: unassigning {topic}-{partition}: {error}", self.context);
        }
        let failure = ReadFailure::TooLarge { bytes: Some(bytes), limit: self.limit() };
        self.waiting.push_back(Ok(Fetched::Failed { epoch, topic, partition, failure }));
        true
    }

    /// Reports trouble of the client. A refused login fails the client; lost connections do not, as
    /// librdkafka reconnects.
    fn report_trouble(&mut self) {
        if self.last_trouble.is_some_and(|last| last.elapsed() < Duration::from_secs(10)) {
            return;
        }
        self.last_trouble = Some(Instant::now());
        let Some(trouble) = self.consumer.client().take_trouble() else {
            return;
        };
        if is_gone(trouble.code) {
            return;
        }
        let error = FfiError::new(trouble.code, trouble.text);
        if trouble.fatal || trouble.code == Code::AUTHENTICATION {
            self.waiting.push_back(Err(port_error(self.context.clone(), &error)));
        } else {
            tracing::warn!("{}: {error}", self.context);
        }
    }
}

fn partition_of(item: &Item<Fetched>) -> (&Arc<str>, i32) {
    match item {
        Item::Damage(damage) => (&damage.topic, damage.partition),
        Item::Batch(fetched) | Item::Other(fetched) => match fetched {
            Fetched::Batch { batch, .. } => (batch.topic(), batch.partition()),
            Fetched::Moved { topic, partition, .. } | Fetched::Failed { topic, partition, .. } => (topic, *partition),
        },
    }
}

/// Sorts a pull into batches and other events. The order within each partition stays, and each has
/// one batch unless leader epoch or kind of timestamp change, or another event lies in between.
fn sort(
    messages: &[ConsumedMessage<'_>],
    assigned: &mut BTreeMap<Arc<str>, HashMap<i32, Assigned>>,
    limit: u64,
    context: &str,
) -> Vec<Item<Group>> {
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
        (state.next, state.is_at_end) = (message.offset() + 1, false);
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
fn out_of_band(
    message: &ConsumedMessage<'_>,
    state: &mut Assigned,
    topic: Arc<str>,
    limit: u64,
) -> Option<Item<Group>> {
    let (epoch, partition, code) = (state.epoch, message.partition(), message.code());
    if code == Code::PARTITION_EOF {
        state.is_at_end = true;
        if message.offset() <= state.next {
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

fn failure(code: Code, text: &str) -> ReadFailure {
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
fn copy(item: Item<Group>, messages: &[ConsumedMessage<'_>], ready: &mut Vec<Item<Fetched>>) {
    let mut group = match item {
        Item::Other(fetched) => return ready.push(Item::Other(fetched)),
        Item::Damage(damage) => return ready.push(Item::Damage(damage)),
        Item::Batch(group) => group,
    };
    let (batch, damaged) = copy_records(&group, messages);
    let Some((index, damage)) = damaged else {
        return ready.push(Item::Batch(Fetched::Batch { epoch: group.epoch, batch: batch.build() }));
    };
    // The records before it are good.
    group.messages.truncate(index);
    if !group.messages.is_empty() {
        let (batch, _) = copy_records(&group, messages);
        ready.push(Item::Batch(Fetched::Batch { epoch: group.epoch, batch: batch.build() }));
    }
    ready.push(Item::Damage(damage));
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
