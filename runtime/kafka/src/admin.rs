//! Short-lived clients for questions and changes beside the data path.

use strait_flow::ports::PortError;

use crate::config::{ClusterConfig, Settings};
use crate::error::port_error_because;
use crate::ffi::{Client, ClientKind, FfiError};

/// A client that neither reads nor writes records.
pub(crate) fn connect(cluster: &ClusterConfig, label: &str) -> Result<Client, FfiError> {
    let mut settings = Settings::of(cluster, &format!("strait-{}", label.replace('/', "-")));
    settings.set("allow.auto.create.topics", "false");
    Client::new(ClientKind::Producer, label, &settings, None)
}

/// The port error of a failed call, with what the client heard meanwhile.
pub(crate) fn fail(context: &str, error: &FfiError, client: Option<&Client>) -> PortError {
    let trouble = client.and_then(|client| {
        client.poll(std::time::Duration::ZERO);
        client.trouble()
    });
    port_error_because(context, error, trouble)
}
