//! A sample of record timestamps, for the latency from record to commit.

use std::collections::VecDeque;

use strait_core::SourceOffset;

/// Timestamps kept per partition. When it is full, the oldest are dropped from the sample.
const SAMPLES_MAX: usize = 1024;

/// Offset and timestamp of the last record of each batch that was read and is not committed.
#[derive(Debug, Default)]
pub(crate) struct LatencySamples(VecDeque<(SourceOffset, i64)>);

impl LatencySamples {
    /// Adds the last record of a batch to the sample.
    pub fn record(&mut self, last: SourceOffset, time_ms: i64) {
        if time_ms <= 0 {
            return;
        }
        // Batches that were read before and are read again.
        while self.0.pop_back_if(|(offset, _)| *offset >= last).is_some() {}
        if self.0.len() >= SAMPLES_MAX {
            self.0.pop_front();
        }
        self.0.push_back((last, time_ms));
    }

    /// Takes out the timestamps of records below `next`, oldest first.
    pub fn take_below(&mut self, next: SourceOffset) -> impl Iterator<Item = i64> + '_ {
        let done = self.0.iter().take_while(|(offset, _)| *offset < next).count();
        self.0.drain(..done).map(|(_, time_ms)| time_ms)
    }
}
