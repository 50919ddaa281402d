//! The plugins of a link before they are loaded: where they are, and what they get.

use std::path::PathBuf;

use serde_json::Value;
use strait_core::config::OnError;

use super::trust::Trust;
use crate::guest::GuestLimits;

/// Where a plugin comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginSource {
    /// A file.
    File(PathBuf),
    /// One of [`crate::bundled_names`].
    Bundled(String),
}

impl std::fmt::Display for PluginSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Bundled(_) => f.write_str("bundled"),
        }
    }
}

/// One plugin of a chain.
#[derive(Clone, Debug)]
pub struct PluginSpec {
    /// Its name in the link, for logs, errors and metrics.
    pub name: String,
    /// Where it is.
    pub source: PluginSource,
    /// Its configuration, secrets resolved; null is an empty object.
    pub config: Value,
    /// The configuration as written, before secrets, for the generation; `None` where it holds no secrets.
    pub config_as_written: Option<Value>,
    /// What its file must be: pinned, signed.
    pub trust: Trust,
    /// What it may use.
    pub limits: GuestLimits,
    /// What becomes of a record that it breaks on.
    pub on_error: OnError,
    /// Whether it may import WASI 0.2; what it gets is a system in which there is nothing (see docs/plugins.md).
    pub wasi: bool,
    /// Nothing may pass that it did not judge, and its own words stay out of logs and errors. A plugin that says
    /// `fails-closed` is required whatever this says.
    pub required: bool,
    /// Its own words may be told although it is required: for its author, who tries it on records of their own. Never in a link.
    pub show_guest_messages: bool,
    /// It may follow a required plugin that edits records although it could undo what that one did.
    pub allow_after: bool,
}

impl PluginSpec {
    /// A plugin with default limits.
    #[must_use]
    pub fn new(name: impl Into<String>, source: PluginSource, config: Value) -> Self {
        Self {
            name: name.into(),
            source,
            config,
            config_as_written: None,
            trust: Trust::default(),
            limits: GuestLimits::default(),
            on_error: OnError::default(),
            wasi: false,
            required: false,
            show_guest_messages: false,
            allow_after: false,
        }
    }
}

/// The link, as its plugins are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkInfo {
    /// Its name.
    pub link: String,
    /// Alias of the source cluster.
    pub source: String,
    /// Its region.
    pub source_region: Option<String>,
    /// Alias of the target cluster.
    pub target: String,
    /// Its region.
    pub target_region: Option<String>,
}

/// How the link names target topics; applied once, to the name that the last plugin left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicNaming {
    /// The same name.
    Identity,
    /// This text before the name, such as `aws.`.
    Prefix(String),
}

impl TopicNaming {
    pub(crate) fn apply(&self, topic: &str) -> String {
        match self {
            Self::Identity => topic.to_owned(),
            Self::Prefix(prefix) => format!("{prefix}{topic}"),
        }
    }
}

/// The plugins of a link, in order.
#[derive(Clone, Debug)]
pub struct ChainSpec {
    /// In the order in which they see a record. May be empty: then only naming is applied.
    pub plugins: Vec<PluginSpec>,
    /// The link.
    pub link: LinkInfo,
    /// Final names.
    pub naming: TopicNaming,
}
