//! The caution that a lane carries from one attempt to the next, in this process. Positions to
//! resume from are read from committed progress. The one exception is a rewind after a truncation,
//! which holds only while progress is unchanged.

mod keeping;
mod rewinds;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use strait_core::{Batch, Event, PartitionKey, RecordMark, SourceOffset};

use self::keeping::Keeping;
pub(crate) use self::rewinds::{Rewind, Rewinds};
use crate::partitions::{Pause, Suspects};
use crate::ports::Class;
use crate::retry::Retry;
use crate::spec::Limits;
use crate::status::Activity;

/// Minimum and maximum retry delay for a partition stopped by a cluster problem. Doubles per retry,
/// because every retry fetches records again.
const STOPPED_RETRY: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(600));

/// Why the source does not give a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// Our principal may not read it.
    Denied,
    /// It cannot be read now.
    Unavailable,
}

impl Unread {
    /// Returns why, by the class of the error.
    pub fn of(class: Class) -> Self {
        if class == Class::Stop { Self::Denied } else { Self::Unavailable }
    }

    /// Returns the activity that status shows for the partition.
    pub fn activity(self) -> Activity {
        match self {
            Self::Denied => Activity::Stopped,
            Self::Unavailable => Activity::Stuck,
        }
    }

    /// Returns the event that reports it.
    pub fn event(self, partition: PartitionKey, reason: String, retry_ms: u64) -> Event {
        match self {
            Self::Denied => Event::SourceDenied { partition, reason, retry_ms },
            Self::Unavailable => Event::SourceUnavailable { partition, reason, retry_ms },
        }
    }
}

/// Number of groups that suspects are divided into: each attempt costs a retake of the lane, each
/// group a round trip.
const GROUPS: usize = 16;

/// A partition whose records the target does not acknowledge.
#[derive(Clone, Debug)]
struct Stuck {
    retry: Retry,
    /// The target partitions that have left its records unacknowledged.
    at: BTreeSet<(Arc<str>, i32)>,
}

/// A stopped partition. Everything before `from` was queued, and progress can reach `to` over
/// offsets without records.
#[derive(Debug)]
struct Stopped {
    from: SourceOffset,
    to: SourceOffset,
    event: Event,
    /// `None` if no retry can help.
    retry: Option<Retry>,
    /// Another plugin chain judges now than the one under which it stopped.
    has_new_chain: bool,
}

impl Stopped {
    fn pause(&self) -> Pause {
        self.retry.map_or(Pause::Stopped, |retry| Pause::NeedsOperator { retry_at: retry.at })
    }
}

/// The caution that one attempt leaves to the next.
#[derive(Debug, Default)]
pub(crate) struct Caution {
    /// Records that the target refused, with the mark of each and the reason.
    /// Policy decides what happens to them when they come again.
    refused: BTreeMap<PartitionKey, BTreeMap<SourceOffset, (RecordMark, String)>>,
    suspects: BTreeMap<PartitionKey, Suspects>,
    stuck: BTreeMap<PartitionKey, Stuck>,
    /// The lane is taken again to learn whether its transactions can end by now. If they can,
    /// stuck partitions are retried at once.
    asks_for_ends: bool,
    /// Partitions that the source does not give: why, and the next retry. One stays here until
    /// something of it is read.
    unread: BTreeMap<PartitionKey, (Unread, Retry)>,
    /// Partitions that the source did not know the last time, and since when. One stays here until
    /// something of it is read.
    unknown: BTreeMap<PartitionKey, Duration>,
    rewinds: Rewinds,
    /// Things that are reported once in the life of this process.
    told: BTreeSet<(&'static str, Arc<str>)>,
    /// Most bytes of progress and map records in flight, if a larger batch of them was refused.
    control_bytes_max: Option<usize>,
    /// Partitions that are stopped, or were and have not passed that place yet.
    stopped: BTreeMap<PartitionKey, Stopped>,
    keeping: Keeping,
    /// [`Chain::version`](crate::ports::Chain::version) when it was last read.
    chain_version: u64,
}

/// Progress and map records.
impl Caution {
    /// The target refused progress or map records: the next attempt sends half as many bytes at a
    /// time, in the end one record. Returns how many bytes may have been in flight.
    pub fn control_refused(&mut self, limits: &Limits) -> usize {
        let bytes = self.control_bytes_max(limits);
        self.control_bytes_max = Some(bytes / 2);
        bytes
    }

    /// Returns how many bytes of progress and map records may be in flight.
    pub fn control_bytes_max(&self, limits: &Limits) -> usize {
        self.control_bytes_max.map_or(limits.control_bytes_max, |bytes| bytes.min(limits.control_bytes_max))
    }
}

/// Stopped partitions.
impl Caution {
    /// Records that a partition stops: everything before `from` was queued, and progress can reach
    /// `to`. Returns its pause, and whether the event is news.
    pub fn stop(
        &mut self,
        partition: &PartitionKey,
        from: SourceOffset,
        to: SourceOffset,
        event: &Event,
        now: Duration,
    ) -> (Pause, bool) {
        // If it stops further on, it has moved since, and this is another stop.
        let before = self.stopped.remove(partition).filter(|before| from <= before.to);
        let alike = before.as_ref().filter(|before| before.event.name() == event.name());
        let again = alike.filter(|before| !before.has_new_chain).and_then(|before| before.retry);
        // A lane that is taken again stops there again: no retry has failed by that.
        let retry = event.is_tried_again().then(|| Retry::pending_or_next(again, now, STOPPED_RETRY));
        // The wording of a cluster's error changes from one time to the next.
        let is_known = |before: &Stopped| before.event == *event || matches!(event, Event::QuarantineFailed { .. });
        let is_news = !alike.is_some_and(is_known);
        let (to, event) = (to.max(from), event.clone());
        let stopped = Stopped { from, to, event, retry, has_new_chain: false };
        let pause = stopped.pause();
        self.stopped.insert(partition.clone(), stopped);
        (pause, is_news)
    }

    /// Returns whether a partition is stopped, or has not passed the place where it was.
    pub fn is_stopped(&self, partition: &PartitionKey) -> bool {
        self.stopped.contains_key(partition)
    }

    /// Returns the pause for a partition that resumes at `next`, or `None` if it may run. A stopped
    /// partition runs up to the place where it stopped, and past it if another process has already
    /// moved on. A stuck one stays paused even if its retry is due: whether the target takes its
    /// records is asked before it joins again.
    pub fn pause_of(&mut self, partition: &PartitionKey, next: SourceOffset, now: Duration) -> Option<Pause> {
        let stuck = self.stuck.get(partition).map(|stuck| Pause::Waiting { retry_at: stuck.retry.at });
        let unread = self.unread.get(partition).map(|(_, retry)| Pause::Waiting { retry_at: retry.at });
        self.stop_of(partition, next, now).or(stuck).or(unread)
    }

    fn stop_of(&mut self, partition: &PartitionKey, next: SourceOffset, now: Duration) -> Option<Pause> {
        let stopped = self.stopped.get(partition)?;
        if next > stopped.to {
            self.stopped.remove(partition);
            return None;
        }
        let may_run = stopped.has_new_chain || stopped.retry.is_some_and(|retry| retry.is_due(now));
        (stopped.from <= next && !may_run).then(|| stopped.pause())
    }

    /// Returns the partitions that an earlier plugin chain stopped and that the chain of this
    /// version may judge again. What the target refused there is forgotten: the new chain may send
    /// another record.
    pub fn take_judged_anew(&mut self, chain_version: u64) -> Vec<PartitionKey> {
        if std::mem::replace(&mut self.chain_version, chain_version) == chain_version {
            return Vec::new();
        }
        let mut anew = Vec::new();
        for (partition, stopped) in &mut self.stopped {
            if !stopped.event.may_pass_with_other_plugins() {
                continue;
            }
            stopped.has_new_chain = true;
            if let Some(refused) = self.refused.get_mut(partition) {
                refused.split_off(&stopped.from);
            }
            anew.push(partition.clone());
        }
        anew
    }

    /// Makes a partition due for its retry, because an operator asks for that. What was learned of
    /// the place where it stopped is forgotten, so a stop at the same place is news. Returns the
    /// event of a stop that no retry ends: topics that are other ones are compared at a take only.
    pub fn retry_now(&mut self, partition: &PartitionKey, now: Duration) -> Option<Event> {
        if let Some(stopped) = self.stopped.get(partition) {
            match &stopped.event {
                event @ (Event::TopicRecreated { .. } | Event::TargetRecreated { found: Some(_), .. }) => {
                    return Some(event.clone());
                }
                // All its partitions ask at once.
                Event::QuarantineFailed { .. } => self.keeping.retry_now(),
                _ => {}
            }
            if let Some(refused) = self.refused.get_mut(partition) {
                refused.split_off(&stopped.from);
            }
            self.stopped.remove(partition);
        }
        if let Some(stuck) = self.stuck.get_mut(partition) {
            stuck.retry.at = now;
        }
        if let Some((_, retry)) = self.unread.get_mut(partition) {
            retry.at = now;
        }
        None
    }
}

/// Refused records.
impl Caution {
    /// Records that the target refuses this specific record.
    pub fn refuse(&mut self, partition: &PartitionKey, offset: SourceOffset, mark: RecordMark, reason: &str) {
        let refused = self.refused.entry(partition.clone()).or_default();
        refused.insert(offset, (mark, reason.to_owned()));
    }

    /// Records that one of so many records, the last of them below `until`, was refused, and it is
    /// not known which. The next groups are small enough to find it in few attempts.
    pub fn suspect(&mut self, partition: &PartitionKey, until: SourceOffset, records: usize) {
        let group = (records / GROUPS).max(1);
        self.suspects.insert(partition.clone(), Suspects { until, group });
    }

    /// Returns the suspects of a partition.
    pub fn suspects_of(&self, partition: &PartitionKey) -> Suspects {
        self.suspects.get(partition).copied().unwrap_or_default()
    }

    /// Returns the indexes of the refused records of a batch, and the reasons. The offset alone
    /// does not name a record: after an unclean election, or in a topic that was created anew,
    /// another one has it.
    pub fn refused_in(&self, partition: &PartitionKey, batch: &Batch) -> Vec<(usize, String)> {
        let refused = self.refused.get(partition);
        let range = batch.first_offset().zip(batch.last_offset());
        let Some((refused, (first, last))) = refused.zip(range) else {
            return Vec::new();
        };
        let index = |(offset, (mark, reason)): (&SourceOffset, &(RecordMark, String))| {
            // Compaction may have removed it since.
            let index = batch.iter().position(|record| record.offset == *offset && record.mark() == *mark)?;
            Some((index, reason.clone()))
        };
        refused.range(first..=last).filter_map(index).collect()
    }
}

/// Stuck partitions.
impl Caution {
    /// Returns the target partitions at which a partition is stuck, or `None` if it is not.
    pub fn stuck_at(&self, partition: &PartitionKey) -> Option<Vec<(Arc<str>, i32)>> {
        self.stuck.get(partition).map(|stuck| stuck.at.iter().cloned().collect())
    }

    /// Records that a target partition does not take the records of a partition. Returns the retry.
    pub fn mark_stuck(
        &mut self,
        partition: &PartitionKey,
        at: (Arc<str>, i32),
        now: Duration,
        bounds: (Duration, Duration),
    ) -> Retry {
        let before = self.stuck.remove(partition);
        // A second target partition at the same moment is no second failure.
        let retry = Retry::pending_or_next(before.as_ref().map(|stuck| stuck.retry), now, bounds);
        let mut places = before.map(|stuck| stuck.at).unwrap_or_default();
        places.insert(at);
        self.stuck.insert(partition.clone(), Stuck { retry, at: places });
        retry
    }

    /// Postpones the retry of a stuck partition after it failed. Returns the next retry, or `None`
    /// if the partition is not stuck.
    pub fn postpone(&mut self, partition: &PartitionKey, now: Duration, longest: Duration) -> Option<Retry> {
        let stuck = self.stuck.get_mut(partition)?;
        stuck.retry = stuck.retry.again(now, longest);
        Some(stuck.retry)
    }

    /// Makes the next attempt ask whether the transactions can end that stuck partitions hold up.
    pub fn ask_for_ends(&mut self, now: Duration, longest: Duration) {
        for stuck in self.stuck.values_mut().filter(|stuck| stuck.retry.is_due(now)) {
            stuck.retry = stuck.retry.again(now, longest);
        }
        self.asks_for_ends = true;
    }

    /// Records that the lane is taken. If the previous attempt asked whether its transactions can
    /// end and they can, stuck partitions are due at once.
    pub fn lane_taken(&mut self, all_can_end: bool, now: Duration) {
        if std::mem::take(&mut self.asks_for_ends) && all_can_end {
            self.stuck.values_mut().for_each(|stuck| stuck.retry.at = now);
            self.keeping.books_can_end(now);
        }
    }

    /// Forgets that a partition is stuck.
    pub fn unstick(&mut self, partition: &PartitionKey) {
        self.stuck.remove(partition);
    }
}

/// Events that would repeat.
impl Caution {
    /// Returns whether an event about this subject has not been told yet, and records that it is.
    pub fn tell_once(&mut self, event: &'static str, subject: Arc<str>) -> bool {
        self.told.insert((event, subject))
    }

    /// Returns whether an event about this subject has been told.
    pub fn has_told(&self, event: &'static str, subject: &str) -> bool {
        self.told.contains(&(event, Arc::from(subject)))
    }
}

/// Partitions that the source does not give.
impl Caution {
    /// Records that the source does not give a partition, and why. Returns its retry, and whether
    /// that is news.
    pub fn not_read(
        &mut self,
        partition: &PartitionKey,
        why: Unread,
        now: Duration,
        bounds: (Duration, Duration),
    ) -> (Retry, bool) {
        let before = self.unread.get(partition).filter(|(before, _)| *before == why);
        let retry = Retry::next(before.map(|(_, retry)| *retry), now, bounds);
        let is_news = before.is_none();
        self.unread.insert(partition.clone(), (why, retry));
        (retry, is_news)
    }

    /// Returns whether the source did not give a partition the last time.
    pub fn is_unread(&self, partition: &PartitionKey) -> bool {
        self.unread.contains_key(partition)
    }

    /// Returns the activity that status shows for a partition that the source did not give.
    pub fn unread_activity(&self, partition: &PartitionKey) -> Option<Activity> {
        self.unread.get(partition).map(|(why, _)| why.activity())
    }

    /// Records that the source does not know a partition. Returns whether that is to be doubted:
    /// it was not said before, or `after` is not over since.
    pub fn doubts_gone(&mut self, partition: &PartitionKey, now: Duration, after: Duration) -> bool {
        let since = self.unknown.entry(partition.clone()).or_insert(now);
        now.saturating_sub(*since) < after
    }

    /// Records that the source knows a topic.
    pub fn knows(&mut self, topic: &str) {
        self.unknown.retain(|partition, _| *partition.topic != *topic);
    }

    /// Records that something of a partition was read. Returns whether it was not before.
    pub fn read(&mut self, partition: &PartitionKey) -> bool {
        if !self.unknown.is_empty() {
            self.unknown.remove(partition);
        }
        !self.unread.is_empty() && self.unread.remove(partition).is_some()
    }
}

/// Truncations, progress.
impl Caution {
    /// Returns the truncated partitions that are to be read again.
    pub fn rewinds(&mut self) -> &mut Rewinds {
        &mut self.rewinds
    }

    /// Forgets what is below committed progress.
    pub fn forget_below(&mut self, partition: &PartitionKey, committed: SourceOffset) {
        if self.stopped.get(partition).is_some_and(|stopped| stopped.to < committed) {
            self.stopped.remove(partition);
        }
        if let Some(refused) = self.refused.get_mut(partition) {
            *refused = refused.split_off(&committed);
            if refused.is_empty() {
                self.refused.remove(partition);
            }
        }
        if self.suspects.get(partition).is_some_and(|suspects| suspects.until <= committed) {
            self.suspects.remove(partition);
        }
    }
}

#[cfg(test)]
mod tests {
    use strait_core::{BatchBuilder, LeaderEpoch, TimestampType, TopicId};

    use super::*;

    #[test]
    fn a_refused_record_is_told_from_another_one_at_its_offset() {
        let batch = |value: &[u8]| {
            let mut builder = BatchBuilder::new("t".into(), 0, TimestampType::Create, LeaderEpoch(0));
            builder.push(SourceOffset(4), 1, None, Some(b"before"));
            builder.push(SourceOffset(7), 1, None, Some(value));
            builder.build()
        };
        let key = PartitionKey { topic: "t".into(), topic_id: TopicId([1; 16]), partition: 0 };
        let (refused, created_anew) = (batch(b"refused-one"), batch(b"another-one"));
        let mut caution = Caution::default();
        caution.refuse(&key, SourceOffset(7), refused.get(1).unwrap().mark(), "why");
        assert_eq!(caution.refused_in(&key, &refused), [(1, "why".to_owned())]);
        assert!(caution.refused_in(&key, &created_anew).is_empty());
    }

    #[test]
    fn the_culprit_among_ten_thousand_is_alone_at_the_fourth_attempt() {
        let key = PartitionKey { topic: "t".into(), topic_id: TopicId([1; 16]), partition: 0 };
        let mut caution = Caution::default();
        let mut groups = vec![10_000];
        while groups.last().is_some_and(|group| *group > 1) {
            // The group of the culprit is refused as a whole.
            caution.suspect(&key, SourceOffset(50_000), *groups.last().unwrap());
            groups.push(caution.suspects_of(&key).group);
        }
        assert_eq!(groups, [10_000, 625, 39, 2, 1]);
    }

    #[test]
    fn an_operators_retry_forgets_the_stop_but_not_that_topics_are_other_ones() {
        let (now, at) = (Duration::from_secs(1), SourceOffset(3));
        let key = PartitionKey { topic: "t".into(), topic_id: TopicId([1; 16]), partition: 0 };
        let mut caution = Caution::default();
        let denied = Event::TargetDenied { partition: key.clone(), target_topic: "t".into(), reason: "no".to_owned() };
        assert!(caution.stop(&key, at, at, &denied, now).1);
        assert!(!caution.stop(&key, at, at, &denied, now).1, "known");
        assert_eq!(caution.retry_now(&key, now), None);
        assert_eq!(caution.pause_of(&key, at, now), None);
        assert!(caution.stop(&key, at, at, &denied, now).1, "news again");
        let found = TopicId([2; 16]);
        let recreated = Event::TopicRecreated { partition: key.clone(), found, position: at };
        caution.stop(&key, at, at, &recreated, now);
        assert_eq!(caution.retry_now(&key, now), Some(recreated));
        assert!(caution.is_stopped(&key));
    }
}
