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

/// Returns the only name that a pattern of whole names matches, if its text shows that there is
/// one.
pub(crate) fn only_name(pattern: &str) -> Option<String> {
    let pattern = pattern.strip_prefix("^(?:").and_then(|rest| rest.strip_suffix(")$")).unwrap_or(pattern);
    let (mut name, mut escaped) = (String::new(), false);
    for character in pattern.chars() {
        match character {
            // An escaped letter stands for others, such as \d.
            _ if escaped && character.is_alphanumeric() => return None,
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$' if !escaped => return None,
            _ => name.push(character),
        }
        escaped = false;
    }
    Some(name).filter(|_| !escaped)
}

/// Escapes control characters in a text of several lines.
pub(crate) fn clean_lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(|line| clean(&line.replace('\t', "  "), usize::MAX)).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::{clean_lines, only_name, whole_names};

    #[test]
    fn a_pattern_of_one_name_is_told_from_others() {
        for (pattern, name) in [("orders", "orders"), (r"orders\.v1\-x", "orders.v1-x"), (r"a\\b", r"a\b"), ("", "")] {
            assert_eq!(only_name(pattern).as_deref(), Some(name));
            let compiled = whole_names(&[pattern.to_owned()]).unwrap();
            assert!(
                compiled.is_match(name) && only_name(&compiled.patterns()[0]).as_deref() == Some(name),
                "{pattern}"
            );
        }
        for several in ["orders.v1", r"orders-\d", "a|b", "a?", "[ab]", "(a)", "a{2}", "^a", "a$", "a\\"] {
            assert_eq!(only_name(several), None, "{several}");
        }
    }

    #[test]
    fn lines_stay_and_no_other_control_character() {
        assert_eq!(clean_lines("{\n\t\"\\t\": 1\r\n}\u{9b}2J"), "{\n  \"\\t\": 1\\r\n}\\u{9b}2J");
    }
}
