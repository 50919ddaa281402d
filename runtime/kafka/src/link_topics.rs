//! The topics that a link keeps for itself on the target.

use std::time::Duration;

use strait_core::progress::{map_topic, progress_topic};
use strait_flow::ports::{Class, PortError};

use crate::admin::{connect, fail};
use crate::config::ClusterConfig;
use crate::error::{blocking, own};
use crate::ffi::{Client, Code, FfiError};
use crate::target::topics::{count, wait_for};

/// Why the topics of a link are not as they must be.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LinkTopicsError {
    /// The configuration and the progress topic disagree about the number of lanes.
    #[error(
        "link {link}: lanes = {configured}, but {topic} was made with {existing} lanes; which partition belongs to which lane depends on it: put lanes = {existing} back, or stop every process of the link and run `strait lanes resize {link} {configured}`"
    )]
    Lanes {
        /// The link.
        link: String,
        /// Its progress topic.
        topic: String,
        /// What the configuration says.
        configured: u32,
        /// What the topic says.
        existing: u32,
    },
    /// They could not be looked up or made.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// Makes the progress and the map topic of a link where they are missing, and returns how many lanes the link has.
///
/// `map_retention` should be at least the longest retention among the source topics; `None` keeps map records for ever.
///
/// # Errors
/// [`LinkTopicsError`].
pub async fn ensure_link_topics(
    target: &ClusterConfig,
    link: &str,
    lanes: u32,
    map_retention: Option<Duration>,
    manage: bool,
    timeout: Duration,
) -> Result<u32, LinkTopicsError> {
    let (target, link) = (target.clone(), link.to_owned());
    let context = format!("link {link}: topics of the link on cluster {}", target.name);
    blocking(&context.clone(), move || ensure(&target, &link, lanes, map_retention, manage, timeout, &context)).await?
}

fn ensure(
    target: &ClusterConfig,
    link: &str,
    lanes: u32,
    map_retention: Option<Duration>,
    manage: bool,
    timeout: Duration,
    context: &str,
) -> Result<u32, LinkTopicsError> {
    let client = connect(target, &format!("{link}/topics")).map_err(|error| fail(context, &error, None))?;
    let port = |error: FfiError| fail(context, &error, Some(&client));
    let (progress, map) = (progress_topic(link), map_topic(link));
    let mut existing = count(&client, &progress, timeout).map_err(port)?;
    if existing == 0 {
        require(manage, context, &progress, lanes)?;
        let settings = [
            ("cleanup.policy", "compact".to_owned()),
            ("segment.bytes", (16 << 20).to_string()),
            ("max.compaction.lag.ms", "3600000".to_owned()),
            ("message.timestamp.type", "CreateTime".to_owned()),
        ];
        make(&client, &progress, lanes, &settings, timeout).map_err(port)?;
        existing = wait_for(&client, &progress, lanes, timeout).map_err(port)?;
    }
    if existing != lanes {
        let topic = progress;
        return Err(LinkTopicsError::Lanes { link: link.to_owned(), topic, configured: lanes, existing });
    }
    let map_partitions = count(&client, &map, timeout).map_err(port)?;
    if map_partitions == 0 {
        require(manage, context, &map, lanes)?;
        let retention = map_retention.map_or(-1, |kept| i64::try_from(kept.as_millis()).unwrap_or(i64::MAX));
        let settings = [
            ("cleanup.policy", "delete".to_owned()),
            ("retention.ms", retention.to_string()),
            ("message.timestamp.type", "CreateTime".to_owned()),
        ];
        make(&client, &map, lanes, &settings, timeout).map_err(port)?;
        wait_for(&client, &map, lanes, timeout).map_err(port)?;
    } else if map_partitions < lanes {
        client.create_partitions(&map, lanes as usize, timeout).map_err(port)?;
        wait_for(&client, &map, lanes, timeout).map_err(port)?;
    }
    Ok(existing)
}

fn require(manage: bool, context: &str, topic: &str, lanes: u32) -> Result<(), PortError> {
    if manage {
        return Ok(());
    }
    let reason = format!("topic {topic} does not exist and Strait may not make it; make it with {lanes} partitions");
    Err(own(Class::Stop, context, reason))
}

/// Makes a topic; one that somebody else made meanwhile is as good.
pub(crate) fn make(
    client: &Client,
    topic: &str,
    partitions: u32,
    settings: &[(&str, String)],
    timeout: Duration,
) -> Result<(), FfiError> {
    let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
    match client.create_topic(topic, partitions, settings, timeout) {
        Ok(()) | Err(FfiError { code: Code::TOPIC_ALREADY_EXISTS, .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
