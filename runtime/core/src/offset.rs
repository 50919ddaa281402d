//! Offsets as types, so that a source offset cannot be used as a target offset.

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

/// Leader epoch of a source partition (KIP-101); -1 if the broker or the message format has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaderEpoch(pub i32);

/// Identifies the owner of a lane that wrote a record. The upper 32 bits count owners: each new
/// owner writes one more than the largest count it has read. The lower 32 bits identify the
/// process, so that two owners with the same count still differ. Epochs have no order of their own,
/// because a process number says nothing about which owner came later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OwnerEpoch(pub u64);

impl SourceOffset {
    /// Returns the next offset.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl OwnerEpoch {
    /// Returns the epoch of a new owner in `process` that has read this epoch.
    #[must_use]
    pub fn following(self, process: u32) -> Self {
        Self((self.count().saturating_add(1) << 32) | u64::from(process))
    }

    /// Returns the number of owners so far, as far as this one knew. An owner that has read
    /// another's epoch has a larger count; two owners that have not read each other's can have the
    /// same.
    #[must_use]
    pub fn count(self) -> u64 {
        self.0 >> 32
    }

    /// Returns the number of the process that wrote the epoch.
    #[must_use]
    pub fn process(self) -> u32 {
        u32::try_from(self.0 & u64::from(u32::MAX)).unwrap_or(u32::MAX)
    }
}

impl LeaderEpoch {
    /// The leader epoch is not known.
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
