//! Reads one partition of a link's own topics to its present end.

use std::time::{Duration, Instant};

use strait_flow::ports::Class;

use crate::error::class_of;
use crate::ffi::{Code, ConsumedMessage, Consumer, FfiError, OffsetSpec, Place};
use crate::queries;

/// Longest first wait for a broker; doubles.
const CONNECT_FIRST: Duration = Duration::from_secs(1);

/// A partition to read.
pub(crate) struct OwnPartition<'a> {
    pub topic: &'a str,
    pub partition: i32,
    /// Whether to read to the high watermark, and wait for transactions that are open below. Else
    /// it ends at the last stable offset.
    pub waits: bool,
    /// How long a request may take, and how long the read may go without a new offset.
    pub timeout: Duration,
}

/// How far a read has come.
struct Reached {
    offset: i64,
    /// When it came there.
    since: Instant,
}

impl Reached {
    fn now_at(&mut self, offset: i64) {
        if offset > self.offset {
            *self = Self { offset, since: Instant::now() };
        }
    }
}

impl OwnPartition<'_> {
    /// Waits for a broker. A login that is refused ends that at once: the client would log in every
    /// second or so.
    fn connect(&self, consumer: &mut Consumer) -> Result<(), FfiError> {
        let (began, mut wait) = (Instant::now(), CONNECT_FIRST);
        loop {
            let left = self.timeout.saturating_sub(began.elapsed());
            let Err(error) = consumer.client().connect(wait.min(left)) else { return Ok(()) };
            // Serves the error callback, so that a refused login is reported and not the timeout.
            consumer.consume(1, Duration::ZERO, |_| ());
            let refused = consumer.client().trouble().is_some_and(|trouble| class_of(trouble.code) == Class::Login);
            if refused || began.elapsed() >= self.timeout {
                return Err(error);
            }
            // A slow line answers one that waits for longer.
            wait *= 2;
        }
    }

    /// Returns where the partition begins and ends.
    pub fn bounds(&self, consumer: &mut Consumer) -> Result<(i64, i64), FfiError> {
        self.connect(consumer)?;
        let place = Place::of(self.topic, self.partition);
        let list = |spec| {
            // The owner reads past the last stable offset: an earlier owner's commit may be decided
            // and not be written here yet. By then its ids are fenced, or the end of their
            // transactions was requested, so each open one ends.
            let asked = std::slice::from_ref(&place);
            let offsets = queries::list(consumer.client(), asked, spec, !self.waits, self.timeout)?;
            offsets.get(&(self.topic.to_owned(), self.partition)).copied().ok_or_else(|| {
                FfiError::new(Code::UNKNOWN_TOPIC_OR_PART, format!("{}-{} does not exist", self.topic, self.partition))
            })
        };
        // Compaction does not move the log's start, but someone may have deleted records.
        let bounds = list(OffsetSpec::Earliest).and_then(|start| Ok((start, list(OffsetSpec::Latest)?)));
        if bounds.is_err() {
            // Serves the error callback, so that a refused login is reported and not the timeout
            // that follows it.
            consumer.consume(1, Duration::ZERO, |_| ());
        }
        bounds
    }

    /// Passes every committed message up to the present end to `each`. Blocks for as long as there
    /// is something new.
    pub fn read(&self, consumer: &mut Consumer, each: &mut dyn FnMut(&ConsumedMessage<'_>)) -> Result<(), FfiError> {
        let (start, end) = self.bounds(consumer)?;
        if start >= end {
            return Ok(());
        }
        consumer.assign(&[Place { offset: start, ..Place::of(self.topic, self.partition) }])?;
        // A long log over a slow line may take long, as long as there is something new.
        let mut reached = Reached { offset: start, since: Instant::now() };
        loop {
            reached.now_at(consumer.client().next_offset().min(end));
            if reached.since.elapsed() > self.timeout {
                let text =
                    format!("offset {end} was not reached: nothing after {} in {:?}", reached.offset, self.timeout);
                return Err(FfiError::new(Code::TIMED_OUT, text));
            }
            // One message at a time, as a batch call would wait for a full batch.
            let is_done = consumer.consume(1, Duration::from_millis(100), |messages| {
                let Some(message) = messages.first() else { return Ok(false) };
                reached.now_at(message.offset());
                match message.code() {
                    Code::OK => {
                        each(message);
                        Ok(message.offset() + 1 >= end)
                    }
                    // The position may be past the listed end, behind aborted and control records.
                    Code::PARTITION_EOF => Ok(message.offset() >= end),
                    code => Err(FfiError::new(code, message.error_text())),
                }
            })?;
            if is_done {
                return Ok(());
            }
        }
    }
}
