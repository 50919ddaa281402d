//! The memory that the instances of stateful plugins share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Memory for all instances of stateful plugins of a process.
#[derive(Debug)]
pub(crate) struct Budget {
    left_bytes: AtomicUsize,
}

/// A part of the budget, returned when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

/// The budget has no room for another instance.
#[derive(Debug, thiserror::Error)]
#[error(
    "it has an instance per partition, and {} MiB for another one are more than the {} MiB that are left of plugin_memory_mib_max; raise that, or lower the plugin's memory_mib_max",
    bytes >> 20,
    left_bytes >> 20
)]
pub(crate) struct BudgetError {
    bytes: usize,
    left_bytes: usize,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { left_bytes: AtomicUsize::new(bytes) })
    }

    /// Takes a part of what is left.
    ///
    /// # Errors
    /// [`BudgetError`]: less is left.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Result<Share, BudgetError> {
        let less = |left: usize| left.checked_sub(bytes);
        match self.left_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
            Ok(_) => Ok(Share { budget: Arc::clone(self), bytes }),
            Err(left_bytes) => Err(BudgetError { bytes, left_bytes }),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.left_bytes.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_returned_and_never_overdrawn() {
        let budget = Budget::new(100);
        let first = budget.take(60);
        assert!(first.is_ok());
        assert!(budget.take(60).is_err_and(|e| e.to_string().contains("plugin_memory_mib_max")));
        assert!(budget.take(40).is_ok());
        drop(first);
        assert!(budget.take(100).is_ok());
    }
}
