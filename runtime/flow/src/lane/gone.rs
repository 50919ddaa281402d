//! Topics and partitions that the source does not know. A broker that is behind the others says so
//! of what exists, so it is believed once it is said again, later.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use strait_core::{Event, PartitionKey};

use super::Lane;
use crate::error::LaneError;
use crate::partitions::{Pause, Stream};
use crate::ports::SourceTopic;

/// Time until the source is asked again for a partition that it does not know. Brokers catch up
/// with their controller within a second or two.
const AGAIN: Duration = Duration::from_secs(3);
/// Most topics that the source is asked for with one list, as it lists them no more.
const ASKED_MAX: usize = 500;
/// The event.
const GONE: &str = "source_gone";

impl Lane<'_> {
    /// The source does not know a partition that is read.
    pub(super) async fn on_gone(&mut self, stream: Stream, now: Duration) -> Result<(), LaneError> {
        let window = self.partitions.at(stream);
        let (partition, position) = (window.key().clone(), window.expected());
        if self.caution.doubts_gone(&partition, now, AGAIN) {
            tracing::debug!(link = %self.spec.link, %partition, "the source does not know the partition, asking again");
            self.partitions.at_mut(stream).pause(Pause::Waiting { retry_at: now + AGAIN });
            return Ok(());
        }
        self.stop(stream, Event::SourceGone { partition, position }).await
    }

    /// Reports the partitions with progress whose topic the source does not have any more, and that
    /// have no place here to stop at. A topic that the link does not select any more is no news.
    /// About each topic that goes from the list the source is asked until its answer is believed,
    /// and about a bounded number of them at a time.
    pub(super) async fn report_gone(&mut self, topics: &[SourceTopic]) {
        let names = self.gone_from(topics);
        if names.is_empty() {
            return;
        }
        let asked = names.get(..ASKED_MAX).unwrap_or(&names);
        let ids = match self.source.topic_ids(asked).await {
            Ok(ids) => ids,
            Err(error) => {
                tracing::debug!(link = %self.spec.link, %error, "cannot ask for topics that are not listed, will retry");
                return self.unplaced.ask_again(self.deps.clock.now());
            }
        };
        let (gone, exist): (Vec<_>, Vec<_>) = asked.iter().cloned().partition(|name| !ids.contains_key(name));
        exist.iter().for_each(|topic| self.caution.knows(topic));
        self.unplaced.unlisted.extend(exist);
        let mut is_open = asked.len() < names.len();
        for topic in gone {
            is_open |= !self.tell_gone(&topic);
        }
        if is_open {
            self.unplaced.ask_again(self.deps.clock.now());
        }
    }

    /// Returns the topics with progress that are not listed, and about which nothing was told.
    fn gone_from(&mut self, topics: &[SourceTopic]) -> Vec<Arc<str>> {
        let listed: BTreeSet<&str> = topics.iter().map(|topic| &*topic.topic).collect();
        self.unplaced.unlisted.retain(|topic| !listed.contains(&**topic));
        let known = &self.unplaced.unlisted;
        let is_news = |key: &PartitionKey| !listed.contains(&*key.topic) && !known.contains(&key.topic);
        // One that has a place here stops there.
        let has_place = |key: &PartitionKey| self.partitions.stream_of(&key.topic, key.partition).is_some();
        let has_told = |key: &PartitionKey| self.caution.has_told(GONE, &key.to_string());
        let news = self.progress.known().map(|(key, _)| key);
        let news = news.filter(|key| is_news(key) && !has_place(key) && !has_told(key));
        let mut names: Vec<Arc<str>> = news.map(|key| Arc::clone(&key.topic)).collect();
        names.dedup();
        names
    }

    /// Tells that the source does not have a topic any more, once it has said so before. Returns
    /// whether it had.
    fn tell_gone(&mut self, topic: &Arc<str>) -> bool {
        let of_topic = self
            .progress
            .known()
            .filter(|(key, _)| key.topic == *topic && self.partitions.stream_of(&key.topic, key.partition).is_none());
        let of_topic: Vec<_> = of_topic.map(|(key, position)| (key.clone(), position.next)).collect();
        let (now, mut is_believed) = (self.deps.clock.now(), true);
        for (partition, position) in of_topic {
            if self.caution.doubts_gone(&partition, now, AGAIN) {
                is_believed = false;
            } else if self.caution.tell_once(GONE, partition.to_string().into()) {
                self.emit(Event::SourceGone { partition, position });
            }
        }
        is_believed
    }
}
