//! The river: how records move from a source to a target, in order, once, and accounted for.
//!
//! The contract. A lane owns a fixed set of source partitions. It takes itself by initialising two transactional ids, which
//! fences every other owner, and only then reads its committed progress and seeks. Each transaction holds data, the offset map
//! and progress together, so progress is true exactly when the data is there. Within a partition records are produced in
//! source order; a transaction produces nothing before all of the one before it is acknowledged, and ends after it. Whatever
//! goes wrong, a generation ends and the next begins at committed progress; nothing in memory is trusted across that line.
//!
//! Knows no broker and no plugin, only the [`ports`]. Reads no clock but [`ports::Clock`]. Read [`lane`] first.

mod caution;
mod clock;
mod error;
pub mod histogram;
pub mod lane;
mod lane_set;
pub mod link;
mod lock;
mod partitions;
pub mod ports;
mod progress;
mod refusals;
mod retry;
pub mod spec;
pub mod status;
mod supervisor;
mod target_topics;
mod transaction;

pub use clock::{SystemClock, millis};
pub use lane::LaneDeps;
pub use link::{LinkService, WatchIntervals};
pub use lock::lock;
pub use spec::{DeliveryMode, LaneSpec, Limits, OnGap, OnRefused, OnTimestampZero, Policies};
pub use status::{Activity, LaneState, LinkStatus, PartitionStatus, Timings, TopicTotals, Totals};
pub use supervisor::supervise;
