//! Packs the declared columns of some records (layout: `wit/v0.1/plugin.wit`).

use strait_core::batch::{Batch, TimestampType};

use crate::fields::{self, Docs, Lens};
use crate::patch::View;
use crate::plan::{Column, Needs};
use crate::slots::{Slot, Slots};

/// A call's data is cut here: larger ones leave the cache and cost double.
pub(crate) const DATA_BYTES_MAX: usize = 256 << 10;
/// Columns of integers start at multiples of this.
const ALIGNMENT: usize = 8;

/// Buffers that are reused from call to call.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    /// Number, start and length of each column.
    pub(crate) directory: Vec<u32>,
    pub(crate) data: Vec<u8>,
}

/// More than an u32 can count.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// What a plugin is shown: the records of a batch as the chain left them, and its fields of them.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) needs: &'a Needs,
    pub(crate) batch: &'a Batch,
    pub(crate) slots: &'a Slots,
    pub(crate) docs: &'a Docs,
    /// `None` where the plugin reads no fields.
    pub(crate) lens: Option<&'a Lens>,
}

/// About how many bytes a record adds; exact but for the alignment of columns.
pub(crate) fn cost(scene: &Scene<'_>, slot: &Slot, view: &View<'_>) -> usize {
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
                (Some(lens), Some(doc)) => fields::cost(*column, lens, scene.docs, doc),
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
    /// Packs the records at `rows`, indexes into the slots.
    pub(crate) fn pack(&mut self, scene: &Scene<'_>, rows: &[usize], base_offset: u64) -> Result<(), TooLarge> {
        self.directory.clear();
        self.data.clear();
        for column in &scene.needs.columns {
            // Bytes could start anywhere; one rule for all is simpler for those who read it.
            self.data.resize(self.data.len().next_multiple_of(ALIGNMENT), 0);
            let start = self.data.len();
            fill(*column, scene, rows, base_offset, &mut self.data)?;
            let entry = [*column as u32, number(start)?, number(self.data.len() - start)?];
            self.directory.extend(entry);
        }
        Ok(())
    }
}

pub(crate) fn number(value: usize) -> Result<u32, TooLarge> {
    u32::try_from(value).map_err(|_| TooLarge)
}

/// Length of nullable bytes, -1 for null.
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
        return fields::fill(column, lens, docs, (batch, slots, rows), data);
    }
    for view in rows.iter().filter_map(|row| slots.view(*row, batch)) {
        match column {
            Column::OffsetDeltas => {
                let delta = offset(&view).checked_sub(base_offset).ok_or(TooLarge)?;
                data.extend(u32::try_from(delta).map_err(|_| TooLarge)?.to_le_bytes());
            }
            Column::Timestamps => data.extend(view.timestamp_ms().to_le_bytes()),
            // Records do not say over which links they came: all are the source's.
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

/// The record's offset; Kafka has no negative ones.
pub(crate) fn offset(view: &View<'_>) -> u64 {
    u64::try_from(view.record.offset.0).unwrap_or(0)
}
