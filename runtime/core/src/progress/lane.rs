//! Facts about a lane.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::DeliveryMode;

/// Version of what a lane writes. A process that knows less must not write the lane, as it would
/// drop what it does not know. 1 (or none) is from before positions had an origin and tails.
pub const FORMAT: u32 = 2;

/// The command that closes the lanes of a link that takes over from MirrorMaker 2.
pub const TAKE_OVER: &str = "strait import … --take-over";

/// The value of [`ProgressKey::Lane`](super::ProgressKey::Lane).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneRecord {
    /// Version of what the lane's owner writes.
    #[serde(default)]
    pub format: u32,
    /// Source topics and their partition counts when the lane was first taken. `start` applies to
    /// these partitions; later ones begin at the start of their log.
    pub created_with: BTreeMap<String, i32>,
    /// Set while `strait lanes resize` or a take-over runs. If it was interrupted, the lane stands
    /// by until it was run again.
    #[serde(default)]
    pub closed: bool,
    /// The command that has closed the lane, if it was not `strait lanes resize`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_by: Option<Arc<str>>,
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
    /// The names of the copied topics, with `{topic}` in place of the source topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub naming: Option<Arc<str>>,
    /// The delivery guarantee that the lane was last taken with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Arc<str>>,
    /// The protection that the records of the lane have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub border: Option<LaneBorder>,
}

/// The protection of a lane's records, as an operator has agreed to it.
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

/// The ends of a link as a process runs it, to compare with what its lanes record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkIdentity {
    /// Name of the source cluster in the configuration.
    pub source: Arc<str>,
    /// Id of the source cluster, where it reports one.
    pub source_cluster: Option<Arc<str>>,
    /// Ids that the source cluster had before, by the configuration.
    pub former_ids: Vec<String>,
    /// The names of the copied topics, as in [`LaneRecord::naming`].
    pub naming: Arc<str>,
}

impl LaneRecord {
    /// Returns the record of a lane that was never taken.
    #[must_use]
    pub fn new(created_with: BTreeMap<String, i32>, lanes: u32) -> Self {
        Self { format: FORMAT, created_with, lanes, ..Self::default() }
    }

    /// Returns the record as a process with this identity writes it.
    #[must_use]
    pub fn updated(&self, identity: &LinkIdentity, delivery: DeliveryMode) -> Self {
        let LinkIdentity { source_cluster, naming, .. } = identity;
        Self {
            format: FORMAT,
            source_cluster: source_cluster.clone().or_else(|| self.source_cluster.clone()),
            naming: Some(Arc::clone(naming)),
            delivery: Some(delivery.name().into()),
            ..self.clone()
        }
    }

    /// Returns what has closed the lane and what opens it again; `None` if it is open. Nobody may
    /// use a closed lane, and whoever has it stands by.
    #[must_use]
    pub fn closing(&self) -> Option<String> {
        let by = self.closed_by.as_deref().unwrap_or("strait lanes resize");
        self.closed.then(|| format!("`{by}` is running on the link, or was interrupted: then run it again"))
    }

    /// Returns why a process that runs the link with this identity and number of lanes must not use
    /// the lane, or `None` if it may. The reason says what to do.
    #[must_use]
    pub fn refusal(&self, lanes: u32, identity: &LinkIdentity) -> Option<String> {
        let LinkIdentity { source, naming, .. } = identity;
        if let Some(closing) = self.closing() {
            return Some(closing);
        }
        if self.lanes > 0 && self.lanes != lanes {
            return Some(format!(
                "the link was resized to {} lanes, but this process is configured with {lanes}: restart it with lanes = {0}",
                self.lanes
            ));
        }
        if let Some((recorded, found)) = self.other_source(identity) {
            return Some(format!(
                "the link copies from the cluster with id {recorded}, but cluster {source} of this process has id {found}: give a link from another source another name; if it is the same cluster, rebuilt or with a new id, set former_ids = [\"{recorded}\"] in [clusters.{source}]"
            ));
        }
        let named = self.naming.as_ref().filter(|named| *named != naming)?;
        Some(format!(
            "the link copies topics to \"{named}\", but this process would copy them to \"{naming}\": put the naming (and the name of cluster {source}) back, or give the link another name"
        ))
    }

    /// Returns the recorded and the found id, if they are those of different source clusters.
    fn other_source<'a>(&'a self, identity: &'a LinkIdentity) -> Option<(&'a str, &'a str)> {
        let (recorded, found) = (self.source_cluster.as_deref()?, identity.source_cluster.as_deref()?);
        let is_former = identity.former_ids.iter().any(|former| former == recorded);
        (recorded != found && !is_former).then_some((recorded, found))
    }

    /// Returns the delivery guarantee that the lane was last taken with, if it is another one.
    #[must_use]
    pub fn other_delivery(&self, delivery: DeliveryMode) -> Option<&Arc<str>> {
        self.delivery.as_ref().filter(|recorded| ***recorded != *delivery.name())
    }
}
