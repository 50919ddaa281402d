//! Checks a configuration against the plugin's JSON Schema, before the plugin sees it.

mod cost;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;

use jsonschema::PatternOptions;
use serde_json::Value;

use crate::error::{ConfigMistake, LoadProblem};
use crate::text::clean;

/// Mistakes reported at once.
const MISTAKES_MAX: usize = 20;
const PATTERN_MEMORY_BYTES_MAX: usize = 1 << 20;
/// Nesting of a configuration. Whoever reads it nests as deeply, and a guest's stack is small.
const CONFIG_DEPTH_MAX: usize = 64;
/// Values of the schema times values of the configuration: about a second.
const STEPS_MAX: u64 = 50_000_000;
/// Bytes of a text that take about as long as a value.
const STEP_BYTES: usize = 16;

/// Checks the configuration; an empty schema accepts all that is not nested too deeply.
///
/// # Errors
/// [`LoadProblem::BadManifest`] for an invalid schema or one beyond its bounds,
/// [`LoadProblem::SchemaSteps`], [`LoadProblem::SchemaMismatch`] with every mistake.
pub(crate) fn check(schema: &str, config: &Value) -> Result<(), LoadProblem> {
    if !is_within(config, CONFIG_DEPTH_MAX) {
        let message = format!("it is nested more than {CONFIG_DEPTH_MAX} levels deep");
        return Err(LoadProblem::SchemaMismatch(vec![ConfigMistake { pointer: String::new(), message }]));
    }
    if schema.trim().is_empty() {
        return Ok(());
    }
    let (schema, values) = cost::parse(schema).map_err(bad)?;
    let steps = values.saturating_mul(size(config));
    if steps > STEPS_MAX {
        return Err(LoadProblem::SchemaSteps { steps, steps_max: STEPS_MAX });
    }
    // The linear-time engine: the patterns come from a guest, and a backtracking engine would let
    // them spin in the host.
    let patterns =
        PatternOptions::regex().size_limit(PATTERN_MEMORY_BYTES_MAX).dfa_size_limit(PATTERN_MEMORY_BYTES_MAX);
    let validator =
        jsonschema::options().with_pattern_options(patterns).build(&schema).map_err(|e| bad(e.to_string()))?;
    let mistakes: Vec<ConfigMistake> = validator
        .iter_errors(config)
        .take(MISTAKES_MAX)
        .map(|error| ConfigMistake {
            pointer: error.instance_path().to_string(),
            // Without the values: they may be secrets.
            message: clean(&error.masked().to_string(), 512),
        })
        .collect();
    if mistakes.is_empty() {
        return Ok(());
    }
    Err(LoadProblem::SchemaMismatch(mistakes))
}

/// Checks the bounds of a schema alone.
///
/// # Errors
/// [`LoadProblem::BadManifest`].
pub(crate) fn bound(schema: &str) -> Result<(), LoadProblem> {
    if schema.trim().is_empty() {
        return Ok(());
    }
    cost::parse(schema).map(drop).map_err(bad)
}

fn bad(why: String) -> LoadProblem {
    LoadProblem::BadManifest(format!("config-schema: {}", clean(&why, 512)))
}

/// Returns whether a value has at most so many levels of objects and arrays.
fn is_within(value: &Value, levels: usize) -> bool {
    let inside = |value: &Value| levels > 0 && is_within(value, levels - 1);
    match value {
        Value::Object(members) => levels > 0 && members.values().all(inside),
        Value::Array(items) => levels > 0 && items.iter().all(inside),
        _ => true,
    }
}

/// Returns the number of values; long texts count as several.
fn size(config: &Value) -> u64 {
    match config {
        Value::Object(members) => members.iter().map(|(name, member)| text_size(name) + size(member)).sum::<u64>() + 1,
        Value::Array(items) => items.iter().map(size).sum::<u64>() + 1,
        Value::String(text) => text_size(text) + 1,
        _ => 1,
    }
}

fn text_size(text: &str) -> u64 {
    u64::try_from(text.len() / STEP_BYTES).unwrap_or(u64::MAX)
}
