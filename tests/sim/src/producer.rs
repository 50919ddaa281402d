//! The lane's writer: two transactional producers, or a plain idempotent one, that behave as
//! librdkafka's do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use strait_core::TopicId;
use strait_core::books::{BOOKS_PARTITION, OPERATE_PARTITIONS};
use strait_flow::DeliveryMode;
use strait_flow::ports::{
    BooksAnswer, Class, ControlRecord, ControlTopic, Outgoing, PortError, ProduceError, ProducerSlot, ReleaseHint,
    Taken, Target, TargetEvent, TargetTopic, Token, TopicAnswer, TopicHandle, WantedTopic,
};

use crate::world::client::{Client, Message, REQUEST_BYTES_MAX};
use crate::world::entries::BooksFault;
use crate::world::source::{Kind, UNIX_START_MS};
use crate::world::stored::Stored;
use crate::world::target::{Content, MAP, OPERATE, PROGRESS, State, Txn};
use crate::world::{Bug, Sim, World, retry};

/// Time after which a coordinator aborts an open transaction, in milliseconds.
const TRANSACTION_TIMEOUT_MS: u64 = 40_000;

/// Number of transactional ids of a lane.
const IDS: u8 = 6;

/// How far ahead of now a timestamp may be, in milliseconds.
const TIMESTAMP_AFTER_MAX_MS: i64 = 3_600_000;

/// Up to this round trip, batches of one partition may overlap in the client, in milliseconds.
const SHORT_ROUND_TRIP_MS: u64 = 4;

/// How long a question about the books waits that is not answered.
const SILENT: Duration = Duration::from_secs(60);

/// The writer of a lane.
pub struct SimTarget {
    sim: Sim,
    proc: usize,
    lane: u32,
    client: Option<usize>,
}

impl SimTarget {
    /// Creates a writer that owns nothing yet.
    #[must_use]
    pub fn new(sim: Sim, proc: usize, lane: u32) -> Self {
        Self { sim, proc, lane, client: None }
    }

    /// Initialises an id. Returns its epoch, or `None` while its last transaction cannot end.
    async fn initialise(&self, id: u8) -> Result<Option<u32>, PortError> {
        let (lane, proc) = (self.lane, self.proc);
        for wait_ms in [20, 100, 400, 0] {
            let asked = self.sim.call("initialising a producer", move |world| world.init(lane, id, proc)).await?;
            if let Ok(epoch) = asked {
                return Ok(Some(epoch));
            }
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
        Ok(None)
    }

    fn destroy(&mut self) {
        if let Some(client) = self.client.take() {
            let mut world = self.sim.lock();
            if world.runs(self.proc) {
                world.clients[client].destroy();
            }
        }
    }
}

impl Drop for SimTarget {
    fn drop(&mut self) {
        // If it is dropped with a process that died, nothing reaches the brokers. Otherwise this
        // destroys the producers.
        self.destroy();
    }
}

fn data(value: Option<&[u8]>) -> Option<(u64, u32)> {
    let value = value?;
    let id = u64::from_le_bytes(value.get(..8)?.try_into().ok()?);
    Some((id, value.get(8).copied().map_or(0, u32::from)))
}

#[async_trait]
impl Target for SimTarget {
    async fn take(&mut self) -> Result<Taken, PortError> {
        self.destroy();
        let (lane, proc) = (self.lane, self.proc);
        let denied = self.sim.lock().faults.denied;
        if denied > 0 && self.sim.lock().rng.chance(denied) {
            return Err(PortError::new(Class::Stop, "initialising producers", "transactional ids are not granted"));
        }
        let transactional = self.sim.lock().delivery == DeliveryMode::ExactlyOnce;
        let (mut ids, mut pending) = (Vec::new(), Vec::new());
        for slot in (0..IDS).filter(|_| transactional) {
            match self.initialise(slot).await? {
                Some(epoch) => ids.push((slot, epoch)),
                None => pending.push(slot),
            }
        }
        let letter = |id: u8| char::from(b'a' + id);
        let mut unfenced = String::new();
        for slot in pending {
            if self.initialise(slot).await?.is_none() {
                unfenced.push(letter(slot));
            }
        }
        let letters = ids.first().zip(ids.get(1)).map(|((a, _), (b, _))| (letter(*a), letter(*b)));
        let ids = match ids[..] {
            [a, b, ..] => [a, b],
            _ if transactional => return Err(retry("initialising producers", "fewer than two ids answer")),
            _ => [(0, 0); 2],
        };
        let mut world = self.sim.lock();
        world.clients.push(Client::new(proc, lane, transactional, ids));
        self.client = Some(world.clients.len() - 1);
        if world.bug == Some(Bug::HiddenIds) {
            unfenced.clear();
        }
        Ok(Taken { ids: letters, unfenced, unfenced_because: "their last transactions cannot end yet" })
    }

    async fn open_topic(&mut self, wanted: &WantedTopic) -> Result<TopicAnswer, PortError> {
        let (name, count, grows) = (wanted.name.to_string(), wanted.partitions as usize, wanted.grows);
        let open = move |world: &mut World| world.open_target_topic(&name, count, grows);
        let (handle, partitions) = self.sim.call("opening a topic of the target", open).await?;
        let id = self.sim.lock().target.topics[handle].id;
        let topic = TargetTopic {
            handle: TopicHandle(handle as u32),
            id,
            partitions,
            max_message_bytes: REQUEST_BYTES_MAX,
            log_append_time: false,
            timestamp_after_max_ms: TIMESTAMP_AFTER_MAX_MS,
            timestamp_before_max_ms: UNIX_START_MS / 2,
        };
        if wanted.grows && partitions < wanted.partitions {
            return Ok(TopicAnswer::TooSmall(topic, "it may not grow".to_owned()));
        }
        Ok(TopicAnswer::Open(topic))
    }

    /// Opens none: each is opened by itself.
    async fn open_existing(&mut self, _: Vec<WantedTopic>) -> Result<Vec<(Arc<str>, TargetTopic)>, PortError> {
        Ok(Vec::new())
    }

    async fn topic_ids(&mut self, topics: Vec<Arc<str>>) -> Result<BTreeMap<Arc<str>, TopicId>, PortError> {
        let find = move |world: &mut World| {
            let existing = world.target.topics.iter().filter(|topic| topics.contains(&topic.name));
            existing.map(|topic| (Arc::clone(&topic.name), topic.id)).collect()
        };
        self.sim.call("looking at topics of the target", find).await
    }

    fn ask_topic_ids(&mut self) {}

    async fn open_books(&mut self) -> Result<BooksAnswer, PortError> {
        if self.sim.lock().books_fault == Some(BooksFault::Silent) {
            tokio::time::sleep(SILENT).await;
            return Err(retry("opening the books", "timed out"));
        }
        let open = |world: &mut World| {
            let (topic, _) = world.open_target_topic(OPERATE, OPERATE_PARTITIONS as usize, false);
            let now = world.now();
            let log = world.target.log(topic, BOOKS_PARTITION);
            // Some stuck partitions look well.
            let stuck = log.is_some_and(|log| log.stuck_until > now) && world.rng.chance(700);
            let fault = world.faults.books;
            if stuck || world.books_fault == Some(BooksFault::Missing) || world.rng.chance(fault) {
                return BooksAnswer::Closed("they are not there".to_owned());
            }
            BooksAnswer::Open { batch_bytes_max: world.books_bytes_max }
        };
        self.sim.call("opening the books", open).await
    }

    fn begin(&mut self, slot: ProducerSlot) -> Result<(), PortError> {
        let mut world = self.sim.lock();
        let Some(client) = self.client else { return Err(retry("begin", "no producer")) };
        let txn = world.target.txns.len();
        if !world.clients[client].begin(slot, txn) {
            world.wrong(format!("client {client} begins on slot {slot:?}, which has a transaction"));
        }
        let (id, epoch) = world.clients[client].id_of(slot);
        world.target.txns.push(Txn {
            id: (self.lane, id),
            epoch,
            state: State::Fresh,
            entries: Vec::new(),
            unmarked: BTreeSet::new(),
        });
        world.after(TRANSACTION_TIMEOUT_MS, move |world| world.expire(txn));
        Ok(())
    }

    fn produce(&mut self, slot: ProducerSlot, record: &Outgoing<'_>) -> Result<(), ProduceError> {
        let mut world = self.sim.lock();
        let Some(client) = self.client else { return Err(ProduceError::Broken("no producer".to_owned())) };
        let Some((id, copy)) = data(record.value) else {
            world.wrong("a record without its number is produced".to_owned());
            return Ok(());
        };
        if record.timestamp_ms <= 0 {
            world.wrong(format!("record {id} is produced with timestamp {}", record.timestamp_ms));
        }
        let refused = match world.source.records[id as usize].kind {
            Kind::Refused { named } => Some(named),
            _ => None,
        };
        let (content, bytes) = (Content::Data { record: id, copy }, record.counted_bytes());
        let message = Message { token: record.token, content, refused, bytes };
        world.send(client, slot, record.topic.0 as usize, record.partition, message)
    }

    fn produce_control(
        &mut self,
        slot: ProducerSlot,
        stream: u32,
        first_sequence: u64,
        records: &[ControlRecord],
    ) -> Result<(), ProduceError> {
        let mut world = self.sim.lock();
        let Some(client) = self.client else { return Err(ProduceError::Broken("no producer".to_owned())) };
        let lanes = world.lanes as usize;
        let (progress, _) = world.open_target_topic(PROGRESS, lanes, true);
        let (map, _) = world.open_target_topic(MAP, lanes, true);
        let (operate, _) = world.open_target_topic(OPERATE, OPERATE_PARTITIONS as usize, false);
        let lane = self.lane as i32;
        for (sequence, record) in (first_sequence..).zip(records) {
            let stored = Stored { key: record.key.clone(), value: record.value.clone() };
            let (topic, partition, content) = match record.topic {
                ControlTopic::Progress => (progress, lane, Content::Progress(stored)),
                ControlTopic::Map => (map, lane, Content::Map(stored)),
                ControlTopic::Books => (operate, BOOKS_PARTITION, Content::Book(stored)),
            };
            let message = Message { token: Token { stream, sequence }, content, refused: None, bytes: 0 };
            world.send(client, slot, topic, partition, message)?;
        }
        Ok(())
    }

    fn commit(&mut self, slot: ProducerSlot) {
        if let Some(client) = self.client {
            self.sim.lock().commit(client, slot);
        }
    }

    async fn event(&mut self) -> TargetEvent {
        let Some(client) = self.client else { return std::future::pending().await };
        let news = self.sim.lock().clients[client].news();
        let mut woken = false;
        loop {
            {
                let mut world = self.sim.lock();
                if let Some(event) = world.clients[client].take_event() {
                    return event;
                }
            }
            if woken {
                // A queue that was full has room again.
                return TargetEvent::Delivered(Vec::new());
            }
            news.notified().await;
            woken = true;
        }
    }

    async fn replicas(&mut self, topic: TopicHandle, partition: i32) -> Result<(Option<u32>, u32), PortError> {
        let ask = move |world: &mut World| {
            let now = world.now();
            let log = world.target.log(topic.0 as usize, partition);
            // Some stuck partitions look well.
            let stuck = log.is_some_and(|log| log.stuck_until > now) && world.rng.chance(700);
            (Some(if stuck { 1 } else { 3 }), 2)
        };
        self.sim.call("asking for replicas", ask).await
    }

    fn least_batch_bytes(&self, record: &Outgoing<'_>) -> usize {
        record.counted_bytes()
    }

    fn release_hint(&self) -> ReleaseHint {
        let (low, high) = self.sim.lock().latency_ms;
        let round_trip_ms = low + high;
        let batch_factor = usize::try_from(round_trip_ms / SHORT_ROUND_TRIP_MS).unwrap_or(usize::MAX).max(1);
        ReleaseHint { batch_factor, may_overlap: round_trip_ms <= SHORT_ROUND_TRIP_MS }
    }

    async fn close(&mut self, deadline: Duration) {
        let Some(client) = self.client else { return };
        let (txns, proc) = {
            let mut world = self.sim.lock();
            (world.clients[client].destroy(), self.proc)
        };
        let abort = async {
            for txn in txns.into_iter().flatten() {
                let end = move |world: &mut World| world.end_transaction(txn, false, proc).is_ok();
                // The next owner of the lane aborts what is left.
                self.sim.call("aborting", end).await.ok();
            }
        };
        tokio::time::timeout(deadline, abort).await.ok();
        self.destroy();
    }
}
