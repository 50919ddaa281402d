//! A chain with plugins that remember: what it asks to be shown, and the calls that keep a memory true.
//!
//! When the log is shown again, the whole chain judges it as it did before, and all that comes of it is thrown away: so a
//! plugin that remembers sees records as those before it leave them.

use std::mem;
use std::time::Duration;

use strait_flow::ports::Next;

use super::call::{Call, MODE_AGAIN};
use super::error::{Failure, StageError};
use super::memory::{Kept, Place};
use super::narrow::GUILTY_IN_A_ROW_MAX;
use super::stage::Stage;
use super::work::{Manner, Work};
use crate::health::{FailureKind, Outcome};

/// A partition for whose instance there is no memory looks again after this.
const NO_ROOM_RETRY: Duration = Duration::from_secs(30);

impl Stage {
    /// The partition's own instance.
    ///
    /// # Errors
    /// There is none that has seen the log, or none can be started.
    pub(super) fn take_remembering(&mut self, work: &Work<'_>) -> Result<Kept, StageError> {
        let (plugin, set) = (&self.plugin, work.set);
        let mut no_room = false;
        let start = || -> Result<Kept, String> {
            let share = set.engine.remembering().take(plugin.limits.memory_bytes_max);
            let share = share.inspect_err(|_| no_room = true)?;
            Ok((plugin.start(&set.engine, &set.link)?, share))
        };
        let reason = match self.memories.take(&work.place(), start) {
            Ok(Some(kept)) => return Ok(kept),
            Ok(None) => {
                let reason = "the log has to be shown to it first".to_owned();
                return Err(StageError { offset: None, reason, next: Next::WarmUp });
            }
            Err(reason) => reason,
        };
        if !no_room {
            return Err(self.not_started(reason));
        }
        // Of this partition only: the breaker would hold up those that have their instance.
        Err(StageError { offset: None, reason, next: Next::RetryAfter(NO_ROOM_RETRY) })
    }

    /// Has a plugin with memory judge, or be shown, the records in `work.scratch.rows`. One call that fails costs its memory.
    ///
    /// # Errors
    /// It broke: what it broke on is noted, for when it has been shown the log again.
    pub(super) fn call_remembering(&mut self, call: &Call<'_>, work: &mut Work<'_>) -> Result<(), StageError> {
        let rows = mem::take(&mut work.scratch.rows);
        let done = self.call_in_order(call, &rows, work);
        if mem::take(&mut self.probing) {
            // It told nothing of the plugin: the next one may ask.
            self.plugin.health.unprobed();
        }
        work.scratch.rows = rows;
        done
    }

    fn call_in_order(&mut self, call: &Call<'_>, rows: &[usize], work: &mut Work<'_>) -> Result<(), StageError> {
        let place = work.place();
        let mut together: Vec<usize> = Vec::new();
        for row in rows.iter().copied() {
            let Some(offset) = work.record(row).map(|record| record.offset) else { continue };
            if let Some(failure) = self.memories.guilty(&place, offset).cloned() {
                self.settle_guilty(row, &failure, work);
                continue;
            }
            if self.memories.is_alone(&place, offset) {
                self.call_piece(call, &[row], &place, work)?;
                continue;
            }
            together.push(row);
        }
        // Records that go alone come before all others.
        if together.is_empty() {
            return Ok(());
        }
        self.call_piece(call, &together, &place, work)
    }

    fn call_piece(
        &mut self,
        call: &Call<'_>,
        rows: &[usize],
        place: &Place,
        work: &mut Work<'_>,
    ) -> Result<(), StageError> {
        let offset_of =
            |row: Option<usize>, work: &Work<'_>| row.and_then(|row| work.record(row)).map(|record| record.offset);
        let Err(failure) = self.attempt(call, rows, work)? else {
            let health = &self.plugin.health;
            if work.is_recalling() {
                // It was judged before. The same records, shown again after each guilty one, would make those look few.
                health.judged(0, false);
                if let Some(last) = offset_of(rows.last().copied(), work) {
                    self.memories.shown_through(place, last);
                }
                return Ok(());
            }
            health.judged(rows.len() as u64, mem::take(&mut self.probing));
            self.memories.end_row(place);
            return Ok(());
        };
        self.memories.forget(place);
        let health = self.plugin.health.clone();
        health.failed(failure.kind);
        let guilty = if let [row] = rows { Some(*row) } else { failure.index.and_then(|at| rows.get(at)).copied() };
        let (guilty, last) = (offset_of(guilty, work), offset_of(rows.last().copied(), work));
        tracing::warn!(
            link = work.set.link.link,
            plugin = &*self.plugin.name,
            digest = &*self.plugin.digest,
            topic = &*place.topic,
            partition = place.partition,
            guilty = guilty.map(|offset| offset.0),
            last = last.map(|offset| offset.0),
            kind = failure.kind.name(),
            reason = failure.reason,
            recalling = work.is_recalling(),
            "a plugin with memory failed on a batch and will be shown the log again"
        );
        let reason = failure.reason.clone();
        match (guilty, last) {
            (Some(offset), _) => {
                let timeouts = u64::from(failure.kind == FailureKind::Timeout);
                if failure.index.is_some_and(|at| at > 0) {
                    // There was nothing wrong with those before it.
                    self.memories.end_row(place);
                }
                let found = self.memories.found(place, offset, failure)?;
                let outcome = Outcome { judged: 0, guilty: 1, unjudged: 0, timeouts };
                if found >= GUILTY_IN_A_ROW_MAX && (self.probing || !health.has_judged()) {
                    // It is the plugin that is broken: nothing is quarantined, the batch waits.
                    self.memories.end_row(place);
                    let next = Next::RetryAfter(health.broken(outcome, &reason));
                    return Err(StageError { offset: guilty, reason, next });
                }
                if !work.is_recalling() {
                    // A probe that found one is no proof that the plugin works: the next call is a probe again.
                    health.narrowed(outcome, &reason, false);
                }
            }
            (None, Some(last)) => self.memories.alone_through(place, last),
            (None, None) => {}
        }
        let next = if work.manner == Manner::Prove { Next::Stop } else { Next::WarmUp };
        Err(StageError { offset: guilty, reason, next })
    }

    /// Shows records that were judged before to a plugin without memory. What it broke on then it breaks on now, and nobody
    /// needs to be told again: no breaker, no count of guilty records.
    ///
    /// # Errors
    /// No instance can be started.
    pub(super) fn call_again(&mut self, call: &Call<'_>, work: &mut Work<'_>) -> Result<(), StageError> {
        let rows = mem::take(&mut work.scratch.rows);
        let done = self.call_again_on(call, &rows, work);
        work.scratch.rows = rows;
        done
    }

    fn call_again_on(&mut self, call: &Call<'_>, rows: &[usize], work: &mut Work<'_>) -> Result<(), StageError> {
        let Err(failure) = self.attempt(call, rows, work)? else { return Ok(()) };
        let health = self.plugin.health.clone();
        let (began, budget) = (health.now(), Duration::from_millis(self.plugin.limits.narrow_ms_max));
        let again = Call { mode: call.mode | MODE_AGAIN, ..*call };
        for row in rows.iter().copied() {
            if health.now().saturating_sub(began) > budget {
                let unjudged = Failure { kind: FailureKind::Unjudged, ..failure.clone() };
                self.settle_guilty(row, &unjudged, work);
                continue;
            }
            if let Err(failure) = self.attempt(&again, &[row], work)? {
                self.settle_guilty(row, &failure, work);
            }
        }
        Ok(())
    }
}
