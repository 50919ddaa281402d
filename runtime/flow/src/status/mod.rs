//! The figures of a link while it runs. Written once per batch and commit; read by progress bars,
//! status and metrics.

mod coordinator;
mod groups;
mod mm2;
mod outages;
mod quarantine;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use strait_core::{Event, LaneId, PartitionKey, Side, SourceOffset};

pub use self::coordinator::{CoordinatorState, CoordinatorStatus, HeardOf};
pub use self::groups::GroupsStatus;
pub use self::mm2::{Mm2Figures, Mm2Status};
pub use self::quarantine::{OpenInQuarantine, QuarantineFigures};
use crate::histogram::Histogram;
use crate::lock::lock;
use crate::ports::LogBounds;

/// Number of topics that have totals of their own. Those beyond share [`OTHER_TOPICS`].
const TOPICS_MAX: usize = 1000;
/// Partitions whose last event is kept, so that the status can show why they do not move.
const REASONS_MAX: usize = 20_000;
/// A lane that has run for this long has been granted what it asked for, also where no record came.
const WORKED: Duration = Duration::from_secs(30);

/// Name of the shared totals of further topics. No topic has it: topic names have no parentheses.
pub const OTHER_TOPICS: &str = "(others)";

/// The activity of one source partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It is read.
    Running,
    /// Retried later: the target does not take its records, the source does not give them, or they
    /// cannot be judged yet.
    Stuck,
    /// An operator must act. An event gave the reason. Where the cause can be fixed at the
    /// clusters, it is retried.
    Stopped,
}

/// The status of one source partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionStatus {
    /// Committed progress: the next offset.
    pub committed: SourceOffset,
    /// Its activity.
    pub activity: Activity,
    /// Timestamp of the newest record known to be committed, in milliseconds since the Unix epoch.
    /// `None` before the first one of this process.
    pub committed_time_ms: Option<i64>,
}

/// A partition that has something to copy and has not moved for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Committed progress: the next offset. `None` where it is not known.
    pub position: Option<SourceOffset>,
    /// The last stable offset, as last read. `None` where it never was.
    pub last_stable: Option<SourceOffset>,
    /// Age of `last_stable`.
    pub bounds_age: Option<Duration>,
    /// How long it has not moved.
    pub still: Duration,
    /// The partition's lane.
    pub lane: LaneId,
    /// The lane's state in this process.
    pub lane_state: &'static str,
    /// The reason as far as it is known, and what to do.
    pub reason: String,
}

/// A cluster that does not answer, or a group that does not have this process as a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// When it last answered or had it, in milliseconds since the Unix epoch; before that, when it
    /// was first asked.
    pub since_ms: i64,
    /// The last error.
    pub reason: String,
}

/// An event that may be the reason why a partition does not move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The event.
    pub event: Event,
    /// Its time, by the lane's clock.
    pub at: Duration,
}

/// The log bounds of a source partition, as last read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownBounds {
    /// The bounds.
    pub bounds: LogBounds,
    /// When they were read, by the link's clock.
    pub read_at: Duration,
    /// Whether lag can be computed from them. Not once they are too old.
    pub is_fresh: bool,
}

/// A lane of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneStatus {
    /// Its state.
    pub state: LaneState,
    /// Since when, by the lane's clock.
    pub since: Duration,
    /// The last failure, or the reason why a take waits; empty if nothing is known.
    pub trouble: String,
    /// When that was, by the lane's clock.
    pub trouble_at: Duration,
}

impl LaneStatus {
    fn has_worked(&self, now: Duration) -> bool {
        self.state == LaneState::Running && now.saturating_sub(self.since) >= WORKED
    }

    /// Returns what is wrong with the lane now; empty if nothing is known. The last failure of a
    /// lane that runs again is over.
    #[must_use]
    pub fn present_trouble(&self) -> &str {
        let is_over = self.state == LaneState::Running && self.trouble_at <= self.since;
        if is_over { "" } else { &self.trouble }
    }
}

/// The state of one lane of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneState {
    /// Being taken: ids are initialised, progress is read, partitions are placed.
    Taking,
    /// It moves records.
    Running,
    /// An attempt failed. It waits before it is taken again.
    Waiting,
    /// Its border refuses its plugins. It waits before they are judged again.
    Refused,
    /// An operator's command has closed it. It waits until the command opens it.
    Standby,
}

/// Totals of a link since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records read from the source.
    pub records_read: u64,
    /// Bytes of keys, values and headers read.
    pub bytes_read: u64,
    /// Records acknowledged by the target.
    pub records_written: u64,
    /// Records dropped by plugins.
    pub records_dropped: u64,
    /// Records rejected by plugins.
    pub records_rejected: u64,
    /// Records written to quarantine.
    pub records_quarantined: u64,
    /// Records refused because plugins send them to a topic that does not exist and is not created.
    pub records_without_topic: u64,
    /// Records sent with the present time, because their own timestamp was 0.
    pub timestamps_replaced: u64,
    /// Offsets of damaged records that were skipped.
    pub corrupt_skipped: u64,
    /// Offsets that an operator has skipped.
    pub skipped: u64,
    /// Bytes of keys, values and headers acknowledged by the target, plus 64 bytes for each record.
    pub bytes_written: u64,
    /// Transactions committed.
    pub transactions: u64,
    /// Transactions that were open when an attempt at their lane failed, and were aborted or
    /// fenced.
    pub transactions_aborted: u64,
    /// Attempts at lanes that failed.
    pub lane_restarts: u64,
}

/// Totals of one source topic since the process began, of all its partitions in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicTotals {
    /// Records read.
    pub records_read: u64,
    /// Bytes of keys, values and headers read.
    pub bytes_read: u64,
    /// Records acknowledged by the target, whatever their topic is called there.
    pub records_written: u64,
    /// Their bytes, as in [`Totals::bytes_written`].
    pub bytes_written: u64,
    /// Records written to quarantine.
    pub records_quarantined: u64,
}

/// Durations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timings {
    /// From a record's timestamp to its commit on the target. A sample: of the last record of each
    /// batch.
    pub latency: Histogram,
    /// From the moment when a transaction takes no more records to its commit.
    pub transaction: Histogram,
}

#[derive(Debug, Default)]
struct Inner {
    partitions: BTreeMap<PartitionKey, PartitionStatus>,
    bounds: BTreeMap<PartitionKey, KnownBounds>,
    reasons: BTreeMap<PartitionKey, Arc<Reason>>,
    standing: BTreeMap<PartitionKey, Standing>,
    /// How long the longest of the partitions with something to copy has not moved.
    longest_still: Duration,
    unreachable: BTreeMap<Side, Unreachable>,
    not_in_group: Option<Unreachable>,
    topics_not_listed: Option<Unreachable>,
    hidden: BTreeMap<Arc<str>, String>,
    quarantine: QuarantineFigures,
    coordinator: CoordinatorStatus,
    groups: GroupsStatus,
    mm2: Mm2Status,
    /// Topics that plugins named for single records and that did not exist.
    new_topics: BTreeSet<Arc<str>>,
    lanes: BTreeMap<LaneId, LaneStatus>,
    has_worked: bool,
    has_joined: bool,
    totals: Totals,
    topics: BTreeMap<Arc<str>, TopicTotals>,
    timings: Timings,
}

/// The status of a link, shared by its lanes.
#[derive(Debug, Default)]
pub struct LinkStatus {
    inner: Mutex<Inner>,
}

impl Inner {
    fn note_work(&mut self, lane: LaneId, now: Duration) {
        self.has_worked |= self.lanes.get(&lane).is_some_and(|lane| lane.has_worked(now));
    }
}

impl LinkStatus {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Numbers only: a panic elsewhere cannot leave them half written in a way that matters.
        lock(&self.inner)
    }

    /// Sets the committed progress and activity of a partition.
    pub fn set(&self, partition: &PartitionKey, committed: SourceOffset, activity: Activity) {
        let mut inner = self.lock();
        if let Some(status) = inner.partitions.get_mut(partition) {
            (status.committed, status.activity) = (committed, activity);
            return;
        }
        let status = PartitionStatus { committed, activity, committed_time_ms: None };
        inner.partitions.insert(partition.clone(), status);
    }

    /// Records the commit of a record with this timestamp, `latency` after it.
    pub fn committed(&self, partition: &PartitionKey, time_ms: i64, latency: Duration) {
        let mut inner = self.lock();
        inner.timings.latency.observe(latency);
        if let Some(status) = inner.partitions.get_mut(partition) {
            status.committed_time_ms = Some(time_ms);
        }
    }

    /// Removes a partition that this process does not move any more.
    pub fn forget(&self, partition: &PartitionKey) {
        let mut inner = self.lock();
        inner.partitions.remove(partition);
        inner.reasons.remove(partition);
    }

    /// Keeps an event about a partition as the reason why it may not move.
    pub fn explain(&self, event: &Event, at: Duration) {
        // These do not explain a standstill.
        if matches!(event, Event::Quarantined { .. } | Event::NewTopicsRefused(_) | Event::Resumed { .. }) {
            return;
        }
        let Some(partition) = event.partition() else { return };
        let mut inner = self.lock();
        if inner.reasons.len() >= REASONS_MAX && !inner.reasons.contains_key(partition) {
            inner.reasons.pop_first();
        }
        inner.reasons.insert(partition.clone(), Arc::new(Reason { event: event.clone(), at }));
    }

    /// Returns the last event of each partition that could be the reason why it does not move.
    #[must_use]
    pub fn reasons(&self) -> BTreeMap<PartitionKey, Arc<Reason>> {
        self.lock().reasons.clone()
    }

    /// Sets the state of a lane of this process at a time of its clock.
    pub fn set_lane(&self, lane: LaneId, state: LaneState, now: Duration) {
        let mut inner = self.lock();
        inner.note_work(lane, now);
        let new = LaneStatus { state, since: now, trouble: String::new(), trouble_at: now };
        let status = inner.lanes.entry(lane).or_insert(new);
        if status.state != state {
            (status.state, status.since) = (state, now);
        }
    }

    /// Sets what goes wrong with a lane of this process at a time of its clock.
    pub fn lane_trouble(&self, lane: LaneId, trouble: &str, now: Duration) {
        if let Some(status) = self.lock().lanes.get_mut(&lane) {
            trouble.clone_into(&mut status.trouble);
            status.trouble_at = now;
        }
    }

    /// Removes a lane that this process does not have any more.
    pub fn forget_lane(&self, lane: LaneId, now: Duration) {
        let mut inner = self.lock();
        inner.note_work(lane, now);
        inner.lanes.remove(&lane);
    }

    /// Returns whether a lane of this link has worked in this process: one has written a record, or
    /// has run for long enough to show that its clusters grant what it asks for.
    #[must_use]
    pub fn has_worked(&self, now: Duration) -> bool {
        let inner = self.lock();
        let runs = |lane: &LaneStatus| lane.has_worked(now);
        inner.has_worked || inner.totals.records_written > 0 || inner.lanes.values().any(runs)
    }

    /// Returns the lanes of this process.
    #[must_use]
    pub fn lanes(&self) -> BTreeMap<LaneId, LaneStatus> {
        self.lock().lanes.clone()
    }

    /// Records that the group has assigned this process its lanes, even if it is none.
    pub fn joined(&self) {
        self.lock().has_joined = true;
    }

    /// Returns whether the group has assigned this process its lanes.
    #[must_use]
    pub fn has_joined(&self) -> bool {
        self.lock().has_joined
    }

    /// Adds to the totals.
    pub fn add(&self, change: impl FnOnce(&mut Totals)) {
        change(&mut self.lock().totals);
    }

    /// Adds to the totals and to those of a source topic.
    pub fn add_of(&self, topic: &Arc<str>, change: impl FnOnce(&mut Totals, &mut TopicTotals)) {
        let Inner { totals, topics, .. } = &mut *self.lock();
        if let Some(topic) = topics.get_mut(topic) {
            return change(totals, topic);
        }
        let name = if topics.len() < TOPICS_MAX { Arc::clone(topic) } else { Arc::from(OTHER_TOPICS) };
        change(totals, topics.entry(name).or_default());
    }

    /// Adds to the timings.
    pub fn time(&self, change: impl FnOnce(&mut Timings)) {
        change(&mut self.lock().timings);
    }

    /// Adds log bounds of source partitions, read at this time.
    pub fn set_bounds(&self, bounds: impl IntoIterator<Item = (PartitionKey, LogBounds)>, read_at: Duration) {
        let known = |(key, bounds)| (key, KnownBounds { bounds, read_at, is_fresh: true });
        self.lock().bounds.extend(bounds.into_iter().map(known));
    }

    /// Forgets the bounds of other partitions than these, and marks those as too old that were read
    /// before `fresh_since`.
    pub fn keep_bounds(&self, is_watched: impl Fn(&PartitionKey) -> bool, fresh_since: Duration) {
        let mut inner = self.lock();
        inner.bounds.retain(|key, known| {
            known.is_fresh = known.read_at >= fresh_since;
            is_watched(key)
        });
    }

    /// Returns the log bounds of source partitions, as last read.
    #[must_use]
    pub fn bounds(&self) -> BTreeMap<PartitionKey, KnownBounds> {
        self.lock().bounds.clone()
    }

    /// Sets the partitions at a standstill, and how long the longest of those with something to
    /// copy has not moved.
    pub fn set_standing(&self, standing: BTreeMap<PartitionKey, Standing>, longest_still: Duration) {
        let mut inner = self.lock();
        (inner.standing, inner.longest_still) = (standing, longest_still);
    }

    /// Returns the partitions at a standstill, and how long the longest of those with something to
    /// copy has not moved.
    #[must_use]
    pub fn standing(&self) -> (BTreeMap<PartitionKey, Standing>, Duration) {
        let inner = self.lock();
        (inner.standing.clone(), inner.longest_still)
    }

    /// Sets the figures of quarantine.
    pub fn set_quarantine(&self, figures: QuarantineFigures) {
        self.lock().quarantine = figures;
    }

    /// Returns the figures of quarantine.
    #[must_use]
    pub fn quarantine(&self) -> QuarantineFigures {
        self.lock().quarantine.clone()
    }

    /// Returns whether a topic may be created that a plugin names for single records, and counts
    /// it. One that was counted may be created again.
    pub fn may_create(&self, topic: &Arc<str>, new_topics_max: usize) -> bool {
        let mut inner = self.lock();
        let has_room = inner.new_topics.len() < new_topics_max;
        if has_room {
            inner.new_topics.insert(Arc::clone(topic));
        }
        has_room || inner.new_topics.contains(topic)
    }

    /// Returns the number of topics that were created, or were to be, because plugins named them
    /// for single records.
    #[must_use]
    pub fn new_topics(&self) -> usize {
        self.lock().new_topics.len()
    }

    /// Returns all partitions of this process.
    #[must_use]
    pub fn partitions(&self) -> BTreeMap<PartitionKey, PartitionStatus> {
        self.lock().partitions.clone()
    }

    /// Returns the totals.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.lock().totals
    }

    /// Returns the totals of each source topic. Beyond a thousand topics, the others are together
    /// under [`OTHER_TOPICS`].
    #[must_use]
    pub fn topics(&self) -> BTreeMap<Arc<str>, TopicTotals> {
        self.lock().topics.clone()
    }

    /// Returns the timings.
    #[must_use]
    pub fn timings(&self) -> Timings {
        self.lock().timings.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_topic_is_counted_once_and_none_beyond_the_bound() {
        let status = LinkStatus::default();
        let asked = ["a", "b", "a", "c", "b"].map(|name| status.may_create(&name.into(), 2));
        assert_eq!((asked, status.new_topics()), ([true, true, true, false, true], 2));
        assert!(!status.may_create(&"d".into(), 0));
    }

    #[test]
    fn topics_beyond_the_bound_are_counted_together() {
        let status = LinkStatus::default();
        for topic in 0..TOPICS_MAX + 5 {
            status.add_of(&format!("t{topic}").into(), |all, topic| {
                all.records_read += 2;
                topic.records_read += 2;
            });
        }
        let topics = status.topics();
        assert_eq!((topics.len(), status.totals().records_read), (TOPICS_MAX + 1, 2010));
        assert_eq!(topics.get(OTHER_TOPICS).map(|others| others.records_read), Some(10));
    }
}
