//! Reads the columns of a batch (layout: `plugin.wit`).

use crate::bindings::strait::plugin::types::Batch;

/// One column of integers or bytes; `None` where the plugin did not ask for it.
type Column<'a> = Option<&'a [u8]>;

pub(crate) struct Columns<'a> {
    batch: &'a Batch,
    by_number: [Column<'a>; 19],
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
}

/// One header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Name, as the bytes on the wire: not always UTF-8.
    pub name: &'a [u8],
    /// `None` is a null value.
    pub value: Option<&'a [u8]>,
}

/// One record, as far as the plugin asked for it.
///
/// Asking for something that [`crate::Needs`] did not name is a bug in the plugin and panics: to answer "null" would be a lie.
pub struct Record<'a> {
    columns: &'a Columns<'a>,
    index: usize,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: Vec<Header<'a>>,
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
        Ok(Self { batch, by_number })
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
    pub(crate) fn next<'c>(&'c self, cursor: &mut Cursor, mut headers: Vec<Header<'c>>) -> Record<'c> {
        let index = cursor.index;
        cursor.index += 1;
        let key = self.bytes(3, 4, index, &mut cursor.key);
        let value = self.bytes(5, 6, index, &mut cursor.value);
        for _ in 0..self.u32_at(12, index).unwrap_or(0) {
            let name = self.bytes(13, 14, cursor.header, &mut cursor.header_name);
            let value = self.bytes(15, 16, cursor.header, &mut cursor.header_value);
            cursor.header += 1;
            headers.push(Header { name: name.unwrap_or_default(), value });
        }
        Record { columns: self, index, key, value, headers }
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

    /// The declared headers, or all, in their order. An index into them is what [`crate::Change::header`] takes.
    #[must_use]
    pub fn headers(&self) -> &[Header<'a>] {
        self.columns.require(12, "the headers");
        &self.headers
    }

    pub(crate) fn into_headers(self) -> Vec<Header<'a>> {
        self.headers
    }
}
