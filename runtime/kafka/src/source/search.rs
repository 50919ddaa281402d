//! Searches for partitions whose next batch is too large, and for the ends of damaged batches.

use std::collections::VecDeque;
use std::sync::Arc;

use strait_flow::ports::ReadEpoch;

use super::scout::{Answer, Scout};
use crate::config::Settings;
use crate::ffi::{FfiError, Place};

/// The result of a search.
#[derive(Debug)]
pub(super) enum Found {
    /// The next batch of this partition is too large: the response with it has so many bytes.
    TooLarge(Place, u64),
    /// Where a damaged batch ends, as far as that was found out.
    Damage(Damage),
}

/// A damaged batch of a partition.
#[derive(Debug)]
pub(super) struct Damage {
    /// The assignment under which it was met.
    pub epoch: ReadEpoch,
    /// Topic of the partition.
    pub topic: Arc<str>,
    /// Number of the partition.
    pub partition: i32,
    /// The first offset of the batch.
    pub begin: i64,
    /// The damage.
    pub reason: String,
    /// The first offset behind it.
    pub end: Border,
}

/// The border between offsets that a damaged batch has and those behind it. It is found by steps
/// that double, and then by halves: a fetch gives the whole batch that has the offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Border {
    damaged: i64,
    behind: Option<i64>,
    is_known: bool,
}

impl Border {
    /// Returns the border behind a batch that has the offset `damaged`.
    pub fn behind(damaged: i64) -> Self {
        Self { damaged, behind: None, is_known: true }
    }

    /// Returns the border behind one record.
    pub fn behind_record(offset: i64) -> Self {
        Self { damaged: offset, behind: Some(offset.saturating_add(1)), is_known: true }
    }

    /// Returns the offset to look at next; `None` once nothing is left to be found out. `begin` is
    /// where the steps began.
    fn next(&self, begin: i64) -> Option<i64> {
        if !self.is_known {
            return None;
        }
        match self.behind {
            None => Some(self.damaged.saturating_add((self.damaged.saturating_sub(begin)).max(1))),
            Some(behind) if behind - self.damaged > 1 => Some(self.damaged + (behind - self.damaged) / 2),
            Some(_) => None,
        }
    }

    /// Notes what is at an offset.
    fn note(&mut self, offset: i64, answer: Answer, begin: i64) {
        match answer {
            Answer::Damaged(at) if at <= begin => self.damaged = self.damaged.max(offset),
            // Another batch: it may be damaged or too large, which is found out when it is read.
            Answer::Readable | Answer::Damaged(_) | Answer::TooLarge(_) => self.behind = Some(offset),
            Answer::Unknown => self.is_known = false,
        }
    }

    /// Returns the first offset behind the batch, if it was found.
    pub fn get(&self) -> Option<i64> {
        self.behind.filter(|behind| self.is_known && *behind - self.damaged <= 1)
    }
}

/// The purpose of a question to the scout.
enum Asked {
    Suspect,
    Damage,
}

/// The searches of a lane. They share one client, which exists while there is something to ask.
pub(super) struct Search {
    label: String,
    settings: Settings,
    scout: Option<Scout>,
    asked: Option<Asked>,
    /// The next one to ask is the last.
    suspects: Vec<Place>,
    damages: VecDeque<Damage>,
}

impl Search {
    /// Nothing to search.
    pub fn new(label: String, settings: Settings) -> Self {
        Self { label, settings, scout: None, asked: None, suspects: Vec::new(), damages: VecDeque::new() }
    }

    /// Returns whether suspects are being asked already.
    pub fn has_suspects(&self) -> bool {
        !self.suspects.is_empty() || matches!(self.asked, Some(Asked::Suspect))
    }

    /// Searches for those of `suspects` whose next batch is too large, the last of them first.
    pub fn suspect(&mut self, suspects: Vec<Place>) {
        self.suspects = suspects;
    }

    /// Searches for the end of a damaged batch.
    pub fn find_end(&mut self, damage: Damage) {
        self.damages.push_back(damage);
    }

    /// Goes on as far as it can without waiting. Returns what was found, one at a time.
    pub fn step(&mut self) -> Option<Found> {
        self.advance().unwrap_or_else(|error| {
            tracing::warn!("{}: the search has failed: {error}", self.label);
            (self.scout, self.asked) = (None, None);
            self.suspects.clear();
            self.damages.pop_front().map(Found::Damage)
        })
    }

    fn advance(&mut self) -> Result<Option<Found>, FfiError> {
        loop {
            if self.asked.is_some() {
                let Some((place, answer)) = self.scout()?.answer()? else { return Ok(None) };
                if matches!(answer, Answer::Damaged(_)) {
                    // Behind a wrong checksum librdkafka goes on at a place that is no batch
                    // (`rdkafka_msgset_reader.c`: `rd_kafka_buf_skip_to` with a length), and what
                    // it reads there could be taken for the next answer.
                    self.scout = None;
                }
                match (self.asked.take(), answer, self.damages.front_mut()) {
                    (Some(Asked::Damage), _, Some(damage)) => damage.end.note(place.offset, answer, damage.begin),
                    (Some(Asked::Suspect), Answer::TooLarge(bytes), _) => {
                        return Ok(Some(Found::TooLarge(place, bytes)));
                    }
                    _ => {}
                }
            }
            if let Some(suspect) = self.suspects.pop() {
                self.ask(suspect, Asked::Suspect)?;
                continue;
            }
            let Some(damage) = self.damages.front() else {
                self.scout = None;
                return Ok(None);
            };
            let Some(offset) = damage.end.next(damage.begin) else {
                return Ok(self.damages.pop_front().map(Found::Damage));
            };
            let place = Place { offset, ..Place::of(&*damage.topic, damage.partition) };
            self.ask(place, Asked::Damage)?;
        }
    }

    fn ask(&mut self, place: Place, asked: Asked) -> Result<(), FfiError> {
        self.scout()?.ask(place)?;
        self.asked = Some(asked);
        Ok(())
    }

    fn scout(&mut self) -> Result<&mut Scout, FfiError> {
        match &mut self.scout {
            Some(scout) => Ok(scout),
            empty => Ok(empty.insert(Scout::new(&self.label, &self.settings)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches for the end of a batch of `begin..end`, met at `at`. Returns it and the number of
    /// questions.
    fn search(begin: i64, end: i64, at: i64) -> (Option<i64>, u32) {
        let mut border = Border::behind(at);
        let mut asked = 0;
        while let Some(offset) = border.next(begin) {
            let answer = if offset < end { Answer::Damaged(begin) } else { Answer::Readable };
            border.note(offset, answer, begin);
            asked += 1;
        }
        (border.get(), asked)
    }

    #[test]
    fn the_end_of_a_damaged_batch_is_found_exactly_in_few_questions() {
        for (begin, end, at) in [(0, 1, 0), (0, 2, 0), (100, 117, 100), (100, 117, 113), (7, 500_007, 7)] {
            let (found, asked) = search(begin, end, at);
            assert_eq!(found, Some(end), "{begin}..{end} at {at}");
            assert!(asked <= 40, "{asked} questions for {begin}..{end}");
        }
    }

    #[test]
    fn an_end_that_cannot_be_asked_for_is_not_guessed() {
        let mut border = Border::behind(5);
        border.note(6, Answer::Damaged(5), 5);
        border.note(7, Answer::Unknown, 5);
        assert_eq!((border.next(5), border.get()), (None, None));
    }

    #[test]
    fn another_damaged_batch_begins_where_the_first_one_ends() {
        let mut border = Border::behind(5);
        border.note(6, Answer::Damaged(6), 5);
        assert_eq!((border.next(5), border.get()), (None, Some(6)));
    }
}
