//! The topics of a link as an access list can name them: by name, or by how names begin.

use regex_syntax::hir::literal::{ExtractKind, Extractor};

use crate::config::{Around, Heartbeats, Link, Naming, PluginUse, name_of_entry};
use crate::mm2::{HEARTBEATS, HeartbeatTopics};
use crate::topic::{NAME_LENGTH_MAX, validate_name};

/// Most names or beginnings that one pattern is resolved to.
const NAMES_MAX: usize = 64;
/// Widest class of characters that is resolved to its members.
const CLASS_MAX: usize = 16;
/// Most repetitions that are resolved.
const REPEATS_MAX: usize = 8;

/// Topics of a link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topics {
    /// Those whose names begin so.
    Beginning(String),
    /// The one of this name.
    Named(String),
    /// Those that this expression matches, or that this text describes. An access list cannot name
    /// them before they exist.
    Matching(String),
}

impl Topics {
    /// Returns whether these include the others.
    #[must_use]
    pub fn include(&self, others: &Self) -> bool {
        match (self, others) {
            (Self::Beginning(text), Self::Named(name) | Self::Beginning(name)) => name.starts_with(text),
            _ => self == others,
        }
    }

    fn renamed(self, around: &Around) -> Self {
        let Around { before, after } = around;
        match self {
            Self::Named(name) => Self::Named(around.apply(&name)),
            Self::Beginning(text) => Self::Beginning(format!("{before}{text}")),
            Self::Matching(_) if !before.is_empty() => Self::Beginning(before.clone()),
            Self::Matching(text) if after.is_empty() => Self::Matching(text),
            // An access list cannot name topics by how they end.
            Self::Matching(text) => Self::Matching(format!("{text}, with {after} behind each")),
        }
    }
}

/// Returns the topics that a link copies: those that its configuration names, and those that were
/// `seen` on the cluster.
#[must_use]
pub fn source_topics(link: &Link, seen: &[String]) -> Vec<Topics> {
    let Ok(selector) = link.selector() else { return Vec::new() };
    let mut all: Vec<Topics> = link.topics.iter().flat_map(|entry| of_entry(entry)).collect();
    all.retain(|topics| !matches!(topics, Topics::Named(name) if !selector.selects(name)));
    all.extend(heartbeats(link).map(Topics::Named));
    all.extend(seen.iter().cloned().map(Topics::Named));
    minimal(all)
}

/// Returns the topics that a link writes. `namers` are its plugins that may name topics, `seen` the
/// target topics of the source topics that were seen.
#[must_use]
pub fn target_topics(link: &Link, namers: &[&PluginUse], seen: &[String]) -> Vec<Topics> {
    let heartbeats = heartbeats(link).map(|topic| Topics::Named(Naming::Prefix.apply(&link.source, &topic)));
    // Without their heartbeats, which have a naming of their own.
    let mut plain = link.clone();
    plain.mm2.heartbeats = Heartbeats::Off;
    let own = source_topics(&plain, &[]);
    let given = namers.iter().flat_map(|plugin| match &plugin.output_topics {
        Some(patterns) => patterns.iter().flat_map(|entry| of_entry(entry)).collect(),
        None => vec![Topics::Matching(format!("those that plugin {} names", plugin.plugin))],
    });
    let around = link.naming.around(&link.source);
    let all = own.into_iter().chain(given).map(|topics| topics.renamed(&around));
    minimal(all.chain(heartbeats).chain(seen.iter().cloned().map(Topics::Named)).collect())
}

/// Returns the heartbeats that the link copies whatever its `topics` are, if it does. Those that
/// came from further clusters are found on the source.
fn heartbeats(link: &Link) -> impl Iterator<Item = String> {
    let topics = HeartbeatTopics::new([], &link.source, &link.target);
    let topics = (link.mm2.heartbeats != Heartbeats::Off).then_some(topics);
    let is_copied =
        link.selector().is_ok_and(|selector| selector.with_heartbeats(topics).selects_heartbeats(HEARTBEATS, 1));
    is_copied.then(|| HEARTBEATS.to_owned()).into_iter()
}

/// Returns the topics of an entry of `topics`.
pub(super) fn of_entry(entry: &str) -> Vec<Topics> {
    match name_of_entry(entry) {
        Some(name) => vec![Topics::Named(name)],
        None => of_pattern(entry).unwrap_or_else(|| vec![Topics::Matching(entry.to_owned())]),
    }
}

/// Returns the names that a pattern stands for, or how those begin; `None` where one may begin with
/// anything.
fn of_pattern(pattern: &str) -> Option<Vec<Topics>> {
    let hir = regex_syntax::parse(pattern).ok()?;
    let mut extractor = Extractor::new();
    extractor.kind(ExtractKind::Prefix).limit_class(CLASS_MAX).limit_repeat(REPEATS_MAX);
    extractor.limit_literal_len(NAME_LENGTH_MAX).limit_total(NAMES_MAX);
    let found = extractor.extract(&hir);
    let topics = found.literals()?.iter().map(|literal| {
        let text = std::str::from_utf8(literal.as_bytes()).ok().filter(|text| !text.is_empty())?.to_owned();
        Some(if literal.is_exact() { Topics::Named(text) } else { Topics::Beginning(text) })
    });
    let topics = topics.collect::<Option<Vec<Topics>>>()?;
    // What is no name matches no topic.
    Some(topics.into_iter().filter(|topics| !matches!(topics, Topics::Named(n) if validate_name(n).is_err())).collect())
}

/// Sorts topics and leaves out those that others include.
fn minimal(mut all: Vec<Topics>) -> Vec<Topics> {
    // Beginnings come first, and the shorter ones before those that they include.
    all.sort();
    all.dedup();
    let mut kept: Vec<Topics> = Vec::with_capacity(all.len());
    for topics in all {
        let mut beginnings = kept.iter().take_while(|kept| matches!(kept, Topics::Beginning(_)));
        if !beginnings.any(|beginning| beginning.include(&topics)) {
            kept.push(topics);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beginning(text: &str) -> Topics {
        Topics::Beginning(text.to_owned())
    }

    fn named(text: &str) -> Topics {
        Topics::Named(text.to_owned())
    }

    #[test]
    fn entries_are_names_beginnings_or_neither() {
        let cases: [(&str, &[Topics]); 10] = [
            ("orders", &[named("orders")]),
            ("eu.orders", &[named("eu.orders")]),
            ("payments\\..*", &[beginning("payments.")]),
            ("orders-(eu|us)", &[named("orders-eu"), named("orders-us")]),
            ("(orders|payments)-.+", &[beginning("orders-"), beginning("payments-")]),
            ("^orders-[a-z]{3}$", &[beginning("orders-")]),
            ("v[12]-.*", &[beginning("v1-"), beginning("v2-")]),
            (".*", &[Topics::Matching(".*".to_owned())]),
            ("(a.*|.*-b)", &[Topics::Matching("(a.*|.*-b)".to_owned())]),
            ("x?orders", &[named("orders"), named("xorders")]),
        ];
        for (entry, expected) in cases {
            assert_eq!(minimal(of_entry(entry)), expected, "{entry}");
        }
    }

    #[test]
    fn a_beginning_includes_what_begins_so_and_nothing_is_named_twice() {
        let all = ["orders-eu", "payments", "orders-"].map(named).to_vec();
        let all = all.into_iter().chain([beginning("orders-e"), beginning("orders-")]).collect();
        assert_eq!(minimal(all), [beginning("orders-"), named("payments")]);
        assert!(!beginning("orders.").include(&named("orders-eu")));
        assert!(!named("orders").include(&named("orders-eu")));
    }
}
