//! Fills columns 7 to 11 (layout: `wit/v0.1/plugin.wit`).

use strait_core::batch::Batch;

use super::scan::Occurrence;
use super::{Doc, Docs, Lens};
use crate::columns::{TooLarge, number};
use crate::plan::Column;
use crate::slots::Slots;

/// Bytes that a record adds to a column of fields.
pub(crate) fn cost(column: Column, lens: &Lens, docs: &Docs, doc: &Doc) -> usize {
    let each = |bytes: fn(&Docs, &Occurrence) -> usize| {
        let fields = (0..lens.fields.len()).flat_map(|field| docs.occurrences(doc, lens, field));
        fields.map(|occurrence| bytes(docs, occurrence)).sum()
    };
    match column {
        Column::ValueStates => 1,
        Column::FieldCounts => 4 * lens.fields.len(),
        Column::FieldLengths => each(|_, _| 4),
        Column::FieldTexts => each(|_, occurrence| (occurrence.end - occurrence.start) as usize),
        Column::FieldPointers => each(|docs, occurrence| 4 + docs.pointer(occurrence).len()),
        _ => 0,
    }
}

/// Fills a column of fields.
pub(crate) fn fill(
    column: Column,
    lens: &Lens,
    docs: &Docs,
    (batch, slots, rows): (&Batch, &Slots, &[usize]),
    data: &mut Vec<u8>,
) -> Result<(), TooLarge> {
    let doc_of = |row: usize| slots.get(row).and_then(|slot| docs.get(slot.doc));
    if column == Column::FieldPointers {
        for row in rows {
            each(doc_of(*row), lens, docs, |occurrence| {
                data.extend(number(docs.pointer(occurrence).len())?.to_le_bytes());
                Ok(())
            })?;
        }
    }
    for row in rows {
        let doc = doc_of(*row);
        match column {
            Column::ValueStates => data.push(doc.map_or(0, |doc| doc.state(lens) as u8)),
            Column::FieldCounts => {
                for field in 0..lens.fields.len() {
                    let count = doc.map_or(0, |doc| docs.occurrences(doc, lens, field).len());
                    data.extend(number(count)?.to_le_bytes());
                }
            }
            Column::FieldLengths => each(doc, lens, docs, |occurrence| {
                data.extend((occurrence.end - occurrence.start).to_le_bytes());
                Ok(())
            })?,
            Column::FieldTexts => {
                let value = slots.view(*row, batch).and_then(|view| view.value()).unwrap_or_default();
                each(doc, lens, docs, |occurrence| {
                    let text = value.get(occurrence.start as usize..occurrence.end as usize);
                    data.extend_from_slice(text.unwrap_or_default());
                    Ok(())
                })?;
            }
            Column::FieldPointers => each(doc, lens, docs, |occurrence| {
                data.extend_from_slice(docs.pointer(occurrence));
                Ok(())
            })?,
            _ => {}
        }
    }
    Ok(())
}

fn each(
    doc: Option<&Doc>,
    lens: &Lens,
    docs: &Docs,
    mut visit: impl FnMut(&Occurrence) -> Result<(), TooLarge>,
) -> Result<(), TooLarge> {
    let Some(doc) = doc else { return Ok(()) };
    for field in 0..lens.fields.len() {
        for occurrence in docs.occurrences(doc, lens, field) {
            visit(occurrence)?;
        }
    }
    Ok(())
}
