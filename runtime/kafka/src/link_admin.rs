//! Fencing the lanes of a link that no process runs, and writing its progress outside of a lane.

use std::sync::Arc;
use std::time::{Duration, Instant};

use strait_core::PartitionKey;
use strait_core::progress::{ProgressKey, progress_topic};
use strait_flow::ports::{Class, PortError, Target};

use crate::config::{ClusterConfig, TargetTuning, writer};
use crate::error::own;
use crate::ffi::{FfiError, Observer, OutMessage, Producer};
use crate::lazy_client::fail;
use crate::target::KafkaTarget;

/// A lane, and a record of the progress topic as key and value.
pub(crate) type LaneEntry = (u32, (Vec<u8>, Vec<u8>));

/// An observer of a producer whose delivery reports nobody needs.
struct Quiet;

impl Observer for Quiet {}

/// A transactional producer on the progress topic. It has an id of its own, so that of two commands
/// one is fenced.
pub(crate) struct ProgressWriter {
    producer: Producer,
    topic: String,
    context: String,
    timeout: Duration,
}

impl ProgressWriter {
    pub fn new(cluster: &ClusterConfig, link: &str, tuning: &TargetTuning, context: &str) -> Result<Self, PortError> {
        let id = format!("{}.{link}.resize", tuning.transactional_id_prefix);
        let settings = writer(cluster, &format!("strait-{link}-resize"), tuning, Some(&id));
        let producer = Producer::new(&format!("{link}/resize"), &settings, Arc::new(Quiet), || {})
            .map_err(|error| fail(context, &error, None))?;
        let writer = Self {
            producer,
            topic: progress_topic(link),
            context: context.to_owned(),
            timeout: tuning.transaction_timeout,
        };
        writer.producer.init_transactions(writer.timeout).map_err(|error| writer.fail(&error))?;
        Ok(writer)
    }

    fn fail(&self, error: &FfiError) -> PortError {
        fail(&self.context, error, Some(self.producer.client()))
    }

    /// Waits until the producer knows of so many partitions. The broker that it asks may be behind
    /// the one asked before.
    pub fn refresh(&self, partitions: u32, timeout: Duration) -> Result<(), PortError> {
        self.producer.open(&self.topic).map_err(|error| self.fail(&error))?;
        let deadline = Instant::now() + timeout;
        loop {
            let known =
                self.producer.client().metadata(Some(&self.topic), timeout).map_err(|error| self.fail(&error))?;
            if known.iter().any(|(_, found, _)| found.unsigned_abs() >= partitions) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let reason = format!("{} does not show {partitions} partitions yet; run this again", self.topic);
                return Err(own(Class::Retry, self.context.clone(), reason));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Writes records and tombstones in one transaction.
    pub fn write(&self, records: Vec<LaneEntry>, gone: &[(u32, PartitionKey)]) -> Result<(), PortError> {
        self.producer.begin_transaction().map_err(|error| self.fail(&error))?;
        let written = self.produce(&records, gone);
        let ended =
            written.and_then(|()| self.producer.commit_transaction(self.timeout).map_err(|error| self.fail(&error)));
        if ended.is_err()
            && let Err(error) = self.producer.abort_transaction(self.timeout)
        {
            tracing::debug!("{}: abort: {error}", self.context);
        }
        ended
    }

    fn produce(&self, records: &[LaneEntry], gone: &[(u32, PartitionKey)]) -> Result<(), PortError> {
        let topic = self.producer.open(&self.topic).map_err(|error| self.fail(&error))?;
        let send = |lane: u32, key: &[u8], value: Option<&[u8]>| {
            let partition = i32::try_from(lane)
                .map_err(|_| own(Class::Stop, self.context.clone(), format!("lane {lane} is out of range")))?;
            let message =
                OutMessage { topic, partition, key: Some(key), value, timestamp_ms: 0, token: u64::from(lane) };
            self.producer.produce(&message, None).map_err(|error| self.fail(&error))
        };
        for (lane, (key, value)) in records {
            send(*lane, key, Some(value))?;
        }
        for (lane, key) in gone {
            let key = serde_json::to_vec(&ProgressKey::Partition(key.clone()))
                .map_err(|error| own(Class::Stop, self.context.clone(), error.to_string()))?;
            send(*lane, &key, None)?;
        }
        Ok(())
    }
}

/// Initialises the ids of every lane, which fences old owners and ends their transactions.
pub(crate) async fn fence(
    target: &ClusterConfig,
    link: &str,
    lanes: u32,
    tuning: &TargetTuning,
) -> Result<(), PortError> {
    if !tuning.exactly_once {
        return Ok(());
    }
    for lane in 0..lanes {
        let mut owner = KafkaTarget::new(target, link, lane, tuning);
        let taken = owner.take().await;
        owner.close(Duration::from_secs(5)).await;
        if !taken?.unfenced.is_empty() {
            let context = format!("link {link}, lane {lane}, cluster {}", target.name);
            let reason = "transactions of an earlier owner cannot end yet: a target partition has no leader, or fewer replicas in sync than min.insync.replicas; run it again when that is fixed";
            return Err(own(Class::Retry, context, reason));
        }
    }
    Ok(())
}
