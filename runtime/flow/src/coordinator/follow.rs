//! Follows the control topic, in every process of a link.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use strait_core::control::follow::Follower;
use tokio::sync::watch;

use crate::clock::millis;
use crate::lock::lock;
use crate::ports::{Class, Clock, ControlEntry, ControlLog, PortError, SourceTopic};
use crate::retry::{LOGIN_RETRY, Retry, spread};
use crate::status::{HeardOf, LinkStatus};

/// Minimum and maximum wait after a failure; doubles.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The control topic as this process follows it.
pub(crate) struct Follow {
    link: Arc<str>,
    /// Random number of this process.
    process: u32,
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
        (link, process): (&Arc<str>, u32),
        settings: &Arc<str>,
        log: &Arc<dyn ControlLog>,
        clock: &Arc<dyn Clock>,
        status: &Arc<LinkStatus>,
    ) -> Self {
        Self {
            link: Arc::clone(link),
            process,
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
        let (mut wait, mut login) = (RETRY.0, None);
        loop {
            let (error, has_read) = self.read().await;
            if has_read {
                (wait, login) = (RETRY.0, None);
            }
            self.is_deaf(error.to_string());
            // Many logins would lock the account.
            let refused = error.class == Class::Login;
            login = refused.then(|| Retry::next(login, self.clock.now(), LOGIN_RETRY));
            let seed = format!("{}-{}-follow", self.link, self.process);
            let pause = login.map_or(wait, |login| spread(login.after, &seed));
            wait = (wait * 2).min(RETRY.1);
            tokio::select! { biased;
                () = self.log.login_changed(), if login.is_some() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Records why this process hears nothing of the topic.
    fn is_deaf(&self, reason: String) {
        let is_new =
            self.status.coordinator_mut(|status| std::mem::replace(&mut status.deaf, reason.clone()) != reason);
        if is_new {
            tracing::warn!(link = %self.link, reason, "cannot follow the control topic, will retry");
        }
    }

    /// Reads the topic until that fails. Returns why, and whether it could be read before.
    async fn read(&self) -> (PortError, bool) {
        let mut tail = match self.log.follow().await {
            Ok(tail) => tail,
            Err(error) => return (error, false),
        };
        lock(&self.follower).begin();
        let mut has_read = false;
        loop {
            let entries = match tail.next().await {
                Ok(entries) => entries,
                Err(error) => return (error, has_read),
            };
            has_read = true;
            self.apply(&entries);
            if !entries.is_empty() {
                self.news.send_modify(|count| *count += 1);
            }
            match tail.trouble() {
                Some(reason) => self.is_deaf(reason),
                None => self.status.coordinator_mut(|status| status.deaf.clear()),
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;
    use strait_core::control::Control;
    use tokio::sync::Notify;

    use super::*;
    use crate::clock::SystemClock;
    use crate::ports::{ControlTail, ControlWriter};

    const S: Duration = Duration::from_secs(1);

    /// A cluster that refuses the login, or gives a reader that hears nothing.
    #[derive(Default)]
    struct Log {
        hears: bool,
        asked: AtomicU32,
        changed: Notify,
    }

    struct Silent;

    #[async_trait]
    impl ControlTail for Silent {
        async fn next(&mut self) -> Result<Vec<ControlEntry>, PortError> {
            tokio::time::sleep(S).await;
            Ok(Vec::new())
        }

        fn trouble(&self) -> Option<String> {
            Some("the certificate has expired".to_owned())
        }
    }

    #[async_trait]
    impl ControlLog for Log {
        async fn take(&self) -> Result<Box<dyn ControlWriter>, PortError> {
            Err(PortError::new(Class::Stop, "l", "not asked for"))
        }

        async fn read(&self) -> Result<Control, PortError> {
            Ok(Control::default())
        }

        async fn follow(&self) -> Result<Box<dyn ControlTail>, PortError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if self.hears { Ok(Box::new(Silent)) } else { Err(PortError::new(Class::Login, "l", "wrong password")) }
        }

        async fn login_changed(&self) {
            self.changed.notified().await;
        }
    }

    fn follow(log: &Arc<Log>) -> (Follow, Arc<LinkStatus>) {
        let (status, clock): (Arc<LinkStatus>, Arc<dyn Clock>) = (Arc::default(), Arc::new(SystemClock::start()));
        let log = Arc::clone(log) as Arc<dyn ControlLog>;
        (Follow::new((&"l".into(), 7), &"a1".into(), &log, &clock, &status), status)
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_login_is_tried_at_growing_intervals_until_it_changes() {
        let log = Arc::new(Log::default());
        let (follow, status) = follow(&log);
        let asked = || log.asked.load(Ordering::Relaxed);
        let script = async {
            // At most after 30, 90, 210 and 450 s, and then every 300 s.
            tokio::time::sleep(S * 3600).await;
            assert!((13..=20).contains(&asked()), "{} logins", asked());
            assert!(status.coordinator().deaf.contains("wrong password"));
            let before = asked();
            log.changed.notify_waiters();
            tokio::time::sleep(S).await;
            assert_eq!(asked(), before + 1);
        };
        tokio::select! {
            () = follow.run() => {}
            () = script => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_hears_nothing_says_why() {
        let log = Arc::new(Log { hears: true, ..Log::default() });
        let (follow, status) = follow(&log);
        tokio::select! {
            () = follow.run() => {}
            () = tokio::time::sleep(S * 10) => {}
        }
        assert_eq!(status.coordinator().deaf, "the certificate has expired");
        assert_eq!(log.asked.load(Ordering::Relaxed), 1, "the client reconnects by itself");
    }
}
