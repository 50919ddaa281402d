//! What the host costs per record. Prints; run it with
//! `cargo test --release -p strait-host --test cost -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use strait_core::batch::Batch;
use strait_flow::ports::ChainFactory;
use strait_host::Naming;
use support::{Row, batch, bundled, load};

const RECORDS: usize = 500;
const ROUNDS: usize = 400;

/// The fastest round, in ns per record: the machine's other work only ever adds.
fn measure(plugin: &str, config: Value, batch: &Batch) -> f64 {
    let mut chain = load(vec![bundled(plugin, config)], Naming::Identity).unwrap().chain().unwrap();
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
        println!("{name}: {:.1} ns per record", measure(plugin, config, &batch));
    }
}
