//! The coordinator of a link: the process that the group gives lane 0 does what concerns the link
//! as a whole, whether that lane runs or is broken.
//!
//! It never runs on a lane's thread, and no lane waits for it. [`Turn`] decides what is done when;
//! the task here takes the coordinator's transactional id, reads the control topic, and carries the
//! decisions out. An error ends the turn, and the next one begins anew with the id. [`follow`]
//! reads what the coordinator writes, in every process.

pub(crate) mod follow;
mod works;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use strait_core::control::ListedTopic;
use strait_core::control::turn::{Step, Turn};
use strait_core::{CoordinatorEvent, Event};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::works::{Done, Works};
use crate::clock::millis;
use crate::ports::{Class, Clock, ControlLog, ControlWriter, EventSink, LinkWork, Now, PortError, SourceTopic};
use crate::retry::{LOGIN_RETRY, Retry, spread};
use crate::status::{CoordinatorState, HeardOf, LinkStatus};

/// Minimum and maximum wait after a failed turn; doubles.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Least wait after another process has taken the id. By then the group has said who has lane 0.
const FENCED: Duration = Duration::from_secs(5);

/// The source topics as this process has listed them for the link; `None` while another one does.
/// A change is told where the topics are others.
pub(crate) type Found = Option<Listed>;

/// A list of the source's topics.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub topics: Arc<Vec<SourceTopic>>,
    /// When the source last answered with it.
    pub at: Duration,
}

/// The batch under way.
type Batch<'a> = Option<Pin<Box<dyn Future<Output = Done> + Send + 'a>>>;

/// Coordinates a link while this process has lane 0.
pub(crate) struct Coordinator {
    pub link: Arc<str>,
    /// Random number of this process.
    pub process: u32,
    /// Hash of the settings for link-wide work.
    pub settings: Arc<str>,
    pub log: Arc<dyn ControlLog>,
    pub works: Vec<Arc<dyn LinkWork>>,
    pub clock: Arc<dyn Clock>,
    pub events: Arc<dyn EventSink>,
    pub status: Arc<LinkStatus>,
}

/// Returns once this process has lost lane 0, or is to end.
async fn given_up(mut has_lane: watch::Receiver<bool>, stop: &CancellationToken) {
    tokio::select! { biased;
        () = stop.cancelled() => {}
        () = async { drop(has_lane.wait_for(|has_lane| !has_lane).await) } => {}
    }
}

impl Coordinator {
    /// Coordinates the link whenever this process has lane 0, until `stop`. Then it says that it
    /// has ended, and returns.
    pub async fn run(
        &self,
        mut has_lane: watch::Receiver<bool>,
        mut found: watch::Receiver<Found>,
        stop: &CancellationToken,
    ) {
        let (mut wait, mut login) = (RETRY.0, None);
        self.status.coordinator_mut(|status| status.given_at = self.clock.now());
        while !stop.is_cancelled() {
            if !*has_lane.borrow_and_update() {
                (wait, login) = (RETRY.0, None);
                tokio::select! { biased;
                    () = stop.cancelled() => {}
                    changed = has_lane.changed() => if changed.is_err() {
                        return;
                    },
                }
                continue;
            }
            let mut began = false;
            let ended = self.turn(&has_lane, &mut found, stop, &mut began).await;
            if began {
                (wait, login) = (RETRY.0, None);
            }
            let now = self.clock.now();
            let is_wanted = *has_lane.borrow() && !stop.is_cancelled();
            if let Err(error) = ended
                && is_wanted
            {
                // Many logins would lock the account.
                let refused = error.class == Class::Login;
                login = refused.then(|| Retry::next(login, now, LOGIN_RETRY));
                let pause = self.failed(&error, login.map_or(wait, |login| login.after), began, now);
                wait = (wait * 2).min(RETRY.1);
                tokio::select! { biased;
                    () = given_up(has_lane.clone(), stop) => {}
                    () = self.log.login_changed(), if login.is_some() => {}
                    () = tokio::time::sleep(pause) => {}
                }
            }
            if !*has_lane.borrow() {
                self.status.coordinator_mut(|status| status.set(CoordinatorState::Elsewhere, self.clock.now()));
            }
        }
    }

    /// Records why a turn failed. Returns how long to wait before the next one.
    fn failed(&self, error: &PortError, wait: Duration, began: bool, now: Duration) -> Duration {
        let wait = match error.class {
            Class::Retry | Class::Login => wait,
            Class::Fenced => wait.max(FENCED),
            Class::Stop => RETRY.1,
        };
        let wait = spread(wait, &format!("{}-{}-coordinator", self.link, self.process));
        let reason = error.to_string();
        let is_new = self.status.coordinator_mut(|status| {
            status.set(CoordinatorState::Waiting, now);
            std::mem::replace(&mut status.trouble, reason.clone()) != reason
        });
        if began {
            self.emit(CoordinatorEvent::Lost { reason, retry_ms: millis(wait) });
        } else if is_new {
            let retry_ms = millis(wait);
            tracing::warn!(link = %self.link, reason, retry_ms, "cannot coordinate the link, will retry");
        }
        wait
    }

    fn emit(&self, event: CoordinatorEvent) {
        self.events.emit(&self.link, Event::Coordinator(event));
    }

    /// One turn: takes the id, reads the control topic, and coordinates until the lane is given up.
    async fn turn(
        &self,
        has_lane: &watch::Receiver<bool>,
        found: &mut watch::Receiver<Found>,
        stop: &CancellationToken,
        began: &mut bool,
    ) -> Result<(), PortError> {
        self.status.coordinator_mut(|status| status.set(CoordinatorState::Taking, self.clock.now()));
        let taking = async {
            let writer = self.log.take().await?;
            let taken = self.clock.now();
            // Only now: whoever had the id before can write nothing more.
            Ok::<_, PortError>((writer, taken, self.log.read().await?))
        };
        let (mut writer, taken, control) = tokio::select! { biased;
            () = given_up(has_lane.clone(), stop) => return Ok(()),
            taken = taking => taken?,
        };
        let takes_over = control.tick().is_some_and(|tick| !tick.released);
        let clock = || self.clock.now();
        let mut turn = Turn::new(control, self.process, Arc::clone(&self.settings), taken);
        let mut batch = None;
        let mut begin = |owner| {
            if !std::mem::replace(began, true) {
                self.begins(owner, takes_over);
            }
        };
        let (on, batch_of) = ((has_lane, found, stop), (&mut batch, &clock as Now<'_>));
        let ended = self.work_on(&mut turn, &mut *writer, batch_of, on, &mut begin).await;
        if let Some(batch) = batch {
            // Its requests are on their way, and the next turn may be this process's own. They end
            // by themselves.
            self.told(&batch.await);
        }
        ended
    }

    /// Reports that this process coordinates the link. Whoever follows one that has said that it
    /// ended, or is the first, is no news: status and metrics show it.
    fn begins(&self, owner: u64, takes_over: bool) {
        if takes_over {
            return self.emit(CoordinatorEvent::Began { owner });
        }
        tracing::info!(link = %self.link, owner, "this process coordinates the link");
    }

    async fn work_on<'a>(
        &'a self,
        turn: &mut Turn,
        writer: &mut dyn ControlWriter,
        (batch, clock): (&mut Batch<'a>, Now<'a>),
        (has_lane, found, stop): (&watch::Receiver<bool>, &mut watch::Receiver<Found>, &CancellationToken),
        begin: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), PortError> {
        let mut works = Works::new(&self.works, &turn.known());
        let mut is_ending = false;
        found.mark_changed();
        loop {
            let now = self.clock.now();
            turn.listed_at(found.borrow().as_ref().map(|listed| listed.at));
            let until = match turn.step(now, self.clock.unix_ms()) {
                Step::End => return Ok(()),
                Step::Commit(records) => {
                    writer.commit(&records).await?;
                    turn.committed(now);
                    self.ticked(turn, now);
                    begin(turn.owner().count());
                    continue;
                }
                Step::Run(permit) => {
                    *batch = Some(Box::pin(works.batch(permit, clock)));
                    continue;
                }
                Step::Wait(until) => until,
            };
            tokio::select! { biased;
                () = given_up(has_lane.clone(), stop), if !is_ending => {
                    is_ending = true;
                    turn.end();
                }
                done = finished(&mut *batch) => {
                    turn.batch_ended();
                    self.told(&done);
                    turn.write(done.records.iter().cloned(), self.clock.now());
                    if works.ended(&done, &turn.known()) {
                        turn.want_batch(self.clock.now());
                    }
                }
                Ok(()) = found.changed() => {
                    let listed = found.borrow_and_update().clone();
                    if let Some(listed) = listed {
                        turn.publish(&listed_topics(&listed.topics), self.clock.now());
                    }
                }
                () = works.wanted() => turn.want_batch(self.clock.now()),
                () = tokio::time::sleep(until.saturating_sub(now)) => {}
            }
        }
    }

    /// Records how the works of a batch have ended.
    fn told(&self, done: &Done) {
        for (work, error) in &done.ended {
            let reason = error.as_ref().map(ToString::to_string);
            let before = self.status.coordinator_mut(|status| status.work_ended(work, reason.clone()));
            match (before, reason) {
                (None, Some(reason)) => self.emit(CoordinatorEvent::WorkFailed { work, reason }),
                (Some(before), Some(reason)) if before != reason => {
                    tracing::warn!(link = %self.link, work, reason, "work for the link as a whole fails");
                }
                (Some(_), None) => tracing::info!(link = %self.link, work, "work for the link as a whole succeeds"),
                _ => {}
            }
        }
    }

    /// Records a tick that is committed.
    fn ticked(&self, turn: &Turn, at: Duration) {
        let (owner, process) = (turn.owner().count(), turn.owner().process());
        let released = turn.control().tick().is_some_and(|tick| tick.released);
        self.status.coordinator_mut(|status| {
            status.set(CoordinatorState::Coordinating, at);
            status.ticked_at = Some(at);
            status.heard_of = Some(HeardOf { owner, process, at, at_ms: self.clock.unix_ms(), released });
        });
    }
}

/// Waits for the end of what runs, if anything does, and takes it out. Cancel safe.
async fn finished(running: &mut Batch<'_>) -> Done {
    let Some(work) = running else { return std::future::pending().await };
    let result = work.await;
    *running = None;
    result
}

fn listed_topics(topics: &[SourceTopic]) -> Vec<ListedTopic> {
    let one = |topic: &SourceTopic| ListedTopic {
        topic: Arc::clone(&topic.topic),
        id: topic.id,
        partitions: topic.partitions,
    };
    topics.iter().map(one).collect()
}
