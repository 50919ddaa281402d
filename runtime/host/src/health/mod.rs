//! The health of a plugin: counts of its calls and failures, and its breaker.
//!
//! There is one per link, plugin file and configuration. All lanes of the process share it, and all
//! generations with this plugin. While the breaker is open, no call is made. Then one call goes
//! through as a probe: it closes the breaker, or opens it again for twice as long. See
//! docs/plugins.md, "When a plugin breaks".

mod breaker;
mod failure_kind;
mod registry;
mod report;
mod saved;

pub(crate) use breaker::{Admission, CallOutcome, Health, Key};
pub use failure_kind::FailureKind;
pub(crate) use registry::HealthRegistry;
pub use report::{BreakerState, PluginHealth};
pub(crate) use saved::StateDir;
