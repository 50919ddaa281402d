//! Kafka behind Strait's ports: the only crate that names librdkafka.
//!
//! [`ffi`] has every call into C and every `unsafe` block; the modules above it are safe Rust and implement the traits of
//! `strait_flow::ports`.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod config;
pub mod error;
pub mod ffi;
mod offsets;
mod progress_store;
mod source;
mod target;

pub use config::{ClusterConfig, SourceTuning, TargetTuning};
pub use progress_store::KafkaProgressStore;
pub use source::KafkaSource;
pub use target::KafkaTarget;
