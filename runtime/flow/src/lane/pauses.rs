//! Partitions that leave the flow for a while, and how they return.

use std::sync::Arc;
use std::time::Duration;

use strait_core::Event;

use super::Lane;
use crate::clock::millis;
use crate::error::LaneError;
use crate::partitions::{Pause, Place, Stream};
use crate::ports::{PortError, TopicAnswer, WantedTopic};

/// Interval of the periodic work.
const TICK: Duration = Duration::from_millis(200);

/// Interval at which the ids of the open target topics are looked at, and what each topic adds.
const LOOK: Duration = Duration::from_secs(5);
const LOOK_PER_TOPIC: Duration = Duration::from_millis(10);

/// With more transactional ids than this whose transactions cannot end, a stuck partition is only
/// retried once they can: each failed retry costs another one or two.
pub(super) const UNFENCED_TRIED_MAX: usize = 2;

/// When the periodic work of a lane is due.
#[derive(Debug)]
pub(super) struct Timers {
    next_tick: Duration,
    next_probe: Duration,
    next_look: Duration,
    /// Late progress was reported.
    is_late_reported: bool,
}

impl Timers {
    /// Creates the timers of an attempt that begins now. Its target topics are first looked at
    /// after an interval.
    pub fn new(now: Duration) -> Self {
        Self { next_tick: now, next_probe: now, next_look: now + LOOK, is_late_reported: false }
    }

    /// Returns whether the periodic work is due, and sets when it is due again.
    pub fn tick(&mut self, now: Duration) -> bool {
        is_due(&mut self.next_tick, now, TICK)
    }

    /// Returns whether the ids of this many open target topics are to be looked at, and sets when
    /// they are to be looked at again.
    fn look(&mut self, now: Duration, topics: usize) -> bool {
        let interval = LOOK + LOOK_PER_TOPIC * u32::try_from(topics).unwrap_or(u32::MAX);
        is_due(&mut self.next_look, now, interval)
    }

    /// Returns whether the target may be asked about partitions that it does not acknowledge, and
    /// sets when it may be asked again.
    pub fn probe(&mut self, now: Duration, interval: Duration) -> bool {
        is_due(&mut self.next_probe, now, interval)
    }
}

/// Returns whether something is due, and sets when it is due again.
fn is_due(next: &mut Duration, now: Duration, interval: Duration) -> bool {
    let due = now >= *next;
    if due {
        *next = now + interval;
    }
    due
}

/// The outcome of a retry.
enum Retried {
    /// The partition is to be read again.
    Reads,
    /// It stays out, or reads later.
    Waits,
    /// The target did not answer, which took its time.
    Unanswered,
}

impl Lane<'_> {
    /// Stops a partition: nothing more is read, and queued records are sent. The other partitions
    /// continue. Reads the clock, because most callers have waited for a cluster.
    pub(super) async fn stop(&mut self, stream: Stream, event: Event) -> Result<(), LaneError> {
        let now = self.deps.clock.now();
        let window = self.partitions.at_mut(stream);
        let key = window.key().clone();
        let (pause, is_news) = self.caution.stop(&key, window.queue_end(), window.passed(), &event, now);
        window.stop(pause);
        self.show(stream);
        self.chain.forget(&key);
        if is_news {
            self.emit(event);
        }
        Ok(self.source.unassign(&[key]).await?)
    }

    /// Does the periodic work: finds what the target leaves unacknowledged, asks for the ids of its
    /// topics, answers an operator, retries the partitions that are due, asks again where others
    /// begin, and abandons warm-ups that have stalled. Returns the time that the loop continues
    /// with. It is later than `now` if the target left a question unanswered, which takes long.
    pub(super) async fn tick(&mut self, now: Duration) -> Result<Duration, LaneError> {
        self.find_stuck(now).await?;
        self.find_stuck_entries(now).await?;
        if self.timers.look(now, self.topics.count()) {
            self.target.ask_topic_ids();
        }
        self.find_late_progress(now);
        self.keep_up_with_plugins()?;
        for key in self.caution.take_judged_anew(self.chain.version()) {
            let stopped = self.partitions.iter_mut().map(|(_, window)| window);
            if let Some(window) = stopped.filter(|window| window.is_paused()).find(|window| *window.key() == key) {
                window.pause(Pause::NeedsOperator { retry_at: now });
            }
        }
        self.answer_requests(now);
        let mut now = now;
        let mut reading = Vec::new();
        for stream in self.partitions.select(|window| window.is_retry_due(now)) {
            match self.retry(stream, now).await? {
                Retried::Reads => reading.push(stream),
                Retried::Waits => {}
                Retried::Unanswered => {
                    let due = now;
                    now = self.deps.clock.now();
                    self.postpone_stuck(due, now);
                }
            }
        }
        self.start_reading(&reading).await?;
        self.place_unplaced(now).await?;
        self.abandon_stalled_warm_ups(now).await?;
        Ok(now)
    }

    /// Reports progress that the target does not acknowledge. Without transactions nothing else
    /// would: the records are written all the same.
    fn find_late_progress(&mut self, now: Duration) {
        let Some(waited) = self.progress.late_for(now) else {
            if std::mem::take(&mut self.timers.is_late_reported) {
                self.deps.status.lane_trouble(self.spec.lane, "", now);
            }
            return;
        };
        if std::mem::replace(&mut self.timers.is_late_reported, true) {
            return;
        }
        let event = Event::ProgressStuck { lane: self.spec.lane.0, waited_ms: millis(waited) };
        self.deps.status.lane_trouble(self.spec.lane, &event.to_string(), now);
        self.emit(event);
    }

    /// Ends a pause, if its reason seems to be gone.
    async fn retry(&mut self, stream: Stream, now: Duration) -> Result<Retried, LaneError> {
        let window = self.partitions.at(stream);
        if !window.is_retry_due(now) {
            return Ok(Retried::Waits);
        }
        let key = window.key().clone();
        if let Some(places) = self.caution.stuck_at(&key) {
            let source_partitions = window.source_partitions();
            let longest = self.spec.limits.stuck_retry.1;
            match self.are_writable(&places, source_partitions).await {
                Err(error) => {
                    tracing::warn!(link = %self.spec.link, partition = %key, %error, "cannot ask the target whether the partition can be written");
                    return Ok(Retried::Unanswered);
                }
                Ok(false) => {
                    if let Some(later) = self.caution.postpone(&key, now, longest) {
                        self.partitions.at_mut(stream).pause(Pause::Waiting { retry_at: later.at });
                    }
                    return Ok(Retried::Waits);
                }
                Ok(true) => {}
            }
            if self.progress.unfenced() > UNFENCED_TRIED_MAX {
                self.caution.ask_for_ends(now, longest);
                return Err(LaneError::Stuck(format!(
                    "{key} is writable again; taking the lane again to end the transactions that waited for it"
                )));
            }
        }
        if !self.may_read(stream, now).await {
            return Ok(Retried::Waits);
        }
        let reads = self.partitions.at_mut(stream).unpause();
        // A stopped partition may stop at the same place again, and one that may not be read may be
        // refused again. It runs once it has passed that place, or is read.
        if !self.caution.is_stopped(&key) && !self.caution.is_unread(&key) {
            self.show(stream);
        }
        Ok(if reads { Retried::Reads } else { Retried::Waits })
    }

    /// Postpones all stuck partitions that are due: the question took its time already, and the
    /// other partitions have a transaction open.
    fn postpone_stuck(&mut self, due: Duration, now: Duration) {
        let longest = self.spec.limits.stuck_retry.1;
        for (_, window) in self.partitions.iter_mut().filter(|(_, window)| window.is_retry_due(due)) {
            if let Some(later) = self.caution.postpone(window.key(), now, longest) {
                window.pause(Pause::Waiting { retry_at: later.at });
            }
        }
    }

    /// Returns whether all these target partitions can be written.
    async fn are_writable(&mut self, places: &[(Arc<str>, i32)], partitions: u32) -> Result<bool, PortError> {
        for (name, partition) in places {
            let topic = match self.topics.get(name) {
                Some(topic) => topic,
                None => {
                    let (name, like) = (Arc::clone(name), Arc::clone(name));
                    let wanted = WantedTopic { name, like, partitions, grows: false, creates: false };
                    let answer = self.target.open_topic(&wanted).await?;
                    let (TopicAnswer::Open(topic) | TopicAnswer::TooSmall(topic, _)) = answer else { return Ok(false) };
                    topic
                }
            };
            let place = Place { topic: topic.handle, partition: *partition };
            if !self.is_writable(place).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns whether a target partition has a leader and enough replicas in sync.
    async fn is_writable(&mut self, place: Place) -> Result<bool, PortError> {
        let (in_sync, needed) = self.target.replicas(place.topic, place.partition).await?;
        Ok(in_sync.is_some_and(|in_sync| in_sync >= needed))
    }

    /// Takes out the partitions that hold up the transaction, if the target answers at all. If it
    /// does not, this is an outage and everything waits.
    async fn find_stuck(&mut self, now: Duration) -> Result<(), LaneError> {
        let limits = self.spec.limits;
        let waiting = self.in_flight.late(now, limits.stuck_after);
        if waiting.is_empty() || !self.timers.probe(now, limits.stuck_after) {
            return Ok(());
        }
        let mut answered = Vec::new();
        for (place, since) in waiting {
            match self.is_writable(place).await {
                Ok(writable) => answered.push((place, now.saturating_sub(since), writable)),
                Err(error) => {
                    let topic = self.topics.identity_of(place.topic)?.0;
                    let partition = place.partition;
                    tracing::warn!(link = %self.spec.link, %topic, partition, %error, "the target does not answer, waiting");
                    return Ok(());
                }
            }
        }
        if answered.iter().any(|(_, _, writable)| !writable) {
            // They share a transaction: if some cannot be written, the others may only wait for
            // those.
            answered.retain(|(_, _, writable)| !writable);
        } else {
            // Nothing is wrong with a target partition whose records are still on a slow line.
            let patience = self.in_flight.patience(limits.stuck_after);
            answered.retain(|(_, waited, _)| *waited >= patience);
        }
        let mut taken_out = Vec::new();
        for (place, waited, writable) in answered {
            let reason = if writable {
                "has a leader and enough replicas, but does not answer"
            } else {
                "has no leader or fewer in-sync replicas than min.insync.replicas"
            };
            let topic = Arc::clone(self.topics.identity_of(place.topic)?.0);
            for stream in self.partitions.select(|window| window.last_in_flight_to(place).is_some()) {
                let partition = self.partitions.at(stream).key().clone();
                let at = (Arc::clone(&topic), place.partition);
                let retry = self.caution.mark_stuck(&partition, at, now, limits.stuck_retry);
                taken_out.push(partition.to_string());
                self.emit(Event::TargetStuck {
                    partition,
                    waited_ms: millis(waited),
                    retry_ms: millis(retry.after),
                    reason: format!("target partition {topic}-{} {reason}", place.partition),
                });
            }
        }
        if taken_out.is_empty() {
            return Ok(());
        }
        Err(LaneError::Stuck(taken_out.join(", ")))
    }
}
