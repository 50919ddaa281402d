//! The lane's writer: two transactional producers (or a plain idempotent one) as librdkafka's behave, one request in flight per
//! partition, so that order within a partition holds and later records wait behind earlier ones.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use strait_core::TargetOffset;
use strait_core::map::MapRecord;
use strait_core::progress::ProgressRecord;
use strait_flow::DeliveryMode;
use strait_flow::ports::{
    Class, DeliveryReport, Outgoing, PortError, ProduceError, ProducerSlot, ReleaseHint, Taken, Target, TargetEvent,
    TargetTopic, Token, TopicHandle,
};
use tokio::sync::Notify;

use crate::source::Kind;
use crate::target::{Content, Denied, MAP, PROGRESS, State, Txn};
use crate::world::{Bug, Sim, TIMEOUT_MS, World, retry};

/// Time after which a coordinator aborts an open transaction, in milliseconds.
const TRANSACTION_TIMEOUT_MS: u64 = 40_000;

/// How many transactional ids a lane has.
const IDS: u8 = 6;

/// How far ahead of now a CreateTime may be, in milliseconds.
const TIMESTAMP_AFTER_MAX_MS: i64 = 3_600_000;

/// Up to this round trip, batches of one partition may overlap in the client, in milliseconds.
const SHORT_ROUND_TRIP_MS: u64 = 4;

#[derive(Clone, Debug)]
struct Message {
    token: Token,
    content: Content,
    refused: Option<bool>,
}

#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Message>,
    in_flight: usize,
}

/// What the brokers and the network know of one generation of a lane's producers.
#[derive(Debug)]
pub struct Client {
    /// The process it lives in.
    pub proc: usize,
    lane: u32,
    transactional: bool,
    /// Transactional id and epoch of each slot.
    ids: [(u8, u32); 2],
    /// Not destroyed.
    alive: bool,
    txns: [Option<usize>; 2],
    committing: Option<usize>,
    lines: BTreeMap<(usize, usize, i32), Line>,
    inbox: VecDeque<TargetEvent>,
    news: Arc<Notify>,
}

fn slot_index(slot: ProducerSlot) -> usize {
    match slot {
        ProducerSlot::A => 0,
        ProducerSlot::B => 1,
    }
}

impl Client {
    fn unsettled(&self, slot: usize) -> usize {
        let of_slot = self.lines.iter().filter(|((s, _, _), _)| *s == slot);
        of_slot.map(|(_, line)| line.waiting.len() + line.in_flight).sum()
    }

    fn tell(&mut self, event: TargetEvent) {
        if !self.alive {
            return;
        }
        self.inbox.push_back(event);
        self.news.notify_one();
    }

    fn tell_broken(&mut self, class: Class, reason: &str) {
        let context = format!("lane {}", self.lane);
        self.tell(TargetEvent::Broken(PortError { class, context, reason: reason.to_owned() }));
    }
}

/// Runs of ascending tokens as runs of ascending offsets.
fn acknowledged(messages: &[Message], first: i64) -> TargetEvent {
    let mut runs: Vec<DeliveryReport> = Vec::new();
    for (step, message) in messages.iter().enumerate() {
        if let Some(DeliveryReport::Acknowledged { first, count, .. }) = runs.last_mut()
            && first.stream == message.token.stream
            && first.sequence + u64::from(*count) == message.token.sequence
        {
            *count += 1;
            continue;
        }
        runs.push(DeliveryReport::Acknowledged {
            first: message.token,
            count: 1,
            offset: TargetOffset(first + step as i64),
        });
    }
    TargetEvent::Delivered(runs)
}

fn failed(messages: &[Message], reason: &str) -> TargetEvent {
    let fail = |m: &Message| DeliveryReport::Failed { token: m.token, reason: reason.to_owned() };
    TargetEvent::Delivered(messages.iter().map(fail).collect())
}

impl World {
    /// Sends what every client of a process has waiting.
    pub fn pump_all(&mut self, proc: usize) {
        for client in 0..self.clients.len() {
            if self.clients[client].proc != proc {
                continue;
            }
            let lines: Vec<_> = self.clients[client].lines.keys().copied().collect();
            for line in lines {
                self.pump(client, line);
            }
        }
    }

    fn pump(&mut self, client: usize, at: (usize, usize, i32)) {
        let (proc, alive) = (self.clients[client].proc, self.clients[client].alive);
        if !alive || !self.runs(proc) {
            return;
        }
        let most = self.rng.within(1, 8) as usize;
        let (there, txn) = (self.latency(), self.clients[client].txns[at.0]);
        let Some(line) = self.clients[client].lines.get_mut(&at) else { return };
        if line.in_flight > 0 || line.waiting.is_empty() {
            return;
        }
        let messages: Vec<Message> = line.waiting.drain(..most.min(line.waiting.len())).collect();
        line.in_flight = messages.len();
        self.after(there, move |world| world.arrive(client, at, txn, messages));
    }

    fn arrive(&mut self, client: usize, at: (usize, usize, i32), txn: Option<usize>, messages: Vec<Message>) {
        let (_, topic, partition) = at;
        let stuck_until = self.target.log(topic, partition).map_or(0, |log| log.stuck_until);
        if stuck_until > self.now() {
            // Retried by the client as long as it exists; the coordinator takes the partition into the transaction all the same.
            if self.clients[client].alive {
                txn.map(|txn| self.enlist(txn, topic, partition));
                self.after(250, move |world| world.arrive(client, at, txn, messages));
            }
            return;
        }
        let faults = self.faults;
        if self.rng.chance(faults.produce) {
            return self.answer(client, at, failed(&messages, "request timed out"));
        }
        if let Some(culprit) = messages.iter().position(|m| m.refused.is_some()) {
            let named = messages[culprit].refused == Some(true);
            let told = |(index, message): (usize, &Message)| match (named, index == culprit) {
                (true, false) => {
                    DeliveryReport::Failed { token: message.token, reason: "another record was refused".to_owned() }
                }
                _ => DeliveryReport::Refused { token: message.token, named, reason: "invalid record".to_owned() },
            };
            let deliveries = messages.iter().enumerate().map(told).collect();
            return self.answer(client, at, TargetEvent::Delivered(deliveries));
        }
        let contents = messages.iter().map(|m| m.content.clone()).collect();
        match self.produce(txn, client, topic, partition, contents) {
            // Retried by the client as long as it exists.
            Err(Denied::Concurrent) if self.clients[client].alive => {
                self.after(5, move |world| world.arrive(client, at, txn, messages));
            }
            Err(Denied::Concurrent) => {}
            Err(Denied::Fenced) => {
                self.note(format_args!("client {client} is fenced"));
                self.clients[client].tell_broken(Class::Fenced, "a newer producer with the same id");
            }
            Err(Denied::NoSuchTransaction) => self.answer(client, at, failed(&messages, "invalid transaction state")),
            Ok(first) => {
                if self.rng.chance(faults.no_offset) {
                    return self.answer(client, at, failed(&messages, "acknowledged without an offset"));
                }
                let off = i64::from(self.bug == Some(Bug::WrongOffset) && self.rng.chance(50));
                if self.bug == Some(Bug::CommitWithoutWaiting) && self.clients[client].transactional {
                    return self.answered(client, at);
                }
                self.answer(client, at, acknowledged(&messages, first + off));
            }
        }
    }

    fn answer(&mut self, client: usize, at: (usize, usize, i32), event: TargetEvent) {
        let back = self.latency();
        self.after(back, move |world| {
            world.clients[client].tell(event);
            world.answered(client, at);
        });
    }

    fn answered(&mut self, client: usize, at: (usize, usize, i32)) {
        if let Some(line) = self.clients[client].lines.get_mut(&at) {
            line.in_flight = 0;
        }
        self.pump(client, at);
    }

    fn send(
        &mut self,
        client: usize,
        slot: usize,
        topic: usize,
        partition: i32,
        message: Message,
    ) -> Result<(), ProduceError> {
        let full = self.faults.queue_full;
        let early = self.bug == Some(Bug::CommitWithoutWaiting) && self.clients[client].transactional;
        let is_data = matches!(message.content, Content::Data { .. });
        if is_data && self.rng.chance(full) {
            // Room again when something was delivered, or soon.
            let news = Arc::clone(&self.clients[client].news);
            self.after(20, move |_| news.notify_one());
            return Err(ProduceError::QueueFull);
        }
        let Some(state) = self.clients.get_mut(client).filter(|c| c.alive) else {
            return Err(ProduceError::Broken("no producer".to_owned()));
        };
        if state.transactional {
            if state.txns[slot].is_none() {
                self.wrong(format!("client {client} produces on slot {slot} outside a transaction"));
                return Ok(());
            }
            if is_data && !early && state.unsettled(1 - slot) > 0 {
                self.wrong(format!(
                    "client {client} produces on slot {slot} before the transaction before is acknowledged"
                ));
                return Ok(());
            }
        }
        let token = message.token;
        let state = &mut self.clients[client];
        state.lines.entry((slot, topic, partition)).or_default().waiting.push_back(message);
        if early {
            let end = self.target.log(topic, partition).map_or(0, |log| log.entries.len()) as i64;
            let run = DeliveryReport::Acknowledged { first: token, count: 1, offset: TargetOffset(end) };
            self.clients[client].tell(TargetEvent::Delivered(vec![run]));
        }
        self.pump(client, (slot, topic, partition));
        Ok(())
    }

    fn commit(&mut self, client: usize, slot: usize) {
        let early = self.bug == Some(Bug::CommitWithoutWaiting);
        let state = &mut self.clients[client];
        let (alive, proc, lane) = (state.alive, state.proc, state.lane);
        let (open, other, unsettled) = (state.txns[slot].take(), state.committing, state.unsettled(slot));
        let Some(txn) = open.filter(|_| alive) else {
            return self.wrong(format!("client {client} commits slot {slot}, which has no transaction"));
        };
        if other.is_some() {
            return self.wrong(format!("client {client} commits slot {slot} before the other commit has returned"));
        }
        if unsettled > 0 && !early {
            return self.wrong(format!("client {client} commits slot {slot} with {unsettled} records on their way"));
        }
        self.clients[client].committing = Some(slot);
        self.note(format_args!("process {proc} lane {lane} sends the end of transaction {txn}"));
        let unknown = self.faults.commit;
        let (lost_there, lost_back) = (self.rng.chance(unknown), self.rng.chance(unknown));
        let there = self.latency() * if self.rng.chance(unknown) { 300 } else { 1 };
        let back = self.latency();
        // Whichever comes first counts; the client ignores the other.
        self.after(TIMEOUT_MS, move |world| {
            if world.clients[client].committing == Some(slot) {
                world.clients[client].committing = None;
                world.clients[client].tell_broken(Class::Retry, "commit timed out, its result is unknown");
            }
        });
        self.after(there, move |world| {
            if lost_there {
                return;
            }
            let result = world.end_transaction(txn, true, proc);
            if lost_back {
                return;
            }
            world.after(back, move |world| {
                let state = &mut world.clients[client];
                if state.committing != Some(slot) {
                    return;
                }
                state.committing = None;
                match result {
                    Ok(()) => {
                        state.tell(TargetEvent::Committed(if slot == 0 { ProducerSlot::A } else { ProducerSlot::B }))
                    }
                    Err(Denied::Fenced) => state.tell_broken(Class::Fenced, "a newer producer with the same id"),
                    Err(_) => state.tell_broken(Class::Retry, "invalid transaction state"),
                }
            });
        });
    }
}

/// The port.
pub struct SimTarget {
    sim: Sim,
    proc: usize,
    lane: u32,
    client: Option<usize>,
}

impl SimTarget {
    /// A writer that owns nothing yet.
    #[must_use]
    pub fn new(sim: Sim, proc: usize, lane: u32) -> Self {
        Self { sim, proc, lane, client: None }
    }

    /// Initialises an id; `None` while its last transaction cannot end.
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
                world.clients[client].alive = false;
            }
        }
    }
}

impl Drop for SimTarget {
    fn drop(&mut self) {
        // Dropped with a process that died: nothing reaches the brokers. Otherwise as destroying the producers does.
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
        world.clients.push(Client {
            proc,
            lane,
            transactional,
            ids,
            alive: true,
            txns: [None, None],
            committing: None,
            lines: BTreeMap::new(),
            inbox: VecDeque::new(),
            news: Arc::new(Notify::new()),
        });
        self.client = Some(world.clients.len() - 1);
        if world.bug == Some(Bug::HiddenIds) {
            unfenced.clear();
        }
        Ok(Taken { ids: letters, unfenced })
    }

    async fn open_topic(&mut self, topic: &str, partitions: u32) -> Result<TargetTopic, PortError> {
        let name = topic.to_owned();
        let open = move |world: &mut World| world.open_target_topic(&name, partitions as usize);
        let (handle, partitions) = self.sim.call("opening a topic of the target", open).await?;
        Ok(TargetTopic {
            handle: TopicHandle(handle as u32),
            partitions,
            max_message_bytes: 1 << 20,
            log_append_time: false,
            timestamp_after_max_ms: TIMESTAMP_AFTER_MAX_MS,
            timestamp_before_max_ms: crate::source::UNIX_START_MS / 2,
        })
    }

    fn begin(&mut self, slot: ProducerSlot) -> Result<(), PortError> {
        let mut world = self.sim.lock();
        let slot = slot_index(slot);
        let Some(client) = self.client else { return Err(retry("begin", "no producer")) };
        if world.clients[client].txns[slot].is_some() || world.clients[client].committing == Some(slot) {
            world.wrong(format!("client {client} begins on slot {slot}, which has a transaction"));
        }
        let txn = world.target.txns.len();
        let (id, epoch) = world.clients[client].ids[slot];
        world.target.txns.push(Txn {
            id: (self.lane, id),
            epoch,
            state: State::Fresh,
            entries: Vec::new(),
            unmarked: std::collections::BTreeSet::new(),
        });
        world.clients[client].txns[slot] = Some(txn);
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
        let message = Message { token: record.token, content: Content::Data { record: id, copy }, refused };
        world.send(client, slot_index(slot), record.topic.0 as usize, record.partition, message)
    }

    fn produce_progress(
        &mut self,
        slot: ProducerSlot,
        stream: u32,
        first_sequence: u64,
        progress: &[ProgressRecord],
        map: &[MapRecord],
    ) -> Result<(), ProduceError> {
        let mut world = self.sim.lock();
        let Some(client) = self.client else { return Err(ProduceError::Broken("no producer".to_owned())) };
        let lanes = world.lanes as usize;
        let (progress_topic, _) = world.open_target_topic(PROGRESS, lanes);
        let (map_topic, _) = world.open_target_topic(MAP, lanes);
        let progress = progress.iter().map(|p| (progress_topic, Content::Progress(p.clone())));
        let map = map.iter().map(|m| (map_topic, Content::Map(m.clone())));
        for (sequence, (topic, content)) in (first_sequence..).zip(progress.chain(map)) {
            let message = Message { token: Token { stream, sequence }, content, refused: None };
            world.send(client, slot_index(slot), topic, self.lane as i32, message)?;
        }
        Ok(())
    }

    fn commit(&mut self, slot: ProducerSlot) {
        if let Some(client) = self.client {
            self.sim.lock().commit(client, slot_index(slot));
        }
    }

    async fn event(&mut self) -> TargetEvent {
        let Some(client) = self.client else { return std::future::pending().await };
        let news = Arc::clone(&self.sim.lock().clients[client].news);
        let mut woken = false;
        loop {
            {
                let mut world = self.sim.lock();
                if let Some(event) = world.clients[client].inbox.pop_front() {
                    return event;
                }
            }
            if woken {
                // There is room again in a queue that was full.
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

    fn release_hint(&self) -> ReleaseHint {
        let (low, high) = self.sim.lock().latency_ms;
        let round_trip_ms = low + high;
        let batch_factor = usize::try_from(round_trip_ms / SHORT_ROUND_TRIP_MS).unwrap_or(usize::MAX).max(1);
        ReleaseHint { batch_factor, may_overlap: round_trip_ms <= SHORT_ROUND_TRIP_MS }
    }

    async fn release(&mut self, deadline: Duration) {
        let Some(client) = self.client else { return };
        let (txns, proc) = {
            let mut world = self.sim.lock();
            world.clients[client].alive = false;
            (world.clients[client].txns, self.proc)
        };
        let abort = async {
            for txn in txns.into_iter().flatten() {
                let end = move |world: &mut World| world.end_transaction(txn, false, proc).is_ok();
                // Whoever takes the lane next aborts what is left.
                self.sim.call("aborting", end).await.ok();
            }
        };
        tokio::time::timeout(deadline, abort).await.ok();
        self.destroy();
    }
}
