//! Why a changed configuration or plugin is refused.

use std::sync::Arc;

use strait_core::Generation;
use strait_host::{LoadError, OfferError};

use crate::plugin_memory::PluginMemoryError;

/// The reason of a refusal, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Reason {
    /// The configuration does not load.
    #[error("the configuration is not valid: {0}")]
    Configuration(String),
    /// The configuration no longer has the link.
    #[error("the link is no longer in the configuration; restart to end it")]
    LinkRemoved,
    /// Other options of the link changed together with its plugins.
    #[error(
        "the link's plugins and other options were changed together ({}); restart to apply both, or change the plugins alone",
        options.join(", ")
    )]
    OtherOptions {
        /// The changes that need a restart.
        options: Vec<String>,
    },
    /// The plugins could need more memory than there is.
    #[error(transparent)]
    Memory(#[from] PluginMemoryError),
    /// The file of a plugin was deleted, and a bundled plugin has its name.
    #[error(
        "the file of plugin {plugin} was deleted; what was loaded from it goes on until Strait is restarted. Put the file back, or load the bundled plugin of that name with `strait plugin reload`"
    )]
    FileDeleted {
        /// The plugin.
        plugin: String,
    },
    /// A plugin of the chain broke before or was rolled back.
    #[error(
        "{plugin} broke before or was rolled back; change the file, or retry it with `strait plugin reload --link {link} --force`"
    )]
    KnownBad {
        /// The plugin, or the chain.
        plugin: String,
        /// The link.
        link: String,
    },
    /// The chain does not load.
    #[error(transparent)]
    Load(Box<LoadError>),
    /// The chain would protect less than the active one, and nobody confirmed that.
    #[error(
        "it may protect less than the active plugins: {}; if that is intended, confirm it with `strait plugin reload --link {link} --confirm`, or for every process with accept = \"{accept}\" in the link",
        losses.join("; ")
    )]
    ProtectsLess {
        /// The protection that would be lost, one sentence each.
        losses: Vec<String>,
        /// The link.
        link: String,
        /// The digest of the chain.
        accept: Arc<str>,
    },
    /// The link's slot does not take the chain.
    #[error(transparent)]
    Offer(#[from] OfferError),
}

/// A refused reload.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The refused chain, where it got as far as having a name.
    pub generation: Option<Generation>,
    /// The reason.
    pub reason: Reason,
}

impl From<LoadError> for Reason {
    fn from(error: LoadError) -> Self {
        Self::Load(Box::new(error))
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { generation: None, reason }
    }
}
