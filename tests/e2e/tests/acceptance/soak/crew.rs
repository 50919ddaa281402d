//! The processes of a drill.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rand::RngExt as _;
use rand::rngs::StdRng;
use strait_e2e::{ConfigFolder, LogLine, Strait};

use super::Course;
use super::hands::between;
use crate::support::SOON;

/// The processes of a drill, and the logs of those that are gone.
pub struct Crew<'a> {
    config: &'a ConfigFolder,
    living: Mutex<Vec<Strait>>,
    past: Mutex<Vec<LogLine>>,
    changed: Mutex<Instant>,
}

impl<'a> Crew<'a> {
    pub fn start(config: &'a ConfigFolder, size: usize) -> Self {
        let living = (0..size).map(|index| start(config, index)).collect();
        Self { config, living: Mutex::new(living), past: Mutex::default(), changed: Mutex::new(Instant::now()) }
    }

    fn living(&self) -> MutexGuard<'_, Vec<Strait>> {
        self.living.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every line of every process.
    pub fn lines(&self) -> Vec<LogLine> {
        let mut lines = self.past.lock().unwrap_or_else(PoisonError::into_inner).clone();
        lines.extend(self.living().iter().flat_map(Strait::lines));
        lines
    }

    /// When a process last began, or went on after a standstill of its own.
    pub fn changed(&self) -> Instant {
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) {
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Fails if a process has ended by itself.
    #[track_caller]
    pub fn assert_alive(&self) {
        for strait in self.living().iter_mut() {
            assert!(strait.poll_end().unwrap().is_none(), "a process ended by itself: {}", strait.stderr());
        }
    }

    /// Starts another process in the place of one, after something was done to it.
    pub fn replace(&self, index: usize, before: impl FnOnce(&mut Strait)) {
        let mut living = self.living();
        let old = &mut living[index];
        before(old);
        self.past.lock().unwrap_or_else(PoisonError::into_inner).extend(old.lines());
        *old = start(self.config, index);
        self.change();
    }

    /// Ends every process in an orderly way.
    pub fn end(&self) {
        for strait in self.living().iter_mut() {
            strait.terminate().unwrap();
            assert_eq!(strait.wait_end(SOON).unwrap().code(), Some(0), "{}", strait.stderr());
        }
    }
}

fn start(config: &ConfigFolder, index: usize) -> Strait {
    Strait::run(&format!("process {index}"), config, &[]).unwrap()
}

/// Kills, ends and freezes processes, and starts others in their place.
pub fn processes(course: &Course, mut rng: StdRng, crew: &Crew<'_>) {
    while course.goes_on() {
        course.wait(between(&mut rng, 20_000..70_000));
        crew.assert_alive();
        let count = crew.living().len();
        let index = rng.random_range(0..count);
        match rng.random_range(0..3) {
            0 => {
                course.trace(format!("process {index}: killed"));
                crew.replace(index, |strait| strait.kill().unwrap());
            }
            1 => {
                course.trace(format!("process {index}: asked to end"));
                crew.replace(index, |strait| {
                    strait.terminate().unwrap();
                    // A process that cannot drain in time ends with an error; what it had in flight
                    // is aborted.
                    strait.wait_end(SOON).unwrap();
                });
            }
            _ => {
                let length = between(&mut rng, 2_000..20_000);
                course.trace(format!("process {index}: frozen for {length:.1?}"));
                crew.living()[index].pause().unwrap();
                course.wait(length);
                crew.living()[index].resume().unwrap();
                crew.change();
            }
        }
    }
}
