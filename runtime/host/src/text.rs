//! Text for logs, errors and headers: escaped text of guests, and digests in hexadecimal digits.

use sha2::{Digest, Sha256};

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

/// Escapes control characters and truncates at `bytes_max` bytes.
pub(crate) fn clean(text: &str, bytes_max: usize) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if out.len() + c.len_utf8() > bytes_max {
            out.push('…');
            break;
        }
        // Also what reorders or hides text on a terminal.
        if c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn text_of_a_guest_cannot_forge_a_log_line() {
        assert_eq!(clean("a\nb\u{1b}[2J\u{202e}c", 100), "a\\nb\\u{1b}[2J\\u{202e}c");
        assert_eq!(clean("äöü", 4), "äö…");
    }
}
