//! The plugins of a link before they are loaded: their sources, configuration and bounds.

use std::path::PathBuf;

use serde_json::Value;
use strait_core::config::OnError;
use strait_core::generation::Framing;

use super::trust::Trust;
use crate::error::{LoadError, LoadProblem};
use crate::guest::GuestLimits;

/// The source of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginSource {
    /// A file.
    File(PathBuf),
    /// One of [`crate::bundled_names`].
    Bundled(String),
}

impl PluginSource {
    /// Returns whether it is a file of the user's.
    #[must_use]
    pub fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }

    pub(super) fn error(&self, plugin: &str, problem: LoadProblem) -> LoadError {
        LoadError { plugin: plugin.to_owned(), origin: self.to_string(), of_file: self.is_file(), problem }
    }
}

impl std::fmt::Display for PluginSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Bundled(_) => f.write_str("bundled"),
        }
    }
}

/// A plugin of a link, to be loaded.
#[derive(Clone, Debug)]
pub struct PluginSpec {
    /// Name in the link, for logs, errors and metrics.
    pub name: String,
    /// Its source.
    pub source: PluginSource,
    /// Its configuration, with secrets resolved; null is an empty object.
    pub config: Value,
    /// The configuration as written, without secrets, for the generation; `None` if it has no
    /// secrets.
    pub config_as_written: Option<Value>,
    /// Its pin and the keys that may sign it.
    pub trust: Trust,
    /// Its bounds.
    pub limits: GuestLimits,
    /// Action for a record that breaks it.
    pub on_error: OnError,
    /// It may import WASI 0.2: a system without files and network (see docs/plugins.md).
    pub wasi: bool,
    /// No record passes without its judgement. A plugin that declares `fails-closed` is required in
    /// any case.
    pub required: bool,
    /// Its own messages are shown, and so are names that it makes from records. They may hold data
    /// of records: for an author who tries it on their own, or an operator who reveals them.
    pub show_guest_messages: bool,
    /// It may see records before a required plugin does. A bundled plugin may anyhow.
    pub may_see_raw: bool,
    /// It may follow a required plugin although it could undo that plugin's edits.
    pub allow_after: bool,
    /// The operator's bound on the topics that it may name, as regular expressions; `None` where
    /// its own word alone counts.
    pub output_topics: Option<Vec<String>>,
}

impl PluginSpec {
    /// Makes a plugin with default bounds.
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
            may_see_raw: false,
            allow_after: false,
            output_topics: None,
        }
    }
}

/// The link, as its plugins see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkInfo {
    /// Name of the link.
    pub link: String,
    /// Alias of the source cluster.
    pub source: String,
    /// Region of the source cluster.
    pub source_region: Option<String>,
    /// Alias of the target cluster.
    pub target: String,
    /// Region of the target cluster.
    pub target_region: Option<String>,
    /// Residency is demanded: each plugin must be required.
    pub residency: bool,
    /// The framing of keys and values, which plugins do not see.
    pub framing: Vec<Framing>,
}

/// How the link names target topics. Applied once, to the name from the last plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicNaming {
    /// The same name.
    Identity,
    /// This prefix, such as `aws.`, and the name.
    Prefix(String),
    /// The name between two texts.
    Around {
        /// Before the name.
        before: String,
        /// Behind it.
        after: String,
    },
}

impl TopicNaming {
    pub(crate) fn apply(&self, topic: &str) -> String {
        match self {
            Self::Identity => topic.to_owned(),
            Self::Prefix(prefix) => format!("{prefix}{topic}"),
            Self::Around { before, after } => format!("{before}{topic}{after}"),
        }
    }
}

/// The plugins of a link, to be loaded.
#[derive(Clone, Debug)]
pub struct ChainSpec {
    /// The plugins in the order in which they see a record. If empty, only naming applies.
    pub plugins: Vec<PluginSpec>,
    /// The link.
    pub link: LinkInfo,
    /// The naming of target topics.
    pub naming: TopicNaming,
}
