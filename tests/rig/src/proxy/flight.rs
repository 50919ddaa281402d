use std::collections::VecDeque;

use tokio::time::Instant;

use super::queue::MERGE;

/// The bytes of one direction that its sender has sent and nobody has acknowledged yet. A real
/// sender has at most a window of them; the proxy's own sockets acknowledge everything at once.
#[derive(Debug, Default)]
pub(super) struct Flight {
    bytes: usize,
    /// When the acknowledgements of delivered bytes arrive at the sender, in order.
    acks: VecDeque<(Instant, usize)>,
}

impl Flight {
    /// Counts bytes taken from the sender.
    pub(super) fn take(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Counts bytes given to the receiver, whose acknowledgement arrives at `ack`.
    pub(super) fn deliver(&mut self, bytes: usize, ack: Instant) {
        match self.acks.back_mut() {
            Some((last, count)) if ack.saturating_duration_since(*last) < MERGE => *count += bytes,
            _ => self.acks.push_back((ack, bytes)),
        }
    }

    /// Returns how many bytes the sender may send now. Little room is none: as TCP does, the sender
    /// waits until a piece of some size fits.
    pub(super) fn room(&mut self, window: usize, now: Instant) -> usize {
        while let Some((ack, bytes)) = self.acks.front().copied()
            && ack <= now
        {
            self.bytes = self.bytes.saturating_sub(bytes);
            self.acks.pop_front();
        }
        let room = window.saturating_sub(self.bytes);
        if room < window.div_ceil(8) { 0 } else { room }
    }

    /// Returns when the next acknowledgement arrives.
    pub(super) fn next_ack(&self) -> Option<Instant> {
        self.acks.front().map(|(ack, _)| *ack)
    }

    /// Forgets everything: there is no window now.
    pub(super) fn clear(&mut self) {
        self.bytes = 0;
        self.acks.clear();
    }
}
