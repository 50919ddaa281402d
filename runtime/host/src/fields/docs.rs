//! The values of a batch as documents: read once, seen by each plugin through its own lens.

use super::found::{Found, Occurrence, Parent, ValueState};
use super::lens::Lens;
use super::scan::{Scanned, scan};
use super::workspace::Workspace;

/// Bytes that the documents of a batch may take, beside those of the last value that was read. A
/// record of 20 kB can hold 10,000 places of fields, and a batch several hundred such records.
const BYTES_MAX: usize = 16 << 20;
/// Bytes of each buffer that stay for the next batch.
const KEPT_BYTES: usize = 1 << 20;

/// The id of a [`Doc`]; the default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DocId {
    round: u32,
    /// Its place in the list, from 1.
    number: u32,
}

/// The result of one pass over a value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doc {
    /// Id of the path set of the pass.
    set: u64,
    scanned: Scanned,
    occurrences: (usize, usize),
    parents: (usize, usize),
}

/// The documents of a batch.
#[derive(Debug, Default)]
pub(crate) struct Docs {
    /// Counts how often they were forgotten. An id of an earlier round is of no document.
    round: u32,
    list: Vec<Doc>,
    found: Found,
    work: Workspace,
}

impl Docs {
    /// Removes all documents, for the next batch, and gives memory back.
    pub(crate) fn clear(&mut self) {
        self.forget();
        give_back(&mut self.list);
        give_back(&mut self.found.occurrences);
        give_back(&mut self.found.parents);
        give_back(&mut self.found.pointers);
        self.work.give_back();
    }

    /// Removes all documents within a batch: whoever needs one reads it again.
    pub(crate) fn forget(&mut self) {
        self.round = self.round.wrapping_add(1);
        self.list.clear();
        self.found.occurrences.clear();
        self.found.parents.clear();
        self.found.pointers.clear();
    }

    /// Returns whether no further value should be read before these are forgotten.
    pub(crate) fn is_full(&self) -> bool {
        let found = &self.found;
        let bytes = size_of_val(self.list.as_slice())
            + size_of_val(found.occurrences.as_slice())
            + size_of_val(found.parents.as_slice())
            + found.pointers.len();
        bytes > BYTES_MAX
    }

    /// Reads a value, unless it was read with the same path set before.
    pub(crate) fn read(&mut self, known: DocId, value: Option<&[u8]>, lens: &Lens) -> DocId {
        if self.get(known).is_some_and(|doc| doc.set == lens.set.id) {
            return known;
        }
        let before = (self.found.occurrences.len(), self.found.parents.len());
        let scanned = scan(value, &lens.set, &mut self.work, &mut self.found);
        self.list.push(Doc {
            set: lens.set.id,
            scanned,
            occurrences: (before.0, self.found.occurrences.len()),
            parents: (before.1, self.found.parents.len()),
        });
        DocId { round: self.round, number: u32::try_from(self.list.len()).unwrap_or(0) }
    }

    pub(crate) fn get(&self, id: DocId) -> Option<&Doc> {
        self.list.get((id.number as usize).checked_sub(1)?).filter(|_| id.round == self.round)
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
    /// Returns the state for one plugin: what is on another plugin's paths does not count.
    pub(crate) fn state(&self, lens: &Lens) -> ValueState {
        let Scanned { state, twice, blocked } = self.scanned;
        match state {
            ValueState::Parsed if twice & lens.mask != 0 => ValueState::NameTwice,
            ValueState::Parsed if lens.strict && blocked & lens.mask != 0 => ValueState::WrongShape,
            state => state,
        }
    }
}

/// Shrinks an empty buffer to what stays for the next batch.
pub(super) fn give_back<T>(buffer: &mut Vec<T>) {
    buffer.shrink_to(KEPT_BYTES / size_of::<T>());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_take_a_bounded_memory_and_give_it_back() {
        let lens = Lens::new(&["$[*]".to_owned()], true, false, true).unwrap();
        let value = format!("[{}0]", "0,".repeat(9_999));
        let mut docs = Docs::default();
        let (mut last, mut rounds) = (DocId::default(), 0);
        for _ in 0..1_000 {
            if docs.is_full() {
                docs.forget();
                rounds += 1;
                assert!(docs.get(last).is_none(), "a document of an earlier round was found");
            }
            last = docs.read(last, Some(value.as_bytes()), &lens);
            assert_eq!(docs.occurrences(docs.get(last).unwrap(), &lens, 0).len(), 10_000);
            // The next value is another one.
            last = docs.read(DocId::default(), Some(value.as_bytes()), &lens);
        }
        assert!(rounds > 10, "{rounds}");
        // A buffer doubles when it grows.
        assert!(docs.found.occurrences.capacity() * size_of::<Occurrence>() < 2 * BYTES_MAX);
        docs.clear();
        assert!(docs.found.occurrences.capacity() * size_of::<Occurrence>() <= KEPT_BYTES);
        assert!(docs.found.pointers.capacity() <= KEPT_BYTES && docs.get(last).is_none());
    }
}
