//! The simulated world: time, processes, what is on its way between them, and what is written down of it all.
//!
//! One lock holds everything. What takes time is an [`Action`] in a queue ordered by (time, number), run by one driver task on
//! tokio's paused clock; a request therefore arrives whether or not its sender still lives, as on a real network.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use strait_core::Event;
use strait_flow::ports::{Class, PortError};
use strait_flow::{DeliveryMode, Policies};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::books::Books;
use crate::client::Client;
use crate::rng::Rng;
use crate::source::{Rules, SourceCluster};
use crate::target::TargetCluster;

/// Something that happens later.
pub type Action = Box<dyn FnOnce(&mut World) + Send>;

/// How often things go wrong, in cases of 1000; all zero once the faults have ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A request or its answer is lost.
    pub lost: u64,
    /// A produce request fails for good.
    pub produce: u64,
    /// A delivery report comes without an offset.
    pub no_offset: u64,
    /// The result of a commit is unknown (request or answer lost).
    pub commit: u64,
    /// Reading a source partition fails.
    pub read: u64,
    /// The source client breaks as a whole.
    pub read_broken: u64,
    /// Quarantine does not take a record.
    pub quarantine: u64,
    /// The producer's queue is full although it is not.
    pub queue_full: u64,
}

/// A fault planted into the simulated world (or the ports), to prove that the checks find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Taking a lane initialises slot A only.
    SingleInit,
    /// Brokers do not fence.
    NoFencing,
    /// Progress is read before the inits.
    ReadBeforeInit,
    /// The progress reader takes uncommitted records.
    ReadUncommitted,
    /// Records are acknowledged when they are sent, so that a commit does not wait for them.
    CommitWithoutWaiting,
    /// An acknowledged record is not written.
    LoseRecord,
    /// A record is written twice.
    WriteTwice,
    /// Two records of a request change places.
    Swap,
    /// Reported offsets are one too large.
    WrongOffset,
    /// Quarantine acknowledges without keeping.
    QuarantineLies,
    /// Progress is written beside the transaction.
    ProgressOutside,
    /// The source leaves a record out.
    SkipSource,
    /// Transactional ids that could not be initialised are not told.
    HiddenIds,
    /// The plugins are shown one offset less than they asked for.
    ShortMemory,
}

/// Where a hook may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// An id was initialised: 0 for slot A, 1 for slot B.
    Init(u8),
    /// Progress was read.
    ProgressRead,
    /// Data arrives at a broker.
    Produce,
    /// Progress and map records are written.
    ProgressWritten,
    /// The end of a transaction arrives at its coordinator.
    CommitArrives,
    /// It is decided; markers and the answer are still to come.
    CommitDecided,
    /// Records were kept in quarantine.
    Kept,
}

/// Done once, when its point is reached by that lane for the nth time from now.
pub struct Hook {
    /// Where.
    pub point: Point,
    /// Reached how many more times before.
    pub skip: u64,
    /// Gets the process that reached it.
    pub run: Box<dyn FnOnce(&mut World, usize) + Send>,
}

/// A process of Strait.
#[derive(Debug, Default)]
pub struct Proc {
    /// Stands still: nothing of it runs, time goes on.
    pub paused: bool,
    /// Gone for good.
    pub dead: bool,
    wakers: Vec<Waker>,
}

/// What happened, as a running hash and the last lines.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    last: VecDeque<String>,
}

impl Trace {
    fn push(&mut self, line: String) {
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.last.len() >= trace_lines() {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// A number for everything that happened so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The last lines.
    #[must_use]
    pub fn tail(&self) -> String {
        self.last.iter().fold(String::new(), |mut out, line| {
            out.push_str(line);
            out.push('\n');
            out
        })
    }
}

fn trace_lines() -> usize {
    std::env::var("STRAIT_SIM_TRACE").ok().and_then(|n| n.parse().ok()).unwrap_or(60)
}

/// Everything there is.
pub struct World {
    /// Chance.
    pub rng: Rng,
    /// What goes wrong by itself.
    pub faults: Faults,
    /// The planted fault of this run.
    pub bug: Option<Bug>,
    /// How the link delivers.
    pub delivery: DeliveryMode,
    /// Policies of the link.
    pub policies: Policies,
    /// Number of lanes.
    pub lanes: u32,
    /// What plugins and target say of which kind of record.
    pub rules: Rules,
    /// The plugins that broke on records were exchanged for others that do not.
    pub mended: bool,
    /// Latency of a request, one way, in milliseconds.
    pub latency_ms: (u64, u64),
    /// Processes, dead ones included.
    pub procs: Vec<Proc>,
    /// The source cluster.
    pub source: SourceCluster,
    /// The target cluster.
    pub target: TargetCluster,
    /// Producer clients, old ones included.
    pub clients: Vec<Client>,
    /// Records in the quarantine topic.
    pub quarantine: std::collections::BTreeSet<u64>,
    /// What was found committed.
    pub books: Books,
    /// Events of the lanes: when, of which process, what.
    pub events: Vec<(u64, usize, Event)>,
    /// Hooks that wait.
    pub hooks: Vec<Hook>,
    /// The first thing that was found wrong.
    pub violation: Option<String>,
    /// What happened.
    pub trace: Trace,
    /// Told when the source has something new.
    pub source_changed: Arc<Notify>,
    queue: BTreeMap<(u64, u64), Action>,
    queued: u64,
    start: Instant,
    driver: Arc<Notify>,
}

impl World {
    /// Virtual milliseconds since the run began.
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

    /// One way of a request.
    pub fn latency(&mut self) -> u64 {
        let (low, high) = self.latency_ms;
        // A few are very late.
        let late = if self.rng.chance(10) { 20 } else { 1 };
        self.rng.within(low, high) * late
    }

    /// Writes down what happens.
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

    /// Something is wrong; the first one counts.
    pub fn wrong(&mut self, what: String) {
        if self.violation.is_none() {
            self.note(format_args!("WRONG {what}"));
            self.violation = Some(what);
        }
    }

    /// Books the outcome of a check.
    pub fn check<E: std::fmt::Display>(&mut self, result: Result<(), E>) {
        if let Err(error) = result {
            self.wrong(error.to_string());
        }
    }

    /// A point is reached by a process.
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

    /// A process stands still from now on.
    pub fn pause(&mut self, proc: usize) {
        self.note(format_args!("process {proc} stands still"));
        self.procs[proc].paused = true;
    }

    /// It goes on, its clients too.
    pub fn resume(&mut self, proc: usize) {
        if !self.procs[proc].paused {
            return;
        }
        self.note(format_args!("process {proc} goes on"));
        self.procs[proc].paused = false;
        for waker in std::mem::take(&mut self.procs[proc].wakers) {
            waker.wake();
        }
        self.pump_all(proc);
    }

    /// It is gone, without any clean-up.
    pub fn kill(&mut self, proc: usize) {
        self.note(format_args!("process {proc} dies"));
        self.procs[proc].dead = true;
    }

    /// Whether its code and its clients run.
    #[must_use]
    pub fn runs(&self, proc: usize) -> bool {
        let proc = &self.procs[proc];
        !proc.paused && !proc.dead
    }
}

/// A handle on the world.
#[derive(Clone)]
pub struct Sim {
    world: Arc<Mutex<World>>,
    driver: Arc<Notify>,
    /// Told when the source has something new.
    pub source_changed: Arc<Notify>,
    start: Instant,
}

/// How long a client waits for an answer, in milliseconds.
pub const TIMEOUT_MS: u64 = 3_000;

impl Sim {
    /// An empty world; must be made within the paused runtime.
    #[must_use]
    pub fn new(seed: u64, delivery: DeliveryMode, policies: Policies, rules: Rules) -> Self {
        let driver = Arc::new(Notify::new());
        let source_changed = Arc::new(Notify::new());
        let start = Instant::now();
        let world = World {
            rng: Rng::new(seed),
            faults: Faults::default(),
            bug: None,
            delivery,
            policies,
            lanes: 2,
            rules,
            mended: false,
            latency_ms: (1, 15),
            procs: Vec::new(),
            source: SourceCluster::default(),
            target: TargetCluster::default(),
            clients: Vec::new(),
            quarantine: std::collections::BTreeSet::new(),
            books: Books::default(),
            events: Vec::new(),
            hooks: Vec::new(),
            violation: None,
            trace: Trace { hash: 0xcbf2_9ce4_8422_2325, last: VecDeque::new() },
            source_changed: Arc::clone(&source_changed),
            queue: BTreeMap::new(),
            queued: 0,
            start,
            driver: Arc::clone(&driver),
        };
        Self { world: Arc::new(Mutex::new(world)), driver, source_changed, start }
    }

    /// The world, for a moment.
    pub fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs what is due, for ever.
    pub async fn drive(self) {
        loop {
            let next = {
                let mut world = self.lock();
                let now = world.now();
                while let Some(first) = world.queue.first_entry() {
                    if first.key().0 > now {
                        break;
                    }
                    let action = first.remove();
                    action(&mut world);
                }
                world.queue.first_key_value().map(|(key, _)| key.0)
            };
            let Some(at) = next else {
                self.driver.notified().await;
                continue;
            };
            tokio::select! { biased;
                () = self.driver.notified() => {}
                () = tokio::time::sleep_until(self.start + Duration::from_millis(at)) => {}
            }
        }
    }

    /// A request and its answer. The request arrives whatever becomes of its sender; either way can be lost, and then the
    /// sender waits for its timeout.
    ///
    /// # Errors
    /// [`PortError`] of class `Retry` after the timeout.
    pub async fn call<T: Send + 'static>(
        &self,
        what: &str,
        request: impl FnOnce(&mut World) -> T + Send + 'static,
    ) -> Result<T, PortError> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut world = self.lock();
            let (there, back) = (world.latency(), world.latency());
            let lost = world.faults.lost;
            let (lost_there, lost_back) = (world.rng.chance(lost), world.rng.chance(lost));
            world.after(there, move |world| {
                if lost_there {
                    return;
                }
                let answer = request(world);
                if lost_back {
                    return;
                }
                world.after(back, move |_| {
                    // The caller may have given up or died.
                    sender.send(answer).ok();
                });
            });
        }
        let sent = Instant::now();
        let timeout = Duration::from_millis(TIMEOUT_MS);
        if let Ok(Ok(answer)) = tokio::time::timeout(timeout, receiver).await {
            return Ok(answer);
        }
        tokio::time::sleep_until(sent + timeout).await;
        Err(retry(what, "no answer in time"))
    }
}

/// A passing failure.
#[must_use]
pub fn retry(context: &str, reason: &str) -> PortError {
    PortError { class: Class::Retry, context: context.to_owned(), reason: reason.to_owned() }
}

/// Runs a process's code only while the process runs: one that stands still is not polled at all, one that is dead never again.
pub struct Frozen<F> {
    sim: Sim,
    proc: usize,
    inner: Pin<Box<F>>,
}

impl<F> Frozen<F> {
    /// Wraps what a process does.
    pub fn new(sim: Sim, proc: usize, inner: F) -> Self {
        Self { sim, proc, inner: Box::pin(inner) }
    }
}

impl<F: Future> Future for Frozen<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        {
            let mut world = self.sim.lock();
            let proc = &mut world.procs[self.proc];
            if proc.dead {
                return Poll::Pending;
            }
            if proc.paused {
                proc.wakers.push(cx.waker().clone());
                return Poll::Pending;
            }
        }
        self.inner.as_mut().poll(cx)
    }
}
