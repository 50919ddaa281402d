//! Bounds on a guest's resources.

use wasmtime::{ResourceLimiter, Result};

/// Bounds on one plugin. The defaults suit a compiled guest; an interpreter may need more memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestLimits {
    /// Size of the file, in bytes.
    pub file_bytes_max: usize,
    /// Functions in the file.
    pub functions_max: usize,
    /// Seconds of processor time to compile the file.
    pub compile_s_max: u64,
    /// Linear memories of one instance together, in bytes.
    pub memory_bytes_max: usize,
    /// Deadline for the start of an instance, for `describe` and for `configure`, each.
    pub start_ms_max: u64,
    /// Deadline for one `open-topic`.
    pub open_topic_ms_max: u64,
    /// Deadline for one `process`.
    pub process_ms_max: u64,
    /// Time to find the guilty records of a `process` that failed.
    pub narrow_ms_max: u64,
    /// Bytes of one answer of `process`, beyond four times its input.
    pub output_bytes_max: usize,
    /// Copies that may be made of one record, in the whole chain.
    pub fan_out_max: usize,
    /// Bytes of the copies of one `process`, beyond what they share with their originals.
    pub emit_bytes_max: usize,
    /// Messages of one call; further ones are dropped. The interface names the default.
    pub log_lines_max: usize,
    /// Counters that it may declare; at most 256.
    pub counters_max: usize,
}

impl Default for GuestLimits {
    fn default() -> Self {
        Self {
            file_bytes_max: 64 << 20,
            functions_max: 200_000,
            compile_s_max: 60,
            memory_bytes_max: 64 << 20,
            start_ms_max: 5_000,
            open_topic_ms_max: 1_000,
            process_ms_max: 2_000,
            narrow_ms_max: 4_000,
            output_bytes_max: 4 << 20,
            fan_out_max: 100,
            emit_bytes_max: 16 << 20,
            log_lines_max: 64,
            counters_max: 256,
        }
    }
}

/// Bytes of an answer of `describe` or `configure`. Lists can alias: this bounds what is read, not
/// what the guest holds.
pub(crate) const DESCRIBE_BYTES_MAX: usize = 1 << 20;
/// Bytes of an answer of `open-topic`.
pub(crate) const OPEN_TOPIC_BYTES_MAX: usize = 64 << 10;

/// Elements of the tables of one instance together.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 200_000;

/// Counts the resources of an instance.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory_bytes_max: usize,
    pub(crate) memory_bytes: usize,
    table_elements: usize,
    /// The last refusal since the call began: the likely reason of a trap that follows.
    pub(crate) refused: Option<String>,
}

impl Limiter {
    pub(crate) fn new(limits: &GuestLimits) -> Self {
        Self { memory_bytes_max: limits.memory_bytes_max, memory_bytes: 0, table_elements: 0, refused: None }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let after = self.memory_bytes.saturating_add(desired.saturating_sub(current));
        if after > self.memory_bytes_max {
            self.refused = Some(format!(
                "it asked for {after} bytes of memory and may have {}; raise memory_mib_max if that is right",
                self.memory_bytes_max
            ));
            return Ok(false);
        }
        self.memory_bytes = after;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let after = self.table_elements.saturating_add(desired.saturating_sub(current));
        if after > TABLE_ELEMENTS_MAX {
            self.refused = Some(format!("it asked for {after} table elements and may have {TABLE_ELEMENTS_MAX}"));
            return Ok(false);
        }
        self.table_elements = after;
        Ok(true)
    }

    fn instances(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        16
    }
}
