//! A lane's side of a reload: the instances that judge, the ones on standby, and the swap at a
//! batch border.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use strait_core::batch::Batch;
use strait_core::edit::{Generation, Processed};
use strait_core::offset::SourceOffset;
use strait_core::progress::ChainBorder;
use strait_core::protects::{Protection, loosened};
use strait_core::topic::PartitionKey;
use strait_core::{ChainEvent, Event};
use strait_flow::lock;
use strait_flow::ports::{Chain, ChainError, Next, WarmUp};

use super::compare::Comparison;
use super::shared::Shared;
use super::state::{ReloadState, Role};
use super::version::ChainVersion;
use crate::chain::{Judgement, PluginChain};

/// Topics of a lane whose plans are asked for before a swap; the plans of others are asked for when
/// their records come.
const TOPICS_MAX: usize = 10_000;
/// Pause before plugins are started again that did not start.
const START_RETRY: Duration = Duration::from_secs(30);

/// The state that a lane's chain shares with the active chain of its link.
#[derive(Default)]
pub(super) struct LaneHandle {
    /// Instances that were prepared in the background, until the lane takes them.
    prepared: Mutex<Option<LaneInstances>>,
    /// Topics that the lane's chain has accepted, with their partition counts.
    topics: Mutex<BTreeMap<Arc<str>, u32>>,
    /// The revision of the reload state that the lane has adopted.
    revision: AtomicU64,
}

impl LaneHandle {
    pub(super) fn prepare(&self, instances: LaneInstances) {
        // Instances that were never taken are dropped outside of the lock.
        let unused = lock(&self.prepared).replace(instances);
        drop(unused);
    }

    pub(super) fn topics(&self) -> BTreeMap<Arc<str>, u32> {
        lock(&self.topics).clone()
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Relaxed)
    }
}

/// A judgement, and the plugins that made it.
type Attributed = (Judgement, Generation);

/// One lane's instances of one version of the chain.
pub(super) struct LaneInstances {
    version: Arc<ChainVersion>,
    chain: PluginChain,
}

impl LaneInstances {
    /// Starts instances and asks them for the plans of these topics.
    pub(super) fn start(version: &Arc<ChainVersion>, topics: &BTreeMap<Arc<str>, u32>) -> Result<Self, ChainError> {
        let mut chain = version.chains.plugin_chain()?;
        for (topic, partitions) in topics {
            chain.target_topic(topic, *partitions)?;
        }
        Ok(Self { version: Arc::clone(version), chain })
    }

    fn number(&self) -> u64 {
        self.version.number
    }

    /// Returns whether it protects a topic as much as others do.
    fn protects_as_much(&mut self, other: &mut Self, topic: &str, partitions: u32) -> bool {
        let (own, theirs) = (self.chain.protection(topic, partitions), other.chain.protection(topic, partitions));
        matches!((own, theirs), (Ok(own), Ok(theirs)) if loosened(&theirs, &own).is_empty())
    }

    fn judge(&mut self, batch: &Batch, partitions: u32) -> Result<Attributed, ChainError> {
        let judgement = self.chain.judge(batch, partitions)?;
        Ok((judgement, self.chain.generation()))
    }

    fn judge_strictly(&mut self, batch: &Batch, partitions: u32) -> Result<Attributed, ChainError> {
        let judgement = self.chain.judge_strictly(batch, partitions)?;
        Ok((judgement, self.chain.generation()))
    }
}

/// A lane's chain, whichever version is active.
pub(super) struct LaneChain {
    shared: Arc<Shared>,
    handle: Arc<LaneHandle>,
    /// The revision of the reload state that was last looked at.
    revision: u64,
    active: LaneInstances,
    standby: Option<(Role, LaneInstances)>,
    /// The same as the handle's, without its lock.
    topics: BTreeMap<Arc<str>, u32>,
    /// The reload state was adopted for the batch at hand.
    is_current: bool,
    /// When the active plugins are started again that did not start here.
    retry_at: Option<Duration>,
    /// When a lane without batches tries to start them again.
    keeps_up_at: Option<Duration>,
    /// The last revision of which it was said that they did not.
    said: u64,
}

impl LaneChain {
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self, ChainError> {
        // Registered first: a reload that is prepared from now on is prepared for this lane too.
        let handle = shared.add_lane();
        let topics = BTreeMap::new();
        let mut state = shared.state();
        let active = match LaneInstances::start(&state.active, &topics) {
            Ok(active) => active,
            Err(error) => {
                // On probation this rolls back to the previous chain; else there is none, and the
                // lane fails.
                let broken = state.active.number;
                shared.roll_back(broken, &error);
                state = shared.state();
                if state.active.number == broken {
                    return Err(error);
                }
                LaneInstances::start(&state.active, &topics)?
            }
        };
        let (standby, revision) = (None, 0);
        let (is_current, retry_at, keeps_up_at, said) = (false, None, None, 0);
        let mut chain =
            Self { shared, handle, revision, active, standby, topics, is_current, retry_at, keeps_up_at, said };
        chain.finish_swap(&state, Vec::new());
        chain.handle.revision.store(state.revision, Ordering::Relaxed);
        Ok(chain)
    }

    /// Adopts the reload state, if it has changed since the last batch.
    ///
    /// # Errors
    /// The active plugins do not start here, and those of the lane may protect less.
    fn adopt(&mut self) -> Result<(), ChainError> {
        if self.retry_at.is_some_and(|at| self.shared.now() >= at) {
            self.revision = 0;
        }
        while self.shared.revision() != self.revision {
            let state = self.shared.state();
            let mut spare: Vec<LaneInstances> = self.standby.take().map(|(_, standby)| standby).into_iter().collect();
            spare.extend(lock(&self.handle.prepared).take());
            self.retry_at = None;
            if state.active.number != self.active.number() {
                match self.take_or_start(&state.active, &mut spare) {
                    Ok(next) => spare.push(std::mem::replace(&mut self.active, next)),
                    Err(error) => {
                        // On probation this rolls back, which the next round adopts.
                        self.shared.roll_back(state.active.number, &error);
                        if self.shared.revision() == state.revision {
                            return self.stay_behind(&state, error);
                        }
                    }
                }
            }
            self.finish_swap(&state, spare);
            self.handle.revision.store(state.revision, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Goes on with the lane's own plugins, if the active ones have replaced them and they protect
    /// as much. The state shows the lane as one that is behind, until a later attempt succeeds.
    fn stay_behind(&mut self, state: &ReloadState, error: ChainError) -> Result<(), ChainError> {
        let is_previous = state.previous.as_ref().is_some_and(|previous| previous.number == self.active.number());
        let waits = !(state.active.falls_back && is_previous);
        if std::mem::replace(&mut self.said, state.revision) != state.revision {
            let event = ChainEvent::NotTaken {
                generation: state.active.generation().into(),
                waits,
                reason: format!("plugin {}: {}", error.plugin, error.reason),
            };
            self.shared.deps.events.emit(&self.shared.deps.link, Event::Chain(event));
        }
        if waits {
            return Err(ChainError { next: Next::RetryAfter(START_RETRY), ..error });
        }
        self.revision = state.revision;
        self.retry_at = Some(self.shared.now() + START_RETRY);
        Ok(())
    }

    /// Puts the standby in place and records the revision.
    fn finish_swap(&mut self, state: &ReloadState, mut spare: Vec<LaneInstances>) {
        let standby = state.standby.as_ref().filter(|standby| standby.version.number != self.active.number());
        self.standby = standby.and_then(|standby| match self.take_or_start(&standby.version, &mut spare) {
            Ok(instances) => Some((standby.role, instances)),
            Err(error) => {
                if standby.role != Role::Previous {
                    self.shared.roll_back(standby.version.number, &error);
                }
                None
            }
        });
        self.revision = state.revision;
    }

    fn take_or_start(
        &self,
        version: &Arc<ChainVersion>,
        spare: &mut Vec<LaneInstances>,
    ) -> Result<LaneInstances, ChainError> {
        match spare.iter().position(|instances| instances.number() == version.number) {
            Some(at) => Ok(spare.swap_remove(at)),
            None => LaneInstances::start(version, &self.topics),
        }
    }

    /// Returns the judgement that counts, and who made it.
    fn judge(&mut self, batch: &Batch, partitions: u32) -> Result<Attributed, ChainError> {
        let Self { shared, active, standby, .. } = self;
        let Some((role, other)) = standby else {
            return active.judge(batch, partitions);
        };
        // The chain that has to prove itself, and the one that takes over if it breaks.
        let (new, old) = match role {
            Role::Previous => (active, other),
            Role::Canary(partition) if *partition == batch.partition() => (other, active),
            Role::Canary(_) => {
                other.chain.missed(batch);
                return active.judge(batch, partitions);
            }
            Role::Shadow => {
                let signed = active.judge(batch, partitions)?;
                match other.judge_strictly(batch, partitions) {
                    Ok((candidate, _)) => shared.add_comparison(Comparison::of(batch, &signed.0, &candidate)),
                    Err(error) if error.needs_warm_up() => {}
                    Err(error) => shared.roll_back(other.number(), &error),
                }
                return Ok(signed);
            }
        };
        let error = match new.judge_strictly(batch, partitions) {
            Err(error) if !error.needs_warm_up() => error,
            judged => {
                old.chain.missed(batch);
                return judged;
            }
        };
        new.chain.missed(batch);
        let on_probation = *role == Role::Previous;
        // The topics of then said nothing of this one.
        if on_probation && !old.protects_as_much(new, batch.topic(), partitions) {
            return new.judge(batch, partitions);
        }
        let judged = if on_probation { old.judge_strictly(batch, partitions) } else { old.judge(batch, partitions) };
        // A stateful old chain has not seen the batches since: it takes over and is warmed up.
        if judged.as_ref().err().is_none_or(ChainError::needs_warm_up) {
            shared.roll_back(new.number(), &error);
            return judged;
        }
        // Both break: the records are to blame and not the reload.
        if on_probation { new.judge(batch, partitions) } else { judged }
    }

    fn add_topic(&mut self, topic: &Arc<str>, partitions: u32) {
        if self.topics.get(topic) == Some(&partitions) || self.topics.len() >= TOPICS_MAX {
            return;
        }
        self.topics.insert(Arc::clone(topic), partitions);
        lock(&self.handle.topics).insert(Arc::clone(topic), partitions);
    }
}

impl Chain for LaneChain {
    fn warm_up_needed(&mut self, partition: &PartitionKey, next: SourceOffset, partitions: u32) -> Vec<WarmUp> {
        // Judging reports what it meets.
        self.is_current = self.adopt().is_ok();
        let (active_judges, standby_judges) = match &self.standby {
            Some((Role::Canary(number), _)) => (*number != partition.partition, *number == partition.partition),
            Some((Role::Shadow, _)) => (true, true),
            Some((Role::Previous, _)) | None => (true, false),
        };
        let mut needed = Vec::new();
        if active_judges {
            needed = self.active.chain.warm_up_needed(partition, next, partitions);
        }
        let Some((role, other)) = &mut self.standby else { return needed };
        if standby_judges {
            needed.extend(other.chain.warm_up_needed(partition, next, partitions));
        } else if *role == Role::Previous && !needed.is_empty() {
            // The previous chain would have to be warmed up anyhow, and the active one may need the
            // memory.
            other.chain.forget(partition);
        }
        needed
    }

    /// Rolls back a chain on probation or on trial that breaks on a warm-up. One on probation may
    /// wait for a breaker or for memory, which is no fault of its own; one on trial must not hold
    /// up the active chain.
    fn warm_up(&mut self, batch: &Batch, until: SourceOffset, partitions: u32) -> Result<(), ChainError> {
        let Self { shared, active, standby, .. } = self;
        let warm_up = |instances: &mut LaneInstances, is_rolled_back: fn(&ChainError) -> bool| {
            instances.chain.warm_up(batch, until, partitions).map_err(|error| {
                if !is_rolled_back(&error) {
                    return error;
                }
                shared.roll_back(instances.number(), &error);
                ChainError { next: Next::WarmUp, ..error }
            })
        };
        match standby {
            None => warm_up(active, |_| false),
            Some((Role::Previous, _)) => warm_up(active, |error| !matches!(error.next, Next::RetryAfter(_))),
            Some((_, candidate)) => warm_up(active, |_| false).and_then(|()| warm_up(candidate, |_| true)),
        }
    }

    fn warmed_up(&mut self, partition: &PartitionKey, until: SourceOffset) {
        self.active.chain.warmed_up(partition, until);
        if let Some((_, other)) = &mut self.standby {
            other.chain.warmed_up(partition, until);
        }
    }

    fn forget(&mut self, partition: &PartitionKey) {
        self.active.chain.forget(partition);
        if let Some((_, other)) = &mut self.standby {
            other.chain.forget(partition);
        }
    }

    fn apply(&mut self, batch: Batch, partitions: u32) -> Result<Processed, ChainError> {
        if !std::mem::take(&mut self.is_current) {
            self.adopt()?;
        }
        let (judgement, generation) = self.judge(&batch, partitions)?;
        self.add_topic(batch.topic(), partitions);
        let Judgement { target_topic, dispositions } = judgement;
        Ok(Processed { batch, target_topic, dispositions, generation })
    }

    fn target_topic(&mut self, topic: &str, partitions: u32) -> Result<Arc<str>, ChainError> {
        self.adopt()?;
        self.active.chain.target_topic(topic, partitions)
    }

    fn protection(&mut self, topic: &str, partitions: u32) -> Result<Protection, ChainError> {
        let protection = self.active.chain.protection(topic, partitions)?;
        self.add_topic(&topic.into(), partitions);
        Ok(protection)
    }

    fn trial_protection(&mut self, topic: &str, partitions: u32) -> Option<Protection> {
        let (_, candidate) = self.standby.as_mut().filter(|(role, _)| matches!(role, Role::Canary(_)))?;
        match candidate.chain.protection(topic, partitions) {
            Ok(protection) => Some(protection),
            // A topic that is passed around the plugins.
            Err(_) if self.active.chain.protection(topic, partitions).is_err() => Some(Protection::default()),
            Err(error) => {
                self.shared.roll_back(candidate.number(), &error);
                self.standby = None;
                None
            }
        }
    }

    fn refuse_trial(&mut self, losses: &str) {
        if let Some((_, candidate)) = self.standby.take_if(|(role, _)| matches!(role, Role::Canary(_))) {
            self.shared.refuse_trial(&candidate.version, losses);
        }
    }

    fn keep_up(&mut self) {
        if self.keeps_up_at.is_some_and(|at| self.shared.now() < at) {
            return;
        }
        // Plugins that do not start here wait for the next batch, which says so.
        self.keeps_up_at = self.adopt().is_err().then(|| self.shared.now() + START_RETRY);
    }

    fn border(&self) -> ChainBorder {
        let of = |instances: &LaneInstances| {
            let border = instances.chain.border();
            let agreement = self.shared.agreement_to(&border.generation);
            ChainBorder { agreement: agreement.or_else(|| instances.version.agreement()), ..border }
        };
        let on_trial = self.standby.as_ref().filter(|(role, _)| matches!(role, Role::Canary(_)));
        ChainBorder { trial: on_trial.map(|(_, candidate)| Box::new(of(candidate))), ..of(&self.active) }
    }

    fn generation(&self) -> Generation {
        self.active.chain.generation()
    }

    fn version(&self) -> u64 {
        // Not the revision, which also counts what changes nothing for a record: the end of a
        // probation, a trial in the shadow.
        let state = self.shared.state();
        let canary = state.standby.filter(|standby| matches!(standby.role, Role::Canary(_)));
        state.active.number << 32 | canary.map_or(0, |standby| standby.version.number)
    }
}

#[cfg(test)]
mod tests;
