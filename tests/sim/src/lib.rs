//! A deterministic, seeded simulation of a link: several processes of Strait, a source and a target
//! cluster, and everything that can happen between them. Each process runs the real link of
//! `strait-flow`, with its discovery, membership, lanes and watchdog, and this is the test suite of
//! that crate. Only the ports are simulated. Lanes are tasks instead of threads.
//!
//! Time is virtual and there is one thread, so the same seed gives the same run to the last event.
//! Every commit is checked against [`strait_core::invariants`] at the moment it becomes true.
//! `STRAIT_SIM_SEED` runs one seed again, `STRAIT_SIM_SEEDS` sets how many seeds run and
//! `STRAIT_SIM_FROM` the first of them, and `STRAIT_SIM_TRACE` how many lines of the trace are
//! printed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a simulation ends where it fails"
)]
#![allow(clippy::type_complexity, clippy::or_fun_call, reason = "a test world, read for its rules")]

pub mod chain;
pub mod cluster;
pub mod control;
pub mod group;
pub mod groups;
pub mod lanes;
pub mod ports;
pub mod producer;
pub mod reader;
pub mod rng;
pub mod run;
pub mod world;
