//! The bundled plugins, as built from plugins/.

use serde_json::{Value, json};
use strait_core::edit::{Content, Disposition, Route};
use strait_flow::ports::ChainFactory;
use strait_host::{LoadProblem, TopicNaming, bundled_names};

use crate::support::{Row, batch, bundled, fates, load};

fn filter(config: Value, rows: &[Row<'_>]) -> (Vec<usize>, Vec<usize>, Vec<usize>) {
    let chains = load(vec![bundled("filter", config)], TopicNaming::Identity).unwrap();
    let processed = chains.chain().unwrap().apply(batch(rows), 6).unwrap();
    assert_eq!(&*processed.target_topic, "orders");
    fates(&processed)
}

#[test]
fn the_build_bundles_the_plugins() {
    let names: Vec<_> = bundled_names().collect();
    assert_eq!(names, ["dedupe", "filter", "redact", "rename", "route", "sample"], "run ./dev build");
}

#[test]
fn a_key_rule_keeps_null_apart_from_empty() {
    let rows: [Row<'_>; 5] = [
        (Some(b"eu-1"), None, &[]),
        (None, None, &[]),
        (Some(b""), None, &[]),
        (Some(b"eu-"), Some(b"x"), &[]),
        (Some(b"\xff\xfe"), None, &[]),
    ];
    assert_eq!(filter(json!({"keep": {"key_prefix": "eu-"}}), &rows), (vec![1, 2, 4], vec![], vec![]));
    assert_eq!(filter(json!({"drop": {"key_prefix": "eu-"}}), &rows), (vec![0, 3], vec![], vec![]));
    assert_eq!(filter(json!({"drop": {"key": ""}}), &rows), (vec![2], vec![], vec![]));
}

#[test]
fn a_header_rule_looks_at_every_header_of_the_name() {
    let rows: [Row<'_>; 4] = [
        (None, None, &[(b"source", Some(b"prod")), (b"source", Some(b"test"))]),
        (None, None, &[(b"source", None), (b"\xff", Some(b"test"))]),
        (None, None, &[]),
        (None, None, &[(b"source", Some(b"test"))]),
    ];
    let config = json!({"drop": {"header": {"name": "source", "equals": "test"}}});
    assert_eq!(filter(config, &rows), (vec![0, 3], vec![], vec![]));
}

#[test]
fn a_field_rule_quarantines_values_that_it_cannot_judge_unless_configured_otherwise() {
    let rows: [Row<'_>; 6] = [
        (None, Some(br#"{"region":"eu"}"#), &[]),
        (None, Some(br#"{"region":"us"}"#), &[]),
        (None, Some(br#"{"region":"eu","region":"us"}"#), &[]),
        (None, Some(b"\xffnot json"), &[]),
        (None, None, &[]),
        (None, Some(b"{}"), &[]),
    ];
    let rule = json!({"field": "$.region", "equals": "eu"});
    assert_eq!(filter(json!({"keep": rule}), &rows), (vec![1, 5], vec![2, 3], vec![]));
    let configured = json!({"keep": rule, "unmatched": "drop", "tombstones": "reject"});
    assert_eq!(filter(configured, &rows), (vec![1, 2, 3, 5], vec![4], vec![]));
    assert_eq!(filter(json!({"drop": rule, "unmatched": "keep"}), &rows), (vec![0], vec![], vec![]));
}

#[test]
fn an_expression_reads_all_of_a_record() {
    let rows: [Row<'_>; 6] = [
        (Some(b"k"), Some(br#"{"region":"\u0065u","n":7,"tags":["a","b"]}"#), &[(b"source", Some(b"prod"))]),
        (Some(b"k"), Some(br#"{"region":"us","n":7}"#), &[]),
        (Some(b"k"), Some(br#"{"region":"eu","n":"7"}"#), &[]),
        (Some(b"k"), Some(br#"{"region":"eu","region":"eu"}"#), &[]),
        (Some(b"k"), None, &[]),
        (None, Some(br#"{"region":"eu"}"#), &[(b"source", Some(b"test"))]),
    ];
    let keep = |expression: &str| filter(json!({"keep": expression}), &rows);
    assert_eq!(keep("value.region == 'eu' && header['source'] != 'test'"), (vec![1, 5], vec![3], vec![]));
    assert_eq!(keep("value.region == 'eu' && value.n > 6"), (vec![1], vec![2, 3, 5], vec![]));
    // An interpreted expression.
    assert_eq!(keep("value.tags.exists(t, t == 'b' && value.n % 2 == 1)"), (vec![], vec![1, 2, 3, 5], vec![]));
    assert_eq!(keep("has(value.tags) ? value.tags.size() == 2 : key != null"), (vec![5], vec![], vec![]));
    let all =
        "topic == 'orders' && partition == 3 && offset >= 102 && timestamp >= timestamp('1970-01-01T00:00:01.001Z')";
    assert_eq!(keep(all), (vec![0], vec![], vec![]));
    let refused =
        load(vec![bundled("filter", json!({"keep": "valu.region == 'eu'"}))], TopicNaming::Identity).unwrap_err();
    assert!(refused.to_string().contains("valu"), "{refused}");
}

#[test]
fn an_expression_may_be_nested_and_its_work_for_a_record_is_bounded() {
    let value = format!(r#"{{"n":1.0,"list":[{}1]}}"#, "1,".repeat(1_000));
    let rows: [Row<'_>; 1] = [(None, Some(value.as_bytes()), &[])];
    let keep = |expression: &str| filter(json!({"keep": expression}), &rows);
    assert_eq!(keep(&format!("{} == 100", vec!["value.n"; 100].join(" + "))), (vec![], vec![], vec![]));
    let nested = (0..20).fold("value.n == 1".to_owned(), |inner, n| format!("[{n}].all(x, {inner})"));
    assert_eq!(keep(&nested), (vec![], vec![], vec![]));
    assert_eq!(keep("value.list.all(x, value.list.all(y, x == y))"), (vec![], vec![0], vec![]));
    let value = format!(r#"{{"a":{0}1{1},"b":{0}1.0{1}}}"#, "[".repeat(120), "]".repeat(120));
    let rows: [Row<'_>; 1] = [(None, Some(value.as_bytes()), &[])];
    let equal = json!({"keep": "[value.a][0] == value.b && value.a == value.b"});
    assert_eq!(filter(equal, &rows), (vec![], vec![], vec![]));
}

#[test]
fn route_sends_by_field_and_quarantines_the_rest() {
    let rows: [Row<'_>; 4] = [
        (Some(b"k"), Some(br#"{"region":"\u0065u"}"#), &[]),
        (Some(b"k"), Some(br#"{"region":"us"}"#), &[]),
        (Some(b"k"), Some(b"{}"), &[]),
        (None, Some(br#"{"region":"eu"}"#), &[]),
    ];
    let config = json!({"by": "$.region", "to": "topic", "table": {"eu": "{topic}-eu", "us": "orders"}});
    let chains = load(vec![bundled("route", config)], TopicNaming::Prefix("aws.".into())).unwrap();
    let processed = chains.chain().unwrap().apply(batch(&rows), 6).unwrap();
    assert_eq!(fates(&processed), (vec![], vec![2], vec![0, 3]));
    for (index, route) in [(0, Route::Hash(b"k".to_vec())), (2, Route::Keep)] {
        let Disposition::Replace(out) = &processed.dispositions[index].1 else { panic!("{processed:?}") };
        assert_eq!((out[0].topic.as_deref(), &out[0].route), (Some("aws.orders-eu"), &route));
    }

    let config = json!({"by": "key", "to": "partition", "hash": {}, "unmatched": "keep"});
    let processed = load(vec![bundled("route", config)], TopicNaming::Identity)
        .unwrap()
        .chain()
        .unwrap()
        .apply(batch(&rows), 6)
        .unwrap();
    assert_eq!(fates(&processed), (vec![], vec![], vec![0, 1, 2]));
}

#[test]
fn sample_keeps_all_records_of_a_key_or_none() {
    let keys: Vec<String> = (0..200).map(|n| format!("k{}", n % 100)).collect();
    let rows: Vec<Row<'_>> = keys.iter().map(|key| (Some(key.as_bytes()), None, &[][..])).collect();
    let chains = load(vec![bundled("sample", json!({"fraction": 0.5}))], TopicNaming::Identity).unwrap();
    let (dropped, ..) = fates(&chains.chain().unwrap().apply(batch(&rows), 6).unwrap());
    assert!((40..=160).contains(&dropped.len()) && dropped.iter().all(|n| dropped.contains(&((n + 100) % 200))));
}

#[test]
fn a_reject_names_the_plugin_and_its_code() {
    let chains =
        load(vec![bundled("filter", json!({"keep": {"field": "$.a", "equals": 1}}))], TopicNaming::Identity).unwrap();
    let processed = chains.chain().unwrap().apply(batch(&[(None, Some(b"{"), &[])]), 1).unwrap();
    let [(0, Disposition::Reject(reject))] = processed.dispositions.as_slice() else {
        panic!("{processed:?}");
    };
    assert_eq!((&*reject.plugin, &*reject.code), ("filter", "not-judged"));
    assert!(!reject.text.is_empty());
    assert_eq!(processed.generation, chains.generation());
}

#[test]
fn redact_gives_a_key_one_pseudonym_and_leaves_its_partition() {
    let rules = json!({"rules": [
        {"key": true, "with": "hmac", "secret": "0123456789abcdef", "prefix": "k-"},
        {"header_prefixes": ["X-"], "ignore_case": true, "with": "remove"},
        {"headers": ["ip"], "with": "mask", "keep": 1},
    ]});
    let chains = load(vec![bundled("redact", rules)], TopicNaming::Identity).unwrap();
    let rows: [Row<'_>; 3] = [
        (Some(b"ann"), Some(b"\xffany"), &[(b"x-user", Some(b"ann")), (b"ip", Some(b"\xff")), (b"y", Some(b"ann"))]),
        (None, None, &[(b"ip", None)]),
        (Some(b"ann"), None, &[(b"ip", Some(b"10.1")), (b"X-", None)]),
    ];
    let processed = chains.chain().unwrap().apply(batch(&rows), 6).unwrap();
    assert_eq!(fates(&processed), (vec![], vec![], vec![0, 2]));
    let out = |index: usize| match &processed.dispositions[index].1 {
        Disposition::Replace(out) => &out[0],
        other => panic!("{other:?}"),
    };
    let (first, second) = (out(0), out(1));
    let Content::Bytes(key) = &first.key else { panic!("{first:?}") };
    assert!(key.starts_with(b"k-") && key.len() == 66);
    assert_eq!((&first.key, &first.route, &first.value), (&second.key, &Route::Keep, &Content::Original));
    let header = |name: &[u8], value: &[u8]| (name.to_vec(), Some(value.to_vec()));
    assert_eq!(first.headers, Some(vec![header(b"ip", b"****"), header(b"y", b"ann")]));
    assert_eq!(second.headers, Some(vec![header(b"ip", b"***1")]));
}

#[test]
fn rename_needs_no_call_and_naming_comes_last() {
    let rename = json!({
        "table": {"orders": "sales"},
        "pattern": "(.*)\\.v(\\d+)", "replacement": "v${2}_$1",
        "prefix": "p-", "suffix": "-s",
    });
    let plugins = || vec![bundled("rename", rename.clone()), bundled("filter", json!({"keep": {"key": "k"}}))];
    let chains = load(plugins(), TopicNaming::Prefix("aws.".into())).unwrap();
    let mut chain = chains.chain().unwrap();
    assert_eq!(&*chain.target_topic("orders", 6).unwrap(), "aws.sales");
    assert_eq!(&*chain.target_topic("events.v2", 6).unwrap(), "aws.p-v2_events-s");
    assert_eq!(&*chain.target_topic("events", 6).unwrap(), "aws.p-events-s");

    let processed = chain.apply(batch(&[(Some(b"k"), None, &[]), (Some(b"x"), None, &[])]), 6).unwrap();
    assert_eq!(&*processed.target_topic, "aws.sales");
    assert_eq!(fates(&processed), (vec![1], vec![], vec![]));

    let chains = load(plugins(), TopicNaming::Prefix("!".into())).unwrap();
    let error = chains.chain().unwrap().target_topic("orders", 6).unwrap_err();
    assert!(error.to_string().contains("!sales"), "{error}");
}

#[test]
fn a_chain_without_plugins_applies_naming_only() {
    let chains = load(vec![], TopicNaming::Prefix("aws.".into())).unwrap();
    let processed = chains.chain().unwrap().apply(batch(&[(None, None, &[])]), 1).unwrap();
    assert_eq!((&*processed.target_topic, &*processed.generation.0), ("aws.orders", "none"));
    assert!(processed.dispositions.is_empty());
    let error = chains.chain().unwrap().target_topic("__consumer_offsets", 1);
    assert_eq!(&*error.unwrap(), "aws.__consumer_offsets");
}

#[test]
fn a_generation_depends_on_file_and_configuration() {
    let generation = |config| load(vec![bundled("filter", config)], TopicNaming::Identity).unwrap().generation().0;
    let first = generation(json!({"keep": {"key": "a"}}));
    assert_eq!(first, generation(json!({"keep": {"key": "a"}})));
    assert_ne!(first, generation(json!({"keep": {"key": "b"}})));
    let (name, rest) = first.split_once('@').unwrap();
    assert_eq!((name, rest.len(), rest.find('+')), ("filter", 25, Some(12)));
}

#[test]
fn mistakes_in_a_configuration_are_reported_by_pointer() {
    let problem = |name, config| load(vec![bundled(name, config)], TopicNaming::Identity).unwrap_err().problem;
    let LoadProblem::SchemaMismatch(mistakes) = problem("rename", json!({"prefix": 1, "table": {"a": ""}})) else {
        panic!();
    };
    let places: Vec<_> = mistakes.iter().map(|m| m.pointer.as_str()).collect();
    assert_eq!(places, ["/prefix", "/table/a"]);
    assert!(matches!(problem("filter", json!({})), LoadProblem::SchemaMismatch(_)));
    assert!(matches!(problem("filter", Value::Null), LoadProblem::SchemaMismatch(_)));

    let LoadProblem::ConfigureRefused(mistakes) = problem("rename", json!({"table": {"a": "x", "b": "x"}})) else {
        panic!();
    };
    assert_eq!(mistakes[0].pointer, "/table/b");
    for (pattern, replacement, place) in
        [("(", "x", "/pattern"), ("(a)", "$1_x", "/replacement"), ("a", "$1", "/replacement")]
    {
        let LoadProblem::ConfigureRefused(mistakes) =
            problem("rename", json!({"pattern": pattern, "replacement": replacement}))
        else {
            panic!("{pattern} {replacement}");
        };
        assert_eq!(mistakes[0].pointer, place);
    }
    let error = load(vec![bundled("nope", json!({}))], TopicNaming::Identity).unwrap_err();
    assert!(error.to_string().contains("bundled are: dedupe, filter, redact, rename, route, sample"), "{error}");
}
