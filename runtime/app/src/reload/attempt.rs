//! One attempt to apply what has changed.

use std::sync::Arc;
use std::time::Duration;

use strait_core::config::{Change, Link, Reload, ReloadMode, diff};
use strait_core::progress::Agreement;
use strait_host::{ChainSpec, ChainState, HistoryOutcome, HostChains, PluginSource, Trial, TrialPhase, generation_of};

use strait_flow::lock;

use super::refusal::{Reason, Refusal};
use super::{LinkReload, Shared, files, link_of};
use crate::board::plugins::{ReloadError, ReloadOutcome, ReloadReport, ReloadRequest};
use crate::compose;
use crate::load::Loaded;

impl Shared {
    /// Applies what has changed in these links.
    pub(super) fn attempt(&self, names: &[String]) {
        for (name, link) in names.iter().filter_map(|name| Some((name, self.links.get(name)?))) {
            let _one_at_a_time = lock(&link.changing);
            // Loaded by now: one that was read earlier may be older than what the link has.
            self.attempt_link(name, link, self.load_again().as_ref(), None);
        }
    }

    /// Applies what has changed in a link, at an operator's request.
    pub(super) fn reload(&self, name: &str, request: ReloadRequest) -> Result<ReloadReport, ReloadError> {
        let link = self.link(name)?;
        let _one_at_a_time = lock(&link.changing);
        Ok(self.attempt_link(name, link, self.load_again().as_ref(), Some(request)))
    }

    /// Loads the configuration as it is now, or returns a summary of what is wrong with it.
    fn load_again(&self) -> Result<Arc<Loaded>, String> {
        self.first.load_again().map(Arc::new).map_err(|report| report.summary())
    }

    /// `request` is `None` where a changed file is the reason, and not an operator.
    fn attempt_link(
        &self,
        name: &str,
        link: &LinkReload,
        loaded: Result<&Arc<Loaded>, &String>,
        request: Option<ReloadRequest>,
    ) -> ReloadReport {
        let began = self.clock.now();
        let applied = match loaded {
            Ok(loaded) => self.apply(name, link, loaded, request, began),
            Err(summary) => Err(Reason::Configuration(summary.clone()).into()),
        };
        let (outcome, reason) = match applied {
            Ok(outcome) => {
                link.state().problem = None;
                (outcome, String::new())
            }
            Err(Refusal { generation, reason }) => {
                // A plugin may quote what it was configured with.
                let reason = self.first.mask().apply(&reason.to_string()).into_owned();
                let repeated = link.state().problem.replace(reason.clone()).is_some_and(|before| before == reason);
                // The same refusal is reported once, unless an operator asks.
                if !repeated || request.is_some() {
                    link.slot.refused(generation.as_ref(), reason.clone(), self.clock.now().saturating_sub(began));
                }
                (ReloadOutcome::Refused, reason)
            }
        };
        ReloadReport {
            link: name.to_owned(),
            outcome,
            serving: link.slot.chains().generation().0.to_string(),
            reason,
            needs_restart: link.state().needs_restart.clone(),
        }
    }

    fn apply(
        &self,
        name: &str,
        link: &LinkReload,
        loaded: &Arc<Loaded>,
        request: Option<ReloadRequest>,
        began: Duration,
    ) -> Result<ReloadOutcome, Refusal> {
        let applied = Arc::clone(&link.state().applied);
        self.record_restart_needs(name, link, &applied, loaded);
        let restart = link.state().needs_restart.clone();
        let own_restart = restart.iter().any(|option| option.starts_with(&format!("links.{name}")));
        let (Some(before), Some(after)) = (link_of(&applied, name), link_of(loaded, name)) else {
            return Err(Reason::LinkRemoved.into());
        };
        if own_restart && before.plugins != after.plugins {
            return Err(Reason::OtherOptions { options: restart }.into());
        }
        // Of a link that needs a restart nothing is taken from the configuration, but the files of
        // its plugins may still change.
        let (source, config) = if own_restart { (&applied, before) } else { (loaded, after) };
        if before.plugins != config.plugins {
            self.memory.admit(&source.config).map_err(Reason::from)?;
        }
        let ReloadRequest { confirm, force } = request.unwrap_or_default();
        let spec = compose::chain(source, config);
        link.slot.accept(config.accept.as_deref().map(Into::into));
        self.watch_files(link, &applied, before, source, config);
        if request.is_none() {
            refuse_deleted_files(link, &spec)?;
        }
        let (generation, digest) = generation_of(&spec).map_err(Reason::from)?;
        let active = link.slot.chains();
        if digest == *active.digest() && before.plugins == config.plugins {
            self.end_trial(link);
            link.state().applied = Arc::clone(source);
            return Ok(ReloadOutcome::Unchanged);
        }
        if force {
            link.slot.forgive();
        } else if on_trial(link).is_some_and(|candidate| *candidate == *generation.0) {
            return Ok(ReloadOutcome::OnTrial);
        }
        let refuse = |reason: Reason| Refusal { generation: Some(generation.clone()), reason };
        if let Some(plugin) = link.slot.known_bad(&generation) {
            return Err(refuse(Reason::KnownBad { plugin, link: name.to_owned() }));
        }
        let chains = HostChains::load(&self.engine, spec).map_err(|error| refuse(error.into()))?;
        let losses = link.slot.loosened(&chains).map_err(|error| refuse(error.into()))?;
        let is_accepted = config.accept.as_deref() == Some(&**chains.digest());
        if !losses.is_empty() && !confirm && !is_accepted {
            let accept = Arc::clone(chains.digest());
            return Err(refuse(Reason::ProtectsLess { losses, link: name.to_owned(), accept }));
        }
        let agreement = confirm.then(|| Agreement { why: "confirmed".into(), by: "strait plugin reload".into() });
        let took = self.clock.now().saturating_sub(began);
        let Reload { probation_s, .. } = config.reload;
        let trial = trial(&config.reload);
        let offered = link.slot.offer(chains, agreement, trial, Duration::from_secs(probation_s), took);
        let entry = offered.map_err(|error| refuse(error.into()))?;
        link.state().applied = Arc::clone(source);
        Ok(if entry.outcome == HistoryOutcome::OnTrial { ReloadOutcome::OnTrial } else { ReloadOutcome::Reloaded })
    }

    /// Records which changes of the file need a restart, and logs them when they change.
    fn record_restart_needs(&self, name: &str, link: &LinkReload, applied: &Loaded, loaded: &Loaded) {
        let mut needs_restart = Vec::new();
        for change in diff(&applied.config, &loaded.config) {
            match change {
                Change::LinkAdded { link } => needs_restart.push(format!("links.{link} (new)")),
                Change::LinkRemoved { link } => needs_restart.push(format!("links.{link} (removed)")),
                Change::LinkChanged { link, options } if link == name => {
                    needs_restart.extend(options.iter().map(|option| format!("links.{link}.{option}")));
                }
                Change::LinkChanged { .. } | Change::Plugins { .. } => {}
                Change::NeedsRestart { option } => needs_restart.push(option),
            }
        }
        let mut state = link.state();
        if state.needs_restart == needs_restart {
            return;
        }
        if needs_restart.is_empty() {
            tracing::info!(link = name, "the configuration file matches the running configuration again");
        } else {
            let options = needs_restart.join(", ");
            tracing::warn!(
                link = name,
                options,
                "the configuration file has changes that need a restart; they are not in force"
            );
        }
        state.needs_restart = needs_restart;
    }

    /// Watches the files of the active chain and of the chain that is being tried.
    fn watch_files(&self, link: &LinkReload, applied: &Loaded, before: &Link, source: &Loaded, config: &Link) {
        let mut all = files(applied, before);
        all.extend(files(source, config));
        all.sort();
        all.dedup();
        let mut state = link.state();
        if state.files != all {
            state.files = all;
        }
    }

    /// Ends a trial whose files were changed back to those of the active chain.
    fn end_trial(&self, link: &LinkReload) {
        if on_trial(link).is_some()
            && let Err(error) = link.slot.rollback("its files were changed back", false)
        {
            tracing::warn!(%error, "a trial cannot be ended");
        }
    }
}

/// Refuses to replace a plugin whose file was deleted by the bundled plugin of that name.
fn refuse_deleted_files(link: &LinkReload, spec: &ChainSpec) -> Result<(), Reason> {
    let active = link.slot.chains();
    for plugin in &spec.plugins {
        let was_file =
            active.sources().any(|(name, source)| **name == *plugin.name && matches!(source, PluginSource::File(_)));
        if was_file && matches!(plugin.source, PluginSource::Bundled(_)) {
            return Err(Reason::FileDeleted { plugin: plugin.name.clone() });
        }
    }
    Ok(())
}

/// Returns the generation of the candidate on trial.
fn on_trial(link: &LinkReload) -> Option<String> {
    let ChainState { standing, beside, .. } = link.slot.state();
    beside.filter(|_| matches!(standing, TrialPhase::Shadow | TrialPhase::Canary))
}

fn trial(reload: &Reload) -> Trial {
    let time = Duration::from_secs(reload.trial_s);
    match reload.mode {
        ReloadMode::Direct | ReloadMode::Manual => Trial::Direct,
        ReloadMode::Shadow => Trial::Shadow(time),
        ReloadMode::Canary => Trial::Canary { time, partition: reload.canary_partition },
    }
}
