//! The values of a batch as documents: read once, seen by each plugin through its own lens.

use super::found::{Found, Occurrence, Parent, ValueState};
use super::lens::Lens;
use super::scan::scan;
use super::workspace::Workspace;

/// The id of a [`Doc`]; the default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DocId(u32);

/// The result of one pass over a value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doc {
    /// Id of the path set of the pass.
    set: u64,
    state: ValueState,
    /// Paths with a duplicate name, as bits.
    twice: u128,
    occurrences: (usize, usize),
    parents: (usize, usize),
}

/// The documents of a batch.
#[derive(Debug, Default)]
pub(crate) struct Docs {
    list: Vec<Doc>,
    found: Found,
    work: Workspace,
}

impl Docs {
    /// Removes all documents, for the next batch.
    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.found.occurrences.clear();
        self.found.parents.clear();
        self.found.pointers.clear();
    }

    /// Reads a value, unless it was read with the same path set before.
    pub(crate) fn read(&mut self, known: DocId, value: Option<&[u8]>, lens: &Lens) -> DocId {
        if self.get(known).is_some_and(|doc| doc.set == lens.set.id) {
            return known;
        }
        let before = (self.found.occurrences.len(), self.found.parents.len());
        let (state, twice) = scan(value, &lens.set, &mut self.work, &mut self.found);
        self.list.push(Doc {
            set: lens.set.id,
            state,
            twice,
            occurrences: (before.0, self.found.occurrences.len()),
            parents: (before.1, self.found.parents.len()),
        });
        DocId(u32::try_from(self.list.len()).unwrap_or(0))
    }

    pub(crate) fn get(&self, id: DocId) -> Option<&Doc> {
        self.list.get((id.0 as usize).checked_sub(1)?)
    }

    /// Returns the occurrences of a plugin's field, in the order of the document.
    pub(crate) fn occurrences(&self, doc: &Doc, lens: &Lens, field: usize) -> &[Occurrence] {
        let (Some(path), ValueState::Parsed) = (lens.fields.get(field), doc.state(lens)) else {
            return &[];
        };
        let all = self.found.occurrences.get(doc.occurrences.0..doc.occurrences.1).unwrap_or_default();
        let from = all.partition_point(|occurrence| occurrence.path < *path);
        let to = all.partition_point(|occurrence| occurrence.path <= *path);
        all.get(from..to).unwrap_or_default()
    }

    /// Returns the object to which a plugin's field can be added.
    pub(crate) fn parent(&self, doc: &Doc, lens: &Lens, field: usize) -> Option<&Parent> {
        let path = lens.fields.get(field).filter(|_| doc.state(lens) == ValueState::Parsed)?;
        let all = self.found.parents.get(doc.parents.0..doc.parents.1)?;
        all.iter().find(|parent| parent.path == *path)
    }

    pub(crate) fn pointer(&self, occurrence: &Occurrence) -> &[u8] {
        let (from, to) = occurrence.pointer;
        self.found.pointers.get(from as usize..to as usize).unwrap_or_default()
    }
}

impl Doc {
    /// Returns the state for one plugin: a duplicate name on another plugin's paths does not count.
    pub(crate) fn state(&self, lens: &Lens) -> ValueState {
        if self.state == ValueState::Parsed && self.twice & lens.mask != 0 {
            return ValueState::NameTwice;
        }
        self.state
    }
}
