//! Options for what MirrorMaker 2's clients and tools read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::{Config, Link};
use crate::mm2::{HeartbeatTopics, Mm2Topic};

/// Records for clients and tools of MirrorMaker 2 (`MirrorClient`, `RemoteClusterUtils`, its
/// console formatters), in its formats and topics. The process that coordinates the link writes
/// them, beside the records: a topic of these that cannot be written holds up nothing else, and
/// event `mm2_unwritable` reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mm2 {
    /// Heartbeats, one a second: from them, clients find the clusters upstream and how far away
    /// they are. Unless it is `off`, the link also copies the topic `heartbeats` of its source, and
    /// those that came there from other clusters of this configuration (`<cluster>.heartbeats`),
    /// whatever `topics` is; `topics_exclude` leaves them out. Their copies begin with the source's
    /// name whatever `naming` is, and what is exactly a heartbeat passes around the plugins.
    #[serde(default)]
    pub heartbeats: Heartbeats,
    /// Whether `<source>.checkpoints.internal` exists on the target and has, for each group whose
    /// offsets the link translates, where the group goes on there. `RemoteClusterUtils` waits for
    /// its timeout where the topic is missing.
    #[serde(default = "default_checkpoints")]
    pub checkpoints: bool,
    /// Offset syncs, from which MirrorMaker 2's checkpoint connector translates offsets by itself.
    #[serde(default)]
    pub offset_syncs: OffsetSyncs,
}

impl Default for Mm2 {
    fn default() -> Self {
        Self { heartbeats: Heartbeats::default(), checkpoints: true, offset_syncs: OffsetSyncs::default() }
    }
}

fn default_checkpoints() -> bool {
    true
}

/// Where heartbeats are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Heartbeats {
    /// To the topic `heartbeats` of the target, as MirrorMaker 2 does.
    #[default]
    Target,
    /// To that of the source as well, so that the copy exists on the target by which clients find
    /// the source. Needed where no link or MirrorMaker 2 writes in the opposite direction; the link
    /// then writes to its source.
    Both,
    /// Nowhere, and none are copied unless `topics` matches them.
    Off,
}

/// Where offset syncs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OffsetSyncs {
    /// Nowhere.
    #[default]
    Off,
    /// To `mm2-offset-syncs.<source>.internal` on the target, where the checkpoint connector looks
    /// for them with `offset-syncs.topic.location=target`. One a second of each partition at most.
    /// Only of records that go to the copy of their topic and keep their partition.
    Target,
}

impl Mm2 {
    /// Returns whether the link writes this topic.
    #[must_use]
    pub fn writes(&self, topic: Mm2Topic) -> bool {
        match topic {
            Mm2Topic::Heartbeats => self.heartbeats != Heartbeats::Off,
            Mm2Topic::SourceHeartbeats => self.heartbeats == Heartbeats::Both,
            Mm2Topic::Checkpoints => self.checkpoints,
            Mm2Topic::OffsetSyncs => self.offset_syncs == OffsetSyncs::Target,
        }
    }
}

impl Config {
    /// Returns which heartbeats a link copies; `None` where it copies none.
    #[must_use]
    pub fn heartbeats_of(&self, link: &Link) -> Option<HeartbeatTopics> {
        let clusters = self.clusters.keys().map(String::as_str);
        (link.mm2.heartbeats != Heartbeats::Off).then(|| HeartbeatTopics::new(clusters, &link.source, &link.target))
    }
}
