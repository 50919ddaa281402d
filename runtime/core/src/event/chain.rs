//! Events about the plugins of a link as a whole: which ones are active, and which of their rules
//! find nothing.

use std::sync::Arc;

use super::Severity;
use super::words::after;
use crate::edit::Generation;

/// The plugins of a link have changed, or a rule of them finds nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainEvent {
    /// Other plugins, or other versions of them, are active from the next batch on.
    #[error("plugins {generation} are active from the next batch on (prepared in {took_ms} ms){}", after(.reason))]
    Reloaded {
        /// The generation: names, digests and configurations of the plugins.
        generation: Arc<str>,
        /// Time to read, compile and start the plugins, in milliseconds.
        took_ms: u64,
        /// Why they are active now, such as a passed trial. May be empty.
        reason: String,
    },
    /// New plugins are on trial.
    #[error("plugins {generation} are on trial: {reason}")]
    OnTrial {
        /// The generation: names, digests and configurations of the plugins.
        generation: Arc<str>,
        /// Mode and length of the trial.
        reason: String,
    },
    /// A changed plugin or configuration was refused. The active plugins stay.
    #[error("the plugins were not reloaded, {}: {reason}", kept(.serving))]
    Refused {
        /// The active generation.
        serving: Arc<str>,
        /// The reason, and what to do.
        reason: String,
    },
    /// New plugins failed, or an operator rolled them back. The previous plugins are active again.
    #[error("plugins {generation} were rolled back, {serving} are active again: {reason}")]
    RolledBack {
        /// The generation that was rolled back.
        generation: Arc<str>,
        /// The active generation.
        serving: Arc<str>,
        /// The reason.
        reason: String,
    },
    /// Plugins that were rolled back are in force again, because a process has started: their files
    /// were still in place.
    #[error(
        "plugins that were rolled back before are in force again with this start, as their files and configuration are still in place: {plugins}"
    )]
    Returned {
        /// The plugins, as a generation has them.
        plugins: Arc<str>,
    },
    /// The plugins of a link did not load when the process started. The link copies nothing until a
    /// file of theirs changes and they load.
    #[error("the plugins do not load, and the link copies nothing until they do: {reason}")]
    NotLoaded {
        /// The fault, and the plugin that has it.
        reason: String,
    },
    /// A lane cannot start the active plugins. Plugins that protect as much go on there; otherwise
    /// it lets nothing pass.
    #[error(
        "a lane cannot start the active plugins {generation} and {}: {reason}", if *waits { "lets nothing pass until it can" } else { "goes on with those before, which protect as much" }
    )]
    NotTaken {
        /// The active generation.
        generation: Arc<str>,
        /// Whether the lane waits, as the plugins before would protect less.
        waits: bool,
        /// Why they do not start.
        reason: String,
    },
    /// A counter stays at rest of which the plugin says that this would be strange: above all a
    /// rule for a field that nobody sends any more, or sends under another name.
    #[error(
        "plugin {plugin}: counter {counter}{} has counted nothing in the {} {records} records; what it looks for may have another name by now, and pass under it", of(.rule), if *has_counted { "last" } else { "first" }
    )]
    RuleSilent {
        /// Name of the plugin.
        plugin: Arc<str>,
        /// The rule that the counter is of. Empty if it is of the whole plugin.
        rule: Arc<str>,
        /// Name of the counter.
        counter: Arc<str>,
        /// Records that the plugin was shown meanwhile.
        records: u64,
        /// Whether it has counted before.
        has_counted: bool,
    },
}

fn kept(serving: &str) -> String {
    match serving {
        Generation::NOT_LOADED => "and the link still copies nothing".to_owned(),
        serving => format!("{serving} stay active"),
    }
}

fn of(rule: &str) -> String {
    if rule.is_empty() { String::new() } else { format!(" of rule {rule}") }
}

impl ChainEvent {
    pub(super) fn severity(&self) -> Severity {
        match self {
            Self::Reloaded { .. } | Self::OnTrial { .. } => Severity::Info,
            Self::Refused { .. } | Self::RolledBack { .. } | Self::Returned { .. } | Self::RuleSilent { .. } => {
                Severity::Warning
            }
            Self::NotLoaded { .. } | Self::NotTaken { .. } => Severity::Error,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Reloaded { .. } => "plugins_reloaded",
            Self::OnTrial { .. } => "plugins_on_trial",
            Self::Refused { .. } => "plugins_refused",
            Self::RolledBack { .. } => "plugins_rolled_back",
            Self::Returned { .. } => "plugins_returned",
            Self::NotLoaded { .. } => "plugins_not_loaded",
            Self::NotTaken { .. } => "plugins_not_taken",
            Self::RuleSilent { .. } => "rule_silent",
        }
    }

    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::Returned { .. } => {
                "put the file or the configuration from before in place; a running link reloads it, and the next start loads it"
            }
            Self::NotLoaded { .. } => "put a file in its place that loads; the link then starts by itself",
            Self::NotTaken { .. } => {
                "mend what keeps them from starting, or reload or roll back the plugins of the link"
            }
            Self::RuleSilent { .. } => "compare the rule with the records, and correct it or take it out",
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_that_never_loaded_are_not_said_to_stay_active() {
        let said = |serving: &str| ChainEvent::Refused { serving: serving.into(), reason: "why".into() }.to_string();
        assert_eq!(said("a@1+2"), "the plugins were not reloaded, a@1+2 stay active: why");
        let none = said(Generation::NOT_LOADED);
        assert_eq!(none, "the plugins were not reloaded, and the link still copies nothing: why");
    }
}
