//! The rule for a group's offset in one target partition.

use super::Wish;
use crate::control::{GroupPartition, SourcePlace};
use crate::map::{Exactness, Why};
use crate::offset::TargetOffset;

/// The thing to do about a group's offset in a target partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Leave,
    /// The offset there is right and counts as written.
    Adopt(TargetOffset),
    /// Write this offset.
    Write(TargetOffset),
    /// The offset there is not the link's: somebody has read, or reads, on the target.
    Foreign(TargetOffset),
    /// The answer fell although no source offset of the group did: a fault, and nothing is written.
    Fell {
        /// The offset there.
        found: TargetOffset,
        /// The answer.
        answer: TargetOffset,
    },
}

/// Decides what to do about the offset `found` in a target partition of which `known` is recorded.
/// With `resync` whatever is found counts as the link's. With `again` the offset is written even if
/// it is there already: it would expire, or the group keeps something else beside it.
#[must_use]
pub fn judge(
    known: Option<&GroupPartition>,
    found: Option<TargetOffset>,
    wish: Option<&Wish>,
    (resync, again): (bool, bool),
) -> Verdict {
    let wanted = wish.map(|wish| resumes_at(known, wish));
    // Without an answer nothing is written where there is nothing: the log may be another one.
    let Some(found) = found else { return wanted.map_or(Verdict::Leave, Verdict::Write) };
    let is_ours = resync || wanted == Some(found) || known.is_some_and(|known| is_ours(known, found));
    if !is_ours {
        // Before the first answer nothing is known of the partition.
        return if wanted.is_none() && known.is_none() { Verdict::Leave } else { Verdict::Foreign(found) };
    }
    let (Some(wanted), Some(wish)) = (wanted, wish) else {
        return if again { Verdict::Write(found) } else { Verdict::Leave };
    };
    if wanted == found {
        let is_known = known.is_some_and(|known| known.written == Some(found) && known.source == wish.source);
        return match (is_known, again) {
            (_, true) => Verdict::Write(found),
            (true, false) => Verdict::Leave,
            (false, false) => Verdict::Adopt(found),
        };
    }
    let may_fall =
        resync || known.is_none_or(|known| known.written != Some(found) || fell(&known.source, &wish.source));
    if wanted < found && !may_fall {
        return Verdict::Fell { found, answer: wanted };
    }
    Verdict::Write(wanted)
}

/// Returns the offset at which a group resumes that has this wish. Where the offset map does not
/// reach back to the group any more, what was written for it when it did is better than the start
/// of the log.
#[must_use]
pub fn resumes_at(known: Option<&GroupPartition>, wish: &Wish) -> TargetOffset {
    let is_before_map = wish.answer.exactness == Exactness::Inexact(Why::BeforeMap);
    let stored = known.filter(|known| is_before_map && !fell(&known.source, &wish.source)).and_then(|k| k.written);
    stored.map_or(wish.answer.offset, |stored| stored.max(wish.answer.offset))
}

/// Returns whether the link has written this offset, or may have.
fn is_ours(known: &GroupPartition, found: TargetOffset) -> bool {
    let intended = known.intended.as_ref().map(|intent| intent.offset);
    known.written == Some(found) || intended == Some(found) || known.orphans.iter().any(|orphan| orphan.offset == found)
}

/// Returns whether a source offset fell, or is one of a partition that had none before: another
/// incarnation of the topic, or a further partition that feeds the target partition.
fn fell(before: &[SourcePlace], now: &[SourcePlace]) -> bool {
    now.iter().any(|now| {
        let before = before.iter().find(|before| before.partition == now.partition);
        before.is_none_or(|before| now.offset < before.offset)
    })
}
