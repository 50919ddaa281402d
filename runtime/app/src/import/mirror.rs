//! Traces of a flow of MirrorMaker 2 on its target: where its positions are, and how it reads and
//! writes. A take-over needs them.

use std::time::Duration;

use super::flows::Flow;

/// A flow that a link takes over from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Name of the link.
    pub link: String,
    /// Alias of the source cluster, as it stands in the keys of the positions.
    pub source: String,
    /// The topic on the target with the positions.
    pub offsets_topic: String,
    /// The group of the workers on the target.
    pub group: String,
    /// Name of the connector, where the file tells it.
    pub connector: Option<String>,
    /// How often positions are written.
    pub flush_interval: Duration,
    /// Whether it copies committed records alone. Otherwise those of aborted transactions are on
    /// the target too.
    pub reads_committed: bool,
    /// Whether records may be other ones on the target.
    pub has_transforms: bool,
}

/// How often Connect's workers write positions, if nothing else is set.
const FLUSH_MS: u64 = 60_000;

impl Mirror {
    pub(super) fn of(flow: &Flow<'_>) -> Self {
        let Flow { source, target, start, file, .. } = flow;
        let value = |name: String| file.get(&name).map(|property| property.value.trim().to_owned());
        let of_target = |name: &str| value(format!("{target}.{name}"));
        // Of the bare properties a worker gets those alone that begin so.
        let offsets = of_target("offset.storage.topic").or_else(|| value("offset.storage.topic".to_owned()));
        // Where a connector of exactly-once delivery has a topic of its own.
        let own = [start.as_str(), ""].into_iter().find_map(|start| value(format!("{start}offsets.storage.topic")));
        let isolation = [
            format!("{start}source.consumer.isolation.level"),
            format!("{source}.consumer.isolation.level"),
            format!("{start}consumer.isolation.level"),
        ];
        let transforms = [format!("{start}transforms"), "transforms".to_owned()];
        let alias = [start.as_str(), ""].into_iter().find_map(|start| value(format!("{start}source.cluster.alias")));
        let flush = of_target("offset.flush.interval.ms").and_then(|value| value.parse().ok());
        Self {
            link: format!("{source}-{target}"),
            source: alias.unwrap_or_else(|| (*source).to_owned()),
            offsets_topic: own.or(offsets).unwrap_or_else(|| format!("mm2-offsets.{source}.internal")),
            group: of_target("group.id").unwrap_or_else(|| format!("{source}-mm2")),
            connector: None,
            flush_interval: Duration::from_millis(flush.unwrap_or(FLUSH_MS)),
            reads_committed: isolation.into_iter().find_map(value).as_deref() == Some("read_committed"),
            has_transforms: transforms.into_iter().find_map(value).is_some_and(|list| !list.is_empty()),
        }
    }
}
