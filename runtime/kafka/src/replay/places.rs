//! Reads records at given offsets of a partition: of a source topic, or of the quarantine topic.

use std::time::{Duration, Instant};

use strait_core::{PartitionKey, TopicId};
use strait_flow::ports::{Class, PortError};

use crate::config::{ClusterConfig, Settings, SourceTuning, reader};
use crate::error::{own, port_error_because};
use crate::ffi::{Code, ConsumedMessage, Consumer, FfiError, OffsetSpec, Place};
use crate::queries;

/// Up to this many offsets between two wanted records are read over; beyond, the reader seeks.
const SEEK_FROM: i64 = 2_000;

/// Whether another record is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Read the next one.
    More,
    /// There is no room for another one.
    Enough,
}

/// The outcome of a look at the reader's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    Record(i64, Next),
    End,
    Lost,
}

/// A reader of single records.
pub(super) struct Places {
    consumer: Consumer,
    context: String,
    timeout: Duration,
}

impl Places {
    /// Connects to a cluster. A request takes `timeout` at most.
    pub fn new(cluster: &ClusterConfig, link: &str, timeout: Duration) -> Result<Self, PortError> {
        let context = format!("link {link}: reading records of cluster {}", cluster.name);
        let consumer = Consumer::new(&format!("{link}/replay"), &settings(cluster, link))
            .map_err(|error| port_error_because(context.clone(), &error, None))?;
        Ok(Self { consumer, context, timeout })
    }

    /// Reads the records at these offsets of a partition, which ascend, until `visit` has enough.
    /// Returns the offsets that have no record, among those up to the last visited one.
    pub fn read(
        &mut self,
        topic: &str,
        partition: i32,
        offsets: &[i64],
        mut visit: impl FnMut(&ConsumedMessage<'_>) -> Result<Next, PortError>,
    ) -> Result<Vec<i64>, PortError> {
        let mut missing = Vec::new();
        let mut left = offsets;
        while let Some(first) = left.first() {
            let place = Place { offset: *first, ..Place::of(topic, partition) };
            self.consumer.assign(std::slice::from_ref(&place)).map_err(|error| self.fail(&error))?;
            let run = self.run((topic, partition), left, &mut missing, &mut visit);
            let unassigned = self.consumer.unassign(&[place]).map_err(|error| self.fail(&error));
            let (done, is_enough) = run?;
            unassigned?;
            left = left.get(done..).unwrap_or_default();
            if is_enough {
                break;
            }
        }
        Ok(missing)
    }

    /// Passes the committed records from `from` up to `until` to `visit`, in order.
    pub fn read_range(
        &mut self,
        topic: &str,
        partition: i32,
        (from, until): (i64, i64),
        mut visit: impl FnMut(&ConsumedMessage<'_>) -> Result<(), PortError>,
    ) -> Result<(), PortError> {
        let (start, end) = self.bounds(topic, partition)?;
        let (from, until) = (from.max(start), until.min(end));
        if from >= until {
            return Ok(());
        }
        // The last one may be a marker: then a record behind it, or the end, tells.
        let place = Place { offset: from, ..Place::of(topic, partition) };
        self.consumer.assign(std::slice::from_ref(&place)).map_err(|error| self.fail(&error))?;
        let ended = self.pull_range((topic, partition), until, &mut visit);
        self.consumer.unassign(&[place]).map_err(|error| self.fail(&error))?;
        ended
    }

    fn pull_range(
        &mut self,
        (topic, partition): (&str, i32),
        until: i64,
        visit: &mut impl FnMut(&ConsumedMessage<'_>) -> Result<(), PortError>,
    ) -> Result<(), PortError> {
        let (mut since, context) = (Instant::now(), self.context.clone());
        loop {
            let at = self.consumer.consume(1, Duration::from_millis(100), |messages| {
                let Some(message) = messages.first().filter(|message| is_of_topic(message)) else { return Ok(None) };
                match message.code() {
                    Code::OK if message.offset() < until => visit(message).map(|()| Some(message.offset() + 1)),
                    Code::OK | Code::PARTITION_EOF => Ok(Some(message.offset())),
                    code => {
                        let error = FfiError::new(code, message.error_text());
                        Err(port_error_because(context.clone(), &error, None))
                    }
                }
            })?;
            match at {
                Some(at) if at >= until => return Ok(()),
                Some(_) => since = Instant::now(),
                None if since.elapsed() > self.timeout => {
                    let reason = format!("{topic}-{partition}: {until} was not reached within {:?}", self.timeout);
                    return Err(self.fail(&FfiError::new(Code::TIMED_OUT, reason)));
                }
                None => {}
            }
        }
    }

    /// Reads on until the next wanted offset is far off. Returns how many were found or passed, and
    /// whether there is no room for more.
    fn run(
        &mut self,
        (topic, partition): (&str, i32),
        wanted: &[i64],
        missing: &mut Vec<i64>,
        visit: &mut impl FnMut(&ConsumedMessage<'_>) -> Result<Next, PortError>,
    ) -> Result<(usize, bool), PortError> {
        let (mut done, mut since) = (0, Instant::now());
        let context = self.context.clone();
        while let Some(offset) = wanted.get(done).copied() {
            let step = self.consumer.consume(1, Duration::from_millis(100), |messages| {
                let Some(message) = messages.first().filter(|message| is_of_topic(message)) else {
                    return Ok(Step::Nothing);
                };
                match message.code() {
                    Code::OK if wanted.binary_search(&message.offset()).is_ok() => {
                        Ok(Step::Record(message.offset(), visit(message)?))
                    }
                    Code::OK => Ok(Step::Record(message.offset(), Next::More)),
                    Code::PARTITION_EOF => Ok(Step::End),
                    Code::AUTO_OFFSET_RESET => Ok(Step::Lost),
                    code => {
                        let error = FfiError::new(code, message.error_text());
                        Err(port_error_because(context.clone(), &error, None))
                    }
                }
            })?;
            let (passed, at, next) = match step {
                Step::Nothing if since.elapsed() > self.timeout => {
                    let reason = format!("{topic}-{partition}: no record at {offset} within {:?}", self.timeout);
                    return Err(self.fail(&FfiError::new(Code::TIMED_OUT, reason)));
                }
                Step::Nothing => continue,
                // Compacted, aborted or deleted records are passed.
                Step::Record(at, next) => (count(wanted, done, |offset| offset < at), at, next),
                // The answer of a broker that has just become the leader is not final.
                Step::End | Step::Lost => {
                    let (start, end) = self.bounds(topic, partition)?;
                    let gone = count(wanted, done, |offset| offset < start).max(if offset >= end {
                        wanted.len() - done
                    } else {
                        0
                    });
                    missing.extend(wanted.iter().skip(done).take(gone));
                    done += gone;
                    if step == Step::Lost {
                        if gone == 0 {
                            let reason = format!("{topic}-{partition}: the position {offset} was lost; run this again");
                            return Err(own(Class::Retry, context, reason));
                        }
                        return Ok((done, false));
                    }
                    continue;
                }
            };
            since = Instant::now();
            missing.extend(wanted.iter().skip(done).take(passed));
            done += passed;
            done += usize::from(wanted.get(done) == Some(&at));
            if next == Next::Enough {
                return Ok((done, true));
            }
            if wanted.get(done).is_some_and(|next| next - at > SEEK_FROM) {
                return Ok((done, false));
            }
        }
        Ok((done, false))
    }

    /// Returns the start of the log and its last stable offset.
    fn bounds(&self, topic: &str, partition: i32) -> Result<(i64, i64), PortError> {
        let place = [Place::of(topic, partition)];
        let list = |spec, committed| {
            let listed = queries::list(self.consumer.client(), &place, spec, committed, self.timeout);
            let listed = listed.map_err(|error| self.fail(&error))?;
            Ok(listed.into_values().next().unwrap_or_default())
        };
        Ok((list(OffsetSpec::Earliest, false)?, list(OffsetSpec::Latest, true)?))
    }

    /// Checks that what was read of a topic is of this incarnation of it.
    pub fn check_id(&self, key: &PartitionKey) -> Result<(), PortError> {
        let found: TopicId = self.consumer.topic_id(&key.topic);
        if !found.is_other_than(key.topic_id) {
            return Ok(());
        }
        let reason = format!("topic {} was deleted and created again meanwhile; run this again", key.topic);
        Err(own(Class::Retry, self.context.clone(), reason))
    }

    fn fail(&self, error: &FfiError) -> PortError {
        port_error_because(self.context.clone(), error, self.consumer.client().trouble())
    }
}

/// Returns whether a message is about the topic. Others are about the client: that it may not see
/// its group, for example, which it has no use for.
fn is_of_topic(message: &ConsumedMessage<'_>) -> bool {
    message.code() == Code::OK || !message.topic().is_empty()
}

/// Returns how many of the next wanted offsets, from `done` on, fulfil this.
fn count(wanted: &[i64], done: usize, is: impl Fn(i64) -> bool) -> usize {
    wanted.iter().skip(done).take_while(|offset| is(**offset)).count()
}

fn settings(cluster: &ClusterConfig, link: &str) -> Settings {
    // Few records, far apart: small fetches, and one message at a time.
    let tuning =
        SourceTuning { fetch_budget_bytes: 16 << 20, partition_fetch_bytes: 1 << 20, ..SourceTuning::default() };
    let mut settings = reader(cluster, link, 0, &tuning);
    settings.set("client.id", format!("strait-{link}-replay"));
    settings
}
