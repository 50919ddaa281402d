//! Topics that the configuration names and the source does not describe. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use strait_core::{Event, Outage};

use crate::ports::{Class, PortError};

/// A topic that is being created, or elects, cannot be described for a moment.
const PASSING: Duration = Duration::from_secs(15);

/// Knows which topics are hidden, since when, and whether that was reported.
#[derive(Debug, Default)]
pub(super) struct Hidden {
    topics: BTreeMap<Arc<str>, (Duration, bool)>,
}

impl Hidden {
    /// Takes the topics that could not be described at this time. Returns events: at once of those
    /// for which no retry helps, and of the others after a while.
    pub fn look(&mut self, hidden: &BTreeMap<Arc<str>, PortError>, now: Duration) -> Vec<Event> {
        self.topics.retain(|topic, _| hidden.contains_key(topic));
        let mut events = Vec::new();
        for (topic, error) in hidden {
            let (since, is_reported) = self.topics.entry(Arc::clone(topic)).or_insert((now, false));
            let is_due = error.class == Class::Stop || now.saturating_sub(*since) >= PASSING;
            if is_due && !std::mem::replace(is_reported, true) {
                let (topic, reason) = (Arc::clone(topic), error.reason.clone());
                events.push(Event::Outage(Outage::TopicHidden { topic, reason }));
            }
        }
        events
    }

    /// Returns whether a hidden topic was reported.
    pub fn is_reported(&self, topic: &Arc<str>) -> bool {
        self.topics.get(topic).is_some_and(|(_, is_reported)| *is_reported)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_permission_is_said_at_once_and_once_and_a_passing_error_not() {
        let error = |class: Class| PortError::new(class, "c", "why");
        let hidden = |topics: &[(&str, Class)]| -> BTreeMap<Arc<str>, PortError> {
            topics.iter().map(|(topic, class)| (Arc::from(*topic), error(*class))).collect()
        };
        let mut rule = Hidden::default();
        let mut said = |topics: &[(&str, Class)], at: u64| -> Vec<String> {
            let events = rule.look(&hidden(topics), Duration::from_secs(at));
            events.iter().map(ToString::to_string).collect()
        };
        let both = [("denied", Class::Stop), ("electing", Class::Retry)];
        let first = said(&both, 0);
        assert!(first.len() == 1 && first[0].contains("source topic denied cannot be described"), "{first:?}");
        assert_eq!(said(&both, 14).len(), 0);
        assert_eq!(said(&both, 15).len(), 1);
        assert_eq!(said(&both, 500).len(), 0);
        // The permission is granted, and taken away again.
        assert_eq!(said(&[], 505).len(), 0);
        assert_eq!(said(&both[..1], 510).len(), 1);
    }
}
