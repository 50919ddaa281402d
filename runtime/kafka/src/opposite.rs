//! Finds links that copy in the opposite direction: their progress is on the source of ours.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use strait_core::LaneId;
use strait_core::opposite::OppositeLink;
use strait_flow::ports::{PortError, ProgressStore};
use tokio::task::JoinSet;

use crate::config::{ClusterConfig, group};
use crate::error::blocking;
use crate::lazy_client::{connect, fail};
use crate::progress_store::KafkaProgressStore;
use crate::queries::ask_coordinator;

/// Most links that are looked at, and most lanes of one.
pub(crate) const LOOKED_AT_MAX: usize = 50;
/// Links that are looked at at the same time: a cluster that many links write to would hold up the
/// start of each.
const AT_ONCE: usize = 10;

/// The links that were found, and the progress that could not be read.
#[derive(Clone, Debug, Default)]
pub struct OppositeLinks {
    /// Links that copy from the target to the source.
    pub found: Vec<OppositeLink>,
    /// Names of links whose direction is not known, each with the reason.
    pub unread: Vec<(String, String)>,
}

/// Returns the links that write to `source` and read from the cluster with the id of our target.
/// Only those are found whose topics on `source` our principal may describe and read.
///
/// # Errors
/// [`PortError`] when the source does not answer.
pub async fn opposite_links(
    source: &ClusterConfig,
    target_id: &str,
    timeout: Duration,
) -> Result<OppositeLinks, PortError> {
    let began = Instant::now();
    let mut links = OppositeLinks::default();
    for names in links_writing_to(source, timeout).await?.chunks(AT_ONCE) {
        if began.elapsed() > timeout {
            let unread = names.iter().map(|name| (name.clone(), "there was no time to look".to_owned()));
            links.unread.extend(unread);
            continue;
        }
        let mut looking = JoinSet::new();
        for name in names {
            let (source, name, target_id) = (source.clone(), name.clone(), target_id.to_owned());
            looking.spawn(async move {
                let found = opposite(&source, &name, &target_id, timeout).await;
                found.map_err(|error| (name, error.to_string()))
            });
        }
        while let Some(looked) = looking.join_next().await {
            match looked {
                Ok(Ok(opposite)) => links.found.extend(opposite),
                Ok(Err(unread)) => links.unread.push(unread),
                Err(error) => links.unread.push((String::new(), error.to_string())),
            }
        }
    }
    links.found.sort_by(|one, other| one.name.cmp(&other.name));
    links.unread.sort();
    Ok(links)
}

/// Returns the names of links that keep their progress on a cluster.
pub(crate) async fn links_writing_to(cluster: &ClusterConfig, timeout: Duration) -> Result<Vec<String>, PortError> {
    let (cluster, context) = (cluster.clone(), format!("links that write to cluster {}", cluster.name));
    blocking(&context.clone(), move || {
        let client =
            connect(&cluster, &format!("{}/links", cluster.name)).map_err(|error| fail(&context, &error, None))?;
        let topics = client.metadata(None, timeout).map_err(|error| fail(&context, &error, Some(&client)))?;
        let names = topics.iter().filter_map(|(topic, ..)| topic.strip_prefix("strait.")?.strip_suffix(".progress"));
        Ok(names.take(LOOKED_AT_MAX).map(str::to_owned).collect())
    })
    .await?
}

/// Returns a link if it reads from the cluster with this id.
async fn opposite(
    source: &ClusterConfig,
    name: &str,
    target_id: &str,
    timeout: Duration,
) -> Result<Option<OppositeLink>, PortError> {
    let store = KafkaProgressStore::new(source, name, timeout).committed_by_now();
    let first = store.read(LaneId(0)).await?;
    let Some(record) = first.lane.as_ref().filter(|record| record.source_cluster.as_deref() == Some(target_id)) else {
        return Ok(None);
    };
    let mut topics: BTreeSet<Arc<str>> = record.created_with.keys().map(|topic| topic.as_str().into()).collect();
    topics.extend(first.positions.into_keys().map(|key| key.topic));
    for lane in (1..record.lanes).take(LOOKED_AT_MAX) {
        topics.extend(store.read(LaneId(lane)).await?.positions.into_keys().map(|key| key.topic));
    }
    Ok(Some(OppositeLink {
        name: name.to_owned(),
        naming: record.naming.clone().unwrap_or_else(|| "{topic}".into()),
        topics,
        has_plugins: record.border.is_some(),
        is_running: is_running(source, name, timeout).await.ok(),
    }))
}

/// Returns whether the group of a link has members.
pub(crate) async fn is_running(cluster: &ClusterConfig, link: &str, timeout: Duration) -> Result<bool, PortError> {
    let (cluster, group) = (cluster.clone(), group(link));
    let context = format!("group {group} on cluster {}", cluster.name);
    blocking(&context.clone(), move || {
        let client =
            connect(&cluster, &format!("{}/links", cluster.name)).map_err(|error| fail(&context, &error, None))?;
        let members = ask_coordinator(|| client.group_members(&group, timeout));
        members.map(|members| !members.is_empty()).map_err(|error| fail(&context, &error, Some(&client)))
    })
    .await?
}
