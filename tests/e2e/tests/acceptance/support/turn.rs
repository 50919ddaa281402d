//! Which scenarios run at the same time. A machine of CI has two cores, and each scenario starts
//! the product once or more.

use std::cell::RefCell;
use std::fs::File;
use std::sync::{Condvar, Mutex, MutexGuard, Once, PoisonError};

use super::clusters;

/// Two scenarios at a time, or more of those that mostly wait.
const PLACES: usize = 4;

static QUEUE: Mutex<Queue> = Mutex::new(Queue { free: PLACES, next: 0, serving: 0, lock: None });
static MOVED: Condvar = Condvar::new();
static HOOK: Once = Once::new();

thread_local! {
    /// The message of the panic that ended this thread's test.
    static FAILED_ON: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Scenarios are served in the order in which they asked, so that one that wants to be alone is not
/// overtaken for ever.
struct Queue {
    free: usize,
    next: u64,
    serving: u64,
    /// Held while a scenario of this process runs: other processes wait.
    lock: Option<File>,
}

fn queue() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Held while a scenario runs. A scenario that fails prints its reason again at the end, behind the
/// logs of the processes it started: of a long output often only the end is kept.
pub struct Turn {
    places: usize,
}

impl Turn {
    /// Waits until at most one other scenario runs, or two that mostly wait.
    pub fn beside_another() -> Self {
        Self::take(PLACES / 2)
    }

    /// Takes half of such a place: this one waits for intervals and time limits most of its time.
    pub fn waiting() -> Self {
        Self::take(PLACES / 4)
    }

    /// Waits until no other scenario runs: this one measures times, or needs the whole machine.
    pub fn alone() -> Self {
        Self::take(PLACES)
    }

    fn take(places: usize) -> Self {
        HOOK.call_once(record_panics);
        let mut queue = queue();
        let ticket = queue.next;
        queue.next += 1;
        while queue.serving != ticket || queue.free < places {
            queue = MOVED.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if queue.lock.is_none() {
            let lock = File::create(concat!(env!("CARGO_TARGET_TMPDIR"), "/acceptance.lock")).unwrap();
            lock.lock().unwrap();
            queue.lock = Some(lock);
        }
        queue.serving += 1;
        queue.free -= places;
        MOVED.notify_all();
        Self { places }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if std::thread::panicking() {
            clusters::keep_shared_logs();
            FAILED_ON.with_borrow(|message| eprintln!("--- the test failed on: {message}"));
        }
        let mut queue = queue();
        queue.free += self.places;
        if queue.free == PLACES {
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
