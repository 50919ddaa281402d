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

/// The target topics that a lane has opened, for one attempt.
#[derive(Debug, Default)]
pub(crate) struct TargetTopics {
    open: BTreeMap<Arc<str>, TargetTopic>,
    /// Name and id by handle.
    named: HashMap<TopicHandle, (Arc<str>, TopicId)>,
    /// Answers for topics that cannot be written or have too few partitions, and until when each is
    /// cached.
    lacking: BTreeMap<Arc<str>, (Duration, TopicAnswer)>,
    /// The ids of the topics that this lane has written to, by progress.
    written: BTreeMap<Arc<str>, TopicId>,
    /// Open topics that the last look did not find.
    unseen: BTreeSet<Arc<str>>,
}

impl TargetTopics {
    /// Creates the topics of an attempt. `written` are the ids of those that the lane has written
    /// to.
    pub fn new(written: BTreeMap<Arc<str>, TopicId>) -> Self {
        Self { written, ..Self::default() }
    }

    /// Returns the id of a topic when the lane wrote to it, if it did and the id is known.
    pub fn written_id(&self, name: &str) -> Option<TopicId> {
        self.written.get(name).copied()
    }

    /// Forgets that the lane has written to a topic: what it wrote there is copied again.
    pub fn forget_written(&mut self, name: &str) {
        self.written.remove(name);
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

    /// Opens a topic. One that cannot be written stops its partitions and not the lane, so it is not
    /// an error.
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
            self.open.insert(Arc::clone(name), *topic);
            self.named.insert(topic.handle, (Arc::clone(name), topic.id));
        }
        if !matches!(answer, TopicAnswer::Open(_)) {
            // One lookup serves all the partitions that it stops.
            self.lacking.insert(Arc::clone(name), (clock.now() + LACKING, answer.clone()));
        }
        Ok(answer)
    }
}
