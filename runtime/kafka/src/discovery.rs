//! Finds the source topics of a link.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use strait_core::TopicId;
use strait_core::config::Selector;
use strait_flow::ports::{Class, Discovery, PortError, SourceTopic};

use crate::config::ClusterConfig;
use crate::error::{blocking, own};
use crate::ffi::Code;
use crate::lazy_client::{LazyClient, fail};
use crate::queries::describe;

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
    async fn topics(&self) -> Result<Vec<SourceTopic>, PortError> {
        let client = self.client.get()?;
        let (asked, context, timeout) = (Arc::clone(&client), self.client.context.clone(), self.timeout);
        let all = blocking(&self.client.context, move || {
            asked.metadata(None, timeout).map_err(|error| fail(&context, &error, Some(&asked)))
        })
        .await??;
        let selected: Vec<String> = all
            .into_iter()
            .filter(|(topic, _, code)| *code == Code::OK && self.selector.selects(topic))
            .map(|(topic, ..)| topic)
            .collect();
        let context = self.client.context.clone();
        let described = blocking(&self.client.context, move || {
            let names: Vec<&str> = selected.iter().map(String::as_str).collect();
            describe(&client, &names, false, timeout).map_err(|error| fail(&context, &error, Some(&client)))
        })
        .await??;
        let mut topics: Vec<SourceTopic> = described
            .into_iter()
            // A topic may have been deleted between the two answers.
            .filter(|topic| topic.code == Code::OK)
            .map(|topic| SourceTopic {
                partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
                id: TopicId(topic.id),
                topic: topic.topic.into(),
            })
            .collect();
        topics.sort_by(|one, other| one.topic.cmp(&other.topic));
        Ok(topics)
    }
}
