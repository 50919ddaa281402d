//! The lanes of a simulated process: tasks on the simulation's executor instead of threads.

use std::sync::{Arc, Mutex, MutexGuard};

use strait_core::LaneId;
use strait_flow::ports::{PortError, SourceTopic};
use strait_flow::{LaneEnd, LaneRun, LaneSpawner, lock};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::world::{Frozen, Sim};

type Topics = Arc<Vec<SourceTopic>>;

struct Task {
    lane: LaneId,
    topics: watch::Sender<Topics>,
    handle: JoinHandle<()>,
}

/// Runs the lanes of one process.
pub struct SimLanes {
    sim: Sim,
    proc: usize,
    /// The topics that the process has discovered. Each lane gets them by a channel of its own:
    /// tokio wakes the receivers of a shared one in random order.
    topics: watch::Receiver<Topics>,
    tasks: Mutex<Vec<Task>>,
}

impl SimLanes {
    /// Creates the runner of a process without lanes.
    #[must_use]
    pub fn new(sim: Sim, proc: usize, topics: watch::Receiver<Topics>) -> Self {
        Self { sim, proc, topics, tasks: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Task>> {
        lock(&self.tasks)
    }

    /// Passes the discovered topics on to the lanes, forever.
    pub async fn pass_topics_on(self: Arc<Self>) {
        let mut known = self.topics.clone();
        while known.changed().await.is_ok() {
            let topics = Arc::clone(&known.borrow_and_update());
            for task in &*self.lock() {
                task.topics.send_replace(Arc::clone(&topics));
            }
        }
    }

    /// Returns whether a lane runs here.
    #[must_use]
    pub fn runs(&self, lane: LaneId) -> bool {
        self.running().contains(&lane)
    }

    /// Returns the lanes that run here.
    #[must_use]
    pub fn running(&self) -> Vec<LaneId> {
        self.lock().iter().filter(|task| !task.handle.is_finished()).map(|task| task.lane).collect()
    }

    /// Drops the lanes that have ended, and reports those that panicked. Drops all if the process
    /// is dead.
    pub async fn reap(&self, dead: bool) {
        let ended: Vec<Task> = self.lock().extract_if(.., |task| dead || task.handle.is_finished()).collect();
        for Task { lane, handle, .. } in ended {
            handle.abort();
            if handle.await.is_err_and(|error| error.is_panic()) {
                self.sim.lock().wrong(format!("lane {lane} of process {} panicked", self.proc));
            }
        }
    }
}

impl LaneSpawner for SimLanes {
    fn spawn(&self, mut lane: LaneRun) -> Result<LaneEnd, PortError> {
        let id = lane.spec.lane;
        if self.runs(id) {
            self.sim.lock().wrong(format!("lane {id} is started twice in process {}", self.proc));
        }
        let (topics, receiver) = watch::channel(Arc::clone(&self.topics.borrow()));
        lane.deps.topics = receiver;
        let (ended, end) = oneshot::channel();
        let work = async move {
            lane.run().await;
            drop(lane);
            // Nobody waits for it if the link ends by itself.
            ended.send(()).ok();
        };
        let handle = tokio::spawn(Frozen::new(self.sim.clone(), self.proc, work));
        self.lock().push(Task { lane: id, topics, handle });
        Ok(Box::pin(async move { end.await.is_ok() }))
    }
}
