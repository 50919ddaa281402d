//! The logins of a cluster, as the status and the metrics show them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use strait_core::config::{Cluster, Config};
use strait_core::{AccessEvent, Event};
use strait_flow::ports::EventSink as _;
use strait_kafka::access::{AccessObserver, TokenTrouble};

use super::LinkBoard;
use crate::mask::Mask;

/// The state of the login of a cluster. Each link that uses the cluster gets its events.
pub struct AccessBoard {
    /// Name of the cluster.
    pub cluster: String,
    /// Whether the cluster's clients log in with tokens.
    pub has_tokens: bool,
    links: Vec<Arc<LinkBoard>>,
    mask: Mask,
    expires_ms: AtomicI64,
    token_failures: AtomicU64,
    rotations: AtomicU64,
    refusals: AtomicU64,
}

impl AccessBoard {
    pub(super) fn all(config: &Config, links: &[Arc<LinkBoard>], mask: &Mask) -> Vec<Arc<Self>> {
        let of = |(cluster, settings): (&String, &Cluster)| {
            let links = links.iter().filter(|link| link.source == *cluster || link.target == *cluster);
            Arc::new(Self {
                cluster: cluster.clone(),
                has_tokens: settings.auth.is_some(),
                links: links.cloned().collect(),
                mask: mask.clone(),
                expires_ms: AtomicI64::new(0),
                token_failures: AtomicU64::new(0),
                rotations: AtomicU64::new(0),
                refusals: AtomicU64::new(0),
            })
        };
        config.clusters.iter().map(of).collect()
    }

    /// Returns the end of the present token, in milliseconds since the Unix epoch; `None` before
    /// the first.
    #[must_use]
    pub fn expires_ms(&self) -> Option<i64> {
        Some(self.expires_ms.load(Ordering::Relaxed)).filter(|expires_ms| *expires_ms > 0)
    }

    /// Returns how often a token could not be had.
    #[must_use]
    pub fn token_failures(&self) -> u64 {
        self.token_failures.load(Ordering::Relaxed)
    }

    /// Returns how often changed credentials came into use, and how often they were refused.
    #[must_use]
    pub fn rotations(&self) -> (u64, u64) {
        (self.rotations.load(Ordering::Relaxed), self.refusals.load(Ordering::Relaxed))
    }

    /// Records that changed credentials are in use.
    pub fn rotated(&self, what: &str, clients: usize) {
        self.rotations.fetch_add(1, Ordering::Relaxed);
        self.emit(&AccessEvent::Rotated { cluster: self.cluster.as_str().into(), what: what.into(), clients });
    }

    /// Records that changed certificates are not in use everywhere.
    pub fn roll_stopped(&self, what: &str, reason: String) {
        self.emit(&AccessEvent::RollStopped { cluster: self.cluster.as_str().into(), what: what.into(), reason });
    }

    /// Records that lanes which do not run take changed certificates later.
    pub fn roll_later(&self, what: &str, lanes: &str) {
        let cluster = self.cluster.as_str().into();
        self.emit(&AccessEvent::RollLater { cluster, what: what.into(), lanes: lanes.into() });
    }

    /// Records that changed credentials cannot be used.
    pub fn refused(&self, what: &str, reason: String) {
        self.refusals.fetch_add(1, Ordering::Relaxed);
        self.emit(&AccessEvent::Refused { cluster: self.cluster.as_str().into(), what: what.into(), reason });
    }

    fn emit(&self, event: &AccessEvent) {
        for link in &self.links {
            link.emit(&link.name, Event::Access(event.clone()));
        }
    }

    fn set_trouble(&self, trouble: Option<&str>) {
        for link in &self.links {
            link.set_login_trouble(&self.cluster, trouble);
        }
    }
}

impl AccessObserver for AccessBoard {
    fn secret(&self, value: &str) {
        self.mask.learn_passing(value);
    }

    fn token_failed(&self, cluster: &str, trouble: &TokenTrouble) {
        self.token_failures.fetch_add(1, Ordering::Relaxed);
        self.set_trouble(Some(&trouble.reason));
        if trouble.is_news {
            self.emit(&AccessEvent::TokenFailed {
                cluster: cluster.into(),
                reason: trouble.reason.clone(),
                serves_s: trouble.serves.map(|left| left.as_secs()),
                retry_ms: u64::try_from(trouble.again.as_millis()).unwrap_or(u64::MAX),
            });
        }
    }

    fn token_renewed(&self, cluster: &str, expires_ms: i64, failed: Option<Duration>) {
        self.expires_ms.store(expires_ms, Ordering::Relaxed);
        self.set_trouble(None);
        if let Some(failed) = failed {
            self.emit(&AccessEvent::TokenAgain { cluster: cluster.into(), failed_s: failed.as_secs() });
        }
    }
}
