//! The smaller ports, each a few lines on top of the world.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use strait_core::books::KeptAt;
use strait_core::progress::LaneProgress;
use strait_core::{Event, LaneId, PartitionKey, SourceOffset};
use strait_flow::ports::{
    Clock, EventSink, LaneConnector, PortError, ProgressStore, Quarantine, QuarantineRecord, Source, Target,
};

use crate::group::SimCommitted;
use crate::producer::SimTarget;
use crate::reader::SimSource;
use crate::world::source::UNIX_START_MS;
use crate::world::{Bug, Point, Sim, World, retry};

/// The ports of one process.
#[derive(Clone)]
pub struct SimProcess {
    /// The world.
    pub sim: Sim,
    /// The number of the process.
    pub proc: usize,
    early: Arc<std::sync::Mutex<BTreeMap<u32, LaneProgress>>>,
}

impl SimProcess {
    /// Creates the ports of a process.
    #[must_use]
    pub fn new(sim: Sim, proc: usize) -> Self {
        Self { sim, proc, early: Arc::default() }
    }
}

#[async_trait]
impl LaneConnector for SimProcess {
    async fn source(&self, _lane: LaneId) -> Result<Box<dyn Source>, PortError> {
        Ok(Box::new(SimSource::new(self.sim.clone())))
    }

    async fn target(&self, lane: LaneId) -> Result<Box<dyn Target>, PortError> {
        if self.sim.lock().bug == Some(Bug::ReadBeforeInit) {
            let progress = self.read_now(lane).await?;
            if let Ok(mut early) = self.early.lock() {
                early.insert(lane.0, progress);
            }
        }
        Ok(Box::new(SimTarget::new(self.sim.clone(), self.proc, lane.0)))
    }

    async fn quarantine(&self, _lane: LaneId) -> Result<Box<dyn Quarantine>, PortError> {
        Ok(Box::new(self.clone()))
    }
}

impl SimProcess {
    async fn read_now(&self, lane: LaneId) -> Result<LaneProgress, PortError> {
        let proc = self.proc;
        let read = move |world: &mut World| world.read_progress(lane.0, proc);
        let progress = self.sim.call("reading progress", read).await?;
        progress.map_err(|reason| retry("reading progress", &reason))
    }
}

#[async_trait]
impl ProgressStore for SimProcess {
    async fn read(&self, lane: LaneId) -> Result<LaneProgress, PortError> {
        if self.sim.lock().bug == Some(Bug::ReadBeforeInit)
            && let Some(early) = self.early.lock().ok().and_then(|mut e| e.remove(&lane.0))
        {
            return Ok(early);
        }
        self.read_now(lane).await
    }

    async fn ends(&self, lanes: u32) -> Result<BTreeMap<LaneId, Result<i64, String>>, PortError> {
        SimCommitted(self.sim.clone()).ends(lanes).await
    }
}

#[async_trait]
impl Quarantine for SimProcess {
    async fn write(&mut self, records: &[QuarantineRecord<'_>]) -> Result<Vec<KeptAt>, PortError> {
        let id = |r: &QuarantineRecord<'_>| r.record.value.and_then(|v| v.try_into().ok()).map(u64::from_le_bytes);
        let read = |r: &QuarantineRecord<'_>| Some((id(r)?, r.partition.clone(), r.record.offset));
        let kept: Vec<(u64, PartitionKey, SourceOffset)> = records.iter().filter_map(read).collect();
        let proc = self.proc;
        let failed = {
            let mut world = self.sim.lock();
            let fault = world.faults.quarantine;
            world.rng.chance(fault)
        };
        let keep = move |world: &mut World| {
            let mut places = Vec::with_capacity(kept.len());
            for (id, key, offset) in kept {
                world.note(format_args!("quarantine keeps {id}, read as {key} at {offset}"));
                if !world.may_be_quarantined(id, &key, offset) {
                    world.wrong(format!("record {id} is in quarantine, and nobody refuses it"));
                }
                let offset = SourceOffset(world.kept.len() as i64);
                places.push(KeptAt { partition: 0, offset });
                if world.bug != Some(Bug::QuarantineLies) {
                    world.quarantine.insert(id);
                }
                world.kept.push(id);
            }
            world.reached(Point::Quarantined, proc);
            places
        };
        if failed {
            // A quarantine that does not answer holds up the lane for as long as the port allows.
            let silent_ms = {
                let mut world = self.sim.lock();
                if world.rng.chance(500) { world.rng.below(10_000) } else { 0 }
            };
            tokio::time::sleep(Duration::from_millis(silent_ms)).await;
            return Err(retry("quarantine", "no permission"));
        }
        self.sim.call("keeping records in quarantine", keep).await
    }
}

impl Clock for SimProcess {
    fn now(&self) -> Duration {
        Duration::from_millis(self.sim.lock().now())
    }

    fn unix_ms(&self) -> i64 {
        UNIX_START_MS + self.sim.lock().now() as i64
    }
}

impl EventSink for SimProcess {
    fn emit(&self, _link: &str, event: Event) {
        let mut world = self.sim.lock();
        let proc = self.proc;
        world.note(format_args!("process {proc}: {}: {event}", event.name()));
        let text = event.to_string();
        if text.contains("please report this as a bug") {
            world.wrong(format!("process {proc}: {text}"));
        }
        world.check_event(&event);
        let now = world.now();
        world.events.push((now, proc, event));
    }
}
