//! Reading that fails: gaps in the source, recreated topics, missing permissions.

use std::time::Duration;

use strait_core::{Event, LeaderEpoch, PartitionKey, SourceOffset, TopicId};

use super::Lane;
use super::place::Unplaced;
use crate::caution::{Rewind, Unread};
use crate::clock::millis;
use crate::error::LaneError;
use crate::partitions::{Pause, Stream};
use crate::ports::ReadFailure;
use crate::retry::Retry;
use crate::spec::{OnCorrupt, OnGap};
use crate::status::Activity;

/// Wait before a partition is read again whose log has just changed.
const READ_RETRY: Duration = Duration::from_secs(1);

/// Wait before a partition is read again that could not be read now; doubles up to the second.
const UNAVAILABLE_RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// Wait before the retry of a partition that may not be read.
const DENIED_RETRY: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(30));

impl Lane<'_> {
    /// Handles a failed read: finds out why it failed.
    pub(super) async fn on_read_failure(
        &mut self,
        stream: Stream,
        failure: ReadFailure,
        now: Duration,
    ) -> Result<(), LaneError> {
        let window = self.partitions.at(stream);
        let (key, expected, leader_epoch) = (window.key().clone(), window.expected(), window.leader_epoch());
        let failure = match failure {
            ReadFailure::Denied(reason) => {
                self.on_unread(stream, Unread::Denied, reason, now);
                return Ok(());
            }
            ReadFailure::TooLarge { bytes, limit } => {
                let event = Event::SourceBatchTooLarge { partition: key, offset: expected, bytes, limit };
                return self.stop(stream, event).await;
            }
            ReadFailure::Corrupt { offset, end, reason } => {
                if let Some(until) = self.partitions.at_mut(stream).hear_warm_up(now) {
                    return self.on_corrupt_past(stream, (offset, end), until, reason, now).await;
                }
                return self.on_corrupt(stream, offset.max(expected), end, reason).await;
            }
            ReadFailure::Other(reason) => {
                self.on_unread(stream, Unread::Unavailable, reason, now);
                return Ok(());
            }
            other => other,
        };
        let ids = match self.source.topic_ids(std::slice::from_ref(&key.topic)).await {
            Ok(ids) => ids,
            Err(error) => {
                self.on_unread(stream, Unread::Unavailable, error.to_string(), now);
                return Ok(());
            }
        };
        match ids.get(&key.topic) {
            None => return self.on_gone(stream, now).await,
            Some(found) if key.topic_id.is_other_than(*found) => return self.on_recreated(stream, *found).await,
            Some(_) => {}
        }
        if let ReadFailure::OtherIncarnation { id } = failure {
            // One of the brokers is behind.
            let reason =
                format!("the source reads the topic with id {id}, and describes the one with {}", key.topic_id);
            self.on_unread(stream, Unread::Unavailable, reason, now);
            return Ok(());
        }
        let bounds = match self.source.bounds(std::slice::from_ref(&key)).await {
            Ok(bounds) => bounds,
            Err(error) => {
                self.on_unread(stream, Unread::Unavailable, error.to_string(), now);
                return Ok(());
            }
        };
        let Some(bounds) = bounds.get(&key).copied() else { return self.on_gone(stream, now).await };
        if expected < bounds.log_start {
            let event = Event::RetentionOverrun { partition: key, expected, log_start: bounds.log_start };
            return self.on_gap(stream, event, bounds.log_start, leader_epoch).await;
        }
        self.partitions.at_mut(stream).skip_deleted(bounds.log_start);
        let end = match failure {
            ReadFailure::LogTruncation { end: Some(end) } => Some(end.max(bounds.log_start)),
            // The log has another history, in which older leader epochs may come again.
            ReadFailure::LogTruncation { end: None } => {
                let log_end = bounds.high_watermark.min(expected);
                let event = Event::Truncated { partition: key, expected, log_end };
                return self.on_gap(stream, event, log_end, LeaderEpoch::UNKNOWN).await;
            }
            _ => None,
        };
        if expected > bounds.high_watermark {
            let log_end = end.unwrap_or(bounds.high_watermark).min(bounds.high_watermark);
            let event = Event::Truncated { partition: key, expected, log_end };
            return self.on_gap(stream, event, log_end, leader_epoch).await;
        }
        if let Some(end) = end.filter(|end| *end < expected) {
            // Progress names the leader epoch of its last record, and passes control records and
            // aborted ones of newer epochs. What is there now tells whether records are missing.
            self.partitions.at_mut(stream).look_from(end);
            return self.start_reading(&[stream]).await;
        }
        // The log moved between the failure and the question: the offset exists after all.
        self.pause_reading(stream, now);
        Ok(())
    }

    /// Handles offsets from `offset` on that cannot be read: stops the partition, or skips them, as
    /// policy says.
    async fn on_corrupt(
        &mut self,
        stream: Stream,
        offset: SourceOffset,
        end: Option<SourceOffset>,
        reason: String,
    ) -> Result<(), LaneError> {
        let window = self.partitions.at_mut(stream);
        let partition = window.key().clone();
        let behind = end.filter(|end| *end > offset && self.spec.policies.on_corrupt == OnCorrupt::Skip);
        let Some(end) = behind else {
            return self.stop(stream, Event::SourceCorrupt { partition, offset, end, reason }).await;
        };
        window.continue_at(end, LeaderEpoch::UNKNOWN);
        self.chain.forget(&partition);
        self.deps.status.add(|totals| totals.corrupt_skipped += (end.0 - offset.0).unsigned_abs());
        self.emit(Event::CorruptSkipped { partition, offset, end, reason });
        self.start_reading(&[stream]).await
    }

    /// Handles offsets of the past that a warm-up up to `until` cannot read. Where policy skips
    /// them, the warm-up goes on behind them: they were skipped when they were to be copied.
    async fn on_corrupt_past(
        &mut self,
        stream: Stream,
        (offset, end): (SourceOffset, Option<SourceOffset>),
        until: SourceOffset,
        reason: String,
        now: Duration,
    ) -> Result<(), LaneError> {
        let partition = self.partitions.at(stream).key().clone();
        let Some(end) = end.filter(|_| self.spec.policies.on_corrupt == OnCorrupt::Skip) else {
            return self.stop(stream, Event::SourceCorrupt { partition, offset, end, reason }).await;
        };
        let (first, last) = (offset.0, end.0.saturating_sub(1));
        tracing::warn!(link = %self.spec.link, %partition, first, last, %reason, "damaged records of the past are missing from a warm-up");
        if end >= until {
            return self.warmed_up_to(stream, until, until).await;
        }
        let epoch = self.partitions.new_read_epoch();
        let from = self.partitions.at_mut(stream).start_warm_up(epoch, end, now);
        Ok(self.source.assign(epoch, &[from]).await?)
    }

    /// Takes out a partition that the source does not give, for a while.
    pub(super) fn on_unread(&mut self, stream: Stream, why: Unread, reason: String, now: Duration) {
        let key = self.partitions.at(stream).key().clone();
        tracing::debug!(link = %self.spec.link, partition = %key, %reason, "the partition cannot be read");
        let bounds = match why {
            Unread::Denied => DENIED_RETRY,
            Unread::Unavailable => UNAVAILABLE_RETRY,
        };
        let retry_at = self.note_unread(&key, why, reason, now, bounds).at;
        self.partitions.at_mut(stream).pause(match why {
            Unread::Denied => Pause::NeedsOperator { retry_at },
            Unread::Unavailable => Pause::Waiting { retry_at },
        });
        self.show(stream);
    }

    /// Records that the source does not give a partition, and reports it if that is news. Returns
    /// the retry.
    pub(super) fn note_unread(
        &mut self,
        key: &PartitionKey,
        why: Unread,
        reason: String,
        now: Duration,
        bounds: (Duration, Duration),
    ) -> Retry {
        let (retry, is_news) = self.caution.not_read(key, why, now, bounds);
        if is_news {
            self.emit(why.event(key.clone(), reason, millis(retry.after)));
        }
        retry
    }

    /// Returns whether a partition that the source did not give may be read. Reading alone does not
    /// tell: without the right to describe the topic the client retries for ever and reports
    /// nothing.
    pub(super) async fn may_read(&mut self, stream: Stream, now: Duration) -> bool {
        let key = self.partitions.at(stream).key().clone();
        if !self.caution.is_unread(&key) {
            return true;
        }
        let Err(error) = self.source.bounds(std::slice::from_ref(&key)).await else { return true };
        self.on_unread(stream, Unread::of(error.class), error.reason, now);
        false
    }

    /// Records that something of a partition was read: what kept it from that is over.
    pub(super) fn heard(&mut self, stream: Stream) {
        let key = self.partitions.at(stream).key();
        if self.caution.read(key) {
            tracing::info!(link = %self.spec.link, partition = %key, "the partition is read again");
            self.show(stream);
        }
    }

    /// Shows a partition in the status. One that the source did not give stays as it was until
    /// something of it is read. Of a topic that was created again only the present incarnation is
    /// shown, though records of the former one may still be in flight.
    pub(super) fn show(&self, stream: Stream) {
        let window = self.partitions.at(stream);
        if self.shown(window.key()).is_some_and(|shown| shown != window.key()) {
            return;
        }
        let activity = match (window.activity(), self.caution.unread_activity(window.key())) {
            (Activity::Running | Activity::Stuck, Some(unread)) => unread,
            (activity, _) => activity,
        };
        self.deps.status.set(window.key(), window.committed(), activity);
    }

    /// Reads a partition again after a short wait.
    pub(super) fn pause_reading(&mut self, stream: Stream, now: Duration) {
        self.partitions.at_mut(stream).pause(Pause::Waiting { retry_at: now + READ_RETRY });
    }

    /// Records are gone, or others have their offsets: stops the partition, or continues at
    /// `resume`, behind a record of this leader epoch, as policy says.
    pub(super) async fn on_gap(
        &mut self,
        stream: Stream,
        event: Event,
        resume: SourceOffset,
        leader_epoch: LeaderEpoch,
    ) -> Result<(), LaneError> {
        if self.spec.policies.on_gap == OnGap::Stop {
            return self.stop(stream, event).await;
        }
        let window = self.partitions.at(stream);
        let (key, committed) = (window.key().clone(), window.committed());
        if resume < committed
            && let Err(event) = self.mark_read_again(&key, resume, committed).await?
        {
            // It stays where it is until the books can be told. Then the gap is found again.
            return self.stop(stream, event).await;
        }
        self.emit(event);
        let window = self.partitions.at_mut(stream);
        if resume < window.queue_end() {
            // Truncated below what was copied or is queued. The ledger of this attempt cannot go
            // back; that of the next one can. What is not committed is read again in any case.
            let owner = self.progress.owner();
            let leader_epoch = window.committed_epoch();
            let rewind = Rewind { resume, owner, committed, leader_epoch };
            if resume < committed && self.caution.rewinds().add(key.clone(), rewind) {
                return Err(LaneError::Truncated(key));
            }
            return Err(LaneError::Delivery(format!("{key} was truncated below the offset that was read")));
        }
        window.continue_at(resume, leader_epoch);
        self.chain.forget(&key);
        self.emit(Event::Resumed { partition: key, resumed: resume });
        self.start_reading(&[stream]).await
    }

    /// A topic of the same name has another id. The old partition ends, and policy says whether
    /// the new one is copied.
    pub(super) async fn on_recreated(&mut self, stream: Stream, found: TopicId) -> Result<(), LaneError> {
        let window = self.partitions.at(stream);
        let (old, source_partitions) = (window.key().clone(), window.source_partitions());
        let event = Event::TopicRecreated { partition: old.clone(), found, position: window.expected() };
        self.stop(stream, event).await?;
        if self.spec.policies.on_gap == OnGap::Stop {
            return Ok(());
        }
        // The old topic ends here, and nobody needs to act: the new one takes its place.
        self.deps.status.forget(&old);
        let key = PartitionKey { topic_id: found, ..old };
        self.add_first_seen(vec![Unplaced { key, source_partitions, recreated: true, recopied_at: None }]).await
    }
}
