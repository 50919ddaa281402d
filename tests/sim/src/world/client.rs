//! Producer clients as the brokers and the network see them: one request in flight per partition,
//! so that order within a partition holds and later records wait behind earlier ones.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use strait_core::TargetOffset;
use strait_flow::ports::{Class, DeliveryReport, PortError, ProduceError, ProducerSlot, TargetEvent, Token};
use tokio::sync::Notify;

use super::entries::BooksFault;
use super::target::{Content, Denied};
use super::{Bug, TIMEOUT_MS, World};

/// A record or a control record on its way.
#[derive(Clone, Debug)]
pub struct Message {
    /// Comes back in its delivery report.
    pub token: Token,
    /// The content to write.
    pub content: Content,
    /// The brokers refuse it, and whether they name it.
    pub refused: Option<bool>,
    /// Its size in a request of data.
    pub bytes: usize,
}

/// Most bytes of data that a broker takes in one request.
pub const REQUEST_BYTES_MAX: usize = 1_000;

#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Message>,
    in_flight: usize,
}

/// The producers of one attempt at a lane.
#[derive(Debug)]
pub struct Client {
    /// The process that it is part of.
    pub proc: usize,
    lane: u32,
    transactional: bool,
    /// Transactional id and epoch of each slot.
    ids: [(u8, u32); 2],
    /// It is not destroyed.
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
    /// Creates the two producers of a lane, with their transactional ids and epochs.
    #[must_use]
    pub fn new(proc: usize, lane: u32, transactional: bool, ids: [(u8, u32); 2]) -> Self {
        Self {
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
        }
    }

    /// Returns the transactional id of a slot and its epoch.
    #[must_use]
    pub fn id_of(&self, slot: ProducerSlot) -> (u8, u32) {
        self.ids[slot_index(slot)]
    }

    /// Opens a transaction. Returns whether the slot was free.
    pub fn begin(&mut self, slot: ProducerSlot, txn: usize) -> bool {
        let slot = slot_index(slot);
        let is_free = self.txns[slot].is_none() && self.committing != Some(slot);
        self.txns[slot] = Some(txn);
        is_free
    }

    /// Destroys the producers. Returns their open transactions.
    pub fn destroy(&mut self) -> [Option<usize>; 2] {
        self.alive = false;
        self.txns
    }

    /// Takes out the next event.
    pub fn take_event(&mut self) -> Option<TargetEvent> {
        self.inbox.pop_front()
    }

    /// Notified when there may be an event, or room in the queue.
    #[must_use]
    pub fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }

    fn unsettled(&self, slot: usize) -> usize {
        let of_slot = self.lines.iter().filter(|((s, _, _), _)| *s == slot);
        of_slot.map(|(_, line)| line.waiting.len() + line.in_flight).sum()
    }

    fn report(&mut self, event: TargetEvent) {
        if !self.alive {
            return;
        }
        self.inbox.push_back(event);
        self.news.notify_one();
    }

    fn report_broken(&mut self, class: Class, reason: &str) {
        let context = format!("lane {}", self.lane);
        self.report(TargetEvent::Broken(PortError::new(class, context, reason)));
    }
}

/// Reports messages as runs of ascending tokens with ascending offsets.
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
    /// Sends the waiting records of every client of a process.
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
        // A client takes all that waits into one request, if it comes late enough.
        let most = if self.rng.chance(300) { usize::MAX } else { self.rng.within(1, 8) as usize };
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
            // The client retries as long as it exists. The coordinator takes the partition into the
            // transaction all the same.
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
        if messages.iter().map(|message| message.bytes).sum::<usize>() > REQUEST_BYTES_MAX {
            let reason = "message size too large";
            let refused =
                |m: &Message| DeliveryReport::Refused { token: m.token, named: false, reason: reason.to_owned() };
            let reports = messages.iter().map(refused).collect();
            return self.answer(client, at, TargetEvent::Delivered(reports));
        }
        let control = messages.iter().map(|m| m.content.control_bytes()).sum::<usize>();
        if control > self.control_bytes_max && messages.len() > 1 {
            let reason = format!("a batch of {control} bytes");
            let report = |m: &Message| DeliveryReport::Refused { token: m.token, named: false, reason: reason.clone() };
            return self.answer(client, at, TargetEvent::Delivered(messages.iter().map(report).collect()));
        }
        let entries = messages.iter().map(|m| m.content.entry_bytes()).sum::<usize>();
        if entries > 0 && self.books_fault.is_some_and(|fault| fault != BooksFault::Silent) {
            // The coordinator takes a partition into the transaction that it does not know to fail.
            if self.books_fault == Some(BooksFault::Untold) {
                txn.map(|txn| self.enlist(txn, topic, partition));
            }
            return self.answer(client, at, failed(&messages, "unknown topic or partition"));
        }
        if entries > self.books_bytes_max {
            let reason = format!("a batch of {entries} bytes");
            let report = |m: &Message| DeliveryReport::Refused { token: m.token, named: false, reason: reason.clone() };
            return self.answer(client, at, TargetEvent::Delivered(messages.iter().map(report).collect()));
        }
        if let Some(culprit) = messages.iter().position(|m| m.refused.is_some()) {
            let named = messages[culprit].refused == Some(true);
            let report = |(index, message): (usize, &Message)| match (named, index == culprit) {
                (true, false) => {
                    DeliveryReport::Failed { token: message.token, reason: "another record was refused".to_owned() }
                }
                _ => DeliveryReport::Refused { token: message.token, named, reason: "invalid record".to_owned() },
            };
            let deliveries = messages.iter().enumerate().map(report).collect();
            return self.answer(client, at, TargetEvent::Delivered(deliveries));
        }
        let contents = messages.iter().map(|m| m.content.clone()).collect();
        match self.produce(txn, client, topic, partition, contents) {
            // The client retries as long as it exists.
            Err(Denied::Concurrent) if self.clients[client].alive => {
                self.after(5, move |world| world.arrive(client, at, txn, messages));
            }
            Err(Denied::Concurrent) => {}
            Err(Denied::Fenced) => {
                self.note(format_args!("client {client} is fenced"));
                self.clients[client].report_broken(Class::Fenced, "a newer producer with the same id");
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
            world.clients[client].report(event);
            world.answered(client, at);
        });
    }

    fn answered(&mut self, client: usize, at: (usize, usize, i32)) {
        if let Some(line) = self.clients[client].lines.get_mut(&at) {
            line.in_flight = 0;
        }
        self.pump(client, at);
    }

    /// Takes a record into the client's queue.
    ///
    /// # Errors
    /// [`ProduceError`] if the queue is full or the producer is gone.
    pub fn send(
        &mut self,
        client: usize,
        slot: ProducerSlot,
        topic: usize,
        partition: i32,
        message: Message,
    ) -> Result<(), ProduceError> {
        let slot = slot_index(slot);
        let full = self.faults.queue_full;
        let early = self.bug == Some(Bug::CommitWithoutWaiting) && self.clients[client].transactional;
        let is_data = matches!(message.content, Content::Data { .. });
        if is_data && self.rng.chance(full) {
            // There is room again after a delivery, or soon.
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
            self.clients[client].report(TargetEvent::Delivered(vec![run]));
        }
        self.pump(client, (slot, topic, partition));
        Ok(())
    }

    /// Sends the end of a slot's transaction.
    pub fn commit(&mut self, client: usize, slot: ProducerSlot) {
        let slot = slot_index(slot);
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
        // The first answer counts; the client ignores the other.
        self.after(TIMEOUT_MS, move |world| {
            if world.clients[client].committing == Some(slot) {
                world.clients[client].committing = None;
                world.clients[client].report_broken(Class::Retry, "commit timed out, its result is unknown");
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
                        state.report(TargetEvent::Committed(if slot == 0 { ProducerSlot::A } else { ProducerSlot::B }))
                    }
                    Err(Denied::Fenced) => state.report_broken(Class::Fenced, "a newer producer with the same id"),
                    Err(_) => state.report_broken(Class::Retry, "invalid transaction state"),
                }
            });
        });
    }
}
