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

/// Combines sides by CEL's `&&` (`wanted` is true) or `||`, one after the other: if one decides, a
/// trouble of another does not matter.
pub fn decide(sides: impl IntoIterator<Item = Result<bool, Trouble>>, wanted: bool) -> Result<bool, Trouble> {
    let mut trouble = None;
    for side in sides {
        match side {
            Ok(holds) if holds != wanted => return Ok(holds),
            Ok(_) => {}
            Err(found) => trouble = trouble.or(Some(found)),
        }
    }
    trouble.map_or(Ok(wanted), Err)
}
