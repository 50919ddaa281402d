//! Finds the source topics of a link.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use strait_core::config::{Selector, nearest};
use strait_core::mm2::HeartbeatTopics;
use strait_core::topic::is_reserved;
use strait_core::{PartitionKey, SourceOffset, TopicId};
use strait_flow::lock;
use strait_flow::ports::{BoundsAnswer, Class, Discovery, LogBounds, PortError, SourceTopic, SourceTopics};

use crate::config::ClusterConfig;
use crate::error::{own, port_error};
use crate::ffi::{Client, Code, FfiError, OffsetSpec, Place, TopicDescription};
use crate::lazy_client::LazyClient;
use crate::queries::{self, OffsetAnswers, describe, is_gone};

/// A [`Discovery`] by regular expressions, which must match whole names.
pub struct KafkaDiscovery {
    client: LazyClient,
    selector: Selector,
    timeout: Duration,
    /// The topics that were described.
    known: Mutex<Known>,
}

/// Topics of which so many are selected are described with each list.
const DESCRIBED_AT_ONCE: usize = 200;
/// Of more topics, each is described within so many lists.
const LISTS: usize = 30;

/// The topics that were described, and whose turn is next. The list of topics says how many
/// partitions they have, but not which incarnations they are.
#[derive(Default)]
struct Known {
    topics: BTreeMap<String, SourceTopic>,
    /// The last one of the last turn.
    last: String,
}

impl Known {
    /// Returns those of the selected topics that are to be described now: each that is new or has
    /// changed, and some of the others in turn. `listed` are the answers of the cluster.
    fn due(&mut self, selected: &BTreeSet<String>, listed: &BTreeMap<String, (i32, Code)>) -> Vec<String> {
        self.topics.retain(|topic, _| selected.contains(topic));
        if selected.len() <= DESCRIBED_AT_ONCE {
            return selected.iter().cloned().collect();
        }
        let is_as_before = |topic: &String| {
            let (Some(known), Some((partitions, code))) = (self.topics.get(topic), listed.get(topic)) else {
                return false;
            };
            *code == Code::OK && known.partitions == *partitions
        };
        let mut due: BTreeSet<String> = selected.iter().filter(|topic| !is_as_before(topic)).cloned().collect();
        let turn = selected.len().div_ceil(LISTS).max(DESCRIBED_AT_ONCE);
        let behind = selected.range::<String, _>((Bound::Excluded(&self.last), Bound::Unbounded));
        let turn: Vec<String> = behind.chain(selected).take(turn).cloned().collect();
        self.last = turn.last().cloned().unwrap_or_default();
        due.extend(turn);
        due.into_iter().collect()
    }

    /// Takes the descriptions of those that were due. Returns all topics.
    fn described(&mut self, due: &[String], described: SourceTopics) -> SourceTopics {
        for topic in due {
            self.topics.remove(topic);
        }
        self.topics.extend(described.listed.into_iter().map(|topic| (topic.topic.to_string(), topic)));
        SourceTopics { listed: self.topics.values().cloned().collect(), ..described }
    }
}

impl KafkaDiscovery {
    /// Finds topics that match one of `include` and none of `exclude`, and never reserved ones.
    ///
    /// # Errors
    /// [`PortError`] of class `Stop` with the expression that does not parse.
    pub fn new(
        source: &ClusterConfig,
        link: &str,
        include: &[String],
        exclude: &[String],
        timeout: Duration,
    ) -> Result<Self, PortError> {
        let context = format!("link {link}: topics of cluster {}", source.name);
        let selector =
            Selector::new(include, exclude).map_err(|error| own(Class::Stop, context.clone(), error.to_string()))?;
        Ok(Self {
            client: LazyClient::new(source, format!("{link}/discovery"), context),
            selector,
            timeout,
            known: Mutex::default(),
        })
    }

    /// Finds these heartbeats too, whatever the expressions are.
    #[must_use]
    pub fn with_heartbeats(self, heartbeats: Option<HeartbeatTopics>) -> Self {
        Self { selector: self.selector.with_heartbeats(heartbeats), ..self }
    }
}

#[async_trait]
impl Discovery for KafkaDiscovery {
    async fn topics(&self) -> Result<SourceTopics, PortError> {
        let timeout = self.timeout;
        let all = self.client.ask(move |client| client.metadata(None, timeout)).await?;
        // Any broker gives this list, and only one the descriptions.
        self.client.heard();
        // For the name that was meant where one that the configuration names does not exist.
        let names: Vec<String> = match self.selector.named().next() {
            Some(_) => all.iter().map(|(topic, ..)| topic.clone()).collect(),
            None => Vec::new(),
        };
        let is_selected = |topic: &str, partitions: i32| {
            self.selector.selects(topic) || self.selector.selects_heartbeats(topic, partitions)
        };
        let selected = all.into_iter().filter(|(topic, partitions, _)| is_selected(topic, *partitions));
        let listed: BTreeMap<String, (i32, Code)> =
            selected.map(|(topic, partitions, code)| (topic, (partitions, code))).collect();
        let mut selected: BTreeSet<String> = listed.keys().cloned().collect();
        // A cluster does not list topics that the principal may not describe. Those that the
        // configuration names are asked for, as their silence would look like that of an idle
        // topic.
        selected.extend(self.selector.named().map(str::to_owned));
        let due = lock(&self.known).due(&selected, &listed);
        let asked = due.clone();
        let described = self.client.ask_patiently(move |client| {
            let names: Vec<&str> = asked.iter().map(String::as_str).collect();
            describe(client, &names, false, timeout)
        });
        let described = sorted(described.await?, &self.client.context);
        let mut topics = lock(&self.known).described(&due, described);
        topics.missing.retain(|topic, _| !listed.contains_key(&**topic));
        suggest(&mut topics.missing, &names);
        Ok(topics)
    }

    async fn bounds(&self, partitions: &[PartitionKey]) -> Result<BTreeMap<PartitionKey, BoundsAnswer>, PortError> {
        let timeout = self.timeout;
        let asked: Vec<Place> = partitions.iter().map(|key| Place::of(&*key.topic, key.partition)).collect();
        let looked = self.client.ask_patiently(move |client| Look::at(client, &asked, timeout)).await?;
        Ok(partitions.iter().map(|key| (key.clone(), looked.answer(key))).collect())
    }

    fn answers(&self) -> u64 {
        self.client.answers()
    }
}

/// Adds to each topic that does not exist the one among `names` that may be meant.
fn suggest(missing: &mut BTreeMap<Arc<str>, Option<Arc<str>>>, names: &[String]) {
    for (topic, meant) in missing {
        let others = names.iter().map(String::as_str).filter(|name| !is_reserved(name));
        *meant = nearest(topic, others).map(Arc::from);
    }
}

/// Sorts topics by whether they could be described.
fn sorted(described: Vec<TopicDescription>, context: &str) -> SourceTopics {
    let mut topics = SourceTopics::default();
    for topic in described {
        if topic.code == Code::OK {
            topics.listed.push(SourceTopic {
                partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
                id: TopicId(topic.id),
                topic: topic.topic.into(),
            });
        } else if !is_gone(topic.code) {
            let error = port_error(context, &FfiError::new(topic.code, topic.text));
            topics.hidden.insert(topic.topic.into(), error);
        } else {
            topics.missing.insert(topic.topic.into(), None);
        }
    }
    topics.listed.sort_by(|one, other| one.topic.cmp(&other.topic));
    topics
}

/// The answers to the three questions about log bounds.
struct Look {
    stable: OffsetAnswers,
    /// Of partitions that answered the first question.
    start: OffsetAnswers,
    end: OffsetAnswers,
}

impl Look {
    fn at(client: &Client, partitions: &[Place], timeout: Duration) -> Result<Self, FfiError> {
        let stable = queries::list_each(client, partitions, OffsetSpec::Latest, true, timeout)?;
        // A leader that is silent would hold up each question until it times out.
        let answered = |place: &&Place| matches!(stable.get(&(place.topic.clone(), place.partition)), Some(Ok(_)));
        let answered: Vec<Place> = partitions.iter().filter(answered).cloned().collect();
        let start = queries::list_each(client, &answered, OffsetSpec::Earliest, false, timeout)?;
        let end = queries::list_each(client, &answered, OffsetSpec::Latest, false, timeout)?;
        Ok(Self { stable, start, end })
    }

    fn answer(&self, key: &PartitionKey) -> BoundsAnswer {
        let place = (key.topic.to_string(), key.partition);
        let offset = |answers: &OffsetAnswers| answers.get(&place).cloned().transpose();
        let bounds = || -> Result<Option<LogBounds>, FfiError> {
            let (Some(stable), Some(start), Some(end)) =
                (offset(&self.stable)?, offset(&self.start)?, offset(&self.end)?)
            else {
                return Ok(None);
            };
            let (log_start, high_watermark) = (SourceOffset(start), SourceOffset(end));
            Ok(Some(LogBounds { log_start, last_stable: SourceOffset(stable), high_watermark }))
        };
        match bounds() {
            Ok(Some(bounds)) => BoundsAnswer::Known(bounds),
            Ok(None) => BoundsAnswer::Gone,
            Err(error) => BoundsAnswer::Failed(port_error("", &error).reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_topics_the_new_and_the_changed_are_described_at_once_and_the_others_in_turn() {
        let mut known = Known::default();
        let name = |number: usize| format!("t{number:05}");
        let all = |count: usize| -> BTreeMap<String, (i32, Code)> {
            (0..count).map(|number| (name(number), (3, Code::OK))).collect()
        };
        let mut look = |listed: &BTreeMap<String, (i32, Code)>| {
            let selected: BTreeSet<String> = listed.keys().cloned().collect();
            let due = known.due(&selected, listed);
            let one = |topic: &String| SourceTopic {
                topic: topic.as_str().into(),
                id: TopicId([1; 16]),
                partitions: listed[topic].0,
            };
            let described = SourceTopics { listed: due.iter().map(one).collect(), ..SourceTopics::default() };
            let found = known.described(&due, described);
            assert_eq!(
                found.listed.iter().map(|topic| topic.partitions).collect::<Vec<_>>(),
                listed.values().map(|(count, _)| *count).collect::<Vec<_>>()
            );
            assert!(found.listed.is_sorted_by_key(|topic| Arc::clone(&topic.topic)));
            due
        };
        assert_eq!(look(&all(200)).len(), 200);
        assert_eq!(look(&all(200)).len(), 200, "few are all described each time");
        assert_eq!(look(&all(9_000)).len(), 9_000, "or else their ids are not known");
        let mut seen = BTreeSet::new();
        for _ in 0..LISTS {
            let due = look(&all(9_000));
            assert_eq!(due.len(), 300);
            seen.extend(due);
        }
        assert_eq!(seen.len(), 9_000);
        let mut changed = all(9_001);
        changed.insert(name(77), (4, Code::OK));
        changed.insert(name(8_500), (3, Code::LEADER_NOT_AVAILABLE));
        let due = look(&changed);
        assert!([77, 8_500, 9_000].map(name).iter().all(|topic| due.contains(topic)) && due.len() <= 304);
        changed.remove(&name(5));
        look(&changed);
    }

    #[test]
    fn a_topic_that_cannot_be_described_is_told_from_one_that_does_not_exist() {
        let described = TopicDescription::answered;
        let all = vec![
            described("well", Code::OK),
            described("denied", Code::TOPIC_AUTHORIZATION_FAILED),
            described("gone", Code::UNKNOWN_TOPIC_OR_PART),
            described("electing", Code::LEADER_NOT_AVAILABLE),
            described("also-well", Code::OK),
        ];
        let mut topics = sorted(all, "topics");
        let listed: Vec<&str> = topics.listed.iter().map(|topic| &*topic.topic).collect();
        assert_eq!(listed, ["also-well", "well"]);
        let hidden: Vec<(&str, Class)> = topics.hidden.iter().map(|(topic, error)| (&**topic, error.class)).collect();
        assert_eq!(hidden, [("denied", Class::Stop), ("electing", Class::Retry)]);
        assert!(topics.hidden["denied"].reason.contains("the principal lacks an ACL"));
        assert_eq!(topics.missing, [("gone".into(), None)].into());
        let names = ["well", "strait.gonne.map", "gonne"].map(str::to_owned);
        suggest(&mut topics.missing, &names[..2]);
        assert_eq!(topics.missing["gone"], None, "no topic of our own is meant");
        suggest(&mut topics.missing, &names);
        assert_eq!(topics.missing["gone"].as_deref(), Some("gonne"));
    }
}
