//! What a plugin chain says of a batch. Sparse: a record without an entry passes unchanged, and costs nothing.

use std::sync::Arc;

use crate::batch::Batch;

/// Which plugins, in which versions and with which configuration, judged a batch. Written with progress, so that an
/// auditor can say what let an offset pass. `none` where the link has no plugin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Generation(pub Arc<str>);

impl Default for Generation {
    fn default() -> Self {
        Self("none".into())
    }
}

/// A batch after the chain: where its records go, and the records that do not simply pass.
#[derive(Debug)]
pub struct Processed {
    /// The batch as fetched; untouched records are sent from it as they are.
    pub batch: Batch,
    /// Topic of every record that names no other: the final name, after the chain's renames and the link's `naming`.
    pub target_topic: Arc<str>,
    /// By index into the batch, strictly ascending. What is not listed passes unchanged, to the same partition number.
    pub dispositions: Vec<(usize, Disposition)>,
    /// The plugins that judged it.
    pub generation: Generation,
}

/// What becomes of a record that does not simply pass.
#[derive(Debug)]
pub enum Disposition {
    /// Left out on purpose; it counts as settled.
    Drop,
    /// Goes out as one or more records in place of the original.
    Replace(Vec<OutRecord>),
    /// A plugin refused it, or broke on it: quarantine (or stop), never silence.
    Reject(Reject),
    /// A plugin broke on it and its `on_error` says stop: what comes before it goes out, its partition stands still here.
    Halt(Reject),
}

/// A refusal of one record by a plugin or by the host on its behalf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Which plugin.
    pub plugin: Arc<str>,
    /// The plugin's file: `sha256:` and 64 hexadecimal digits.
    pub digest: Arc<str>,
    /// A code that the plugin declared, or one of the host's.
    pub code: Arc<str>,
    /// Detail for the operator; already reduced where the plugin is one whose words may carry personal data.
    pub text: String,
}

/// Names and values of headers, in order; `None` is a null value.
pub type HeaderList = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// A record that leaves changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutRecord {
    /// Final topic, or `None` for the batch's.
    pub topic: Option<Arc<str>>,
    /// How its partition is found.
    pub route: Route,
    /// Key.
    pub key: Content,
    /// Value.
    pub value: Content,
    /// All headers in order, or `None` for the original ones.
    pub headers: Option<HeaderList>,
    /// Milliseconds since the Unix epoch, or `None` for the original.
    pub timestamp_ms: Option<i64>,
}

/// A key or a value of an [`OutRecord`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// The original bytes (or null), from the batch.
    #[default]
    Original,
    /// Kafka's null.
    Null,
    /// New bytes.
    Bytes(Vec<u8>),
}

/// How the partition of an [`OutRecord`] is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Route {
    /// The source record's partition number where the topic has it, else by the key (Kafka's default partitioner).
    #[default]
    Keep,
    /// This partition; one that does not exist is a reject.
    Partition(i32),
    /// By murmur2 of these bytes, as Kafka's default partitioner does.
    Hash(Vec<u8>),
}

impl Content {
    /// The bytes to send, given the original's.
    #[must_use]
    pub fn resolve<'a>(&'a self, original: Option<&'a [u8]>) -> Option<&'a [u8]> {
        match self {
            Self::Original => original,
            Self::Null => None,
            Self::Bytes(bytes) => Some(bytes),
        }
    }
}
