//! The trace of a run, as a hash and as lines.

use std::collections::VecDeque;

/// A running hash of everything that happened, and the last lines.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    last: VecDeque<String>,
}

impl Default for Trace {
    fn default() -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, last: VecDeque::new() }
    }
}

impl Trace {
    /// Adds a line.
    pub fn push(&mut self, line: String) {
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.last.len() >= trace_lines() {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// Returns the hash of everything that happened so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Returns the last lines.
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
