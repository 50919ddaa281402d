//! What a lane does when the source has a gap, a topic was recreated, or the target refuses or does not answer.

use std::sync::Arc;
use std::time::Duration;

use strait_core::{Event, LeaderEpoch, PartitionKey, SourceOffset, TopicId};

use crate::lane::{CONTROL_STREAM, Lane, LaneError};
use crate::memory::{Retry, Rewind};
use crate::ports::{ReadFailure, SourceTopic, Token};
use crate::spec::OnGap;
use crate::window::{PartitionWindow, Pause};

/// How often the periodic work is done.
const TICK: Duration = Duration::from_millis(200);

/// Wait before a source partition that failed for an unclear reason is read again.
const READ_RETRY: Duration = Duration::from_secs(1);

/// With more transactional ids than this whose transactions cannot end, a stuck partition is only tried when they have: each
/// try that fails costs another one or two.
const UNFENCED_TRIED_MAX: usize = 2;

/// Wait before it is tried again whether the permission to read has been given.
const DENIED_RETRY: Duration = Duration::from_secs(30);

impl Lane<'_> {
    pub(crate) async fn on_read_failure(&mut self, stream: u32, failure: ReadFailure) -> Result<(), LaneError> {
        let Some(partition) = self.partitions.get(stream as usize) else {
            return Ok(());
        };
        let key = partition.key.clone();
        if let ReadFailure::Denied(reason) = failure {
            return self.on_denied(stream, reason);
        }
        if let ReadFailure::Other(reason) = failure {
            tracing::warn!(link = %self.spec.link, partition = %key, %reason, "reading failed, will try again");
            return self.pause_reading(stream);
        }
        let expected = partition.expected;
        let ids = self.source.topic_ids(std::slice::from_ref(&key.topic)).await?;
        match ids.get(&key.topic) {
            None => {
                return self.stop(stream, Event::SourceGone { partition: key, position: expected }).await;
            }
            Some(found) if is_other(key.topic_id, *found) => return self.on_recreated(stream, *found).await,
            Some(_) => {}
        }
        let bounds = self.source.bounds(std::slice::from_ref(&key)).await?;
        let Some(bounds) = bounds.get(&key).copied() else {
            return self.stop(stream, Event::SourceGone { partition: key, position: expected }).await;
        };
        if expected < bounds.log_start {
            let event = Event::RetentionOverrun { partition: key, expected, log_start: bounds.log_start };
            return self.on_gap(stream, event, bounds.log_start).await;
        }
        if expected > bounds.high_watermark || failure == ReadFailure::LogTruncation {
            let end = bounds.high_watermark.min(expected);
            return self.on_gap(stream, Event::Truncated { partition: key, expected, log_end: end }, end).await;
        }
        // The log moved between the failure and the question: the place exists after all.
        self.pause_reading(stream)
    }

    fn on_denied(&mut self, stream: u32, reason: String) -> Result<(), LaneError> {
        let Some(partition) = self.partitions.get_mut(stream as usize) else {
            return Ok(());
        };
        partition.pause = Some(Pause::Denied { retry_at: self.now + DENIED_RETRY });
        let key = partition.key.clone();
        self.deps.status.set(&key, partition.committed, partition.activity());
        let retry_ms = u64::try_from(DENIED_RETRY.as_millis()).unwrap_or(u64::MAX);
        self.emit(Event::SourceDenied { partition: key, reason, retry_ms });
        Ok(())
    }

    pub(crate) fn pause_reading(&mut self, stream: u32) -> Result<(), LaneError> {
        let Some(partition) = self.partitions.get_mut(stream as usize) else {
            return Ok(());
        };
        partition.pause = Some(Pause::Waiting { retry_at: self.now + READ_RETRY });
        Ok(())
    }

    /// Records are gone, or others stand in their place: stop, or continue at `resume`, as policy says.
    async fn on_gap(&mut self, stream: u32, event: Event, resume: SourceOffset) -> Result<(), LaneError> {
        if self.spec.policies.on_gap == OnGap::Stop {
            return self.stop(stream, event).await;
        }
        self.emit(event);
        let Some(partition) = self.partitions.get_mut(stream as usize) else {
            return Ok(());
        };
        let key = partition.key.clone();
        if resume < partition.queued_end() {
            // Truncated below what was copied or waits to be: the books of this generation cannot go back. The next one can.
            let (owner, committed) = (self.owner, partition.committed);
            let leader_epoch = partition.epoch_before(committed);
            self.memory.rewind.insert(key, Rewind { resume, owner, committed, leader_epoch });
            return Err(LaneError::Delivery("a source partition was truncated below the copied offset".to_owned()));
        }
        partition.expected = resume;
        partition.moved_to = resume;
        partition.read_under(SourceOffset(resume.0.saturating_sub(1)), LeaderEpoch::UNKNOWN);
        partition.pass_moved();
        self.chain.forget(&key);
        self.emit(Event::Resumed { partition: key, resumed: resume });
        self.start_reading(&[stream]).await
    }

    /// A topic of the same name has another id: the old partition ends; policy says whether the new one is copied.
    async fn on_recreated(&mut self, stream: u32, found: TopicId) -> Result<(), LaneError> {
        let Some(partition) = self.partitions.get(stream as usize) else {
            return Ok(());
        };
        let old = partition.key.clone();
        let source_partitions = partition.source_partitions;
        let event = Event::TopicRecreated { partition: old.clone(), found, position: partition.expected };
        self.stop(stream, event).await?;
        if self.spec.policies.on_gap == OnGap::Stop {
            return Ok(());
        }
        let key = PartitionKey { topic_id: found, ..old };
        self.add_first_seen(vec![(key, source_partitions)], true).await
    }

    /// The topics of the link were looked up again.
    pub(crate) async fn on_topics(&mut self, topics: &[SourceTopic]) -> Result<(), LaneError> {
        let mut new = Vec::new();
        // Ids are asked for anew: the list may be older than what this lane, or the owner before it, has seen.
        for (key, partitions) in self.mine(topics).await? {
            let Some(stream) = self.by_place.get(&(Arc::clone(&key.topic), key.partition)).copied() else {
                new.push((key, partitions));
                continue;
            };
            let Some(window) = self.partitions.get_mut(stream as usize) else {
                continue;
            };
            window.source_partitions = window.source_partitions.max(partitions);
            // Also where it stands still already: the operator must hear that what it waits for is gone.
            if is_other(window.key.topic_id, key.topic_id) {
                self.on_recreated(stream, key.topic_id).await?;
            }
        }
        self.place(new).await
    }

    /// Takes in partitions that have no progress yet: their first offset is committed before anything is fetched.
    pub(crate) async fn add_first_seen(
        &mut self,
        new: Vec<(PartitionKey, u32)>,
        recreated: bool,
    ) -> Result<(), LaneError> {
        if new.is_empty() {
            return Ok(());
        }
        // `start` is for partitions that existed when the lane was first taken; later ones are copied from their beginning.
        let existed = |key: &PartitionKey| {
            !recreated && self.created_with.get(&*key.topic).is_some_and(|count| key.partition < *count)
        };
        let (old, young): (Vec<_>, Vec<_>) = new.iter().map(|(key, _)| key.clone()).partition(existed);
        let mut starts = self.source.resolve(self.spec.start, &old).await?;
        starts.extend(self.source.resolve(crate::ports::StartAt::Earliest, &young).await?);
        for (key, source_partitions) in new {
            // A partition that vanished in between is found again by the next look-up of the topics.
            let Some(start) = starts.get(&key).copied() else {
                continue;
            };
            let window = PartitionWindow::new(key, source_partitions, start, LeaderEpoch::UNKNOWN).first_seen();
            self.insert(window);
        }
        Ok(())
    }

    pub(crate) fn insert(&mut self, window: PartitionWindow) -> u32 {
        let stream = u32::try_from(self.partitions.len()).unwrap_or(CONTROL_STREAM);
        self.by_place.insert((Arc::clone(&window.key.topic), window.key.partition), stream);
        self.deps.status.set(&window.key, window.committed, window.activity());
        self.partitions.push(window);
        stream
    }

    /// The target refused a record. This generation ends; the next one quarantines the record, or finds it by sending the
    /// suspects one by one.
    pub(crate) fn on_refused(&mut self, token: Token, named: bool, reason: String) -> LaneError {
        let Some(partition) = self.partitions.get(token.stream as usize) else {
            return LaneError::Delivery(format!("progress was refused: {reason}"));
        };
        let released = partition.ledger.released();
        let Some(offset) = partition.ledger.source_of(token.sequence) else {
            return LaneError::Delivery(format!("{}: an unknown record was refused: {reason}", partition.key));
        };
        // A record whose request held nothing else is named by the refusal, whatever the broker says.
        if named || offset < partition.careful_until {
            self.memory.doom(&partition.key, offset, partition.epoch_of(offset), &reason);
        } else {
            self.memory.suspect(&partition.key, released);
        }
        LaneError::Refused(format!("{} at offset {offset}: {reason}", partition.key))
    }

    /// Periodic work: partitions whose retry is due, partitions that the target leaves unanswered.
    pub(crate) async fn tick(&mut self) -> Result<(), LaneError> {
        if self.now < self.next_tick {
            return Ok(());
        }
        self.next_tick = self.now + TICK;
        self.find_stuck().await?;
        for key in self.memory.judged_anew(self.chain.version()) {
            if let Some(partition) = self.partitions.iter_mut().find(|p| p.key == key && p.pause.is_some()) {
                partition.pause = Some(Pause::Denied { retry_at: self.now });
            }
        }
        let due: Vec<u32> =
            (0u32..).zip(&self.partitions).filter(|(_, p)| p.is_due(self.now)).map(|(stream, _)| stream).collect();
        let mut reading = Vec::new();
        for stream in due {
            if self.retry(stream).await? {
                reading.push(stream);
            }
        }
        self.start_reading(&reading).await?;
        self.end_deaf_look_backs().await
    }

    /// Ends a pause, if what it was for seems to be over. Gives whether the partition is to be read.
    async fn retry(&mut self, stream: u32) -> Result<bool, LaneError> {
        let Some(key) = self.partitions.get(stream as usize).filter(|p| p.is_due(self.now)).map(|p| p.key.clone())
        else {
            return Ok(false);
        };
        if let Some(stuck) = self.memory.stuck.get(&key).copied() {
            let longest = self.spec.limits.stuck_retry.1;
            let later = stuck.again(self.now, longest);
            let writable = match self.is_writable(&key).await {
                Ok(writable) => writable,
                Err(error) => {
                    tracing::warn!(link = %self.spec.link, partition = %key, %error, "the target does not say whether it can be written");
                    self.postpone_stuck();
                    return Ok(false);
                }
            };
            if !writable {
                self.memory.stuck.insert(key, later);
                if let Some(partition) = self.partitions.get_mut(stream as usize) {
                    partition.pause = Some(Pause::Waiting { retry_at: later.at });
                }
                return Ok(false);
            }
            if self.taken.unfenced.len() > UNFENCED_TRIED_MAX {
                let now = self.now;
                self.memory.stuck.values_mut().filter(|s| s.at <= now).for_each(|s| *s = s.again(now, longest));
                self.memory.asks_for_ends = true;
                return Err(LaneError::Stuck(format!("{key} looks well; can the transactions end that wait for it?")));
            }
        }
        let Some(partition) = self.partitions.get_mut(stream as usize) else {
            return Ok(false);
        };
        partition.pause = None;
        // One that was stopped may come to nothing again: it runs when it has passed that place.
        if !self.memory.is_stopped(&key) {
            self.deps.status.set(&key, partition.committed, partition.activity());
        }
        Ok(!partition.awaits_start)
    }

    /// Puts off all stuck partitions that are due: the question took its time already, and the others have a transaction open.
    fn postpone_stuck(&mut self) {
        let due = self.now;
        self.now = self.deps.clock.now();
        for partition in self.partitions.iter_mut().filter(|p| p.is_due(due)) {
            if let Some(stuck) = self.memory.stuck.get_mut(&partition.key) {
                *stuck = stuck.again(self.now, self.spec.limits.stuck_retry.1);
                partition.pause = Some(Pause::Waiting { retry_at: stuck.at });
            }
        }
    }

    /// Whether the target partition with the source's number has a leader and enough replicas in sync.
    async fn is_writable(&mut self, key: &PartitionKey) -> Result<bool, LaneError> {
        let partitions = self.partitions.iter().find(|p| p.key == *key).map_or(1, |p| p.source_partitions);
        let Ok(name) = self.chain.target_topic(&key.topic, partitions) else {
            return Ok(false);
        };
        let topic = match self.topics.get(&name).copied() {
            Some(topic) => topic,
            None => self.target.open_topic(&name, partitions).await?,
        };
        let (in_sync, needed) = self.target.replicas(topic.handle, key.partition).await?;
        Ok(in_sync.is_some_and(|in_sync| in_sync >= needed))
    }

    /// Takes out the partitions that hold the transaction up, if the target answers at all: when nothing can be asked of it
    /// either, this is an outage and everything waits.
    async fn find_stuck(&mut self) -> Result<(), LaneError> {
        let limits = self.spec.limits;
        let late = |since: Duration| self.now.saturating_sub(since) >= limits.stuck_after;
        let waiting: Vec<(PartitionKey, Duration)> = self
            .partitions
            .iter()
            .filter_map(|p| p.waiting_since.filter(|since| late(*since)).map(|since| (p.key.clone(), since)))
            .collect();
        if waiting.is_empty() || self.now < self.next_probe {
            return Ok(());
        }
        self.next_probe = self.now + limits.stuck_after;
        let mut answered = Vec::new();
        for (key, since) in waiting {
            match self.is_writable(&key).await {
                Ok(writable) => answered.push((key, since, writable)),
                Err(error) => {
                    tracing::warn!(link = %self.spec.link, partition = %key, %error, "the target does not answer, waiting");
                    return Ok(());
                }
            }
        }
        // They share a transaction: where some cannot be written, the others may wait for nothing but those.
        if answered.iter().any(|(_, _, writable)| !writable) {
            answered.retain(|(_, _, writable)| !writable);
        }
        let mut taken_out = Vec::new();
        for (key, since, writable) in answered {
            let reason = if writable {
                "the target partition has a leader and enough replicas, but does not answer"
            } else {
                "the target partition has no leader or fewer in-sync replicas than min.insync.replicas"
            };
            let retry = Retry::next(self.memory.stuck.get(&key).copied(), self.now, limits.stuck_retry);
            self.memory.stuck.insert(key.clone(), retry);
            let waited = self.now.saturating_sub(since);
            self.emit(Event::TargetStuck {
                partition: key.clone(),
                waited_ms: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
                retry_ms: u64::try_from(retry.after.as_millis()).unwrap_or(u64::MAX),
                reason: reason.to_owned(),
            });
            taken_out.push(key.to_string());
        }
        Err(LaneError::Stuck(taken_out.join(", ")))
    }
}

/// Whether two ids are those of different incarnations of a topic; unknown ids never are.
pub(crate) fn is_other(known: TopicId, found: TopicId) -> bool {
    known.is_known() && found.is_known() && known != found
}
