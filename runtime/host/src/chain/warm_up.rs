//! The calls of a stateful plugin: every record once and in order, first in a warm-up, then to be
//! judged.
//!
//! In a warm-up the whole chain judges the log as it did before, and all results are discarded. So
//! a stateful plugin sees records as the plugins before it leave them.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use strait_flow::ports::Next;

use super::call::{Call, MODE_AGAIN};
use super::error::{Failure, InstanceError, StageError};
use super::narrow::GUILTY_IN_A_ROW_MAX;
use super::stage::Stage;
use super::stateful::{BudgetedInstance, SourcePartition};
use super::work::{Purpose, Work};
use crate::health::{CallOutcome, FailureKind};

/// Delay before the next try of a partition for whose instance the budget has no room.
const NO_ROOM_RETRY: Duration = Duration::from_secs(30);

impl Stage {
    /// Takes the partition's own instance.
    ///
    /// # Errors
    /// There is none that is warmed up, or none can be started.
    pub(super) fn take_stateful(&mut self, work: &Work<'_>) -> Result<BudgetedInstance, StageError> {
        let (plugin, set) = (&self.plugin, work.set);
        let start = || -> Result<BudgetedInstance, InstanceError> {
            let share = set.engine.stateful_budget().take(plugin.limits.memory_bytes_max)?;
            Ok((plugin.start(&set.engine, &set.link)?, share))
        };
        match self.stateful.take(&work.partition(), start) {
            Ok(Some(instance)) => Ok(instance),
            Ok(None) => {
                let reason = "the log has to be shown to it first".to_owned();
                Err(StageError { offset: None, reason, next: Next::WarmUp })
            }
            Err(error @ InstanceError::NotStarted(_)) => Err(self.not_started(error.to_string())),
            // Of this partition only: the breaker would hold up those that have their instance.
            Err(error @ InstanceError::NoRoom(_)) => {
                Err(StageError { offset: None, reason: error.to_string(), next: Next::RetryAfter(NO_ROOM_RETRY) })
            }
        }
    }

    /// Has a stateful plugin judge, or see, the records in `work.scratch.rows`. One call that fails
    /// costs the instance.
    ///
    /// # Errors
    /// It broke. The guilty record is known when the partition is warmed up again.
    pub(super) fn call_stateful(&mut self, call: &Call<'_>, work: &mut Work<'_>) -> Result<(), StageError> {
        let rows = mem::take(&mut work.scratch.rows);
        let done = self.call_in_order(call, &rows, work);
        if mem::take(&mut self.probing) {
            self.plugin.health.cancel_probe();
        }
        work.scratch.rows = rows;
        done
    }

    fn call_in_order(&mut self, call: &Call<'_>, rows: &[usize], work: &mut Work<'_>) -> Result<(), StageError> {
        let partition = work.partition();
        let mut together: Vec<usize> = Vec::new();
        for row in rows.iter().copied() {
            let Some(offset) = work.record(row).map(|record| record.offset) else { continue };
            if let Some(failure) = self.stateful.guilty(&partition, offset).cloned() {
                self.settle_guilty(row, &failure, work);
                continue;
            }
            if self.stateful.is_alone(&partition, offset) {
                self.call_piece(call, &[row], &partition, work)?;
                continue;
            }
            together.push(row);
        }
        // Records that go alone come before all others.
        if together.is_empty() {
            return Ok(());
        }
        self.call_piece(call, &together, &partition, work)
    }

    fn call_piece(
        &mut self,
        call: &Call<'_>,
        rows: &[usize],
        partition: &SourcePartition,
        work: &mut Work<'_>,
    ) -> Result<(), StageError> {
        if let Err(failure) = self.attempt(call, rows, work)? {
            return self.on_stateful_failure(failure, rows, partition, work);
        }
        let health = &self.plugin.health;
        if work.is_warm_up() {
            // These records were judged before. To count them again would make the guilty ones look
            // few.
            health.judged(0, false);
            if let Some(last) = rows.last().and_then(|row| work.record(*row)) {
                self.stateful.shown_through(partition, last.offset);
            }
            return Ok(());
        }
        health.judged(rows.len() as u64, mem::take(&mut self.probing));
        self.stateful.end_guilty_row(partition);
        Ok(())
    }

    /// Records which record is guilty, as far as that is known, for the next warm-up. Always an
    /// error: the state is lost.
    fn on_stateful_failure(
        &mut self,
        failure: Failure,
        rows: &[usize],
        partition: &SourcePartition,
        work: &Work<'_>,
    ) -> Result<(), StageError> {
        self.stateful.forget(partition);
        let health = &self.plugin.health;
        health.failed(failure.kind);
        let offset_of = |row: Option<usize>| row.and_then(|row| work.record(row)).map(|record| record.offset);
        let guilty = if let [row] = rows { Some(*row) } else { failure.index.and_then(|at| rows.get(at)).copied() };
        let (guilty, last) = (offset_of(guilty), offset_of(rows.last().copied()));
        tracing::warn!(
            link = work.set.link.link,
            plugin = &*self.plugin.name,
            digest = &*self.plugin.digest,
            topic = &*partition.topic,
            partition = partition.partition,
            guilty = guilty.map(|offset| offset.0),
            last = last.map(|offset| offset.0),
            kind = failure.kind.name(),
            reason = failure.reason,
            warm_up = work.is_warm_up(),
            "a stateful plugin failed on a batch; it will be warmed up again"
        );
        let reason = failure.reason.clone();
        match (guilty, last) {
            (Some(offset), _) => {
                let timeouts = u64::from(failure.kind == FailureKind::Timeout);
                if failure.index.is_some_and(|at| at > 0) {
                    // The records before it were fine.
                    self.stateful.end_guilty_row(partition);
                }
                let in_a_row = self.stateful.add_guilty(partition, offset, failure)?;
                let outcome = CallOutcome { judged: 0, guilty: 1, unjudged: 0, timeouts };
                if in_a_row >= GUILTY_IN_A_ROW_MAX && (self.probing || !health.has_judged()) {
                    // The plugin itself is broken: no record is quarantined, the batch waits.
                    self.stateful.end_guilty_row(partition);
                    let next = Next::RetryAfter(health.broken(outcome, &reason));
                    return Err(StageError { offset: guilty, reason, next });
                }
                if !work.is_warm_up() {
                    // A probe that found a guilty record does not prove that the plugin works: the
                    // next call is a probe again.
                    health.narrowed(outcome, &reason, false);
                }
            }
            (None, Some(last)) => self.stateful.alone_through(partition, last),
            (None, None) => {}
        }
        let next = if work.purpose == Purpose::Prove { Next::Stop } else { Next::WarmUp };
        Err(StageError { offset: guilty, reason, next })
    }

    /// Shows records of a warm-up to a stateless plugin, whose results a stateful one may depend
    /// on. A record that broke it then breaks it now, and was reported then: it does not count for
    /// the breaker or as guilty.
    ///
    /// # Errors
    /// No instance can be started.
    pub(super) fn call_stateless_in_warm_up(&mut self, call: &Call<'_>, work: &mut Work<'_>) -> Result<(), StageError> {
        let rows = mem::take(&mut work.scratch.rows);
        let done = self.call_each_in_warm_up(call, &rows, work);
        work.scratch.rows = rows;
        done
    }

    fn call_each_in_warm_up(&mut self, call: &Call<'_>, rows: &[usize], work: &mut Work<'_>) -> Result<(), StageError> {
        let Err(failure) = self.attempt(call, rows, work)? else { return Ok(()) };
        let health = Arc::clone(&self.plugin.health);
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
