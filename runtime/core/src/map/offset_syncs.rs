//! Which pairs of offsets are worth an offset sync.
//!
//! MirrorMaker 2's reader (`OffsetSyncStore.translateDownstream`) takes the newest pair at or below
//! a group's offset: the target offset where both are equal, and the one behind it where the group
//! is above. It forgets all pairs once a source offset falls. So the pairs of a partition ascend,
//! and each is that of the last record with a copy: then a group that has read everything is
//! translated exactly, and no group skips a record. The pair of progress and the log's end would
//! skip one, as the records of a transaction may stand before the marker of the one before it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{MapKind, MapRecord};
use crate::mm2::OffsetSync;
use crate::topic::TopicId;

/// Least time between two syncs of a partition.
pub const EVERY: Duration = Duration::from_secs(1);

type Key = (Arc<str>, i32);

/// The newest pair of one source partition.
#[derive(Clone, Copy, Debug)]
struct Known {
    topic_id: TopicId,
    upstream: i64,
    downstream: i64,
    /// It was written.
    is_written: bool,
    /// When a pair of the partition was last written.
    written_at: Option<Duration>,
}

/// The newest pair of each source partition.
#[derive(Debug, Default)]
pub struct Pairs {
    known: BTreeMap<Key, Known>,
}

impl Pairs {
    /// Takes a map record in. `copies` is the topic that the link's naming gives the source topic;
    /// readers look for a partition's copy there and under its own number, so copies elsewhere say
    /// nothing to them.
    pub fn learn(&mut self, record: &MapRecord, copies: &str) {
        let key = &record.partition;
        if record.kind != MapKind::Copy || *record.target_topic != *copies {
            return;
        }
        let place = (Arc::clone(&key.topic), key.partition);
        let known = self.known.get(&place).copied();
        let same = known.filter(|known| !known.topic_id.is_other_than(key.topic_id));
        // A record that begins below a known pair replaces it: the source was truncated, or the
        // partition is copied anew.
        let standing = same.filter(|known| record.first.0 > known.upstream);
        let Some((upstream, downstream)) = last_pair(record) else {
            return;
        };
        // Further copies of a record come in the map record behind that of its first one.
        if standing.is_some_and(|known| upstream <= known.upstream) {
            return;
        }
        let is_written =
            same.is_some_and(|known| known.is_written && (known.upstream, known.downstream) == (upstream, downstream));
        let written_at = known.and_then(|known| known.written_at);
        self.known.insert(place, Known { topic_id: key.topic_id, upstream, downstream, is_written, written_at });
    }

    /// Returns the syncs to write now. Each counts as written until [`Pairs::failed`].
    pub fn due(&mut self, now: Duration) -> Vec<OffsetSync> {
        let mut due = Vec::new();
        for ((topic, partition), known) in &mut self.known {
            let waits = known.written_at.is_some_and(|at| now.saturating_sub(at) < EVERY);
            if known.is_written || waits {
                continue;
            }
            known.is_written = true;
            known.written_at = Some(now);
            let (upstream, downstream) = (known.upstream, known.downstream);
            due.push(OffsetSync { topic: topic.to_string(), partition: *partition, upstream, downstream });
        }
        due
    }

    /// Takes back that syncs were written.
    pub fn failed(&mut self, syncs: &[OffsetSync]) {
        for sync in syncs {
            let key = (Arc::from(&*sync.topic), sync.partition);
            if let Some(known) = self.known.get_mut(&key) {
                known.is_written = false;
            }
        }
    }
}

/// Returns the last record with a copy in the partition of its own number, and where its first copy
/// is.
fn last_pair(record: &MapRecord) -> Option<(i64, i64)> {
    let runs = || record.runs.iter().filter(|run| run.target_partition == record.partition.partition && run.count > 0);
    let last = runs().map(|run| run.end().0 - 1).max()?;
    let first_copy = runs().find(|run| (run.source.0..run.end().0).contains(&last))?;
    Some((last, first_copy.target.0 + (last - first_copy.source.0)))
}
