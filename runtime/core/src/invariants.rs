//! The invariants of every copy, as functions. The simulation checks them after every commit,
//! property tests check them on generated histories, and the runtime checks those that cost
//! nothing.
//!
//! They do not depend on how records are copied. Each checks one source partition or one map
//! record, and returns the violation.

use std::collections::BTreeSet;

use crate::map::MapRecord;
use crate::offset::{LeaderEpoch, SourceOffset, TargetOffset};
use crate::progress::Position;
use crate::topic::PartitionKey;

/// A broken invariant. Always a bug, never an operating condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Progress passed a record that is not on the target.
    #[error("{partition}: progress passed to {next}, but the record at offset {offset} is not on the target")]
    Gap {
        /// The source partition.
        partition: PartitionKey,
        /// Offset of the missing record.
        offset: SourceOffset,
        /// The progress that passed it.
        next: SourceOffset,
    },
    /// A record is committed twice in a target partition.
    #[error("{partition}: offset {} (copy {}) is committed twice", place.offset, place.copy)]
    Duplicate {
        /// The source partition.
        partition: PartitionKey,
        /// The record.
        place: Place,
    },
    /// A record follows a later record of its source partition.
    #[error("{partition}: offset {} (copy {}) follows offset {} (copy {})", place.offset, place.copy, last.offset, last.copy)]
    Reorder {
        /// The source partition.
        partition: PartitionKey,
        /// The record.
        place: Place,
        /// The record before it in the target partition.
        last: Place,
    },
    /// Committed data is not covered by progress: a takeover would copy it again.
    #[error("{partition}: offset {offset} is committed, but progress is {next}")]
    Ahead {
        /// The source partition.
        partition: PartitionKey,
        /// The record.
        offset: SourceOffset,
        /// The progress committed with it.
        next: SourceOffset,
    },
    /// Progress went back.
    #[error("{partition}: progress fell to {new} (owner {new_owner})")]
    ProgressFell {
        /// The source partition.
        partition: PartitionKey,
        /// The lower progress.
        new: SourceOffset,
        /// Owner epoch of the writer.
        new_owner: u64,
    },
    /// Progress passed a record that is still in flight.
    #[error("{partition}: progress {next} passes offset {unsettled}, which is not settled")]
    Unsettled {
        /// The source partition.
        partition: PartitionKey,
        /// Offset of the first record in flight.
        unsettled: SourceOffset,
        /// The progress.
        next: SourceOffset,
    },
    /// Progress passed a refused record that is not in quarantine.
    #[error("{partition}: progress passed to {next}, but the refused record at offset {offset} is not in quarantine")]
    NotQuarantined {
        /// The source partition.
        partition: PartitionKey,
        /// The record.
        offset: SourceOffset,
        /// The progress.
        next: SourceOffset,
    },
    /// Progress passed a record at which its partition must stop.
    #[error("{partition}: progress passed to {next}, but the partition must stop at offset {offset}")]
    PassedStop {
        /// The source partition.
        partition: PartitionKey,
        /// The record.
        offset: SourceOffset,
        /// The progress.
        next: SourceOffset,
    },
    /// The offset map is out of order or wrong.
    #[error("{partition}: the offset map is wrong at source offset {offset}: {reason}")]
    Map {
        /// The source partition.
        partition: PartitionKey,
        /// Source offset of the wrong entry.
        offset: SourceOffset,
        /// The reason.
        reason: String,
    },
}

/// Place of a copied record in its source partition. The order is that of the source log: an
/// unclean election starts a new leader epoch at lower offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Leader epoch of the record.
    pub leader_epoch: LeaderEpoch,
    /// Offset of the record.
    pub offset: SourceOffset,
    /// Number of the copy, counted from 0.
    pub copy: u32,
}

/// The state of a source offset that progress passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing is expected on the target: no record, a dropped record, or a reported loss.
    Nothing,
    /// Every copy is committed.
    Copied,
    /// A copy is not committed.
    Missing,
    /// Refused and in quarantine.
    Quarantined,
    /// Refused and not in quarantine.
    Lost,
    /// The partition must stop here.
    Stops,
}

/// Checks that the records of a source partition are in a target partition in source order and once
/// each: `place` may follow `last`.
///
/// # Errors
/// [`Violation::Duplicate`], [`Violation::Reorder`].
pub fn follows(partition: &PartitionKey, last: Option<Place>, place: Place) -> Result<(), Violation> {
    let Some(last) = last else { return Ok(()) };
    let partition = partition.clone();
    if place == last {
        return Err(Violation::Duplicate { partition, place });
    }
    if place < last {
        return Err(Violation::Reorder { partition, place, last });
    }
    Ok(())
}

/// Checks that every offset from `old` to `next`, which progress passes, is accounted for.
///
/// # Errors
/// [`Violation::Gap`], [`Violation::NotQuarantined`], [`Violation::PassedStop`].
pub fn accounted(
    partition: &PartitionKey,
    old: SourceOffset,
    next: SourceOffset,
    mut fate: impl FnMut(SourceOffset) -> Fate,
) -> Result<(), Violation> {
    let mut offset = old;
    while offset < next {
        let partition = || partition.clone();
        match fate(offset) {
            Fate::Nothing | Fate::Copied | Fate::Quarantined => {}
            Fate::Missing => return Err(Violation::Gap { partition: partition(), offset, next }),
            Fate::Lost => return Err(Violation::NotQuarantined { partition: partition(), offset, next }),
            Fate::Stops => return Err(Violation::PassedStop { partition: partition(), offset, next }),
        }
        offset = offset.next();
    }
    Ok(())
}

/// Checks that no committed record is at or past the progress committed with it.
///
/// # Errors
/// [`Violation::Ahead`].
pub fn covered(partition: &PartitionKey, last: SourceOffset, next: Option<SourceOffset>) -> Result<(), Violation> {
    let next = next.unwrap_or_default();
    if last < next {
        return Ok(());
    }
    Err(Violation::Ahead { partition: partition.clone(), offset: last, next })
}

/// Checks that progress never goes back: a later owner has a larger count, and the same owner never
/// returns to a lower offset.
///
/// # Errors
/// [`Violation::ProgressFell`].
pub fn advances(partition: &PartitionKey, old: Option<&Position>, new: &Position) -> Result<(), Violation> {
    if old.is_none_or(|old| new.supersedes(old)) {
        return Ok(());
    }
    Err(Violation::ProgressFell { partition: partition.clone(), new: new.next, new_owner: new.owner.0 })
}

/// Checks that progress does not pass the first record in flight. Cheap enough for every commit.
///
/// # Errors
/// [`Violation::Unsettled`].
pub fn behind_unsettled(
    partition: &PartitionKey,
    next: SourceOffset,
    unsettled: Option<SourceOffset>,
) -> Result<(), Violation> {
    match unsettled {
        Some(unsettled) if unsettled < next => {
            Err(Violation::Unsettled { partition: partition.clone(), unsettled, next })
        }
        _ => Ok(()),
    }
}

/// Checks the order of map records: a record begins at or after the end of the previous one (of the
/// same partition and target topic), its runs ascend, and they stay within the range of the record.
/// Only where it continues the previous one may it begin with a further copy of the record before.
///
/// # Errors
/// [`Violation::Map`].
pub fn map_ascends(last_next: Option<SourceOffset>, record: &MapRecord) -> Result<(), Violation> {
    let wrong = |offset: SourceOffset, reason: &str| Violation::Map {
        partition: record.partition.clone(),
        offset,
        reason: reason.to_owned(),
    };
    if last_next.is_some_and(|last| record.first < last) {
        return Err(wrong(record.first, "begins before the end of the previous record"));
    }
    let continues = last_next == Some(record.first);
    let mut last = SourceOffset(record.first.0 - i64::from(continues));
    for run in &record.runs {
        // Copies of one source record are separate runs with the same source offset.
        if run.source < last {
            return Err(wrong(run.source, "runs do not ascend"));
        }
        if run.count == 0 || run.source.0 + i64::from(run.count) > record.next.0 {
            return Err(wrong(run.source, "a run is empty or exceeds the range of its record"));
        }
        last = SourceOffset(run.source.0 + i64::from(run.count) - 1);
    }
    Ok(())
}

/// Checks that every entry of the map records names a record of `data`, and that no record of
/// `data` is missing. `data` holds source offset, target partition and target offset of what the
/// same commit wrote for this partition and topic.
///
/// # Errors
/// [`Violation::Map`].
pub fn map_exact<'a>(
    partition: &PartitionKey,
    records: impl IntoIterator<Item = &'a MapRecord>,
    data: &BTreeSet<(SourceOffset, i32, TargetOffset)>,
) -> Result<(), Violation> {
    let wrong = |offset: SourceOffset, reason: String| Violation::Map { partition: partition.clone(), offset, reason };
    let mut left = data.clone();
    for record in records {
        for run in &record.runs {
            for step in 0..i64::from(run.count) {
                let source = SourceOffset(run.source.0 + step);
                let target = TargetOffset(run.target.0 + step);
                if !left.remove(&(source, run.target_partition, target)) {
                    let reason = format!("the map has target partition {} offset {target}", run.target_partition);
                    return Err(wrong(source, reason));
                }
            }
        }
    }
    match left.first() {
        Some((source, _, _)) => Err(wrong(*source, "a committed record is missing".to_owned())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::map::{MapBuilder, MapKind};
    use crate::offset::OwnerEpoch;
    use crate::topic::TopicId;

    fn key() -> PartitionKey {
        PartitionKey { topic: "orders".into(), topic_id: TopicId([1; 16]), partition: 0 }
    }

    fn place(leader_epoch: i32, offset: i64, copy: u32) -> Place {
        Place { leader_epoch: LeaderEpoch(leader_epoch), offset: SourceOffset(offset), copy }
    }

    #[test]
    fn a_duplicate_differs_from_a_reorder_and_a_new_epoch_may_begin_lower() {
        assert_eq!(follows(&key(), None, place(0, 5, 0)), Ok(()));
        assert_eq!(follows(&key(), Some(place(0, 5, 0)), place(0, 5, 1)), Ok(()));
        assert_eq!(follows(&key(), Some(place(0, 5, 0)), place(1, 3, 0)), Ok(()));
        let again = follows(&key(), Some(place(0, 5, 0)), place(0, 5, 0));
        assert!(matches!(again, Err(Violation::Duplicate { .. })));
        let back = follows(&key(), Some(place(1, 3, 0)), place(0, 6, 0));
        assert!(matches!(back, Err(Violation::Reorder { .. })));
    }

    #[test]
    fn progress_passes_only_accounted_offsets() {
        let ask = |bad: Fate| {
            let fate = |o: SourceOffset| if o.0 == 7 { bad } else { Fate::Copied };
            accounted(&key(), SourceOffset(5), SourceOffset(9), fate)
        };
        assert_eq!(ask(Fate::Quarantined), Ok(()));
        assert!(matches!(ask(Fate::Missing), Err(Violation::Gap { offset: SourceOffset(7), .. })));
        assert!(matches!(ask(Fate::Lost), Err(Violation::NotQuarantined { .. })));
        assert!(matches!(ask(Fate::Stops), Err(Violation::PassedStop { .. })));
        assert!(covered(&key(), SourceOffset(8), Some(SourceOffset(9))).is_ok());
        assert!(covered(&key(), SourceOffset(9), Some(SourceOffset(9))).is_err());
        assert!(behind_unsettled(&key(), SourceOffset(9), Some(SourceOffset(9))).is_ok());
        assert!(behind_unsettled(&key(), SourceOffset(9), Some(SourceOffset(8))).is_err());
        let position = |owner: u64, next| Position {
            next: SourceOffset(next),
            leader_epoch: LeaderEpoch(0),
            generation: "none".into(),
            owner: OwnerEpoch(owner << 32),
            ids: "".into(),
            lanes: 1,
            config: "c".into(),
            ..Position::default()
        };
        assert!(advances(&key(), Some(&position(1, 9)), &position(2, 3)).is_ok());
        assert!(advances(&key(), Some(&position(1, 9)), &position(1, 8)).is_err());
    }

    proptest! {
        /// The builder's records are exact and ascending; with one entry moved, removed or added
        /// they are not.
        #[test]
        fn every_defect_of_a_map_is_detected(
            steps in prop::collection::vec((0i64..3, 0i32..3, 1i64..4), 1..60),
            broken in 0usize..3,
            at in any::<prop::sample::Index>(),
        ) {
            let mut builder = MapBuilder::default();
            let mut targets = [0i64; 3];
            let (mut source, mut data) = (0i64, BTreeSet::new());
            for (gap, partition, jump) in steps {
                source += gap;
                let target = &mut targets[partition as usize];
                *target += jump;
                builder.push(SourceOffset(source), partition, TargetOffset(*target));
                data.insert((SourceOffset(source), partition, TargetOffset(*target)));
            }
            let next = SourceOffset(source + 1);
            let whole = MapRecord {
                partition: key(),
                target_topic: "t".into(),
                target_id: TopicId([2; 16]),
                kind: MapKind::Copy,
                first: SourceOffset(0),
                next,
                runs: Vec::new(),
            };
            let mut records = builder.finish(&whole, usize::MAX);
            prop_assert_eq!(map_exact(&key(), &records, &data), Ok(()));
            prop_assert_eq!(map_ascends(None, &records[0]), Ok(()));
            prop_assert!(map_ascends(Some(SourceOffset(1)), &records[0]).is_err());
            let runs = &mut records[0].runs;
            let at = at.index(runs.len());
            match broken {
                0 => runs[at].target.0 += 1_000,
                1 => { runs.remove(at); }
                _ => runs[at].count += 1,
            }
            prop_assert!(map_exact(&key(), &records, &data).is_err());
        }
    }
}
