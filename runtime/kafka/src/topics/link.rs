//! The topics that a link keeps for itself on the target: progress, offset map, and what its
//! processes share.

use std::time::Duration;

use strait_core::link_topics::{LinkTopic, TopicFaults};
use strait_flow::ports::{Class, PortError};

use super::{Creation, TopicSettings, count, create, grow, own_replicas, wait_for};
use crate::config::ClusterConfig;
use crate::error::{blocking, own};
use crate::ffi::{Client, FfiError};
use crate::lazy_client::{connect, fail};
use crate::queries::is_unsupported;

/// Why the topics of a link are not as they must be.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LinkTopicsError {
    /// The configuration and the progress topic disagree about the number of lanes.
    #[error(
        "link {link}: lanes = {configured}, but {topic} was made with {existing} lanes; which partition belongs to which lane depends on it: put lanes = {existing} back, or stop every process of the link and run `strait lanes resize {link} {configured}`"
    )]
    Lanes {
        /// Name of the link.
        link: String,
        /// Its progress topic.
        topic: String,
        /// Number of lanes in the configuration.
        configured: u32,
        /// Number of lanes of the topic.
        existing: u32,
    },
    /// A topic has settings with which positions or the map would be lost.
    #[error("link {link}: topic {topic} cannot be used: {reason}")]
    Unfit {
        /// Name of the link.
        link: String,
        /// The topic.
        topic: String,
        /// The faults, their harm, and the command that mends them.
        reason: String,
    },
    /// They could not be looked up or created.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// The topics of a link as they must be.
#[derive(Clone, Debug)]
pub struct LinkTopics {
    /// The target cluster.
    pub target: ClusterConfig,
    /// Name of the link.
    pub link: String,
    /// Number of lanes, which is the number of partitions.
    pub lanes: u32,
    /// How long map records are kept; `None` keeps them for ever. It should be at least the longest
    /// retention among the source topics.
    pub map_retention: Option<Duration>,
    /// Whether Strait may create and grow them.
    pub manage: bool,
    /// How long one request to the cluster may take.
    pub timeout: Duration,
}

/// The topics of a link as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkTopicsFound {
    /// Number of lanes.
    pub lanes: u32,
    /// Topics that are not as they should be, and why. The link can go on.
    pub unfit: Vec<(String, String)>,
    /// Largest batch that both the progress topic and the offset map take, in bytes, where the
    /// cluster tells it.
    pub batch_bytes_max: Option<usize>,
}

impl LinkTopics {
    /// Creates the topics where they are missing, and checks the others.
    ///
    /// # Errors
    /// [`LinkTopicsError`].
    pub async fn ensure(self) -> Result<LinkTopicsFound, LinkTopicsError> {
        blocking(&self.context(), move || self.ensure_blocking()).await?
    }

    pub(super) fn context(&self) -> String {
        format!("link {}: topics of the link on cluster {}", self.link, self.target.name)
    }

    pub(super) fn connect(&self) -> Result<Client, PortError> {
        connect(&self.target, &format!("{}/topics", self.link)).map_err(|error| fail(&self.context(), &error, None))
    }

    pub(super) fn fail(&self, client: &Client, error: &FfiError) -> PortError {
        fail(&self.context(), error, Some(client))
    }

    fn ensure_blocking(&self) -> Result<LinkTopicsFound, LinkTopicsError> {
        let client = self.connect()?;
        let port = |error: FfiError| self.fail(&client, &error);
        let (progress, map) = (LinkTopic::Progress.name(&self.link), LinkTopic::Map.name(&self.link));
        let mut existing = count(&client, &progress, self.timeout).map_err(port)?;
        if existing == 0 {
            existing = self.create(&client, LinkTopic::Progress)?;
        }
        if existing != self.lanes {
            let (link, configured) = (self.link.clone(), self.lanes);
            return Err(LinkTopicsError::Lanes { link, topic: progress, configured, existing });
        }
        // Before anything else is created for it.
        let mut found = LinkTopicsFound { lanes: existing, ..LinkTopicsFound::default() };
        self.judge(&client, LinkTopic::Progress, &mut found)?;
        let map_partitions = count(&client, &map, self.timeout).map_err(port)?;
        if map_partitions == 0 {
            self.create(&client, LinkTopic::Map)?;
        } else if map_partitions < self.lanes {
            grow(&client, &map, self.lanes, self.timeout).map_err(port)?;
            wait_for(&client, &map, self.lanes, self.timeout).map_err(port)?;
        }
        self.judge(&client, LinkTopic::Map, &mut found)?;
        let shared = [
            (LinkTopic::Operate, "a refused record stops its partition"),
            (LinkTopic::Control, "no process coordinates it, and each lists the source's topics for itself"),
        ];
        for (topic, harm) in shared {
            match self.ensure_shared(&client, topic) {
                Ok(()) => self.judge(&client, topic, &mut found)?,
                Err(error) => {
                    let reason = &error.reason;
                    let text =
                        format!("Strait cannot create or grow it; without it the link goes on, and {harm}: {reason}");
                    found.unfit.push((topic.name(&self.link), text));
                }
            }
        }
        Ok(found)
    }

    /// Creates a topic that the processes of the link share, where it is missing.
    fn ensure_shared(&self, client: &Client, shared: LinkTopic) -> Result<(), PortError> {
        let (topic, needed) = (shared.name(&self.link), shared.partitions(self.lanes));
        let port = |error: FfiError| self.fail(client, &error);
        match count(client, &topic, self.timeout).map_err(port)? {
            0 => self.create(client, shared).map(drop),
            found if found >= needed => Ok(()),
            _ if self.manage => grow(client, &topic, needed, self.timeout).map_err(port),
            found => {
                let reason = format!("it has {found} partitions, {needed} are needed");
                Err(own(Class::Stop, self.context(), reason))
            }
        }
    }

    /// Creates a topic. Returns its number of partitions.
    fn create(&self, client: &Client, topic: LinkTopic) -> Result<u32, PortError> {
        let (name, settings) = (topic.name(&self.link), self.settings(topic));
        let creation = self.creation(client, topic, &name, &settings);
        let port = |error: FfiError| self.fail(client, &error);
        if !self.manage {
            let command = creation.command(&self.target.bootstrap_servers);
            let reason = format!("topic {name} does not exist and Strait may not create it: {command}");
            return Err(own(Class::Stop, self.context(), reason));
        }
        // Settings that a policy of the cluster refuses are judged as in a topic made by hand.
        create(client, &creation, self.timeout).map_err(port)?;
        Ok(wait_for(client, &name, creation.partitions, self.timeout).map_err(port)?.partitions)
    }

    pub(super) fn settings(&self, topic: LinkTopic) -> TopicSettings {
        TopicSettings { all: topic.settings(self.map_retention_ms()), dispensable: topic.dispensable() }
    }

    /// Returns what to send to the target to have a topic created.
    pub(super) fn creation<'a>(
        &self,
        client: &Client,
        topic: LinkTopic,
        name: &'a str,
        settings: &'a TopicSettings,
    ) -> Creation<'a> {
        let (partitions, replicas) = (topic.partitions(self.lanes), own_replicas(client, self.timeout));
        Creation { name, partitions, replicas, settings }
    }

    /// Judges the settings of a topic that exists.
    pub(super) fn judge(
        &self,
        client: &Client,
        topic: LinkTopic,
        found: &mut LinkTopicsFound,
    ) -> Result<(), LinkTopicsError> {
        let name = topic.name(&self.link);
        let configs = match client.topic_configs(&name, self.timeout) {
            Ok(configs) => configs,
            Err(error) if is_unsupported(error.code) => return Ok(()),
            Err(error) => {
                let reason = format!("its settings cannot be read, which needs DescribeConfigs: {error}");
                found.unfit.push((name, reason));
                return Ok(());
            }
        };
        if matches!(topic, LinkTopic::Progress | LinkTopic::Map) {
            let bytes = configs.get("max.message.bytes").and_then(|text| text.parse::<usize>().ok());
            found.batch_bytes_max = found.batch_bytes_max.into_iter().chain(bytes).min();
        }
        match topic.faults(self.at(), &configs, self.map_retention_ms()) {
            Some(TopicFaults { is_fatal: true, text }) => {
                Err(LinkTopicsError::Unfit { link: self.link.clone(), topic: name, reason: text })
            }
            Some(TopicFaults { text, .. }) => {
                found.unfit.push((name, text));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Returns the link's name and the servers of its target, for commands.
    fn at(&self) -> (&str, &str) {
        (&self.link, &self.target.bootstrap_servers)
    }

    fn map_retention_ms(&self) -> i64 {
        self.map_retention.map_or(-1, |kept| i64::try_from(kept.as_millis()).unwrap_or(-1))
    }
}
