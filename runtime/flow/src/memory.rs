//! What a lane remembers from one generation to the next, in this process: never positions, only caution.

use std::collections::BTreeMap;
use std::time::Duration;

use strait_core::progress::Position;
use strait_core::{Event, LeaderEpoch, OwnerEpoch, PartitionKey, SourceOffset};

use crate::ports::PortError;
use crate::window::Pause;

/// First and longest wait before a partition is tried again that stands still for something to be mended at the clusters. It
/// grows, as each time some of its records are fetched for nothing.
const STOPPED_RETRY: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(600));

/// When something is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retry {
    pub at: Duration,
    pub after: Duration,
}

impl Retry {
    fn first(now: Duration, after: Duration) -> Self {
        Self { at: now + after, after }
    }

    /// After one that came to nothing, if there was one.
    pub fn next(last: Option<Self>, now: Duration, (first, longest): (Duration, Duration)) -> Self {
        last.map_or_else(|| Self::first(now, first), |last| last.again(now, longest))
    }

    /// Not before `now` and a wait twice as long as the last one.
    pub fn again(self, now: Duration, longest: Duration) -> Self {
        Self::first(now, (self.after * 2).min(longest))
    }
}

/// A step back, valid while progress stands where it stood when the truncation was found: once another owner has written
/// some, it is history. Owner epochs alone do not tell, as two owners that wrote nothing have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rewind {
    pub resume: SourceOffset,
    pub owner: OwnerEpoch,
    pub committed: SourceOffset,
    pub leader_epoch: LeaderEpoch,
}

impl Rewind {
    pub fn applies(&self, position: &Position) -> bool {
        position.owner.count() <= self.owner.count()
            && (position.next, position.leader_epoch) == (self.committed, self.leader_epoch)
    }
}

/// Where a partition stands still: all before `from` was queued, and progress can come to `to` over offsets without records.
#[derive(Debug)]
struct Stopped {
    from: SourceOffset,
    to: SourceOffset,
    event: Event,
    /// `None` where time mends nothing.
    retry: Option<Retry>,
    /// Other plugins serve than those that let it come to this.
    is_judged_anew: bool,
}

impl Stopped {
    fn pause(&self) -> Pause {
        self.retry.map_or(Pause::Stopped, |retry| Pause::Denied { retry_at: retry.at })
    }
}

#[derive(Debug, Default)]
pub(crate) struct LaneMemory {
    /// Records that the target refused, with its reason: dealt with by policy when they come again.
    doomed: BTreeMap<PartitionKey, BTreeMap<SourceOffset, (LeaderEpoch, String)>>,
    /// Records below this offset go one per request, so that a refusal names its record.
    careful: BTreeMap<PartitionKey, SourceOffset>,
    /// The target has acknowledged a record of this lane in this process.
    pub proven: bool,
    /// Partitions out of the flow for a while.
    pub stuck: BTreeMap<PartitionKey, Retry>,
    /// The lane is taken again to learn whether transactions can end by now: then those that are stuck are tried at once.
    pub asks_for_ends: bool,
    /// Where to read again after a truncation, when policy says `continue`.
    pub rewind: BTreeMap<PartitionKey, Rewind>,
    /// Partitions that stand still, or did and have not passed that place yet; their event was emitted.
    stopped: BTreeMap<PartitionKey, Stopped>,
    /// Quarantine does not answer: when it is asked again, and what came of the last time.
    pub quarantine: Option<(Retry, PortError)>,
    /// [`Chain::version`](crate::ports::Chain::version) when it was looked at last.
    turn: u64,
}

impl LaneMemory {
    /// A partition stands still: everything before `from` was queued, progress can come to `to`. Gives how, and whether the
    /// event is news.
    pub fn stop(
        &mut self,
        partition: &PartitionKey,
        from: SourceOffset,
        to: SourceOffset,
        event: &Event,
        now: Duration,
    ) -> (Pause, bool) {
        // It went on meanwhile, if it stands further on.
        let before = self.stopped.remove(partition).filter(|before| from <= before.to);
        let alike = before.as_ref().filter(|before| before.event.name() == event.name());
        let again = alike.filter(|before| !before.is_judged_anew).and_then(|before| before.retry);
        let retry = event.is_tried_again().then(|| Retry::next(again, now, STOPPED_RETRY));
        // Of what a broker says the words differ from time to time.
        let is_known = |before: &Stopped| before.event == *event || matches!(event, Event::QuarantineFailed { .. });
        let is_news = !alike.is_some_and(is_known);
        let stopped = Stopped { from, to: to.max(from), event: event.clone(), retry, is_judged_anew: false };
        let pause = stopped.pause();
        self.stopped.insert(partition.clone(), stopped);
        (pause, is_news)
    }

    /// Whether it stands still, or has not passed that place yet.
    pub fn is_stopped(&self, partition: &PartitionKey) -> bool {
        self.stopped.contains_key(partition)
    }

    /// How a partition whose next offset is `next` stands still, if it has come to that place. Before it, it has records to copy,
    /// which an earlier generation had read and did not commit; behind it another process could go on, so this one may too.
    pub fn stopped_at(&mut self, partition: &PartitionKey, next: SourceOffset, now: Duration) -> Option<Pause> {
        let stopped = self.stopped.get(partition)?;
        if next > stopped.to {
            self.stopped.remove(partition);
            return None;
        }
        let goes_on = stopped.is_judged_anew || stopped.retry.is_some_and(|retry| retry.at <= now);
        (stopped.from <= next && !goes_on).then(|| stopped.pause())
    }

    /// The partitions that stand still for what other plugins than those of this turn have said or let through. What the target
    /// has refused at that place is forgotten: it may be another record now.
    pub fn judged_anew(&mut self, turn: u64) -> Vec<PartitionKey> {
        if std::mem::replace(&mut self.turn, turn) == turn {
            return Vec::new();
        }
        let mut anew = Vec::new();
        for (partition, stopped) in &mut self.stopped {
            if !stopped.event.may_pass_with_other_plugins() {
                continue;
            }
            stopped.is_judged_anew = true;
            if let Some(doomed) = self.doomed.get_mut(partition) {
                doomed.split_off(&stopped.from);
            }
            anew.push(partition.clone());
        }
        anew
    }

    /// Quarantine does not answer. Each try holds up the lane, so there is one for all partitions, and seldom.
    pub fn quarantine_is_silent(&mut self, error: &PortError, now: Duration) {
        let again = self.quarantine.as_ref().map(|(retry, _)| *retry);
        self.quarantine = Some((Retry::next(again, now, STOPPED_RETRY), error.clone()));
    }

    /// The record itself is refused.
    pub fn doom(&mut self, partition: &PartitionKey, offset: SourceOffset, epoch: LeaderEpoch, reason: &str) {
        self.doomed.entry(partition.clone()).or_default().insert(offset, (epoch, reason.to_owned()));
    }

    /// Some record below `until` is refused, and it is not known which.
    pub fn suspect(&mut self, partition: &PartitionKey, until: SourceOffset) {
        let careful = self.careful.entry(partition.clone()).or_default();
        *careful = (*careful).max(until);
    }

    pub fn careful_until(&self, partition: &PartitionKey) -> SourceOffset {
        self.careful.get(partition).copied().unwrap_or_default()
    }

    /// Refused records of a batch. After an unclean election another record stands at the same offset: the epoch tells.
    pub fn doomed_in(
        &self,
        partition: &PartitionKey,
        epoch: LeaderEpoch,
        first: SourceOffset,
        last: SourceOffset,
    ) -> Vec<(SourceOffset, String)> {
        let Some(doomed) = self.doomed.get(partition) else {
            return Vec::new();
        };
        let of_epoch = doomed.range(first..=last).filter(|(_, (of, _))| *of == epoch);
        of_epoch.map(|(offset, (_, reason))| (*offset, reason.clone())).collect()
    }

    /// A partition's progress moved to `committed`: what was remembered of the records before it is history.
    pub fn forget_below(&mut self, partition: &PartitionKey, committed: SourceOffset) {
        if self.stopped.get(partition).is_some_and(|stopped| stopped.to < committed) {
            self.stopped.remove(partition);
        }
        if let Some(doomed) = self.doomed.get_mut(partition) {
            *doomed = doomed.split_off(&committed);
            if doomed.is_empty() {
                self.doomed.remove(partition);
            }
        }
        if self.careful.get(partition).is_some_and(|until| *until <= committed) {
            self.careful.remove(partition);
        }
    }
}
