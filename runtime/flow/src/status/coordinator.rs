//! Who coordinates the link, as this process knows it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use strait_core::MetadataRight;

use super::LinkStatus;

/// The part of this process in coordinating the link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CoordinatorState {
    /// It is up to the process that has lane 0, which is another one.
    #[default]
    Elsewhere,
    /// This process initialises the coordinator's id and reads the control topic.
    Taking,
    /// This process coordinates the link.
    Coordinating,
    /// An attempt of this process failed. It waits before the next one.
    Waiting,
}

/// The coordinator that was heard of last, this process or another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeardOf {
    /// Number of coordinators so far, with this one.
    pub owner: u64,
    /// Random number of its process.
    pub process: u32,
    /// When it was heard of, by the link's clock.
    pub at: Duration,
    /// The same, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// It said that it has ended.
    pub released: bool,
}

/// Who coordinates the link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoordinatorStatus {
    /// The part of this process.
    pub state: CoordinatorState,
    /// Since when, by the link's clock.
    pub since: Duration,
    /// When this process was given lane 0, or lost it.
    pub given_at: Duration,
    /// When this process last committed that it coordinates the link.
    pub ticked_at: Option<Duration>,
    /// Why this process does not coordinate the link although it should; empty if nothing is known.
    pub trouble: String,
    /// Why this process cannot follow the control topic; empty if it can.
    pub deaf: String,
    /// The works for the link as a whole that failed when they were last tried, and why.
    pub failing: BTreeMap<&'static str, String>,
    /// The rights that are missing for what the target takes over besides records, and the answers.
    pub denied: BTreeMap<MetadataRight, String>,
    /// Settings of target topics that are left alone although they differ, and why; the first ones.
    pub resting: BTreeMap<String, String>,
    /// The coordinator that was heard of last.
    pub heard_of: Option<HeardOf>,
    /// The settings that another process has, if they are not those of this one.
    pub other_settings: Option<Arc<str>>,
    /// Since when nobody coordinates the link, and why; as reported by an event.
    pub reported: Option<(Duration, String)>,
}

impl CoordinatorStatus {
    /// Sets the part of this process.
    pub(crate) fn set(&mut self, state: CoordinatorState, now: Duration) {
        if self.state == state {
            return;
        }
        if (self.state == CoordinatorState::Elsewhere) != (state == CoordinatorState::Elsewhere) {
            self.given_at = now;
        }
        if matches!(state, CoordinatorState::Elsewhere | CoordinatorState::Coordinating) {
            self.trouble.clear();
        }
        if state == CoordinatorState::Elsewhere {
            self.failing.clear();
            self.denied.clear();
            self.resting.clear();
        }
        (self.state, self.since) = (state, now);
    }

    /// Records how a work has ended. Returns why it failed before, if it did.
    pub(crate) fn work_ended(&mut self, work: &'static str, failed: Option<String>) -> Option<String> {
        match failed {
            Some(reason) => self.failing.insert(work, reason),
            None => self.failing.remove(work),
        }
    }
}

impl LinkStatus {
    /// Changes what is known of the link's coordinator.
    pub fn coordinator_mut<T>(&self, change: impl FnOnce(&mut CoordinatorStatus) -> T) -> T {
        change(&mut self.lock().coordinator)
    }

    /// Returns what is known of the link's coordinator.
    #[must_use]
    pub fn coordinator(&self) -> CoordinatorStatus {
        self.lock().coordinator.clone()
    }
}
