//! Writes the transactions of a replay, under the link's id for such jobs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use strait_core::books::{BOOKS_PARTITION, BookKey, BookState, COPIED, Closing, DROPPED, StoredEntry};
use strait_core::map::{MapBuilder, MapKind, MapRecord, RUNS_PER_RECORD_MAX};
use strait_core::progress::{map_topic, operate_topic};
use strait_core::{RecordRef, TargetOffset};
use strait_flow::lock;
use strait_flow::ports::{Class, PortError};

use super::decide::{Decided, Decider, Fate, OutCopy, Outcome, Work};
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

/// The outcomes of a committed transaction.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Each record's.
    pub outcomes: Vec<(BookKey, Outcome)>,
    /// It ended at a refused record.
    pub stopped: bool,
}

/// The outcome of a transaction.
#[derive(Debug)]
pub enum Written {
    /// It is committed, or had nothing to write.
    Done(Replayed),
    /// It is aborted: the target refuses a record of it, for this reason.
    Refused(String),
}

/// The delivery reports of the open transaction.
#[derive(Default)]
struct Reports {
    /// Offsets of copies by token.
    offsets: BTreeMap<u64, i64>,
    failure: Option<Code>,
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
        Ok(Self { producer, reports, topics, books, map, link, context, timeout })
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
        }
    }

    pub fn write(&mut self, work: &Work<'_>, rules: &mut ReplayTopics) -> Result<Written, ReplayError> {
        let (decided, stopped) = Decider { topics: &mut self.topics, rules, producer: &self.producer }.decide(work)?;
        let has_work = decided.iter().any(|decided| !matches!(decided.fate, Fate::Refused(_)));
        if has_work {
            match self.transact(|writer| writer.produce_all(&decided, work)) {
                Ok(()) => {}
                Err(Failure::Refused(reason)) => return Ok(Written::Refused(reason)),
                Err(Failure::Error(error)) => return Err(error),
            }
        }
        let outcomes = decided.into_iter().map(|Decided { key, fate, .. }| {
            let outcome = match fate {
                Fate::Copies(copies) => Outcome::Copied(copies.len()),
                Fate::Dropped => Outcome::Dropped,
                Fate::Refused(outcome) => outcome,
            };
            (key, outcome)
        });
        Ok(Written::Done(Replayed { outcomes: outcomes.collect(), stopped }))
    }

    /// Writes a transaction, and commits it once every record of it is acknowledged.
    fn transact(&self, produce: impl FnOnce(&Self) -> Result<(), Failure>) -> Result<(), Failure> {
        *lock(&self.reports.0) = Reports::default();
        self.producer.begin_transaction().map_err(|error| Failure::Error(self.fail(&error)))?;
        let ended = produce(self).and_then(|()| self.acknowledged()).and_then(|()| {
            self.producer.commit_transaction(self.timeout).map_err(|error| Failure::Error(self.fail(&error)))
        });
        if let Err(failure) = &ended {
            let aborted = self.producer.abort_transaction(self.timeout);
            if let (Err(error), Failure::Refused(_)) = (&aborted, failure) {
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
        self.produce_map(decided)?;
        for Decided { key, fate, .. } in decided {
            let outcome = match fate {
                Fate::Copies(_) => COPIED,
                Fate::Dropped => DROPPED,
                Fate::Refused(_) => continue,
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

    fn produce_copy(&self, copy: &OutCopy<'_>, record: RecordRef<'_>, token: u64) -> Result<(), Failure> {
        let mut headers = None;
        match copy.edit.and_then(|edit| edit.headers.as_ref()) {
            Some(list) if !list.is_empty() => {
                let mut own = OutHeaderList::with_capacity(list.len());
                list.iter().for_each(|(name, value)| own.push(name, value.as_deref()));
                headers = Some(own);
            }
            None if !record.headers.is_empty() => {
                let mut own = OutHeaderList::with_capacity(record.headers.len());
                record.headers.iter().for_each(|header| own.push(header.name, header.value));
                headers = Some(own);
            }
            _ => {}
        }
        let message = OutMessage {
            topic: copy.topic.handle,
            partition: copy.partition,
            key: copy.edit.map_or(record.key, |edit| edit.key.resolve(record.key)),
            value: copy.edit.map_or(record.value, |edit| edit.value.resolve(record.value)),
            timestamp_ms: copy.timestamp_ms,
            token,
        };
        self.send(&message, headers)
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
        self.send(&OutMessage { topic, partition, key, value, timestamp_ms: 0, token: CONTROL }, None)
    }

    fn send(&self, message: &OutMessage<'_>, headers: Option<OutHeaderList>) -> Result<(), Failure> {
        self.producer.produce(message, headers).map_err(|error| self.failure(&error))
    }

    /// Waits until every record of the transaction is acknowledged.
    fn acknowledged(&self) -> Result<(), Failure> {
        let flushed = self.producer.flush(self.timeout);
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
            _ => Failure::Error(self.fail(error)),
        }
    }
}
