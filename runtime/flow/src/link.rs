//! A link at work in this process: discovers the topics, runs the lanes that the group assigns,
//! reads the source's log bounds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use strait_core::{Event, LaneId, PartitionKey};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::lane::LaneDeps;
use crate::lane_set::LaneSet;
use crate::ports::{Class, Discovery, Membership, MembershipEvent, PortError, Source, SourceTopic};
use crate::spec::LaneSpec;

/// Time for a revoked lane to commit, within the five seconds that the group waits for the answer.
const REVOKED: Duration = Duration::from_secs(4);

/// Intervals at which the source is polled for what no event reports.
#[derive(Clone, Copy, Debug)]
pub struct WatchIntervals {
    /// For the source's topics and their ids.
    pub topics: Duration,
    /// For the bounds of the source partitions, for lag and hanging transactions.
    pub bounds: Duration,
    /// A transaction counts as hanging if the last stable offset has stayed below the high
    /// watermark for this long.
    pub hanging_after: Duration,
}

impl Default for WatchIntervals {
    fn default() -> Self {
        Self {
            topics: Duration::from_secs(5),
            bounds: Duration::from_secs(5),
            hanging_after: Duration::from_secs(15 * 60),
        }
    }
}

/// A link to run.
pub struct LinkService {
    /// The facts and limits of every lane; `lane` is filled in per lane.
    pub spec: LaneSpec,
    /// The ports of the lanes; `topics` must be the receiver of the sender below.
    pub deps: LaneDeps,
    /// Publishes discovered topics.
    pub topics: watch::Sender<Arc<Vec<SourceTopic>>>,
    /// Discovers topics.
    pub discovery: Arc<dyn Discovery>,
    /// Assigns lanes.
    pub membership: Box<dyn Membership>,
    /// Polling intervals.
    pub watch: WatchIntervals,
}

impl LinkService {
    /// Runs the link until `stop`. Then it drains its lanes, leaves the group and returns.
    ///
    /// # Errors
    /// A [`PortError`] of class `Stop` if this process cannot run the link at all. Transient
    /// failures are retried and reported as events, never returned.
    pub async fn run(self, stop: CancellationToken) -> Result<(), PortError> {
        let Self { spec, deps, topics, discovery, membership, watch } = self;
        let found = first_topics(&*discovery, &spec.link, &stop).await?;
        topics.send_replace(Arc::new(found));
        let members = members(&spec, &deps, membership, &stop);
        let refresh = refresh_topics(&*discovery, &topics, &spec.link, watch.topics);
        let bounds = watch_bounds(&spec, &deps, watch);
        tokio::select! {
            result = members => result,
            () = refresh => Ok(()),
            () = bounds => Ok(()),
        }
    }
}

/// Discovers the topics for the first time. The lanes need a true list before they decide what is
/// new.
async fn first_topics(
    discovery: &dyn Discovery,
    link: &str,
    stop: &CancellationToken,
) -> Result<Vec<SourceTopic>, PortError> {
    let mut wait = Duration::from_millis(200);
    loop {
        match discovery.topics().await {
            Ok(topics) => {
                if topics.is_empty() {
                    tracing::warn!(link, "no topic of the source matches this link yet; polling every few seconds");
                }
                return Ok(topics);
            }
            Err(error) if error.class == Class::Stop => return Err(error),
            Err(error) => tracing::warn!(link, %error, "cannot list the source's topics, will retry"),
        }
        tokio::select! { biased;
            () = stop.cancelled() => return Ok(Vec::new()),
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(Duration::from_secs(10)),
        }
    }
}

async fn refresh_topics(
    discovery: &dyn Discovery,
    topics: &watch::Sender<Arc<Vec<SourceTopic>>>,
    link: &str,
    every: Duration,
) {
    loop {
        tokio::time::sleep(every).await;
        match discovery.topics().await {
            Ok(found) => {
                topics.send_if_modified(|known| {
                    let changed = **known != found;
                    if changed {
                        *known = Arc::new(found);
                    }
                    changed
                });
            }
            Err(error) => tracing::warn!(link, %error, "cannot list the source's topics, keeping the previous list"),
        }
    }
}

/// Follows the group: starts assigned lanes and stops revoked ones.
async fn members(
    spec: &LaneSpec,
    deps: &LaneDeps,
    mut membership: Box<dyn Membership>,
    stop: &CancellationToken,
) -> Result<(), PortError> {
    let mut lanes = LaneSet::new(spec.clone(), deps.clone());
    let result = loop {
        tokio::select! { biased;
            () = stop.cancelled() => break Ok(()),
            ended = lanes.ended() => break Err(ended),
            event = membership.next() => match event {
                MembershipEvent::Assigned(assigned) => {
                    deps.status.joined();
                    for lane in assigned {
                        lanes.start(lane);
                    }
                }
                MembershipEvent::Revoked(revoked, done) => {
                    lanes.stop(&revoked, REVOKED).await;
                    // The group may have stopped waiting. Then it knows already.
                    done.send(()).ok();
                }
                MembershipEvent::Lost(lost) => lanes.stop(&lost, Duration::ZERO).await,
                MembershipEvent::Trouble(error) if error.class == Class::Stop => break Err(error),
                MembershipEvent::Trouble(error) => tracing::warn!(link = %spec.link, %error, "the link's group is in trouble"),
            },
        }
    };
    let all: Vec<LaneId> = lanes.running();
    lanes.stop(&all, spec.limits.drain).await;
    membership.leave().await;
    result
}

/// Reads the bounds of this process's source partitions, for lag and to find transactions that
/// never end.
async fn watch_bounds(spec: &LaneSpec, deps: &LaneDeps, watch: WatchIntervals) {
    let mut source: Option<Box<dyn Source>> = None;
    let mut stable: BTreeMap<PartitionKey, (i64, Duration, bool)> = BTreeMap::new();
    loop {
        tokio::time::sleep(watch.bounds).await;
        let partitions: Vec<PartitionKey> = deps.status.partitions().into_keys().collect();
        if partitions.is_empty() {
            continue;
        }
        let reader = match source.take() {
            Some(reader) => Ok(reader),
            None => deps.connector.source(spec.lane).await,
        };
        let mut reader = match reader {
            Ok(reader) => reader,
            Err(error) => {
                tracing::warn!(link = %spec.link, %error, "cannot watch the source's bounds, will retry");
                continue;
            }
        };
        match reader.bounds(&partitions).await {
            Ok(bounds) => {
                let now = deps.clock.now();
                stable.retain(|key, _| bounds.contains_key(key));
                for (key, bounds) in &bounds {
                    let at = bounds.last_stable.0;
                    let entry = stable.entry(key.clone()).or_insert((at, now, false));
                    if entry.0 != at || bounds.last_stable >= bounds.high_watermark {
                        *entry = (at, now, false);
                    }
                    let open = now.saturating_sub(entry.1);
                    if open >= watch.hanging_after && !std::mem::replace(&mut entry.2, true) {
                        let event = Event::HangingTransaction {
                            partition: key.clone(),
                            first_offset: bounds.last_stable,
                            open_secs: open.as_secs(),
                        };
                        deps.events.emit(&spec.link, event);
                    }
                }
                deps.status.set_bounds(bounds);
                source = Some(reader);
            }
            Err(error) => {
                tracing::warn!(link = %spec.link, %error, "cannot read the source's bounds, will retry");
                reader.close().await;
            }
        }
    }
}
