//! The claims of the plugin: what it leaves of each place that a rule names, for the host to
//! compare with other rules.

use serde_json::{Map, Value};
use strait_plugin_sdk::path::{Path, Quoted, Step};

use crate::config::{Rule, Shapes, folded};

/// Most claims, and most bytes of them: the rest of an answer needs room too. Those that are left
/// out are not made.
const CLAIMS_MAX: usize = 1_000;
const BYTES_MAX: usize = 48 << 10;

/// Returns the claims of these rules as JSON.
pub fn claims(rules: &[Rule], shapes: Shapes) -> String {
    let mut all = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let earlier = rules.get(..index).unwrap_or_default();
        // A value of another shape passes with whatever it holds.
        if shapes == Shapes::Strict {
            all.extend(rule.paths.iter().map(|path| rule.claim(&field(path), open_fields(path, rules, earlier))));
        }
        let open = open_headers(earlier);
        for place in rule.headers.iter().map(|name| header(name)).chain(rule.header_prefixes.iter().map(|p| prefix(p)))
        {
            all.push(rule.claim(&place, open.clone()));
        }
        // The first rule with a key is the only one that sees it.
        if rule.key && !earlier.iter().any(|rule| rule.key) {
            all.push(rule.claim("key", Vec::new()));
        }
    }
    all.truncate(CLAIMS_MAX);
    loop {
        let text = Value::from(all.clone()).to_string();
        if text.len() <= BYTES_MAX {
            return text;
        }
        all.truncate(all.len() / 2);
    }
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

fn header(name: &[u8]) -> String {
    format!("header[{}]", Quoted(&String::from_utf8_lossy(name)))
}

fn prefix(name: &[u8]) -> String {
    format!("header[{}*]", Quoted(&String::from_utf8_lossy(name)))
}

/// Returns the places of which a claim about `path` says nothing: an earlier rule may take them
/// first, or a pseudonym of all that is around them stays.
fn open_fields(path: &Path, rules: &[Rule], earlier: &[Rule]) -> Vec<String> {
    let first = earlier.iter().flat_map(|rule| &rule.paths).filter(|other| may_meet(other, path));
    let tokens = rules.iter().filter(|rule| rule.method.is_injective()).flat_map(|rule| &rule.paths);
    let around = tokens.filter(|other| may_be_around(other, path));
    let mut open: Vec<String> = first.chain(around).map(field).collect();
    open.sort_unstable();
    open.dedup();
    open
}

/// The same for headers: whatever earlier rules name.
fn open_headers(earlier: &[Rule]) -> Vec<String> {
    let of = |rule: &Rule| -> Vec<String> {
        rule.headers.iter().map(|name| header(name)).chain(rule.header_prefixes.iter().map(|p| prefix(p))).collect()
    };
    let mut open: Vec<String> = earlier.iter().flat_map(of).collect();
    open.sort_unstable();
    open.dedup();
    open
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
    outer.steps.len() < inner.steps.len() && outer.steps.iter().zip(&inner.steps).all(|(a, b)| may_step(a, b))
}

fn may_step(a: &Step, b: &Step) -> bool {
    match (a, b) {
        (Step::Name(a), Step::Name(b)) => folded(a) == folded(b),
        (Step::Index(a), Step::Index(b)) => a == b,
        (Step::Name(_), Step::Index(_)) | (Step::Index(_), Step::Name(_)) => false,
        _ => true,
    }
}
