//! The table of properties, and the names of Kafka's documentation.

use super::super::*;
use super::{HEAD, import, loads};

/// Notes that become options in versions that have those (`options.rs`).
const LATER: [&str; 6] = [
    "groups*",
    "sync.group.offsets.*",
    "refresh.topics.*",
    "emit.heartbeats.*",
    "emit.checkpoints.*",
    "offset-syncs.topic.*",
];

/// Returns a value that the property can have.
fn example(name: &str) -> &'static str {
    match name {
        "topics" | "topics.exclude" | "topics.blacklist" | "groups" => "x.*",
        "tasks.max" | "replication.factor" => "2",
        "replication.policy.class" => "org.apache.kafka.connect.mirror.DefaultReplicationPolicy",
        "replication.policy.separator" => "_",
        "use.defaults.from" => "source",
        "config.properties.exclude" | "config.properties.blacklist" => "a, b",
        _ => "true",
    }
}

#[test]
fn the_table_of_properties_is_what_happens_to_each() {
    for known in known::FLOW {
        let name = match known.name.strip_suffix('*') {
            Some(start) if start.ends_with('.') => format!("{start}enabled"),
            Some(start) => start.to_owned(),
            None => known.name.to_owned(),
        };
        for start in ["A->B.", ""] {
            if start.is_empty() && ["enabled", "source.cluster.enabled", "target.cluster.enabled"].contains(&&*name) {
                continue;
            }
            let property = format!("{start}{name}");
            let imported = import(&format!("{HEAD}A->B.enabled = true\n{property} = {}\n", example(&name)));
            let mine: Vec<_> = imported.findings.iter().filter(|f| f.name == property && f.line == 5).collect();
            let fits = |f: &Finding| {
                let is_option = LATER.contains(&known.name) && f.outcome == Outcome::Option;
                (f.outcome == known.outcome || is_option) && !f.text.is_empty()
            };
            assert!(mine.iter().any(|f| fits(f)), "{property}: {mine:?}");
            assert_eq!(imported.has_refusals(), known.outcome == Outcome::Refused, "{property}: {mine:?}");
            loads(&imported.toml).unwrap_or_else(|error| panic!("{property}: {error}\n{}", imported.toml));
        }
    }
}

/// Names of Kafka's documentation for its clients and for Connect's workers, by the client.
const CLIENTS: [(&str, &str); 4] = [
    (
        "A.consumer.",
        "key.deserializer value.deserializer fetch.min.bytes group.id group.protocol heartbeat.interval.ms \
         max.partition.fetch.bytes session.timeout.ms allow.auto.create.topics auto.offset.reset client.dns.lookup \
         connections.max.idle.ms default.api.timeout.ms enable.auto.commit exclude.internal.topics fetch.max.bytes \
         group.instance.id group.remote.assignor isolation.level max.poll.interval.ms max.poll.records \
         partition.assignment.strategy receive.buffer.bytes request.timeout.ms send.buffer.bytes \
         socket.connection.setup.timeout.max.ms socket.connection.setup.timeout.ms auto.commit.interval.ms \
         auto.include.jmx.reporter check.crcs client.id client.rack enable.metrics.push fetch.max.wait.ms \
         interceptor.classes metadata.max.age.ms metadata.recovery.strategy metadata.recovery.rebootstrap.trigger.ms \
         metric.reporters metrics.num.samples metrics.recording.level metrics.sample.window.ms \
         reconnect.backoff.max.ms reconnect.backoff.ms retry.backoff.max.ms retry.backoff.ms \
         share.acknowledgement.mode",
    ),
    (
        "B.producer.",
        "key.serializer value.serializer buffer.memory compression.type retries batch.size client.dns.lookup client.id \
         compression.gzip.level compression.lz4.level compression.zstd.level connections.max.idle.ms \
         delivery.timeout.ms linger.ms max.block.ms max.request.size partitioner.class partitioner.ignore.keys \
         receive.buffer.bytes request.timeout.ms send.buffer.bytes acks enable.idempotence enable.metrics.push \
         interceptor.classes max.in.flight.requests.per.connection metadata.max.age.ms metadata.max.idle.ms \
         partitioner.adaptive.partitioning.enable partitioner.availability.timeout.ms transaction.timeout.ms \
         transactional.id transaction.two.phase.commit.enable",
    ),
    ("B.admin.", "bootstrap.controllers client.dns.lookup client.id default.api.timeout.ms request.timeout.ms retries"),
    (
        "B.",
        "config.storage.topic config.storage.replication.factor group.id key.converter value.converter \
         offset.storage.topic offset.storage.partitions offset.storage.replication.factor status.storage.topic \
         status.storage.partitions status.storage.replication.factor heartbeat.interval.ms rebalance.timeout.ms \
         session.timeout.ms access.control.allow.methods access.control.allow.origin admin.listeners client.id \
         config.providers connector.client.config.override.policy exactly.once.source.support header.converter \
         inter.worker.key.generation.algorithm inter.worker.key.size inter.worker.key.ttl.ms \
         inter.worker.signature.algorithm inter.worker.verification.algorithms listeners offset.flush.interval.ms \
         offset.flush.timeout.ms plugin.discovery plugin.path response.http.headers.config \
         rest.advertised.host.name rest.advertised.listener rest.advertised.port rest.extension.classes \
         scheduled.rebalance.max.delay.ms task.shutdown.graceful.timeout.ms topic.creation.enable \
         topic.tracking.allow.reset topic.tracking.enable worker.sync.timeout.ms worker.unsync.backoff.ms \
         connect.protocol",
    ),
];

#[test]
fn every_setting_of_kafkas_clients_and_workers_is_known() {
    for (start, names) in CLIENTS {
        for name in names.split_whitespace() {
            let value = match name {
                "isolation.level" => "read_committed",
                "auto.offset.reset" => "earliest",
                "compression.type" => "lz4",
                _ => "1",
            };
            let imported = import(&format!("{HEAD}A->B.enabled = true\n{start}{name} = {value}\n"));
            assert!(!imported.has_refusals(), "{start}{name}: {:?}", imported.findings);
            loads(&imported.toml).unwrap_or_else(|error| panic!("{name}: {error}\n{}", imported.toml));
            let misspelt = import(&format!("{HEAD}A->B.enabled = true\n{start}{name}s = {value}\n"));
            let is_open = ["key", "value", "listeners"].iter().any(|open| name.starts_with(open)) || name.contains('.');
            assert!(misspelt.has_refusals() || is_open, "{start}{name}s");
        }
    }
}
