//! How an entry was closed, which is stored beside what was written when it was opened.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{BookEntry, BookError, BookKey};

/// Outcome of a replay: the record has copies on the target.
pub const COPIED: &str = "copied";
/// Outcome of a replay: the plugins drop the record.
pub const DROPPED: &str = "dropped";

/// How an entry was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// Who closed it.
    pub by: Arc<str>,
    /// When, in milliseconds since the Unix epoch.
    pub at: i64,
    /// Digest of the plugins that judged the record at its replay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Arc<str>>,
    /// The outcome of its replay: [`COPIED`] or [`DROPPED`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Arc<str>>,
    /// Why it was discarded, in the operator's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
}

/// The value of an entry that is, or may be, closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredEntry {
    /// The entry.
    #[serde(flatten)]
    pub entry: BookEntry,
    /// When the record was refused, in milliseconds since the Unix epoch. Written as the entry is
    /// closed: the value that was written then takes the place of the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_at: Option<i64>,
    /// How it was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Closing>,
}

impl StoredEntry {
    /// Encodes key and value for the topic.
    #[must_use]
    pub fn encode(&self, key: &BookKey) -> (Vec<u8>, Vec<u8>) {
        // Strings and numbers only: serialising them cannot fail.
        (serde_json::to_vec(key).unwrap_or_default(), serde_json::to_vec(self).unwrap_or_default())
    }

    /// Decodes the value of an entry. Members that this version does not know are skipped.
    ///
    /// # Errors
    /// [`BookError`].
    pub fn decode(value: &[u8]) -> Result<Self, BookError> {
        Ok(serde_json::from_slice(value)?)
    }
}
