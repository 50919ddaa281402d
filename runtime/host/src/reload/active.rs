//! The active chain of a link, and the ways to replace it.

use std::sync::Arc;
use std::time::Duration;

use strait_core::Event;
use strait_core::edit::Generation;
use strait_core::progress::Agreement;
use strait_flow::ports::{Chain, ChainError, ChainFactory, Clock, EventSink};
use strait_flow::{lock, millis};

use super::guard::{is_vouched, loosened, protects_as_much, unknown_files};
use super::history::{HistoryEntry, HistoryOutcome};
use super::lane_chain::LaneChain;
use super::report::{ChainState, TrialPhase};
use super::shared::Shared;
use super::silence::ExpectedCounter;
use super::state::{Role, Standby};
use crate::factory::{CounterValue, HostChains};

/// The way in which a new chain becomes active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// At once, on probation.
    Direct,
    /// After it has judged the same batches as the active chain for this long. Its judgements are
    /// compared and discarded.
    Shadow(Duration),
    /// After it has judged one partition number of every topic.
    Canary {
        /// The length of the trial.
        time: Duration,
        /// The partition number.
        partition: i32,
    },
}

/// The services of the process that an active chain needs.
#[derive(Clone)]
pub struct ActiveChainDeps {
    /// Name of the link.
    pub link: String,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Receives an event for every reload and rollback.
    pub events: Arc<dyn EventSink>,
}

/// A reload or rollback that did not happen.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// The new chain cannot be started for the lanes, or refuses a topic that the link copies.
    #[error("the new plugins cannot take over: {0}")]
    NotReady(#[from] ChainError),
    /// There is no previous chain.
    #[error(
        "there is no chain to go back to: nothing was reloaded since Strait was started, or it was rolled back already"
    )]
    NothingBefore,
    /// The chain to go back to would protect less.
    #[error(
        "the chain to go back to would protect less than the active plugins: {}; if that is intended, confirm it with --confirm",
        .0.join("; ")
    )]
    ProtectsLess(Vec<String>),
}

/// The active chain of a link, which a reload replaces. Cloning shares it.
#[derive(Clone)]
pub struct ActiveChain {
    shared: Arc<Shared>,
}

impl ActiveChain {
    /// Makes a loaded chain the first active one.
    #[must_use]
    pub fn new(deps: ActiveChainDeps, chains: Arc<HostChains>) -> Self {
        let shared = Shared::new(deps, chains);
        shared.record(HistoryOutcome::Started, &shared.state().active, String::new(), Duration::ZERO);
        Self { shared: Arc::new(shared) }
    }

    /// Returns the active chain.
    #[must_use]
    pub fn chains(&self) -> Arc<HostChains> {
        Arc::clone(&self.shared.state().active.chains)
    }

    /// Prepares a chain for every lane, which takes it at its next batch border. Blocks while
    /// instances start. With an `agreement` it may protect less than the active one.
    ///
    /// # Errors
    /// [`OfferError::NotReady`]: the active chain stays, and no lane saw the new one.
    pub fn offer(
        &self,
        chains: Arc<HostChains>,
        agreement: Option<Agreement>,
        trial: Trial,
        probation: Duration,
        took: Duration,
    ) -> Result<HistoryEntry, OfferError> {
        let shared = &self.shared;
        let _one_at_a_time = lock(&shared.reloading);
        let began = shared.now();
        let active = self.chains();
        // Pinned by an operator, who has looked at what the new file loses.
        let vouched = || Agreement { why: "its file is pinned".into(), by: Arc::default() };
        let agreement = agreement.or_else(|| is_vouched(&active, &chains).then(vouched));
        let falls_back = active.fault().is_none() && protects_as_much(&chains, &active, &shared.topics());
        let version = shared.versions.add(chains, agreement, falls_back);
        shared.prepare(&version)?;
        let now = shared.now();
        let took = took + now.saturating_sub(began);
        shared.reset_comparison();
        let on_trial = |role, time, reason| {
            let standby = Standby { role, version: Arc::clone(&version), until: now + time, probation };
            shared.change(|state| state.standby = Some(standby));
            (HistoryOutcome::OnTrial, reason)
        };
        let (outcome, reason) = match trial {
            Trial::Direct => {
                shared.change(|state| state.activate(Arc::clone(&version), now + probation, probation));
                (HistoryOutcome::Reloaded, String::new())
            }
            Trial::Shadow(time) => on_trial(Role::Shadow, time, format!("shadow for {} s", time.as_secs())),
            Trial::Canary { time, partition } => {
                let reason = format!("canary on partitions {partition} for {} s", time.as_secs());
                on_trial(Role::Canary(partition), time, reason)
            }
        };
        Ok(shared.record(outcome, &version, reason, took))
    }

    /// Goes back to the previous chain, at the lanes' next batch borders, and marks the active one
    /// as known bad: it is not loaded again until its file changes. A candidate on trial is dropped
    /// instead. Only with `confirm` may the previous chain protect less.
    ///
    /// # Errors
    /// [`OfferError`]: the active chain stays.
    pub fn rollback(&self, reason: &str, confirm: bool) -> Result<HistoryEntry, OfferError> {
        let shared = &self.shared;
        let _one_at_a_time = lock(&shared.reloading);
        let state = shared.state();
        let active = state.active.chains.generation();
        if let Some(candidate) = state.standby.filter(|standby| standby.role != Role::Previous) {
            shared.change(|state| state.standby = None);
            shared.known_bad.add(&candidate.version.chains.generation(), &active);
            let reason = reason.to_owned();
            return Ok(shared.record(HistoryOutcome::RolledBack, &candidate.version, reason, Duration::ZERO));
        }
        let previous = state.previous.ok_or(OfferError::NothingBefore)?;
        let began = shared.now();
        let losses = loosened(&state.active.chains, &previous.chains, &shared.topics())?;
        if !losses.is_empty() && !confirm {
            return Err(OfferError::ProtectsLess(losses));
        }
        if !losses.is_empty() {
            previous.agree(Agreement { why: "confirmed".into(), by: "an operator, who rolled back".into() });
        }
        shared.prepare(&previous)?;
        let took = shared.now().saturating_sub(began);
        shared.known_bad.add(&active, &previous.chains.generation());
        shared.change(|state| state.restore(previous));
        Ok(shared.record(HistoryOutcome::RolledBack, &state.active, reason.to_owned(), took))
    }

    /// Ends probations and trials whose time is over, and reports counters that have fallen silent.
    /// To be called about every second.
    pub fn tick(&self) {
        let shared = &self.shared;
        let now = shared.now();
        let fallen_silent = lock(&shared.silence).look(&shared.state().active, now);
        for event in fallen_silent {
            shared.deps.events.emit(&shared.deps.link, Event::Chain(event));
        }
        let is_over = shared.state().standby.is_some_and(|standby| now >= standby.until);
        if !is_over {
            return;
        }
        let _one_at_a_time = lock(&shared.reloading);
        let mut ended = None;
        shared.change(|state| {
            let Some(standby) = state.standby.take_if(|standby| now >= standby.until) else {
                return;
            };
            let Standby { role, version, probation, .. } = standby;
            ended = Some(match role {
                Role::Previous => (HistoryOutcome::Proven, Arc::clone(&state.active), String::new()),
                Role::Shadow | Role::Canary(_) => {
                    state.activate(Arc::clone(&version), now + probation, probation);
                    (HistoryOutcome::Reloaded, version, shared.trial_result(role))
                }
            });
        });
        if let Some((outcome, version, reason)) = ended {
            shared.record(outcome, &version, reason, Duration::ZERO);
        }
    }

    /// Describes, for the operator, how a new chain would protect less than the active one:
    /// required plugins that are removed or look at less of the copied topics, files that may do
    /// more than those they replace, and files of required plugins for which nobody vouches. Blocks
    /// while instances start.
    ///
    /// # Errors
    /// [`OfferError::NotReady`]: the new chain cannot become active.
    pub fn loosened(&self, chains: &HostChains) -> Result<Vec<String>, OfferError> {
        let active = self.chains();
        let mut found = unknown_files(&active, chains);
        found.extend(loosened(&active, chains, &self.shared.topics())?);
        Ok(found)
    }

    /// Records a chain that was refused before it was loaded.
    pub fn refused(&self, generation: Option<&Generation>, reason: String, took: Duration) -> HistoryEntry {
        self.shared.history.record(HistoryEntry {
            at_unix_ms: 0,
            outcome: HistoryOutcome::Refused,
            generation: generation.map(|g| g.0.to_string()).unwrap_or_default(),
            plugins: Vec::new(),
            serving: self.shared.state().active.generation(),
            reason,
            took_ms: millis(took),
        })
    }

    /// Returns the first plugin of a generation that broke before, with its digest and
    /// configuration.
    #[must_use]
    pub fn known_bad(&self, generation: &Generation) -> Option<String> {
        self.shared.known_bad.find(generation)
    }

    /// Sets the generation that the configuration accepts, whatever it loosens.
    pub fn accept(&self, generation: Option<Arc<str>>) {
        self.shared.accept(generation);
    }

    /// Forgets the plugins that broke before.
    pub fn forgive(&self) {
        self.shared.known_bad.clear();
    }

    /// Returns the history, oldest entry first.
    #[must_use]
    pub fn history(&self) -> Vec<HistoryEntry> {
        self.shared.history.entries()
    }

    /// Counts each outcome since the process began.
    #[must_use]
    pub fn outcomes(&self) -> Vec<(HistoryOutcome, u64)> {
        self.shared.history.counts()
    }

    /// Returns the state of the chain, for status.
    #[must_use]
    pub fn state(&self) -> ChainState {
        let state = self.shared.state();
        let lanes = self.shared.lanes();
        let standing = match state.standby.as_ref().map(|standby| standby.role) {
            None => TrialPhase::Steady,
            Some(Role::Previous) => TrialPhase::Probation,
            Some(Role::Shadow) => TrialPhase::Shadow,
            Some(Role::Canary(_)) => TrialPhase::Canary,
        };
        let now = self.shared.now();
        ChainState {
            generation: state.active.generation(),
            plugins: state.active.chains.versions(),
            standing,
            beside: state.standby.as_ref().map(|standby| standby.version.generation()),
            over_in_ms: state.standby.as_ref().map(|standby| millis(standby.until.saturating_sub(now))),
            comparison: (standing == TrialPhase::Shadow).then(|| self.shared.comparison()),
            before: state.previous.as_ref().map(|previous| previous.generation()),
            holders: lanes.len(),
            holders_behind: lanes.iter().filter(|lane| lane.revision() != state.revision).count(),
        }
    }

    /// Returns what the plugins counted in accepted batches since the process began, over all
    /// versions.
    #[must_use]
    pub fn counters(&self) -> Vec<CounterValue> {
        self.shared.versions.counters()
    }

    /// Returns the counters of the active plugins that are expected to count, and which are silent.
    #[must_use]
    pub fn expected_counters(&self) -> Vec<ExpectedCounter> {
        lock(&self.shared.silence).counters().into_iter().collect()
    }
}

impl ChainFactory for ActiveChain {
    fn chain(&self) -> Result<Box<dyn Chain>, ChainError> {
        Ok(Box::new(LaneChain::new(Arc::clone(&self.shared))?))
    }
}

impl std::fmt::Debug for ActiveChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ActiveChain").field("link", &self.shared.deps.link).finish_non_exhaustive()
    }
}
