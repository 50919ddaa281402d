//! Growing waits between retries.

use std::time::Duration;

use strait_core::lanes::fingerprint;

/// Wait before the next attempt when a cluster refuses the login; doubles up to the second. Many
/// attempts would lock the account.
pub const LOGIN_RETRY: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(300));

/// Returns a wait that is up to a fifth shorter for some seeds, so that the lanes and processes of
/// a link do not all try at the same moment.
#[must_use]
pub fn spread(after: Duration, seed: &str) -> Duration {
    let text = format!("{seed}-{}", after.as_secs());
    let part = u32::try_from(fingerprint(text.as_bytes()) % 100).unwrap_or(0);
    after - after / 500 * part
}

/// The next retry of something that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
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
    #[must_use]
    pub fn next(last: Option<Self>, now: Duration, (first, longest): (Duration, Duration)) -> Self {
        last.map_or_else(|| Self::first(now, first), |last| last.again(now, longest))
    }

    /// Returns `last` until it is due, because no retry has failed before that. Returns the next
    /// retry otherwise.
    #[must_use]
    pub fn pending_or_next(last: Option<Self>, now: Duration, bounds: (Duration, Duration)) -> Self {
        last.filter(|last| !last.is_due(now)).unwrap_or_else(|| Self::next(last, now, bounds))
    }

    /// Returns the retry after this one, with a wait twice as long.
    #[must_use]
    pub fn again(self, now: Duration, longest: Duration) -> Self {
        Self::first(now, (self.after * 2).min(longest))
    }

    /// Returns whether it is due.
    #[must_use]
    pub fn is_due(self, now: Duration) -> bool {
        self.at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_limit_and_differ_between_seeds() {
        let s = Duration::from_secs;
        let mut last = None;
        let mut waits = Vec::new();
        for _ in 0..5 {
            let retry = Retry::next(last, s(1000), LOGIN_RETRY);
            waits.push(retry.after.as_secs());
            last = Some(retry);
        }
        assert_eq!(waits, [30, 60, 120, 240, 300]);
        let spread: Vec<Duration> = (0..100).map(|lane| spread(s(30), &format!("link-7-{lane}"))).collect();
        assert!(spread.iter().all(|wait| (s(24)..=s(30)).contains(wait)), "{spread:?}");
        let different: std::collections::BTreeSet<_> = spread.iter().collect();
        assert!(different.len() > 30, "{different:?}");
    }
}
