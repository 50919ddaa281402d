//! The rate at which a plugin may log: all links of a process share one output.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use strait_flow::lock;
use strait_flow::ports::Clock;

/// Messages of a plugin in one period, over all lanes of its link.
const LINES_MAX: u32 = 100;
const PERIOD: Duration = Duration::from_secs(1);

/// Counts the messages of a plugin.
pub(crate) struct LogRate {
    clock: Arc<dyn Clock>,
    window: Mutex<Window>,
}

#[derive(Default)]
struct Window {
    since: Duration,
    lines: u32,
    left_out: u64,
    /// When messages that were left out were last reported.
    reported: Option<Duration>,
}

impl LogRate {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, window: Mutex::default() }
    }

    /// Returns whether another message may be logged. One that may not counts as left out.
    pub(crate) fn admits(&self) -> bool {
        let now = self.clock.now();
        let mut window = lock(&self.window);
        if now.saturating_sub(window.since) >= PERIOD {
            (window.since, window.lines) = (now, 0);
        }
        if window.lines == LINES_MAX {
            window.left_out += 1;
            return false;
        }
        window.lines += 1;
        true
    }

    /// Adds messages that were left out, and returns how many to report: at most once in a period.
    pub(crate) fn left_out(&self, more: u64) -> Option<u64> {
        let now = self.clock.now();
        let mut window = lock(&self.window);
        window.left_out = window.left_out.saturating_add(more);
        if window.left_out == 0 || window.reported.is_some_and(|last| now.saturating_sub(last) < PERIOD) {
            return None;
        }
        window.reported = Some(now);
        Some(std::mem::take(&mut window.left_out))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[derive(Default)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::Relaxed))
        }

        fn unix_ms(&self) -> i64 {
            0
        }
    }

    #[test]
    fn a_plugin_that_never_stops_talking_fills_no_log() {
        let hand = Arc::new(Hand::default());
        let clock: Arc<dyn Clock> = Arc::<Hand>::clone(&hand);
        let rate = LogRate::new(clock);
        let (mut logged, mut reports, mut left_out) = (0, 0, 0);
        // Ten seconds of 640 messages and of 3 more that the host has cut each, a hundred times a
        // second.
        for _ in 0..1_000 {
            logged += (0..640).filter(|_| rate.admits()).count();
            if let Some(messages) = rate.left_out(3) {
                (reports, left_out) = (reports + 1, left_out + messages);
            }
            hand.0.fetch_add(10, Ordering::Relaxed);
        }
        hand.0.fetch_add(1_000, Ordering::Relaxed);
        left_out += rate.left_out(0).unwrap_or_default();
        assert_eq!((logged, reports), (1_000, 10));
        assert_eq!(left_out, 1_000 * 643 - 1_000);
        assert_eq!(rate.left_out(0), None);
        assert!(rate.admits());
    }
}
