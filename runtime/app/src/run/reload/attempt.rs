//! One try to take over what has changed.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use strait_core::Generation;
use strait_core::config::{Change, Link, Reload, ReloadMode, diff};
use strait_host::{ChainSpec, ChainState, HistoryOutcome, HostChains, PluginSource, Trial, TrialPhase, generation_of};

use super::{LinkReload, ReloadError, ReloadOutcome, ReloadReport, ReloadRequest, Shared, files, link_of};
use crate::compose;
use crate::load::Loaded;
use crate::telemetry::Mask;

/// Why what has changed is not taken over.
struct Refusal {
    generation: Option<Generation>,
    reason: String,
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self { generation: None, reason }
    }
}

impl Shared {
    /// Takes over what was noticed to have changed in these links.
    pub(super) fn attempt(&self, names: &[String]) {
        let _one_at_a_time = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = self.again();
        for (name, link) in names.iter().filter_map(|name| Some((name, self.links.get(name)?))) {
            self.attempt_link(name, link, loaded.as_ref(), None);
        }
    }

    /// Takes over what has changed in a link, as an operator asked for it.
    pub(super) fn reload(&self, name: &str, request: ReloadRequest) -> Result<ReloadReport, ReloadError> {
        let link = self.link(name)?;
        let _one_at_a_time = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(self.attempt_link(name, link, self.again().as_ref(), Some(request)))
    }

    /// The configuration as it is now.
    fn again(&self) -> Result<Arc<Loaded>, String> {
        let loaded = self.first.again();
        loaded.map(Arc::new).map_err(|report| format!("the configuration is not valid: {}", report.summary()))
    }

    /// Without a request it was noticed, with one an operator asked for it.
    fn attempt_link(
        &self,
        name: &str,
        link: &LinkReload,
        loaded: Result<&Arc<Loaded>, &String>,
        request: Option<ReloadRequest>,
    ) -> ReloadReport {
        let began = self.clock.now();
        let tried = match loaded {
            Ok(loaded) => self.take_over(name, link, loaded, request, began),
            Err(reason) => Err(Refusal::from(reason.clone())),
        };
        let (outcome, reason) = match tried {
            Ok(outcome) => {
                link.kept().problem = None;
                (outcome, String::new())
            }
            Err(Refusal { generation, reason }) => {
                // A plugin may quote what it was configured with.
                let secrets = loaded.map(|loaded| loaded.config.resolved_values()).unwrap_or_default();
                let reason = Mask::new(&secrets).hide(&reason).into_owned();
                let told = link.kept().problem.replace(reason.clone()).is_some_and(|before| before == reason);
                // What is as wrong as it was is not told again, unless somebody asks.
                if !told || request.is_some() {
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
            needs_restart: link.kept().needs_restart.clone(),
        }
    }

    fn take_over(
        &self,
        name: &str,
        link: &LinkReload,
        loaded: &Arc<Loaded>,
        request: Option<ReloadRequest>,
        began: Duration,
    ) -> Result<ReloadOutcome, Refusal> {
        let applied = Arc::clone(&link.kept().applied);
        self.note_restart(name, link, &applied, loaded);
        let restart = link.kept().needs_restart.clone();
        let own_restart = restart.iter().any(|option| option.starts_with(&format!("links.{name}")));
        // Of such a link nothing is taken over from the file, but its plugins' files may still change.
        let (Some(before), Some(after)) = (link_of(&applied, name), link_of(loaded, name)) else {
            return Err("the link is no longer in the configuration; restart to end it".to_owned().into());
        };
        if own_restart && before.plugins != after.plugins {
            return Err(format!(
                "the link's plugins and other options were changed together ({}); restart to take over both, or change the plugins alone",
                restart.join(", ")
            )
            .into());
        }
        let (source, config) = if own_restart { (&applied, before) } else { (loaded, after) };
        if before.plugins != config.plugins {
            compose::admit_plugins(&source.config, Link::lanes_to_create)?;
        }
        let request_or_none = request.unwrap_or_default();
        let spec = compose::chain(source, config);
        self.watch_files(link, &applied, before, source, config);
        self.none_deleted(link, &spec, request)?;
        let generation = generation_of(&spec).map_err(|error| error.to_string())?;
        let serving = link.slot.chains();
        if generation == serving.generation() && before.plugins == config.plugins {
            self.undo_trial(link);
            link.kept().applied = Arc::clone(source);
            return Ok(ReloadOutcome::Unchanged);
        }
        if request_or_none.force {
            link.slot.forgive();
        } else if on_trial(link).is_some_and(|candidate| *candidate == *generation.0) {
            return Ok(ReloadOutcome::OnTrial);
        }
        if let Some(bad) = link.slot.known_bad(&generation) {
            let reason = format!(
                "{bad} broke before or was rolled back; change the file, or try it again with `strait plugin reload {name} --force`"
            );
            return Err(Refusal { generation: Some(generation), reason });
        }
        let refuse = |reason: String| Refusal { generation: Some(generation.clone()), reason };
        let chains = HostChains::load(&self.engine, spec).map_err(|error| refuse(error.to_string()))?;
        let looser = link.slot.loosened(&chains).map_err(|error| refuse(error.to_string()))?;
        if !looser.is_empty() && !request_or_none.confirm {
            return Err(refuse(format!(
                "it would protect less than what serves: {}; if that is meant, say so with `strait plugin reload {name} --confirm`",
                looser.join("; ")
            )));
        }
        let took = self.clock.now().saturating_sub(began);
        let Reload { probation_s, .. } = config.reload;
        let trial = trial(&config.reload);
        let offered = link.slot.offer(chains, trial, Duration::from_secs(probation_s), took);
        let entry = offered.map_err(|error| refuse(error.to_string()))?;
        link.kept().applied = Arc::clone(source);
        Ok(if entry.outcome == HistoryOutcome::OnTrial { ReloadOutcome::OnTrial } else { ReloadOutcome::Reloaded })
    }

    /// What differs in the file and cannot be taken over, told when it changes.
    fn note_restart(&self, name: &str, link: &LinkReload, applied: &Loaded, loaded: &Loaded) {
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
        let mut kept = link.kept();
        if kept.needs_restart == needs_restart {
            return;
        }
        if needs_restart.is_empty() {
            tracing::info!(link = name, "the configuration file is again what runs");
        } else {
            let options = needs_restart.join(", ");
            tracing::warn!(
                link = name,
                options,
                "the configuration file has changes that need a restart; they are not in force"
            );
        }
        kept.needs_restart = needs_restart;
    }

    /// From now on both the files of what serves and of what was tried are looked at.
    fn watch_files(&self, link: &LinkReload, applied: &Loaded, before: &Link, source: &Loaded, config: &Link) {
        let mut all = files(applied, before);
        all.extend(files(source, config));
        all.sort();
        all.dedup();
        let mut kept = link.kept();
        if kept.files != all {
            kept.files = all;
        }
    }

    /// A file that was deleted is no wish for the bundled plugin of its name.
    fn none_deleted(&self, link: &LinkReload, spec: &ChainSpec, request: Option<ReloadRequest>) -> Result<(), Refusal> {
        if request.is_some() {
            return Ok(());
        }
        let serving = link.slot.chains();
        for plugin in &spec.plugins {
            let was_file = serving
                .sources()
                .any(|(name, source)| **name == *plugin.name && matches!(source, PluginSource::File(_)));
            if was_file && matches!(plugin.source, PluginSource::Bundled(_)) {
                return Err(format!(
                    "the file of plugin {} was deleted; what was loaded from it goes on until Strait is restarted. Put the file back, or take the bundled plugin of that name with `strait plugin reload`",
                    plugin.name
                )
                .into());
            }
        }
        Ok(())
    }

    /// The files are again those that serve: a candidate on trial is not wanted any more.
    fn undo_trial(&self, link: &LinkReload) {
        if on_trial(link).is_some()
            && let Err(error) = link.slot.rollback("its files were changed back")
        {
            tracing::warn!(%error, "a trial cannot be ended");
        }
    }
}

/// The generation of the candidate on trial.
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
