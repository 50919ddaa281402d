//! The writing side of a lane: two transactional producers, or one idempotent one.

mod deliveries;
pub(crate) mod topics;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use strait_core::map::MapRecord;
use strait_core::progress::{ProgressRecord, map_topic, progress_topic};
use strait_flow::ports::{
    Class, Outgoing, PortError, ProduceError, ProducerSlot, Taken, Target, TargetEvent, TargetTopic, Token, TopicHandle,
};
use tokio::task::JoinHandle;

use crate::config::{ClusterConfig, TargetTuning, writer};
use crate::error::{blocking, own, port_error_because};
use crate::ffi::{Code, FfiError, Handle, OutHeaderList, OutMessage, Producer};
use crate::offsets::describe_one;
use deliveries::{Reports, pack, producer_error};

/// How long destroying older producers may hold up a take; they go on ending behind it.
const DESTROY_TIMEOUT: Duration = Duration::from_secs(10);

/// Letters of the transactional ids of a lane. Two are at work; the others are there for when a transaction cannot end because
/// a partition it touched takes no marker (leader gone, below min ISR): its id then answers `CONCURRENT_TRANSACTIONS` until that
/// partition is back, which must not hold the lane up. A generation that ends may leave both of its ids so, and the next one
/// too before it knows which partition it is. A take initialises all of them, in this order, and looks again at those that did
/// not answer; how many may be left as they are is the lane's to decide.
const IDS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
/// How many of them work.
const SLOTS: usize = 2;
/// An id whose last transaction has not ended everywhere after this long is left aside at first.
const PENDING_AFTER: Duration = Duration::from_millis(500);
/// How long those left aside are looked at again: librdkafka asks every half second, so that there is a new answer.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Longest call into the client, which goes on trying between two.
const CALL_MAX: Duration = Duration::from_secs(2);
/// A call may come back this long before its time is up; another one would wait for as long again.
const CALL_EARLY: Duration = Duration::from_millis(20);
/// The same for one that another process may have worked with, since it was first asked for. The coordinator gives the same
/// answer while it waits for its own log to be replicated, and then nothing is decided yet: longer than it waits for one write
/// (`request.timeout.ms`, 30 s unless the brokers are set otherwise).
const UNDECIDED_AFTER: Duration = Duration::from_secs(35);
/// Least time for the answer about one id.
const LOOK: Duration = Duration::from_millis(250);
/// Most time for initialising one id.
const INIT_MAX: Duration = Duration::from_secs(60);

struct OpenTopic {
    name: String,
    /// What its partitions need to be written.
    min_in_sync: u32,
    handles: Vec<Handle>,
}

/// The producers between a take and the next.
struct Producers {
    /// Slot A, then B.
    producers: Vec<Arc<Producer>>,
    /// Handles of the progress and the map topic, by slot.
    books: Vec<(Handle, Handle)>,
    open: Vec<OpenTopic>,
    reports: Arc<Reports>,
}

/// Transactional ids whose last transaction this process has asked to end, and when. Shared by all generations of a link's lanes.
pub type EndedIds = Arc<Mutex<BTreeMap<String, Instant>>>;
/// For how long that is taken for granted, unless the lane is known to have been with another process meanwhile.
const ENDED_FOR: Duration = Duration::from_secs(15);

/// What a lane writes to, and as whom.
#[derive(Clone)]
struct Writes {
    cluster: ClusterConfig,
    link: String,
    lane: u32,
    tuning: TargetTuning,
    context: String,
    /// Transactional ids whose transactions this process has ended, or tried to.
    ended: EndedIds,
}

/// A [`Target`] on librdkafka.
pub struct KafkaTarget {
    of: Writes,
    taken: Option<Producers>,
    /// Commits that are under way and producers that are being destroyed; each ends by itself.
    ending: Vec<JoinHandle<()>>,
}

impl Writes {
    fn slots(&self) -> &'static [&'static str] {
        if self.tuning.exactly_once { &IDS } else { &IDS[..1] }
    }

    fn id_of(&self, slot: &str) -> String {
        format!("{}{slot}", ids_of(&self.tuning, &self.link, self.lane))
    }

    /// Makes and initialises the producers in order, and keeps the first two that can work; gives which, and which were left
    /// as they are. Blocks for a bounded time.
    /// `made` keeps all of them from being destroyed here: that joins threads, and has no bound.
    fn make(&self, made: &mut Vec<Arc<Producer>>) -> Result<(Producers, Taken), PortError> {
        let Self { cluster, link, lane, tuning, context, ended } = self;
        let slots = self.slots();
        let began = Instant::now();
        let reports = Reports::new(context.clone());
        let mut taken = Producers { producers: Vec::new(), books: Vec::new(), open: Vec::new(), reports };
        let (mut ids, mut pending) = (Vec::new(), Vec::new());
        for slot in slots {
            let id = self.id_of(slot);
            let settings = writer(
                cluster,
                &format!("strait-{link}-{lane}-target-{slot}"),
                tuning,
                tuning.exactly_once.then_some(id.as_str()),
            );
            let (observer, sealed) = (Arc::clone(&taken.reports), Arc::clone(&taken.reports));
            let label = format!("{link}/{lane}/target/{slot}");
            let context =
                if tuning.exactly_once { format!("{context}, transactional id {id}") } else { context.clone() };
            let fail = |error: FfiError| producer_error(context.clone(), &error);
            let producer = Arc::new(Producer::new(&label, &settings, observer, move || sealed.seal()).map_err(fail)?);
            made.push(Arc::clone(&producer));
            if tuning.exactly_once {
                let ended_at = || ended.lock().unwrap_or_else(PoisonError::into_inner);
                let ours = ended_at().get(&id).is_some_and(|at| at.elapsed() < ENDED_FOR);
                // librdkafka goes on asking for those left aside.
                let patience = PENDING_AFTER.saturating_sub(began.elapsed()).max(LOOK);
                let asked_at = Instant::now();
                let initialised = initialise(&producer, &context, patience, tuning.transaction_timeout.min(INIT_MAX));
                if ours || initialised.is_ok() {
                    // Also for a take that fails later: the next one need not wait for what this process has ended.
                    ended_at().insert(id, Instant::now());
                }
                match initialised {
                    // A spare: it was initialised to fence whoever may have worked with it.
                    Ok(()) if taken.producers.len() == SLOTS => continue,
                    Ok(()) => {}
                    Err(error) if error.code == Code::CONCURRENT_TRANSACTIONS => {
                        tracing::warn!("{context}: its last transaction cannot end yet; the lane works with other ids");
                        let look_until = asked_at + if ours { Duration::ZERO } else { UNDECIDED_AFTER };
                        pending.push((slot, producer, context, error, look_until));
                        continue;
                    }
                    Err(error) => return Err(init_error(&producer, &context, &error)),
                }
            }
            let progress = producer.open(&progress_topic(link)).map_err(fail)?;
            let map = producer.open(&map_topic(link)).map_err(fail)?;
            if tuning.exactly_once {
                ids.extend(slot.chars());
            }
            taken.books.push((progress, map));
            taken.producers.push(producer);
        }
        // While the others were initialised one of these may have ended, and a rival may have begun to work with it.
        let new_answers = Instant::now() + LOOK_AGAIN;
        let mut unfenced = String::new();
        for (slot, producer, context, first, look_until) in pending {
            if taken.producers.len() < slots.len().min(SLOTS) {
                return Err(producer_error(context, &first));
            }
            let left = look_until.max(new_answers).saturating_duration_since(Instant::now()).max(LOOK);
            match initialise(&producer, &context, left, INIT_MAX.max(left)) {
                Ok(()) => {}
                Err(error) if error.code == Code::CONCURRENT_TRANSACTIONS => unfenced.push_str(slot),
                Err(error) => return Err(init_error(&producer, &context, &error)),
            }
        }
        let ids = ids.first().copied().zip(ids.get(1).copied());
        Ok((taken, Taken { ids, unfenced }))
    }
}

impl KafkaTarget {
    /// A target without producers; `take` makes them.
    #[must_use]
    pub fn new(cluster: &ClusterConfig, link: &str, lane: u32, tuning: &TargetTuning) -> Self {
        let of = Writes {
            context: format!("link {link}, lane {lane}: writing cluster {}", cluster.name),
            cluster: cluster.clone(),
            link: link.to_owned(),
            lane,
            tuning: tuning.clone(),
            ended: EndedIds::default(),
        };
        Self { of, taken: None, ending: Vec::new() }
    }

    /// Has it know of the transactions that earlier targets of this process have ended.
    #[must_use]
    pub(crate) fn with_ended(mut self, ended: &EndedIds) -> Self {
        self.of.ended = Arc::clone(ended);
        self
    }

    fn producer(&self, slot: ProducerSlot) -> Option<&Arc<Producer>> {
        self.taken.as_ref()?.producers.get(index(slot))
    }

    fn not_taken(&self) -> PortError {
        own(Class::Retry, self.of.context.clone(), "the lane is not taken")
    }

    /// Destroys the producers on blocking threads and waits for them, and for older ones, for a while.
    async fn destroy(&mut self, timeout: Duration) {
        if let Some(taken) = self.taken.take() {
            // Releases the target's own references; a commit under way holds another until it returns.
            let producers = taken.producers;
            self.ending.push(tokio::task::spawn_blocking(move || drop(producers)));
        }
        let deadline = tokio::time::Instant::now() + timeout;
        while let Some(mut task) = self.ending.pop() {
            match tokio::time::timeout_at(deadline, &mut task).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!("{}: destroying a producer: {error}", self.of.context),
                Err(_) => {
                    tracing::warn!("{}: older producers are still ending", self.of.context);
                    self.ending.push(task);
                    return;
                }
            }
        }
    }

    fn send(
        &self,
        slot: ProducerSlot,
        message: &OutMessage<'_>,
        headers: Option<OutHeaderList>,
    ) -> Result<(), ProduceError> {
        let producer = self.producer(slot).ok_or_else(|| ProduceError::Broken("the lane is not taken".to_owned()))?;
        producer.produce(message, headers).map_err(|error| match error.code {
            Code::QUEUE_FULL => ProduceError::QueueFull,
            Code::MSG_SIZE_TOO_LARGE => ProduceError::Refused(error.to_string()),
            _ => ProduceError::Broken(error.to_string()),
        })
    }
}

/// What all transactional ids of a lane begin with.
fn ids_of(tuning: &TargetTuning, link: &str, lane: u32) -> String {
    format!("{}.{link}.{lane}.", tuning.transactional_id_prefix)
}

/// Another process may have worked with a lane's ids.
pub(crate) fn forget(ended: &EndedIds, tuning: &TargetTuning, link: &str, lane: u32) {
    let prefix = ids_of(tuning, link, lane);
    ended.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| !id.starts_with(&prefix));
}

/// Initialises a transactional id. `CONCURRENT_TRANSACTIONS` means that the coordinator has decided about the last transaction
/// (and fenced its producer, if that was still at work) but cannot write that everywhere yet.
fn initialise(producer: &Producer, context: &str, patience: Duration, within: Duration) -> Result<(), FfiError> {
    let began = Instant::now();
    let is_over = |limit: Duration| began.elapsed() + CALL_EARLY >= limit;
    loop {
        let limit = if is_over(patience) { within } else { patience.min(within) };
        // librdkafka goes on trying between the calls.
        match producer.init_transactions(limit.saturating_sub(began.elapsed()).min(CALL_MAX)) {
            Ok(()) => return Ok(()),
            Err(error) if is_over(within) => return Err(error),
            Err(error) if error.code == Code::CONCURRENT_TRANSACTIONS => {
                if is_over(patience) {
                    return Err(error);
                }
            }
            Err(error) if producer_error(context, &error).class != Class::Retry => return Err(error),
            // Some broker may be down that is not needed.
            Err(error) if began.elapsed() >= CALL_MAX && producer.client().trouble().is_some() => return Err(error),
            Err(error) => tracing::debug!("{context}: {error}, still initialising"),
        }
    }
}

/// Why an id cannot be initialised; a refused login goes before the time-out that follows it.
fn init_error(producer: &Producer, context: &str, error: &FfiError) -> PortError {
    let why = port_error_because(context, error, producer.client().trouble());
    if why.class == Class::Retry { PortError { reason: why.reason, ..producer_error(context, error) } } else { why }
}

fn index(slot: ProducerSlot) -> usize {
    match slot {
        ProducerSlot::A => 0,
        ProducerSlot::B => 1,
    }
}

#[async_trait]
impl Target for KafkaTarget {
    async fn take(&mut self) -> Result<Taken, PortError> {
        self.destroy(DESTROY_TIMEOUT).await;
        let of = self.of.clone();
        let (result, made) = blocking(&self.of.context, move || {
            let mut made = Vec::new();
            (of.make(&mut made), made)
        })
        .await?;
        // Ends those that are not kept, at the same time.
        self.ending.extend(made.into_iter().map(|producer| tokio::task::spawn_blocking(move || drop(producer))));
        match result {
            Ok((producers, taken)) => {
                self.taken = Some(producers);
                Ok(taken)
            }
            Err(error) => {
                // They go on asking for their ids, and would fence the next take.
                self.destroy(DESTROY_TIMEOUT).await;
                Err(error)
            }
        }
    }

    async fn open_topic(&mut self, topic: &str, partitions: u32) -> Result<TargetTopic, PortError> {
        let Some(taken) = &self.taken else { return Err(self.not_taken()) };
        let clients: Vec<_> = taken.producers.iter().map(|producer| Arc::clone(producer.client())).collect();
        let known = taken.open.iter().position(|open| open.name == topic);
        let position = known.unwrap_or(taken.open.len());
        let handle = TopicHandle(u32::try_from(position).unwrap_or(u32::MAX));
        let (context, name, tuning) = (self.of.context.clone(), topic.to_owned(), self.of.tuning.clone());
        let facts = blocking(&self.of.context, move || {
            let mut facts = None;
            // The second producer only learns of the topic; it finds it made.
            for client in &clients {
                facts = Some(topics::open(
                    client,
                    &context,
                    (&name, handle),
                    partitions,
                    tuning.manage_topics,
                    tuning.request_timeout,
                )?);
            }
            facts.ok_or_else(|| own(Class::Retry, context, "the lane is not taken"))
        })
        .await??;
        let not_taken = self.not_taken();
        let Some(taken) = &mut self.taken else { return Err(not_taken) };
        if let Some(open) = taken.open.get_mut(position) {
            open.min_in_sync = facts.min_in_sync;
            return Ok(facts.topic);
        }
        let mut handles = Vec::new();
        for producer in &taken.producers {
            let handle = producer.open(topic);
            handles
                .push(handle.map_err(|error| producer_error(format!("{}, topic {topic}", self.of.context), &error))?);
        }
        taken.open.push(OpenTopic { name: topic.to_owned(), min_in_sync: facts.min_in_sync, handles });
        Ok(facts.topic)
    }

    fn begin(&mut self, slot: ProducerSlot) -> Result<(), PortError> {
        let producer = self.producer(slot).ok_or_else(|| self.not_taken())?;
        producer.begin_transaction().map_err(|error| producer_error(format!("{}, begin", self.of.context), &error))
    }

    fn produce(&mut self, slot: ProducerSlot, record: &Outgoing<'_>) -> Result<(), ProduceError> {
        let topic = self
            .taken
            .as_ref()
            .and_then(|taken| taken.open.get(record.topic.0 as usize)?.handles.get(index(slot)).copied())
            .ok_or_else(|| ProduceError::Broken("topic handle of an older take".to_owned()))?;
        let token = pack(record.token).ok_or_else(|| ProduceError::Broken("token out of range".to_owned()))?;
        let mut headers = None;
        if !record.headers.is_empty() {
            let mut list = OutHeaderList::with_capacity(record.headers.len());
            record.headers.for_each(|header| list.push(header.name, header.value));
            headers = Some(list);
        }
        let message = OutMessage {
            topic,
            partition: record.partition,
            key: record.key,
            value: record.value,
            timestamp_ms: record.timestamp_ms,
            token,
        };
        self.send(slot, &message, headers)
    }

    fn produce_progress(
        &mut self,
        slot: ProducerSlot,
        stream: u32,
        first_sequence: u64,
        progress: &[ProgressRecord],
        map: &[MapRecord],
    ) -> Result<(), ProduceError> {
        let broken = |reason: &str| ProduceError::Broken(reason.to_owned());
        let partition = i32::try_from(self.of.lane).map_err(|_| broken("lane number out of range"))?;
        let (producer, (progress_handle, map_handle)) = self
            .taken
            .as_ref()
            .and_then(|taken| Some((taken.producers.get(index(slot))?, *taken.books.get(index(slot))?)))
            .ok_or_else(|| broken("the lane is not taken"))?;
        // All or none: what is half queued could not be taken back.
        if producer.outstanding() + progress.len() + map.len() > self.of.tuning.queue_records {
            return Err(ProduceError::QueueFull);
        }
        let records = progress
            .iter()
            .map(|record| (progress_handle, record.encode()))
            .chain(map.iter().map(|record| (map_handle, record.encode())));
        for (sequence, (topic, (key, value))) in (first_sequence..).zip(records) {
            let token = pack(Token { stream, sequence }).ok_or_else(|| broken("token out of range"))?;
            let message = OutMessage {
                topic,
                partition,
                key: Some(&key),
                value: Some(&value),
                // When it was written: the log is read by people as well.
                timestamp_ms: 0,
                token,
            };
            self.send(slot, &message, None).map_err(|error| match error {
                ProduceError::QueueFull => broken("the queue was full in the middle of the progress records"),
                other => other,
            })?;
        }
        Ok(())
    }

    fn commit(&mut self, slot: ProducerSlot) {
        let Some(taken) = &self.taken else { return };
        let reports = Arc::clone(&taken.reports);
        let Some(producer) = taken.producers.get(index(slot)).map(Arc::clone) else {
            reports.tell(TargetEvent::Broken(self.not_taken()));
            return;
        };
        let (context, timeout) = (format!("{}, commit", self.of.context), self.of.tuning.transaction_timeout);
        self.ending.retain(|task| !task.is_finished());
        self.ending.push(tokio::task::spawn_blocking(move || {
            let event = match producer.commit_transaction(timeout) {
                Ok(()) => TargetEvent::Committed(slot),
                // Also after a timeout: the outcome is unknown and only a new take finds out.
                Err(error) => TargetEvent::Broken(producer_error(context, &error)),
            };
            reports.tell(event);
        }));
    }

    async fn event(&mut self) -> TargetEvent {
        match &self.taken {
            Some(taken) => taken.reports.event().await,
            // Nothing can happen before a take.
            None => std::future::pending().await,
        }
    }

    async fn replicas(&mut self, topic: TopicHandle, partition: i32) -> Result<(Option<u32>, u32), PortError> {
        let open = self.taken.as_ref().and_then(|taken| {
            let open = taken.open.get(topic.0 as usize)?;
            Some((open.name.clone(), open.min_in_sync, Arc::clone(taken.producers.first()?.client())))
        });
        let Some((name, needed, client)) = open else { return Err(self.not_taken()) };
        let (context, timeout) = (format!("{}, topic {name}", self.of.context), self.of.tuning.request_timeout);
        let described = blocking(&context, move || {
            describe_one(&client, &name, timeout).map_err(|error| (error, client.trouble()))
        })
        .await?
        .map_err(|(error, trouble)| port_error_because(context, &error, trouble))?;
        let found = described
            .and_then(|topic| topic.partitions.into_iter().find(|p| p.partition == partition))
            .and_then(|partition| partition.leader.map(|_| partition.in_sync));
        Ok((found, needed))
    }

    fn round_trip(&self) -> Duration {
        let producers = self.taken.iter().flat_map(|taken| &taken.producers);
        producers.map(|producer| producer.client().round_trip()).max().unwrap_or_default()
    }

    async fn release(&mut self, deadline: Duration) {
        let started = tokio::time::Instant::now();
        if self.of.tuning.exactly_once
            && let Some(taken) = &self.taken
        {
            let ids = self.of.slots().iter().map(|slot| self.of.id_of(slot));
            self.of.ended.lock().unwrap_or_else(PoisonError::into_inner).extend(ids.map(|id| (id, Instant::now())));
            for producer in &taken.producers {
                let (producer, context) = (Arc::clone(producer), self.of.context.clone());
                self.ending.push(tokio::task::spawn_blocking(move || {
                    // Without a transaction this only says so; a commit under way makes it fail. Both are fine: whoever
                    // takes the lane next ends what is left.
                    if let Err(error) = producer.abort_transaction(deadline) {
                        tracing::debug!("{context}: abort at release: {error}");
                    }
                }));
            }
            let aborts = std::mem::take(&mut self.ending);
            for mut task in aborts {
                if tokio::time::timeout_at(started + deadline, &mut task).await.is_err() {
                    self.ending.push(task);
                }
            }
        }
        self.destroy(deadline.saturating_sub(started.elapsed()).max(Duration::from_millis(100))).await;
    }
}
