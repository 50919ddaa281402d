//! The settings of a client: the cluster as configured, and what Strait sets on top.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use strait_core::config::secrets;

use crate::access::Access;

const IDEMPOTENCE: &str = "enable.idempotence";
/// Length of the shortest value that is masked.
const MASKED_LENGTH_MIN: usize = 3;

/// A cluster as the operator configured it.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterConfig {
    /// Name (alias) of the cluster in the configuration.
    pub name: String,
    /// Brokers as a list of `host:port`.
    pub bootstrap_servers: String,
    /// librdkafka properties, secrets resolved. Strait's own settings take precedence; core refuses
    /// properties that would break a guarantee before they come here.
    pub properties: BTreeMap<String, String>,
    /// Its clients in this process, and what changes about their login.
    pub access: Access,
}

impl ClusterConfig {
    /// Returns the cluster for writers without idempotence, which it does not support: they have
    /// one request in flight, so that retries keep the order, but may write a record twice.
    #[must_use]
    pub fn without_idempotence(mut self) -> Self {
        // Core refuses this property to operators, so nobody else sets it.
        self.properties.insert(IDEMPOTENCE.to_owned(), "false".to_owned());
        self
    }

    /// Returns whether writers are idempotent.
    #[must_use]
    pub fn has_idempotence(&self) -> bool {
        self.properties.get(IDEMPOTENCE).is_none_or(|value| value != "false")
    }
}

impl fmt::Debug for ClusterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be passwords and keys, so only the names are printed.
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
    /// Bytes that a lane may hold in librdkafka's queue, plus one fetch per broker at most.
    pub fetch_budget_bytes: usize,
    /// Largest answer for one partition in one fetch (`fetch.message.max.bytes`), in bytes. Over a
    /// long line it should be near bandwidth times round trip.
    pub partition_fetch_bytes: usize,
    /// Largest answer to one fetch (`fetch.max.bytes`), in bytes.
    pub fetch_bytes: usize,
    /// Largest answer that is taken at all (`receive.message.max.bytes`), in bytes. A broker sends
    /// a batch that is larger than a fetch alone, and zstd is decompressed up to this size.
    pub answer_bytes: usize,
    /// Bytes of records that one batch of the port should have.
    pub pull_bytes: usize,
    /// Number of partitions that the lane reads. With thousands of them the brokers are asked less
    /// often.
    pub partitions: usize,
    /// How long one request to the brokers may take.
    pub request_timeout: Duration,
}

impl Default for SourceTuning {
    fn default() -> Self {
        Self {
            fetch_budget_bytes: 64 << 20,
            partition_fetch_bytes: 8 << 20,
            fetch_bytes: 64 << 20,
            answer_bytes: 128 << 20,
            pull_bytes: 512 << 10,
            partitions: 0,
            request_timeout: Duration::from_secs(15),
        }
    }
}

/// How the target is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetTuning {
    /// Whether to use two transactional producers, or one idempotent one.
    pub exactly_once: bool,
    /// Prefix of the transactional ids.
    pub transactional_id_prefix: String,
    /// `transaction.timeout.ms`: the broker aborts a transaction that is open for longer.
    pub transaction_timeout: Duration,
    /// `linger.ms`: how long a batch waits to be filled. It should exceed the time to hand a batch
    /// to the client.
    pub linger: Duration,
    /// `batch.size`: bytes of one batch before compression.
    pub batch_bytes: usize,
    /// `batch.num.messages`.
    pub batch_records: usize,
    /// `queue.buffering.max.kbytes`: bytes that one producer may hold.
    pub queue_bytes: usize,
    /// `queue.buffering.max.messages`.
    pub queue_records: usize,
    /// `message.max.bytes`: the client's limit of a request. The lane checks the topic's own limit.
    pub message_max_bytes: usize,
    /// Codec, where the cluster's properties have no `compression.type`.
    pub compression: String,
    /// How long one request to the brokers may take.
    pub request_timeout: Duration,
    /// `statistics.interval.ms`: how often the round trip is reported. The cost of a report grows
    /// with the partitions.
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
            request_timeout: Duration::from_secs(15),
            statistics_interval: Duration::from_secs(5),
        }
    }
}

/// The settings of one client. A later value replaces an earlier one.
#[derive(Clone, Default)]
pub struct Settings {
    values: BTreeMap<String, String>,
    /// The settings that name the files of certificates and keys, by the property that has the
    /// contents.
    read_from: BTreeMap<String, String>,
    access: Access,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

/// Pairs of names that librdkafka accepts for the same setting.
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

/// Returns the property that names the file of a certificate or key.
fn location_of(pem: &str) -> String {
    pem.replace(".pem", ".location")
}

impl Settings {
    /// Returns the cluster's own settings.
    #[must_use]
    pub fn of(cluster: &ClusterConfig, client_id: &str) -> Self {
        let mut settings = Self { access: cluster.access.clone(), ..Self::default() };
        settings.set("client.id", client_id);
        // Reconnect within seconds; librdkafka's default grows to 10 s.
        settings.set("reconnect.backoff.max.ms", "2000");
        settings.set("socket.keepalive.enable", "true");
        for (name, value) in &cluster.properties {
            settings.set(name, value.clone());
        }
        if let Some(rotated) = cluster.access.credentials() {
            settings.set("sasl.username", rotated.user);
            settings.set("sasl.password", rotated.password);
        }
        for (property, pem) in cluster.access.files() {
            let (own, store) = (location_of(&property), "ssl.keystore.location".to_owned());
            let named = if property == "ssl.ca.pem" { vec![own] } else { vec![own, store] };
            for name in named {
                if let Some(path) = settings.values.get(&name) {
                    settings.read_from.insert(property.clone(), format!("{name} = {path}"));
                }
            }
            settings.set(&property, pem);
        }
        for name in settings.read_from.values().filter_map(|text| text.split_once(" = ")).map(|(name, _)| name) {
            settings.values.remove(name);
        }
        settings.set("bootstrap.servers", cluster.bootstrap_servers.clone());
        if needs_system_certificates(&settings)
            && let Some(location) = system_certificates()
        {
            settings.set("ssl.ca.location", location);
        }
        settings
    }

    /// Returns what an operator has written for a certificate or key, such as `ssl.ca.pem`: the
    /// name of its file, or the property alone.
    pub(crate) fn written_as(&self, pem: &str) -> Option<String> {
        let location = location_of(pem);
        let path = self.get(&location).map(|path| format!("{location} = {path}"));
        path.or_else(|| self.read_from.get(pem).cloned()).or_else(|| self.get(pem).map(|_| pem.to_owned()))
    }

    /// Sets a value, and removes one under another name of the setting.
    pub fn set(&mut self, name: &str, value: impl ToString) {
        for (one, other) in ALIASES {
            if *one == name {
                self.values.remove(*other);
            } else if *other == name {
                self.values.remove(*one);
            }
        }
        self.values.insert(name.to_owned(), value.to_string());
    }

    /// Turns a debug context of librdkafka on, beside those that are on.
    pub fn debug(&mut self, context: &str) {
        let debug = self.get("debug").map_or_else(|| context.to_owned(), |debug| format!("{debug},{context}"));
        self.set("debug", debug);
    }

    /// Sets a value unless the setting has one.
    pub fn set_default(&mut self, name: &str, value: impl ToString) {
        let alias = ALIASES.iter().any(|(one, other)| {
            (*one == name && self.values.contains_key(*other)) || (*other == name && self.values.contains_key(*one))
        });
        if !alias && !self.values.contains_key(name) {
            self.values.insert(name.to_owned(), value.to_string());
        }
    }

    /// Removes a setting.
    pub fn remove(&mut self, name: &str) {
        self.values.remove(name);
    }

    /// Returns the value of a setting.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Returns all settings as name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns the access of the cluster.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Returns the values that no log line may show.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let is_secret =
            |name: &str, value: &str| secrets::may_hold_secret(name) || secrets::without_url_secrets(value) != value;
        self.iter()
            // Shorter values would mask ordinary words.
            .filter(|(name, value)| value.len() >= MASKED_LENGTH_MIN && is_secret(name, value))
            .map(|(_, value)| value.to_owned())
            .collect()
    }
}

/// Returns whether brokers are verified by the certificate authorities of the system, because none
/// are configured.
fn needs_system_certificates(settings: &Settings) -> bool {
    let protocol = settings.get("security.protocol").unwrap_or_default().to_ascii_lowercase();
    let configured = ["ssl.ca.location", "ssl.ca.pem", "ssl.ca.certificate.stores"];
    ["ssl", "sasl_ssl"].contains(&protocol.as_str()) && configured.iter().all(|name| settings.get(name).is_none())
}

/// Returns the file of the system's certificate authorities, or its folder. The OpenSSL in the
/// binary knows neither: it looks where it was built to be installed.
fn system_certificates() -> Option<String> {
    let found = openssl_probe::probe();
    let path = found.cert_file.or_else(|| found.cert_dir.into_iter().next())?;
    path.into_os_string().into_string().ok()
}

/// Returns the name of a link's consumer group.
pub(crate) fn group(link: &str) -> String {
    format!("strait.{link}")
}

/// Returns the settings to read what is committed of a link's own topics, to their present end.
pub(crate) fn own_topic_reader(cluster: &ClusterConfig, link: &str, client_id: &str) -> Settings {
    let mut settings = Settings::of(cluster, client_id);
    committed_reader(&mut settings);
    settings.set("group.id", group(link));
    settings.set("enable.partition.eof", "true");
    settings.set("check.crcs", "true");
    settings.set("fetch.wait.max.ms", 50);
    settings.set("fetch.queue.backoff.ms", 5);
    // Only the leader's last stable offset is final. With a rack the broker could redirect the read
    // to a follower.
    settings.remove("client.rack");
    settings
}

/// Returns the settings of a lane's reader.
#[must_use]
pub fn reader(cluster: &ClusterConfig, link: &str, lane: u32, tuning: &SourceTuning) -> Settings {
    let mut settings = Settings::of(cluster, &format!("strait-{link}-{lane}-source"));
    // librdkafka has no incremental fetch sessions: every fetch names every partition. So with a
    // thousand partitions on a lane an idle broker is asked once a second.
    let idle_wait_ms = (100 + tuning.partitions).min(1000);
    settings.set_default("fetch.wait.max.ms", idle_wait_ms);
    settings.set_default("fetch.min.bytes", 1 + tuning.partitions.saturating_sub(100) * 16);
    settings.set_default("fetch.message.max.bytes", tuning.partition_fetch_bytes);
    settings.set_default("fetch.max.bytes", tuning.fetch_bytes);
    let fetch_bytes = tuning.fetch_bytes.max(tuning.partition_fetch_bytes);
    // 32 bits, signed.
    let answer_bytes = tuning.answer_bytes.max(fetch_bytes * 2 + 1024).min(i32::MAX as usize);
    settings.set_default("receive.message.max.bytes", answer_bytes);
    settings.set_default("fetch.queue.backoff.ms", 5);
    settings.set_default("check.crcs", "true");
    // A topic missing from the metadata for this long counts as gone.
    settings.set_default("topic.metadata.propagation.max.ms", 10_000);
    // The thresholds apply to the queue that all partitions are forwarded to (`rdkafka_queue.h`:
    // `rd_kafka_q_len` follows the forward), so they bound the lane and not a partition.
    settings.set("queued.max.messages.kbytes", (tuning.fetch_budget_bytes / 1024).max(1));
    // Each message costs librdkafka about 400 bytes more than its own, so small records are bounded
    // by their number.
    settings.set_default("queued.min.messages", (tuning.fetch_budget_bytes / 512).clamp(1_000, 100_000));
    settings.set("group.id", group(link));
    committed_reader(&mut settings);
    // The client says only in this log under which id it reads a topic.
    settings.debug("metadata");
    // End-of-partition events carry the fetch position in queue order, also behind aborted, control
    // and compacted-away offsets. They disturb the stored position in this version, which is not
    // used.
    settings.set("enable.partition.eof", "true");
    settings
}

/// Sets what all consumers have in common: they read committed records, store no offset and reset
/// no position.
pub(crate) fn committed_reader(settings: &mut Settings) {
    settings.set("isolation.level", "read_committed");
    settings.set("auto.offset.reset", "error");
    settings.set("enable.auto.commit", "false");
    settings.set("enable.auto.offset.store", "false");
    settings.set("allow.auto.create.topics", "false");
    settings.remove("group.instance.id");
}

/// Returns the settings of a producer: transactional with an id, without one idempotent where the
/// cluster is.
#[must_use]
pub fn writer(
    cluster: &ClusterConfig,
    client_id: &str,
    tuning: &TargetTuning,
    transactional_id: Option<&str>,
) -> Settings {
    let mut settings = Settings::of(cluster, client_id);
    settings.set_default("compression.type", &tuning.compression);
    let is_idempotent = cluster.has_idempotence() || transactional_id.is_some();
    settings.set(IDEMPOTENCE, is_idempotent);
    settings.set("acks", "all");
    settings.set("max.in.flight", if is_idempotent { 5 } else { 1 });
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
            // Below the transaction's timeout: a late record must fail its transaction and not
            // outlive it.
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
            access: Access::default(),
        }
    }

    #[test]
    fn fixed_settings_take_precedence_under_every_name_and_defaults_do_not() {
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
    fn without_idempotence_one_request_is_in_flight() {
        let settings = |cluster: &ClusterConfig| {
            let writer = writer(cluster, "c", &TargetTuning::default(), None);
            ["enable.idempotence", "max.in.flight"].map(|name| writer.get(name).map(str::to_owned))
        };
        assert_eq!(settings(&cluster()), [Some("true".to_owned()), Some("5".to_owned())]);
        let without = cluster().without_idempotence();
        assert_eq!(settings(&without), [Some("false".to_owned()), Some("1".to_owned())]);
    }

    #[test]
    fn the_systems_authorities_count_where_tls_has_no_others() {
        let needs = |properties: &[(&str, &str)]| {
            let mut settings = Settings::default();
            properties.iter().for_each(|(name, value)| settings.set(name, value));
            needs_system_certificates(&settings)
        };
        assert!(needs(&[("security.protocol", "SSL")]));
        assert!(needs(&[("security.protocol", "sasl_ssl"), ("ssl.key.location", "/k")]));
        for (name, value) in [
            ("security.protocol", "SASL_PLAINTEXT"),
            ("ssl.ca.location", "/ca"),
            ("ssl.ca.location", "probe"),
            ("ssl.ca.pem", "pem"),
        ] {
            assert!(!needs(&[("security.protocol", "SASL_SSL"), (name, value)]), "{name} {value}");
        }
        assert!(!needs(&[]));
    }

    #[test]
    fn no_secret_is_printed() {
        let settings = Settings::of(&cluster(), "c");
        assert_eq!(settings.secrets(), ["hunter2"]);
        assert!(!format!("{settings:?} {:?}", cluster()).contains("hunter2"));
        let mut settings = Settings::default();
        settings.set("sasl.kerberos.kinit.cmd", "kinit with-a-password");
        settings.set("sasl.oauthbearer.token.endpoint.url", "https://me:word@idp/token");
        settings.set("ssl.key.pem", "a private key");
        settings.set("ssl.key.location", "/run/secrets/key");
        settings.set("client.rack", "rack-a");
        let masked = ["kinit with-a-password", "https://me:word@idp/token", "/run/secrets/key", "a private key"];
        assert_eq!(settings.secrets(), masked);
    }
}
