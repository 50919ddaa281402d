//! Reads the columns of a batch (layout: `plugin.wit`).

use std::borrow::Cow;

use crate::{bindings::strait::plugin::types::Batch, json};

/// One column of integers or bytes; `None` where the plugin did not ask for it.
type Column<'a> = Option<&'a [u8]>;

pub(crate) struct Columns<'a> {
    batch: &'a Batch,
    by_number: [Column<'a>; 19],
    /// How many paths the plugin declared for this topic.
    fields: usize,
    /// Where the bytes of the pointers start in column 11, after all their lengths.
    pointers_start: usize,
}

/// Where the next record's bytes start in each column of bytes.
#[derive(Default)]
pub(crate) struct Cursor {
    index: usize,
    key: usize,
    value: usize,
    header: usize,
    header_name: usize,
    header_value: usize,
    occurrence: usize,
    field: usize,
    pointer: usize,
}

/// Lists that one record hands on to the next, so that a record costs no allocation.
#[derive(Default)]
pub(crate) struct Lists<'a> {
    headers: Vec<Header<'a>>,
    fields: Vec<Field<'a>>,
}

/// One header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Name, as the bytes on the wire: not always UTF-8.
    pub name: &'a [u8],
    /// `None` is a null value.
    pub value: Option<&'a [u8]>,
}

/// One place in a record's JSON value where a declared path matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its number among all occurrences of the record: what [`crate::Change::field`] takes.
    pub occurrence: u32,
    /// Index of the path in [`crate::Needs::fields`].
    pub field: u32,
    /// JSON source text, numbers and escapes as they are written.
    pub json: &'a [u8],
    /// Where it is, as a JSON Pointer (RFC 6901); empty unless [`crate::Needs::field_pointers`] asked for it.
    pub pointer: &'a [u8],
}

impl<'a> Field<'a> {
    /// The text of a JSON string; `None` for anything else.
    #[must_use]
    pub fn text(&self) -> Option<Cow<'a, str>> {
        json::text(self.json)
    }
}

/// What the value is as a JSON document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueState {
    /// Exactly one well-formed document; its fields can be trusted.
    Parsed,
    /// A null value: a tombstone.
    Null,
    /// A value of no bytes.
    Empty,
    /// Not JSON.
    NotJson,
    /// Not UTF-8.
    NotUtf8,
    /// A byte order mark before the document, or bytes after it.
    TrailingBytes,
    /// A name stands twice in an object on a declared path.
    DuplicateName,
    /// Nested too deeply, or too large.
    TooLarge,
    /// A state that this SDK does not know: not judged.
    Unknown,
}

/// One record, as far as the plugin asked for it.
///
/// Asking for something that [`crate::Needs`] did not name is a bug in the plugin and panics: to answer "null" would be a lie.
pub struct Record<'a> {
    columns: &'a Columns<'a>,
    index: usize,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    lists: Lists<'a>,
}

impl<'a> Columns<'a> {
    /// # Errors
    /// A directory that does not fit its data.
    pub(crate) fn new(batch: &'a Batch) -> Result<Self, String> {
        let mut by_number = [None; 19];
        for entry in batch.columns.chunks_exact(3) {
            let (number, start, len) = (entry[0] as usize, entry[1] as usize, entry[2] as usize);
            let bytes = batch.data.get(start..start.saturating_add(len));
            let bytes = bytes.ok_or_else(|| format!("column {number} lies outside of the data"))?;
            // Columns of a newer host are none of ours.
            if let Some(column) = by_number.get_mut(number) {
                *column = Some(bytes);
            }
        }
        // One count per record and path in column 8, one length per occurrence in column 9 and before the bytes of column 11.
        let counts = by_number[8].map_or(0, <[u8]>::len) / 4;
        let records = batch.count as usize;
        if records > 0 && counts % records != 0 {
            return Err(format!("column 8 has {counts} counts for {records} records"));
        }
        let fields = counts.checked_div(records).unwrap_or(0);
        let pointers_start = by_number[9].map_or(0, <[u8]>::len);
        Ok(Self { batch, by_number, fields, pointers_start })
    }

    /// Bit 0 of `mode`: edits would be an error.
    pub(crate) fn is_warm_up(&self) -> bool {
        self.batch.mode & 1 == 1
    }

    fn u32_at(&self, number: usize, index: usize) -> Option<u32> {
        let bytes = self.by_number[number]?.get(index * 4..index * 4 + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }

    fn i64_at(&self, number: usize, index: usize) -> Option<i64> {
        let bytes = self.by_number[number]?.get(index * 8..index * 8 + 8)?;
        Some(i64::from_le_bytes(bytes.try_into().ok()?))
    }

    /// The next run of bytes of a column, whose length stands at `index` of the column of lengths. -1 is null.
    fn bytes(&self, lengths: usize, bytes: usize, index: usize, at: &mut usize) -> Option<&'a [u8]> {
        let len = usize::try_from(self.u32_at(lengths, index)? as i32).ok()?;
        let start = *at;
        *at += len;
        self.by_number[bytes]?.get(start..start + len)
    }

    /// The record at the cursor, which moves on.
    pub(crate) fn next<'c>(&'c self, cursor: &mut Cursor, mut lists: Lists<'c>) -> Record<'c> {
        let index = cursor.index;
        cursor.index += 1;
        let key = self.bytes(3, 4, index, &mut cursor.key);
        let value = self.bytes(5, 6, index, &mut cursor.value);
        for _ in 0..self.u32_at(12, index).unwrap_or(0) {
            let name = self.bytes(13, 14, cursor.header, &mut cursor.header_name);
            let value = self.bytes(15, 16, cursor.header, &mut cursor.header_value);
            cursor.header += 1;
            lists.headers.push(Header { name: name.unwrap_or_default(), value });
        }
        for field in 0..self.fields {
            for _ in 0..self.u32_at(8, index * self.fields + field).unwrap_or(0) {
                let json = self.bytes(9, 10, cursor.occurrence, &mut cursor.field).unwrap_or_default();
                let pointer = self.pointer(cursor);
                cursor.occurrence += 1;
                lists.fields.push(Field { occurrence: lists.fields.len() as u32, field: field as u32, json, pointer });
            }
        }
        Record { columns: self, index, key, value, lists }
    }

    fn pointer(&self, cursor: &mut Cursor) -> &'a [u8] {
        let (Some(len), Some(column)) = (self.u32_at(11, cursor.occurrence), self.by_number[11]) else {
            return &[];
        };
        let start = self.pointers_start + cursor.pointer;
        cursor.pointer += len as usize;
        column.get(start..start + len as usize).unwrap_or_default()
    }

    fn require(&self, number: usize, what: &str) {
        assert!(
            self.by_number[number].is_some(),
            "the plugin asks for {what} but its needs do not name column {number}"
        );
    }
}

impl<'a> Record<'a> {
    /// The source topic, or the name that an earlier plugin of the chain gave it.
    #[must_use]
    pub fn topic(&self) -> &'a str {
        &self.columns.batch.topic
    }

    /// Source partition.
    #[must_use]
    pub fn partition(&self) -> u32 {
        self.columns.batch.partition
    }

    /// Whether this record only warms up the plugin's memory (see [`crate::Needs::lookback`]). What is said of it is ignored.
    #[must_use]
    pub fn is_warm_up(&self) -> bool {
        self.columns.is_warm_up()
    }

    /// Whether the record is shown again because a call that held it failed.
    #[must_use]
    pub fn is_second_try(&self) -> bool {
        self.columns.batch.mode & 2 == 2
    }

    /// Whether what is said is compared only, not done.
    #[must_use]
    pub fn is_shadow(&self) -> bool {
        self.columns.batch.mode & 4 == 4
    }

    /// Source offset. Needs [`crate::column::OFFSET`].
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.columns.require(1, "the offset");
        self.columns.batch.base_offset + u64::from(self.columns.u32_at(1, self.index).unwrap_or(0))
    }

    /// Milliseconds since the Unix epoch; -1 where there is none. Needs [`crate::column::TIMESTAMP`].
    #[must_use]
    pub fn timestamp_ms(&self) -> i64 {
        self.columns.require(2, "the timestamp");
        self.columns.i64_at(2, self.index).unwrap_or(-1)
    }

    /// Whether the source broker set the timestamp. Needs [`crate::column::TIMESTAMP_TYPE`].
    #[must_use]
    pub fn timestamp_is_append_time(&self) -> bool {
        self.columns.require(17, "the timestamp type");
        self.columns.by_number[17].and_then(|c| c.get(self.index)) == Some(&1)
    }

    /// The cluster where a record began that came over other links; `None` for one of the source itself. Needs
    /// [`crate::column::ORIGIN`].
    #[must_use]
    pub fn origin(&self) -> Option<&'a str> {
        self.columns.require(18, "the origin");
        let index = self.columns.u32_at(18, self.index)?;
        self.columns.batch.origins.get(index as usize).map(String::as_str)
    }

    /// `None` is a null key. Needs [`crate::column::KEY`].
    #[must_use]
    pub fn key(&self) -> Option<&'a [u8]> {
        self.columns.require(4, "the key");
        self.key
    }

    /// `None` is a tombstone. Needs [`crate::column::VALUE`].
    #[must_use]
    pub fn value(&self) -> Option<&'a [u8]> {
        self.columns.require(6, "the value");
        self.value
    }

    /// What the value is as a document. Needs [`crate::Needs::fields`].
    #[must_use]
    pub fn value_state(&self) -> ValueState {
        self.columns.require(7, "the state of the value");
        match self.columns.by_number[7].and_then(|c| c.get(self.index)) {
            Some(0) => ValueState::Parsed,
            Some(1) => ValueState::Null,
            Some(2) => ValueState::Empty,
            Some(3) => ValueState::NotJson,
            Some(4) => ValueState::NotUtf8,
            Some(5) => ValueState::TrailingBytes,
            Some(6) => ValueState::DuplicateName,
            Some(7) => ValueState::TooLarge,
            _ => ValueState::Unknown,
        }
    }

    /// Every occurrence of every declared path, path by path. Needs [`crate::Needs::fields`].
    #[must_use]
    pub fn fields(&self) -> &[Field<'a>] {
        self.columns.require(8, "the fields");
        &self.lists.fields
    }

    /// The occurrences of one declared path, by its index in [`crate::Needs::fields`].
    #[must_use]
    pub fn field(&self, field: u32) -> &[Field<'a>] {
        let fields = self.fields();
        let start = fields.partition_point(|occurrence| occurrence.field < field);
        let end = fields.partition_point(|occurrence| occurrence.field <= field);
        &fields[start..end]
    }

    /// The text of the first occurrence of a path; `None` where there is none or it is no JSON string.
    #[must_use]
    pub fn field_text(&self, field: u32) -> Option<Cow<'a, str>> {
        self.field(field).first()?.text()
    }

    /// The declared headers, or all, in their order. An index into them is what [`crate::Change::header`] takes.
    #[must_use]
    pub fn headers(&self) -> &[Header<'a>] {
        self.columns.require(12, "the headers");
        &self.lists.headers
    }

    pub(crate) fn into_lists(self) -> Lists<'a> {
        let mut lists = self.lists;
        lists.headers.clear();
        lists.fields.clear();
        lists
    }
}
