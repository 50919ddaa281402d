//! Release: gives queued records to the target, in order, as many bytes of a partition at a time as the line carries.

use std::time::Duration;

use strait_core::edit::OutRecord;
use strait_core::{Disposition, RecordRef, Route, partitioner};

use crate::lane::{CONTROL_STREAM, Lane, LaneError};
use crate::ports::{OutHeaders, Outgoing, ProduceError, TargetTopic, Token};
use crate::spec::DeliveryMode;
use crate::transaction::Phase;

/// Over a line shorter than this, part of the next batch may wait behind the one in flight without librdkafka spinning: its
/// linger is longer than the round trip.
const SHORT_LINE: Duration = Duration::from_millis(4);

/// How far giving a partition's records to the target went.
enum Sent {
    Done,
    Full,
}

/// What became of one record.
enum Step {
    /// All copies are sent; their bytes.
    Sent(usize),
    /// The client's queue is full.
    QueueFull,
    /// Together with what is in flight it could make a batch that the target topic refuses.
    BatchFull,
}

impl Lane<'_> {
    /// Gives queued records to the target: per partition up to one batch in flight (and over a short line part of the next),
    /// because an idempotent librdkafka producer moves one batch per partition and round trip, and spins a core while a
    /// second one waits behind it.
    pub(crate) fn release(&mut self) -> Result<(), LaneError> {
        let count = self.partitions.len();
        for step in 0..count {
            let stream = (self.turn + step) % count;
            if !self.transactions.accepts(&self.spec.limits) && self.spec.delivery == DeliveryMode::ExactlyOnce {
                return Ok(());
            }
            if let Sent::Full = self.release_partition(stream)? {
                self.turn = stream;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether a record has sent some of its copies and not the rest: no transaction may close on that.
    pub(crate) fn has_partial(&self) -> bool {
        self.partitions.iter().any(|p| p.queue.front().is_some_and(|q| q.copies_sent > 0))
    }

    /// Sends the missing copies of such records, and nothing else.
    pub(crate) fn finish_partial(&mut self) -> Result<(), LaneError> {
        for stream in 0..self.partitions.len() {
            let partial = self.partitions.get(stream).and_then(|p| p.queue.front()).filter(|q| q.copies_sent > 0);
            if partial.is_some() {
                self.send_and_pass(stream)?;
            }
        }
        Ok(())
    }

    fn release_partition(&mut self, stream: usize) -> Result<Sent, LaneError> {
        let Some(partition) = self.partitions.get(stream) else {
            return Ok(Sent::Done);
        };
        if !partition.has_queued() {
            if let Some(partition) = self.partitions.get_mut(stream) {
                partition.pass_moved();
            }
            return Ok(Sent::Done);
        }
        if !self.may_touch(stream) {
            return Ok(Sent::Done);
        }
        let mut quota = self.quota(stream);
        while quota > 0 {
            let Some(partition) = self.partitions.get_mut(stream) else {
                return Ok(Sent::Done);
            };
            let Some(queued) = partition.queue.front() else { return Ok(Sent::Done) };
            let Some(offset) = queued.processed.batch.get(queued.cursor).map(|r| r.offset) else {
                return Ok(Sent::Done);
            };
            let careful = offset < partition.careful_until;
            // Also the first one behind them waits: in one request with a suspect it would be blamed together with it.
            let suspects = partition.ledger.settled() < partition.careful_until;
            if suspects && partition.ledger.in_flight() > 0 {
                return Ok(Sent::Done);
            }
            self.touch(stream)?;
            quota = match self.send_and_pass(stream)? {
                Step::QueueFull => return Ok(Sent::Full),
                Step::Sent(bytes) if !careful => quota.saturating_sub(bytes.max(1)),
                Step::Sent(_) | Step::BatchFull => 0,
            };
        }
        Ok(Sent::Done)
    }

    /// Sends the record at a partition's cursor and moves the cursor behind it.
    fn send_and_pass(&mut self, stream: usize) -> Result<Step, LaneError> {
        let step = self.send_current(stream)?;
        if !matches!(step, Step::Sent(_)) {
            return Ok(step);
        }
        let Some(partition) = self.partitions.get_mut(stream) else { return Ok(step) };
        let Some(queued) = partition.queue.front_mut() else { return Ok(step) };
        if let Some(record) = queued.processed.batch.get(queued.cursor) {
            partition.ledger.pass(record.offset.next());
        }
        queued.advance();
        if queued.is_done() {
            self.queued_bytes -= queued.held_bytes;
            partition.queue.pop_front();
            partition.pass_moved();
        }
        Ok(step)
    }

    /// Sends every copy of the record at a partition's cursor.
    fn send_current(&mut self, stream: usize) -> Result<Step, LaneError> {
        let Self { partitions, target, topics, transactions, memory, dropped, now, .. } = self;
        let Some(partition) = partitions.get_mut(stream) else {
            return Ok(Step::Sent(0));
        };
        let Some(queued) = partition.queue.front_mut() else {
            return Ok(Step::Sent(0));
        };
        let Some(record) = queued.processed.batch.get(queued.cursor) else {
            return Ok(Step::Sent(0));
        };
        let unchanged = [OutRecord::default()];
        let copies = match queued.current_disposition() {
            None => &unchanged[..],
            Some(Disposition::Replace(copies)) => copies.as_slice(),
            Some(Disposition::Drop | Disposition::Reject(_) | Disposition::Halt(_)) => {
                *dropped += 1;
                return Ok(Step::Sent(0));
            }
        };
        let mut bytes = 0;
        let mut sent = 0;
        let mut stopped = None;
        for copy in copies.iter().skip(queued.copies_sent) {
            let topic = copy.topic.as_ref().and_then(|t| topics.get(t)).copied().unwrap_or(queued.topic);
            let outgoing =
                outgoing(&record, copy, &topic, partition.key.partition, stream, partition.ledger.next_sequence());
            let size = outgoing_bytes(&outgoing);
            // All that is in flight may end up in one batch of the client: a record that would not fit into it waits.
            if partition.ledger.in_flight() > 0 && partition.ledger.in_flight_bytes() + size > batch_bytes_max(&topic) {
                stopped = Some(Step::BatchFull);
                break;
            }
            match target.produce(transactions.slot, &outgoing) {
                Ok(()) => {}
                Err(ProduceError::QueueFull) => {
                    stopped = Some(Step::QueueFull);
                    break;
                }
                Err(ProduceError::Refused(reason)) => {
                    memory.doom(&partition.key, record.offset, queued.processed.batch.leader_epoch(), &reason);
                    return Err(LaneError::Refused(format!("{} at offset {}: {reason}", partition.key, record.offset)));
                }
                Err(ProduceError::Broken(reason)) => return Err(LaneError::Delivery(reason)),
            }
            partition
                .ledger
                .produced(record.offset, topic.handle.0, outgoing.partition, size)
                .map_err(|e| LaneError::Delivery(format!("{}: {e}", partition.key)))?;
            partition.waiting_since.get_or_insert(*now);
            bytes += size;
            sent += 1;
        }
        queued.copies_sent += sent;
        if let Phase::Open { bytes: total, .. } = &mut transactions.phase {
            *total += bytes;
        }
        Ok(stopped.unwrap_or(Step::Sent(bytes)))
    }

    /// Bytes of a partition that may be released now.
    fn quota(&self, stream: usize) -> usize {
        let Some(partition) = self.partitions.get(stream) else {
            return 0;
        };
        let Some(queued) = partition.queue.front() else {
            return 0;
        };
        let limits = &self.spec.limits;
        let in_flight = partition.ledger.in_flight_bytes();
        let batch_max = batch_bytes_max(&queued.topic);
        if self.target.round_trip() <= SHORT_LINE {
            return (limits.release_bytes * 3 / 2).min(batch_max).saturating_sub(in_flight);
        }
        if in_flight > 0 {
            return 0;
        }
        self.release_size().min(batch_max)
    }

    /// Whether more waits than one release carries. A few records that wait for the round trip of those before them are no
    /// backlog: their transaction should commit soon, not be filled.
    pub(crate) fn has_backlog(&self) -> bool {
        self.queued_bytes > self.release_size()
    }

    /// Bytes of a partition that one round trip should carry: longer lines need larger batches.
    pub(crate) fn release_size(&self) -> usize {
        let limits = &self.spec.limits;
        let lengths = self.target.round_trip().as_millis() / SHORT_LINE.as_millis();
        let factor = usize::try_from(lengths).unwrap_or(usize::MAX).max(1);
        limits.release_bytes.saturating_mul(factor).min(limits.release_bytes_max)
    }

    /// Whether a partition may join the open transaction.
    fn may_touch(&self, stream: usize) -> bool {
        if self.spec.delivery == DeliveryMode::AtLeastOnce {
            return true;
        }
        let touched = self.partitions.get(stream).is_some_and(|p| p.touched);
        match self.transactions.phase {
            Phase::Open { partitions, .. } => touched || partitions < self.spec.limits.transaction_partitions_max,
            Phase::Idle => true,
            _ => false,
        }
    }

    /// Counts a partition into the open transaction; begins one where there is none.
    fn touch(&mut self, stream: usize) -> Result<(), LaneError> {
        if self.spec.delivery == DeliveryMode::AtLeastOnce {
            return Ok(());
        }
        self.begin()?;
        let Some(partition) = self.partitions.get_mut(stream) else {
            return Ok(());
        };
        if partition.touched {
            return Ok(());
        }
        partition.touched = true;
        if let Phase::Open { partitions, .. } = &mut self.transactions.phase {
            *partitions += 1;
        }
        Ok(())
    }
}

/// The record to send for one copy, its partition decided.
fn outgoing<'a>(
    record: &RecordRef<'a>,
    copy: &'a OutRecord,
    topic: &TargetTopic,
    source_partition: i32,
    stream: usize,
    sequence: u64,
) -> Outgoing<'a> {
    let key = copy.key.resolve(record.key);
    Outgoing {
        topic: topic.handle,
        partition: match &copy.route {
            Route::Partition(partition) => *partition,
            Route::Hash(bytes) => partitioner::partition_of(bytes, topic.partitions),
            Route::Keep if source_partition.unsigned_abs() < topic.partitions => source_partition,
            // A routed record whose number does not exist there: as Kafka's default partitioner, null keys by number.
            Route::Keep | Route::ByKey => match key {
                Some(key) => partitioner::partition_of(key, topic.partitions),
                None => source_partition % i32::try_from(topic.partitions.max(1)).unwrap_or(i32::MAX),
            },
        },
        token: Token { stream: u32::try_from(stream).unwrap_or(CONTROL_STREAM), sequence },
        key,
        value: copy.value.resolve(record.value),
        headers: match &copy.headers {
            Some(list) => OutHeaders::List(list),
            None => OutHeaders::Original(*record),
        },
        timestamp_ms: copy.timestamp_ms.unwrap_or(record.timestamp_ms),
    }
}

/// Bytes that a batch for this topic may have before compression. The broker's limit is on the compressed batch; staying
/// below it uncompressed is always safe.
fn batch_bytes_max(topic: &TargetTopic) -> usize {
    topic.max_message_bytes - topic.max_message_bytes / 16
}

fn outgoing_bytes(record: &Outgoing<'_>) -> usize {
    let mut bytes = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
    // The lengths of name and value cost up to 5 bytes each.
    record.headers.for_each(|h| bytes += h.name.len() + h.value.map_or(0, <[u8]>::len) + 10);
    // What a record costs besides its bytes, so that a flood of empty ones is bounded too.
    bytes + 64
}
