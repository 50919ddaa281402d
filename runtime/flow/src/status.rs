//! The figures of a link while it runs. Written once per batch and commit; read by progress bars,
//! status and metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use strait_core::{LaneId, PartitionKey, SourceOffset};

use crate::histogram::Histogram;
use crate::lock::lock;
use crate::ports::LogBounds;

/// Number of topics that have totals of their own. Those beyond share [`OTHER_TOPICS`].
const TOPICS_MAX: usize = 1000;

/// Name of the shared totals of further topics. No topic has it: topic names have no parentheses.
pub const OTHER_TOPICS: &str = "(others)";

/// The activity of one source partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It is read.
    Running,
    /// The target does not take its records. Retried later.
    Stuck,
    /// Stopped by policy. An event gave the reason.
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

/// The state of one lane of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneState {
    /// Being taken: ids are initialised, progress is read, partitions are placed.
    Taking,
    /// It moves records.
    Running,
    /// An attempt failed. It waits before it is taken again.
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
    /// Records dropped by plugins.
    pub records_dropped: u64,
    /// Records rejected by plugins.
    pub records_rejected: u64,
    /// Records written to quarantine.
    pub records_quarantined: u64,
    /// Records sent with the present time, because their own timestamp was 0.
    pub timestamps_replaced: u64,
    /// Offsets of damaged records that were skipped.
    pub corrupt_skipped: u64,
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
    bounds: BTreeMap<PartitionKey, LogBounds>,
    lanes: BTreeMap<LaneId, LaneState>,
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
        self.lock().partitions.remove(partition);
    }

    /// Sets the state of a lane of this process.
    pub fn set_lane(&self, lane: LaneId, state: LaneState) {
        self.lock().lanes.insert(lane, state);
    }

    /// Removes a lane that this process does not have any more.
    pub fn forget_lane(&self, lane: LaneId) {
        self.lock().lanes.remove(&lane);
    }

    /// Returns the lanes of this process.
    #[must_use]
    pub fn lanes(&self) -> BTreeMap<LaneId, LaneState> {
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

    /// Sets the log bounds of the source partitions.
    pub fn set_bounds(&self, bounds: BTreeMap<PartitionKey, LogBounds>) {
        self.lock().bounds = bounds;
    }

    /// Returns the log bounds of the source partitions of this process, as last read.
    #[must_use]
    pub fn bounds(&self) -> BTreeMap<PartitionKey, LogBounds> {
        self.lock().bounds.clone()
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
