//! Which scenarios run at the same time. A machine of CI has two cores, and each scenario starts
//! the product once or more.

use std::cell::RefCell;
use std::fs::File;
use std::io::Write as _;
use std::sync::{Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use super::clusters;

static QUEUE: Mutex<Queue> = Mutex::new(Queue { kinds: [Line::EMPTY; 4], lock: None });
static MOVED: Condvar = Condvar::new();
static HOOK: Once = Once::new();

thread_local! {
    /// The message of the panic that ended this thread's test.
    static FAILED_ON: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The kind of a scenario: what it does most of its time.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// It keeps a core busy.
    Busy,
    /// It keeps a core busy for more than a minute.
    Long,
    /// It waits for intervals and time limits.
    Waiting,
    /// It measures times, or needs the whole machine.
    Alone,
}

impl Kind {
    /// Returns how many of a kind run at a time while every kind has scenarios.
    const fn places(self) -> u64 {
        match self {
            Self::Busy | Self::Waiting => 2,
            // From the start on and one after the other: one that begins last is waited for.
            Self::Long | Self::Alone => 1,
        }
    }
}

/// The kinds that run beside one another.
const SIDE_BY_SIDE: [Kind; 3] = [Kind::Busy, Kind::Long, Kind::Waiting];

/// The scenarios of a kind, which are served in the order in which they asked.
struct Line {
    asked: u64,
    served: u64,
    ended: u64,
}

impl Line {
    const EMPTY: Self = Self { asked: 0, served: 0, ended: 0 };

    const fn running(&self) -> u64 {
        self.served - self.ended
    }

    const fn is_empty(&self) -> bool {
        self.asked == self.ended
    }
}

/// Scenarios that want to be alone are served when no other one runs or waits: in between each of
/// them would empty the machine first. So all should ask at once, which takes a thread for each.
struct Queue {
    kinds: [Line; 4],
    /// Held while a scenario of this process runs: other processes wait.
    lock: Option<File>,
}

impl Queue {
    fn line(&mut self, kind: Kind) -> &mut Line {
        &mut self.kinds[kind as usize]
    }

    /// Reports whether the scenario of this kind that asked as the `ticket`-th may run.
    fn is_served(&mut self, kind: Kind, ticket: u64) -> bool {
        let is_alone = self.line(Kind::Alone).running() > 0;
        let ended = SIDE_BY_SIDE.into_iter().filter(|kind| self.line(*kind).is_empty()).count();
        let may_run = kind != Kind::Alone || ended == SIDE_BY_SIDE.len();
        // Busy ones are the most: they take the places of kinds that have come to their end.
        let places = kind.places() + if kind == Kind::Busy { ended as u64 } else { 0 };
        let line = self.line(kind);
        !is_alone && may_run && line.served == ticket && line.running() < places
    }

    fn is_idle(&self) -> bool {
        self.kinds.iter().all(|line| line.running() == 0)
    }
}

fn queue() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Held while a scenario runs; its end is told with the time that it took. A scenario that fails
/// prints its reason again at the end, behind the logs of the processes it started: of a long
/// output often only the end is kept.
pub struct Turn {
    kind: Kind,
    waited: Duration,
    began: Instant,
}

impl Turn {
    /// Waits until at most one other scenario runs, beside a long one and those that mostly wait.
    pub fn beside_another() -> Self {
        Self::take(Kind::Busy)
    }

    /// Waits until no other scenario of more than a minute runs.
    pub fn long() -> Self {
        Self::take(Kind::Long)
    }

    /// Does not count among those: this one waits for intervals and time limits most of its time.
    pub fn waiting() -> Self {
        Self::take(Kind::Waiting)
    }

    /// Waits until no other scenario runs: this one measures times, or needs the whole machine.
    pub fn alone() -> Self {
        Self::take(Kind::Alone)
    }

    fn take(kind: Kind) -> Self {
        HOOK.call_once(record_panics);
        let asked = Instant::now();
        let mut queue = queue();
        let ticket = queue.line(kind).asked;
        queue.line(kind).asked += 1;
        while !queue.is_served(kind, ticket) {
            queue = MOVED.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if queue.lock.is_none() {
            let lock = File::create(concat!(env!("CARGO_TARGET_TMPDIR"), "/acceptance.lock")).unwrap();
            lock.lock().unwrap();
            queue.lock = Some(lock);
        }
        queue.line(kind).served += 1;
        MOVED.notify_all();
        Self { kind, waited: asked.elapsed(), began: Instant::now() }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if std::thread::panicking() {
            clusters::keep_shared_logs();
            FAILED_ON.with_borrow(|message| eprintln!("--- the test failed on: {message}"));
        }
        let (thread, took, waited) = (std::thread::current(), self.began.elapsed(), self.waited);
        // Not by `eprintln`, which the test harness keeps back.
        let name = thread.name().unwrap_or_default();
        writeln!(std::io::stderr(), "took {:6.1} s, after {:6.1} s: {name}", took.as_secs_f32(), waited.as_secs_f32())
            .ok();
        let mut queue = queue();
        queue.line(self.kind).ended += 1;
        if queue.is_idle() {
            queue.lock = None;
        }
        MOVED.notify_all();
    }
}

fn record_panics() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        FAILED_ON.with_borrow_mut(|message| *message = info.to_string());
        print(info);
    }));
}
