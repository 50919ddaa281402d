//! Options for the reload of plugins while a link runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How changed plugins are activated while the link runs: new files in `plugin_dir`, or a changed
/// `plugins` list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reload {
    /// Action when a plugin's file or the link's `plugins` list has changed.
    #[serde(default)]
    pub mode: ReloadMode,
    /// How long the previous plugins stay on standby after a reload, in seconds. New plugins that
    /// fail on a batch where the previous ones do not are rolled back automatically, and the
    /// previous ones process the batch. Needs memory for both.
    #[serde(default = "default_probation_s")]
    #[schemars(range(min = 0, max = 86_400))]
    pub probation_s: u64,
    /// Length of a trial in the modes `shadow` and `canary`, in seconds.
    #[serde(default = "default_trial_s")]
    #[schemars(range(min = 1, max = 86_400))]
    pub trial_s: u64,
    /// Partition number, of every topic, that the new plugins process first in the mode `canary`.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100_000))]
    pub canary_partition: i32,
    /// How long a changed file must stay unchanged before it is read, in milliseconds, because it
    /// may still be being written. Files that are renamed into place are complete at once and work
    /// with 0.
    #[serde(default = "default_settle_ms")]
    #[schemars(range(min = 0, max = 60_000))]
    pub settle_ms: u64,
}

/// Action when a plugin's file or the list of plugins has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReloadMode {
    /// Load the new plugins in the background and activate them at the next batch.
    #[default]
    Direct,
    /// First run the new plugins on the same batches as the active ones for `trial_s`. Differences
    /// are counted, results are discarded. If they do not fail, activate them. Costs the time of
    /// both.
    Shadow,
    /// First activate the new plugins for one partition number only, for `trial_s`. If they do not
    /// fail, activate them everywhere.
    Canary,
    /// Do nothing until `strait plugin reload`.
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
