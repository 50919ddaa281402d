//! Keeps the offsets of consumer groups on the target: facts in, actions out.
//!
//! An offset is written only over one that the link has written itself, or where there is none.
//! Kafka gives no way to compare and set at once, so the link says in the control topic what it is
//! about to write (`Intent`), looks once more, and then writes. What it finds of its own later,
//! in whatever order a crash or a process that was stopped left it, it knows again; everything else
//! is somebody's who reads there: the group is the target's from then on. [`judge`] is the rule
//! for one partition, [`GroupSync`] what is known of all groups.

mod judge;
mod neighbour;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use judge::{Verdict, judge, resumes_at};
pub use neighbour::Neighbour;
pub use sync::{GroupSync, State};

use crate::control::SourcePlace;
use crate::map::{Answer, NoAnswer};
use crate::offset::TargetOffset;

/// A topic and the number of one of its partitions.
pub type Place = (Arc<str>, i32);

/// The offset that a group has committed in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOffset {
    /// The next offset that it reads.
    pub offset: i64,
    /// The metadata that the group has kept beside it.
    pub metadata: Arc<[u8]>,
}

/// All that a group has committed.
pub type Committed = BTreeMap<Place, GroupOffset>;

/// Where a group is to resume in a target partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The answer of the offset map.
    pub answer: Answer,
    /// The source offsets that it stands for.
    pub source: Vec<SourcePlace>,
    /// The metadata that the group has kept beside its source offset.
    pub metadata: Arc<[u8]>,
}

/// Why a group has no place in a target partition for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The offset map gives no answer.
    NoAnswer(NoAnswer),
    /// The target does not have the partition.
    NoTarget,
    /// The target gives no bounds of the partition, for this reason.
    Unreadable(Arc<str>),
    /// The offset map is not read yet.
    MapUnread,
    /// This other link writes to the topic too: a position in one of their sources says nothing of
    /// the records of the other, and each would take the other's offset for somebody's.
    SharedTarget(Arc<str>),
}

/// The places of a group on the target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Translated {
    /// Those with an answer.
    pub wishes: BTreeMap<Place, Wish>,
    /// Those without.
    pub lacks: BTreeMap<Place, Lack>,
}

impl Translated {
    /// Returns the topics that another link writes to as well, each with the link.
    pub fn shared(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.lacks.iter().filter_map(|((topic, _), lack)| match lack {
            Lack::SharedTarget(other) => Some((topic, other)),
            _ => None,
        })
    }

    fn is_shared(&self) -> bool {
        self.shared().next().is_some()
    }
}

/// The target's answer for one partition of a request that writes offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It has taken the offset.
    Taken,
    /// The group has members: it has not taken it.
    Active,
    /// It does not have the partition.
    NoPartition,
    /// The name is that of a group of another kind.
    OtherKind,
    /// The metadata that the group keeps beside its offset is too large there.
    MetadataTooLarge,
    /// A right is missing. The text says which.
    Denied(String),
    /// Nobody knows whether it has taken the offset, or will.
    Unknown(String),
}

/// An offset to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The target partition.
    pub place: Place,
    /// The offset.
    pub offset: TargetOffset,
    /// The metadata that the group keeps beside it.
    pub metadata: Arc<[u8]>,
}
