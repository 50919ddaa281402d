//! Processes that share a link's lanes, and what starts, stops, freezes and kills them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use strait_core::progress::LinkIdentity;
use strait_core::{LaneId, PartitionKey, lanes};
use strait_flow::ports::{PortError, SourceTopic, StartAt};
use strait_flow::{Activity, DeliveryMode, LaneDeps, LaneSpec, Limits, LinkStatus, supervise};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::chain::SimChains;
use crate::ports::SimProcess;
use crate::world::{Frozen, Sim};

struct Running {
    /// One channel per lane: tokio wakes the receivers of a shared one in random order.
    topics: watch::Sender<Arc<Vec<SourceTopic>>>,
    stop: CancellationToken,
    handle: JoinHandle<Result<(), PortError>>,
}

struct Member {
    /// The source's topics as this process knows them.
    known: Arc<Vec<SourceTopic>>,
    status: Arc<LinkStatus>,
    lanes: BTreeMap<u32, Running>,
}

/// The processes of the link.
pub struct Cluster {
    /// The world.
    pub sim: Sim,
    /// Limits of the lanes.
    pub limits: Limits,
    /// The process to which the group assigns each lane.
    pub owner: Vec<Option<usize>>,
    members: Vec<Member>,
    leaving: Vec<(usize, u32, Running)>,
}

/// Returns small limits, so that a short run reaches every one of them.
#[must_use]
pub fn small_limits() -> Limits {
    let ms = Duration::from_millis;
    Limits {
        control_bytes_max: 8 << 10,
        window_bytes: 8 << 10,
        release_bytes: 600,
        release_bytes_max: 4 << 10,
        interval_min: ms(25),
        interval_max: ms(500),
        idle_interval: ms(200),
        transaction_partitions_max: 2,
        transaction_bytes_max: 4 << 10,
        stuck_after: ms(3_000),
        stuck_retry: (ms(2_000), ms(10_000)),
        restart_backoff: (ms(100), ms(5_000)),
        drain: ms(4_000),
    }
}

impl Cluster {
    /// Creates a cluster without processes.
    #[must_use]
    pub fn new(sim: Sim) -> Self {
        let lanes = sim.lock().lanes as usize;
        Self { sim, limits: small_limits(), owner: vec![None; lanes], members: Vec::new(), leaving: Vec::new() }
    }

    /// Sets the number of lanes. Call it before any process is started.
    pub fn set_lanes(&mut self, lanes: u32) {
        self.sim.lock().lanes = lanes;
        self.owner = vec![None; lanes as usize];
    }

    /// Starts a process without lanes. Returns its number.
    pub fn start_process(&mut self) -> usize {
        let mut world = self.sim.lock();
        world.procs.push(crate::world::Proc::default());
        let known = Arc::new(world.source.list());
        self.members.push(Member { known, status: Arc::default(), lanes: BTreeMap::new() });
        world.procs.len() - 1
    }

    /// Returns the processes that are not dead.
    #[must_use]
    pub fn alive(&self) -> Vec<usize> {
        let world = self.sim.lock();
        (0..self.members.len()).filter(|p| !world.procs[*p].dead).collect()
    }

    /// Returns the lanes that a process runs.
    #[must_use]
    pub fn lanes_of(&self, proc: usize) -> Vec<u32> {
        self.members[proc].lanes.keys().copied().collect()
    }

    /// Assigns a lane to a process, as the group does.
    pub fn assign(&mut self, lane: u32, proc: usize) {
        let lost = self.owner[lane as usize].replace(proc) != Some(proc);
        let plain = self.sim.lock().delivery == DeliveryMode::AtLeastOnce;
        // Without fencing, a process that lost a lane and gets it back must take it again.
        if lost
            && plain
            && let Some(running) = self.members[proc].lanes.remove(&lane)
        {
            running.handle.abort();
            self.leaving.push((proc, lane, running));
        }
        self.run_lane(lane, proc);
    }

    /// Makes a process run a lane, whatever the group says.
    pub fn run_lane(&mut self, lane: u32, proc: usize) {
        if self.members[proc].lanes.contains_key(&lane) {
            return;
        }
        let world = self.sim.lock();
        let spec = LaneSpec {
            link: "sim".into(),
            lane: LaneId(lane),
            lanes: world.lanes,
            process: u32::try_from(proc).unwrap_or(u32::MAX),
            identity: LinkIdentity::default(),
            delivery: world.delivery,
            start: StartAt::Earliest,
            policies: world.policies,
            limits: self.limits,
            config_hash: "sim".into(),
        };
        drop(world);
        let member = &mut self.members[proc];
        let ports = Arc::new(SimProcess::new(self.sim.clone(), proc));
        let (progress, clock, events) = (Arc::clone(&ports), Arc::clone(&ports), Arc::clone(&ports));
        let (topics, receiver) = watch::channel(Arc::clone(&member.known));
        let deps = LaneDeps {
            connector: ports,
            progress,
            chains: Arc::new(SimChains(self.sim.clone())),
            clock,
            events,
            status: Arc::clone(&member.status),
            topics: receiver,
        };
        let stop = CancellationToken::new();
        let work = Frozen::new(self.sim.clone(), proc, supervise(spec, deps, stop.clone()));
        member.lanes.insert(lane, Running { topics, stop, handle: tokio::spawn(work) });
    }

    /// Revokes a lane from a process, which has as long as the group waits. Its unfinished work is
    /// then destroyed.
    pub async fn give_up(&mut self, lane: u32, proc: usize) {
        let Some(running) = self.members[proc].lanes.remove(&lane) else { return };
        running.stop.cancel();
        self.leaving.push((proc, lane, running));
        let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
        while tokio::time::Instant::now() < deadline && self.leaving.iter().any(|(_, _, r)| !r.handle.is_finished()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.join_leaving().await;
    }

    async fn join_leaving(&mut self) {
        for (proc, lane, running) in std::mem::take(&mut self.leaving) {
            running.handle.abort();
            let ended = running.handle.await;
            let mut world = self.sim.lock();
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => world.wrong(format!("lane {lane} of process {proc} gave up: {error}")),
                Err(error) if error.is_panic() => world.wrong(format!("lane {lane} of process {proc} panicked")),
                Err(_) => world.note(format_args!("lane {lane} of process {proc} was dropped")),
            }
        }
    }

    /// Kills a process.
    pub async fn crash(&mut self, proc: usize) {
        if !self.sim.lock().procs[proc].dead {
            self.sim.lock().kill(proc);
        }
        self.bury().await;
    }

    /// Drops the lanes of dead processes.
    pub async fn bury(&mut self) {
        for proc in 0..self.members.len() {
            if !self.sim.lock().procs[proc].dead {
                continue;
            }
            for (lane, running) in std::mem::take(&mut self.members[proc].lanes) {
                self.leaving.push((proc, lane, running));
            }
        }
        let dead = |(proc, _, _): &(usize, u32, Running)| self.sim.lock().procs[*proc].dead;
        if self.leaving.iter().any(dead) {
            self.join_leaving().await;
        }
    }

    /// Makes every process list the source's topics again.
    pub fn refresh_topics(&mut self) {
        let found = self.sim.lock().source.list();
        for (proc, member) in self.members.iter_mut().enumerate() {
            if !self.sim.lock().runs(proc) || *member.known == found {
                continue;
            }
            member.known = Arc::new(found.clone());
            for running in member.lanes.values() {
                running.topics.send_replace(Arc::clone(&member.known));
            }
        }
    }

    /// Checks that no lane has ended by itself.
    pub fn check_alive(&mut self) {
        for (proc, member) in self.members.iter().enumerate() {
            for (lane, running) in &member.lanes {
                let mut world = self.sim.lock();
                if running.handle.is_finished() && world.runs(proc) {
                    world.wrong(format!("lane {lane} of process {proc} ended by itself"));
                }
            }
        }
    }

    /// Returns the status of the process that owns a partition's lane.
    #[must_use]
    pub fn status_of(&self, key: &PartitionKey) -> Option<Arc<LinkStatus>> {
        let lane = lanes::lane_of(&key.topic, key.partition, self.sim.lock().lanes);
        let proc = (*self.owner.get(lane.0 as usize)?)?;
        Some(Arc::clone(&self.members.get(proc)?.status))
    }

    /// Returns the process that owns a partition's lane, if it reports the partition as stopped.
    #[must_use]
    pub fn is_stopped(&self, key: &PartitionKey) -> Option<usize> {
        let lane = lanes::lane_of(&key.topic, key.partition, self.sim.lock().lanes);
        let proc = (*self.owner.get(lane.0 as usize)?)?;
        let partitions = self.members.get(proc)?.status.partitions();
        let same = |(other, status): (&PartitionKey, &strait_flow::PartitionStatus)| {
            other.topic == key.topic && other.partition == key.partition && status.activity == Activity::Stopped
        };
        partitions.iter().any(same).then_some(proc)
    }

    /// Revokes every lane, while nothing goes wrong.
    pub async fn stop_all(&mut self) {
        for proc in 0..self.members.len() {
            for lane in self.lanes_of(proc) {
                self.give_up(lane, proc).await;
            }
        }
    }
}
