//! Kafka behind Strait's ports: the only crate that names librdkafka.
//!
//! [`ffi`] has every call into C and every `unsafe` block; the modules above it are safe Rust and implement the traits of
//! `strait_flow::ports`.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod admin;
pub mod capture;
pub mod config;
mod connector;
mod discovery;
pub mod error;
pub mod ffi;
mod link_topics;
mod membership;
mod offsets;
pub mod probe;
mod progress_store;
mod quarantine;
mod resize;
pub mod sample;
mod source;
mod target;
mod target_topics;

pub use config::{ClusterConfig, SourceTuning, TargetTuning};
pub use connector::KafkaConnector;
pub use discovery::KafkaDiscovery;
pub use ffi::MockCluster;
pub use link_topics::{LinkTopicsError, ensure_link_topics};
pub use membership::KafkaMembership;
pub use progress_store::KafkaProgressStore;
pub use quarantine::KafkaQuarantine;
pub use resize::{ResizeError, Resized, resize_lanes};
pub use source::KafkaSource;
pub use target::{EndedIds, KafkaTarget};
pub use target_topics::{KafkaTargetTopics, NotMade};
