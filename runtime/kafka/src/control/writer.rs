//! The coordinator's producer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use strait_core::control::{CONTROL_PARTITION, ControlRecord, control_topic, coordinator_id};
use strait_flow::ports::{Class, ControlWriter, PortError};

use crate::access::Access;
use crate::config::{ClusterConfig, TargetTuning, writer};
use crate::error::{blocking, class_of, drop_blocking, own};
use crate::ffi::{Code, FfiError, Handle, Observer, OutMessage, Producer};
use crate::target::{init_error, producer_error};

/// How long one transaction may take.
const COMMIT_MAX: Duration = Duration::from_secs(8);
/// How long aborting one may take. Nothing waits for its end.
const ABORT_MAX: Duration = Duration::from_secs(2);
/// `transaction.timeout.ms`: what a process that died has left open ends by then.
const TRANSACTION: Duration = Duration::from_secs(10);
/// Most time for initialising the id. The coordinator retries after it.
const TAKE_MAX: Duration = Duration::from_secs(20);
/// Longest call into the client, which keeps trying between two calls.
const CALL_MAX: Duration = Duration::from_secs(2);

/// An observer of a producer whose delivery reports nobody needs: a record that is not written
/// fails its transaction.
struct Quiet;

impl Observer for Quiet {}

/// A [`ControlWriter`] that has initialised the coordinator's id.
pub(super) struct KafkaControlWriter {
    /// `None` once it is being destroyed.
    producer: Option<Arc<Producer>>,
    topic: Handle,
    context: String,
    access: Access,
    /// The rolls of the access when the producer was made.
    rolls: u64,
}

impl KafkaControlWriter {
    /// Initialises the id. Blocks for a bounded time, and gives up soon after `given_up` is set.
    pub fn take(cluster: &ClusterConfig, link: &str, prefix: &str, given_up: &AtomicBool) -> Result<Self, PortError> {
        let id = coordinator_id(prefix, link);
        let context = format!("link {link}: transactional id {id} on cluster {}", cluster.name);
        // A list of topics in parts must fit the topic's batches, 1 MiB by default.
        let tuning = TargetTuning {
            transaction_timeout: TRANSACTION,
            batch_bytes: 256 << 10,
            queue_bytes: 64 << 20,
            queue_records: 10_000,
            ..TargetTuning::default()
        };
        let rolls = cluster.access.client_rolls();
        let settings = writer(cluster, &format!("strait-{link}-coordinator"), &tuning, Some(&id));
        let producer = Producer::new(&format!("{link}/coordinator"), &settings, Arc::new(Quiet), || {})
            .map_err(|error| producer_error(context.clone(), &error))?;
        initialise(&producer, &context, given_up)?;
        let topic = producer.open(&control_topic(link)).map_err(|error| producer_error(context.clone(), &error))?;
        Ok(Self { producer: Some(Arc::new(producer)), topic, context, access: cluster.access.clone(), rolls })
    }
}

fn initialise(producer: &Producer, context: &str, given_up: &AtomicBool) -> Result<(), PortError> {
    let began = Instant::now();
    loop {
        if given_up.load(Ordering::Acquire) {
            return Err(own(Class::Retry, context, "the link is not to be coordinated here any more"));
        }
        // librdkafka keeps trying between the calls.
        let Err(error) = producer.init_transactions(CALL_MAX) else { return Ok(()) };
        // A client whose login is refused would log in every second or so.
        let refused = producer.client().trouble().is_some_and(|trouble| class_of(trouble.code) == Class::Login);
        if refused || began.elapsed() >= TAKE_MAX || producer_error(context, &error).class != Class::Retry {
            return Err(init_error(producer.client(), context, &error));
        }
        tracing::debug!("{context}: {error}, still initialising");
    }
}

fn commit(producer: &Producer, topic: Handle, records: &[ControlRecord]) -> Result<(), FfiError> {
    producer.begin_transaction()?;
    for record in records {
        let (key, value) = record.encode();
        let (key, value) = (Some(&*key), value.as_deref());
        producer.produce(
            &OutMessage { topic, partition: CONTROL_PARTITION, key, value, timestamp_ms: 0, token: 0 },
            None,
        )?;
    }
    producer.commit_transaction(COMMIT_MAX)
}

#[async_trait]
impl ControlWriter for KafkaControlWriter {
    async fn commit(&mut self, records: &[ControlRecord]) -> Result<(), PortError> {
        if self.access.client_rolls() != self.rolls {
            let reason = "the certificates of the cluster have changed, and the client is made anew";
            return Err(own(Class::Retry, self.context.clone(), reason));
        }
        let Some(producer) = self.producer.clone() else {
            return Err(own(Class::Retry, self.context.clone(), "the producer is gone"));
        };
        let (topic, records, context) = (self.topic, records.to_vec(), self.context.clone());
        blocking(&self.context, move || {
            let Err(error) = commit(&producer, topic, &records) else { return Ok(()) };
            let port = init_error(producer.client(), &context, &error);
            if port.class != Class::Fenced
                && error.code != Code::STATE
                && let Err(error) = producer.abort_transaction(ABORT_MAX)
            {
                tracing::debug!("{context}: abort: {error}");
            }
            Err(port)
        })
        .await?
    }
}

impl Drop for KafkaControlWriter {
    fn drop(&mut self) {
        drop_blocking(self.producer.take());
    }
}
