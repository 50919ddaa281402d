//! The host from outside: plugins are loaded, judge batches, break and are replaced.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where it fails, in its helpers too"
)]

mod bombs;
mod bundled;
mod claims;
mod cost;
mod failure;
mod fields;
mod framing;
mod hostile_guests;
mod isolation;
mod large_values;
mod layout;
mod names_twice;
mod nesting;
mod normal_forms;
mod redact;
mod reload;
mod residency;
mod schemas;
mod silence;
mod support;
mod tightened;
mod topics;
mod warm_up;
mod wasi;
mod wear;
