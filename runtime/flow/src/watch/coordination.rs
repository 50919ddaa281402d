//! Whether the link has a coordinator, and whether its processes agree about it. Pure.

use std::sync::Arc;
use std::time::Duration;

use strait_core::CoordinatorEvent;

use crate::status::{CoordinatorState, CoordinatorStatus};

/// A process that has lane 0 and has not coordinated the link for this long is stuck.
const STUCK: Duration = Duration::from_secs(30);
/// Nothing was heard of a coordinator for this long: longer than lane 0 takes to change hands.
const MISSING: Duration = Duration::from_secs(60);

/// Knows what was reported.
#[derive(Debug, Default)]
pub(super) struct Coordination {
    /// Since when there is no coordinator.
    reported: Option<Duration>,
    other_settings: Option<Arc<str>>,
}

impl Coordination {
    /// Looks once. Returns events, and since when and why nobody coordinates the link, where that
    /// was reported. `own` are the settings of this process.
    pub fn look(
        &mut self,
        status: &CoordinatorStatus,
        has_joined: bool,
        own: &Arc<str>,
        now: Duration,
    ) -> (Vec<CoordinatorEvent>, Option<(Duration, String)>) {
        let mut events = Vec::new();
        let is_here = status.state != CoordinatorState::Elsewhere;
        // What another process says does not help this one, which has lane 0.
        let heard = if is_here { status.ticked_at } else { status.heard_of.map(|heard| heard.at) };
        let since = heard.map_or(status.given_at, |at| at.max(status.given_at));
        let silent = now.saturating_sub(since);
        let reason = if is_here { status.trouble.clone() } else { status.deaf.clone() };
        let is_silent = silent >= if is_here { STUCK } else { MISSING };
        if is_silent && has_joined && self.reported.is_none() {
            self.reported = Some(since);
            let silent_s = silent.as_secs();
            events.push(if is_here {
                let nothing = "nothing says what it waits for".to_owned();
                CoordinatorEvent::Stuck { silent_s, reason: if reason.is_empty() { nothing } else { reason.clone() } }
            } else {
                CoordinatorEvent::Missing { silent_s, reason: reason.clone() }
            });
        }
        if !is_silent
            && let Some(before) = self.reported
            && heard.is_some_and(|at| at > before && at >= status.given_at)
        {
            self.reported = None;
            events.push(CoordinatorEvent::Back { silent_s: since.saturating_sub(before).as_secs() });
        }
        if status.other_settings != self.other_settings {
            self.other_settings = status.other_settings.clone();
            let disagrees =
                |other| CoordinatorEvent::SettingsDisagree { own: Arc::clone(own), other: Arc::clone(other) };
            events.extend(self.other_settings.as_ref().map(disagrees));
        }
        (events, self.reported.map(|since| (since, reason)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::HeardOf;

    const S: Duration = Duration::from_secs(1);

    fn names(events: &[CoordinatorEvent]) -> Vec<String> {
        events.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_link_without_a_coordinator_is_reported_once_by_whoever_should_know() {
        let own: Arc<str> = "a1".into();
        let mut rule = Coordination::default();
        let mut status = CoordinatorStatus::default();
        assert!(rule.look(&status, false, &own, 500 * S).0.is_empty(), "it is no member yet");
        let heard = |at: u32| Some(HeardOf { owner: 1, process: 2, at: S * at, at_ms: 0, released: false });
        status.heard_of = heard(10);
        assert!(rule.look(&status, true, &own, 69 * S).0.is_empty());
        status.deaf = "refused".to_owned();
        let (events, reported) = rule.look(&status, true, &own, 70 * S);
        assert!(names(&events)[0].contains("has said for 60 s") && names(&events)[0].contains("refused"), "{events:?}");
        assert_eq!(reported, Some((10 * S, "refused".to_owned())));
        assert!(rule.look(&status, true, &own, 80 * S).0.is_empty());
        // The lane comes here, and the id is in use. A zombie's tick does not count for it.
        status.set(CoordinatorState::Taking, 90 * S);
        assert!(rule.look(&status, true, &own, 95 * S).0.is_empty());
        let mut rule = Coordination::default();
        status.set(CoordinatorState::Waiting, 91 * S);
        (status.trouble, status.heard_of) = ("no right".to_owned(), heard(119));
        let (events, _) = rule.look(&status, true, &own, 120 * S);
        assert!(matches!(&events[..], [CoordinatorEvent::Stuck { silent_s: 30, reason }] if reason == "no right"));
        status.set(CoordinatorState::Coordinating, 130 * S);
        status.ticked_at = Some(130 * S);
        let (events, reported) = rule.look(&status, true, &own, 131 * S);
        assert_eq!((events, reported), (vec![CoordinatorEvent::Back { silent_s: 40 }], None));
    }

    #[test]
    fn other_settings_are_reported_once() {
        let (own, mut rule) = ("a1".into(), Coordination::default());
        let mut status = CoordinatorStatus { other_settings: Some("b2".into()), ..CoordinatorStatus::default() };
        let look = |rule: &mut Coordination, status: &CoordinatorStatus| rule.look(status, true, &own, S).0.len();
        assert_eq!((look(&mut rule, &status), look(&mut rule, &status)), (1, 0));
        status.other_settings = None;
        assert_eq!(look(&mut rule, &status), 0);
        status.other_settings = Some("b2".into());
        assert_eq!(look(&mut rule, &status), 1);
    }
}
