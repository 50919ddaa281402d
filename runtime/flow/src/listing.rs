//! Keeps the list of a link's source topics: the process that has lane 0 lists them, the others
//! take the list from the control topic, and list by themselves while there is none.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::coordinator::follow::Follow;
use crate::coordinator::{Found, Listed};
use crate::ports::{Class, Clock, Discovery, PortError, SourceTopic, SourceTopics};
use crate::watch::Watchdog;

/// How often a process lists the topics itself while no coordinator does.
const ALONE: Duration = Duration::from_secs(30);
/// Least time between two lists of a process that is not the coordinator, where there is none by
/// design, or the last question had no answer.
const LEAST: Duration = Duration::from_secs(5);
/// How long the list of a coordinator counts that does not reach the source any more. It may be due
/// less often.
const GOOD_FOR: Duration = Duration::from_secs(30);
/// Minimum and maximum wait before the first list is asked for again; doubles.
const FIRST_RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Keeps the list.
pub(crate) struct Listing<'a> {
    pub link: &'a str,
    pub discovery: &'a dyn Discovery,
    pub clock: &'a dyn Clock,
    pub watchdog: &'a Watchdog,
    /// The control topic; `None` where the link has no coordinator.
    pub follow: Option<&'a Follow>,
    /// Takes the list, whoever has made it.
    pub topics: &'a watch::Sender<Arc<Vec<SourceTopic>>>,
    /// Takes the lists of this process while it has lane 0.
    pub found: &'a watch::Sender<Found>,
    /// How often the process that has lane 0 lists.
    pub every: Duration,
}

/// When a process lists the topics itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    every: Duration,
    /// How often while there is no coordinator.
    alone: Duration,
    /// When it last had a list, its own or a coordinator's.
    had: Duration,
    /// When it last asked itself.
    asked: Duration,
    /// Its last question was answered.
    answered: bool,
    /// The answer named topics that cannot be described.
    hides: bool,
}

impl Rule {
    /// Returns when to list next, or `None` while the coordinator's list is enough.
    fn due(&self, has_lane: bool, has_list: bool) -> Option<Duration> {
        match (has_lane, has_list) {
            (true, _) => Some(self.asked + self.every),
            // Until it has an answer, it is not known whether the source is there.
            (false, _) if !self.answered => Some(self.asked + self.every.max(LEAST)),
            // What it has reported of them may be over.
            (false, true) => self.hides.then_some(self.asked + ALONE),
            (false, false) => Some(self.had + self.alone),
        }
    }
}

impl Listing<'_> {
    /// Lists the topics for the first time. The lanes need a true list before they decide what is
    /// new. Returns whether topics cannot be described.
    ///
    /// # Errors
    /// [`PortError`] of class `Stop`.
    pub async fn first(&self, stop: &CancellationToken) -> Result<bool, PortError> {
        let mut wait = FIRST_RETRY.0;
        loop {
            match self.ask().await {
                Ok((listed, hides)) => {
                    if listed.is_empty() {
                        let link = self.link;
                        tracing::warn!(link, "no topic of the source matches this link yet; polling every few seconds");
                    }
                    self.topics.send_replace(Arc::new(listed));
                    return Ok(hides);
                }
                Err(error) if error.class == Class::Stop => return Err(error),
                Err(error) => tracing::warn!(link = self.link, %error, "cannot list the source's topics, will retry"),
            }
            tokio::select! { biased;
                () = stop.cancelled() => return Ok(false),
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(FIRST_RETRY.1),
            }
        }
    }

    /// Keeps the list for ever. `hides` is what [`Listing::first`] returned.
    pub async fn keep(&self, mut has_lane: watch::Receiver<bool>, hides: bool) {
        let mut news = self.follow.map(Follow::news);
        let now = self.clock.now();
        let alone = if self.follow.is_some() { ALONE } else { self.every.max(LEAST) };
        let mut rule = Rule { every: self.every, alone, had: now, asked: now, answered: true, hides };
        let mut was_mine = false;
        loop {
            let (now, is_mine) = (self.clock.now(), *has_lane.borrow_and_update());
            if let Some(news) = &mut news {
                news.mark_unchanged();
            }
            if is_mine && !was_mine {
                // The others have no list before this process has made one.
                rule.asked = Duration::ZERO;
            }
            was_mine = is_mine;
            if !is_mine {
                self.found.send_if_modified(|found| found.take().is_some());
            }
            let good_for = GOOD_FOR.max(self.every * 3);
            let given = self.follow.filter(|_| !is_mine).and_then(|follow| follow.source_topics(now, good_for));
            let due = rule.due(is_mine, given.is_some());
            if let Some(given) = given {
                self.publish(given);
                rule.had = now;
            }
            if due.is_some_and(|due| due <= now) {
                let answer = self.ask().await;
                (rule.answered, rule.asked) = (answer.is_ok(), self.clock.now());
                match answer {
                    Ok((listed, hides)) => {
                        (rule.hides, rule.had) = (hides, rule.asked);
                        let is_mine = *has_lane.borrow();
                        self.listed(listed, is_mine);
                    }
                    Err(error) => {
                        tracing::warn!(link = self.link, %error, "cannot list the source's topics, keeping the previous list");
                    }
                }
                continue;
            }
            // A coordinator that falls silent is noticed in time.
            let wait = due.map_or(strait_core::control::follow::FRESH, |due| due - now);
            tokio::select! { biased;
                _ = has_lane.changed() => {}
                () = changed(&mut news), if !is_mine => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Asks the source. Returns the topics, and whether others cannot be described.
    async fn ask(&self) -> Result<(Vec<SourceTopic>, bool), PortError> {
        let found = self.discovery.topics().await;
        let failure = found.as_ref().err().map(ToString::to_string);
        self.watchdog.source_answered(failure.clone());
        self.watchdog.topics_listed(failure);
        let SourceTopics { listed, hidden, missing } = found?;
        self.watchdog.topics_hidden(&hidden, &missing);
        Ok((listed, !hidden.is_empty()))
    }

    fn listed(&self, listed: Vec<SourceTopic>, is_mine: bool) {
        if is_mine {
            self.found.send_if_modified(|found| {
                let at = self.clock.now();
                if let Some(known) = found.as_mut().filter(|known| *known.topics == listed) {
                    known.at = at;
                    return false;
                }
                *found = Some(Listed { topics: Arc::new(listed.clone()), at });
                true
            });
        }
        self.publish(listed);
    }

    fn publish(&self, topics: Vec<SourceTopic>) {
        self.topics.send_if_modified(|known| {
            let changed = **known != topics;
            if changed {
                *known = Arc::new(topics);
            }
            changed
        });
    }
}

/// Waits until the control topic has said something.
async fn changed(news: &mut Option<watch::Receiver<u64>>) {
    let Some(news) = news else { return std::future::pending().await };
    if news.changed().await.is_err() {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_lists_often_and_the_others_only_while_nobody_tells_them() {
        let s = Duration::from_secs;
        let rule = Rule { every: s(2), alone: ALONE, had: s(100), asked: s(100), answered: true, hides: false };
        assert_eq!(rule.due(true, false), Some(s(102)));
        assert_eq!(rule.due(false, true), None);
        assert_eq!(rule.due(false, false), Some(s(130)));
        // A question without an answer is asked again, also beside a coordinator: it may be this
        // process that does not reach the source.
        let unanswered = Rule { answered: false, ..rule };
        assert_eq!((unanswered.due(false, true), unanswered.due(false, false)), (Some(s(105)), Some(s(105))));
        assert_eq!(unanswered.due(true, false), Some(s(102)));
        // Or topics were hidden from it, and are reported.
        let hides = Rule { hides: true, had: s(120), ..rule };
        assert_eq!((hides.due(false, true), hides.due(false, false)), (Some(s(130)), Some(s(150))));
    }
}
