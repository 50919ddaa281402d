//! A second client of a lane's reader, which asks about one place at a time.
//!
//! It finds out what librdkafka does not say: the partition of a response that was too large, and
//! the end of a damaged batch.

use std::time::{Duration, Instant};

use crate::config::Settings;
use crate::ffi::{Code, ConsumedMessage, Consumer, FfiError, Place};

/// How long one place may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Messages of one look at the answer. The first decides.
const LOOK: usize = 64;

/// The finding at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A record, or the end of the log.
    Readable,
    /// A damaged batch, which begins at this offset.
    Damaged(i64),
    /// A batch that is too large for a response, with the size of the response.
    TooLarge(u64),
    /// Nothing in time, or another error.
    Unknown,
}

/// The client.
pub(super) struct Scout {
    consumer: Consumer,
    asked: Option<(Place, Instant)>,
}

impl Scout {
    /// Creates the client from the settings of the lane's own. It wakes this thread.
    ///
    /// # Errors
    /// [`FfiError`].
    pub fn new(label: &str, settings: &Settings) -> Result<Self, FfiError> {
        let mut settings = settings.clone();
        // The broker answers with one batch, and at once if there is none.
        settings.set("fetch.message.max.bytes", 1);
        settings.set("fetch.min.bytes", 1);
        settings.set("fetch.wait.max.ms", 10);
        let mut consumer = Consumer::new(label, &settings)?;
        consumer.wake(std::thread::current());
        Ok(Self { consumer, asked: None })
    }

    /// Asks what is at a place.
    ///
    /// # Errors
    /// [`FfiError`].
    pub fn ask(&mut self, place: Place) -> Result<(), FfiError> {
        self.consumer.assign(std::slice::from_ref(&place))?;
        self.asked = Some((place, Instant::now()));
        Ok(())
    }

    /// Returns the place that was asked about and what is there; `None` while the answer is on its
    /// way. Does not wait.
    ///
    /// # Errors
    /// [`FfiError`].
    pub fn answer(&mut self) -> Result<Option<(Place, Answer)>, FfiError> {
        let Some((place, since)) = self.asked.take() else { return Ok(None) };
        // The client's own errors arrive with the messages.
        let found = self.consumer.consume(LOOK, Duration::ZERO, |messages| {
            let of_place = |message: &&ConsumedMessage<'_>| {
                message.topic() == place.topic && message.partition() == place.partition
            };
            messages.iter().find(of_place).map(answer)
        });
        let too_large = self.consumer.take_too_large().map(Answer::TooLarge);
        let late = (since.elapsed() >= ANSWER).then_some(Answer::Unknown);
        let Some(answer) = too_large.or(found).or(late) else {
            self.asked = Some((place, since));
            return Ok(None);
        };
        self.consumer.unassign(std::slice::from_ref(&place))?;
        Ok(Some((place, answer)))
    }
}

fn answer(message: &ConsumedMessage<'_>) -> Answer {
    match message.code() {
        // A position behind the end of the log is lost.
        Code::OK | Code::PARTITION_EOF | Code::AUTO_OFFSET_RESET => Answer::Readable,
        // The broker has found damage and names no batch. It may be another one than that whose end
        // is searched, with sound batches between them.
        Code::INVALID_MSG => Answer::Unknown,
        code if code.is_damage() => Answer::Damaged(message.offset()),
        _ => Answer::Unknown,
    }
}
