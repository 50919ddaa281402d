//! From acknowledged records to map records.

use super::{MapRecord, Run};
use crate::offset::{SourceOffset, TargetOffset};

/// Builder that collects the runs of one source partition and target topic while a transaction is
/// open.
#[derive(Clone, Debug, Default)]
pub struct MapBuilder {
    runs: Vec<Run>,
}

impl MapBuilder {
    /// Adds one record. Source offsets must not descend.
    pub fn push(&mut self, source: SourceOffset, target_partition: i32, target: TargetOffset) {
        if let Some(run) = self.runs.last_mut() {
            let follows = run.target_partition == target_partition
                && run.end() == source
                && run.target_end() == target
                && run.count < u32::MAX;
            if follows {
                run.count += 1;
                return;
            }
        }
        self.runs.push(Run { source, target_partition, target, count: 1 });
    }

    /// Returns, for each of the `most` target partitions that were written last, the offset after
    /// the last record there, in the order in which they were last written. The second value is
    /// whether there are more.
    #[must_use]
    pub fn ends(&self, most: usize) -> (Vec<(i32, TargetOffset)>, bool) {
        let mut ends: Vec<(i32, TargetOffset)> = Vec::new();
        let mut more = false;
        for run in self.runs.iter().rev() {
            if ends.iter().any(|(partition, _)| *partition == run.target_partition) {
                continue;
            }
            more = ends.len() == most;
            if more {
                break;
            }
            ends.push((run.target_partition, run.target_end()));
        }
        ends.reverse();
        (ends, more)
    }

    /// Returns the map records of a commit, with at most `runs_max` runs each, and empties the
    /// builder. `whole` says what all of them have in common, and the range that they cover; its
    /// runs do not count. There is none without a run.
    pub fn finish(&mut self, whole: &MapRecord, runs_max: usize) -> Vec<MapRecord> {
        let runs = std::mem::take(&mut self.runs);
        let mut records: Vec<MapRecord> = Vec::with_capacity(runs.len() / runs_max.max(1) + 1);
        let mut first = whole.first;
        for chunk in runs.chunks(runs_max.max(1)) {
            let next = chunk.last().map_or(whole.next, Run::end);
            records.push(MapRecord { first, next, runs: chunk.to_vec(), ..whole.clone() });
            first = next;
        }
        if let Some(last) = records.last_mut() {
            last.next = last.next.max(whole.next);
        }
        records
    }

    /// Returns the memory that the runs hold, in bytes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.runs.len() * size_of::<Run>()
    }

    /// Returns whether no record was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}
