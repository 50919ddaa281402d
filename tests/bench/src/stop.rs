//! Ctrl-C and SIGTERM end a benchmark in an orderly way: every wait asks here, and the folders of
//! the brokers are removed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use crate::error::BenchError;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Listens for the signals until the returned task is aborted.
///
/// # Errors
/// The system's refusal.
pub fn listen(runtime: &Runtime) -> Result<JoinHandle<()>, BenchError> {
    let _context = runtime.enter();
    let failed = || BenchError::io("listening for signals");
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed())?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed())?;
    Ok(runtime.spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            eprintln!("bench: interrupted, cleaning up");
            INTERRUPTED.store(true, Ordering::Relaxed);
        }
    }))
}

/// # Errors
/// [`BenchError::Interrupted`] once a signal has come.
pub fn check() -> Result<(), BenchError> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        return Err(BenchError::Interrupted);
    }
    Ok(())
}

/// Sleeps, unless interrupted before.
///
/// # Errors
/// [`BenchError::Interrupted`].
pub fn pause(time: Duration) -> Result<(), BenchError> {
    check()?;
    std::thread::sleep(time);
    check()
}
