//! What a link tells about itself while it runs. Written once per commit, read by progress bars, status and metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use strait_core::{PartitionKey, SourceOffset};

use crate::ports::LogBounds;

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
}

/// Totals of a link since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records read from the source.
    pub records_read: u64,
    /// Records acknowledged by the target.
    pub records_written: u64,
    /// Records left out by plugins.
    pub records_dropped: u64,
    /// Records kept in quarantine.
    pub records_quarantined: u64,
    /// Records sent with the present time, as their own was 0.
    pub timestamps_replaced: u64,
    /// Bytes of keys, values and headers acknowledged by the target.
    pub bytes_written: u64,
    /// Transactions committed.
    pub transactions: u64,
    /// Lane generations that ended with an error.
    pub lane_restarts: u64,
}

#[derive(Debug, Default)]
struct Inner {
    partitions: BTreeMap<PartitionKey, PartitionStatus>,
    bounds: BTreeMap<PartitionKey, LogBounds>,
    totals: Totals,
}

/// Shared by the lanes of a link.
#[derive(Debug, Default)]
pub struct LinkStatus {
    inner: Mutex<Inner>,
}

impl LinkStatus {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Numbers only: a panic elsewhere cannot leave them half written in a way that matters.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets a partition's place and activity.
    pub fn set(&self, partition: &PartitionKey, committed: SourceOffset, activity: Activity) {
        self.lock().partitions.insert(partition.clone(), PartitionStatus { committed, activity });
    }

    /// Forgets a partition that this process does not move any more.
    pub fn forget(&self, partition: &PartitionKey) {
        self.lock().partitions.remove(partition);
    }

    /// Adds to the totals.
    pub fn add(&self, change: impl FnOnce(&mut Totals)) {
        change(&mut self.lock().totals);
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
}
