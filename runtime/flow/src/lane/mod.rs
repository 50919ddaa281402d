//! A lane: fetch -> plugin chain -> produce -> progress, for a fixed set of source partitions.
//!
//! `Lane::flow` is the whole path. The plugin chain judges a fetched batch, which is then queued
//! in its partition's window (`admit.rs`). `release.rs` gives queued records to the target, one
//! batch per partition at a time. Acknowledgements settle them in the window's ledger. When a
//! transaction is due, `commit.rs` waits for every acknowledgement, writes progress and the offset
//! map into the same transaction and commits it. An error ends this attempt at the lane. Everything
//! in memory is forgotten, and the supervisor takes the lane again from the progress that is
//! committed. Nothing is ever repaired in place.

mod admit;
mod books;
mod border;
mod commit;
mod gone;
mod pauses;
mod place;
mod quarantine;
mod reading;
mod release;
mod requests;
mod take;
mod warm_up;

use std::sync::Arc;
use std::time::Duration;

use strait_core::Event;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::books::Books;
use self::border::Border;
use self::pauses::Timers;
use self::place::UnplacedPartitions;
use self::release::Release;
pub(crate) use self::take::ABORT_MAX;
use crate::caution::Caution;
use crate::error::LaneError;
use crate::partitions::{BOOKS_STREAM, CONTROL_STREAM, InFlight, Partitions};
use crate::ports::{
    BorderCopies, Chain, ChainFactory, Class, Clock, DeliveryReport, EventSink, Fetched, LaneConnector, ProgressStore,
    Quarantine, Source, SourceTopic, Target, TargetEvent, Token,
};
use crate::progress::Progress;
use crate::requests::Requests;
use crate::spec::LaneSpec;
use crate::status::LinkStatus;
use crate::target_topics::TargetTopics;
use crate::transaction::Transactions;

/// The ports of a lane, shared by all lanes of a link.
#[derive(Clone)]
pub struct LaneDeps {
    /// Creates the clients.
    pub connector: Arc<dyn LaneConnector>,
    /// Reads committed progress.
    pub progress: Arc<dyn ProgressStore>,
    /// Makes plugin chains.
    pub chains: Arc<dyn ChainFactory>,
    /// Keeps copies of borders.
    pub borders: Arc<dyn BorderCopies>,
    /// Reads the time.
    pub clock: Arc<dyn Clock>,
    /// Takes events.
    pub events: Arc<dyn EventSink>,
    /// Takes figures.
    pub status: Arc<LinkStatus>,
    /// The link's source topics, as last discovered.
    pub topics: watch::Receiver<Arc<Vec<SourceTopic>>>,
    /// Requests of an operator.
    pub requests: Arc<Requests>,
}

impl LaneDeps {
    /// Reports an event of the link, and keeps it as the reason of what it explains.
    pub(crate) fn emit(&self, link: &str, event: Event) {
        self.status.explain(&event, self.clock.now());
        self.events.emit(link, event);
    }
}

/// One attempt at a lane, from the moment it is taken.
pub(crate) struct Lane<'a> {
    spec: &'a LaneSpec,
    deps: &'a LaneDeps,
    /// The caution of earlier attempts.
    caution: &'a mut Caution,
    source: Box<dyn Source>,
    target: Box<dyn Target>,
    quarantine: Box<dyn Quarantine>,
    chain: Box<dyn Chain>,
    partitions: Partitions,
    /// The open target topics.
    topics: TargetTopics,
    transactions: Transactions,
    in_flight: InFlight,
    progress: Progress,
    border: Border,
    books: Books,
    timers: Timers,
    release: Release,
    unplaced: UnplacedPartitions,
}

impl Lane<'_> {
    /// Moves records until `stop`, then commits what is released and returns.
    pub async fn flow(&mut self, stop: &CancellationToken) -> Result<(), LaneError> {
        let mut topics = self.deps.topics.clone();
        let mut draining = false;
        loop {
            let mut now = self.deps.clock.now();
            if !draining && self.timers.tick(now) {
                now = self.tick(now).await?;
            }
            // Records that are sent in part come first, even if the transaction is full: it cannot
            // close until all their copies are sent.
            self.finish_partial(now)?;
            if !draining {
                self.release(now)?;
            }
            self.count_dropped();
            self.advance_transaction(draining, now).await?;
            if draining && self.is_drained() {
                return Ok(());
            }
            let wake = self.wake_after(now);
            let room = !draining && self.has_room();
            tokio::select! { biased;
                event = self.target.event() => self.on_target(event).await?,
                () = stop.cancelled(), if !draining => draining = true,
                Ok(()) = topics.changed(), if !draining => {
                    let topics = Arc::clone(&topics.borrow_and_update());
                    self.on_topics(&topics).await?;
                }
                fetched = self.source.next(), if room => self.on_fetched(fetched?, now).await?,
                () = tokio::time::sleep(wake) => {}
            }
        }
    }

    /// Returns whether the window takes another batch. Not asking the source is the backpressure.
    /// The window is what the busy partitions can use on a line of this length and no more: small
    /// windows stay in the processor's cache.
    fn has_room(&self) -> bool {
        let load = self.partitions.load();
        let useful = (load.busy + 1).saturating_mul(self.release_size().saturating_mul(2)).saturating_add(2 << 20);
        load.bytes < useful && load.memory < self.spec.limits.window_bytes
    }

    /// Handles a result of the source. `now` is from before the wait for it.
    async fn on_fetched(&mut self, fetched: Fetched, now: Duration) -> Result<(), LaneError> {
        match fetched {
            Fetched::Batch { epoch, batch } => match self.current(batch.topic(), batch.partition(), epoch) {
                Some(stream) => {
                    self.heard(stream);
                    self.admit(stream, batch, now).await
                }
                None => Ok(()),
            },
            Fetched::Moved { epoch, topic, partition, next } => match self.current(&topic, partition, epoch) {
                Some(stream) => {
                    self.heard(stream);
                    self.on_moved(stream, next, now).await
                }
                None => Ok(()),
            },
            Fetched::Failed { epoch, topic, partition, failure } => match self.current(&topic, partition, epoch) {
                Some(stream) => self.on_read_failure(stream, failure, now).await,
                None => Ok(()),
            },
        }
    }

    /// Handles an event of the target.
    async fn on_target(&mut self, event: TargetEvent) -> Result<(), LaneError> {
        let now = self.deps.clock.now();
        match event {
            TargetEvent::Delivered(mut reports) => {
                // The refused record before those that failed because of it: the first report of a
                // failure ends this attempt.
                if let Some(at) = reports.iter().position(|report| matches!(report, DeliveryReport::Refused { .. })) {
                    reports.swap(0, at);
                }
                reports.into_iter().try_for_each(|report| self.on_report(report, now))
            }
            TargetEvent::Committed(slot) => self.on_committed(slot, now).await,
            TargetEvent::TopicIds(ids) => match self.topics.changed(&ids) {
                Some(topic) => Err(LaneError::TargetChanged(topic)),
                None => Ok(()),
            },
            TargetEvent::Broken(error) => {
                if error.class != Class::Fenced {
                    self.broke_with_entries(&error.reason);
                }
                Err(error.into())
            }
        }
    }

    fn on_report(&mut self, report: DeliveryReport, now: Duration) -> Result<(), LaneError> {
        match report {
            DeliveryReport::Acknowledged { first, count, .. } if first.stream == CONTROL_STREAM => {
                self.progress.acknowledged(count);
                Ok(())
            }
            DeliveryReport::Acknowledged { first, count, .. } if first.stream == BOOKS_STREAM => {
                self.entries_written(count);
                Ok(())
            }
            DeliveryReport::Acknowledged { first, count, offset } => {
                let stream = self.partitions.by_number(first.stream)?;
                let window = self.partitions.at_mut(stream);
                let place = window.place_of(first.sequence);
                let bytes = window.acknowledge(first.sequence, count, offset)?;
                if let Some(place) = place {
                    self.in_flight.acknowledged(place, count as usize, bytes, now);
                }
                let bytes = bytes as u64;
                self.deps.status.add_of(&window.key().topic, |all, topic| {
                    all.records_written += u64::from(count);
                    all.bytes_written += bytes;
                    topic.records_written += u64::from(count);
                    topic.bytes_written += bytes;
                });
                Ok(())
            }
            DeliveryReport::Refused { token, named, reason } => Err(self.on_refused(token, named, reason)?),
            DeliveryReport::Failed { token, reason } if token.stream == CONTROL_STREAM => {
                Err(LaneError::Delivery(format!("progress: not delivered: {reason}")))
            }
            DeliveryReport::Failed { token, reason } if token.stream == BOOKS_STREAM => {
                Err(self.entries_failed(&reason))
            }
            DeliveryReport::Failed { token, reason } => {
                let stream = self.partitions.by_number(token.stream)?;
                let key = self.partitions.at(stream).key();
                Err(LaneError::Delivery(format!("{key}: not delivered: {reason}")))
            }
        }
    }

    /// Handles a refused record. This attempt ends. The next one quarantines the record, or looks
    /// for it among the suspects in ever smaller groups.
    fn on_refused(&mut self, token: Token, named: bool, reason: String) -> Result<LaneError, LaneError> {
        if token.stream == CONTROL_STREAM {
            return Err(self.control_refused(&reason));
        }
        if token.stream == BOOKS_STREAM {
            return Err(self.entries_refused(&reason));
        }
        let window = self.partitions.at(self.partitions.by_number(token.stream)?);
        let key = window.key();
        let known = window.record_of(token.sequence).zip(window.place_of(token.sequence));
        let Some(((offset, mark), place)) = known else {
            return Err(LaneError::Delivery(format!("{key}: an unknown record was refused: {reason}")));
        };
        // A record that was alone in its request is named by the refusal, whatever the report says.
        let records = self.in_flight.records(place);
        if named || records == 1 {
            self.caution.refuse(key, offset, mark, &reason);
        } else {
            for (_, window) in self.partitions.iter() {
                if let Some(last) = window.last_in_flight_to(place) {
                    self.caution.suspect(window.key(), last.next(), records);
                }
            }
        }
        Ok(LaneError::Refused(format!("{key} at offset {offset}: {reason}")))
    }

    /// Returns how many transactions are open or being committed.
    pub fn unfinished_transactions(&self) -> u64 {
        self.transactions.unfinished()
    }

    fn count_dropped(&mut self) {
        let dropped = self.release.take_dropped();
        if dropped > 0 {
            self.deps.status.add(|totals| totals.records_dropped += dropped);
        }
    }

    fn emit(&self, event: Event) {
        self.deps.emit(&self.spec.link, event);
    }
}
