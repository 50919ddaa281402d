//! Kafka behind Strait's ports. This is the only crate that names librdkafka.
//!
//! [`ffi`] has every call into C and every `unsafe` block. The modules above it are safe Rust and
//! implement the traits of `strait_flow::ports`: [`KafkaSource`] reads, [`KafkaTarget`] writes,
//! [`KafkaProgressStore`] reads what was committed, [`KafkaMembership`] hands out lanes,
//! [`KafkaControl`] is where their coordinator speaks, [`KafkaQuarantine`] stores refused records,
//! and `topics` creates what they need. [`access`] changes the logins of clients while they live.

pub mod access;
mod books_reader;
mod buffers;
pub mod capture;
pub mod config;
mod connector;
mod control;
pub mod demo_records;
mod discovery;
pub mod error;
pub mod ffi;
mod group_map;
mod group_offsets;
mod lazy_client;
mod link_admin;
mod live_map;
mod map_log;
mod map_tail;
mod membership;
mod mm2;
mod neighbours;
mod opposite;
mod own_topic;
mod planner;
pub mod probe;
mod progress_store;
mod quarantine;
mod queries;
mod replay;
mod resize;
mod skip;
mod source;
mod takeover;
mod target;
mod tls;
mod topics;

pub use books_reader::KafkaBooksReader;
pub use buffers::{SocketBuffers, socket_buffers};
pub use config::{ClusterConfig, SourceTuning, TargetTuning};
pub use connector::KafkaConnector;
pub use control::KafkaControl;
pub use discovery::KafkaDiscovery;
pub use ffi::{MockCluster, refused_value, tune_allocator};
pub use group_map::KafkaGroupMap;
pub use group_offsets::KafkaGroupOffsets;
pub use map_log::{AllBounds, Committed, MapLog, TargetBounds, positions_of};
pub use map_tail::KafkaMapFeed;
pub use membership::KafkaMembership;
pub use mm2::KafkaMm2;
pub use opposite::{OppositeLinks, opposite_links};
pub use planner::KafkaPlanner;
pub use progress_store::KafkaProgressStore;
pub use quarantine::KafkaQuarantine;
pub use replay::{
    Blocked, BooksRead, Fetched, Judged, Kept, Outcome, RECORDS_MAX, ReplayError, ReplayJob, ReplaySpec, ReplayTopics,
    Replayed, SourceFacts, Trimmed, Work, Written, kept_record, kept_sizes, read_books, source_facts, trim_quarantine,
};
pub use resize::{ResizeError, Resized, resize_lanes};
pub use skip::{SkipError, SkipRequest, Skipped, plan_skip, skip_partition};
pub use source::KafkaSource;
pub use takeover::{Findings, TakeOver, TakeOverError, TakeOverSpec, TakenOver};
pub use target::{EndedIds, KafkaTarget, probe_transactions};
pub use topics::link::{LinkTopics, LinkTopicsError, LinkTopicsFound};
pub use topics::maker::TopicMaker;
pub use topics::outlook::{LinkTopicsOutlook, Outlook, Outlooks};
pub use topics::target::{KafkaTargetTopics, Lacking, RefusedTopic};
