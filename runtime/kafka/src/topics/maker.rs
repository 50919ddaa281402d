//! Creates target topics like their source topics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use strait_core::Event;
use strait_core::config::{Replication, Sync};
use strait_core::plan::{Excluded, replicas};
use strait_flow::MadeTopics;
use strait_flow::ports::{EventSink, PortError, WantedTopic};

use super::settings::{Created, Creation, TopicSettings};
use crate::config::ClusterConfig;
use crate::ffi::{Client, FfiError, TopicConfigs};
use crate::lazy_client::LazyClient;
use crate::queries::{describe, is_denied, is_unsupported};

/// Creates the target topics of a link, with the settings of their source topics. Its lanes share
/// it.
pub struct TopicMaker {
    link: String,
    source: LazyClient,
    replication: Replication,
    excluded: Excluded,
    events: Arc<dyn EventSink>,
    /// The topics that were created.
    made: Arc<MadeTopics>,
    timeout: Duration,
}

/// The known properties of a source topic.
struct SourceFacts {
    /// Its effective settings, or why they cannot be read.
    configs: Result<TopicConfigs, String>,
    /// Number of replicas; 0 if it is not known.
    replicas: u32,
}

/// A topic that the target refused to create, with its error.
pub(super) type Refused = (Arc<str>, FfiError);

impl TopicMaker {
    /// Connects to the source on first use. One request takes `timeout` at most.
    #[must_use]
    pub fn new(source: &ClusterConfig, link: &str, sync: &Sync, events: Arc<dyn EventSink>, timeout: Duration) -> Self {
        let context = format!("link {link}: settings of topics on cluster {}", source.name);
        let source = LazyClient::new(source, format!("{link}/source-settings"), context);
        let (replication, excluded) = (sync.replication, Excluded::of(sync));
        Self { link: link.to_owned(), source, replication, excluded, events, made: Arc::default(), timeout }
    }

    /// Notes there what it creates.
    #[must_use]
    pub fn noting(self, made: Arc<MadeTopics>) -> Self {
        Self { made, ..self }
    }

    /// Creates topics by a client of the target. Returns those that the target refused. Blocks for
    /// a bounded time.
    ///
    /// # Errors
    /// [`PortError`] if the source does not answer.
    pub(super) fn create(&self, target: &Client, wanted: &[&WantedTopic]) -> Result<Vec<Refused>, PortError> {
        let mut refused = Vec::new();
        let plans = self.plan(target, wanted)?;
        let creations: Vec<Creation<'_>> = plans.iter().map(Plan::creation).collect();
        for (plan, sent) in plans.iter().zip(Creation::send_all(&creations, target, self.timeout)) {
            match self.answered(plan, target, sent) {
                Ok(events) => events.into_iter().for_each(|event| self.events.emit(&self.link, event)),
                Err(error) => refused.push((Arc::clone(&plan.wanted.name), error)),
            }
        }
        Ok(refused)
    }

    /// Returns how topics are to be created.
    ///
    /// # Errors
    /// [`PortError`] if the source does not answer.
    pub(super) fn plan<'a>(&self, target: &Client, wanted: &[&'a WantedTopic]) -> Result<Vec<Plan<'a>>, PortError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let sources: BTreeSet<&str> = wanted.iter().map(|topic| &*topic.like).collect();
        let facts = self.read_source(&sources.into_iter().collect::<Vec<_>>())?;
        // Where the cluster does not say how many brokers it has, it refuses what is too many.
        let brokers = target.describe_cluster(self.timeout).map_or(usize::MAX, |cluster| cluster.brokers);
        let none = SourceFacts { configs: Err("the source does not know the topic".to_owned()), replicas: 0 };
        let plan = |wanted: &&'a WantedTopic| {
            let source = facts.get(&*wanted.like).unwrap_or(&none);
            let known = source.configs.as_ref().map_err(Clone::clone).and_then(|configs| {
                let incomplete = || "cleanup.policy and retention.ms are not reported".to_owned();
                TopicSettings::like_source(configs, &self.excluded).ok_or_else(incomplete)
            });
            let replicas = replicas(self.replication, source.replicas, brokers);
            let unknown = known.as_ref().err().cloned();
            let settings = known.unwrap_or_else(|_| TopicSettings::keeping_everything(&self.excluded));
            Plan { wanted, settings, replicas, unknown }
        };
        Ok(wanted.iter().map(plan).collect())
    }

    fn answered(
        &self,
        plan: &Plan<'_>,
        target: &Client,
        sent: Result<Option<Created>, FfiError>,
    ) -> Result<Vec<Event>, FfiError> {
        let WantedTopic { name, like, .. } = plan.wanted;
        match sent {
            // The mock cluster creates a topic when a producer asks for its metadata.
            Err(error) if is_unsupported(error.code) => target.metadata(Some(name), self.timeout).map(|_| Vec::new()),
            Err(error) => Err(error),
            Ok(None) => Ok(Vec::new()),
            Ok(Some(created)) => {
                let (link, settings) = (&self.link, &plan.settings.all);
                tracing::info!(link, topic = &**name, source_topic = &**like, ?settings, "created a target topic");
                self.made.note(name, like);
                Ok(plan.events(created))
            }
        }
    }

    fn read_source(&self, topics: &[&str]) -> Result<BTreeMap<String, SourceFacts>, PortError> {
        let (described, configs) = self.source.ask_here(|client| {
            let described = describe(client, topics, false, self.timeout)?;
            let configs = match client.configs_of_topics(topics, self.timeout) {
                Err(error) if is_unsupported(error.code) || is_denied(error.code) => {
                    topics.iter().map(|topic| ((*topic).to_owned(), Err(error.clone()))).collect()
                }
                other => other?,
            };
            Ok((described, configs))
        })?;
        let replicas: BTreeMap<String, u32> = described
            .into_iter()
            .map(|topic| (topic.topic, topic.partitions.iter().map(|p| p.replicas).max().unwrap_or_default()))
            .collect();
        let facts = configs.into_iter().map(|(topic, configs)| {
            let replicas = replicas.get(&topic).copied().unwrap_or_default();
            (topic, SourceFacts { configs: configs.map_err(|error| error.to_string()), replicas })
        });
        Ok(facts.collect())
    }
}

/// How a target topic is to be created.
pub(super) struct Plan<'a> {
    /// The topic.
    pub wanted: &'a WantedTopic,
    settings: TopicSettings,
    replicas: Option<u32>,
    /// Why the settings of the source topic are not known.
    unknown: Option<String>,
}

impl Plan<'_> {
    /// Returns what to send to the target.
    pub fn creation(&self) -> Creation<'_> {
        let WantedTopic { name, partitions, .. } = self.wanted;
        Creation { name, partitions: (*partitions).max(1), replicas: self.replicas, settings: &self.settings }
    }

    /// Returns what is worth reporting of a topic that was created.
    pub fn events(&self, created: Created) -> Vec<Event> {
        let (source_topic, target_topic) = (&self.wanted.like, &self.wanted.name);
        let unknown = self.unknown.clone().map(|reason| Event::SourceConfigUnknown {
            source_topic: Arc::clone(source_topic),
            target_topic: Arc::clone(target_topic),
            reason,
        });
        unknown.into_iter().chain(created.event(target_topic)).collect()
    }
}
