//! Selection of the consumer groups whose offsets a link keeps on the target.

use regex::RegexSet;

use super::model::Link;
use super::selector::whole;

/// Groups that are left out unless `groups_exclude` says otherwise: those of tools and of Kafka
/// Connect.
pub const GROUPS_EXCLUDED: [&str; 3] = ["console-consumer-.*", "connect-.*", "__.*"];

/// The compiled `groups` and `groups_exclude` of a link.
#[derive(Clone, Debug)]
pub struct GroupSelector {
    include: RegexSet,
    exclude: RegexSet,
}

impl GroupSelector {
    /// Compiles patterns, which must match whole names.
    ///
    /// # Errors
    /// The parser's error for the first pattern that is not a regular expression.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, regex::Error> {
        Ok(Self {
            include: RegexSet::new(include.iter().map(|pattern| whole(pattern)))?,
            exclude: RegexSet::new(exclude.iter().map(|pattern| whole(pattern)))?,
        })
    }

    /// Returns whether the link keeps the offsets of a group. Those of Strait itself are never
    /// kept.
    #[must_use]
    pub fn selects(&self, group: &str) -> bool {
        !group.starts_with("strait.") && self.include.is_match(group) && !self.exclude.is_match(group)
    }
}

impl Link {
    /// Compiles the link's patterns of groups.
    ///
    /// # Errors
    /// A pattern that is not a regular expression, which validation reports first.
    pub fn group_selector(&self) -> Result<GroupSelector, regex::Error> {
        GroupSelector::new(&self.groups, &self.groups_exclude)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names_and_never_strait_itself() {
        let excluded = GROUPS_EXCLUDED.map(str::to_owned);
        let selector = GroupSelector::new(&[".*".to_owned()], &excluded).unwrap();
        for (group, selected) in [
            ("billing", true),
            ("strait.orders", false),
            ("connect-sink", false),
            ("reconnect-sink", true),
            ("console-consumer-5", false),
            ("__x", false),
            ("name with spaces, and more", true),
        ] {
            assert_eq!(selector.selects(group), selected, "{group}");
        }
        assert!(!GroupSelector::new(&[], &[]).unwrap().selects("billing"));
    }
}
