//! A plugin's health, for status and metrics.

use std::sync::Arc;
use std::time::Duration;

use super::FailureKind;

/// The state of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// The plugin is called.
    Closed,
    /// The plugin is not called.
    Open,
    /// A probe runs, which decides.
    HalfOpen,
}

/// A plugin's calls and failures since the process began, and its breaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginHealth {
    /// Name of the link.
    pub link: String,
    /// Name of the plugin in the link.
    pub plugin: String,
    /// Digest of its file: `sha256:` and 64 hexadecimal digits.
    pub digest: Arc<str>,
    /// Calls, successful or not, those of the search for guilty records included.
    pub calls: u64,
    /// Records in these calls.
    pub records: u64,
    /// Time of these calls, with the packing of columns and the application of edits.
    pub time: Duration,
    /// Failed calls by kind, those of the search for guilty records included.
    pub failures: Vec<(FailureKind, u64)>,
    /// Batches in which guilty records were searched for.
    pub narrowed: u64,
    /// Guilty records, to which `on_error` was applied.
    pub guilty: u64,
    /// Records that were not judged in time.
    pub unjudged: u64,
    /// State of its breaker.
    pub breaker: BreakerState,
    /// How often the breaker opened.
    pub opened: u64,
    /// Why it last opened.
    pub reason: String,
}
