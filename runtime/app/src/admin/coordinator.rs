//! Who coordinates a link, in the status.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strait_flow::{CoordinatorState, LinkStatus};

use crate::board::LinkBoard;

/// Who does what concerns a link as a whole: the process that has lane 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Coordinator {
    /// The part of this process: `elsewhere`, or `taking`, `coordinating` or `waiting` (before the
    /// next attempt) if it has lane 0.
    pub state: String,
    /// Number of coordinators so far, with the one that was heard of last. `None` before this
    /// process has heard of one.
    pub owner: Option<u64>,
    /// Random number of the process that is it.
    pub process: Option<u32>,
    /// Seconds since it was heard of.
    pub heard_s: Option<u64>,
    /// It said that it has ended.
    pub released: bool,
    /// Why this process does not coordinate the link although it should, or cannot hear of who
    /// does; empty if nothing is known.
    pub problem: String,
    /// The works for the link as a whole that failed when this process last tried them, and why.
    pub failing: BTreeMap<String, String>,
    /// The rights that are missing for what the target takes over besides records, and the answers.
    pub denied: BTreeMap<String, String>,
    /// Settings of target topics that are left alone although they differ, and why; the first 100.
    pub resting: BTreeMap<String, String>,
    /// Nobody has coordinated the link for a while.
    pub missing: bool,
    /// Hash of the settings of another process, if they are not those of this one.
    pub other_settings: Option<String>,
}

/// Returns who coordinates a link.
pub(super) fn of(link: &LinkBoard, status: &LinkStatus, now_ms: i64) -> Coordinator {
    let known = status.coordinator();
    let problem = if known.trouble.is_empty() { &known.deaf } else { &known.trouble };
    let heard_s = |at_ms: i64| now_ms.saturating_sub(at_ms).max(0).unsigned_abs() / 1000;
    Coordinator {
        state: state(known.state).to_owned(),
        owner: known.heard_of.map(|heard| heard.owner),
        process: known.heard_of.map(|heard| heard.process),
        heard_s: known.heard_of.map(|heard| heard_s(heard.at_ms)),
        released: known.heard_of.is_some_and(|heard| heard.released),
        problem: link.mask(problem),
        failing: known.failing.iter().map(|(work, reason)| ((*work).to_owned(), link.mask(reason))).collect(),
        denied: known.denied.iter().map(|(right, reason)| (right.name().to_owned(), link.mask(reason))).collect(),
        resting: known.resting.iter().map(|(setting, why)| (setting.clone(), link.mask(why))).collect(),
        missing: known.reported.is_some(),
        other_settings: known.other_settings.as_deref().map(str::to_owned),
    }
}

fn state(state: CoordinatorState) -> &'static str {
    match state {
        CoordinatorState::Elsewhere => "elsewhere",
        CoordinatorState::Taking => "taking",
        CoordinatorState::Coordinating => "coordinating",
        CoordinatorState::Waiting => "waiting",
    }
}
