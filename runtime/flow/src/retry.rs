//! Growing waits between retries.

use std::time::Duration;

/// The next retry of something that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retry {
    /// When it is due.
    pub at: Duration,
    /// The wait that leads to it.
    pub after: Duration,
}

impl Retry {
    fn first(now: Duration, after: Duration) -> Self {
        Self { at: now + after, after }
    }

    /// Returns the retry after a failure: the first one, or a later one if `last` failed too.
    pub fn next(last: Option<Self>, now: Duration, (first, longest): (Duration, Duration)) -> Self {
        last.map_or_else(|| Self::first(now, first), |last| last.again(now, longest))
    }

    /// Returns `last` until it is due, because no retry has failed before that. Returns the next
    /// retry otherwise.
    pub fn pending_or_next(last: Option<Self>, now: Duration, bounds: (Duration, Duration)) -> Self {
        last.filter(|last| !last.is_due(now)).unwrap_or_else(|| Self::next(last, now, bounds))
    }

    /// Returns the retry after this one, with a wait twice as long.
    pub fn again(self, now: Duration, longest: Duration) -> Self {
        Self::first(now, (self.after * 2).min(longest))
    }

    /// Returns whether it is due.
    pub fn is_due(self, now: Duration) -> bool {
        self.at <= now
    }
}
