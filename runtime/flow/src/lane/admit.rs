//! Admission: the order of a fetched batch is checked, the plugin chain judges it, refused records
//! go to quarantine, and the rest is queued.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use strait_core::edit::OutRecord;
use strait_core::{Batch, Disposition, Event, NewTopicsRefused, Processed, SourceOffset};

use super::Lane;
use crate::clock::millis;
use crate::error::LaneError;
use crate::partitions::{Pause, Queued, Stream};
use crate::ports::{ChainError, ReadEpoch, TargetTopic, TopicAnswer, WantedTopic};
use crate::refusals::{Checks, Refusal, Refusals, leave_out, stamp};
use crate::spec::OnTargetRecreated;

/// How long a partition waits before a topic that was just created is looked for again.
const APPEARING: Duration = Duration::from_millis(250);

/// Why a partition stops before a record.
enum Stop {
    /// The link's policy says so.
    Policy(String),
    /// The record could not be written to quarantine, or has no place in the books.
    Quarantine(String),
}

impl Lane<'_> {
    /// Returns the stream of a partition, if what was fetched belongs to its present assignment.
    pub(super) fn current(&self, topic: &Arc<str>, partition: i32, epoch: ReadEpoch) -> Option<Stream> {
        let stream = self.partitions.stream_of(topic, partition)?;
        self.partitions.at(stream).accepts(epoch).then_some(stream)
    }

    /// Handles offsets without records that the reader passed.
    pub(super) async fn on_moved(
        &mut self,
        stream: Stream,
        next: SourceOffset,
        now: Duration,
    ) -> Result<(), LaneError> {
        let window = self.partitions.at_mut(stream);
        if let Some(until) = window.hear_warm_up(now) {
            return self.warmed_up_to(stream, next, until).await;
        }
        window.pass(next);
        Ok(())
    }

    /// Admits a batch: checks its order, has the chain judge it, and queues what may pass.
    pub(super) async fn admit(&mut self, stream: Stream, batch: Batch, now: Duration) -> Result<(), LaneError> {
        let (Some(first), Some(last)) = (batch.first_offset(), batch.last_offset()) else {
            return Err(LaneError::impossible("the source gave an empty batch"));
        };
        let window = self.partitions.at_mut(stream);
        if let Some(until) = window.hear_warm_up(now) {
            return self.warm_up_with(stream, &batch, until, now).await;
        }
        let (key, expected, seen) = (window.key().clone(), window.expected(), window.leader_epoch());
        if let Some(log_end) = window.truncated_by(first) {
            let event = Event::Truncated { partition: key, expected, log_end };
            return self.on_gap(stream, event, log_end, seen).await;
        }
        if first < expected {
            let event = Event::OffsetRegression { partition: key, expected, found: first };
            return self.stop(stream, event).await;
        }
        let found = batch.leader_epoch();
        if found < seen {
            return self.stop(stream, Event::EpochRegression { partition: key, seen, found, offset: first }).await;
        }
        let source_partitions = window.source_partitions();
        let warm_ups = self.chain.warm_up_needed(&key, first, source_partitions);
        if !warm_ups.is_empty() {
            // The batch is read again when the chain knows what came before it.
            return self.start_warm_up(stream, &batch, &warm_ups, now).await;
        }
        window.read(&batch, first, last);
        let (records, bytes) = (batch.len() as u64, batch.data_bytes() as u64);
        self.deps.status.add_of(&key.topic, |all, topic| {
            all.records_read += records;
            all.bytes_read += bytes;
            topic.records_read += records;
            topic.bytes_read += bytes;
        });
        if let Err(error) = self.judge_plugins(&key.topic, source_partitions)? {
            return self.on_chain_error(stream, error, first, last, now).await;
        }
        let processed = match self.chain.apply(batch, source_partitions) {
            Ok(processed) => processed,
            Err(error) => return self.on_chain_error(stream, error, first, last, now).await,
        };
        if !self.border.covers(&self.chain.border(), &key.topic) {
            // Others have taken over meanwhile, which nobody has judged.
            self.chain.forget(&key);
            return self.judge_later(stream, first, now).await;
        }
        self.partitions.at_mut(stream).judged_by(first, &processed.generation.0);
        let Some(topic) = self.open_topics(stream, &processed, now).await? else {
            return Ok(());
        };
        self.quarantine_and_queue(stream, processed, topic, now).await
    }

    /// Handles an error of the chain, which judged nothing of the batch: the partition waits to be
    /// judged again, or stops.
    pub(super) async fn on_chain_error(
        &mut self,
        stream: Stream,
        error: ChainError,
        first: SourceOffset,
        last: SourceOffset,
        now: Duration,
    ) -> Result<(), LaneError> {
        let partition = self.partitions.at(stream).key().clone();
        let reason = error.to_string();
        let Some(retry_after) = error.next.wait() else {
            let first = error.offset.unwrap_or(first);
            let last = error.offset.unwrap_or(last);
            let event = Event::PluginFailed { partition, plugin: error.plugin, first, last, reason };
            return self.stop(stream, event).await;
        };
        let retry_ms = millis(retry_after);
        self.emit(Event::PluginWaiting { partition, plugin: error.plugin, offset: first, reason, retry_ms });
        self.judge_later(stream, first, now + retry_after).await
    }

    /// Has a partition wait until `retry_at`. The batch from `first` on is read and judged again.
    async fn judge_later(&mut self, stream: Stream, first: SourceOffset, retry_at: Duration) -> Result<(), LaneError> {
        let window = self.partitions.at_mut(stream);
        let key = window.key().clone();
        window.read_again(first);
        window.pause(Pause::Waiting { retry_at });
        self.show(stream);
        Ok(self.source.unassign(&[key]).await?)
    }

    /// Opens the topics that unchanged records go to, as far as they exist. One by one, as records
    /// come, thousands of them would hold up the lane for long.
    pub(super) async fn open_existing_topics(&mut self) -> Result<(), LaneError> {
        let windows = self.partitions.iter().map(|(_, window)| window);
        let sources: BTreeMap<Arc<str>, u32> =
            windows.map(|window| (Arc::clone(&window.key().topic), window.source_partitions())).collect();
        let mut wanted: BTreeMap<Arc<str>, WantedTopic> = BTreeMap::new();
        for (like, partitions) in sources {
            let name = match self.chain.target_topic(&like, partitions) {
                Ok(name) => name,
                // The first record of the topic reports it.
                Err(error) if error.next.wait().is_none() => continue,
                Err(_) => break,
            };
            let new = WantedTopic { name: Arc::clone(&name), like, partitions, grows: false, creates: false };
            wanted.entry(name).or_insert(new);
        }
        if wanted.is_empty() {
            return Ok(());
        }
        self.topics.open_existing(wanted.into_values().collect(), &mut *self.target).await
    }

    /// Opens every topic that the batch goes to. Returns the topic of records without one of their
    /// own, or `None` if the partition was stopped because a topic cannot take it.
    async fn open_topics(
        &mut self,
        stream: Stream,
        processed: &Processed,
        now: Duration,
    ) -> Result<Option<TargetTopic>, LaneError> {
        let (own, first) = (&processed.target_topic, processed.batch.first_offset().unwrap_or_default());
        let Some(topic) = self.open_topic(stream, own, true, first, now).await? else { return Ok(None) };
        let copies = processed.dispositions.iter().filter_map(|(_, disposition)| match disposition {
            Disposition::Replace(copies) => Some(copies),
            _ => None,
        });
        let routed: BTreeSet<&Arc<str>> = copies.flatten().filter_map(|copy| copy.topic.as_ref()).collect();
        let unopened = routed.into_iter().filter(|name| *name != own && self.topics.get(name).is_none());
        let unopened = unopened.cloned().collect();
        for name in self.within_new_topics_max(stream, unopened, processed, now).await? {
            if self.open_topic(stream, &name, false, first, now).await?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(topic))
    }

    /// Returns those of these topics, which plugins named for single records, that exist or may be
    /// created. The others stay closed, by which their records are refused.
    async fn within_new_topics_max(
        &mut self,
        stream: Stream,
        mut names: Vec<Arc<str>>,
        processed: &Processed,
        now: Duration,
    ) -> Result<Vec<Arc<str>>, LaneError> {
        if names.is_empty() {
            return Ok(names);
        }
        let is_unknown =
            |name: &&Arc<str>| self.topics.written_id(name).is_none() && !self.topics.is_missing(name, now);
        let unknown: Vec<Arc<str>> = names.iter().filter(is_unknown).cloned().collect();
        // One request for all of them: data can name as many as there are records.
        let existing = if unknown.is_empty() { BTreeMap::new() } else { self.target.topic_ids(unknown).await? };
        let (status, new_topics_max) = (&self.deps.status, self.spec.limits.new_topics_max);
        let now = self.deps.clock.now();
        let mut refused: BTreeSet<Arc<str>> = BTreeSet::new();
        names.retain(|name| {
            let exists = existing.contains_key(name) || self.topics.written_id(name).is_some();
            if exists || (!self.topics.is_missing(name, now) && status.may_create(name, new_topics_max)) {
                return true;
            }
            self.topics.note_missing(name, now);
            refused.insert(Arc::clone(name));
            false
        });
        let key = self.partitions.at(stream).key();
        let goes_there = |copy: &OutRecord| copy.topic.as_ref().is_some_and(|name| refused.contains(name));
        let first = processed.dispositions.iter().find_map(|(index, disposition)| match disposition {
            Disposition::Replace(copies) if copies.iter().any(goes_there) => processed.batch.get(*index),
            _ => None,
        });
        if let Some(offset) = first.map(|record| record.offset)
            && self.caution.tell_once("new_topics_refused", Arc::clone(&key.topic))
        {
            let (partition, created) = (key.clone(), self.deps.status.new_topics());
            self.emit(Event::NewTopicsRefused(NewTopicsRefused { partition, offset, created }));
        }
        Ok(names)
    }

    /// Opens one topic for the batch that begins at `first`. `is_own` is false for a topic that
    /// plugins named for single records. Such a topic is never grown; a record whose partition it
    /// lacks goes to another one by its key.
    async fn open_topic(
        &mut self,
        stream: Stream,
        name: &Arc<str>,
        is_own: bool,
        first: SourceOffset,
        now: Duration,
    ) -> Result<Option<TargetTopic>, LaneError> {
        let window = self.partitions.at(stream);
        let (partition, needed) = (window.key().clone(), window.source_partitions());
        // Only a partition without its counterpart has to wait for the topic to grow.
        let fits = |topic: &TargetTopic| !is_own || partition.partition.unsigned_abs() < topic.partitions;
        if let Some(topic) = self.topics.get(name).filter(fits) {
            self.report_lost_times(&topic, name);
            return Ok(Some(topic));
        }
        let (target_topic, like) = (Arc::clone(name), Arc::clone(&partition.topic));
        // Nothing is created silently where this lane has written before.
        let was = self.topics.written_id(name);
        let wanted =
            WantedTopic { name: Arc::clone(name), like, partitions: needed, grows: is_own, creates: was.is_none() };
        let position = window.committed();
        let answer = self.topics.open(&wanted, &mut *self.target, &*self.deps.clock, now).await?;
        let changed = match (&answer, was) {
            (TopicAnswer::Missing, Some(was)) => Some((was, None)),
            (TopicAnswer::Open(topic) | TopicAnswer::TooSmall(topic, _), Some(was)) => {
                was.is_other_than(topic.id).then_some((was, Some(topic.id)))
            }
            _ => None,
        };
        if let Some((was, found)) = changed {
            if self.spec.policies.on_target_recreated == OnTargetRecreated::Recopy {
                // The next attempt finds every partition that wrote there.
                return Err(LaneError::TargetChanged(target_topic));
            }
            let event = Event::TargetRecreated { partition, target_topic, was, found, position };
            return self.stop(stream, event).await.map(|()| None);
        }
        let event = match answer {
            TopicAnswer::Open(topic) | TopicAnswer::TooSmall(topic, _) if fits(&topic) => {
                self.report_lost_times(&topic, name);
                return Ok(Some(topic));
            }
            TopicAnswer::Open(topic) => {
                let (found, reason) = (topic.partitions, "it has not grown yet".to_owned());
                Event::TargetPartitionsMissing { partition, target_topic, found, needed, reason }
            }
            TopicAnswer::TooSmall(topic, reason) => {
                let found = topic.partitions;
                Event::TargetPartitionsMissing { partition, target_topic, found, needed, reason }
            }
            TopicAnswer::Appearing => {
                self.chain.forget(&partition);
                let retry_at = self.deps.clock.now() + APPEARING;
                return self.judge_later(stream, first, retry_at).await.map(|()| None);
            }
            TopicAnswer::Missing => return Err(LaneError::impossible("a topic that was to be created is missing")),
            TopicAnswer::Denied(reason) => Event::TargetDenied { partition, target_topic, reason },
            TopicAnswer::NotCreated(reason) => Event::TargetTopicRefused { partition, target_topic, reason },
        };
        self.stop(stream, event).await?;
        Ok(None)
    }

    /// Reports, once, a topic that replaces the times of records.
    fn report_lost_times(&mut self, topic: &TargetTopic, name: &Arc<str>) {
        if topic.log_append_time && self.caution.tell_once("timestamps_lost", Arc::clone(name)) {
            self.emit(Event::TimestampsLost { target_topic: Arc::clone(name) });
        }
    }

    /// Quarantines the refused records of a judged batch and queues the rest.
    async fn quarantine_and_queue(
        &mut self,
        stream: Stream,
        mut processed: Processed,
        topic: TargetTopic,
        now: Duration,
    ) -> Result<(), LaneError> {
        let refusals = self.refusals(stream, &mut processed, topic);
        let mut end = processed.batch.len();
        let mut stopped = None;
        if let Some(refusal) = refusals.iter().find(|refusal| refusal.stop) {
            end = refusal.index;
            let Refusal { by, code, text, .. } = refusal;
            stopped = Some(Stop::Policy(format!("{by} refused it ({code}): {text}")));
        }
        let refused: Vec<&Refusal> = refusals.iter().filter(|refusal| refusal.index < end).collect();
        let kept = self.keep(stream, &processed, &refused, now).await?;
        if let Some((refusal, reason)) = kept.failed {
            end = refusal.index;
            stopped = Some(Stop::Quarantine(reason));
        }
        for refusal in refused.iter().filter(|refusal| refusal.index < end) {
            leave_out(&mut processed, refusal.index);
        }
        for (offset, entry) in kept.entries {
            self.partitions.at_mut(stream).enter(offset, entry);
        }
        let stop_at = processed.batch.get(end).map(|record| record.offset);
        self.partitions.enqueue(stream, Queued::new(processed, topic, end), stop_at);
        let window = self.partitions.at(stream);
        window.check()?;
        let (Some(stopped), Some(offset)) = (stopped, stop_at) else {
            return Ok(());
        };
        let partition = window.key().clone();
        let event = match stopped {
            Stop::Policy(reason) => Event::RecordStopped { partition, offset, reason },
            Stop::Quarantine(reason) => Event::QuarantineFailed { partition, offset, reason },
        };
        self.stop(stream, event).await
    }

    /// Returns every record that cannot be sent as it is, ascending. Where policy says `now`,
    /// timestamps are replaced here.
    fn refusals(&self, stream: Stream, processed: &mut Processed, batch_topic: TargetTopic) -> Vec<Refusal> {
        let now_ms = self.deps.clock.unix_ms();
        let checks = Checks {
            policies: &self.spec.policies,
            caution: self.caution,
            topics: &self.topics,
            batch_topic,
            target: &*self.target,
            now_ms,
        };
        let Refusals { found, rejected, without_topic, stamped } =
            checks.refusals(self.partitions.at(stream), processed);
        if rejected + without_topic + stamped.len() as u64 > 0 {
            self.deps.status.add(|totals| {
                totals.records_rejected += rejected;
                totals.records_without_topic += without_topic;
                totals.timestamps_replaced += stamped.len() as u64;
            });
        }
        for index in stamped {
            stamp(processed, index, now_ms);
        }
        found
    }
}
