//! The plugins of the links as a process shows and controls them.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use strait_host::{ChainState, HistoryEntry, OfferError};

/// The options of a reload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReloadRequest {
    /// Accept plugins that protect less than the active ones.
    pub confirm: bool,
    /// Retry plugins that failed or were refused before.
    pub force: bool,
}

/// The outcome of a reload of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReloadOutcome {
    /// Nothing had changed.
    Unchanged,
    /// The new chain is active from the next batch of each lane on.
    Reloaded,
    /// The new chain is on trial.
    OnTrial,
    /// The new chain was refused; the active one stays.
    Refused,
}

/// The answer to a reload of one link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// Name of the link.
    pub link: String,
    /// The outcome.
    pub outcome: ReloadOutcome,
    /// The chain that is active afterwards.
    pub serving: String,
    /// Why it was refused and what to do; empty otherwise.
    pub reason: String,
    /// Other changes of the configuration file, which take effect at the next start.
    pub needs_restart: Vec<String>,
}

/// The plugins of a link, for the status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkPlugins {
    /// Name of the link.
    pub link: String,
    /// The chain.
    #[serde(flatten)]
    pub chain: ChainState,
    /// Why the last change was refused; `None` where it was applied.
    pub problem: Option<String>,
    /// Other changes of the configuration file, which take effect at the next start.
    pub needs_restart: Vec<String>,
}

/// Why a reload or a rollback cannot be tried.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// There is no such link.
    #[error("there is no link '{link}' in this process; there are: {known}")]
    UnknownLink {
        /// The name given.
        link: String,
        /// The names of the links there are.
        known: String,
    },
    /// The link cannot be rolled back.
    #[error("link {link}: {error}")]
    Rollback {
        /// Name of the link.
        link: String,
        /// The host's reason.
        error: OfferError,
    },
    /// The reload panicked: a bug.
    #[error("the reload did not finish: {0}; please report this as a bug")]
    Panicked(String),
}

/// Shows and exchanges the plugins of a running process. `reload` implements it; the admin API
/// calls it.
#[async_trait]
pub trait PluginControl: Send + Sync {
    /// Returns the plugins of every link, by name of link.
    fn state(&self) -> Vec<LinkPlugins>;

    /// Returns the reloads and rollbacks of a link, oldest first. The list is bounded; the log has
    /// all.
    ///
    /// # Errors
    /// [`ReloadError::UnknownLink`].
    fn history(&self, link: &str) -> Result<Vec<HistoryEntry>, ReloadError>;

    /// Reads the configuration and the plugins' files now and applies what has changed in a link.
    ///
    /// # Errors
    /// [`ReloadError`] where there is no such link. A refusal is a report, not an error.
    async fn reload(&self, link: &str, request: ReloadRequest) -> Result<ReloadReport, ReloadError>;

    /// Rolls a link back to its previous plugins. They stay until a file changes or a reload is
    /// forced.
    ///
    /// # Errors
    /// [`ReloadError`].
    async fn rollback(&self, link: &str, confirm: bool) -> Result<HistoryEntry, ReloadError>;
}
