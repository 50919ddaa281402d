//! The books of quarantine: which refused records are open, and how the others were closed.
//!
//! Their place is partition [`BOOKS_PARTITION`] of `strait.<link>.operate` on the target, in the
//! transaction that passes over the record. So they name a record by its place in the
//! source, and hold no key of a record, no hash of one and no text.

mod closing;
mod index;
mod plan;
mod read_again;
mod shape;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use closing::{COPIED, Closing, DROPPED, StoredEntry};
pub use index::{BookFilter, BookIndex, Booked, IndexFold, OPEN_MAX, StateFilter, TooManyEntries};
pub use plan::{FoundTopic, HeldBack, ReplayPlan, replay_plan};
pub use read_again::{BookLine, ReadAgain};
pub use shape::{RecordShape, shape_of};

use crate::offset::SourceOffset;
use crate::topic::PartitionKey;

/// The partition of the topic that holds the books. The other one is for what the processes of a
/// link tell each other: a transaction that hangs in the books must not hold up its readers.
pub const BOOKS_PARTITION: i32 = 1;

/// Number of partitions of the topic.
pub const OPERATE_PARTITIONS: u32 = 2;

/// The key of an entry: the refused record. The topic's name stands beside its id, as a cluster may
/// give no ids.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BookKey {
    /// The source partition.
    #[serde(flatten)]
    pub partition: PartitionKey,
    /// The record's offset.
    pub offset: SourceOffset,
}

/// The state of a refused record. Only an open one can be replayed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Arc<str>", into = "Arc<str>")]
pub enum BookState {
    /// It is in quarantine.
    Open,
    /// It was replayed to the target.
    Replayed,
    /// Somebody has decided that it is not needed.
    Discarded,
    /// The lane has read its offset again since, and judged what it found there anew. Told by
    /// [`ReadAgain`], and not written.
    Superseded,
    /// A word that this version does not know.
    Other(Arc<str>),
}

impl BookState {
    /// Returns the word that is stored.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Self::Open => "open",
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
            Self::Superseded => "superseded",
            Self::Other(word) => word,
        }
    }
}

impl From<Arc<str>> for BookState {
    fn from(word: Arc<str>) -> Self {
        let known = [Self::Open, Self::Replayed, Self::Discarded, Self::Superseded];
        let known = known.into_iter().find(|state| state.word() == &*word);
        known.unwrap_or(Self::Other(word))
    }
}

impl From<BookState> for Arc<str> {
    fn from(state: BookState) -> Self {
        state.word().into()
    }
}

/// Where a record is kept in the quarantine topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAt {
    /// Partition of the quarantine topic.
    pub partition: i32,
    /// Offset in it.
    pub offset: SourceOffset,
}

/// The value of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookEntry {
    /// The state of the record.
    pub state: BookState,
    /// Where it is kept.
    pub place: KeptAt,
    /// Stable code of the reason.
    pub code: Arc<str>,
    /// The rule of the plugin, where a rule refused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Arc<str>>,
    /// Name of the plugin, or `target` or `strait`.
    pub plugin: Arc<str>,
    /// The plugins that judged it.
    pub generation: Arc<str>,
    /// Number of the border that it was judged under.
    #[serde(default)]
    pub border: u64,
}

/// An entry that cannot be decoded.
#[derive(Debug, thiserror::Error)]
#[error("an entry of the books cannot be read: {0}")]
pub struct BookError(#[from] serde_json::Error);

impl BookEntry {
    /// Encodes key and value for the topic.
    #[must_use]
    pub fn encode(&self, key: &BookKey) -> (Vec<u8>, Vec<u8>) {
        // Strings and numbers only: serialising them cannot fail.
        (serde_json::to_vec(key).unwrap_or_default(), serde_json::to_vec(self).unwrap_or_default())
    }

    /// Decodes an entry. Members that this version does not know are skipped.
    ///
    /// # Errors
    /// [`BookError`].
    pub fn decode(key: &[u8], value: &[u8]) -> Result<(BookKey, Self), BookError> {
        Ok((serde_json::from_slice(key)?, serde_json::from_slice(value)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::TopicId;

    #[test]
    fn an_entry_reads_back_and_is_pinned() {
        let partition = PartitionKey { topic: "orders".into(), topic_id: TopicId([1; 16]), partition: 2 };
        let key = BookKey { partition, offset: SourceOffset(70) };
        let mut entry = BookEntry {
            state: BookState::Open,
            place: KeptAt { partition: 0, offset: SourceOffset(5) },
            code: "value-not-json".into(),
            rule: None,
            plugin: "redact".into(),
            generation: "redact@1+2".into(),
            border: 3,
        };
        let (k, v) = entry.encode(&key);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        assert_eq!(
            text(&k),
            r#"{"topic":"orders","topic_id":"01010101010101010101010101010101","partition":2,"offset":70}"#
        );
        assert_eq!(
            text(&v),
            r#"{"state":"open","place":{"partition":0,"offset":5},"code":"value-not-json","plugin":"redact","generation":"redact@1+2","border":3}"#
        );
        assert_eq!(BookEntry::decode(&k, &v).unwrap(), (key.clone(), entry.clone()));
        entry.state = BookState::Other("parked".into());
        entry.rule = Some("card".into());
        let newer = text(&entry.encode(&key).1).replace("{\"state\"", "{\"reviewed_by\":\"x\",\"state\"");
        assert_eq!(BookEntry::decode(&k, newer.as_bytes()).unwrap().1, entry);
    }
}
