//! The port to the plugin chain of a link.

use std::sync::Arc;
use std::time::Duration;

use strait_core::progress::{ChainBorder, HeldBorder};
use strait_core::protects::Protection;
use strait_core::{Batch, Generation, LaneId, PartitionKey, Processed, SourceOffset};

/// A plugin broke on a batch.
#[derive(Clone, Debug, thiserror::Error)]
#[error("plugin {plugin} (generation {}): {reason}", generation.0)]
pub struct ChainError {
    /// Name of the plugin.
    pub plugin: Arc<str>,
    /// The generation that it belongs to.
    pub generation: Generation,
    /// Offset of the record that it broke on, if it is known.
    pub offset: Option<SourceOffset>,
    /// Reason and remedy: trap, deadline, memory, bad edit.
    pub reason: String,
    /// When the batch may be judged again.
    pub next: Next,
}

/// When a batch on which a plugin failed may be judged again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Never by itself: waiting does not help, and the partition stops.
    Stop,
    /// After this long.
    RetryAfter(Duration),
    /// At once, after a warm-up: a stateful plugin has lost its state.
    WarmUp,
}

impl Next {
    /// Returns the time until the batch may be judged again, or `None` where its partition stops.
    #[must_use]
    pub fn wait(self) -> Option<Duration> {
        match self {
            Self::Stop => None,
            Self::RetryAfter(wait) => Some(wait),
            Self::WarmUp => Some(Duration::ZERO),
        }
    }
}

impl ChainError {
    /// Whether a stateful plugin has lost its state, and nothing else is wrong.
    #[must_use]
    pub fn needs_warm_up(&self) -> bool {
        self.next == Next::WarmUp
    }
}

/// How much of the log a plugin must see before it can judge a record. Both bounds apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WarmUp {
    /// At most this many offsets before the record.
    pub records: u32,
    /// At most this many milliseconds older than the record; 0 for no bound.
    pub ms: u64,
}

impl WarmUp {
    /// Returns a warm-up that reaches back as far as `other` from wherever this one begins.
    #[must_use]
    pub fn and_before(self, other: Self) -> Self {
        let is_bounded = self.ms > 0 && other.ms > 0;
        Self {
            records: self.records.saturating_add(other.records),
            ms: if is_bounded { self.ms.saturating_add(other.ms) } else { 0 },
        }
    }
}

/// A lane's own instance of the link's plugin chain. Calls run on the lane's thread and end by
/// themselves, because each guest call has a deadline.
pub trait Chain: Send {
    /// Returns the warm-ups that the chain needs, with [`Chain::warm_up`], before it can judge a
    /// batch of this partition that begins at `next`. Empty if its plugins are stateless, or have
    /// the state that belongs there. Called before every batch. A chain that asks has dropped its
    /// state for the partition.
    fn warm_up_needed(&mut self, partition: &PartitionKey, next: SourceOffset, partitions: u32) -> Vec<WarmUp>;

    /// Shows the chain the records of a batch below `until`, which were judged before. Only the
    /// plugins' state changes. In order, each record once.
    ///
    /// # Errors
    /// [`ChainError`]: the state for the partition is dropped, and the warm-up begins again.
    fn warm_up(&mut self, batch: &Batch, until: SourceOffset, partitions: u32) -> Result<(), ChainError>;

    /// Ends the warm-up: the chain was shown everything that it asked for, up to `until`.
    fn warmed_up(&mut self, partition: &PartitionKey, until: SourceOffset);

    /// Drops the state for a partition that is not read any more, or whose log has changed.
    fn forget(&mut self, partition: &PartitionKey);

    /// Judges a batch. The first batch of a topic opens it: plugins may rename it, and the link's
    /// naming is applied once, last.
    ///
    /// # Errors
    /// [`ChainError`]: nothing of the batch was judged.
    fn apply(&mut self, batch: Batch, partitions: u32) -> Result<Processed, ChainError>;

    /// Returns the final topic of a source topic's untouched records.
    ///
    /// # Errors
    /// [`ChainError`] if a plugin refuses the topic or the name is not allowed.
    fn target_topic(&mut self, topic: &str, partitions: u32) -> Result<Arc<str>, ChainError>;

    /// Returns what the chain protects of a source topic's records, before it judges them.
    ///
    /// # Errors
    /// [`ChainError`] if a plugin refuses the topic.
    fn protection(&mut self, topic: &str, partitions: u32) -> Result<Protection, ChainError>;

    /// Returns what a chain on trial protects of a source topic's records that judges some of its
    /// partitions. Nothing where there is no such chain, or where it cannot tell, which ends its
    /// trial.
    fn trial_protection(&mut self, topic: &str, partitions: u32) -> Option<Protection>;

    /// Ends the trial of that chain, as it would protect less in these ways.
    fn refuse_trial(&mut self, losses: &str);

    /// Lets plugins that have replaced these take over between two batches, also where no batch
    /// comes.
    fn keep_up(&mut self);

    /// Returns what the border of a lane needs to know of the chain, and of one on trial that
    /// judges some partitions, without what they protect.
    fn border(&self) -> ChainBorder;

    /// Returns the plugins as they are now.
    fn generation(&self) -> Generation;

    /// Returns a number that changes whenever another plugin chain takes over a partition. Stopped
    /// partitions may then be retried.
    fn version(&self) -> u64;
}

/// Keeps a copy of each lane's border, where nobody who can write to the target can change it.
pub trait BorderCopies: Send + Sync {
    /// Returns the copy; nothing where there is none.
    ///
    /// # Errors
    /// There is one that cannot be read, and what to do.
    fn read(&self, lane: LaneId) -> Result<Option<HeldBorder>, String>;

    /// Replaces the copy. A failure is logged: the border itself is written.
    fn write(&self, lane: LaneId, border: &HeldBorder);
}

/// Makes chains, one per lane.
pub trait ChainFactory: Send + Sync {
    /// Makes a chain.
    ///
    /// # Errors
    /// [`ChainError`] if an instance cannot be made.
    fn chain(&self) -> Result<Box<dyn Chain>, ChainError>;
}
