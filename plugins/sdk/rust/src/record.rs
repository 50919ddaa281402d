//! Access to the columns of a batch. `plugin.wit` defines the layout.

use std::borrow::Cow;

use crate::{bindings::strait::plugin::types::Batch, json};

/// A column of integers or bytes, or `None` if the plugin did not request it.
type Column<'a> = Option<&'a [u8]>;

pub(crate) struct Columns<'a> {
    batch: &'a Batch,
    by_number: [Column<'a>; 19],
    /// Number of paths that the plugin declared for this topic.
    fields: usize,
    /// Start of the pointers' bytes in column 11, after all their lengths.
    pointers_start: usize,
}

/// Start of the next record's bytes in each column of bytes.
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

/// Lists that records reuse one after another, so that a record costs no allocation.
#[derive(Default)]
pub(crate) struct Lists<'a> {
    headers: Vec<Header<'a>>,
    fields: Vec<Field<'a>>,
}

/// A header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Name as the bytes on the wire, which are not always UTF-8.
    pub name: &'a [u8],
    /// `None` is a null value.
    pub value: Option<&'a [u8]>,
}

/// A place in a record's JSON value where a declared path matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Number among all occurrences of the record, as [`crate::Change::field`] takes it.
    pub occurrence: u32,
    /// Index of the path in [`crate::Needs::fields`].
    pub field: u32,
    /// JSON source text, with numbers and escapes as written.
    pub json: &'a [u8],
    /// Location as a JSON Pointer (RFC 6901). Empty unless requested with
    /// [`crate::Needs::field_pointers`].
    pub pointer: &'a [u8],
}

impl<'a> Field<'a> {
    /// Returns the text of a JSON string, or `None` for any other type.
    #[must_use]
    pub fn text(&self) -> Option<Cow<'a, str>> {
        json::text(self.json)
    }
}

/// The state of a value as a JSON document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueState {
    /// Exactly one well-formed document; its fields can be trusted.
    Parsed,
    /// A null value: a tombstone.
    Null,
    /// A value without bytes.
    Empty,
    /// Not JSON.
    NotJson,
    /// Not UTF-8.
    NotUtf8,
    /// A byte order mark before the document, or bytes after it.
    TrailingBytes,
    /// A name occurs twice in an object on a declared path.
    DuplicateName,
    /// Nested too deeply, or too large.
    TooLarge,
    /// The path of a field meets something that it cannot step into.
    WrongShape,
    /// A state that this SDK does not know. Treat the value as not judged.
    Unknown,
}

impl ValueState {
    /// Returns whether the fields can be trusted, or there is no value. A value in any other state
    /// was not judged.
    #[must_use]
    pub fn is_judged(self) -> bool {
        matches!(self, Self::Parsed | Self::Null)
    }
}

/// A record, with the parts that the plugin requested.
///
/// Access to a part that [`crate::Needs`] did not request is a bug in the plugin and panics,
/// because returning null would be wrong.
pub struct Record<'a> {
    columns: &'a Columns<'a>,
    index: usize,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    lists: Lists<'a>,
}

impl<'a> Columns<'a> {
    /// # Errors
    /// The directory does not fit its data.
    pub(crate) fn new(batch: &'a Batch) -> Result<Self, String> {
        let mut by_number = [None; 19];
        for entry in batch.columns.chunks_exact(3) {
            let (number, start, len) = (entry[0] as usize, entry[1] as usize, entry[2] as usize);
            let bytes = batch.data.get(start..start.saturating_add(len));
            let bytes = bytes.ok_or_else(|| format!("column {number} is outside the data"))?;
            // Columns of a newer host are ignored.
            if let Some(column) = by_number.get_mut(number) {
                *column = Some(bytes);
            }
        }
        // One count per record and path in column 8, one length per occurrence in column 9 and
        // before the bytes of column 11.
        let counts = by_number[8].map_or(0, <[u8]>::len) / 4;
        let records = batch.count as usize;
        if records > 0 && counts % records != 0 {
            return Err(format!("column 8 has {counts} counts for {records} records"));
        }
        let fields = counts.checked_div(records).unwrap_or(0);
        let pointers_start = by_number[9].map_or(0, <[u8]>::len);
        Ok(Self { batch, by_number, fields, pointers_start })
    }

    /// Bit 0 of `mode`: the records were judged before.
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

    /// Returns the next byte string of a column; `index` is the position of its length in the
    /// column of lengths. -1 is null.
    fn bytes(&self, lengths: usize, bytes: usize, index: usize, at: &mut usize) -> Option<&'a [u8]> {
        let len = usize::try_from(self.u32_at(lengths, index)? as i32).ok()?;
        let start = *at;
        *at += len;
        self.by_number[bytes]?.get(start..start + len)
    }

    /// Returns the record at the cursor and advances the cursor.
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
            "the plugin reads {what}, but its needs do not request column {number}"
        );
    }
}

impl<'a> Record<'a> {
    /// Returns the source topic, or the name that an earlier plugin of the chain gave it.
    #[must_use]
    pub fn topic(&self) -> &'a str {
        &self.columns.batch.topic
    }

    /// Returns the source partition.
    #[must_use]
    pub fn partition(&self) -> u32 {
        self.columns.batch.partition
    }

    /// Returns whether this record is part of a warm-up (see [`crate::Needs::lookback`]). The
    /// result of the plugin is ignored.
    #[must_use]
    pub fn is_warm_up(&self) -> bool {
        self.columns.is_warm_up()
    }

    /// Returns whether this is a retry, because an earlier call with the record failed.
    #[must_use]
    pub fn is_second_try(&self) -> bool {
        self.columns.batch.mode & 2 == 2
    }

    /// Returns the source offset. Needs [`crate::column::OFFSET`].
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.columns.require(1, "the offset");
        self.columns.batch.base_offset + u64::from(self.columns.u32_at(1, self.index).unwrap_or(0))
    }

    /// Returns the timestamp in milliseconds since the Unix epoch, or -1 if there is none. Needs
    /// [`crate::column::TIMESTAMP`].
    #[must_use]
    pub fn timestamp_ms(&self) -> i64 {
        self.columns.require(2, "the timestamp");
        self.columns.i64_at(2, self.index).unwrap_or(-1)
    }

    /// Returns whether the source broker set the timestamp. Needs
    /// [`crate::column::TIMESTAMP_TYPE`].
    #[must_use]
    pub fn timestamp_is_append_time(&self) -> bool {
        self.columns.require(17, "the timestamp type");
        self.columns.by_number[17].and_then(|c| c.get(self.index)) == Some(&1)
    }

    /// Returns the cluster where the record was produced, if it came over other links, or `None` if
    /// it was produced on the source. Needs [`crate::column::ORIGIN`].
    #[must_use]
    pub fn origin(&self) -> Option<&'a str> {
        self.columns.require(18, "the origin");
        let index = self.columns.u32_at(18, self.index)?;
        self.columns.batch.origins.get(index as usize).map(String::as_str)
    }

    /// Returns the key; `None` is a null key. Needs [`crate::column::KEY`].
    #[must_use]
    pub fn key(&self) -> Option<&'a [u8]> {
        self.columns.require(4, "the key");
        self.key
    }

    /// Returns the value; `None` is a tombstone. Needs [`crate::column::VALUE`].
    #[must_use]
    pub fn value(&self) -> Option<&'a [u8]> {
        self.columns.require(6, "the value");
        self.value
    }

    /// Returns the state of the value as a document. Needs [`crate::Needs::fields`].
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
            Some(8) => ValueState::WrongShape,
            _ => ValueState::Unknown,
        }
    }

    /// Returns every occurrence of every declared path, path by path. Needs
    /// [`crate::Needs::fields`].
    #[must_use]
    pub fn fields(&self) -> &[Field<'a>] {
        self.columns.require(8, "the fields");
        &self.lists.fields
    }

    /// Returns the occurrences of the path at an index of [`crate::Needs::fields`]. Panics if there
    /// is no path at this index.
    #[must_use]
    pub fn field(&self, field: u32) -> &[Field<'a>] {
        let fields = self.fields();
        let named = self.columns.fields;
        assert!((field as usize) < named, "the plugin reads field {field}, but its needs name {named} for this topic");
        let start = fields.partition_point(|occurrence| occurrence.field < field);
        let end = fields.partition_point(|occurrence| occurrence.field <= field);
        &fields[start..end]
    }

    /// Returns the text of the first occurrence of a path, or `None` if there is none or it is not
    /// a JSON string.
    #[must_use]
    pub fn field_text(&self, field: u32) -> Option<Cow<'a, str>> {
        self.field(field).first()?.text()
    }

    /// Returns the declared headers, or all of them, in their order. [`crate::Change::header`]
    /// takes an index into this list.
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
