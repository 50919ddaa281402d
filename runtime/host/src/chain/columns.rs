//! The columns of a batch, and how they are packed (layout: `wit/v0.1/plugin.wit`).

use strait_core::batch::{Batch, TimestampType};

use super::plan::Needs;
use super::slots::{RecordSlot, RecordSlots};
use super::view::View;
use crate::fields::{Doc, Docs, Lens, Occurrence};

/// Bytes of data in a call: more would leave the cache and cost twice as much.
pub(super) const DATA_BYTES_MAX: usize = 256 << 10;
/// Columns of integers start at multiples of this.
const ALIGNMENT: usize = 8;

/// Columns that this host fills; the discriminants are the interface's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Column {
    OffsetDeltas = 1,
    Timestamps = 2,
    KeyLengths = 3,
    Keys = 4,
    ValueLengths = 5,
    Values = 6,
    ValueStates = 7,
    FieldCounts = 8,
    FieldLengths = 9,
    FieldTexts = 10,
    FieldPointers = 11,
    HeaderCounts = 12,
    HeaderNameLengths = 13,
    HeaderNames = 14,
    HeaderValueLengths = 15,
    HeaderValues = 16,
    TimestampTypes = 17,
    Origins = 18,
}

impl Column {
    /// Returns the name for an operator.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::OffsetDeltas => "offsets",
            Self::Timestamps => "timestamps",
            Self::KeyLengths => "key lengths",
            Self::Keys => "keys",
            Self::ValueLengths => "value lengths",
            Self::Values => "values",
            Self::ValueStates => "value states",
            Self::FieldCounts => "field counts",
            Self::FieldLengths => "field lengths",
            Self::FieldTexts => "field texts",
            Self::FieldPointers => "field pointers",
            Self::HeaderCounts => "header counts",
            Self::HeaderNameLengths => "header name lengths",
            Self::HeaderNames => "header names",
            Self::HeaderValueLengths => "header value lengths",
            Self::HeaderValues => "header values",
            Self::TimestampTypes => "timestamp types",
            Self::Origins => "origins",
        }
    }

    pub(super) fn new(number: u32) -> Result<Self, String> {
        Ok(match number {
            1 => Self::OffsetDeltas,
            2 => Self::Timestamps,
            3 => Self::KeyLengths,
            4 => Self::Keys,
            5 => Self::ValueLengths,
            6 => Self::Values,
            7 => Self::ValueStates,
            8 => Self::FieldCounts,
            9 => Self::FieldLengths,
            10 => Self::FieldTexts,
            11 => Self::FieldPointers,
            12 => Self::HeaderCounts,
            13 => Self::HeaderNameLengths,
            14 => Self::HeaderNames,
            15 => Self::HeaderValueLengths,
            16 => Self::HeaderValues,
            17 => Self::TimestampTypes,
            18 => Self::Origins,
            _ => return Err(format!("it asks for column {number}, which this version of Strait does not know")),
        })
    }

    pub(super) fn is_of_fields(self) -> bool {
        matches!(self as u32, 7..=11)
    }

    pub(super) fn is_of_headers(self) -> bool {
        matches!(self as u32, 12..=16)
    }
}

/// Packs columns into buffers that are reused from call to call.
#[derive(Debug, Default)]
pub(super) struct Packer {
    /// Number, start and length of each column.
    pub(super) directory: Vec<u32>,
    pub(super) data: Vec<u8>,
}

/// More bytes or records than an u32 can count.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// The view of a plugin: the records of a batch as the chain left them, and their fields.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) needs: &'a Needs,
    pub(super) batch: &'a Batch,
    pub(super) slots: &'a RecordSlots,
    pub(super) docs: &'a Docs,
    /// `None` where the plugin reads no fields.
    pub(super) lens: Option<&'a Lens>,
}

/// Returns the bytes that a record adds to a call, without the alignment of columns.
pub(super) fn cost(scene: &Scene<'_>, slot: &RecordSlot, view: &View<'_>) -> usize {
    let needs = scene.needs;
    let mut bytes = 0;
    for column in &needs.columns {
        bytes += match column {
            Column::TimestampTypes => 1,
            Column::Timestamps => 8,
            Column::OffsetDeltas
            | Column::KeyLengths
            | Column::ValueLengths
            | Column::HeaderCounts
            | Column::Origins => 4,
            Column::ValueStates
            | Column::FieldCounts
            | Column::FieldLengths
            | Column::FieldTexts
            | Column::FieldPointers => match (scene.lens, scene.docs.get(slot.doc)) {
                (Some(lens), Some(doc)) => field_cost(*column, lens, scene.docs, doc),
                _ => 0,
            },
            Column::Keys => view.key().map_or(0, <[u8]>::len),
            Column::Values => view.value().map_or(0, <[u8]>::len),
            Column::HeaderNameLengths | Column::HeaderValueLengths => {
                let mut sum = 0;
                view.each_header(|h| sum += if needs.headers.delivers(h.name) { 4 } else { 0 });
                sum
            }
            Column::HeaderNames => {
                let mut sum = 0;
                view.each_header(|h| sum += if needs.headers.delivers(h.name) { h.name.len() } else { 0 });
                sum
            }
            Column::HeaderValues => {
                let mut sum = 0;
                view.each_header(|h| {
                    let wanted = h.value.filter(|_| needs.headers.delivers(h.name));
                    sum += wanted.map_or(0, <[u8]>::len);
                });
                sum
            }
        };
    }
    bytes
}

impl Packer {
    /// Packs the records at `rows`, which are indexes into the slots.
    pub(super) fn pack(&mut self, scene: &Scene<'_>, rows: &[usize], base_offset: u64) -> Result<(), TooLarge> {
        self.directory.clear();
        self.data.clear();
        for column in &scene.needs.columns {
            // Bytes could start anywhere, but one rule for all columns is simpler for readers.
            self.data.resize(self.data.len().next_multiple_of(ALIGNMENT), 0);
            let start = self.data.len();
            fill(*column, scene, rows, base_offset, &mut self.data)?;
            let entry = [*column as u32, number(start)?, number(self.data.len() - start)?];
            self.directory.extend(entry);
        }
        Ok(())
    }
}

pub(super) fn number(value: usize) -> Result<u32, TooLarge> {
    u32::try_from(value).map_err(|_| TooLarge)
}

/// Returns the length of nullable bytes, -1 for null.
fn length(bytes: Option<&[u8]>) -> Result<[u8; 4], TooLarge> {
    let length = bytes.map_or(Ok(-1), |b| i32::try_from(b.len()).map_err(|_| TooLarge))?;
    Ok(length.to_le_bytes())
}

fn fill(
    column: Column,
    scene: &Scene<'_>,
    rows: &[usize],
    base_offset: u64,
    data: &mut Vec<u8>,
) -> Result<(), TooLarge> {
    let Scene { needs, batch, slots, docs, lens } = *scene;
    if column.is_of_fields() {
        let Some(lens) = lens else { return Ok(()) };
        return fill_fields(column, lens, docs, (batch, slots, rows), data);
    }
    for view in rows.iter().filter_map(|row| slots.view(*row, batch)) {
        match column {
            Column::OffsetDeltas => {
                let delta = offset(&view).checked_sub(base_offset).ok_or(TooLarge)?;
                data.extend(u32::try_from(delta).map_err(|_| TooLarge)?.to_le_bytes());
            }
            Column::Timestamps => data.extend(view.timestamp_ms().to_le_bytes()),
            // Records do not carry their origin in this version: all come from the source.
            Column::Origins => data.extend(0_u32.to_le_bytes()),
            Column::TimestampTypes => data.push(match batch.timestamp_type() {
                TimestampType::Create => 0,
                TimestampType::Append => 1,
            }),
            Column::KeyLengths => data.extend(length(view.key())?),
            Column::Keys => data.extend_from_slice(view.key().unwrap_or_default()),
            Column::ValueLengths => data.extend(length(view.value())?),
            Column::Values => data.extend_from_slice(view.value().unwrap_or_default()),
            _ => fill_headers(column, needs, &view, data)?,
        }
    }
    Ok(())
}

/// Returns the bytes that a record adds to a column of fields.
fn field_cost(column: Column, lens: &Lens, docs: &Docs, doc: &Doc) -> usize {
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
fn fill_fields(
    column: Column,
    lens: &Lens,
    docs: &Docs,
    (batch, slots, rows): (&Batch, &RecordSlots, &[usize]),
    data: &mut Vec<u8>,
) -> Result<(), TooLarge> {
    let doc_of = |row: usize| slots.get(row).and_then(|slot| docs.get(slot.doc));
    if column == Column::FieldPointers {
        for row in rows {
            each_occurrence(doc_of(*row), lens, docs, |occurrence| {
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
            Column::FieldLengths => each_occurrence(doc, lens, docs, |occurrence| {
                data.extend((occurrence.end - occurrence.start).to_le_bytes());
                Ok(())
            })?,
            Column::FieldTexts => {
                let value = slots.view(*row, batch).and_then(|view| view.value()).unwrap_or_default();
                each_occurrence(doc, lens, docs, |occurrence| {
                    let text = value.get(occurrence.start as usize..occurrence.end as usize);
                    data.extend_from_slice(text.unwrap_or_default());
                    Ok(())
                })?;
            }
            Column::FieldPointers => each_occurrence(doc, lens, docs, |occurrence| {
                data.extend_from_slice(docs.pointer(occurrence));
                Ok(())
            })?,
            _ => {}
        }
    }
    Ok(())
}

fn each_occurrence(
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

fn fill_headers(column: Column, needs: &Needs, view: &View<'_>, data: &mut Vec<u8>) -> Result<(), TooLarge> {
    let mut result = Ok(());
    let mut count = 0_u32;
    view.each_header(|header| {
        if !needs.headers.delivers(header.name) || result.is_err() {
            return;
        }
        match column {
            Column::HeaderCounts => count += 1,
            Column::HeaderNames => data.extend_from_slice(header.name),
            Column::HeaderValues => data.extend_from_slice(header.value.unwrap_or_default()),
            Column::HeaderNameLengths => append(length(Some(header.name)), data, &mut result),
            Column::HeaderValueLengths => append(length(header.value), data, &mut result),
            _ => {}
        }
    });
    if column == Column::HeaderCounts {
        data.extend(count.to_le_bytes());
    }
    result
}

fn append(length: Result<[u8; 4], TooLarge>, data: &mut Vec<u8>, result: &mut Result<(), TooLarge>) {
    match length {
        Ok(length) => data.extend(length),
        Err(error) => *result = Err(error),
    }
}

/// Returns the record's offset; Kafka has no negative ones.
pub(super) fn offset(view: &View<'_>) -> u64 {
    u64::try_from(view.record.offset.0).unwrap_or(0)
}
