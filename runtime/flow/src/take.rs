//! Taking a lane: initialise both slots, then read progress, then seek. In that order, or a predecessor's transaction could
//! still be committed after its progress was read.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use strait_core::progress::{LaneRecord, Position};
use strait_core::{Event, Generation, OwnerEpoch, PartitionKey, SourceOffset, TopicId, lanes};

use crate::lane::{Lane, LaneDeps, LaneError};
use crate::memory::LaneMemory;
use crate::ports::{Class, PortError, Quarantine, SourceTopic, Taken};
use crate::spec::{DeliveryMode, LaneSpec, OnGap};
use crate::transaction::Transactions;
use crate::trouble::is_other;
use crate::window::{PartitionWindow, Pause};

/// How long a lane waits for its quarantine before it begins.
const QUARANTINE_READY: Duration = Duration::from_secs(5);

/// How long a generation that broke may take to abort what it has open. The next one aborts it in any case; where the target
/// cannot, waiting would only hold up the partitions that it could write.
pub(crate) const ABORT_MAX: Duration = Duration::from_secs(1);

/// Makes quarantine ready for the first record; one that is not costs nothing before there is such a record, and is said.
async fn prepare(quarantine: &mut dyn Quarantine, link: &str) {
    let error = match tokio::time::timeout(QUARANTINE_READY, quarantine.prepare()).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it does not answer".to_owned(),
    };
    tracing::warn!(link, error, "quarantine is not ready: a record that is refused would stop its partition");
}

/// Why another process could still write beside this one, although it lost the lane: the id of its next transaction may be
/// among those left as they are. Then that id has a transaction which this owner asked to commit, with progress in it, and it counts
/// further than the owners it had read. So there is none where this process was the last to write, nor where the next id of the last to
/// write is fenced (decision 7).
fn may_be_shared(taken: &Taken, last: Option<&Position>, spec: &LaneSpec) -> Option<PortError> {
    let last = last.filter(|last| !taken.unfenced.is_empty() && last.owner.process() != spec.process)?;
    if last.ids.chars().nth(1).is_some_and(|next| !taken.unfenced.contains(next)) {
        return None;
    }
    Some(PortError {
        class: Class::Retry,
        context: format!("taking lane {} of link {}", spec.lane, spec.link),
        reason: format!(
            "the last transactions of its transactional ids {:?} cannot end yet (CONCURRENT_TRANSACTIONS), and the process that began them could still be at work; they end when every target partition that they touched has a leader and min.insync.replicas again",
            taken.unfenced
        ),
    })
}

impl<'a> Lane<'a> {
    /// Makes the clients, takes the lane and puts every partition at its committed place.
    pub async fn take(
        spec: &'a LaneSpec,
        deps: &'a LaneDeps,
        memory: &'a mut LaneMemory,
    ) -> Result<Lane<'a>, LaneError> {
        let chain = deps.chains.chain().map_err(|e| PortError {
            class: Class::Retry,
            context: "making an instance of the plugin chain".to_owned(),
            reason: e.to_string(),
        })?;
        let mut target = deps.connector.target(spec.lane).await?;
        let mut quarantine = deps.connector.quarantine(spec.lane).await?;
        // Beside taking the target, which takes longer. Without plugins a record is hardly ever refused.
        let has_plugins = chain.generation() != Generation::default();
        let ready = async {
            if has_plugins {
                prepare(&mut *quarantine, &spec.link).await;
            }
        };
        let (taken, ()) = tokio::join!(target.take(), ready);
        let taken = taken?;
        let progress = deps.progress.read(spec.lane).await?;
        let last = progress.newest.as_ref();
        let owner = last.map_or_else(OwnerEpoch::default, |position| position.owner).following(spec.process);
        if let Some(error) = may_be_shared(&taken, last, spec) {
            target.release(ABORT_MAX).await;
            return Err(error.into());
        }
        if let Some(refusal) = progress.lane.as_ref().and_then(|lane| lane.refusal(spec.lanes)) {
            target.release(ABORT_MAX).await;
            return Err(LaneError::Closed(refusal));
        }
        let source = deps.connector.source(spec.lane).await?;
        let topics = Arc::clone(&deps.topics.borrow());
        let now = deps.clock.now();
        let created: BTreeMap<String, i32> = topics.iter().map(|t| (t.topic.to_string(), t.partitions)).collect();
        let new_record =
            LaneRecord { created_with: created, closed: false, lanes: spec.lanes, lanes_before: Vec::new() };
        let created_with = progress.lane.as_ref().unwrap_or(&new_record).created_with.clone();
        let lane_record = progress.lane.is_none().then_some(new_record);
        if std::mem::take(&mut memory.asks_for_ends) && taken.unfenced.is_empty() {
            memory.stuck.values_mut().for_each(|stuck| stuck.at = now);
        }
        let mut lane = Lane {
            spec,
            deps,
            memory,
            source,
            target,
            quarantine,
            chain,
            taken,
            partitions: Vec::new(),
            by_place: HashMap::new(),
            topics: BTreeMap::new(),
            topic_names: HashMap::new(),
            lacking: BTreeMap::new(),
            transactions: Transactions::new(),
            owner,
            known: progress.positions,
            borders: progress.borders,
            lane_record,
            created_with,
            queued_bytes: 0,
            control_sequence: 0,
            control_outstanding: 0,
            last_ack: now,
            last_progress: now,
            read_epochs: 0,
            now,
            next_tick: now,
            next_probe: now,
            dropped: 0,
            turn: 0,
        };
        let placed = match lane.mine(&topics).await {
            Ok(mine) => lane.place(mine).await,
            Err(error) => Err(error),
        };
        match placed {
            Ok(()) => {
                lane.claim();
                Ok(lane)
            }
            Err(error) => {
                lane.release_clients(ABORT_MAX).await;
                Err(error)
            }
        }
    }

    /// Has the first transaction say who has the lane, before a record is in one that may not be able to end.
    fn claim(&mut self) {
        if self.spec.delivery == DeliveryMode::ExactlyOnce
            && let Some(partition) = self.partitions.first_mut()
        {
            partition.fresh = true;
        }
    }

    /// Puts partitions where progress says; those without progress are resolved and committed first. Not only when the lane
    /// is taken: an owner before may have copied partitions that this process learns of later.
    pub(crate) async fn place(&mut self, mine: Vec<(PartitionKey, u32)>) -> Result<(), LaneError> {
        let mut reading = Vec::new();
        let mut first_seen = Vec::new();
        for (key, source_partitions) in mine {
            if let Some(position) = self.known.get(&key) {
                let rewound = self.memory.rewind.remove(&key).filter(|rewind| rewind.applies(position));
                let next = rewound.map_or(position.next, |rewind| rewind.resume);
                let mut window = PartitionWindow::new(key, source_partitions, next, position.leader_epoch);
                window.committed = position.next;
                window.generation = Arc::clone(&position.generation);
                window.border = self.borders.get(&window.key).cloned();
                // Written at once, whatever comes: another owner must not wait at an offset that does not exist any more.
                window.fresh = rewound.is_some();
                window.careful_until = self.memory.careful_until(&window.key);
                window.pause = self.remembered_pause(&window.key, next);
                let paused = window.pause.is_some();
                if rewound.is_some() {
                    self.emit(Event::Resumed { partition: window.key.clone(), resumed: next });
                }
                let stream = self.insert(window);
                if !paused {
                    reading.push(stream);
                }
                continue;
            }
            // A topic can have been created more than once since this lane was looked at.
            let mut old: Vec<(PartitionKey, Position)> = Vec::new();
            for (other, position) in &self.known {
                let same_place = other.topic == key.topic && other.partition == key.partition;
                if same_place && is_other(other.topic_id, key.topic_id) {
                    old.push((other.clone(), position.clone()));
                }
            }
            for (old, position) in &old {
                let event =
                    Event::TopicRecreated { partition: old.clone(), found: key.topic_id, position: position.next };
                if self.memory.stop(old, position.next, position.next, &event, self.now).1 {
                    self.emit(event);
                }
            }
            let Some((old, position)) = old.into_iter().max_by_key(|(_, position)| position.owner.count()) else {
                first_seen.push((key, source_partitions));
                continue;
            };
            if self.spec.policies.on_gap == OnGap::Continue {
                self.add_first_seen(vec![(key, source_partitions)], true).await?;
                continue;
            }
            let mut window = PartitionWindow::new(old, source_partitions, position.next, position.leader_epoch);
            window.pause = Some(Pause::Stopped);
            self.insert(window);
        }
        self.add_first_seen(first_seen, false).await?;
        self.start_reading(&reading).await
    }

    /// The partitions of this lane, with the ids that their topics have now.
    pub(crate) async fn mine(&mut self, topics: &[SourceTopic]) -> Result<Vec<(PartitionKey, u32)>, LaneError> {
        let is_mine = |topic: &SourceTopic, p: i32| lanes::lane_of(&topic.topic, p, self.spec.lanes) == self.spec.lane;
        let names: Vec<Arc<str>> =
            topics.iter().filter(|t| (0..t.partitions).any(|p| is_mine(t, p))).map(|t| Arc::clone(&t.topic)).collect();
        let ids = self.source.topic_ids(&names).await?;
        let mut mine = Vec::new();
        for topic in topics {
            let Some(id) = ids.get(&topic.topic).copied() else {
                continue;
            };
            let id: TopicId = if id.is_known() { id } else { topic.id };
            for partition in (0..topic.partitions).filter(|p| is_mine(topic, *p)) {
                let key = PartitionKey { topic: Arc::clone(&topic.topic), topic_id: id, partition };
                mine.push((key, topic.partitions.unsigned_abs()));
            }
        }
        Ok(mine)
    }

    fn remembered_pause(&mut self, key: &PartitionKey, next: SourceOffset) -> Option<Pause> {
        if let Some(pause) = self.memory.stopped_at(key, next, self.now) {
            return Some(pause);
        }
        // Even when its time has come: whether the target can take its records is asked before it joins again.
        let stuck = self.memory.stuck.get(key)?;
        Some(Pause::Waiting { retry_at: stuck.at })
    }

    /// Ends every client of this generation; open transactions are aborted, as far as that goes within `deadline`.
    pub async fn release_clients(mut self, deadline: Duration) {
        self.target.release(deadline).await;
        self.source.close().await;
    }
}
