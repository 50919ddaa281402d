//! `/api/v1/status`: the state of the process, as `strait status` shows it.
//!
//! Both ends share these types. A field that an older process does not send has its default.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strait_core::PartitionKey;
use strait_flow::{Activity, LaneState, LinkStatus, PartitionStatus, Reason, Standing};
use strait_host::TrialPhase;

use super::coordinator::{self, Coordinator};
use super::groups::{self, Groups};
use super::lag::{Lag, Lags};
use super::plugins::{self, Plugin};
use crate::board::plugins::PluginControl;
use crate::board::{Board, LinkBoard, LinkEvents, RecordedEvent};

/// Most partitions listed one by one.
const PAUSED_MAX: usize = 100;

/// The state of a process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Version of Strait.
    pub version: String,
    /// `starting`, `running` or `draining`.
    pub phase: String,
    /// Whether `/readyz` answers 200.
    pub ready: bool,
    /// The conditions that are missing for readiness.
    pub not_ready: Vec<String>,
    /// Seconds since the process began.
    pub uptime_s: u64,
    /// The links, in the order of the configuration.
    pub links: Vec<Link>,
}

/// The part of a link that this process has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Link {
    /// Name of the link.
    pub name: String,
    /// Cluster that the link reads from.
    pub source: String,
    /// Cluster that the link writes to.
    pub target: String,
    /// `exactly-once` or `at-least-once`.
    pub delivery: String,
    /// `preparing`, `running` or `ended`.
    pub state: String,
    /// Why the link ended, or cannot start yet.
    pub error: Option<String>,
    /// Lanes that the link has in all processes.
    pub lanes_total: u32,
    /// Lanes of this process.
    pub lanes: Vec<Lane>,
    /// Source partitions of this process.
    pub partitions: Partitions,
    /// How far these partitions are behind.
    pub lag: Lag,
    /// Figures since the process began.
    pub totals: Totals,
    /// The first hundred partitions that do not move.
    pub paused: Vec<Paused>,
    /// Number of further partitions that do not move.
    pub paused_left_out: usize,
    /// The first hundred partitions that have something to copy and have not moved for 30 s,
    /// whatever their lane says of them.
    pub standing_still: Vec<StandingStill>,
    /// Number of further partitions at a standstill.
    pub standing_still_left_out: usize,
    /// Clusters of the link that do not answer.
    pub unreachable: Vec<Unreachable>,
    /// Why the link's group does not have this process as a member; `None` while it has.
    pub not_in_group: Option<NotInGroup>,
    /// Why the source does not list its topics for this process; `None` while it does, or does not
    /// have to.
    pub topics_not_listed: Option<NotListed>,
    /// Who coordinates the link.
    pub coordinator: Coordinator,
    /// The consumer groups whose offsets this process keeps on the target.
    pub groups: Groups,
    /// The first hundred topics that the configuration names and the source does not describe.
    pub hidden_topics: Vec<HiddenTopic>,
    /// The records that are open in quarantine.
    pub quarantine: Quarantine,
    /// Topics that were created because plugins named them for single records.
    pub new_topics: u64,
    /// The active plugins: name, digest and configuration of each, in order.
    pub generation: String,
    /// The same generation as one digest. An operator agrees to it by that (`accept`), and the
    /// border of a lane and `strait check` name it.
    pub generation_digest: String,
    /// `steady`, `probation` (rolled back if it fails), or `shadow` or `canary` during a trial.
    pub standing: String,
    /// Why the last change of plugins was refused.
    pub problem: Option<String>,
    /// Changes of the configuration file that take effect at the next start.
    pub needs_restart: Vec<String>,
    /// The active plugins, in order.
    pub plugins: Vec<Plugin>,
    /// How often each event occurred.
    pub events: BTreeMap<String, u64>,
    /// The last events, oldest first.
    pub recent_events: Vec<EventView>,
}

/// A lane of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lane {
    /// Number of the lane.
    pub lane: u32,
    /// `taking`, `running`, `waiting` before the next attempt, `refused` by its border, or in
    /// `standby` while an operator's command has closed it.
    pub state: String,
    /// The last failure, the reason why a take waits, or what is wrong with a lane that runs; empty
    /// if nothing is known.
    pub trouble: String,
}

/// A partition that has something to copy and has not moved for 30 s.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StandingStill {
    /// Source topic.
    pub topic: String,
    /// Number of the partition.
    pub partition: i32,
    /// Committed progress: the next offset. `None` where it is not known.
    pub offset: Option<i64>,
    /// The last stable offset of the source, as last read. `None` where it never was.
    pub last_stable_offset: Option<i64>,
    /// Seconds since that was read.
    pub last_stable_age_s: Option<u64>,
    /// Seconds since the partition last moved, or last had nothing to copy.
    pub still_s: u64,
    /// Number of its lane.
    pub lane: u32,
    /// The state of the lane in this process.
    pub lane_state: String,
    /// The reason as far as it is known, and what to do.
    pub reason: String,
}

/// A cluster that does not answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unreachable {
    /// `source` or `target`.
    pub side: String,
    /// Name of the cluster.
    pub cluster: String,
    /// When it last answered, in milliseconds since the Unix epoch.
    pub since_ms: i64,
    /// The last error.
    pub reason: String,
}

/// A group that does not have this process as a member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NotInGroup {
    /// When it last had it, in milliseconds since the Unix epoch.
    pub since_ms: i64,
    /// The last error.
    pub reason: String,
}

/// A source that does not list its topics, and answers otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NotListed {
    /// When it last did, in milliseconds since the Unix epoch.
    pub since_ms: i64,
    /// The last error.
    pub reason: String,
}

/// A topic that the source does not describe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HiddenTopic {
    /// Source topic.
    pub topic: String,
    /// The source's error, and what to do.
    pub reason: String,
}

/// The records of a link that are open in quarantine, over all its processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quarantine {
    /// How many there are. `None` where that is not known.
    pub open_records: Option<u64>,
    /// Seconds since the oldest of them was refused; `None` if there is none.
    pub oldest_s: Option<u64>,
    /// Why they cannot be counted now; empty if they can, or nobody has looked yet.
    pub problem: String,
}

/// Source partitions by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Partitions {
    /// Partitions that are read.
    pub running: u64,
    /// Partitions that are retried without an operator.
    pub stuck: u64,
    /// Partitions that wait for an operator.
    pub stopped: u64,
}

/// The figures of a link since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Records read from the source.
    pub records_read: u64,
    /// Bytes of these records.
    pub bytes_read: u64,
    /// Records acknowledged by the target.
    pub records_written: u64,
    /// Bytes of these records, plus 64 for each.
    pub bytes_written: u64,
    /// Records dropped by plugins.
    pub records_dropped: u64,
    /// Records rejected by plugins.
    pub records_rejected: u64,
    /// Records refused because plugins send them to a topic that does not exist, beyond
    /// `new_topics_max`.
    pub records_without_topic: u64,
    /// Records written to quarantine, whoever refused them.
    pub records_quarantined: u64,
    /// Transactions committed.
    pub transactions: u64,
    /// Transactions that were open when their lane failed.
    pub transactions_aborted: u64,
    /// How often a lane failed and was taken again.
    pub lane_restarts: u64,
}

/// A partition that does not move.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Paused {
    /// Source topic.
    pub topic: String,
    /// Number of the partition.
    pub partition: i32,
    /// `stuck` or `stopped`.
    pub state: String,
    /// Committed progress: the next offset.
    pub offset: i64,
    /// The event with the reason, where one is known.
    pub event: String,
    /// The text of that event.
    pub reason: String,
}

/// A recorded event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventView {
    /// Milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// Name of the event.
    pub event: String,
    /// Text of the event.
    pub text: String,
}

/// Returns the status of a board.
#[must_use]
pub fn of(board: &Board) -> Status {
    let not_ready = board.not_ready();
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        phase: board.phase().name().to_owned(),
        ready: not_ready.is_empty(),
        not_ready,
        uptime_s: board.uptime().as_secs(),
        links: links(board),
    }
}

fn links(board: &Board) -> Vec<Link> {
    let mut links: Vec<Link> = board.links().iter().map(|link| of_link(link, board.unix_ms())).collect();
    for state in board.plugin_control().map(PluginControl::state).unwrap_or_default() {
        let (Some(view), Some(link)) = (links.iter_mut().find(|link| link.name == state.link), board.link(&state.link))
        else {
            continue;
        };
        view.standing = standing(state.chain.standing).to_owned();
        view.problem = state.problem.map(|problem| link.mask(&problem));
        view.needs_restart = state.needs_restart;
    }
    links
}

/// Returns `steady`, `probation`, `shadow` or `canary`.
pub fn standing(standing: TrialPhase) -> &'static str {
    match standing {
        TrialPhase::Steady => "steady",
        TrialPhase::Probation => "probation",
        TrialPhase::Shadow => "shadow",
        TrialPhase::Canary => "canary",
    }
}

fn of_link(link: &LinkBoard, now_ms: i64) -> Link {
    let events = link.events();
    let mut view = Link {
        name: link.name.clone(),
        source: link.source.clone(),
        target: link.target.clone(),
        delivery: link.delivery.name().to_owned(),
        state: state(link, &events).to_owned(),
        error: events.ended.clone().or(events.startup_error),
        events: events.counts.iter().map(|(event, count)| ((*event).to_owned(), *count)).collect(),
        recent_events: events.recent.iter().map(event_view).collect(),
        ..Link::default()
    };
    let Some(work) = link.work() else { return view };
    view.lanes_total = work.lanes;
    view.generation = work.slot.chains().generation().0.to_string();
    view.generation_digest = work.slot.chains().digest().to_string();
    view.plugins = plugins::of(link, work);
    view.lanes = work
        .status
        .lanes()
        .iter()
        .map(|(number, lane)| Lane {
            lane: number.0,
            state: lane_state(lane.state).to_owned(),
            trouble: link.mask(lane.present_trouble()),
        })
        .collect();
    view.totals = totals(&work.status.totals());
    view.new_topics = work.status.new_topics() as u64;
    view.quarantine = quarantine(link, &work.status, now_ms);
    view.coordinator = coordinator::of(link, &work.status, now_ms);
    view.groups = groups::of(link, &work.status);
    view.lag = Lags::of(link, now_ms).all();
    stand_stills(&mut view, link, &work.status);
    let reasons = work.status.reasons();
    for (key, partition) in work.status.partitions() {
        let count = match partition.activity {
            Activity::Running => &mut view.partitions.running,
            Activity::Stuck => &mut view.partitions.stuck,
            Activity::Stopped => &mut view.partitions.stopped,
        };
        *count += 1;
        if partition.activity == Activity::Running {
            continue;
        }
        if view.paused.len() >= PAUSED_MAX {
            view.paused_left_out += 1;
            continue;
        }
        view.paused.push(paused(link, &key, &partition, reasons.get(&key).map(|reason| &**reason)));
    }
    view
}

/// Returns `preparing`, `standby`, `running` or `ended`.
pub fn state(link: &LinkBoard, events: &LinkEvents) -> &'static str {
    match (events.ended.is_some(), link.work()) {
        (true, _) => "ended",
        (false, None) if events.stands_by => "standby",
        (false, None) => "preparing",
        (false, Some(_)) => "running",
    }
}

/// Returns `taking`, `running`, `waiting`, `refused` or `standby`.
pub fn lane_state(state: LaneState) -> &'static str {
    match state {
        LaneState::Taking => "taking",
        LaneState::Running => "running",
        LaneState::Waiting => "waiting",
        LaneState::Refused => "refused",
        LaneState::Standby => "standby",
    }
}

/// Returns `running`, `stuck` or `stopped`.
pub fn activity(activity: &Activity) -> &'static str {
    match activity {
        Activity::Running => "running",
        Activity::Stuck => "stuck",
        Activity::Stopped => "stopped",
    }
}

fn event_view(recent: &RecordedEvent) -> EventView {
    EventView { time_ms: recent.time_ms, event: recent.event.to_owned(), text: recent.text.clone() }
}

fn totals(totals: &strait_flow::Totals) -> Totals {
    Totals {
        records_read: totals.records_read,
        bytes_read: totals.bytes_read,
        records_written: totals.records_written,
        bytes_written: totals.bytes_written,
        records_dropped: totals.records_dropped,
        records_rejected: totals.records_rejected,
        records_without_topic: totals.records_without_topic,
        records_quarantined: totals.records_quarantined,
        transactions: totals.transactions,
        transactions_aborted: totals.transactions_aborted,
        lane_restarts: totals.lane_restarts,
    }
}

fn paused(link: &LinkBoard, key: &PartitionKey, partition: &PartitionStatus, reason: Option<&Reason>) -> Paused {
    Paused {
        topic: key.topic.to_string(),
        partition: key.partition,
        state: activity(&partition.activity).to_owned(),
        offset: partition.committed.0,
        event: reason.map(|reason| reason.event.name().to_owned()).unwrap_or_default(),
        reason: reason.map(|reason| link.mask(&reason.event.to_string())).unwrap_or_default(),
    }
}

fn quarantine(link: &LinkBoard, status: &LinkStatus, now_ms: i64) -> Quarantine {
    let found = status.quarantine();
    let age_s = |since_ms: i64| now_ms.saturating_sub(since_ms).max(0).unsigned_abs() / 1000;
    Quarantine {
        open_records: found.open.map(|open| open.records),
        oldest_s: found.open.and_then(|open| open.oldest_ms).map(age_s),
        problem: link.mask(&found.problem),
    }
}

/// Adds the partitions at a standstill, and what the link lacks: clusters that answer, membership.
fn stand_stills(view: &mut Link, link: &LinkBoard, status: &LinkStatus) {
    let (standing, _) = status.standing();
    view.standing_still_left_out = standing.len().saturating_sub(PAUSED_MAX);
    let one = |(key, standing): (PartitionKey, Standing)| StandingStill {
        topic: key.topic.to_string(),
        partition: key.partition,
        offset: standing.position.map(|position| position.0),
        last_stable_offset: standing.last_stable.map(|end| end.0),
        last_stable_age_s: standing.bounds_age.map(|age| age.as_secs()),
        still_s: standing.still.as_secs(),
        lane: standing.lane.0,
        lane_state: standing.lane_state.to_owned(),
        reason: link.mask(&standing.reason),
    };
    view.standing_still = standing.into_iter().take(PAUSED_MAX).map(one).collect();
    let unreachable = status.unreachable().into_iter().map(|(side, found)| Unreachable {
        side: side.to_string(),
        cluster: link.cluster(side).to_owned(),
        since_ms: found.since_ms,
        reason: link.mask(&found.reason),
    });
    view.unreachable = unreachable.collect();
    let hidden = status.hidden().into_iter().take(PAUSED_MAX);
    let hidden = hidden.map(|(topic, reason)| HiddenTopic { topic: topic.to_string(), reason: link.mask(&reason) });
    view.hidden_topics = hidden.collect();
    let outside = status.not_in_group();
    view.not_in_group = outside.map(|found| NotInGroup { since_ms: found.since_ms, reason: link.mask(&found.reason) });
    let unlisted = status.topics_not_listed();
    view.topics_not_listed =
        unlisted.map(|found| NotListed { since_ms: found.since_ms, reason: link.mask(&found.reason) });
}
