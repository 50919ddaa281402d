//! What a process runs, as the admin API knows it: its links from the configuration on, whatever becomes of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use strait_core::config::{Config, DeliveryMode};
use strait_core::{Event, PartitionKey, Severity};
use strait_flow::ports::{Clock, EventSink};
use strait_flow::{LaneState, LinkStatus, SystemClock};
use strait_host::{ActiveChain, HostEngine};

use crate::run::reload::Reloads;
use crate::telemetry::Mask;

/// Events kept per link, to be shown.
const RECENT_MAX: usize = 20;
/// Partitions whose last event is kept, so that status can say why they stand still.
const REASONS_MAX: usize = 20_000;

/// Where the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Plugins are loaded.
    Starting = 0,
    /// Links run.
    Running = 1,
    /// Links commit what is in flight, then the process ends.
    Draining = 2,
}

impl Phase {
    /// Its name in status.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Draining => "draining",
        }
    }
}

/// What a process runs.
pub struct Board {
    clock: SystemClock,
    phase: AtomicU8,
    links: Vec<Arc<LinkBoard>>,
    reloads: OnceLock<Reloads>,
}

impl Board {
    /// A board with the links of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Arc<Self> {
        let mask = Mask::new(&config.resolved_values());
        let links = config.links.iter().map(|link| {
            Arc::new(LinkBoard {
                name: link.name.clone(),
                source: link.source.clone(),
                target: link.target.clone(),
                delivery: link.delivery,
                mask: mask.clone(),
                clock: SystemClock::start(),
                work: OnceLock::new(),
                told: Mutex::default(),
            })
        });
        Arc::new(Self {
            clock: SystemClock::start(),
            phase: AtomicU8::new(0),
            links: links.collect(),
            reloads: OnceLock::new(),
        })
    }

    /// The links are prepared, and this is the handle to their plugins.
    pub fn give_reloads(&self, reloads: Reloads) {
        // A process prepares its links once.
        self.reloads.set(reloads).ok();
    }

    /// The handle to the plugins of all links; nothing before they are prepared.
    #[must_use]
    pub fn reloads(&self) -> Option<&Reloads> {
        self.reloads.get()
    }

    /// Where the process is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Running,
            _ => Phase::Draining,
        }
    }

    /// The process goes on; never back: a signal during preparation is a drain already.
    pub fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
    }

    /// Time since the process began.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.clock.now()
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn unix_ms(&self) -> i64 {
        self.clock.unix_ms()
    }

    /// The links, as configured.
    #[must_use]
    pub fn links(&self) -> &[Arc<LinkBoard>] {
        &self.links
    }

    /// A link by its name.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<&Arc<LinkBoard>> {
        self.links.iter().find(|link| link.name == name)
    }

    /// What is missing for readiness; nothing when the process is ready. It is ready while it runs and each link has been
    /// told its lanes by the link's group (none, where other processes have them all) and moves records on each of them.
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

/// What a link works with, once it is prepared.
#[derive(Clone)]
pub struct Work {
    /// Its figures.
    pub status: Arc<LinkStatus>,
    /// Its plugins, exchangeable.
    pub slot: ActiveChain,
    /// What runs them, for their figures over all versions.
    pub engine: HostEngine,
    /// How many lanes it has, in all processes.
    pub lanes: u32,
}

/// What a link told.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// How often each event came.
    pub counts: BTreeMap<&'static str, u64>,
    /// The last events, oldest first.
    pub recent: VecDeque<Recent>,
    /// Why a partition stands still, if it does: the last event that could be the reason.
    pub reasons: BTreeMap<PartitionKey, Recent>,
    /// Why the link ended.
    pub ended: Option<String>,
    /// What it waits for before it can begin.
    pub waits: Option<String>,
}

/// An event that was told.
#[derive(Clone, Debug)]
pub struct Recent {
    /// Its name.
    pub event: &'static str,
    /// What it said.
    pub text: String,
    /// When, in milliseconds since the Unix epoch.
    pub time_ms: i64,
}

/// One link.
pub struct LinkBoard {
    /// Its name.
    pub name: String,
    /// Cluster it reads from.
    pub source: String,
    /// Cluster it writes to.
    pub target: String,
    /// Its delivery mode.
    pub delivery: DeliveryMode,
    mask: Mask,
    clock: SystemClock,
    work: OnceLock<Work>,
    told: Mutex<Told>,
}

impl LinkBoard {
    fn lock(&self) -> MutexGuard<'_, Told> {
        // Counts and texts: a panic elsewhere leaves nothing half written that matters.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The link is prepared.
    pub fn prepared(&self, work: Work) {
        // Prepared once in a process's life; a second time would be the same link.
        drop(self.work.set(work));
        self.lock().waits = None;
    }

    /// The link cannot begin yet, and tries again.
    pub fn waits(&self, error: &str) {
        self.lock().waits = Some(self.hide(error));
    }

    /// What it works with; `None` before it is prepared.
    #[must_use]
    pub fn work(&self) -> Option<&Work> {
        self.work.get()
    }

    /// A text of a broker or a plugin without the configuration's secrets.
    #[must_use]
    pub fn hide(&self, text: &str) -> String {
        self.mask.hide(text).into_owned()
    }

    /// The link has ended and will not run again in this process.
    pub fn ended(&self, error: &str) {
        self.lock().ended = Some(self.hide(error));
    }

    /// What it told.
    #[must_use]
    pub fn told(&self) -> Told {
        self.lock().clone()
    }

    fn not_ready(&self) -> Option<String> {
        let told = self.lock();
        if let Some(error) = &told.ended {
            return Some(format!("has ended: {error}"));
        }
        let Some(work) = self.work.get() else {
            let why = told.waits.as_ref().map(|error| format!(": {error}"));
            return Some(format!("is not prepared yet{}", why.unwrap_or_default()));
        };
        drop(told);
        if !work.status.has_joined() {
            return Some("waits for the group to hand out its lanes".to_owned());
        }
        let waiting = work.status.lanes().into_iter().find(|(_, state)| *state != LaneState::Running);
        waiting.map(|(lane, state)| match state {
            LaneState::Waiting => format!("lane {lane} broke and waits before it is taken again"),
            LaneState::Taking | LaneState::Running => format!("lane {lane} is being taken"),
        })
    }

    fn record(&self, event: &Event) {
        let text = self.hide(&event.to_string());
        let recent = Recent { event: event.name(), text, time_ms: self.clock.unix_ms() };
        let mut told = self.lock();
        *told.counts.entry(recent.event).or_default() += 1;
        if let Some(partition) = event.partition().filter(|_| !matches!(event, Event::Quarantined { .. })) {
            if told.reasons.len() >= REASONS_MAX && !told.reasons.contains_key(partition) {
                told.reasons.pop_first();
            }
            told.reasons.insert(partition.clone(), recent.clone());
        }
        if told.recent.len() >= RECENT_MAX {
            told.recent.pop_front();
        }
        told.recent.push_back(recent);
    }
}

/// Events go to the log, one line each with name and coordinates as fields, and onto the board.
impl EventSink for LinkBoard {
    fn emit(&self, link: &str, event: Event) {
        let name = event.name();
        match event.severity() {
            Severity::Info => tracing::info!(link, event = name, "{event}"),
            Severity::Warning => tracing::warn!(link, event = name, "{event}"),
            Severity::Error => tracing::error!(link, event = name, "{event}"),
        }
        self.record(&event);
    }
}
