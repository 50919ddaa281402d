//! The two requests of Kafka's protocol that tell whether a broker is ready
//! (<https://kafka.apache.org/protocol>): ApiVersions v0 and Metadata v4, both before flexible
//! versions.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::ClusterError;

const API_VERSIONS: i16 = 18;
const METADATA: i16 = 3;
const ANSWER_BYTES_MAX: usize = 4 << 20;
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Node ids of the brokers that the broker at `address` knows to be alive.
pub(crate) async fn live_brokers(address: SocketAddr) -> Result<Vec<usize>, ClusterError> {
    timeout(PROBE_TIMEOUT, probe(address)).await.unwrap_or_else(|_| {
        Err(ClusterError::Wire {
            address: address.to_string(),
            reason: format!("nothing within {} s", PROBE_TIMEOUT.as_secs()),
        })
    })
}

async fn probe(address: SocketAddr) -> Result<Vec<usize>, ClusterError> {
    let io = |what: &'static str| ClusterError::io(format!("{what} {address}"));
    let malformed = || ClusterError::Wire { address: address.to_string(), reason: "a malformed response".into() };

    let mut stream = TcpStream::connect(address).await.map_err(io("connecting to"))?;
    let versions = exchange(&mut stream, API_VERSIONS, 0, &[]).await.map_err(io("asking ApiVersions of"))?;
    let error = Reader(&versions).i16().ok_or_else(malformed)?;
    if error != 0 {
        return Err(ClusterError::Wire {
            address: address.to_string(),
            reason: format!("ApiVersions with error {error}"),
        });
    }
    // No topics (an empty array), no auto creation.
    let metadata = exchange(&mut stream, METADATA, 4, &[0, 0, 0, 0, 0]).await.map_err(io("asking Metadata of"))?;
    Reader(&metadata).broker_ids().ok_or_else(malformed)
}

/// Sends one request and returns the response after its correlation id.
async fn exchange(stream: &mut TcpStream, api: i16, version: i16, body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut request = Vec::with_capacity(32);
    request.extend_from_slice(&api.to_be_bytes());
    request.extend_from_slice(&version.to_be_bytes());
    request.extend_from_slice(&1_i32.to_be_bytes());
    // The client id.
    request.extend_from_slice(&3_i16.to_be_bytes());
    request.extend_from_slice(b"rig");
    request.extend_from_slice(body);
    let length = u32::try_from(request.len()).map_err(std::io::Error::other)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&request).await?;

    let length = stream.read_u32().await? as usize;
    if !(4..=ANSWER_BYTES_MAX).contains(&length) {
        return Err(std::io::Error::other(format!("a response of {length} bytes")));
    }
    stream.read_i32().await?;
    let mut response = vec![0; length - 4];
    stream.read_exact(&mut response).await?;
    Ok(response)
}

/// Reads big-endian fields off the front of a response.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn i16(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    /// Skips a string; a length of -1 is null.
    fn skip_string(&mut self) -> Option<()> {
        let length = usize::try_from(self.i16()?.max(0)).ok()?;
        self.0 = self.0.get(length..)?;
        Some(())
    }

    /// Metadata v4: throttle time, then the brokers as (node id, host, port, rack).
    fn broker_ids(&mut self) -> Option<Vec<usize>> {
        self.i32()?;
        let count = self.i32()?;
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(usize::try_from(self.i32()?).ok()?);
            self.skip_string()?;
            self.i32()?;
            self.skip_string()?;
        }
        Some(ids)
    }
}
