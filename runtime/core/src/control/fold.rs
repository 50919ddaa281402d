//! The fold of the control topic.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{ControlKey, ControlRecord, GroupRecord, ListedTopic, TOPICS_PER_PART, Tick, TopicRecord, TopicsPart};
use crate::offset::OwnerEpoch;

/// Most parts of a list that are kept: half a million topics.
const PARTS_MAX: u32 = 1_000;
/// Most target topics that are kept.
const TOPICS_MAX: usize = 100_000;
/// Most records of groups that are kept.
const GROUPS_MAX: usize = 100_000;

/// A control record that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// It cannot be decoded. It counts as deleted.
    #[error("a control record cannot be read ({0}): was it written by another program?")]
    Unreadable(String),
    /// There are too many records of its kind.
    #[error("the control topic holds more {0} than this process keeps")]
    TooMany(&'static str),
}

/// All that the control topic of a link says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    tick: Option<Tick>,
    parts: BTreeMap<u32, TopicsPart>,
    topics: BTreeMap<Arc<str>, TopicRecord>,
    /// By group and target topic.
    groups: BTreeMap<(Arc<str>, Arc<str>), Arc<GroupRecord>>,
}

impl Control {
    /// Applies one record, in log order. One that cannot be read counts as deleted: what it
    /// replaced is no longer true.
    ///
    /// # Errors
    /// [`ControlError`]. The others can be applied all the same.
    pub fn apply(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), ControlError> {
        match serde_json::from_slice(key).map_err(|error| ControlError::Unreadable(error.to_string()))? {
            ControlKey::Tick => {
                self.tick = None;
                self.tick = decoded(value)?;
            }
            ControlKey::Topics { part } if part < PARTS_MAX => put(&mut self.parts, part, value)?,
            ControlKey::Topics { .. } => return Err(ControlError::TooMany("parts of the list of topics")),
            ControlKey::Topic { topic } => {
                if self.topics.len() >= TOPICS_MAX && value.is_some() && !self.topics.contains_key(&topic) {
                    return Err(ControlError::TooMany("target topics"));
                }
                put(&mut self.topics, topic, value)?;
            }
            ControlKey::Group { group, topic } => {
                let key = (group, topic);
                if self.groups.len() >= GROUPS_MAX && value.is_some() && !self.groups.contains_key(&key) {
                    return Err(ControlError::TooMany("records of groups"));
                }
                put(&mut self.groups, key, value)?;
            }
            ControlKey::Unknown => {}
        }
        Ok(())
    }

    /// Applies records that this process has committed.
    pub fn wrote(&mut self, records: &[ControlRecord]) {
        for record in records {
            match record {
                ControlRecord::Tick(tick) => self.tick = Some(tick.clone()),
                ControlRecord::Topics(part, Some(topics)) => drop(self.parts.insert(*part, topics.clone())),
                ControlRecord::Topics(part, None) => drop(self.parts.remove(part)),
                ControlRecord::Topic(topic, Some(record)) => {
                    drop(self.topics.insert(Arc::clone(topic), record.clone()));
                }
                ControlRecord::Topic(topic, None) => drop(self.topics.remove(topic)),
                ControlRecord::Group(group, topic, Some(record)) => {
                    drop(self.groups.insert((Arc::clone(group), Arc::clone(topic)), Arc::clone(record)));
                }
                ControlRecord::Group(group, topic, None) => {
                    drop(self.groups.remove(&(Arc::clone(group), Arc::clone(topic))));
                }
            }
        }
    }

    /// Returns the last sign of life of a coordinator.
    #[must_use]
    pub fn tick(&self) -> Option<&Tick> {
        self.tick.as_ref()
    }

    /// Returns what is known of a target topic.
    #[must_use]
    pub fn topic(&self, topic: &str) -> Option<&TopicRecord> {
        self.topics.get(topic)
    }

    /// Returns the target topics that something is known of.
    #[must_use]
    pub fn topics(&self) -> &BTreeMap<Arc<str>, TopicRecord> {
        &self.topics
    }

    /// Returns what is known of groups, by group and target topic.
    #[must_use]
    pub fn groups(&self) -> &BTreeMap<(Arc<str>, Arc<str>), Arc<GroupRecord>> {
        &self.groups
    }

    /// Returns owner and version of the list of source topics; `None` where there is none, or a
    /// part of it is missing.
    #[must_use]
    pub fn listed(&self) -> Option<(OwnerEpoch, u64)> {
        let TopicsPart { owner, version, parts, .. } = self.parts.get(&0)?;
        let same = |part: &TopicsPart| part.owner == *owner && part.version == *version && part.parts == *parts;
        let is_whole = (0..*parts).all(|number| self.parts.get(&number).is_some_and(same));
        is_whole.then_some((*owner, *version))
    }

    /// Returns the source topics of the list, sorted by name; empty where there is no whole list.
    #[must_use]
    pub fn source_topics(&self) -> Vec<ListedTopic> {
        let parts = self.listed().and_then(|_| Some(self.parts.get(&0)?.parts)).unwrap_or_default();
        self.parts.range(..parts).flat_map(|(_, part)| part.topics.iter().cloned()).collect()
    }

    /// Returns the records that replace the list of source topics.
    #[must_use]
    pub fn list(&self, owner: OwnerEpoch, topics: &[ListedTopic]) -> Vec<ControlRecord> {
        let version = self.parts.values().map(|part| part.version).max().unwrap_or_default().saturating_add(1);
        // A list without topics has one part.
        let parts = u32::try_from(topics.len().div_ceil(TOPICS_PER_PART).max(1)).unwrap_or(u32::MAX).min(PARTS_MAX);
        let mut chunks = topics.chunks(TOPICS_PER_PART);
        let part = |number: u32| {
            let topics = chunks.next().unwrap_or_default().to_vec();
            ControlRecord::Topics(number, Some(TopicsPart { owner, version, parts, topics }))
        };
        let new: Vec<ControlRecord> = (0..parts).map(part).collect();
        let gone = self.parts.range(parts..).map(|(number, _)| ControlRecord::Topics(*number, None));
        new.into_iter().chain(gone).collect()
    }
}

fn decoded<T: DeserializeOwned>(value: Option<&[u8]>) -> Result<Option<T>, ControlError> {
    value.map(serde_json::from_slice).transpose().map_err(|error| ControlError::Unreadable(error.to_string()))
}

fn put<K: Ord, T: DeserializeOwned>(
    map: &mut BTreeMap<K, T>,
    key: K,
    value: Option<&[u8]>,
) -> Result<(), ControlError> {
    map.remove(&key);
    if let Some(value) = decoded(value)? {
        map.insert(key, value);
    }
    Ok(())
}
