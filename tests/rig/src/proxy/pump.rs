//! One direction of one connection.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::flight::Flight;
use super::queue::Queue;
use super::strike::int16;
use super::{Counters, TO_BROKER, Toxics};

/// Most bytes of one read: large enough that system calls do not dominate.
const READ_BYTES: usize = 256 << 10;
/// Queued without delay or limit, where the receiver is slower than the sender.
const QUEUE_BYTES_MIN: usize = 1 << 20;

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

/// The settings that concern one direction.
#[derive(Clone, Copy)]
struct Setting {
    black_hole: bool,
    freeze: bool,
    delay: Duration,
    /// The delay of the way back, which acknowledgements take.
    delay_back: Duration,
    rate: u64,
    budget: usize,
    read_max: usize,
    /// Bytes that may be unacknowledged; 0 is unlimited.
    window: usize,
    cut_at: Option<i16>,
}

impl Pump<'_> {
    fn setting(&mut self) -> Setting {
        let toxics = *self.toxics.borrow_and_update();
        let delay = toxics.delay.get(self.direction).copied().unwrap_or_default();
        let delay_back = toxics.delay.get(1 - self.direction).copied().unwrap_or_default();
        let rate = toxics.throttle.get(self.direction).copied().unwrap_or_default();
        let window = toxics.window.get(self.direction).copied().unwrap_or_default();
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
            delay_back,
            rate,
            budget: in_flight + waiting,
            read_max,
            window,
            cut_at: toxics.cut_at.filter(|_| self.direction == TO_BROKER),
        }
    }

    fn count(&self, bytes: usize) {
        if let Some(counter) = self.counters.bytes.get(self.direction) {
            counter.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }
}

/// The bytes that one direction of a connection holds.
#[derive(Default)]
struct Line {
    queue: Queue,
    flight: Flight,
    at_end: bool,
    torn: bool,
}

impl Line {
    /// Returns how many bytes may be read now.
    fn room(&mut self, setting: &Setting) -> usize {
        let mut room = setting.read_max;
        if setting.window == 0 {
            self.flight.clear();
        } else {
            room = room.min(self.flight.room(setting.window, Instant::now()));
        }
        if self.at_end || self.queue.bytes() >= setting.budget { 0 } else { room }
    }

    /// Returns when there may be room again, if the window alone holds the sender back.
    fn wake(&self, setting: &Setting, room: usize) -> Option<Instant> {
        if room == 0 && !self.at_end && setting.window > 0 { self.flight.next_ack() } else { None }
    }

    fn delivered(&mut self, bytes: usize, setting: &Setting) {
        if setting.window > 0 {
            self.flight.deliver(bytes, Instant::now() + setting.delay_back);
        }
    }

    /// Takes in bytes that were read; returns how many of them went out at once.
    fn take(&mut self, bytes: &[u8], pump: &Pump<'_>, setting: &Setting, writer: &WriteHalf<'_>) -> io::Result<usize> {
        if setting.window > 0 {
            self.flight.take(bytes.len());
        }
        if bytes.is_empty() {
            self.at_end = true;
            return Ok(0);
        }
        if setting.black_hole {
            self.torn = true;
            return Ok(0);
        }
        let now = Instant::now();
        let at_once = self.queue.is_empty() && setting.delay.is_zero() && setting.rate == 0;
        let written = if at_once { write_now(writer, bytes)? } else { 0 };
        let rest = bytes.get(written..).unwrap_or_default();
        if !rest.is_empty() {
            let through = pump.limits.reserve(pump.direction, rest.len(), setting.rate, now);
            self.queue.push(rest, through + setting.delay);
        }
        Ok(written)
    }
}

/// Moves bytes until the reader's orderly end has been passed on.
///
/// # Errors
/// An error of either socket, or a stream torn by a black hole.
pub(super) async fn run(mut pump: Pump<'_>, mut reader: ReadHalf<'_>, mut writer: WriteHalf<'_>) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    let mut line = Line::default();
    loop {
        let setting = pump.setting();
        if line.torn && !setting.black_hole {
            return Err(io::Error::other("torn by a black hole"));
        }
        if setting.black_hole && !line.queue.is_empty() {
            line.queue.clear();
            line.torn = true;
        }
        if line.at_end && line.queue.is_empty() && !setting.freeze && !setting.black_hole {
            return writer.shutdown().await;
        }
        if setting.freeze {
            changed(&mut pump.toxics).await?;
            continue;
        }
        let room = line.room(&setting);
        let wake = line.wake(&setting, room);
        let free = buffer.get_mut(..room).unwrap_or_default();
        tokio::select! {
            biased;
            outcome = changed(&mut pump.toxics) => outcome?,
            written = line.queue.write_due(&mut writer) => {
                let written = written?;
                pump.count(written);
                line.queue.advance(written);
                line.delivered(written, &setting);
            }
            read = reader.read(free), if room > 0 => {
                let read = read?;
                let bytes = buffer.get(..read).unwrap_or_default();
                // A request begins with its length and its API key.
                if setting.cut_at.is_some() && setting.cut_at == int16(bytes, 4) {
                    return Err(io::Error::other("cut at a request"));
                }
                let written = line.take(bytes, &pump, &setting, &writer)?;
                if written > 0 {
                    pump.count(written);
                    line.delivered(written, &setting);
                }
            }
            () = until(wake) => {}
        }
    }
}

async fn changed(toxics: &mut watch::Receiver<Toxics>) -> io::Result<()> {
    toxics.changed().await.map_err(io::Error::other)
}

/// Waits for a moment; for ever if there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Writes what the socket takes at once.
fn write_now(writer: &WriteHalf<'_>, bytes: &[u8]) -> io::Result<usize> {
    match writer.try_write(bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        outcome => outcome,
    }
}
