//! Why a rule has no result.

/// The reason why a rule has no result for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The value is not exactly one JSON document, or a name on a path occurs twice.
    NotJudged,
    /// The rule reads a field of a tombstone.
    Tombstone,
    /// Incompatible types, a number out of range, or a missing field where that is an error.
    Evaluation,
    /// The rule takes too many steps.
    TooMuch,
}
