//! Records as tests look at them: raw bytes, and the short form that a million of them fit in
//! memory in.

use xxhash_rust::xxh3::xxh3_128;

/// Name and value of one header; names are bytes, since Kafka does not check that they are text.
pub type Header = (Vec<u8>, Option<Vec<u8>>);

/// Starts every value (and every [`ID_HEADER`] value) that carries the id of a generated record.
pub const ID_MAGIC: [u8; 8] = *b"straitid";
/// Header that carries the id of a generated record whose value cannot.
pub const ID_HEADER: &[u8] = b"strait-test-id";

/// A record with all its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Partition.
    pub partition: i32,
    /// Offset; of no meaning before the record is in a log.
    pub offset: i64,
    /// Milliseconds since the epoch, -1 for none.
    pub timestamp: i64,
    /// Key; empty is not null.
    pub key: Option<Vec<u8>>,
    /// Value; empty is not null.
    pub value: Option<Vec<u8>>,
    /// Headers in their order.
    pub headers: Vec<Header>,
}

/// A record as the checker compares it: where it is, and what it is by hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRecord {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Milliseconds since the epoch, -1 for none.
    pub timestamp: i64,
    /// The generated record's id, if it has one; see [`Record::id`].
    pub id: Option<u64>,
    /// XXH3 of timestamp, key, value and headers, with lengths and nulls: equal for equal records
    /// only.
    pub content: u128,
}

impl Record {
    /// The id that a generated record carries in its value, or else in its header.
    #[must_use]
    pub fn id(&self) -> Option<u64> {
        let in_value = self.value.as_deref().and_then(parse_id);
        in_value.or_else(|| {
            let header = self.headers.iter().find(|(name, _)| name == ID_HEADER)?;
            parse_id(header.1.as_deref()?)
        })
    }

    /// The short form.
    #[must_use]
    pub fn summary(&self) -> LogRecord {
        LogRecord {
            partition: self.partition,
            offset: self.offset,
            timestamp: self.timestamp,
            id: self.id(),
            content: self.content(),
        }
    }

    fn content(&self) -> u128 {
        let length = self.value.as_ref().map_or(0, Vec::len);
        let mut bytes = Vec::with_capacity(length + 128);
        bytes.extend_from_slice(&self.timestamp.to_be_bytes());
        frame(&mut bytes, self.key.as_deref());
        frame(&mut bytes, self.value.as_deref());
        for (name, value) in &self.headers {
            frame(&mut bytes, Some(name));
            frame(&mut bytes, value.as_deref());
        }
        xxh3_128(&bytes)
    }
}

/// The bytes that carry an id.
#[must_use]
pub fn id_bytes(id: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (to, of) in bytes.iter_mut().zip(ID_MAGIC.into_iter().chain(id.to_be_bytes())) {
        *to = of;
    }
    bytes
}

fn parse_id(bytes: &[u8]) -> Option<u64> {
    let (magic, rest) = bytes.split_first_chunk::<8>()?;
    let (id, _) = rest.split_first_chunk::<8>()?;
    (*magic == ID_MAGIC).then(|| u64::from_be_bytes(*id))
}

/// Appends a field so that no two lists of fields give the same bytes.
fn frame(bytes: &mut Vec<u8>, field: Option<&[u8]>) {
    let length = field.map_or(u64::MAX, |field| field.len() as u64);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(field.unwrap_or_default());
}
