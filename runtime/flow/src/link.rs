//! A link at work in this process: discovers the topics, runs the lanes that the group assigns, and
//! has them watched.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::lane::LaneDeps;
use crate::lane_run::LaneSpawner;
use crate::lane_set::LaneSet;
use crate::ports::{
    BooksReader, Class, Discovery, Membership, MembershipEvent, PortError, ProgressStore, SourceTopic, SourceTopics,
};
use crate::spec::LaneSpec;
use crate::watch::{WatchIntervals, Watchdog};

/// Time for a revoked lane to commit, within the five seconds that the group waits for the answer.
const REVOKED: Duration = Duration::from_secs(4);

/// A link to run.
pub struct LinkService {
    /// The facts and limits of every lane; `lane` is filled in per lane.
    pub spec: LaneSpec,
    /// The ports of the lanes; `topics` must be the receiver of the sender below.
    pub deps: LaneDeps,
    /// Starts lanes.
    pub lanes: Arc<dyn LaneSpawner>,
    /// Publishes discovered topics.
    pub topics: watch::Sender<Arc<Vec<SourceTopic>>>,
    /// Discovers topics.
    pub discovery: Arc<dyn Discovery>,
    /// Reads the committed progress of lanes that this process does not have.
    pub committed_progress: Arc<dyn ProgressStore>,
    /// Counts the records in quarantine.
    pub books: Arc<dyn BooksReader>,
    /// Assigns lanes.
    pub membership: Box<dyn Membership>,
    /// Polling intervals.
    pub watch: WatchIntervals,
    /// Ends the drain: what is not committed by then is aborted.
    pub abort: CancellationToken,
}

impl LinkService {
    /// Runs the link until `stop`. Then it drains its lanes, leaves the group and returns.
    ///
    /// # Errors
    /// A [`PortError`] of class `Stop` if this process cannot run the link at all. Transient
    /// failures are retried and reported as events, never returned.
    pub async fn run(self, stop: CancellationToken) -> Result<(), PortError> {
        let Self { spec, deps, lanes, topics, discovery, committed_progress, books, membership, watch, abort } = self;
        let watchdog = Watchdog::new(&spec, &deps, &discovery, (committed_progress, books), watch);
        let work = async {
            let found = first_topics(&*discovery, &watchdog, &spec.link, &stop).await?;
            topics.send_replace(Arc::new(found));
            let refresh = refresh_topics(&*discovery, &topics, &watchdog, &spec.link, watch.topics);
            let lanes = LaneSet::new(spec.clone(), deps.clone(), lanes, abort);
            tokio::select! { biased;
                result = members(lanes, &spec, &deps, membership, &watchdog, &stop) => result,
                () = refresh => Ok(()),
            }
        };
        tokio::select! { biased;
            result = work => result,
            () = watchdog.run() => Ok(()),
        }
    }
}

/// Discovers the topics for the first time. The lanes need a true list before they decide what is
/// new.
async fn first_topics(
    discovery: &dyn Discovery,
    watchdog: &Watchdog,
    link: &str,
    stop: &CancellationToken,
) -> Result<Vec<SourceTopic>, PortError> {
    let mut wait = Duration::from_millis(200);
    loop {
        let found = discovery.topics().await;
        watchdog.source_answered(found.as_ref().err().map(ToString::to_string));
        match found {
            Ok(SourceTopics { listed, hidden }) => {
                watchdog.topics_hidden(&hidden);
                if listed.is_empty() {
                    tracing::warn!(link, "no topic of the source matches this link yet; polling every few seconds");
                }
                return Ok(listed);
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
    watchdog: &Watchdog,
    link: &str,
    every: Duration,
) {
    loop {
        tokio::time::sleep(every).await;
        let found = discovery.topics().await;
        watchdog.source_answered(found.as_ref().err().map(ToString::to_string));
        match found {
            Ok(SourceTopics { listed: found, hidden }) => {
                watchdog.topics_hidden(&hidden);
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
    mut lanes: LaneSet,
    spec: &LaneSpec,
    deps: &LaneDeps,
    mut membership: Box<dyn Membership>,
    watchdog: &Watchdog,
    stop: &CancellationToken,
) -> Result<(), PortError> {
    let result = loop {
        tokio::select! { biased;
            () = stop.cancelled() => break Ok(()),
            error = lanes.ended() => break Err(error),
            event = membership.next() => match event {
                MembershipEvent::Assigned(assigned) => {
                    for lane in assigned {
                        lanes.start(lane);
                    }
                    deps.status.joined();
                    watchdog.group_answered(None);
                }
                MembershipEvent::Revoked(revoked, done) => lanes.stop(&revoked, REVOKED, Some(done)),
                MembershipEvent::Lost(lost) => lanes.stop(&lost, Duration::ZERO, None),
                MembershipEvent::Member => watchdog.group_answered(None),
                // Refused from the beginning, it is for the operator. Refused later, the permission
                // may come back.
                MembershipEvent::Trouble(error) if error.class == Class::Stop && !deps.status.has_joined() => {
                    break Err(error);
                }
                MembershipEvent::Trouble(error) => watchdog.group_answered(Some(error.to_string())),
                MembershipEvent::Ended(error) => break Err(error),
            },
        }
    };
    lanes.stop_all(spec.limits.drain).await;
    membership.leave().await;
    result
}
