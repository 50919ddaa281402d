//! How a link takes over changed plugins while it runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a link takes over changed plugins while it runs: other files in `plugin_dir`, and another `plugins` list here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reload {
    /// What happens when a file or the configuration has changed.
    #[serde(default)]
    pub mode: ReloadMode,
    /// For how long after a change the plugins of before stand by, in seconds: new ones that break where the old ones do
    /// not are taken back by themselves, and the batch is judged by the old ones. It costs the memory of both.
    #[serde(default = "default_probation_s")]
    #[schemars(range(min = 0, max = 86_400))]
    pub probation_s: u64,
    /// How long a trial lasts in the modes `shadow` and `canary`, in seconds.
    #[serde(default = "default_trial_s")]
    #[schemars(range(min = 1, max = 86_400))]
    pub trial_s: u64,
    /// In the mode `canary`: the partition number, of every topic, that the new plugins judge first.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100_000))]
    pub canary_partition: i32,
    /// How long a changed file must stay as it is before it is read, in milliseconds: it may still be being written. A file
    /// that is renamed into place needs none of it.
    #[serde(default = "default_settle_ms")]
    #[schemars(range(min = 0, max = 60_000))]
    pub settle_ms: u64,
}

/// What happens when a plugin's file or the list of plugins has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReloadMode {
    /// The new plugins are made ready and judge from the next batches on.
    #[default]
    Direct,
    /// For a time they judge the same batches beside the present ones; what they would do otherwise is counted and thrown
    /// away. If they do not break, they take over. Costs the time of both.
    Shadow,
    /// For a time they judge one partition number only. If they do not break, they take over.
    Canary,
    /// Nothing, until `strait plugin reload`.
    Manual,
}

impl Default for Reload {
    fn default() -> Self {
        Self {
            mode: ReloadMode::default(),
            probation_s: default_probation_s(),
            trial_s: default_trial_s(),
            canary_partition: 0,
            settle_ms: default_settle_ms(),
        }
    }
}

fn default_probation_s() -> u64 {
    60
}

fn default_trial_s() -> u64 {
    30
}

fn default_settle_ms() -> u64 {
    500
}
