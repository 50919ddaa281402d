//! Texts that hold documents.
//!
//! A document is looked into where this plugin and every reader understand the same: where the text
//! is exactly one strict JSON value. Readers beyond the border can be more lenient (a byte order
//! mark, `NaN`, comments, single quotes, several documents, text around them), in more ways than a
//! list could name. So the rest is judged by what every such reader needs: an object, and the name
//! in it.

use std::borrow::Cow;

use strait_plugin_sdk::{json, path::Step};

use crate::{config::folded, method::NotJudged};

/// Most documents around each other, each in a text of the one around it. Bounds the work: each
/// byte of a value is read once for each level.
pub const LEVELS_MAX: usize = 8;

/// The text of a JSON string.
#[derive(Debug, PartialEq, Eq)]
pub enum Text<'a> {
    /// A strict JSON object, array or string, which can hold a document in turn.
    Document(Cow<'a, str>),
    Other(Cow<'a, str>),
}

/// Reads a JSON string. One without a text, or with a lone surrogate, cannot be judged.
pub fn read(source: &[u8]) -> Result<Text<'_>, NotJudged> {
    let text = json::text(source).ok_or(NotJudged)?;
    let may_be = text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with(['{', '[', '"']);
    // Without a bound on its depth: what is nested too deeply to walk is not judged.
    match may_be && serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok() {
        true => Ok(Text::Document(text)),
        false => Ok(Text::Other(text)),
    }
}

/// Returns whether some reader could find an object or array in a text.
pub fn may_hold_fields(text: &str) -> bool {
    text.contains(['{', '[']) || is_written_otherwise(text) && text.contains(['"', '\''])
}

/// Returns whether some reader could take such a step into a text that has fields for some reader.
pub fn may_enter(text: &str, step: &Step, in_any_case: bool) -> bool {
    let has_object = text.contains('{') || is_written_otherwise(text);
    match step {
        Step::Index(_) | Step::Every => true,
        Step::Name(name) | Step::Anywhere(name) => {
            has_object && (is_written_otherwise(text) || contains_name(text, name, in_any_case))
        }
    }
}

/// Returns whether a text has escapes, or characters that readers may skip: brackets and names need
/// not stand in it as they are.
fn is_written_otherwise(text: &str) -> bool {
    text.contains(['\\', '\0'])
}

fn contains_name(text: &str, name: &str, in_any_case: bool) -> bool {
    match in_any_case {
        // The name is already folded, and a text is folded character by character.
        true => folded(text).contains(name),
        false => text.contains(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may_hold(text: &str, name: &str, in_any_case: bool) -> bool {
        may_hold_fields(text) && may_enter(text, &Step::Anywhere(name.into()), in_any_case)
    }

    #[test]
    fn a_text_is_a_document_if_it_is_exactly_one() {
        let is_document = |text: &str| {
            let mut source = Vec::new();
            json::quote(text, &mut source);
            matches!(read(&source).unwrap(), Text::Document(_))
        };
        for text in ["{}", " [1] ", "\"\"", "\n{\"a\":\"\\u0061\"}\t", "\"{\\\"a\\\":1}\""] {
            assert!(is_document(text), "{text}");
        }
        for text in ["", "1", "null", "{}{}", "{}\n{}", "\u{feff}{}", "\u{a0}{}", "[NaN]", "{'a':1}", "[1,]", "{}x"] {
            assert!(!is_document(text), "{text}");
        }
        assert_eq!(read(br#""\ud800""#), Err(NotJudged));
    }

    #[test]
    fn a_reader_needs_an_object_and_the_name() {
        for text in [
            "\u{feff}{\"ssn\":1}",
            "{\"ssn\":NaN}",
            "{\"ssn\":1}{\"x\":2}",
            "{\"x\":1}\n{\"ssn\":2}\n",
            "{\"ssn\":1",
            "{ssn:1}",
            "{'ssn':1}",
            "/* */{\"ssn\":1,}",
            "callback({\"ssn\":1});",
            "\u{1e}{\"ssn\":1}",
            "x=%7B {\"ssn\"",
            "{\"s\\u0073n\":1,}",
            "'\\x7b\"ssn\":1}'",
            "\"\\u007b\\\"s\\\\u0073n\\\":1}\" //",
            "{\0\"\0s\0s\0n\0\"\0:\x001}\0",
        ] {
            assert!(may_hold(text, "ssn", false), "{text}");
        }
        for text in ["", "ssn", "[INFO] ssn", "[INFO] {name}", "{\"SSN\":1,}", "C:\\ssn", "it's [ssn]"] {
            assert!(!may_hold(text, "ssn", false), "{text}");
        }
        assert!(may_hold("{\"SſN\":1,}", "ssn", true) && !may_hold("{\"SſN\":1,}", "sn", false));
        assert!(may_enter("[1,", &Step::Index(0), false) && !may_hold_fields("1, 2"));
    }
}
