//! What a configuration file says. The doc comment of each field is what `strait config schema` and editors show.

use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::limits::PluginLimits;
use super::reload::Reload;
use super::setting::{KafkaProperties, PluginConfig, Setting};

/// Configuration of Strait: clusters, and the links that copy records between them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Folder of the plugins' .wasm files, relative to the configuration file. A link's `plugin = "x"` means `x.wasm` in
    /// it, or else the bundled plugin of that name.
    #[serde(default = "default_plugin_dir")]
    pub plugin_dir: Setting,
    /// Folder that Strait alone reads and writes, relative to the configuration file: what it remembers of plugins from one
    /// run to the next. Made where it is missing; where it cannot be written, nothing is remembered, and that is said.
    #[serde(default = "default_state_dir")]
    pub state_dir: Setting,
    /// Public keys that plugins from `plugin_dir` must be signed with, each `ed25519:` and 64 hexadecimal digits, as
    /// `strait plugin keygen` prints them. With any key here a plugin without a good signature beside it (`x.wasm.sig`) is
    /// refused; bundled plugins are part of this binary and need none.
    #[serde(default)]
    pub trusted_plugin_keys: Vec<String>,
    /// Most memory of all instances of all plugins together, in MiB: per link its lanes times the `memory_mib_max` of each of
    /// its plugins. A configuration that could need more is refused at the start. What is left is for plugins with memory,
    /// which have an instance per partition.
    #[serde(default = "default_plugin_memory_mib_max")]
    #[schemars(range(min = 16, max = 1_048_576))]
    pub plugin_memory_mib_max: u32,
    /// The clusters, by the names that links use. The name is part of every prefixed topic, so renaming a cluster renames
    /// its topics on the other side.
    pub clusters: BTreeMap<String, Cluster>,
    /// The links. Each copies records in one direction.
    pub links: Vec<Link>,
    /// What Strait writes to its log.
    #[serde(default)]
    pub log: Log,
    /// Where a running process can be asked how it is, and told to reload.
    #[serde(default)]
    pub admin: Admin,
}

/// A Kafka cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Brokers to begin with, `host:port` separated by commas. The others are learned from them, so name at least two.
    pub bootstrap_servers: Setting,
    /// Where the cluster stands. Plugins are told, so that one plugin can serve several regions; Strait itself decides
    /// nothing by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Who runs the cluster, for people: `strait check` shows it, nothing is decided by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Permits properties that switch off the verification of the brokers' certificates or names. Whoever is on the line
    /// can then read and change everything, credentials included.
    #[serde(default)]
    pub insecure: bool,
    /// librdkafka properties for every client of this cluster, in quotes, as their names have dots. Those that would break
    /// a delivery guarantee are refused by name.
    #[serde(default)]
    pub kafka: KafkaProperties,
}

/// One direction between two clusters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Name of the link. Its topics (`strait.<name>.progress` and others), consumer group and transactional ids carry it:
    /// a renamed link is a new link that starts from `start`.
    pub name: String,
    /// Cluster to read from.
    pub source: String,
    /// Cluster to write to.
    pub target: String,
    /// Topics to copy: regular expressions that must match the whole name. New topics that match are picked up while
    /// running. Topics of Strait, Kafka and MirrorMaker 2 themselves are never copied.
    pub topics: Vec<String>,
    /// Topics to leave out although `topics` matches them: regular expressions that must match the whole name.
    #[serde(default)]
    pub topics_exclude: Vec<String>,
    /// How topics are called on the target.
    #[serde(default)]
    pub naming: Naming,
    /// What a crash or a lost connection may do to records.
    #[serde(default)]
    pub delivery: Delivery,
    /// Where the link begins in the partitions that exist when it is first run. It is recorded then; a later change does
    /// nothing. Partitions that come later are copied from their beginning.
    #[serde(default)]
    pub start: Start,
    /// How many lanes the link is made with when it is first run (4 if absent): the most processes that can share it, each
    /// lane with clients of its own. Another number later is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub lanes: Option<u32>,
    /// Plugins that judge every record, in this order.
    #[serde(default)]
    pub plugins: Vec<PluginUse>,
    /// How changed plugins are taken over while the link runs.
    #[serde(default)]
    pub reload: Reload,
    /// What to do when records are missing or changed at the source: deleted by retention before they were read, log
    /// truncated, topic deleted and created again. Either way it is reported, with the offsets.
    #[serde(default)]
    pub on_gap: OnGap,
    /// What to do with a record that the target refuses (too large, bad timestamp) or a plugin rejects. With `stop` also those
    /// that a plugin's `on_error` would send to quarantine stop their partition.
    #[serde(default)]
    pub on_refused: OnRefused,
    /// What to do with a record whose timestamp is 0, which the client library cannot send as such.
    #[serde(default)]
    pub on_timestamp_zero: OnTimestampZero,
    /// Whether Strait may create missing target topics and add partitions to those with too few. If not, a partition
    /// without its counterpart stands still, and that is reported.
    #[serde(default = "default_true")]
    pub manage_topics: bool,
    /// Whether plugins may give several source topics one target topic, where their records are mixed. If not, topics that
    /// would share one stand still, and that is reported.
    #[serde(default)]
    pub merge_topics: bool,
    /// Most memory for records in flight on this link in one process, in MiB, shared by its lanes. Too little slows long
    /// lines down: a line needs its round trip times its bandwidth.
    #[serde(default = "default_memory_mib_max")]
    #[schemars(range(min = 16, max = 65536))]
    pub memory_mib_max: u32,
    /// Longest time between commits under load, in milliseconds: how late a committed reader on the target sees a record
    /// then, and how much is copied again after a crash. With nothing waiting, a commit follows within some 50 ms and two
    /// round trips. Small values cost throughput on long lines.
    #[serde(default = "default_commit_interval_ms_max")]
    #[schemars(range(min = 10, max = 60000))]
    pub commit_interval_ms_max: u64,
    /// How long a stop waits for what is in flight to be committed, in milliseconds. What is not committed then is aborted
    /// and copied by the next run. A lane that the group moves to another process has 5 s at most.
    #[serde(default = "default_drain_ms_max")]
    #[schemars(range(min = 0, max = 600_000))]
    pub drain_ms_max: u64,
    /// How long a transaction of the source may hold a partition up before that is reported, in seconds. Readers of
    /// committed records, every link among them, cannot pass an open transaction.
    #[serde(default = "default_hanging_transaction_s_max")]
    #[schemars(range(min = 1, max = 86_400))]
    pub hanging_transaction_s_max: u64,
    /// Largest batch written to a partition, in KiB before compression. Batches follow the measured round trip up to this
    /// and up to the target topic's `max.message.bytes`: one batch per partition is in flight, so over a long line
    /// throughput is batch / round trip.
    #[serde(default = "default_batch_kib_max")]
    #[schemars(range(min = 16, max = 102_400))]
    pub batch_kib_max: u32,
    /// Largest answer to one fetch from a source broker, in MiB. Raise it for long lines, together with `memory_mib_max`.
    #[serde(default = "default_fetch_mib_max")]
    #[schemars(range(min = 1, max = 1024))]
    pub fetch_mib_max: u32,
}

impl Link {
    /// Lanes to make the link with when it is first run.
    #[must_use]
    pub fn lanes_to_create(&self) -> u32 {
        self.lanes.unwrap_or(LANES_DEFAULT)
    }
}

/// Lanes of a link whose configuration does not say.
pub const LANES_DEFAULT: u32 = 4;

/// A plugin in a link's chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PluginUse {
    /// `<plugin_dir>/<plugin>.wasm`, or the bundled plugin of that name. A path ending in .wasm is taken as such, relative
    /// to `plugin_dir`.
    pub plugin: String,
    /// Handed to the plugin; what it may hold is the plugin's business. References to secrets are resolved in it.
    #[serde(default)]
    pub config: PluginConfig,
    /// The digest that its file must have, `sha256:` and 64 hexadecimal digits, as `strait plugin inspect` prints it.
    /// Another file of that name is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Whether records must not pass without this plugin's judgement: if it fails, the link stops instead. It can only
    /// tighten: a plugin that declares itself as failing closed (`redact` does) stays so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// Whether this plugin may come after a required one that edits records, although it can set keys, values, fields or
    /// headers or make copies: it could put back what the other one took out.
    #[serde(default)]
    pub allow_after: bool,
    /// What to do with a record that breaks this plugin: that it traps on, answers with an error or a bad edit for, or does
    /// not come to an end with. The other records of the batch go on.
    #[serde(default)]
    pub on_error: OnError,
    /// Whether the plugin may import WASI 0.2, as components do whose language brings it along. What it gets is a system in
    /// which there is nothing: no files, no network, no environment; the time is that of the records, random numbers are the
    /// same in every run.
    #[serde(default)]
    pub wasi: bool,
    /// What it may use.
    #[serde(default)]
    pub limits: PluginLimits,
}

/// What to do with a record that breaks a plugin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// It goes to `strait.<link>.quarantine` on the source cluster and the partition goes on without it.
    #[default]
    Quarantine,
    /// It is left out.
    Drop,
    /// It goes on as if the plugin had not looked at it. Refused for required plugins.
    Pass,
    /// Its partition stands still at it.
    Stop,
}

impl OnError {
    /// As it is written in a configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Quarantine => "quarantine",
            Self::Drop => "drop",
            Self::Pass => "pass",
            Self::Stop => "stop",
        }
    }
}

/// How topics are called on the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Naming {
    /// The source cluster's name, a dot, the topic: `aws.orders`.
    #[default]
    Prefix,
    /// The same name. Two links in opposite directions would copy such a topic round and round: `strait check` refuses it.
    Identity,
}

impl Naming {
    /// The target's name of a topic of cluster `source`.
    #[must_use]
    pub fn apply(self, source: &str, topic: &str) -> String {
        match self {
            Self::Prefix => format!("{source}.{topic}"),
            Self::Identity => topic.to_owned(),
        }
    }
}

/// What a crash or a lost connection may do to records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// Each record once, in order, for readers with `isolation.level=read_committed`: records and progress are committed
    /// in one transaction on the target.
    #[default]
    ExactlyOnce,
    /// No record lost; after a crash some come twice, and older ones can reappear behind newer ones. Saves the
    /// transactions.
    AtLeastOnce,
}

/// What to do when records are missing or changed at the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnGap {
    /// The partition stands still until someone decides; the others go on.
    #[default]
    Stop,
    /// Go on with the oldest record that exists; for a topic created again, from its beginning. What is gone is lost on
    /// the target too.
    Continue,
}

/// What to do with a refused record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnRefused {
    /// It goes to `strait.<link>.quarantine` on the source cluster and the partition goes on without it. Needs permission
    /// to write that topic.
    #[default]
    Quarantine,
    /// Its partition stands still.
    Stop,
}

/// What to do with a record whose timestamp is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnTimestampZero {
    /// Its partition stands still.
    #[default]
    Stop,
    /// It goes to `strait.<link>.quarantine` on the source cluster.
    Quarantine,
    /// It gets the time at which it is copied; such records are counted.
    Now,
}

/// Where a link begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With the oldest record.
    #[default]
    Earliest,
    /// With what comes after the first run.
    Latest,
    /// With the first record at or after this time, milliseconds since the Unix epoch.
    At {
        /// Milliseconds since the Unix epoch.
        unix_ms: i64,
    },
}

impl Start {
    /// Reads the configuration's form: `earliest`, `latest` or a time in RFC 3339.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            _ => {
                let time: jiff::Timestamp = text.parse().map_err(|_| {
                    format!("'{text}' is neither 'earliest', 'latest' nor a time like 2026-01-31T08:00:00Z")
                })?;
                Ok(Self::At { unix_ms: time.as_millisecond() })
            }
        }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::At { unix_ms } => match jiff::Timestamp::from_millisecond(*unix_ms) {
                Ok(time) => time.fmt(f),
                Err(_) => write!(f, "{unix_ms} ms"),
            },
        }
    }
}

impl Serialize for Start {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl JsonSchema for Start {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Start".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Where a link begins.",
            "anyOf": [
                { "const": "earliest", "description": "With the oldest record." },
                { "const": "latest", "description": "With what comes after the first run." },
                {
                    "type": "string", "format": "date-time",
                    "description": "With the first record at or after this time (RFC 3339); where there is none, with what comes after the first run."
                },
            ]
        })
    }
}

/// What Strait writes to its log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Which messages: a level (`error`, `warn`, `info`, `debug`, `trace`), or levels by module as in
    /// `info,strait_kafka=debug`. `--log` and the variable `RUST_LOG` go before it.
    #[serde(default = "default_log_level")]
    pub level: String,
    /// How messages are written.
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
    /// Address and port, or `off` (127.0.0.1:9610 if absent; taken already, the process runs without). Only addresses of
    /// this machine itself: 127.0.0.1, [::1], localhost. Port 0 takes any that is free and logs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
}

/// How log messages are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Text.
    Text,
    /// One JSON object per line.
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
