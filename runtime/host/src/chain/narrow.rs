//! A call that failed: the records of the call are narrowed down to the guilty ones, and `on_error` applies to those.
//!
//! The instance is dropped, a fresh one is asked for halves of the records, and so on. A half that must be the guilty one is
//! not asked as a whole again, and no record is found guilty without a call of its own that failed. All of it is bounded in
//! time ([`crate::GuestLimits::narrow_ms_max`]): what could not be judged by then is quarantined even under `drop`, as nobody has
//! found it guilty, and a call of which nothing at all could be judged tells of a broken plugin, not of broken records.

use std::ops::Range;
use std::time::Duration;

use strait_core::config::OnError;
use strait_core::edit::{Disposition, Reject};
use strait_flow::millis;
use strait_flow::ports::Next;

use super::call::{Call, MODE_AGAIN};
use super::error::{Failure, StageError};
use super::stage::Stage;
use super::work::Work;
use crate::health::{CallOutcome, FailureKind};

/// Guilty records found one after the other, and none that can be judged: then it is the plugin that is broken.
pub(super) const GUILTY_IN_A_ROW_MAX: u64 = 8;
/// Calls that narrow down a call that timed out have this part of its deadline each, but for those with one record.
const NARROW_CALLS: u64 = 16;
const NARROW_CALL_MS_MIN: u64 = 20;

/// Some records of a call that failed.
struct Piece {
    range: Range<usize>,
    /// That it breaks is known, by its own call or because its other half did not.
    breaks: Option<Failure>,
    /// The failure of both halves together, in the first half: if that does not break, the second one does.
    first_half_of: Option<Failure>,
}

impl Piece {
    fn untried(range: Range<usize>) -> Self {
        Self { range, breaks: None, first_half_of: None }
    }
}

/// How far a call was narrowed down.
#[derive(Default)]
struct Narrowed {
    judged: u64,
    guilty: u64,
    unjudged: u64,
    timeouts: u64,
    last: Option<Failure>,
}

impl Stage {
    pub(super) fn narrow(
        &mut self,
        call: &Call<'_>,
        rows: &[usize],
        failure: Failure,
        work: &mut Work<'_>,
    ) -> Result<(), StageError> {
        let health = self.plugin.health.clone();
        let began = health.now();
        health.failed(failure.kind);
        let mut narrowed = Narrowed { last: Some(failure.clone()), ..Narrowed::default() };
        narrowed.timeouts += u64::from(failure.kind == FailureKind::Timeout);
        let all = self.split(0..rows.len(), failure, rows, work, &mut narrowed);
        let left = self.try_pieces(call, rows, all, began, work, &mut narrowed)?;

        let took = health.now().saturating_sub(began);
        let reason = narrowed.last.as_ref().map_or_else(String::new, |last| last.reason.clone());
        let Narrowed { judged, guilty, timeouts, .. } = narrowed;
        let outcome = CallOutcome { judged, guilty, unjudged: 0, timeouts };
        self.tell(rows, &narrowed, took, work);
        // Each of them broke it by itself, and it has judged others: then it is these records that are bad.
        let all_guilty = left.is_empty() && health.has_judged();
        if narrowed.judged == 0 && (self.probing || !left.is_empty()) && !all_guilty {
            let wait = health.broken(outcome, &reason);
            if self.plugin.on_error != OnError::Pass {
                return Err(StageError { offset: None, reason, next: Next::RetryAfter(wait) });
            }
            return Ok(());
        }
        let text = format!(
            "the guilty record was not found within {} ms, and this one was not judged; {reason}",
            self.plugin.limits.narrow_ms_max
        );
        let unjudged = Failure { kind: FailureKind::Unjudged, index: None, reason: text };
        for row in left.into_iter().flat_map(|piece| rows.get(piece.range).unwrap_or_default()) {
            self.settle_guilty(*row, &unjudged, work);
        }
        health.narrowed(CallOutcome { unjudged: narrowed.unjudged, ..outcome }, &reason, self.probing);
        Ok(())
    }

    /// Calls pieces until none is left, the time is used up, or it is clear that nothing can be judged. Gives what is left.
    fn try_pieces(
        &mut self,
        call: &Call<'_>,
        rows: &[usize],
        mut pieces: Vec<Piece>,
        began: Duration,
        work: &mut Work<'_>,
        narrowed: &mut Narrowed,
    ) -> Result<Vec<Piece>, StageError> {
        let health = self.plugin.health.clone();
        let limits = self.plugin.limits.clone();
        let budget = Duration::from_millis(limits.narrow_ms_max);
        // A probe looks at every record before it says that the plugin is still broken.
        let probing = self.probing;
        let hopeless = |narrowed: &Narrowed| !probing && narrowed.judged == 0 && narrowed.guilty >= GUILTY_IN_A_ROW_MAX;
        while let Some(piece) = pieces.pop() {
            let left = budget.saturating_sub(health.now().saturating_sub(began));
            let left_ms = millis(left);
            if left_ms == 0 || (hopeless(narrowed) && !pieces.is_empty()) {
                pieces.push(piece);
                narrowed.unjudged = pieces.iter().map(|piece| piece.range.len() as u64).sum();
                return Ok(pieces);
            }
            let Piece { range, breaks, first_half_of } = piece;
            if let Some(failure) = breaks {
                pieces.extend(self.split(range, failure, rows, work, narrowed));
                continue;
            }
            let Some(records) = rows.get(range.clone()) else { continue };
            let ms_max = match records.len() {
                1 => limits.process_ms_max,
                _ => (limits.process_ms_max / NARROW_CALLS).max(NARROW_CALL_MS_MIN),
            };
            let again = Call { mode: call.mode | MODE_AGAIN, ms_max: ms_max.min(left_ms), ..*call };
            match self.attempt(&again, records, work)? {
                Ok(()) => {
                    narrowed.judged += records.len() as u64;
                    if let (Some(failure), Some(second)) = (first_half_of, pieces.last_mut())
                        && second.range.len() > 1
                    {
                        second.breaks = Some(failure);
                    }
                }
                Err(failure) => {
                    health.failed(failure.kind);
                    narrowed.timeouts += u64::from(failure.kind == FailureKind::Timeout);
                    narrowed.last = Some(failure.clone());
                    if records.len() > 1 {
                        pieces.extend(self.split(range, failure, rows, work, narrowed));
                    } else {
                        self.found(range.start, &failure, rows, work, narrowed);
                    }
                }
            }
            if let Some(halt) = self.halted(rows, work) {
                pieces.retain(|piece| piece.range.start < halt);
            }
        }
        Ok(pieces)
    }

    /// What is to be called of records that break together, last first.
    fn split(
        &self,
        range: Range<usize>,
        failure: Failure,
        rows: &[usize],
        work: &mut Work<'_>,
        narrowed: &mut Narrowed,
    ) -> Vec<Piece> {
        let named = failure.index.map(|index| range.start + index).filter(|index| range.contains(index));
        if let Some(index) = named {
            self.found(index, &failure, rows, work, narrowed);
            let parts = [index + 1..range.end, range.start..index];
            return parts.into_iter().filter(|part| !part.is_empty()).map(Piece::untried).collect();
        }
        if range.len() == 1 {
            return vec![Piece::untried(range)];
        }
        let middle = range.start + range.len() / 2;
        let first = Piece { first_half_of: Some(failure), ..Piece::untried(range.start..middle) };
        vec![Piece::untried(middle..range.end), first]
    }

    fn found(&self, index: usize, failure: &Failure, rows: &[usize], work: &mut Work<'_>, narrowed: &mut Narrowed) {
        narrowed.guilty += 1;
        if let Some(row) = rows.get(index) {
            self.settle_guilty(*row, failure, work);
        }
    }

    /// What `on_error` says of a guilty record.
    pub(super) fn settle_guilty(&self, row: usize, failure: &Failure, work: &mut Work<'_>) {
        let Some(slot) = work.slots.get_mut(row) else {
            return;
        };
        let plugin = &self.plugin;
        let reject = || {
            Box::new(Reject {
                plugin: plugin.name.clone(),
                digest: plugin.digest.clone(),
                code: failure.kind.name().into(),
                text: failure.reason.clone(),
            })
        };
        slot.disposition = Some(match plugin.on_error {
            OnError::Pass => return,
            OnError::Stop => Disposition::Halt(reject()),
            OnError::Drop if failure.kind != FailureKind::Unjudged => Disposition::Drop,
            OnError::Drop | OnError::Quarantine => Disposition::Reject(reject()),
        });
    }

    /// Index of the first record at which the partition stops.
    fn halted(&self, rows: &[usize], work: &Work<'_>) -> Option<usize> {
        if self.plugin.on_error != OnError::Stop {
            return None;
        }
        let disposition = |row: &usize| work.slots.get(*row).and_then(|slot| slot.disposition.as_ref());
        rows.iter().position(|row| matches!(disposition(row), Some(Disposition::Halt(_))))
    }

    /// One line per failed call; events tell of each record that was quarantined.
    fn tell(&self, rows: &[usize], narrowed: &Narrowed, took: Duration, work: &Work<'_>) {
        let offset = |row: Option<&usize>| row.and_then(|row| work.record(*row)).map_or(-1, |record| record.offset.0);
        let last = narrowed.last.as_ref();
        tracing::warn!(
            link = work.set.link.link,
            plugin = &*self.plugin.name,
            digest = &*self.plugin.digest,
            topic = &**work.batch.topic(),
            partition = work.batch.partition(),
            first = offset(rows.first()),
            last = offset(rows.last()),
            kind = last.map_or("", |last| last.kind.name()),
            reason = last.map_or("", |last| last.reason.as_str()),
            judged = narrowed.judged,
            guilty = narrowed.guilty,
            unjudged = narrowed.unjudged,
            took_ms = millis(took),
            on_error = self.plugin.on_error.name(),
            "a plugin failed on a batch; what it could judge goes on"
        );
    }
}
