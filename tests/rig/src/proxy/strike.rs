//! Strikes requests out of a broker's ApiVersions answer, as services do that speak Kafka's
//! protocol without transactions or without idempotent producers.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

const API_VERSIONS: i16 = 18;
const FRAME_BYTES_MAX: usize = 256 << 20;

/// API keys that a client must not see, one bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Struck(u128);

impl Struck {
    pub(super) fn new(keys: &[i16]) -> Self {
        let bits = keys.iter().filter_map(|key| u32::try_from(*key).ok()).filter(|key| *key < u128::BITS);
        Self(bits.fold(0, |all, bit| all | (1 << bit)))
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn has(self, key: i16) -> bool {
        u32::try_from(key).is_ok_and(|key| key < u128::BITS && self.0 & (1 << key) != 0)
    }
}

/// Passes on requests and answers one by one, until either side ends.
///
/// # Errors
/// An error of either socket, or a frame that is none.
pub(super) async fn run(client: &mut TcpStream, server: &mut TcpStream, struck: Struck) -> io::Result<()> {
    let asked = Asked::default();
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let there = pass(from_client, to_server, |frame| {
        asked.see(&frame);
        frame
    });
    let back = pass(from_server, to_client, |frame| match asked.version_of(&frame) {
        Some(version) => without(&frame, version, struck).unwrap_or(frame),
        None => frame,
    });
    tokio::try_join!(there, back).map(|_| ())
}

async fn pass(
    mut reader: ReadHalf<'_>,
    mut writer: WriteHalf<'_>,
    change: impl Fn(Vec<u8>) -> Vec<u8>,
) -> io::Result<()> {
    loop {
        let length = match reader.read_u32().await {
            Ok(length) => length as usize,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return writer.shutdown().await,
            Err(error) => return Err(error),
        };
        if length > FRAME_BYTES_MAX {
            return Err(io::Error::other(format!("a frame of {length} bytes")));
        }
        let mut frame = vec![0; length];
        reader.read_exact(&mut frame).await?;
        let frame = change(frame);
        let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
        writer.write_all(&[&length.to_be_bytes()[..], &frame].concat()).await?;
    }
}

/// The versions of the ApiVersions requests that have no answer yet, by correlation id.
#[derive(Default)]
struct Asked(Mutex<BTreeMap<[u8; 4], i16>>);

impl Asked {
    fn see(&self, request: &[u8]) {
        let (Some(key), Some(version), Some(id)) = (int16(request, 0), int16(request, 2), correlation(request, 4))
        else {
            return;
        };
        if key == API_VERSIONS {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, version);
        }
    }

    fn version_of(&self, answer: &[u8]) -> Option<i16> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&correlation(answer, 0)?)
    }
}

/// Returns an ApiVersions answer without the struck keys; `None` for one that reports an error or
/// that has another layout.
fn without(answer: &[u8], version: i16, struck: Struck) -> Option<Vec<u8>> {
    if int16(answer, 4)? != 0 {
        return None;
    }
    // Correlation id and error; then the list: before version 3 a count and entries of 6 bytes,
    // from then on the count plus one in a varint and entries with one byte of tags.
    let (count, entries_at, entry_bytes) = if version < 3 {
        let count = answer.get(6..10)?.try_into().ok().map(u32::from_be_bytes)?;
        (count as usize, 10, 6)
    } else {
        let count = *answer.get(6)?;
        (usize::from(count.checked_sub(1).filter(|_| count < 128)?), 7, 7)
    };
    let end = entries_at + count * entry_bytes;
    let entries = answer.get(entries_at..end)?.chunks_exact(entry_bytes);
    let kept: Vec<&[u8]> = entries.filter(|entry| int16(entry, 0).is_some_and(|key| !struck.has(key))).collect();
    let count = if version < 3 {
        u32::try_from(kept.len()).ok()?.to_be_bytes().to_vec()
    } else {
        vec![u8::try_from(kept.len() + 1).ok()?]
    };
    Some([answer.get(..6)?, &count, &kept.concat(), answer.get(end..)?].concat())
}

/// Returns the number in two bytes.
pub(super) fn int16(bytes: &[u8], at: usize) -> Option<i16> {
    Some(i16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn correlation(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..at + 4)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_struck_from_both_layouts() {
        let struck = Struck::new(&[22, 24]);
        let entry = |key: i16, tags: &[u8]| [&key.to_be_bytes()[..], &[0, 0, 0, 9], tags].concat();
        let head = [0, 0, 0, 7, 0, 0];
        let throttle = [0, 0, 0, 0];
        let list = |keys: &[i16], tags: &[u8]| keys.iter().flat_map(|key| entry(*key, tags)).collect::<Vec<u8>>();
        let old = |keys: &[i16]| [&head[..], &[0, 0, 0, keys.len() as u8], &list(keys, &[]), &throttle].concat();
        let new = |keys: &[i16]| [&head[..], &[keys.len() as u8 + 1], &list(keys, &[0]), &throttle, &[0]].concat();
        assert_eq!(without(&old(&[0, 22, 23, 24]), 2, struck), Some(old(&[0, 23])));
        assert_eq!(without(&new(&[0, 22, 23, 24]), 4, struck), Some(new(&[0, 23])));
        let refused = [0, 0, 0, 7, 0, 35, 0, 0, 0, 0];
        assert_eq!(without(&refused, 4, struck), None);
    }
}
