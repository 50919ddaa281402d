//! The claims of the plugin: what it leaves of each place that a rule names, for the host to
//! compare with other rules.

use serde_json::{Map, Value};
use strait_plugin_sdk::{
    ConfigError, config_error,
    path::{Path, Quoted, Step},
};

use crate::config::{Embedded, Rule, Shapes, folded};

/// Most claims, and most bytes of them: the rest of an answer needs room too.
const CLAIMS_MAX: usize = 1_000;
const BYTES_MAX: usize = 48 << 10;

/// Returns the claims of these rules as JSON; `None` if values of another shape pass with whatever
/// they hold, so that nothing can be said of fields.
///
/// # Errors
/// A message for the operator: the claims do not fit into an answer. Those that are left out would
/// not be held.
pub fn claims(
    rules: &[Rule],
    allow_list: Option<Value>,
    (shapes, embedded): (Shapes, Option<Embedded>),
) -> Result<Option<String>, String> {
    if shapes == Shapes::Lenient && rules.iter().any(|rule| !rule.paths.is_empty()) {
        return Ok(None);
    }
    let mut all: Vec<Value> = allow_list.into_iter().collect();
    for (index, rule) in rules.iter().enumerate() {
        let earlier = rules.get(..index).unwrap_or_default();
        for path in &rule.paths {
            let open = open_fields(path, rule, rules, earlier);
            all.extend(open.map(|open| {
                let mut claim = rule.claim(&field(path), open);
                if let Some(embedded) = embedded {
                    claim["embedded"] = embedded.name().into();
                }
                claim
            }));
        }
        for place in Header::of(rule) {
            all.extend(open_headers(place, rule, earlier).map(|open| rule.claim(&place.locator(), open)));
        }
        // The first rule with a key is the only one that sees it.
        if rule.key && !earlier.iter().any(|rule| rule.key) {
            all.push(rule.claim("key", Vec::new()));
        }
    }
    let (count, text) = (all.len(), Value::from(all).to_string());
    if count > CLAIMS_MAX || text.len() > BYTES_MAX {
        return Err(format!(
            "the rules make {count} claims with {} bytes, and {CLAIMS_MAX} with {BYTES_MAX} bytes can be held: name \
             fewer places, or larger ones",
            text.len()
        ));
    }
    Ok(Some(text))
}

impl Rule {
    fn claim(&self, at: &str, except: Vec<String>) -> Value {
        let mut claim = Map::new();
        claim.insert("rule".into(), self.id.as_str().into());
        claim.insert("at".into(), at.into());
        if !except.is_empty() {
            claim.insert("except".into(), except.into());
        }
        claim.extend(self.leaves.clone());
        if self.ignore_case && at != "key" {
            claim.insert("fold".into(), true.into());
        }
        claim.into()
    }
}

fn field(path: &Path) -> String {
    format!("value{path}")
}

/// The headers of a rule.
#[derive(Clone, Copy)]
enum Header<'a> {
    Named(&'a [u8]),
    Prefixed(&'a [u8]),
}

impl<'a> Header<'a> {
    fn of(rule: &'a Rule) -> impl Iterator<Item = Self> {
        let named = rule.headers.iter().map(|name| Self::Named(name));
        named.chain(rule.header_prefixes.iter().map(|prefix| Self::Prefixed(prefix)))
    }

    fn locator(self) -> String {
        let quoted = |name: &[u8]| Quoted(&String::from_utf8_lossy(name)).to_string();
        match self {
            Self::Named(name) => format!("header[{}]", quoted(name)),
            Self::Prefixed(prefix) => format!("header[{}*]", quoted(prefix)),
        }
    }

    /// Returns whether both may name the same header, in any case.
    fn may_meet(self, other: Self) -> bool {
        let in_any_case = |name: &[u8]| folded(&String::from_utf8_lossy(name));
        match (self, other) {
            (Self::Named(a), Self::Named(b)) => in_any_case(a) == in_any_case(b),
            (Self::Named(name), Self::Prefixed(prefix)) | (Self::Prefixed(prefix), Self::Named(name)) => {
                in_any_case(name).starts_with(&in_any_case(prefix))
            }
            (Self::Prefixed(a), Self::Prefixed(b)) => {
                let (a, b) = (in_any_case(a), in_any_case(b));
                a.starts_with(&b) || b.starts_with(&a)
            }
        }
    }
}

/// Returns the places of which a claim about `path` says nothing: an earlier rule may take them
/// first, or a pseudonym of all that is around them stays. (Where a part of a text stays, no field
/// is in the text.) `None` if there can be no claim: the places of a rule that ignores case cannot
/// be named among those of one that does not.
fn open_fields(path: &Path, rule: &Rule, rules: &[Rule], earlier: &[Rule]) -> Option<Vec<String>> {
    let of = |rules: &'_ [Rule], test: &dyn Fn(&Rule, &Path) -> bool| -> Vec<(bool, String)> {
        let paths = rules.iter().flat_map(|rule| rule.paths.iter().map(move |path| (rule, path)));
        paths.filter(|(rule, path)| test(rule, path)).map(|(rule, path)| (rule.ignore_case, field(path))).collect()
    };
    let mut open = of(earlier, &|_, other| may_meet(other, path));
    open.extend(of(rules, &|rule, other| rule.method.is_injective() && may_be_around(other, path)));
    named_within(open, rule)
}

/// The same for headers, which earlier rules may take first.
fn open_headers(place: Header<'_>, rule: &Rule, earlier: &[Rule]) -> Option<Vec<String>> {
    let places = earlier.iter().flat_map(|rule| Header::of(rule).map(move |other| (rule.ignore_case, other)));
    let meeting = places.filter(|(_, other)| other.may_meet(place));
    named_within(meeting.map(|(ignores_case, other)| (ignores_case, other.locator())).collect(), rule)
}

fn named_within(open: Vec<(bool, String)>, rule: &Rule) -> Option<Vec<String>> {
    if open.iter().any(|(ignores_case, _)| *ignores_case && !rule.ignore_case) {
        return None;
    }
    let mut open: Vec<String> = open.into_iter().map(|(_, place)| place).collect();
    open.sort_unstable();
    open.dedup();
    Some(open)
}

/// Returns whether both may name the same place. True in doubt.
fn may_meet(a: &Path, b: &Path) -> bool {
    match (a.steps.last(), b.steps.last()) {
        (Some(Step::Anywhere(a)), Some(Step::Name(b) | Step::Anywhere(b)))
        | (Some(Step::Name(a)), Some(Step::Anywhere(b))) => folded(a) == folded(b),
        (Some(Step::Anywhere(_)), _) | (_, Some(Step::Anywhere(_))) => true,
        _ => a.steps.len() == b.steps.len() && a.steps.iter().zip(&b.steps).all(|(a, b)| may_step(a, b)),
    }
}

/// Returns whether a place of `outer` may have one of `inner` inside of it. True in doubt.
fn may_be_around(outer: &Path, inner: &Path) -> bool {
    if outer.steps.iter().chain(&inner.steps).any(|step| matches!(step, Step::Anywhere(_))) {
        return true;
    }
    is_around(outer, inner)
}

/// Finds rules that keep a part of a place in which another rule names fields: as the outer one
/// applies, a document in a text would keep some of its characters.
pub fn parts_around(rules: &[Rule]) -> Vec<ConfigError> {
    let paths = || rules.iter().enumerate().flat_map(|(index, rule)| rule.paths.iter().map(move |path| (index, path)));
    let mut errors = Vec::new();
    for (index, outer) in paths().filter(|(index, _)| rules.get(*index).is_some_and(|rule| rule.method.keeps_a_part()))
    {
        if let Some((other, inner)) = paths().find(|(_, inner)| is_around(outer, inner)) {
            let message = format!(
                "the rule keeps a part of {outer}, and rule {other} names {inner} inside of it: with embedded, a text \
                 there would keep characters of that field. Redact all of {outer}, or take one of the two out"
            );
            errors.push(config_error(format!("/rules/{index}/fields"), message));
        }
    }
    errors
}

/// Returns whether a place of `outer` may have one of `inner` inside of it, as far as their steps
/// tell. A `..name` of `inner` may be inside of any place, which only a record shows.
fn is_around(outer: &Path, inner: &Path) -> bool {
    let Some((last, before)) = outer.steps.split_last() else { return true };
    let Some((_, inner)) = inner.steps.split_last() else { return false };
    let (start, rest) = inner.split_at(before.len().min(inner.len()));
    if start.len() < before.len() || !before.iter().zip(start).all(|(a, b)| may_step(a, b)) {
        return false;
    }
    match last {
        Step::Anywhere(name) => rest.iter().any(|step| is_named(step, name)),
        _ => rest.first().is_some_and(|step| may_step(last, step)),
    }
}

fn is_named(step: &Step, name: &str) -> bool {
    matches!(step, Step::Name(other) if folded(other) == folded(name))
}

/// Returns whether both steps may lead to the same place. True in doubt.
pub fn may_step(a: &Step, b: &Step) -> bool {
    match (a, b) {
        (Step::Name(a), Step::Name(b)) => folded(a) == folded(b),
        (Step::Index(a), Step::Index(b)) => a == b,
        (Step::Name(_), Step::Index(_)) | (Step::Index(_), Step::Name(_)) => false,
        _ => true,
    }
}
