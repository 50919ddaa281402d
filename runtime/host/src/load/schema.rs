//! Checks a configuration against the plugin's JSON Schema, before the plugin sees it.

use jsonschema::PatternOptions;
use serde_json::Value;

use crate::error::{ConfigMistake, LoadProblem};
use crate::text::clean;

/// Mistakes reported at once.
const MISTAKES_MAX: usize = 20;
const PATTERN_MEMORY_BYTES_MAX: usize = 1 << 20;

/// Checks the configuration; an empty schema accepts all.
///
/// # Errors
/// [`LoadProblem::BadManifest`] for an invalid schema, [`LoadProblem::SchemaMismatch`] with every
/// mistake.
pub(crate) fn check(schema: &str, config: &Value) -> Result<(), LoadProblem> {
    if schema.trim().is_empty() {
        return Ok(());
    }
    let bad = |e: String| LoadProblem::BadManifest(format!("config-schema: {}", clean(&e, 512)));
    let schema: Value = serde_json::from_str(schema).map_err(|e| bad(e.to_string()))?;
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
