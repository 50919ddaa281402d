//! The one place that reads the machine's clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use strait_flow::ports::Clock;

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: std::time::Instant,
}

impl SystemClock {
    /// Monotonic time counts from here.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the clock that everything else is given")]
    pub fn start() -> Self {
        Self { started: std::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    #[allow(clippy::disallowed_methods, reason = "the clock that everything else is given")]
    fn unix_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}
