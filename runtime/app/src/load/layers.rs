//! The layers of a configuration, merged by figment: the file first, then what the environment overrides.
//!
//! figment decides which layer wins. It does not reach into lists, and knows no line numbers: so the override layer is made
//! from the file's tree with the overrides written into it (`overlay`), and places are kept beside (`document`).

use std::collections::BTreeSet;

use figment::providers::Serialized;
use figment::value::{Dict, Map};
use figment::{Figment, Metadata, Profile, Provider};
use serde_json::Value;

/// One layer: a tree under the name of where it came from.
struct Layer<'a> {
    name: String,
    tree: &'a Value,
}

impl Provider for Layer<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Serialized::defaults(self.tree).data()
    }
}

/// Merges the file's tree with the top-level entries of `overlaid` that variables have touched.
///
/// # Errors
/// figment's, where a tree is not a table.
pub fn merge(name: &str, file: &Value, overlaid: &Value, touched: &BTreeSet<String>) -> Result<Value, String> {
    let entries = overlaid.as_object().into_iter().flatten().filter(|(key, _)| touched.contains(*key));
    let overrides: Value = entries.map(|(key, value)| (key.clone(), value.clone())).collect();
    Figment::from(Layer { name: name.to_owned(), tree: file })
        .merge(Layer { name: "STRAIT_ variables".to_owned(), tree: &overrides })
        .extract()
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_environment_wins_entry_by_entry_and_values_keep_their_kinds() {
        let file = json!({ "a": { "x": 1, "y": null }, "list": [1, 2.5, "t"], "kept": true });
        let overlaid = json!({ "a": { "x": -7, "y": null }, "list": [1, 9, "t"], "kept": "not touched" });
        let touched = ["a".to_owned(), "list".to_owned()].into();
        let merged = merge("f.toml", &file, &overlaid, &touched).unwrap();
        assert_eq!(merged, json!({ "a": { "x": -7, "y": null }, "list": [1, 9, "t"], "kept": true }));
        assert!(merge("f.toml", &json!([1]), &json!({}), &BTreeSet::new()).is_err());
    }
}
