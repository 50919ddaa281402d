//! The writing side of a lane: two transactional producers, or one idempotent one.
//!
//! `take` makes the producers and fences earlier owners; `deliveries` carries the delivery reports
//! to the lane.

mod books;
mod coordinator;
mod deliveries;
mod size;
mod take;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use strait_core::TopicId;
use strait_core::books::BOOKS_PARTITION;
use strait_core::progress::operate_topic;
use strait_flow::ports::{
    BooksAnswer, Class, ControlRecord, ControlTopic, Outgoing, PortError, ProduceError, ProducerSlot, ReleaseHint,
    Taken, Target, TargetEvent, TargetTopic, Token, TopicAnswer, TopicHandle, WantedTopic,
};
use tokio::task::JoinHandle;

use strait_flow::lock;

use crate::config::{ClusterConfig, TargetTuning};
use crate::error::{ask, blocking, own};
use crate::ffi::{Client, Code, OutHeaderList, OutMessage, Producer};
use crate::queries::{describe_one, topic_ids};
use crate::topics::maker::TopicMaker;
use crate::topics::target::{Existing, OpenRequest, existing};
pub(crate) use books::mark_record;
pub(crate) use coordinator::init_error;
pub use coordinator::probe_transactions;
use deliveries::pack;
pub(crate) use deliveries::producer_error;
use size::Codec;
pub use take::EndedIds;
pub(crate) use take::forget;
use take::{OpenTopic, Producers, WriterSpec};

/// How long destroying older producers may hold up a take. They end in the background after that.
const DESTROY_TIMEOUT: Duration = Duration::from_secs(10);
/// Least time for destroying the producers of a lane that is released.
const DESTROY_MIN: Duration = Duration::from_millis(100);

/// Up to this round trip, part of the next batch may wait behind the one in flight: the linger is
/// longer than the round trip. Over a longer line librdkafka, which has one batch per partition in
/// flight if the producer is idempotent, spins a core while a second one waits.
const SHORT_ROUND_TRIP: Duration = Duration::from_millis(4);

/// A [`Target`] on librdkafka.
pub struct KafkaTarget {
    spec: WriterSpec,
    taken: Option<Producers>,
    codec: Codec,
    /// Commits that are under way and producers that are being destroyed. Each ends by itself.
    ending: Vec<JoinHandle<()>>,
}

impl KafkaTarget {
    /// Creates a target without producers; `take` makes them.
    #[must_use]
    pub fn new(cluster: &ClusterConfig, link: &str, lane: u32, tuning: &TargetTuning) -> Self {
        let spec = WriterSpec {
            context: format!("link {link}, lane {lane}: writing cluster {}", cluster.name),
            cluster: cluster.clone(),
            link: link.to_owned(),
            lane,
            tuning: tuning.clone(),
            ended: EndedIds::default(),
            maker: None,
        };
        Self { spec, taken: None, codec: Codec::of(cluster, tuning), ending: Vec::new() }
    }

    /// Sets the transactions that earlier targets of this process have ended.
    #[must_use]
    pub(crate) fn with_ended(mut self, ended: &EndedIds) -> Self {
        self.spec.ended = Arc::clone(ended);
        self
    }

    /// Sets what creates and grows topics. Without it, Strait may do neither.
    #[must_use]
    pub fn with_maker(mut self, maker: Option<Arc<TopicMaker>>) -> Self {
        self.spec.maker = maker;
        self
    }

    /// Returns the round trip to the brokers as librdkafka last measured it, or zero before that.
    #[must_use]
    pub fn round_trip(&self) -> Duration {
        let producers = self.taken.iter().flat_map(|taken| &taken.producers);
        producers.map(|producer| producer.client().round_trip()).max().unwrap_or_default()
    }

    fn producer(&self, slot: ProducerSlot) -> Option<&Arc<Producer>> {
        self.taken.as_ref()?.get(slot)
    }

    /// Returns the client for requests beside the records.
    fn client(&self) -> Option<Arc<Client>> {
        Some(Arc::clone(self.taken.as_ref()?.producers.first()?.client()))
    }

    /// Returns the handle that a topic has, or will have once it is open.
    fn handle_of(&self, topic: &str) -> TopicHandle {
        let Some(taken) = &self.taken else { return TopicHandle(0) };
        let known = taken.open.iter().position(|open| open.name == topic);
        TopicHandle(u32::try_from(known.unwrap_or(taken.open.len())).unwrap_or(u32::MAX))
    }

    /// Keeps a topic open at every producer, under the handle of [`KafkaTarget::handle_of`].
    fn keep_open(&mut self, name: &str, topic: TargetTopic, min_in_sync: u32) -> Result<(), PortError> {
        let not_taken = self.not_taken();
        let Some(taken) = &mut self.taken else { return Err(not_taken) };
        if let Some(open) = taken.open.get_mut(topic.handle.0 as usize) {
            open.min_in_sync = min_in_sync;
            return Ok(());
        }
        let failed = |error| producer_error(format!("{}, topic {name}", self.spec.context), &error);
        let handles: Result<Vec<_>, _> = taken.producers.iter().map(|producer| producer.open(name)).collect();
        let handles = handles.map_err(failed)?;
        taken.open.push(OpenTopic { name: name.to_owned(), min_in_sync, handles });
        Ok(())
    }

    fn not_taken(&self) -> PortError {
        own(Class::Retry, self.spec.context.clone(), "the lane is not taken")
    }

    /// Destroys the producers on blocking threads. Waits up to `timeout` for them and for older
    /// ones.
    async fn destroy(&mut self, timeout: Duration) {
        if let Some(taken) = self.taken.take() {
            // Releases the target's own references. A commit under way holds another until it
            // returns.
            let producers = taken.producers;
            self.ending.push(tokio::task::spawn_blocking(move || drop(producers)));
        }
        let deadline = tokio::time::Instant::now() + timeout;
        while let Some(mut task) = self.ending.pop() {
            match tokio::time::timeout_at(deadline, &mut task).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!("{}: destroying a producer: {error}", self.spec.context),
                Err(_) => {
                    tracing::warn!("{}: older producers are still ending", self.spec.context);
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

/// Is set once it is dropped.
#[derive(Default)]
struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[async_trait]
impl Target for KafkaTarget {
    async fn take(&mut self) -> Result<Taken, PortError> {
        self.destroy(DESTROY_TIMEOUT).await;
        let spec = self.spec.clone();
        // A take that is dropped, because the lane is revoked, initialises no further id: it would
        // fence the next owner.
        let dropped = SetOnDrop::default();
        let given_up = Arc::clone(&dropped.0);
        let (result, made) = blocking(&self.spec.context, move || {
            let mut made = Vec::new();
            (spec.take(&mut made, &given_up), made)
        })
        .await?;
        // Destroys those that were not kept, side by side.
        self.ending.extend(made.into_iter().map(|producer| tokio::task::spawn_blocking(move || drop(producer))));
        match result {
            Ok((producers, taken)) => {
                self.taken = Some(producers);
                Ok(taken)
            }
            Err(error) => {
                // They keep asking for their ids, and would fence the next take.
                self.destroy(DESTROY_TIMEOUT).await;
                Err(error)
            }
        }
    }

    async fn open_topic(&mut self, wanted: &WantedTopic) -> Result<TopicAnswer, PortError> {
        let Some(taken) = &self.taken else { return Err(self.not_taken()) };
        let clients: Vec<_> = taken.producers.iter().map(|producer| Arc::clone(producer.client())).collect();
        let request = OpenRequest {
            wanted: wanted.clone(),
            handle: self.handle_of(&wanted.name),
            maker: self.spec.maker.clone(),
            context: self.spec.context.clone(),
            timeout: self.spec.tuning.request_timeout,
        };
        let opened = blocking(&self.spec.context, move || {
            let Some((first, others)) = clients.split_first() else {
                return Err(own(Class::Retry, request.context.clone(), "the lane is not taken"));
            };
            let opened = request.open(first)?;
            // The others only learn of the topic.
            others.iter().try_for_each(|client| request.learn(client)).map(|()| opened)
        })
        .await??;
        if let TopicAnswer::Open(topic) | TopicAnswer::TooSmall(topic, _) = opened.answer {
            self.keep_open(&wanted.name, topic, opened.min_in_sync)?;
        }
        Ok(opened.answer)
    }

    async fn open_existing(&mut self, wanted: Vec<WantedTopic>) -> Result<Vec<(Arc<str>, TargetTopic)>, PortError> {
        let Some(client) = self.client() else { return Err(self.not_taken()) };
        let timeout = self.spec.tuning.request_timeout;
        let found = ask(self.spec.context.clone(), client, move |client| existing(client, wanted, timeout)).await?;
        let mut opened = Vec::new();
        for Existing { name, topic, min_in_sync } in found {
            let topic = TargetTopic { handle: self.handle_of(&name), ..topic };
            self.keep_open(&name, topic, min_in_sync)?;
            opened.push((name, topic));
        }
        let producers = self.taken.iter().flat_map(|taken| &taken.producers);
        let clients: Vec<Arc<Client>> = producers.map(|producer| Arc::clone(producer.client())).collect();
        for client in clients {
            ask(self.spec.context.clone(), client, move |client| client.refresh_open_topics(timeout)).await?;
        }
        Ok(opened)
    }

    async fn topic_ids(&mut self, topics: Vec<Arc<str>>) -> Result<BTreeMap<Arc<str>, TopicId>, PortError> {
        let Some(client) = self.client() else { return Err(self.not_taken()) };
        let timeout = self.spec.tuning.request_timeout;
        ask(self.spec.context.clone(), client, move |client| topic_ids(client, &topics, timeout)).await
    }

    fn ask_topic_ids(&mut self) {
        let (Some(client), Some(taken)) = (self.client(), &self.taken) else { return };
        let topics: Vec<Arc<str>> = taken.open.iter().map(|open| open.name.as_str().into()).collect();
        if topics.is_empty() {
            return;
        }
        let (reports, timeout) = (Arc::clone(&taken.reports), self.spec.tuning.request_timeout);
        let context = self.spec.context.clone();
        self.ending.retain(|task| !task.is_finished());
        self.ending.push(tokio::task::spawn_blocking(move || match topic_ids(&client, &topics, timeout) {
            Ok(ids) => reports.push(TargetEvent::TopicIds(ids)),
            Err(error) => tracing::debug!("{context}: ids of the target topics: {error}"),
        }));
    }

    async fn open_books(&mut self) -> Result<BooksAnswer, PortError> {
        let Some(taken) = &self.taken else { return Err(self.not_taken()) };
        let clients: Vec<_> = taken.producers.iter().map(|producer| Arc::clone(producer.client())).collect();
        let Some(client) = clients.first().map(Arc::clone) else { return Err(self.not_taken()) };
        let (topic, timeout) = (operate_topic(&self.spec.link), self.spec.tuning.request_timeout);
        let context = format!("{}, topic {topic}", self.spec.context);
        let (name, is_new) = (topic.clone(), taken.books.is_empty());
        let answer = ask(context.clone(), client, move |client| {
            let answer = books::look(client, &name, timeout)?;
            if is_new && matches!(answer, BooksAnswer::Open { .. }) {
                clients.iter().try_for_each(|client| client.metadata(Some(&name), timeout).map(drop))?;
            }
            Ok(answer)
        })
        .await?;
        let Some(taken) = &mut self.taken else { return Err(self.not_taken()) };
        if matches!(answer, BooksAnswer::Open { .. }) && taken.books.is_empty() {
            let handles: Result<Vec<_>, _> = taken.producers.iter().map(|producer| producer.open(&topic)).collect();
            taken.books = handles.map_err(|error| producer_error(context, &error))?;
        }
        Ok(answer)
    }

    fn begin(&mut self, slot: ProducerSlot) -> Result<(), PortError> {
        let producer = self.producer(slot).ok_or_else(|| self.not_taken())?;
        producer.begin_transaction().map_err(|error| producer_error(format!("{}, begin", self.spec.context), &error))
    }

    fn produce(&mut self, slot: ProducerSlot, record: &Outgoing<'_>) -> Result<(), ProduceError> {
        let topic = self
            .taken
            .as_ref()
            .and_then(|taken| taken.topic(record.topic.0 as usize, slot))
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

    fn produce_control(
        &mut self,
        slot: ProducerSlot,
        stream: u32,
        first_sequence: u64,
        records: &[ControlRecord],
    ) -> Result<(), ProduceError> {
        let broken = |reason: &str| ProduceError::Broken(reason.to_owned());
        let lane = i32::try_from(self.spec.lane).map_err(|_| broken("lane number out of range"))?;
        let (producer, handles, books) = self
            .taken
            .as_ref()
            .and_then(|taken| Some((taken.get(slot)?, taken.link_topics(slot)?, taken.books(slot))))
            .ok_or_else(|| broken("the lane is not taken"))?;
        // All or none: what was queued cannot be withdrawn.
        if producer.outstanding() + records.len() > self.spec.tuning.queue_records {
            return Err(ProduceError::QueueFull);
        }
        for (sequence, record) in (first_sequence..).zip(records) {
            let token = pack(Token { stream, sequence }).ok_or_else(|| broken("token out of range"))?;
            let (topic, partition) = match record.topic {
                ControlTopic::Progress => (handles.progress, lane),
                ControlTopic::Map => (handles.map, lane),
                ControlTopic::Books => (books.ok_or_else(|| broken("the books are not open"))?, BOOKS_PARTITION),
            };
            let message = OutMessage {
                topic,
                partition,
                key: Some(&record.key),
                value: Some(&record.value),
                // The time of writing, as people read this log too.
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
        let Some(producer) = taken.get(slot).map(Arc::clone) else {
            reports.push(TargetEvent::Broken(self.not_taken()));
            return;
        };
        let (context, timeout) = (format!("{}, commit", self.spec.context), self.spec.tuning.transaction_timeout);
        self.ending.retain(|task| !task.is_finished());
        self.ending.push(tokio::task::spawn_blocking(move || {
            let event = match producer.commit_transaction(timeout) {
                Ok(()) => TargetEvent::Committed(slot),
                // Also after a timeout: then the outcome is unknown, and only a new take finds it
                // out.
                Err(error) => TargetEvent::Broken(producer_error(context, &error)),
            };
            reports.push(event);
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
        let (context, timeout) = (format!("{}, topic {name}", self.spec.context), self.spec.tuning.request_timeout);
        let described = ask(context, client, move |client| describe_one(client, &name, timeout)).await?;
        let found = described
            .and_then(|topic| topic.partitions.into_iter().find(|p| p.partition == partition))
            .and_then(|partition| partition.leader.map(|_| partition.in_sync));
        Ok((found, needed))
    }

    fn least_batch_bytes(&self, record: &Outgoing<'_>) -> usize {
        self.codec.least_batch_bytes(record)
    }

    fn release_hint(&self) -> ReleaseHint {
        let round_trip = self.round_trip();
        let lengths = round_trip.as_millis() / SHORT_ROUND_TRIP.as_millis();
        ReleaseHint {
            batch_factor: usize::try_from(lengths).unwrap_or(usize::MAX).max(1),
            may_overlap: round_trip <= SHORT_ROUND_TRIP,
        }
    }

    async fn close(&mut self, deadline: Duration) {
        let started = tokio::time::Instant::now();
        if self.spec.tuning.exactly_once
            && let Some(taken) = &self.taken
        {
            lock(&self.spec.ended).extend(self.spec.ids().map(|id| (id, Instant::now())));
            for producer in &taken.producers {
                let (producer, context) = (Arc::clone(producer), self.spec.context.clone());
                self.ending.push(tokio::task::spawn_blocking(move || {
                    // Fails where there is no transaction and where a commit is under way. Both are
                    // fine: the next take ends what is left.
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
        self.destroy(deadline.saturating_sub(started.elapsed()).max(DESTROY_MIN)).await;
    }
}
