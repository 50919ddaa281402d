//! The result of a plugin chain for one batch. Sparse: a record without an entry passes unchanged,
//! and costs nothing.

use std::sync::Arc;

use crate::batch::Batch;

/// Identifies the plugins that judged a batch: names, versions and configuration. Written with
/// progress, so that an auditor can tell which plugins let an offset pass. `none` on a link without
/// plugins.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Generation(pub Arc<str>);

impl Generation {
    /// Stands for plugins that did not load when the process started.
    pub const NOT_LOADED: &str = "not-loaded";
}

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Dropped on purpose. The record counts as settled.
    Drop,
    /// Replaced by one or more records.
    Replace(Vec<OutRecord>),
    /// Refused by a plugin, or broke a plugin. The record goes to quarantine or stops its
    /// partition; it is never dropped silently.
    Reject(Box<Reject>),
    /// Broke a plugin with `on_error = "stop"`. The records before it are sent, and its partition
    /// stops here.
    Halt(Box<Reject>),
}

/// The refusal of one record, by a plugin or by the host on its behalf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Name of the plugin; `strait` where the host refuses it by itself.
    pub plugin: Arc<str>,
    /// Digest of the plugin's file: `sha256:` and 64 hexadecimal digits. Empty for the host.
    pub digest: Arc<str>,
    /// A code declared by the plugin, or one of the host's own.
    pub code: Arc<str>,
    /// The rule of the plugin that refused it, where one did and the plugin says which. Named
    /// before the plugin saw a record, so it holds no data of records.
    pub rule: Option<Arc<str>>,
    /// Detail for the operator. Empty where it is withheld, as it may hold data of records.
    pub text: String,
}

/// The beginnings of the codes that only the host gives.
pub const HOST_CODES: [&str; 6] = ["value-", "plugin-", "edit-", "frame-", "schema-", "residency-"];

/// Returns whether a reject code is one that only the host gives. A plugin that gives it too would
/// speak in the host's name.
#[must_use]
pub fn is_host_code(code: &str) -> bool {
    HOST_CODES.iter().any(|beginning| code.starts_with(beginning))
}

/// The name and value of a header. `None` is a null value.
pub type Header = (Vec<u8>, Option<Vec<u8>>);

/// Headers in order.
pub type HeaderList = Vec<Header>;

/// A record to send in place of the original. Within the plugin chain, its edits so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutRecord {
    /// Final topic name, or `None` for the batch's target topic. Within the plugin chain, the name
    /// before the link's `naming`.
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
    /// The partition of the key, as it is at the end of the plugin chain. A null key keeps the
    /// partition number.
    ByKey,
    /// This partition. If it does not exist, the record is rejected.
    Partition(i32),
    /// The murmur2 hash of these bytes, as in Kafka's default partitioner.
    Hash(Vec<u8>),
}

impl Processed {
    /// Returns the memory that the judged batch holds, in bytes: the batch, and what plugins have
    /// put in place of its records.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let replaced = self.dispositions.iter().map(|(_, disposition)| match disposition {
            Disposition::Replace(copies) => {
                let structs = copies.capacity() * size_of::<OutRecord>();
                structs + copies.iter().map(OutRecord::held_bytes).sum::<usize>()
            }
            Disposition::Reject(_) | Disposition::Halt(_) => size_of::<Reject>(),
            Disposition::Drop => 0,
        });
        let list = self.dispositions.capacity() * size_of::<(usize, Disposition)>();
        self.batch.held_bytes() + list + replaced.sum::<usize>()
    }
}

impl OutRecord {
    /// Returns the memory that the record holds besides its batch.
    fn held_bytes(&self) -> usize {
        let header =
            |(name, value): &Header| size_of::<Header>() + name.capacity() + value.as_ref().map_or(0, Vec::capacity);
        let headers = self.headers.iter().flatten().map(header).sum::<usize>();
        let route = if let Route::Hash(bytes) = &self.route { bytes.capacity() } else { 0 };
        self.key.held_bytes() + self.value.held_bytes() + headers + route
    }

    /// Returns the number of bytes that this record holds besides the original's.
    #[must_use]
    pub fn owned_bytes(&self) -> usize {
        let headers = self.headers.iter().flatten();
        let headers = headers.map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len));
        self.key.owned_bytes() + self.value.owned_bytes() + headers.sum::<usize>()
    }

    /// Replaces a route by key with one that does not depend on later edits, given the original
    /// key.
    pub fn resolve_route(&mut self, original_key: Option<&[u8]>) {
        if self.route == Route::ByKey {
            let key = self.key.resolve(original_key);
            self.route = key.map_or(Route::Keep, |key| Route::Hash(key.to_vec()));
        }
    }
}

impl Content {
    /// Returns the memory that the content holds.
    fn held_bytes(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.capacity(),
            Self::Original | Self::Null => 0,
        }
    }

    /// Returns the number of bytes that replace the original's.
    fn owned_bytes(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Original | Self::Null => 0,
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, TimestampType};
    use crate::offset::{LeaderEpoch, SourceOffset};

    const MIB: usize = 1 << 20;

    #[test]
    fn what_plugins_put_in_place_of_a_record_counts_as_held() {
        let processed = |dispositions| {
            let mut batch = BatchBuilder::new("t".into(), 0, TimestampType::Create, LeaderEpoch(0));
            batch.push(SourceOffset(0), 1, None, Some(b"short"));
            let generation = Generation("1".into());
            Processed { batch: batch.build(), target_topic: "t".into(), dispositions, generation }
        };
        let held = |copies| processed(vec![(0, Disposition::Replace(copies))]).held_bytes();
        let of = |value: Content| OutRecord { value, ..OutRecord::default() };
        let large = || of(Content::Bytes(vec![0; MIB]));
        let plain = processed(Vec::new()).held_bytes();
        assert!(plain < 1024, "{plain}");
        assert!((2 * MIB..2 * MIB + 1024).contains(&held(vec![large(), large()])), "each copy counts");
        assert!(held(vec![of(Content::Original); 1000]) >= plain + 1000 * size_of::<OutRecord>());
        let headers = Some(vec![("name".into(), Some(vec![0; MIB]))]);
        for copy in [
            OutRecord { key: Content::Bytes(vec![0; MIB]), ..OutRecord::default() },
            OutRecord { headers, ..OutRecord::default() },
            OutRecord { route: Route::Hash(vec![0; MIB]), ..OutRecord::default() },
        ] {
            assert!(held(vec![copy.clone()]) >= plain + MIB, "{:?}", copy.route);
        }
    }
}
