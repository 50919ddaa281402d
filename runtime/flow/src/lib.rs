//! The replication engine: moves records from a source to a target, in order, once, accounted for.
//!
//! The contract. A lane owns a fixed set of source partitions. Taking it initialises its
//! transactional ids, which fences other owners (decision 7 has the exception and why it is safe).
//! Only then does it read its committed progress and seek. Each transaction holds data, the offset
//! map and progress together, so progress is true exactly when the data is there. Within a
//! partition, records are produced in source order. A transaction produces nothing before all of
//! the previous one is acknowledged, and it ends after the previous one. When anything goes wrong,
//! the attempt at the lane ends, and the next one begins at committed progress. The one exception
//! is a rewind after a truncation, which holds only while progress is unchanged.
//!
//! It knows no client library and no plugin, only the [`ports`], and reads no clock but
//! [`ports::Clock`]. Read [`lane`] first. This crate is tested above all in `tests/sim`, a
//! simulation that runs these lanes against simulated ports.

mod caution;
mod clock;
mod coordinator;
mod error;
mod groups;
pub mod histogram;
pub mod lane;
mod lane_run;
mod lane_set;
pub mod link;
mod listing;
mod lock;
mod mm2;
mod partitions;
pub mod ports;
mod progress;
mod refusals;
mod requests;
mod retry;
pub mod spec;
pub mod status;
mod supervisor;
mod target_topics;
mod transaction;
pub mod upkeep;
pub mod watch;

pub use clock::{SystemClock, millis};
pub use groups::GroupWork;
pub use lane::LaneDeps;
pub use lane_run::{LaneEnd, LaneRun, LaneSpawner, LaneThreads};
pub use link::LinkService;
pub use lock::lock;
pub use mm2::{Checkpoints, Mm2};
pub use requests::{Requests, RetryAnswer};
pub use retry::{LOGIN_RETRY, Retry, spread};
pub use spec::{
    DeliveryMode, LaneSpec, Limits, OnCorrupt, OnGap, OnRefused, OnTargetRecreated, OnTimestampZero, Policies,
};
pub use status::{
    Activity, CoordinatorState, CoordinatorStatus, GroupsStatus, HeardOf, KnownBounds, LaneState, LaneStatus,
    LinkStatus, Mm2Figures, Mm2Status, OpenInQuarantine, PartitionStatus, QuarantineFigures, Reason, Standing, Timings,
    TopicTotals, Totals, Unreachable,
};
pub use upkeep::{Fed, MadeTopics, Named, Upkeep, UpkeepDeps, fed_by};
pub use watch::WatchIntervals;
