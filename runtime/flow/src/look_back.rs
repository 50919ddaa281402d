//! Plugins with memory: before the chain judges the first batch of a partition, and again when it has lost its memory, it is
//! shown the log before that batch. The partition is read from an earlier offset up to where it stood, nothing of that goes
//! anywhere, and then it is read on as if nothing had been. Whatever comes in between ends it, and the chain asks again.

use std::time::Duration;

use strait_core::{Batch, LeaderEpoch, SourceOffset};

use crate::lane::{Lane, LaneError};
use crate::ports::{ReadEpoch, ReadFrom, StartAt, WarmUp};
use crate::window::LookingBack;

/// A look back in which the source gives nothing for so long ends: the log ends before the place where it stood, and reading on
/// from there tells why.
const DEAF: Duration = Duration::from_secs(20);

impl Lane<'_> {
    /// Reads a partition from as far before `batch` as the chain has asked for.
    pub(crate) async fn look_back(
        &mut self,
        stream: u32,
        batch: &Batch,
        lookbacks: &[WarmUp],
    ) -> Result<(), LaneError> {
        let (Some(partition), Some(first)) = (self.partitions.get(stream as usize), batch.get(0)) else {
            return Ok(());
        };
        let (key, until) = (partition.key.clone(), partition.expected);
        // One clock that is ahead must not hide the log from the other records.
        let times = batch.iter().map(|record| record.timestamp_ms).filter(|time_ms| *time_ms > 0);
        let (offset, time_ms) = (first.offset, times.min().unwrap_or(first.timestamp_ms));
        let place = std::slice::from_ref(&key);
        let Some(bounds) = self.source.bounds(place).await?.get(&key).copied() else {
            // It is gone, which reading on tells better.
            return self.pause_reading(stream);
        };
        let mut from = until;
        for lookback in lookbacks {
            let records = SourceOffset(offset.0.saturating_sub(i64::from(lookback.records)));
            let mut start = records.max(bounds.log_start);
            if lookback.ms > 0 {
                let since_ms = time_ms.saturating_sub_unsigned(lookback.ms).max(0);
                let found = self.source.resolve(StartAt::Timestamp(since_ms), place).await?;
                start = start.max(found.get(&key).copied().unwrap_or(start));
            }
            from = from.min(start);
        }
        tracing::info!(
            link = %self.spec.link,
            partition = %key,
            from = from.0,
            until = until.0,
            "plugins with memory are shown the log"
        );
        if from >= until {
            return self.shown(stream, until, until).await;
        }
        self.read_epochs += 1;
        let epoch = ReadEpoch(self.read_epochs);
        if let Some(partition) = self.partitions.get_mut(stream as usize) {
            partition.read_epoch = epoch;
            partition.looking_back = Some(LookingBack { until, heard: self.now });
        }
        let from = ReadFrom { partition: key, next: from, leader_epoch: LeaderEpoch::UNKNOWN };
        Ok(self.source.assign(epoch, &[from]).await?)
    }

    /// Shows the chain a batch of the past.
    pub(crate) async fn show(&mut self, stream: u32, batch: &Batch, until: SourceOffset) -> Result<(), LaneError> {
        let (Some(partition), Some(last)) = (self.partitions.get(stream as usize), batch.last_offset()) else {
            return Ok(());
        };
        if let Err(error) = self.chain.warm_up(batch, until, partition.source_partitions) {
            return self.on_chain_error(stream, error, until, until).await;
        }
        self.shown(stream, last.next(), until).await
    }

    /// Reads partitions on whose look back has come to nothing; the chain asks again.
    pub(crate) async fn end_deaf_look_backs(&mut self) -> Result<(), LaneError> {
        let is_deaf = |looking_back: &LookingBack| self.now.saturating_sub(looking_back.heard) >= DEAF;
        let deaf: Vec<u32> = (0u32..)
            .zip(&self.partitions)
            .filter(|(_, partition)| partition.pause.is_none() && partition.looking_back.as_ref().is_some_and(is_deaf))
            .map(|(stream, _)| stream)
            .collect();
        self.start_reading(&deaf).await
    }

    /// The chain was shown everything below `next`. Where that is all, the partition is read on.
    pub(crate) async fn shown(
        &mut self,
        stream: u32,
        next: SourceOffset,
        until: SourceOffset,
    ) -> Result<(), LaneError> {
        let Some(partition) = self.partitions.get(stream as usize).filter(|_| next >= until) else {
            return Ok(());
        };
        self.chain.warmed_up(&partition.key, until);
        self.start_reading(&[stream]).await
    }
}
