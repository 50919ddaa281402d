//! The map records of many commits as one map.

use super::{MapKind, MapRecord, Run};
use crate::offset::{SourceOffset, TargetOffset};

/// The map of one source partition and target topic, from its records in log order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoldedMap {
    runs: Vec<Run>,
    /// The source offset after the last one that a record covered.
    next: SourceOffset,
}

impl FoldedMap {
    /// Adds the next record of the log. One that begins below what an earlier record covered cuts
    /// the earlier runs there: the source was truncated, or the records were copied again. What
    /// was replayed or repaired moves nothing.
    pub fn fold(&mut self, record: &MapRecord) {
        if record.kind != MapKind::Copy {
            return;
        }
        if record.first < self.next {
            self.cut(record.first);
        }
        self.runs.extend(&record.runs);
        self.next = record.next;
    }

    /// Removes what is mapped at or above `at`.
    fn cut(&mut self, at: SourceOffset) {
        while self.runs.pop_if(|run| run.source >= at).is_some() {}
        // Only the last one can reach over it: each begins at most one before the end of the one
        // before.
        if let Some(last) = self.runs.last_mut().filter(|run| run.end() > at) {
            last.count = u32::try_from(at.0.saturating_sub(last.source.0)).unwrap_or(0);
        }
    }

    /// Returns the runs, ascending by source offset.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Returns target partition and offset of the first copied record at or after `source`.
    #[must_use]
    pub fn translate(&self, source: SourceOffset) -> Option<(i32, TargetOffset)> {
        let run = self.runs.get(self.runs.partition_point(|run| run.end() <= source))?;
        let inside = source.0.saturating_sub(run.source.0).max(0);
        Some((run.target_partition, TargetOffset(run.target.0.saturating_add(inside))))
    }
}
