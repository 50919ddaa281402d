//! A counter that is told once a batch: telling it costs a call to the host.

use strait_plugin_sdk::count;

/// How often something happened in this batch.
#[derive(Default)]
pub struct Tally(u64);

impl Tally {
    /// Once more.
    pub fn add(&mut self) {
        self.0 += 1;
    }

    /// Tells the host, at the end of a batch, under the counter's place in `About::counters`.
    pub fn tell(&mut self, counter: u32) {
        if self.0 > 0 {
            count(counter, std::mem::take(&mut self.0));
        }
    }
}
