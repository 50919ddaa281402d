//! Removes, masks or pseudonymises fields of JSON values, headers and keys. What it cannot judge
//! does not pass.

mod claims;
mod config;
mod fields;
mod keep;
mod method;
mod texts;
mod walk;

use std::borrow::Cow;

use config::{Config, Embedded, Rule, Shapes, folded};
use fields::{Declared, Place, WrongShape, contradiction};
use keep::{KEEP_ONLY, KeepOnly};
use method::{Method, NotJudged, Outcome};
use strait_plugin_sdk::{
    About, Action, Change, ConfigError, Counter, LinkInfo, Needs, Plugin, Record, TopicPlan, ValueState, column,
    config_error, count, counter, effect, expected_counter,
    json::{self, Kind},
    plugin,
};
use walk::{Orders, Walked, Walker, pointed};

const SCHEMA: &str = include_str!("../config.schema.json");

const NOT_JUDGED: &str = "not-judged";
const WRONG_SHAPE: &str = "wrong-shape";
const EMBEDDED: &str = "embedded-json";

struct Redact {
    rules: Vec<Rule>,
    keep: Option<KeepOnly>,
    embedded: Option<Embedded>,
    fields: Fields,
    headers: Headers,
    /// Index of the rule for the key.
    key: Option<usize>,
    /// By rule: the fields, headers and keys that it found in the current batch. Behind them, the
    /// fields that the allow list removed.
    matched: Vec<u64>,
    buffer: Vec<u8>,
    /// The claims of the rules, as JSON. Without them the places that the plugin looks at are held.
    claims: Option<String>,
    shapes: Shapes,
}

/// The headers to request.
enum Headers {
    None,
    Named(Vec<Vec<u8>>),
    All,
}

/// How fields are found.
enum Fields {
    None,
    /// The host finds the places that the rules name.
    Declared(Declared),
    /// The host passes everything, because some rule ignores case, there is an allow list, or texts
    /// can be documents.
    Walk,
}

/// The path to everything in the document.
const EVERYTHING: &str = "$[*]";

/// The reason why a record cannot pass.
struct Refusal {
    /// One of the reject codes.
    code: &'static str,
    reason: &'static str,
    /// The rule that it is of, by its counter, where it is of one.
    rule: Option<usize>,
}

impl Refusal {
    fn of_rule(self, rule: usize) -> Self {
        Self { rule: Some(rule), ..self }
    }
}

impl From<NotJudged> for Refusal {
    fn from(_: NotJudged) -> Self {
        Self {
            code: NOT_JUDGED,
            reason: "a field has no text or content: a lone surrogate, a name twice in it, or a number too large",
            rule: None,
        }
    }
}

impl From<WrongShape> for Refusal {
    fn from(_: WrongShape) -> Self {
        let reason = "the value has another type where a path expects an object or array";
        Self { code: WRONG_SHAPE, reason, rule: None }
    }
}

impl Rule {
    fn takes_header(&self, name: &[u8]) -> bool {
        if self.headers.is_empty() && self.header_prefixes.is_empty() {
            return false;
        }
        let name: Cow<'_, [u8]> = match self.ignore_case {
            true => folded(&String::from_utf8_lossy(name)).into_bytes().into(),
            false => name.into(),
        };
        self.headers.iter().any(|header| **header == *name)
            || self.header_prefixes.iter().any(|prefix| name.starts_with(prefix))
    }
}

impl Headers {
    fn new(rules: &[Rule]) -> Self {
        let mut names: Vec<Vec<u8>> = Vec::new();
        for rule in rules {
            if !rule.header_prefixes.is_empty() || rule.ignore_case && !rule.headers.is_empty() {
                return Self::All;
            }
            names.extend(rule.headers.iter().cloned());
        }
        names.sort();
        names.dedup();
        if names.is_empty() { Self::None } else { Self::Named(names) }
    }
}

impl Fields {
    fn new(rules: &[Rule], keeps_only: bool, in_texts: bool) -> Self {
        if keeps_only || rules.iter().any(|rule| (rule.ignore_case || in_texts) && !rule.paths.is_empty()) {
            return Self::Walk;
        }
        let paths = rules.iter().enumerate().flat_map(|(index, rule)| rule.paths.iter().map(move |path| (path, index)));
        let declared = Declared::new(paths);
        if declared.paths.is_empty() { Self::None } else { Self::Declared(declared) }
    }

    fn needs(&self) -> Needs {
        let needs = Needs::columns(&[], effect::FIELD | effect::REJECT);
        match self {
            Self::None => Needs::default(),
            Self::Walk => needs.fields([EVERYTHING]).field_pointers().and(column::VALUE),
            Self::Declared(declared) => {
                let mut needs = needs.fields(declared.paths.iter().map(ToString::to_string));
                if declared.needs_pointers() {
                    needs = needs.field_pointers();
                }
                needs
            }
        }
    }
}

impl Redact {
    fn new(
        rules: Vec<Rule>,
        keep: Option<KeepOnly>,
        shapes: Shapes,
        embedded: Option<Embedded>,
    ) -> Result<Self, String> {
        Ok(Self {
            claims: claims::claims(&rules, keep.as_ref().map(KeepOnly::claim), (shapes, embedded))?,
            shapes,
            fields: Fields::new(&rules, keep.is_some(), embedded.is_some()),
            headers: Headers::new(&rules),
            key: rules.iter().position(|rule| rule.key),
            matched: vec![0; rules.len() + usize::from(keep.is_some())],
            rules,
            keep,
            embedded,
            buffer: Vec::new(),
        })
    }

    fn change(&mut self, record: &Record<'_>) -> Result<Change, Refusal> {
        let mut change = Change::new();
        if !matches!(self.fields, Fields::None) {
            change = self.redact_fields(record, change)?;
        }
        if !matches!(self.headers, Headers::None) {
            change = self.redact_headers(record, change);
        }
        let key = self.key.and_then(|rule| Some((rule, self.rules.get(rule)?, record.key()?)));
        if let Some((index, rule, key)) = key {
            rule.method.bytes(key, &mut self.buffer);
            found(&mut self.matched, index);
            change = change.key(Some(&self.buffer));
        }
        Ok(change)
    }

    fn redact_fields(&mut self, record: &Record<'_>, mut change: Change) -> Result<Change, Refusal> {
        match record.value_state() {
            ValueState::Parsed => {}
            ValueState::Null => return Ok(change),
            // The host rejects these before the call; this is a second check.
            _ => {
                let reason = "the value is not one well-formed JSON document";
                return Err(Refusal { code: NOT_JUDGED, reason, rule: None });
            }
        }
        match &self.fields {
            Fields::None => Ok(change),
            Fields::Walk => {
                let Self { rules, keep, embedded, shapes, .. } = self;
                let strict = *shapes == Shapes::Strict;
                let orders = Orders { rules, keep: keep.as_ref(), embedded: *embedded, strict };
                walk(orders, record, &mut self.matched, change)
            }
            Fields::Declared(declared) => {
                let (rules, buffer, matched) = (&self.rules, &mut self.buffer, &mut self.matched);
                declared.each_target(record.fields(), |field, index| {
                    let Some(rule) = rules.get(index) else { return Ok(()) };
                    let outcome = rule.method.field(field.json, buffer);
                    let outcome = outcome.map_err(|error| Refusal::from(error).of_rule(index))?;
                    found(matched, index);
                    let edited = std::mem::take(&mut change);
                    change = match outcome {
                        Outcome::Keep => edited,
                        Outcome::Remove => edited.remove_field(field.occurrence),
                        Outcome::Null | Outcome::Set => edited.field(field.occurrence, buffer),
                    };
                    Ok::<(), Refusal>(())
                })?;
                Ok(change)
            }
        }
    }

    fn redact_headers(&mut self, record: &Record<'_>, mut change: Change) -> Change {
        for (index, header) in record.headers().iter().enumerate() {
            let index = index as u32;
            let Some(at) = self.rules.iter().position(|rule| rule.takes_header(header.name)) else { continue };
            let Some(rule) = self.rules.get(at) else { continue };
            found(&mut self.matched, at);
            let outcome = match (header.value, &rule.method) {
                (Some(value), method) => method.bytes(value, &mut self.buffer),
                (None, Method::Remove | Method::Constant { .. }) => rule.method.bytes(&[], &mut self.buffer),
                // A null holds nothing.
                (None, _) => Outcome::Keep,
            };
            change = match outcome {
                Outcome::Keep => change,
                Outcome::Remove => change.remove_header(index),
                Outcome::Null => change.header(index, None),
                Outcome::Set => change.header(index, Some(&self.buffer)),
            };
        }
        change
    }
}

/// Redacts fields with names in any case, and removes those that are not kept.
fn walk(orders: Orders<'_>, record: &Record<'_>, matched: &mut [u64], mut change: Change) -> Result<Change, Refusal> {
    let value = record.value().unwrap_or_default();
    if orders.strict {
        orders.check_root(value)?;
    }
    let in_array = json::kind(value) == Some(Kind::Array);
    for field in record.fields() {
        let name = pointed(field.pointer)?;
        let place = match in_array {
            true => Place::Element(name.parse().map_err(|_| NotJudged)?),
            false => Place::Member(&name),
        };
        match Walker::new(orders, field.json, matched).run(&place)? {
            Walked::Same => {}
            Walked::Changed(text) => change = change.field(field.occurrence, &text),
            Walked::Removed => change = change.remove_field(field.occurrence),
        }
    }
    Ok(change)
}

/// Counts that a rule found a field, a header or a key, also if it is null and stays.
fn found(matched: &mut [u64], rule: usize) {
    if let Some(count) = matched.get_mut(rule) {
        *count += 1;
    }
}

impl Plugin for Redact {
    fn about() -> About {
        About {
            name: "redact".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            description: "Removes, masks or pseudonymises fields of JSON values, headers and keys".into(),
            config_schema: SCHEMA.into(),
            effects: effect::FIELD | effect::HEADER | effect::KEY | effect::REJECT,
            fails_closed: true,
            reject_codes: [NOT_JUDGED, WRONG_SHAPE, EMBEDDED].map(String::from).into(),
        }
    }

    fn configure(config: &str, _link: &LinkInfo) -> Result<Self, Vec<ConfigError>> {
        let config: Config = serde_json::from_str(config).map_err(|e| vec![config_error("", e.to_string())])?;
        let (paths, shapes, embedded) = (config.keep_only.clone(), config.shapes, config.embedded);
        let rules = config.rules()?;
        let hidden = if embedded.is_some() { claims::parts_around(&rules) } else { Vec::new() };
        if !hidden.is_empty() {
            return Err(hidden);
        }
        let keep = paths.map(|paths| KeepOnly::new(&paths, &rules)).transpose()?;
        let redact =
            Self::new(rules, keep, shapes, embedded).map_err(|message| vec![config_error("/rules", message)])?;
        if shapes == Shapes::Strict
            && matches!(redact.fields, Fields::Declared(_))
            && let Some(place) = contradiction(redact.rules.iter().flat_map(|rule| &rule.paths))
        {
            let message = format!(
                "some rules expect an object at {place}, others an array, so no record could pass; use [*], which matches \
                 both, or shapes = \"lenient\""
            );
            return Err(vec![config_error("/rules", message)]);
        }
        Ok(redact)
    }

    fn counters(&self) -> Vec<Counter> {
        let of_rules = self.rules.iter().map(|rule| expected_counter("matched", rule.id.as_str()));
        let removed = self.keep.as_ref().map(|_| Counter { rule: KEEP_ONLY.into(), ..counter("removed") });
        of_rules.chain(removed).collect()
    }

    fn open_topic(&mut self, _topic: &str, _partitions: u32) -> Result<TopicPlan, String> {
        let mut needs = self.fields.needs();
        needs = match &self.headers {
            Headers::None => needs,
            Headers::Named(names) => needs.headers(names.iter().cloned()).may(effect::HEADER),
            Headers::All => needs.all_headers().may(effect::HEADER),
        };
        if self.key.is_some() {
            needs = needs.and(column::KEY).may(effect::KEY);
        }
        let mut plan = TopicPlan::reads(needs);
        if let Some(claims) = &self.claims {
            plan = plan.protects(claims.clone());
        }
        Ok(if self.shapes == Shapes::Lenient { plan.lenient_shapes() } else { plan })
    }

    fn on_record(&mut self, record: &Record<'_>) -> Action {
        match self.change(record) {
            Ok(change) => change.into(),
            Err(Refusal { code, reason, rule: None }) => Action::reject(code, reason),
            Err(Refusal { code, reason, rule: Some(rule) }) => Action::reject_of(rule as u32, code, reason),
        }
    }

    fn end_batch(&mut self) {
        for (counter, sum) in self.matched.iter_mut().enumerate() {
            if *sum > 0 {
                count(counter as u32, std::mem::take(sum));
            }
        }
    }
}

plugin!(Redact);

#[cfg(test)]
mod tests;
