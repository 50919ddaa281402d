//! How a link's chain stands, for status.

use serde::{Deserialize, Serialize};

use crate::factory::PluginVersion;

/// What a trial in the shadow has found so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// Records that both judged.
    pub records: u64,
    /// Of these, records that the candidate treats otherwise.
    pub records_different: u64,
    /// Batches that the candidate would send to another topic.
    pub batches_elsewhere: u64,
}

/// Where a link's chain stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Nothing is on probation or on trial.
    Steady,
    /// The chain that serves is new and will be rolled back if it breaks.
    Probation,
    /// A candidate judges beside it.
    Shadow,
    /// A candidate serves one partition number.
    Canary,
}

/// How a link's chain is, for status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainState {
    /// The chain that serves.
    pub generation: String,
    /// Its plugins, in order.
    pub plugins: Vec<PluginVersion>,
    /// Where it stands.
    pub standing: Standing,
    /// The chain beside it: the one before on probation, the candidate on trial.
    pub beside: Option<String>,
    /// When probation or trial are over, in milliseconds.
    pub over_in_ms: Option<u64>,
    /// What the candidate in the shadow would do otherwise.
    pub comparison: Option<Comparison>,
    /// The chain that a rollback would bring back.
    pub before: Option<String>,
    /// Lanes (and others who ask for names) that hold a chain.
    pub holders: usize,
    /// Of these, those that have not come to a batch border since the last exchange.
    pub holders_behind: usize,
}
