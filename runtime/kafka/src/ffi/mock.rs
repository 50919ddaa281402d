//! librdkafka's mock cluster: brokers in this process that speak enough of the protocol for a
//! demonstration.

use std::ffi::c_int;
use std::ptr::NonNull;
use std::sync::Arc;

use rdkafka_sys::bindings as b;

use super::{Client, ClientKind, Code, FfiError, c_string, string};
use crate::config::Settings;

/// A running mock cluster. It accepts transactions but does not isolate them: it serves a
/// demonstration, not a proof.
pub struct MockCluster {
    cluster: NonNull<b::rd_kafka_mock_cluster_t>,
    /// The cluster runs on this instance's threads.
    _client: Arc<Client>,
}

// SAFETY: the cluster's functions send operations to its own thread and wait (`rdkafka_mock.c`).
unsafe impl Send for MockCluster {}
// SAFETY: as above.
unsafe impl Sync for MockCluster {}

impl MockCluster {
    /// Starts `brokers` brokers on loopback ports.
    ///
    /// # Errors
    /// [`FfiError`].
    pub fn start(brokers: u16) -> Result<Self, FfiError> {
        let client = Arc::new(Client::new(ClientKind::Producer, "mock", &Settings::default(), None)?);
        // SAFETY: live instance, which outlives the cluster (field order and drop).
        let cluster = unsafe { b::rd_kafka_mock_cluster_new(client.raw(), c_int::from(brokers)) };
        let Some(cluster) = NonNull::new(cluster) else {
            return Err(FfiError::new(Code::STATE, "the mock cluster cannot be started"));
        };
        Ok(Self { cluster, _client: client })
    }

    /// Returns the addresses of its brokers.
    #[must_use]
    pub fn bootstrap_servers(&self) -> String {
        // SAFETY: live cluster, which owns the string.
        unsafe { string(b::rd_kafka_mock_cluster_bootstraps(self.cluster.as_ptr())) }
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// [`FfiError`].
    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<(), FfiError> {
        let name = c_string(topic)?;
        // SAFETY: live cluster and name.
        let code = unsafe { b::rd_kafka_mock_topic_create(self.cluster.as_ptr(), name.as_ptr(), partitions, 1) };
        super::check(code as c_int)
    }
}

impl Drop for MockCluster {
    fn drop(&mut self) {
        // SAFETY: owned, before its instance.
        unsafe { b::rd_kafka_mock_cluster_destroy(self.cluster.as_ptr()) };
    }
}
