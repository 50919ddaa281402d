//! Offsets as types, so that a source offset cannot be used where a target offset belongs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An offset in a source partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SourceOffset(pub i64);

/// An offset in a target partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TargetOffset(pub i64);

/// The leader epoch of a source partition; -1 where the broker or the message format gives none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaderEpoch(pub i32);

/// Which taking of a lane wrote something. The upper half counts: each owner writes one more than the largest it read. The
/// lower half names the process: two owners that read the same differ all the same. It has no order of its own, as a process's
/// number says nothing about who came later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OwnerEpoch(pub u64);

impl SourceOffset {
    /// The offset that follows this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl OwnerEpoch {
    /// What an owner writes that read this one, in a process with that number.
    #[must_use]
    pub fn following(self, process: u32) -> Self {
        Self((self.count().saturating_add(1) << 32) | u64::from(process))
    }

    /// How many owners there had been, as far as this one knew. An owner that read another's has a larger one; two that did not
    /// read each other's can have the same.
    #[must_use]
    pub fn count(self) -> u64 {
        self.0 >> 32
    }

    /// Number of the process that wrote it.
    #[must_use]
    pub fn process(self) -> u32 {
        u32::try_from(self.0 & u64::from(u32::MAX)).unwrap_or(u32::MAX)
    }
}

impl LeaderEpoch {
    /// No leader epoch known.
    pub const UNKNOWN: Self = Self(-1);
}

impl Default for LeaderEpoch {
    fn default() -> Self {
        Self::UNKNOWN
    }
}

impl fmt::Display for SourceOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TargetOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for LeaderEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for OwnerEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
