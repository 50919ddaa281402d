//! Expressions, what they read, and records in, verdicts out.

use strait_plugin_sdk::{
    ValueState,
    testing::{TestRecord, Tester, link, residency_link, take_counts},
};

use super::*;

mod conformance;
mod differential;

/// Shape of the compiled rule, to see what is interpreted.
fn shape(node: &Node) -> String {
    let list = |nodes: &[Node]| nodes.iter().map(shape).collect::<Vec<_>>().join(" ");
    match node {
        Node::Const(constant) => constant.to_string(),
        Node::And(nodes) => format!("(and {})", list(nodes)),
        Node::Or(nodes) => format!("(or {})", list(nodes)),
        Node::Not(node) => format!("(not {})", shape(node)),
        Node::KeyIs(_) | Node::KeyStartsWith(_) => "key".into(),
        Node::HeaderIs { .. } => "header".into(),
        Node::IsTombstone => "tombstone".into(),
        Node::Has(_) => "has".into(),
        Node::Truth(_) => "truth".into(),
        Node::Compare { by, .. } => format!("{by:?}"),
        Node::CompareParts { by, .. } => format!("{by:?}Parts"),
        Node::If(parts) => format!("(if {})", list(&**parts)),
        Node::OneOf(..) => "in".into(),
        Node::StartsWith(..) => "starts".into(),
        Node::EndsWith(..) => "ends".into(),
        Node::Contains(..) => "contains".into(),
        Node::Matches(..) => "matches".into(),
        Node::Interpret(_) => "interpret".into(),
    }
}

fn compiled(text: &str) -> String {
    match compile::compile(text) {
        Ok((node, reads)) => {
            let (fields, headers) = reads.names();
            format!("{} {} {}", shape(&node), fields.join(","), headers.join(",")).trim_end().to_owned()
        }
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn common_shapes_become_matchers_and_read_only_what_they_name() {
    for (text, expected) in [
        ("value.region == 'eu' && header['source'] != 'test'", "(and Equal NotEqual) $['region'] source"),
        ("key == 'a' || 'b' == key", "(or key key)"),
        ("!(value.a.b['c d'][3] in [1, -2.5, 'x', null, true])", "(not in) $['a']['b']['c d'][3]"),
        (
            "key.startsWith('a') && topic.endsWith('b') && value.x.contains('c') && value.x.matches('^d+$')",
            "(and starts ends contains matches) $['x']",
        ),
        ("matches(value.x, 'd')", "matches $['x']"),
        (
            "size(value.list) > 2 && value.name.size() <= 3 && 1 < size(key)",
            "(and Greater LessOrEqual Greater) $['list'],$['name']",
        ),
        (
            "has(value.a.b) && has(header.x) && 'y' in header && 'z' in headers['w']",
            "(and has has has header) $['a']['b'] x,y,w",
        ),
        ("value.active && !value.deleted", "(and truth (not truth)) $['active'],$['deleted']"),
        ("value == null || value != null", "(or tombstone (not tombstone))"),
        (
            "timestamp >= timestamp('2026-01-01T00:00:00Z') && partition != 3 && offset < 10",
            "(and GreaterOrEqual NotEqual Less)",
        ),
        ("true", "true"),
        ("value.a == value.b && size(key) < value.n", "(and EqualParts LessParts) $['a'],$['b'],$['n']"),
        ("key == 'a' && value.items.exists(i, i.sku.startsWith('x') && has(i.n))", "(and key interpret) $['items']"),
        ("value.n % 2 == 0 ? key == 'a' : header['h'] == 'b'", "(if interpret key Equal) $['n'] h"),
        ("timestamp - duration('1h') > timestamp(value.t)", "interpret $['t']"),
        ("value.m[key] == 1", "interpret $['m']"),
        ("'a' in value.tags", "interpret $['tags']"),
        ("headers['x'].size() == 2 && headers['x'].all(h, h != 'y')", "(and Equal interpret)  x"),
    ] {
        assert_eq!(compiled(text), expected, "{text}");
    }
}

#[test]
fn a_mistake_in_an_expression_is_reported() {
    for (text, expected) in [
        ("value.a ==", "character"),
        ("value", "'value' alone"),
        ("value == 1", "'value' alone"),
        ("size(value) > 1", "'value' alone"),
        ("header == 1", "name one header"),
        ("header[key] == 'a'", "name one header"),
        ("valu.a == 1", "'valu' does not exist"),
        ("key.lower() == 'a'", "'lower' does not exist"),
        ("key.matches('(')", "matches('(')"),
        ("timestamp > timestamp('yesterday')", "timestamp('yesterday')"),
        ("timestamp > 1767225600000", "timestamp is a time, not a number"),
        ("timestamp.getHours('Europe/Berlin') == 1", "expected UTC or"),
        ("timestamp > timestamp()", "timestamp() with 0 arguments"),
        ("duration('1d') > duration('1h')", "duration('1d')"),
        ("value.a.exists(value, value == 1)", "is reserved"),
        ("value.a == T{x: 1}", "messages"),
        ("size(value.a, 1) == 1", "size() with 2 arguments"),
        ("value.a.startsWith()", "startsWith() with 0 arguments"),
        ("startsWith(key, 'a')", "write x.startsWith()"),
        ("key.int() == 1", "write int(x)"),
        ("[key].exists(k, k.matches('('))", "matches('(')"),
        ("'", ""),
        ("", "the expression is empty"),
        (" \n", "the expression is empty"),
        ("1", "neither true nor false"),
        ("'eu'", "neither true nor false"),
        ("null", "neither true nor false"),
        ("1 / 0 == 1", "neither true nor false"),
        ("'a' > 1", "neither true nor false"),
        ("1 + 1.0 == 2.0", "neither true nor false"),
        ("key == 'a' && 'b'", "neither true nor false"),
        ("!(key == 'a' || 1)", "neither true nor false"),
        ("value.a ? key == 'a' : 'b'", "neither true nor false"),
    ] {
        let message = compiled(text);
        assert!(message.starts_with("error: ") && message.contains(expected), "{text}: {message}");
    }
    for constant in ["true", "false", "1 == 1", "true || 1", "false && 1 / 0 == 1", "'a' in ['a']"] {
        assert!(!compiled(constant).starts_with("error"), "{constant}");
    }
    let long = compiled(&format!("{}true", "!".repeat(20_000)));
    assert_eq!(long, "error: the expression has 20004 bytes, at most 16384 are allowed");
    for (open, close) in
        [("(", ")"), ("[", "]"), ("!", ""), ("-", ""), ("{1:", "}"), ("size(", ")"), ("[1].exists(i, ", ")")]
    {
        for levels in [127, 200, 1_000] {
            let nested = compiled(&format!("{}key{} == '1'", open.repeat(levels), close.repeat(levels)));
            let is_told = nested.starts_with("error: the expression is nested more than 128 levels deep");
            // Brackets around all of it and signs nest nothing.
            let nests = levels > 127 && !matches!(open, "(" | "!" | "-");
            assert!(is_told || !nests && !nested.starts_with("error"), "{levels} of {open}: {nested}");
        }
    }
    assert!(compiled(&vec!["true"; 3_000].join("||")).starts_with("error"));
    assert!(
        compiled(&format!("{} == 1", vec!["value.a"; 1_000].join("+"))).starts_with("error: the expression is nested")
    );
    for config in [
        r#"{}"#,
        r#"{"keep":"true","drop":"true"}"#,
        r#"{"keep":{"field":"$..a","equals":1}}"#,
        r#"{"keep":{"key_prefix":""}}"#,
        r#"{"keep":""}"#,
    ] {
        assert!(Tester::<Filter>::new(config).is_err(), "{config}");
    }
}

/// Verdicts of one expression over records: `p`ass, `d`rop, `n`ot judged, `e`valuation.
fn verdicts(config: serde_json::Value, records: &[TestRecord]) -> String {
    verdicts_on(&link(), config, records)
}

fn verdicts_on(link: &LinkInfo, config: serde_json::Value, records: &[TestRecord]) -> String {
    let lines = Tester::<Filter>::on_link(&config.to_string(), link).unwrap().process(records).unwrap();
    let of = |index: usize| {
        let line = lines.iter().find_map(|line| line.strip_prefix(&format!("{index} ")));
        match line.map(|line| line.split(" =").next().unwrap_or_default()) {
            None => 'p',
            Some("drop") => 'd',
            Some("reject 0") => 'n',
            Some("reject 1") => 'e',
            Some(other) => panic!("{other}"),
        }
    };
    (0..records.len()).map(of).collect()
}

/// The verdict of an expression that reads nothing, or the error of the configuration.
fn verdict(expr: &str) -> Result<char, String> {
    Tester::<Filter>::new(&serde_json::json!({"keep": expr}).to_string())?;
    verdicts(serde_json::json!({"keep": expr}), &[TestRecord::new()]).chars().next().ok_or_else(String::new)
}

/// The verdict of a rule over a record. Its first named field has the first value, and so on; an
/// empty one is missing.
fn keeps(rule: &str, fields: &[&str]) -> String {
    let mut record = TestRecord::new().key("k-1").value("{…}").header("h", Some(b"x")).header("h", Some(b"y"));
    for (index, json) in fields.iter().enumerate().filter(|(_, json)| !json.is_empty()) {
        record = record.field(index as u32, "/f", json);
    }
    verdicts(serde_json::json!({"keep": rule}), &[record])
}

#[test]
fn an_expression_has_the_results_of_cel() {
    for (text, fields, expected) in [
        ("value.a == 'eu'", &[r#""e\u0075""#][..], "p"),
        ("value.a == 'eu'", &["1"], "d"),
        ("value.a == 'eu'", &[], "d"),
        ("value.a == null", &[], "p"),
        ("has(value.a)", &[], "d"),
        ("has(value.a)", &["null"], "p"),
        ("value.a == 1.0", &["1"], "p"),
        ("value.a > 9007199254740992", &["9007199254740993"], "p"),
        ("value.a > 1u", &["2"], "p"),
        ("value.a > 1", &["\"2\""], "e"),
        ("value.a > 1", &[], "e"),
        ("value.a > 1 || true", &[], "p"),
        ("false && value.a > 1", &[], "d"),
        ("value.a > 1 && false", &["null"], "d"),
        ("value.a > 1", &["1e999"], "e"),
        ("value.a", &["true"], "p"),
        ("value.a", &["1"], "e"),
        ("!value.a", &["false"], "p"),
        ("value.a in ['x', 2]", &["2.0"], "p"),
        ("value.a in []", &["2.0"], "d"),
        (
            "value.a.startsWith('e') && value.a.endsWith('u') && value.a.contains('-') && value.a.matches('e.u')",
            &["\"e-u\""],
            "p",
        ),
        ("value.a.startsWith('e')", &[], "e"),
        ("value.a.matches('^[0-9]+$')", &["\"12x\""], "d"),
        ("size(value.a) == 2", &["[1,{}]"], "p"),
        ("size(value.a) == 2", &["\"é😀\""], "p"),
        ("size(value.a) == 2", &["7"], "e"),
        ("value.a == value.b", &["{\"x\":[1,2.0]}", "{\"x\":[1,2]}"], "p"),
        ("value.a == value.b", &["9007199254740993", "9007199254740992.0"], "d"),
        ("value.a > value.b", &["9007199254740993", "9007199254740992.0"], "p"),
        ("value.a <= value.b", &["18446744073709551615", "18446744073709551616"], "p"),
        ("value.a == value.b", &["18446744073709551615", "18446744073709551616.0"], "d"),
        ("value.a > value.b", &["1", "\"1\""], "e"),
        ("value.a == value.b", &["{\"x\":1,\"x\":1}", "{\"x\":1}"], "n"),
        ("value.a.exists(i, i.sku == 's')", &[r#"[{"sku":"s","sku":"ok"}]"#], "n"),
        ("value.a.exists(i, i.sku == 's')", &[r#"[{"sku":"ok","s\u006bu":"s"}]"#], "n"),
        ("value.m[key] == 1", &[r#"{"k-1":1,"k-1":2}"#], "n"),
        ("size(value.a) == 1", &[r#"{"x":1,"x":2}"#], "n"),
        // Only what a branch needs is read.
        ("has(value.a) ? value.a == value.b : true", &[], "p"),
        ("key == 'eu' ? value.a > 1 : false", &["\"x\""], "d"),
        ("['k-1'].exists(k, (value.a == 1 || key == k) && int(key) > 3)", &[], "e"),
        ("[1].exists(i, value.a == i && value.a + value.a == 2)", &["1"], "p"),
        ("[1, 2].exists(i, i == 2) || value.a + 1 > 2", &["\"x\""], "p"),
        ("key != 'k-1' && value.a + 1 > 2", &["\"x\""], "d"),
        ("[key].map(k, k == 'eu' ? value.a : 'none') == ['none']", &["{\"x\":1,\"x\":2}"], "p"),
        ("value.a.x[1] == 2", &["2"], "p"),
        ("value.a.exists(i, i.s == 'x' && i.n > 1)", &[r#"[{"s":"y"},{"s":"x","n":2}]"#], "p"),
        ("value.a.all(i, i > 1)", &["[2,3]"], "p"),
        ("value.a.map(i, i * 2) == [2, 4]", &["[1,2]"], "p"),
        ("value.a.filter(i, i > 1).size() == 1", &["[1,2]"], "p"),
        ("value.a ? key == 'k-1' : false", &["true"], "p"),
        ("value.a + value.b == 3", &["1", "2"], "p"),
        ("value.a + value.b == 3", &["1", "\"2\""], "e"),
        ("value.a[key] == 1", &["{\"k-1\":1}"], "p"),
        ("value.a[key] == 1", &["{}"], "e"),
        ("'x' in value.a", &["[\"x\"]"], "p"),
        ("string(value.a) == '1' && int(value.b) == 2", &["1", "\"2\""], "p"),
        ("(key + value.a).matches(value.b)", &["\"z\"", "\"^k.*z$\""], "p"),
        ("(key + value.a).matches(value.b)", &["\"z\"", "\"(\""], "e"),
        ("key in ['k-1'] && key >= 'k' && key != 'k'", &[], "p"),
        ("header['h'] == 'y' && headers['h'] == ['x', 'y'] && 'x' in headers.h", &[], "p"),
        ("header['none'] == null && !has(header.none) && !('none' in header) && headers['none'] == []", &[], "p"),
        ("topic == 'orders' && partition == 3 && offset == 100 && timestamp == timestamp(1)", &[], "p"),
        ("timestamp < timestamp('1970-01-01T00:00:01.001Z') && timestamp + duration('1s') == timestamp(2)", &[], "p"),
        ("value == null", &[], "d"),
        ("value != null && (value.a == 1 ? value != null : false)", &["1"], "p"),
        ("value.a / 0 == 1", &["1"], "e"),
    ] {
        assert_eq!(keeps(text, fields), expected, "{text} {fields:?}");
    }
}

#[test]
fn a_number_calculates_and_compares_by_its_value_however_it_is_written() {
    for number in ["400", "400.0", "4e2", "40.0e+1", "40000E-2"] {
        for rule in [
            "value.a * 2.5 == 1000",
            "value.a + 1 == 401 && 1u + value.a == 401 && value.a - 0.5 == 399.5",
            "value.a % 7 == 1 && 1000 % value.a == 200",
            "value.a / 3 > 133.3 && value.a / 3 < 133.4 && value.a / 2 == 200",
            "value.a == 400u && value.a == 400.0 && value.a in [1, 400] && value.a < 400.5",
            "-value.a == -400 && value.a * value.a == 160000",
            "[value.a].exists(x, x - 0.5 == 399.5) && [value.a].map(x, x / 32) == [12.5]",
            "{400: true}[value.a] && [400] == [value.a] && value.a in {400u: 1}",
            "type(value.a) == int && string(value.a) == '400' && uint(value.a) == 400u && double(value.a) == 400.0",
            "max(value.a, 1.5) == 400 && min([value.a, 401]) == 400",
        ] {
            assert_eq!(keeps(rule, &[number]), "p", "{rule} of {number}");
        }
        let lines = format!(r#"[{{"n":{number},"price":2.5}},{{"n":1,"price":{number}}}]"#);
        for rule in [
            "value.lines.all(l, l.n * l.price > 399)",
            "value.lines.exists(l, l.n / 3 > 133 && l.n % 3 == 1)",
            "value.lines.map(l, l.n + l.price) == [402.5, 401]",
            "value.lines.filter(l, l.price == 400).size() == 1",
        ] {
            assert_eq!(keeps(rule, &[&lines]), "p", "{rule} of {number}");
        }
    }
}

#[test]
fn whole_numbers_of_64_bits_are_exact_and_what_leaves_the_range_has_no_result() {
    let max = "18446744073709551615";
    for (rule, fields, expected) in [
        ("value.a - 9007199254740992 == 1", &["9007199254740993.0"][..], "p"),
        ("[value.a].exists(x, x == 9007199254740992.0)", &["9007199254740993"], "d"),
        ("value.a.exists(x, x > 9007199254740992.0)", &["[9007199254740993.0]"], "p"),
        ("value.a - value.b == 1", &[max, "1844674407370955161.4e1"], "p"),
        ("value.a + 1 > 0", &[max], "e"),
        ("value.a * value.a > 0", &[max], "e"),
        ("value.a * -1 < 0", &[max], "e"),
        ("-value.a < 0", &["9223372036854775809"], "e"),
        ("value.a - 1 < 0", &["-9223372036854775808"], "e"),
        ("value.a / 0 == 1", &["1"], "e"),
        ("value.a / 0.0 > 1.0", &["1.5"], "e"),
        ("value.a % 2 == 1", &["1.5"], "e"),
        ("value.a * 1e308 > 1.0", &["1e308"], "e"),
        ("value.a + 1 > 0", &["-0.5"], "p"),
        ("value.a + 1 > 0", &["-1.5"], "d"),
        ("value.a + 1 > 0", &["\"1\""], "e"),
        // Other numbers follow CEL.
        ("7 / 2 == 3 && offset / 3 == 33 && size(value.a) / 2 == 1 && int(key.size()) / 2 == 1", &["[1,2,3]"], "p"),
        ("offset + 1u > 1u", &[], "e"),
        ("9223372036854775807 + offset > 0", &[], "e"),
        ("1.0 / 0.0 > 1.0", &[], "p"),
    ] {
        assert_eq!(keeps(rule, fields), expected, "{rule} {fields:?}");
    }
}

#[test]
fn the_work_for_a_record_is_bounded() {
    let many = format!("[{}1]", "1,".repeat(1_000));
    let long = format!("\"{}\"", "a".repeat(1_000_000));
    for (rule, field) in [
        ("value.a.all(x, value.a.all(y, x == y))", &many),
        ("value.a.map(x, value.a.map(y, [x, y])).size() == 1", &many),
        ("[1, 2, 3, 4, 5].map(i, value.a + value.a).size() == 5", &long),
        ("[1, 2, 3, 4, 5].all(i, 'a'.matches(value.a))", &long),
        ("value.a == '' || value.b.all(i, value.a == value.a)", &long),
        ("value.a == '' || value.b.exists(i, double(value.a) > 1.0)", &long),
        ("value.a == '' || value.b.exists(i, 'x'.contains(value.a))", &long),
        ("value.a == '' || value.b.exists(i, {'x': true}[value.a])", &long),
        ("value.a == '' || value.b.exists(i, value.a in {'x': true})", &long),
        ("value.a == '' || value.b.exists(i, 'x'.indexOf(value.a) > 1)", &long),
    ] {
        let mut filter = Tester::<Filter>::new(&serde_json::json!({"keep": rule}).to_string()).unwrap();
        let mut record = TestRecord::new().value("{…}").field(0, "/f", field);
        if filter.fields().len() > 1 {
            record = record.field(1, "/f", &many);
        }
        let lines = filter.process(&[record]).unwrap();
        assert!(lines[0].contains("too many steps"), "{rule}: {lines:?}");
    }
}

#[test]
fn times_and_durations_of_fields_have_the_functions_of_cel() {
    let time = "\"2026-01-31T23:30:00.25+01:00\"";
    let millis = "timestamp('1970-01-01T00:00:00Z') + duration(string(value.a) + 'ms') == timestamp(value.b)";
    let parts = "[timestamp(value.a)].all(t, t.getDate() == 31 && t.getMonth() == 0 && t.getHours() == 22 \
                 && t.getDayOfWeek() == 6 && t.getDayOfYear() == 30 && t.getMinutes() == 30 \
                 && t.getMilliseconds() == 250 && t.getDayOfMonth() == 30 && t.getSeconds() == 0)";
    let zones = "timestamp(value.a).getHours('+01:00') == 23 && timestamp(value.a).getMonth(value.b) == 1";
    let years = "value.a.exists(l, timestamp(l.at).getFullYear() == 2026)";
    for (rule, fields, expected) in [
        ("timestamp(value.a) > timestamp('2026-01-31T22:30:00Z')", &[time][..], "p"),
        ("timestamp(value.a) == timestamp(value.b)", &[time, "\"2026-01-31T22:30:00.250Z\""], "p"),
        ("timestamp(value.a) == timestamp(value.b)", &["1769898600", "1769898600.0"], "p"),
        ("timestamp(value.a / 1000) == timestamp(value.b)", &["1769898600250", time], "p"),
        (millis, &["1769898600250", time], "p"),
        ("timestamp(value.b) - timestamp(value.a) < duration('1h')", &[time, "\"2026-01-31T23:30:00Z\""], "p"),
        ("duration(value.a) + duration('30m') == duration('2h')", &["\"1h30m\""], "p"),
        ("timestamp - timestamp(value.a) > duration(value.b)", &["0", "\"500ms\""], "p"),
        (years, &["[{\"at\":1},{\"at\":\"2026-01-01T00:00:00Z\"}]"], "p"),
        (parts, &[time], "p"),
        (zones, &[time, "\"+02:00\""], "p"),
        ("duration(value.a).getMinutes() == 90 && duration(value.a).getSeconds() == 5400", &["\"1h30m\""], "p"),
        ("timestamp(value.a) > timestamp('2026-01-31T22:30:00Z')", &["\"yesterday\""], "e"),
        ("timestamp(value.a) > timestamp('2026-01-31T22:30:00Z')", &["null"], "e"),
        ("timestamp(value.a) > timestamp('2026-01-31T22:30:00Z')", &["1e300"], "e"),
        ("timestamp(value.a) + duration('1s') > timestamp(0)", &["\"9999-12-31T23:59:59Z\""], "e"),
        ("timestamp(value.a) > value.b", &[time, time], "e"),
        ("timestamp(value.a).getHours(value.b) == 1", &[time, "\"Europe/Berlin\""], "e"),
        ("duration(value.a) > duration('1s')", &["\"1d\""], "e"),
    ] {
        assert_eq!(keeps(rule, fields), expected, "{rule} {fields:?}");
    }
}

#[test]
fn texts_of_fields_have_the_strings_extension() {
    let indexes = "value.a.indexOf('z') == 4 && value.a.lastIndexOf('z', 3) == -1 && value.a.charAt(3) == '😀'";
    for (rule, fields, expected) in [
        ("value.a.trim().lowerAscii() == 'straße 1'", &["\"  STRAße 1\\n\""][..], "p"),
        ("value.a.split(',').exists(p, p.trim() == 'eu')", &["\"us, eu\""], "p"),
        ("value.a.substring(value.b, 4) == 'é😀'", &["\"a-é😀z\"", "2.0"], "p"),
        (indexes, &["\"a-é😀z\""], "p"),
        ("value.a.lastIndexOf('é', 1) == 1 && value.a.lastIndexOf('éé', 1) == 1", &["\"éééz\""], "p"),
        ("value.a.join('-').upperAscii() == 'A-B' && value.a.join() == 'ab'", &["[\"a\",\"b\"]"], "p"),
        ("value.a.replace('-', '', value.b) == 'ab-c' && value.a.reverse() == 'c-b-a'", &["\"a-b-c\"", "1"], "p"),
        ("value.a.charAt(9) == ''", &["\"abc\""], "e"),
        ("value.a.substring(2, 1) == ''", &["\"abc\""], "e"),
        ("value.a.charAt(1.0) == 'b'", &["\"abc\""], "e"),
        ("value.a.charAt(value.b) == 'b'", &["\"abc\"", "1.5"], "e"),
        ("value.a.join(',') == ''", &["[1]"], "e"),
        ("value.a.lowerAscii() == 'x'", &["1"], "e"),
    ] {
        assert_eq!(keeps(rule, fields), expected, "{rule} {fields:?}");
    }
}

#[test]
fn records_without_a_result_follow_the_configuration() {
    let value = |json: &str| TestRecord::new().key("k").value("{…}").field(0, "/a", json);
    let records = [
        value("1"),
        value("2"),
        TestRecord::new().key("k").value("x").state(ValueState::NotJson),
        TestRecord::new().key("k"),
        TestRecord::new().key("other"),
        value("\"x\""),
        TestRecord::new().key("k").value("{}"),
        TestRecord::new().key(b"\xff").value("{}"),
        TestRecord::new().value("{}"),
    ];
    let judge = |config: serde_json::Value| verdicts(config, &records);
    assert_eq!(judge(serde_json::json!({"keep": "key == 'k' && value.a < 2"})), "pdnpdeedd");
    assert_eq!(take_counts(), [(0, 4)]);
    assert_eq!(judge(serde_json::json!({"drop": "key == 'k' && value.a < 2"})), "dpnppeepp");
    assert_eq!(
        judge(serde_json::json!({"keep": "key == 'k' && value.a < 2", "unmatched": "keep", "tombstones": "reject"})),
        "pdpndppdd"
    );
    assert_eq!(
        judge(serde_json::json!({"drop": "value.a == 1", "unmatched": "drop", "tombstones": "drop"})),
        "dpddddppp".replace("dpdddd", "dpdddp")
    );
    assert_eq!(judge(serde_json::json!({"keep": "value.a == 1", "missing": "unmatched"})), "pdnppdeee");
    assert_eq!(judge(serde_json::json!({"keep": "value == null || value.a == 1"})), "pdnppdddd");
    assert_eq!(judge(serde_json::json!({"keep": "value == null"})), "dddppdddd");
    assert_eq!(judge(serde_json::json!({"keep": {"field": "$.a", "equals": 1.0}})), "pdnppdddd");
    assert_eq!(judge(serde_json::json!({"drop": {"field": "$.a", "equals": null}})), "ppnpppppp");
    assert_eq!(judge(serde_json::json!({"keep": "key.startsWith('k')"})), "ppppdppee");
    // A field that is of no account is no reason for what fails after it.
    for keep in
        ["['k'].exists(k, (value.a == 1 || key == k) && int(key) > 3)", "(value.a == 1 || key == 'k') && int(key) > 3"]
    {
        let config = serde_json::json!({"keep": keep, "missing": "unmatched"});
        assert_eq!(verdicts(config, &[TestRecord::new().key("k")]), "e", "{keep}");
    }
    // A tombstone under another key is judged: its fields are not needed. Interpreted alike.
    for keep in ["key == 'k' ? value.a == value.a : false", "[key == 'k' ? value.a : 2] == [1]"] {
        let config = serde_json::json!({"keep": keep, "tombstones": "reject"});
        assert_eq!(verdicts(config, &[TestRecord::new().key("k"), TestRecord::new().key("other")]), "nd", "{keep}");
    }
}

#[test]
fn where_residency_is_demanded_what_is_missing_stays() {
    let records = [
        TestRecord::new().value("{…}").field(0, "/a", "1").header("h", Some(b"x")),
        TestRecord::new().value("{…}").field(0, "/a", "2").header("h", Some(b"y")),
        TestRecord::new().value("{}"),
        TestRecord::new(),
    ];
    let cases = [
        (serde_json::json!({"keep": "value.a == 1"}), "pddp", "pden"),
        (serde_json::json!({"keep": "value.a != 1"}), "dppp", "dpen"),
        (serde_json::json!({"drop": "value.a == 1"}), "dppp", "dpen"),
        (serde_json::json!({"drop": {"field": "$.a", "equals": 1}}), "dppp", "dpen"),
        (serde_json::json!({"drop": {"header": {"name": "h", "equals": "x"}}}), "dppp", "dpee"),
        (serde_json::json!({"drop": "header.h == 'x'"}), "dppp", "dpee"),
        // Of no headers, all and none are anything.
        (serde_json::json!({"keep": "headers['h'].all(h, h == 'x')"}), "pdpp", "pdee"),
        (serde_json::json!({"drop": "headers['h'].exists(h, h == 'x')"}), "dppp", "dpee"),
        (serde_json::json!({"keep": "!('x' in headers.h)"}), "dppp", "dpee"),
        (serde_json::json!({"keep": "size(headers.h) == 0 || key == 'x'"}), "ddpp", "ddee"),
        (serde_json::json!({"keep": "headers.h == []"}), "ddpp", "ddee"),
        (serde_json::json!({"keep": "!has(headers.h)"}), "ddpp", "ddpp"),
        // The operator has the last word, and so has an expression that asks.
        (serde_json::json!({"drop": "value.a == 1", "missing": "null", "tombstones": "keep"}), "dppp", "dppp"),
        (serde_json::json!({"keep": "value == null || !has(value.a) || value.a == 1"}), "pdpp", "pdpp"),
    ];
    for (config, elsewhere, residency) in cases {
        assert_eq!(verdicts(config.clone(), &records), elsewhere, "{config}");
        assert_eq!(verdicts_on(&residency_link(), config.clone(), &records), residency, "{config}");
    }
}

#[test]
fn only_what_the_rule_reads_is_requested() {
    let columns = |config: serde_json::Value| Tester::<Filter>::new(&config.to_string()).unwrap().columns().to_vec();
    assert_eq!(columns(serde_json::json!({"keep": {"key": "a"}})), [3, 4]);
    assert_eq!(columns(serde_json::json!({"keep": "key == 'a' || key == 'b'"})), [3, 4]);
    assert_eq!(columns(serde_json::json!({"keep": "header.a == 'b'"})), [12, 13, 14, 15, 16]);
    assert_eq!(columns(serde_json::json!({"keep": "value.a == 'b' || value == null"})), [7, 8, 9, 10]);
    assert_eq!(columns(serde_json::json!({"keep": "value == null"})), [5, 6]);
    assert_eq!(columns(serde_json::json!({"keep": "timestamp > timestamp(1) && offset > 2 && topic == 'a'"})), [2, 1]);
}
