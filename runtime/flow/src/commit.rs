//! When a transaction begins, closes and commits, and what is written with it.

use std::sync::Arc;
use std::time::Duration;

use strait_core::map::MapRecord;
use strait_core::progress::{Position, ProgressRecord};
use strait_core::{SourceOffset, invariants};

use crate::lane::{CONTROL_STREAM, Lane, LaneError};
use crate::ports::{ProduceError, ProducerSlot, ReadEpoch, ReadFrom};
use crate::spec::DeliveryMode;
use crate::transaction::Phase;
use crate::window::PartitionWindow;

impl Lane<'_> {
    pub(crate) fn begin(&mut self) -> Result<(), LaneError> {
        if self.transactions.phase == Phase::Idle {
            self.target.begin(self.transactions.slot)?;
            self.transactions.phase = Phase::Open { since: self.now, bytes: 0, partitions: 0 };
        }
        Ok(())
    }

    /// Moves the transactions on as far as they can go now.
    pub(crate) async fn advance_transaction(&mut self, draining: bool) -> Result<(), LaneError> {
        if self.spec.delivery == DeliveryMode::AtLeastOnce {
            return self.advance_plain(draining).await;
        }
        if self.transactions.phase == Phase::Idle && self.transactions.can_begin() && self.progress_is_due(draining) {
            self.begin()?;
        }
        let backlog = !draining && self.has_backlog();
        let due = self.transactions.is_due(self.now, &self.spec.limits, backlog);
        // A transaction that only carries progress, and one at the end of a drain, has nothing to wait for.
        let empty = matches!(self.transactions.phase, Phase::Open { bytes: 0, partitions: 0, .. });
        if matches!(self.transactions.phase, Phase::Open { .. }) && (due || draining || empty) && !self.has_partial() {
            self.transactions.phase = Phase::Settling { closed_at: self.now };
        }
        if let Phase::Settling { closed_at } = self.transactions.phase
            && self.partitions.iter().all(|p| p.ledger.in_flight() == 0)
        {
            self.write_progress(self.transactions.slot)?;
            self.transactions.phase = Phase::Sealing { closed_at };
        }
        if let Phase::Sealing { closed_at } = self.transactions.phase
            && self.control_outstanding == 0
        {
            self.transactions.phase = Phase::Sealed { closed_at };
        }
        if let Phase::Sealed { closed_at } = self.transactions.phase
            && self.transactions.committing.is_none()
        {
            self.target.commit(self.transactions.slot);
            self.transactions.committing(closed_at);
            self.turn = self.turn.wrapping_add(1);
        }
        Ok(())
    }

    /// At-least-once: progress follows the acknowledgements, without a transaction around it.
    async fn advance_plain(&mut self, draining: bool) -> Result<(), LaneError> {
        if self.control_outstanding > 0 {
            return Ok(());
        }
        if !self.transactions.promises.is_empty() {
            let promises = std::mem::take(&mut self.transactions.promises);
            self.keep_promises(&promises).await?;
        }
        let settled = self.partitions.iter().all(|p| p.ledger.in_flight() == 0);
        if self.progress_is_due(draining) && (!draining || settled) {
            self.write_progress(ProducerSlot::A)?;
        }
        Ok(())
    }

    /// Whether progress should be written although no record asks for it: partitions that moved over offsets without
    /// records, and partitions seen for the first time.
    fn progress_is_due(&self, draining: bool) -> bool {
        let waited = self.now.saturating_sub(self.last_progress) >= self.spec.limits.idle_interval;
        let fresh = self.lane_record.is_some() || self.partitions.iter().any(|p| p.fresh);
        (waited || draining || fresh) && (self.lane_record.is_some() || self.partitions.iter().any(|p| p.is_dirty()))
    }

    /// Writes progress and the offset map of every partition that moved.
    fn write_progress(&mut self, slot: ProducerSlot) -> Result<(), LaneError> {
        let mut progress = Vec::new();
        let mut map: Vec<MapRecord> = Vec::new();
        let ids = self.taken.ids_from(slot);
        // Every transaction carries progress of some partition: a rival knows by it which id comes next.
        if !self.partitions.iter().any(PartitionWindow::is_dirty)
            && let Some(partition) = self.partitions.first_mut()
        {
            partition.fresh = true;
        }
        if let Some(record) = self.lane_record.take() {
            progress.push(ProgressRecord::Lane(record));
        }
        let Self { partitions, transactions, topic_names, spec, owner, .. } = self;
        for (stream, partition) in partitions.iter_mut().enumerate() {
            partition.touched = false;
            if !partition.is_dirty() {
                continue;
            }
            let next = partition.ledger.settled();
            let waiting = partition.oldest_waiting();
            invariants::behind_unsettled(&partition.key, next, waiting)
                .map_err(|violation| LaneError::Delivery(violation.to_string()))?;
            let (generation, borders) = partition.generation_before(next);
            let position = Position {
                next,
                leader_epoch: partition.epoch_before(next),
                generation,
                owner: *owner,
                ids: Arc::clone(&ids),
                lanes: spec.lanes,
                config: Arc::clone(&spec.config_hash),
            };
            progress.push(ProgressRecord::Partition(partition.key.clone(), position));
            progress.extend(borders.into_iter().map(|border| ProgressRecord::Border(partition.key.clone(), border)));
            for (topic, builder) in &mut partition.map {
                if let Some(name) = topic_names.get(topic) {
                    map.append(&mut builder.finish(&partition.key, name, partition.written, next));
                }
            }
            partition.written = next;
            partition.fresh = false;
            transactions.promises.push((u32::try_from(stream).unwrap_or(CONTROL_STREAM), next));
        }
        self.last_progress = self.now;
        let count = progress.len() + map.len();
        if count == 0 {
            return Ok(());
        }
        self.target.produce_progress(slot, CONTROL_STREAM, self.control_sequence, &progress, &map).map_err(
            |error| match error {
                ProduceError::QueueFull => LaneError::Delivery("no room for progress in the client's queue".to_owned()),
                ProduceError::Refused(reason) | ProduceError::Broken(reason) => {
                    LaneError::Delivery(format!("progress: {reason}"))
                }
            },
        )?;
        self.control_sequence += count as u64;
        self.control_outstanding += count;
        Ok(())
    }

    pub(crate) async fn on_committed(&mut self, slot: ProducerSlot) -> Result<(), LaneError> {
        let Some(promises) = self.transactions.committed(slot, self.now) else {
            return Err(LaneError::Delivery("a commit came back that was not asked for".to_owned()));
        };
        self.deps.status.add(|t| t.transactions += 1);
        let took = self.transactions.last_took();
        self.deps.status.time(|t| t.transaction.observe(took));
        self.keep_promises(&promises).await
    }

    /// What a commit made true. Partitions whose first position is committed now begin to be read.
    async fn keep_promises(&mut self, promises: &[(u32, SourceOffset)]) -> Result<(), LaneError> {
        let mut starting = Vec::new();
        let now_ms = self.deps.clock.unix_ms();
        for (stream, next) in promises {
            let Some(partition) = self.partitions.get_mut(*stream as usize) else {
                continue;
            };
            partition.committed = *next;
            self.memory.forget_below(&partition.key, *next);
            if partition.pause.is_none() {
                self.memory.stuck.remove(&partition.key);
            }
            self.deps.status.set(&partition.key, *next, partition.activity());
            for time_ms in partition.times_below(*next) {
                let latency_ms = u64::try_from(now_ms.saturating_sub(time_ms)).unwrap_or(0);
                self.deps.status.committed(&partition.key, time_ms, Duration::from_millis(latency_ms));
            }
            if std::mem::take(&mut partition.awaits_start) && partition.pause.is_none() {
                starting.push(*stream);
            }
        }
        self.start_reading(&starting).await
    }

    /// Assigns partitions at their own next offset, under a new read epoch.
    pub(crate) async fn start_reading(&mut self, streams: &[u32]) -> Result<(), LaneError> {
        if streams.is_empty() {
            return Ok(());
        }
        self.read_epochs += 1;
        let epoch = ReadEpoch(self.read_epochs);
        let mut places = Vec::with_capacity(streams.len());
        for stream in streams {
            let Some(partition) = self.partitions.get_mut(*stream as usize) else {
                continue;
            };
            partition.read_epoch = epoch;
            partition.looking_back = None;
            places.push(ReadFrom {
                partition: partition.key.clone(),
                next: partition.expected,
                leader_epoch: partition.leader_epoch,
            });
        }
        Ok(self.source.assign(epoch, &places).await?)
    }

    /// Whether everything that was released is committed.
    pub(crate) fn is_drained(&self) -> bool {
        let settled = self.partitions.iter().all(|p| p.ledger.in_flight() == 0);
        settled
            && self.control_outstanding == 0
            && self.transactions.is_quiet()
            && self.transactions.promises.is_empty()
            && !self.progress_is_due(true)
    }

    /// How long the loop may sleep when nothing happens.
    pub(crate) fn wake_after(&self) -> Duration {
        let idle = Duration::from_millis(200);
        let Phase::Open { since, .. } = self.transactions.phase else {
            return idle;
        };
        let backlog = self.has_backlog();
        let due = since + self.transactions.interval(&self.spec.limits, backlog);
        due.saturating_sub(self.now).clamp(Duration::from_millis(1), idle)
    }
}
