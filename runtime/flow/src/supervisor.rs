//! Keeps a lane going: takes it, lets it flow, and takes it again after a wait when an attempt
//! fails.

use std::sync::Arc;
use std::time::Duration;

use strait_core::progress::LaneRecord;
use strait_core::{BorderEvent, Event, Outage};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::caution::Caution;
use crate::clock::millis;
use crate::error::LaneError;
use crate::lane::{ABORT_MAX, Lane, LaneDeps};
use crate::ports::{Class, PortError};
use crate::retry::{LOGIN_RETRY, Retry, spread};
use crate::spec::LaneSpec;
use crate::status::LaneState;

/// Time after which plugins that the border refused are judged again: they may have been replaced.
const JUDGE_AGAIN: Duration = Duration::from_secs(10);

/// First and longest time after which it is looked whether a lane that an operator has closed is
/// open again.
const STANDBY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));

/// An attempt that flowed for this long before it failed resets the wait.
const HEALTHY: Duration = Duration::from_secs(30);

/// Runs a lane until `stop`, then commits what is released within the drain deadline. `abort` ends
/// the drain earlier: what is not committed then is aborted.
///
/// # Errors
/// A [`PortError`] of class `Stop` if this process cannot use the lane: a cluster refused it before
/// any lane of the link has worked in this process (permissions, credentials), or the link was
/// resized.
pub(crate) async fn supervise(
    spec: LaneSpec,
    deps: LaneDeps,
    stop: CancellationToken,
    abort: CancellationToken,
) -> Result<(), PortError> {
    let mut caution = Caution::default();
    deps.connector.forget(spec.lane);
    let mut backoff = spec.limits.restart_backoff.0;
    let mut login: Option<Retry> = None;
    let mut looser: Option<String> = None;
    let mut rolled = None;
    while !stop.is_cancelled() {
        let began = deps.clock.now();
        deps.status.set_lane(spec.lane, LaneState::Taking, began);
        let error = match attempt(&spec, &deps, &mut caution, &mut rolled, &stop, &abort).await {
            Ok(()) if rolled.is_some() && !stop.is_cancelled() => continue,
            Ok(()) => return Ok(()),
            Err(LaneError::Closed(reason)) => {
                stand_by(&spec, &deps, reason, &stop).await;
                continue;
            }
            Err(error) => error,
        };
        let (failed_at, reason) = (deps.clock.now(), error.to_string());
        let is_looser = matches!(error, LaneError::Looser { .. });
        let state = if is_looser { LaneState::Refused } else { LaneState::Waiting };
        deps.status.set_lane(spec.lane, state, failed_at);
        deps.status.lane_trouble(spec.lane, &reason, failed_at);
        deps.status.add(|t| t.lane_restarts += u64::from(!is_looser));
        if failed_at.saturating_sub(began) >= HEALTHY {
            backoff = spec.limits.restart_backoff.0;
        }
        let refuses_login = matches!(&error, LaneError::Port(error) if error.class == Class::Login);
        login = refuses_login.then(|| Retry::next(login, failed_at, LOGIN_RETRY));
        let wait = match &error {
            // Not an accident: the next attempt deals with it.
            LaneError::Refused(_) | LaneError::Stuck(_) | LaneError::TargetChanged(_) | LaneError::Truncated(_) => {
                Duration::ZERO
            }
            LaneError::Looser { .. } => JUDGE_AGAIN,
            LaneError::Unusable(reason) => {
                let context = format!("lane {} of link {}", spec.lane, spec.link);
                return Err(PortError::new(Class::Stop, context, reason));
            }
            // Refused from the beginning, it is for the operator, and no retry helps. Refused
            // later, the permission may come back.
            LaneError::Port(error) if error.class == Class::Stop && !deps.status.has_worked(failed_at) => {
                return Err(error.clone());
            }
            LaneError::Port(PortError { class: Class::Stop, .. }) => spec.limits.restart_backoff.1,
            _ => login
                .map_or(backoff, |login| spread(login.after, &format!("{}-{}-{}", spec.link, spec.process, spec.lane))),
        };
        // The same refusal is reported once.
        let is_repeated = is_looser && looser.replace(reason.clone()).is_some_and(|before| before == reason);
        let lane = spec.lane.0;
        let event = match &error {
            LaneError::Port(PortError { class: Class::Fenced, reason, .. }) => {
                deps.connector.forget(spec.lane);
                Event::Fenced { lane, reason: reason.clone() }
            }
            LaneError::Looser { generation, digest, losses } => Event::Border(BorderEvent::Refused {
                lane,
                generation: Arc::clone(generation),
                digest: Arc::clone(digest),
                losses: losses.clone(),
                retry_ms: millis(wait),
            }),
            _ if login.is_some() => Event::LoginRefused { lane, reason, retry_ms: millis(wait) },
            _ => Event::LaneRestarted { lane, reason, backoff_ms: millis(wait) },
        };
        if !is_repeated {
            deps.emit(&spec.link, event);
        }
        if !wait.is_zero() {
            backoff = (backoff * 2).min(spec.limits.restart_backoff.1);
        }
        tokio::select! { biased;
            () = stop.cancelled() => {}
            () = deps.connector.login_changed(), if login.is_some() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
    Ok(())
}

/// Waits until the lane is open again, without its transactional ids: the command that has closed
/// it fences with them.
async fn stand_by(spec: &LaneSpec, deps: &LaneDeps, reason: String, stop: &CancellationToken) {
    let now = deps.clock.now();
    deps.status.set_lane(spec.lane, LaneState::Standby, now);
    deps.status.lane_trouble(spec.lane, &reason, now);
    deps.emit(&spec.link, Event::Outage(Outage::Standby { lane: Some(spec.lane.0), reason }));
    let mut wait = STANDBY.0;
    loop {
        tokio::select! { biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = (wait * 2).min(STANDBY.1);
        match deps.progress.read(spec.lane).await {
            Ok(read) if read.lane.as_ref().and_then(LaneRecord::closing).is_none() => return,
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(link = %spec.link, lane = %spec.lane, %error, "it is not known whether the lane is open");
            }
        }
    }
}

/// Runs one attempt: take, flow, release. On `stop` the drain has a deadline. What is not committed
/// by then is aborted, and the next owner of the lane copies it again from committed progress.
///
/// `rolled` is answered once the lane runs. Where somebody asks for another roll, the attempt ends
/// like by `stop`, and has the request there.
async fn attempt(
    spec: &LaneSpec,
    deps: &LaneDeps,
    caution: &mut Caution,
    rolled: &mut Option<oneshot::Sender<()>>,
    stop: &CancellationToken,
    abort: &CancellationToken,
) -> Result<(), LaneError> {
    let taken = tokio::select! { biased;
        // Nothing was released yet. Dropping a half-taken lane leaves at most an empty transaction
        // to abort.
        () = stop.cancelled() => return Ok(()),
        taken = Lane::take(spec, deps, caution) => taken,
    };
    let mut lane = taken?;
    deps.status.set_lane(spec.lane, LaneState::Running, deps.clock.now());
    if let Some(rolled) = rolled.take() {
        // Whoever asked may have gone.
        rolled.send(()).ok();
    }
    let ending = stop.child_token();
    let drained = async {
        ending.cancelled().await;
        tokio::select! { biased;
            () = abort.cancelled() => {}
            () = tokio::time::sleep(spec.limits.drain) => {}
        }
    };
    let rolling = async {
        *rolled = Some(deps.requests.next_roll(spec.lane).await);
        ending.cancel();
        std::future::pending::<()>().await;
    };
    let (result, in_time) = tokio::select! { biased;
        result = lane.flow(&ending) => (result, true),
        () = rolling => (Ok(()), true),
        () = drained => {
            tracing::warn!(link = %spec.link, lane = %spec.lane, "no time left to drain, aborting what is open");
            (Ok(()), false)
        }
    };
    let unfinished = lane.unfinished_transactions();
    deps.status.add(|t| t.transactions_aborted += unfinished);
    lane.close_clients(if result.is_ok() && in_time { spec.limits.drain } else { ABORT_MAX }).await;
    result
}
