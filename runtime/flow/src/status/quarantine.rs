//! The figures of quarantine.

use std::time::Duration;

/// The records that are open in the books, over all processes of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenInQuarantine {
    /// How many there are.
    pub records: u64,
    /// Since when the oldest is open, in milliseconds since the Unix epoch.
    pub oldest_ms: Option<i64>,
    /// The time of this knowledge, by the link's clock.
    pub as_of: Duration,
}

/// The figures of quarantine, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuarantineFigures {
    /// The open records. `None` where that is not known.
    pub open: Option<OpenInQuarantine>,
    /// Why they cannot be counted now; empty if they can, or nobody has looked yet.
    pub problem: String,
}
