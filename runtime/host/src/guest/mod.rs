//! Running guests: one compiler and clock for all of them, and each one's store, bounds and calls.

mod budget;
mod compiled;
mod engine;
mod instance;
mod limits;
mod store;
mod wasi;

pub(crate) use budget::Share;
pub use engine::{HostEngine, HostOptions};
pub(crate) use instance::{Fault, Instance};
pub use limits::Limits;
pub(crate) use store::{COUNTERS_MAX, Said, State};
pub(crate) use wasi::{Import, judge};
