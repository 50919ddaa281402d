//! The reading side of a lane.
//!
//! One thread owns the consumer. It takes commands between two pulls and sends batches over a small
//! bounded channel. A full channel is the backpressure: the thread stops pulling, librdkafka's
//! queue fills up to its budget, and fetching stops.

mod pull;
mod reader;
mod scout;
mod search;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use strait_core::{PartitionKey, SourceOffset, TopicId};
use strait_flow::ports::{Class, Fetched, LogBounds, PortError, ReadEpoch, ReadFrom, Source, StartAt};
use tokio::sync::{mpsc, oneshot};

use crate::config::{ClusterConfig, SourceTuning, reader as reader_settings};
use crate::error::{ask, own, port_error};
use crate::ffi::{Client, Consumer, FfiError, OffsetSpec, Place};
use crate::queries::{self, Offsets};
use reader::{Command, Reader};

/// Batches that may wait for the lane: one being taken and one ready.
const READY_BATCHES: usize = 2;
/// How long closing may hold up the lane.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// A [`Source`] on librdkafka.
pub struct KafkaSource {
    context: String,
    timeout: Duration,
    commands: Option<mpsc::Sender<Command>>,
    fetched: mpsc::Receiver<Result<Fetched, PortError>>,
    thread: Option<JoinHandle<()>>,
    client: Arc<Client>,
}

impl KafkaSource {
    /// Starts the client and its thread. It connects in the background.
    ///
    /// # Errors
    /// [`PortError`] of class `Stop` when a setting is refused.
    pub fn new(cluster: &ClusterConfig, link: &str, lane: u32, tuning: &SourceTuning) -> Result<Self, PortError> {
        let context = format!("link {link}, lane {lane}: reading cluster {}", cluster.name);
        let settings = reader_settings(cluster, link, lane, tuning);
        let consumer = Consumer::new(&format!("{link}/{lane}/source"), &settings)
            .map_err(|error| port_error(context.clone(), &error))?;
        let client = Arc::clone(consumer.client());
        let (commands, command_queue) = mpsc::channel(8);
        let (batches, fetched) = mpsc::channel(READY_BATCHES);
        let reader = Reader::new(consumer, command_queue, batches, tuning.pull_bytes, settings, context.clone());
        let thread = std::thread::Builder::new()
            .name(format!("strait-read-{lane}"))
            .spawn(move || reader.run())
            .map_err(|error| own(Class::Retry, context.clone(), format!("cannot start a thread: {error}")))?;
        Ok(Self {
            context,
            timeout: tuning.request_timeout,
            commands: Some(commands),
            fetched,
            thread: Some(thread),
            client,
        })
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    async fn command(
        &self,
        make: impl FnOnce(oneshot::Sender<Result<(), FfiError>>) -> Command,
    ) -> Result<(), PortError> {
        let gone = || own(Class::Retry, self.context.clone(), "the reading thread has ended");
        let (answer, answered) = oneshot::channel();
        let commands = self.commands.as_ref().ok_or_else(gone)?;
        commands.send(make(answer)).await.map_err(|_| gone())?;
        self.wake();
        let result = answered.await.map_err(|_| gone())?;
        result.map_err(|error| port_error(self.context.clone(), &error))
    }

    /// Sends a request to the brokers from a blocking thread.
    async fn ask<T: Send + 'static>(
        &self,
        what: &str,
        question: impl FnOnce(&Client, Duration) -> Result<T, FfiError> + Send + 'static,
    ) -> Result<T, PortError> {
        let (client, timeout) = (Arc::clone(&self.client), self.timeout);
        ask(format!("{}, {what}", self.context), client, move |client| question(client, timeout)).await
    }
}

fn places(partitions: &[PartitionKey]) -> Vec<Place> {
    partitions.iter().map(|key| Place::of(&*key.topic, key.partition)).collect()
}

fn offset_of(offsets: &Offsets, key: &PartitionKey) -> Option<i64> {
    offsets.get(&(key.topic.to_string(), key.partition)).copied()
}

#[async_trait]
impl Source for KafkaSource {
    async fn assign(&mut self, epoch: ReadEpoch, places: &[ReadFrom]) -> Result<(), PortError> {
        let places = places.to_vec();
        self.command(|answer| Command::Assign(epoch, places, answer)).await
    }

    async fn unassign(&mut self, partitions: &[PartitionKey]) -> Result<(), PortError> {
        let places = places(partitions);
        self.command(|answer| Command::Unassign(places, answer)).await
    }

    async fn next(&mut self) -> Result<Fetched, PortError> {
        let next = self.fetched.recv().await;
        // The channel has room for one more batch now.
        self.wake();
        next.unwrap_or_else(|| Err(own(Class::Retry, self.context.clone(), "the reading thread has ended")))
    }

    async fn bounds(&mut self, partitions: &[PartitionKey]) -> Result<BTreeMap<PartitionKey, LogBounds>, PortError> {
        let asked = places(partitions);
        let (start, stable, end) = self
            .ask("listing log bounds", move |client, timeout| {
                let list = |spec, committed| queries::list(client, &asked, spec, committed, timeout);
                Ok((
                    list(OffsetSpec::Earliest, false)?,
                    list(OffsetSpec::Latest, true)?,
                    list(OffsetSpec::Latest, false)?,
                ))
            })
            .await?;
        let bounds = |key: &PartitionKey| {
            Some(LogBounds {
                log_start: SourceOffset(offset_of(&start, key)?),
                last_stable: SourceOffset(offset_of(&stable, key)?),
                high_watermark: SourceOffset(offset_of(&end, key)?),
            })
        };
        Ok(partitions.iter().filter_map(|key| Some((key.clone(), bounds(key)?))).collect())
    }

    async fn resolve(
        &mut self,
        start: StartAt,
        partitions: &[PartitionKey],
    ) -> Result<BTreeMap<PartitionKey, Result<SourceOffset, PortError>>, PortError> {
        let asked = places(partitions);
        let mut found = self
            .ask("resolving the start", move |client, timeout| {
                let list = |spec| queries::list_each(client, &asked, spec, true, timeout);
                match start {
                    StartAt::Earliest => list(OffsetSpec::Earliest),
                    StartAt::Latest => list(OffsetSpec::Latest),
                    StartAt::Timestamp(ms) => {
                        let mut ends = list(OffsetSpec::Latest)?;
                        let mut found = list(OffsetSpec::Timestamp(ms))?;
                        for (key, answer) in &mut found {
                            if answer.as_ref().is_ok_and(|offset| *offset < 0)
                                && let Some(end) = ends.remove(key)
                            {
                                *answer = end;
                            }
                        }
                        Ok(found)
                    }
                }
            })
            .await?;
        let context = format!("{}, resolving the start", self.context);
        let answer = |key: &PartitionKey| {
            let answer = found.remove(&(key.topic.to_string(), key.partition))?;
            let answer = answer.map(SourceOffset).map_err(|error| port_error(context.clone(), &error));
            // Logical offsets are no positions. Such a partition is omitted, as if it did not
            // exist.
            let is_position = answer.as_ref().map_or(true, |offset| offset.0 >= 0);
            is_position.then(|| (key.clone(), answer))
        };
        Ok(partitions.iter().filter_map(answer).collect())
    }

    async fn topic_ids(&mut self, topics: &[Arc<str>]) -> Result<BTreeMap<Arc<str>, TopicId>, PortError> {
        let asked = topics.to_vec();
        self.ask("describing topics", move |client, timeout| queries::topic_ids(client, &asked, timeout)).await
    }

    async fn close(mut self: Box<Self>) {
        self.commands = None;
        self.fetched.close();
        self.wake();
        let Some(thread) = self.thread.take() else { return };
        let joined = tokio::time::timeout(CLOSE_TIMEOUT, tokio::task::spawn_blocking(move || thread.join())).await;
        match joined {
            Ok(Ok(Ok(()))) => {}
            Ok(_) => tracing::error!("{}: the reading thread panicked", self.context),
            Err(_) => tracing::warn!("{}: closing takes longer than {CLOSE_TIMEOUT:?}", self.context),
        }
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        // The thread ends by itself once its channels are closed. Nothing waits for it.
        self.commands = None;
        self.fetched.close();
        self.wake();
    }
}
