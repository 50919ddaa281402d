//! What a plugin may use, as a configuration says it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bounds on one plugin in one link. They hold for each of its instances; there is one per lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PluginLimits {
    /// Size of its file, in MiB. Compiling takes time and memory in proportion, and cannot be interrupted.
    #[schemars(range(min = 1, max = 256))]
    pub file_mib_max: u32,
    /// Functions in its file. Compiling takes time and memory in proportion.
    #[schemars(range(min = 100, max = 1_000_000))]
    pub functions_max: u32,
    /// Memory of an instance, in MiB. `plugin_memory_mib_max` bounds all instances together.
    #[schemars(range(min = 1, max = 4096))]
    pub memory_mib_max: u32,
    /// Time for starting an instance, for `describe` and for `configure`, each, in milliseconds.
    #[schemars(range(min = 10, max = 600_000))]
    pub start_ms_max: u64,
    /// Time for one `open-topic`, in milliseconds.
    #[schemars(range(min = 10, max = 60_000))]
    pub open_topic_ms_max: u64,
    /// Time for one `process`, that is for some 256 KiB of records, in milliseconds.
    #[schemars(range(min = 10, max = 60_000))]
    pub process_ms_max: u64,
    /// Time for finding the guilty records of a `process` that failed, in milliseconds. Twice `process_ms_max` finds one that
    /// never comes to an end.
    #[schemars(range(min = 0, max = 600_000))]
    pub narrow_ms_max: u64,
    /// What one `process` may answer beyond four times what it was given, in MiB.
    #[schemars(range(min = 1, max = 1024))]
    pub output_mib_max: u32,
    /// Copies that may go out in the place of one record.
    #[schemars(range(min = 1, max = 10_000))]
    pub fan_out_max: u32,
    /// What the copies of one `process` may hold beyond what they share with their records, in MiB.
    #[schemars(range(min = 1, max = 1024))]
    pub emit_mib_max: u32,
    /// Messages that it may log in one call; the rest is counted and left out.
    #[schemars(range(min = 0, max = 1_000))]
    pub log_lines_max: u32,
    /// Counters that it may declare.
    #[schemars(range(min = 0, max = 256))]
    pub counters_max: u32,
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self {
            file_mib_max: 64,
            functions_max: 200_000,
            memory_mib_max: 64,
            start_ms_max: 5_000,
            open_topic_ms_max: 1_000,
            process_ms_max: 2_000,
            narrow_ms_max: 4_000,
            output_mib_max: 4,
            fan_out_max: 100,
            emit_mib_max: 16,
            log_lines_max: 64,
            counters_max: 256,
        }
    }
}
