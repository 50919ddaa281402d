//! A warm-up under way: the log before the expected offset is read for a plugin.

use std::time::Duration;

use strait_core::SourceOffset;

/// A warm-up under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct WarmingUp {
    /// Where it ends, and reading resumes.
    pub until: SourceOffset,
    /// When the source last gave something.
    heard: Duration,
}

impl WarmingUp {
    pub fn new(until: SourceOffset, now: Duration) -> Self {
        Self { until, heard: now }
    }

    /// Records that the source gave something. Returns the end of the warm-up.
    pub fn hear(&mut self, now: Duration) -> SourceOffset {
        self.heard = now;
        self.until
    }

    /// Returns whether the source has given nothing for this long.
    pub fn is_stalled(&self, now: Duration, patience: Duration) -> bool {
        now.saturating_sub(self.heard) >= patience
    }
}
