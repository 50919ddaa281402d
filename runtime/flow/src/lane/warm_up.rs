//! Warm-up: shows stateful plugins the log before they judge.
//!
//! Before the chain judges the first batch of a partition, and again when it has lost its state, it
//! must see the log before that batch. The partition is read from an earlier offset up to the
//! expected one, none of those records goes anywhere, and then reading resumes. If anything comes
//! in between, the warm-up ends and the chain asks again.

use std::time::Duration;

use strait_core::{Batch, SourceOffset};

use super::Lane;
use crate::caution::Unread;
use crate::error::LaneError;
use crate::partitions::Stream;
use crate::ports::{StartAt, WarmUp};

/// A warm-up for which the source gives nothing for this long is abandoned: the log ends before the
/// expected offset, and reading from there reports why.
const STALLED: Duration = Duration::from_secs(20);

impl Lane<'_> {
    /// Reads a partition from as far before `batch` as the chain has asked for.
    pub(super) async fn start_warm_up(
        &mut self,
        stream: Stream,
        batch: &Batch,
        warm_ups: &[WarmUp],
        now: Duration,
    ) -> Result<(), LaneError> {
        let Some(first) = batch.get(0) else {
            return Err(LaneError::impossible("an empty batch asks for a warm-up"));
        };
        let window = self.partitions.at(stream);
        let (key, until) = (window.key().clone(), window.expected());
        // The earliest timestamp of the batch: one clock that is ahead must not cut the warm-up of
        // the other records short.
        let times = batch.iter().map(|record| record.timestamp_ms).filter(|time_ms| *time_ms > 0);
        let (offset, time_ms) = (first.offset, times.min().unwrap_or(first.timestamp_ms));
        let place = std::slice::from_ref(&key);
        let bounds = match self.source.bounds(place).await {
            Ok(bounds) => bounds,
            Err(error) => {
                self.on_unread(stream, Unread::of(error.class), error.to_string(), now);
                return Ok(());
            }
        };
        let Some(bounds) = bounds.get(&key).copied() else {
            // The partition is gone, which the next read reports better.
            self.pause_reading(stream, now);
            return Ok(());
        };
        let mut from = until;
        for warm_up in warm_ups {
            let records = SourceOffset(offset.0.saturating_sub(i64::from(warm_up.records)));
            let mut start = records.max(bounds.log_start);
            if warm_up.ms > 0 {
                let since_ms = time_ms.saturating_sub_unsigned(warm_up.ms).max(0);
                let found = self.source.resolve(StartAt::Timestamp(since_ms), place).await;
                match found.map(|mut found| found.remove(&key)) {
                    Ok(Some(Ok(found))) => start = start.max(found),
                    Ok(None) => {}
                    Ok(Some(Err(error))) | Err(error) => {
                        self.on_unread(stream, Unread::of(error.class), error.to_string(), now);
                        return Ok(());
                    }
                }
            }
            from = from.min(start);
        }
        tracing::info!(
            link = %self.spec.link,
            partition = %key,
            from = from.0,
            until = until.0,
            "warming up stateful plugins"
        );
        if from >= until {
            return self.warmed_up_to(stream, until, until).await;
        }
        let epoch = self.partitions.new_read_epoch();
        let from = self.partitions.at_mut(stream).start_warm_up(epoch, from, now);
        Ok(self.source.assign(epoch, &[from]).await?)
    }

    /// Shows the chain a batch of the past.
    pub(super) async fn warm_up_with(
        &mut self,
        stream: Stream,
        batch: &Batch,
        until: SourceOffset,
        now: Duration,
    ) -> Result<(), LaneError> {
        let Some(last) = batch.last_offset() else {
            return Err(LaneError::impossible("the source gave an empty batch"));
        };
        let source_partitions = self.partitions.at(stream).source_partitions();
        if let Err(error) = self.chain.warm_up(batch, until, source_partitions) {
            return self.on_chain_error(stream, error, until, until, now).await;
        }
        self.warmed_up_to(stream, last.next(), until).await
    }

    /// Ends the warm-up and resumes reading, if the chain has seen everything below `until`.
    pub(super) async fn warmed_up_to(
        &mut self,
        stream: Stream,
        next: SourceOffset,
        until: SourceOffset,
    ) -> Result<(), LaneError> {
        if next < until {
            return Ok(());
        }
        self.chain.warmed_up(self.partitions.at(stream).key(), until);
        self.start_reading(&[stream]).await
    }

    /// Resumes reading partitions whose warm-up has stalled. The chain asks again.
    pub(super) async fn abandon_stalled_warm_ups(&mut self, now: Duration) -> Result<(), LaneError> {
        let stalled = self.partitions.select(|window| window.is_warm_up_stalled(now, STALLED));
        self.start_reading(&stalled).await
    }
}
