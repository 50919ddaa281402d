//! Records in, edits out.

use serde_json::json;
use strait_plugin_sdk::{
    ValueState,
    testing::{TestRecord, Tester, take_counts},
};

use super::*;

fn route(config: serde_json::Value) -> Tester<Route> {
    Tester::new(&config.to_string()).unwrap()
}

fn refused(config: serde_json::Value) -> Vec<String> {
    let Err(problems) = Tester::<Route>::new(&config.to_string()) else { return vec![] };
    problems.lines().map(|line| line.split(": ").next().unwrap_or_default().to_owned()).collect()
}

fn fields(jsons: &[&str]) -> Vec<TestRecord> {
    jsons.iter().map(|json| TestRecord::new().value("{…}").field(0, "/region", json)).collect()
}

#[test]
fn a_table_routes_by_field_and_unmatched_handles_the_rest() {
    let config = |rest: serde_json::Value| {
        let mut config = json!({"by": "$.region", "to": "topic", "table": {"eu": "orders-eu", "7": "{topic}.seven", "same": "orders", "": "none"}});
        config.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        route(config)
    };
    let mut records = fields(&[r#""e\u0075""#, "7", r#""same""#, r#""us""#, "null", "[\"eu\"]", r#""""#]);
    records.push(TestRecord::new().value("{}"));
    records.push(TestRecord::new());
    records.push(TestRecord::new().value("x").state(ValueState::NotJson));
    let lines = config(json!({})).process(&records).unwrap();
    assert_eq!(lines[..2], ["0 topic = orders-eu", "1 topic = orders.seven"]);
    assert_eq!(lines[5], "6 topic = none");
    let rejects: Vec<_> = lines.iter().filter_map(|line| line.split(" = ").next()?.split_once(" reject ")).collect();
    assert_eq!(rejects, [("3", "0"), ("4", "0"), ("5", "0"), ("7", "0"), ("8", "0"), ("9", "1")]);
    assert_eq!(take_counts(), [(0, 6)]);

    let drops = config(json!({"unmatched": "drop"})).process(&records).unwrap();
    assert_eq!((drops.len(), drops[2].as_str()), (9, "3 drop"));
    assert_eq!(config(json!({"unmatched": "keep"})).process(&records).unwrap().len(), 3);
    let rest = config(json!({"default": "{topic}-rest"})).process(&records).unwrap();
    assert_eq!((rest.len(), rest[2].as_str(), rest[8].as_str()), (9, "3 topic = orders-rest", "9 topic = orders-rest"));
    assert_eq!(config(json!({"unmatched": "keep"})).effects(), effect::TOPIC);
    assert_eq!(config(json!({})).effects(), effect::TOPIC | effect::REJECT);
}

#[test]
fn a_hash_matches_kafka_and_a_pattern_fills_in_groups() {
    let keys = |keys: &[&str]| keys.iter().map(|key| TestRecord::new().key(key)).collect::<Vec<_>>();
    // 479470107 % 4, and 1173551340 % 4.
    let mut over = route(json!({"by": "key", "to": "topic", "hash": {"topics": 4}, "unmatched": "keep"}));
    let mut records = keys(&["abc", "21"]);
    records.push(TestRecord::new());
    assert_eq!(over.process(&records).unwrap(), ["0 topic = orders-3", "1 topic = orders-0"]);
    let mut over = route(json!({"by": "header:h", "to": "partition", "hash": {}, "unmatched": "drop"}));
    let records =
        [TestRecord::new().header("h", Some(b"a")).header("h", Some(b"b")), TestRecord::new().header("h", None)];
    assert_eq!(over.process(&records).unwrap(), ["0 partition by = b", "1 drop"]);

    let mut by_pattern = route(
        json!({"by": "key", "to": "topic", "pattern": "(..)-\\d+", "replacement": "{topic}.${1}", "unmatched": "keep"}),
    );
    let records = keys(&["eu-1", "eu-x", "a.-7"]);
    assert_eq!(by_pattern.process(&records).unwrap(), ["0 topic = orders.eu", "2 topic = orders.a."]);
    // Names made from data that no topic may have are no match, and data is never a placeholder.
    let long = "k".repeat(250);
    let hostile = keys(&["a b", "team-internal", "\u{1b}[2J", &long, "", "{topic}", "ok"]);
    let pattern = json!({"by": "key", "to": "topic", "pattern": "(.*)", "replacement": "$1", "default": "rest"});
    let mut lines: Vec<String> = (0..6).map(|n| format!("{n} topic = rest")).collect();
    lines.push("6 topic = ok".to_owned());
    assert_eq!(route(pattern).process(&hostile).unwrap(), lines);
    let mut to_partition =
        route(json!({"by": "key", "to": "partition", "pattern": "p(.+)", "replacement": "$1", "unmatched": "keep"}));
    let records = keys(&["p3", "p-3", "p2147483648", "px"]);
    assert_eq!(to_partition.process(&records).unwrap(), ["0 partition 3"]);
    let mut table = route(json!({"by": "$.region", "to": "partition", "table": {"eu": 0, "us": 1}, "default": 2}));
    assert_eq!(table.process(&fields(&["\"us\"", "\"x\""])).unwrap(), ["0 partition 1", "1 partition 2"]);
    let mut hash = route(json!({"by": "$.region", "to": "partition", "hash": {}}));
    assert_eq!(hash.process(&fields(&["{\"a\":1}"])).unwrap(), ["0 partition by = {\"a\":1}"]);
}

#[test]
fn every_possible_output_topic_is_declared() {
    let outputs = |config: serde_json::Value| {
        let mut plugin = Route::configure(&config.to_string(), &strait_plugin_sdk::testing::link()).unwrap();
        let Route { rule, default, .. } = &mut plugin;
        rule.output_topics(default.as_ref(), "a.b")
    };
    let table = json!({"by": "key", "to": "topic", "table": {"x": "t.1", "y": "{topic}", "z": "t.1"}, "default": "d"});
    assert_eq!(outputs(table), [r"a\.b", "d", r"t\.1"]);
    assert_eq!(outputs(json!({"by": "key", "to": "topic", "hash": {"topics": 2}})), [r"a\.b\-0", r"a\.b\-1"]);
    let pattern = json!({"by": "key", "to": "topic", "pattern": "(.*)", "replacement": "{topic}.$1"});
    assert_eq!(outputs(pattern), [r"a\.b\..*"]);
}

#[test]
fn a_configuration_mistake_is_reported_with_its_place() {
    let base = |more: serde_json::Value| {
        let mut config = json!({"by": "key", "to": "topic"});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        refused(config)
    };
    assert_eq!(base(json!({})), [""]);
    assert_eq!(base(json!({"table": {"a": 1, "b/": ""}, "by": "x"})), ["/by", "/table/a", "/table/b~1"]);
    assert_eq!(base(json!({"table": {"a": "x y", "b": "{topic}-internal"}})), ["/table/a", "/table/b"]);
    assert_eq!(base(json!({"hash": {"topics": 2, "name": "{n}:{topic}"}})), ["/hash/name"]);
    assert_eq!(base(json!({"table": {"a": "b"}, "to": "partition"})), ["/table/a"]);
    assert_eq!(base(json!({"table": {"a": -1}, "to": "partition"})), ["/table/a"]);
    assert_eq!(base(json!({"hash": {}})), ["/hash/topics"]);
    assert_eq!(base(json!({"hash": {"topics": 2, "name": "x"}})), ["/hash/name"]);
    assert_eq!(base(json!({"hash": {"topics": 2}, "to": "partition"})), ["/hash"]);
    assert_eq!(base(json!({"pattern": "(", "replacement": "x"})), ["/pattern"]);
    assert_eq!(base(json!({"pattern": "a", "replacement": "$1"})), ["/replacement"]);
    assert_eq!(base(json!({"table": {"a": "b"}, "hash": {}})), [""]);
    assert_eq!(base(json!({"table": {"a": "b"}, "default": "c", "unmatched": "keep"})), ["/unmatched"]);
    let many: serde_json::Map<_, _> = (0..64).map(|n| (n.to_string(), json!(format!("t{n}")))).collect();
    assert_eq!(base(json!({"table": many})), ["/table"]);
}
