//! Overrides from the environment: `STRAIT_LINKS__0__NAME=orders` sets `links[0].name`.
//!
//! This module finds the entry that a variable means; [`layers`](super::layers) merges the values.

use serde_json::{Map, Value};
use strait_core::config::structure::{Expected, Shape};
use strait_core::config::{Part, Path, Problem, Step, What, nearest};

use super::document::{self, Format};

const PREFIX: &str = "STRAIT_";
/// Variables of the program that are no part of the configuration.
const OTHERS: [&str; 1] = [PLUGIN_TOOLS];

/// The variable with a folder for the tools of `strait plugin build`.
pub const PLUGIN_TOOLS: &str = "STRAIT_PLUGIN_TOOLS";

/// A variable that overrides an entry of the configuration.
#[derive(Debug)]
pub struct Variable<'a> {
    /// Its name.
    pub name: &'a str,
    steps: Vec<&'a str>,
    value: &'a str,
}

/// Returns the overrides among `variables`, in the order in which they are merged: by number, so
/// that entry 9 of a list exists before entry 10 is added, and a table before its entries.
#[must_use]
pub fn of_environment(variables: &[(String, String)]) -> Vec<Variable<'_>> {
    let mut found: Vec<Variable<'_>> = variables
        .iter()
        .filter(|(name, _)| !OTHERS.contains(&name.as_str()))
        .filter_map(|(name, value)| {
            let steps = name.strip_prefix(PREFIX)?.split("__").collect();
            Some(Variable { name, steps, value })
        })
        .collect();
    found.sort_by_key(|variable| {
        let key = |step: &&str| (step.parse::<usize>().ok(), (*step).to_owned());
        variable.steps.iter().map(key).collect::<Vec<_>>()
    });
    found
}

impl Variable<'_> {
    /// Returns the entry of `tree` that the variable means, and its new value.
    ///
    /// # Errors
    /// The [`Problem`] where the tree has no place for such an entry.
    pub fn resolve(&self, tree: &Value, shape: &Shape) -> Result<(Path, Value), Problem> {
        let mut at = Path::default();
        let mut place = Some(tree).filter(|tree| !tree.is_null());
        for step in &self.steps {
            let index = step.parse::<usize>().ok();
            let is_list = match place {
                Some(value) => value.is_array(),
                // Not there yet: a list where the model has one.
                None => index.is_some_and(|index| shape.expected(&at.index(index)) != Expected::Unknown),
            };
            let inner = if is_list {
                let items = place.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                let Some(index) = index.filter(|index| *index <= items.len()) else {
                    return Err(problem(&at, What::Conflict(self.out_of_range(step, items.len()))));
                };
                at.push_index(index);
                items.get(index)
            } else {
                let none = Map::new();
                let fields = match place {
                    Some(Value::Object(fields)) => fields,
                    None => &none,
                    Some(_) => return Err(problem(&at, What::Conflict(self.no_container()))),
                };
                let key = key(fields, shape, &at, step);
                at.push_key(&key);
                if at.steps().len() == 1 && shape.expected(&at) == Expected::Unknown {
                    return Err(self.stray(shape, step));
                }
                place.and_then(|place| place.get(&key))
            };
            place = inner.filter(|inner| !inner.is_null());
        }
        match shape.expected(&at) {
            Expected::Text => Ok((at, Value::String(self.value.to_owned()))),
            Expected::Other | Expected::Any | Expected::Unknown => {
                let value = self.json(&at, shape)?;
                Ok((at, value))
            }
        }
    }

    /// Reads JSON where the model does not want text. Anything else stays text, and is judged as
    /// such.
    fn json(&self, at: &Path, shape: &Shape) -> Result<Value, Problem> {
        let mut parsed = match document::parse(self.value, Format::Json) {
            Ok(parsed) => parsed,
            Err(errors) => {
                let is_json = self.value.trim_start().starts_with(['[', '{']);
                let wants_json = shape.expected(at) == Expected::Other;
                let message = errors.into_iter().next().map(|error| error.message).filter(|_| is_json && wants_json);
                return match message {
                    Some(message) => Err(problem(at, What::Conflict(self.not_json(&message)))),
                    None => Ok(Value::String(self.value.to_owned())),
                };
            }
        };
        match parsed.keep_texts(at, shape).into_iter().next() {
            Some(lost) => Err(lost),
            None => Ok(parsed.tree),
        }
    }

    fn not_json(&self, message: &str) -> String {
        format!("environment variable {} is not valid JSON: {message}; a list is written as [\"a\", \"b\"]", self.name)
    }

    fn out_of_range(&self, step: &str, length: usize) -> String {
        let entries = if length == 1 { "entry" } else { "entries" };
        format!(
            "environment variable {}: index {step} is out of range: the list has {length} {entries}; use {length} to append",
            self.name
        )
    }

    fn no_container(&self) -> String {
        format!("environment variable {} goes into a value that is neither a table nor a list", self.name)
    }

    fn stray(&self, shape: &Shape, step: &str) -> Problem {
        let key = step.to_ascii_lowercase();
        let known = shape.keys(&Path::default());
        let what = What::StrayVariable {
            name: self.name.to_owned(),
            nearest: nearest(&key, known.iter().map(String::as_str)),
            key,
        };
        problem(&Path::default(), what)
    }
}

fn problem(at: &Path, what: What) -> Problem {
    Problem { at: at.clone(), part: Part::Value, what }
}

/// Returns the key that a step means: one that exists, else one that may exist. Variables have
/// neither case nor `-` nor `.`.
fn key(fields: &Map<String, Value>, shape: &Shape, at: &Path, step: &str) -> String {
    let known = shape.keys(at);
    if let Some(key) = fields.keys().chain(&known).find(|key| folded(key) == folded(step)) {
        return key.clone();
    }
    let key = step.to_ascii_lowercase();
    match at.steps() {
        // librdkafka's properties have dots where variables have '_'.
        [Step::Key(clusters), _, Step::Key(kafka)] if clusters == "clusters" && kafka == "kafka" => {
            key.replace('_', ".")
        }
        _ => key,
    }
}

fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace(['-', '.'], "_")
}
