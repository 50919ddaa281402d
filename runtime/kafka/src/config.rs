//! What a client is made from: the cluster as configured, and the settings that Strait fixes.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use strait_core::config::secrets;

/// Length of the shortest value that is masked.
const MASKED_LENGTH_MIN: usize = 3;

/// A cluster as the operator configured it.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterConfig {
    /// Its name (alias) in the configuration.
    pub name: String,
    /// `host:port` list.
    pub bootstrap_servers: String,
    /// Any librdkafka property, secrets resolved. Those that Strait fixes win over these; core refuses the ones that would
    /// break a guarantee before they come here.
    pub properties: BTreeMap<String, String>,
}

impl fmt::Debug for ClusterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be passwords and keys; which property is one is not for a debug print to judge.
        f.debug_struct("ClusterConfig")
            .field("name", &self.name)
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("properties", &self.properties.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// How the source is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceTuning {
    /// Fetched bytes a lane may hold in librdkafka's queue, in bytes. On top of it comes at most one fetch per broker.
    pub fetch_budget_bytes: usize,
    /// Largest answer for one partition in one fetch (`fetch.message.max.bytes`), in bytes. Over a long line it should be
    /// near bandwidth times round trip.
    pub partition_fetch_bytes: usize,
    /// Largest answer to one fetch (`fetch.max.bytes`), in bytes.
    pub fetch_bytes: usize,
    /// Bytes of records that one batch of the port aims at.
    pub pull_bytes: usize,
    /// Number of partitions that the lane will read; with thousands the brokers are asked less often.
    pub partitions: usize,
    /// How long an answer of the brokers is waited for.
    pub request_timeout: Duration,
}

impl Default for SourceTuning {
    fn default() -> Self {
        Self {
            fetch_budget_bytes: 64 << 20,
            partition_fetch_bytes: 8 << 20,
            fetch_bytes: 64 << 20,
            pull_bytes: 512 << 10,
            partitions: 0,
            request_timeout: Duration::from_secs(15),
        }
    }
}

/// How the target is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetTuning {
    /// Two transactional producers, or one idempotent one.
    pub exactly_once: bool,
    /// Prefix of the transactional ids.
    pub transactional_id_prefix: String,
    /// `transaction.timeout.ms`: the broker aborts a transaction that is open for longer.
    pub transaction_timeout: Duration,
    /// `linger.ms`: a batch that is not full waits this long. It should be longer than giving a batch to the client takes.
    pub linger: Duration,
    /// `batch.size`: bytes of one batch before compression.
    pub batch_bytes: usize,
    /// `batch.num.messages`.
    pub batch_records: usize,
    /// `queue.buffering.max.kbytes`: bytes that one producer may hold.
    pub queue_bytes: usize,
    /// `queue.buffering.max.messages`.
    pub queue_records: usize,
    /// `message.max.bytes`: client-side limit of a request; the topic's own limit is checked by the lane.
    pub message_max_bytes: usize,
    /// Codec where the cluster's properties have no `compression.type`.
    pub compression: String,
    /// Whether topics are made and grown.
    pub manage_topics: bool,
    /// How long an answer of the brokers is waited for.
    pub request_timeout: Duration,
    /// `statistics.interval.ms`: how often the round trip is reported. A report names every partition, so it costs as much.
    pub statistics_interval: Duration,
}

impl Default for TargetTuning {
    fn default() -> Self {
        Self {
            exactly_once: true,
            transactional_id_prefix: "strait".to_owned(),
            transaction_timeout: Duration::from_secs(60),
            linger: Duration::from_millis(5),
            batch_bytes: 1 << 20,
            batch_records: 10_000,
            queue_bytes: 64 << 20,
            queue_records: 200_000,
            message_max_bytes: 64 << 20,
            compression: "lz4".to_owned(),
            manage_topics: true,
            request_timeout: Duration::from_secs(15),
            statistics_interval: Duration::from_secs(5),
        }
    }
}

/// Settings of one client: later ones win.
#[derive(Clone, Default)]
pub struct Settings(BTreeMap<String, String>);

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Names that librdkafka accepts for the same setting.
const ALIASES: &[(&str, &str)] = &[
    ("bootstrap.servers", "metadata.broker.list"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("compression.codec", "compression.type"),
    ("acks", "request.required.acks"),
    ("retries", "message.send.max.retries"),
    ("linger.ms", "queue.buffering.max.ms"),
    ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
    ("message.timeout.ms", "delivery.timeout.ms"),
];

impl Settings {
    /// The cluster's own, before anything is fixed.
    #[must_use]
    pub fn of(cluster: &ClusterConfig, client_id: &str) -> Self {
        let mut settings = Self::default();
        settings.set("client.id", client_id);
        // A dead broker is left after seconds, not after librdkafka's 10 s between attempts.
        settings.set("reconnect.backoff.max.ms", "2000");
        settings.set("socket.keepalive.enable", "true");
        for (name, value) in &cluster.properties {
            settings.set(name, value.clone());
        }
        settings.set("bootstrap.servers", cluster.bootstrap_servers.clone());
        settings
    }

    /// Sets one, also where it was set under another name.
    pub fn set(&mut self, name: &str, value: impl ToString) {
        for (one, other) in ALIASES {
            if *one == name {
                self.0.remove(*other);
            } else if *other == name {
                self.0.remove(*one);
            }
        }
        self.0.insert(name.to_owned(), value.to_string());
    }

    /// Sets one unless it is there.
    pub fn set_default(&mut self, name: &str, value: impl ToString) {
        let alias = ALIASES.iter().any(|(one, other)| {
            (*one == name && self.0.contains_key(*other)) || (*other == name && self.0.contains_key(*one))
        });
        if !alias && !self.0.contains_key(name) {
            self.0.insert(name.to_owned(), value.to_string());
        }
    }

    /// Takes one away.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// The value of one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All, as name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns the values that no log line may show.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let is_secret =
            |name: &str, value: &str| secrets::is_secret_property(name) || secrets::without_userinfo(value) != value;
        self.iter()
            // Shorter values would mask ordinary words.
            .filter(|(name, value)| value.len() >= MASKED_LENGTH_MIN && is_secret(name, value))
            .map(|(_, value)| value.to_owned())
            .collect()
    }
}

/// Settings of a lane's reader.
#[must_use]
pub fn reader(cluster: &ClusterConfig, link: &str, lane: u32, tuning: &SourceTuning) -> Settings {
    let mut settings = Settings::of(cluster, &format!("strait-{link}-{lane}-source"));
    // Without incremental fetch sessions every fetch names every partition, so with a thousand of them on a lane the broker is
    // asked once a second while nothing comes.
    let idle_wait_ms = (100 + tuning.partitions).min(1000);
    settings.set_default("fetch.wait.max.ms", idle_wait_ms);
    settings.set_default("fetch.min.bytes", 1 + tuning.partitions.saturating_sub(100) * 16);
    settings.set_default("fetch.message.max.bytes", tuning.partition_fetch_bytes);
    settings.set_default("fetch.max.bytes", tuning.fetch_bytes);
    settings.set_default("receive.message.max.bytes", tuning.fetch_bytes.max(tuning.partition_fetch_bytes) * 2 + 1024);
    settings.set_default("fetch.queue.backoff.ms", 5);
    settings.set_default("check.crcs", "true");
    // A topic that is not in the metadata for this long counts as gone.
    settings.set_default("topic.metadata.propagation.max.ms", 10_000);
    // The queue thresholds look at the queue that all partitions are forwarded to (`rdkafka_queue.h`, `rd_kafka_q_len`
    // follows the forward), so they bound the lane, not a partition.
    settings.set("queued.max.messages.kbytes", (tuning.fetch_budget_bytes / 1024).max(1));
    // A message costs librdkafka some 400 bytes besides its own: small records are bounded by their number.
    settings.set_default("queued.min.messages", (tuning.fetch_budget_bytes / 512).clamp(1_000, 100_000));
    settings.set("group.id", format!("strait.{link}"));
    committed_reader(&mut settings);
    // Not for reading to a fixed end, but because end-of-partition events carry the fetch position in queue order: behind
    // aborted, control and compacted-away offsets as well. The stored position, which they disturb in this version, is unused.
    settings.set("enable.partition.eof", "true");
    settings
}

/// What every consumer of ours has: only what is committed, no groups, nothing stored, nothing reset.
pub(crate) fn committed_reader(settings: &mut Settings) {
    settings.set("isolation.level", "read_committed");
    settings.set("auto.offset.reset", "error");
    settings.set("enable.auto.commit", "false");
    settings.set("enable.auto.offset.store", "false");
    settings.set("allow.auto.create.topics", "false");
    settings.remove("group.instance.id");
}

/// Settings of a producer: transactional with an id, idempotent without.
#[must_use]
pub fn writer(
    cluster: &ClusterConfig,
    client_id: &str,
    tuning: &TargetTuning,
    transactional_id: Option<&str>,
) -> Settings {
    let mut settings = Settings::of(cluster, client_id);
    settings.set_default("compression.type", &tuning.compression);
    settings.set("enable.idempotence", "true");
    settings.set("acks", "all");
    settings.set("max.in.flight", 5);
    settings.set("retries", i32::MAX);
    settings.set("enable.gapless.guarantee", "false");
    settings.set("queuing.strategy", "fifo");
    settings.set("allow.auto.create.topics", "false");
    settings.set("linger.ms", tuning.linger.as_millis());
    settings.set("batch.size", tuning.batch_bytes);
    settings.set("batch.num.messages", tuning.batch_records);
    settings.set("queue.buffering.max.kbytes", (tuning.queue_bytes / 1024).max(1));
    settings.set("queue.buffering.max.messages", tuning.queue_records);
    settings.set("message.max.bytes", tuning.message_max_bytes);
    settings.set("statistics.interval.ms", tuning.statistics_interval.as_millis());
    settings.set("delivery.report.only.error", "false");
    match transactional_id {
        Some(id) => {
            let timeout = tuning.transaction_timeout.as_millis();
            settings.set("transactional.id", id);
            settings.set("transaction.timeout.ms", timeout);
            // Below the transaction's: a record that is late must fail its transaction, not outlive it.
            settings.set("message.timeout.ms", (timeout * 3 / 4).max(1));
            settings.set_default("socket.timeout.ms", (timeout / 2).clamp(1000, 60_000));
        }
        None => {
            settings.remove("transactional.id");
            settings.remove("transaction.timeout.ms");
            settings.set("message.timeout.ms", 0);
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> ClusterConfig {
        ClusterConfig {
            name: "a".to_owned(),
            bootstrap_servers: "h:1".to_owned(),
            properties: [
                ("sasl.password".to_owned(), "hunter2".to_owned()),
                ("request.required.acks".to_owned(), "0".to_owned()),
                ("metadata.broker.list".to_owned(), "elsewhere:1".to_owned()),
                ("delivery.timeout.ms".to_owned(), "1".to_owned()),
                ("compression.codec".to_owned(), "zstd".to_owned()),
                ("isolation.level".to_owned(), "read_uncommitted".to_owned()),
            ]
            .into(),
        }
    }

    #[test]
    fn fixed_settings_win_under_every_name_and_defaults_do_not() {
        let writer = writer(&cluster(), "c", &TargetTuning::default(), Some("id"));
        assert_eq!(writer.get("acks"), Some("all"));
        assert_eq!(writer.get("message.timeout.ms"), Some("45000"));
        assert_eq!(writer.get("bootstrap.servers"), Some("h:1"));
        assert_eq!(writer.get("compression.codec"), Some("zstd"));
        for gone in ["request.required.acks", "metadata.broker.list", "delivery.timeout.ms", "compression.type"] {
            assert_eq!(writer.get(gone), None, "{gone}");
        }
        let reader = reader(&cluster(), "l", 0, &SourceTuning::default());
        assert_eq!(reader.get("isolation.level"), Some("read_committed"));
    }

    #[test]
    fn no_secret_is_printed() {
        let settings = Settings::of(&cluster(), "c");
        assert_eq!(settings.secrets(), ["hunter2"]);
        assert!(!format!("{settings:?} {:?}", cluster()).contains("hunter2"));
        let mut settings = Settings::default();
        settings.set("sasl.kerberos.kinit.cmd", "kinit with-a-password");
        settings.set("sasl.oauthbearer.token.endpoint.url", "https://me:word@idp/token");
        settings.set("ssl.ca.pem", "a public certificate");
        assert_eq!(settings.secrets(), ["kinit with-a-password", "https://me:word@idp/token"]);
    }
}
