//! Finds the source topics of a link.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use strait_core::TopicId;
use strait_core::config::Selector;
use strait_flow::ports::{Class, Discovery, PortError, SourceTopic};

use crate::admin::{connect, fail};
use crate::config::ClusterConfig;
use crate::error::{blocking, own};
use crate::ffi::{Client, Code};
use crate::offsets::describe;

/// A [`Discovery`] by regular expressions that must match the whole name.
pub struct KafkaDiscovery {
    cluster: ClusterConfig,
    context: String,
    label: String,
    selector: Selector,
    timeout: Duration,
    client: Mutex<Option<Arc<Client>>>,
}

impl KafkaDiscovery {
    /// Topics that match one of `include` and none of `exclude`; reserved ones never.
    ///
    /// # Errors
    /// [`PortError`] of class `Stop` with the expression that cannot be read.
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
            selector,
            cluster: source.clone(),
            label: format!("{link}/discovery"),
            context,
            timeout,
            client: Mutex::new(None),
        })
    }

    fn client(&self) -> Result<Arc<Client>, PortError> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*client {
            return Ok(Arc::clone(client));
        }
        let made = Arc::new(connect(&self.cluster, &self.label).map_err(|error| fail(&self.context, &error, None))?);
        *client = Some(Arc::clone(&made));
        Ok(made)
    }
}

#[async_trait]
impl Discovery for KafkaDiscovery {
    async fn topics(&self) -> Result<Vec<SourceTopic>, PortError> {
        let client = self.client()?;
        let (asked, context, timeout) = (Arc::clone(&client), self.context.clone(), self.timeout);
        let all = blocking(&self.context, move || {
            asked.metadata(None, timeout).map_err(|error| fail(&context, &error, Some(&asked)))
        })
        .await??;
        let selected: BTreeMap<String, i32> = all
            .into_iter()
            .filter(|(topic, _, code)| *code == Code::OK && self.selector.selects(topic))
            .map(|(topic, partitions, _)| (topic, partitions))
            .collect();
        let (context, names) = (self.context.clone(), selected.clone());
        let described = blocking(&self.context, move || {
            let names: Vec<&str> = names.keys().map(String::as_str).collect();
            describe(&client, &names, false, timeout).map_err(|error| fail(&context, &error, Some(&client)))
        })
        .await??;
        let mut topics: Vec<SourceTopic> = described
            .into_iter()
            // One that went away between the two answers is simply not there.
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
