//! The position of one source partition.

use std::cmp::Ordering;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::offset::{LeaderEpoch, OwnerEpoch, SourceOffset, TargetOffset};
use crate::topic::TopicId;

/// Most target partitions that a position names in its tails.
pub const TAILS_MAX: usize = 16;

/// The value of [`ProgressKey::Partition`](super::ProgressKey::Partition).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The next source offset to read. Everything before it is settled and committed.
    pub next: SourceOffset,
    /// Leader epoch of the last record before `next`, for the truncation check when reading
    /// resumes.
    #[serde(default)]
    pub leader_epoch: LeaderEpoch,
    /// The plugins that let the last record before `next` pass. The newest
    /// [`Border`](super::Border) tells from which offset on.
    pub generation: Arc<str>,
    /// The owner that wrote the position. It decides in at-least-once mode, where the order of the
    /// log does not.
    pub owner: OwnerEpoch,
    /// Letters of two of the owner's transactional ids: of the transaction that carries this
    /// position, and of the next transaction. Empty in at-least-once mode.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub ids: Arc<str>,
    /// Number of lanes of the link when the position was written.
    pub lanes: u32,
    /// Hash of the link's configuration when the position was written.
    pub config: Arc<str>,
    /// The first offset that the link began with. Not known of positions that an earlier version
    /// began, nor of those that were taken over from MirrorMaker 2: older records have copies too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<SourceOffset>,
    /// Counts of the records from `origin` to `next`. Known if `origin` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<Totals>,
    /// Where the copies of this partition end on the target.
    #[serde(flatten)]
    pub tails: Tails,
}

impl Position {
    /// Returns whether this position, written after `old`, replaces it. It does not if `old` has a
    /// later owner. Of two owners with the same count, the one that has come further wins, unless
    /// it began behind the place that the other has reached: nobody accounts for what is between.
    #[must_use]
    pub fn supersedes(&self, old: &Self) -> bool {
        match self.owner.count().cmp(&old.owner.count()) {
            Ordering::Less => false,
            Ordering::Greater => true,
            Ordering::Equal if self.begins_behind(old) => false,
            Ordering::Equal if old.begins_behind(self) => true,
            Ordering::Equal => self.next >= old.next,
        }
    }

    /// Returns whether the offsets between `other` and the origin of this position are in neither.
    fn begins_behind(&self, other: &Self) -> bool {
        self.origin.is_some_and(|origin| origin > other.next)
    }
}

/// Counts of the source records of a partition, cumulative from the position's origin.
/// Records that were read again count again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Records that were read and settled: all of the following but `copies`.
    pub seen: u64,
    /// Records with a copy on the target.
    pub kept: u64,
    /// Records that the plugins left out.
    pub dropped: u64,
    /// Records that are in quarantine.
    pub quarantined: u64,
    /// Records on the target.
    pub copies: u64,
}

/// The end of what one source partition has in one target partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredTail", into = "StoredTail")]
pub struct Tail {
    /// The target topic.
    pub topic: Arc<str>,
    /// Id of the incarnation of the target topic; unknown where the cluster gives none.
    pub id: TopicId,
    /// The target partition.
    pub partition: i32,
    /// The target offset after the last record of the source partition.
    pub end: TargetOffset,
}

/// A tail as it is stored: an array, as there are many.
#[derive(Serialize, Deserialize)]
struct StoredTail(Arc<str>, TopicId, i32, TargetOffset);

impl From<StoredTail> for Tail {
    fn from(StoredTail(topic, id, partition, end): StoredTail) -> Self {
        Self { topic, id, partition, end }
    }
}

impl From<Tail> for StoredTail {
    fn from(Tail { topic, id, partition, end }: Tail) -> Self {
        Self(topic, id, partition, end)
    }
}

/// The ends of what one source partition has on the target: of the [`TAILS_MAX`] target partitions
/// that were written last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tails {
    /// The one written last is the last.
    #[serde(default, rename = "tails", skip_serializing_if = "Vec::is_empty")]
    list: Vec<Tail>,
    /// There were more: the offset map has them.
    #[serde(default, rename = "tails_more", skip_serializing_if = "is_false")]
    more: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Tails {
    /// Returns the tails. The target partition written last is the last.
    #[must_use]
    pub fn list(&self) -> &[Tail] {
        &self.list
    }

    /// Returns whether there are target partitions besides those of the list.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.more
    }

    /// Records where a target partition ends now. A tail of another incarnation of the topic is
    /// gone with it; one whose id was not known is of this incarnation.
    pub fn set(&mut self, tail: Tail) {
        let is_former = |old: &Tail| old.topic == tail.topic && old.id.is_other_than(tail.id);
        let is_same = |old: &Tail| old.topic == tail.topic && old.partition == tail.partition;
        let id = match tail.id.is_known() {
            true => tail.id,
            false => self.list.iter().rfind(|old| is_same(old)).map_or(tail.id, |old| old.id),
        };
        self.list.retain(|old| !is_former(old) && !is_same(old));
        self.list.push(Tail { id, ..tail });
        if self.list.len() > TAILS_MAX {
            self.list.remove(0);
            self.more = true;
        }
    }

    /// Records that target partitions were written that are not in the list.
    pub fn leave_out(&mut self) {
        self.more = true;
    }
}
