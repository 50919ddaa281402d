//! The data model of a configuration file.
//!
//! The doc comments are user documentation: `strait config schema` and editors show them, and the
//! option tables of `docs/configuration.md` come from them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::auth::Auth;
use super::framing::Framing;
use super::groups::GROUPS_EXCLUDED;
use super::mm2::Mm2;
use super::naming::Naming;
use super::plugin_use::PluginUse;
use super::reload::Reload;
use super::setting::{KafkaProperties, Setting};
use super::start::Start;
use super::sync::{OnDeleted, OnTargetRecreated, Sync};

/// Configuration of Strait: the clusters, and the links that copy records between them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Folder of the plugins' `.wasm` files, relative to the configuration file. A link's `plugin =
    /// "x"` loads `x.wasm` from this folder or, if there is no such file, the bundled plugin `x`.
    #[serde(default = "default_plugin_dir")]
    pub plugin_dir: Setting,
    /// Folder for Strait's own files, relative to the configuration file: compiled plugins and open
    /// circuit breakers, which thus survive a restart. Created if missing. If it cannot be written,
    /// Strait reports it in the log and runs without it.
    #[serde(default = "default_state_dir")]
    pub state_dir: Setting,
    /// Public keys that plugins in `plugin_dir` must be signed with, each `ed25519:` and 64
    /// hexadecimal digits, as `strait plugin keygen` prints them. If any key is listed, a plugin
    /// without a valid signature in `x.wasm.sig` is refused. Bundled plugins need no signature.
    #[serde(default)]
    pub trusted_plugin_keys: Vec<String>,
    /// Region in which this configuration is used, as in `clusters.<name>.region`: 1 to 64
    /// lower-case letters, digits and `-`. `strait quarantine show --show-records` prints contents
    /// of records only where it is the source cluster's. If not set, it counts as another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Memory limit for all instances of all plugins together, in MiB. Each link reserves its
    /// number of lanes times the `memory_mib_max` of each of its plugins; a configuration that
    /// could exceed the limit is refused at startup. Stateful plugins, which have one instance per
    /// partition, share what is left.
    #[serde(default = "default_plugin_memory_mib_max")]
    #[schemars(range(min = 16, max = 1_048_576))]
    pub plugin_memory_mib_max: u32,
    /// The clusters by name: 1 to 100 letters, digits, `-` and `_`. With `naming = "prefix"` the
    /// name is part of every copied topic, so renaming a cluster renames its topics on the other
    /// side.
    pub clusters: BTreeMap<String, Cluster>,
    /// The links, at least one. Each copies records in one direction.
    pub links: Vec<Link>,
    /// Level and format of the log.
    #[serde(default)]
    pub log: Log,
    /// Address of the admin API: status, metrics, probes and reloads of a running process.
    #[serde(default)]
    pub admin: Admin,
}

/// A Kafka cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Initial brokers, `host:port` separated by commas, spaces or line breaks. The other brokers
    /// are discovered from them, so list at least two.
    pub bootstrap_servers: Setting,
    /// Region of the cluster: 1 to 64 lower-case letters, digits and `-`. Passed to plugins, so
    /// that one plugin can serve several regions, and compared with the `region` of the
    /// configuration before contents of quarantined records are shown. A link between two regions
    /// requires encryption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Operator of the cluster. Informational: `strait check` prints it, Strait does not use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Ids that the cluster had before. A link refuses to go on from a source cluster with another
    /// id than the one that it began with; this says that it is the same cluster, rebuilt or moved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_ids: Vec<String>,
    /// Allows properties that disable the verification of the brokers' certificates or host names,
    /// and passwords over connections without TLS. Anyone on the network path can then read and
    /// change all traffic, credentials included.
    #[serde(default)]
    pub insecure: bool,
    /// Logs in with tokens. Sets `sasl.mechanism`, and `security.protocol` to `SASL_SSL` unless it
    /// is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// librdkafka properties for every client of this cluster, in quotes because their names
    /// contain dots. Unknown properties, those of Kafka's Java clients, and those that would break
    /// a delivery guarantee are refused by name.
    #[serde(default)]
    pub kafka: KafkaProperties,
}

/// One direction between two clusters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Name of the link: 1 to 100 letters, digits, `-` and `_`. Its internal topics
    /// (`strait.<name>.progress` and others), consumer group and transactional ids contain it, so a
    /// renamed link is a new link that begins at `start`.
    pub name: String,
    /// Cluster to read from.
    pub source: String,
    /// Cluster to write to.
    pub target: String,
    /// Topics to copy: regular expressions that must match the whole name. New topics that match
    /// are picked up while the link runs. Reserved topics (`strait.*`, `__*`, `.*`,
    /// `*.internal`, `*-internal` and MirrorMaker 2's own) are never copied.
    pub topics: Vec<String>,
    /// Topics to leave out even if `topics` matches: regular expressions that must match the whole
    /// name.
    #[serde(default)]
    pub topics_exclude: Vec<String>,
    /// Names of the copied topics on the target. Recorded at the first run; a link that names its
    /// topics otherwise later is refused.
    #[serde(default)]
    pub naming: Naming,
    /// Delivery guarantee after a crash or a lost connection.
    #[serde(default)]
    pub delivery: DeliveryMode,
    /// Position at which the link begins in the partitions that exist at its first run: `earliest`,
    /// `latest`, or a time such as `2026-01-31T08:00:00Z`. Recorded at the first run; later changes
    /// have no effect. Partitions added later are copied from their beginning.
    #[serde(default)]
    pub start: Start,
    /// Number of lanes the link is created with at its first run (4 if not set), and with it the
    /// number of processes that can share the link. Each lane has Kafka clients of its own. Another
    /// number later is an error: use `strait lanes resize`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub lanes: Option<u32>,
    /// How values and keys are framed by the serializers of a schema registry, by topic. Without an
    /// entry they are taken as they are. Of several entries for a topic and a part, the first one
    /// counts.
    #[serde(default)]
    pub values: Vec<Framing>,
    /// Plugins that process every record, in this order.
    #[serde(default)]
    pub plugins: Vec<PluginUse>,
    /// Generation of plugins that may come into force although it protects less than the one
    /// before: `sha256:` and 64 hexadecimal digits, as `strait check` and the event
    /// `border_refused` print them. Any other generation is judged as if this was not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept: Option<String>,
    /// Whether what plugins say themselves (messages, reasons, exceptions) is shown in logs,
    /// events, the status and the headers of quarantined records. It may hold data of records, so
    /// it is withheld unless this is set. The reasons of bundled plugins hold none and are always
    /// shown.
    #[serde(default)]
    pub reveal_messages: bool,
    /// Whether data that is held back must stay in its region for sure: every plugin of the link
    /// must be required, and `reveal_messages` is refused. The bundled `filter` then rejects
    /// records that lack what its rule asks for, tombstones too, unless its configuration says
    /// otherwise. See docs/residency.md.
    #[serde(default)]
    pub residency: bool,
    /// Whether both clusters must be reached by encrypted connections. If not set, they must where
    /// their regions are known and differ. Addresses on this machine (loopback) are exempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require_encryption: Option<bool>,
    /// How changed plugins are activated while the link runs.
    #[serde(default)]
    pub reload: Reload,
    /// Action when records are missing or changed at the source: deleted by retention before they
    /// were read, a truncated log, or a topic that was deleted and created again. Either way an
    /// event reports the offsets.
    #[serde(default)]
    pub on_gap: OnGap,
    /// Action when a batch at the source is damaged: a wrong checksum, data that cannot be
    /// decompressed, unreadable headers. An event reports the offsets either way.
    #[serde(default)]
    pub on_corrupt: OnCorrupt,
    /// Action when a target topic that the link has written to is deleted, or deleted and created
    /// again. Either way an event reports it, and only partitions that were copied there are
    /// concerned.
    #[serde(default)]
    pub on_target_recreated: OnTargetRecreated,
    /// Action when a source topic is deleted. Needs Delete on the target topics if `delete`, and
    /// `strait plan` and event `target_deletion_pending` tell what is to be deleted, and when.
    #[serde(default)]
    pub on_deleted: OnDeleted,
    /// How long a source topic has to be gone before its target topic is deleted, in hours. Counted
    /// while a process coordinates the link and the source answers. With 0, a deletion by mistake
    /// has reached the target within two minutes.
    #[serde(default = "super::sync::default_delete_after_h")]
    #[schemars(range(min = 0, max = 8760))]
    pub delete_after_h: u32,
    /// Action for a record that the target refuses (too large, invalid timestamp) or a plugin
    /// rejects. With `stop`, a record that a plugin's `on_error` would send to quarantine stops its
    /// partition too, and the link writes nothing to its source, so Read and Describe on the topics
    /// are all the permissions that it needs there.
    #[serde(default)]
    pub on_refused: OnRefused,
    /// Action for a record whose timestamp is 0, which librdkafka cannot send.
    #[serde(default)]
    pub on_timestamp_zero: OnTimestampZero,
    /// Whether Strait creates missing topics (target topics and its own `strait.<link>.*` topics)
    /// and adds partitions to target topics with too few. If `false`, a source partition without a
    /// counterpart on the target is stopped until there is one, and an event reports it.
    #[serde(default = "default_true")]
    pub manage_topics: bool,
    /// Properties that target topics take over from their source topics, besides the records.
    #[serde(default)]
    pub sync: Sync,
    /// How often the link's coordinator lists the source's topics, in seconds: a new topic is
    /// copied that much later. One list has some 55 bytes for each partition of the source; with
    /// more than 4,000 partitions it is asked for less often, so that lists stay below 128 KiB/s.
    #[serde(default = "default_discover_s")]
    #[schemars(range(min = 1, max = 3600))]
    pub discover_s: u64,
    /// Topics that the link writes for clients and tools of MirrorMaker 2.
    #[serde(default)]
    pub mm2: Mm2,
    /// How long the offset map (`strait.<name>.map` on the target) is kept, in days. Counts when
    /// Strait creates that topic.
    #[serde(default = "default_map_retention_days")]
    #[schemars(range(min = 1, max = 36_500))]
    pub map_retention_days: u32,
    /// Consumer groups whose offsets the link keeps on the target, so that a group that moves there
    /// reads on with the record that it would have read next: regular expressions that must match
    /// the whole name. Off if empty. A group that has members on the target, or has committed there
    /// itself, is left alone. Needs Read on the groups and topics of the target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Groups to leave out even if `groups` matches: regular expressions that must match the whole
    /// name. Set, it replaces the default. Groups whose names begin with `strait.` are always left
    /// out.
    #[serde(default = "default_groups_exclude")]
    pub groups_exclude: Vec<String>,
    /// Memory for the offset map in the process that keeps the offsets of `groups`, in MiB. It
    /// holds the newest part of the map. A group that is further behind has no answer, and its
    /// offsets on the target stay as they are (`strait groups list` says `not_in_memory`).
    #[serde(default = "default_map_memory_mib")]
    #[schemars(range(min = 1, max = 65536))]
    pub map_memory_mib: u32,
    /// Whether plugins may map several source topics to one target topic, which mixes their
    /// records. If `false`, topics that would share a target topic are stopped (event
    /// `plugin_failed`), and `strait check` reports them beforehand.
    #[serde(default)]
    pub merge_topics: bool,
    /// Most target topics that are created because plugins name them for single records, in one
    /// process since it began. Such names often come from data, which could create topics without
    /// end. Beyond it, records to topics that do not exist are refused (event
    /// `new_topics_refused`), and all others go on. A topic that exists is not counted, and neither
    /// is one that a whole source topic is copied to.
    #[serde(default = "default_new_topics_max")]
    #[schemars(range(min = 0, max = 100_000))]
    pub new_topics_max: u32,
    /// Memory for records in flight on this link in one process, in MiB, shared by the lanes; each
    /// lane gets at least 2 MiB. Long lines need at least round trip times bandwidth, or throughput
    /// drops.
    #[serde(default = "default_memory_mib_max")]
    #[schemars(range(min = 16, max = 65536))]
    pub memory_mib_max: u32,
    /// Longest time that a transaction stays open under load, in milliseconds. It bounds how late a
    /// committed reader on the target sees a record, and how much is copied again after a crash;
    /// small values cost throughput on long lines. Without a backlog, Strait commits within some 50
    /// ms and two round trips.
    #[serde(default = "default_commit_interval_ms_max")]
    #[schemars(range(min = 10, max = 60000))]
    pub commit_interval_ms_max: u64,
    /// How long a shutdown waits until records in flight are committed, in milliseconds. The rest
    /// is aborted, and the next run copies it again. A lane that the consumer group moves to
    /// another process has 4 seconds at most.
    #[serde(default = "default_drain_ms_max")]
    #[schemars(range(min = 0, max = 600_000))]
    pub drain_ms_max: u64,
    /// How long an open transaction on the source may block a partition before an event reports it,
    /// in seconds. No reader of committed records, a link included, can pass an open transaction.
    #[serde(default = "default_hanging_transaction_s_max")]
    #[schemars(range(min = 1, max = 86_400))]
    pub hanging_transaction_s_max: u64,
    /// Largest batch written to a partition, in KiB before compression. Batches grow with the
    /// measured round trip up to this size and to the target topic's `max.message.bytes`. A
    /// partition has one batch in flight, so its throughput over a long line is batch size / round
    /// trip.
    #[serde(default = "default_batch_kib_max")]
    #[schemars(range(min = 16, max = 102_400))]
    pub batch_kib_max: u32,
    /// Largest response to one fetch from a source broker, in MiB. Strait requests 4 MiB over a
    /// short line and up to 32 MiB over a long one, within this limit; raise it together with
    /// `memory_mib_max`. A single batch that is larger is fetched all the same, up to half of
    /// `memory_mib_max`; above that its partition stops (event `source_batch_too_large`).
    #[serde(default = "default_fetch_mib_max")]
    #[schemars(range(min = 1, max = 1024))]
    pub fetch_mib_max: u32,
}

impl Link {
    /// Returns the number of lanes to create the link with at its first run.
    #[must_use]
    pub fn lanes_to_create(&self) -> u32 {
        self.lanes.unwrap_or(LANES_DEFAULT)
    }
}

/// Number of lanes of a new link whose configuration sets none.
pub const LANES_DEFAULT: u32 = 4;

/// Delivery guarantee after a crash or a lost connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryMode {
    /// Each record once, in order, for readers with `isolation.level=read_committed`: records and
    /// progress are committed in one transaction on the target.
    #[default]
    ExactlyOnce,
    /// No record is lost. After a crash some are duplicated, and older ones can reappear behind
    /// newer ones. Saves the transactions.
    AtLeastOnce,
}

impl DeliveryMode {
    /// Returns the name used in configuration files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ExactlyOnce => "exactly-once",
            Self::AtLeastOnce => "at-least-once",
        }
    }
}

/// Action when records are missing or changed at the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnGap {
    /// Stop the partition until an operator decides; other partitions continue.
    #[default]
    Stop,
    /// Continue at the oldest record that exists; in a topic created again, at its beginning. The
    /// missing records are lost on the target too.
    Continue,
}

/// Action for a damaged batch at the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnCorrupt {
    /// Stop the partition; other partitions continue. Retried, as a replica may be sound.
    #[default]
    Stop,
    /// Continue behind the damage, where its end can be found out exactly: damage that the source's
    /// broker reports itself stops the partition. The skipped records are lost on the target too;
    /// `strait_source_gap_total{reason="corrupt"}` counts their offsets.
    Skip,
}

/// Action for a refused record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnRefused {
    /// Write it to `strait.<link>.quarantine` on the source cluster and continue without it. Needs
    /// permission to write to that topic.
    #[default]
    Quarantine,
    /// Stop its partition before it.
    Stop,
}

/// Action for a record whose timestamp is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnTimestampZero {
    /// Stop its partition before it.
    #[default]
    Stop,
    /// Write it to `strait.<link>.quarantine` on the source cluster.
    Quarantine,
    /// Send it with the time at which it is copied. A metric counts these records.
    Now,
}

/// Level and format of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Log level (`error`, `warn`, `info`, `debug`, `trace`), or levels by module as in
    /// `info,strait_kafka=debug`. The option `--log` and the variable `RUST_LOG` take precedence.
    #[serde(default = "default_log_level")]
    pub level: String,
    /// Format of log messages.
    #[serde(default)]
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: default_log_level(), format: LogFormat::default() }
    }
}

/// The admin API: status, metrics, probes, reloads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Address and port, or `off`; `127.0.0.1:9610` if not set. Only loopback addresses are
    /// allowed: `127.0.0.1`, `[::1]`, `localhost`. If the default port cannot be used, Strait logs
    /// a warning and runs without the admin API; if a configured address is, it does not start.
    /// Port 0 picks a free port and logs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// Allow `strait quarantine show --show-records` with this configuration, which prints contents
    /// of records. Each time is logged, whatever the level of the log.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub show_records: bool,
}

/// Format of log messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One line of text per message.
    Text,
    /// One JSON object per message, one per line.
    Json,
}

fn default_plugin_dir() -> Setting {
    Setting::new("plugins")
}

fn default_plugin_memory_mib_max() -> u32 {
    8_192
}

fn default_state_dir() -> Setting {
    Setting::new("state")
}

fn default_true() -> bool {
    true
}

fn default_discover_s() -> u64 {
    2
}

fn default_map_retention_days() -> u32 {
    90
}

fn default_groups_exclude() -> Vec<String> {
    GROUPS_EXCLUDED.map(str::to_owned).to_vec()
}

fn default_map_memory_mib() -> u32 {
    64
}

fn default_new_topics_max() -> u32 {
    100
}

fn default_memory_mib_max() -> u32 {
    256
}

fn default_commit_interval_ms_max() -> u64 {
    3000
}

fn default_drain_ms_max() -> u64 {
    20_000
}

fn default_hanging_transaction_s_max() -> u64 {
    900
}

fn default_batch_kib_max() -> u32 {
    8192
}

fn default_fetch_mib_max() -> u32 {
    16
}

fn default_log_level() -> String {
    "info".to_owned()
}
