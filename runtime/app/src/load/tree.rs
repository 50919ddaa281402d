//! A configuration as a tree, with the position of every key and value in its text.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;
use strait_core::config::{Part, Path};

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
}
