//! The ways in which a call of a plugin fails.

/// In which way a call failed. The names are stable: codes in quarantine headers, labels of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// It trapped: a panic, an access out of bounds, a stack that ran over.
    Trap,
    /// It did not end in time.
    Timeout,
    /// It wanted more memory than it may have, and trapped.
    Memory,
    /// It answered with an error.
    Error,
    /// It answered with edits that break the rules of the interface.
    BadEdits,
    /// Its answer was larger than it may be.
    Output,
    /// A fresh instance could not be started.
    Start,
    /// The time for finding the guilty record was used up.
    Unjudged,
}

impl FailureKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Trap,
        Self::Timeout,
        Self::Memory,
        Self::Error,
        Self::BadEdits,
        Self::Output,
        Self::Start,
        Self::Unjudged,
    ];

    /// A stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Trap => "plugin-trap",
            Self::Timeout => "plugin-timeout",
            Self::Memory => "plugin-memory",
            Self::Error => "plugin-error",
            Self::BadEdits => "plugin-bad-edits",
            Self::Output => "plugin-output",
            Self::Start => "plugin-start",
            Self::Unjudged => "plugin-unjudged",
        }
    }
}
