//! The offset map and the progress of a link as they grow, to translate the offsets of groups.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use strait_core::config::{Link, Naming, Selector};
use strait_core::control::SourcePlace;
use strait_core::groups::{Committed, Lack, Place, Translated, Wish};
use strait_core::map::{Answer, Back, Exactness, Why};
use strait_core::{PartitionKey, SourceOffset, TargetOffset, TopicId};
use strait_flow::lock;
use strait_flow::ports::{Class, GroupMap, PortError};

use crate::config::ClusterConfig;
use crate::error::{blocking, own};
use crate::live_map::Reading;
use crate::map_log::{AllBounds, MapLog, TargetBounds};
use crate::neighbours::Neighbours;

/// How long topic ids and the bounds of target partitions count.
const KNOWN_FOR: Duration = Duration::from_secs(10);
/// How long a cluster is asked for what nobody asks for any more: longer than answers for a group
/// that rests count.
const WANTED_FOR: Duration = Duration::from_secs(120);

/// A [`GroupMap`] on the target of a link.
pub struct KafkaGroupMap {
    link: String,
    source: String,
    naming: Naming,
    selector: Selector,
    log: MapLog,
    reading: Arc<Mutex<Reading>>,
    /// The maps of the links in the opposite direction, which are on our source.
    back: Vec<Arc<Mutex<Reading>>>,
    asked: tokio::sync::Mutex<Asked>,
    neighbours: tokio::sync::Mutex<Neighbours>,
}

/// The answers of the clusters beside the map.
#[derive(Default)]
struct Asked {
    ids: Answers<Arc<str>, TopicId>,
    bounds: Answers<Place, Result<TargetBounds, Arc<str>>>,
}

/// A cluster's answers for some keys. One without an answer does not exist there.
struct Answers<K, V> {
    at: Option<Instant>,
    /// The keys that were asked for, and when each was of use last.
    asked: BTreeMap<K, Instant>,
    found: BTreeMap<K, V>,
}

impl<K, V> Default for Answers<K, V> {
    fn default() -> Self {
        Self { at: None, asked: BTreeMap::new(), found: BTreeMap::new() }
    }
}

impl<K: Ord + Clone, V: Clone> Answers<K, V> {
    /// Returns the keys to ask the cluster for, where its answers are too old or lack one of these.
    /// Keys that nobody wants any more are left out.
    fn due(&mut self, wanted: &BTreeSet<K>) -> Option<Vec<K>> {
        let is_known = wanted.iter().all(|key| self.asked.contains_key(key));
        let now = Instant::now();
        self.asked.extend(wanted.iter().map(|key| (key.clone(), now)));
        if is_known && self.at.is_some_and(|at| at.elapsed() < KNOWN_FOR) {
            return None;
        }
        self.asked.retain(|_, used| used.elapsed() < WANTED_FOR);
        // Until the cluster has answered.
        self.at = None;
        Some(self.asked.keys().cloned().collect())
    }

    fn take(&mut self, found: BTreeMap<K, V>) {
        (self.found, self.at) = (found, Some(Instant::now()));
    }

    fn of(&self, wanted: &BTreeSet<K>) -> BTreeMap<K, V> {
        wanted.iter().filter_map(|key| Some((key.clone(), self.found.get(key)?.clone()))).collect()
    }
}

impl KafkaGroupMap {
    /// Connects on first use. One request takes `timeout` at most. `links` has all links of the
    /// configuration: those to the same target count as such also while they do not run, and those
    /// in the opposite direction tell what their copies at our source are copies of.
    ///
    /// # Errors
    /// A pattern of the link's topics that is no regular expression.
    pub fn new(
        source: &ClusterConfig,
        target: &ClusterConfig,
        link: &Link,
        links: &[Link],
        timeout: Duration,
    ) -> Result<Self, PortError> {
        let selector = link.selector().map_err(|error| own(Class::Stop, "topics", error.to_string()))?;
        let beside = links.iter().filter(|other| other.target == link.target).map(|other| other.name.clone());
        let beside: BTreeSet<String> = beside.collect();
        let bytes_max = usize::try_from(link.map_memory_mib).unwrap_or(usize::MAX).saturating_mul(1 << 20);
        let opposite = links.iter().filter(|other| other.source == link.target && other.target == link.source);
        let back = opposite.map(|other| Reading::new(source, other, bytes_max, timeout).if_there());
        Ok(Self {
            link: link.name.clone(),
            source: link.source.clone(),
            naming: link.naming.clone(),
            selector,
            log: MapLog::new(source, target, &link.name, timeout),
            reading: Arc::new(Mutex::new(Reading::new(target, link, bytes_max, timeout))),
            back: back.map(|reading| Arc::new(Mutex::new(reading))).collect(),
            asked: tokio::sync::Mutex::default(),
            neighbours: tokio::sync::Mutex::new(Neighbours::new(target, &link.name, beside, timeout)),
        })
    }

    /// Returns whether the map was read to the end that it had at first.
    #[must_use]
    pub fn is_read(&self) -> bool {
        let is_read = |reading: &Arc<Mutex<Reading>>| {
            let reading = lock(reading);
            reading.map().is_some() || reading.is_absent()
        };
        is_read(&self.reading) && self.back.iter().all(is_read)
    }

    /// Returns the ids that those of these topics have now that exist at the source.
    async fn ids(&self, topics: &BTreeSet<Arc<str>>) -> Result<BTreeMap<Arc<str>, TopicId>, PortError> {
        let ids = &mut self.asked.lock().await.ids;
        if let Some(due) = ids.due(topics) {
            ids.take(self.log.source_ids(due).await?);
        }
        Ok(ids.of(topics))
    }

    /// Returns the positions of the group in the topics that the link copies, with the ids that
    /// these have now.
    async fn positions(&self, committed: &Committed) -> Result<BTreeMap<PartitionKey, SourceOffset>, PortError> {
        let selected = |(topic, _): &&Place| self.selector.selects(topic);
        let topics: BTreeSet<Arc<str>> =
            committed.keys().filter(selected).map(|(topic, _)| Arc::clone(topic)).collect();
        let ids = self.ids(&topics).await?;
        let key = |(topic, partition): &Place| {
            let topic_id = *ids.get(topic)?;
            Some(PartitionKey { topic: Arc::clone(topic), topic_id, partition: *partition })
        };
        let positions = committed.iter().filter(|(place, _)| selected(place));
        Ok(positions.filter_map(|(place, found)| Some((key(place)?, SourceOffset(found.offset)))).collect())
    }

    /// Returns these target partitions as they are, as far as they exist.
    async fn bounds(&self, places: &BTreeSet<Place>) -> Result<AllBounds, PortError> {
        let bounds = &mut self.asked.lock().await.bounds;
        if let Some(due) = bounds.due(places) {
            bounds.take(self.log.target_bounds(due).await?);
        }
        Ok(bounds.of(places))
    }

    /// Returns the target partitions that these positions lead to: those with their copies, or
    /// where the first copy will be.
    fn places(&self, positions: &BTreeMap<PartitionKey, SourceOffset>) -> Option<BTreeMap<Place, Vec<PartitionKey>>> {
        let reading = lock(&self.reading);
        let map = reading.map()?;
        let mut places: BTreeMap<Place, Vec<PartitionKey>> = BTreeMap::new();
        for key in positions.keys().filter(|key| map.is_settled(key)) {
            let mut targets = map.targets_of(key).peekable();
            if targets.peek().is_none() {
                let name = self.naming.apply(&self.source, &key.topic);
                places.entry((name.into(), key.partition)).or_default().push(key.clone());
            }
            for place in targets {
                places.entry(place.clone()).or_default();
            }
        }
        Some(places)
    }
}

#[async_trait]
impl GroupMap for KafkaGroupMap {
    async fn refresh(&self) -> Result<(), PortError> {
        let mut read = Ok(());
        for reading in std::iter::once(&self.reading).chain(&self.back) {
            let reading = Arc::clone(reading);
            let doing = format!("link {}: reading the offset map", self.link);
            // One that cannot be read keeps none of the others from it.
            read = read.and(blocking(&doing, move || lock(&reading).refresh()).await.flatten());
        }
        read
    }

    async fn translate(&self, committed: &Committed) -> Result<Translated, PortError> {
        let mut translated = self.forward(committed).await?;
        for reading in &self.back {
            self.backward(committed, reading, &mut translated).await?;
        }
        Ok(translated)
    }
}

impl KafkaGroupMap {
    /// Translates the offsets in the topics that the link copies.
    async fn forward(&self, committed: &Committed) -> Result<Translated, PortError> {
        let positions = self.positions(committed).await?;
        let mut translated = Translated::default();
        let Some(places) = self.places(&positions) else {
            for key in positions.keys() {
                let name = self.naming.apply(&self.source, &key.topic);
                translated.lacks.insert((name.into(), key.partition), Lack::MapUnread);
            }
            return Ok(translated);
        };
        let bounds = self.bounds(&places.keys().cloned().collect()).await?;
        let shared = self.neighbours.lock().await.shared().await;
        let reading = lock(&self.reading);
        let Some(map) = reading.map() else { return Ok(translated) };
        for (place, untouched) in places {
            if let Some(other) = shared.get(&place.0) {
                translated.lacks.insert(place, Lack::SharedTarget(Arc::clone(other)));
                continue;
            }
            let bounds = match bounds_of(&bounds, &place) {
                Ok(bounds) => bounds,
                Err(lack) => {
                    translated.lacks.insert(place, lack);
                    continue;
                }
            };
            let side = bounds.side(&place.0, place.1);
            let wish = match map.answer(&positions, &side) {
                Ok(Some((answer, mine))) => {
                    let mine = mine.into_iter().map(|(key, offset)| (key.clone(), offset)).collect();
                    Some(wish(answer, mine, committed))
                }
                Ok(None) => {
                    // From the start of the log nothing is skipped, whatever arrives there.
                    let is_empty = side.start == side.end;
                    let exactness = if is_empty { Exactness::Exact } else { Exactness::Inexact(Why::AtLeastOnce) };
                    let answer = Answer { offset: side.start, exactness, ahead: 0, not_copied: 0, left_out: 0 };
                    let mine = untouched.into_iter().filter_map(|key| {
                        let offset = *positions.get(&key)?;
                        Some((key, offset))
                    });
                    let mine: Vec<_> = mine.collect();
                    (!mine.is_empty()).then(|| wish(answer, mine, committed))
                }
                Err(why) => {
                    translated.lacks.insert(place.clone(), Lack::NoAnswer(why));
                    None
                }
            };
            if let Some(wish) = wish {
                translated.wishes.insert(place, wish);
            }
        }
        Ok(translated)
    }

    /// Translates the offsets in copies of the target's own topics, by the map of the link that
    /// makes them: its group resumes in these topics themselves.
    async fn backward(
        &self,
        committed: &Committed,
        reading: &Arc<Mutex<Reading>>,
        translated: &mut Translated,
    ) -> Result<(), PortError> {
        let asked: BTreeMap<Place, TargetOffset> = {
            let reading = lock(reading);
            let Some(map) = reading.map() else { return Ok(()) };
            let copies = committed.iter().filter(|((topic, _), _)| map.has_copies_in(topic));
            copies.map(|(place, found)| (place.clone(), TargetOffset(found.offset))).collect()
        };
        if asked.is_empty() {
            return Ok(());
        }
        let ids = self.ids(&asked.keys().map(|(topic, _)| Arc::clone(topic)).collect()).await?;
        let backs = lock(reading).map().map(|map| map.back(&asked, &ids)).unwrap_or_default();
        let own = |key: &PartitionKey| (Arc::clone(&key.topic), key.partition);
        let bounds = self.bounds(&backs.iter().map(|back| own(&back.key)).collect()).await?;
        let shared = self.neighbours.lock().await.shared().await;
        for Back { key, places, answer } in backs {
            let place = own(&key);
            let bounds = match bounds_of(&bounds, &place) {
                Ok(bounds) => bounds,
                Err(lack) => {
                    translated.lacks.insert(place, lack);
                    continue;
                }
            };
            // Copies of an older incarnation of the topic, or a place that has an answer.
            if key.topic_id.is_other_than(bounds.id()) || translated.wishes.contains_key(&place) {
                continue;
            }
            let (offset, exactness) = match (answer, shared.get(&place.0)) {
                (Ok(answer), None) => answer,
                (_, Some(other)) => {
                    translated.lacks.insert(place, Lack::SharedTarget(Arc::clone(other)));
                    continue;
                }
                (Err(why), None) => {
                    translated.lacks.insert(place, Lack::NoAnswer(why));
                    continue;
                }
            };
            let offset = bounds.within(TargetOffset(offset.0));
            let answer = Answer { offset, exactness, ahead: 0, not_copied: 0, left_out: 0 };
            let mine = places.into_iter().filter_map(|(topic, partition)| {
                let (topic_id, offset) = (*ids.get(&topic)?, asked.get(&(Arc::clone(&topic), partition))?.0);
                Some((PartitionKey { topic, topic_id, partition }, SourceOffset(offset)))
            });
            translated.wishes.insert(place, wish(answer, mine.collect(), committed));
        }
        Ok(())
    }
}

impl Drop for KafkaGroupMap {
    fn drop(&mut self) {
        std::iter::once(&self.reading).chain(&self.back).for_each(|reading| lock(reading).close());
    }
}

fn bounds_of<'a>(all: &'a AllBounds, place: &Place) -> Result<&'a TargetBounds, Lack> {
    match all.get(place) {
        Some(Ok(bounds)) => Ok(bounds),
        Some(Err(reason)) => Err(Lack::Unreadable(Arc::clone(reason))),
        None => Err(Lack::NoTarget),
    }
}

fn wish(answer: Answer, mine: Vec<(PartitionKey, SourceOffset)>, committed: &Committed) -> Wish {
    let kept = mine.first().and_then(|(key, _)| committed.get(&(Arc::clone(&key.topic), key.partition)));
    let metadata = kept.map(|kept| Arc::clone(&kept.metadata)).unwrap_or_default();
    let source = mine.into_iter().map(|(partition, offset)| SourcePlace { partition, offset }).collect();
    Wish { answer, source, metadata }
}
