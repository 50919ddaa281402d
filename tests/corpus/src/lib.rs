//! Hostile input that tests of several crates share: the corpus of hostile JSON (`README.md`
//! describes its format), and files that cost more than they look.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test data: a malformed line ends the test")]

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

const CORPUS: &str = include_str!("../hostile-json.jsonl");
const RULES: &str = include_str!("../redact.json");

/// The word that must not get through.
pub const SECRET: &str = "SECRET";

/// A value that tries to carry [`SECRET`] past `redact`.
pub struct Trial {
    /// Name of the trick, for failure messages.
    pub name: String,
    /// The record's value.
    pub value: Vec<u8>,
    /// `redacted` or `rejected`.
    pub expect: String,
}

/// Returns the corpus for rules that match names exactly, or in any case.
#[must_use]
pub fn corpus(any_case: bool) -> Vec<Trial> {
    let mut trials = Vec::new();
    for line in CORPUS.lines() {
        let trial: Value = serde_json::from_str(line).unwrap();
        if !any_case && trial["any_case"] == Value::Bool(true) {
            continue;
        }
        let other = Some(&trial["expect_any_case"]).filter(|other| any_case && !other.is_null());
        trials.push(Trial {
            name: trial["name"].as_str().unwrap().to_owned(),
            value: trial["value"].as_array().unwrap().iter().flat_map(bytes).collect(),
            expect: other.unwrap_or_else(|| &trial["expect"]).as_str().unwrap().to_owned(),
        });
    }
    assert!(trials.len() > 90);
    trials
}

/// Returns the configuration of `redact` that the corpus is written for.
#[must_use]
pub fn rules(any_case: bool) -> Value {
    let mut config: Value = serde_json::from_str(RULES).unwrap();
    for rule in config["rules"].as_array_mut().unwrap() {
        rule["ignore_case"] = any_case.into();
    }
    config
}

/// Reports whether the bytes hold [`SECRET`], also in another encoding or escaped.
#[must_use]
pub fn leaks(bytes: &[u8]) -> bool {
    let mut text = String::from_utf8_lossy(bytes).replace('\0', "");
    for character in SECRET.chars().collect::<BTreeSet<_>>() {
        let code = u32::from(character);
        for escape in [format!("\\u{code:04x}"), format!("\\u{code:04X}")] {
            text = text.replace(&escape, &character.to_string());
        }
    }
    text.contains(SECRET)
}

fn bytes(part: &Value) -> Vec<u8> {
    if let Some(text) = part.as_str() {
        return text.as_bytes().to_vec();
    }
    if let Some(hex) = part["hex"].as_str() {
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        return (0..hex.len()).step_by(2).map(byte).collect();
    }
    part["text"].as_str().unwrap().repeat(part["times"].as_u64().unwrap() as usize).into_bytes()
}

/// Runs a function of the fuzzers with each file of its committed corpus.
pub fn run(target: &str, test: fn(&[u8])) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        // Shown if the test fails.
        println!("{}", file.display());
        test(&std::fs::read(&file).unwrap());
    }
}

/// Returns a schema with definitions `a0` to `a<last>`, of which each but the last is made of its
/// successor.
pub fn schema_chain(last: usize, link: impl Fn(Value) -> Value) -> Value {
    let mut definitions = Map::new();
    for at in 0..last {
        definitions.insert(format!("a{at}"), link(json!({ "$ref": format!("#/$defs/a{}", at + 1) })));
    }
    definitions.insert(format!("a{last}"), json!({ "type": "object" }));
    json!({ "$defs": definitions, "$ref": "#/$defs/a0" })
}

/// Returns the text of a component in which each level instantiates the one before it twice.
#[must_use]
pub fn doubling_instances(levels: usize) -> String {
    let mut text = "(component $c0)".to_owned();
    for level in 1..=levels {
        let child = level - 1;
        text += &format!("(component $c{level} (instance (instantiate $c{child})) (instance (instantiate $c{child})))");
    }
    format!("(component {text} (instance (instantiate $c{levels})))")
}
