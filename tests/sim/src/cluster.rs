//! Processes that share a link's lanes, and what starts, stops, freezes and kills them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use strait_core::progress::LinkIdentity;
use strait_core::{LaneId, PartitionKey, lanes};
use strait_flow::ports::{Discovery, LinkWork, MembershipEvent, PortError, SourceTopic, StartAt};
use strait_flow::{
    Activity, DeliveryMode, GroupWork, LaneDeps, LaneSpec, Limits, LinkService, LinkStatus, PartitionStatus, Requests,
    RetryAnswer, WatchIntervals,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::chain::{SimChains, SimCopies};
use crate::control::{SimControl, SimWork};
use crate::group::{SimBooks, SimCommitted, SimDiscovery, SimMembership};
use crate::groups::SimGroups;
use crate::lanes::SimLanes;
use crate::ports::SimProcess;
use crate::world::{Frozen, Sim};

/// How long the group waits for a lane that it revokes.
const REVOKE: Duration = Duration::from_secs(5);
/// Events of the group that a frozen process may have to hear.
const HEARD_MAX: usize = 1_000;
/// How long a process may take to stop, with its drain and what it waits for beyond.
const STOP_MAX: Duration = Duration::from_secs(40);

/// A process: the link as it runs in production, on simulated ports.
struct Member {
    status: Arc<LinkStatus>,
    requests: Arc<Requests>,
    /// The answers that an operator waits for.
    asked: Vec<oneshot::Receiver<RetryAnswer>>,
    /// The source's topics as this process knows them.
    topics: watch::Receiver<Arc<Vec<SourceTopic>>>,
    lanes: Arc<SimLanes>,
    group: mpsc::Sender<MembershipEvent>,
    /// The lanes that the group has told it to run and not to give up.
    told: BTreeSet<u32>,
    stop: CancellationToken,
    /// `None` once the process is gone.
    tasks: Option<Tasks>,
}

/// The tasks of a process, besides its lanes.
struct Tasks {
    link: JoinHandle<Result<(), PortError>>,
    passing_on: JoinHandle<()>,
}

/// Lanes that a process was told to give up.
pub struct Revoked {
    proc: usize,
    lanes: Vec<LaneId>,
    answered: oneshot::Receiver<()>,
}

/// The processes of the link.
pub struct Cluster {
    /// The world.
    pub sim: Sim,
    /// Limits of the lanes.
    pub limits: Limits,
    /// The process to which the group assigns each lane.
    pub owner: Vec<Option<usize>>,
    /// Settings of new processes for what concerns the link as a whole.
    pub settings: String,
    /// The link has a coordinator, for new processes.
    pub coordinated: bool,
    members: Vec<Member>,
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
        new_topics_max: 100,
        drain: ms(4_000),
    }
}

fn describe(event: &MembershipEvent) -> String {
    match event {
        MembershipEvent::Assigned(lanes) => format!("assigned {lanes:?}"),
        MembershipEvent::Revoked(lanes, _) => format!("revoked {lanes:?}"),
        MembershipEvent::Lost(lanes) => format!("lost {lanes:?}"),
        MembershipEvent::Member => "member".to_owned(),
        MembershipEvent::Trouble(error) | MembershipEvent::Ended(error) => error.to_string(),
    }
}

impl Cluster {
    /// Creates a cluster without processes.
    #[must_use]
    pub fn new(sim: Sim) -> Self {
        let lanes = sim.lock().lanes as usize;
        Self {
            sim,
            limits: small_limits(),
            owner: vec![None; lanes],
            settings: "sim".to_owned(),
            coordinated: true,
            members: Vec::new(),
        }
    }

    /// Sets the number of lanes. Call it before any process is started.
    pub fn set_lanes(&mut self, lanes: u32) {
        self.sim.lock().lanes = lanes;
        self.owner = vec![None; lanes as usize];
    }

    /// Starts a process without lanes. Returns its number.
    pub fn start_process(&mut self) -> usize {
        let (proc, spec) = {
            let mut world = self.sim.lock();
            world.procs.push(crate::world::Proc::default());
            world.source_lists.push(0);
            let proc = world.procs.len() - 1;
            world.load_plugins(proc);
            let spec = LaneSpec {
                link: "sim".into(),
                lane: LaneId(0),
                lanes: world.lanes,
                process: u32::try_from(proc).unwrap_or(u32::MAX),
                identity: LinkIdentity::default(),
                delivery: world.delivery,
                start: StartAt::Earliest,
                policies: world.policies,
                limits: self.limits,
                config_hash: "sim".into(),
            };
            (proc, spec)
        };
        let ports = Arc::new(SimProcess::new(self.sim.clone(), proc));
        let (sender, topics) = watch::channel(Arc::default());
        let lanes = Arc::new(SimLanes::new(self.sim.clone(), proc, topics.clone()));
        let (status, requests): (Arc<LinkStatus>, Arc<Requests>) = Default::default();
        let (group, heard) = mpsc::channel(HEARD_MAX);
        let service = LinkService {
            spec,
            deps: LaneDeps {
                connector: Arc::clone(&ports) as _,
                progress: Arc::clone(&ports) as _,
                chains: Arc::new(SimChains { sim: self.sim.clone(), proc }),
                borders: Arc::new(SimCopies { sim: self.sim.clone(), proc }),
                clock: Arc::clone(&ports) as _,
                events: Arc::clone(&ports) as _,
                status: Arc::clone(&status),
                topics: topics.clone(),
                requests: Arc::clone(&requests),
            },
            lanes: Arc::clone(&lanes) as _,
            topics: sender,
            discovery: Arc::new(SimDiscovery { sim: self.sim.clone(), proc }) as Arc<dyn Discovery>,
            committed_progress: Arc::new(SimCommitted(self.sim.clone())),
            books: Arc::new(SimBooks(self.sim.clone())),
            control: self.coordinated.then(|| Arc::new(SimControl { sim: self.sim.clone(), proc }) as _),
            works: self.works(proc, &ports, &status),
            settings: self.settings.as_str().into(),
            mm2: None,
            membership: Box::new(SimMembership { sim: self.sim.clone(), proc, events: heard }),
            watch: WatchIntervals::default(),
            abort: CancellationToken::new(),
        };
        let stop = CancellationToken::new();
        let link = tokio::spawn(Frozen::new(self.sim.clone(), proc, service.run(stop.clone())));
        let passing_on = Arc::clone(&lanes).pass_topics_on();
        let passing_on = tokio::spawn(Frozen::new(self.sim.clone(), proc, passing_on));
        let told = BTreeSet::new();
        let tasks = Some(Tasks { link, passing_on });
        self.members.push(Member { status, requests, asked: Vec::new(), topics, lanes, group, told, stop, tasks });
        // Others have all lanes for now.
        self.tell(proc, MembershipEvent::Assigned(Vec::new()));
        proc
    }

    fn works(&self, proc: usize, ports: &Arc<SimProcess>, status: &Arc<LinkStatus>) -> Vec<Arc<dyn LinkWork>> {
        let mut works: Vec<Arc<dyn LinkWork>> = vec![Arc::new(SimWork { sim: self.sim.clone(), proc })];
        if self.sim.lock().groups.are_kept {
            let groups = Arc::new(SimGroups { sim: self.sim.clone(), proc });
            works.push(Arc::new(GroupWork::new(
                "sim".into(),
                (Arc::clone(&groups) as _, groups as _),
                true,
                Arc::clone(ports) as _,
                Arc::clone(ports) as _,
                Arc::clone(status),
            )));
        }
        works
    }

    /// Asks all processes for a retry of a partition, as an operator does.
    pub fn ask_for_retry(&mut self, topic: &str, partition: i32) {
        for member in &mut self.members {
            // Those that were answered.
            member.asked.retain_mut(|asked| matches!(asked.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
            member.asked.push(member.requests.retry(topic, partition));
        }
    }

    /// Returns the processes that are not dead.
    #[must_use]
    pub fn alive(&self) -> Vec<usize> {
        let world = self.sim.lock();
        (0..self.members.len()).filter(|p| !world.procs[*p].dead).collect()
    }

    /// Returns the lanes that a process runs as far as the group has told it.
    #[must_use]
    pub fn lanes_of(&self, proc: usize) -> Vec<u32> {
        self.members[proc].told.iter().copied().collect()
    }

    fn tell(&self, proc: usize, event: MembershipEvent) {
        self.sim.lock().note(format_args!("the group tells process {proc}: {}", describe(&event)));
        // A process that has stopped does not listen.
        if let Err(mpsc::error::TrySendError::Full(_)) = self.members[proc].group.try_send(event) {
            self.sim.lock().wrong(format!("process {proc} does not listen to the group"));
        }
    }

    /// Assigns a lane to a process, as the group does. A former owner does not hear of it.
    pub fn assign(&mut self, lane: u32, proc: usize) {
        let lost = self.owner[lane as usize].replace(proc) != Some(proc);
        // Without fencing, a process that lost a lane and gets it back must take it again. With it,
        // it may not have noticed.
        let notices = self.sim.lock().delivery == DeliveryMode::AtLeastOnce || self.sim.lock().rng.chance(500);
        if lost && notices {
            self.lose(lane, proc);
        }
        self.run_lane(lane, proc);
    }

    /// Makes a process run a lane, whatever the group says.
    pub fn run_lane(&mut self, lane: u32, proc: usize) {
        if self.members[proc].told.insert(lane) {
            self.tell(proc, MembershipEvent::Assigned(vec![LaneId(lane)]));
        }
    }

    /// Tells a process that its lane was given to another one.
    pub fn lose(&mut self, lane: u32, proc: usize) {
        if self.members[proc].told.remove(&lane) {
            self.tell(proc, MembershipEvent::Lost(vec![LaneId(lane)]));
        }
    }

    /// Revokes a lane from a process, which has as long as the group waits. What it has not
    /// finished by then goes on beside the next owner.
    pub async fn give_up(&mut self, lane: u32, proc: usize) {
        self.give_all_up(&[lane], proc).await;
    }

    /// Revokes several lanes at once, as [`Self::give_up`] does with one.
    pub async fn give_all_up(&mut self, lanes: &[u32], proc: usize) {
        let revoked = self.revoke(lanes, proc);
        self.answered(revoked).await;
    }

    /// Tells a process that lanes are revoked, and does not wait for its answer.
    pub fn revoke(&mut self, lanes: &[u32], proc: usize) -> Revoked {
        let told = &mut self.members[proc].told;
        let lanes: Vec<LaneId> = lanes.iter().filter(|lane| told.remove(lane)).map(|lane| LaneId(*lane)).collect();
        let (answer, answered) = oneshot::channel();
        if !lanes.is_empty() {
            self.tell(proc, MembershipEvent::Revoked(lanes.clone(), answer));
        }
        Revoked { proc, lanes, answered }
    }

    /// Waits for the answer to a revocation, as long as the group does.
    pub async fn answered(&mut self, revoked: Revoked) {
        let Revoked { proc, lanes, answered } = revoked;
        if lanes.is_empty() {
            return;
        }
        let is_answered = matches!(tokio::time::timeout(REVOKE, answered).await, Ok(Ok(())));
        if let Some(lane) = lanes.into_iter().find(|lane| is_answered && self.members[proc].lanes.runs(*lane)) {
            let what = format!("process {proc} says that it has given lane {lane} up, which still runs");
            self.sim.lock().wrong(what);
        }
        self.members[proc].lanes.reap(false).await;
    }

    /// Returns whether a lane runs in a process, or still ends there.
    #[must_use]
    pub fn runs(&self, lane: u32, proc: usize) -> bool {
        self.members[proc].lanes.runs(LaneId(lane))
    }

    /// Kills a process.
    pub async fn crash(&mut self, proc: usize) {
        if !self.sim.lock().procs[proc].dead {
            self.sim.lock().kill(proc);
        }
        self.bury().await;
    }

    /// Drops the task of a process's link, as a panic in it does, and expects its lanes to end by
    /// themselves. Then the process is killed.
    pub async fn break_link(&mut self, proc: usize) {
        self.sim.lock().note(format_args!("the link of process {proc} is dropped"));
        let member = &mut self.members[proc];
        let Some(tasks) = &member.tasks else { return };
        tasks.link.abort();
        for _ in 0..10_000 {
            if member.lanes.running().is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let left = member.lanes.running();
        if !left.is_empty() {
            self.sim.lock().wrong(format!("lanes {left:?} of process {proc} run on without their link"));
        }
        self.crash(proc).await;
    }

    /// Drops what dead processes have left.
    pub async fn bury(&mut self) {
        for (proc, member) in self.members.iter_mut().enumerate() {
            if !self.sim.lock().procs[proc].dead {
                continue;
            }
            let Some(Tasks { link, passing_on }) = member.tasks.take() else { continue };
            member.told.clear();
            link.abort();
            passing_on.abort();
            passing_on.await.ok();
            member.lanes.reap(true).await;
        }
    }

    /// Stops a process as a signal does: it drains its lanes and leaves the group.
    pub async fn stop(&mut self, proc: usize) {
        self.sim.lock().note(format_args!("process {proc} is told to stop"));
        self.members[proc].stop.cancel();
        let member = &mut self.members[proc];
        let Some(tasks) = &mut member.tasks else { return };
        let ended = tokio::time::timeout(STOP_MAX, &mut tasks.link).await;
        {
            let mut world = self.sim.lock();
            let left_behind = member.lanes.running();
            match ended {
                Ok(Ok(Ok(()))) if left_behind.is_empty() => {}
                Ok(Ok(Ok(()))) => world.wrong(format!("process {proc} left lanes {left_behind:?} behind")),
                Ok(Ok(Err(error))) => world.wrong(format!("the link of process {proc} ended: {error}")),
                Ok(Err(error)) => world.wrong(format!("the link of process {proc} panicked: {error}")),
                // A frozen process does nothing.
                Err(_) if !world.runs(proc) => {}
                Err(_) => world.wrong(format!("the link of process {proc} does not stop")),
            }
            world.kill(proc);
        }
        self.bury().await;
    }

    /// Waits until every process that runs knows the source's topics as they are.
    pub async fn topics_are_known(&self) {
        // A process that hears of no coordinator lists them every 30 s.
        for _ in 0..1_000 {
            let knows = |(proc, member): (usize, &Member)| {
                let world = self.sim.lock();
                !world.runs(proc) || **member.topics.borrow() == world.source.list()
            };
            if self.members.iter().enumerate().all(knows) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.sim.lock().wrong("a process does not learn of the source's topics".to_owned());
    }

    /// Checks that no link has ended by itself.
    pub async fn check_alive(&mut self) {
        for (proc, member) in self.members.iter().enumerate() {
            let ended = member.tasks.as_ref().is_some_and(|tasks| tasks.link.is_finished());
            if ended && self.sim.lock().runs(proc) {
                self.sim.lock().wrong(format!("the link of process {proc} ended by itself"));
            }
            member.lanes.reap(false).await;
        }
    }

    fn owner_of(&self, key: &PartitionKey) -> Option<(usize, &Member)> {
        let lane = lanes::lane_of(&key.topic, key.partition, self.sim.lock().lanes);
        let proc = (*self.owner.get(lane.0 as usize)?)?;
        Some((proc, self.members.get(proc)?))
    }

    /// Returns the status of the process that owns a partition's lane.
    #[must_use]
    pub fn status_of(&self, key: &PartitionKey) -> Option<Arc<LinkStatus>> {
        Some(Arc::clone(&self.owner_of(key)?.1.status))
    }

    /// Returns the status of each process that is not dead.
    #[must_use]
    pub fn statuses(&self) -> Vec<Arc<LinkStatus>> {
        self.alive().into_iter().map(|proc| Arc::clone(&self.members[proc].status)).collect()
    }

    /// Returns the process that owns a partition's lane, if it reports the partition as stopped.
    #[must_use]
    pub fn is_stopped(&self, key: &PartitionKey) -> Option<usize> {
        let (proc, member) = self.owner_of(key)?;
        let partitions = member.status.partitions();
        let same = |(other, status): (&PartitionKey, &PartitionStatus)| {
            other.topic == key.topic && other.partition == key.partition && status.activity == Activity::Stopped
        };
        partitions.iter().any(same).then_some(proc)
    }

    /// Stops every process, while nothing goes wrong.
    pub async fn stop_all(&mut self) {
        for proc in self.alive() {
            self.stop(proc).await;
        }
    }
}
