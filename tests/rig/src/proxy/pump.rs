//! One direction of one connection.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::{Counters, Toxics};

/// Most bytes of one read: large enough that system calls do not dominate.
const READ_BYTES: usize = 256 << 10;
/// Queued without delay or limit, where the receiver is slower than the sender.
const QUEUE_BYTES_MIN: usize = 1 << 20;
/// Reads that come closer together than this share a queue entry, so that tiny ones stay cheap.
const MERGE: Duration = Duration::from_micros(200);
const MERGE_BYTES: usize = 64 << 10;

/// When the throttled line of each direction is free again, for all connections of a proxy.
#[derive(Debug, Default)]
pub(super) struct Limits {
    free: [Mutex<Option<Instant>>; 2],
}

impl Limits {
    /// Reserves the line for `bytes` and returns when the last of them is through.
    fn reserve(&self, direction: usize, bytes: usize, rate: u64, now: Instant) -> Instant {
        if rate == 0 {
            return now;
        }
        let Some(free) = self.free.get(direction) else {
            return now;
        };
        let mut free = free.lock().unwrap_or_else(PoisonError::into_inner);
        let start = free.map_or(now, |free| free.max(now));
        let end = start + Duration::from_secs_f64(bytes as f64 / rate as f64);
        *free = Some(end);
        end
    }
}

/// The parts of one direction.
pub(super) struct Pump<'a> {
    pub direction: usize,
    pub toxics: watch::Receiver<Toxics>,
    pub counters: &'a Counters,
    pub limits: &'a Limits,
}

struct Chunk {
    due: Instant,
    bytes: Vec<u8>,
    sent: usize,
}

/// The settings that concern one direction.
#[derive(Clone, Copy)]
struct Setting {
    black_hole: bool,
    freeze: bool,
    delay: Duration,
    rate: u64,
    budget: usize,
    read_max: usize,
}

impl Pump<'_> {
    fn setting(&mut self) -> Setting {
        let toxics = *self.toxics.borrow_and_update();
        let delay = toxics.delay.get(self.direction).copied().unwrap_or_default();
        let rate = toxics.throttle.get(self.direction).copied().unwrap_or_default();
        let bandwidth = if rate == 0 { toxics.bandwidth } else { rate.min(toxics.bandwidth) };
        let in_flight = (bandwidth as f64 * delay.as_secs_f64()) as usize;
        // Under a limit the queue is what a router's buffer is: 50 ms of the line. Reads are small
        // then, so that the limit is smooth.
        let line = usize::try_from(rate / 20).unwrap_or(READ_BYTES);
        let (waiting, read_max) = if rate == 0 {
            (QUEUE_BYTES_MIN, READ_BYTES)
        } else {
            (line.max(4 << 10), (line / 4).clamp(1 << 10, READ_BYTES))
        };
        Setting {
            black_hole: toxics.black_hole,
            freeze: toxics.freeze,
            delay,
            rate,
            budget: in_flight + waiting,
            read_max,
        }
    }

    fn count(&self, bytes: usize) {
        if let Some(counter) = self.counters.bytes.get(self.direction) {
            counter.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }
}

/// Moves bytes until the reader's orderly end has been passed on.
///
/// # Errors
/// An error of either socket, or a stream torn by a black hole.
pub(super) async fn run(mut pump: Pump<'_>, mut reader: ReadHalf<'_>, mut writer: WriteHalf<'_>) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    let mut queue: VecDeque<Chunk> = VecDeque::new();
    let mut queued = 0;
    let mut at_end = false;
    let mut torn = false;
    loop {
        let setting = pump.setting();
        if torn && !setting.black_hole {
            return Err(io::Error::other("torn by a black hole"));
        }
        if setting.black_hole && !queue.is_empty() {
            queue.clear();
            queued = 0;
            torn = true;
        }
        if at_end && queue.is_empty() && !setting.freeze && !setting.black_hole {
            return writer.shutdown().await;
        }
        if setting.freeze {
            changed(&mut pump.toxics).await?;
            continue;
        }
        let room = buffer.get_mut(..setting.read_max).unwrap_or_default();
        let due = queue.front().map(|chunk| chunk.due);
        tokio::select! {
            biased;
            outcome = changed(&mut pump.toxics) => outcome?,
            written = write_due(&mut writer, queue.front(), due) => {
                let written = written?;
                pump.count(written);
                queued -= written;
                advance(&mut queue, written);
            }
            read = reader.read(room), if !at_end && queued < setting.budget => {
                let read = read?;
                let bytes = buffer.get(..read).unwrap_or_default();
                if bytes.is_empty() {
                    at_end = true;
                    continue;
                }
                if setting.black_hole {
                    torn = true;
                    continue;
                }
                let now = Instant::now();
                let mut rest = bytes;
                if queue.is_empty() && setting.delay.is_zero() && setting.rate == 0 {
                    let written = write_now(&writer, bytes)?;
                    pump.count(written);
                    rest = bytes.get(written..).unwrap_or_default();
                }
                if !rest.is_empty() {
                    let through = pump.limits.reserve(pump.direction, rest.len(), setting.rate, now);
                    queued += rest.len();
                    enqueue(&mut queue, rest, through + setting.delay);
                }
            }
        }
    }
}

async fn changed(toxics: &mut watch::Receiver<Toxics>) -> io::Result<()> {
    toxics.changed().await.map_err(io::Error::other)
}

/// Writes part of the first chunk once it is due; never done while there is none.
async fn write_due(writer: &mut WriteHalf<'_>, chunk: Option<&Chunk>, due: Option<Instant>) -> io::Result<usize> {
    let (Some(chunk), Some(due)) = (chunk, due) else {
        return std::future::pending().await;
    };
    if due > Instant::now() {
        sleep_until(due).await;
    }
    writer.write(chunk.bytes.get(chunk.sent..).unwrap_or_default()).await
}

/// Writes what the socket takes at once.
fn write_now(writer: &WriteHalf<'_>, bytes: &[u8]) -> io::Result<usize> {
    match writer.try_write(bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        outcome => outcome,
    }
}

fn advance(queue: &mut VecDeque<Chunk>, written: usize) {
    let Some(chunk) = queue.front_mut() else {
        return;
    };
    chunk.sent += written;
    if chunk.sent == chunk.bytes.len() {
        queue.pop_front();
    }
}

/// Appends bytes; a shorter delay than before never lets them overtake.
fn enqueue(queue: &mut VecDeque<Chunk>, bytes: &[u8], due: Instant) {
    if let Some(last) = queue.back_mut() {
        if last.bytes.len() + bytes.len() <= MERGE_BYTES && due.saturating_duration_since(last.due) < MERGE {
            last.bytes.extend_from_slice(bytes);
            return;
        }
        let due = due.max(last.due);
        queue.push_back(Chunk { due, bytes: bytes.to_vec(), sent: 0 });
        return;
    }
    queue.push_back(Chunk { due, bytes: bytes.to_vec(), sent: 0 });
}
