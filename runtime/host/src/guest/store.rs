//! The host's data in a guest's store: its bounds, its WASI and its output.

use super::limits::{GuestLimits, Limiter};
use super::wasi::{STDERR, STDOUT, Wasi};
use crate::api::v0_1::strait::plugin as old;
use crate::api::v0_2::strait::plugin::{host, types};
use crate::text::clean;

/// Messages of all calls of a batch; further ones are dropped.
const BATCH_LOGS_MAX: usize = 256;
/// Bytes of a message; the rest is cut. The interface promises this number.
const LOG_BYTES_MAX: usize = 1024;
/// Counters that a plugin may declare.
pub(crate) const COUNTERS_MAX: usize = 256;

/// A guest's messages and counts during a batch. They count only if the batch is accepted.
#[derive(Debug, Default)]
pub(crate) struct GuestOutput {
    pub(crate) logs: Vec<(host::Level, String)>,
    pub(crate) logs_left_out: u64,
    /// Sums by counter.
    pub(crate) counts: Vec<u64>,
    /// Records of the calls.
    pub(crate) records: u64,
}

impl GuestOutput {
    /// Adds the output of a successful call.
    pub(crate) fn absorb(&mut self, call: &mut Self) {
        self.logs_left_out += call.logs_left_out;
        for message in call.logs.drain(..) {
            if self.logs.len() < BATCH_LOGS_MAX {
                self.logs.push(message);
            } else {
                self.logs_left_out += 1;
            }
        }
        if self.counts.len() < call.counts.len() {
            self.counts.resize(call.counts.len(), 0);
        }
        for (sum, delta) in self.counts.iter_mut().zip(&call.counts) {
            *sum = sum.saturating_add(*delta);
        }
        call.clear();
    }

    pub(crate) fn clear(&mut self) {
        self.logs.clear();
        self.logs_left_out = 0;
        self.counts.fill(0);
        self.records = 0;
    }
}

/// The host's data in the store of one guest.
pub(crate) struct GuestState {
    pub(super) limiter: Limiter,
    log_lines_max: usize,
    pub(super) output: GuestOutput,
    pub(super) wasi: Wasi,
    /// The first line on standard error in this call: some languages write there why they abort.
    pub(super) first_warning: Option<String>,
    /// The number of its counters, once it is configured. `None` takes any number.
    pub(super) counters: Option<usize>,
    /// A counter that does not exist, in this call.
    pub(super) unknown_counter: Option<u32>,
}

impl GuestState {
    pub(super) fn new(limits: &GuestLimits) -> Self {
        Self {
            limiter: Limiter::new(limits),
            log_lines_max: limits.log_lines_max,
            output: GuestOutput::default(),
            wasi: Wasi::default(),
            first_warning: None,
            counters: None,
            unknown_counter: None,
        }
    }

    /// Returns what is wrong if the guest has counted with a counter that does not exist.
    pub(super) fn miscounted(&self) -> Option<String> {
        let (counter, counters) = (self.unknown_counter?, self.counters?);
        Some(format!("it adds to counter {counter}, and has {counters}, numbered from 0"))
    }

    /// Adds a message, from the log or from a standard stream.
    fn log_message(&mut self, level: host::Level, message: &str) {
        if self.output.logs.len() >= self.log_lines_max {
            self.output.logs_left_out += 1;
            return;
        }
        let message = clean(message, LOG_BYTES_MAX);
        if matches!(level, host::Level::Warn) && self.first_warning.is_none() {
            self.first_warning = Some(message.clone());
        }
        self.output.logs.push((level, message));
    }

    /// Logs the complete lines that the guest wrote to a standard stream.
    pub(super) fn log_written(&mut self, stream: u32, bytes: &[u8]) {
        let level = if stream == STDERR { host::Level::Warn } else { host::Level::Info };
        let room = self.log_lines_max.saturating_sub(self.output.logs.len());
        let (lines, left_out) = self.wasi.write(stream, bytes, room);
        self.output.logs_left_out += left_out;
        for line in lines {
            self.log_message(level, &line);
        }
    }

    /// Logs incomplete lines at the end of a call.
    pub(super) fn end_lines(&mut self) {
        for stream in [STDOUT, STDERR] {
            if self.wasi.has_open_line(stream) {
                self.log_written(stream, b"\n");
            }
        }
    }
}

impl host::Host for GuestState {
    fn log(&mut self, level: host::Level, message: String) {
        self.log_message(level, &message);
    }

    fn count(&mut self, counter: u32, delta: u64) {
        let index = counter as usize;
        if self.counters.is_some_and(|counters| index >= counters) {
            self.unknown_counter = Some(counter);
            return;
        }
        if index >= COUNTERS_MAX {
            return;
        }
        if self.output.counts.len() <= index {
            self.output.counts.resize(index + 1, 0);
        }
        if let Some(sum) = self.output.counts.get_mut(index) {
            *sum = sum.saturating_add(delta);
        }
    }
}

impl types::Host for GuestState {}

impl old::host::Host for GuestState {
    fn log(&mut self, level: old::host::Level, message: String) {
        let level = match level {
            old::host::Level::Trace => host::Level::Trace,
            old::host::Level::Debug => host::Level::Debug,
            old::host::Level::Info => host::Level::Info,
            old::host::Level::Warn => host::Level::Warn,
            old::host::Level::Error => host::Level::Error,
        };
        self.log_message(level, &message);
    }

    fn count(&mut self, counter: u32, delta: u64) {
        host::Host::count(self, counter, delta);
    }
}

impl old::types::Host for GuestState {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_lines_is_cut_and_counted() {
        let limits = GuestLimits { log_lines_max: 3, ..GuestLimits::default() };
        let mut state = GuestState::new(&limits);
        state.log_written(STDERR, &vec![b'\n'; 4 << 20]);
        assert_eq!((state.output.logs.len(), state.output.logs_left_out), (0, 0));
        state.log_written(STDERR, &b"x\n".repeat(1_000_000));
        state.log_written(STDOUT, b" \ny");
        state.end_lines();
        assert_eq!((state.output.logs.len(), state.output.logs_left_out), (3, 1_000_000 - 3 + 1));
    }

    #[test]
    fn a_flood_of_messages_is_cut_and_counted() {
        let limits = GuestLimits { log_lines_max: 3, ..GuestLimits::default() };
        let mut state = GuestState::new(&limits);
        for _ in 0..10 {
            host::Host::log(&mut state, host::Level::Info, "ä".repeat(4_000));
        }
        for counter in [0, 255, 256, u32::MAX] {
            host::Host::count(&mut state, counter, u64::MAX);
            host::Host::count(&mut state, counter, 1);
        }
        assert_eq!((state.output.logs.len(), state.output.logs_left_out), (3, 7));
        assert!(state.output.logs.iter().all(|(_, message)| message.len() <= LOG_BYTES_MAX + 3));
        assert_eq!((state.output.counts.len(), state.output.counts[255]), (256, u64::MAX));

        let mut batch = GuestOutput::default();
        for _ in 0..200 {
            batch.absorb(&mut GuestOutput {
                logs: state.output.logs.clone(),
                logs_left_out: 1,
                counts: vec![1],
                records: 0,
            });
        }
        assert_eq!((batch.logs.len(), batch.logs_left_out), (BATCH_LOGS_MAX, 200 + 600 - BATCH_LOGS_MAX as u64));
        assert_eq!(batch.counts, [200]);
    }
}
