//! Whether a cluster has a controller.

use std::sync::atomic::{AtomicBool, Ordering};

/// The memory of one client of whether its cluster has a controller.
#[derive(Debug, Default)]
pub struct Controller {
    is_known: AtomicBool,
}

impl Controller {
    /// Returns whether the cluster has a controller among its brokers. `ask` returns the ids of the
    /// brokers and of the controller, or `None` if the cluster does not answer.
    ///
    /// Without one an admin request would wait until it times out: the mock cluster names node 0,
    /// which it does not have. A cluster that does not answer counts as having one, so that the
    /// request itself reports what is wrong. So does one that is electing its controller. Only
    /// `true` is remembered: one odd answer must not hide topic ids and last stable offsets for the
    /// life of the client.
    pub fn exists(&self, ask: impl FnOnce() -> Option<(Vec<i32>, i32)>) -> bool {
        if self.is_known.load(Ordering::Relaxed) {
            return true;
        }
        let Some((brokers, controller)) = ask() else {
            return true;
        };
        if brokers.contains(&controller) {
            self.is_known.store(true, Ordering::Relaxed);
            return true;
        }
        controller < 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_controller_that_is_there_is_remembered() {
        let controller = Controller::default();
        assert!(controller.exists(|| None), "the cluster does not answer");
        assert!(!controller.exists(|| Some((vec![1, 2], 0))));
        assert!(controller.exists(|| Some((vec![1, 2], -1))), "it is electing one");
        assert!(!controller.exists(|| Some((vec![], 0))), "neither of the answers before is remembered");
        assert!(controller.exists(|| Some((vec![1, 2], 2))));
        assert!(controller.exists(|| unreachable!("it is asked no more")));
    }
}
