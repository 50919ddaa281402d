//! Exchanges plugins and their configuration while the links run.
//!
//! The start and every reload use one loader: the configuration is read and judged as at the start,
//! and [`HostChains::load`](strait_host::HostChains::load) loads the chain. A chain that does not
//! load, or that would protect less than the active one, is refused, and the active one stays. Only
//! a link's plugins change while it runs. Other changes of the file are reported as needing a
//! restart, and then that link's plugins are not taken from the file either: half of a new
//! configuration is one that nobody wrote.

mod attempt;
mod file_watch;
mod refusal;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use async_trait::async_trait;
use strait_core::config::{Link, ReloadMode};
use strait_flow::ports::Clock;
use strait_host::{ActiveChain, HistoryEntry, HostEngine, signature_path};

use strait_flow::lock;

use crate::board::plugins::{LinkPlugins, PluginControl, ReloadError, ReloadReport, ReloadRequest};
use crate::compose;
use crate::load::Loaded;
use crate::plugin_memory::PluginMemory;
use file_watch::FileWatch;

/// Bounds of the time between two polls of the files.
const POLL: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// The handle to the plugins of all links of a process. Clones share them.
#[derive(Clone)]
pub struct Reloads {
    shared: Arc<Shared>,
}

struct Shared {
    engine: HostEngine,
    clock: Arc<dyn Clock>,
    memory: Arc<PluginMemory>,
    /// The configuration that the process began with. It knows where to load it again from.
    first: Arc<Loaded>,
    links: BTreeMap<String, LinkReload>,
}

/// One link.
struct LinkReload {
    slot: ActiveChain,
    /// Held during a reload or a rollback of the link. A file that is slow to compile holds up its
    /// own link only.
    changing: Mutex<()>,
    state: Mutex<ReloadState>,
}

/// The state of a link from one poll to the next.
struct ReloadState {
    /// The configuration that the active chain was loaded from.
    applied: Arc<Loaded>,
    watch: FileWatch,
    /// The watched files: those of the active chain, and of the one that was last tried.
    files: Vec<PathBuf>,
    needs_restart: Vec<String>,
    problem: Option<String>,
}

impl Reloads {
    /// Creates the handle for links that were loaded from `loaded`, each with its slot.
    #[must_use]
    pub fn new(
        loaded: &Arc<Loaded>,
        engine: HostEngine,
        clock: Arc<dyn Clock>,
        memory: Arc<PluginMemory>,
        slots: Vec<(String, ActiveChain)>,
    ) -> Self {
        let links = slots.into_iter().map(|(name, slot)| {
            let files = link_of(loaded, &name).map(|link| files(loaded, link)).unwrap_or_default();
            let state = ReloadState {
                applied: Arc::clone(loaded),
                watch: FileWatch::default(),
                files,
                needs_restart: Vec::new(),
                problem: None,
            };
            (name, LinkReload { slot, changing: Mutex::default(), state: Mutex::new(state) })
        });
        let links = links.collect();
        let first = Arc::clone(loaded);
        Self { shared: Arc::new(Shared { engine, clock, memory, first, links }) }
    }

    /// Polls the files and applies changes for as long as it is polled itself. Beside that it ends
    /// probations and trials, which wait for no file of another link.
    pub async fn run(&self) {
        tokio::join!(self.repeat(Shared::poll), self.repeat(Shared::tick));
    }

    async fn repeat(&self, work: fn(&Shared)) {
        loop {
            tokio::time::sleep(self.shared.pause()).await;
            let shared = Arc::clone(&self.shared);
            if let Err(error) = tokio::task::spawn_blocking(move || work(&shared)).await {
                tracing::error!(%error, "polling the plugins' files panicked: please report this as a bug");
            }
        }
    }

    /// Returns the slot of a link.
    #[cfg(test)]
    pub fn slot(&self, link: &str) -> Option<&ActiveChain> {
        self.shared.links.get(link).map(|link| &link.slot)
    }
}

#[async_trait]
impl PluginControl for Reloads {
    fn state(&self) -> Vec<LinkPlugins> {
        let state = |(name, link): (&String, &LinkReload)| {
            let chain = link.slot.state();
            let state = link.state();
            LinkPlugins {
                link: name.clone(),
                chain,
                problem: state.problem.clone(),
                needs_restart: state.needs_restart.clone(),
            }
        };
        self.shared.links.iter().map(state).collect()
    }

    fn history(&self, link: &str) -> Result<Vec<HistoryEntry>, ReloadError> {
        let link = self.shared.link(link)?;
        let mask = self.shared.first.mask();
        let masked = |entry: HistoryEntry| HistoryEntry { reason: mask.apply(&entry.reason).into_owned(), ..entry };
        Ok(link.slot.history().into_iter().map(masked).collect())
    }

    async fn reload(&self, link: &str, request: ReloadRequest) -> Result<ReloadReport, ReloadError> {
        let (shared, name) = (Arc::clone(&self.shared), link.to_owned());
        let reloading = tokio::task::spawn_blocking(move || shared.reload(&name, request));
        reloading.await.map_err(|error| ReloadError::Panicked(error.to_string()))?
    }

    async fn rollback(&self, link: &str, confirm: bool) -> Result<HistoryEntry, ReloadError> {
        let (shared, name) = (Arc::clone(&self.shared), link.to_owned());
        let rolling = tokio::task::spawn_blocking(move || shared.rollback(&name, confirm));
        rolling.await.map_err(|error| ReloadError::Panicked(error.to_string()))?
    }
}

impl LinkReload {
    fn state(&self) -> MutexGuard<'_, ReloadState> {
        lock(&self.state)
    }
}

impl Shared {
    /// Returns the pause between two polls: half of the shortest time that a file must be
    /// unchanged.
    fn pause(&self) -> Duration {
        let settle = self.links.iter().filter_map(|(name, link)| {
            let applied = Arc::clone(&link.state().applied);
            link_of(&applied, name).map(|link| Duration::from_millis(link.reload.settle_ms))
        });
        settle.min().map_or(POLL.1, |settle| (settle / 2).clamp(POLL.0, POLL.1))
    }

    /// Ends probations and trials of the links that are not being changed.
    fn tick(&self) {
        for link in self.links.values() {
            // A reload has compared its chain with what is in force, which stays until it is done.
            let _changing = match link.changing.try_lock() {
                Ok(changing) => changing,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => continue,
            };
            link.slot.tick();
        }
    }

    /// Polls the files of all links once and reloads the links whose files have changed, one after
    /// the other, as compiling takes memory.
    fn poll(&self) {
        let mut changed = Vec::new();
        for (name, link) in &self.links {
            let mut state = link.state();
            let applied = Arc::clone(&state.applied);
            let Some(config) = link_of(&applied, name) else { continue };
            if config.reload.mode == ReloadMode::Manual {
                continue;
            }
            let ReloadState { watch, files, .. } = &mut *state;
            if watch.poll(files, self.clock.now(), Duration::from_millis(config.reload.settle_ms)) {
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

    fn rollback(&self, name: &str, confirm: bool) -> Result<HistoryEntry, ReloadError> {
        let link = self.link(name)?;
        let _one_at_a_time = lock(&link.changing);
        let rolled = link.slot.rollback("an operator asked for it", confirm);
        rolled.map_err(|error| ReloadError::Rollback { link: name.to_owned(), error })
    }
}

fn link_of<'a>(loaded: &'a Loaded, name: &str) -> Option<&'a Link> {
    loaded.config.links.iter().find(|link| link.name == name)
}

/// Returns the files that a link's chain depends on: the configuration, and the file of each plugin
/// with its signature and its secrets. A plugin's file is watched even where it does not exist, as
/// one that appears takes precedence over the bundled plugin of that name.
fn files(loaded: &Loaded, link: &Link) -> Vec<PathBuf> {
    let dir = loaded.plugin_dir();
    let mut files = vec![loaded.file().to_owned()];
    for used in &link.plugins {
        let file = compose::plugin_file(&dir, &used.plugin);
        files.push(signature_path(&file));
        files.push(file);
        files.extend(used.config.files().into_iter().map(|secret| loaded.beside(secret)));
    }
    files
}
