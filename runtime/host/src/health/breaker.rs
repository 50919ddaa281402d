//! Counts of a plugin's calls and failures, and its breaker.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use strait_flow::lock;
use strait_flow::ports::Clock;

use super::FailureKind;
use super::report::{BreakerState, PluginHealth};
use super::saved::{SavedBreaker, StateDir};

/// Window over which failures are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// Guilty records in a window that open the breaker, if they are also at least one in
/// [`GUILTY_PART`] judged records.
const GUILTY_MAX: u64 = 100;
/// See [`GUILTY_MAX`]: a producer of some bad records does not make a plugin bad.
const GUILTY_PART: u64 = 20;
/// Timeouts in a window that open the breaker, those of the search for guilty records included.
const TIMEOUTS_MAX: u64 = 40;
/// How many timeouts a call with unjudged records counts as.
const UNJUDGED_WEIGHT: u64 = 10;
/// How long the breaker is open the first time. Doubles each time after.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// While a probe runs, other lanes ask again after this.
const PROBE_WAIT: Duration = Duration::from_millis(500);
/// A probe without a result for this long is lost.
const PROBE_MAX: Duration = Duration::from_secs(60);

/// A plugin with its configuration, on a link.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) link: String,
    pub(crate) plugin: String,
    /// Digest of the file: `sha256:` and 64 hexadecimal digits.
    pub(crate) digest: Arc<str>,
    /// Digest of the configuration as written, in hexadecimal digits.
    pub(crate) config: String,
}

/// The records of one call, counted by outcome.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CallOutcome {
    pub(crate) judged: u64,
    pub(crate) guilty: u64,
    pub(crate) unjudged: u64,
    pub(crate) timeouts: u64,
}

/// The breaker's answer to a call.
pub(crate) enum Admission {
    Call,
    /// The caller must report the result.
    Probe,
    Wait {
        after: Duration,
        reason: String,
    },
}

pub(crate) struct Health {
    key: Key,
    clock: Arc<dyn Clock>,
    state: Arc<StateDir>,
    calls: AtomicU64,
    records: AtomicU64,
    nanos: AtomicU64,
    failures: [AtomicU64; FailureKind::ALL.len()],
    narrowed: AtomicU64,
    guilty: AtomicU64,
    unjudged: AtomicU64,
    opened: AtomicU64,
    /// Records judged in the window.
    judged: AtomicU64,
    ever_judged: AtomicBool,
    /// Whether the breaker is closed: read before each call, without the lock.
    closed: AtomicBool,
    breaker: Mutex<Breaker>,
}

#[derive(Debug, Default)]
struct Breaker {
    phase: BreakerPhase,
    /// How often the next wait is doubled.
    level: u32,
    window_began: Duration,
    guilty: u64,
    timeouts: u64,
    /// When it last closed, and how long it had been open.
    closed_at: Duration,
    backoff: Duration,
    reason: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum BreakerPhase {
    #[default]
    Closed,
    Open {
        until: Duration,
    },
    HalfOpen {
        since: Duration,
    },
}

impl Health {
    pub(super) fn new(key: Key, clock: Arc<dyn Clock>, state: Arc<StateDir>) -> Self {
        let mut breaker = Breaker::default();
        if let Some(saved) = state.read(&key) {
            let left_ms = saved.until_unix_ms.saturating_sub(clock.unix_ms());
            // A clock that was set back must not leave it open for years.
            let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0)).min(BACKOFF_MAX);
            tracing::warn!(
                link = key.link,
                plugin = key.plugin,
                digest = &*key.digest,
                reason = saved.reason,
                "the breaker of this plugin was open when Strait last ran; one call decides whether it closes"
            );
            breaker.phase = BreakerPhase::Open { until: clock.now() + left };
            breaker.level = saved.level;
            breaker.reason = saved.reason;
        }
        let closed = AtomicBool::new(breaker.phase == BreakerPhase::Closed);
        Self {
            key,
            clock,
            state,
            calls: AtomicU64::new(0),
            records: AtomicU64::new(0),
            nanos: AtomicU64::new(0),
            failures: [const { AtomicU64::new(0) }; FailureKind::ALL.len()],
            narrowed: AtomicU64::new(0),
            guilty: AtomicU64::new(0),
            unjudged: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            judged: AtomicU64::new(0),
            ever_judged: AtomicBool::new(false),
            closed,
            breaker: Mutex::new(breaker),
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock.now()
    }

    /// Asks whether a call may be made now.
    pub(crate) fn admission(&self) -> Admission {
        if self.closed.load(Ordering::Relaxed) {
            return Admission::Call;
        }
        let now = self.clock.now();
        let mut breaker = self.lock();
        let after = match breaker.phase {
            BreakerPhase::Closed => return Admission::Call,
            BreakerPhase::Open { until } if now < until => until - now,
            BreakerPhase::HalfOpen { since } if now.saturating_sub(since) < PROBE_MAX => PROBE_WAIT,
            BreakerPhase::Open { .. } | BreakerPhase::HalfOpen { .. } => {
                breaker.phase = BreakerPhase::HalfOpen { since: now };
                return Admission::Probe;
            }
        };
        Admission::Wait { after, reason: format!("it broke too often and is not called: {}", breaker.reason) }
    }

    /// Counts a call, successful or not.
    pub(crate) fn called(&self, records: usize, took: Duration) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.records.fetch_add(records as u64, Ordering::Relaxed);
        self.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Counts the records of a successful call. A successful probe closes the breaker.
    pub(crate) fn judged(&self, records: u64, probe: bool) {
        self.ever_judged.store(true, Ordering::Relaxed);
        self.judged.fetch_add(records, Ordering::Relaxed);
        if probe {
            self.close();
        }
    }

    /// Returns whether the plugin has ever judged a record in this process.
    pub(crate) fn has_judged(&self) -> bool {
        self.ever_judged.load(Ordering::Relaxed)
    }

    /// Counts a failed call.
    pub(crate) fn failed(&self, kind: FailureKind) {
        if let Some(count) = self.failures.get(kind as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts the result of a search for guilty records, and opens the breaker if there are too
    /// many.
    pub(crate) fn narrowed(&self, outcome: CallOutcome, reason: &str, probe: bool) {
        self.count(outcome);
        self.ever_judged.fetch_or(outcome.judged > 0, Ordering::Relaxed);
        if probe {
            self.close();
        }
        let now = self.clock.now();
        let mut breaker = self.lock();
        if now.saturating_sub(breaker.window_began) > WINDOW {
            (breaker.window_began, breaker.guilty, breaker.timeouts) = (now, 0, 0);
            self.judged.store(0, Ordering::Relaxed);
        }
        let judged = self.judged.fetch_add(outcome.judged, Ordering::Relaxed) + outcome.judged;
        breaker.guilty += outcome.guilty;
        breaker.timeouts += outcome.timeouts + outcome.unjudged.min(1) * UNJUDGED_WEIGHT;
        let guilty = breaker.guilty;
        let too_many = guilty >= GUILTY_MAX && guilty.saturating_mul(GUILTY_PART) >= judged;
        if too_many || breaker.timeouts >= TIMEOUTS_MAX {
            self.open(breaker, reason);
        }
    }

    /// Ends a probe without a result: the next call is a probe again.
    pub(crate) fn cancel_probe(&self) {
        let mut breaker = self.lock();
        if matches!(breaker.phase, BreakerPhase::HalfOpen { .. }) {
            breaker.phase = BreakerPhase::Open { until: self.clock.now() };
        }
    }

    /// Opens the breaker, as nothing can be judged. Returns the time to wait.
    pub(crate) fn broken(&self, outcome: CallOutcome, reason: &str) -> Duration {
        // The guilty records were not settled: they come again.
        self.count(CallOutcome { guilty: 0, ..outcome });
        self.open(self.lock(), reason)
    }

    fn count(&self, outcome: CallOutcome) {
        self.narrowed.fetch_add(1, Ordering::Relaxed);
        self.guilty.fetch_add(outcome.guilty, Ordering::Relaxed);
        self.unjudged.fetch_add(outcome.unjudged, Ordering::Relaxed);
    }

    fn open(&self, mut breaker: MutexGuard<'_, Breaker>, reason: &str) -> Duration {
        let now = self.clock.now();
        // Another lane was first.
        if let BreakerPhase::Open { until } = breaker.phase
            && now < until
        {
            return until - now;
        }
        // It was closed for longer than it had been open: this is another problem.
        if breaker.phase == BreakerPhase::Closed && now.saturating_sub(breaker.closed_at) > WINDOW + breaker.backoff {
            breaker.level = 0;
        }
        let backoff = BACKOFF_MIN.saturating_mul(1 << breaker.level.min(16)).min(BACKOFF_MAX);
        *breaker = Breaker {
            phase: BreakerPhase::Open { until: now + backoff },
            level: breaker.level.saturating_add(1),
            window_began: now,
            backoff,
            reason: reason.to_owned(),
            ..Breaker::default()
        };
        self.judged.store(0, Ordering::Relaxed);
        self.closed.store(false, Ordering::Relaxed);
        self.opened.fetch_add(1, Ordering::Relaxed);
        let backoff_ms = i64::try_from(backoff.as_millis()).unwrap_or(i64::MAX);
        let saved = SavedBreaker {
            link: self.key.link.clone(),
            plugin: self.key.plugin.clone(),
            digest: self.key.digest.to_string(),
            config: self.key.config.clone(),
            until_unix_ms: self.clock.unix_ms().saturating_add(backoff_ms),
            level: breaker.level,
            reason: reason.to_owned(),
        };
        tracing::error!(
            link = self.key.link,
            plugin = self.key.plugin,
            digest = &*self.key.digest,
            reason,
            backoff_ms,
            "a plugin broke too often: its breaker is open and it is not called; reload another version, or fix its configuration"
        );
        // Under the lock, so that the file has the last state of the breaker, whichever lane
        // changed it.
        self.state.write(&self.key, &saved);
        drop(breaker);
        backoff
    }

    fn close(&self) {
        let mut breaker = self.lock();
        let now = self.clock.now();
        (breaker.phase, breaker.closed_at, breaker.window_began) = (BreakerPhase::Closed, now, now);
        self.closed.store(true, Ordering::Relaxed);
        tracing::info!(
            link = self.key.link,
            plugin = self.key.plugin,
            digest = &*self.key.digest,
            "a plugin works again: its breaker is closed"
        );
        self.state.remove(&self.key);
        drop(breaker);
    }

    pub(crate) fn snapshot(&self) -> PluginHealth {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let breaker = self.lock();
        let failures = FailureKind::ALL.iter().zip(&self.failures).map(|(kind, count)| (*kind, load(count)));
        PluginHealth {
            link: self.key.link.clone(),
            plugin: self.key.plugin.clone(),
            digest: Arc::clone(&self.key.digest),
            calls: load(&self.calls),
            records: load(&self.records),
            time: Duration::from_nanos(load(&self.nanos)),
            failures: failures.collect(),
            narrowed: load(&self.narrowed),
            guilty: load(&self.guilty),
            unjudged: load(&self.unjudged),
            breaker: match breaker.phase {
                BreakerPhase::Closed => BreakerState::Closed,
                BreakerPhase::Open { .. } => BreakerState::Open,
                BreakerPhase::HalfOpen { .. } => BreakerState::HalfOpen,
            },
            opened: load(&self.opened),
            reason: breaker.reason.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Breaker> {
        lock(&self.breaker)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use strait_flow::SystemClock;

    use super::*;

    #[test]
    fn the_saved_state_is_the_state_of_the_breaker() {
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(StateDir::open(Some(folder.path())));
        let key = Key { link: "l".into(), plugin: "p".into(), digest: "d".into(), config: "c".into() };
        let health = Health::new(key.clone(), Arc::new(SystemClock::start()), Arc::clone(&state));
        let together = Barrier::new(2);
        for round in 0..200 {
            // One lane's probe succeeds while another lane's call fails.
            thread::scope(|scope| {
                scope.spawn(|| {
                    together.wait();
                    health.broken(CallOutcome::default(), "it broke");
                });
                together.wait();
                health.judged(1, true);
            });
            let is_open = health.snapshot().breaker == BreakerState::Open;
            assert_eq!(state.read(&key).is_some(), is_open, "round {round}");
        }
    }
}
