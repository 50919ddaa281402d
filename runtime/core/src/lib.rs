//! The nouns and rules of Strait: records, batches, edits, offsets, progress, the offset map,
//! configuration.
//!
//! Pure on purpose: no async, no clock, no randomness, no I/O. Every decision made here can be
//! tested as a function; the simulation and the property tests hold the rest of the runtime to it.

pub mod acl;
pub mod batch;
pub mod books;
pub mod config;
pub mod control;
pub mod edit;
pub mod event;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod generation;
pub mod groups;
pub mod invariants;
pub mod json_path;
pub mod lanes;
pub mod ledger;
pub mod link_topics;
pub mod map;
pub mod mirror;
pub mod mm2;
pub mod offset;
pub mod open_records;
pub mod opposite;
pub mod partitioner;
pub mod plan;
pub mod progress;
pub mod protects;
pub mod record;
pub mod text;
pub mod topic;

pub use batch::{Batch, BatchBuilder, HeaderRef, RecordMark, RecordRef, TimestampType};
pub use edit::{Content, Disposition, Generation, OutRecord, Processed, Reject, Route};
pub use event::{
    AccessEvent, BorderEvent, ChainEvent, CoordinatorEvent, Event, GroupEvent, LoopEvent, MetadataRight, Mm2Event,
    NewTopicsRefused, Outage, Severity, Side, SyncEvent,
};
pub use lanes::LaneId;
pub use ledger::Ledger;
pub use offset::{LeaderEpoch, OwnerEpoch, SourceOffset, TargetOffset};
pub use record::Record;
pub use topic::{PartitionKey, TopicId};
