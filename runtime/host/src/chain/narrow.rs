//! Narrows a failed call down to its guilty records, to which `on_error` applies.
//!
//! The instance is dropped; fresh ones are called with halves of the records, and so on. A half
//! that must contain the guilty record is not called as a whole again, and no record is found
//! guilty without a failed call of its own. The search is bounded in time (`narrow_ms_max`). A
//! record that was not judged by then is quarantined even under `drop`, as it was not found guilty.
//! A call without a single judged record means a broken plugin, not broken records.

use std::ops::Range;
use std::sync::Arc;
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

/// Guilty records in a row, without a judged one, after which the plugin counts as broken.
pub(super) const GUILTY_IN_A_ROW_MAX: u64 = 8;
/// Divisor of the deadline for each call of the search, except those with one record.
const NARROW_CALLS: u64 = 16;
const NARROW_CALL_MS_MIN: u64 = 20;

/// Some records of a call that failed.
struct Piece {
    range: Range<usize>,
    /// Known to break, by its own call or because the other half did not.
    breaks: Option<Failure>,
    /// Set in a first half, with the failure of both halves together: if it does not break, the
    /// second half does.
    first_half_of: Option<Failure>,
}

impl Piece {
    fn untried(range: Range<usize>) -> Self {
        Self { range, breaks: None, first_half_of: None }
    }
}

/// The result of the search so far.
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
        let health = Arc::clone(&self.plugin.health);
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
        self.log(rows, &narrowed, took, work);
        // Each record broke the plugin by itself, and it has judged others: the records are to
        // blame.
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

    /// Calls pieces until none is left, the time is over, or nothing can be judged. Returns the
    /// pieces that are left.
    fn try_pieces(
        &mut self,
        call: &Call<'_>,
        rows: &[usize],
        mut pieces: Vec<Piece>,
        began: Duration,
        work: &mut Work<'_>,
        narrowed: &mut Narrowed,
    ) -> Result<Vec<Piece>, StageError> {
        let health = Arc::clone(&self.plugin.health);
        let limits = self.plugin.limits.clone();
        let budget = Duration::from_millis(limits.narrow_ms_max);
        // A probe tries every record before the plugin counts as still broken.
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

    /// Splits records that break together into pieces to call, the last piece first.
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

    /// Applies `on_error` to a guilty record.
    pub(super) fn settle_guilty(&self, row: usize, failure: &Failure, work: &mut Work<'_>) {
        let Some(slot) = work.slots.get_mut(row) else {
            return;
        };
        let plugin = &self.plugin;
        let reject = || {
            Box::new(Reject {
                plugin: Arc::clone(&plugin.name),
                digest: Arc::clone(&plugin.digest),
                code: failure.kind.name().into(),
                rule: None,
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

    /// Returns the index of the first record at which the partition stops.
    fn halted(&self, rows: &[usize], work: &Work<'_>) -> Option<usize> {
        if self.plugin.on_error != OnError::Stop {
            return None;
        }
        let disposition = |row: &usize| work.slots.get(*row).and_then(|slot| slot.disposition.as_ref());
        rows.iter().position(|row| matches!(disposition(row), Some(Disposition::Halt(_))))
    }

    /// Logs one line per failed call; events report each quarantined record.
    fn log(&self, rows: &[usize], narrowed: &Narrowed, took: Duration, work: &Work<'_>) {
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
            "a plugin failed on a batch; the records that it could judge go on"
        );
    }
}
