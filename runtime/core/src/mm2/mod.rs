//! MirrorMaker 2's topics for its clients: their names, and the bytes of their records.
//!
//! [`formats`] has the records, [`names`] the topics that carry them and the rule by which
//! heartbeats are copied. Which offset syncs are worth writing is in `map/offset_syncs`.

pub mod formats;
pub mod names;
#[cfg(test)]
mod tests;

pub use formats::{Checkpoint, FormatError, Heartbeat, OffsetSync};
pub use names::{HEARTBEATS, HeartbeatTopics, Mm2Topic};
