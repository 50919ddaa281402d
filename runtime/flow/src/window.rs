//! The records of one source partition between fetch and acknowledgement: a queue of judged batches, and the books.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use strait_core::map::MapBuilder;
use strait_core::progress::Border;
use strait_core::{Disposition, LeaderEpoch, Ledger, PartitionKey, Processed, SourceOffset};

use crate::ports::{ReadEpoch, TargetTopic};
use crate::status::Activity;

/// Why a partition is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// Stopped by policy or for a fault that only an operator can mend.
    Stopped,
    /// Tried again at this time: the target does not take its records, or the source does not give them.
    Waiting { retry_at: Duration },
    /// An operator must act, and it may be tried again at this time whether that has been done.
    Denied { retry_at: Duration },
}

/// Timestamps kept per partition for the latency; without room the oldest go, and their batches are not in the sample.
const TIMES_MAX: usize = 1024;

/// A judged batch, released record by record.
#[derive(Debug)]
pub(crate) struct Queued {
    pub processed: Processed,
    /// Where untouched records go.
    pub topic: TargetTopic,
    /// Index of the next record to release.
    pub cursor: usize,
    /// Index behind the last record to release: the batch's end, or the record where its partition stops.
    pub end: usize,
    /// Index of the first disposition at or after `cursor`.
    pub disposition: usize,
    /// Copies of the record at `cursor` that were sent already (a full queue can stop between two copies).
    pub copies_sent: usize,
    /// Memory that the batch holds.
    pub held_bytes: usize,
}

impl Queued {
    pub fn new(processed: Processed, topic: TargetTopic, end: usize) -> Self {
        let held_bytes = processed.batch.held_bytes();
        Self { processed, topic, cursor: 0, end, disposition: 0, copies_sent: 0, held_bytes }
    }

    /// The disposition of the record at the cursor, if it has one.
    pub fn current_disposition(&self) -> Option<&Disposition> {
        let (index, disposition) = self.processed.dispositions.get(self.disposition)?;
        (*index == self.cursor).then_some(disposition)
    }

    pub fn advance(&mut self) {
        if self.current_disposition().is_some() {
            self.disposition += 1;
        }
        self.cursor += 1;
        self.copies_sent = 0;
    }

    pub fn is_done(&self) -> bool {
        self.cursor >= self.end
    }
}

/// The chain is shown the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LookingBack {
    /// Up to here, which is where reading goes on then.
    pub until: SourceOffset,
    /// When the source gave something last.
    pub heard: Duration,
}

/// One source partition of a lane.
#[derive(Debug)]
pub(crate) struct PartitionWindow {
    pub key: PartitionKey,
    /// Partition count of the source topic, for target topics that are made.
    pub source_partitions: u32,
    pub read_epoch: ReadEpoch,
    pub queue: VecDeque<Queued>,
    pub ledger: Ledger,
    pub map: Vec<(u32, MapBuilder)>,
    /// The smallest offset that the source may give next.
    pub expected: SourceOffset,
    /// Largest leader epoch seen.
    pub leader_epoch: LeaderEpoch,
    /// From which offset on records were read under which leader epoch, in reading order, never empty: progress is behind
    /// the reader, and must be written with the epoch of its own last record.
    epochs: VecDeque<(SourceOffset, LeaderEpoch)>,
    /// Committed progress.
    pub committed: SourceOffset,
    /// Progress in the transaction that is being committed (or committed).
    pub written: SourceOffset,
    /// Since when something has been in flight without any acknowledgement.
    pub waiting_since: Option<Duration>,
    /// Records up to here go one per request, so that a refusal names its record.
    pub careful_until: SourceOffset,
    /// From which offset on records were judged by which plugins, in reading order: progress is behind, and names the
    /// plugins of its own last record.
    generations: VecDeque<(SourceOffset, Arc<str>)>,
    /// The plugins of the last record before progress.
    pub generation: Arc<str>,
    /// The newest border that is written, `None` before the first.
    pub border: Option<Border>,
    pub pause: Option<Pause>,
    pub looking_back: Option<LookingBack>,
    /// In the open transaction.
    pub touched: bool,
    /// Its first position is not written yet.
    pub fresh: bool,
    /// Its first position is not committed yet: nothing is fetched before that.
    pub awaits_start: bool,
    /// The reader moved here without records behind the last queued one.
    pub moved_to: SourceOffset,
    /// Offset and timestamp of the last record of each batch that was read and is not committed.
    times: VecDeque<(SourceOffset, i64)>,
}

impl PartitionWindow {
    pub fn new(key: PartitionKey, source_partitions: u32, next: SourceOffset, leader_epoch: LeaderEpoch) -> Self {
        Self {
            key,
            source_partitions,
            read_epoch: ReadEpoch::default(),
            queue: VecDeque::new(),
            ledger: Ledger::new(next),
            map: Vec::new(),
            expected: next,
            leader_epoch,
            epochs: VecDeque::from([(SourceOffset(next.0.saturating_sub(1)), leader_epoch)]),
            committed: next,
            written: next,
            waiting_since: None,
            careful_until: SourceOffset(0),
            generations: VecDeque::new(),
            generation: "none".into(),
            border: None,
            pause: None,
            looking_back: None,
            touched: false,
            fresh: false,
            awaits_start: false,
            moved_to: next,
            times: VecDeque::new(),
        }
    }

    /// A batch with this last record was read.
    pub fn note_time(&mut self, last: SourceOffset, time_ms: Option<i64>) {
        let Some(time_ms) = time_ms.filter(|time_ms| *time_ms > 0) else { return };
        // Read before, and not let pass.
        while self.times.pop_back_if(|(offset, _)| *offset >= last).is_some() {}
        if self.times.len() >= TIMES_MAX {
            self.times.pop_front();
        }
        self.times.push_back((last, time_ms));
    }

    /// Takes out the timestamps of records below `next`, oldest first.
    pub fn times_below(&mut self, next: SourceOffset) -> Vec<i64> {
        let done = self.times.iter().take_while(|(offset, _)| *offset < next).count();
        self.times.drain(..done).map(|(_, time_ms)| time_ms).collect()
    }

    /// Records from `first` on are of this leader epoch.
    pub fn read_under(&mut self, first: SourceOffset, leader_epoch: LeaderEpoch) {
        self.leader_epoch = leader_epoch;
        if self.epochs.back().is_none_or(|(_, last)| *last != leader_epoch) {
            self.epochs.push_back((first, leader_epoch));
        }
    }

    /// Records from `first` on were judged by these plugins.
    pub fn judged_by(&mut self, first: SourceOffset, generation: &Arc<str>) {
        // Judged before, and not let pass.
        while self.generations.pop_back_if(|(from, _)| *from >= first).is_some() {}
        if self.generations.back().is_none_or(|(_, last)| last != generation) {
            self.generations.push_back((first, Arc::clone(generation)));
        }
    }

    /// The plugins of the last record before `next`, and the borders before `next` that are not written yet. With this they
    /// are.
    pub fn generation_before(&mut self, next: SourceOffset) -> (Arc<str>, Vec<Border>) {
        let mut borders = Vec::new();
        while let Some((from, generation)) = self.generations.pop_front_if(|(from, _)| *from < next) {
            let known = self.border.as_ref().map_or("none", |border| &border.generation);
            if *known != *generation {
                let number = self.border.as_ref().map_or(0, |border| border.number) + 1;
                let border = Border { number, from, generation: Arc::clone(&generation) };
                borders.push(border.clone());
                self.border = Some(border);
            }
            self.generation = generation;
        }
        (Arc::clone(&self.generation), borders)
    }

    /// Leader epoch of a record that was read and is not history.
    pub fn epoch_of(&self, offset: SourceOffset) -> LeaderEpoch {
        let under = self.epochs.iter().rfind(|(first, _)| *first <= offset);
        under.map_or(LeaderEpoch::UNKNOWN, |(_, epoch)| *epoch)
    }

    /// Leader epoch of the last record before `next`, for progress; what lies before is forgotten.
    pub fn epoch_before(&mut self, next: SourceOffset) -> LeaderEpoch {
        let at = self.epochs.iter().rposition(|(first, _)| *first < next).unwrap_or(0);
        self.epochs.drain(..at);
        self.epochs.front().map_or(LeaderEpoch::UNKNOWN, |(_, epoch)| *epoch)
    }

    /// Takes what is acknowledged out of the books and into the map of the open transaction.
    pub fn settle(&mut self) -> u64 {
        let Self { ledger, map, .. } = self;
        let mut settled = 0;
        ledger.settle(|record| {
            settled += 1;
            let builder = match map.iter_mut().position(|(topic, _)| *topic == record.topic) {
                Some(at) => map.get_mut(at),
                None => {
                    map.push((record.topic, MapBuilder::default()));
                    map.last_mut()
                }
            };
            if let Some((_, builder)) = builder {
                builder.push(record.source, record.partition, record.target);
            }
        });
        settled
    }

    /// The first record that is neither acknowledged nor left out, as far as the books do not say so themselves.
    pub fn oldest_waiting(&self) -> Option<SourceOffset> {
        let in_flight = (self.ledger.in_flight() > 0).then(|| self.ledger.settled());
        let queued = self.queue.front().and_then(|q| q.processed.batch.get(q.cursor)).map(|record| record.offset);
        in_flight.or(queued)
    }

    /// Whether progress has something to write.
    pub fn is_dirty(&self) -> bool {
        self.fresh || self.ledger.settled() > self.written
    }

    /// A partition seen for the first time: its position is committed before anything is fetched.
    pub fn first_seen(mut self) -> Self {
        self.fresh = true;
        self.awaits_start = true;
        self
    }

    /// With nothing queued, offsets that hold no record for us are passed too.
    pub fn pass_moved(&mut self) {
        if self.queue.is_empty() {
            self.ledger.pass(self.moved_to);
        }
    }

    /// Everything before this offset is queued, or was released.
    pub fn queued_end(&self) -> SourceOffset {
        let last = self.queue.back().and_then(|q| q.processed.batch.get(q.end.checked_sub(1)?));
        last.map_or_else(|| self.ledger.released(), |record| record.offset.next())
    }

    /// Whether it stands still for a while that is over.
    pub fn is_due(&self, now: Duration) -> bool {
        matches!(self.pause, Some(Pause::Waiting { retry_at } | Pause::Denied { retry_at }) if retry_at <= now)
    }

    /// What it is doing, for status.
    pub fn activity(&self) -> Activity {
        match self.pause {
            None => Activity::Running,
            Some(Pause::Stopped | Pause::Denied { .. }) => Activity::Stopped,
            Some(Pause::Waiting { .. }) => Activity::Stuck,
        }
    }

    /// Whether records wait to be released.
    pub fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_names_the_plugins_of_its_own_last_record_and_every_border_once() {
        let key = PartitionKey { topic: "t".into(), topic_id: strait_core::TopicId::UNKNOWN, partition: 0 };
        let mut window = PartitionWindow::new(key, 1, SourceOffset(5), LeaderEpoch(1));
        let write = |window: &mut PartitionWindow, next: i64| {
            let (generation, borders) = window.generation_before(SourceOffset(next));
            let borders: Vec<(u64, i64, String)> =
                borders.iter().map(|b| (b.number, b.from.0, b.generation.to_string())).collect();
            (generation.to_string(), borders)
        };
        window.judged_by(SourceOffset(5), &"none".into());
        assert_eq!(write(&mut window, 8), ("none".to_owned(), vec![]));
        for (first, generation) in [(8, "a"), (10, "a"), (12, "b"), (14, "a")] {
            window.judged_by(SourceOffset(first), &generation.into());
        }
        assert_eq!(write(&mut window, 8), ("none".to_owned(), vec![]));
        // In the middle of a batch of a; then over two borders at once.
        assert_eq!(write(&mut window, 9), ("a".to_owned(), vec![(1, 8, "a".to_owned())]));
        assert_eq!(write(&mut window, 12), ("a".to_owned(), vec![]));
        assert_eq!(write(&mut window, 15), ("a".to_owned(), vec![(2, 12, "b".to_owned()), (3, 14, "a".to_owned())]));
        window.judged_by(SourceOffset(16), &"a".into());
        assert_eq!(write(&mut window, 20), ("a".to_owned(), vec![]));
        // Of c and d nothing was let pass: they judged what e has judged anew.
        for (first, generation) in [(20, "c"), (24, "d"), (20, "e")] {
            window.judged_by(SourceOffset(first), &generation.into());
        }
        assert_eq!(write(&mut window, 30), ("e".to_owned(), vec![(4, 20, "e".to_owned())]));
    }

    #[test]
    fn progress_has_the_epoch_of_its_own_last_record() {
        let key = PartitionKey { topic: "t".into(), topic_id: strait_core::TopicId::UNKNOWN, partition: 0 };
        let mut window = PartitionWindow::new(key, 1, SourceOffset(5), LeaderEpoch(1));
        window.read_under(SourceOffset(7), LeaderEpoch(1));
        window.read_under(SourceOffset(9), LeaderEpoch(3));
        assert_eq!(window.leader_epoch, LeaderEpoch(3));
        assert_eq!(window.epoch_of(SourceOffset(8)), LeaderEpoch(1));
        assert_eq!(window.epoch_of(SourceOffset(9)), LeaderEpoch(3));
        assert_eq!(window.epoch_before(SourceOffset(9)), LeaderEpoch(1));
        assert_eq!(window.epoch_before(SourceOffset(10)), LeaderEpoch(3));
        // Truncated, and continued at 10 by policy: nothing is known of the record before it.
        window.read_under(SourceOffset(9), LeaderEpoch::UNKNOWN);
        assert_eq!(window.epoch_before(SourceOffset(10)), LeaderEpoch::UNKNOWN);
    }
}
