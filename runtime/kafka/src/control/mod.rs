//! The control topic of a link on its target: written by the coordinator alone, under its one
//! transactional id, and read by every process.

mod tail;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use strait_core::control::{CONTROL_PARTITION, Control, control_topic};
use strait_flow::ports::{ControlLog, ControlTail, ControlWriter, PortError};

use self::tail::KafkaControlTail;
use self::writer::KafkaControlWriter;
use crate::config::{ClusterConfig, Settings, TargetTuning, own_topic_reader};
use crate::error::{blocking, is_gone_topic, port_error_because};
use crate::ffi::{Consumer, FfiError};
use crate::own_topic::OwnPartition;

/// A [`ControlLog`] on the link's target.
#[derive(Clone)]
pub struct KafkaControl {
    cluster: ClusterConfig,
    link: String,
    /// Prefix of the transactional id.
    prefix: String,
    /// How long a request may take, and how long a read may go without a new offset.
    timeout: Duration,
}

/// Keeps an id from being initialised after nobody waits for it any more.
struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl KafkaControl {
    /// Creates the control topic of a link on its target cluster.
    #[must_use]
    pub fn new(cluster: &ClusterConfig, link: &str, timeout: Duration) -> Self {
        let prefix = TargetTuning::default().transactional_id_prefix;
        Self { cluster: cluster.clone(), link: link.to_owned(), prefix, timeout }
    }

    fn context(&self, doing: &str) -> String {
        format!("link {}: {doing} {} on cluster {}", self.link, control_topic(&self.link), self.cluster.name)
    }

    fn settings(&self, part: &str) -> Settings {
        own_topic_reader(&self.cluster, &self.link, &format!("strait-{}-{part}", self.link))
    }

    /// Returns what the topic says by now; nothing where it does not exist. Waits for no open
    /// transaction.
    ///
    /// # Errors
    /// [`PortError`].
    pub async fn said(&self) -> Result<Control, PortError> {
        let control = self.clone();
        let said = blocking(&self.context("reading"), move || control.read_blocking(false)).await?;
        said.or_else(|error| if is_gone_topic(&error) { Ok(Control::default()) } else { Err(error) })
    }

    /// Reads the topic. `waits` tells whether for transactions that are open.
    fn read_blocking(&self, waits: bool) -> Result<Control, PortError> {
        let (context, topic) = (self.context("reading"), control_topic(&self.link));
        let fail = |error: &FfiError, consumer: Option<&Consumer>| {
            port_error_because(context.clone(), error, consumer.and_then(|consumer| consumer.client().trouble()))
        };
        let label = format!("{}/control", self.link);
        let mut consumer = Consumer::new(&label, &self.settings("control")).map_err(|error| fail(&error, None))?;
        let partition = OwnPartition { topic: &topic, partition: CONTROL_PARTITION, waits, timeout: self.timeout };
        let mut control = Control::default();
        let read = partition.read(&mut consumer, &mut |message| {
            if let Err(error) = control.apply(message.key().unwrap_or_default(), message.value()) {
                tracing::warn!(link = self.link, offset = message.offset(), %error, "left out a control record");
            }
        });
        read.map_err(|error| fail(&error, Some(&consumer)))?;
        Ok(control)
    }
}

#[async_trait]
impl ControlLog for KafkaControl {
    async fn take(&self) -> Result<Box<dyn ControlWriter>, PortError> {
        let (control, given_up) = (self.clone(), Arc::new(AtomicBool::new(false)));
        let waits = GivenUp(Arc::clone(&given_up));
        let context = self.context("taking");
        let taken = blocking(&context, move || {
            let Self { cluster, link, prefix, .. } = &control;
            KafkaControlWriter::take(cluster, link, prefix, &given_up)
        });
        let writer = taken.await??;
        drop(waits);
        Ok(Box::new(writer))
    }

    async fn read(&self) -> Result<Control, PortError> {
        let control = self.clone();
        blocking(&self.context("reading"), move || control.read_blocking(true)).await?
    }

    async fn follow(&self) -> Result<Box<dyn ControlTail>, PortError> {
        // Before the settings: what is exchanged in between makes another client.
        let rolls = self.cluster.access.client_rolls();
        let mut settings = self.settings("follow");
        // It is read for as long as the process lives, and one record a second is due.
        settings.set("fetch.wait.max.ms", 500);
        settings.set("queued.max.messages.kbytes", 4096);
        let (topic, timeout) = (control_topic(&self.link), self.timeout);
        let access = (self.cluster.access.clone(), rolls);
        let context = self.context("following");
        let label = format!("{}/follow", self.link);
        let doing = context.clone();
        let tail =
            blocking(&doing, move || KafkaControlTail::open(&label, &settings, access, &topic, context, timeout));
        Ok(Box::new(tail.await??))
    }

    async fn login_changed(&self) {
        if self.cluster.access.changes().changed().await.is_err() {
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use strait_flow::ports::Class;

    use super::*;
    use crate::access::Access;
    use crate::ffi::MockCluster;

    /// The settings of a client have the contents of certificates in them, so that only new
    /// settings have the new ones.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_reader_ends_when_certificates_are_exchanged() {
        let mock = MockCluster::start(1).unwrap();
        mock.create_topic("strait.rolled.control", 1).unwrap();
        let access = Access::default();
        let cluster = ClusterConfig {
            name: "mock".to_owned(),
            bootstrap_servers: mock.bootstrap_servers(),
            properties: BTreeMap::new(),
            access: access.clone(),
        };
        let control = KafkaControl::new(&cluster, "rolled", Duration::from_secs(30));
        let mut tail = control.follow().await.unwrap();
        assert_eq!(tail.next().await.unwrap(), []);
        access.set_files(BTreeMap::from([("ssl.ca.pem".to_owned(), "another".to_owned())]));
        access.roll_clients();
        let error = tail.next().await.unwrap_err();
        assert!(error.class == Class::Retry && error.reason.contains("have changed"), "{error}");
        assert_eq!(control.settings("follow").get("ssl.ca.pem"), Some("another"));
    }
}
