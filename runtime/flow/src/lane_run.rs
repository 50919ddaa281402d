//! Where lanes run: each on a thread of its own, so that a plugin that computes for long delays its
//! own lane only.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use strait_core::Event;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::lane::LaneDeps;
use crate::ports::{Class, PortError};
use crate::spec::LaneSpec;
use crate::supervisor::supervise;

/// Waits for the end of a lane. Returns whether the lane ended without a panic.
pub type LaneEnd = Pin<Box<dyn Future<Output = bool> + Send>>;

/// Starts lanes that run beside their link.
pub trait LaneSpawner: Send + Sync {
    /// Starts a lane.
    ///
    /// # Errors
    /// [`PortError`] if it cannot be started.
    fn spawn(&self, lane: LaneRun) -> Result<LaneEnd, PortError>;
}

/// A lane to run.
pub struct LaneRun {
    /// Its facts and limits.
    pub spec: LaneSpec,
    /// Its ports.
    pub deps: LaneDeps,
    pub(crate) stop: CancellationToken,
    pub(crate) abort: CancellationToken,
    /// Takes the error if the lane can never run again.
    pub(crate) failed: mpsc::Sender<PortError>,
}

impl LaneRun {
    /// Runs the lane until it is told to stop, or can never run again.
    pub async fn run(&self) {
        let (stop, abort) = (self.stop.clone(), self.abort.clone());
        let ended = supervise(self.spec.clone(), self.deps.clone(), stop, abort).await;
        self.deps.requests.left(self.spec.lane);
        if let Err(error) = ended {
            self.fail(error);
        }
    }

    fn fail(&self, error: PortError) {
        // The channel is full if another lane's end is being reported: the link stops either way.
        self.failed.try_send(error).ok();
    }

    fn context(&self) -> String {
        format!("lane {} of link {}", self.spec.lane, self.spec.link)
    }

    /// Runs the lane on this thread. A panic is a bug, but it must not leave the lane without an
    /// owner: it is reported and the lane is taken again, which fences whatever the panic left
    /// behind.
    fn run_here(&self) {
        while !self.stop.is_cancelled() {
            let attempt = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                    Ok(runtime) => {
                        runtime.block_on(self.run());
                        runtime.shutdown_timeout(Duration::from_secs(5));
                    }
                    Err(error) => {
                        let reason = format!("cannot start the lane's runtime: {error}");
                        self.fail(PortError::new(Class::Stop, self.context(), reason).caused_by(error));
                    }
                }
            }));
            if attempt.is_ok() {
                return;
            }
            let event = Event::LaneRestarted {
                lane: self.spec.lane.0,
                reason: "the lane's thread panicked, please report this as a bug".to_owned(),
                backoff_ms: 1000,
            };
            self.deps.emit(&self.spec.link, event);
            // This thread has nothing else to do, and no runtime to wait with.
            std::thread::park_timeout(Duration::from_secs(1));
        }
    }
}

/// Runs each lane on a thread with a runtime of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct LaneThreads;

impl LaneSpawner for LaneThreads {
    fn spawn(&self, lane: LaneRun) -> Result<LaneEnd, PortError> {
        let context = lane.context();
        let thread = std::thread::Builder::new().name(format!("lane-{}-{}", lane.spec.link, lane.spec.lane));
        let thread = thread.spawn(move || lane.run_here()).map_err(|error| {
            let reason = format!("cannot start the lane's thread: {error}");
            PortError::new(Class::Stop, context, reason).caused_by(error)
        })?;
        Ok(Box::pin(async move {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            matches!(joined, Ok(Ok(())))
        }))
    }
}
