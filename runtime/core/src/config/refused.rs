//! librdkafka properties that a configuration may not set, because a guarantee rests on what Strait sets there.

/// A refused property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its name, or with a `*` at the end the beginning of its name.
    pub name: &'static str,
    /// What would break.
    pub reason: &'static str,
    /// What to use instead, where there is something.
    pub instead: Option<&'static str>,
}

const fn refused(name: &'static str, reason: &'static str) -> Refused {
    Refused { name, reason, instead: None }
}

impl Refused {
    const fn use_instead(self, instead: &'static str) -> Self {
        Self { instead: Some(instead), ..self }
    }

    /// Whether it is about this property.
    #[must_use]
    pub fn covers(&self, property: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(start) => property.starts_with(start),
            None => property == self.name,
        }
    }
}

/// Every refused property. `docs/configuration.md` shows this table; a test compares the two.
pub const REFUSED: &[Refused] = &[
    refused("acks", "an acknowledged record must be on every in-sync replica"),
    refused("allow.auto.create.topics", "a misspelt or deleted topic would come into being with the wrong partitions")
        .use_instead("manage_topics"),
    refused("auto.commit.*", "progress is committed on the target, with the data"),
    refused("auto.offset.reset", "a position is never reset silently").use_instead("start and on_gap"),
    refused("batch.num.messages", "batches follow the round trip and the memory of the link")
        .use_instead("batch_kib_max"),
    refused("batch.size", "batches follow the round trip and the memory of the link").use_instead("batch_kib_max"),
    refused("bootstrap.servers", "the brokers are named in one place").use_instead("bootstrap_servers"),
    refused("client.rack", "progress must be read from leaders: a follower may not have the last commit yet"),
    refused("delivery.report.only.error", "the offset map is made of delivery reports"),
    refused("delivery.timeout.ms", "a timeout leaves a gap in a partition"),
    refused("enable.auto.*", "progress is committed on the target, with the data"),
    refused("enable.gapless.guarantee", "Strait stops and rewinds a lane on the first failed delivery itself"),
    refused("enable.idempotence", "without it retries double and reorder records").use_instead("delivery"),
    refused("enable.partition.eof", "with batch reads it moves the stored position past records"),
    refused("group.*", "the link's group hands out its lanes; its name and membership follow from the link")
        .use_instead("name"),
    refused("isolation.level", "aborted records would be copied").use_instead("delivery"),
    refused("linger.ms", "the lane decides when a batch goes, so waiting here only adds delay"),
    refused("max.in.flight*", "more than five in flight lose the order"),
    refused("message.max.bytes", "it follows max.message.bytes of each target topic"),
    refused("message.send.max.retries", "giving up leaves a gap in a partition"),
    refused("message.timeout.ms", "a timeout leaves a gap in a partition"),
    refused("metadata.broker.list", "the brokers are named in one place").use_instead("bootstrap_servers"),
    refused("offset.store.*", "progress is committed on the target, with the data"),
    refused(
        "partition.assignment.strategy",
        "lanes are handed out cooperatively; members that differ cannot share a group",
    ),
    refused("partitioner", "a record keeps its partition, or follows its key as with Kafka's own clients"),
    refused("plugin.library.paths", "it loads foreign code into the process").use_instead("plugins of a link"),
    refused("queue.buffering.max.*", "what is in flight is bounded for the link as a whole")
        .use_instead("memory_mib_max"),
    refused("queued.max.messages.kbytes", "what is in flight is bounded for the link as a whole")
        .use_instead("memory_mib_max"),
    refused("queuing.strategy", "another order than first in, first out reorders records"),
    refused("request.required.acks", "an acknowledged record must be on every in-sync replica"),
    refused("retries", "giving up leaves a gap in a partition"),
    refused("session.timeout.ms", "how fast lanes move to another process is part of taking them safely"),
    refused("statistics.interval.ms", "pacing and metrics live on these statistics"),
    refused("transaction.timeout.ms", "it must fit the commit interval").use_instead("commit_interval_ms_max"),
    refused("transactional.id", "safety rests on ids that follow from link, lane and slot").use_instead("name"),
];

/// What refuses a property, if anything does.
#[must_use]
pub fn refusal(property: &str) -> Option<&'static Refused> {
    REFUSED.iter().find(|refused| refused.covers(property))
}

/// Names of librdkafka's properties (2.12.1), callbacks and pointers left out: `CONFIGURATION.md` of that version.
pub fn known_properties() -> impl Iterator<Item = &'static str> {
    include_str!("librdkafka-properties.txt").lines()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refused_name_is_a_property_of_librdkafka_and_covered_once() {
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
