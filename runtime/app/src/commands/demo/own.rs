//! `strait demo --plugin FILE`: the same clusters and link, with a plugin of one's own between
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;
use strait_core::Record;
use strait_kafka::demo_records;

use super::setup::{self, Clusters, File, PARTITIONS, QUARANTINE, TIMEOUT};
use super::{FIRST_ORDER_MS, text};
use crate::commands::plugin::runner::{self, Detail, Subject};
use crate::commands::{End, print};

const TOPIC: &str = "orders";
/// Prefix that the link's naming gives to topics.
const PREFIX: &str = "aws.";

/// Copies orders through the plugin and prints the sent orders beside the arrived ones.
///
/// # Errors
/// The plugin does not load, or the link has not copied.
pub fn show(plugin: &Path, config: Option<&str>) -> Result<(), String> {
    let path = fs::canonicalize(plugin).map_err(|e| format!("{}: {e}", plugin.display()))?;
    let config: Value = serde_json::from_str(config.unwrap_or("{}")).map_err(|e| format!("--plugin-config: {e}"))?;
    let orders = orders();
    let clusters = Clusters::start()?;
    setup::create(&clusters.aws, TOPIC, PARTITIONS)?;
    // Trying the plugin first shows which topics it sends to.
    let topics = topics(&path, &config, &orders)?;
    for topic in &topics {
        setup::create(&clusters.gcp, topic, PARTITIONS)?;
    }
    let file = File::write(&clusters.configuration(TOPIC, &plugin_table(&path, &config)?), false)?;
    let loaded = file.load()?;
    demo_records::send(&clusters.source(), &orders, TIMEOUT).map_err(|e| format!("sending orders: {e}"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|e| e.to_string())?.block_on(setup::copy(&loaded))?;

    // No two orders have the same time, so it identifies an order whatever the plugin did to it.
    let mut arrived: BTreeMap<i64, Vec<Record>> = BTreeMap::new();
    for topic in &topics {
        let records = demo_records::read(&clusters.target(), topic, PARTITIONS, TIMEOUT);
        for record in records.map_err(|e| format!("reading {topic}: {e}"))? {
            arrived.entry(record.timestamp_ms).or_default().push(record);
        }
    }
    let refused = demo_records::read(&clusters.source(), QUARANTINE, 1, TIMEOUT);
    let refused = refused.map_err(|e| format!("reading the quarantine: {e}"))?;
    match print(&table(&orders, &arrived, &refused)) {
        End::Ok => Ok(()),
        _ => Err("the result cannot be printed".to_owned()),
    }
}

/// Returns the final names of the topics that the orders go to, and that of the plain copy.
fn topics(path: &Path, config: &Value, orders: &[Record]) -> Result<BTreeSet<String>, String> {
    let subject = Subject::file("own", path, config.clone());
    let chains = runner::load(&runner::engine()?, &subject).map_err(|refusal| refusal.text)?;
    let numbered = (0..).zip(orders).map(|(offset, order)| Record { partition: 0, offset, ..order.clone() });
    let ran = runner::run(&chains, &numbered.collect::<Vec<_>>(), Detail::Outcome)?;
    if let Some(stopped) = ran.stopped.first() {
        return Err(stopped.to_string());
    }
    let named = ran.outcomes.into_iter().flat_map(|outcome| outcome.topics);
    Ok(named.chain([TOPIC.to_owned()]).map(|topic| format!("{PREFIX}{topic}")).collect())
}

fn plugin_table(plugin: &Path, config: &Value) -> Result<String, String> {
    let config = toml::Value::try_from(config).map_err(|e| format!("--plugin-config: {e}"))?;
    let plugin = toml::Value::from(plugin.display().to_string());
    Ok(format!("[[links.plugins]]\nplugin = {plugin}\nconfig = {config}\n"))
}

/// Returns orders of real and of test customers in three regions. Each has an e-mail address.
fn orders() -> Vec<Record> {
    let customers = [("anna", "eu"), ("bob", "us"), ("chen", "ap"), ("robot", "eu"), ("dora", "eu"), ("eve", "us")];
    (0..12_i32)
        .zip(customers.iter().cycle())
        .map(|(n, (name, region))| {
            let kind = if *name == "robot" { "test" } else { "customer" };
            let value = format!(r#"{{"order":{n},"region":"{region}","customer":{{"email":"{name}@example.com"}}}}"#);
            Record {
                topic: TOPIC.to_owned(),
                partition: n % PARTITIONS,
                key: Some(format!("{kind}-{name}").into_bytes()),
                value: Some(value.into_bytes()),
                timestamp_ms: FIRST_ORDER_MS + i64::from(n) * 1000,
                ..Record::default()
            }
        })
        .collect()
}

fn table(sent: &[Record], arrived: &BTreeMap<i64, Vec<Record>>, refused: &[Record]) -> String {
    let mut out = format!("\nsent to {TOPIC} (aws), and what arrived (gcp)\n\n");
    for order in sent {
        out.push_str(&format!("{:<14} {}\n", text(order.key.as_ref()), text(order.value.as_ref())));
        let copies = arrived.get(&order.timestamp_ms).map(Vec::as_slice).unwrap_or_default();
        for copy in copies {
            let (key, value) = (text(copy.key.as_ref()), text(copy.value.as_ref()));
            out.push_str(&format!("    > {:<18} {key} {value}\n", copy.topic));
        }
        // Quarantine has the original key and value.
        let is_refused = refused.iter().any(|refused| refused.key == order.key && refused.value == order.value);
        match (copies, is_refused) {
            (_, true) => out.push_str("    ! in quarantine at the source\n"),
            ([], false) => out.push_str("    - left out\n"),
            _ => {}
        }
    }
    let copies: usize = arrived.values().map(Vec::len).sum();
    out.push_str(&format!("\n{} orders sent, {copies} arrived, {} in quarantine.\n", sent.len(), refused.len()));
    out
}
