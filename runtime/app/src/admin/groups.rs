//! The consumer groups whose offsets a link keeps on its target, in the status.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strait_core::groups::State;
use strait_flow::{CoordinatorState, LinkStatus};

use crate::board::LinkBoard;

/// The states of groups and their names, in the status and in metrics.
pub const STATES: [(State, &str); 7] = [
    (State::Pending, "pending"),
    (State::Exact, "exact"),
    (State::Inexact, "inexact"),
    (State::Active, "active"),
    (State::TakenOver, "taken_over"),
    (State::Refused, "refused"),
    (State::Shared, "shared_target"),
];

/// The groups of a link, in the process that coordinates it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Groups {
    /// The number of groups in each state that has any.
    pub states: BTreeMap<String, u64>,
    /// Offsets that the target has taken since the process began.
    pub written: u64,
    /// Why groups cannot be read; empty if they can.
    pub problem: String,
}

/// Returns the groups of a link.
pub(super) fn of(link: &LinkBoard, status: &LinkStatus) -> Groups {
    let known = status.groups();
    if status.coordinator().state != CoordinatorState::Coordinating {
        return Groups { written: known.written, ..Groups::default() };
    }
    let states = STATES.iter().filter_map(|(state, name)| Some(((*name).to_owned(), *known.states.get(state)?)));
    Groups { states: states.collect(), written: known.written, problem: link.mask(&known.trouble) }
}
