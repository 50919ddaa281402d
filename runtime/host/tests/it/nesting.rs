//! Deep nesting in the rules of the bundled plugins: taken or refused in words, and never a trap.

use serde_json::{Value, json};
use strait_core::edit::Disposition;
use strait_flow::ports::ChainFactory;
use strait_host::TopicNaming;

use crate::support::{Row, batch, bundled, load};

const LEVELS: [usize; 6] = [24, 96, 127, 128, 1_000, 5_000];

/// Returns why a plugin does not load, or nothing where it judges records.
fn refusal(plugin: &str, config: Value) -> String {
    let chains = match load(vec![bundled(plugin, config)], TopicNaming::Identity) {
        Ok(chains) => chains,
        Err(error) => return error.to_string(),
    };
    let deep = format!("{}1{}", "[".repeat(120), "]".repeat(120));
    let rows: [Row<'_>; 2] =
        [(Some(b"k"), Some(br#"{"a":{"a":[[1]]}}"#), &[]), (Some(b"1"), Some(deep.as_bytes()), &[])];
    let processed = chains.chain().unwrap().apply(batch(&rows), 6).unwrap();
    for (_, disposition) in &processed.dispositions {
        if let Disposition::Reject(reject) = disposition {
            assert!(!reject.code.starts_with("plugin-"), "{plugin}: {reject:?}");
        }
    }
    String::new()
}

#[test]
fn an_expression_of_many_brackets_is_judged_or_refused_in_words() {
    let shapes = [
        ("(", "key", ")"),
        ("[", "key", "]"),
        ("!", "(key == 'a')", ""),
        ("-", "value.a", ""),
        ("{1:", "key", "}"),
        ("size(", "key", ")"),
        ("[1].exists(i, ", "key == 'a'", ")"),
        ("value.a.all(i, ", "i == 1", ")"),
        ("key == 'a' ? true : (", "false", ")"),
        ("1 + ", "value.a", ""),
        ("'a' in [", "key", "]"),
    ];
    for (open, inner, close) in shapes {
        for levels in LEVELS {
            let rule = format!("{}{inner}{}", open.repeat(levels), close.repeat(levels));
            let rule = if rule.contains("==") { rule } else { format!("({rule}) == 1") };
            let refused = refusal("filter", json!({ "keep": rule }));
            let is_told = refused.contains("nested more than 128 levels deep") || refused.contains("16384 are allowed");
            // Brackets around all of it and signs nest nothing.
            let nests = levels > 128 && !matches!(open, "(" | "!" | "-");
            assert!(is_told || !nests && refused.is_empty(), "{levels} of {open}: {refused}");
        }
    }
    // A chain of alternatives is balanced, and not nested.
    let many = (0..500).map(|n| format!("key == 'k{n}'")).collect::<Vec<_>>().join(" || ");
    assert_eq!(refusal("filter", json!({ "keep": many })), "");
}

#[test]
fn a_path_of_many_brackets_is_judged_or_refused_in_words() {
    for levels in LEVELS {
        for step in ["[0]", "['a']", "[*]", ".a"] {
            let path = format!("${}", step.repeat(levels));
            for (plugin, config) in [
                ("redact", json!({ "rules": [{ "fields": [path], "with": "remove" }] })),
                ("redact", json!({ "rules": [{ "fields": [path], "with": "remove", "ignore_case": true }] })),
                ("redact", json!({ "keep_only": [path] })),
                ("filter", json!({ "keep": { "field": path, "equals": 1 } })),
                ("route", json!({ "by": path, "to": "topic", "hash": { "topics": 2 } })),
            ] {
                let refused = refusal(plugin, config);
                let is_told = ["at most 24 steps", "at most 1024 bytes", "expected", "use [*]", "several places"];
                let is_told = is_told.iter().any(|part| refused.contains(part));
                assert!(is_told || levels <= 24 && refused.is_empty(), "{plugin}, {levels} of {step}: {refused}");
            }
        }
    }
}

#[test]
fn a_configuration_of_many_brackets_is_judged_or_refused_in_words() {
    for levels in [24, 60, 96, 127, 1_000] {
        let value = (0..levels).fold(json!(1), |inner, _| json!([inner]));
        let rule = json!({ "fields": ["$.a"], "with": "constant", "value": value });
        for (plugin, config) in [
            ("redact", json!({ "rules": [rule] })),
            ("filter", json!({ "keep": { "field": "$.a", "equals": value } })),
            ("route", json!({ "by": "key", "to": "topic", "table": { "k": value } })),
        ] {
            let refused = refusal(plugin, config);
            let is_told = refused.contains("nested more than 64 levels deep") || refused.contains("nested too deeply");
            let is_told = is_told || levels < 64 && refused.contains("does not fit the plugin's schema");
            assert!(is_told || levels <= 60 && refused.is_empty(), "{plugin}, {levels}: {refused}");
        }
    }
    for levels in [24, 127, 1_000] {
        let pattern = format!("{}a{}", "(".repeat(levels), ")".repeat(levels));
        for (plugin, config) in [
            ("filter", json!({ "keep": format!("key.matches('{pattern}')") })),
            ("rename", json!({ "pattern": pattern, "replacement": "$1" })),
            ("route", json!({ "by": "key", "to": "topic", "pattern": pattern, "replacement": "x-$1" })),
        ] {
            let refused = refusal(plugin, config);
            assert!(refused.contains("nest") || levels <= 24 && refused.is_empty(), "{plugin}, {levels}: {refused}");
        }
    }
}
