//! Measures the host's time per record and prints it. Run it with
//! `cargo test --release --workspace --test it -- --ignored --nocapture cost::`.

use std::time::{Duration, Instant};

use serde_json::json;
use strait_core::batch::Batch;
use strait_flow::ports::ChainFactory;
use strait_host::{PluginSpec, TopicNaming};

use crate::support::guest::{Guest, Process};
use crate::support::{Row, batch, bundled, file, load};

const RECORDS: usize = 500;
const ROUNDS: usize = 400;

/// Returns the fastest round in ns per record: other work on the machine only adds time.
fn measure(plugins: Vec<PluginSpec>, batch: &Batch) -> f64 {
    let mut chain = load(plugins, TopicNaming::Identity).unwrap().chain().unwrap();
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let copy = batch.clone();
        let start = Instant::now();
        let processed = chain.apply(copy, 6).unwrap();
        best = best.min(start.elapsed());
        drop(processed);
    }
    best.as_nanos() as f64 / RECORDS as f64
}

#[test]
#[ignore = "a measurement, not a check; slow on a busy machine"]
fn per_record() {
    let keys: Vec<String> = (0..RECORDS).map(|i| format!("{}-{i:012}", if i % 2 == 0 { "eu" } else { "us" })).collect();
    let filler = "x".repeat(940);
    let values: Vec<String> =
        (0..RECORDS).map(|i| format!(r#"{{"id":{i},"region":"eu","n":[1,2],"text":"{filler}"}}"#)).collect();
    let headers: [(&[u8], Option<&[u8]>); 3] =
        [(b"source", Some(b"prod")), (b"trace", Some(b"0123456789")), (b"x", None)];
    let rows: Vec<Row<'_>> =
        keys.iter().zip(&values).map(|(k, v)| (Some(k.as_bytes()), Some(v.as_bytes()), &headers[..])).collect();
    let batch = batch(&rows);
    for (name, plugin, config) in [
        ("rename", "rename", json!({"prefix": "p-"})),
        ("filter on key, all pass", "filter", json!({"drop": {"key": "none"}})),
        ("filter on key prefix, half dropped", "filter", json!({"keep": {"key_prefix": "eu-"}})),
        ("filter on header", "filter", json!({"drop": {"header": {"name": "source", "equals": "test"}}})),
        ("filter on field of 1000-byte JSON", "filter", json!({"keep": {"field": "$.region", "equals": "eu"}})),
    ] {
        println!("{name}: {:.1} ns per record", measure(vec![bundled(plugin, config)], &batch));
    }
}

/// A document of 448 bytes.
const DOCUMENT: &str = concat!(
    r#"{"id":"8f14e45f-ceea-467f-9538-3a5e0f1c2b7d","created":"2026-11-22T19:15:00.000Z","customer":{"id":4711,"#,
    r#""name":"Ada Lovelace","email":"ada@example.org","address":{"street":"12 St James Square","city":"London","#,
    r#""zip":"SW1Y 4JH","country":"GB"}},"region":"eu","currency":"EUR","items":[{"sku":"A-1001","quantity":2,"#,
    r#""price":19.99},{"sku":"B-2002","quantity":1,"price":249.5}],"total":289.48,"paid":true,"coupon":null,"#,
    r#""note":"leave at the door, thanks"}"#
);

/// Measures the host's work on fields: reading, columns, edits. The guests do almost nothing.
#[test]
#[ignore = "a measurement, not a check; slow on a busy machine"]
fn fields_per_record() {
    let batch = batch(&vec![(None, Some(DOCUMENT.as_bytes()), &[][..]); RECORDS]);
    let fields = || vec!["$.customer.email", "$.region"];
    let passes = |columns: Vec<u32>, fields: Vec<&'static str>| {
        file(&Guest { columns, fields, ..Guest::default() }.wasm(), |_| {})
    };
    let edits: Vec<u32> = (0..RECORDS as u32).flat_map(|record| [record, 3, 0, 5, record, 3, 1, 4]).collect();
    let masks = || {
        let process = Process::Edits(edits.clone(), br#""***"null"#.repeat(RECORDS));
        file(&Guest { columns: vec![7, 8, 9, 10], fields: fields(), process, ..Guest::default() }.wasm(), |_| {})
    };
    for (name, plugins) in [
        ("no column at all", vec![passes(vec![], vec![])]),
        ("the whole value", vec![passes(vec![5, 6], vec![])]),
        ("two fields read", vec![passes(vec![7, 8, 9, 10], fields())]),
        ("two fields read, by two plugins", vec![passes(vec![8, 9, 10], fields()), passes(vec![8, 9, 10], fields())]),
        ("two fields read and set", vec![masks()]),
        ("two fields read and set, then read", vec![masks(), passes(vec![7, 8, 9, 10], fields())]),
    ] {
        println!("{name}: {:.0} ns per record", measure(plugins, &batch));
    }
}

/// Measures the bundled plugins on values of about 460 bytes, such as an order.
#[test]
#[ignore = "a measurement, not a check; slow on a busy machine"]
fn bundled_per_record() {
    let value = |i: usize| {
        let line = |n: usize| format!(r#"{{"sku":"A-{n:05}","quantity":{n},"price":19.99}}"#);
        let lines: Vec<String> = (0..4).map(line).collect();
        let (region, note) = (if i.is_multiple_of(50) { "us" } else { "eu" }, "please ring twice ".repeat(7));
        let customer = format!(r#"{{"name":"Ann","email":"ann{i}@example.org","phone":"+49 30 {i:07}"}}"#);
        let lines = lines.join(",");
        format!(r#"{{"id":"{i:012}","region":"{region}","customer":{customer},"lines":[{lines}],"note":"{note}"}}"#)
    };
    let values: Vec<String> = (0..RECORDS).map(value).collect();
    println!("values of {} bytes", values[0].len());
    let key: &[u8] = b"key-0123456789";
    let rows: Vec<Row<'_>> = values.iter().map(|v| (Some(key), Some(v.as_bytes()), &[][..])).collect();
    let batch = batch(&rows);
    let filter = |keep: &str| bundled("filter", json!({ "keep": keep }));
    let fields = ["$.customer.email", "$.customer.phone"];
    let mask = || bundled("redact", json!({"rules": [{"fields": fields, "with": "mask", "keep": 4}]}));
    let hmac = |any_case: bool| {
        let rule = json!({"fields": fields, "with": "hmac", "secret": "0123456789abcdef", "ignore_case": any_case});
        bundled("redact", json!({ "rules": [rule] }))
    };
    let route = json!({"by": "$.region", "to": "topic", "table": {"us": "us"}, "unmatched": "keep"});
    for (name, plugins) in [
        ("filter, CEL on one field", vec![filter("value.region == 'eu'")]),
        ("filter, CEL interpreted", vec![filter("value.region + '' == 'eu'")]),
        ("redact, mask of two fields", vec![mask()]),
        ("redact, hmac of two fields", vec![hmac(false)]),
        ("redact, hmac of two fields in any case", vec![hmac(true)]),
        ("filter and redact, mask", vec![filter("value.region == 'eu'"), mask()]),
        ("filter and redact, hmac", vec![filter("value.region == 'eu'"), hmac(false)]),
        ("route by field", vec![bundled("route", route)]),
        ("sample by key", vec![bundled("sample", json!({"fraction": 0.5}))]),
    ] {
        let ns = measure(plugins, &batch);
        println!("{name}: {ns:.0} ns per record, {:.0} records/s per core", 1e9 / ns);
    }
}
