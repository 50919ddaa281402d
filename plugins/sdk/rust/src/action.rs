//! What a plugin says of a record, and how it is written for the host.

use crate::bindings::strait::plugin::types::Edits;

const NULL: u32 = u32::MAX;

/// What becomes of a record.
#[derive(Debug)]
pub enum Action {
    /// It goes on unchanged. Costs nothing.
    Pass,
    /// It is left out.
    Drop,
    /// It goes on changed.
    Change(Change),
    /// It is refused: it goes to quarantine at the source.
    Reject {
        /// Index in [`crate::About::reject_codes`].
        code: u32,
        /// Detail for the operator. No personal data.
        reason: String,
    },
}

/// Changes to one record; what it does not name stays.
#[derive(Debug, Default)]
pub struct Change {
    edits: Vec<(u32, u32, Option<Vec<u8>>)>,
}

impl Change {
    /// No change yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the key; `None` is null.
    #[must_use]
    pub fn key(self, key: Option<Vec<u8>>) -> Self {
        self.push(1, 0, key)
    }

    /// Sets the value; `None` makes a tombstone.
    #[must_use]
    pub fn value(self, value: Option<Vec<u8>>) -> Self {
        self.push(2, 0, value)
    }

    /// Sets the value of a header, by its index in [`crate::Record::headers`].
    #[must_use]
    pub fn header(self, index: u32, value: Option<Vec<u8>>) -> Self {
        self.push(5, index, value)
    }

    /// Removes a header, by its index in [`crate::Record::headers`].
    #[must_use]
    pub fn remove_header(self, index: u32) -> Self {
        self.push(6, index, Some(Vec::new()))
    }

    /// Appends a header.
    #[must_use]
    pub fn add_header(self, name: &[u8], value: Option<&[u8]>) -> Self {
        match value {
            Some(value) => self.push(7, name.len() as u32, Some([name, value].concat())),
            None => self.push(8, 0, Some(name.to_vec())),
        }
    }

    /// Sets the timestamp, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn timestamp_ms(self, timestamp_ms: i64) -> Self {
        self.push(9, 0, Some(timestamp_ms.to_le_bytes().to_vec()))
    }

    /// Sends the record to another topic, one that [`crate::Needs::output_topics`] allows. The partition follows the key.
    #[must_use]
    pub fn topic(self, topic: &str) -> Self {
        self.push(10, 0, Some(topic.as_bytes().to_vec()))
    }

    /// Sends the record to this partition.
    #[must_use]
    pub fn partition(self, partition: u32) -> Self {
        self.push(11, partition, Some(Vec::new()))
    }

    /// Sends the record to the partition that Kafka's default partitioner picks for these bytes.
    #[must_use]
    pub fn partition_by(self, bytes: &[u8]) -> Self {
        self.push(12, 0, Some(bytes.to_vec()))
    }

    fn push(mut self, op: u32, arg: u32, bytes: Option<Vec<u8>>) -> Self {
        self.edits.push((op, arg, bytes));
        self
    }
}

impl Action {
    pub(crate) fn write(self, record: u32, edits: &mut Edits) {
        match self {
            Self::Pass => {}
            Self::Drop => edits.ops.extend([record, 0, 0, 0]),
            Self::Reject { code, reason } => {
                edits.ops.extend([record, 13, code, reason.len() as u32]);
                edits.data.extend(reason.into_bytes());
            }
            Self::Change(change) => {
                for (op, arg, bytes) in change.edits {
                    let len = bytes.as_ref().map_or(NULL, |b| b.len() as u32);
                    edits.ops.extend([record, op, arg, len]);
                    edits.data.extend(bytes.unwrap_or_default());
                }
            }
        }
    }
}
