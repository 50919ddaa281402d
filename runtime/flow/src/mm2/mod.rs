//! Topics for MirrorMaker 2's clients: heartbeats, checkpoints and offset syncs.
//!
//! The process that coordinates the link writes them, beside the coordinator and never on its way:
//! a task for each topic, which fails and retries alone. A process that is no coordinator any more
//! does no harm by what it writes late: heartbeats are signs of life, and the last checkpoint and
//! the last sync of a key win.

mod checkpoints;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use strait_core::map::offset_syncs::Pairs;
use strait_core::mm2::names::Mm2Topic;
use strait_core::mm2::{FormatError, Heartbeat};
use strait_core::{Event, Mm2Event};
use tokio::sync::watch;

pub use self::checkpoints::Checkpoints;
use self::checkpoints::checkpoint;
use crate::clock::millis;
use crate::ports::{Class, Clock, EventSink, MapFeed, Mm2Record, Mm2Writer, PortError};
use crate::retry::{LOGIN_RETRY, spread};
use crate::status::{CoordinatorState, LinkStatus};

/// Time between two heartbeats, and between two looks at what else there is to write.
const EVERY: Duration = Duration::from_secs(1);
/// Longest time since the coordinator's last transaction in which its process writes.
const ANNOUNCED: Duration = Duration::from_secs(5);
/// Minimum and maximum wait after a failure; doubles.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How long failures that may pass are not reported.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most records of one write.
const RECORDS_MAX: usize = 1_000;

/// The name that the link's naming gives a source topic.
pub type NameOfCopy = dyn Fn(&str) -> String + Send + Sync;

/// The topics that a link writes for MirrorMaker 2's clients, and with what.
#[derive(Clone)]
pub struct Mm2 {
    /// Name of the source cluster.
    pub source: Arc<str>,
    /// Name of the target cluster.
    pub target: Arc<str>,
    /// The topics to write.
    pub topics: Vec<Mm2Topic>,
    /// The name that the link's naming gives a source topic.
    pub copies: Arc<NameOfCopy>,
    /// Writes them.
    pub writer: Arc<dyn Mm2Writer>,
    /// The link's offset map, from which the offset syncs are made.
    pub map: Arc<dyn MapFeed>,
    /// The answers for groups, from which the checkpoints are made.
    pub checkpoints: Arc<Checkpoints>,
}

/// Writes the topics while this process coordinates the link.
pub(crate) struct Writing<'a> {
    pub mm2: &'a Mm2,
    pub link: &'a str,
    /// Whether the link has a coordinator. On a target without transactions it has none, and the
    /// process with lane 0 writes.
    pub has_coordinator: bool,
    pub has_lane: watch::Receiver<bool>,
    pub clock: &'a dyn Clock,
    pub events: &'a dyn EventSink,
    pub status: &'a LinkStatus,
}

/// How long a topic has been failing, and what was said about it.
#[derive(Default)]
struct Failing {
    since: Option<Duration>,
    is_reported: bool,
    /// A record could not be written: that the topic is there proves nothing.
    at_write: bool,
    wait: Duration,
}

impl Writing<'_> {
    /// Writes for ever.
    pub async fn run(&self) {
        tokio::join!(
            self.keep(Mm2Topic::Heartbeats),
            self.keep(Mm2Topic::SourceHeartbeats),
            self.keep(Mm2Topic::Checkpoints),
            self.keep(Mm2Topic::OffsetSyncs),
        );
    }

    fn is_on_duty(&self) -> bool {
        if !self.has_coordinator {
            return *self.has_lane.borrow();
        }
        let known = self.status.coordinator();
        let is_recent = |at| self.clock.now().saturating_sub(at) < ANNOUNCED;
        known.state == CoordinatorState::Coordinating && known.ticked_at.is_some_and(is_recent)
    }

    async fn keep(&self, topic: Mm2Topic) {
        if !self.mm2.topics.contains(&topic) {
            return;
        }
        let mut failing = Failing::default();
        loop {
            if !self.is_on_duty() {
                // Another process writes it, and reports what goes wrong.
                failing = Failing::default();
                self.status.mm2_mut(topic, |figures| figures.failing = None);
                tokio::time::sleep(EVERY).await;
                continue;
            }
            if let Err(error) = self.write(topic, &mut failing).await {
                tokio::time::sleep(self.failed(topic, &error, &mut failing)).await;
            }
        }
    }

    /// Writes a topic until that fails, or another process is to write it.
    async fn write(&self, topic: Mm2Topic, failing: &mut Failing) -> Result<(), PortError> {
        self.mm2.writer.open(topic).await?;
        match topic {
            Mm2Topic::Heartbeats => self.beat(topic, [&self.mm2.source, &self.mm2.target], failing).await,
            Mm2Topic::SourceHeartbeats => self.beat(topic, [&self.mm2.target, &self.mm2.source], failing).await,
            Mm2Topic::Checkpoints => self.write_checkpoints(failing).await,
            Mm2Topic::OffsetSyncs => self.write_syncs(failing).await,
        }
    }

    async fn beat(&self, topic: Mm2Topic, [source, target]: [&str; 2], failing: &mut Failing) -> Result<(), PortError> {
        while self.is_on_duty() {
            let began = self.clock.now();
            let timestamp_ms = self.clock.unix_ms();
            let heartbeat = Heartbeat { source: source.to_owned(), target: target.to_owned(), timestamp_ms };
            let record = self.record(topic, heartbeat.encode(), timestamp_ms);
            self.send(topic, record.into_iter().collect(), failing).await?;
            tokio::time::sleep(EVERY.saturating_sub(self.clock.now().saturating_sub(began))).await;
        }
        Ok(())
    }

    async fn write_checkpoints(&self, failing: &mut Failing) -> Result<(), PortError> {
        let (topic, checkpoints) = (Mm2Topic::Checkpoints, &self.mm2.checkpoints);
        // Another process may have written since.
        checkpoints.begin();
        self.opened(topic, failing);
        while self.is_on_duty() {
            let due = checkpoints.take(RECORDS_MAX);
            if due.is_empty() {
                checkpoints.wait(EVERY).await;
                continue;
            }
            let records = due.iter().filter_map(|answer| self.record(topic, checkpoint(answer).encode(), 0));
            if let Err(error) = self.send(topic, records.collect(), failing).await {
                checkpoints.put_back(due);
                return Err(error);
            }
        }
        Ok(())
    }

    async fn write_syncs(&self, failing: &mut Failing) -> Result<(), PortError> {
        let topic = Mm2Topic::OffsetSyncs;
        let (mut tail, mut pairs) = (self.mm2.map.follow().await?, Pairs::default());
        self.opened(topic, failing);
        while self.is_on_duty() {
            let news = tail.next().await?;
            for record in &news.records {
                pairs.learn(record, &(self.mm2.copies)(&record.partition.topic));
            }
            // An older pair behind a newer one that another process has written would have readers
            // forget what they know.
            if !news.is_caught_up {
                continue;
            }
            let due = pairs.due(self.clock.now());
            for due in due.chunks(RECORDS_MAX) {
                let records = due.iter().filter_map(|sync| self.record(topic, sync.encode(), 0));
                self.send(topic, records.collect(), failing).await?;
            }
        }
        Ok(())
    }

    /// Returns a record; nothing where the format has no room for it, which is logged.
    fn record(
        &self,
        topic: Mm2Topic,
        encoded: Result<(Vec<u8>, Vec<u8>), FormatError>,
        timestamp_ms: i64,
    ) -> Option<Mm2Record> {
        match encoded {
            Ok((key, value)) => Some(Mm2Record { key, value, timestamp_ms }),
            Err(error) => {
                let (link, topic) = (self.link, topic.name(&self.mm2.source));
                tracing::warn!(link, topic, %error, "left out a record for MirrorMaker 2's clients");
                None
            }
        }
    }

    async fn send(&self, topic: Mm2Topic, records: Vec<Mm2Record>, failing: &mut Failing) -> Result<(), PortError> {
        let count = records.len() as u64;
        if count > 0
            && let Err(error) = self.mm2.writer.write(topic, records).await
        {
            failing.at_write = true;
            return Err(error);
        }
        self.status.mm2_mut(topic, |figures| figures.records += count);
        self.well(topic, failing);
        Ok(())
    }

    /// Records that the topic is there, which is all that there is to know while nothing is to be
    /// written.
    fn opened(&self, topic: Mm2Topic, failing: &mut Failing) {
        if !failing.at_write {
            self.well(topic, failing);
        }
    }

    /// Records that the topic can be written.
    fn well(&self, topic: Mm2Topic, failing: &mut Failing) {
        let failed = std::mem::take(failing);
        self.status.mm2_mut(topic, |figures| figures.failing = None);
        if failed.is_reported {
            self.emit(Mm2Event::Writable { topic: self.name(topic), cluster: self.cluster(topic) });
        }
    }

    /// Records a failure. Returns how long to wait before the next attempt.
    fn failed(&self, topic: Mm2Topic, error: &PortError, failing: &mut Failing) -> Duration {
        let (now, reason) = (self.clock.now(), error.to_string());
        let since = *failing.since.get_or_insert(now);
        let wait = match error.class {
            Class::Login => LOGIN_RETRY.0,
            Class::Stop => RETRY.1,
            Class::Retry | Class::Fenced => (failing.wait * 2).clamp(RETRY.0, RETRY.1),
        };
        failing.wait = wait;
        let is_lasting = matches!(error.class, Class::Stop | Class::Login) || now.saturating_sub(since) >= PATIENCE;
        self.status.mm2_mut(topic, |figures| figures.failing = Some(reason.clone()));
        if is_lasting && !std::mem::replace(&mut failing.is_reported, true) {
            self.emit(Mm2Event::Unwritable {
                topic: self.name(topic),
                cluster: self.cluster(topic),
                reason,
                without: topic.without(),
                retry_ms: millis(wait),
            });
        }
        spread(wait, &format!("{}-{topic}", self.link))
    }

    fn emit(&self, event: Mm2Event) {
        self.events.emit(self.link, Event::Mm2(event));
    }

    fn name(&self, topic: Mm2Topic) -> Arc<str> {
        topic.name(&self.mm2.source).into()
    }

    fn cluster(&self, topic: Mm2Topic) -> Arc<str> {
        Arc::clone(if topic.is_on_source() { &self.mm2.source } else { &self.mm2.target })
    }
}
