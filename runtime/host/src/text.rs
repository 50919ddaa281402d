//! Text for logs, errors and headers: escaped text of guests, and digests in hexadecimal digits.
//! Patterns of names.

use regex::{RegexSet, RegexSetBuilder};
use sha2::{Digest, Sha256};
pub(crate) use strait_core::text::clean;

/// Bytes that the patterns of one list may take once they are compiled.
const PATTERNS_BYTES_MAX: usize = 1 << 20;

/// Returns the digest of a file's bytes in the format of a pin: `sha256:` and 64 hexadecimal
/// digits.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// Returns lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Compiles patterns that must match whole names.
///
/// # Errors
/// The first that is not a regular expression, or that they are too large together.
pub(crate) fn whole_names(patterns: &[String]) -> Result<RegexSet, regex::Error> {
    RegexSetBuilder::new(patterns.iter().map(|pattern| format!("^(?:{pattern})$")))
        .size_limit(PATTERNS_BYTES_MAX)
        .dfa_size_limit(PATTERNS_BYTES_MAX)
        .build()
}

/// Escapes control characters in a text of several lines.
pub(crate) fn clean_lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(|line| clean(&line.replace('\t', "  "), usize::MAX)).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::clean_lines;

    #[test]
    fn lines_stay_and_no_other_control_character() {
        assert_eq!(clean_lines("{\n\t\"\\t\": 1\r\n}\u{9b}2J"), "{\n  \"\\t\": 1\\r\n}\\u{9b}2J");
    }
}
