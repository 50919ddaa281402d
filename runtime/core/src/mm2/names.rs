//! The topics that MirrorMaker 2's clients look for, and which heartbeats a link copies under which
//! name.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::formats::Heartbeat;
use crate::batch::RecordRef;

/// The topic that heartbeats are written to (`DefaultReplicationPolicy.heartbeatsTopic`).
pub const HEARTBEATS: &str = "heartbeats";
/// Partition of every record of these topics.
pub const PARTITION: i32 = 0;

/// A topic that a link writes for MirrorMaker 2's clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mm2Topic {
    /// Heartbeats of the link, on its target.
    Heartbeats,
    /// Heartbeats of the opposite direction, on its source.
    SourceHeartbeats,
    /// Where groups go on at the target.
    Checkpoints,
    /// Which offset became which.
    OffsetSyncs,
}

impl Mm2Topic {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Heartbeats, Self::SourceHeartbeats, Self::Checkpoints, Self::OffsetSyncs];

    /// Returns the name of the topic for a link from the cluster `source`, as
    /// `DefaultReplicationPolicy` has it with a dot for separator.
    #[must_use]
    pub fn name(self, source: &str) -> String {
        match self {
            Self::Heartbeats | Self::SourceHeartbeats => HEARTBEATS.to_owned(),
            Self::Checkpoints => format!("{source}.checkpoints.internal"),
            Self::OffsetSyncs => format!("mm2-offset-syncs.{source}.internal"),
        }
    }

    /// Returns whether it is on the source of the link. The others are on its target.
    #[must_use]
    pub fn is_on_source(self) -> bool {
        self == Self::SourceHeartbeats
    }

    /// Returns the name in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Heartbeats => "heartbeats",
            Self::SourceHeartbeats => "source_heartbeats",
            Self::Checkpoints => "checkpoints",
            Self::OffsetSyncs => "offset_syncs",
        }
    }

    /// Returns the option by which it is not written.
    #[must_use]
    pub fn without(self) -> &'static str {
        match self {
            Self::Heartbeats => "mm2.heartbeats = \"off\"",
            Self::SourceHeartbeats => "mm2.heartbeats = \"target\"",
            Self::Checkpoints => "mm2.checkpoints = false",
            Self::OffsetSyncs => "mm2.offset_syncs = \"off\"",
        }
    }
}

impl fmt::Display for Mm2Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// The heartbeats that a link copies whatever its `topics` are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatTopics {
    /// Names of the configured clusters.
    clusters: BTreeSet<Arc<str>>,
    source: Arc<str>,
    target: Arc<str>,
}

impl HeartbeatTopics {
    /// Creates the rule of a link from `source` to `target`, two of these clusters.
    pub fn new<'a>(clusters: impl IntoIterator<Item = &'a str>, source: &str, target: &str) -> Self {
        let mut clusters: BTreeSet<Arc<str>> = clusters.into_iter().map(Arc::from).collect();
        let (source, target): (Arc<str>, Arc<str>) = (source.into(), target.into());
        clusters.extend([Arc::clone(&source), Arc::clone(&target)]);
        Self { clusters, source, target }
    }

    /// Returns whether a topic of the source is `heartbeats`, or a copy of one that came from other
    /// configured clusters and has not been at the target: `c.heartbeats`, `d.c.heartbeats`.
    ///
    /// A topic with a part that names no cluster is somebody's own. So heartbeats go around no
    /// circle: what has been at the target, or twice at one cluster, goes no further
    /// (`MirrorSourceConnector.isCycle`).
    #[must_use]
    pub fn has(&self, topic: &str) -> bool {
        let Some(rest) = topic.strip_suffix(HEARTBEATS) else { return false };
        if rest.is_empty() {
            return true;
        }
        let Some(hops) = rest.strip_suffix('.') else { return false };
        let mut passed = BTreeSet::from([&*self.source, &*self.target]);
        hops.split('.').all(|hop| self.clusters.contains(hop) && passed.insert(hop))
    }

    /// Returns the name of the copy of such a topic: by the prefix, whatever the link's `naming`
    /// is, as `IdentityReplicationPolicy` has it too.
    #[must_use]
    pub fn name_on_target(&self, topic: &str) -> String {
        format!("{}.{topic}", self.source)
    }

    /// Returns whether a record is exactly a heartbeat between configured clusters and nothing
    /// more: no header, no byte besides, and no time but that of the record.
    #[must_use]
    pub fn is_heartbeat(&self, record: &RecordRef<'_>) -> bool {
        let (Some(key), Some(value)) = (record.key, record.value) else { return false };
        let Ok(Heartbeat { source, target, timestamp_ms }) = Heartbeat::decode(key, value) else { return false };
        let is_configured = |name: &str| self.clusters.contains(name);
        record.headers.is_empty()
            && timestamp_ms == record.timestamp_ms
            && is_configured(&source)
            && is_configured(&target)
    }
}
