//! Helpers for the JSON text of fields.

use std::borrow::Cow;

/// The type of a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Boolean,
    /// A number.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// Returns the type of a JSON text by its first character, for text that the host has parsed. Skips
/// leading white space, so it works for whole values too.
#[must_use]
pub fn kind(json: &[u8]) -> Option<Kind> {
    match json.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))? {
        b'"' => Some(Kind::String),
        b'{' => Some(Kind::Object),
        b'[' => Some(Kind::Array),
        b'-' | b'0'..=b'9' => Some(Kind::Number),
        b't' | b'f' => Some(Kind::Boolean),
        b'n' => Some(Kind::Null),
        _ => None,
    }
}

/// Returns the text of a JSON string, with escapes resolved. `None` for any other type, and for a
/// string with a lone surrogate, which represents no text.
#[must_use]
pub fn text(json: &[u8]) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if inner.iter().all(|byte| *byte >= b' ' && *byte != b'\\' && *byte != b'"') {
        return std::str::from_utf8(inner).ok().map(Cow::Borrowed);
    }
    serde_json::from_slice::<String>(json).ok().map(Cow::Owned)
}

/// Appends `text` as a JSON string.
pub fn quote(text: &str, json: &mut Vec<u8>) {
    json.reserve(text.len() + 2);
    json.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(end) = rest.iter().position(|byte| *byte < b' ' || matches!(byte, b'"' | b'\\')) {
        json.extend_from_slice(&rest[..end]);
        match rest[end] {
            b'"' => json.extend_from_slice(b"\\\""),
            b'\\' => json.extend_from_slice(b"\\\\"),
            b'\n' => json.extend_from_slice(b"\\n"),
            b'\r' => json.extend_from_slice(b"\\r"),
            b'\t' => json.extend_from_slice(b"\\t"),
            control => json.extend_from_slice(format!("\\u{control:04x}").as_bytes()),
        }
        rest = &rest[end + 1..];
    }
    json.extend_from_slice(rest);
    json.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_resolves_escapes_and_refuses_other_types() {
        assert_eq!(text(br#""eu""#).as_deref(), Some("eu"));
        assert!(matches!(text("\"é\u{7f}\"".as_bytes()), Some(Cow::Borrowed(_))));
        assert_eq!(text(br#""\u00e9\ud83d\ude00\n\"\/""#).as_deref(), Some("é😀\n\"/"));
        assert_eq!(text(b"\"\"").as_deref(), Some(""));
        for none in [
            &b"1"[..],
            b"\"",
            b"\"\\ud83d\"",
            b"\"\\udc00\\ud800\"",
            b"\"a\"b\"",
            b"\"\xff\"",
            b"\"\n\"",
            b"\"\\x\"",
            b"",
        ] {
            assert_eq!(text(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_quoted_text_is_read_back() {
        let all: String = (0..0x300).filter_map(char::from_u32).chain("\u{2028}😀".chars()).collect();
        let mut json = Vec::new();
        quote(&all, &mut json);
        assert_eq!(text(&json).as_deref(), Some(&*all));
        assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), all);
    }

    #[test]
    fn the_first_character_determines_the_kind() {
        use Kind::{Array, Boolean, Null, Number, Object, String};
        for (json, expected) in [
            ("null", Some(Null)),
            ("\n\t true", Some(Boolean)),
            ("-1e9", Some(Number)),
            ("\"\"", Some(String)),
            (" [", Some(Array)),
            ("{", Some(Object)),
            ("", None),
            ("\u{feff}{", None),
            ("NaN", None),
        ] {
            assert_eq!(kind(json.as_bytes()), expected, "{json}");
        }
    }
}
