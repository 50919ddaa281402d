//! A record that owns its bytes, for tools and tests. The data path borrows: see
//! [`RecordRef`](crate::RecordRef).

/// A record and its position in a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Topic of the record.
    pub topic: String,
    /// Partition of the record.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Milliseconds since the Unix epoch; -1 where the record has none.
    pub timestamp_ms: i64,
    /// The key; `None` is null.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Names and nullable values, in order.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}
