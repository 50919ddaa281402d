//! A process's view of the control topic, and work for its coordinator.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use strait_core::control::turn::Permit;
use strait_core::control::{Control, ControlRecord, TopicRecord};
use strait_flow::ports::{Class, ControlEntry, ControlLog, ControlTail, ControlWriter, LinkWork, Now, PortError};

use crate::world::{Bug, Sim, TIMEOUT_MS, World, retry};

/// How long a reader waits for something new.
const QUIET: Duration = Duration::from_secs(1);

/// The control topic as one process reaches it.
#[derive(Clone)]
pub struct SimControl {
    /// The world.
    pub sim: Sim,
    /// The process.
    pub proc: usize,
}

#[async_trait]
impl ControlLog for SimControl {
    async fn take(&self) -> Result<Box<dyn ControlWriter>, PortError> {
        self.answer("taking the coordinator's id").await?;
        let proc = self.proc;
        let epoch = self.sim.call("taking the coordinator's id", move |world| world.take_control(proc)).await?;
        Ok(Box::new(SimControlWriter { at: self.clone(), epoch }))
    }

    async fn read(&self) -> Result<Control, PortError> {
        let proc = self.proc;
        self.sim.call("reading the control topic", move |world| world.read_control(proc)).await
    }

    async fn follow(&self) -> Result<Box<dyn ControlTail>, PortError> {
        let begin = self.sim.call("listing the control topic", |world| world.control.end()).await?;
        Ok(Box::new(SimControlTail { sim: self.sim.clone(), begin, next: 0 }))
    }
}

struct SimControlWriter {
    at: SimControl,
    epoch: u32,
}

#[async_trait]
impl ControlWriter for SimControlWriter {
    async fn commit(&mut self, records: &[ControlRecord]) -> Result<(), PortError> {
        self.at.answer("committing control records").await?;
        let (records, writer) = (records.to_vec(), (self.at.proc, self.epoch));
        let began = self.at.sim.lock().now();
        let commit = move |world: &mut World| world.commit_control(writer, began, &records);
        if self.at.sim.call("committing control records", commit).await? {
            return Ok(());
        }
        Err(PortError::new(Class::Fenced, "control", "another process has taken the coordinator's id"))
    }
}

struct SimControlTail {
    sim: Sim,
    /// Where the topic ended when it was made.
    begin: usize,
    next: usize,
}

#[async_trait]
impl ControlTail for SimControlTail {
    async fn next(&mut self) -> Result<Vec<ControlEntry>, PortError> {
        let news = Arc::clone(&self.sim.lock().control.news);
        let changed = news.notified();
        if self.sim.lock().control.end() <= self.next {
            tokio::time::timeout(QUIET, changed).await.ok();
        }
        let (next, begin) = (self.next, self.begin);
        if self.sim.lock().control.end() <= next {
            return Ok(Vec::new());
        }
        let entries =
            self.sim.call("following the control topic", move |world| world.control.entries(next, begin)).await?;
        self.next += entries.len();
        Ok(entries)
    }
}

impl SimControl {
    /// Fails after the timeout of a request while nothing is answered.
    async fn answer(&self, what: &str) -> Result<(), PortError> {
        if self.sim.lock().control_hangs {
            tokio::time::sleep(Duration::from_millis(TIMEOUT_MS)).await;
            return Err(retry(what, "no answer in time"));
        }
        Ok(())
    }
}

/// Changes something every few seconds, in batches of a few requests.
pub struct SimWork {
    /// The world.
    pub sim: Sim,
    /// The process.
    pub proc: usize,
}

#[async_trait]
impl LinkWork for SimWork {
    fn name(&self) -> &'static str {
        "changes"
    }

    async fn wanted(&self, _known: Control) {
        let wait = self.sim.lock().rng.within(200, 4_000);
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }

    async fn carry_out(&self, permit: Permit, now: Now<'_>) -> Result<Vec<ControlRecord>, PortError> {
        let requests = self.sim.lock().rng.within(1, 3);
        for _ in 0..requests {
            let takes = {
                let moment = now();
                let mut world = self.sim.lock();
                if !permit.allows(moment) && world.bug != Some(Bug::PermitIgnored) {
                    break;
                }
                world.begin_change(self.proc, permit)
            };
            tokio::time::sleep(Duration::from_millis(takes + 1)).await;
        }
        let record = TopicRecord { source: "a".into(), made: true, ..TopicRecord::default() };
        Ok(vec![ControlRecord::Topic("copy.a".into(), Some(record))])
    }
}
