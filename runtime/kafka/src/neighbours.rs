//! Other links that write to the target of ours: the topics that they feed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use strait_core::LaneId;
use strait_core::groups::Neighbour;
use strait_flow::ports::{PortError, ProgressStore as _};
use tokio::task::JoinSet;

use crate::config::ClusterConfig;
use crate::control::KafkaControl;
use crate::opposite::{LOOKED_AT_MAX, is_running, links_writing_to};
use crate::progress_store::KafkaProgressStore;

/// How often other links are looked for. With more of them it is less often.
const EVERY: Duration = Duration::from_secs(60);
/// Links that are looked at within [`EVERY`].
const OF_ONE_ROUND: u32 = 10;

/// By target topic, the link that feeds it beside ours.
pub(crate) type Shared = BTreeMap<Arc<str>, Arc<str>>;

/// Finds the topics that another link feeds too. A link counts while its group has members, or
/// always if it is one of the same configuration.
pub(crate) struct Neighbours {
    target: ClusterConfig,
    link: String,
    configured: BTreeSet<String>,
    timeout: Duration,
    shared: Arc<Shared>,
    looked: Option<Instant>,
    every: Duration,
    /// The look under way.
    looking: JoinSet<Result<Found, PortError>>,
}

struct Found {
    shared: Shared,
    links: u32,
    /// Links that could not be looked at.
    unread: BTreeSet<String>,
}

impl Neighbours {
    /// `configured` has the names of the links of the same configuration.
    pub(crate) fn new(target: &ClusterConfig, link: &str, configured: BTreeSet<String>, timeout: Duration) -> Self {
        Self {
            target: target.clone(),
            link: link.to_owned(),
            configured,
            timeout,
            shared: Arc::default(),
            looked: None,
            every: EVERY,
            looking: JoinSet::new(),
        }
    }

    /// Returns the topics that other links feed, as they were found last. Only the first look is
    /// waited for.
    pub(crate) async fn shared(&mut self) -> Arc<Shared> {
        let is_first = self.looked.is_none();
        let is_due = self.looked.is_none_or(|looked| looked.elapsed() >= self.every);
        if is_due && self.looking.is_empty() {
            self.looked = Some(Instant::now());
            let (target, link) = (self.target.clone(), self.link.clone());
            let (configured, timeout) = (self.configured.clone(), self.timeout);
            self.looking.spawn(async move { find(&target, &link, &configured, timeout).await });
        }
        let done = if is_first { self.looking.join_next().await } else { self.looking.try_join_next() };
        match done {
            Some(Ok(Ok(mut found))) => {
                // What was known of a link that does not tell now stays.
                for (topic, link) in self.shared.iter().filter(|(_, link)| found.unread.contains(&***link)) {
                    found.shared.entry(Arc::clone(topic)).or_insert_with(|| Arc::clone(link));
                }
                self.shared = Arc::new(found.shared);
                self.every = EVERY * (found.links / OF_ONE_ROUND).max(1);
            }
            // What was found last stays.
            Some(Ok(Err(error))) => {
                tracing::info!(link = self.link, %error, "other links to the target cannot be looked for");
            }
            Some(Err(error)) => tracing::info!(link = self.link, %error, "the look for other links was lost"),
            None => {}
        }
        Arc::clone(&self.shared)
    }
}

async fn find(
    target: &ClusterConfig,
    link: &str,
    configured: &BTreeSet<String>,
    timeout: Duration,
) -> Result<Found, PortError> {
    let began = Instant::now();
    let names = links_writing_to(target, timeout).await?;
    let mut found =
        Found { shared: Shared::new(), links: u32::try_from(names.len()).unwrap_or(u32::MAX), unread: BTreeSet::new() };
    for name in names.iter().filter(|name| *name != link) {
        if began.elapsed() > timeout {
            tracing::debug!(link, other = name, "there was no time to look at another link to the target");
            found.unread.insert(name.clone());
            continue;
        }
        match neighbour(target, name, configured.contains(name), timeout).await {
            Ok(Some(neighbour)) => {
                let name: Arc<str> = name.as_str().into();
                found.shared.extend(neighbour.feeds().into_iter().map(|topic| (topic, Arc::clone(&name))));
            }
            Ok(None) => {}
            // Each time anew, for as long as a right is missing.
            Err(error) => {
                tracing::debug!(link, other = name, %error, "the topics of another link are not known");
                found.unread.insert(name.clone());
            }
        }
    }
    Ok(found)
}

/// Returns the topics of another link; `None` if it does not run.
async fn neighbour(
    target: &ClusterConfig,
    name: &str,
    is_configured: bool,
    timeout: Duration,
) -> Result<Option<Neighbour>, PortError> {
    if !is_configured && !is_running(target, name, timeout).await? {
        return Ok(None);
    }
    let store = KafkaProgressStore::new(target, name, timeout).committed_by_now();
    let first = store.read(LaneId(0)).await?;
    let Some(record) = first.lane else { return Ok(None) };
    let control = KafkaControl::new(target, name, timeout).said().await?;
    let mut topics: BTreeSet<Arc<str>> = control.source_topics().into_iter().map(|listed| listed.topic).collect();
    if topics.is_empty() {
        // Nobody coordinates it, so its positions have to do.
        topics.extend(first.positions.into_keys().map(|key| key.topic));
        for lane in (1..record.lanes).take(LOOKED_AT_MAX) {
            topics.extend(store.read(LaneId(lane)).await?.positions.into_keys().map(|key| key.topic));
        }
    }
    let naming = record.naming.unwrap_or_else(|| "{topic}".into());
    let made = control.topics().iter().map(|(topic, record)| (Arc::clone(topic), Arc::clone(&record.source)));
    Ok(Some(Neighbour { naming, topics, made: made.collect() }))
}
