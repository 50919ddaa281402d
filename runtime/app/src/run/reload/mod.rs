//! Plugins and their configuration, exchanged while the links run.
//!
//! One loader for the start and for every reload: the configuration is read and judged as at the start, the chain is loaded
//! by [`HostChains::load`]. Whatever does not load, or would protect less than before, is refused and the chain that serves
//! goes on. Only a link's plugins change while it runs; what else differs in the file is told as needing a restart, and such
//! a link's plugins are not changed either: half of a new configuration is nobody's configuration.

mod attempt;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strait_core::config::{Link, ReloadMode};
use strait_flow::ports::Clock;
use strait_host::{ActiveChain, ChainState, HistoryEntry, HostEngine, OfferError, signature_path};

use crate::compose;
use crate::load::Loaded;
use crate::telemetry::Mask;
use watch::Watch;

/// Bounds of the time between two looks at the files.
const LOOK: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// What a reload may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReloadRequest {
    /// Take plugins that protect less than those before: the operator means it.
    pub confirm: bool,
    /// Try again what broke or was refused before.
    pub force: bool,
}

/// What became of a reload of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReloadOutcome {
    /// Nothing had changed.
    Unchanged,
    /// It serves from the next batches on.
    Reloaded,
    /// It is tried first.
    OnTrial,
    /// What served goes on.
    Refused,
}

/// The answer to a reload, for one link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// Which link.
    pub link: String,
    /// What became of it.
    pub outcome: ReloadOutcome,
    /// The chain that serves after it.
    pub serving: String,
    /// Why it was refused and what to do; empty otherwise.
    pub reason: String,
    /// What else differs in the configuration file and is not taken over before a restart.
    pub needs_restart: Vec<String>,
}

/// How the plugins of a link are, for status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkPlugins {
    /// Which link.
    pub link: String,
    /// The chain.
    #[serde(flatten)]
    pub chain: ChainState,
    /// Why the last change was not taken over; nothing where it was.
    pub problem: Option<String>,
    /// What differs in the configuration file and is not taken over before a restart.
    pub needs_restart: Vec<String>,
}

/// Why an operator's wish cannot be met.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// There is no such link.
    #[error("there is no link '{link}' in this process; there are: {known}")]
    UnknownLink {
        /// The name given.
        link: String,
        /// The names there are.
        known: String,
    },
    /// It cannot be rolled back.
    #[error("link {link}: {error}")]
    Rollback {
        /// Which link.
        link: String,
        /// Why.
        error: OfferError,
    },
    /// A bug.
    #[error("the reload did not come to an end: {0}; please report this as a bug")]
    Panicked(String),
}

/// The handle to the plugins of all links of a process. Cloning shares it.
#[derive(Clone)]
pub struct Reloads {
    shared: Arc<Shared>,
}

struct Shared {
    engine: HostEngine,
    clock: Arc<dyn Clock>,
    /// The configuration that the process began with, to be read again.
    first: Arc<Loaded>,
    links: BTreeMap<String, LinkReload>,
    /// One reload at a time: compiling takes all cores there are.
    working: Mutex<()>,
}

/// One link.
struct LinkReload {
    slot: ActiveChain,
    kept: Mutex<Kept>,
}

/// What is remembered between two looks.
struct Kept {
    /// The configuration whose plugins serve.
    applied: Arc<Loaded>,
    watch: Watch,
    /// Files that are looked at: those of the chain that serves, and of the one that was last tried.
    files: Vec<PathBuf>,
    needs_restart: Vec<String>,
    problem: Option<String>,
}

impl Reloads {
    /// Of links that were loaded from `loaded`, each with its slot.
    #[must_use]
    pub fn new(
        loaded: &Arc<Loaded>,
        engine: HostEngine,
        clock: Arc<dyn Clock>,
        slots: Vec<(String, ActiveChain)>,
    ) -> Self {
        let links = slots.into_iter().map(|(name, slot)| {
            let files = link_of(loaded, &name).map(|link| files(loaded, link)).unwrap_or_default();
            let kept = Kept {
                applied: Arc::clone(loaded),
                watch: Watch::default(),
                files,
                needs_restart: Vec::new(),
                problem: None,
            };
            (name, LinkReload { slot, kept: Mutex::new(kept) })
        });
        let links = links.collect();
        let first = Arc::clone(loaded);
        Self { shared: Arc::new(Shared { engine, clock, first, links, working: Mutex::default() }) }
    }

    /// Looks at the files and takes over what has changed, for as long as it is polled. Ends probations and trials.
    pub async fn run(&self) {
        loop {
            tokio::time::sleep(self.shared.pause()).await;
            let shared = Arc::clone(&self.shared);
            if let Err(error) = tokio::task::spawn_blocking(move || shared.look()).await {
                tracing::error!(%error, "looking at the plugins' files panicked: please report this as a bug");
            }
        }
    }

    /// Reads the configuration and the plugins' files now and takes over what has changed in a link.
    ///
    /// # Errors
    /// [`ReloadError`] where there is no such link. A refusal is no error but a report.
    pub async fn reload(&self, link: &str, request: ReloadRequest) -> Result<ReloadReport, ReloadError> {
        let (shared, name) = (Arc::clone(&self.shared), link.to_owned());
        let reloading = tokio::task::spawn_blocking(move || shared.reload(&name, request));
        reloading.await.map_err(|error| ReloadError::Panicked(error.to_string()))?
    }

    /// Goes back to the plugins before the last reload. They stay until a file changes, or a reload is forced.
    ///
    /// # Errors
    /// [`ReloadError`].
    pub async fn rollback(&self, link: &str) -> Result<HistoryEntry, ReloadError> {
        let (shared, name) = (Arc::clone(&self.shared), link.to_owned());
        let rolling = tokio::task::spawn_blocking(move || shared.rollback(&name));
        rolling.await.map_err(|error| ReloadError::Panicked(error.to_string()))?
    }

    /// What became of the chains of a link, oldest first; bounded, the log has it all.
    ///
    /// # Errors
    /// [`ReloadError::UnknownLink`].
    pub fn history(&self, link: &str) -> Result<Vec<HistoryEntry>, ReloadError> {
        let link = self.shared.link(link)?;
        let applied = Arc::clone(&link.kept().applied);
        let mask = Mask::new(&applied.config.resolved_values());
        let masked = |entry: HistoryEntry| HistoryEntry { reason: mask.hide(&entry.reason).into_owned(), ..entry };
        Ok(link.slot.history().into_iter().map(masked).collect())
    }

    /// How the plugins of every link are, by name of link.
    #[must_use]
    pub fn state(&self) -> Vec<LinkPlugins> {
        let state = |(name, link): (&String, &LinkReload)| {
            let chain = link.slot.state();
            let kept = link.kept();
            LinkPlugins {
                link: name.clone(),
                chain,
                problem: kept.problem.clone(),
                needs_restart: kept.needs_restart.clone(),
            }
        };
        self.shared.links.iter().map(state).collect()
    }

    /// The slot of a link.
    #[cfg(test)]
    pub fn slot(&self, link: &str) -> Option<&ActiveChain> {
        self.shared.links.get(link).map(|link| &link.slot)
    }
}

impl LinkReload {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Half of the shortest time that a file must rest.
    fn pause(&self) -> Duration {
        let settle = self.links.iter().filter_map(|(name, link)| {
            let applied = Arc::clone(&link.kept().applied);
            link_of(&applied, name).map(|link| Duration::from_millis(link.reload.settle_ms))
        });
        settle.min().map_or(LOOK.1, |settle| (settle / 2).clamp(LOOK.0, LOOK.1))
    }

    /// One look at the files of all links.
    fn look(&self) {
        let mut changed = Vec::new();
        for (name, link) in &self.links {
            link.slot.tick();
            let mut kept = link.kept();
            let applied = Arc::clone(&kept.applied);
            let Some(config) = link_of(&applied, name) else { continue };
            if config.reload.mode == ReloadMode::Manual {
                continue;
            }
            let Kept { watch, files, .. } = &mut *kept;
            if watch.look(files, self.clock.now(), Duration::from_millis(config.reload.settle_ms)) {
                changed.push(name.clone());
            }
        }
        if !changed.is_empty() {
            self.attempt(&changed);
        }
    }

    fn link(&self, name: &str) -> Result<&LinkReload, ReloadError> {
        self.links.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.links.keys().map(String::as_str).collect();
            ReloadError::UnknownLink { link: name.to_owned(), known: known.join(", ") }
        })
    }

    fn rollback(&self, name: &str) -> Result<HistoryEntry, ReloadError> {
        let _one_at_a_time = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        let link = self.link(name)?;
        let rolled = link.slot.rollback("an operator asked for it");
        rolled.map_err(|error| ReloadError::Rollback { link: name.to_owned(), error })
    }
}

fn link_of<'a>(loaded: &'a Loaded, name: &str) -> Option<&'a Link> {
    loaded.config.links.iter().find(|link| link.name == name)
}

/// The files that a link's chain depends on: the configuration, each plugin's (whether or not it is there: one that is put
/// there goes before a bundled plugin) and its signature.
fn files(loaded: &Loaded, link: &Link) -> Vec<PathBuf> {
    let dir = loaded.plugin_dir();
    let mut files = vec![loaded.file().to_owned()];
    for used in &link.plugins {
        let file = compose::plugin_file(&dir, &used.plugin);
        files.push(signature_path(&file));
        files.push(file);
    }
    files
}
