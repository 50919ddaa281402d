//! What Strait promises, proven on the binary that users run, against real brokers.
//!
//! Each test is named after what it proves. They run one at a time, whatever the runner does, because each has two to four
//! JVMs and a machine of CI has two cores. `STRAIT_TEST_RECORDS` bounds the volumes, `STRAIT_TEST_SEED` changes what is
//! random (it is printed), `STRAIT_BIN` names another binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where it fails"
)]

mod admin;
mod bad_input;
mod chaos;
mod copy;
mod gaps;
mod lanes;
mod memory;
mod outage;
mod plugins;
mod poison;
mod refused;
mod reload;
mod residency;
mod stopped;
mod support;
mod unwritable;
