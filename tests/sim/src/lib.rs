//! A deterministic, seeded simulation of lanes: several processes of Strait, a source and a target cluster, and everything
//! that can happen between them. The lanes are the real ones of `strait-flow`; only their ports are simulated.
//!
//! Time is virtual and there is one thread, so that the same seed gives the same run to the last event. Every commit is held
//! against [`strait_core::invariants`] at the moment it becomes true. `STRAIT_SIM_SEED` reruns one seed, `STRAIT_SIM_SEEDS` sets
//! how many are run, `STRAIT_SIM_TRACE` how many lines of the trace are kept.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::type_complexity, clippy::or_fun_call, reason = "a test world, read for its rules")]

pub mod books;
pub mod chain;
pub mod client;
pub mod cluster;
pub mod ports;
pub mod reader;
pub mod rng;
pub mod run;
pub mod source;
pub mod target;
pub mod world;
