//! Options: the room that the interface leaves to grow, as numbers with bytes.

/// Set in the number of an option that its reader must know.
const MUST_BE_KNOWN: u32 = 1 << 31;

/// Option of a topic plan: whether a value in which a path meets another shape counts as parsed.
pub(crate) const SHAPES: u32 = 2;
/// The bytes with which it does.
pub(crate) const LENIENT: [u8; 1] = [1];

/// Returns the bytes of an option, after a check of all: numbers ascend, and those that are not
/// known may be skipped.
///
/// # Errors
/// The rule that they break, or the option that this host would have to know.
pub(crate) fn find<'a>(options: &'a [(u32, Vec<u8>)], known: &[u32], wanted: u32) -> Result<Option<&'a [u8]>, String> {
    check(options, known)?;
    Ok(options.iter().find(|(number, _)| *number == wanted).map(|(_, bytes)| bytes.as_slice()))
}

/// Checks options of which none is read.
///
/// # Errors
/// As [`find`].
pub(crate) fn check(options: &[(u32, Vec<u8>)], known: &[u32]) -> Result<(), String> {
    let mut last = None;
    for (number, _) in options {
        if last.is_some_and(|last| last >= *number) {
            return Err(format!("option {number} is not behind the one before it: numbers of options ascend"));
        }
        last = Some(*number);
        if number & MUST_BE_KNOWN != 0 && !known.contains(number) {
            return Err(format!("option {number} must be known, and this version of Strait does not know it"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_options_are_skipped_unless_they_must_be_known() {
        let options = |numbers: &[u32]| -> Vec<(u32, Vec<u8>)> { numbers.iter().map(|n| (*n, vec![7])).collect() };
        assert_eq!(find(&options(&[1, 2, 900]), &[2], 2), Ok(Some(&[7][..])));
        assert_eq!(find(&options(&[1, 900]), &[2], 2), Ok(None));
        let must = MUST_BE_KNOWN | 3;
        assert!(check(&options(&[must]), &[]).unwrap_err().contains("must be known"));
        assert_eq!(check(&options(&[must]), &[must]), Ok(()));
        for wrong in [&[2, 2][..], &[2, 1]] {
            assert!(check(&options(wrong), &[1, 2]).unwrap_err().contains("ascend"));
        }
    }
}
