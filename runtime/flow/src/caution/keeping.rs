//! Where refused records are kept: quarantine on the source, and the books on the target. Each
//! attempt to write there holds up the lane or ends an attempt at it, so there is one retry for all
//! partitions.

use std::time::Duration;

use super::{Caution, STOPPED_RETRY};
use crate::ports::PortError;
use crate::retry::Retry;

/// How many attempts in a row may fail while entries of the books are on their way, before the
/// books are taken for the cause.
const DOUBTS_MAX: u32 = 2;

/// The findings of earlier attempts about quarantine and the books.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    /// The retry of a quarantine that does not answer, and the last error.
    quarantine: Option<(Retry, PortError)>,
    /// The retry of books that cannot be written, and why.
    books: Option<(Retry, String)>,
    /// Attempts that failed with entries of the books on their way, since some were last written.
    doubts: u32,
}

impl Keeping {
    /// Makes both due for their retry.
    pub fn retry_now(&mut self) {
        *self = Self::default();
    }

    /// The transactions that books held up can end by now.
    pub fn books_can_end(&mut self, now: Duration) {
        if let Some((retry, _)) = &mut self.books {
            retry.at = now;
        }
    }
}

/// Quarantine.
impl Caution {
    /// Records that quarantine does not answer.
    pub fn quarantine_is_silent(&mut self, error: &PortError, now: Duration) {
        let again = self.keeping.quarantine.as_ref().map(|(retry, _)| *retry);
        self.keeping.quarantine = Some((Retry::next(again, now, STOPPED_RETRY), error.clone()));
    }

    /// Records that quarantine answers.
    pub fn quarantine_answers(&mut self) {
        self.keeping.quarantine = None;
    }

    /// Returns whether quarantine did not answer last time.
    pub fn is_quarantine_silent(&self) -> bool {
        self.keeping.quarantine.is_some()
    }

    /// Returns the last error of a quarantine that does not answer, until its retry is due.
    pub fn quarantine_error(&self, now: Duration) -> Option<&PortError> {
        self.keeping.quarantine.as_ref().filter(|(retry, _)| !retry.is_due(now)).map(|(_, error)| error)
    }
}

/// The books.
impl Caution {
    /// Records that the books cannot be written.
    pub fn books_fail(&mut self, reason: &str, now: Duration) {
        let again = self.keeping.books.as_ref().map(|(retry, _)| *retry);
        let retry = Retry::pending_or_next(again, now, STOPPED_RETRY);
        self.keeping.books = Some((retry, reason.to_owned()));
    }

    /// Records that an attempt failed while entries of the books were on their way. What broke it
    /// may be something else, so the books only count as failing if that goes on.
    pub fn doubt_books(&mut self, reason: &str, now: Duration) {
        self.keeping.doubts += 1;
        if self.keeping.doubts >= DOUBTS_MAX {
            self.books_fail(reason, now);
        }
    }

    /// Records that the books have taken entries.
    pub fn books_written(&mut self) {
        (self.keeping.books, self.keeping.doubts) = (None, 0);
    }

    /// Returns why the books cannot be written, until their retry is due.
    pub fn books_error(&self, now: Duration) -> Option<&str> {
        self.keeping.books.as_ref().filter(|(retry, _)| !retry.is_due(now)).map(|(_, reason)| &**reason)
    }

    /// Returns whether the books could not be written the last time.
    pub fn have_books_failed(&self) -> bool {
        self.keeping.books.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn books_are_the_cause_of_a_failure_that_repeats_and_are_tried_less_and_less_often() {
        let seconds = Duration::from_secs;
        let mut caution = Caution::default();
        caution.doubt_books("lost", seconds(1));
        assert_eq!(caution.books_error(seconds(1)), None, "anything can break an attempt once");
        caution.books_written();
        caution.doubt_books("lost", seconds(2));
        assert_eq!(caution.books_error(seconds(2)), None);
        caution.doubt_books("lost again", seconds(3));
        assert_eq!(caution.books_error(seconds(32)), Some("lost again"));
        assert_eq!(caution.books_error(seconds(33)), None, "due");
        caution.doubt_books("still", seconds(33));
        assert_eq!(caution.books_error(seconds(92)), Some("still"), "one failure is enough from then on");
        caution.books_written();
        assert!(!caution.have_books_failed());
    }
}
