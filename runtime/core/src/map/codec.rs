//! The bytes of a map record.
//!
//! The key is JSON: the source partition and the target topic. In the value every integer is a
//! LEB128 varint (zigzag if it may be negative): version (2); kind (0 copy, 1 replay, 2 repair);
//! the 16 bytes of the target topic's id; first source offset; distance to the offset after the
//! last one; number of runs; then for each run the gap to the previous run in source offsets
//! (zigzag: -1 at a further copy of the same record), the target partition (zigzag, relative to the
//! previous run), the target offset (zigzag, relative to the end of the previous run) and the
//! number of records. Commit markers on the target appear as gaps between runs.
//!
//! Version 1 has neither kind nor id, and its gaps have no sign: it cannot represent copies of one
//! record in one target topic. Where its runs reach beyond its range, that is what happened.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{MapError, MapKind, MapRecord, Run};
use crate::offset::{SourceOffset, TargetOffset};
use crate::topic::{PartitionKey, TopicId};

#[derive(Serialize, Deserialize)]
struct Key {
    #[serde(flatten)]
    partition: PartitionKey,
    target_topic: Arc<str>,
}

impl MapKind {
    fn number(self) -> u64 {
        match self {
            Self::Copy => 0,
            Self::Replay => 1,
            Self::Repair => 2,
        }
    }

    fn of(number: u64) -> Option<Self> {
        [Self::Copy, Self::Replay, Self::Repair].into_iter().find(|kind| kind.number() == number)
    }
}

fn broken(reason: impl Into<String>) -> MapError {
    MapError { reason: reason.into() }
}

impl MapRecord {
    /// Encodes key and value for the topic.
    #[must_use]
    pub fn encode(&self) -> (Vec<u8>, Vec<u8>) {
        let key = Key { partition: self.partition.clone(), target_topic: Arc::clone(&self.target_topic) };
        let mut out = Vec::with_capacity(32 + self.runs.len() * 5);
        put(&mut out, 2);
        put(&mut out, self.kind.number());
        out.extend(self.target_id.0);
        put(&mut out, self.first.0.unsigned_abs());
        put(&mut out, self.next.0.saturating_sub(self.first.0).unsigned_abs());
        put(&mut out, self.runs.len() as u64);
        let (mut source, mut partition, mut target) = (self.first.0, 0i64, 0i64);
        for run in &self.runs {
            put(&mut out, zigzag(run.source.0.saturating_sub(source)));
            put(&mut out, zigzag(i64::from(run.target_partition) - partition));
            put(&mut out, zigzag(run.target.0.saturating_sub(target)));
            put(&mut out, u64::from(run.count));
            source = run.end().0;
            partition = i64::from(run.target_partition);
            target = run.target.0.saturating_add(i64::from(run.count));
        }
        // Strings and numbers only: serialising the key cannot fail.
        (serde_json::to_vec(&key).unwrap_or_default(), out)
    }

    /// Decodes a record of this version or an earlier one.
    ///
    /// # Errors
    /// [`MapError`] if the version or the kind is unknown, the value is truncated, a number is out
    /// of range, or the runs are not in the range that the record covers.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, MapError> {
        let Key { partition, target_topic } = serde_json::from_slice(key).map_err(|e| broken(e.to_string()))?;
        let mut rest = Bytes(value);
        let version = rest.number()?;
        let (kind, target_id) = match version {
            1 => (MapKind::Copy, TopicId::UNKNOWN),
            2 => {
                let kind = rest.number()?;
                let kind = MapKind::of(kind)
                    .ok_or_else(|| broken(format!("unknown kind {kind}, written by a newer strait?")))?;
                (kind, TopicId(rest.id()?))
            }
            other => return Err(broken(format!("unknown version {other}, written by a newer strait?"))),
        };
        let first = rest.offset()?;
        let length = rest.offset()?;
        let next = add(first, length)?;
        let runs = rest.runs(version, first)?;
        if !rest.0.is_empty() {
            return Err(broken("bytes after the last run"));
        }
        let (first, next) = (SourceOffset(first), SourceOffset(next));
        let record = Self { partition, target_topic, target_id, kind, first, next, runs };
        record.check(version)?;
        Ok(record)
    }

    /// Checks that the runs are in the range of the record and in order.
    fn check(&self, version: u64) -> Result<(), MapError> {
        if self.runs.last().is_some_and(|last| last.end() > self.next) {
            return Err(broken(match version {
                1 => "version 1 cannot represent copies of one record in one topic, and this record has such copies",
                _ => "a run reaches beyond the range",
            }));
        }
        // A further copy of the record before begins one below the end of its run.
        let mut least = self.first.0.saturating_sub(1);
        for run in &self.runs {
            if run.source.0 < least {
                return Err(broken("the runs do not ascend"));
            }
            least = run.end().0.saturating_sub(1);
        }
        Ok(())
    }
}

/// The undecoded rest of a value.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn number(&mut self) -> Result<u64, MapError> {
        get(&mut self.0).ok_or_else(|| broken("truncated"))
    }

    fn offset(&mut self) -> Result<i64, MapError> {
        i64::try_from(self.number()?).map_err(|_| too_large())
    }

    fn id(&mut self) -> Result<[u8; 16], MapError> {
        let (id, rest) = self.0.split_first_chunk().ok_or_else(|| broken("truncated"))?;
        self.0 = rest;
        Ok(*id)
    }

    fn runs(&mut self, version: u64, first: i64) -> Result<Vec<Run>, MapError> {
        let count = self.number()?;
        let mut runs = Vec::new();
        let (mut source, mut partition, mut target) = (first, 0i64, 0i64);
        for _ in 0..count {
            let gap = if version == 1 { self.offset()? } else { unzigzag(self.number()?) };
            source = add(source, gap)?;
            partition = add(partition, unzigzag(self.number()?))?;
            target = add(target, unzigzag(self.number()?))?;
            let records = u32::try_from(self.number()?).map_err(|_| too_large())?;
            let target_partition = i32::try_from(partition).map_err(|_| too_large())?;
            runs.push(Run {
                source: SourceOffset(source),
                target_partition,
                target: TargetOffset(target),
                count: records,
            });
            source = add(source, i64::from(records))?;
            target = add(target, i64::from(records))?;
        }
        Ok(runs)
    }
}

fn too_large() -> MapError {
    broken("number too large")
}

fn add(a: i64, b: i64) -> Result<i64, MapError> {
    a.checked_add(b).ok_or_else(too_large)
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
