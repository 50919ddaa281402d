//! A link at work in this process: keeps the list of topics, runs the lanes that the group assigns,
//! coordinates the link while lane 0 is among them, and has it all watched.

use std::sync::Arc;
use std::time::Duration;

use strait_core::LaneId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::coordinator::Coordinator;
use crate::coordinator::follow::Follow;
use crate::lane::LaneDeps;
use crate::lane_run::LaneSpawner;
use crate::lane_set::LaneSet;
use crate::listing::Listing;
use crate::mm2::{Mm2, Writing};
use crate::ports::{
    BooksReader, Class, ControlLog, Discovery, LinkWork, Membership, MembershipEvent, PortError, ProgressStore,
    SourceTopic,
};
use crate::spec::LaneSpec;
use crate::watch::{WatchIntervals, Watchdog};

/// Time for a revoked lane to commit, within the five seconds that the group waits for the answer.
const REVOKED: Duration = Duration::from_secs(4);
/// How long the end of a link waits for its coordinator to say that it has ended. Without that its
/// successor waits before it changes anything.
const RELEASED: Duration = Duration::from_secs(3);
/// The lane whose process coordinates the link.
const COORDINATES: LaneId = LaneId(0);

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
    /// The control topic; `None` where the target has no transactions. Then nobody coordinates the
    /// link, and every process lists the topics.
    pub control: Option<Arc<dyn ControlLog>>,
    /// The works that change clusters for the link as a whole.
    pub works: Vec<Arc<dyn LinkWork>>,
    /// Hash of the settings for what concerns the link as a whole.
    pub settings: Arc<str>,
    /// Topics for MirrorMaker 2's clients; `None` where none is written.
    pub mm2: Option<Mm2>,
    /// Assigns lanes.
    pub membership: Box<dyn Membership>,
    /// Polling intervals.
    pub watch: WatchIntervals,
    /// Ends the drain: what is not committed by then is aborted.
    pub abort: CancellationToken,
}

/// Says whether the link is to be coordinated here, and hears whether it was given up.
struct Coordinates {
    has_lane: watch::Sender<bool>,
    stop: CancellationToken,
    ended: CancellationToken,
}

impl LinkService {
    /// Runs the link until `stop`. Then it drains its lanes, leaves the group and returns.
    ///
    /// # Errors
    /// A [`PortError`] of class `Stop` if this process cannot run the link at all. Transient
    /// failures are retried and reported as events, never returned.
    pub async fn run(self, stop: CancellationToken) -> Result<(), PortError> {
        let Self { spec, deps, lanes, topics, discovery, membership, watch, abort, .. } = self;
        let (control, works, settings, mm2) = (self.control, self.works, self.settings, self.mm2);
        let coordinated = control.as_ref().map(|_| &settings);
        let readers = (self.committed_progress, self.books);
        let watchdog = Watchdog::new((&spec, coordinated), &deps, &discovery, readers, watch);
        let follow = control
            .as_ref()
            .map(|log| Follow::new((&spec.link, spec.process), &settings, log, &deps.clock, &deps.status));
        let (has_lane, is_assigned) = watch::channel(false);
        let (found, lists) = watch::channel(None);
        let coordinates = Coordinates { has_lane, stop: CancellationToken::new(), ended: CancellationToken::new() };
        let has_coordinator = control.is_some();
        let coordinator = control.map(|log| Coordinator {
            link: Arc::clone(&spec.link),
            process: spec.process,
            settings: Arc::clone(&settings),
            log,
            works,
            clock: Arc::clone(&deps.clock),
            events: Arc::clone(&deps.events),
            status: Arc::clone(&deps.status),
        });
        let listing = Listing {
            link: &spec.link,
            discovery: &*discovery,
            clock: &*deps.clock,
            watchdog: &watchdog,
            follow: follow.as_ref(),
            topics: &topics,
            found: &found,
            every: watch.topics,
        };
        let coordinate = async {
            if let Some(coordinator) = &coordinator {
                coordinator.run(is_assigned.clone(), lists, &coordinates.stop).await;
            }
            coordinates.ended.cancel();
            std::future::pending::<()>().await;
        };
        let following = async {
            match &follow {
                Some(follow) => follow.run().await,
                None => std::future::pending().await,
            }
        };
        let writing = mm2.as_ref().map(|mm2| Writing {
            mm2,
            link: &spec.link,
            has_coordinator,
            has_lane: is_assigned.clone(),
            clock: &*deps.clock,
            events: &*deps.events,
            status: &deps.status,
        });
        let write = async {
            if let Some(writing) = &writing {
                writing.run().await;
            }
            std::future::pending::<()>().await;
        };
        let work = async {
            let hides = listing.first(&stop).await?;
            let lanes = LaneSet::new(spec.clone(), deps.clone(), lanes, abort);
            tokio::select! { biased;
                result = members(lanes, &spec, &deps, membership, &watchdog, (&stop, &coordinates)) => result,
                () = listing.keep(is_assigned.clone(), hides) => Ok(()),
            }
        };
        tokio::select! { biased;
            result = work => result,
            () = coordinate => Ok(()),
            () = write => Ok(()),
            () = following => Ok(()),
            () = watchdog.run() => Ok(()),
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
    (stop, coordinates): (&CancellationToken, &Coordinates),
) -> Result<(), PortError> {
    let lose = |lost: &[LaneId]| {
        if lost.contains(&COORDINATES) {
            coordinates.has_lane.send_replace(false);
        }
    };
    let result = loop {
        tokio::select! { biased;
            () = stop.cancelled() => break Ok(()),
            error = lanes.ended() => break Err(error),
            event = membership.next() => match event {
                MembershipEvent::Assigned(assigned) => {
                    if assigned.contains(&COORDINATES) {
                        coordinates.has_lane.send_replace(true);
                    }
                    for lane in assigned {
                        lanes.start(lane);
                    }
                    deps.status.joined();
                    watchdog.group_answered(None);
                }
                MembershipEvent::Revoked(revoked, done) => {
                    lose(&revoked);
                    lanes.stop(&revoked, REVOKED, Some(done));
                }
                MembershipEvent::Lost(lost) => {
                    lose(&lost);
                    lanes.stop(&lost, Duration::ZERO, None);
                }
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
    // Beside the lanes, and before the group gives lane 0 to another process.
    coordinates.stop.cancel();
    lanes.stop_all(spec.limits.drain).await;
    tokio::time::timeout(RELEASED, coordinates.ended.cancelled()).await.ok();
    membership.leave().await;
    result
}
