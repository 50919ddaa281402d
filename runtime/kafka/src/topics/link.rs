//! The topics that a link keeps for itself on the target: progress, offset map, and what its
//! processes share.

use std::time::Duration;

use strait_core::books::OPERATE_PARTITIONS;
use strait_core::progress::{map_topic, operate_topic, progress_topic};
use strait_flow::millis;
use strait_flow::ports::{Class, PortError};

use super::{Found, TopicSettings, count, create, grow, own_replicas, wait_for};
use crate::config::ClusterConfig;
use crate::error::{blocking, own};
use crate::ffi::{Client, FfiError};
use crate::lazy_client::{connect, fail};

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

impl LinkTopics {
    /// Creates the topics where they are missing. Returns the number of lanes.
    ///
    /// # Errors
    /// [`LinkTopicsError`].
    pub async fn ensure(self) -> Result<u32, LinkTopicsError> {
        blocking(&self.context(), move || self.ensure_blocking()).await?
    }

    pub(super) fn context(&self) -> String {
        format!("link {}: topics of the link on cluster {}", self.link, self.target.name)
    }

    fn ensure_blocking(&self) -> Result<u32, LinkTopicsError> {
        let context = self.context();
        let client =
            connect(&self.target, &format!("{}/topics", self.link)).map_err(|error| fail(&context, &error, None))?;
        let port = |error: FfiError| fail(&context, &error, Some(&client));
        let (progress, map) = (progress_topic(&self.link), map_topic(&self.link));
        let mut existing = count(&client, &progress, self.timeout).map_err(port)?;
        if existing == 0 {
            self.may_create(&progress)?;
            existing = self.create_progress(&client, &progress).map_err(port)?;
        }
        if existing != self.lanes {
            let (link, configured) = (self.link.clone(), self.lanes);
            return Err(LinkTopicsError::Lanes { link, topic: progress, configured, existing });
        }
        let map_partitions = count(&client, &map, self.timeout).map_err(port)?;
        if map_partitions == 0 {
            self.may_create(&map)?;
            self.create_map(&client, &map).map_err(port)?;
        } else if map_partitions < self.lanes {
            grow(&client, &map, self.lanes, self.timeout).map_err(port)?;
            wait_for(&client, &map, self.lanes, self.timeout).map_err(port)?;
        }
        if let Err(reason) = self.ensure_operate(&client) {
            let topic = operate_topic(&self.link);
            tracing::warn!(
                "{context}: topic {topic} is missing ({reason}). The link goes on without it; create it with {OPERATE_PARTITIONS} partitions and cleanup.policy=compact, message.timestamp.type=LogAppendTime, segment.bytes=4194304"
            );
        }
        Ok(existing)
    }

    /// Creates the topic that the processes of the link share, where it is missing.
    fn ensure_operate(&self, client: &Client) -> Result<(), PortError> {
        let (topic, context) = (operate_topic(&self.link), self.context());
        let port = |error: FfiError| fail(&context, &error, Some(client));
        if count(client, &topic, self.timeout).map_err(port)? > 0 {
            return Ok(());
        }
        self.may_create(&topic)?;
        self.create(client, &topic, OPERATE_PARTITIONS, &compacted("LogAppendTime")).map_err(port).map(drop)
    }

    fn create_progress(&self, client: &Client, topic: &str) -> Result<u32, FfiError> {
        Ok(self.create(client, topic, self.lanes, &compacted("CreateTime"))?.partitions)
    }

    fn create_map(&self, client: &Client, topic: &str) -> Result<(), FfiError> {
        self.create(client, topic, self.lanes, &self.map_settings()).map(drop)
    }

    fn map_settings(&self) -> TopicSettings {
        let retention_ms = self.map_retention.map_or_else(|| "-1".to_owned(), |kept| millis(kept).to_string());
        let all = vec![
            ("cleanup.policy", "delete".to_owned()),
            ("retention.ms", retention_ms),
            // A size limit of the brokers would end it earlier.
            ("retention.bytes", "-1".to_owned()),
            ("message.timestamp.type", "CreateTime".to_owned()),
        ];
        TopicSettings { all, dispensable: &["retention.bytes", "message.timestamp.type"] }
    }

    /// Returns the topics, each with its partitions and settings.
    pub(super) fn all(&self) -> [(String, u32, TopicSettings); 3] {
        [
            (progress_topic(&self.link), self.lanes, compacted("CreateTime")),
            (map_topic(&self.link), self.lanes, self.map_settings()),
            (operate_topic(&self.link), OPERATE_PARTITIONS, compacted("LogAppendTime")),
        ]
    }

    fn create(
        &self,
        client: &Client,
        topic: &str,
        partitions: u32,
        settings: &TopicSettings,
    ) -> Result<Found, FfiError> {
        let timeout = self.timeout;
        create(client, topic, partitions, settings, own_replicas(client, timeout), timeout)?;
        wait_for(client, topic, partitions, timeout)
    }

    fn may_create(&self, topic: &str) -> Result<(), PortError> {
        if self.manage {
            return Ok(());
        }
        let reason = format!(
            "topic {topic} does not exist and Strait may not create it; create it with {} partitions",
            self.lanes
        );
        Err(own(Class::Stop, self.context(), reason))
    }
}

/// Returns the settings of a compacted topic that is read from its beginning. Each transaction
/// leaves a marker in it, which a take reads: small segments and a short retention of what is
/// deleted let the cleaner remove them.
fn compacted(timestamps: &str) -> TopicSettings {
    TopicSettings {
        all: vec![
            ("cleanup.policy", "compact".to_owned()),
            ("segment.bytes", (4 << 20).to_string()),
            ("delete.retention.ms", "60000".to_owned()),
            ("max.compaction.lag.ms", "3600000".to_owned()),
            ("message.timestamp.type", timestamps.to_owned()),
        ],
        dispensable: &["segment.bytes", "delete.retention.ms", "max.compaction.lag.ms", "message.timestamp.type"],
    }
}
