//! Another link that writes to the same target.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Another link to the same target, by what it keeps there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Neighbour {
    /// The names of its copies, with `{topic}` in place of the topic that it reads.
    pub naming: Arc<str>,
    /// The topics that it reads.
    pub topics: BTreeSet<Arc<str>>,
    /// Target topics that it looks after, each with the source topic that it was made for: those
    /// that its plugins name, too.
    pub made: BTreeMap<Arc<str>, Arc<str>>,
}

impl Neighbour {
    /// Returns the target topics that it writes to. What it has made for a topic that it does not
    /// read any more is not one of them.
    #[must_use]
    pub fn feeds(&self) -> BTreeSet<Arc<str>> {
        let copies = self.topics.iter().map(|topic| Arc::from(self.naming.replace("{topic}", topic)));
        let made = self.made.iter().filter(|(_, source)| self.topics.contains(*source));
        copies.chain(made.map(|(topic, _)| Arc::clone(topic))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_feeds_its_copies_and_what_its_plugins_name() {
        let neighbour = Neighbour {
            naming: "aws.{topic}".into(),
            topics: ["orders".into(), "users".into()].into(),
            made: [("late".into(), "orders".into()), ("old".into(), "gone".into())].into(),
        };
        let fed: Vec<String> = neighbour.feeds().iter().map(ToString::to_string).collect();
        assert_eq!(fed, ["aws.orders", "aws.users", "late"]);
    }
}
