//! Release: gives queued records to the target in order, as many bytes of a partition at a time as
//! the line to the target carries.

use std::time::Duration;

use strait_core::{Route, partitioner};

use super::Lane;
use crate::error::LaneError;
use crate::partitions::{Manner, OutCopy, Place, Stream};
use crate::ports::{ProduceError, TargetTopic, Token};
use crate::spec::DeliveryMode;

/// The state of release between two passes.
#[derive(Debug, Default)]
pub(super) struct Release {
    /// The partition that the round robin begins with.
    next_partition: usize,
    /// Records that plugins dropped, not yet added to the totals.
    dropped: u64,
}

impl Release {
    /// Begins the next pass one partition further on.
    pub fn next_turn(&mut self) {
        self.next_partition = self.next_partition.wrapping_add(1);
    }

    /// Takes out the number of records that plugins dropped since the last call.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

/// How far a partition got in one pass.
enum Released {
    Done,
    QueueFull,
}

/// How far one record got.
enum Sent {
    /// All copies are sent, with so many bytes.
    All(usize),
    /// The client's queue is full.
    QueueFull,
    /// Together with what is in flight it could make a batch that the target topic refuses, or
    /// that does not tell whom a refusal means.
    MustWait,
}

impl Lane<'_> {
    /// Sends queued records to the target, partition by partition, as far as it takes them.
    pub(super) fn release(&mut self, now: Duration) -> Result<(), LaneError> {
        // The maps of what is written wait for progress: their memory must not grow without end.
        if self.progress.late_for(now).is_some() {
            return Ok(());
        }
        for stream in self.partitions.streams_from(self.release.next_partition) {
            if self.in_flight.is_full() {
                self.release.next_partition = stream.number() as usize;
                return Ok(());
            }
            let exactly_once = self.spec.delivery == DeliveryMode::ExactlyOnce;
            if exactly_once && !self.transactions.accepts(&self.spec.limits) {
                return Ok(());
            }
            if let Released::QueueFull = self.release_partition(stream, now)? {
                self.release.next_partition = stream.number() as usize;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sends the missing copies of records of which some are sent, and nothing else.
    pub(super) fn finish_partial(&mut self, now: Duration) -> Result<(), LaneError> {
        for stream in self.partitions.streams() {
            if self.partitions.at(stream).is_partial() {
                self.send_and_advance(stream, now)?;
            }
        }
        Ok(())
    }

    fn release_partition(&mut self, stream: Stream, now: Duration) -> Result<Released, LaneError> {
        if !self.partitions.at(stream).has_queued() {
            self.partitions.at_mut(stream).release_passed();
            return Ok(Released::Done);
        }
        if !self.may_join(stream) {
            return Ok(Released::Done);
        }
        let mut quota = self.quota(stream);
        while quota > 0 {
            let window = self.partitions.at(stream);
            let Some(front) = window.front() else { return Ok(Released::Done) };
            let Some(record) = front.current() else {
                return Err(LaneError::impossible(format!("{}: an empty batch is queued", window.key())));
            };
            // What is left out waits for nobody.
            if window.must_wait_for_suspects(record.offset) && window.next_copy().is_some() {
                return Ok(Released::Done);
            }
            self.join(stream, now)?;
            quota = match self.send_and_advance(stream, now)? {
                Sent::QueueFull => return Ok(Released::QueueFull),
                Sent::All(bytes) => quota.saturating_sub(bytes.max(1)),
                Sent::MustWait => 0,
            };
        }
        Ok(Released::Done)
    }

    /// Sends the record at a partition's cursor, and moves the cursor on if all copies are sent.
    fn send_and_advance(&mut self, stream: Stream, now: Duration) -> Result<Sent, LaneError> {
        let sent = self.send(stream, now)?;
        if let Sent::All(_) = sent {
            self.partitions.advance(stream);
        }
        Ok(sent)
    }

    /// Sends the copies of the record at a partition's cursor that are not sent yet.
    fn send(&mut self, stream: Stream, now: Duration) -> Result<Sent, LaneError> {
        let Self { partitions, target, topics, transactions, caution, release, in_flight, .. } = self;
        let window = partitions.at_mut(stream);
        if window.front().is_some_and(|front| front.is_dropped()) {
            release.dropped += 1;
            return Ok(Sent::All(0));
        }
        let mut bytes = 0;
        let mut sent = None;
        while let Some(copy) = window.next_copy() {
            let topic = copy.edit.map_or(copy.batch_topic, |edit| topics.topic_of(edit, &copy.batch_topic));
            let partition = target_partition(&copy, &topic, window.key().partition);
            let token = Token { stream: stream.number(), sequence: window.next_sequence() };
            let outgoing = copy.outgoing(&topic, partition, token);
            let size = outgoing.counted_bytes();
            let offset = copy.record.offset;
            let place = Place { topic: topic.handle, partition };
            // A record that may not fit even after compression goes alone: only it may be refused.
            let manner = match window.manner(offset) {
                Manner::Plain | Manner::Rest if size > topic.batch_bytes_max() => Manner::Alone,
                manner => manner,
            };
            // No stream waits for a record that is sent in part: it keeps the transaction open.
            let completes = window.is_partial() && in_flight.records(place) == 0;
            if !completes && !in_flight.admits(place, stream, manner, size, topic.batch_bytes_max()) {
                sent = Some(Sent::MustWait);
                break;
            }
            let mark = copy.record.mark();
            match target.produce(transactions.slot(), &outgoing) {
                Ok(()) => {}
                Err(ProduceError::QueueFull) => {
                    sent = Some(Sent::QueueFull);
                    break;
                }
                Err(ProduceError::Refused(reason)) => {
                    caution.refuse(window.key(), offset, mark, &reason);
                    return Err(LaneError::Refused(format!("{} at offset {offset}: {reason}", window.key())));
                }
                Err(ProduceError::Broken(reason)) => return Err(LaneError::Delivery(reason)),
            }
            window.sent((offset, mark), &topic, partition, size)?;
            in_flight.sent(place, stream, manner, size, now);
            bytes += size;
        }
        transactions.add_bytes(bytes);
        Ok(sent.unwrap_or(Sent::All(bytes)))
    }

    /// Returns how many bytes of a partition may be released now: one batch in flight, and part of
    /// the next where the client can take it.
    fn quota(&self, stream: Stream) -> usize {
        let window = self.partitions.at(stream);
        let Some(front) = window.front() else {
            return 0;
        };
        let (in_flight, batch_max) = (window.in_flight_bytes(), front.topic().batch_bytes_max());
        if self.target.release_hint().may_overlap {
            return (self.release_size() * 3 / 2).min(batch_max).saturating_sub(in_flight);
        }
        if in_flight > 0 {
            return 0;
        }
        self.release_size().min(batch_max)
    }

    /// Returns how many bytes of a partition one round trip should carry.
    pub(super) fn release_size(&self) -> usize {
        let limits = &self.spec.limits;
        let factor = self.target.release_hint().batch_factor;
        limits.release_bytes.saturating_mul(factor).min(limits.release_bytes_max)
    }

    /// Returns whether more is queued than one release carries. A few records that wait for the
    /// round trip of those before them are no backlog: their transaction should commit soon, not
    /// be filled.
    pub(super) fn has_backlog(&self) -> bool {
        self.partitions.queued_bytes() > self.release_size()
    }

    /// Returns whether a partition may join the open transaction, or is in it.
    fn may_join(&self, stream: Stream) -> bool {
        let joined = self.partitions.at(stream).is_in_transaction() && self.transactions.is_open();
        self.spec.delivery == DeliveryMode::AtLeastOnce
            || joined
            || self.transactions.accepts_partition(&self.spec.limits)
    }

    /// Makes a partition join the open transaction. Begins one if none is open.
    fn join(&mut self, stream: Stream, now: Duration) -> Result<(), LaneError> {
        if self.spec.delivery == DeliveryMode::AtLeastOnce {
            return Ok(());
        }
        self.begin(now)?;
        if self.partitions.at_mut(stream).join_transaction() {
            self.transactions.add_partition();
        }
        Ok(())
    }
}

/// Returns the target partition of one copy of a record.
fn target_partition(copy: &OutCopy<'_>, topic: &TargetTopic, source_partition: i32) -> i32 {
    match copy.edit.map_or(&Route::Keep, |edit| &edit.route) {
        Route::Partition(partition) => *partition,
        Route::Hash(bytes) => partitioner::partition_of(bytes, topic.partitions),
        Route::Keep if source_partition.unsigned_abs() < topic.partitions => source_partition,
        // A routed record whose partition does not exist there: by its key, as a default producer
        // chooses it, or by number if the key is null.
        Route::Keep | Route::ByKey => match copy.key() {
            Some(key) => partitioner::partition_of(key, topic.partitions),
            None => source_partition % i32::try_from(topic.partitions.max(1)).unwrap_or(i32::MAX),
        },
    }
}

#[cfg(test)]
mod tests {
    use strait_core::edit::{Content, OutRecord};
    use strait_core::{BatchBuilder, LeaderEpoch, SourceOffset, TimestampType, TopicId};

    use super::*;
    use crate::ports::TopicHandle;

    fn topic(partitions: u32) -> TargetTopic {
        TargetTopic {
            handle: TopicHandle(0),
            id: TopicId([1; 16]),
            partitions,
            max_message_bytes: 1 << 20,
            log_append_time: false,
            timestamp_after_max_ms: i64::MAX,
            timestamp_before_max_ms: i64::MAX,
        }
    }

    #[test]
    fn a_record_whose_partition_the_topic_lacks_goes_by_its_key_or_by_number() {
        let mut batch = BatchBuilder::new("t".into(), 5, TimestampType::Create, LeaderEpoch(0));
        batch.push(SourceOffset(0), 1, Some(b"foobar"), None);
        batch.push(SourceOffset(1), 1, None, None);
        let batch = batch.build();
        let of = |index: usize, edit: Option<&OutRecord>, partitions| {
            let copy = OutCopy { record: batch.get(index).unwrap(), edit, batch_topic: topic(1) };
            target_partition(&copy, &topic(partitions), 5)
        };
        let (keyed, keyless) = (0, 1);
        let routed = |route| OutRecord { route, ..OutRecord::default() };
        let hashed = |key: &[u8], partitions| partitioner::partition_of(key, partitions);
        for partitions in [1, 2, 3, 4] {
            let (keep, by_key) = (routed(Route::Keep), routed(Route::ByKey));
            for edit in [None, Some(&keep), Some(&by_key)] {
                assert_eq!(of(keyed, edit, partitions), hashed(b"foobar", partitions), "{edit:?} of {partitions}");
                assert_eq!(of(keyless, edit, partitions), 5 % partitions as i32, "{edit:?} of {partitions}");
            }
            let other_key = OutRecord { key: Content::Bytes(b"21".to_vec()), ..OutRecord::default() };
            assert_eq!(of(keyed, Some(&other_key), partitions), hashed(b"21", partitions));
            let hash = routed(Route::Hash(b"abc".to_vec()));
            assert_eq!(of(keyless, Some(&hash), partitions), hashed(b"abc", partitions));
        }
        // Where it exists, the number is kept.
        assert_eq!((of(keyed, None, 6), of(keyless, None, 6)), (5, 5));
        assert_eq!(of(keyed, Some(&routed(Route::ByKey)), 7), hashed(b"foobar", 7));
        assert_eq!(of(keyed, Some(&routed(Route::Partition(2))), 7), 2);
    }
}
