use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::WriteHalf;
use tokio::time::{Instant, sleep_until};

/// Pieces that come closer together than this share an entry, so that tiny ones stay cheap.
pub(super) const MERGE: Duration = Duration::from_micros(200);
const MERGE_BYTES: usize = 64 << 10;

#[derive(Debug)]
struct Chunk {
    due: Instant,
    bytes: Vec<u8>,
    sent: usize,
}

/// Bytes on their way, in order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    chunks: VecDeque<Chunk>,
    bytes: usize,
}

impl Queue {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.chunks.clear();
        self.bytes = 0;
    }

    /// Appends bytes; a shorter delay than before never lets them overtake.
    pub(super) fn push(&mut self, bytes: &[u8], due: Instant) {
        self.bytes += bytes.len();
        let mut due = due;
        if let Some(last) = self.chunks.back_mut() {
            if last.bytes.len() + bytes.len() <= MERGE_BYTES && due.saturating_duration_since(last.due) < MERGE {
                last.bytes.extend_from_slice(bytes);
                return;
            }
            due = due.max(last.due);
        }
        self.chunks.push_back(Chunk { due, bytes: bytes.to_vec(), sent: 0 });
    }

    /// Writes part of the first chunk once it is due and returns its length; never done while there
    /// is none. Nothing is taken off: [`Queue::advance`] does that.
    pub(super) async fn write_due(&self, writer: &mut WriteHalf<'_>) -> io::Result<usize> {
        let Some(chunk) = self.chunks.front() else {
            return std::future::pending().await;
        };
        if chunk.due > Instant::now() {
            sleep_until(chunk.due).await;
        }
        writer.write(chunk.bytes.get(chunk.sent..).unwrap_or_default()).await
    }

    /// Takes written bytes off the front.
    pub(super) fn advance(&mut self, written: usize) {
        let Some(chunk) = self.chunks.front_mut() else {
            return;
        };
        self.bytes -= written;
        chunk.sent += written;
        if chunk.sent == chunk.bytes.len() {
            self.chunks.pop_front();
        }
    }
}
