//! A fetched piece of one source partition: records in offset order, their bytes in one arena.
//!
//! One arena and a small descriptor per record, instead of several vectors per record: a fetch
//! costs a handful of allocations however many records it has, its memory is known exactly, and
//! plugin columns are copies of slices.

use std::sync::Arc;

use crate::lanes::fingerprint;
use crate::offset::{LeaderEpoch, SourceOffset};

/// Meaning of a record's timestamp (`message.timestamp.type` of the source topic).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampType {
    /// Set by the producer.
    #[default]
    Create,
    /// Set by the source broker when it appended the record.
    Append,
}

/// Position of a nullable byte string in the arena.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    /// `None` is Kafka's null, which differs from an empty string.
    len: Option<usize>,
}

impl Span {
    /// Lets the bytes begin later, at most at their end.
    fn cut(&mut self, bytes: usize) {
        let Some(len) = self.len else { return };
        let bytes = bytes.min(len);
        self.start += bytes;
        self.len = Some(len - bytes);
    }
}

#[derive(Clone, Copy, Debug)]
struct Meta {
    offset: SourceOffset,
    timestamp_ms: i64,
    key: Span,
    value: Span,
    headers_start: usize,
    headers_end: usize,
}

#[derive(Clone, Copy, Debug)]
struct HeaderMeta {
    name: Span,
    value: Span,
}

/// Records of one source partition in ascending offset order.
#[derive(Clone, Debug)]
pub struct Batch {
    topic: Arc<str>,
    partition: i32,
    timestamp_type: TimestampType,
    leader_epoch: LeaderEpoch,
    records: Vec<Meta>,
    headers: Vec<HeaderMeta>,
    data: Vec<u8>,
}

/// Builder of a [`Batch`].
#[derive(Debug)]
pub struct BatchBuilder {
    batch: Batch,
}

/// A borrowed record of a batch.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    /// Offset in the source partition.
    pub offset: SourceOffset,
    /// Timestamp in milliseconds since the Unix epoch; -1 if the message format has none.
    pub timestamp_ms: i64,
    /// `None` is a null key.
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers in the order of the record, duplicates included.
    pub headers: Headers<'a>,
}

/// A header. Its name is kept as the bytes on the wire, because names are not always UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderRef<'a> {
    /// Name; may be empty, repeated or invalid UTF-8.
    pub name: &'a [u8],
    /// `None` is a null value.
    pub value: Option<&'a [u8]>,
}

/// The headers of one record.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    metas: &'a [HeaderMeta],
    data: &'a [u8],
}

impl<'a> Headers<'a> {
    /// Returns the number of headers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.metas.len()
    }

    /// Returns whether the record has no headers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.metas.is_empty()
    }

    /// Iterates over the headers in the order of the record.
    pub fn iter(&self) -> impl Iterator<Item = HeaderRef<'a>> + use<'a> {
        let data = self.data;
        self.metas.iter().map(move |meta| HeaderRef {
            name: slice(data, meta.name).unwrap_or_default(),
            value: slice(data, meta.value),
        })
    }
}

#[inline]
fn slice(data: &[u8], span: Span) -> Option<&[u8]> {
    let len = span.len?;
    // Only the builder creates spans, from the arena's own length, so the lookup cannot miss.
    Some(data.get(span.start..span.start + len).unwrap_or_default())
}

impl BatchBuilder {
    /// Creates an empty batch of one partition.
    #[must_use]
    pub fn new(topic: Arc<str>, partition: i32, timestamp_type: TimestampType, leader_epoch: LeaderEpoch) -> Self {
        Self {
            batch: Batch {
                topic,
                partition,
                timestamp_type,
                leader_epoch,
                records: Vec::new(),
                headers: Vec::new(),
                data: Vec::new(),
            },
        }
    }

    /// Reserves memory for `records` records of `bytes` bytes in total.
    #[must_use]
    pub fn with_capacity(mut self, records: usize, bytes: usize) -> Self {
        self.batch.records.reserve(records);
        self.batch.data.reserve(bytes);
        self
    }

    /// Appends a record without headers. Add headers with [`BatchBuilder::push_header`].
    pub fn push(&mut self, offset: SourceOffset, timestamp_ms: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
        let key = self.append(key);
        let value = self.append(value);
        let headers = self.batch.headers.len();
        self.batch.records.push(Meta {
            offset,
            timestamp_ms,
            key,
            value,
            headers_start: headers,
            headers_end: headers,
        });
    }

    /// Appends a header to the last record. Does nothing if the batch is empty.
    pub fn push_header(&mut self, name: &[u8], value: Option<&[u8]>) {
        let name = self.append(Some(name));
        let value = self.append(value);
        let Some(record) = self.batch.records.last_mut() else {
            return;
        };
        self.batch.headers.push(HeaderMeta { name, value });
        record.headers_end = self.batch.headers.len();
    }

    /// Returns the number of records so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch.records.len()
    }

    /// Returns whether the batch has no record yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batch.records.is_empty()
    }

    /// Returns the size of keys, values and headers so far, in bytes.
    #[must_use]
    pub fn data_bytes(&self) -> usize {
        self.batch.data.len()
    }

    /// Returns the finished batch.
    #[must_use]
    pub fn build(self) -> Batch {
        self.batch
    }

    #[inline]
    fn append(&mut self, bytes: Option<&[u8]>) -> Span {
        let start = self.batch.data.len();
        let Some(bytes) = bytes else {
            return Span { start, len: None };
        };
        self.batch.data.extend_from_slice(bytes);
        Span { start, len: Some(bytes.len()) }
    }
}

impl Batch {
    /// Returns the source topic.
    #[must_use]
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// Returns the source partition.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// Returns the type of the timestamps, which is the same for the whole batch.
    #[must_use]
    pub fn timestamp_type(&self) -> TimestampType {
        self.timestamp_type
    }

    /// Returns the leader epoch of the records. A batch never mixes epochs.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// Returns the number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns whether the batch has no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Returns the memory that the batch holds, in bytes. The lane's window counts this figure.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.data.capacity()
            + self.records.capacity() * size_of::<Meta>()
            + self.headers.capacity() * size_of::<HeaderMeta>()
    }

    /// Returns the size of all keys, values and headers in bytes.
    #[must_use]
    pub fn data_bytes(&self) -> usize {
        self.data.len()
    }

    /// Returns the offset of the first record, or `None` if the batch is empty.
    #[must_use]
    pub fn first_offset(&self) -> Option<SourceOffset> {
        self.records.first().map(|r| r.offset)
    }

    /// Returns the offset of the last record, or `None` if the batch is empty.
    #[must_use]
    pub fn last_offset(&self) -> Option<SourceOffset> {
        self.records.last().map(|r| r.offset)
    }

    /// Returns the record at `index`, counted from 0 within the batch.
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> Option<RecordRef<'_>> {
        self.records.get(index).map(|meta| self.view(meta))
    }

    /// Iterates over all records in offset order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = RecordRef<'_>> {
        self.records.iter().map(|meta| self.view(meta))
    }

    /// Returns the same records, of which keys and values begin so many bytes later. Null stays
    /// null.
    #[must_use]
    pub fn without_prefixes(&self, lengths: &[(usize, usize)]) -> Self {
        let mut batch = self.clone();
        for (meta, (key, value)) in batch.records.iter_mut().zip(lengths) {
            meta.key.cut(*key);
            meta.value.cut(*value);
        }
        batch
    }

    #[inline]
    fn view(&self, meta: &Meta) -> RecordRef<'_> {
        RecordRef {
            offset: meta.offset,
            timestamp_ms: meta.timestamp_ms,
            key: slice(&self.data, meta.key),
            value: slice(&self.data, meta.value),
            headers: Headers {
                metas: self.headers.get(meta.headers_start..meta.headers_end).unwrap_or_default(),
                data: &self.data,
            },
        }
    }
}

impl RecordRef<'_> {
    /// Returns the size of key, value and headers in bytes.
    #[must_use]
    pub fn data_bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|h| h.name.len() + h.value.map_or(0, <[u8]>::len)).sum();
        self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len) + headers
    }

    /// Returns the mark of the record.
    #[must_use]
    pub fn mark(&self) -> RecordMark {
        // Null differs from every length.
        let length = |bytes: Option<&[u8]>| bytes.map_or(u64::MAX, |bytes| bytes.len() as u64);
        let end = |bytes: Option<&[u8]>| {
            let last = bytes.unwrap_or_default().iter().rev().take(8);
            last.fold(0, |all: u64, byte| (all << 8) | u64::from(*byte))
        };
        let parts = [
            self.timestamp_ms.cast_unsigned(),
            length(self.key),
            end(self.key),
            length(self.value),
            end(self.value),
            self.headers.len() as u64,
        ];
        let hash = fingerprint(parts.map(u64::to_le_bytes).as_flattened());
        RecordMark((hash ^ (hash >> 32)) as u32)
    }
}

/// Tells a record from another one at the same offset, as after its topic was deleted and created
/// anew. Made of the timestamp, the lengths and the last bytes, so it costs the same for every
/// record. Valid within a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordMark(u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_keeps_null_apart_from_empty_and_headers_in_order() {
        let mut builder = BatchBuilder::new("t".into(), 3, TimestampType::Create, LeaderEpoch(1));
        builder.push(SourceOffset(5), 0, None, Some(b""));
        builder.push_header(b"\xff\xfe", None);
        builder.push_header(b"a", Some(b"1"));
        builder.push_header(b"a", Some(b""));
        builder.push(SourceOffset(9), -1, Some(b""), None);
        let batch = builder.build();

        let first = batch.get(0).unwrap();
        assert_eq!((first.key, first.value), (None, Some(&b""[..])));
        let headers: Vec<_> = first.headers.iter().map(|h| (h.name, h.value)).collect();
        assert_eq!(headers, [(&b"\xff\xfe"[..], None), (&b"a"[..], Some(&b"1"[..])), (&b"a"[..], Some(&b""[..]))]);
        let second = batch.get(1).unwrap();
        assert_eq!((second.key, second.value, second.headers.len()), (Some(&b""[..]), None, 0));
        assert_eq!((batch.first_offset(), batch.last_offset()), (Some(SourceOffset(5)), Some(SourceOffset(9))));
        assert!(batch.get(2).is_none());
        assert_ne!(first.mark(), second.mark());
        assert_ne!(second.mark(), RecordRef { value: Some(b""), ..second }.mark(), "null is not empty");
        assert_ne!(first.mark(), RecordRef { timestamp_ms: 1, ..first }.mark());
        assert_eq!(first.mark(), RecordRef { offset: SourceOffset(6), ..first }.mark());
        let with = |value| RecordRef { value: Some(value), ..first }.mark();
        assert_ne!(with(&b"a"[..]), with(b"b"), "short values differ");
    }
}
