//! Decides the next step of a coordinator, from its first transaction to its last.
//!
//! Kafka fences producing and nothing else: a request that changes topics, settings or offsets of
//! groups carries no epoch. So each batch of them follows a committed transaction that announces
//! it, which a fenced process cannot have. And as the last batch of a fenced process may still be
//! on its way, its successor waits before the first of its own.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Control, ControlRecord, ListedTopic, Tick};
use crate::offset::OwnerEpoch;

/// How often a coordinator says that it is at work.
pub const TICK_EVERY: Duration = Duration::from_secs(1);
/// How long changes are collected before they are written.
pub const CHANGE_AFTER: Duration = Duration::from_millis(100);
/// How long after the beginning of the transaction that announces a batch its requests may begin.
pub const ANNOUNCED_FOR: Duration = Duration::from_secs(5);
/// How long one request of a batch may take.
pub const REQUEST_MAX: Duration = Duration::from_secs(3);
/// How long a coordinator waits before its first batch: as long as its predecessor may be at work
/// without knowing of it.
pub const HANDOVER: Duration = Duration::from_secs(8);

/// Permits the requests of one announced batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit {
    /// The coordinator.
    pub owner: OwnerEpoch,
    /// Number of the batch.
    pub batch: u64,
    /// No request may begin at this time or later.
    pub until: Duration,
}

impl Permit {
    /// Returns whether a request of the batch may begin.
    #[must_use]
    pub fn allows(&self, now: Duration) -> bool {
        now < self.until
    }
}

/// The next thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Commit these records in one transaction.
    Commit(Vec<ControlRecord>),
    /// Carry out the batch that waits.
    Run(Permit),
    /// Wait until this time, or until something happens.
    Wait(Duration),
    /// The turn has ended.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Batch {
    None,
    /// It waits for its announcement.
    Wanted,
    /// It is announced and has not begun.
    Announced(Permit),
    Running,
}

/// The time in which one process coordinates the link. It begins when the process has initialised
/// the coordinator's transactional id and, after that, read the control topic.
#[derive(Debug)]
pub struct Turn {
    owner: OwnerEpoch,
    settings: Arc<str>,
    control: Control,
    /// No batch may be announced before.
    first_batch: Duration,
    /// When the last transaction that was committed began.
    committed: Option<Duration>,
    /// When the first change came that is not written.
    changed: Option<Duration>,
    pending: Vec<ControlRecord>,
    /// The records of the transaction under way.
    committing: Option<Vec<ControlRecord>>,
    batches: u64,
    batch: Batch,
    /// When this process last listed the source's topics.
    listed: Option<Duration>,
    is_ending: bool,
    has_ended: bool,
}

impl Turn {
    /// Begins the turn of a process that has initialised the id at `taken` and read `control` after
    /// that.
    #[must_use]
    pub fn new(control: Control, process: u32, settings: Arc<str>, taken: Duration) -> Self {
        let last = control.tick();
        let owner = last.map_or_else(OwnerEpoch::default, |tick| tick.owner).following(process);
        // Whoever has written the last tick is the last that can have announced a batch, unless it
        // has waited for its own predecessor to the end of its turn.
        let is_alone = last.is_some_and(|tick| !tick.waits && (tick.released || tick.owner.process() == process));
        Self {
            owner,
            settings,
            first_batch: if is_alone { taken } else { taken + HANDOVER },
            control,
            committed: None,
            changed: None,
            pending: Vec::new(),
            committing: None,
            batches: 0,
            batch: Batch::None,
            listed: None,
            is_ending: false,
            has_ended: false,
        }
    }

    /// Returns the epoch of this coordinator.
    #[must_use]
    pub fn owner(&self) -> OwnerEpoch {
        self.owner
    }

    /// Returns the control topic as this coordinator has read and written it.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Returns the control topic as it is once the records that wait are written.
    #[must_use]
    pub fn known(&self) -> Control {
        let mut control = self.control.clone();
        control.wrote(&self.pending);
        control
    }

    /// Has records written with one of the next transactions.
    pub fn write(&mut self, records: impl IntoIterator<Item = ControlRecord>, now: Duration) {
        // The newest one of a key counts.
        self.pending.extend(records);
        let mut seen = HashSet::new();
        self.pending.reverse();
        self.pending.retain(|record| seen.insert(record.key()));
        self.pending.reverse();
        if !self.pending.is_empty() {
            self.changed.get_or_insert(now);
        }
    }

    /// Publishes the list of source topics, unless this coordinator has published the same.
    pub fn publish(&mut self, topics: &[ListedTopic], now: Duration) {
        let is_own = self.control.listed().is_some_and(|(owner, _)| owner == self.owner);
        self.pending.retain(|record| !matches!(record, ControlRecord::Topics(..)));
        if !is_own || self.control.source_topics() != topics {
            self.write(self.control.list(self.owner, topics), now);
        }
    }

    /// The source's topics were last listed at this time, whether or not the list has changed.
    pub fn listed_at(&mut self, at: Option<Duration>) {
        self.listed = at;
    }

    /// Asks for a batch of changes to be announced.
    pub fn want_batch(&mut self, now: Duration) {
        if self.batch == Batch::None {
            self.batch = Batch::Wanted;
            self.changed.get_or_insert(now);
        }
    }

    /// The batch has ended, and no request of it is under way.
    pub fn batch_ended(&mut self) {
        self.batch = Batch::None;
    }

    /// Ends the turn: after the batch under way nothing but a last tick is written.
    pub fn end(&mut self) {
        self.is_ending = true;
    }

    /// Returns the next thing to do. After [`Step::Commit`] the transaction must be committed
    /// ([`Turn::committed`]), or the turn is over: the coordinator has to begin anew.
    pub fn step(&mut self, now: Duration, unix_ms: i64) -> Step {
        if self.has_ended {
            return Step::End;
        }
        if self.is_ending {
            return self.last_step(now, unix_ms);
        }
        if let Batch::Announced(permit) = self.batch {
            if permit.allows(now) {
                self.batch = Batch::Running;
                return Step::Run(permit);
            }
            self.batch = Batch::Wanted;
            self.changed.get_or_insert(now);
        }
        let due = self.due();
        if due > now {
            return Step::Wait(due);
        }
        let announces = (self.batch == Batch::Wanted && now >= self.first_batch).then(|| {
            self.batches += 1;
            self.batches
        });
        self.commit(Tick { announces, ..self.tick(now, unix_ms) })
    }

    fn last_step(&mut self, now: Duration, unix_ms: i64) -> Step {
        if self.batch == Batch::Running {
            // It ends by itself, and is told of by then. Others hear from this one meanwhile.
            let due = self.due();
            return if due > now { Step::Wait(due) } else { self.commit(self.tick(now, unix_ms)) };
        }
        self.batch = Batch::None;
        self.commit(Tick { released: true, ..self.tick(now, unix_ms) })
    }

    fn tick(&self, now: Duration, at: i64) -> Tick {
        let (settings, waits) = (Arc::clone(&self.settings), now < self.first_batch);
        let listed_s = self.listed.map(|listed| now.saturating_sub(listed).as_secs());
        Tick { owner: self.owner, settings, at, released: false, waits, announces: None, listed_s }
    }

    fn commit(&mut self, tick: Tick) -> Step {
        let records: Vec<ControlRecord> =
            std::mem::take(&mut self.pending).into_iter().chain([ControlRecord::Tick(tick)]).collect();
        self.changed = None;
        self.committing = Some(records.clone());
        Step::Commit(records)
    }

    /// Returns when the next transaction is due.
    fn due(&self) -> Duration {
        let Some(committed) = self.committed else { return Duration::ZERO };
        let is_early = self.batch == Batch::Wanted && self.pending.is_empty();
        let changed = self.changed.map(|changed| changed + CHANGE_AFTER);
        // A batch that may not be announced yet is no reason to write.
        let changed = if is_early { changed.map(|due| due.max(self.first_batch)) } else { changed };
        changed.map_or(committed + TICK_EVERY, |due| due.min(committed + TICK_EVERY))
    }

    /// The transaction of the last [`Step::Commit`] is committed. It began at `began`, by the clock
    /// of [`Turn::step`].
    pub fn committed(&mut self, began: Duration) {
        let Some(records) = self.committing.take() else { return };
        self.control.wrote(&records);
        self.committed = Some(began);
        let Some(tick) = self.control.tick() else { return };
        self.has_ended = tick.released;
        if let Some(batch) = tick.announces {
            self.batch = Batch::Announced(Permit { owner: self.owner, batch, until: began + ANNOUNCED_FOR });
        } else if self.batch == Batch::Wanted {
            // It waits for its time.
            self.changed = Some(began);
        }
    }
}
