//! Counts the cost of a schema before anything of it is compiled or evaluated.
//!
//! A validator follows references with its stack and evaluates a target once for each of them. Two
//! kilobytes of text can so take hours, and half a megabyte more stack than a thread has. So each
//! reference counts with all that it leads to.

use std::collections::HashMap;

use serde_json::Value;

/// Bytes of the text.
const BYTES_MAX: usize = 64 << 10;
/// Levels of the text.
const DEPTH_MAX: usize = 32;
/// Levels with references followed.
const FOLLOWED_DEPTH_MAX: usize = 128;
/// References, each counted as often as it is followed.
const REFERENCES_MAX: u64 = 1_000;
/// Values, each counted as often as references lead to it.
const VALUES_MAX: u64 = 50_000;
/// Regular expressions: to compile one takes up to a few milliseconds.
const PATTERNS_MAX: usize = 32;

/// Values with references followed, as far as they are below one value.
#[derive(Clone, Copy, Default)]
struct Cost {
    values: u64,
    references: u64,
    depth: usize,
}

impl Cost {
    fn add(&mut self, below: Self) {
        self.values = self.values.saturating_add(below.values);
        self.references = self.references.saturating_add(below.references);
        self.depth = self.depth.max(below.depth + 1);
    }
}

/// Parses a schema within the bounds, and returns it with its number of values, references
/// followed.
///
/// # Errors
/// The bound that it exceeds.
pub(super) fn parse(text: &str) -> Result<(Value, u64), String> {
    if text.len() > BYTES_MAX {
        return Err(format!("it has {} bytes, {BYTES_MAX} are allowed", text.len()));
    }
    // Its own bound on nesting, 128, holds while the depth is unknown.
    let schema: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let depth = depth(&schema);
    if depth > DEPTH_MAX {
        return Err(format!("it is nested {depth} deep, {DEPTH_MAX} is allowed"));
    }
    let patterns = patterns(&schema);
    if patterns > PATTERNS_MAX {
        return Err(format!("it has {patterns} regular expressions, {PATTERNS_MAX} are allowed"));
    }
    let draft = schema.get("$schema").and_then(Value::as_str).unwrap_or_default();
    let base = if draft.contains("draft-04") { "id" } else { "$id" };
    let cost = Counter { root: &schema, base, targets: HashMap::new() }.value(&schema, 0)?;
    if cost.references > REFERENCES_MAX {
        let references = cost.references;
        return Err(format!(
            "its references are followed {references} times, each counted with what it leads to, {REFERENCES_MAX} are allowed"
        ));
    }
    if cost.values > VALUES_MAX {
        return Err(format!("it has {} values with its references followed, {VALUES_MAX} are allowed", cost.values));
    }
    Ok((schema, cost.values))
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn patterns(value: &Value) -> usize {
    match value {
        Value::Object(members) => members.iter().fold(0, |sum, (name, member)| {
            let own = match (name.as_str(), member) {
                ("pattern", Value::String(_)) => 1,
                ("patternProperties", Value::Object(patterns)) => patterns.len(),
                _ => 0,
            };
            sum + own + patterns(member)
        }),
        Value::Array(items) => items.iter().map(patterns).sum(),
        _ => 0,
    }
}

/// Counts a schema. It takes every object for a schema, wherever it stands, so it may count too
/// much and never too little.
struct Counter<'a> {
    root: &'a Value,
    /// The keyword that gives a resource a base.
    base: &'static str,
    /// The cost of each target; `None` while it is counted.
    targets: HashMap<*const Value, Option<Cost>>,
}

impl<'a> Counter<'a> {
    fn value(&mut self, value: &'a Value, level: usize) -> Result<Cost, String> {
        check_depth(level)?;
        let mut cost = Cost { values: 1, ..Cost::default() };
        let is_root = std::ptr::eq(value, self.root);
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    // Definitions count where references lead to them.
                    if is_root && matches!(name.as_str(), "$defs" | "definitions") {
                        continue;
                    }
                    cost.add(match member.as_str() {
                        Some(reference) if name == "$ref" => self.reference(reference, level + 1)?,
                        Some(_) => self.keyword(name, is_root)?,
                        None => self.value(member, level + 1)?,
                    });
                }
            }
            Value::Array(items) => {
                for item in items {
                    cost.add(self.value(item, level + 1)?);
                }
            }
            _ => {}
        }
        Ok(cost)
    }

    /// Counts a keyword with a text. Refuses those that lead somewhere that is not counted, or make
    /// references do so.
    fn keyword(&self, name: &str, is_root: bool) -> Result<Cost, String> {
        match name {
            "$dynamicRef" | "$recursiveRef" => Err(format!("'{name}' is not supported; use '$ref'")),
            _ if !is_root && (name == "$schema" || name == self.base) => {
                Err(format!("'{name}' is not supported below the root"))
            }
            _ => Ok(Cost { values: 1, ..Cost::default() }),
        }
    }

    fn reference(&mut self, reference: &str, level: usize) -> Result<Cost, String> {
        let target = self.target(reference)?;
        let key = std::ptr::from_ref(target);
        let cost = match self.targets.get(&key) {
            Some(Some(known)) => *known,
            Some(None) => {
                return Err(format!("the reference '{reference}' leads back to itself, which is not allowed"));
            }
            None => {
                self.targets.insert(key, None);
                let cost = self.value(target, level)?;
                self.targets.insert(key, Some(cost));
                cost
            }
        };
        check_depth(level + cost.depth)?;
        Ok(Cost { references: cost.references.saturating_add(1), ..cost })
    }

    /// Finds the target, as the validator does. Only references into the schema itself are allowed:
    /// others would have to be fetched, or depend on what `keyword` refuses.
    fn target(&self, reference: &str) -> Result<&'a Value, String> {
        let Some(pointer) = reference.strip_prefix('#').filter(|rest| rest.is_empty() || rest.starts_with('/')) else {
            return Err(format!("the reference '{reference}' is not one into the schema itself: '#' or '#/…'"));
        };
        let target = decoded(pointer).and_then(|pointer| self.root.pointer(&pointer));
        target.ok_or_else(|| format!("the reference '{reference}' leads nowhere"))
    }
}

fn check_depth(depth: usize) -> Result<(), String> {
    if depth <= FOLLOWED_DEPTH_MAX {
        return Ok(());
    }
    Err(format!("with its references followed it is nested at least {depth} deep, {FOLLOWED_DEPTH_MAX} is allowed"))
}

/// Decodes `%2F` and the like.
fn decoded(pointer: &str) -> Option<String> {
    let mut parts = pointer.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}
