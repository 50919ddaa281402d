//! Topics that plugins name: what the operator allows, and what data makes of names, partitions and
//! times.

use serde_json::json;
use strait_core::edit::{Disposition, Processed};
use strait_flow::ports::ChainFactory;
use strait_host::{BreakerState, PluginSpec, TopicNaming};

use crate::support::guest::{Guest, Process};
use crate::support::{Row, batch, bundled, fates, file, load, load_bytes};

const ROWS: [Row<'static>; 2] = [(Some(b"k"), Some(b"v"), &[]), (Some(b"l"), Some(b"w"), &[])];

/// A guest that sends the first record of each call to this topic.
fn sends_to(name: &[u8], own_word: &'static str) -> Guest {
    Guest {
        output_topics: vec![own_word],
        process: Process::Edits(vec![0, 10, 0, name.len() as u32], name.to_vec()),
        memory: "64",
        ..Guest::default()
    }
}

fn allows(spec: &mut PluginSpec, patterns: &[&str]) {
    spec.output_topics = Some(patterns.iter().map(|&pattern| pattern.into()).collect());
}

/// Code and text of the reject of a record.
fn reject_of(processed: &Processed, index: usize) -> (String, String) {
    let found = processed.dispositions.iter().find(|(at, _)| *at == index);
    let Some((_, Disposition::Reject(reject))) = found else { panic!("{:?}", processed.dispositions) };
    (reject.code.to_string(), reject.text.clone())
}

#[test]
fn a_record_that_is_sent_where_it_may_not_go_is_refused_alone() {
    let long = "x".repeat(900_000);
    let escapes = format!("t a\u{1b}[2J{}", "x".repeat(200));
    let cases: [(&[u8], &'static str, &str); 9] = [
        (b"\xff", ".*", "not UTF-8"),
        (b"t..!", "t.*", "not a topic name"),
        (b"", ".*", "not a topic name"),
        (b"__t", ".*", "is reserved"),
        (b"team-internal", ".*", "is reserved"),
        (b"strait.l.progress", ".*", "is reserved"),
        (escapes.as_bytes(), ".*", "\\u{1b}[2J"),
        (long.as_bytes(), "((((a|b|t| |x)*)*)*)*y", "a name of 900000 bytes, 249 are allowed"),
        (b"other", "t.*", "'other' is not among the plugin's own output-topics"),
    ];
    for (name, own_word, expected) in cases {
        let guest = sends_to(name, own_word);
        let chains = load_bytes(&guest.wasm(), |_| {}).unwrap();
        let mut chain = chains.chain().unwrap();
        for _ in 0..200 {
            let processed = chain.apply(batch(&ROWS), 6).unwrap();
            assert_eq!(fates(&processed), (vec![], vec![0], vec![]), "{expected}");
            let (code, text) = reject_of(&processed, 0);
            assert!(code == "edit-topic" && text.contains(expected) && text.len() <= 600, "{code}: {text}");
            assert!(!text.contains('\u{1b}'), "{text}");
        }
        let health = &chains.health()[0];
        assert_eq!((health.calls, health.guilty, health.breaker), (200, 0, BreakerState::Closed), "{expected}");
        let withheld = load_bytes(&guest.wasm(), |spec| spec.show_guest_messages = false).unwrap();
        let processed = withheld.chain().unwrap().apply(batch(&ROWS), 6).unwrap();
        let (code, text) = reject_of(&processed, 0);
        assert!(code == "edit-topic" && !text.contains("other") && !text.contains("team"), "{code}: {text}");
    }
}

#[test]
fn a_time_or_a_partition_that_cannot_be_is_no_broken_plugin_either() {
    for (ops, data, expected) in [
        (vec![0, 9, 0, 8], &[0xff; 8][..], "a negative number is not a timestamp"),
        (vec![0, 11, 1 << 31, 0], b"", "a number is too large for a partition"),
    ] {
        let guest = Guest { process: Process::Edits(ops, data.to_vec()), ..Guest::default() };
        let chains = load_bytes(&guest.wasm(), |_| {}).unwrap();
        let processed = chains.chain().unwrap().apply(batch(&ROWS), 6).unwrap();
        assert_eq!(fates(&processed), (vec![], vec![0], vec![]));
        assert_eq!(reject_of(&processed, 0), ("edit-unfit".to_owned(), expected.to_owned()));
        assert_eq!(chains.health()[0].guilty, 0);
    }
}

#[test]
fn the_operators_list_narrows_what_a_plugin_says_of_itself() {
    let sent = |name: &'static str, own_word: &'static str, allowed: Option<&[&str]>| {
        let guest = sends_to(name.as_bytes(), own_word);
        let chains = load_bytes(&guest.wasm(), |spec| {
            if let Some(patterns) = allowed {
                allows(spec, patterns);
            }
        });
        chains.unwrap().chain().unwrap().apply(batch(&ROWS), 6).unwrap()
    };
    let goes = (vec![], vec![], vec![0]);
    assert_eq!(fates(&sent("eu-1", ".*", None)), goes);
    assert_eq!(fates(&sent("eu-1", ".*", Some(&["us", "eu-[0-9]"]))), goes);
    for (name, own_word, allowed, expected) in [
        ("eu-12", ".*", &["us", "eu-[0-9]"][..], "'eu-12' is not among its output_topics in the link"),
        ("xeu-1", ".*", &["eu-[0-9]"], "output_topics in the link"),
        // The list allows nothing that the plugin does not ask for itself.
        ("us", "eu-[0-9]", &["us", "eu-[0-9]"], "own output-topics"),
    ] {
        let processed = sent(name, own_word, Some(allowed));
        let (code, text) = reject_of(&processed, 0);
        assert!(code == "edit-topic" && text.contains(expected), "{code}: {text}");
    }
    let error = load_bytes(&Guest::default().wasm(), |spec| allows(spec, &["("])).unwrap_err();
    assert!(error.to_string().contains("its output_topics cannot be used"), "{error}");
}

#[test]
fn a_record_of_which_one_copy_may_not_go_there_is_refused_as_a_whole() {
    // A copy to `no`, then the record itself to `eu`.
    let ops = vec![0, 10, 0, 2, 0, 14, 0, 0, 0, 10, 0, 2];
    let guest = Guest { output_topics: vec![".*"], process: Process::Edits(ops, b"noeu".to_vec()), ..Guest::default() };
    let chains = load_bytes(&guest.wasm(), |spec| allows(spec, &["eu"])).unwrap();
    let processed = chains.chain().unwrap().apply(batch(&ROWS), 6).unwrap();
    assert_eq!(fates(&processed), (vec![], vec![0], vec![]));
    assert_eq!(reject_of(&processed, 0).0, "edit-topic");
    let chains = load_bytes(&guest.wasm(), |spec| allows(spec, &["eu", "no"])).unwrap();
    let processed = chains.chain().unwrap().apply(batch(&ROWS), 6).unwrap();
    assert_eq!(fates(&processed), (vec![], vec![], vec![0]));
}

#[test]
fn a_topic_that_is_renamed_where_it_may_not_go_stops_alone_and_says_why() {
    let renames = Guest { rename: Some("sales"), ..Guest::default() };
    let named = |patterns: &[&str], shows: bool| {
        let chains = load_bytes(&renames.wasm(), |spec| {
            allows(spec, patterns);
            spec.show_guest_messages = shows;
        });
        chains.unwrap().chain().unwrap().target_topic("orders", 6)
    };
    assert_eq!(named(&["s.*"], false).unwrap().as_ref(), "sales");
    for shows in [true, false] {
        let error = named(&["orders"], shows).unwrap_err();
        let expected = "'orders': it gives the topic a name that output_topics in the link does not allow";
        assert!(error.reason.contains(expected) && error.next.wait().is_none(), "{error}");
    }
    // A topic that keeps its name needs nobody's leave.
    let keeps = load_bytes(&Guest::default().wasm(), |spec| allows(spec, &["else"])).unwrap();
    assert_eq!(keeps.chain().unwrap().target_topic("orders", 6).unwrap().as_ref(), "orders");
    let long = format!("a b\u{1b}{}", "x".repeat(60_000));
    let guest = Guest { rename: Some(Box::leak(long.into_boxed_str())), ..Guest::default() };
    let error = load_bytes(&guest.wasm(), |_| {}).unwrap().chain().unwrap().target_topic("orders", 6).unwrap_err();
    assert!(error.reason.len() < 1_100 && error.reason.contains("\\u{1b}"), "{} bytes", error.reason.len());
}

#[test]
fn keys_that_make_no_topic_name_are_unmatched_for_route_and_break_nothing() {
    let config = json!({"by": "key", "to": "topic", "pattern": "(.+)", "replacement": "{topic}.$1"});
    let long = "k".repeat(250);
    let keys: [&[u8]; 6] = [b"a b", b"team-internal", long.as_bytes(), b"\x1b[2J", b"{topic}", b"good"];
    let rows: Vec<Row<'_>> = keys.iter().map(|key| (Some(*key), Some(&b"v"[..]), &[][..])).collect();
    let chains = load(vec![bundled("route", config.clone())], TopicNaming::Prefix("aws.".into())).unwrap();
    let mut chain = chains.chain().unwrap();
    for _ in 0..200 {
        let processed = chain.apply(batch(&rows), 6).unwrap();
        assert_eq!(fates(&processed), (vec![], vec![0, 1, 2, 3, 4], vec![5]));
        let codes: Vec<String> = (0..5).map(|at| reject_of(&processed, at).0).collect();
        assert_eq!(codes, ["unmatched"; 5]);
    }
    let health = &chains.health()[0];
    assert_eq!((health.guilty, health.narrowed, health.breaker), (0, 0, BreakerState::Closed));
    // What the operator does not allow is no match of the pattern, and no fault of the plugin.
    let mut narrowed = bundled("route", config);
    allows(&mut narrowed, &["orders\\.eu.*"]);
    let chains = load(vec![narrowed], TopicNaming::Identity).unwrap();
    let rows: [Row<'_>; 2] = [(Some(b"eu-1"), None, &[]), (Some(b"us-1"), None, &[])];
    let processed = chains.chain().unwrap().apply(batch(&rows), 6).unwrap();
    assert_eq!(fates(&processed), (vec![], vec![1], vec![0]));
    assert_eq!(reject_of(&processed, 1).0, "edit-topic");
}

#[test]
fn a_later_plugin_is_not_shown_what_an_earlier_one_sent_astray() {
    let first = sends_to(b"no", ".*");
    let second = Guest {
        in_process: "(call $count (i32.const 0) (i64.extend_i32_u (local.get $count)))".into(),
        ..Guest::default()
    };
    let first = file(&first.wasm(), |spec| allows(spec, &["eu"]));
    let chains = load(vec![first, file(&second.wasm(), |_| {})], TopicNaming::Identity).unwrap();
    chains.chain().unwrap().apply(batch(&ROWS), 6).unwrap();
    let counts: Vec<u64> = chains.counters().iter().map(|counter| counter.value).collect();
    assert_eq!(counts[1], 1);
}

#[test]
fn topics_that_a_plugin_names_and_its_link_refuses_are_told_before_there_is_a_record() {
    let refused = |config, patterns: &[&str]| {
        let mut spec = bundled("route", config);
        allows(&mut spec, patterns);
        let chains = load(vec![spec], TopicNaming::Identity).unwrap();
        let refused = chains.plugin_chain().unwrap().refused_names("orders.v1", 6).unwrap();
        refused.into_iter().map(|(plugin, topic)| format!("{plugin}: {topic}")).collect::<Vec<_>>()
    };
    let table = json!({
        "by": "key", "to": "topic", "table": { "a": "orders-a", "b": "b.x", "c": "{topic}-c" }, "default": "rest",
    });
    assert_eq!(refused(table.clone(), &["orders-.*"]), ["route: b.x", "route: orders.v1-c", "route: rest"]);
    assert_eq!(refused(table, &["orders.*", r"b\.x", "rest"]), [""; 0]);
    let hash = json!({ "by": "key", "to": "topic", "hash": { "topics": 2 } });
    assert_eq!(refused(hash, &["orders.v1-0"]), ["route: orders.v1-1"]);
    // Data makes these names.
    let made = json!({ "by": "key", "to": "topic", "pattern": "(.*)", "replacement": "x-$1", "unmatched": "keep" });
    assert_eq!(refused(made, &["y"]), [""; 0]);
}

/// A later plugin is called for each topic: the number of calls grows with that of topics alone.
#[test]
fn as_many_topics_as_records_are_one_call_each() {
    let by_key = json!({"by": "key", "to": "topic", "pattern": "(.+)", "replacement": "{topic}.$1"});
    let count = |counter: u32| format!("(call $count (i32.const {counter}) (i64.const 1))");
    let guest = Guest {
        counters: vec!["calls", "records"],
        in_process: count(0) + "(call $count (i32.const 1) (i64.extend_i32_u (local.get $count)))",
        ..Guest::default()
    };
    for records in [2_000, 16_000] {
        let keys: Vec<String> = (0..records).map(|number| format!("k{number}")).collect();
        let rows: Vec<Row<'_>> = keys.iter().map(|key| (Some(key.as_bytes()), Some(&b"v"[..]), &[][..])).collect();
        let plugins = vec![bundled("route", by_key.clone()), file(&guest.wasm(), |_| {})];
        let chains = load(plugins, TopicNaming::Identity).unwrap();
        let processed = chains.chain().unwrap().apply(batch(&rows), 6).unwrap();
        assert_eq!(fates(&processed).2.len(), records);
        let counted: Vec<u64> = chains.counters().iter().rev().take(2).map(|counter| counter.value).collect();
        assert_eq!(counted, [records as u64; 2]);
    }
}
