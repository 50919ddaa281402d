//! The target cluster: logs of entries in transactions, and coordinators that fence as Kafka's do.
//!
//! An init bumps the id's epoch and aborts the open transaction of the old epoch, or completes it
//! if its commit was decided. A client with an older epoch is fenced from then on. A decided
//! transaction becomes visible partition by partition as its markers arrive; readers of committed
//! data stop before the first entry without one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use strait_core::TopicId;
use strait_core::books::BookLine;
use strait_core::progress::{LaneProgress, ProgressFold};

use super::stored::Stored;
use super::{Bug, Point, World};

/// The content of an entry.
#[derive(Clone, Debug)]
pub enum Content {
    /// A copy of a source record.
    Data {
        /// Index of the source record.
        record: u64,
        /// Number of the copy.
        copy: u32,
    },
    /// A progress record.
    Progress(Stored),
    /// A map record.
    Map(Stored),
    /// An entry of the books.
    Book(Stored),
    /// The end of a transaction.
    Marker,
}

impl Content {
    /// Returns the size of a progress or map record.
    #[must_use]
    pub fn control_bytes(&self) -> usize {
        match self {
            Self::Progress(stored) | Self::Map(stored) => stored.bytes(),
            Self::Data { .. } | Self::Book(_) | Self::Marker => 0,
        }
    }

    /// Returns the size of an entry of the books.
    #[must_use]
    pub fn entry_bytes(&self) -> usize {
        if let Self::Book(stored) = self { stored.bytes() } else { 0 }
    }
}

/// An entry of a log. Its offset is its index.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The content.
    pub content: Content,
    /// The transaction it belongs to.
    pub txn: Option<usize>,
    /// The client that wrote it.
    pub client: usize,
}

/// A partition.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Entries by offset.
    pub entries: Vec<Entry>,
    /// It takes neither records nor markers before this time, in virtual milliseconds.
    pub stuck_until: u64,
    /// It takes no markers before this time: producers reach its leader and coordinators do not.
    pub unmarked_until: u64,
}

/// A topic.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Name.
    pub name: Arc<str>,
    /// Id.
    pub id: TopicId,
    /// Partitions.
    pub logs: Vec<Log>,
}

/// The state of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Only the client has begun it; the brokers know nothing of it.
    Fresh,
    /// It has data.
    Open,
    /// Its commit is decided. Markers may still be under way.
    Committed,
    /// Its abort is decided.
    Aborted,
}

/// A transaction.
#[derive(Clone, Debug)]
pub struct Txn {
    /// Lane and number of the transactional id.
    pub id: (u32, u8),
    /// Producer epoch.
    pub epoch: u32,
    /// The state.
    pub state: State,
    /// The entries in the order of their arrival: topic, partition, offset.
    pub entries: Vec<(usize, i32, i64)>,
    /// Partitions whose marker is missing.
    pub unmarked: BTreeSet<(usize, i32)>,
}

/// State of a transactional id.
#[derive(Clone, Copy, Debug, Default)]
pub struct Id {
    /// Current epoch.
    pub epoch: u32,
    /// The transaction that is open or being completed.
    pub current: Option<usize>,
}

/// Why a broker refuses a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The epoch is old.
    Fenced,
    /// The previous transaction is still being completed: retry soon.
    Concurrent,
    /// The transaction is over.
    NoSuchTransaction,
}

/// The target cluster.
#[derive(Debug, Default)]
pub struct TargetCluster {
    /// The topics. A topic's handle is its index.
    pub topics: Vec<Topic>,
    /// All transactions.
    pub txns: Vec<Txn>,
    /// The transactional ids by lane and number.
    pub ids: BTreeMap<(u32, u8), Id>,
    /// Topics that cannot be grown.
    pub fixed: BTreeSet<Arc<str>>,
}

/// Interval at which a coordinator retries to write a marker, in milliseconds.
const MARKER_RETRY_MS: u64 = 100;

/// Name of the progress topic.
pub const PROGRESS: &str = "strait.sim.progress";
/// Name of the map topic.
pub const MAP: &str = "strait.sim.map";
/// Name of the topic that has the books.
pub const OPERATE: &str = "strait.sim.operate";
/// Name of the topic that several source topics feed.
pub const ROUTED: &str = "routed";

/// Returns the target topic of a source topic's untouched records.
#[must_use]
pub fn target_name(topic: &str) -> String {
    format!("copy.{topic}")
}

impl TargetCluster {
    /// Returns the index of a topic.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<usize> {
        self.topics.iter().position(|t| &*t.name == name)
    }

    /// A partition.
    #[must_use]
    pub fn log(&self, topic: usize, partition: i32) -> Option<&Log> {
        self.topics.get(topic)?.logs.get(usize::try_from(partition).ok()?)
    }

    /// Returns a partition, to change it.
    pub fn log_mut(&mut self, topic: usize, partition: i32) -> Option<&mut Log> {
        self.topics.get_mut(topic)?.logs.get_mut(usize::try_from(partition).ok()?)
    }

    /// Returns whether an entry is decided and the marker of its partition is written, so that
    /// readers of committed data can pass it.
    #[must_use]
    pub fn is_stable(&self, topic: usize, partition: i32, entry: &Entry) -> bool {
        let Some(txn) = entry.txn.and_then(|t| self.txns.get(t)) else { return true };
        matches!(txn.state, State::Committed | State::Aborted) && !txn.unmarked.contains(&(topic, partition))
    }

    /// Returns whether an entry is committed.
    #[must_use]
    pub fn is_committed(&self, entry: &Entry) -> bool {
        entry.txn.is_none_or(|t| self.txns.get(t).is_some_and(|t| t.state == State::Committed))
    }

    /// Returns the last stable offset of a partition.
    #[must_use]
    pub fn last_stable(&self, topic: usize, partition: i32) -> usize {
        let Some(log) = self.log(topic, partition) else { return 0 };
        log.entries.iter().position(|e| !self.is_stable(topic, partition, e)).unwrap_or(log.entries.len())
    }

    /// Returns the number of open transactions.
    #[must_use]
    pub fn open_transactions(&self) -> usize {
        self.txns.iter().filter(|t| t.state == State::Open).count()
    }
}

impl World {
    /// Opens a topic. Creates or grows it where that is possible. Returns its index and partition
    /// count.
    pub fn open_target_topic(&mut self, name: &str, partitions: usize, grows: bool) -> (usize, u32) {
        let at = match self.target.topic(name) {
            Some(at) => at,
            None => {
                let at = self.target.topics.len();
                let id = TopicId([at as u8 + 1; 16]);
                self.target.topics.push(Topic { name: name.into(), id, logs: vec![Log::default(); partitions] });
                at
            }
        };
        let grows = grows && !self.target.fixed.contains(name);
        let topic = &mut self.target.topics[at];
        if grows {
            while topic.logs.len() < partitions {
                topic.logs.push(Log::default());
            }
        }
        (at, topic.logs.len() as u32)
    }

    /// InitProducerId: returns the new epoch. An open transaction is aborted and its producer
    /// fenced. A decided transaction is left to end, and its producer stays as it is until then.
    pub fn init(&mut self, lane: u32, slot: u8, proc: usize) -> Result<u32, Denied> {
        let bug = self.bug;
        let id = self.target.ids.entry((lane, slot)).or_default();
        if bug == Some(Bug::SingleInit) && slot == 1 && id.epoch > 0 {
            return Ok(id.epoch);
        }
        let open = if bug == Some(Bug::NoFencing) { None } else { id.current };
        if let Some(txn) = open {
            if self.target.txns[txn].state == State::Open {
                id.epoch += 1;
                self.note(format_args!("init aborts transaction {txn}"));
                self.target.txns[txn].state = State::Aborted;
            }
            self.complete(txn);
        }
        let id = self.target.ids.entry((lane, slot)).or_default();
        if bug != Some(Bug::NoFencing) && id.current.is_some() {
            self.note(format_args!(
                "init lane {lane} slot {slot} by process {proc}: the last transaction has not ended"
            ));
            self.reached(Point::Init(slot), proc);
            return Err(Denied::Concurrent);
        }
        id.epoch += 1;
        let epoch = id.epoch;
        self.note(format_args!("init lane {lane} slot {slot} epoch {epoch} by process {proc}"));
        self.reached(Point::Init(slot), proc);
        Ok(epoch)
    }

    /// Checks that a broker takes a request of this transaction now, and makes it the current one
    /// of its id.
    fn admit(&mut self, txn: usize) -> Result<(), Denied> {
        let Txn { id, epoch, state, .. } = self.target.txns[txn];
        let current = self.target.ids.entry(id).or_default();
        if current.epoch != epoch && self.bug != Some(Bug::NoFencing) {
            return Err(Denied::Fenced);
        }
        match state {
            State::Open => Ok(()),
            State::Committed | State::Aborted => Err(Denied::NoSuchTransaction),
            State::Fresh => match current.current {
                Some(other) if self.target.txns[other].state != State::Open => Err(Denied::Concurrent),
                Some(_) if self.bug != Some(Bug::NoFencing) => Err(Denied::NoSuchTransaction),
                _ => {
                    current.current = Some(txn);
                    self.target.txns[txn].state = State::Open;
                    Ok(())
                }
            },
        }
    }

    /// AddPartitionsToTxn: the transaction ends only when this partition has its marker.
    pub fn enlist(&mut self, txn: usize, topic: usize, partition: i32) -> Result<(), Denied> {
        self.admit(txn)?;
        self.target.txns[txn].unmarked.insert((topic, partition));
        Ok(())
    }

    /// Produce: appends entries to one partition, in order. Returns the first offset.
    pub fn produce(
        &mut self,
        txn: Option<usize>,
        client: usize,
        topic: usize,
        partition: i32,
        contents: Vec<Content>,
    ) -> Result<i64, Denied> {
        let proc = self.clients[client].proc;
        if let Some(txn) = txn {
            self.enlist(txn, topic, partition)?;
        }
        let name = Arc::clone(&self.target.topics[topic].name);
        let first = self.target.log(topic, partition).map_or(0, |log| log.entries.len()) as i64;
        self.note(format_args!("produce {}x to {name}-{partition} at {first}, transaction {txn:?}", contents.len()));
        for content in self.tampered(contents) {
            let is_data = matches!(content, Content::Data { .. });
            let outside = self.bug == Some(Bug::ProgressOutside) && !is_data;
            let txn = if outside { None } else { txn };
            let Some(log) = self.target.log_mut(topic, partition) else { return Err(Denied::NoSuchTransaction) };
            let offset = log.entries.len() as i64;
            log.entries.push(Entry { content, txn, client });
            match txn {
                Some(txn) => self.target.txns[txn].entries.push((topic, partition, offset)),
                None => self.appended_plainly(topic, partition, offset),
            }
        }
        let point = match &*name {
            PROGRESS | MAP => Point::ProgressWritten,
            OPERATE => Point::BooksWritten,
            _ => Point::Produce,
        };
        self.reached(point, proc);
        Ok(first)
    }

    fn tampered(&mut self, mut contents: Vec<Content>) -> Vec<Content> {
        let Some(bug) = self.bug else { return contents };
        if bug == Bug::BooksLie {
            contents.retain(|content| !matches!(content, Content::Book(_)));
        }
        if bug == Bug::MarksLost {
            contents.retain(|content| match content {
                Content::Book(stored) => !matches!(BookLine::decode(&stored.key), Some(BookLine::ReadAgain(_))),
                _ => true,
            });
        }
        if !matches!(contents.first(), Some(Content::Data { .. })) || !self.rng.chance(50) {
            return contents;
        }
        match bug {
            Bug::LoseRecord => {
                contents.pop();
            }
            Bug::WriteTwice => contents.extend(contents.first().cloned()),
            Bug::Swap => contents.reverse(),
            _ => {}
        }
        contents
    }

    /// EndTxn: decides a transaction.
    pub fn end_transaction(&mut self, txn: usize, commit: bool, proc: usize) -> Result<(), Denied> {
        self.reached(Point::CommitArrives, proc);
        let Txn { id, epoch, state, .. } = self.target.txns[txn];
        let fenced = self.target.ids.get(&id).is_none_or(|i| i.epoch != epoch);
        if fenced && self.bug != Some(Bug::NoFencing) {
            return Err(Denied::Fenced);
        }
        match state {
            State::Fresh => {
                // A request of it that arrives later must not open it.
                self.target.txns[txn].state = if commit { State::Committed } else { State::Aborted };
                return Ok(());
            }
            State::Open => {}
            State::Committed if commit => return Ok(()),
            State::Aborted if !commit => return Ok(()),
            State::Committed | State::Aborted => return Err(Denied::NoSuchTransaction),
        }
        self.note(format_args!("transaction {txn} of {id:?} epoch {epoch} decided, commit={commit}"));
        self.target.txns[txn].state = if commit { State::Committed } else { State::Aborted };
        if commit {
            self.committed(txn);
        }
        for (topic, partition) in self.target.txns[txn].unmarked.clone() {
            let delay = self.latency();
            self.after(delay, move |world| world.mark(txn, topic, partition));
        }
        self.reached(Point::CommitDecided, proc);
        Ok(())
    }

    /// The coordinator's timeout for a transaction that does not end.
    pub fn expire(&mut self, txn: usize) {
        let Txn { id, state, .. } = self.target.txns[txn];
        let current = self.target.ids.get(&id).and_then(|i| i.current);
        if state != State::Open || current != Some(txn) {
            return;
        }
        self.note(format_args!("transaction {txn} of {id:?} timed out"));
        self.target.txns[txn].state = State::Aborted;
        if let Some(id) = self.target.ids.get_mut(&id) {
            id.epoch += 1;
        }
        self.complete(txn);
    }

    fn complete(&mut self, txn: usize) {
        for (topic, partition) in self.target.txns[txn].unmarked.clone() {
            self.mark(txn, topic, partition);
        }
    }

    fn mark(&mut self, txn: usize, topic: usize, partition: i32) {
        if !self.target.txns[txn].unmarked.contains(&(topic, partition)) {
            return;
        }
        let until = self.target.log(topic, partition).map_or(0, |log| log.stuck_until.max(log.unmarked_until));
        if until > self.now() {
            self.after(MARKER_RETRY_MS, move |world| world.mark(txn, topic, partition));
            return;
        }
        self.target.txns[txn].unmarked.remove(&(topic, partition));
        if let Some(log) = self.target.log_mut(topic, partition) {
            log.entries.push(Entry { content: Content::Marker, txn: None, client: usize::MAX });
        }
        let done = self.target.txns[txn].unmarked.is_empty();
        let id = self.target.txns[txn].id;
        if done
            && let Some(id) = self.target.ids.get_mut(&id)
            && id.current == Some(txn)
        {
            id.current = None;
        }
    }

    /// Reads a lane's progress for its new owner.
    pub fn read_progress(&mut self, lane: u32, proc: usize) -> Result<LaneProgress, String> {
        self.note(format_args!("process {proc} reads progress of lane {lane}"));
        let progress = self.committed_progress(lane);
        self.reached(Point::ProgressRead, proc);
        progress
    }

    /// Returns where a lane's progress partition ends.
    #[must_use]
    pub fn progress_end(&self, lane: u32) -> i64 {
        let log = self.target.topic(PROGRESS).and_then(|topic| self.target.log(topic, lane as i32));
        log.map_or(0, |log| log.entries.len() as i64)
    }

    /// Returns what a reader of committed data finds in a lane's progress partition, up to the last
    /// stable offset of this moment.
    pub fn committed_progress(&self, lane: u32) -> Result<LaneProgress, String> {
        let Some(topic) = self.target.topic(PROGRESS) else { return Ok(LaneProgress::default()) };
        let uncommitted = self.bug == Some(Bug::ReadUncommitted);
        let partition = lane as i32;
        let end = if uncommitted { usize::MAX } else { self.target.last_stable(topic, partition) };
        let mut fold = ProgressFold::default();
        let entries = self.target.log(topic, partition).map_or(&[][..], |log| &log.entries);
        for (offset, entry) in entries.iter().enumerate().take(end) {
            let Content::Progress(stored) = &entry.content else { continue };
            if !uncommitted && !self.target.is_committed(entry) {
                continue;
            }
            fold.fold(offset as i64, &stored.key, Some(&stored.value));
        }
        fold.finish().map_err(|error| error.to_string())
    }
}
