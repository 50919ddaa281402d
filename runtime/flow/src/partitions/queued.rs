//! A judged batch in its partition's queue.

use strait_core::edit::OutRecord;
use strait_core::{Disposition, Processed, RecordRef, SourceOffset};

use crate::ports::{OutHeaders, Outgoing, TargetTopic, Token};

/// A judged batch, released record by record.
#[derive(Debug)]
pub(crate) struct Queued {
    processed: Processed,
    /// Target topic of records without a topic of their own.
    topic: TargetTopic,
    /// Index of the next record to release.
    cursor: usize,
    /// Index after the last record to release: the batch's length, or the record before which the
    /// partition stops.
    end: usize,
    /// Index of the first disposition at or after `cursor`.
    disposition: usize,
    /// Copies of the record at `cursor` that are sent. A full client queue can come between two
    /// copies of a record.
    copies_sent: usize,
    held_bytes: usize,
}

/// One record to send in place of the record at the cursor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutCopy<'a> {
    /// The source record.
    pub record: RecordRef<'a>,
    /// The changes to it, or `None` for an unchanged copy.
    pub edit: Option<&'a OutRecord>,
    /// Target topic of a copy without a topic of its own.
    pub batch_topic: TargetTopic,
}

impl<'a> OutCopy<'a> {
    /// Returns the key to send.
    pub fn key(&self) -> Option<&'a [u8]> {
        self.edit.map_or(self.record.key, |edit| edit.key.resolve(self.record.key))
    }

    /// Returns the record to send.
    pub fn outgoing(&self, topic: &TargetTopic, partition: i32, token: Token) -> Outgoing<'a> {
        let headers = self.edit.and_then(|edit| edit.headers.as_ref());
        Outgoing {
            topic: topic.handle,
            partition,
            token,
            key: self.key(),
            value: self.edit.map_or(self.record.value, |edit| edit.value.resolve(self.record.value)),
            headers: headers.map_or(OutHeaders::Original(self.record), |list| OutHeaders::List(list)),
            timestamp_ms: self.edit.and_then(|edit| edit.timestamp_ms).unwrap_or(self.record.timestamp_ms),
        }
    }
}

impl Queued {
    /// Queues the records of a batch up to the index `end`.
    pub fn new(processed: Processed, topic: TargetTopic, end: usize) -> Self {
        let held_bytes = processed.held_bytes();
        let end = end.min(processed.batch.len());
        Self { processed, topic, cursor: 0, end, disposition: 0, copies_sent: 0, held_bytes }
    }

    /// Returns the record at the cursor, or `None` after the last one.
    pub fn current(&self) -> Option<RecordRef<'_>> {
        self.processed.batch.get(self.cursor).filter(|_| self.cursor < self.end)
    }

    /// Returns the offset after the last record to release, or `None` if there is none.
    pub fn end_offset(&self) -> Option<SourceOffset> {
        self.processed.batch.get(self.end.checked_sub(1)?).map(|record| record.offset.next())
    }

    /// Returns the next copy to send of the record at the cursor, or `None` if all are sent.
    pub fn next_copy(&self) -> Option<OutCopy<'_>> {
        let record = self.current()?;
        let edit = match self.current_disposition() {
            None if self.copies_sent == 0 => None,
            Some(Disposition::Replace(copies)) => Some(copies.get(self.copies_sent)?),
            _ => return None,
        };
        Some(OutCopy { record, edit, batch_topic: self.topic })
    }

    /// Returns whether the record at the cursor is left out on the chain's word.
    pub fn is_dropped(&self) -> bool {
        matches!(self.current_disposition(), Some(Disposition::Drop | Disposition::Reject(_) | Disposition::Halt(_)))
    }

    /// Returns whether the record at the cursor is left out because it is in quarantine.
    pub fn is_quarantined(&self) -> bool {
        matches!(self.current_disposition(), Some(Disposition::Replace(copies)) if copies.is_empty())
    }

    /// Counts a copy of the record at the cursor as sent.
    pub fn copy_sent(&mut self) {
        self.copies_sent += 1;
    }

    /// Returns whether some copies of the record at the cursor are sent and others are not.
    pub fn is_partial(&self) -> bool {
        self.copies_sent > 0
    }

    /// Moves the cursor to the next record.
    pub fn advance(&mut self) {
        if self.current_disposition().is_some() {
            self.disposition += 1;
        }
        self.cursor += 1;
        self.copies_sent = 0;
    }

    /// Returns whether no record is left to release.
    pub fn is_done(&self) -> bool {
        self.cursor >= self.end
    }

    /// Returns the memory that the batch holds, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Returns the target topic of records without a topic of their own.
    pub fn topic(&self) -> &TargetTopic {
        &self.topic
    }

    fn current_disposition(&self) -> Option<&Disposition> {
        let (index, disposition) = self.processed.dispositions.get(self.disposition)?;
        (*index == self.cursor).then_some(disposition)
    }
}
