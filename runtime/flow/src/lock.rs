//! The one way in which the crates of the runtime lock a mutex.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex whose value is never half written: a panic of another thread does not invalidate
/// it.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
