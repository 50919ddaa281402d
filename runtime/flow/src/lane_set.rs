//! The lanes of this process: which of them run, which stop, and which start again afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use strait_core::LaneId;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::lane::LaneDeps;
use crate::lane_run::{LaneEnd, LaneRun, LaneSpawner};
use crate::ports::PortError;
use crate::spec::LaneSpec;
use crate::status::LaneState;

/// How long stopped lanes are waited for at the end of a link, beyond their drain.
const JOIN_MAX: Duration = Duration::from_secs(20);

struct Running {
    stop: CancellationToken,
    abort: CancellationToken,
    end: LaneEnd,
}

/// A lane that was told to stop and has not ended yet.
#[derive(Clone)]
struct Stopping {
    abort: CancellationToken,
    /// Cancelled once it has ended.
    ended: CancellationToken,
}

pub(crate) struct LaneSet {
    spec: LaneSpec,
    deps: LaneDeps,
    spawner: Arc<dyn LaneSpawner>,
    /// Ends the patience with lanes that stop.
    abort: CancellationToken,
    lanes: BTreeMap<LaneId, Running>,
    stopping: BTreeMap<LaneId, Stopping>,
    /// The wait for lanes that stop. Returns a lane that has ended.
    stops: JoinSet<Option<LaneId>>,
    /// Lanes that were assigned again while they were stopping.
    again: BTreeSet<LaneId>,
    ended_sender: mpsc::Sender<PortError>,
    ended: mpsc::Receiver<PortError>,
}

impl LaneSet {
    pub fn new(spec: LaneSpec, deps: LaneDeps, spawner: Arc<dyn LaneSpawner>, abort: CancellationToken) -> Self {
        let (ended_sender, ended) = mpsc::channel(1);
        Self {
            spec,
            deps,
            spawner,
            abort,
            lanes: BTreeMap::new(),
            stopping: BTreeMap::new(),
            stops: JoinSet::new(),
            again: BTreeSet::new(),
            ended_sender,
            ended,
        }
    }

    pub fn running(&self) -> Vec<LaneId> {
        self.lanes.keys().copied().collect()
    }

    /// Waits until a lane ends by itself and can never run again. Meanwhile, handles the lanes that
    /// were told to stop and have done so. Cancel safe.
    pub async fn ended(&mut self) -> PortError {
        loop {
            let stopped = tokio::select! { biased;
                Some(error) = self.ended.recv() => return error,
                Some(stopped) = self.stops.join_next() => stopped,
                else => std::future::pending().await,
            };
            self.on_stopped(stopped.ok().flatten());
        }
    }

    /// Starts a lane, unless it runs already. One that is stopping starts again afterwards.
    pub fn start(&mut self, lane: LaneId) {
        if self.lanes.contains_key(&lane) {
            return;
        }
        if self.stopping.contains_key(&lane) {
            self.again.insert(lane);
            return;
        }
        tracing::info!(link = %self.spec.link, %lane, "taking the lane");
        self.deps.status.set_lane(lane, LaneState::Taking, self.deps.clock.now());
        let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
        let run = LaneRun {
            spec: LaneSpec { lane, ..self.spec.clone() },
            deps: self.deps.clone(),
            stop: stop.clone(),
            abort: abort.clone(),
            failed: self.ended_sender.clone(),
        };
        match self.spawner.spawn(run) {
            Ok(end) => drop(self.lanes.insert(lane, Running { stop, abort, end })),
            // The channel is full if another lane's end is being reported: the link stops either
            // way.
            Err(error) => drop(self.ended_sender.try_send(error)),
        }
    }

    /// Tells lanes to stop: what they released is committed, or aborted when `patience` ends. Other
    /// lanes can start meanwhile. `done` is answered once all of these have ended, also those that
    /// were told before.
    pub fn stop(&mut self, lanes: &[LaneId], patience: Duration, done: Option<oneshot::Sender<()>>) {
        for lane in lanes {
            self.again.remove(lane);
            if let Some(running) = self.lanes.remove(lane) {
                self.end(*lane, running);
            }
        }
        let stopping = lanes.iter().filter_map(|lane| self.stopping.get(lane).cloned()).collect();
        self.stops.spawn(all_end(stopping, Instant::now() + patience, self.abort.clone(), done));
    }

    fn end(&mut self, lane: LaneId, running: Running) {
        let Running { stop, abort, end } = running;
        let link = Arc::clone(&self.spec.link);
        tracing::info!(%link, %lane, "giving the lane up");
        stop.cancel();
        let ended = CancellationToken::new();
        self.stopping.insert(lane, Stopping { abort, ended: ended.clone() });
        self.stops.spawn(async move {
            if !end.await {
                tracing::error!(%link, %lane, "the lane panicked: please report this as a bug");
            }
            ended.cancel();
            Some(lane)
        });
    }

    /// Stops every lane and waits until all have stopped, for a bounded time.
    pub async fn stop_all(&mut self, patience: Duration) {
        self.again.clear();
        self.stop(&self.running(), patience, None);
        let all = async {
            while let Some(stopped) = self.stops.join_next().await {
                self.on_stopped(stopped.ok().flatten());
            }
        };
        if tokio::time::timeout(patience + JOIN_MAX, all).await.is_err() {
            let lanes: Vec<String> = self.stopping.keys().map(ToString::to_string).collect();
            tracing::error!(link = %self.spec.link, lanes = lanes.join(", "), "lanes do not stop, leaving them behind; their next owner fences them");
        }
    }

    fn on_stopped(&mut self, stopped: Option<LaneId>) {
        let Some(stopped) = stopped else { return };
        self.stopping.remove(&stopped);
        self.deps.status.forget_lane(stopped, self.deps.clock.now());
        for key in self.deps.status.partitions().into_keys() {
            if strait_core::lanes::lane_of(&key.topic, key.partition, self.spec.lanes) == stopped {
                self.deps.status.forget(&key);
            }
        }
        if self.again.remove(&stopped) {
            self.start(stopped);
        }
    }
}

/// A link that ends without its end, as by a panic, leaves no lane that nobody could stop: what is
/// in flight is aborted.
impl Drop for LaneSet {
    fn drop(&mut self) {
        for Running { stop, abort, .. } in self.lanes.values() {
            stop.cancel();
            abort.cancel();
        }
        self.stopping.values().for_each(|stopping| stopping.abort.cancel());
    }
}

/// Waits until lanes have ended. What they have not finished by the deadline is aborted.
async fn all_end(
    lanes: Vec<Stopping>,
    deadline: Instant,
    abort: CancellationToken,
    done: Option<oneshot::Sender<()>>,
) -> Option<LaneId> {
    let ended = async {
        for lane in &lanes {
            lane.ended.cancelled().await;
        }
    };
    tokio::pin!(ended);
    tokio::select! { biased;
        () = &mut ended => {}
        () = first(tokio::time::sleep_until(deadline), abort.cancelled()) => {
            lanes.iter().for_each(|lane| lane.abort.cancel());
            ended.await;
        }
    }
    if let Some(done) = done {
        // The group may have stopped waiting. Then it knows already.
        done.send(()).ok();
    }
    None
}

/// Waits for the first of two.
async fn first(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    tokio::select! { biased;
        () = one => {}
        () = other => {}
    }
}
