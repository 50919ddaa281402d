//! The watchdog of a link: no standstill without a word.
//!
//! It looks at positions from outside of the lanes and depends on no lane that admits a fault. The
//! rules are pure: [`standing`] says which partitions do not move, `reach` whether a cluster
//! answers, `facts` why. The task here asks the two clusters and applies the rules every few
//! seconds, whatever the clusters do meanwhile.

mod books;
mod coordination;
mod elsewhere;
mod facts;
mod hanging;
mod hidden;
mod outages;
mod reach;
pub mod standing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use strait_core::{Event, LaneId, PartitionKey, Side, SourceOffset, lanes};

use self::coordination::Coordination;
use self::elsewhere::Elsewhere;
use self::facts::{Facts, Watched, watched};
use self::hanging::Hanging;
use self::hidden::Unseen;
use self::outages::Outages;
use self::standing::{LastBounds, StandingRule, Verdict};
use crate::lane::LaneDeps;
use crate::lock::lock;
use crate::ports::{BooksReader, BoundsAnswer, Discovery, PortError, ProgressStore};
use crate::spec::LaneSpec;
use crate::status::{LaneStatus, Standing};

/// Longest time between two applications of the rules.
const TICK: Duration = Duration::from_secs(5);
/// Least time without a move that counts as a standstill.
const STANDING_MIN: Duration = Duration::from_secs(30);
/// Most events of one look. What is beyond is counted in the last of them.
const EVENTS_MAX: usize = 50;
/// Up to so many partitions with one reason have an event each.
const EACH_MAX: usize = 3;

/// Intervals at which the source is polled for what no event reports.
#[derive(Clone, Copy, Debug)]
pub struct WatchIntervals {
    /// For the source's topics and their ids, by the process that coordinates the link.
    pub topics: Duration,
    /// For the bounds of the source partitions, for lag and hanging transactions.
    pub bounds: Duration,
    /// A transaction counts as hanging if the last stable offset has stayed below the high
    /// watermark for this long.
    pub hanging_after: Duration,
}

impl Default for WatchIntervals {
    fn default() -> Self {
        Self {
            topics: Duration::from_secs(2),
            bounds: Duration::from_secs(5),
            hanging_after: Duration::from_secs(15 * 60),
        }
    }
}

/// The watchdog of one link.
pub(crate) struct Watchdog {
    spec: LaneSpec,
    deps: LaneDeps,
    /// Hash of the settings for link-wide work; `None` where the link has no coordinator.
    settings: Option<Arc<str>>,
    discovery: Arc<dyn Discovery>,
    /// Reads the progress of lanes that this process does not have.
    committed: Arc<dyn ProgressStore>,
    books: Arc<dyn BooksReader>,
    intervals: WatchIntervals,
    seen: Mutex<Seen>,
}

/// The findings of all looks so far.
struct Seen {
    rule: StandingRule,
    outages: Outages,
    /// Partitions that the source says it does not have.
    gone: BTreeSet<PartitionKey>,
    failed: BTreeMap<PartitionKey, String>,
    hanging: Hanging,
    unseen: Unseen,
    elsewhere: Elsewhere,
    coordination: Coordination,
}

impl Watchdog {
    pub fn new(
        (spec, settings): (&LaneSpec, Option<&Arc<str>>),
        deps: &LaneDeps,
        discovery: &Arc<dyn Discovery>,
        (committed, books): (Arc<dyn ProgressStore>, Arc<dyn BooksReader>),
        intervals: WatchIntervals,
    ) -> Self {
        let (now, now_ms) = (deps.clock.now(), deps.clock.unix_ms());
        let after = STANDING_MIN.max(spec.limits.interval_max * 2);
        let seen = Seen {
            rule: StandingRule::new(after, stale_after(intervals)),
            outages: Outages::new(now, now_ms),
            gone: BTreeSet::new(),
            failed: BTreeMap::new(),
            hanging: Hanging::default(),
            unseen: Unseen::default(),
            elsewhere: Elsewhere::default(),
            coordination: Coordination::default(),
        };
        Self {
            spec: spec.clone(),
            settings: settings.cloned(),
            deps: deps.clone(),
            discovery: Arc::clone(discovery),
            committed,
            books,
            intervals,
            seen: Mutex::new(seen),
        }
    }

    /// Watches the link. Never ends by itself.
    pub async fn run(&self) {
        let source = async {
            loop {
                tokio::time::sleep(self.intervals.bounds).await;
                self.look_at_source().await;
            }
        };
        let target = async {
            loop {
                tokio::time::sleep(self.intervals.bounds.min(TICK)).await;
                self.look_at_target().await;
            }
        };
        let rules = async {
            loop {
                tokio::time::sleep(self.intervals.bounds.min(TICK)).await;
                self.judge();
            }
        };
        let books = async {
            loop {
                tokio::time::sleep(self.intervals.bounds).await;
                self.look_at_books().await;
            }
        };
        tokio::join!(source, target, rules, books);
    }

    /// Records that the source answered a question of another part of the link, or why not.
    pub fn source_answered(&self, failure: Option<String>) {
        let (now, now_ms) = (self.deps.clock.now(), self.deps.clock.unix_ms());
        let mut seen = lock(&self.seen);
        match failure {
            None => seen.outages.source.answered(now, now_ms),
            Some(reason) => seen.outages.source.failed(reason),
        }
    }

    /// Records that the source has listed its topics for this process, or why not.
    pub fn topics_listed(&self, failure: Option<String>) {
        let (now, now_ms) = (self.deps.clock.now(), self.deps.clock.unix_ms());
        let listing = &mut lock(&self.seen).outages.listing;
        match failure {
            None => listing.answered(now, now_ms),
            Some(reason) => listing.failed(reason),
        }
    }

    /// Records which topics of the source could not be described, each with the reason, and which
    /// ones do not exist, each with the topic that may be meant.
    pub fn topics_hidden(
        &self,
        hidden: &BTreeMap<Arc<str>, PortError>,
        missing: &BTreeMap<Arc<str>, Option<Arc<str>>>,
    ) {
        let now = self.deps.clock.now();
        let (events, reported) = lock(&self.seen).unseen.look(hidden, missing, now);
        self.deps.status.set_hidden(reported);
        for event in events {
            self.deps.events.emit(&self.spec.link, event);
        }
    }

    /// Records that this process is a member of the link's group, or why not.
    pub fn group_answered(&self, failure: Option<String>) {
        let (now, now_ms) = (self.deps.clock.now(), self.deps.clock.unix_ms());
        let group = &mut lock(&self.seen).outages.group;
        let Some(reason) = failure else { return group.answered(now, now_ms) };
        if group.failure() != Some(&reason) {
            tracing::warn!(link = %self.spec.link, reason, "the link's group is in trouble");
        }
        group.failed(reason);
    }

    /// Returns the partitions of this process's lanes, and those that nobody seems to move. One at
    /// a standstill stays, also without its lane, until another process is known to move that.
    fn watched(&self, mine: &BTreeMap<LaneId, LaneStatus>) -> Vec<Watched> {
        let topics = Arc::clone(&self.deps.topics.borrow());
        let mut all = watched(&topics, &self.deps.status, self.spec.lanes);
        let seen = lock(&self.seen);
        let stays = |watched: &Watched| {
            let (elsewhere, lane) = (&seen.elsewhere, watched.lane);
            elsewhere.is_quiet(lane) || (seen.rule.stands(&watched.key) && !elsewhere.has_moved(lane))
        };
        all.retain(|watched| mine.contains_key(&watched.lane) || stays(watched));
        all
    }

    /// Reads the log bounds of the partitions that are watched and still exist.
    async fn look_at_source(&self) {
        let all = self.watched(&self.deps.status.lanes()).into_iter();
        let keys: Vec<PartitionKey> = all.filter(|watched| !watched.is_former).map(|watched| watched.key).collect();
        if keys.is_empty() {
            return;
        }
        let asked_at = self.deps.clock.now();
        let answers = match self.discovery.bounds(&keys).await {
            Ok(answers) => answers,
            Err(error) => {
                tracing::warn!(link = %self.spec.link, %error, "cannot read the source's bounds, will retry");
                return self.source_answered(Some(error.to_string()));
            }
        };
        let mut known = BTreeMap::new();
        let (mut gone, mut failed) = (BTreeSet::new(), BTreeMap::new());
        for (key, answer) in answers {
            match answer {
                BoundsAnswer::Known(bounds) => drop(known.insert(key, bounds)),
                BoundsAnswer::Gone => drop(gone.insert(key)),
                BoundsAnswer::Failed(reason) => drop(failed.insert(key, reason)),
            }
        }
        // A broker that is down fails each of its partitions and not the request.
        if !known.is_empty() || !gone.is_empty() {
            self.source_answered(None);
        }
        for (key, reason) in failed.iter().take(1) {
            let (link, others) = (&*self.spec.link, failed.len() - 1);
            tracing::warn!(link, partition = %key, reason, others, "the source gives no log bounds, will retry");
        }
        let hanging = {
            let mut seen = lock(&self.seen);
            (seen.gone, seen.failed) = (gone, failed);
            seen.hanging.look(&known, asked_at, self.intervals.hanging_after)
        };
        self.deps.status.set_bounds(known, asked_at);
        for event in hanging {
            self.deps.emit(&self.spec.link, event);
        }
    }

    /// Asks where the progress of each lane ends, which tells of lanes that no process moves.
    async fn look_at_target(&self) {
        let ends = self.committed.ends(self.spec.lanes).await;
        let (now, now_ms) = (self.deps.clock.now(), self.deps.clock.unix_ms());
        let mine: BTreeSet<LaneId> = self.deps.status.lanes().into_keys().collect();
        let to_read = {
            let mut seen = lock(&self.seen);
            match ends {
                Err(error) => {
                    seen.outages.target.failed(error.to_string());
                    Vec::new()
                }
                Ok(ends) => {
                    match ends.values().find(|end| end.is_ok()).or_else(|| ends.values().next()) {
                        Some(Err(reason)) => seen.outages.target.failed(reason.clone()),
                        Some(Ok(_)) | None => seen.outages.target.answered(now, now_ms),
                    }
                    seen.elsewhere.look(ends, &mine, now, self.intervals.bounds.min(TICK) * 2)
                }
            }
        };
        for (lane, end) in to_read {
            match self.committed.read(lane).await {
                Ok(progress) => {
                    let positions = progress.positions.into_iter().map(|(key, position)| (key, position.next));
                    lock(&self.seen).elsewhere.read(lane, end, positions.collect());
                }
                Err(error) => {
                    tracing::debug!(link = %self.spec.link, %lane, %error, "progress of a lane that nobody moves cannot be read");
                    return;
                }
            }
        }
    }

    /// Applies the rules to what is known now, and reports what has changed.
    fn judge(&self) {
        let (now, status) = (self.deps.clock.now(), &self.deps.status);
        let mut events = self.judge_outages(now);
        events.extend(self.judge_coordination(now));
        let facts = self.facts();
        let all = self.watched(&facts.lanes);
        let keys: BTreeSet<PartitionKey> = all.iter().map(|watched| watched.key.clone()).collect();
        let fresh_since = now.saturating_sub(stale_after(self.intervals));
        status.keep_bounds(|key| keys.contains(key), fresh_since);
        let bounds = status.bounds();
        let mut standing = BTreeMap::new();
        let mut longest = Duration::ZERO;
        let (mut began, mut ended, mut left) = (Groups::default(), Groups::default(), Groups::default());
        let mut seen = lock(&self.seen);
        for watched in &all {
            let key = &watched.key;
            let position = watched.position().or_else(|| seen.elsewhere.position(watched.lane, key));
            let last = bounds.get(key).filter(|_| !watched.is_former).map(|known| LastBounds {
                bounds: known.bounds,
                age: now.saturating_sub(known.read_at),
                is_gone: seen.gone.contains(key),
            });
            let verdict = seen.rule.observe(key, position, last, now);
            let (still, is_new) = match verdict {
                Verdict::Well => continue,
                Verdict::Slow(still) => {
                    longest = longest.max(still);
                    continue;
                }
                Verdict::Ended(still) => {
                    ended.add((watched.lane, String::new()), moves_again(key, position, still));
                    continue;
                }
                Verdict::Began(still) => (still, true),
                Verdict::Stands(still) => (still, false),
            };
            longest = longest.max(still);
            let since = seen.rule.since(key).unwrap_or(now);
            let found = Standing {
                position,
                last_stable: last.map(|last| last.bounds.last_stable),
                bounds_age: last.map(|last| last.age),
                still,
                lane: watched.lane,
                lane_state: facts.lane_state(watched.lane),
                reason: facts.reason(watched, since, now),
            };
            if is_new {
                began.add((watched.lane, found.reason.clone()), stands_still(key, &found));
            }
            standing.insert(key.clone(), found);
        }
        seen.hanging.keep(|key| keys.contains(key));
        for (key, still) in seen.rule.keep(|key| keys.contains(key), now) {
            // Nothing here shows that it moves: another process has its lane, or the source does
            // not have it any more.
            let lane = lanes::lane_of(&key.topic, key.partition, self.spec.lanes);
            let event = Event::Unwatched { partition: key, still_s: still.as_secs(), others: 0 };
            left.add((lane, String::new()), event);
        }
        drop(seen);
        status.set_standing(standing, longest);
        events.extend(began.into_events());
        events.extend(ended.into_events());
        events.extend(left.into_events());
        for event in events {
            self.deps.events.emit(&self.spec.link, event);
        }
    }

    fn facts(&self) -> Facts {
        let status = &self.deps.status;
        let seen = lock(&self.seen);
        Facts {
            lanes: status.lanes(),
            has_joined: status.has_joined(),
            reasons: status.reasons(),
            unreachable: status.unreachable(),
            not_in_group: status.not_in_group(),
            failed: seen.failed.clone(),
            failed_lanes: seen.elsewhere.failed(),
        }
    }

    fn judge_outages(&self, now: Duration) -> Vec<Event> {
        let (mut seen, status) = (lock(&self.seen), &self.deps.status);
        let (outages, now_ms) = (&mut seen.outages, self.deps.clock.unix_ms());
        outages.source.counted(self.discovery.answers(), now, now_ms);
        outages.target.counted(self.committed.answers(), now, now_ms);
        let events = outages.look(now, now_ms);
        status.set_unreachable(Side::Source, outages.source.unreachable());
        status.set_unreachable(Side::Target, outages.target.unreachable());
        status.set_not_in_group(outages.group.unreachable());
        status.set_topics_not_listed(outages.listing.unreachable());
        events.into_iter().map(Event::Outage).collect()
    }

    fn judge_coordination(&self, now: Duration) -> Vec<Event> {
        let Some(settings) = &self.settings else { return Vec::new() };
        let status = &self.deps.status;
        let (known, has_joined) = (status.coordinator(), status.has_joined());
        let (events, reported) = lock(&self.seen).coordination.look(&known, has_joined, settings, now);
        status.coordinator_mut(|status| status.reported = reported);
        events.into_iter().map(Event::Coordinator).collect()
    }
}

/// Three looks may fail, or half a minute pass, before bounds prove nothing any more.
fn stale_after(intervals: WatchIntervals) -> Duration {
    (intervals.bounds * 3).max(Duration::from_secs(30))
}

fn stands_still(key: &PartitionKey, standing: &Standing) -> Event {
    Event::StandingStill {
        partition: key.clone(),
        position: standing.position,
        last_stable: standing.last_stable,
        bounds_age_s: standing.bounds_age.map(|age| age.as_secs()),
        still_s: standing.still.as_secs(),
        lane: standing.lane.0,
        lane_state: standing.lane_state,
        reason: standing.reason.clone(),
        others: 0,
    }
}

fn moves_again(key: &PartitionKey, position: Option<SourceOffset>, still: Duration) -> Event {
    Event::MovesAgain { partition: key.clone(), position, still_s: still.as_secs(), others: 0 }
}

/// Events of one look, by lane and reason. An outage stops thousands of partitions at once.
#[derive(Default)]
struct Groups(BTreeMap<(LaneId, String), Vec<Event>>);

impl Groups {
    fn add(&mut self, group: (LaneId, String), event: Event) {
        self.0.entry(group).or_default().push(event);
    }

    /// Returns an event each for few, and one that counts the others for many.
    fn into_events(self) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::new();
        for mut group in self.0.into_values() {
            let room = EVENTS_MAX.saturating_sub(events.len());
            if group.len() > EACH_MAX.min(room) {
                let others = group.len() as u64 - u64::from(room > 0);
                group.truncate(usize::from(room > 0));
                if let Some(last) = group.last_mut().or_else(|| events.last_mut()) {
                    count_others(last, others);
                }
            }
            events.append(&mut group);
        }
        events
    }
}

fn count_others(event: &mut Event, more: u64) {
    if let Event::StandingStill { others, .. } | Event::MovesAgain { others, .. } | Event::Unwatched { others, .. } =
        event
    {
        *others += more;
    }
}

#[cfg(test)]
mod tests {
    use strait_core::TopicId;

    use super::*;

    #[test]
    fn many_partitions_with_one_reason_have_one_event_and_a_look_has_a_bounded_number() {
        let add = |groups: &mut Groups, lane: u32, reason: &str, count: i32| {
            for partition in 0..count {
                let key = PartitionKey { topic: "t".into(), topic_id: TopicId::UNKNOWN, partition };
                groups.add((LaneId(lane), reason.to_owned()), moves_again(&key, None, Duration::ZERO));
            }
        };
        let others = |groups: Groups| -> Vec<u64> {
            let events = groups.into_events();
            let others = |event: &Event| if let Event::MovesAgain { others, .. } = event { *others } else { 0 };
            events.iter().map(others).collect()
        };
        let mut few = Groups::default();
        add(&mut few, 0, "a", 3);
        add(&mut few, 0, "b", 1000);
        add(&mut few, 1, "a", 1);
        assert_eq!(others(few), [0, 0, 0, 999, 0]);
        let mut many = Groups::default();
        (0..200).for_each(|lane| add(&mut many, lane, "a", 2));
        let counted = others(many);
        assert_eq!(counted.len(), EVENTS_MAX);
        assert_eq!(counted.iter().sum::<u64>() + EVENTS_MAX as u64, 400);
    }
}
