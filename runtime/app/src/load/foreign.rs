//! A YAML text of another program, with the lines of its parts.

use std::collections::BTreeMap;

use serde_json::Value;
use strait_core::config::{Part, Path};

use super::tree::{Places, SyntaxError};
use super::yaml;

/// A parsed text.
pub struct ForeignYaml {
    /// Its content.
    pub tree: Value,
    places: Places,
    written: BTreeMap<Path, String>,
    /// Where each line begins, in bytes.
    lines: Vec<usize>,
}

impl ForeignYaml {
    /// Parses one document.
    ///
    /// # Errors
    /// Why it does not parse, with the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let lines: Vec<usize> = std::iter::once(0).chain(ends).collect();
        match yaml::parse(text) {
            Ok(parsed) => Ok(Self { tree: parsed.tree, places: parsed.places, written: parsed.written, lines }),
            Err(error) => {
                let SyntaxError { span, message } = error.into();
                Err(format!("line {}: {message}", line_of(&lines, span.start)))
            }
        }
    }

    /// Returns the line of a part.
    #[must_use]
    pub fn line(&self, at: &Path) -> usize {
        self.places.find(at, Part::Key).map_or(0, |span| line_of(&self.lines, span.start))
    }

    /// Returns a text, a number or a boolean as it is written.
    #[must_use]
    pub fn text(&self, at: &Path, value: &Value) -> String {
        match (self.written.get(at), value) {
            (Some(written), _) => written.clone(),
            (None, Value::String(text)) => text.clone(),
            (None, Value::Null) => String::new(),
            (None, other) => other.to_string(),
        }
    }
}

fn line_of(lines: &[usize], at: usize) -> usize {
    lines.partition_point(|begin| *begin <= at)
}
