//! The partitions of a lane, and what the lane calls each of them.

mod account;
mod in_flight;
mod latency;
mod lineage;
mod pause;
mod positions;
mod queued;
mod suspects;
mod warming_up;
mod window;
mod written;

use std::collections::HashMap;
use std::sync::Arc;

pub(crate) use account::Accounted;
pub(crate) use in_flight::{InFlight, Manner, Place};
pub(crate) use pause::Pause;
pub(crate) use queued::{OutCopy, Queued};
pub(crate) use suspects::Suspects;
pub(crate) use window::PartitionWindow;
pub(crate) use written::Written;

use crate::error::LaneError;
use crate::ports::ReadEpoch;

/// Number of the stream of progress and map records among [`Token::stream`](crate::ports::Token)s.
/// No partition has it.
pub(crate) const CONTROL_STREAM: u32 = 0xff_ffff;

/// As [`CONTROL_STREAM`], for entries of the books.
pub(crate) const BOOKS_STREAM: u32 = CONTROL_STREAM - 1;

/// A lane's number of one of its partitions, for one attempt. Only [`Partitions`] makes them, and
/// it never shrinks: a look-up by stream cannot miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stream(u32);

impl Stream {
    /// Returns the number, as it stands in a token.
    pub fn number(self) -> u32 {
        self.0
    }
}

/// The records that a lane holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Bytes that are queued or in flight.
    pub bytes: usize,
    /// The memory of those, of what the client and the ledgers need for them, of the offset maps
    /// and of entries of the books, in bytes.
    pub memory: usize,
    /// Number of partitions that have records queued or in flight.
    pub busy: usize,
}

/// The partitions of a lane, for one attempt.
#[derive(Debug, Default)]
pub(crate) struct Partitions {
    /// By stream. It never shrinks.
    windows: Vec<PartitionWindow>,
    /// The newest incarnation of each source partition.
    by_place: HashMap<(Arc<str>, i32), Stream>,
    read_epochs: u64,
    /// Memory of all queued batches.
    queued_bytes: usize,
}

impl Partitions {
    /// Adds a partition. It takes the place of an older incarnation of the same topic.
    pub fn insert(&mut self, window: PartitionWindow) -> Result<Stream, LaneError> {
        let number = u32::try_from(self.windows.len()).ok().filter(|n| *n < BOOKS_STREAM);
        let stream = number
            .map(Stream)
            .ok_or_else(|| LaneError::Unusable(format!("a lane has at most {BOOKS_STREAM} partitions")))?;
        let key = window.key();
        self.by_place.insert((Arc::clone(&key.topic), key.partition), stream);
        self.windows.push(window);
        Ok(stream)
    }

    /// Returns a partition.
    #[allow(clippy::indexing_slicing, reason = "streams are indexes that this table handed out, and it never shrinks")]
    pub fn at(&self, stream: Stream) -> &PartitionWindow {
        &self.windows[stream.0 as usize]
    }

    /// Returns a partition, to change it.
    #[allow(clippy::indexing_slicing, reason = "as in `at`")]
    pub fn at_mut(&mut self, stream: Stream) -> &mut PartitionWindow {
        &mut self.windows[stream.0 as usize]
    }

    /// Returns the stream of a source partition, or `None` if the lane does not have it.
    pub fn stream_of(&self, topic: &Arc<str>, partition: i32) -> Option<Stream> {
        self.by_place.get(&(Arc::clone(topic), partition)).copied()
    }

    /// Returns the stream with this number. It comes back from the target in a token.
    pub fn by_number(&self, number: u32) -> Result<Stream, LaneError> {
        let known = usize::try_from(number).is_ok_and(|index| index < self.windows.len());
        if !known {
            return Err(LaneError::Delivery(format!("the target reports the unknown stream {number}")));
        }
        Ok(Stream(number))
    }

    /// Returns all streams, in the order in which they were added.
    pub fn streams(&self) -> impl Iterator<Item = Stream> + use<> {
        (0..self.windows.len() as u32).map(Stream)
    }

    /// Returns all streams, beginning with the `first`th and ending with the one before it.
    pub fn streams_from(&self, first: usize) -> impl Iterator<Item = Stream> + use<> {
        let count = self.windows.len();
        (0..count).map(move |step| Stream(((first + step) % count) as u32))
    }

    /// Returns all partitions.
    pub fn iter(&self) -> impl Iterator<Item = (Stream, &PartitionWindow)> {
        (0..).map(Stream).zip(&self.windows)
    }

    /// Returns all partitions, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Stream, &mut PartitionWindow)> {
        (0..).map(Stream).zip(&mut self.windows)
    }

    /// Returns the partitions for which `is_meant` holds.
    pub fn select(&self, is_meant: impl Fn(&PartitionWindow) -> bool) -> Vec<Stream> {
        self.iter().filter(|(_, window)| is_meant(window)).map(|(stream, _)| stream).collect()
    }

    /// Returns a read epoch that no partition has had in this attempt.
    pub fn new_read_epoch(&mut self) -> ReadEpoch {
        self.read_epochs += 1;
        ReadEpoch(self.read_epochs)
    }

    /// Queues a judged batch.
    pub fn enqueue(&mut self, stream: Stream, queued: Queued, stop_at: Option<strait_core::SourceOffset>) {
        let held = self.at_mut(stream).enqueue(queued, stop_at);
        self.queued_bytes += held;
    }

    /// Moves a partition's cursor to its next record.
    pub fn advance(&mut self, stream: Stream) {
        let freed = self.at_mut(stream).advance();
        self.queued_bytes -= freed;
    }

    /// Returns the memory of all queued batches, in bytes.
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Returns what the partitions hold.
    pub fn load(&self) -> Load {
        let mut load = Load { bytes: self.queued_bytes, memory: self.queued_bytes, busy: 0 };
        for window in &self.windows {
            load.bytes += window.in_flight_bytes();
            load.memory += window.in_flight_memory() + window.control_memory();
            load.busy += usize::from(window.has_queued() || window.in_flight() > 0);
        }
        load
    }

    /// Returns whether everything that was released is acknowledged.
    pub fn is_settled(&self) -> bool {
        self.windows.iter().all(|window| window.in_flight() == 0)
    }

    /// Returns whether a record has sent some of its copies and not the rest. No transaction may
    /// close then.
    pub fn has_partial(&self) -> bool {
        self.windows.iter().any(PartitionWindow::is_partial)
    }

    /// Returns whether progress has something to write.
    pub fn is_dirty(&self) -> bool {
        self.windows.iter().any(PartitionWindow::is_dirty)
    }

    /// Returns the memory of the offset maps and the entries of the books that are to be written,
    /// in bytes.
    pub fn control_memory(&self) -> usize {
        self.windows.iter().map(PartitionWindow::control_memory).sum()
    }

    /// Returns whether progress of some partition is due although nothing moved.
    pub fn owes_progress(&self) -> bool {
        self.windows.iter().any(PartitionWindow::owes_progress)
    }

    /// Returns whether a partition waits for an operator.
    pub fn has_stopped(&self) -> bool {
        self.windows.iter().any(PartitionWindow::is_stopped)
    }

    /// Makes sure that the next progress names at least one partition.
    pub fn claim(&mut self) {
        if let Some(first) = self.windows.first_mut() {
            first.owe_progress();
        }
    }
}
