//! Events about the border of a lane: what its records are protected by at least.

use std::sync::Arc;

use super::Severity;

/// The border of a lane has changed, or holds plugins back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BorderEvent {
    /// Plugins come into force that protect as much as the ones before, or to which an operator has
    /// agreed.
    #[error("lane {lane}: border {number}: plugins {generation} come into force ({why}){}", weaker(.loosened))]
    Changed {
        /// Number of the lane.
        lane: u32,
        /// Number of the border.
        number: u64,
        /// The generation: names, digests and configurations of the plugins.
        generation: Arc<str>,
        /// Why they may.
        why: Arc<str>,
        /// How they protect less than the ones before. Empty if they do not.
        loosened: String,
    },
    /// The plugins would protect less than the border of the lane. Nothing is copied.
    #[error(
        "lane {lane}: plugins {generation} would protect less than those before, so the lane copies nothing: {losses}; put the plugins and their configuration back, or agree with accept = \"{digest}\" in the link, and restart; next attempt in {retry_ms} ms"
    )]
    Refused {
        /// Number of the lane.
        lane: u32,
        /// The generation: names, digests and configurations of the plugins.
        generation: Arc<str>,
        /// The digest of the generation, by which an operator can agree to it.
        digest: Arc<str>,
        /// How they would protect less.
        losses: String,
        /// Time until the lane is taken again, in milliseconds.
        retry_ms: u64,
    },
    /// The border on the target is gone, or weaker than the copy in `state_dir`, which counts.
    #[error(
        "lane {lane}: its border on the target protects less than the copy in state_dir, and the copy counts: {losses}; find out who has changed the topic strait.<link>.progress"
    )]
    Lost {
        /// Number of the lane.
        lane: u32,
        /// The protection that the border on the target has lost.
        losses: String,
    },
}

fn weaker(losses: &str) -> String {
    if losses.is_empty() { String::new() } else { format!("; they protect less than those before: {losses}") }
}

impl BorderEvent {
    pub(super) fn severity(&self) -> Severity {
        match self {
            Self::Changed { loosened, .. } if loosened.is_empty() => Severity::Info,
            Self::Changed { .. } => Severity::Warning,
            Self::Refused { .. } | Self::Lost { .. } => Severity::Error,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Changed { .. } => "border_changed",
            Self::Refused { .. } => "border_refused",
            Self::Lost { .. } => "border_lost",
        }
    }
}
