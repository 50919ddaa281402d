//! The simulated world: time, processes, requests under way, and the record of everything.
//!
//! One lock holds it all. Whatever takes time is an [`Action`] in a queue ordered by (time,
//! number). One driver task runs the queue on tokio's paused clock. So a request arrives whether or
//! not its sender still lives, as on a real network.

pub mod accounts;
pub mod books;
pub mod client;
pub mod control;
pub mod entries;
mod fate;
mod faults;
pub mod groups;
pub mod plugins;
mod sim;
pub mod source;
pub mod stored;
pub mod target;
mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::task::Waker;

use strait_core::Event;
use strait_flow::{DeliveryMode, Policies};
use tokio::sync::Notify;
use tokio::time::Instant;

use self::books::Books;
use self::client::Client;
use self::control::ControlTopic;
use self::entries::BooksFault;
pub use self::faults::{Bug, Faults, Hook, Point};
use self::groups::Groups;
use self::plugins::Plugins;
pub use self::sim::{Frozen, Sim, retry};
use self::source::{Rules, SourceCluster};
use self::target::TargetCluster;
use self::trace::Trace;
use crate::rng::Rng;

/// How long a client waits for an answer, in milliseconds.
pub const TIMEOUT_MS: u64 = 3_000;

/// Something that happens later.
pub type Action = Box<dyn FnOnce(&mut World) + Send>;

/// A process of Strait.
#[derive(Debug, Default)]
pub struct Proc {
    /// Nothing of it runs, while time goes on.
    pub paused: bool,
    /// Gone for good.
    pub dead: bool,
    /// The coordinator of the group does not answer it before this time, in virtual milliseconds.
    pub outside_until: u64,
    wakers: Vec<Waker>,
}

/// Everything there is.
pub struct World {
    /// The run's source of chance.
    pub rng: Rng,
    /// How often things go wrong by themselves.
    pub faults: Faults,
    /// The planted fault of this run.
    pub bug: Option<Bug>,
    /// Delivery mode of the link.
    pub delivery: DeliveryMode,
    /// Policies of the link.
    pub policies: Policies,
    /// Number of lanes.
    pub lanes: u32,
    /// How many records are of each kind.
    pub rules: Rules,
    /// Other plugins have replaced those that broke on records, and they do not break.
    pub mended: bool,
    /// No topic is created because plugins name it.
    pub no_new_topics: bool,
    /// The plugins of the processes.
    pub plugins: Plugins,
    /// Smallest and largest latency of a request, one way, in milliseconds.
    pub latency_ms: (u64, u64),
    /// Progress and map topics refuse larger batches.
    pub control_bytes_max: usize,
    /// Processes, dead ones included.
    pub procs: Vec<Proc>,
    /// The source cluster.
    pub source: SourceCluster,
    /// The target cluster.
    pub target: TargetCluster,
    /// The control topic of the link.
    pub control: ControlTopic,
    /// Consumer groups.
    pub groups: Groups,
    /// Nothing of the control topic is answered.
    pub control_hangs: bool,
    /// How often each process has listed the source's topics.
    pub source_lists: Vec<u64>,
    /// How often lanes have asked for the id of each source topic.
    pub asked_ids: BTreeMap<Arc<str>, u64>,
    /// A process that the source gives no list of its topics, and everything else.
    pub unlisted: Option<usize>,
    /// Producer clients, old ones included.
    pub clients: Vec<Client>,
    /// Records in the quarantine topic.
    pub quarantine: BTreeSet<u64>,
    /// The same, by offset.
    pub kept: Vec<u64>,
    /// Why the target does not take entries of the books.
    pub books_fault: Option<BooksFault>,
    /// Largest batch of entries of the books.
    pub books_bytes_max: usize,
    /// The committed records, progress and maps.
    pub books: Books,
    /// Events of the lanes: time, process, event.
    pub events: Vec<(u64, usize, Event)>,
    /// Hooks that have not run.
    pub hooks: Vec<Hook>,
    /// The first violation.
    pub violation: Option<String>,
    /// The trace of the run.
    pub trace: Trace,
    /// Notified when the source has something new.
    pub source_changed: Arc<Notify>,
    queue: BTreeMap<(u64, u64), Action>,
    queued: u64,
    start: Instant,
    driver: Arc<Notify>,
}

impl World {
    fn new(seed: u64, delivery: DeliveryMode, policies: Policies, rules: Rules, start: Instant) -> Self {
        Self {
            rng: Rng::new(seed),
            faults: Faults::default(),
            bug: None,
            delivery,
            policies,
            lanes: 2,
            rules,
            mended: false,
            no_new_topics: false,
            plugins: Plugins::default(),
            latency_ms: (1, 15),
            control_bytes_max: usize::MAX,
            procs: Vec::new(),
            source: SourceCluster::default(),
            target: TargetCluster::default(),
            control: ControlTopic::default(),
            groups: Groups::default(),
            control_hangs: false,
            source_lists: Vec::new(),
            asked_ids: BTreeMap::new(),
            unlisted: None,
            clients: Vec::new(),
            quarantine: BTreeSet::new(),
            kept: Vec::new(),
            books_fault: None,
            books_bytes_max: 4 << 10,
            books: Books::default(),
            events: Vec::new(),
            hooks: Vec::new(),
            violation: None,
            trace: Trace::default(),
            source_changed: Arc::default(),
            queue: BTreeMap::new(),
            queued: 0,
            start,
            driver: Arc::default(),
        }
    }

    /// Returns the virtual milliseconds since the run began.
    #[must_use]
    pub fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Runs something `delay_ms` later.
    pub fn after(&mut self, delay_ms: u64, action: impl FnOnce(&mut Self) + Send + 'static) {
        self.queued += 1;
        self.queue.insert((self.now() + delay_ms, self.queued), Box::new(action));
        self.driver.notify_one();
    }

    /// Returns the latency of a request, one way.
    pub fn latency(&mut self) -> u64 {
        let (low, high) = self.latency_ms;
        // A few requests are very late.
        let late = if self.rng.chance(10) { 20 } else { 1 };
        self.rng.within(low, high) * late
    }

    /// Adds a line to the trace.
    pub fn note(&mut self, what: std::fmt::Arguments<'_>) {
        // What follows the first violation only hides what led to it.
        if self.violation.is_some() {
            return;
        }
        let mut line = String::with_capacity(64);
        // Writing to a String cannot fail.
        write!(line, "{:>7} {what}", self.now()).unwrap_or_default();
        self.trace.push(line);
    }

    /// Records a violation. The first one counts.
    pub fn wrong(&mut self, what: String) {
        if self.violation.is_none() {
            self.note(format_args!("WRONG {what}"));
            self.violation = Some(what);
        }
    }

    /// Records the outcome of a check.
    pub fn check<E: std::fmt::Display>(&mut self, result: Result<(), E>) {
        if let Err(error) = result {
            self.wrong(error.to_string());
        }
    }

    /// Runs the hook of a point that a process has reached.
    pub fn reached(&mut self, point: Point, proc: usize) {
        let Some(at) = self.hooks.iter().position(|h| h.point == point) else { return };
        let hook = &mut self.hooks[at];
        if hook.skip > 0 {
            hook.skip -= 1;
            return;
        }
        let hook = self.hooks.remove(at);
        self.note(format_args!("hook at {point:?} by process {proc}"));
        (hook.run)(self, proc);
    }

    /// Freezes a process.
    pub fn pause(&mut self, proc: usize) {
        self.note(format_args!("process {proc} is frozen"));
        self.procs[proc].paused = true;
    }

    /// Resumes a frozen process and its clients.
    pub fn resume(&mut self, proc: usize) {
        if !self.procs[proc].paused {
            return;
        }
        self.note(format_args!("process {proc} resumes"));
        self.procs[proc].paused = false;
        for waker in std::mem::take(&mut self.procs[proc].wakers) {
            waker.wake();
        }
        self.pump_all(proc);
    }

    /// Kills a process, without any clean-up.
    pub fn kill(&mut self, proc: usize) {
        self.note(format_args!("process {proc} dies"));
        self.procs[proc].dead = true;
    }

    /// Returns whether the code and the clients of a process run.
    #[must_use]
    pub fn runs(&self, proc: usize) -> bool {
        let proc = &self.procs[proc];
        !proc.paused && !proc.dead
    }
}
