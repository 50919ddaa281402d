//! A connection with a deadline, and the one request that every broker answers.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// Most addresses of a name that are tried.
const ADDRESSES_MAX: usize = 3;
/// Longest answer that a broker may announce.
const ANSWER_MAX: u32 = 1 << 20;
/// ApiVersions, version 0, without a client id: key, version, number of the request.
const API_VERSIONS: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
/// The number of the request, which the answer repeats.
const NUMBER: u32 = 1;

/// The kinds of TLS records that a server begins with: a handshake, or an alert.
const TLS_RECORDS: [u8; 2] = [0x16, 0x15];

/// A connection, every call on which ends by the deadline.
#[derive(Debug)]
pub(super) struct Bounded {
    stream: TcpStream,
    until: Instant,
    first: Option<u8>,
}

impl Bounded {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// The system's error for the last address.
    pub fn connect(address: &str, until: Instant) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in address.to_socket_addrs()?.take(ADDRESSES_MAX) {
            match TcpStream::connect_timeout(&address, left(until)?) {
                Ok(stream) => return Ok(Self { stream, until, first: None }),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Returns whether the other side has begun to speak TLS; `None` if it has said nothing.
    pub fn has_heard_tls(&self) -> Option<bool> {
        self.first.map(|first| TLS_RECORDS.contains(&first))
    }
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(left(self.until)?))?;
        let read = self.stream.read(buffer)?;
        if read > 0 && self.first.is_none() {
            self.first = buffer.first().copied();
        }
        Ok(read)
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(left(self.until)?))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Asks for the versions of requests, which needs no login.
///
/// # Errors
/// Those of the connection, or `InvalidData` for an answer that no broker gives.
pub(super) fn ask_versions(stream: &mut (impl Read + Write)) -> io::Result<()> {
    stream.write_all(&API_VERSIONS)?;
    stream.flush()?;
    let (mut size, mut number) = ([0; 4], [0; 4]);
    stream.read_exact(&mut size)?;
    stream.read_exact(&mut number)?;
    let is_answer = u32::from_be_bytes(number) == NUMBER && (4..=ANSWER_MAX).contains(&u32::from_be_bytes(size));
    if is_answer { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}
