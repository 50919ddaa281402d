//! Masks the values of secrets in the text of a configuration, so that a report may show it.

use std::ops::Range;

use serde_json::Value;
use strait_core::config::{Path, Step, reference, refused, secrets};

use super::tree::Parsed;

/// Returns the text with the values of secrets replaced by stars, byte for byte, so that positions
/// still fit.
#[must_use]
pub fn mask_secrets(text: &str, parsed: &Parsed) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for (at, span) in parsed.places.values() {
        let is_hidden = match at.find(&parsed.tree) {
            Some(Value::String(text)) => {
                let in_url = secrets::without_url_secrets(text) != *text;
                in_url || (is_secret(at) && !reference::is_only_references(text))
            }
            Some(Value::Number(_)) => is_secret(at),
            _ => false,
        };
        if is_hidden {
            star(&mut bytes, span.clone());
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}

fn is_secret(at: &Path) -> bool {
    let in_kafka = match at.steps() {
        [Step::Key(clusters), _, Step::Key(kafka), Step::Key(property)]
            if clusters == "clusters" && kafka == "kafka" =>
        {
            // A misspelt property may be a misspelt password.
            let known = refused::known_properties().any(|known| known == property);
            Some(!known || secrets::is_secret_property(property))
        }
        _ => None,
    };
    in_kafka.unwrap_or_else(|| {
        at.steps().iter().any(|step| match step {
            Step::Key(key) => secrets::is_secret_field(key),
            Step::Index(_) => false,
        })
    })
}

/// As [`mask_secrets`], for a text that does not parse: masks all that follows a secret's name on
/// its line.
#[must_use]
pub fn mask_secret_lines(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let known = secrets::SECRET_PROPERTIES.iter().any(|property| line.contains(property));
        if known || secrets::is_secret_field(line) || line.contains("PRIVATE KEY") {
            let value = line.find(['=', ':']).map_or(0, |at| at + 1);
            star(&mut bytes, start + value..start + line.len());
        }
        start += line.len();
    }
    String::from_utf8(bytes).unwrap_or_default()
}

fn star(bytes: &mut [u8], span: Range<usize>) {
    for byte in bytes.get_mut(span).unwrap_or_default() {
        if !matches!(*byte, b'\n' | b'\r' | b' ' | b'"' | b'\'') {
            *byte = b'*';
        }
    }
}
