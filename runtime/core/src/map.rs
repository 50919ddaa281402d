//! The offset map: the exact target offset of each source offset.
//!
//! One or more records per source partition, target topic and commit in `strait.<link>.map`,
//! written in the same transaction as the data. The key is JSON: the source partition and the
//! target topic. In the value every integer is a LEB128 varint (zigzag if it may be negative):
//! version (1); first source offset; distance to the offset after the last one; number of runs;
//! then for each run the gap to the previous run in source offsets, the target partition (zigzag,
//! relative to the previous run), the target offset (zigzag, relative to the end of the previous
//! run) and the number of records. Commit markers on the target appear as gaps between runs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::offset::{SourceOffset, TargetOffset};
use crate::topic::PartitionKey;

/// Map records are split at this many runs, so that a value stays well below any broker's message
/// size limit.
const RUNS_PER_RECORD_MAX: usize = 20_000;

/// Consecutive source offsets at consecutive offsets of one target partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// First source offset of the run.
    pub source: SourceOffset,
    /// Partition of the target topic.
    pub target_partition: i32,
    /// Target offset of the first record.
    pub target: TargetOffset,
    /// Number of records.
    pub count: u32,
}

/// The offsets that one commit mapped, for one source partition and target topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapRecord {
    /// The source partition.
    pub partition: PartitionKey,
    /// The target topic.
    pub target_topic: Arc<str>,
    /// First source offset that this record covers.
    pub first: SourceOffset,
    /// The source offset after the last one that this record covers.
    pub next: SourceOffset,
    /// Copied records, ascending by source offset. Offsets between runs were dropped, aborted,
    /// compacted or control records.
    pub runs: Vec<Run>,
}

/// A map record that cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("offset map record cannot be read: {reason}")]
pub struct MapError {
    /// The reason.
    pub reason: String,
}

#[derive(Serialize, Deserialize)]
struct Key {
    #[serde(flatten)]
    partition: PartitionKey,
    target_topic: Arc<str>,
}

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
            let count = i64::from(run.count);
            let follows = run.target_partition == target_partition
                && run.source.0 + count == source.0
                && run.target.0 + count == target.0
                && run.count < u32::MAX;
            if follows {
                run.count += 1;
                return;
            }
        }
        self.runs.push(Run { source, target_partition, target, count: 1 });
    }

    /// Returns the map records for `first..next` and empties the builder.
    pub fn finish(
        &mut self,
        partition: &PartitionKey,
        topic: &Arc<str>,
        first: SourceOffset,
        next: SourceOffset,
    ) -> Vec<MapRecord> {
        let runs = std::mem::take(&mut self.runs);
        let mut records: Vec<MapRecord> = Vec::with_capacity(runs.len() / RUNS_PER_RECORD_MAX + 1);
        let mut from = first;
        for chunk in runs.chunks(RUNS_PER_RECORD_MAX) {
            let end = chunk.last().map_or(next, |r| SourceOffset(r.source.0 + i64::from(r.count)));
            records.push(MapRecord {
                partition: partition.clone(),
                target_topic: Arc::clone(topic),
                first: from,
                next: end,
                runs: chunk.to_vec(),
            });
            from = end;
        }
        if let Some(last) = records.last_mut() {
            last.next = last.next.max(next);
        }
        records
    }

    /// Returns whether no record was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

impl MapRecord {
    /// Encodes key and value for the topic.
    #[must_use]
    pub fn encode(&self) -> (Vec<u8>, Vec<u8>) {
        let key = Key { partition: self.partition.clone(), target_topic: Arc::clone(&self.target_topic) };
        let mut out = Vec::with_capacity(16 + self.runs.len() * 5);
        put(&mut out, 1);
        put(&mut out, self.first.0.unsigned_abs());
        put(&mut out, self.next.0.saturating_sub(self.first.0).unsigned_abs());
        put(&mut out, self.runs.len() as u64);
        let (mut source, mut partition, mut target) = (self.first.0, 0i64, 0i64);
        for run in &self.runs {
            put(&mut out, run.source.0.saturating_sub(source).unsigned_abs());
            put(&mut out, zigzag(i64::from(run.target_partition) - partition));
            put(&mut out, zigzag(run.target.0 - target));
            put(&mut out, u64::from(run.count));
            source = run.source.0 + i64::from(run.count);
            partition = i64::from(run.target_partition);
            target = run.target.0 + i64::from(run.count);
        }
        // Strings and numbers only: serialising the key cannot fail.
        (serde_json::to_vec(&key).unwrap_or_default(), out)
    }

    /// Decodes a record.
    ///
    /// # Errors
    /// [`MapError`] if the version is unknown, the value is truncated, or a number is out of range.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, MapError> {
        let broken = |reason: &str| MapError { reason: reason.to_owned() };
        let key: Key = serde_json::from_slice(key).map_err(|e| broken(&e.to_string()))?;
        let mut rest = value;
        let mut take = || get(&mut rest).ok_or_else(|| broken("truncated"));
        if take()? != 1 {
            return Err(broken("unknown version: written by a newer strait?"));
        }
        let number = |n: u64| i64::try_from(n).map_err(|_| broken("number too large"));
        let add = |a: i64, b: i64| a.checked_add(b).ok_or_else(|| broken("number too large"));
        let first = number(take()?)?;
        let next = add(first, number(take()?)?)?;
        let count = take()?;
        let mut runs = Vec::new();
        let (mut source, mut partition, mut target) = (first, 0i64, 0i64);
        for _ in 0..count {
            source = add(source, number(take()?)?)?;
            partition = add(partition, unzigzag(take()?))?;
            target = add(target, unzigzag(take()?))?;
            let records = u32::try_from(take()?).map_err(|_| broken("number too large"))?;
            let target_partition = i32::try_from(partition).map_err(|_| broken("number too large"))?;
            runs.push(Run {
                source: SourceOffset(source),
                target_partition,
                target: TargetOffset(target),
                count: records,
            });
            source = add(source, i64::from(records))?;
            target = add(target, i64::from(records))?;
        }
        if !rest.is_empty() {
            return Err(broken("bytes after the last run"));
        }
        Ok(Self {
            partition: key.partition,
            target_topic: key.target_topic,
            first: SourceOffset(first),
            next: SourceOffset(next),
            runs,
        })
    }

    /// Returns target partition and offset of the first copied record at or after `source`. `None`
    /// if this commit copied no record at or after it.
    #[must_use]
    pub fn translate(&self, source: SourceOffset) -> Option<(i32, TargetOffset)> {
        let at = self.runs.partition_point(|r| r.source.0 + i64::from(r.count) <= source.0);
        let run = self.runs.get(at)?;
        let inside = source.0.saturating_sub(run.source.0).max(0);
        Some((run.target_partition, TargetOffset(run.target.0 + inside)))
    }
}

fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

fn unzigzag(n: u64) -> i64 {
    ((n >> 1) as i64) ^ -((n & 1) as i64)
}

fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n as u8) | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn get(rest: &mut &[u8]) -> Option<u64> {
    let mut n = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        n |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(n);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::topic::TopicId;

    fn key() -> PartitionKey {
        PartitionKey { topic: "orders".into(), topic_id: TopicId([1; 16]), partition: 2 }
    }

    proptest! {
        /// Decoding returns what was pushed, and a translation finds the first copied record at or
        /// after each source offset.
        #[test]
        fn the_map_is_exact_and_reads_back(
            steps in prop::collection::vec((1i64..4, 0i32..3, 1i64..5), 0..200),
            start in 0i64..1_000_000,
        ) {
            let mut builder = MapBuilder::default();
            let mut next_target = [10i64, 500, 90];
            let mut kept = Vec::new();
            let mut source = start;
            for (gap, partition, target_gap) in steps {
                source += gap;
                let slot = &mut next_target[partition as usize];
                *slot += target_gap;
                builder.push(SourceOffset(source), partition, TargetOffset(*slot));
                kept.push((source, partition, *slot));
            }
            let next = SourceOffset(source + 3);
            let records = builder.finish(&key(), &"aws.orders".into(), SourceOffset(start), next);
            prop_assert!(builder.is_empty());
            let Some(record) = records.first() else { prop_assert!(kept.is_empty()); return Ok(()); };
            let (k, v) = record.encode();
            prop_assert_eq!(&MapRecord::decode(&k, &v).unwrap(), record);
            for asked in start..=source + 2 {
                let expected = kept.iter().find(|(s, _, _)| *s >= asked).map(|(_, p, t)| (*p, TargetOffset(*t)));
                prop_assert_eq!(record.translate(SourceOffset(asked)), expected);
            }
        }

        /// Arbitrary bytes are decoded or refused, and never panic.
        #[test]
        fn decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let (k, _) = MapRecord { partition: key(), target_topic: "t".into(), first: SourceOffset(0), next: SourceOffset(0), runs: vec![] }.encode();
            drop(MapRecord::decode(&k, &bytes));
        }
    }

    #[test]
    fn many_runs_are_split_without_a_gap() {
        let mut builder = MapBuilder::default();
        for i in 0..(RUNS_PER_RECORD_MAX as i64 * 2 + 5) {
            builder.push(SourceOffset(i * 2), 0, TargetOffset(i));
        }
        let records = builder.finish(&key(), &"t".into(), SourceOffset(0), SourceOffset(1_000_000));
        assert_eq!(records.len(), 3);
        assert!(records.windows(2).all(|w| w[0].next == w[1].first));
        assert_eq!(records[2].next, SourceOffset(1_000_000));
    }
}
