//! Schemas that would cost the host its stack, its time or a connection: each is refused at once,
//! in the stack of the smallest thread that loads plugins.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use strait_corpus::schema_chain;
use strait_host::LoadProblem;

use crate::support::guest::Guest;
use crate::support::{bundled, load, load_bytes};

/// The stack of a thread of the runtime, on which links are loaded.
const STACK_BYTES: usize = 2 << 20;

/// Loads a plugin with this schema in a thread of its own.
fn load_in_thread(schema: String, config: Value) -> Result<(), LoadProblem> {
    let guest = Guest { schema: Box::leak(schema.into_boxed_str()), ..Guest::default() };
    let bytes = guest.wasm();
    let began = Instant::now();
    let thread = thread::Builder::new().stack_size(STACK_BYTES);
    let loading = thread.spawn(move || load_bytes(&bytes, |spec| spec.config = config).map(drop)).unwrap();
    let result = loading.join().unwrap().map_err(|error| error.problem);
    // Far above what it takes, for machines that are busy with other tests.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    result
}

fn refusal(schema: &Value) -> String {
    match load_in_thread(schema.to_string(), json!({})) {
        Err(problem @ LoadProblem::BadManifest(_)) => problem.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_chain_of_references_is_refused_before_the_stack_ends() {
    for last in [10_000, 12_000] {
        let error = refusal(&schema_chain(last, |next| json!({"allOf": [next]})));
        assert!(error.contains("bytes, 65536 are allowed"), "{error}");
    }
    // Within the bytes, and through other keywords.
    for link in [
        |next: Value| next,
        |next| json!({"not": next}),
        |next| json!({"if": next, "then": false}),
        |next| json!({"properties": {"a": next}}),
        |next| json!({"unevaluatedProperties": next}),
    ] {
        let error = refusal(&schema_chain(1_000, link));
        assert!(error.contains("with its references followed it is nested at least 12"), "{error}");
        assert!(error.contains("128 is allowed"), "{error}");
    }
}

#[test]
fn references_that_double_are_counted_with_all_they_lead_to() {
    for levels in [10, 24, 28, 40] {
        let schema = schema_chain(levels, |next| json!({"allOf": [next.clone(), next]}));
        let error = refusal(&schema);
        let followed: u64 = (0..=levels).map(|level| 1_u64 << level).sum();
        assert!(error.contains(&format!("followed {followed} times")), "{error}");
        assert!(error.contains("1000 are allowed"), "{error}");
    }
    let error = refusal(&schema_chain(60, |next| json!({"allOf": [next.clone(), next]})));
    assert!(error.contains("128 is allowed"), "{error}");
    for link in [
        |next: Value| json!({"if": next, "then": next, "else": next}),
        |next| json!({"anyOf": [{"not": next}, next]}),
        |next| json!({"properties": {"a": next}, "additionalProperties": next}),
        |next| json!({"patternProperties": {"a": next, "b": next}}),
        |next| json!({"items": next, "contains": next, "unevaluatedItems": next}),
        |next| json!({"dependentSchemas": {"a": next, "b": next}, "propertyNames": next}),
    ] {
        let error = refusal(&schema_chain(12, link));
        assert!(error.contains("1000 are allowed"), "{error}");
    }
    // Few references, each to much.
    let much = json!({"$defs": {"a": {"enum": vec![0; 9_000]}}, "allOf": vec![json!({"$ref": "#/$defs/a"}); 6]});
    let error = refusal(&much);
    assert!(error.contains("54020 values with its references followed, 50000 are allowed"), "{error}");
}

#[test]
fn references_that_lead_back_or_away_are_refused_by_name() {
    let metaschema = "https://json-schema.org/draft/2020-12/schema";
    let cases = [
        (json!({"$ref": "#"}), "'#' leads back to itself"),
        (json!({"items": {"$ref": "#"}}), "'#' leads back to itself"),
        (json!({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"}), "leads back to itself"),
        (json!({"$ref": "#/%24defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}), "leads back to itself"),
        (json!({"$ref": "#/$defs/none"}), "leads nowhere"),
        (json!({"$ref": "#/%zz"}), "leads nowhere"),
        (json!({"$ref": "#/%C3"}), "leads nowhere"),
        (json!({"$ref": ""}), "not one into the schema itself"),
        (json!({"$ref": metaschema}), "not one into the schema itself"),
        (json!({"$ref": "http://127.0.0.1:1/schema.json"}), "not one into the schema itself"),
        (json!({"$ref": "file:///etc/passwd"}), "not one into the schema itself"),
        (json!({"$id": "x:/", "$ref": "x:/#"}), "not one into the schema itself"),
        (json!({"$anchor": "a", "allOf": [{"$ref": "#a"}]}), "not one into the schema itself"),
        (json!({"$dynamicAnchor": "a", "allOf": [{"$dynamicRef": "#a"}]}), "'$dynamicRef' is not supported"),
        (
            json!({"$schema": "https://json-schema.org/draft/2019-09/schema", "$recursiveAnchor": true,
            "items": {"$recursiveRef": "#"}}),
            "'$recursiveRef' is not supported",
        ),
        (json!({"allOf": [{"$id": "b", "$ref": "#"}]}), "'$id' is not supported below the root"),
        (
            json!({"$schema": "http://json-schema.org/draft-04/schema#", "allOf": [{"id": "b"}]}),
            "'id' is not supported below the root",
        ),
        (json!({"allOf": [{"$schema": metaschema}]}), "'$schema' is not supported below the root"),
    ];
    for (schema, expected) in cases {
        let error = refusal(&schema);
        assert!(error.contains(expected), "{schema}: {error}");
    }
    // A metaschema, or a reference that nothing follows: neither is fetched.
    for schema in
        [json!({"$schema": "http://127.0.0.1:1/meta"}), json!({"$defs": {"a": {"$ref": "http://127.0.0.1:1/"}}})]
    {
        let error = refusal(&schema);
        assert!(!error.contains("refused"), "{error}");
    }
}

#[test]
fn the_text_of_a_schema_is_bounded() {
    let nested = |levels: usize| format!("{}{}", r#"{"not":"#.repeat(levels - 1) + "{}", "}".repeat(levels - 1));
    let error = |text: String| load_in_thread(text, json!({})).unwrap_err().to_string();
    assert!(error(nested(32)).contains("does not fit"));
    assert!(error(nested(33)).contains("nested 33 deep, 32 is allowed"));
    assert!(error(nested(7_000)).contains("config-schema: recursion limit exceeded"));
    assert!(error("[".repeat(60_000)).contains("config-schema: recursion limit exceeded"));
    assert!(error(format!("\"{}\"", "x".repeat(70_000))).contains("70002 bytes, 65536 are allowed"));
    assert!(error(format!("\"{}", "\\\"".repeat(20_000))).contains("config-schema: "));
    let patterns: Map<String, Value> = (0..33).map(|at| (format!("(?:\\pL{{100}}){{9}}{at}"), json!(true))).collect();
    assert!(error(json!({"patternProperties": patterns}).to_string()).contains("33 regular expressions, 32 are"));
    let patterns: Map<String, Value> = (0..32).map(|at| (format!("^\\p{{L}}{{20}}{at}$"), json!(true))).collect();
    let began = Instant::now();
    let config = json!({"äöü".repeat(1_000): 1});
    let result = load_in_thread(json!({"patternProperties": patterns}).to_string(), config);
    println!("32 patterns of many states: {:?}", began.elapsed());
    result.unwrap();
    // A pattern on which another engine would spin.
    let schema = json!({"patternProperties": {"^(a+)+$": {"pattern": "^(a|aa)+$"}}});
    let config = json!({"a".repeat(40): "a".repeat(40_000) + "b"});
    assert!(matches!(load_in_thread(schema.to_string(), config), Err(LoadProblem::SchemaMismatch(_))));
}

#[test]
fn what_a_configuration_costs_is_bounded_too() {
    let items: Value = (0..10_000).map(|at| json!(format!("item {at}"))).collect();
    // 255 references to 50 values each: with 1,000 items about a quarter of the steps that are
    // allowed.
    let worst = |link: fn(Value) -> Value| {
        let mut schema = schema_chain(7, link);
        schema["$defs"]["a7"] = json!({"enum": (0..50).map(|at| json!(format!("item {at}"))).collect::<Value>()});
        schema
    };
    for link in [
        |next: Value| json!({"allOf": [next, next], "unevaluatedItems": false}),
        |next| json!({"anyOf": [next, next]}),
        |next| json!({"oneOf": [next, next]}),
        |next| json!({"if": next, "else": next}),
        |next| json!({"items": {"anyOf": [next, next]}}),
        |next| json!({"contains": next, "unevaluatedItems": next}),
    ] {
        let schema = worst(link).to_string();
        let few: Value = items.as_array().unwrap().iter().take(1_000).cloned().collect();
        for config in [few, json!({"a": {"b": 1}})] {
            let began = Instant::now();
            let result = load_in_thread(schema.clone(), config);
            println!("{:?} {}", began.elapsed(), result.is_ok());
            assert!(!matches!(result, Err(LoadProblem::SchemaSteps { .. } | LoadProblem::BadManifest(_))));
        }
        let problem = load_in_thread(schema, items.clone()).unwrap_err();
        assert!(matches!(problem, LoadProblem::SchemaSteps { steps_max: 50_000_000, .. }), "{problem}");
    }
}

#[test]
fn schemas_of_honest_plugins_pass() {
    for name in strait_host::bundled_names() {
        // The schema is checked first: what remains to say is about the configuration.
        let problem = load(vec![bundled(name, json!({"none": 1}))], strait_host::TopicNaming::Identity);
        assert!(matches!(problem.unwrap_err().problem, LoadProblem::SchemaMismatch(_)), "{name}");
    }
    let large: Value = (0..255)
        .map(|rule| {
            let fields: Vec<_> = (0..256).map(|field| format!("$.a{rule}.field_number_{field}")).collect();
            json!({"fields": fields, "with": "null"})
        })
        .collect();
    let problem = load(vec![bundled("redact", json!({ "rules": large }))], strait_host::TopicNaming::Identity);
    let problem = problem.unwrap_err().problem;
    assert!(!matches!(problem, LoadProblem::SchemaSteps { .. } | LoadProblem::SchemaMismatch(_)), "{problem}");
    // Definitions that refer to definitions, each several times.
    let tree = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "https://example.org/tree.json",
        "properties": {"id": {"type": "string"}, "$id": {}, "pattern": {}, "a b": {"$ref": "#/definitions/a%20b"}},
        "definitions": {
            "a b": {"properties": {"left": {"$ref": "#/definitions/c~1d"}, "right": {"$ref": "#/definitions/c~1d"}}},
            "c/d": {"type": ["string", "null"], "examples": [{"id": "x"}]},
        }
    });
    load_in_thread(tree.to_string(), json!({"a b": {"left": "x", "right": null}})).unwrap();
}
