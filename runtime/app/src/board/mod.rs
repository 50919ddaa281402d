//! The state of a process: its phase and its links. `run` and `reload` write it, `admin` reads it.
//!
//! The board knows every link of the configuration from the start, whatever becomes of it, so that
//! a link that cannot start is shown and not missing.

mod access;
mod link;
pub mod plugins;

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use strait_core::config::Config;
use strait_flow::SystemClock;
use strait_flow::ports::Clock;

pub use access::AccessBoard;
pub use link::{LinkBoard, LinkEvents, RecordedEvent, Work};
use plugins::PluginControl;

use crate::mask::Mask;

/// The phase of a process. It only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Plugins are being loaded.
    Starting = 0,
    /// Links run.
    Running = 1,
    /// Links commit what is in flight, then the process ends.
    Draining = 2,
}

impl Phase {
    /// Returns the name that the status shows.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Draining => "draining",
        }
    }
}

/// The state of a process.
pub struct Board {
    clock: SystemClock,
    phase: AtomicU8,
    links: Vec<Arc<LinkBoard>>,
    access: Vec<Arc<AccessBoard>>,
    plugin_control: OnceLock<Arc<dyn PluginControl>>,
}

impl Board {
    /// Creates a board with the links of a configuration. Its texts are masked.
    #[must_use]
    pub fn new(config: &Config, mask: &Mask) -> Arc<Self> {
        let links: Vec<_> = config.links.iter().map(|link| Arc::new(LinkBoard::new(link, mask))).collect();
        Arc::new(Self {
            clock: SystemClock::start(),
            phase: AtomicU8::new(0),
            access: AccessBoard::all(config, &links, mask),
            links,
            plugin_control: OnceLock::new(),
        })
    }

    /// Sets the handle to the plugins of all links. Only the first call counts: a process loads its
    /// plugins once.
    pub fn set_plugin_control(&self, control: Arc<dyn PluginControl>) {
        self.plugin_control.set(control).ok();
    }

    /// Returns the handle to the plugins of all links; `None` until they are loaded.
    #[must_use]
    pub fn plugin_control(&self) -> Option<&dyn PluginControl> {
        self.plugin_control.get().map(|control| &**control)
    }

    /// Returns the phase of the process.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Running,
            _ => Phase::Draining,
        }
    }

    /// Moves the process to a later phase. An earlier one is ignored: a signal that arrives while
    /// plugins are loaded already drains.
    pub fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
    }

    /// Returns the time since the process began.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.clock.now()
    }

    /// Returns the time in milliseconds since the Unix epoch.
    #[must_use]
    pub fn unix_ms(&self) -> i64 {
        self.clock.unix_ms()
    }

    /// Returns the links in the order of the configuration.
    #[must_use]
    pub fn links(&self) -> &[Arc<LinkBoard>] {
        &self.links
    }

    /// Returns the logins of all clusters.
    #[must_use]
    pub fn access(&self) -> &[Arc<AccessBoard>] {
        &self.access
    }

    /// Returns the login of a cluster.
    #[must_use]
    pub fn access_to(&self, cluster: &str) -> Option<&Arc<AccessBoard>> {
        self.access.iter().find(|access| access.cluster == cluster)
    }

    /// Returns the link of this name.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<&Arc<LinkBoard>> {
        self.links.iter().find(|link| link.name == name)
    }

    /// Returns what is missing for readiness; nothing when the process is ready.
    ///
    /// A process is ready while it runs, the group has assigned each link its lanes (none, where
    /// other processes have them all) and every one of these lanes moves records.
    #[must_use]
    pub fn not_ready(&self) -> Vec<String> {
        match self.phase() {
            Phase::Starting => return vec!["starting: plugins are loaded".to_owned()],
            Phase::Draining => return vec!["draining: what is in flight is committed".to_owned()],
            Phase::Running => {}
        }
        self.links.iter().filter_map(|link| link.not_ready().map(|why| format!("link {}: {why}", link.name))).collect()
    }
}
