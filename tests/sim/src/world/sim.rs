//! The handle to the world, and what runs on it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use strait_flow::ports::{Class, PortError};
use strait_flow::{DeliveryMode, Policies};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::source::Rules;
use super::{TIMEOUT_MS, World};

/// A handle to the world.
#[derive(Clone)]
pub struct Sim {
    world: Arc<Mutex<World>>,
    driver: Arc<Notify>,
    /// Notified when the source has something new.
    pub source_changed: Arc<Notify>,
    start: Instant,
}

impl Sim {
    /// Creates an empty world. Call it inside the paused runtime.
    #[must_use]
    pub fn new(seed: u64, delivery: DeliveryMode, policies: Policies, rules: Rules) -> Self {
        let start = Instant::now();
        let world = World::new(seed, delivery, policies, rules, start);
        let (driver, source_changed) = (Arc::clone(&world.driver), Arc::clone(&world.source_changed));
        Self { world: Arc::new(Mutex::new(world)), driver, source_changed, start }
    }

    /// Locks the world.
    pub fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs every action when it is due, forever.
    pub async fn drive(self) {
        loop {
            let next = {
                let mut world = self.lock();
                let now = world.now();
                while let Some(first) = world.queue.first_entry() {
                    if first.key().0 > now {
                        break;
                    }
                    let action = first.remove();
                    action(&mut world);
                }
                world.queue.first_key_value().map(|(key, _)| key.0)
            };
            let Some(at) = next else {
                self.driver.notified().await;
                continue;
            };
            tokio::select! { biased;
                () = self.driver.notified() => {}
                () = tokio::time::sleep_until(self.start + Duration::from_millis(at)) => {}
            }
        }
    }

    /// Sends a request and waits for its answer. The request arrives even if its sender dies.
    /// Either way can be lost; then the sender waits for its timeout.
    ///
    /// # Errors
    /// [`PortError`] of class `Retry` after the timeout.
    pub async fn call<T: Send + 'static>(
        &self,
        what: &str,
        request: impl FnOnce(&mut World) -> T + Send + 'static,
    ) -> Result<T, PortError> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut world = self.lock();
            let (there, back) = (world.latency(), world.latency());
            let lost = world.faults.lost;
            let (lost_there, lost_back) = (world.rng.chance(lost), world.rng.chance(lost));
            world.after(there, move |world| {
                if lost_there {
                    return;
                }
                let answer = request(world);
                if lost_back {
                    return;
                }
                world.after(back, move |_| {
                    // The caller may have given up or died.
                    sender.send(answer).ok();
                });
            });
        }
        let sent = Instant::now();
        let timeout = Duration::from_millis(TIMEOUT_MS);
        if let Ok(Ok(answer)) = tokio::time::timeout(timeout, receiver).await {
            return Ok(answer);
        }
        tokio::time::sleep_until(sent + timeout).await;
        Err(retry(what, "no answer in time"))
    }
}

/// Returns an error that a retry may cure.
#[must_use]
pub fn retry(context: &str, reason: &str) -> PortError {
    PortError::new(Class::Retry, context, reason)
}

/// Runs a process's code only while the process runs. A frozen process is not polled, and a dead
/// one never again.
pub struct Frozen<F> {
    sim: Sim,
    proc: usize,
    inner: Pin<Box<F>>,
}

impl<F> Frozen<F> {
    /// Wraps the work of a process.
    pub fn new(sim: Sim, proc: usize, inner: F) -> Self {
        Self { sim, proc, inner: Box::pin(inner) }
    }
}

impl<F: Future> Future for Frozen<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        {
            let mut world = self.sim.lock();
            let proc = &mut world.procs[self.proc];
            if proc.dead {
                return Poll::Pending;
            }
            if proc.paused {
                proc.wakers.push(cx.waker().clone());
                return Poll::Pending;
            }
        }
        self.inner.as_mut().poll(cx)
    }
}
