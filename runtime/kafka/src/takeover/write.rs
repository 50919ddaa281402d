//! Writes the first positions of a link, in lanes that are closed meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use strait_core::config::DeliveryMode;
use strait_core::lanes::lane_of;
use strait_core::mirror::Checkpoints;
use strait_core::progress::{LaneProgress, LaneRecord, LinkIdentity, Position, ProgressRecord, TAKE_OVER, Tails};
use strait_core::{Generation, LaneId, LeaderEpoch, OwnerEpoch};
use strait_flow::SystemClock;
use strait_flow::ports::{Class, Clock as _, ControlLog as _, ProgressStore as _, SourceTopic};

use super::{Findings, TakeOver, TakeOverError, TakenOver};
use crate::config::{TargetTuning, group};
use crate::control::KafkaControl;
use crate::error::{blocking, own};
use crate::lazy_client::{connect, fail};
use crate::link_admin::{LaneEntry, ProgressWriter, fence};
use crate::progress_store::KafkaProgressStore;

/// Records of groups in one transaction.
const AT_ONCE: usize = 1_000;

/// One writing.
pub(super) struct Writing<'a> {
    pub take_over: &'a TakeOver,
    pub lanes: u32,
}

impl Writing<'_> {
    /// Returns the number of positions written.
    pub async fn write(
        &self,
        (found, checkpoints): (&Findings, &Checkpoints),
        topics: &[SourceTopic],
    ) -> Result<usize, TakeOverError> {
        let TakeOver { spec, target, timeout, .. } = self.take_over;
        let context = self.take_over.context();
        let exactly_once = spec.delivery == DeliveryMode::ExactlyOnce;
        let tuning = TargetTuning { exactly_once, request_timeout: *timeout, ..TargetTuning::default() };
        self.check_unused().await?;
        let (cluster, link, place, wanted) = (target.clone(), spec.link.clone(), context.clone(), tuning.clone());
        // First, so that of two take-overs the earlier one is fenced.
        let writer = blocking(&context, move || ProgressWriter::new(&cluster, &link, &wanted, &place)).await??;
        fence(target, &spec.link, self.lanes, &tuning).await?;
        if self.read().await?.iter().any(|lane| !is_free(lane)) {
            return Err(TakeOverError::HasProgress { link: spec.link.clone() });
        }
        let record = self.record(topics).await?;
        let closed = LaneRecord { closed: true, closed_by: Some(TAKE_OVER.into()), ..record.clone() };
        let marks = self.of_lanes(&closed);
        let writer = blocking(&context, move || writer.write(marks, &[]).map(|()| writer)).await??;
        // This fences owners that took a lane before the marks. Later owners find the marks.
        fence(target, &spec.link, self.lanes, &tuning).await?;
        self.check_unused().await?;
        let is_closed = |lane: &LaneProgress| is_free(lane) && lane.lane.is_some();
        if !self.read().await?.iter().all(is_closed) {
            let reason = "a process has taken a lane meanwhile: stop it, delete the topics strait.LINK.* of the link on the target, and run this again";
            return Err(own(Class::Stop, context, reason).into());
        }
        // While no process can begin: a run would take these groups for the target's.
        self.write_groups(found, checkpoints).await?;
        let positions: Vec<LaneEntry> =
            found.partitions.iter().filter_map(|partition| self.position(partition, spec.process)).collect();
        let written = positions.len();
        let records = positions.into_iter().chain(self.of_lanes(&record)).collect();
        blocking(&context, move || writer.write(records, &[])).await??;
        Ok(written)
    }

    /// Makes the groups that MirrorMaker 2 has kept the link's.
    async fn write_groups(&self, found: &Findings, checkpoints: &Checkpoints) -> Result<(), TakeOverError> {
        let TakeOver { spec, target, timeout, .. } = self.take_over;
        let place = |partition: &TakenOver| {
            let target = partition.target.as_ref()?;
            Some(((Arc::clone(&target.topic), target.partition), partition.key.clone()))
        };
        let keys = found.partitions.iter().filter_map(place).collect();
        let records = checkpoints.records(&keys, SystemClock::start().unix_ms());
        if records.is_empty() {
            return Ok(());
        }
        let mut writer = KafkaControl::new(target, &spec.link, *timeout).take().await?;
        for some in records.chunks(AT_ONCE) {
            writer.commit(some).await?;
        }
        Ok(())
    }

    /// Refuses a link that a process runs.
    async fn check_unused(&self) -> Result<(), TakeOverError> {
        let link = &self.take_over.spec.link;
        let members = self.take_over.members(group(link)).await?;
        if members.is_empty() { Ok(()) } else { Err(TakeOverError::LinkRuns { link: link.clone(), members }) }
    }

    async fn read(&self) -> Result<Vec<LaneProgress>, TakeOverError> {
        let TakeOver { spec, target, timeout, .. } = self.take_over;
        let store = KafkaProgressStore::new(target, &spec.link, *timeout);
        let mut known = Vec::new();
        for lane in 0..self.lanes {
            known.push(store.read(LaneId(lane)).await?);
        }
        Ok(known)
    }

    /// Returns the record of each lane, as the first process of the link would write it.
    async fn record(&self, topics: &[SourceTopic]) -> Result<LaneRecord, TakeOverError> {
        let TakeOver { spec, source, timeout, .. } = self.take_over;
        let (cluster, context, timeout) = (source.clone(), self.take_over.context(), *timeout);
        let label = format!("{}/takeover", spec.link);
        let asking = context.clone();
        let id = blocking(&asking, move || {
            let client = connect(&cluster, &label).map_err(|error| fail(&context, &error, None))?;
            Ok::<_, TakeOverError>(client.cluster_id(timeout))
        });
        let identity = LinkIdentity { source_cluster: id.await??.map(Into::into), ..spec.identity.clone() };
        let created_with: BTreeMap<String, i32> =
            topics.iter().map(|topic| (topic.topic.to_string(), topic.partitions)).collect();
        Ok(LaneRecord::new(created_with, self.lanes).updated(&identity, spec.delivery))
    }

    fn of_lanes(&self, record: &LaneRecord) -> Vec<LaneEntry> {
        (0..self.lanes).map(|lane| (lane, ProgressRecord::Lane(record.clone()).encode())).collect()
    }

    /// Returns the first position of a partition. Its origin and counts are not known, as those of
    /// a position of an earlier version: records before it are on the target too. The tail says
    /// where they end, so that no reader of older ones is sent behind them.
    fn position(&self, partition: &TakenOver, process: u32) -> Option<LaneEntry> {
        let next = partition.next?;
        let mut tails = Tails::default();
        if let Some(tail) = &partition.target {
            tails.set(tail.clone());
        }
        let position = Position {
            next,
            leader_epoch: LeaderEpoch::UNKNOWN,
            generation: Generation::default().0,
            owner: OwnerEpoch::default().following(process),
            ids: Arc::default(),
            lanes: self.lanes,
            config: Arc::default(),
            origin: None,
            totals: None,
            tails,
        };
        let lane = lane_of(&partition.key.topic, partition.key.partition, self.lanes).0;
        Some((lane, ProgressRecord::Partition(partition.key.clone(), position).encode()))
    }
}

/// Returns whether nothing is known of a lane, but that a take-over was interrupted.
fn is_free(lane: &LaneProgress) -> bool {
    let is_closed = |record: &LaneRecord| record.closed && record.closed_by.as_deref() == Some(TAKE_OVER);
    lane.positions.is_empty() && lane.lane.as_ref().is_none_or(is_closed)
}
