//! Topics that the configuration names and the source does not describe. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use strait_core::{Event, Outage};

use crate::ports::{Class, PortError, SourceTopics};

/// A topic that is being created, or elects, cannot be described for a moment.
const PASSING: Duration = Duration::from_secs(15);

/// The topics that the configuration names and of which nothing is copied.
#[derive(Debug, Default)]
pub(super) struct Unseen {
    hidden: Hidden,
    missing: Missing,
}

impl Unseen {
    /// Takes the topics that could not be described at this time, and those that do not exist.
    /// Returns events, and all topics that were reported, each with the reason.
    pub fn look(
        &mut self,
        hidden: &BTreeMap<Arc<str>, PortError>,
        missing: &BTreeMap<Arc<str>, Option<Arc<str>>>,
        now: Duration,
    ) -> (Vec<Event>, BTreeMap<Arc<str>, String>) {
        let mut events = self.hidden.look(hidden, now);
        events.extend(self.missing.look(missing, now));
        let of_hidden = hidden.iter().filter(|(topic, _)| self.hidden.is_reported(topic));
        let of_missing = missing.iter().filter(|(topic, _)| self.missing.is_reported(topic));
        let of_missing = of_missing.map(|(topic, meant)| (topic, SourceTopics::reason_missing(meant.as_ref())));
        let all = of_hidden.map(|(topic, error)| (topic, error.reason.clone())).chain(of_missing);
        (events, all.map(|(topic, reason)| (Arc::clone(topic), reason)).collect())
    }
}

/// Knows which topics are hidden, since when, and whether that was reported.
#[derive(Debug, Default)]
struct Hidden {
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

/// Knows which topics that the configuration names do not exist, since when, and whether that was
/// reported.
#[derive(Debug, Default)]
struct Missing {
    topics: BTreeMap<Arc<str>, (Duration, bool)>,
}

impl Missing {
    /// Takes the topics that do not exist at this time, each with the one that may be meant.
    /// Returns an event for each that has not existed for a while.
    pub fn look(&mut self, missing: &BTreeMap<Arc<str>, Option<Arc<str>>>, now: Duration) -> Vec<Event> {
        self.topics.retain(|topic, _| missing.contains_key(topic));
        let mut events = Vec::new();
        for (topic, meant) in missing {
            let (since, is_reported) = self.topics.entry(Arc::clone(topic)).or_insert((now, false));
            let is_due = now.saturating_sub(*since) >= PASSING;
            if is_due && !std::mem::replace(is_reported, true) {
                let (topic, meant) = (Arc::clone(topic), meant.clone());
                events.push(Event::Outage(Outage::TopicMissing { topic, meant }));
            }
        }
        events
    }

    /// Returns whether a missing topic was reported.
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

    #[test]
    fn a_topic_that_does_not_exist_is_said_once_and_again_after_it_has_existed() {
        let mut rule = Missing::default();
        let missing = [(Arc::from("ordres"), Some(Arc::from("orders"))), (Arc::from("other"), None)].into();
        let mut said = |missing: &BTreeMap<Arc<str>, Option<Arc<str>>>, at: u64| -> Vec<String> {
            let events = rule.look(missing, Duration::from_secs(at));
            events.iter().map(ToString::to_string).collect()
        };
        assert_eq!(said(&missing, 0).len(), 0, "it may be created just now");
        let first = said(&missing, 15);
        assert!(first.len() == 2 && first[0].contains("ordres does not exist"), "{first:?}");
        assert!(first[0].ends_with("did you mean 'orders'?") && !first[1].contains("did you mean"), "{first:?}");
        assert_eq!(said(&missing, 30).len(), 0);
        assert_eq!(said(&BTreeMap::new(), 31).len(), 0);
        assert_eq!((said(&missing, 32).len(), said(&missing, 47).len()), (0, 2));
    }
}
