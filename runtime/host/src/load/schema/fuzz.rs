//! Schemas of plugins under a fuzzer.

use serde_json::Value;

use super::{bound, check};
use crate::error::LoadProblem;

/// A word that no message of the validator has by itself.
const SECRET: &str = "hunter2";

/// Checks a configuration against a schema. An input is both, with an empty line between.
///
/// # Panics
/// Where the bounds of the schema depend on the configuration, or a mistake quotes a value of it.
pub fn schema(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (schema, config) = text.split_once("\n\n").unwrap_or((text, "{}"));
    let bounded = bound(schema);
    let config = serde_json::from_str(config).unwrap_or(Value::Null);
    let checked = check(schema, &config);
    if let Err(problem) = bounded {
        let checked = checked.err().map(|problem| problem.to_string());
        assert_eq!(checked, Some(problem.to_string()), "the bounds of the schema");
        return;
    }
    let Err(LoadProblem::SchemaMismatch(mistakes)) = checked else { return };
    assert!(!mistakes.is_empty(), "a mismatch without a mistake");
    // What the schema says itself, and the names of members, may be quoted.
    let schema = serde_json::from_str(schema).unwrap_or(Value::Null);
    if has_secret_name(&config) || schema.to_string().contains(SECRET) {
        return;
    }
    for mistake in mistakes {
        assert!(!mistake.message.contains(SECRET), "a mistake quotes the configuration: {}", mistake.message);
    }
}

fn has_secret_name(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_secret_name),
        Value::Object(members) => members.iter().any(|(name, member)| name.contains(SECRET) || has_secret_name(member)),
        _ => false,
    }
}
