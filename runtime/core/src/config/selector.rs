//! Selection of the topics that a link copies.

use regex::RegexSet;
use regex_syntax::hir::{Class, Hir, HirKind};

use super::model::Link;
use crate::mm2::HeartbeatTopics;
use crate::topic::{is_reserved, validate_name};

/// The compiled `topics` and `topics_exclude` of a link.
#[derive(Clone, Debug)]
pub struct Selector {
    include: RegexSet,
    exclude: RegexSet,
    named: Vec<String>,
    heartbeats: Option<HeartbeatTopics>,
}

impl Selector {
    /// Compiles patterns, which must match whole names.
    ///
    /// # Errors
    /// The parser's error for the first pattern that is not a regular expression.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, regex::Error> {
        Ok(Self {
            include: RegexSet::new(include.iter().map(|pattern| whole(pattern)))?,
            exclude: RegexSet::new(exclude.iter().map(|pattern| whole(pattern)))?,
            named: include.iter().filter_map(|pattern| name_of_entry(pattern)).collect(),
            heartbeats: None,
        })
    }

    /// Returns whether the link copies the topic. Reserved topics are never copied.
    #[must_use]
    pub fn selects(&self, topic: &str) -> bool {
        self.include.is_match(topic) && !self.exclude.is_match(topic) && !is_reserved(topic)
    }

    /// Selects these heartbeats too, whatever `topics` is.
    #[must_use]
    pub fn with_heartbeats(self, heartbeats: Option<HeartbeatTopics>) -> Self {
        Self { heartbeats, ..self }
    }

    /// Returns whether the link copies the topic for its heartbeats, although `topics` does not
    /// match it. MirrorMaker 2 gives such a topic one partition: one with more is somebody's own.
    #[must_use]
    pub fn selects_heartbeats(&self, topic: &str, partitions: i32) -> bool {
        let is_of_link = self.heartbeats.as_ref().is_some_and(|heartbeats| heartbeats.has(topic));
        is_of_link && partitions == 1 && !self.exclude.is_match(topic)
    }

    /// Returns the topics that `topics` names, as opposed to those that a pattern of it matches,
    /// and that the link copies if they exist.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.named.iter().map(String::as_str).filter(|name| self.selects(name))
    }

    /// Returns the indexes of the `topics` patterns that match, regardless of `topics_exclude`.
    #[must_use]
    pub fn matches(&self, topic: &str) -> Vec<usize> {
        self.include.matches(topic).into_iter().collect()
    }
}

impl Link {
    /// Compiles the link's topic patterns.
    ///
    /// # Errors
    /// A pattern that is not a regular expression, which validation reports first.
    pub fn selector(&self) -> Result<Selector, regex::Error> {
        Selector::new(&self.topics, &self.topics_exclude)
    }
}

/// Returns the pattern that matches whole names.
pub(super) fn whole(pattern: &str) -> String {
    format!("^(?:{pattern})$")
}

/// Returns the topic that an entry of `topics` names, if it is a name and no pattern. A dot counts
/// as itself: names have dots far more often than patterns have a dot alone.
#[must_use]
pub fn name_of_entry(pattern: &str) -> Option<String> {
    let text = pattern.replace("\\.", ".").replace("\\-", "-");
    validate_name(&text).is_ok().then_some(text)
}

/// Returns a topic name that the pattern matches: the pattern's literal text, with an `x` wherever
/// anything may stand.
#[must_use]
pub fn sample(pattern: &str) -> Option<String> {
    let hir = regex_syntax::parse(pattern).ok()?;
    let mut text = String::new();
    push_sample(&hir, &mut text);
    (!text.is_empty()).then_some(text)
}

fn push_sample(hir: &Hir, text: &mut String) {
    match hir.kind() {
        HirKind::Literal(literal) => text.push_str(&String::from_utf8_lossy(&literal.0)),
        HirKind::Class(Class::Unicode(class)) => {
            let usual = "xab019_-.".chars();
            let chosen = usual
                .chain(('a'..='z').chain('A'..='Z'))
                .find(|c| class.iter().any(|range| range.start() <= *c && *c <= range.end()));
            text.extend(chosen.or_else(|| class.iter().next().map(|range| range.start())));
        }
        HirKind::Class(Class::Bytes(_)) => text.push('x'),
        HirKind::Repetition(repetition) => {
            // At least once, because `.*` is meant to match something. Bounded: `x{100000}` is no
            // real topic.
            let once = repetition.max != Some(0);
            for _ in 0..repetition.min.max(u32::from(once)).min(300) {
                push_sample(&repetition.sub, text);
            }
        }
        HirKind::Capture(capture) => push_sample(&capture.sub, text),
        HirKind::Concat(parts) => parts.iter().for_each(|part| push_sample(part, text)),
        HirKind::Alternation(parts) => {
            if let Some(first) = parts.first() {
                push_sample(first, text);
            }
        }
        HirKind::Empty | HirKind::Look(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names_and_never_reserved_topics() {
        let selector = Selector::new(&["orders".into(), "a|b.*".into()], &["b\\.secret".into()]).unwrap();
        for (topic, selected) in [
            ("orders", true),
            ("orders2", false),
            ("my-orders", false),
            ("a", true),
            ("ab", false),
            ("b.x", true),
            ("b.secret", false),
            ("b-internal", false),
        ] {
            assert_eq!(selector.selects(topic), selected, "{topic}");
        }
        assert!(!Selector::new(&[".*".into()], &[]).unwrap().selects("__consumer_offsets"));

        let heartbeats = HeartbeatTopics::new(["a", "b", "c"], "a", "b");
        let selector = selector.with_heartbeats(Some(heartbeats.clone()));
        assert!(selector.selects_heartbeats("heartbeats", 1) && selector.selects_heartbeats("c.heartbeats", 1));
        assert!(!selector.selects_heartbeats("heartbeats", 2), "somebody's own");
        assert!(!selector.selects("heartbeats"), "topics do not match it");
        let excluded = Selector::new(&[], &["heartbeats".into()]).unwrap().with_heartbeats(Some(heartbeats));
        assert!(!excluded.selects_heartbeats("heartbeats", 1) && excluded.selects_heartbeats("c.heartbeats", 1));
    }

    #[test]
    fn names_are_told_from_patterns() {
        let entries = ["orders", "eu.orders", "eu\\.pay_v1", "a.*", "x?", "(a|b)", "[a]", "__internal", "old", ""];
        let entries = entries.map(str::to_owned);
        let selector = Selector::new(&entries, &["old".into()]).unwrap();
        assert_eq!(selector.named().collect::<Vec<_>>(), ["orders", "eu.orders", "eu.pay_v1"]);
    }

    #[test]
    fn a_sample_matches_its_pattern() {
        for pattern in [
            ".*",
            "orders",
            "payments\\..*",
            "(eu|us)\\.[a-z]{3}[0-9]+",
            "x?y*",
            "[^a-z]+",
            "a{2,3}",
            "(?i)Orders",
            "\\w+-v\\d",
        ] {
            let sample = sample(pattern).unwrap();
            assert!(Selector::new(&[pattern.into()], &[]).unwrap().selects(&sample), "{pattern}: {sample}");
        }
        assert_eq!(sample("payments\\..*").unwrap(), "payments.x");
    }
}
