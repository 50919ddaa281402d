//! The result of a plugin chain for one batch. Sparse: a record without an entry passes unchanged,
//! and costs nothing.

use std::sync::Arc;

use crate::batch::Batch;

/// Identifies the plugins that judged a batch: names, versions and configuration. Written with
/// progress, so that an auditor can tell which plugins let an offset pass. `none` on a link without
/// plugins.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Generation(pub Arc<str>);

impl Default for Generation {
    fn default() -> Self {
        Self("none".into())
    }
}

/// A batch after the plugin chain: the destination of its records, and the records that do not pass
/// unchanged.
#[derive(Debug)]
pub struct Processed {
    /// The batch as fetched. Untouched records are sent from it as they are.
    pub batch: Batch,
    /// Topic of every record without a topic of its own. The final name: the chain's renames and
    /// the link's `naming` are applied.
    pub target_topic: Arc<str>,
    /// Index into the batch and disposition, strictly ascending by index. A record that is not
    /// listed passes unchanged, to the same partition number.
    pub dispositions: Vec<(usize, Disposition)>,
    /// The plugins that judged the batch.
    pub generation: Generation,
}

/// The outcome for a record that does not pass unchanged.
#[derive(Debug)]
pub enum Disposition {
    /// Dropped on purpose. The record counts as settled.
    Drop,
    /// Replaced by one or more records.
    Replace(Vec<OutRecord>),
    /// Refused by a plugin, or broke a plugin. The record goes to quarantine or stops its
    /// partition; it is never dropped silently.
    Reject(Reject),
    /// Broke a plugin with `on_error = "stop"`. The records before it are sent, and its partition
    /// stops here.
    Halt(Reject),
}

/// The refusal of one record, by a plugin or by the host on its behalf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Name of the plugin.
    pub plugin: Arc<str>,
    /// Digest of the plugin's file: `sha256:` and 64 hexadecimal digits.
    pub digest: Arc<str>,
    /// A code declared by the plugin, or one of the host's own.
    pub code: Arc<str>,
    /// Detail for the operator. Already withheld if the plugin is required, because its messages
    /// may contain personal data.
    pub text: String,
}

/// Header names and values in order. `None` is a null value.
pub type HeaderList = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// A record to send in place of the original.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutRecord {
    /// Final topic name, or `None` for the batch's target topic.
    pub topic: Option<Arc<str>>,
    /// How the target partition is chosen.
    pub route: Route,
    /// Key to send.
    pub key: Content,
    /// Value to send.
    pub value: Content,
    /// All headers in order, or `None` for the original headers.
    pub headers: Option<HeaderList>,
    /// Timestamp in milliseconds since the Unix epoch, or `None` for the original timestamp.
    pub timestamp_ms: Option<i64>,
}

/// The key or value of an [`OutRecord`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// The original bytes or null, from the batch.
    #[default]
    Original,
    /// Kafka's null.
    Null,
    /// New bytes.
    Bytes(Vec<u8>),
}

/// How the target partition of an [`OutRecord`] is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Route {
    /// The source record's partition number if the target topic has it, or else the partition of
    /// its key (Kafka's default partitioner).
    #[default]
    Keep,
    /// This partition. If it does not exist, the record is rejected.
    Partition(i32),
    /// The murmur2 hash of these bytes, as in Kafka's default partitioner.
    Hash(Vec<u8>),
}

impl Content {
    /// Returns the bytes to send, given the bytes of the original.
    #[must_use]
    pub fn resolve<'a>(&'a self, original: Option<&'a [u8]>) -> Option<&'a [u8]> {
        match self {
            Self::Original => original,
            Self::Null => None,
            Self::Bytes(bytes) => Some(bytes),
        }
    }
}
