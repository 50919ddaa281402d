//! librdkafka properties that a configuration cannot set, because a guarantee depends on the value
//! that Strait sets.

/// A refused property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Name of the property. A `*` at the end stands for any ending.
    pub name: &'static str,
    /// The guarantee that setting it would break.
    pub reason: &'static str,
    /// The option to use instead, if there is one.
    pub instead: Option<&'static str>,
}

const fn refused(name: &'static str, reason: &'static str) -> Refused {
    Refused { name, reason, instead: None }
}

impl Refused {
    const fn use_instead(self, instead: &'static str) -> Self {
        Self { instead: Some(instead), ..self }
    }

    /// Returns whether this entry covers a property.
    #[must_use]
    pub fn covers(&self, property: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(start) => property.starts_with(start),
            None => property == self.name,
        }
    }
}

/// Every refused property. The table of `docs/configuration.md` is generated from it (tests/tidy).
pub const REFUSED: &[Refused] = &[
    refused("acks", "an acknowledged record must be on every in-sync replica"),
    refused(
        "allow.auto.create.topics",
        "a misspelt or deleted topic would be created with the wrong number of partitions",
    )
    .use_instead("manage_topics"),
    refused("auto.commit.*", "progress is committed on the target, with the data"),
    refused("auto.offset.reset", "a position is never reset silently").use_instead("start and on_gap"),
    refused("batch.num.messages", "batches follow the round trip and the memory of the link")
        .use_instead("batch_kib_max"),
    refused("batch.size", "batches follow the round trip and the memory of the link").use_instead("batch_kib_max"),
    refused("bootstrap.servers", "brokers are set in one place").use_instead("bootstrap_servers"),
    refused("client.rack", "progress must be read from leaders: a follower may not have the last commit yet"),
    refused("delivery.report.only.error", "the offset map is built from delivery reports"),
    refused("delivery.timeout.ms", "a timeout leaves a gap in a partition"),
    refused("enable.auto.*", "progress is committed on the target, with the data"),
    refused("enable.gapless.guarantee", "Strait itself stops and rewinds a lane on the first failed delivery"),
    refused("enable.idempotence", "without it, retries duplicate and reorder records").use_instead("delivery"),
    refused("enable.partition.eof", "Strait needs the fetch position that these events carry"),
    refused("group.*", "the link's consumer group assigns its lanes; its name and membership follow from the link")
        .use_instead("name"),
    refused("isolation.level", "aborted records would be copied").use_instead("delivery"),
    refused("linger.ms", "the lane decides when a batch is sent, so lingering only adds delay"),
    refused("max.in.flight*", "more than five requests in flight lose the order"),
    refused("message.max.bytes", "the lane itself checks max.message.bytes of each target topic"),
    refused("message.send.max.retries", "giving up leaves a gap in a partition"),
    refused("message.timeout.ms", "a timeout leaves a gap in a partition"),
    refused("metadata.broker.list", "brokers are set in one place").use_instead("bootstrap_servers"),
    refused("offset.store.*", "progress is committed on the target, with the data"),
    refused(
        "partition.assignment.strategy",
        "lanes are assigned cooperatively; members with another strategy cannot join the group",
    ),
    refused("partitioner", "a record keeps its partition, or follows its key as in Kafka's own clients"),
    refused("plugin.library.paths", "it loads other native code into the process").use_instead("plugins of a link"),
    refused("queue.buffering.max.*", "records in flight are bounded for the link as a whole")
        .use_instead("memory_mib_max"),
    refused("queued.max.messages.kbytes", "records in flight are bounded for the link as a whole")
        .use_instead("memory_mib_max"),
    refused("queuing.strategy", "any order but first in, first out reorders records"),
    refused("request.required.acks", "an acknowledged record must be on every in-sync replica"),
    refused("retries", "giving up leaves a gap in a partition"),
    refused("session.timeout.ms", "how fast lanes move to another process is part of taking them over safely"),
    refused("statistics.interval.ms", "pacing and metrics depend on these statistics"),
    refused("transaction.timeout.ms", "it must fit the commit interval").use_instead("commit_interval_ms_max"),
    refused("transactional.id", "fencing depends on ids that follow from link and lane").use_instead("name"),
];

/// Returns the entry that refuses a property, if any does.
#[must_use]
pub fn refusal(property: &str) -> Option<&'static Refused> {
    REFUSED.iter().find(|refused| refused.covers(property))
}

/// Iterates over the names of librdkafka's properties, without callbacks and pointers
/// (`CONFIGURATION.md` of librdkafka 2.12.1).
///
/// They are data of this crate, like [`REFUSED`], because a configuration is judged where no client
/// library is at hand.
pub fn known_properties() -> impl Iterator<Item = &'static str> {
    include_str!("librdkafka-properties.txt").lines()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refused_property_exists_and_is_covered_once() {
        for refused in REFUSED {
            assert!(known_properties().any(|name| refused.covers(name)), "{}", refused.name);
        }
        for name in known_properties() {
            assert!(REFUSED.iter().filter(|refused| refused.covers(name)).count() <= 1, "{name}");
        }
        for name in super::super::secrets::SECRET_PROPERTIES {
            let java = ["ssl.truststore.password", "sasl.jaas.config"].contains(&name);
            assert_eq!(known_properties().any(|known| known == name), !java, "{name}");
        }
    }
}
