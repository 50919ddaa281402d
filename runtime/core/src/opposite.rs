//! Links in the opposite direction, whose configuration this process does not have: whether two
//! links would copy each other's copies for ever.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::config::{Link, Selector};

/// A link that writes to the source of ours and reads from its target, by what it has committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OppositeLink {
    /// Name of the link.
    pub name: String,
    /// The names of its copies, with `{topic}` in place of the topic that it reads.
    pub naming: Arc<str>,
    /// The topics that it reads on our target.
    pub topics: BTreeSet<Arc<str>>,
    /// Whether it has plugins, which may end a loop.
    pub has_plugins: bool,
    /// Whether a process runs it now; `None` where that is not known.
    pub is_running: Option<bool>,
}

impl OppositeLink {
    /// Returns the name, at our source, of the copy of a topic.
    fn copy_of(&self, topic: &str) -> String {
        self.naming.replace("{topic}", topic)
    }

    /// Returns the topics of our target that come back to it: the copies that this link makes of
    /// them are selected by ours, which copies them to a topic that this link reads too.
    #[must_use]
    pub fn loops_with(&self, link: &Link, selector: &Selector) -> Vec<Arc<str>> {
        let comes_back = |topic: &&Arc<str>| {
            let copy = self.copy_of(topic);
            selector.selects(&copy) && self.topics.contains(&*link.naming.apply(&link.source, &copy))
        };
        self.topics.iter().filter(comes_back).map(Arc::clone).collect()
    }

    /// Returns whether a loop with this link is certain: it runs now, and no plugin of either link
    /// stands in the way.
    #[must_use]
    pub fn is_certain(&self, link: &Link) -> bool {
        self.is_running == Some(true) && !self.has_plugins && link.plugins.is_empty()
    }
}

/// Returns the pattern of the names that a link gives to its copies; `None` where a copy has the
/// name of its topic. Where source and target are one cluster, these must not be copied again.
#[must_use]
pub fn names_of_copies(link: &Link) -> Option<String> {
    // No topic has a line break in its name.
    let name = link.naming.apply(&link.source, "\n");
    let (before, after) = name.split_once('\n')?;
    let is_same = before.is_empty() && after.is_empty();
    (!is_same).then(|| format!("{}.*{}", regex::escape(before), regex::escape(after)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The topics that come back where a link with these options runs against one with this naming
    /// that reads these topics, and whether the loop is certain.
    fn loops(options: Value, naming: &str, topics: &[&str]) -> (Vec<String>, bool) {
        let mut link = json!({ "name": "a", "source": "aws", "target": "gcp" });
        link.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        let link: Link = serde_json::from_value(link).unwrap();
        let opposite = OppositeLink {
            name: "b".to_owned(),
            naming: naming.into(),
            topics: topics.iter().map(|topic| Arc::from(*topic)).collect(),
            has_plugins: false,
            is_running: Some(true),
        };
        let found = opposite.loops_with(&link, &link.selector().unwrap());
        (found.iter().map(ToString::to_string).collect(), opposite.is_certain(&link))
    }

    #[test]
    fn topics_that_two_links_copy_to_each_other_are_found_whatever_their_names() {
        let same = |topics: &str| json!({ "naming": "identity", "topics": [topics] });
        let prefix = |topics: &str, exclude: &[&str]| json!({ "topics": [topics], "topics_exclude": exclude });
        for (options, naming, topics, found) in [
            (same(".*"), "{topic}", &["orders", "users"][..], &["orders", "users"][..]),
            (same("orders"), "{topic}", &["orders", "users"], &["orders"]),
            (same("orders"), "{topic}", &["users"], &[]),
            // With a prefix a copy has another name each time: it comes back once it was copied.
            (prefix(".*", &[]), "gcp.{topic}", &["orders"], &[]),
            (prefix(".*", &[]), "gcp.{topic}", &["orders", "aws.gcp.orders"], &["orders"]),
            (prefix("orders", &[]), "gcp.{topic}", &["orders", "aws.orders"], &[]),
            (prefix(".*", &["gcp.*"]), "gcp.{topic}", &["orders", "aws.gcp.orders"], &[]),
            // One side keeps the names, the other one adds to them.
            (same(".*"), "gcp.{topic}", &["orders", "gcp.orders"], &["orders"]),
        ] {
            let (back, certain) = loops(options.clone(), naming, topics);
            assert_eq!(back, found, "{options} {naming} {topics:?}");
            assert!(certain);
        }
        let filtered = json!({ "topics": ["a"], "plugins": [{ "plugin": "filter" }] });
        assert!(!loops(filtered, "{topic}", &[]).1);
    }

    #[test]
    fn copies_are_told_by_their_names_unless_they_keep_those_of_their_topics() {
        let link = |naming: &str| -> Link {
            let link = json!({ "name": "l", "source": "a.b", "target": "c", "topics": [".*"], "naming": naming });
            serde_json::from_value(link).unwrap()
        };
        assert_eq!(names_of_copies(&link("identity")), None);
        let copies = names_of_copies(&link("prefix")).unwrap();
        let selector = Selector::new(&[".*".to_owned()], &[copies]).unwrap();
        let all = ["orders", "a.b.orders", "a.bx", "axb.orders"];
        assert_eq!(all.map(|topic| selector.selects(topic)), [true, false, true, true]);
    }
}
