//! Reads the control topic as every process does, whoever coordinates the link.

use std::sync::Arc;
use std::time::Duration;

use super::{Control, ControlError, ListedTopic};
use crate::offset::OwnerEpoch;

/// How long after its last tick a coordinator counts as one.
pub const FRESH: Duration = Duration::from_secs(5);
/// How long a coordinator with other settings is taken for a process that is about to be restarted.
const OTHER_SETTINGS: Duration = Duration::from_secs(300);
/// Settings that come back within this time take turns.
const BY_TURNS: Duration = Duration::from_secs(600);

/// The last sign of life of a coordinator, as a process has seen it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The coordinator.
    pub owner: OwnerEpoch,
    /// Its settings for link-wide work.
    pub settings: Arc<str>,
    /// It said that it ends.
    pub released: bool,
    /// How long before it had last listed the source's topics, if it says that.
    pub listed: Option<Duration>,
    /// When it was read.
    pub at: Duration,
}

/// The control topic as a process follows it.
#[derive(Debug, Default)]
pub struct Follower {
    control: Control,
    seen: Option<Seen>,
    /// The whole list of topics that was read last.
    topics: Option<(OwnerEpoch, u64, Arc<Vec<ListedTopic>>)>,
    settings: Settings,
}

/// The settings of the coordinators that were seen.
#[derive(Debug, Default)]
struct Settings {
    /// Those of the last one, and since when.
    now: Option<(Arc<str>, Duration)>,
    /// Those of the one before, and until when.
    before: Option<(Arc<str>, Duration)>,
    /// When they came back for the last time.
    came_back: Option<Duration>,
}

impl Settings {
    fn look(&mut self, settings: &Arc<str>, at: Duration) {
        let Some((now, _)) = &self.now else {
            self.now = Some((Arc::clone(settings), at));
            return;
        };
        if now == settings {
            return;
        }
        let is_back = |(before, until): &(Arc<str>, Duration)| before == settings && at <= *until + BY_TURNS;
        if self.before.as_ref().is_some_and(is_back) {
            self.came_back = Some(at);
        }
        self.before = Some((Arc::clone(now), at));
        self.now = Some((Arc::clone(settings), at));
    }
}

impl Follower {
    /// Begins to read the topic from its start. What was seen before stays.
    pub fn begin(&mut self) {
        self.control = Control::default();
    }

    /// Applies a committed record, in log order. `is_old` says that it was there before this
    /// process began to follow: nothing says how old it is.
    ///
    /// # Errors
    /// [`ControlError`] where the record cannot be used. The others can.
    pub fn read(
        &mut self,
        (key, value): (&[u8], Option<&[u8]>),
        is_old: bool,
        now: Duration,
    ) -> Result<(), ControlError> {
        let before = self.control.tick().cloned();
        let applied = self.control.apply(key, value);
        // On the way to the end of the topic there are lists that are replaced further on.
        if is_old {
            return applied;
        }
        if let Some(tick) = self.control.tick().filter(|tick| Some(*tick) != before.as_ref()) {
            self.settings.look(&tick.settings, now);
            let (owner, settings) = (tick.owner, Arc::clone(&tick.settings));
            let listed = tick.listed_s.map(Duration::from_secs);
            self.seen = Some(Seen { owner, settings, released: tick.released, listed, at: now });
        }
        if let Some((owner, version)) = self.control.listed()
            && self.topics.as_ref().is_none_or(|(known, last, _)| (*known, *last) != (owner, version))
        {
            self.topics = Some((owner, version, Arc::new(self.control.source_topics())));
        }
        applied
    }

    /// Returns the last sign of life that was read, whatever its age.
    #[must_use]
    pub fn seen(&self) -> Option<&Seen> {
        self.seen.as_ref()
    }

    /// Returns the sign of life of a coordinator that is at work.
    #[must_use]
    pub fn coordinator(&self, now: Duration) -> Option<&Seen> {
        self.seen.as_ref().filter(|seen| !seen.released && now.saturating_sub(seen.at) < FRESH)
    }

    /// Returns the source topics as the coordinator at work has listed them, if it has the settings
    /// of this process: with others it may select other topics. One that is at work may not reach
    /// the source, so its list counts for `good_for`.
    #[must_use]
    pub fn source_topics(&self, settings: &str, now: Duration, good_for: Duration) -> Option<&Arc<Vec<ListedTopic>>> {
        let coordinator = self.coordinator(now).filter(|seen| &*seen.settings == settings)?;
        if coordinator.listed.is_some_and(|age| age + now.saturating_sub(coordinator.at) >= good_for) {
            return None;
        }
        let (owner, _, topics) = self.topics.as_ref()?;
        (*owner == coordinator.owner).then_some(topics)
    }

    /// Returns the other settings for link-wide work that a process of the link has: they take
    /// turns, or those of the coordinator have not been the ones of this process for long.
    #[must_use]
    pub fn disagrees(&self, settings: &str, now: Duration) -> Option<&Arc<str>> {
        let Settings { now: last, before, came_back } = &self.settings;
        let (last, since) = last.as_ref()?;
        let by_turns = came_back.is_some_and(|at| now <= at + BY_TURNS);
        if &**last != settings {
            let is_at_work = self.coordinator(now).is_some();
            return (by_turns || is_at_work && now.saturating_sub(*since) >= OTHER_SETTINGS).then_some(last);
        }
        before.as_ref().filter(|_| by_turns).map(|(before, _)| before)
    }
}
