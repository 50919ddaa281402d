//! What a link tells about itself while it runs. Written once per batch and commit, read by progress bars, status and metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use strait_core::{LaneId, PartitionKey, SourceOffset};

use crate::histogram::Histogram;
use crate::lock::lock;
use crate::ports::LogBounds;

/// Topics that are counted one by one; those beyond are counted together, under [`OTHER_TOPICS`].
const TOPICS_MAX: usize = 1000;

/// Stands for the topics beyond the bound. No topic has this name: Kafka does not allow the brackets.
pub const OTHER_TOPICS: &str = "(others)";

/// What one source partition is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Being read.
    Running,
    /// The target does not take its records; tried again later.
    Stuck,
    /// Stopped by policy; an event said why.
    Stopped,
}

/// One source partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionStatus {
    /// Committed progress: the next offset.
    pub committed: SourceOffset,
    /// What it is doing.
    pub activity: Activity,
    /// Timestamp of the newest record known to be committed, in milliseconds since the Unix epoch; `None` before the first
    /// one of this process.
    pub committed_time_ms: Option<i64>,
}

/// What one lane of this process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneState {
    /// Being taken: ids initialised, progress read, places sought.
    Taking,
    /// Moves records.
    Running,
    /// Broke, and waits before it is taken again.
    Waiting,
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
    /// Records left out by plugins.
    pub records_dropped: u64,
    /// Records refused by plugins.
    pub records_rejected: u64,
    /// Records kept in quarantine.
    pub records_quarantined: u64,
    /// Records sent with the present time, as their own was 0.
    pub timestamps_replaced: u64,
    /// Bytes of keys, values and headers acknowledged by the target, and 64 bytes a record besides.
    pub bytes_written: u64,
    /// Transactions committed.
    pub transactions: u64,
    /// Transactions that were open when their lane broke, so that they were aborted or fenced.
    pub transactions_aborted: u64,
    /// Lane generations that ended with an error.
    pub lane_restarts: u64,
}

/// Totals of one source topic since the process began, of all its partitions in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicTotals {
    /// Records read.
    pub records_read: u64,
    /// Bytes of keys, values and headers read.
    pub bytes_read: u64,
    /// Records acknowledged by the target, under whatever name they have there.
    pub records_written: u64,
    /// Their bytes, as in [`Totals::bytes_written`].
    pub bytes_written: u64,
    /// Records kept in quarantine.
    pub records_quarantined: u64,
}

/// How long things take.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timings {
    /// From a record's timestamp to its commit on the target: of the last record of each batch read, so a sample.
    pub latency: Histogram,
    /// From the moment when a transaction takes no more records to its commit.
    pub transaction: Histogram,
}

#[derive(Debug, Default)]
struct Inner {
    partitions: BTreeMap<PartitionKey, PartitionStatus>,
    bounds: BTreeMap<PartitionKey, LogBounds>,
    lanes: BTreeMap<LaneId, LaneState>,
    has_joined: bool,
    totals: Totals,
    topics: BTreeMap<Arc<str>, TopicTotals>,
    timings: Timings,
}

/// Shared by the lanes of a link.
#[derive(Debug, Default)]
pub struct LinkStatus {
    inner: Mutex<Inner>,
}

impl LinkStatus {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Numbers only: a panic elsewhere cannot leave them half written in a way that matters.
        lock(&self.inner)
    }

    /// Sets a partition's place and activity.
    pub fn set(&self, partition: &PartitionKey, committed: SourceOffset, activity: Activity) {
        let mut inner = self.lock();
        if let Some(status) = inner.partitions.get_mut(partition) {
            (status.committed, status.activity) = (committed, activity);
            return;
        }
        let status = PartitionStatus { committed, activity, committed_time_ms: None };
        inner.partitions.insert(partition.clone(), status);
    }

    /// A record of this timestamp is committed, `latency` after it.
    pub fn committed(&self, partition: &PartitionKey, time_ms: i64, latency: Duration) {
        let mut inner = self.lock();
        inner.timings.latency.observe(latency);
        if let Some(status) = inner.partitions.get_mut(partition) {
            status.committed_time_ms = Some(time_ms);
        }
    }

    /// Forgets a partition that this process does not move any more.
    pub fn forget(&self, partition: &PartitionKey) {
        self.lock().partitions.remove(partition);
    }

    /// Says what a lane of this process does.
    pub fn set_lane(&self, lane: LaneId, state: LaneState) {
        self.lock().lanes.insert(lane, state);
    }

    /// Forgets a lane that this process does not have any more.
    pub fn forget_lane(&self, lane: LaneId) {
        self.lock().lanes.remove(&lane);
    }

    /// The lanes of this process.
    #[must_use]
    pub fn lanes(&self) -> BTreeMap<LaneId, LaneState> {
        self.lock().lanes.clone()
    }

    /// The group has told this process which lanes it has, be it none.
    pub fn joined(&self) {
        self.lock().has_joined = true;
    }

    /// Whether the group has told it.
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

    /// Sets what is known of the source's logs.
    pub fn set_bounds(&self, bounds: BTreeMap<PartitionKey, LogBounds>) {
        self.lock().bounds = bounds;
    }

    /// Log bounds of the source partitions of this process, as last looked at.
    #[must_use]
    pub fn bounds(&self) -> BTreeMap<PartitionKey, LogBounds> {
        self.lock().bounds.clone()
    }

    /// All partitions of this process.
    #[must_use]
    pub fn partitions(&self) -> BTreeMap<PartitionKey, PartitionStatus> {
        self.lock().partitions.clone()
    }

    /// The totals.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.lock().totals
    }

    /// The totals of each source topic; beyond a thousand, the rest together under [`OTHER_TOPICS`].
    #[must_use]
    pub fn topics(&self) -> BTreeMap<Arc<str>, TopicTotals> {
        self.lock().topics.clone()
    }

    /// The timings.
    #[must_use]
    pub fn timings(&self) -> Timings {
        self.lock().timings.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
