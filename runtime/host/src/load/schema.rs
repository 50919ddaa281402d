//! Checks a configuration against the JSON Schema that the plugin gives, before the plugin sees it.

use jsonschema::PatternOptions;
use serde_json::Value;

use crate::error::{ConfigMistake, LoadProblem};
use crate::text::clean;

/// Mistakes told at once.
const MISTAKES_MAX: usize = 20;
const PATTERN_MEMORY_BYTES_MAX: usize = 1 << 20;

/// # Errors
/// [`LoadProblem::BadManifest`] for a schema that is none, [`LoadProblem::SchemaMismatch`] with every place that does not fit.
pub(crate) fn check(schema: &str, config: &Value) -> Result<(), LoadProblem> {
    if schema.trim().is_empty() {
        return Ok(());
    }
    let bad = |e: String| LoadProblem::BadManifest(format!("config-schema: {}", clean(&e, 512)));
    let schema: Value = serde_json::from_str(schema).map_err(|e| bad(e.to_string()))?;
    // The linear-time engine: the patterns are a guest's, and a backtracking one would let it spin in the host.
    let patterns =
        PatternOptions::regex().size_limit(PATTERN_MEMORY_BYTES_MAX).dfa_size_limit(PATTERN_MEMORY_BYTES_MAX);
    let validator =
        jsonschema::options().with_pattern_options(patterns).build(&schema).map_err(|e| bad(e.to_string()))?;
    let mistakes: Vec<ConfigMistake> = validator
        .iter_errors(config)
        .take(MISTAKES_MAX)
        .map(|error| ConfigMistake {
            pointer: error.instance_path().to_string(),
            // The values stay out: they may be secrets.
            message: clean(&error.masked().to_string(), 512),
        })
        .collect();
    if mistakes.is_empty() {
        return Ok(());
    }
    Err(LoadProblem::SchemaMismatch(mistakes))
}
