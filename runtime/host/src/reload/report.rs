//! The state of a link's chain, for status.

use serde::{Deserialize, Serialize};

use super::compare::Comparison;
use crate::factory::PluginVersion;

/// The phase of a reload that a link is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrialPhase {
    /// No chain is on probation or on trial.
    Steady,
    /// The active chain is new; it is rolled back if it breaks.
    Probation,
    /// A candidate judges the same batches; its judgements are discarded.
    Shadow,
    /// A candidate judges one partition number.
    Canary,
}

/// The state of a link's chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainState {
    /// Generation of the active chain.
    pub generation: String,
    /// Plugins of the active chain, in order.
    pub plugins: Vec<PluginVersion>,
    /// The phase of a reload.
    pub standing: TrialPhase,
    /// Generation of the chain on standby: the previous one on probation, the candidate on trial.
    pub beside: Option<String>,
    /// Milliseconds until the probation or the trial ends.
    pub over_in_ms: Option<u64>,
    /// The differences that a trial in the shadow has found.
    pub comparison: Option<Comparison>,
    /// Generation of the chain that a rollback brings back.
    pub before: Option<String>,
    /// Lanes, and others that ask for topic names, with a chain of this link.
    pub holders: usize,
    /// Of these, the ones that have not reached a batch border since the last change.
    pub holders_behind: usize,
}
