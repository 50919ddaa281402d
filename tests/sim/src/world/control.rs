//! The control topic on the target, and what coordinators change for the link as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use strait_core::OwnerEpoch;
use strait_core::control::turn::{ANNOUNCED_FOR, Permit};
use strait_core::control::{Control, ControlRecord, Tick};
use strait_flow::ports::ControlEntry;
use tokio::sync::Notify;

use super::{Bug, Point, World};

/// The control topic, its one transactional id, and the changes that its coordinators have made.
#[derive(Debug, Default)]
pub struct ControlTopic {
    /// Epoch of the coordinator's id.
    epoch: u32,
    log: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// When the transactions began that announced batches and are committed, in milliseconds.
    announced: BTreeMap<(u64, u64), u64>,
    /// The coordinators whose changes have arrived, in order.
    changed_by: Vec<OwnerEpoch>,
    /// Changes that have arrived.
    pub changes: u64,
    /// Notified when there is something to read.
    pub news: Arc<Notify>,
}

impl ControlTopic {
    /// Returns the number of records.
    #[must_use]
    pub fn end(&self) -> usize {
        self.log.len()
    }

    /// Returns the last coordinator that has changed anything.
    #[must_use]
    pub fn changed_by(&self) -> Option<OwnerEpoch> {
        self.changed_by.last().copied()
    }

    /// Returns the topic as a reader finds it.
    #[must_use]
    pub fn control(&self) -> Control {
        let mut control = Control::default();
        for (key, value) in &self.log {
            control.apply(key, value.as_deref()).unwrap();
        }
        control
    }

    /// Returns the records from an offset on, to a reader that was made at `begin`.
    #[must_use]
    pub fn entries(&self, offset: usize, begin: usize) -> Vec<ControlEntry> {
        let one = |(at, (key, value)): (usize, &(Vec<u8>, Option<Vec<u8>>))| ControlEntry {
            key: key.clone(),
            value: value.clone(),
            is_old: at < begin,
        };
        self.log.iter().enumerate().skip(offset).map(one).collect()
    }
}

impl World {
    /// Initialises the coordinator's id. Returns its epoch.
    pub fn take_control(&mut self, proc: usize) -> u32 {
        self.control.epoch += 1;
        let epoch = self.control.epoch;
        self.note(format_args!("process {proc} takes the coordinator's id, epoch {epoch}"));
        self.reached(Point::CoordinatorTaken, proc);
        epoch
    }

    /// Reads the control topic for a new coordinator.
    pub fn read_control(&mut self, proc: usize) -> Control {
        self.reached(Point::ControlRead, proc);
        let mut control = self.control.control();
        if self.bug == Some(Bug::ControlReleased)
            && let Some(tick) = control.tick().cloned()
        {
            control.wrote(&[ControlRecord::Tick(Tick { released: true, waits: false, ..tick })]);
        }
        control
    }

    /// Commits records, in a transaction that began at this time, under the id's epoch of its
    /// writer. Returns false if that was fenced.
    pub fn commit_control(&mut self, (proc, epoch): (usize, u32), began: u64, records: &[ControlRecord]) -> bool {
        if epoch != self.control.epoch && self.bug != Some(Bug::ControlUnfenced) {
            self.note(format_args!("process {proc} is fenced as a coordinator"));
            return false;
        }
        let mut announces = None;
        for record in records {
            self.control.log.push(record.encode());
            let ControlRecord::Tick(tick) = record else { continue };
            announces = tick.announces;
            if let Some(batch) = tick.announces {
                self.control.announced.insert((tick.owner.0, batch), began);
            }
            let (owner, released) = (tick.owner.count(), tick.released);
            self.note(format_args!(
                "process {proc} ticks as owner {owner}, announces {announces:?}, released {released}"
            ));
        }
        self.control.news.notify_waiters();
        if announces.is_some() {
            self.reached(Point::Announced, proc);
        }
        true
    }

    /// A request of an announced batch leaves its process. It arrives whatever happens to that.
    /// Returns how long it takes, in milliseconds.
    pub fn begin_change(&mut self, proc: usize, permit: Permit) -> u64 {
        let Permit { owner, batch, .. } = permit;
        let (now, count) = (self.now(), owner.count());
        match self.control.announced.get(&(owner.0, batch)).copied() {
            None => self.wrong(format!("owner {count} begins batch {batch}, which it has not announced")),
            Some(began) => {
                let age = now - began;
                if u128::from(age) >= ANNOUNCED_FOR.as_millis() {
                    self.wrong(format!(
                        "owner {count} begins a request of batch {batch} {age} ms after its announcement"
                    ));
                }
            }
        }
        // Some are very late: a request may take three seconds.
        let takes = if self.rng.chance(200) { self.rng.within(500, 2_900) } else { self.latency() };
        self.note(format_args!("process {proc} as owner {count} begins a request of batch {batch}"));
        self.after(takes, move |world| world.change(permit));
        self.reached(Point::ChangeBegins, proc);
        takes
    }

    fn change(&mut self, permit: Permit) {
        let Permit { owner, batch, .. } = permit;
        self.note(format_args!("a change of owner {}, batch {batch}, arrives", owner.count()));
        self.control.changes += 1;
        if self.control.changed_by() == Some(owner) {
            return;
        }
        if self.control.changed_by.contains(&owner) {
            let (last, owner) = (self.control.changed_by().map(OwnerEpoch::count), owner.count());
            self.wrong(format!("two coordinators take turns: owner {owner} changes something after {last:?} did"));
        }
        self.control.changed_by.push(owner);
    }
}
