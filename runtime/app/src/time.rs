//! Time as numbers.

use std::time::Duration;

/// Returns a duration in whole milliseconds, as far as they fit.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
