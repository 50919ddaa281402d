//! Writing for MirrorMaker 2's clients, and reading the offset map for that.

use std::sync::Arc;

use async_trait::async_trait;
use strait_core::map::MapRecord;
use strait_core::mm2::Mm2Topic;
use strait_core::{SourceOffset, TargetOffset};

use super::PortError;

/// A record of one of these topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mm2Record {
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// Its time in milliseconds since the Unix epoch; 0 stands for the time of writing.
    pub timestamp_ms: i64,
}

/// Writes MirrorMaker 2's topics, by producers of its own: one of these topics that cannot be
/// written holds up neither another one nor the coordinator.
#[async_trait]
pub trait Mm2Writer: Send + Sync {
    /// Sees that a topic can be written: creates it where it is missing and Strait may create it.
    ///
    /// # Errors
    /// [`PortError`], with what an operator can do.
    async fn open(&self, topic: Mm2Topic) -> Result<(), PortError>;

    /// Writes records in this order, in bounded time.
    ///
    /// # Errors
    /// [`PortError`]: each of them may be written or not.
    async fn write(&self, topic: Mm2Topic, records: Vec<Mm2Record>) -> Result<(), PortError>;
}

/// The offset map as it grows.
#[async_trait]
pub trait MapFeed: Send + Sync {
    /// Returns a reader of what was committed last, and of all that comes.
    ///
    /// # Errors
    /// [`PortError`].
    async fn follow(&self) -> Result<Box<dyn MapTail>, PortError>;
}

/// Committed map records, as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapNews {
    /// The records, in the order of each source partition.
    pub records: Vec<MapRecord>,
    /// Whether the reader has come to where the map ended when it was made.
    pub is_caught_up: bool,
}

/// Reads the committed records of the offset map.
#[async_trait]
pub trait MapTail: Send {
    /// Waits for the next records, for a second or so: there may be none.
    ///
    /// # Errors
    /// [`PortError`]: the reader cannot be used any more.
    async fn next(&mut self) -> Result<MapNews, PortError>;
}

/// Where a group goes on at the target, for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupAnswer {
    /// The group.
    pub group: Arc<str>,
    /// The topic, by its name on the target.
    pub topic: Arc<str>,
    /// The partition on the target.
    pub partition: i32,
    /// The offset that the group has committed on the source.
    pub upstream: SourceOffset,
    /// Where it goes on at the target.
    pub downstream: TargetOffset,
    /// The metadata beside the group's offset, to the byte.
    pub metadata: Arc<str>,
}

/// Takes the answers for groups, to write checkpoints of them.
pub trait CheckpointSink: Send + Sync {
    /// Takes answers, in any number and as often as they are found: one that says nothing new costs
    /// no record. A partition without an answer is left out. Never waits. Returns how many were
    /// taken from the front; those behind are to be offered again a second later.
    fn answered(&self, answers: &[GroupAnswer]) -> usize;
}
