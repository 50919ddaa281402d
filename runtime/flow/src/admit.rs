//! From a fetched batch to the queue: order is checked, the chain judges, refused records are kept at the source.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use strait_core::{Batch, Disposition, Event, OutRecord, Processed, Reject, Route, SourceOffset};

use crate::lane::{Lane, LaneError};
use crate::ports::{ChainError, Class, PortError, QuarantineRecord, ReadEpoch, TargetTopic};
use crate::spec::{OnRefused, OnTimestampZero};
use crate::window::{Pause, Queued};

/// A quarantine that fails after this long does not answer, and holds up the whole lane each time that it is asked.
const SILENT: Duration = Duration::from_secs(1);

/// How long a target topic that does not do is not asked for again.
const LACKING: Duration = Duration::from_secs(5);

/// A record that cannot go on as it is.
struct Refusal {
    index: usize,
    by: Arc<str>,
    /// The plugin's file, where it was a plugin.
    digest: Option<Arc<str>>,
    code: Arc<str>,
    text: String,
    /// Policy says that the partition stops before it.
    stop: bool,
}

/// Why a partition stands still before a record.
enum Stop {
    /// The link says so.
    Policy(String),
    /// It could not be kept.
    Quarantine(String),
}

impl Refusal {
    fn new(index: usize, by: &str, code: &str, text: String, stop: bool) -> Self {
        Self { index, by: by.into(), digest: None, code: code.into(), text, stop }
    }

    fn by_plugin(index: usize, reject: &Reject, stop: bool) -> Self {
        let Reject { plugin, digest, code, text } = reject.clone();
        Self { index, by: plugin, digest: Some(digest), code, text, stop }
    }
}

impl Lane<'_> {
    /// The stream of a partition, if what was fetched belongs to its present assignment.
    pub(crate) fn current(&self, topic: &Arc<str>, partition: i32, epoch: ReadEpoch) -> Option<u32> {
        let stream = *self.by_place.get(&(Arc::clone(topic), partition))?;
        let window = self.partitions.get(stream as usize)?;
        (window.read_epoch == epoch && window.pause.is_none()).then_some(stream)
    }

    /// The reader passed offsets that hold no record for us.
    pub(crate) async fn on_moved(&mut self, stream: u32, next: SourceOffset) -> Result<(), LaneError> {
        let Some(partition) = self.partitions.get_mut(stream as usize) else {
            return Ok(());
        };
        if let Some(looking_back) = &mut partition.looking_back {
            looking_back.heard = self.now;
            let until = looking_back.until;
            return self.shown(stream, next, until).await;
        }
        partition.expected = partition.expected.max(next);
        partition.moved_to = partition.moved_to.max(next);
        partition.pass_moved();
        Ok(())
    }

    /// Takes a batch in: checks its order, has the chain judge it, keeps what is refused, queues the rest.
    pub(crate) async fn admit(&mut self, stream: u32, batch: Batch) -> Result<(), LaneError> {
        let Some(partition) = self.partitions.get_mut(stream as usize) else {
            return Ok(());
        };
        let (Some(first), Some(last)) = (batch.first_offset(), batch.last_offset()) else {
            return Ok(());
        };
        if let Some(looking_back) = &mut partition.looking_back {
            looking_back.heard = self.now;
            let until = looking_back.until;
            return self.show(stream, &batch, until).await;
        }
        let key = partition.key.clone();
        if first < partition.expected {
            let event = Event::OffsetRegression { partition: key, expected: partition.expected, found: first };
            return self.stop(stream, event).await;
        }
        if batch.leader_epoch() < partition.leader_epoch {
            let (seen, found) = (partition.leader_epoch, batch.leader_epoch());
            return self.stop(stream, Event::EpochRegression { partition: key, seen, found, offset: first }).await;
        }
        let source_partitions = partition.source_partitions;
        let lookbacks = self.chain.warm_up_needed(&key, first, source_partitions);
        if !lookbacks.is_empty() {
            // The batch is read again when the chain knows what came before it.
            return self.look_back(stream, &batch, &lookbacks).await;
        }
        partition.expected = last.next();
        partition.read_under(first, batch.leader_epoch());
        partition.note_time(last, batch.get(batch.len() - 1).map(|record| record.timestamp_ms));
        let (records, bytes) = (batch.len() as u64, batch.data_bytes() as u64);
        self.deps.status.add_of(&key.topic, |all, topic| {
            all.records_read += records;
            all.bytes_read += bytes;
            topic.records_read += records;
            topic.bytes_read += bytes;
        });

        let processed = match self.chain.apply(batch, source_partitions) {
            Ok(processed) => processed,
            Err(error) => return self.on_chain_error(stream, error, first, last).await,
        };
        if let Some(partition) = self.partitions.get_mut(stream as usize) {
            partition.judged_by(first, &processed.generation.0);
        }
        let Some(topic) = self.open_topics(stream, &processed).await? else {
            return Ok(());
        };
        self.judge_and_queue(stream, processed, topic).await
    }

    /// Nothing of a batch was judged: its partition waits to be judged again, or stands still.
    pub(crate) async fn on_chain_error(
        &mut self,
        stream: u32,
        error: ChainError,
        first: SourceOffset,
        last: SourceOffset,
    ) -> Result<(), LaneError> {
        let Some(partition) = self.partitions.get_mut(stream as usize) else {
            return Ok(());
        };
        let key = partition.key.clone();
        let reason = error.to_string();
        let Some(retry_after) = error.next.wait() else {
            let first = error.offset.unwrap_or(first);
            let last = error.offset.unwrap_or(last);
            let event = Event::PluginFailed { partition: key, plugin: error.plugin, first, last, reason };
            return self.stop(stream, event).await;
        };
        // It is fetched again: the source is the place where records wait.
        partition.expected = first;
        partition.pause = Some(Pause::Waiting { retry_at: self.now + retry_after });
        self.deps.status.set(&key, partition.committed, partition.activity());
        let retry_ms = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
        let unassign = [key.clone()];
        self.emit(Event::PluginWaiting { partition: key, plugin: error.plugin, offset: first, reason, retry_ms });
        Ok(self.source.unassign(&unassign).await?)
    }

    async fn judge_and_queue(
        &mut self,
        stream: u32,
        mut processed: Processed,
        topic: TargetTopic,
    ) -> Result<(), LaneError> {
        let refusals = self.refusals(stream, &mut processed, &topic);
        let mut end = processed.batch.len();
        let mut stopped = None;
        if let Some(refusal) = refusals.iter().find(|r| r.stop) {
            end = refusal.index;
            stopped = Some(Stop::Policy(format!("{} refused it ({}): {}", refusal.by, refusal.code, refusal.text)));
        }
        let kept: Vec<&Refusal> = refusals.iter().filter(|r| r.index < end).collect();
        if let Err((refusal, error)) = self.keep_all(stream, &processed, &kept).await {
            end = refusal.index;
            stopped = Some(Stop::Quarantine(error.to_string()));
        }
        for refusal in kept.iter().filter(|r| r.index < end) {
            // No copy goes out, and it is not counted as dropped by a plugin.
            set_disposition(&mut processed, refusal.index, Disposition::Replace(Vec::new()));
        }
        let stop_at = processed.batch.get(end).map(|r| r.offset);
        let queued = Queued::new(processed, topic, end);
        self.queued_bytes += queued.held_bytes;
        let Some(partition) = self.partitions.get_mut(stream as usize) else {
            return Ok(());
        };
        partition.moved_to = stop_at.unwrap_or(partition.expected).max(partition.moved_to);
        if queued.is_done() {
            self.queued_bytes -= queued.held_bytes;
        } else {
            partition.queue.push_back(queued);
        }
        let (Some(stopped), Some(offset)) = (stopped, stop_at) else {
            return Ok(());
        };
        let partition = partition.key.clone();
        let event = match stopped {
            Stop::Policy(reason) => Event::RecordStopped { partition, offset, reason },
            Stop::Quarantine(reason) => Event::QuarantineFailed { partition, offset, reason },
        };
        self.stop(stream, event).await
    }

    /// Every record that cannot go on as it is, ascending. Where policy says `now`, timestamps are replaced here.
    fn refusals(&mut self, stream: u32, processed: &mut Processed, topic: &TargetTopic) -> Vec<Refusal> {
        let Some(partition) = self.partitions.get(stream as usize) else {
            return Vec::new();
        };
        let (Some(first), Some(last)) = (processed.batch.first_offset(), processed.batch.last_offset()) else {
            return Vec::new();
        };
        let stop = self.spec.policies.on_refused == OnRefused::Stop;
        let mut refusals = Vec::new();
        let mut dropped = BTreeSet::new();
        for (index, disposition) in &processed.dispositions {
            match disposition {
                Disposition::Drop => {
                    dropped.insert(*index);
                }
                Disposition::Reject(reject) => {
                    dropped.insert(*index);
                    refusals.push(Refusal::by_plugin(*index, reject, stop));
                }
                Disposition::Halt(reject) => {
                    dropped.insert(*index);
                    refusals.push(Refusal::by_plugin(*index, reject, true));
                }
                Disposition::Replace(copies) => {
                    if let Some(text) = copies.iter().find_map(|copy| self.missing_partition(copy, topic)) {
                        dropped.insert(*index);
                        refusals.push(Refusal::new(*index, "strait", "no-such-partition", text, stop));
                    }
                }
            }
        }
        for (offset, reason) in self.memory.doomed_in(&partition.key, processed.batch.leader_epoch(), first, last) {
            let Some(index) = processed.batch.iter().position(|r| r.offset == offset) else {
                continue;
            };
            if dropped.insert(index) {
                refusals.push(Refusal::new(index, "target", "refused", reason, stop));
            }
        }
        let rejected = processed.dispositions.iter().filter(|(_, d)| matches!(d, Disposition::Reject(_))).count();
        if rejected > 0 {
            self.deps.status.add(|t| t.records_rejected += rejected as u64);
        }
        self.judge_timestamps(processed, topic, &dropped, &mut refusals);
        refusals.sort_by_key(|r| r.index);
        refusals
    }

    fn missing_partition(&self, copy: &OutRecord, batch_topic: &TargetTopic) -> Option<String> {
        let Route::Partition(partition) = copy.route else {
            return None;
        };
        let topic = copy.topic.as_ref().and_then(|t| self.topics.get(t)).unwrap_or(batch_topic);
        let exists = u32::try_from(partition).is_ok_and(|p| p < topic.partitions);
        (!exists).then(|| format!("partition {partition} does not exist, the topic has {}", topic.partitions))
    }

    /// librdkafka cannot send the timestamps 0 and -1, and a broker refuses those too far from its clock, with the whole
    /// batch around them: so they are dealt with before they are produced.
    fn judge_timestamps(
        &mut self,
        processed: &mut Processed,
        topic: &TargetTopic,
        dropped: &BTreeSet<usize>,
        refusals: &mut Vec<Refusal>,
    ) {
        let now_ms = self.deps.clock.unix_ms();
        let stop = self.spec.policies.on_refused == OnRefused::Stop;
        let mut replace = Vec::new();
        let mut dispositions = processed.dispositions.iter().peekable();
        for (index, record) in processed.batch.iter().enumerate() {
            let disposition = dispositions.next_if(|(at, _)| *at == index).map(|(_, disposition)| disposition);
            if dropped.contains(&index) {
                continue;
            }
            // What goes out counts: a plugin may have given the record another time, and another topic.
            let bad = match disposition {
                Some(Disposition::Replace(copies)) => copies.iter().find_map(|copy| {
                    let topic = copy.topic.as_ref().and_then(|t| self.topics.get(t)).unwrap_or(topic);
                    bad_timestamp(copy.timestamp_ms.unwrap_or(record.timestamp_ms), topic, now_ms)
                }),
                _ => bad_timestamp(record.timestamp_ms, topic, now_ms),
            };
            let Some(timestamp_ms) = bad else { continue };
            if timestamp_ms > 0 {
                let text = format!(
                    "timestamp {timestamp_ms} ms is further from the target's clock than message.timestamp.after.max.ms or before.max.ms of the topic allow"
                );
                refusals.push(Refusal::new(index, "strait", "timestamp", text, stop));
                continue;
            }
            let text = format!("timestamp {timestamp_ms} cannot be sent (see on_timestamp_zero)");
            match self.spec.policies.on_timestamp_zero {
                OnTimestampZero::Stop => refusals.push(Refusal::new(index, "strait", "timestamp-zero", text, true)),
                OnTimestampZero::Quarantine => {
                    refusals.push(Refusal::new(index, "strait", "timestamp-zero", text, false))
                }
                OnTimestampZero::Now => replace.push(index),
            }
        }
        self.deps.status.add(|t| t.timestamps_replaced += replace.len() as u64);
        for index in replace {
            stamp(processed, index, now_ms);
        }
    }

    /// Keeps refused records. Gives the first that could not be kept: after a failure they go one by one, so that those before
    /// it are passed and not kept again with the next try.
    async fn keep_all<'r>(
        &mut self,
        stream: u32,
        processed: &Processed,
        refusals: &[&'r Refusal],
    ) -> Result<(), (&'r Refusal, PortError)> {
        let is_again = self.partitions.get(stream as usize).is_some_and(|p| self.memory.is_stopped(&p.key));
        let mut step = if is_again || self.memory.quarantine.is_some() { 1 } else { refusals.len() };
        let mut left = refusals;
        while let Some(first) = left.first() {
            if let Some((retry, error)) = &self.memory.quarantine
                && retry.at > self.now
            {
                return Err((first, error.clone()));
            }
            let (these, later) = left.split_at(step.min(left.len()));
            let began = self.deps.clock.now();
            let result = self.keep(stream, processed, these).await;
            self.now = self.deps.clock.now();
            match result {
                Ok(()) => {
                    self.memory.quarantine = None;
                    left = later;
                }
                Err(_) if step > 1 => step = 1,
                Err(error) => {
                    if self.now.saturating_sub(began) >= SILENT {
                        self.memory.quarantine_is_silent(&error, self.now);
                    }
                    return Err((first, error));
                }
            }
        }
        Ok(())
    }

    /// Keeps refused records in the quarantine topic; they are acknowledged there before anything that passes them begins.
    async fn keep(&mut self, stream: u32, processed: &Processed, refusals: &[&Refusal]) -> Result<(), PortError> {
        let Some(partition) = self.partitions.get(stream as usize) else {
            return Ok(());
        };
        let mut records = Vec::with_capacity(refusals.len());
        for refusal in refusals {
            let Some(record) = processed.batch.get(refusal.index) else {
                continue;
            };
            records.push(QuarantineRecord {
                partition: &partition.key,
                record,
                by: &refusal.by,
                digest: refusal.digest.as_deref(),
                code: &refusal.code,
                text: &refusal.text,
                generation: &processed.generation,
            });
        }
        self.quarantine.write(&records).await?;
        let count = records.len() as u64;
        self.deps.status.add_of(&partition.key.topic, |all, topic| {
            all.records_quarantined += count;
            topic.records_quarantined += count;
        });
        for record in &records {
            self.emit(Event::Quarantined {
                partition: partition.key.clone(),
                offset: record.record.offset,
                reason: format!("{} ({}): {}", record.by, record.code, record.text),
            });
        }
        Ok(())
    }

    /// Opens every topic that the batch goes to; `None` when the partition was stopped because one cannot take it.
    async fn open_topics(&mut self, stream: u32, processed: &Processed) -> Result<Option<TargetTopic>, LaneError> {
        let mut topic = None;
        let replaced = processed.dispositions.iter().filter_map(|(_, disposition)| match disposition {
            Disposition::Replace(copies) => Some(copies.iter().filter_map(|c| c.topic.as_ref())),
            _ => None,
        });
        let mut names: Vec<&Arc<str>> = vec![&processed.target_topic];
        names.extend(replaced.flatten());
        names.dedup();
        for name in names {
            let opened = self.open_topic(stream, name).await?;
            topic = topic.or(opened);
            if opened.is_none() {
                return Ok(None);
            }
        }
        Ok(topic)
    }

    async fn open_topic(&mut self, stream: u32, name: &Arc<str>) -> Result<Option<TargetTopic>, LaneError> {
        let Some(partition) = self.partitions.get(stream as usize) else {
            return Ok(None);
        };
        let needed = partition.source_partitions;
        let (partition, target_topic) = (partition.key.clone(), Arc::clone(name));
        let known = self.topics.get(name).copied().filter(|topic| topic.partitions >= needed);
        let lacking = self.lacking.get(name).filter(|(until, _)| *until > self.now).map(|(_, answer)| answer.clone());
        let answer = match (known, lacking) {
            (Some(topic), _) => return Ok(Some(topic)),
            (None, Some(answer)) => answer,
            (None, None) => self.ask_for_topic(name, needed).await?,
        };
        let event = match answer {
            Ok(topic) if topic.partitions >= needed => return Ok(Some(topic)),
            Ok(TargetTopic { partitions: found, .. }) => {
                Event::TargetPartitionsMissing { partition, target_topic, found, needed }
            }
            Err(reason) => Event::TargetDenied { partition, target_topic, reason },
        };
        self.stop(stream, event).await?;
        Ok(None)
    }

    /// Has the target open a topic. Where it may not be written, which stops its partitions and not the lane, gives the reason.
    async fn ask_for_topic(&mut self, name: &Arc<str>, needed: u32) -> Result<Result<TargetTopic, String>, LaneError> {
        let answer = match self.target.open_topic(name, needed).await {
            Ok(topic) => {
                self.topics.insert(Arc::clone(name), topic);
                self.topic_names.insert(topic.handle.0, Arc::clone(name));
                Ok(topic)
            }
            Err(error) if error.class == Class::Stop => Err(error.reason),
            Err(error) => return Err(error.into()),
        };
        if !answer.as_ref().is_ok_and(|topic| topic.partitions >= needed) {
            // Asked once for all partitions that it stops.
            self.lacking.insert(Arc::clone(name), (self.deps.clock.now() + LACKING, answer.clone()));
        }
        Ok(answer)
    }

    /// Stops a partition: nothing more is read, what is queued goes out, the others go on.
    pub(crate) async fn stop(&mut self, stream: u32, event: Event) -> Result<(), LaneError> {
        let Some(partition) = self.partitions.get_mut(stream as usize) else {
            return Ok(());
        };
        self.now = self.deps.clock.now();
        let key = partition.key.clone();
        let (from, to) = (partition.queued_end(), partition.moved_to);
        let (pause, is_news) = self.memory.stop(&key, from, to, &event, self.now);
        partition.pause = Some(pause);
        // Where it is read from, if it goes on.
        partition.expected = to;
        self.deps.status.set(&key, partition.committed, partition.activity());
        self.chain.forget(&key);
        if is_news {
            self.emit(event);
        }
        Ok(self.source.unassign(&[key]).await?)
    }
}

fn set_disposition(processed: &mut Processed, index: usize, disposition: Disposition) {
    match processed.dispositions.binary_search_by_key(&index, |(i, _)| *i) {
        Ok(at) => {
            if let Some(entry) = processed.dispositions.get_mut(at) {
                entry.1 = disposition;
            }
        }
        Err(at) => processed.dispositions.insert(at, (index, disposition)),
    }
}

/// The timestamp, if the topic cannot take it as it is.
fn bad_timestamp(timestamp_ms: i64, topic: &TargetTopic, now_ms: i64) -> Option<i64> {
    let latest = now_ms.saturating_add(topic.timestamp_after_max_ms);
    let earliest = now_ms.saturating_sub(topic.timestamp_before_max_ms);
    let good = timestamp_ms > 0 && (topic.log_append_time || (earliest..=latest).contains(&timestamp_ms));
    (!good).then_some(timestamp_ms)
}

/// Gives a record the present time; copies that have a usable time of their own keep it.
fn stamp(processed: &mut Processed, index: usize, now_ms: i64) {
    let at = processed.dispositions.binary_search_by_key(&index, |(i, _)| *i);
    if let Some((_, Disposition::Replace(copies))) = at.ok().and_then(|at| processed.dispositions.get_mut(at)) {
        for copy in copies.iter_mut().filter(|copy| copy.timestamp_ms.is_none_or(|own| own <= 0)) {
            copy.timestamp_ms = Some(now_ms);
        }
        return;
    }
    let stamped = OutRecord { timestamp_ms: Some(now_ms), ..OutRecord::default() };
    set_disposition(processed, index, Disposition::Replace(vec![stamped]));
}
