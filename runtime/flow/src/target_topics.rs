//! The target topics that a lane has opened.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use strait_core::TopicId;
use strait_core::edit::OutRecord;

use crate::error::LaneError;
use crate::ports::{Class, Clock, Target, TargetTopic, TopicAnswer, TopicHandle, WantedTopic};

/// How long a failed lookup of a target topic is cached.
const LACKING: Duration = Duration::from_secs(5);
/// Failed lookups that are cached. Records can name topics without end; the others are asked again.
const LACKING_MAX: usize = 10_000;

/// The target topics that a lane has opened, for one attempt.
#[derive(Debug, Default)]
pub(crate) struct TargetTopics {
    open: BTreeMap<Arc<str>, TargetTopic>,
    /// Name and id by handle.
    named: HashMap<TopicHandle, (Arc<str>, TopicId)>,
    /// Answers for topics that cannot be written or have too few partitions, and until when each is
    /// cached.
    lacking: BTreeMap<Arc<str>, (Duration, TopicAnswer)>,
    /// The ids of the topics that partitions of this lane have written to, by progress.
    written: BTreeMap<Arc<str>, TopicId>,
    /// Open topics that the last look did not find.
    unseen: BTreeSet<Arc<str>>,
}

impl TargetTopics {
    /// Records that a partition of this lane has written to a topic with this id.
    pub fn note_written(&mut self, name: &Arc<str>, id: TopicId) {
        self.written.insert(Arc::clone(name), id);
    }

    /// Returns the id that a topic had when a partition of this lane wrote to it.
    pub fn written_id(&self, name: &str) -> Option<TopicId> {
        self.written.get(name).copied()
    }

    /// Returns an open topic that is another one now, or that two looks did not find.
    pub fn changed(&mut self, ids: &BTreeMap<Arc<str>, TopicId>) -> Option<Arc<str>> {
        let unseen: BTreeSet<Arc<str>> = self.open.keys().filter(|name| !ids.contains_key(*name)).cloned().collect();
        let before = std::mem::replace(&mut self.unseen, unseen);
        let is_gone = |name: &Arc<str>| before.contains(name) && self.unseen.contains(name);
        let is_another = |(name, topic): &(&Arc<str>, &TargetTopic)| {
            is_gone(name) || ids.get(*name).is_some_and(|id| topic.id.is_other_than(*id))
        };
        self.open.iter().find(is_another).map(|(name, _)| Arc::clone(name))
    }

    /// Returns the number of open topics.
    pub fn count(&self) -> usize {
        self.open.len()
    }

    /// Returns an open topic.
    pub fn get(&self, name: &str) -> Option<TargetTopic> {
        self.open.get(name).copied()
    }

    /// Returns the topic of one copy of a record.
    pub fn topic_of(&self, edit: &OutRecord, batch_topic: &TargetTopic) -> TargetTopic {
        let own = edit.topic.as_ref().and_then(|name| self.open.get(name));
        *own.unwrap_or(batch_topic)
    }

    /// Returns name and id of an open topic.
    pub fn identity_of(&self, handle: TopicHandle) -> Result<(&Arc<str>, TopicId), LaneError> {
        let unknown = || LaneError::impossible(format!("target topic {} was never opened", handle.0));
        self.named.get(&handle).map(|(name, id)| (name, *id)).ok_or_else(unknown)
    }

    /// Opens those of these topics that exist as they should, all at once. What stands in the way
    /// of one is found when a record needs it.
    pub async fn open_existing(&mut self, wanted: Vec<WantedTopic>, target: &mut dyn Target) -> Result<(), LaneError> {
        for (name, topic) in target.open_existing(wanted).await? {
            if self.written_id(&name).is_none_or(|id| !id.is_other_than(topic.id)) {
                self.insert(&name, topic);
            }
        }
        Ok(())
    }

    fn insert(&mut self, name: &Arc<str>, topic: TargetTopic) {
        self.open.insert(Arc::clone(name), topic);
        self.named.insert(topic.handle, (Arc::clone(name), topic.id));
    }

    /// Opens a topic. One that cannot be written stops its partitions and not the lane, so it is
    /// not an error.
    pub async fn open(
        &mut self,
        wanted: &WantedTopic,
        target: &mut dyn Target,
        clock: &dyn Clock,
        now: Duration,
    ) -> Result<TopicAnswer, LaneError> {
        let name = &wanted.name;
        if let Some((_, answer)) = self.lacking.get(name).filter(|(until, _)| *until > now) {
            return Ok(answer.clone());
        }
        let answer = match target.open_topic(wanted).await {
            Err(error) if error.class == Class::Stop => TopicAnswer::Denied(error.reason),
            other => other?,
        };
        if let TopicAnswer::Open(topic) | TopicAnswer::TooSmall(topic, _) = &answer {
            self.insert(name, *topic);
        }
        if !matches!(answer, TopicAnswer::Open(_) | TopicAnswer::Appearing) {
            // One lookup serves all the partitions that it stops.
            self.note_lacking(name, answer.clone(), clock.now());
        }
        Ok(answer)
    }

    fn note_lacking(&mut self, name: &Arc<str>, answer: TopicAnswer, now: Duration) {
        if self.lacking.len() >= LACKING_MAX {
            self.lacking.retain(|_, (until, _)| *until > now);
        }
        if self.lacking.len() < LACKING_MAX {
            self.lacking.insert(Arc::clone(name), (now + LACKING, answer));
        }
    }

    /// Records that a topic does not exist and is not created.
    pub fn note_missing(&mut self, name: &Arc<str>, now: Duration) {
        self.note_lacking(name, TopicAnswer::Missing, now);
    }

    /// Returns whether a topic did not exist when it was last looked for, which was not long ago.
    pub fn is_missing(&self, name: &str, now: Duration) -> bool {
        let known = self.lacking.get(name).filter(|(until, _)| *until > now);
        matches!(known, Some((_, TopicAnswer::Missing)))
    }

    /// Returns whether a copy of a record has a topic to go to. Every topic that exists, or may be
    /// created, is open by the time that records are checked.
    pub fn has_topic_of(&self, edit: &OutRecord, batch_topic: &str) -> bool {
        edit.topic.as_deref().is_none_or(|name| name == batch_topic || self.open.contains_key(name))
    }

    /// Forgets what kept topics from being opened, so that the target is asked again.
    pub fn forget_lacking(&mut self) {
        self.lacking.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(id: u8) -> TargetTopic {
        TargetTopic {
            handle: TopicHandle(0),
            id: TopicId([id; 16]),
            partitions: 1,
            max_message_bytes: 1 << 20,
            log_append_time: false,
            timestamp_after_max_ms: i64::MAX,
            timestamp_before_max_ms: i64::MAX,
        }
    }

    #[test]
    fn a_topic_that_is_missing_is_looked_for_again_and_there_are_not_endlessly_many() {
        let mut topics = TargetTopics::default();
        let at = Duration::from_secs;
        topics.note_missing(&"a".into(), at(1));
        assert!(topics.is_missing("a", at(5)) && !topics.is_missing("a", at(6)) && !topics.is_missing("b", at(1)));
        for number in 0..2 * LACKING_MAX {
            topics.note_missing(&format!("t{number}").into(), at(7));
        }
        assert_eq!(topics.lacking.len(), LACKING_MAX);
    }

    fn ids(found: &[(&str, u8)]) -> BTreeMap<Arc<str>, TopicId> {
        found.iter().map(|(name, id)| ((*name).into(), TopicId([*id; 16]))).collect()
    }

    #[test]
    fn another_topic_is_noticed_at_once_and_a_missing_one_at_the_second_look() {
        let mut topics = TargetTopics::default();
        topics.insert(&"a".into(), topic(1));
        topics.insert(&"b".into(), topic(2));
        assert_eq!(topics.changed(&ids(&[("a", 1), ("b", 2)])), None);
        assert_eq!(topics.changed(&ids(&[("a", 1), ("b", 3)])).as_deref(), Some("b"));
        assert_eq!(topics.changed(&ids(&[("b", 2)])), None, "one broker may not know it yet");
        assert_eq!(topics.changed(&ids(&[("a", 1), ("b", 2)])), None);
        assert_eq!(topics.changed(&ids(&[("b", 2)])), None);
        assert_eq!(topics.changed(&ids(&[("b", 2)])).as_deref(), Some("a"));
        // A cluster that tells no ids says nothing about them.
        assert_eq!(topics.changed(&ids(&[("a", 0), ("b", 0)])), None);
    }
}
