//! What is known of a plugin's failures, and its breaker.
//!
//! One per link, plugin file and configuration, shared by all lanes of the process and by every generation of the chain that
//! holds this very plugin. While the breaker is open no call is made. Then one call is let through as a probe: it closes the
//! breaker, or opens it again for twice as long. See docs/plugins.md, "When a plugin breaks".

mod breaker;
mod failure_kind;
mod saved;

pub(crate) use breaker::{Admission, CallOutcome, Health, HealthRegistry, Key};
pub use breaker::{BreakerState, PluginHealth};
pub use failure_kind::FailureKind;
pub(crate) use saved::StateDir;
