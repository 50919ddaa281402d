//! Writes the transactions of a replay, under the link's id for such jobs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use strait_core::books::{BOOKS_PARTITION, BookKey, BookState, COPIED, Closing, DROPPED, StoredEntry};
use strait_core::map::{MapBuilder, MapKind, MapRecord, RUNS_PER_RECORD_MAX};
use strait_core::progress::{map_topic, operate_topic};
use strait_core::{PartitionKey, RecordRef, TargetOffset, TopicId};
use strait_flow::lock;
use strait_flow::ports::{Class, PortError};

use super::decide::{Blocked, Decided, Decider, Fate, OutCopy, Outcome, Work};
use super::marks::Marks;
use super::topics::{OpenTopic, ReplayTopics, Topics};
use super::{ReplayError, ReplaySpec};
use crate::config::writer;
use crate::error::{class_of, own, port_error_because};
use crate::ffi::{Code, FfiError, Handle, Observer, OutHeaderList, OutMessage, Producer, ReportedMessage};
use crate::topics::count;
use crate::topics::maker::TopicMaker;

/// The tokens of records that are not copies.
const CONTROL: u64 = u64::MAX;
/// How long the transaction of an earlier job may take to end.
const INIT_MAX: Duration = Duration::from_secs(60);
/// How long a full queue is waited for at a time.
const FULL: Duration = Duration::from_millis(100);

/// The outcomes of a committed transaction.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Each record's.
    pub outcomes: Vec<(BookKey, Outcome)>,
    /// It ended at a refused record.
    pub stopped: bool,
    /// Source partitions of which the rest cannot be replayed now.
    pub blocked: Vec<Blocked>,
}

/// The outcome of a transaction.
#[derive(Debug)]
pub enum Written {
    /// It is committed, or had nothing to write.
    Done(Replayed),
    /// It is aborted: the target refuses a record of it, for this reason.
    Refused(String),
    /// It is aborted: the target does not take what these source partitions have for it.
    Failed {
        /// The source partitions, of which at least one is to blame.
        partitions: BTreeSet<PartitionKey>,
        /// All of them are.
        is_sure: bool,
        /// Why, and what to do.
        cause: String,
    },
}

/// The delivery reports of the open transaction.
#[derive(Default)]
struct Reports {
    /// Offsets of copies by token.
    offsets: BTreeMap<u64, i64>,
    failure: Option<Code>,
    /// Every copy is acknowledged: what fails now is a record of the link's own topics.
    has_copies: bool,
    /// When the transaction began.
    began: Option<Instant>,
}

#[derive(Default)]
struct Acknowledgements(Mutex<Reports>);

impl Observer for Acknowledgements {
    fn delivered(&self, message: &ReportedMessage<'_>) {
        let mut reports = lock(&self.0);
        match message.code() {
            Code::OK if message.token() == CONTROL => {}
            Code::OK => {
                reports.offsets.insert(message.token(), message.offset());
            }
            // The first one: those behind it are purged.
            code => {
                reports.failure.get_or_insert(code);
            }
        }
    }
}

/// The writing side of a job.
pub(super) struct Writer {
    producer: Producer,
    reports: Arc<Acknowledgements>,
    topics: Topics,
    /// Target partitions that did not take records, and why.
    bad: BTreeMap<(Arc<str>, i32), String>,
    books: Handle,
    map: Option<Handle>,
    link: String,
    context: String,
    timeout: Duration,
}

/// Why a transaction was not committed.
enum Failure {
    /// The target refuses a record.
    Refused(String),
    /// The target does not take a copy now. Others may have another place there.
    Place(FfiError),
    /// The copies of these source partitions would be wrong by now.
    Late(BTreeSet<PartitionKey>, String),
    Error(ReplayError),
}

impl From<PortError> for Failure {
    fn from(error: PortError) -> Self {
        Self::Error(error.into())
    }
}

impl Writer {
    pub fn begin(spec: &ReplaySpec, maker: Option<Arc<TopicMaker>>) -> Result<Self, ReplayError> {
        let ReplaySpec { link, target, tuning, .. } = spec;
        let id = format!("{}.{link}.replay", tuning.transactional_id_prefix);
        let context = format!("link {link}: writing cluster {}, transactional id {id}", target.name);
        let settings = writer(target, &format!("strait-{link}-replay"), tuning, Some(&id));
        let reports = Arc::<Acknowledgements>::default();
        let observer = Arc::clone(&reports) as Arc<dyn Observer>;
        let producer = Producer::new(&format!("{link}/replay"), &settings, observer, || {})
            .map_err(|error| port_error_because(context.clone(), &error, None))?;
        let failed = |error: FfiError| port_error_because(context.clone(), &error, producer.client().trouble());
        producer.init_transactions(INIT_MAX).map_err(failed)?;
        let (books, map) = (operate_topic(link), map_topic(link));
        let has_map = count(producer.client(), &map, spec.timeout).map_err(failed)? > 0;
        producer.client().metadata(Some(&books), spec.timeout).map_err(failed)?;
        let books = producer.open(&books).map_err(failed)?;
        let map = has_map.then(|| producer.open(&map)).transpose().map_err(failed)?;
        let topics = Topics::new(maker, &context, spec.timeout);
        let (link, timeout) = (link.clone(), tuning.transaction_timeout);
        let bad = BTreeMap::new();
        Ok(Self { producer, reports, topics, bad, books, map, link, context, timeout })
    }

    fn fail(&self, error: &FfiError) -> ReplayError {
        let trouble = self.producer.client().trouble();
        // Records of a fenced producer are purged, with a code that does not say why.
        let codes = trouble.iter().map(|trouble| trouble.code).chain([error.code]);
        if codes.into_iter().any(|code| class_of(code) == Class::Fenced) {
            return ReplayError::Fenced { link: self.link.clone() };
        }
        port_error_because(self.context.clone(), error, trouble).into()
    }

    pub fn close(&mut self, entries: &[(BookKey, StoredEntry)]) -> Result<(), ReplayError> {
        match self.transact(|writer| entries.iter().try_for_each(|(key, stored)| writer.book(key, stored))) {
            Ok(()) => Ok(()),
            Err(Failure::Error(error)) => Err(error),
            Err(Failure::Refused(reason)) => Err(own(Class::Stop, self.context.clone(), reason).into()),
            Err(Failure::Place(error)) => Err(self.fail(&error)),
            Err(Failure::Late(_, reason)) => Err(own(Class::Retry, self.context.clone(), reason).into()),
        }
    }

    pub fn write(
        &mut self,
        work: &Work<'_>,
        rules: &mut ReplayTopics,
        marks: &mut Marks,
    ) -> Result<Written, ReplayError> {
        let Self { topics, bad, producer, .. } = self;
        let (decided, blocked, stopped) = Decider { topics, bad, rules, producer }.decide(work)?;
        let has_work = decided.iter().any(|decided| matches!(decided.fate, Fate::Copies(_) | Fate::Dropped));
        if has_work {
            let produced = self.transact(|writer| {
                writer.produce_all(&decided, work)?;
                writer.acknowledged()?;
                // As late as can be.
                writer.check(&decided, marks)
            });
            match produced {
                Ok(()) => {}
                Err(Failure::Late(partitions, cause)) => {
                    return Ok(Written::Failed { partitions, is_sure: true, cause });
                }
                Err(Failure::Refused(reason)) => return Ok(Written::Refused(reason)),
                Err(Failure::Place(error)) => return Ok(self.failed(&decided, &error)),
                Err(Failure::Error(error)) => return Err(error),
            }
        }
        let outcomes = decided.into_iter().filter_map(|Decided { key, fate, .. }| {
            let outcome = match fate {
                Fate::Copies(copies) => Outcome::Copied(copies.len()),
                Fate::Dropped => Outcome::Dropped,
                Fate::Refused(outcome) => outcome,
                Fate::Blocked(_) => return None,
            };
            Some((key, outcome))
        });
        Ok(Written::Done(Replayed { outcomes: outcomes.collect(), stopped, blocked }))
    }

    /// Finds out which copies of an aborted transaction the target did not take.
    fn failed(&mut self, decided: &[Decided<'_>], error: &FfiError) -> Written {
        let offsets = std::mem::take(&mut lock(&self.reports.0).offsets);
        let (mut token, mut partitions, mut places) = (0, BTreeSet::new(), BTreeSet::new());
        for Decided { key, fate, .. } in decided {
            let Fate::Copies(copies) = fate else { continue };
            for copy in copies {
                if offsets.get(&token).is_none_or(|offset| *offset < 0) {
                    partitions.insert(key.partition.clone());
                    places.insert((Arc::clone(&copy.topic.name), copy.partition));
                }
                token += 1;
            }
        }
        let named = places.iter().map(|(topic, partition)| format!("{topic}-{partition}")).take(3);
        let mut named = named.collect::<Vec<_>>().join(", ");
        if places.len() > 3 {
            named.push_str(&format!(" and {} more", places.len() - 3));
        }
        let reason = port_error_because(self.context.clone(), error, self.producer.client().trouble()).reason;
        let cause = format!("the target does not take records of {named} ({reason})");
        // Whoever has a healthy place is acknowledged within moments. Where the whole transaction
        // is refused for one place, nobody is.
        let is_sure = error.code == Code::MSG_TIMED_OUT || partitions.len() < 2;
        if is_sure {
            self.bad.extend(places.into_iter().map(|place| (place, cause.clone())));
        }
        Written::Failed { partitions, is_sure, cause }
    }

    /// Writes a transaction, and commits it once every record of it is acknowledged.
    fn transact(&self, produce: impl FnOnce(&Self) -> Result<(), Failure>) -> Result<(), Failure> {
        *lock(&self.reports.0) = Reports { began: Some(Instant::now()), ..Reports::default() };
        self.producer.begin_transaction().map_err(|error| Failure::Error(self.fail(&error)))?;
        let ended = produce(self).and_then(|()| self.acknowledged()).and_then(|()| {
            self.producer.commit_transaction(self.timeout).map_err(|error| Failure::Error(self.fail(&error)))
        });
        if let Err(failure) = &ended {
            let aborted = self.producer.abort_transaction(self.timeout);
            if let (Err(error), Failure::Refused(_) | Failure::Place(_) | Failure::Late(..)) = (&aborted, failure) {
                return Err(Failure::Error(self.fail(error)));
            }
        }
        ended
    }

    fn produce_all(&self, decided: &[Decided<'_>], work: &Work<'_>) -> Result<(), Failure> {
        let mut token = 0;
        for Decided { record, fate, .. } in decided {
            let Fate::Copies(copies) = fate else { continue };
            for copy in copies {
                self.produce_copy(copy, *record, token)?;
                token += 1;
            }
        }
        self.acknowledged()?;
        lock(&self.reports.0).has_copies = true;
        self.produce_map(decided)?;
        for Decided { key, fate, .. } in decided {
            let outcome = match fate {
                Fate::Copies(_) => COPIED,
                Fate::Dropped => DROPPED,
                Fate::Refused(_) | Fate::Blocked(_) => continue,
            };
            let Some(booked) = (work.entries)(key) else {
                let reason =
                    format!("{} offset {} is not in the books: please report this as a bug", key.partition, key.offset);
                return Err(own(Class::Stop, self.context.clone(), reason).into());
            };
            let closed = Closing {
                by: Arc::clone(&work.by),
                at: work.now_ms,
                generation: Some(Arc::clone(&work.generation)),
                outcome: Some(outcome.into()),
                reason: None,
            };
            self.book(key, &booked.closing(BookState::Replayed, closed))?;
        }
        Ok(())
    }

    /// Checks that the copies of an open transaction are still to be made: their lanes have not
    /// gone back, to copy them themselves, and their topics are those that were opened.
    fn check(&self, decided: &[Decided<'_>], marks: &mut Marks) -> Result<(), Failure> {
        marks.look()?;
        let of = |is_late: &dyn Fn(&Decided<'_>) -> bool| -> BTreeSet<PartitionKey> {
            decided.iter().filter(|decided| is_late(decided)).map(|decided| decided.key.partition.clone()).collect()
        };
        let back = of(&|decided| marks.ends(&decided.key));
        if !back.is_empty() {
            let cause = "the link has gone back and reads these records again: let it run, then replay what is open";
            return Err(Failure::Late(back, cause.to_owned()));
        }
        let copies = decided.iter().flat_map(|decided| match &decided.fate {
            Fate::Copies(copies) => copies.as_slice(),
            _ => &[],
        });
        let opened: BTreeMap<Arc<str>, TopicId> =
            copies.map(|copy| (Arc::clone(&copy.topic.name), copy.topic.topic.id)).collect();
        let Some(changed) = self.topics.changed(&opened, self.producer.client())? else { return Ok(()) };
        let late = of(&|decided| match &decided.fate {
            Fate::Copies(copies) => copies.iter().any(|copy| copy.topic.name == changed),
            _ => false,
        });
        Err(Failure::Late(late, ReplayError::TargetChanged { topic: changed }.to_string()))
    }

    fn produce_copy(&self, copy: &OutCopy<'_>, record: RecordRef<'_>, token: u64) -> Result<(), Failure> {
        let message = OutMessage {
            topic: copy.topic.handle,
            partition: copy.partition,
            key: copy.edit.map_or(record.key, |edit| edit.key.resolve(record.key)),
            value: copy.edit.map_or(record.value, |edit| edit.value.resolve(record.value)),
            timestamp_ms: copy.timestamp_ms,
            token,
        };
        self.send(&message, || headers_of(copy, record))
    }

    /// Writes the runs of what was acknowledged.
    fn produce_map(&self, decided: &[Decided<'_>]) -> Result<(), Failure> {
        let Some(map) = self.map else { return Ok(()) };
        let offsets = std::mem::take(&mut lock(&self.reports.0).offsets);
        let mut token = 0;
        for of_partition in decided.chunk_by(|one, other| one.key.partition == other.key.partition) {
            let (Some(first), Some(last)) = (of_partition.first(), of_partition.last()) else { continue };
            let mut builders: Vec<(&OpenTopic, MapBuilder)> = Vec::new();
            for Decided { key, fate, .. } in of_partition {
                let Fate::Copies(copies) = fate else { continue };
                for copy in copies {
                    // Known by then: every copy is acknowledged.
                    let target = TargetOffset(offsets.get(&token).copied().unwrap_or(-1));
                    token += 1;
                    let known = builders.iter().position(|(topic, _)| topic.name == copy.topic.name);
                    if known.is_none() {
                        builders.push((&copy.topic, MapBuilder::default()));
                    }
                    let at = known.unwrap_or(builders.len() - 1);
                    if let Some((_, builder)) = builders.get_mut(at) {
                        builder.push(key.offset, copy.partition, target);
                    }
                }
            }
            let partition = i32::try_from(first.lane.0).unwrap_or_default();
            for (topic, mut builder) in builders {
                let whole = MapRecord {
                    partition: first.key.partition.clone(),
                    target_topic: Arc::clone(&topic.name),
                    target_id: topic.topic.id,
                    kind: MapKind::Replay,
                    first: first.key.offset,
                    next: last.key.offset.next(),
                    runs: Vec::new(),
                };
                for record in builder.finish(&whole, RUNS_PER_RECORD_MAX) {
                    let (key, value) = record.encode();
                    self.control(map, partition, &key, &value)?;
                }
            }
        }
        Ok(())
    }

    fn book(&self, key: &BookKey, stored: &StoredEntry) -> Result<(), Failure> {
        let (key, value) = stored.encode(key);
        self.control(self.books, BOOKS_PARTITION, &key, &value)
    }

    fn control(&self, topic: Handle, partition: i32, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        let (key, value) = (Some(key), Some(value));
        self.send(&OutMessage { topic, partition, key, value, timestamp_ms: 0, token: CONTROL }, || None)
    }

    /// Returns how long the records of the transaction may still take: the broker ends it by itself
    /// at its timeout, and then nobody knows how.
    fn time_left(&self) -> Duration {
        let began = lock(&self.reports.0).began;
        (self.timeout / 10 * 9).saturating_sub(began.map_or(Duration::ZERO, |began| began.elapsed()))
    }

    /// Gives a record to the client. One record can have more copies than its queue holds, which
    /// are waited for then.
    fn send(&self, message: &OutMessage<'_>, headers: impl Fn() -> Option<OutHeaderList>) -> Result<(), Failure> {
        loop {
            let error = match self.producer.produce(message, headers()) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let waits = error.code == Code::QUEUE_FULL && !self.time_left().is_zero();
            if !waits {
                return Err(self.failure(&error));
            }
            if let Some(code) = lock(&self.reports.0).failure {
                return Err(self.failure(&FfiError::new(code, code.text())));
            }
            // What is not written by then is waited for again.
            self.producer.flush(FULL).ok();
        }
    }

    /// Waits until every record of the transaction is acknowledged.
    fn acknowledged(&self) -> Result<(), Failure> {
        let flushed = self.producer.flush(self.time_left());
        let failure = {
            let reports = lock(&self.reports.0);
            // A duplicate of an earlier attempt is written at an unknown offset.
            let unknown = reports.offsets.values().any(|offset| *offset < 0).then_some(Code::STATE);
            reports.failure.or(unknown)
        };
        if let Some(code) = failure {
            return Err(self.failure(&FfiError::new(code, code.text())));
        }
        flushed.map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &FfiError) -> Failure {
        match error.code {
            Code::MSG_SIZE_TOO_LARGE
            | Code::RECORD_LIST_TOO_LARGE
            | Code::UNSUPPORTED_FOR_MESSAGE_FORMAT
            | Code::INVALID_RECORD
            | Code::INVALID_TIMESTAMP
            | Code::INVALID_DIFFERENT_RECORD => Failure::Refused(error.to_string()),
            _ => match self.fail(error) {
                failed if failed.ends_all() || lock(&self.reports.0).has_copies => Failure::Error(failed),
                _ => Failure::Place(error.clone()),
            },
        }
    }
}

fn headers_of(copy: &OutCopy<'_>, record: RecordRef<'_>) -> Option<OutHeaderList> {
    let edited = copy.edit.and_then(|edit| edit.headers.as_ref());
    let mut list = OutHeaderList::with_capacity(edited.map_or(record.headers.len(), Vec::len));
    match edited {
        Some(edited) if !edited.is_empty() => {
            edited.iter().for_each(|(name, value)| list.push(name, value.as_deref()));
        }
        None if !record.headers.is_empty() => {
            record.headers.iter().for_each(|header| list.push(header.name, header.value));
        }
        _ => return None,
    }
    Some(list)
}

#[cfg(test)]
mod tests;
