//! The conformance cases of the CEL specification, in `tests/cel-spec`.

use serde::Deserialize;
use serde_json::Value;

use super::verdict;

const CASES: &str = include_str!("../../tests/cel-spec/cases.jsonl");

/// How many cases give the result of the specification.
const PASSED: usize = 1_273;

/// The other cases: a part of the name or of the expression, and the reason.
const EXCEPTIONS: [(&str, &str); 19] = [
    ("TestAllTypes", MESSAGES),
    ("google.protobuf.", MESSAGES),
    ("comparisons/bound/", VARIABLES),
    ("basic/variables/", VARIABLES),
    ("fields/map_fields/map_field_", VARIABLES),
    ("fields/qualified_identifier_resolution/", VARIABLES),
    ("parse/nest/list_index", VARIABLES),
    ("timestamps/duration_converters/get_milliseconds", VARIABLES),
    ("parse/receiver_function_names/", VARIABLES),
    (".map(key, key)", "macros do not name their variables as parts of the record"),
    (".filter(key, ", "macros do not name their variables as parts of the record"),
    (".format(", "a filter has no use for formatted text"),
    ("strings.quote(", "a filter has no use for formatted text"),
    ("lossy_double", EXACT),
    ("dyn_big_double_int", EXACT),
    ("('Australia/", ZONES),
    ("('US/", ZONES),
    ("('America/", ZONES),
    ("('Asia/", ZONES),
];

const MESSAGES: &str = "filter reads JSON and has no protobuf messages";
const VARIABLES: &str = "the only variables and names are the parts of the record";
const ZONES: &str = "the tables of time zones are larger than the plugin and age";
const EXACT: &str = "the specification rounds the integer to a double, filter compares exactly";

#[derive(Deserialize)]
struct Case {
    name: String,
    expr: String,
    #[serde(default)]
    error: bool,
    /// `{type: value}`.
    #[serde(default)]
    value: Value,
}

/// Writes an expected value as an expression, and its type.
fn written(value: &Value) -> (String, String) {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    let text = value.as_str().unwrap_or_default();
    let list = |value: &Value| value.as_array().unwrap().iter().map(written).map(|(text, _)| text).collect::<Vec<_>>();
    let parts = |unit: i64| value[unit as usize].as_i64().unwrap();
    let written = match kind.as_str() {
        "uint" => format!("{value}u"),
        "double" => format!("double('{text}')"),
        "string" => format!("'{}'", text.chars().map(|c| format!("\\U{:08x}", u32::from(c))).collect::<String>()),
        "bytes" => {
            let digits: Vec<char> = text.chars().collect();
            format!("b'{}'", digits.chunks(2).map(|pair| format!("\\x{}{}", pair[0], pair[1])).collect::<String>())
        }
        "null" => "null".into(),
        "list" => format!("[{}]", list(value).join(",")),
        "map" => {
            let pairs: Vec<_> = value.as_array().unwrap().iter().map(|pair| list(pair).join(":")).collect();
            format!("{{{}}}", pairs.join(","))
        }
        "type" => text.into(),
        "timestamp" => format!("(timestamp({}) + duration('{}ns'))", parts(0), parts(1)),
        "duration" => format!("(duration('{}s') + duration('{}ns'))", parts(0), parts(1)),
        _ => value.to_string(),
    };
    let of = match kind.as_str() {
        "null" => "null_type",
        "timestamp" => "google.protobuf.Timestamp",
        "duration" => "google.protobuf.Duration",
        other => other,
    };
    (written, of.into())
}

/// Returns what is wrong with the result of a case.
fn wrong(case: &Case) -> Option<String> {
    let expr = &case.expr;
    let check = |rule: &str, expected: char| match verdict(rule) {
        Ok(verdict) if verdict == expected => None,
        Err(_) if expected == 'e' => None,
        other => Some(format!("{rule}: {other:?}")),
    };
    if case.error {
        return check(&format!("[{expr}].size() == 1"), 'e').or_else(|| check(expr, 'e'));
    }
    if case.value.is_null() {
        return Some("the expected value is a message".into());
    }
    let is_nan = case.value["double"] == "nan";
    let (expected, of) = written(&case.value);
    let rule = if is_nan { format!("[{expr}].all(x, x != x)") } else { format!("[{expr}][0] == {expected}") };
    // A matcher where there is one, and without.
    check(&rule, 'p').or_else(|| check(&format!("type({expr}) == {of}"), 'p')).or_else(|| match case.value["bool"] {
        Value::Bool(holds) => check(expr, if holds { 'p' } else { 'd' }),
        _ => None,
    })
}

#[test]
fn the_cases_of_the_specification_have_its_results_but_for_exceptions_with_reasons() {
    let cases: Vec<Case> = CASES.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (mut passed, mut unexpected, mut used) = (0, Vec::new(), vec![false; EXCEPTIONS.len()]);
    for case in &cases {
        let Some(wrong) = wrong(case) else {
            passed += 1;
            continue;
        };
        let is_excepted = |(part, _): &(&str, &str)| case.name.contains(part) || case.expr.contains(part);
        match EXCEPTIONS.iter().position(is_excepted) {
            Some(index) => used[index] = true,
            None => unexpected.push(format!("{}: {wrong}", case.name)),
        }
    }
    assert!(unexpected.is_empty(), "{} of {}:\n{}", unexpected.len(), cases.len(), unexpected.join("\n"));
    let unused: Vec<_> = EXCEPTIONS.iter().zip(used).filter(|(_, used)| !used).collect();
    assert!(unused.is_empty(), "no case needs these: {unused:?}");
    assert_eq!((passed, cases.len()), (PASSED, 1_527));
}
