//! Did the target get every record of the source, once, in order, and nothing else?
//!
//! The verdict is the comparison of two sequences per partition: the contents of the source's
//! committed log and of the target's. A copy is clean exactly if they are equal, so nothing depends
//! on records carrying ids: of two records with the same content, one that is lost and one that is
//! doubled still change the count, and one that moves past a different record changes the sequence.
//! Only exchanging records of equal content goes unseen, which no consumer could tell either.
//!
//! Differences have names, after the anomalies of Jepsen's Kafka workload
//! (<https://github.com/jepsen-io/jepsen>, `jepsen.tests.kafka`).

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;

use crate::record::LogRecord;

/// Most anomalies of each kind that a report lists; all are counted.
pub const LISTED_MAX: usize = 50;

/// A kind of difference between a copy and its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AnomalyKind {
    /// A committed source record is missing in the target's partition.
    Lost,
    /// The target has a source record more often than the source. The later copies are the
    /// duplicates.
    Duplicate,
    /// A record comes after one that it precedes on the source. Of a stretch that jumped ahead,
    /// every record behind the furthest one so far is named.
    Reordered,
    /// A record of an aborted source transaction is on the target.
    AbortedRead,
    /// A record that the source's partition never had, aborted or not.
    Phantom,
}

/// One thing that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anomaly {
    /// The kind.
    pub kind: AnomalyKind,
    /// The partition.
    pub partition: i32,
    /// Offset of the record on the source, where it is there.
    pub source_offset: Option<i64>,
    /// Offset of the record on the target, where it is there.
    pub target_offset: Option<i64>,
    /// The generated record's id, if it has one.
    pub id: Option<u64>,
}

/// All that is wrong with a copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    counts: BTreeMap<AnomalyKind, u64>,
    listed: Vec<Anomaly>,
    source_records: u64,
    target_records: u64,
}

impl Report {
    /// Reports whether the copy is exact.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.counts.is_empty()
    }

    /// Returns the number of anomalies of a kind.
    #[must_use]
    pub fn count(&self, kind: AnomalyKind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    /// The first [`LISTED_MAX`] anomalies of each kind.
    #[must_use]
    pub fn listed(&self) -> &[Anomaly] {
        &self.listed
    }

    fn add(&mut self, anomaly: Anomaly) {
        let count = self.counts.entry(anomaly.kind).or_insert(0);
        *count += 1;
        if *count <= LISTED_MAX as u64 {
            self.listed.push(anomaly);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} source records, {} target records", self.source_records, self.target_records)?;
        if self.is_clean() {
            return write!(out, ": an exact copy");
        }
        for (kind, count) in &self.counts {
            write!(out, "\n{kind:?}: {count}")?;
            for one in self.listed.iter().filter(|one| one.kind == *kind) {
                write!(out, "\n  partition {}", one.partition)?;
                if let Some(offset) = one.source_offset {
                    write!(out, ", source offset {offset}")?;
                }
                if let Some(offset) = one.target_offset {
                    write!(out, ", target offset {offset}")?;
                }
                if let Some(id) = one.id {
                    write!(out, ", id {id}")?;
                }
            }
        }
        Ok(())
    }
}

/// Compares the source's committed log with the target's. Each log holds its partitions' records in
/// offset order; how partitions follow each other does not matter. Records on the target alone are
/// aborted reads if their id is one of `aborted_ids`, else phantoms.
#[must_use]
pub fn check(source: &[LogRecord], target: &[LogRecord], aborted_ids: &HashSet<u64>) -> Report {
    let mut report =
        Report { source_records: source.len() as u64, target_records: target.len() as u64, ..Report::default() };
    let source = by_partition(source);
    let target = by_partition(target);
    let partitions: HashSet<i32> = source.keys().chain(target.keys()).copied().collect();
    let mut partitions: Vec<i32> = partitions.into_iter().collect();
    partitions.sort_unstable();
    for partition in partitions {
        let source = source.get(&partition).map_or(&[][..], Vec::as_slice);
        let target = target.get(&partition).map_or(&[][..], Vec::as_slice);
        check_partition(source, target, aborted_ids, &mut report);
    }
    report
}

/// Which source offset became which target offset, per partition in order; `None` if the copy is
/// not exact. The reference for the offset map that Strait writes.
#[must_use]
pub fn offset_pairs(source: &[LogRecord], target: &[LogRecord]) -> Option<BTreeMap<i32, Vec<(i64, i64)>>> {
    if !check(source, target, &HashSet::new()).is_clean() {
        return None;
    }
    let mut target = by_partition(target);
    let pair = |(partition, records): (i32, Vec<LogRecord>)| {
        let copies = target.remove(&partition).unwrap_or_default();
        let pairs = records.iter().zip(&copies).map(|(record, copy)| (record.offset, copy.offset)).collect();
        (partition, pairs)
    };
    Some(by_partition(source).into_iter().map(pair).collect())
}

fn by_partition(log: &[LogRecord]) -> BTreeMap<i32, Vec<LogRecord>> {
    let mut partitions: BTreeMap<i32, Vec<LogRecord>> = BTreeMap::new();
    for record in log {
        partitions.entry(record.partition).or_default().push(*record);
    }
    partitions
}

fn check_partition(source: &[LogRecord], target: &[LogRecord], aborted_ids: &HashSet<u64>, report: &mut Report) {
    let equal = source.len() == target.len() && source.iter().zip(target).all(|(a, b)| a.content == b.content);
    if equal {
        return;
    }
    // Positions of each content on the source. The k-th copy on the target belongs to the k-th of
    // them.
    let mut places: HashMap<u128, VecDeque<usize>> = HashMap::new();
    for (place, record) in source.iter().enumerate() {
        places.entry(record.content).or_default().push_back(place);
    }
    let mut furthest: Option<usize> = None;
    for copy in target {
        let anomaly = |kind, original: Option<&LogRecord>| Anomaly {
            kind,
            partition: copy.partition,
            source_offset: original.map(|record| record.offset),
            target_offset: Some(copy.offset),
            id: copy.id,
        };
        let Some(left) = places.get_mut(&copy.content) else {
            let was_aborted = copy.id.is_some_and(|id| aborted_ids.contains(&id));
            let kind = if was_aborted { AnomalyKind::AbortedRead } else { AnomalyKind::Phantom };
            report.add(anomaly(kind, None));
            continue;
        };
        let Some(place) = left.pop_front() else {
            report.add(anomaly(AnomalyKind::Duplicate, None));
            continue;
        };
        if furthest.is_some_and(|furthest| place < furthest) {
            report.add(anomaly(AnomalyKind::Reordered, source.get(place)));
            continue;
        }
        furthest = Some(place);
    }
    let mut lost: Vec<usize> = places.into_values().flatten().collect();
    lost.sort_unstable();
    for record in lost.into_iter().filter_map(|place| source.get(place)) {
        report.add(Anomaly {
            kind: AnomalyKind::Lost,
            partition: record.partition,
            source_offset: Some(record.offset),
            target_offset: None,
            id: record.id,
        });
    }
}

#[cfg(test)]
#[path = "checker_test.rs"]
mod tests;
