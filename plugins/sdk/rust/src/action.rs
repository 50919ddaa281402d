//! The result of a plugin for one record, and its encoding for the host.

use std::borrow::Cow;

use crate::{Record, bindings::strait::plugin::types::Edits};

const NULL: u32 = u32::MAX;

/// The outcome for a record.
#[derive(Debug)]
pub enum Action {
    /// Passes the record unchanged. Costs nothing.
    Pass,
    /// Drops the record.
    Drop,
    /// Changes the record.
    Change(Change),
    /// Rejects the record: it goes to quarantine on the source.
    Reject {
        /// Index into [`crate::About::reject_codes`].
        code: u32,
        /// Detail for the operator. Must not contain personal data.
        reason: String,
    },
    /// The same, with the code by its name. See [`Action::reject`].
    RejectAs {
        /// One of [`crate::About::reject_codes`].
        code: Cow<'static, str>,
        /// Index of a counter of the rule that rejects it.
        rule: Option<u32>,
        /// Detail for the operator. Must not contain personal data.
        reason: String,
    },
}

/// Changes to one record, in order. Parts that no change names stay as they are.
///
/// A change without edits is the same as [`Action::Pass`].
#[derive(Debug, Default)]
pub struct Change {
    /// Operation, argument and length of each edit.
    ops: Vec<[u32; 3]>,
    data: Vec<u8>,
}

impl Change {
    /// Creates an empty change.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns whether the change is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Sets the key. `None` is null.
    #[must_use]
    pub fn key(self, key: Option<&[u8]>) -> Self {
        self.push(1, 0, key)
    }

    /// Sets the value. `None` makes a tombstone. Excludes field edits of this record.
    #[must_use]
    pub fn value(self, value: Option<&[u8]>) -> Self {
        self.push(2, 0, value)
    }

    /// Replaces a field with JSON text. `occurrence` is [`crate::Field::occurrence`];
    /// [`crate::json::quote`] writes a string.
    #[must_use]
    pub fn field(self, occurrence: u32, json: &[u8]) -> Self {
        self.push(3, occurrence, Some(json))
    }

    /// Removes a field: the member with its name, or the element of the array.
    #[must_use]
    pub fn remove_field(self, occurrence: u32) -> Self {
        self.push(3, occurrence, None)
    }

    /// Inserts a missing field. `field` is the index of its path in [`crate::Needs::fields`]. The
    /// path must not have wildcards, and its parent must exist.
    #[must_use]
    pub fn insert_field(self, field: u32, json: &[u8]) -> Self {
        self.push(4, field, Some(json))
    }

    /// Sets the value of a header, by its index in [`crate::Record::headers`].
    #[must_use]
    pub fn header(self, index: u32, value: Option<&[u8]>) -> Self {
        self.push(5, index, value)
    }

    /// Removes a header, by its index in [`crate::Record::headers`].
    #[must_use]
    pub fn remove_header(self, index: u32) -> Self {
        self.push(6, index, Some(&[]))
    }

    /// Appends a header.
    #[must_use]
    pub fn add_header(mut self, name: &[u8], value: Option<&[u8]>) -> Self {
        let Some(value) = value else {
            return self.push(8, 0, Some(name));
        };
        self.ops.push([7, name.len() as u32, (name.len() + value.len()) as u32]);
        self.data.extend_from_slice(name);
        self.data.extend_from_slice(value);
        self
    }

    /// Removes every header with a name, among those that [`crate::Needs`] requests.
    #[must_use]
    pub fn remove_headers(mut self, record: &Record<'_>, name: &[u8]) -> Self {
        for (index, header) in record.headers().iter().enumerate() {
            if header.name == name {
                self = self.remove_header(index as u32);
            }
        }
        self
    }

    /// Leaves exactly one header with a name: sets the first and removes the others, or appends one
    /// if there is none.
    #[must_use]
    pub fn set_header(mut self, record: &Record<'_>, name: &[u8], value: Option<&[u8]>) -> Self {
        let mut found = false;
        for (index, header) in record.headers().iter().enumerate() {
            if header.name != name {
                continue;
            }
            self = match found {
                false => self.header(index as u32, value),
                true => self.remove_header(index as u32),
            };
            found = true;
        }
        if found { self } else { self.add_header(name, value) }
    }

    /// Sets the timestamp, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn timestamp_ms(self, timestamp_ms: i64) -> Self {
        self.push(9, 0, Some(&timestamp_ms.to_le_bytes()))
    }

    /// Sends the record to another topic, which [`crate::Needs::output_topics`] must allow. The
    /// partition follows the key; if the key is null, the partition number stays.
    #[must_use]
    pub fn topic(self, topic: &str) -> Self {
        self.push(10, 0, Some(topic.as_bytes()))
    }

    /// Sends the record to this partition.
    #[must_use]
    pub fn partition(self, partition: u32) -> Self {
        self.push(11, partition, Some(&[]))
    }

    /// Sends the record to the partition that Kafka's default partitioner picks for these bytes.
    #[must_use]
    pub fn partition_by(self, bytes: &[u8]) -> Self {
        self.push(12, 0, Some(bytes))
    }

    /// Sends a copy of the record with the edits so far. Further edits start again from the
    /// original, which is sent too unless [`Self::drop_original`] ends the change.
    #[must_use]
    pub fn emit(self) -> Self {
        self.push(14, 0, Some(&[]))
    }

    /// Drops the original after the copies that [`Self::emit`] sent. Must be the last edit.
    #[must_use]
    pub fn drop_original(self) -> Self {
        self.push(0, 0, Some(&[]))
    }

    fn push(mut self, op: u32, arg: u32, bytes: Option<&[u8]>) -> Self {
        self.ops.push([op, arg, bytes.map_or(NULL, |bytes| bytes.len() as u32)]);
        self.data.extend_from_slice(bytes.unwrap_or_default());
        self
    }
}

impl From<Change> for Action {
    fn from(change: Change) -> Self {
        if change.is_empty() { Self::Pass } else { Self::Change(change) }
    }
}

impl Action {
    /// Rejects the record with one of [`crate::About::reject_codes`]. Another one is a bug of the
    /// plugin, which panics.
    #[must_use]
    pub fn reject(code: impl Into<Cow<'static, str>>, reason: impl Into<String>) -> Self {
        Self::RejectAs { code: code.into(), rule: None, reason: reason.into() }
    }

    /// The same, and says which rule rejects the record: that of a counter, by its index in
    /// [`crate::Plugin::counters`]. Its name goes into the books of quarantine.
    #[must_use]
    pub fn reject_of(counter: u32, code: impl Into<Cow<'static, str>>, reason: impl Into<String>) -> Self {
        Self::RejectAs { code: code.into(), rule: Some(counter), reason: reason.into() }
    }

    pub(crate) fn write(self, record: u32, codes: &[String], edits: &mut Edits) {
        match self {
            Self::RejectAs { code, rule, reason } => {
                if let Some(counter) = rule {
                    edits.ops.extend([record, 15, counter, 0]);
                }
                let known = codes.iter().position(|known| *known == code);
                assert!(known.is_some(), "'{code}' is not one of the plugin's reject codes");
                let code = known.unwrap_or_default() as u32;
                Self::Reject { code, reason }.write(record, codes, edits);
            }
            Self::Pass => {}
            Self::Drop => edits.ops.extend([record, 0, 0, 0]),
            Self::Reject { code, reason } => {
                edits.ops.extend([record, 13, code, reason.len() as u32]);
                edits.data.extend_from_slice(reason.as_bytes());
            }
            Self::Change(change) => {
                for [op, arg, len] in change.ops {
                    edits.ops.extend([record, op, arg, len]);
                }
                edits.data.extend_from_slice(&change.data);
            }
        }
    }
}
