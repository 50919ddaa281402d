//! The socket buffers of brokers, which limit a connection over a long line.

use std::collections::BTreeMap;
use std::time::Duration;

use strait_flow::ports::PortError;

use crate::config::ClusterConfig;
use crate::error::blocking;
use crate::ffi::{Code, FfiError};
use crate::lazy_client::{connect, fail};

/// The sizes of a broker's socket buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketBuffers {
    /// `socket.send.buffer.bytes`; `None` leaves it to the operating system.
    pub send: Option<u64>,
    /// `socket.receive.buffer.bytes`; `None` leaves it to the operating system.
    pub receive: Option<u64>,
}

/// Reads the settings of one of the cluster's brokers.
///
/// # Errors
/// [`PortError`] when the cluster does not answer, or does not tell.
pub async fn socket_buffers(cluster: &ClusterConfig, timeout: Duration) -> Result<SocketBuffers, PortError> {
    let (cluster, context) = (cluster.clone(), format!("broker settings of cluster {}", cluster.name));
    blocking(&context.clone(), move || {
        let client =
            connect(&cluster, &format!("{}/buffers", cluster.name)).map_err(|error| fail(&context, &error, None))?;
        let read = || {
            let broker = client.describe_cluster(timeout)?.a_broker;
            let broker = broker.ok_or_else(|| FfiError::new(Code::UNSUPPORTED_FEATURE, "it names no broker"))?;
            buffers(&client.broker_configs(broker, timeout)?)
        };
        read().map_err(|error| fail(&context, &error, Some(&client)))
    })
    .await?
}

fn buffers(settings: &BTreeMap<String, String>) -> Result<SocketBuffers, FfiError> {
    let size = |name: &str| {
        let text = settings.get(name).map(String::as_str).unwrap_or_default();
        // Providers hide settings: the name is there without a value, or not at all.
        let bytes: i64 =
            text.parse().map_err(|_| FfiError::new(Code::UNSUPPORTED_FEATURE, format!("it does not tell {name}")))?;
        Ok(u64::try_from(bytes).ok())
    };
    Ok(SocketBuffers { send: size("socket.send.buffer.bytes")?, receive: size("socket.receive.buffer.bytes")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(send: &str, receive: &str) -> Result<SocketBuffers, FfiError> {
        let of = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        buffers(&[of("socket.send.buffer.bytes", send), of("socket.receive.buffer.bytes", receive)].into())
    }

    #[test]
    fn minus_one_is_the_systems_choice_and_a_hidden_value_an_error() {
        let found = read("102400", "-1").unwrap();
        assert_eq!(found, SocketBuffers { send: Some(102_400), receive: None });
        assert!(read("102400", "").unwrap_err().text.contains("does not tell socket.receive.buffer.bytes"));
    }
}
