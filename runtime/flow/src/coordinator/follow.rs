//! Follows the control topic, in every process of a link.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use strait_core::control::follow::Follower;
use tokio::sync::watch;

use crate::clock::millis;
use crate::lock::lock;
use crate::ports::{Class, Clock, ControlEntry, ControlLog, PortError, SourceTopic};
use crate::retry::LOGIN_RETRY;
use crate::status::{HeardOf, LinkStatus};

/// Minimum and maximum wait after a failure; doubles.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The control topic as this process follows it.
pub(crate) struct Follow {
    link: Arc<str>,
    /// Hash of the settings of this process for link-wide work.
    settings: Arc<str>,
    log: Arc<dyn ControlLog>,
    clock: Arc<dyn Clock>,
    status: Arc<LinkStatus>,
    follower: Mutex<Follower>,
    /// Counts what was read.
    news: watch::Sender<u64>,
}

impl Follow {
    pub fn new(
        link: &Arc<str>,
        settings: &Arc<str>,
        log: &Arc<dyn ControlLog>,
        clock: &Arc<dyn Clock>,
        status: &Arc<LinkStatus>,
    ) -> Self {
        Self {
            link: Arc::clone(link),
            settings: Arc::clone(settings),
            log: Arc::clone(log),
            clock: Arc::clone(clock),
            status: Arc::clone(status),
            follower: Mutex::default(),
            news: watch::channel(0).0,
        }
    }

    /// Reads the topic for ever.
    pub async fn run(&self) {
        let mut wait = RETRY.0;
        loop {
            let error = self.read(&mut wait).await;
            let (reason, refused) = (error.to_string(), error.class == Class::Login);
            let is_new =
                self.status.coordinator_mut(|status| std::mem::replace(&mut status.deaf, reason.clone()) != reason);
            if is_new {
                tracing::warn!(link = %self.link, reason, "cannot follow the control topic, will retry");
            }
            tokio::time::sleep(if refused { LOGIN_RETRY.0 } else { wait }).await;
            wait = (wait * 2).min(RETRY.1);
        }
    }

    /// Reads the topic until that fails.
    async fn read(&self, wait: &mut Duration) -> PortError {
        let mut tail = match self.log.follow().await {
            Ok(tail) => tail,
            Err(error) => return error,
        };
        lock(&self.follower).begin();
        loop {
            let entries = match tail.next().await {
                Ok(entries) => entries,
                Err(error) => return error,
            };
            *wait = RETRY.0;
            self.apply(&entries);
            if !entries.is_empty() {
                self.news.send_modify(|count| *count += 1);
            }
        }
    }

    fn apply(&self, entries: &[ControlEntry]) {
        let (now, now_ms) = (self.clock.now(), self.clock.unix_ms());
        let mut follower = lock(&self.follower);
        for ControlEntry { key, value, is_old } in entries {
            if let Err(error) = follower.read((key, value.as_deref()), *is_old, now) {
                // Those that are left out may be many.
                tracing::debug!(link = %self.link, %error, "left out a control record");
            }
        }
        let heard_of = follower.seen().map(|seen| HeardOf {
            owner: seen.owner.count(),
            process: seen.owner.process(),
            at: seen.at,
            at_ms: now_ms.saturating_sub(i64::try_from(millis(now.saturating_sub(seen.at))).unwrap_or(i64::MAX)),
            released: seen.released,
        });
        let other = follower.disagrees(&self.settings, now).cloned();
        self.status.coordinator_mut(|status| {
            status.deaf.clear();
            status.heard_of = status.heard_of.into_iter().chain(heard_of).max_by_key(|heard_of| heard_of.at);
            status.other_settings = other;
        });
    }

    /// Returns a receiver that changes whenever something was read.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Returns the source topics as the coordinator at work has listed them for the settings of
    /// this process; `None` where there is none, or it is older than `good_for`.
    pub fn source_topics(&self, now: Duration, good_for: Duration) -> Option<Vec<SourceTopic>> {
        let follower = lock(&self.follower);
        let topics = follower.source_topics(&self.settings, now, good_for)?.iter();
        let one = |topic: &strait_core::control::ListedTopic| SourceTopic {
            topic: Arc::clone(&topic.topic),
            id: topic.id,
            partitions: topic.partitions,
        };
        Some(topics.map(one).collect())
    }
}
