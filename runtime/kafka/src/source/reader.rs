//! The thread that owns a lane's consumer.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use strait_core::{SourceOffset, TopicId};
use strait_flow::ports::{Fetched, PortError, ReadEpoch, ReadFailure, ReadFrom};
use tokio::sync::{mpsc, oneshot};

use super::pull::{Assigned, AssignedPartitions, copy, failure, partition_of, sort};
use super::search::{Damage, Found, Search};
use crate::config::Settings;
use crate::error::port_error;
use crate::ffi::{Code, ConsumedMessage, Consumer, FfiError, Place};
use crate::queries::is_gone;

/// Fewest messages of one pull, whatever their size.
const PULL_MIN: usize = 32;
/// Most messages of one pull.
const PULL_MAX: usize = 20_000;
/// Longest sleep. Commands, room and records wake the thread, so this is only a safety net.
const IDLE: Duration = Duration::from_millis(250);
/// How long a seek waits for an assignment to take effect.
const SEEK_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) type Answer = oneshot::Sender<Result<(), FfiError>>;

/// A command of the lane to the thread.
pub(super) enum Command {
    Assign(ReadEpoch, Vec<ReadFrom>, Answer),
    Unassign(Vec<Place>, Answer),
}

pub(super) struct Reader {
    consumer: Consumer,
    commands: mpsc::Receiver<Command>,
    out: mpsc::Sender<Result<Fetched, PortError>>,
    /// Output of the last pull that the channel had no room for.
    waiting: VecDeque<Result<Fetched, PortError>>,
    assigned: AssignedPartitions,
    pull_bytes: usize,
    record_bytes: usize,
    context: String,
    last_trouble: Option<Instant>,
    /// The largest response that the client takes, in bytes.
    limit: u64,
    search: Search,
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
        let limit = settings.get("receive.message.max.bytes").and_then(|value| value.parse().ok()).unwrap_or(0);
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
            limit,
            search: Search::new(label, settings),
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

    fn assign(&mut self, epoch: ReadEpoch, from: &[ReadFrom]) -> Result<(), FfiError> {
        let places = &from.iter().map(place_of).collect::<Vec<_>>();
        self.unassign(places)?;
        // Earlier reports belong to an older assignment.
        self.report_missing();
        self.consumer.assign(places)?;
        for ReadFrom { partition, next, .. } in from {
            let state = Assigned { epoch, topic_id: partition.topic_id, next: next.0, is_at_end: None };
            self.assigned.entry(Arc::clone(&partition.topic)).or_default().insert(partition.partition, state);
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
        let (assigned, limit, context) = (&mut self.assigned, self.limit, self.context.as_str());
        let mut has_records = false;
        let (got, bytes, ready) = self.consumer.consume(count, Duration::ZERO, |messages| {
            let items = sort(messages, assigned, limit, context);
            let bytes: usize = messages.iter().map(ConsumedMessage::bytes).sum();
            has_records = messages.iter().any(|message| message.code() == Code::OK);
            let mut ready = Vec::new();
            items.into_iter().for_each(|item| copy(item, messages, &mut ready));
            (messages.len(), bytes, ready)
        });
        if has_records {
            self.consumer.client().heard();
        }
        let mut failed: Vec<Place> = Vec::new();
        for item in ready {
            let (topic, partition) = partition_of(&item);
            // After a failure nothing is sent until the partition is assigned again.
            if failed.iter().any(|place| place.topic == **topic && place.partition == partition) {
                continue;
            }
            if let Some((epoch, id)) = self.other_incarnation(topic, partition) {
                failed.push(Place::of(&**topic, partition));
                let (topic, failure) = (Arc::clone(topic), ReadFailure::OtherIncarnation { id });
                self.waiting.push_back(Ok(Fetched::Failed { epoch, topic, partition, failure }));
                continue;
            }
            if matches!(item, Err(_) | Ok(Fetched::Failed { .. })) {
                failed.push(Place::of(&**topic, partition));
            }
            match item {
                Ok(fetched) => self.waiting.push_back(Ok(fetched)),
                Err(damage) => self.search.find_end(damage),
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

    /// Returns the id under which the client reads a partition, if it is another one than that of
    /// the assignment. librdkafka goes on in a topic that was created again, at the offset where it
    /// was (`rdkafka_topic.c`: `rd_kafka_topic_metadata_update`).
    fn other_incarnation(&self, topic: &str, partition: i32) -> Option<(ReadEpoch, TopicId)> {
        let state = self.assigned.get(topic)?.get(&partition)?;
        let id = self.consumer.topic_id(topic);
        state.topic_id.is_other_than(id).then_some((state.epoch, id))
    }

    /// Reports partitions that the brokers do not know any more, or do not show us.
    fn report_missing(&mut self) {
        for (topic, partition, code) in self.consumer.take_missing() {
            let known = self.assigned.get_key_value(topic.as_str());
            let known =
                known.and_then(|(topic, partitions)| Some((Arc::clone(topic), partitions.get(&partition)?.epoch)));
            let Some((topic, epoch)) = known else { continue };
            self.fail(epoch, topic, partition, failure(code, &code.text()));
        }
    }

    /// Unassigns a partition, and reports why it cannot be read.
    fn fail(&mut self, epoch: ReadEpoch, topic: Arc<str>, partition: i32, failure: ReadFailure) {
        if let Err(error) = self.unassign(&[Place::of(&*topic, partition)]) {
            tracing::warn!("{}: unassigning {topic}-{partition}: {error}", self.context);
        }
        self.waiting.push_back(Ok(Fetched::Failed { epoch, topic, partition, failure }));
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
                (state.is_at_end != Some(true), place)
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
        self.fail(epoch, topic, partition, ReadFailure::TooLarge { bytes: Some(bytes), limit: self.limit });
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

fn place_of(from: &ReadFrom) -> Place {
    Place {
        topic: from.partition.topic.to_string(),
        partition: from.partition.partition,
        offset: from.next.0,
        leader_epoch: from.leader_epoch.0,
    }
}
