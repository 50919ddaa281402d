//! Kinds of failed calls.

/// The kind of a failed call. The names are stable: codes in quarantine headers, labels of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The guest trapped: a panic, an access out of bounds, a stack overflow.
    Trap,
    /// The guest did not return before the deadline.
    Timeout,
    /// The guest needed more memory than its limit, and trapped.
    Memory,
    /// The guest returned an error.
    Error,
    /// The guest returned edits that break the rules of the interface.
    BadEdits,
    /// The answer was larger than its limit.
    Output,
    /// A fresh instance did not start.
    Start,
    /// The time to find the guilty record was over.
    Unjudged,
}

impl FailureKind {
    /// All kinds.
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

    /// Returns the stable name.
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
