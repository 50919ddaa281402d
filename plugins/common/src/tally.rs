//! A counter that is reported once per batch, because reporting it costs a call of the host.

use strait_plugin_sdk::count;

/// Number of events in the current batch.
#[derive(Default)]
pub struct Tally(u64);

impl Tally {
    /// Counts one event.
    pub fn add(&mut self) {
        self.0 += 1;
    }

    /// Reports the sum to the host at the end of a batch. `counter` is the index in
    /// `Plugin::counters`.
    pub fn report(&mut self, counter: u32) {
        if self.0 > 0 {
            count(counter, std::mem::take(&mut self.0));
        }
    }
}
