//! Edits of fields in the original bytes: everything else keeps its bytes, blanks and escapes
//! included.

use std::collections::BTreeMap;

use super::docs::{Doc, Docs};
use super::found::{Occurrence, Parent};
use super::lens::Lens;
use super::scan::is_json;

/// The field edits of one record.
#[derive(Debug, Default)]
pub(crate) struct FieldEdit<'a> {
    /// In the order of the plugin's answer.
    sets: Vec<Set<'a>>,
    inserts: Vec<Insert>,
}

#[derive(Clone, Copy, Debug)]
struct Set<'a> {
    occurrence: Occurrence,
    /// `None` removes.
    text: Option<&'a [u8]>,
}

#[derive(Debug)]
struct Insert {
    field: u32,
    parent: Parent,
    /// Name, colon and value.
    member: Vec<u8>,
}

/// A range of the value that is replaced.
struct Cut<'a> {
    start: usize,
    end: usize,
    text: &'a [u8],
}

impl<'a> FieldEdit<'a> {
    /// Replaces or removes an occurrence, counted over all fields of the record.
    pub(crate) fn set(
        &mut self,
        number: u32,
        text: Option<&'a [u8]>,
        docs: &Docs,
        doc: &Doc,
        lens: &Lens,
    ) -> Result<(), String> {
        let mut left = number as usize;
        for field in 0..lens.fields.len() {
            let occurrences = docs.occurrences(doc, lens, field);
            let Some(occurrence) = occurrences.get(left) else {
                left -= occurrences.len();
                continue;
            };
            text.map_or(Ok(()), check_json)?;
            self.sets.push(Set { occurrence: *occurrence, text });
            return Ok(());
        }
        Err(format!("occurrence {number} of {} delivered", number as usize - left))
    }

    /// Adds an absent field to its object.
    pub(crate) fn insert(
        &mut self,
        field: u32,
        text: &[u8],
        docs: &Docs,
        doc: &Doc,
        lens: &Lens,
    ) -> Result<(), String> {
        let index = field as usize;
        let path = lens.fields.get(index).and_then(|path| lens.set.path(*path));
        let path = path.ok_or_else(|| format!("field {field} of {} declared", lens.fields.len()))?;
        let name = path.insertable();
        let name = name.ok_or("the path of the field to insert must end in a name and have no wildcards")?;
        if !docs.occurrences(doc, lens, index).is_empty() || self.inserts.iter().any(|other| other.field == field) {
            return Err(format!("field {field} is there already"));
        }
        let parent = docs.parent(doc, lens, index).copied();
        let parent = parent.ok_or_else(|| format!("there is no object that could hold field {field}"))?;
        // Valid UTF-8, as the path is a string.
        let name = serde_json::to_vec(&String::from_utf8_lossy(name)).map_err(|e| e.to_string())?;
        check_json(text)?;
        let member = [&*name, b":", text].concat();
        self.inserts.push(Insert { field, parent, member });
        Ok(())
    }

    /// Returns the edits in the order of the value. If two edits name the same place, the last
    /// counts.
    fn places(&self) -> Result<Vec<Set<'a>>, String> {
        let place = |set: &Set<'_>| (set.occurrence.start, set.occurrence.end);
        let mut sorted = self.sets.clone();
        // Stable: edits of one place stay in the order of the answer.
        sorted.sort_by_key(place);
        let mut sets: Vec<Set<'a>> = Vec::with_capacity(sorted.len());
        for set in sorted {
            match sets.last_mut() {
                Some(last) if place(last) == place(&set) => {
                    if last.text.is_none() {
                        return Err("a field is edited that was removed before".into());
                    }
                    *last = set;
                }
                _ => sets.push(set),
            }
        }
        Ok(sets)
    }

    /// Returns the value with all edits.
    pub(crate) fn apply(&self, value: &[u8]) -> Result<Vec<u8>, String> {
        let sets = self.places()?;
        let mut cuts = Vec::with_capacity(sets.len() + self.inserts.len());
        // Number of removed items by container.
        let mut removed: BTreeMap<u32, u32> = BTreeMap::new();
        let mut last_end = 0;
        for set in &sets {
            let occurrence = &set.occurrence;
            let node = if set.text.is_some() { occurrence.start } else { occurrence.item };
            if node < last_end {
                return Err("an edit of a field lies inside of another one that is edited".into());
            }
            last_end = occurrence.end;
            let (start, end) = (occurrence.start as usize, occurrence.end as usize);
            let Some(text) = set.text else {
                let gone = removed.entry(occurrence.container).or_insert(0);
                let is_first = *gone == occurrence.ordinal;
                *gone += 1;
                let (start, end) = item_with_comma(value, occurrence.item as usize, end, is_first);
                cuts.push(Cut { start, end, text: b"" });
                continue;
            };
            cuts.push(Cut { start, end, text });
        }
        let mut members: Vec<Vec<u8>> = Vec::new();
        for (index, insert) in self.inserts.iter().enumerate() {
            let Parent { open, close, members: count, .. } = insert.parent;
            let inside = sets.iter().any(|set| set.occurrence.start <= open && close < set.occurrence.end);
            if inside {
                return Err("a field is inserted into another one that is edited".into());
            }
            let before = self.inserts.iter().take(index).filter(|other| other.parent.open == open).count();
            let is_only = before == 0 && removed.get(&open).copied().unwrap_or(0) == count;
            let comma: &[u8] = if is_only { b"" } else { b"," };
            members.push([comma, &insert.member].concat());
        }
        for (insert, text) in self.inserts.iter().zip(&members) {
            let at = last_byte_before(value, insert.parent.close as usize) + 1;
            cuts.push(Cut { start: at, end: at, text });
        }
        // Stable: members inserted into one object stay in their order.
        cuts.sort_by_key(|cut| (cut.start, cut.end));
        splice(value, &cuts)
    }
}

/// Returns the range of a member or element with its comma: the one before it, or, if nothing
/// before it stays, the one after it.
fn item_with_comma(value: &[u8], start: usize, end: usize, is_first: bool) -> (usize, usize) {
    if !is_first {
        // The last byte that is not blank is the comma; blanks before it are removed too.
        let comma = last_byte_before(value, start);
        return (last_byte_before(value, comma) + 1, end);
    }
    let after = first_byte_from(value, end);
    if value.get(after) == Some(&b',') {
        return (start, first_byte_from(value, after + 1));
    }
    (start, end)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Returns the position of the last byte before `end` that is not blank.
fn last_byte_before(value: &[u8], end: usize) -> usize {
    value.get(..end).and_then(|before| before.iter().rposition(|b| !is_blank(*b))).unwrap_or(0)
}

fn first_byte_from(value: &[u8], start: usize) -> usize {
    let rest = value.get(start..).unwrap_or_default();
    start + rest.iter().position(|b| !is_blank(*b)).unwrap_or(rest.len())
}

fn splice(value: &[u8], cuts: &[Cut<'_>]) -> Result<Vec<u8>, String> {
    let added: usize = cuts.iter().map(|cut| cut.text.len()).sum();
    let mut out = Vec::with_capacity(value.len() + added);
    let mut from = 0;
    for cut in cuts {
        let kept = value.get(from..cut.start).ok_or("edits of fields overlap")?;
        out.extend_from_slice(kept);
        out.extend_from_slice(cut.text);
        from = cut.end;
    }
    out.extend_from_slice(value.get(from..).ok_or("edits of fields overlap")?);
    Ok(out)
}

/// Checks a new text: if it were not exactly one value, it would change the document around it.
fn check_json(text: &[u8]) -> Result<(), String> {
    match is_json(text) {
        true => Ok(()),
        false => Err("the new text of a field is not one JSON value".into()),
    }
}
