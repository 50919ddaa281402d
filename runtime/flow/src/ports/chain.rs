//! The plugins.

use std::sync::Arc;
use std::time::Duration;

use strait_core::{Batch, Generation, PartitionKey, Processed, SourceOffset};

/// A plugin broke on a batch.
#[derive(Clone, Debug, thiserror::Error)]
#[error("plugin {plugin} (generation {}): {reason}", generation.0)]
pub struct ChainError {
    /// Which plugin.
    pub plugin: Arc<str>,
    /// The generation it belongs to.
    pub generation: Generation,
    /// Offset of the guilty record, where it is known.
    pub offset: Option<SourceOffset>,
    /// Trap, deadline, memory, bad edit: what happened and what to do.
    pub reason: String,
    /// When the batch may be judged again.
    pub next: Next,
}

/// When a batch may be judged again that a plugin broke on.
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

/// How much of a partition's log a plugin has to have seen to judge a record: what is not further back than both say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WarmUp {
    /// At most this many offsets before the record.
    pub records: u32,
    /// Not older than the record by more than so many milliseconds; 0 does not bound it.
    pub ms: u64,
}

/// A lane's own instance of the link's plugin chain. Calls run on the lane's thread and end by themselves: each guest call
/// has a deadline.
pub trait Chain: Send {
    /// What the chain has to be shown of the log, with [`Chain::warm_up`], before it can judge a batch of this partition that
    /// begins at `next`; nothing where its plugins have no memory, or remember what came before. To be asked before every
    /// batch. Where it asks, the partition is forgotten.
    fn warm_up_needed(&mut self, partition: &PartitionKey, next: SourceOffset, partitions: u32) -> Vec<WarmUp>;

    /// Shows the chain the records of a batch below `until`, which were judged before: only what plugins remember of them
    /// stays. In order, each once.
    ///
    /// # Errors
    /// [`ChainError`]: the partition is forgotten, and has to be shown from the beginning.
    fn warm_up(&mut self, batch: &Batch, until: SourceOffset, partitions: u32) -> Result<(), ChainError>;

    /// Everything that it asked for, up to `until`, was shown.
    fn warmed_up(&mut self, partition: &PartitionKey, until: SourceOffset);

    /// The partition is not read any more, or its log is another one than it was.
    fn forget(&mut self, partition: &PartitionKey);

    /// Judges a batch. The topic is opened on first sight: plugins may rename it, and `naming` is applied once, last.
    ///
    /// # Errors
    /// [`ChainError`]: nothing of the batch was judged.
    fn apply(&mut self, batch: Batch, partitions: u32) -> Result<Processed, ChainError>;

    /// Final topic of untouched records of a source topic.
    ///
    /// # Errors
    /// [`ChainError`] when a plugin refuses the topic or the name is not allowed.
    fn target_topic(&mut self, topic: &str, partitions: u32) -> Result<Arc<str>, ChainError>;

    /// The plugins as they are now.
    fn generation(&self) -> Generation;

    /// Another number than before where other plugins judge from the next batch of some partition on: what those before have
    /// stopped may go on.
    fn version(&self) -> u64;
}

/// Makes chains, one per lane.
pub trait ChainFactory: Send + Sync {
    /// A fresh chain.
    ///
    /// # Errors
    /// [`ChainError`] when an instance cannot be made.
    fn chain(&self) -> Result<Box<dyn Chain>, ChainError>;
}
