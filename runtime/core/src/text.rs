//! Text of others in logs, errors and headers.

/// Escapes control characters and truncates at `bytes_max` bytes.
#[must_use]
pub fn clean(text: &str, bytes_max: usize) -> String {
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
