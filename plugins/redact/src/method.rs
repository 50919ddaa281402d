//! Methods of redaction.

use serde_json::{Map, Value, json as object};
use sha2::{Digest, Sha256};
use strait_plugin_sdk::json::{self, Kind};
use strait_scheme::pseudonym::{Encoding, Key, content};

/// A method to redact a field, header or key.
pub enum Method {
    Remove,
    Null,
    Mask {
        /// Number of characters at the end that stay readable.
        keep: usize,
        mask: char,
    },
    Truncate {
        /// Number of characters at the start that stay.
        length: usize,
    },
    Sha256(Pseudonym),
    /// The hash state after the key, which saves half of the work for a short message.
    Hmac(Box<Key>, Pseudonym),
    Constant {
        json: Vec<u8>,
        /// The text for headers, if the constant is a text.
        bytes: Vec<u8>,
    },
}

/// The encoding of the 32 bytes.
pub struct Pseudonym {
    /// With the key id, where it is shown.
    pub prefix: String,
    pub encoding: Encoding,
}

/// The method needs a text or a content, and the JSON has none.
#[derive(Debug, PartialEq, Eq)]
pub struct NotJudged;

/// The outcome of a redaction. With `Set`, the new text is in the buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Keep,
    Remove,
    Null,
    Set,
}

/// The mask for a value without characters to count.
const HIDDEN: usize = 4;

impl Method {
    /// Returns whether different inputs stay different.
    pub fn is_injective(&self) -> bool {
        matches!(self, Self::Sha256(_) | Self::Hmac(..))
    }

    /// Returns whether some characters of a text stay.
    pub fn keeps_a_part(&self) -> bool {
        match self {
            Self::Mask { keep, .. } => *keep > 0,
            Self::Truncate { length } => *length > 0,
            _ => false,
        }
    }

    /// Returns what the method leaves, as members of a claim. A key is given by its id and domain.
    pub fn leaves(&self, key: Option<(&str, &str)>) -> Map<String, Value> {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let members = match self {
            Self::Remove => object!({ "leaves": "nothing", "gives": "absent" }),
            Self::Null => object!({ "leaves": "null", "gives": "null" }),
            Self::Constant { .. } => object!({ "leaves": "constant", "gives": "json" }),
            Self::Mask { keep, .. } => {
                object!({ "leaves": "part", "keep": { "last": number(*keep) }, "gives": "json" })
            }
            Self::Truncate { length } => {
                object!({ "leaves": "part", "keep": { "first": number(*length) }, "gives": "json" })
            }
            Self::Sha256(_) => object!({ "leaves": "token", "gives": "json" }),
            Self::Hmac(..) => {
                let (id, domain) = key.unwrap_or_default();
                object!({ "leaves": "token", "key": id, "domain": domain, "gives": "json" })
            }
        };
        match members {
            Value::Object(members) => members,
            _ => Map::new(),
        }
    }

    /// Redacts JSON text and writes the new JSON text to `out`.
    ///
    /// # Errors
    /// The text is not valid JSON, or a string that represents no text.
    pub fn field(&self, source: &[u8], out: &mut Vec<u8>) -> Result<Outcome, NotJudged> {
        out.clear();
        let kind = json::kind(source).ok_or(NotJudged)?;
        match self {
            Self::Remove => return Ok(Outcome::Remove),
            Self::Constant { json, .. } => {
                out.extend_from_slice(json);
                return Ok(Outcome::Set);
            }
            // A null holds nothing.
            _ if kind == Kind::Null => return Ok(Outcome::Keep),
            Self::Null => out.extend_from_slice(b"null"),
            Self::Sha256(_) | Self::Hmac(..) => {
                self.pseudonym(&content(source).map_err(|_| NotJudged)?, true, out);
            }
            Self::Mask { keep, mask } => {
                let masked = match kind {
                    Kind::String => masked(&json::text(source).ok_or(NotJudged)?, *keep, *mask),
                    Kind::Number => masked(std::str::from_utf8(source).map_err(|_| NotJudged)?, *keep, *mask),
                    _ => hidden(*mask),
                };
                json::quote(&masked, out);
            }
            Self::Truncate { length } => match kind {
                Kind::String => json::quote(start(&json::text(source).ok_or(NotJudged)?, *length), out),
                Kind::Number => json::quote(start(std::str::from_utf8(source).map_err(|_| NotJudged)?, *length), out),
                _ => out.extend_from_slice(b"null"),
            },
        }
        Ok(Outcome::Set)
    }

    /// Redacts the value of a header, or a key, and writes the new bytes to `out`.
    pub fn bytes(&self, source: &[u8], out: &mut Vec<u8>) -> Outcome {
        out.clear();
        let text = std::str::from_utf8(source);
        match (self, text) {
            (Self::Remove, _) => return Outcome::Remove,
            (Self::Null, _) => return Outcome::Null,
            (Self::Constant { bytes, .. }, _) => out.extend_from_slice(bytes),
            (Self::Mask { keep, mask }, Ok(text)) => out.extend_from_slice(masked(text, *keep, *mask).as_bytes()),
            (Self::Mask { mask, .. }, Err(_)) => out.extend_from_slice(hidden(*mask).as_bytes()),
            (Self::Truncate { length }, Ok(text)) => out.extend_from_slice(start(text, *length).as_bytes()),
            (Self::Truncate { length }, Err(_)) => out.extend_from_slice(source.get(..*length).unwrap_or(source)),
            (Self::Sha256(_) | Self::Hmac(..), _) => {
                self.pseudonym(source, false, out);
            }
        }
        Outcome::Set
    }

    /// Appends the pseudonym, as a JSON string or as plain text.
    fn pseudonym(&self, content: &[u8], quoted: bool, out: &mut Vec<u8>) {
        let (digest, pseudonym): ([u8; 32], _) = match self {
            Self::Sha256(pseudonym) => (Sha256::digest(content).into(), pseudonym),
            Self::Hmac(key, pseudonym) => (key.of(content), pseudonym),
            _ => return,
        };
        match quoted {
            // The closing quote follows after the digits.
            true => {
                json::quote(&pseudonym.prefix, out);
                out.pop();
            }
            false => out.extend_from_slice(pseudonym.prefix.as_bytes()),
        }
        pseudonym.encoding.write(&digest, out);
        if quoted {
            out.push(b'"');
        }
    }
}

/// Masks all but the last `keep` characters, or all of them if there are no more than `keep`.
fn masked(text: &str, keep: usize, mask: char) -> String {
    let count = if text.is_ascii() { text.len() } else { text.chars().count() };
    let hide = if count > keep { count - keep } else { count };
    let mut masked = mask.to_string().repeat(hide);
    masked.push_str(text.char_indices().nth(hide).map_or("", |(start, _)| &text[start..]));
    masked
}

fn hidden(mask: char) -> String {
    std::iter::repeat_n(mask, HIDDEN).collect()
}

fn start(text: &str, length: usize) -> &str {
    text.char_indices().nth(length).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(method: &Method, json: &str) -> String {
        let mut out = Vec::new();
        match method.field(json.as_bytes(), &mut out) {
            Ok(Outcome::Set) => String::from_utf8(out).unwrap(),
            other => format!("{other:?}"),
        }
    }

    fn bytes(method: &Method, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        assert_eq!(method.bytes(bytes, &mut out), Outcome::Set);
        out
    }

    fn hex_of() -> Pseudonym {
        Pseudonym { prefix: String::new(), encoding: Encoding::Hex }
    }

    #[test]
    fn every_kind_of_json_is_defined_for_every_method() {
        let mask = Method::Mask { keep: 4, mask: '*' };
        let truncate = Method::Truncate { length: 2 };
        let constant = Method::Constant { json: b"\"x\"".to_vec(), bytes: b"x".to_vec() };
        for (json, masked, truncated) in [
            (r#""4111111111111111""#, r#""************1111""#, r#""41""#),
            (r#""abcd""#, r#""****""#, r#""ab""#),
            (r#""abcde""#, r#""*bcde""#, r#""ab""#),
            (r#""""#, r#""""#, r#""""#),
            (r#""é\ud83d\ude00\n1234""#, r#""***1234""#, "\"é😀\""),
            ("4111111111111111", r#""************1111""#, r#""41""#),
            ("-1.5e10", r#""***5e10""#, r#""-1""#),
            ("true", r#""****""#, "null"),
            (r#"{"a":"secret1234"}"#, r#""****""#, "null"),
            (r#"["secret1234"]"#, r#""****""#, "null"),
            ("null", "Ok(Keep)", "Ok(Keep)"),
        ] {
            assert_eq!(field(&mask, json), masked);
            assert_eq!(field(&truncate, json), truncated);
            assert_eq!(field(&constant, json), r#""x""#);
            assert_eq!(field(&Method::Remove, json), "Ok(Remove)");
            assert_eq!(field(&Method::Null, json), if json == "null" { "Ok(Keep)" } else { "null" });
        }
        assert_eq!(field(&Method::Mask { keep: 0, mask: '"' }, r#""ab""#), r#""\"\"""#);
    }

    #[test]
    fn a_string_without_text_is_not_judged() {
        for method in [Method::Mask { keep: 1, mask: '*' }, Method::Truncate { length: 9 }, Method::Sha256(hex_of())] {
            assert_eq!(field(&method, r#""secret\ud800""#), "Err(NotJudged)");
            assert_eq!(field(&method, "secret"), "Err(NotJudged)");
            assert_eq!(field(&method, ""), "Err(NotJudged)");
        }
    }

    #[test]
    fn a_hash_is_of_the_content_in_whatever_way_it_is_written() {
        let hash = Method::Sha256(hex_of());
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(bytes(&hash, b""), empty.as_bytes());
        assert_eq!(field(&hash, "\"\""), format!("\"{empty}\""));
        for (one, other) in [
            ("7", "\"7\""),
            ("400", "4e2"),
            ("400", "400.0"),
            ("[7]", "[ 7.0 ]"),
            (r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#),
        ] {
            assert_eq!(field(&hash, one), field(&hash, other), "{one} {other}");
        }
        for (one, other) in [("9007199254740993", "9007199254740992"), ("[7]", "7"), ("true", "false")] {
            assert_ne!(field(&hash, one), field(&hash, other), "{one} {other}");
        }
        for none in [r#"{"a":1,"\u0061":2}"#, "1e999", r#"["\udc00"]"#] {
            assert_eq!(field(&hash, none), "Err(NotJudged)");
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_masked_too() {
        assert_eq!(bytes(&Method::Mask { keep: 2, mask: '#' }, b"\xffsecret"), b"####");
        assert_eq!(bytes(&Method::Mask { keep: 2, mask: '#' }, "aéi".as_bytes()), "#éi".as_bytes());
        assert_eq!(bytes(&Method::Truncate { length: 2 }, b"\xffsecret"), b"\xffs");
        assert_eq!(bytes(&Method::Truncate { length: 9 }, b"\xffs"), b"\xffs");
        assert_eq!(bytes(&Method::Truncate { length: 2 }, "éßx".as_bytes()), "éß".as_bytes());
    }
}
