//! The state that the active chain of a link and its lanes share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use strait_core::progress::Agreement;
use strait_flow::ports::ChainError;
use strait_flow::{lock, millis};

use super::active::ActiveChainDeps;
use super::compare::Comparison;
use super::history::{History, HistoryEntry, HistoryOutcome};
use super::known_bad::KnownBad;
use super::lane_chain::{LaneHandle, LaneInstances};
use super::silence::Silence;
use super::state::{ReloadState, Role};
use super::version::{ChainVersion, Versions};
use crate::factory::HostChains;

pub(super) struct Shared {
    pub(super) deps: ActiveChainDeps,
    /// The same as the state's, without its lock.
    revision: AtomicU64,
    state: Mutex<ReloadState>,
    lanes: Mutex<Vec<Weak<LaneHandle>>>,
    /// Held while one reload is prepared.
    pub(super) reloading: Mutex<()>,
    pub(super) versions: Versions,
    pub(super) history: History,
    pub(super) known_bad: KnownBad,
    comparison: Mutex<Comparison>,
    pub(super) silence: Mutex<Silence>,
    /// The generation that the configuration accepts, whatever it loosens.
    accepted: Mutex<Option<Arc<str>>>,
}

impl Shared {
    pub(super) fn new(deps: ActiveChainDeps, chains: Arc<HostChains>) -> Self {
        let versions = Versions::default();
        let state = ReloadState::new(versions.add(chains, None, false));
        let history = History::new(&deps.link, Arc::clone(&deps.clock), Arc::clone(&deps.events));
        Self {
            deps,
            revision: AtomicU64::new(state.revision),
            state: Mutex::new(state),
            lanes: Mutex::default(),
            reloading: Mutex::default(),
            versions,
            history,
            known_bad: KnownBad::default(),
            comparison: Mutex::default(),
            silence: Mutex::default(),
            accepted: Mutex::default(),
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.deps.clock.now()
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    pub(super) fn state(&self) -> ReloadState {
        lock(&self.state).clone()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut ReloadState)) {
        let mut state = lock(&self.state);
        change(&mut state);
        self.publish(&mut state);
    }

    fn publish(&self, state: &mut ReloadState) {
        state.revision += 1;
        self.revision.store(state.revision, Ordering::Release);
    }

    pub(super) fn add_lane(&self) -> Arc<LaneHandle> {
        let lane = Arc::new(LaneHandle::default());
        let mut lanes = lock(&self.lanes);
        lanes.retain(|lane| lane.strong_count() > 0);
        lanes.push(Arc::downgrade(&lane));
        lane
    }

    pub(super) fn lanes(&self) -> Vec<Arc<LaneHandle>> {
        lock(&self.lanes).iter().filter_map(Weak::upgrade).collect()
    }

    /// Returns the topics that the lanes have seen, with their partition counts.
    pub(super) fn topics(&self) -> BTreeMap<Arc<str>, u32> {
        let mut topics = BTreeMap::new();
        for lane in self.lanes() {
            topics.append(&mut lane.topics());
        }
        topics
    }

    /// Starts instances for every lane and asks them for the plans of the topics that the lane has
    /// seen, so that the lane's own thread has nothing to wait for.
    pub(super) fn prepare(&self, version: &Arc<ChainVersion>) -> Result<(), ChainError> {
        let lanes = self.lanes();
        let mut prepared = Vec::new();
        for lane in &lanes {
            prepared.push(LaneInstances::start(version, &lane.topics())?);
        }
        for (lane, instances) in lanes.iter().zip(prepared) {
            lane.prepare(instances);
        }
        Ok(())
    }

    /// Writes an outcome to the history.
    pub(super) fn record(
        &self,
        outcome: HistoryOutcome,
        version: &ChainVersion,
        reason: String,
        took: Duration,
    ) -> HistoryEntry {
        self.history.record(HistoryEntry {
            at_unix_ms: 0,
            outcome,
            generation: version.generation(),
            plugins: version.chains.versions(),
            serving: self.state().active.generation(),
            reason,
            took_ms: millis(took),
        })
    }

    /// Rolls a version back that broke on probation or on trial where the other chain did not. The
    /// first lane that finds out does it.
    pub(super) fn roll_back(&self, number: u64, error: &ChainError) {
        let Some((broken, good)) = self.replace_broken(number) else { return };
        self.known_bad.add_plugin(&broken.chains.generation(), &good.chains.generation(), &error.plugin);
        let offset = error.offset.map(|offset| format!(" at offset {offset}")).unwrap_or_default();
        let reason = format!("plugin {} broke{offset}: {}", error.plugin, error.reason);
        self.record(HistoryOutcome::RolledBack, &broken, reason, Duration::ZERO);
    }

    /// Ends the trial of a version that would protect less than the border of a lane holds, before
    /// it judges anything there. The first lane that finds out does it.
    pub(super) fn refuse_trial(&self, candidate: &ChainVersion, losses: &str) {
        if self.replace_broken(candidate.number).is_none() {
            return;
        }
        let (link, digest) = (&self.deps.link, candidate.chains.digest());
        let reason = format!(
            "the trial has ended, as they would protect less than the border of a lane holds: {losses}; if that is intended, confirm it with strait plugin reload --link {link} --confirm, or set accept = \"{digest}\" for the link"
        );
        self.record(HistoryOutcome::Refused, candidate, reason, Duration::ZERO);
    }

    /// Returns the broken version and the one that goes on; `None` where another lane was first.
    fn replace_broken(&self, number: u64) -> Option<(Arc<ChainVersion>, Arc<ChainVersion>)> {
        let mut state = lock(&self.state);
        let standby = state.standby.clone()?;
        let (broken, good) = match standby.role {
            Role::Previous => (Arc::clone(&state.active), standby.version),
            Role::Shadow | Role::Canary(_) => (standby.version, Arc::clone(&state.active)),
        };
        if broken.number != number {
            return None;
        }
        state.restore(Arc::clone(&good));
        self.publish(&mut state);
        Some((broken, good))
    }

    /// Sets the generation that the configuration accepts.
    pub(super) fn accept(&self, generation: Option<Arc<str>>) {
        *lock(&self.accepted) = generation;
    }

    /// Returns the agreement to a generation, if the configuration accepts it.
    pub(super) fn agreement_to(&self, generation: &str) -> Option<Agreement> {
        let is_accepted = lock(&self.accepted).as_deref() == Some(generation);
        is_accepted.then(|| Agreement { why: "accepted".into(), by: "accept in the configuration".into() })
    }

    pub(super) fn comparison(&self) -> Comparison {
        *lock(&self.comparison)
    }

    /// Returns the reason of a history entry for a trial that ends.
    pub(super) fn trial_result(&self, role: Role) -> String {
        if role != Role::Shadow {
            return "canary trial completed".to_owned();
        }
        let Comparison { records, records_different, batches_elsewhere } = self.comparison();
        format!(
            "shadow trial completed: {records_different} of {records} records judged differently, {batches_elsewhere} batches to other topics"
        )
    }

    pub(super) fn reset_comparison(&self) {
        *lock(&self.comparison) = Comparison::default();
    }

    pub(super) fn add_comparison(&self, batch: Comparison) {
        lock(&self.comparison).add(batch);
    }
}
