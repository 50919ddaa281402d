//! Clients for requests beside the data path.

use std::sync::{Arc, Mutex};

use strait_flow::ports::PortError;

use strait_flow::lock;

use crate::config::{ClusterConfig, Settings};
use crate::error::{blocking, port_error_because};
use crate::ffi::{Client, ClientKind, FfiError};

/// Creates a client that neither reads nor writes records.
pub(crate) fn connect(cluster: &ClusterConfig, label: &str) -> Result<Client, FfiError> {
    let mut settings = Settings::of(cluster, &format!("strait-{}", label.replace('/', "-")));
    settings.set("allow.auto.create.topics", "false");
    Client::new(ClientKind::Producer, label, &settings, None)
}

/// A client that is created when it is first used.
pub(crate) struct LazyClient {
    cluster: ClusterConfig,
    label: String,
    /// The beginning of its errors.
    pub(crate) context: String,
    client: Mutex<Option<Arc<Client>>>,
}

impl LazyClient {
    pub(crate) fn new(cluster: &ClusterConfig, label: String, context: String) -> Self {
        Self { cluster: cluster.clone(), label, context, client: Mutex::new(None) }
    }

    /// Returns the addresses of the cluster.
    pub(crate) fn servers(&self) -> &str {
        &self.cluster.bootstrap_servers
    }

    pub(crate) fn get(&self) -> Result<Arc<Client>, PortError> {
        let mut client = lock(&self.client);
        if let Some(client) = &*client {
            return Ok(Arc::clone(client));
        }
        let made = Arc::new(connect(&self.cluster, &self.label).map_err(|error| fail(&self.context, &error, None))?);
        *client = Some(Arc::clone(&made));
        Ok(made)
    }

    /// Asks the cluster from a blocking thread. An error comes with the trouble that the client
    /// reports until then. The question must end by itself in bounded time.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Client) -> Result<T, FfiError> + Send + 'static,
    ) -> Result<T, PortError> {
        let (client, context) = (self.get()?, self.context.clone());
        blocking(&self.context, move || question(&client).map_err(|error| fail(&context, &error, Some(&client))))
            .await?
    }
}

/// Returns the port error of a failed call, with the trouble that the client reported meanwhile.
pub(crate) fn fail(context: &str, error: &FfiError, client: Option<&Client>) -> PortError {
    let trouble = client.and_then(|client| {
        client.poll(std::time::Duration::ZERO);
        client.trouble()
    });
    port_error_because(context, error, trouble)
}
