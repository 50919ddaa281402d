//! A configuration as a tree, with the position of every key and value in its text.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;
use strait_core::config::structure::Shape;
use strait_core::config::{Part, Path, Problem, What};

/// Digits that a floating-point number keeps.
const DIGITS_EXACT: usize = 15;

/// A text that does not parse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Position in the text, in bytes.
    pub span: Range<usize>,
    /// The parser's message.
    pub message: String,
}

/// The positions of keys and values, in bytes of the text.
#[derive(Clone, Debug, Default)]
pub struct Places {
    keys: BTreeMap<Path, Range<usize>>,
    values: BTreeMap<Path, Range<usize>>,
}

impl Places {
    pub(super) fn set_key(&mut self, at: &Path, span: Range<usize>) {
        self.keys.insert(at.clone(), span);
    }

    pub(super) fn set_value(&mut self, at: &Path, span: Range<usize>) {
        self.values.insert(at.clone(), span);
    }

    /// Returns the position of an entry's key or value: of the other one, where it has only that.
    #[must_use]
    pub fn find(&self, at: &Path, part: Part) -> Option<Range<usize>> {
        let key = self.keys.get(at);
        let value = self.values.get(at);
        match part {
            Part::Key => key.or(value),
            Part::Value => value.or(key),
        }
        .cloned()
    }

    /// Forgets the positions of everything inside an entry.
    pub(super) fn forget_inside(&mut self, outer: &Path) {
        let is_inside = |at: &Path| at != outer && at.steps().starts_with(outer.steps());
        self.keys.retain(|at, _| !is_inside(at));
        self.values.retain(|at, _| !is_inside(at));
    }

    /// Returns every value's position.
    pub fn values(&self) -> impl Iterator<Item = (&Path, &Range<usize>)> {
        self.values.iter()
    }
}

/// A parsed text.
#[derive(Debug)]
pub struct Parsed {
    /// Its content.
    pub tree: Value,
    /// The positions in the text.
    pub places: Places,
    /// Numbers and booleans as they stand in the text: `1e5`, `0x1f`, `True`.
    pub written: BTreeMap<Path, String>,
}

impl Parsed {
    /// Puts the text as written where the model takes text, because no format keeps it: `1e5` as a
    /// password would be `100000.0`. `base` is the place of this content in the configuration.
    ///
    /// Returns the whole numbers elsewhere that lost digits.
    pub fn keep_texts(&mut self, base: &Path, shape: &Shape) -> Vec<Problem> {
        let mut lost = Vec::new();
        for (at, written) in std::mem::take(&mut self.written) {
            let Some(value) = at.find_mut(&mut self.tree) else { continue };
            let place = base.join(&at);
            if shape.takes_as_text(&place, value) {
                *value = Value::String(written);
            } else if value.is_f64() && is_long(&written) {
                lost.push(Problem { at: place, part: Part::Value, what: What::TooLarge { digits: written } });
            }
        }
        lost
    }
}

/// Returns whether a number as written is whole and longer than a floating-point number can keep.
fn is_long(written: &str) -> bool {
    let mut digits = written.bytes().filter(|byte| !matches!(byte, b'_' | b'-' | b'+'));
    written.len() > DIGITS_EXACT && digits.all(|byte| byte.is_ascii_digit())
}
