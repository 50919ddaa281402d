//! The order of the plugins: each sees what the ones before it left, so that the same claims mean
//! something else in another order. A hash of what was cut can be guessed where a cut hash cannot,
//! and a filter behind a redaction does not find what it looks for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::claim::RuleId;
use super::leaves::Leaves;
use super::locator::Locator;
use super::loosened::{Loosening, Place};
use super::protection::Protection;

/// Most changes of the order that are named.
const NAMED_MAX: usize = 5;

/// One required plugin of a chain: what it does or looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stage {
    /// It changes records.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub edits: bool,
    /// The rules that it makes claims for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleId>,
    /// The places that it looks at, if it makes no claims.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sights: Vec<Locator>,
}

/// A stage as it is stored.
#[derive(Deserialize)]
pub(super) struct StoredStage {
    #[serde(default)]
    edits: bool,
    #[serde(default)]
    rules: Vec<String>,
    #[serde(default)]
    sights: Vec<String>,
}

impl StoredStage {
    /// Reads a stage. Names that this version does not know have no place in the order.
    pub(super) fn read(self) -> Stage {
        Stage {
            edits: self.edits,
            rules: self.rules.iter().filter_map(|rule| RuleId::parse(rule)).collect(),
            sights: self.sights.iter().filter_map(|sight| sight.parse().ok()).collect(),
        }
    }
}

/// A rule with its claims, or a place that a plugin looks at: each has its place in the order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Rule(RuleId),
    Sight(Locator),
}

/// The first and the last stage with a mark.
#[derive(Clone, Copy)]
struct Span {
    first: usize,
    last: usize,
    edits: bool,
}

impl Span {
    /// Returns whether the order of two marks is another one than before.
    fn is_turned(before: [Self; 2], now: [Self; 2]) -> bool {
        let turned = |end: fn(&Self) -> usize| {
            let ([a, b], [c, d]) = (before.each_ref().map(end), now.each_ref().map(end));
            a < b && c > d || a > b && c < d
        };
        turned(|span| span.first) || turned(|span| span.last)
    }
}

fn spans(stages: &[Stage]) -> BTreeMap<Mark, Span> {
    let mut spans: BTreeMap<Mark, Span> = BTreeMap::new();
    for (at, stage) in stages.iter().enumerate() {
        let rules = stage.rules.iter().cloned().map(Mark::Rule);
        for mark in rules.chain(stage.sights.iter().cloned().map(Mark::Sight)) {
            let span = spans.entry(mark).or_insert(Span { first: at, last: at, edits: false });
            span.last = at;
            span.edits |= stage.edits;
        }
    }
    spans
}

/// Returns the ways in which the plugins come in another order than before, where that can change
/// what passes: one of the two changes records, and both are about one place.
#[must_use]
pub fn reordered(before: &Protection, after: &Protection) -> Vec<Loosening> {
    if before.order.is_empty() || after.order.is_empty() {
        return Vec::new();
    }
    let (known, now) = (spans(&before.order), spans(&after.order));
    let both = known
        .iter()
        .filter_map(|(mark, was)| Some(Known { mark, was: *was, is: *now.get(mark)?, places: mark.places(before) }));
    let both: Vec<Known<'_>> = both.collect();
    let mut found = Vec::new();
    for (index, one) in both.iter().enumerate() {
        for other in both.iter().skip(index + 1) {
            if !Span::is_turned([one.was, other.was], [one.is, other.is]) || !one.may_interfere(other) {
                continue;
            }
            found.push(one.mark.turned(other.mark, one.was.first < other.was.first));
            if found.len() == NAMED_MAX {
                return found;
            }
        }
    }
    found
}

/// A mark that is in both orders.
struct Known<'a> {
    mark: &'a Mark,
    was: Span,
    is: Span,
    /// Its places, and of each whether nothing of its content is left.
    places: Vec<(Place<'a>, bool)>,
}

impl Known<'_> {
    /// Returns whether the order of the two can make a difference.
    fn may_interfere(&self, other: &Self) -> bool {
        // Of what both take away altogether, nothing is left in any order.
        let takes = |known: &Self| !known.places.is_empty() && known.places.iter().all(|(_, takes)| *takes);
        if !(self.was.edits || other.was.edits) || takes(self) && takes(other) {
            return false;
        }
        self.places.iter().any(|(place, _)| other.places.iter().any(|(theirs, _)| place.may_meet(theirs)))
    }
}

impl Mark {
    /// Returns its places, and of each whether nothing of its content is left.
    fn places<'a>(&'a self, protection: &'a Protection) -> Vec<(Place<'a>, bool)> {
        match self {
            Self::Sight(sight) => vec![(Place::new(sight, false), false)],
            Self::Rule(rule) => {
                let claims = protection.claims.iter().filter(|claim| claim.rule == *rule);
                claims.map(|claim| (Place::new(&claim.at, claim.fold), claim.leaves <= Leaves::Constant)).collect()
            }
        }
    }

    fn turned(&self, other: &Self, was_first: bool) -> Loosening {
        let (first, second) = if was_first { (self, other) } else { (other, self) };
        let at = match (self, other) {
            (Self::Sight(sight), _) | (_, Self::Sight(sight)) => Some(sight.clone()),
            _ => None,
        };
        let reason = format!("plugins are in another order: {first} came before {second} and sees what it leaves now");
        Loosening { at, rule: None, reason }
    }
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rule(rule) => write!(f, "rule {rule}"),
            Self::Sight(sight) => write!(f, "the plugin that looks at {sight}"),
        }
    }
}
