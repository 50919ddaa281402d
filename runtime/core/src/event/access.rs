//! Events about the logins of a link's clusters.

use std::sync::Arc;

use super::Severity;
use super::words::serves;

/// A change of the login of a cluster. No event has a secret in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessEvent {
    /// There is no new token.
    #[error("cluster {cluster}: no new token: {reason}; {}, next attempt in {retry_ms} ms", serves(*serves_s))]
    TokenFailed {
        /// Name of the cluster.
        cluster: Arc<str>,
        /// The cause.
        reason: String,
        /// How long the last token still serves, in seconds; `None` where there is none.
        serves_s: Option<u64>,
        /// Time until the next attempt, in milliseconds.
        retry_ms: u64,
    },
    /// There is a token again.
    #[error("cluster {cluster}: there is a new token again after {failed_s} s")]
    TokenAgain {
        /// Name of the cluster.
        cluster: Arc<str>,
        /// How long there was none to be had, in seconds.
        failed_s: u64,
    },
    /// A changed secret or file is in use.
    #[error("cluster {cluster}: {what} changed, and {clients} clients log in with it from now on")]
    Rotated {
        /// Name of the cluster.
        cluster: Arc<str>,
        /// The properties that changed.
        what: Arc<str>,
        /// Number of clients.
        clients: usize,
    },
    /// Changed certificates are not in use everywhere.
    #[error("cluster {cluster}: {what} changed, and not all clients use it yet: {reason}")]
    RollStopped {
        /// Name of the cluster.
        cluster: Arc<str>,
        /// The properties that changed.
        what: Arc<str>,
        /// The cause.
        reason: String,
    },
    /// Lanes that do not run could not be taken again with changed certificates.
    #[error("cluster {cluster}: {what} changed; {lanes} do not run, and use it from their next take on")]
    RollLater {
        /// Name of the cluster.
        cluster: Arc<str>,
        /// The properties that changed.
        what: Arc<str>,
        /// The lanes.
        lanes: Arc<str>,
    },
    /// A changed secret or file cannot be used. The one before stays in use.
    #[error("cluster {cluster}: {what} changed and cannot be used: {reason}; the one before stays in use")]
    Refused {
        /// Name of the cluster.
        cluster: Arc<str>,
        /// The property, or the file.
        what: Arc<str>,
        /// The cause.
        reason: String,
    },
}

impl AccessEvent {
    pub(super) fn severity(&self) -> Severity {
        match self {
            Self::TokenAgain { .. } | Self::Rotated { .. } | Self::RollLater { .. } => Severity::Info,
            Self::Refused { .. } | Self::RollStopped { .. } | Self::TokenFailed { serves_s: Some(_), .. } => {
                Severity::Warning
            }
            Self::TokenFailed { serves_s: None, .. } => Severity::Error,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::TokenFailed { .. } => "token_failed",
            Self::TokenAgain { .. } => "token_again",
            Self::Rotated { .. } => "credentials_rotated",
            Self::RollStopped { .. } => "credentials_roll_stopped",
            Self::RollLater { .. } => "credentials_roll_later",
            Self::Refused { .. } => "credentials_refused",
        }
    }

    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::TokenFailed { .. } => "repair the identity provider, or clusters.<name>.auth",
            Self::Refused { .. } => "write a file that is whole and valid",
            Self::RollStopped { .. } => {
                "see what the lane waits for; the roll goes on once it runs, or once another login with the new files succeeds"
            }
            Self::TokenAgain { .. } | Self::Rotated { .. } | Self::RollLater { .. } => "",
        }
    }
}
