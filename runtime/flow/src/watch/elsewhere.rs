//! Lanes that this process does not have. Other processes watch theirs; a lane that nobody has is
//! found by its progress, which does not grow.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use strait_core::{LaneId, PartitionKey, SourceOffset};

#[derive(Debug)]
struct Lane {
    /// Where its progress ends, and since when.
    end: i64,
    since: Duration,
    /// Whether it has grown while it was not this process's.
    has_moved: bool,
    /// The committed positions up to that end, once they are read.
    positions: Option<BTreeMap<PartitionKey, SourceOffset>>,
}

/// Knows the lanes of other processes, or of none.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    lanes: BTreeMap<LaneId, Lane>,
    failed: BTreeMap<LaneId, String>,
}

impl Elsewhere {
    /// Takes the ends of all progress. Returns the lanes whose positions are to be read up to an
    /// end, because it has not moved for `quiet_after`.
    pub fn look(
        &mut self,
        ends: BTreeMap<LaneId, Result<i64, String>>,
        mine: &BTreeSet<LaneId>,
        now: Duration,
        quiet_after: Duration,
    ) -> Vec<(LaneId, i64)> {
        self.failed.clear();
        self.lanes.retain(|lane, _| !mine.contains(lane));
        let mut to_read = Vec::new();
        for (number, end) in ends {
            let end = match end {
                Ok(end) => end,
                Err(reason) => {
                    self.failed.insert(number, reason);
                    continue;
                }
            };
            if mine.contains(&number) {
                continue;
            }
            let lane = self.lanes.entry(number).or_insert(Lane { end, since: now, has_moved: false, positions: None });
            if lane.end != end {
                *lane = Lane { end, since: now, has_moved: true, positions: None };
            }
            if lane.positions.is_none() && now.saturating_sub(lane.since) >= quiet_after {
                to_read.push((number, end));
            }
        }
        to_read
    }

    /// Takes the positions of a lane up to an end.
    pub fn read(&mut self, lane: LaneId, end: i64, positions: BTreeMap<PartitionKey, SourceOffset>) {
        if let Some(lane) = self.lanes.get_mut(&lane).filter(|lane| lane.end == end) {
            lane.positions = Some(positions);
        }
    }

    /// Returns whether a lane writes no progress and its positions are known.
    pub fn is_quiet(&self, lane: LaneId) -> bool {
        self.lanes.get(&lane).is_some_and(|lane| lane.positions.is_some())
    }

    /// Returns whether another process is known to have moved a lane.
    pub fn has_moved(&self, lane: LaneId) -> bool {
        self.lanes.get(&lane).is_some_and(|lane| lane.has_moved)
    }

    /// Returns the committed position of a partition of a quiet lane.
    pub fn position(&self, lane: LaneId, key: &PartitionKey) -> Option<SourceOffset> {
        let positions = self.lanes.get(&lane)?.positions.as_ref()?;
        key.entry_of(positions).copied()
    }

    /// Returns why the ends of lanes are not known.
    pub fn failed(&self) -> BTreeMap<LaneId, String> {
        self.failed.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_quiet_while_its_progress_does_not_grow_and_its_positions_are_read() {
        let s = Duration::from_secs(1);
        let mut lanes = Elsewhere::default();
        let look = |lanes: &mut Elsewhere, end: i64, at: u32, mine: &[LaneId]| {
            let mine = mine.iter().copied().collect();
            lanes.look(BTreeMap::from([(LaneId(0), Ok(end)), (LaneId(1), Ok(3))]), &mine, s * at, s * 10)
        };
        let one = [LaneId(1)];
        assert_eq!(look(&mut lanes, 7, 0, &one), []);
        assert!(!lanes.has_moved(LaneId(0)), "nothing is known yet");
        assert_eq!(look(&mut lanes, 8, 5, &one), []);
        assert_eq!(look(&mut lanes, 8, 15, &one), [(LaneId(0), 8)]);
        assert!(lanes.has_moved(LaneId(0)) && !lanes.has_moved(LaneId(1)));
        assert!(!lanes.is_quiet(LaneId(0)));
        lanes.read(LaneId(0), 7, BTreeMap::new());
        assert!(!lanes.is_quiet(LaneId(0)), "positions up to another end");
        lanes.read(LaneId(0), 8, BTreeMap::new());
        assert!(lanes.is_quiet(LaneId(0)));
        assert_eq!(look(&mut lanes, 8, 20, &one), []);
        assert_eq!(look(&mut lanes, 9, 25, &one), []);
        assert!(!lanes.is_quiet(LaneId(0)), "somebody moves it");
        assert_eq!(look(&mut lanes, 9, 35, &one), [(LaneId(0), 9)]);
        assert_eq!(look(&mut lanes, 9, 40, &[LaneId(0), LaneId(1)]), [], "it is ours by now");
    }
}
