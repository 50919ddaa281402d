//! Finds the source topics of a link.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use strait_core::config::Selector;
use strait_core::{PartitionKey, SourceOffset, TopicId};
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
        Ok(Self { client: LazyClient::new(source, format!("{link}/discovery"), context), selector, timeout })
    }
}

#[async_trait]
impl Discovery for KafkaDiscovery {
    async fn topics(&self) -> Result<SourceTopics, PortError> {
        let timeout = self.timeout;
        let all = self.client.ask(move |client| client.metadata(None, timeout)).await?;
        let mut selected: BTreeSet<String> =
            all.into_iter().map(|(topic, ..)| topic).filter(|topic| self.selector.selects(topic)).collect();
        // A cluster does not list topics that the principal may not describe. Those that the
        // configuration names are asked for, as their silence would look like that of an idle
        // topic.
        selected.extend(self.selector.named().map(str::to_owned));
        let described = self.client.ask(move |client| {
            let names: Vec<&str> = selected.iter().map(String::as_str).collect();
            describe(client, &names, false, timeout)
        });
        Ok(sorted(described.await?, &self.client.context))
    }

    async fn bounds(&self, partitions: &[PartitionKey]) -> Result<BTreeMap<PartitionKey, BoundsAnswer>, PortError> {
        let timeout = self.timeout;
        let asked: Vec<Place> = partitions.iter().map(|key| Place::of(&*key.topic, key.partition)).collect();
        let looked = self.client.ask(move |client| Look::at(client, &asked, timeout)).await?;
        Ok(partitions.iter().map(|key| (key.clone(), looked.answer(key))).collect())
    }
}

/// Sorts topics by whether they could be described. Those that do not exist are left out.
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
    fn a_topic_that_cannot_be_described_is_told_from_one_that_does_not_exist() {
        let described = TopicDescription::answered;
        let all = vec![
            described("well", Code::OK),
            described("denied", Code::TOPIC_AUTHORIZATION_FAILED),
            described("gone", Code::UNKNOWN_TOPIC_OR_PART),
            described("electing", Code::LEADER_NOT_AVAILABLE),
            described("also-well", Code::OK),
        ];
        let topics = sorted(all, "topics");
        let listed: Vec<&str> = topics.listed.iter().map(|topic| &*topic.topic).collect();
        assert_eq!(listed, ["also-well", "well"]);
        let hidden: Vec<(&str, Class)> = topics.hidden.iter().map(|(topic, error)| (&**topic, error.class)).collect();
        assert_eq!(hidden, [("denied", Class::Stop), ("electing", Class::Retry)]);
        assert!(topics.hidden["denied"].reason.contains("the principal lacks an ACL"));
    }
}
