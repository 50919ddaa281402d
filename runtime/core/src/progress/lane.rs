//! Facts about a lane.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Version of what a lane writes. A process that knows less must not write the lane, as it would
/// drop what it does not know. 1 (or none) is from before positions had an origin and tails.
pub const FORMAT: u32 = 2;

/// The value of [`ProgressKey::Lane`](super::ProgressKey::Lane).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneRecord {
    /// Version of what the lane's owner writes.
    #[serde(default)]
    pub format: u32,
    /// Source topics and their partition counts when the lane was first taken. `start` applies to
    /// these partitions; later ones begin at the start of their log.
    pub created_with: BTreeMap<String, i32>,
    /// Set while `strait lanes resize` runs. If it was interrupted, the lane must not be used until
    /// it was run again.
    #[serde(default)]
    pub closed: bool,
    /// Number of lanes of the link. A process configured with another number must not use the lane.
    #[serde(default)]
    pub lanes: u32,
    /// Earlier numbers of lanes of the link, oldest first. The offset map of records copied then is
    /// in the map topic's partitions of that time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lanes_before: Vec<u32>,
    /// Id of the source cluster, where it reports one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_cluster: Option<Arc<str>>,
    /// What the records of the lane are protected by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub border: Option<LaneBorder>,
}

/// What an operator has agreed that the records of a lane are protected by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneBorder {
    /// Number of the border, counted from 1.
    pub number: u64,
    /// Digest of all that decides what passes or is shown.
    pub generation: Arc<str>,
    /// Digest of the policy over all links. There is none yet.
    #[serde(default)]
    pub policy: Option<Arc<str>>,
    /// Serial number of the policy.
    #[serde(default)]
    pub serial: u64,
    /// Why it was changed.
    #[serde(default)]
    pub why: Arc<str>,
    /// Who changed it.
    #[serde(default)]
    pub by: Arc<str>,
    /// When, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub at: i64,
}

impl LaneRecord {
    /// Returns the record of a lane that was never taken.
    #[must_use]
    pub fn new(created_with: BTreeMap<String, i32>, lanes: u32) -> Self {
        Self { format: FORMAT, created_with, lanes, ..Self::default() }
    }

    /// Returns the record as this process writes it.
    #[must_use]
    pub fn updated(&self, source_cluster: Option<&Arc<str>>) -> Self {
        let source_cluster = source_cluster.or(self.source_cluster.as_ref()).map(Arc::clone);
        Self { format: FORMAT, source_cluster, ..self.clone() }
    }

    /// Returns why a process configured with `lanes` lanes must not use this lane, or `None` if it
    /// may.
    #[must_use]
    pub fn refusal(&self, lanes: u32) -> Option<String> {
        if self.closed {
            return Some("`strait lanes resize` is running on the link, or was interrupted: run it again".to_owned());
        }
        let moved = self.lanes > 0 && self.lanes != lanes;
        moved.then(|| {
            format!(
                "the link was resized to {} lanes, but this process is configured with {lanes}: restart it with lanes = {0}",
                self.lanes
            )
        })
    }
}
