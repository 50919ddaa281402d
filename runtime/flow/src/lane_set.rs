//! The lanes of this process: one thread each, so that a plugin that computes for long delays its
//! own lane only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use strait_core::{Event, LaneId};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::lane::LaneDeps;
use crate::ports::{Class, PortError};
use crate::spec::LaneSpec;
use crate::status::LaneState;
use crate::supervisor::supervise_until;

/// How long the threads of stopped lanes are waited for at the end of a link, beyond their drain.
const JOIN_MAX: Duration = Duration::from_secs(20);

struct Running {
    stop: CancellationToken,
    abort: CancellationToken,
    thread: JoinHandle<()>,
}

pub(crate) struct LaneSet {
    spec: LaneSpec,
    deps: LaneDeps,
    /// Ends the patience with lanes that stop.
    abort: CancellationToken,
    lanes: BTreeMap<LaneId, Running>,
    /// Lanes whose threads have not ended yet.
    stopping: BTreeSet<LaneId>,
    stops: JoinSet<Vec<LaneId>>,
    /// Lanes that were assigned again while they were stopping.
    again: BTreeSet<LaneId>,
    ended_sender: mpsc::Sender<PortError>,
    ended: mpsc::Receiver<PortError>,
}

impl LaneSet {
    pub fn new(spec: LaneSpec, deps: LaneDeps, abort: CancellationToken) -> Self {
        let (ended_sender, ended) = mpsc::channel(1);
        Self {
            spec,
            deps,
            abort,
            lanes: BTreeMap::new(),
            stopping: BTreeSet::new(),
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
            self.on_stopped(stopped.unwrap_or_default());
        }
    }

    /// Starts a lane, unless it runs already. One that is stopping starts again afterwards.
    pub fn start(&mut self, lane: LaneId) {
        if self.lanes.contains_key(&lane) {
            return;
        }
        if self.stopping.contains(&lane) {
            self.again.insert(lane);
            return;
        }
        tracing::info!(link = %self.spec.link, %lane, "taking the lane");
        self.deps.status.set_lane(lane, LaneState::Taking, self.deps.clock.now());
        let spec = LaneSpec { lane, ..self.spec.clone() };
        let deps = self.deps.clone();
        let stop = CancellationToken::new();
        let abort = CancellationToken::new();
        let (lane_stop, lane_abort) = (stop.clone(), abort.clone());
        let ended = self.ended_sender.clone();
        let thread = std::thread::Builder::new().name(format!("lane-{}-{lane}", spec.link)).spawn(move || {
            if let Err(error) = run_lane(&spec, &deps, &lane_stop, &lane_abort) {
                // The channel is full if another lane's end is being reported: the link stops
                // either way.
                ended.try_send(error).ok();
            }
        });
        match thread {
            Ok(thread) => {
                self.lanes.insert(lane, Running { stop, abort, thread });
            }
            Err(error) => {
                let reason = format!("cannot start the lane's thread: {error}");
                let failed = PortError::new(Class::Stop, format!("lane {lane}"), reason).caused_by(error);
                self.ended_sender.try_send(failed).ok();
            }
        }
    }

    /// Tells lanes to stop: what they released is committed, or aborted when `patience` ends. Other
    /// lanes can start meanwhile. `done` is answered once all of these have stopped.
    pub fn stop(&mut self, lanes: &[LaneId], patience: Duration, done: Option<oneshot::Sender<()>>) {
        let deadline = Instant::now() + patience;
        let mut batch = Vec::new();
        for lane in lanes {
            self.again.remove(lane);
            let Some(running) = self.lanes.remove(lane) else { continue };
            tracing::info!(link = %self.spec.link, %lane, "giving the lane up");
            running.stop.cancel();
            self.stopping.insert(*lane);
            batch.push((*lane, running));
        }
        let (link, abort) = (Arc::clone(&self.spec.link), self.abort.clone());
        self.stops.spawn(async move {
            let mut stopped = Vec::new();
            for (lane, running) in batch {
                let Running { abort: abort_lane, thread, .. } = running;
                let mut joined = tokio::task::spawn_blocking(move || thread.join());
                let ended = tokio::select! { biased;
                    ended = &mut joined => ended,
                    () = first(tokio::time::sleep_until(deadline), abort.cancelled()) => {
                        abort_lane.cancel();
                        joined.await
                    }
                };
                if !matches!(ended, Ok(Ok(()))) {
                    tracing::error!(%link, %lane, "the lane's thread panicked: please report this as a bug");
                }
                stopped.push(lane);
            }
            if let Some(done) = done {
                // The group may have stopped waiting. Then it knows already.
                done.send(()).ok();
            }
            stopped
        });
    }

    /// Stops every lane and waits until all have stopped, for a bounded time.
    pub async fn stop_all(&mut self, patience: Duration) {
        self.again.clear();
        self.stop(&self.running(), patience, None);
        let all = async {
            while let Some(stopped) = self.stops.join_next().await {
                self.on_stopped(stopped.unwrap_or_default());
            }
        };
        if tokio::time::timeout(patience + JOIN_MAX, all).await.is_err() {
            let lanes: Vec<String> = self.stopping.iter().map(ToString::to_string).collect();
            tracing::error!(link = %self.spec.link, lanes = lanes.join(", "), "lanes do not stop, leaving them behind; their next owner fences them");
        }
    }

    fn on_stopped(&mut self, stopped: Vec<LaneId>) {
        for lane in &stopped {
            self.stopping.remove(lane);
            self.deps.status.forget_lane(*lane);
        }
        for key in self.deps.status.partitions().into_keys() {
            let lane = strait_core::lanes::lane_of(&key.topic, key.partition, self.spec.lanes);
            if stopped.contains(&lane) {
                self.deps.status.forget(&key);
            }
        }
        for lane in stopped {
            if self.again.remove(&lane) {
                self.start(lane);
            }
        }
    }
}

/// Waits for the first of two.
async fn first(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    tokio::select! {
        () = one => {}
        () = other => {}
    }
}

/// Runs a lane on this thread. A panic is a bug, but it must not leave the lane without an owner:
/// it is reported and the lane is taken again, which fences whatever the panic left behind.
fn run_lane(
    spec: &LaneSpec,
    deps: &LaneDeps,
    stop: &CancellationToken,
    abort: &CancellationToken,
) -> Result<(), PortError> {
    while !stop.is_cancelled() {
        let attempt = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
                let reason = format!("cannot start the lane's runtime: {error}");
                PortError::new(Class::Stop, format!("lane {}", spec.lane), reason).caused_by(error)
            })?;
            let result = runtime.block_on(supervise_until(spec.clone(), deps.clone(), stop.clone(), abort.clone()));
            runtime.shutdown_timeout(Duration::from_secs(5));
            result
        }));
        if let Ok(result) = attempt {
            return result;
        }
        let event = Event::LaneRestarted {
            lane: spec.lane.0,
            reason: "the lane's thread panicked, please report this as a bug".to_owned(),
            backoff_ms: 1000,
        };
        deps.emit(&spec.link, event);
        // This thread has nothing else to do, and no runtime to wait with.
        std::thread::park_timeout(Duration::from_secs(1));
    }
    Ok(())
}
