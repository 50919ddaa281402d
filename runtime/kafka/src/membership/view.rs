//! A member's view of its group, from the reports of its client. Pure.

use std::collections::BTreeSet;

use serde::Deserialize;
use strait_core::LaneId;
use strait_flow::ports::{Class, PortError};

use crate::error::own;

/// Looks in a row that find a rebalance going on before it counts as one that does not end.
const LONG_REBALANCE: u32 = 3;

/// The group as a client knows it.
#[derive(Debug)]
pub(super) struct GroupView {
    context: String,
    is_member: bool,
    has_been_member: bool,
    lanes: BTreeSet<LaneId>,
    /// The error that explains best why the process is no member.
    trouble: Option<PortError>,
    /// Looks in a row without membership.
    looks_outside: u32,
}

/// The part of librdkafka's statistics that has the group.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    cgrp: Option<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    state: String,
    join_state: String,
}

impl Report {
    /// Reads statistics; `None` if they have no group.
    pub fn of(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok().filter(|report: &Self| report.cgrp.is_some())
    }
}

impl GroupView {
    pub fn new(context: &str) -> Self {
        Self {
            context: context.to_owned(),
            is_member: false,
            has_been_member: false,
            lanes: BTreeSet::new(),
            trouble: None,
            looks_outside: 0,
        }
    }

    /// The client has a member of the group with these lanes more.
    pub fn assigned(&mut self, lanes: &[LaneId]) {
        self.lanes.extend(lanes);
        self.joined();
    }

    /// The client does not have these lanes any more.
    pub fn released(&mut self, lanes: &[LaneId]) {
        self.lanes.retain(|lane| !lanes.contains(lane));
    }

    fn joined(&mut self) {
        (self.is_member, self.has_been_member) = (true, true);
        (self.trouble, self.looks_outside) = (None, 0);
    }

    /// Takes an error. One that no retry mends explains more than the lost connections after it.
    pub fn failed(&mut self, error: PortError) {
        if !self.trouble.as_ref().is_some_and(is_refusal) {
            self.trouble = Some(error);
        }
    }

    /// Takes statistics. Returns whether the process is a member, or why not; `None` while nothing
    /// can be said, as in a rebalance.
    pub fn look(&mut self, report: &Report) -> Option<Result<(), PortError>> {
        let group = report.cgrp.as_ref()?;
        let is_up = group.state == "up";
        if is_up && group.join_state == "steady" {
            self.joined();
            return Some(Ok(()));
        }
        self.is_member = false;
        self.looks_outside += 1;
        if let Some(trouble) = &self.trouble {
            return Some(Err(trouble.clone()));
        }
        if self.looks_outside < LONG_REBALANCE {
            return None;
        }
        let reason = if is_up {
            format!("a rebalance of the group does not end ({}): a process of the link may hang", group.join_state)
        } else {
            format!("the group's coordinator is not reached ({})", group.state)
        };
        Some(Err(own(Class::Retry, self.context.clone(), reason)))
    }

    /// Returns the error for which the client is to be given up: it is no member, and would ask
    /// again every second for what is refused, which locks accounts. While it has lanes, the
    /// session decides, which may outlast the refusal.
    pub fn refusal(&self) -> Option<&PortError> {
        self.trouble.as_ref().filter(|error| is_refusal(error) && !self.is_member && self.lanes.is_empty())
    }

    /// Returns whether the client has ever been a member.
    pub fn has_been_member(&self) -> bool {
        self.has_been_member
    }
}

fn is_refusal(error: &PortError) -> bool {
    matches!(error.class, Class::Login | Class::Stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(state: &str, join_state: &str) -> Report {
        let json = format!(r#"{{"name":"x","cgrp":{{"state":"{state}","stateage":1,"join_state":"{join_state}"}}}}"#);
        Report::of(json.as_bytes()).unwrap()
    }

    fn error(class: Class, reason: &str) -> PortError {
        PortError::new(class, "c", reason)
    }

    /// Returns what a look says: `None`, the reason, or that it is a member.
    fn look(view: &mut GroupView, state: &str, join_state: &str) -> Option<String> {
        view.look(&report(state, join_state))
            .map(|said| said.map_or_else(|error| error.reason, |()| "member".to_owned()))
    }

    #[test]
    fn only_a_steady_member_with_a_coordinator_counts_as_one() {
        assert!(Report::of(b"{\"name\":\"x\"}").is_none());
        let mut view = GroupView::new("c");
        assert_eq!(look(&mut view, "wait-coord", "init"), None);
        assert_eq!(look(&mut view, "up", "wait-join"), None);
        assert_eq!(look(&mut view, "up", "steady").as_deref(), Some("member"));
        // A rebalance is no trouble, one without an end is.
        let rebalance: Vec<_> = (0..3).map(|_| look(&mut view, "up", "wait-sync")).collect();
        assert!(rebalance[..2] == [None, None] && rebalance[2].as_ref().unwrap().contains("does not end (wait-sync)"));
        view.assigned(&[]);
        assert!(view.is_member, "others have all lanes");
        let away: Vec<_> = (0..3).map(|_| look(&mut view, "query-coord", "steady")).collect();
        assert!(away[2].as_ref().unwrap().contains("coordinator is not reached (query-coord)"), "{away:?}");
        assert!(!view.is_member && view.has_been_member());
        // A known error is said at once.
        view.failed(error(Class::Retry, "refused"));
        assert_eq!(look(&mut view, "query-coord", "steady").as_deref(), Some("refused"));
    }

    #[test]
    fn a_client_is_given_up_for_a_refusal_once_it_has_neither_membership_nor_lanes() {
        let refused = |view: &GroupView| view.refusal().map(|error| error.reason.clone());
        let mut view = GroupView::new("c");
        view.failed(error(Class::Retry, "connection refused"));
        assert_eq!(refused(&view), None, "the client itself connects again");
        view.failed(error(Class::Login, "wrong password"));
        view.failed(error(Class::Retry, "connection lost"));
        assert_eq!(refused(&view).as_deref(), Some("wrong password"), "never joined");

        let mut view = GroupView::new("c");
        view.assigned(&[LaneId(1), LaneId(2)]);
        view.failed(error(Class::Login, "wrong password"));
        assert_eq!(refused(&view), None, "another connection has the session");
        assert_eq!(look(&mut view, "query-coord", "steady").as_deref(), Some("wrong password"));
        assert_eq!(refused(&view), None, "the session goes on until it times out");
        view.released(&[LaneId(1), LaneId(2)]);
        assert_eq!(refused(&view).as_deref(), Some("wrong password"));
        assert_eq!(look(&mut view, "up", "steady").as_deref(), Some("member"));
        assert_eq!(refused(&view), None, "it has passed");
        // A permission that was taken away.
        view.failed(error(Class::Stop, "no ACL"));
        assert_eq!(look(&mut view, "up", "init").as_deref(), Some("no ACL"));
        assert_eq!(refused(&view).as_deref(), Some("no ACL"));
    }
}
