//! The state of one link.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use strait_core::config::{DeliveryMode, Link};
use strait_core::{Event, Outage, Severity, Side};
use strait_flow::ports::{Clock, EventSink};
use strait_flow::{LaneState, LinkStatus, Requests, SystemClock, lock};
use strait_host::{ActiveChain, HostEngine};

use crate::mask::Mask;

/// Events kept per link, for the status.
const RECENT_MAX: usize = 20;

/// The parts of a prepared link that the board reads.
#[derive(Clone)]
pub struct Work {
    /// The figures of the link.
    pub status: Arc<LinkStatus>,
    /// The slot that holds the plugins of the link.
    pub slot: ActiveChain,
    /// The engine that runs them. It has the figures of all versions.
    pub engine: HostEngine,
    /// Lanes that the link has in all processes.
    pub lanes: u32,
    /// Requests of an operator to the lanes.
    pub requests: Arc<Requests>,
}

/// The events of a link and what follows from them.
#[derive(Clone, Debug, Default)]
pub struct LinkEvents {
    /// How often each event occurred.
    pub counts: BTreeMap<&'static str, u64>,
    /// The last events, oldest first.
    pub recent: VecDeque<RecordedEvent>,
    /// Why the link ended.
    pub ended: Option<String>,
    /// The error that keeps the link from starting; it is retried.
    pub startup_error: Option<String>,
    /// The startup error is that an operator's command has closed the link.
    pub stands_by: bool,
}

/// An event as it was recorded.
#[derive(Clone, Debug)]
pub struct RecordedEvent {
    /// Name of the event.
    pub event: &'static str,
    /// Its text, secrets masked.
    pub text: String,
    /// Its time, in milliseconds since the Unix epoch.
    pub time_ms: i64,
}

/// The state of one link.
pub struct LinkBoard {
    /// Name of the link.
    pub name: String,
    /// Cluster that the link reads from.
    pub source: String,
    /// Cluster that the link writes to.
    pub target: String,
    /// Delivery mode of the link.
    pub delivery: DeliveryMode,
    mask: Mask,
    clock: SystemClock,
    work: OnceLock<Work>,
    events: Mutex<LinkEvents>,
    /// Why a cluster has no new token, by cluster.
    logins: Mutex<BTreeMap<String, String>>,
}

impl LinkBoard {
    pub(super) fn new(link: &Link, mask: &Mask) -> Self {
        Self {
            name: link.name.clone(),
            source: link.source.clone(),
            target: link.target.clone(),
            delivery: link.delivery,
            mask: mask.clone(),
            clock: SystemClock::start(),
            work: OnceLock::new(),
            events: Mutex::default(),
            logins: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, LinkEvents> {
        lock(&self.events)
    }

    /// Records that the link is prepared. Only the first call counts: a link is prepared once in
    /// the life of a process.
    pub fn set_prepared(&self, work: Work) {
        drop(self.work.set(work));
        let mut events = self.lock();
        events.startup_error = None;
        events.stands_by = false;
    }

    /// Records the error that keeps the link from starting. The link is retried.
    pub fn set_startup_error(&self, error: &str) {
        let mut events = self.lock();
        events.startup_error = Some(self.mask(error));
        events.stands_by = false;
    }

    /// Records that an operator's command has closed the link, so that it waits for its end. The
    /// first time an event says so.
    pub fn set_standby(&self, reason: &str) {
        let is_new = {
            let mut events = self.lock();
            events.startup_error = Some(self.mask(reason));
            !std::mem::replace(&mut events.stands_by, true)
        };
        if is_new {
            self.emit(&self.name, Event::Outage(Outage::Standby { lane: None, reason: reason.to_owned() }));
        }
    }

    /// Records that the link has ended. It does not run again in this process.
    pub fn set_ended(&self, error: &str) {
        self.lock().ended = Some(self.mask(error));
    }

    /// Records why a cluster has no new token, or that it has one.
    pub(super) fn set_login_trouble(&self, cluster: &str, trouble: Option<&str>) {
        let mut logins = lock(&self.logins);
        match trouble {
            Some(trouble) => drop(logins.insert(cluster.to_owned(), self.mask(trouble))),
            None => drop(logins.remove(cluster)),
        }
    }

    /// Returns what the link works with; `None` until it is prepared.
    #[must_use]
    pub fn work(&self) -> Option<&Work> {
        self.work.get()
    }

    /// Masks the configuration's secrets in a text of a broker or a plugin.
    #[must_use]
    pub fn mask(&self, text: &str) -> String {
        self.mask.apply(text).into_owned()
    }

    /// Returns a copy of the events recorded so far.
    #[must_use]
    pub fn events(&self) -> LinkEvents {
        self.lock().clone()
    }

    /// Returns why the link is not ready; `None` when it is.
    pub(super) fn not_ready(&self) -> Option<String> {
        let events = self.lock();
        if let Some(error) = &events.ended {
            return Some(format!("has ended: {error}"));
        }
        // An operator has asked for it.
        if events.stands_by {
            return None;
        }
        let Some(work) = self.work.get() else {
            let why = events.startup_error.as_ref().map(|error| format!(": {error}"));
            return Some(format!("is not prepared yet{}", why.unwrap_or_default()));
        };
        drop(events);
        if let Some((cluster, trouble)) = lock(&self.logins).first_key_value() {
            return Some(format!("there is no new token for cluster {cluster}: {trouble}"));
        }
        let silent_s = |since_ms: i64| self.clock.unix_ms().saturating_sub(since_ms).max(0) / 1000;
        let unreachable = work.status.unreachable();
        if let Some((side, found)) = unreachable.first_key_value() {
            let (cluster, reason) = (self.cluster(*side), self.mask(&found.reason));
            let silent_s = silent_s(found.since_ms);
            return Some(format!("its {side} cluster {cluster} has not answered for {silent_s} s: {reason}"));
        }
        if let Some(found) = work.status.not_in_group() {
            let (silent_s, reason) = (silent_s(found.since_ms), self.mask(&found.reason));
            return Some(format!("has not been a member of its group for {silent_s} s: {reason}"));
        }
        if !work.status.has_joined() {
            return Some("waits for the group to assign its lanes".to_owned());
        }
        let is_ready = |state| matches!(state, LaneState::Running | LaneState::Standby);
        let waiting = work.status.lanes().into_iter().find(|(_, lane)| !is_ready(lane.state));
        let (number, lane) = waiting?;
        let state = match lane.state {
            LaneState::Waiting => "failed and waits before it is taken again",
            LaneState::Refused => "refuses its plugins",
            LaneState::Taking | LaneState::Running | LaneState::Standby => "is being taken",
        };
        let trouble = if lane.trouble.is_empty() { String::new() } else { format!(": {}", self.mask(&lane.trouble)) };
        Some(format!("lane {number} {state}{trouble}"))
    }

    /// Returns the name of the cluster on a side.
    #[must_use]
    pub fn cluster(&self, side: Side) -> &str {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }

    fn record(&self, event: &Event) {
        let text = self.mask(&event.to_string());
        let recorded = RecordedEvent { event: event.name(), text, time_ms: self.clock.unix_ms() };
        let mut events = self.lock();
        *events.counts.entry(recorded.event).or_default() += 1;
        if events.recent.len() >= RECENT_MAX {
            events.recent.pop_front();
        }
        events.recent.push_back(recorded);
    }
}

/// Writes each event to the log, one line with name and coordinates as fields, and onto the board.
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
