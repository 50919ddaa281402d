//! The books: no refused record is passed over without its entry there, in the same transaction.
//!
//! A target that does not take the entries would break one transaction after the other, and hold up
//! partitions that refuse nothing. So whether it takes them is asked before a record is passed
//! over, and an attempt that broke with entries on their way is a caution for the next one: it
//! stops the partitions that need the books before they enter a transaction.

use std::sync::Arc;
use std::time::Duration;

use strait_core::books::{BookEntry, BookKey, BookState, KeptAt, ReadAgain};
use strait_core::{Event, PartitionKey, Processed, SourceOffset};

use super::Lane;
use super::pauses::UNFENCED_TRIED_MAX;
use crate::error::LaneError;
use crate::ports::{BooksAnswer, Class, ControlRecord, PortError};
use crate::refusals::Refusal;

/// How long the answer of the target counts that the books can be written. The lane waits for each,
/// and a wrong one costs an attempt.
const OPEN_FOR: Duration = Duration::from_secs(10);

/// How long the target may take to tell whether the books can be written.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Bytes of a batch around its records.
const BATCH_BYTES: usize = 128;

/// The books, for one attempt.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// When the target said that they can be written, and the largest batch that it takes.
    open: Option<(Duration, usize)>,
    /// When the entries in flight were sent.
    sent_at: Option<Duration>,
}

impl Books {
    /// Returns most bytes of entries in one batch, of `most` at first.
    pub fn bytes_max(&self, most: usize) -> usize {
        self.open.map_or(most, |(_, batch_bytes_max)| most.min(entry_bytes_max(batch_bytes_max)))
    }

    /// Entries were sent.
    pub fn sent(&mut self, now: Duration) {
        self.sent_at = Some(now);
    }

    /// Everything that was sent is acknowledged.
    pub fn acknowledged(&mut self) {
        self.sent_at = None;
    }
}

/// Returns most bytes of entries in a batch of at most this size. The limit is on the compressed
/// batch; staying below it uncompressed is always safe.
fn entry_bytes_max(batch_bytes_max: usize) -> usize {
    batch_bytes_max.saturating_sub(BATCH_BYTES)
}

impl Lane<'_> {
    /// Returns most bytes that an entry may have, or why none can be written, with what to do.
    pub(super) async fn open_books(&mut self, now: Duration) -> Result<Result<usize, String>, LaneError> {
        if let Some(reason) = self.caution.books_error(now) {
            return Ok(Err(reason.to_owned()));
        }
        if let Some((_, bytes)) = self.books.open.filter(|(asked_at, _)| now < *asked_at + OPEN_FOR) {
            return Ok(Ok(entry_bytes_max(bytes)));
        }
        let answer = self.ask_for_books().await;
        let now = self.deps.clock.now();
        let answer = match answer {
            Ok(answer) => answer,
            // Nothing is known of the rest of the target: the lane goes on as far as it goes.
            Err(error) if error.class == Class::Retry => {
                BooksAnswer::Closed(format!("the target does not tell whether it takes entries ({error})"))
            }
            Err(error) => return Err(error.into()),
        };
        let batch_bytes_max = match answer {
            BooksAnswer::Open { batch_bytes_max } => batch_bytes_max,
            BooksAnswer::Closed(reason) => {
                self.books.open = None;
                self.caution.books_fail(&reason, now);
                return Ok(Err(reason));
            }
        };
        if self.caution.have_books_failed() && self.progress.unfenced() > UNFENCED_TRIED_MAX {
            // Each failed try costs another id whose transaction cannot end.
            let reason = "they can be written again, and transactions that waited for them have not ended yet";
            self.caution.books_fail(reason, now);
            self.caution.ask_for_ends(now, self.spec.limits.stuck_retry.1);
            return Err(LaneError::Stuck(format!("the books: {reason}; taking the lane again to end them")));
        }
        self.books.open = Some((now, batch_bytes_max));
        Ok(Ok(entry_bytes_max(batch_bytes_max)))
    }

    /// Asks the target whether the books can be written. The whole lane waits for the answer, so
    /// for a short time only.
    async fn ask_for_books(&mut self) -> Result<BooksAnswer, PortError> {
        let asked = tokio::time::timeout(ANSWER_MAX, self.target.open_books()).await;
        asked.unwrap_or_else(|_| {
            let reason = format!("no answer within {} s", ANSWER_MAX.as_secs());
            Err(PortError::new(Class::Retry, "asking about the topic of the books", reason))
        })
    }

    /// Returns the mark that ends the entries of a partition from `from` on, which is read again
    /// and was at `was` before, or the event of a partition that cannot have it. Without the mark a
    /// replay could copy what the lane copies.
    pub(super) async fn mark_read_again(
        &mut self,
        partition: &PartitionKey,
        from: SourceOffset,
        was: SourceOffset,
    ) -> Result<Result<ControlRecord, Event>, LaneError> {
        let (partition, now) = (partition.clone(), self.deps.clock.now());
        Ok(match self.open_books(now).await? {
            Ok(_) => Ok(ControlRecord::of_read_again(&ReadAgain { partition, read_again_from: from }, was)),
            Err(reason) => {
                let reason =
                    format!("it is to be read again from here, which the books of the link cannot be told: {reason}");
                Err(Event::QuarantineFailed { partition, offset: from, reason })
            }
        })
    }

    /// Returns the entry of a refused record that is kept at a place.
    pub(super) fn entry(
        &self,
        (partition, offset): (&PartitionKey, SourceOffset),
        processed: &Processed,
        refusal: &Refusal,
        place: KeptAt,
    ) -> ControlRecord {
        let entry = BookEntry {
            state: BookState::Open,
            place,
            code: Arc::clone(&refusal.code),
            rule: refusal.rule.clone(),
            plugin: Arc::clone(&refusal.by),
            generation: Arc::clone(&processed.generation.0),
            border: self.border.number(),
        };
        ControlRecord::of_books(&BookKey { partition: partition.clone(), offset }, &entry)
    }

    /// Handles entries that the target has taken.
    pub(super) fn entries_written(&mut self, count: u32) {
        self.progress.acknowledged(count);
        if !self.progress.is_in_flight() {
            self.books.acknowledged();
            self.caution.books_written();
        }
    }

    /// Handles entries that the target refuses.
    pub(super) fn entries_refused(&mut self, reason: &str) -> LaneError {
        let reason = format!("the target refused entries: {reason}");
        self.caution.books_fail(&reason, self.deps.clock.now());
        LaneError::Stuck(format!("the books: {reason}"))
    }

    /// Handles entries of which it is not known whether they are written.
    pub(super) fn entries_failed(&mut self, reason: &str) -> LaneError {
        self.caution.doubt_books(reason, self.deps.clock.now());
        LaneError::Delivery(format!("the books: not delivered: {reason}"))
    }

    /// Takes note that the producer broke, perhaps by entries that are on their way.
    pub(super) fn broke_with_entries(&mut self, reason: &str) {
        if self.books.sent_at.is_some() {
            self.caution.doubt_books(reason, self.deps.clock.now());
        }
    }

    /// Ends the attempt if the target does not acknowledge entries and answers otherwise. If it
    /// does not answer at all, this is an outage and everything waits.
    pub(super) async fn find_stuck_entries(&mut self, now: Duration) -> Result<(), LaneError> {
        let limits = self.spec.limits;
        let waited = self.books.sent_at.map(|sent_at| now.saturating_sub(sent_at));
        let Some(waited) = waited.filter(|waited| *waited >= limits.stuck_after) else { return Ok(()) };
        if !self.timers.probe(now, limits.stuck_after) {
            return Ok(());
        }
        let reason = match self.ask_for_books().await {
            Err(error) => {
                tracing::warn!(link = %self.spec.link, %error, "the target does not answer, waiting");
                return Ok(());
            }
            Ok(BooksAnswer::Closed(reason)) => reason,
            Ok(BooksAnswer::Open { .. }) if waited < self.in_flight.patience(limits.stuck_after) => return Ok(()),
            Ok(BooksAnswer::Open { .. }) => {
                format!(
                    "the target has not acknowledged entries for {} s and says that it takes them",
                    waited.as_secs()
                )
            }
        };
        self.caution.books_fail(&reason, self.deps.clock.now());
        Err(LaneError::Stuck(format!("the books: {reason}")))
    }
}
