//! The mark in the books of a lane that reads a source partition again.

use serde::{Deserialize, Serialize};

use super::BookKey;
use crate::offset::SourceOffset;
use crate::topic::PartitionKey;

/// A lane reads a source partition again from an offset: the target topic is copied anew, or the
/// source was truncated and holds other records from there on. What was refused there before is
/// judged once more, so each entry of these records that stands before the mark in the log says
/// nothing any more.
///
/// The mark is the key of its record, and committed with the position that goes back. So the log of
/// the books alone tells which entries count, also after compaction: a mark is replaced only by one
/// that ends at least the same entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadAgain {
    /// The source partition.
    #[serde(flatten)]
    pub partition: PartitionKey,
    /// The first offset that is read again.
    pub read_again_from: SourceOffset,
}

/// The value of a mark, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WentBack {
    /// The position before.
    pub went_back_from: SourceOffset,
}

impl ReadAgain {
    /// Encodes key and value for the topic. `was` is the position before.
    #[must_use]
    pub fn encode(&self, was: SourceOffset) -> (Vec<u8>, Vec<u8>) {
        let value = WentBack { went_back_from: was };
        // Strings and numbers only: serialising them cannot fail.
        (serde_json::to_vec(self).unwrap_or_default(), serde_json::to_vec(&value).unwrap_or_default())
    }

    /// Returns whether an entry that stands before this mark says nothing any more.
    #[must_use]
    pub fn ends(&self, key: &BookKey) -> bool {
        key.offset >= self.read_again_from && key.partition.may_be(&self.partition)
    }
}

/// The key of a record of the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BookLine {
    /// A refused record.
    Entry(BookKey),
    /// A source partition that is read again.
    ReadAgain(ReadAgain),
}

impl BookLine {
    /// Decodes a key; `None` for one that this version does not know.
    #[must_use]
    pub fn decode(key: &[u8]) -> Option<Self> {
        if let Ok(key) = serde_json::from_slice(key) {
            return Some(Self::Entry(key));
        }
        serde_json::from_slice(key).ok().map(Self::ReadAgain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::TopicId;

    #[test]
    fn a_mark_reads_back_and_is_pinned() {
        let partition = PartitionKey { topic: "orders".into(), topic_id: TopicId([1; 16]), partition: 2 };
        let mark = ReadAgain { partition: partition.clone(), read_again_from: SourceOffset(70) };
        let (key, value) = mark.encode(SourceOffset(90));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        assert_eq!(
            text(&key),
            r#"{"topic":"orders","topic_id":"01010101010101010101010101010101","partition":2,"read_again_from":70}"#
        );
        assert_eq!(text(&value), r#"{"went_back_from":90}"#);
        assert_eq!(BookLine::decode(&key), Some(BookLine::ReadAgain(mark.clone())));
        let entry = |offset, id: u8| {
            let partition = PartitionKey { topic_id: TopicId([id; 16]), ..partition.clone() };
            BookKey { partition, offset: SourceOffset(offset) }
        };
        let ended = [(69, 1), (70, 1), (71, 0), (71, 2)].map(|(offset, id)| mark.ends(&entry(offset, id)));
        assert_eq!(ended, [false, true, true, false], "by the offset, and by ids as far as both are known");
        let bytes = serde_json::to_vec(&entry(1, 1)).unwrap();
        assert_eq!(BookLine::decode(&bytes), Some(BookLine::Entry(entry(1, 1))));
        assert_eq!(BookLine::decode(b"{}"), None);
    }
}
