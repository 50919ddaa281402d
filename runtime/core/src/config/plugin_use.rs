//! A plugin of a link.
//!
//! The doc comments are user documentation, as those of [`Config`](super::Config).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::limits::PluginLimits;
use super::setting::PluginConfig;

/// A plugin in a link's chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PluginUse {
    /// Name of the plugin: `x` is `x.wasm` in `plugin_dir` or, if there is no such file, the
    /// bundled plugin `x`. A name that ends in `.wasm` is a path relative to `plugin_dir`.
    pub plugin: String,
    /// Configuration passed to the plugin, which defines what it may contain. References to secrets
    /// in its strings are resolved.
    #[serde(default)]
    pub config: PluginConfig,
    /// Digest that the plugin's file must have: `sha256:` and 64 hexadecimal digits, as `strait
    /// plugin inspect` prints it. Any other file is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Whether records must not pass unless this plugin has judged them. A required plugin fails
    /// closed: values it cannot judge are rejected, and `on_error = "pass"` is refused. It only
    /// tightens: a plugin that declares `fails-closed` (as `redact` does) is always required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// Whether this plugin may see records before a required plugin does: in fields, headers, names
    /// of topics, messages and later records it could put data that the required plugin removes or
    /// holds back. Without this option such a chain does not load; the bundled plugins need none.
    #[serde(default)]
    pub may_see_raw: bool,
    /// Whether this plugin may follow a required plugin that edits records, although it can set
    /// keys, values, fields or headers or make copies. It could restore what the required plugin
    /// removed; without this option such a chain does not load.
    #[serde(default)]
    pub allow_after: bool,
    /// Topics that this plugin may name, for records or for a whole topic: regular expressions that
    /// must match the whole name, as it is before `naming`. The plugin names topics of its own
    /// accord, often from data of records; this narrows what it says of itself. A record that it
    /// sends elsewhere is refused (code `edit-topic`). Without this option its own word alone
    /// counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_topics: Option<Vec<String>>,
    /// Action for a record that breaks this plugin: the call traps, times out, runs out of memory,
    /// or returns an error or an invalid edit. Strait finds the record; the other records of the
    /// batch continue.
    #[serde(default)]
    pub on_error: OnError,
    /// Whether the plugin may import WASI 0.2, which components in some languages need. It gets an
    /// empty system: no files, no network, no environment. Its clock follows the records'
    /// timestamps, and its random numbers are the same in every run.
    #[serde(default)]
    pub wasi: bool,
    /// Resource limits of the plugin, such as `{ memory_mib_max = 128, process_ms_max = 5000 }`.
    #[serde(default)]
    pub limits: PluginLimits,
}

/// Action for a record that breaks a plugin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// Write it to `strait.<link>.quarantine` on the source cluster and continue without it.
    #[default]
    Quarantine,
    /// Drop it.
    Drop,
    /// Pass it on as if the plugin had left it unchanged. Refused for required plugins.
    Pass,
    /// Stop its partition before it.
    Stop,
}

impl OnError {
    /// Returns the name used in configuration files.
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
