//! Running guests: one compiler and clock for all of them, and each one's store, bounds and calls.

mod budget;
mod compile;
mod compiled;
mod engine;
mod exports;
mod instance;
mod limits;
mod log_rate;
mod store;
mod wasi;
mod wear;

pub(crate) use budget::{BudgetError, Share};
pub use compile::{CompilerProcess, compiler_answer};
pub use engine::{HostEngine, HostOptions};
pub(crate) use exports::GuestPre;
pub(crate) use instance::{Fault, Instance};
pub use limits::GuestLimits;
pub(crate) use limits::TABLE_ELEMENTS_MAX;
pub(crate) use log_rate::LogRate;
pub(crate) use store::{COUNTERS_MAX, GuestOutput};
pub(crate) use wasi::{Import, judge};
