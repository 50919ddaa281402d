//! Resource limits of a plugin, as a configuration sets them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Resource limits of one plugin in one link. They apply to each of its instances: one per lane, or
/// one per partition if the plugin is stateful.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PluginLimits {
    /// Size of the plugin's file, in MiB. Compilation takes time and memory in proportion.
    #[schemars(range(min = 1, max = 256))]
    pub file_mib_max: u32,
    /// Number of functions in the plugin's file. Compilation takes time and memory in proportion.
    #[schemars(range(min = 100, max = 1_000_000))]
    pub functions_max: u32,
    /// Processor time to compile the plugin's file, in seconds. A process of its own compiles it,
    /// with 2 GiB of memory, and is ended then or after ten times as long.
    #[schemars(range(min = 1, max = 600))]
    pub compile_s_max: u32,
    /// Memory of one instance, in MiB. `plugin_memory_mib_max` limits all instances together.
    #[schemars(range(min = 1, max = 4096))]
    pub memory_mib_max: u32,
    /// Time for the start of an instance, for `describe` and for `configure`, in milliseconds each.
    #[schemars(range(min = 10, max = 600_000))]
    pub start_ms_max: u64,
    /// Time for one `open-topic` call, in milliseconds.
    #[schemars(range(min = 10, max = 60_000))]
    pub open_topic_ms_max: u64,
    /// Time for one `process` call, in milliseconds. A call gets about 256 KiB of records, or one
    /// record if that is larger.
    #[schemars(range(min = 10, max = 60_000))]
    pub process_ms_max: u64,
    /// Time for finding the guilty records of a failed `process` call, in milliseconds. Twice
    /// `process_ms_max` is enough to find one record that never returns.
    #[schemars(range(min = 0, max = 600_000))]
    pub narrow_ms_max: u64,
    /// Size of the result of one `process` call, in MiB, in addition to four times its input.
    #[schemars(range(min = 1, max = 1024))]
    pub output_mib_max: u32,
    /// Number of copies that plugins may make of one record, in the whole chain.
    #[schemars(range(min = 1, max = 10_000))]
    pub fan_out_max: u32,
    /// Size of the copies emitted by one `process` call, in MiB, without the bytes they share with
    /// their records.
    #[schemars(range(min = 1, max = 1024))]
    pub emit_mib_max: u32,
    /// Number of messages the plugin may log in one call. The rest is counted and discarded.
    #[schemars(range(min = 0, max = 1_000))]
    pub log_lines_max: u32,
    /// Number of counters the plugin may declare.
    #[schemars(range(min = 0, max = 256))]
    pub counters_max: u32,
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self {
            file_mib_max: 64,
            functions_max: 200_000,
            compile_s_max: 60,
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
