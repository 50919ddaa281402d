//! Long drills, run by `./dev test soak`. Each is bounded, prints the seed of its random numbers
//! and a trace of what it does, and can be shortened by an environment variable.

mod behind;
mod crew;
mod damage;
mod everything;
mod hands;
mod hundred;
mod logins;
mod memory;
mod model;
mod secured;
mod slow_line;
mod stream;
mod thousand;
mod watch;
mod ways;

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Returns the seconds that a variable gives, or the usual ones.
fn seconds(variable: &str, usual: u64) -> Duration {
    let given = std::env::var(variable).ok().and_then(|text| text.parse().ok());
    Duration::from_secs(given.unwrap_or(usual))
}

/// The time of a drill, and its trace.
pub struct Course {
    began: Instant,
    length: Duration,
    ended: AtomicBool,
}

impl Course {
    fn new(length: Duration) -> Self {
        Self { began: Instant::now(), length, ended: AtomicBool::new(false) }
    }

    /// Reports whether there is time for another action.
    pub fn goes_on(&self) -> bool {
        self.began.elapsed() < self.length && !self.ended.load(Ordering::Relaxed)
    }

    /// Lets no further action begin: the drill is over, or one of its threads has failed.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Waits for this long, or for the end of the drill.
    pub fn wait(&self, pause: Duration) {
        let began = Instant::now();
        while self.goes_on() && began.elapsed() < pause {
            std::thread::sleep(Duration::from_millis(50).min(pause));
        }
    }

    /// Prints a line of the trace.
    pub fn trace(&self, what: impl Display) {
        println!("{:>7.1} {what}", self.began.elapsed().as_secs_f64());
    }
}

/// Ends the course if its thread panics, so that the others do not go on for half an hour.
pub struct EndsCourse<'a>(pub &'a Course);

impl Drop for EndsCourse<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.end();
        }
    }
}
