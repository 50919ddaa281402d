//! The lanes of this process: one thread each, so that a plugin that computes for long delays its
//! own lane only.

use std::collections::BTreeMap;
use std::thread::JoinHandle;
use std::time::Duration;

use strait_core::{Event, LaneId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::lane::LaneDeps;
use crate::ports::{Class, PortError};
use crate::spec::LaneSpec;
use crate::supervisor::supervise_until;

struct Running {
    stop: CancellationToken,
    abort: CancellationToken,
    thread: JoinHandle<()>,
}

pub(crate) struct LaneSet {
    spec: LaneSpec,
    deps: LaneDeps,
    lanes: BTreeMap<LaneId, Running>,
    ended_sender: mpsc::Sender<PortError>,
    ended: mpsc::Receiver<PortError>,
}

impl LaneSet {
    pub fn new(spec: LaneSpec, deps: LaneDeps) -> Self {
        let (ended_sender, ended) = mpsc::channel(1);
        Self { spec, deps, lanes: BTreeMap::new(), ended_sender, ended }
    }

    pub fn running(&self) -> Vec<LaneId> {
        self.lanes.keys().copied().collect()
    }

    /// Waits for a lane that ended by itself and can never run again. Cancel safe.
    pub async fn ended(&mut self) -> PortError {
        match self.ended.recv().await {
            Some(error) => error,
            // Not reachable while `self` holds a sender.
            None => std::future::pending().await,
        }
    }

    /// Starts a lane, unless it runs already.
    pub fn start(&mut self, lane: LaneId) {
        if self.lanes.contains_key(&lane) {
            return;
        }
        tracing::info!(link = %self.spec.link, %lane, "taking the lane");
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

    /// Stops lanes, and waits until what they released is committed, or is aborted when `patience`
    /// ends.
    pub async fn stop(&mut self, lanes: &[LaneId], patience: Duration) {
        let deadline = tokio::time::Instant::now() + patience;
        let mut stopping = Vec::new();
        for lane in lanes {
            let Some(running) = self.lanes.remove(lane) else { continue };
            tracing::info!(link = %self.spec.link, %lane, "giving the lane up");
            running.stop.cancel();
            stopping.push((*lane, running));
        }
        for (lane, running) in stopping {
            let Running { abort, thread, .. } = running;
            let mut joined = tokio::task::spawn_blocking(move || thread.join());
            let ended = match tokio::time::timeout_at(deadline, &mut joined).await {
                Ok(ended) => ended,
                Err(_) => {
                    abort.cancel();
                    joined.await
                }
            };
            self.deps.status.forget_lane(lane);
            if !matches!(ended, Ok(Ok(()))) {
                tracing::error!(link = %self.spec.link, %lane, "the lane's thread panicked: please report this as a bug");
            }
        }
        let mine = self.running();
        for key in self.deps.status.partitions().into_keys() {
            let lane = strait_core::lanes::lane_of(&key.topic, key.partition, self.spec.lanes);
            if !mine.contains(&lane) {
                self.deps.status.forget(&key);
            }
        }
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
