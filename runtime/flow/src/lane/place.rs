//! Which partitions a lane has, and where each of them begins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use strait_core::progress::{Position, Skip, Tail};
use strait_core::{Event, PartitionKey, SourceOffset, TopicId, lanes};

use super::Lane;
use crate::caution::Unread;
use crate::error::LaneError;
use crate::partitions::{PartitionWindow, Pause, Stream};
use crate::ports::{PortError, SourceTopic, StartAt};
use crate::progress::ResumePoint;
use crate::spec::{OnGap, OnTargetRecreated};
use crate::status::Activity;

/// The way on for a partition with progress.
enum Placed {
    /// It resumes there, or waits there if it is stopped.
    Resumes,
    /// It is copied again from the start of its log.
    Recopied,
}

/// Where partitions begin, or why that is not known. One that the source does not know is missing.
type Starts = BTreeMap<PartitionKey, Result<SourceOffset, PortError>>;

/// Wait before the source is asked again where a partition begins.
const UNPLACED_RETRY: Duration = Duration::from_secs(5);

/// A partition whose start the source is to tell.
#[derive(Debug)]
pub(super) struct Unplaced {
    pub key: PartitionKey,
    pub source_partitions: u32,
    /// Its topic or its target topic is a new incarnation: it is copied from its beginning.
    pub recreated: bool,
    /// Its position, where it is copied once more because the target topic is a new one.
    pub recopied_at: Option<SourceOffset>,
}

impl Unplaced {
    /// Returns where to begin, in a log that begins at `log_start`. Of a topic that was created
    /// again nothing has been copied: it is read from 0, so that what retention has deleted by then
    /// is found and told. Of other topics without progress nobody knows whether that was ever to be
    /// copied.
    fn start(&self, log_start: SourceOffset) -> SourceOffset {
        if self.recreated && self.recopied_at.is_none() { SourceOffset(0) } else { log_start }
    }

    fn is_of(&self, topic: &str, partition: i32) -> bool {
        (&*self.key.topic, self.key.partition) == (topic, partition)
    }
}

/// The partitions of a lane that cannot be placed yet.
#[derive(Debug, Default)]
pub(super) struct UnplacedPartitions {
    /// Those whose start the source did not tell.
    partitions: Vec<Unplaced>,
    retry_at: Duration,
    /// There are others whose topic the source did not describe, or whose topic id it is to tell: a
    /// broker may be behind. Lanes hear of topics again only when the list changes.
    is_list_open: bool,
    /// Topics with progress that are not listed, of which the source has told whether they exist.
    pub unlisted: BTreeSet<Arc<str>>,
}

impl UnplacedPartitions {
    /// Makes the source be asked at once, if this partition is one of them. Returns its key then.
    pub fn retry_now(&mut self, topic: &str, partition: i32) -> Option<PartitionKey> {
        let key = self.get(topic, partition)?.key.clone();
        self.retry_at = Duration::ZERO;
        Some(key)
    }

    /// Handles the list of topics once more after a while.
    pub fn ask_again(&mut self, now: Duration) {
        (self.is_list_open, self.retry_at) = (true, now + UNPLACED_RETRY);
    }

    fn get(&self, topic: &str, partition: i32) -> Option<&Unplaced> {
        self.partitions.iter().find(|unplaced| unplaced.is_of(topic, partition))
    }

    fn get_mut(&mut self, topic: &str, partition: i32) -> Option<&mut Unplaced> {
        self.partitions.iter_mut().find(|unplaced| unplaced.is_of(topic, partition))
    }

    fn keep(&mut self, unplaced: Unplaced, now: Duration) {
        self.retry_at = now + UNPLACED_RETRY;
        self.partitions.push(unplaced);
    }
}

impl Lane<'_> {
    /// Places partitions at their committed positions. Those without progress are resolved and
    /// committed first. This is not only for a take: the previous owner may have copied partitions
    /// that this process learns of later.
    pub(super) async fn place(&mut self, mine: Vec<(PartitionKey, u32)>, now: Duration) -> Result<(), LaneError> {
        if mine.is_empty() {
            return Ok(());
        }
        let (mut reading, mut new) = (Vec::new(), Vec::new());
        let points: Vec<_> = mine.iter().map(|(key, _)| self.progress.resume_point(key)).collect();
        let target_ids = self.target_ids(&points).await?;
        for ((key, source_partitions), point) in mine.into_iter().zip(points) {
            if let Some(point) = point {
                if let Placed::Recopied = self.check_target(&point.key, &point.position, &target_ids, now) {
                    let recopied_at = Some(point.position.next);
                    new.push(Unplaced { key, source_partitions, recreated: true, recopied_at });
                    continue;
                }
                reading.extend(self.resume(point, source_partitions, now).await?);
                continue;
            }
            let former = self.progress.former_incarnations(&key);
            for (old, position) in &former {
                let (partition, found) = (old.clone(), key.topic_id);
                let event = Event::TopicRecreated { partition, found, position: position.next };
                if self.caution.stop(old, position.next, position.next, &event, now).1 {
                    self.emit(event);
                }
            }
            let newest = former.into_iter().max_by_key(|(_, position)| position.owner.count());
            let Some((old, position)) = newest else {
                new.push(Unplaced { key, source_partitions, recreated: false, recopied_at: None });
                continue;
            };
            if self.spec.policies.on_gap == OnGap::Continue {
                new.push(Unplaced { key, source_partitions, recreated: true, recopied_at: None });
                continue;
            }
            let (next, leader_epoch) = (position.next, position.leader_epoch);
            let window = PartitionWindow::new(old, source_partitions, next, leader_epoch);
            self.insert(window.with_pause(Some(Pause::Stopped)))?;
        }
        self.add_first_seen(new).await?;
        self.forget_former();
        self.start_reading(&reading).await
    }

    /// Returns the present ids of the target topics that partitions were copied to. Topics that are
    /// gone have none.
    async fn target_ids(&mut self, points: &[Option<ResumePoint>]) -> Result<BTreeMap<Arc<str>, TopicId>, LaneError> {
        let mut names: BTreeSet<Arc<str>> = BTreeSet::new();
        for point in points.iter().flatten() {
            let known = point.position.tails.list().iter().filter(|tail| tail.id.is_known());
            names.extend(known.map(|tail| Arc::clone(&tail.topic)));
        }
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        Ok(self.target.topic_ids(names.into_iter().collect()).await?)
    }

    /// Compares the target topics that a partition was copied to with the present ones. If one is
    /// another one or gone, policy decides: the partition stops, or it is copied again.
    fn check_target(
        &mut self,
        key: &PartitionKey,
        position: &Position,
        ids: &BTreeMap<Arc<str>, TopicId>,
        now: Duration,
    ) -> Placed {
        let changed =
            |tail: &&Tail| tail.id.is_known() && ids.get(&tail.topic).is_none_or(|found| tail.id.is_other_than(*found));
        let tail = position.tails.list().iter().find(changed);
        let recopies = self.spec.policies.on_target_recreated == OnTargetRecreated::Recopy;
        if tail.is_none() || !recopies {
            for tail in position.tails.list().iter().filter(|tail| tail.id.is_known()) {
                self.topics.note_written(&tail.topic, tail.id);
            }
        }
        let Some(tail) = tail else { return Placed::Resumes };
        let (partition, target_topic, was) = (key.clone(), Arc::clone(&tail.topic), tail.id);
        let position = position.next;
        if recopies {
            self.emit(Event::TargetRecopied { partition, target_topic, was, position });
            return Placed::Recopied;
        }
        let found = ids.get(&tail.topic).copied();
        let event = Event::TargetRecreated { partition, target_topic, was, found, position };
        if self.caution.stop(key, position, position, &event, now).1 {
            self.emit(event);
        }
        Placed::Resumes
    }

    /// Places a partition at its committed position. Returns its stream if it may be read.
    async fn resume(
        &mut self,
        point: ResumePoint,
        source_partitions: u32,
        now: Duration,
    ) -> Result<Option<Stream>, LaneError> {
        let ResumePoint { key, position, border } = point;
        if let Some(Skip { by, from, to, .. }) = self.progress.take_skip(&key) {
            self.deps.status.add(|totals| totals.skipped += u64::try_from(to.0 - from.0).unwrap_or(0));
            self.emit(Event::Skipped { partition: key.clone(), from, to, by });
        }
        let mut rewound = self.caution.rewinds().of(&key, &position);
        let mut read_again = None;
        if let Some(from) = rewound {
            match self.mark_read_again(&key, from, position.next).await? {
                Ok(mark) => read_again = Some(mark),
                // It waits where it is, and finds the truncation again.
                Err(event) => {
                    rewound = None;
                    if self.caution.stop(&key, position.next, position.next, &event, now).1 {
                        self.emit(event);
                    }
                }
            }
        }
        let next = rewound.unwrap_or(position.next);
        let pause = self.caution.pause_of(&key, next, now);
        let suspects = self.caution.suspects_of(&key);
        let window = PartitionWindow::resume(key, source_partitions, &position, border, rewound);
        let window = window.with_suspects(suspects).with_pause(pause).with_read_again(read_again);
        if rewound.is_some() && self.caution.rewinds().tell(window.key()) {
            self.emit(Event::Resumed { partition: window.key().clone(), resumed: next });
        }
        let stream = self.insert(window)?;
        Ok(pause.is_none().then_some(stream))
    }

    /// Adds partitions without progress. Their first offset is committed before anything is
    /// fetched.
    pub(super) async fn add_first_seen(&mut self, new: Vec<Unplaced>) -> Result<(), LaneError> {
        if new.is_empty() {
            return Ok(());
        }
        let starts = self.starts(&new).await?;
        self.place_at(new, starts).await
    }

    /// Asks the source where partitions without progress begin.
    async fn starts(&mut self, new: &[Unplaced]) -> Result<Starts, PortError> {
        // `start` is for partitions that existed when the lane was first taken. Later ones are
        // copied from their beginning.
        let (mut old, mut young) = (Vec::new(), Vec::new());
        for Unplaced { key, recreated, .. } in new {
            let existed = !recreated && self.progress.created_with(key);
            let asked = if existed { &mut old } else { &mut young };
            asked.push(key.clone());
        }
        let mut starts = self.source.resolve(self.spec.start, &old).await?;
        starts.extend(self.source.resolve(StartAt::Earliest, &young).await?);
        Ok(starts)
    }

    async fn place_at(&mut self, new: Vec<Unplaced>, mut starts: Starts) -> Result<(), LaneError> {
        for unplaced in new {
            match starts.remove(&unplaced.key) {
                Some(Ok(log_start)) => {
                    let start = unplaced.start(log_start);
                    let mut read_again = None;
                    if let Some(was) = unplaced.recopied_at {
                        match self.mark_read_again(&unplaced.key, start, was).await? {
                            Ok(mark) => read_again = Some(mark),
                            Err(event) => {
                                self.postpone_copy(unplaced, start, event);
                                continue;
                            }
                        }
                    }
                    let window = PartitionWindow::first_seen(unplaced.key, unplaced.source_partitions, start);
                    self.insert(window.with_read_again(read_again))?;
                }
                Some(Err(error)) => self.postpone_start(unplaced, error),
                // It vanished in between, or a broker does not know it yet.
                None => self.unplaced.keep(unplaced, self.deps.clock.now()),
            }
        }
        Ok(())
    }

    /// Keeps a partition whose start the source does not tell: it has no leader, or may not be
    /// read. The others are placed without it.
    fn postpone_start(&mut self, unplaced: Unplaced, error: PortError) {
        let (now, why) = (self.deps.clock.now(), Unread::of(error.class));
        self.note_unread(&unplaced.key, why, error.reason, now, (UNPLACED_RETRY, UNPLACED_RETRY));
        self.deps.status.set(&unplaced.key, SourceOffset(0), why.activity());
        self.unplaced.keep(unplaced, now);
    }

    /// Keeps a partition that is to be copied once more, as the books cannot be told.
    fn postpone_copy(&mut self, unplaced: Unplaced, start: SourceOffset, event: Event) {
        let now = self.deps.clock.now();
        if self.caution.stop(&unplaced.key, start, start, &event, now).1 {
            self.emit(event);
        }
        self.deps.status.set(&unplaced.key, start, Activity::Stopped);
        self.unplaced.keep(unplaced, now);
    }

    /// Places partitions whose start was not known, once their retry is due. Asks again for topics
    /// that the source did not describe.
    pub(super) async fn place_unplaced(&mut self, now: Duration) -> Result<(), LaneError> {
        if self.unplaced.retry_at > now {
            return Ok(());
        }
        self.unplaced.retry_at = now + UNPLACED_RETRY;
        // Also renews the ids of those that wait: a topic may be another one by now.
        if self.unplaced.is_list_open || !self.unplaced.partitions.is_empty() {
            let topics = Arc::clone(&self.deps.topics.borrow());
            self.on_topics(&topics).await?;
        }
        let due = std::mem::take(&mut self.unplaced.partitions);
        if due.is_empty() {
            return Ok(());
        }
        match self.starts(&due).await {
            Ok(starts) => self.place_at(due, starts).await,
            // The other partitions of the lane go on.
            Err(error) => {
                due.into_iter().for_each(|unplaced| self.postpone_start(unplaced, error.clone()));
                Ok(())
            }
        }
    }

    fn insert(&mut self, window: PartitionWindow) -> Result<Stream, LaneError> {
        let stream = self.partitions.insert(window)?;
        self.show(stream);
        Ok(stream)
    }

    /// Handles a new list of the link's topics.
    pub(super) async fn on_topics(&mut self, topics: &[SourceTopic]) -> Result<(), LaneError> {
        let mut new = Vec::new();
        // The list may be older than what this lane, or the owner before it, has seen: `mine` asks
        // for the ids again.
        let mine = match self.mine(topics).await {
            Ok(mine) => mine,
            Err(error) => {
                self.postpone_list(topics, &error);
                return Ok(());
            }
        };
        // Once it is listed again, it is placed again.
        let is_gone = |unplaced: &mut Unplaced| topics.iter().all(|topic| topic.topic != unplaced.key.topic);
        for unplaced in self.unplaced.partitions.extract_if(.., is_gone) {
            self.deps.status.forget(&unplaced.key);
        }
        for (key, partitions) in mine {
            // Before its window: that of a former incarnation stays where it stopped.
            if let Some(unplaced) = self.unplaced.get_mut(&key.topic, key.partition) {
                if unplaced.key.topic_id.is_other_than(key.topic_id) {
                    self.deps.status.forget(&unplaced.key);
                    (unplaced.key, unplaced.recreated) = (key, true);
                }
                unplaced.source_partitions = partitions;
                continue;
            }
            let Some(stream) = self.partitions.stream_of(&key.topic, key.partition) else {
                new.push((key, partitions));
                continue;
            };
            let window = self.partitions.at_mut(stream);
            window.source_grew(partitions);
            // Also where it is stopped already: the operator must hear that the topic is gone.
            if window.key().topic_id.is_other_than(key.topic_id) {
                self.on_recreated(stream, key.topic_id).await?;
            }
        }
        let now = self.deps.clock.now();
        self.place(new, now).await?;
        self.report_gone(topics).await;
        Ok(())
    }

    /// Removes from the status what was shown of former incarnations, perhaps by an earlier
    /// attempt.
    fn forget_former(&self) {
        for key in self.deps.status.partitions().into_keys() {
            if self.shown(&key).is_some_and(|shown| *shown != key) {
                self.deps.status.forget(&key);
            }
        }
    }

    /// Returns the incarnation of a partition that the status shows: the one that waits for its
    /// place, or the one that has it.
    pub(super) fn shown(&self, key: &PartitionKey) -> Option<&PartitionKey> {
        if let Some(unplaced) = self.unplaced.get(&key.topic, key.partition) {
            return Some(&unplaced.key);
        }
        let stream = self.partitions.stream_of(&key.topic, key.partition)?;
        Some(self.partitions.at(stream).key())
    }

    /// Returns the partitions of this lane with the ids that their topics have now, and the
    /// partition count of their topic. Leaves out those of another incarnation than was copied
    /// last, where only the list says so: it may be older than that.
    pub(super) async fn mine(&mut self, topics: &[SourceTopic]) -> Result<Vec<(PartitionKey, u32)>, PortError> {
        let has_mine = |topic: &&SourceTopic| self.numbers(topic).next().is_some();
        let names: Vec<Arc<str>> = topics.iter().filter(has_mine).map(|topic| Arc::clone(&topic.topic)).collect();
        let ids = self.source.topic_ids(&names).await?;
        self.unplaced.is_list_open = names.iter().any(|name| !ids.contains_key(name));
        let mut mine = Vec::new();
        for topic in topics {
            let Some(id) = ids.get(&topic.topic).copied() else {
                continue;
            };
            let told = if id.is_known() { id } else { topic.id };
            for partition in self.numbers(topic) {
                let key = PartitionKey { topic: Arc::clone(&topic.topic), topic_id: told, partition };
                if !id.is_known() && self.needs_id(&key) {
                    self.unplaced.ask_again(self.deps.clock.now());
                    continue;
                }
                mine.push((key, topic.partitions.unsigned_abs()));
            }
        }
        Ok(mine)
    }

    /// Returns the partitions of a topic that are in this lane.
    fn numbers(&self, topic: &SourceTopic) -> impl Iterator<Item = i32> + use<> {
        let (name, lane, lanes) = (Arc::clone(&topic.topic), self.spec.lane, self.spec.lanes);
        (0..topic.partitions).filter(move |p| lanes::lane_of(&name, *p, lanes) == lane)
    }

    /// Asks about a list of topics later: the source did not describe them. The partitions that
    /// have a place go on.
    fn postpone_list(&mut self, topics: &[SourceTopic], error: &PortError) {
        let (now, why) = (self.deps.clock.now(), Unread::of(error.class));
        self.unplaced.ask_again(now);
        for topic in topics {
            for partition in self.numbers(topic) {
                if self.partitions.stream_of(&topic.topic, partition).is_some() {
                    continue;
                }
                let key = PartitionKey { topic: Arc::clone(&topic.topic), topic_id: topic.id, partition };
                self.note_unread(&key, why, error.reason.clone(), now, (UNPLACED_RETRY, UNPLACED_RETRY));
            }
        }
    }

    /// Returns whether a partition for which the source tells no id cannot do without. `key` has
    /// the id of the list of topics, if that has one.
    fn needs_id(&mut self, key: &PartitionKey) -> bool {
        let stream = self.partitions.stream_of(&key.topic, key.partition);
        let unplaced = || self.unplaced.get(&key.topic, key.partition).map(|unplaced| &unplaced.key);
        // The list may be older than what the source has told since.
        if let Some(here) = stream.map(|stream| self.partitions.at(stream).key()).or_else(unplaced) {
            return here.topic_id.is_other_than(key.topic_id);
        }
        if self.progress.former_incarnations(key).is_empty() && !self.progress.is_ambiguous(key) {
            return false;
        }
        let reason = "the topic was created again, and the source does not tell the id of the present one";
        let (now, wait) = (self.deps.clock.now(), (UNPLACED_RETRY, UNPLACED_RETRY));
        self.note_unread(key, Unread::Unavailable, reason.to_owned(), now, wait);
        true
    }

    /// Reads partitions from the offset that each expects, under a new read epoch.
    pub(super) async fn start_reading(&mut self, streams: &[Stream]) -> Result<(), LaneError> {
        if streams.is_empty() {
            return Ok(());
        }
        let epoch = self.partitions.new_read_epoch();
        let start = |stream: &Stream| self.partitions.at_mut(*stream).start_reading(epoch);
        let places: Vec<_> = streams.iter().map(start).collect();
        Ok(self.source.assign(epoch, &places).await?)
    }
}
