//! `strait demo --plugin FILE`: the same clusters and link, with a plugin of one's own between them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use strait_kafka::MockCluster;
use strait_kafka::sample::{self, SampleRecord};

use super::{PARTITIONS, PATIENCE, cluster, copy, write_file};
use crate::commands::plugin::jsonl::Line;
use crate::commands::plugin::runner::{self, Subject};
use crate::commands::{End, print};
use crate::load::{self, Environment};

const TOPIC: &str = "orders";
/// What the link's naming puts before a topic's name.
const PREFIX: &str = "aws.";

/// Copies orders through the plugin and prints what was sent beside what arrived.
///
/// # Errors
/// The plugin does not load, or the link has not copied.
pub fn show(plugin: &Path, config: Option<&str>) -> Result<(), String> {
    let path = fs::canonicalize(plugin).map_err(|e| format!("{}: {e}", plugin.display()))?;
    let config: Value = serde_json::from_str(config.unwrap_or("{}")).map_err(|e| format!("--plugin-config: {e}"))?;
    let orders = orders();
    let (aws, gcp) = (start()?, start()?);
    let made = |cluster: &MockCluster, topic: &str, partitions: i32| {
        cluster.create_topic(topic, partitions).map_err(|e| format!("making {topic}: {e}"))
    };
    // The mock clusters have no admin interface: what Strait makes by itself on Kafka is made for it here. Which topics the
    // plugin sends to is known by asking it first.
    let topics = topics(&path, &config, &orders)?;
    made(&aws, TOPIC, PARTITIONS)?;
    made(&aws, "strait.aws-to-gcp.quarantine", 1)?;
    for topic in ["strait.aws-to-gcp.progress", "strait.aws-to-gcp.map"] {
        made(&gcp, topic, 2)?;
    }
    for topic in &topics {
        made(&gcp, topic, PARTITIONS)?;
    }
    let text = configuration(&aws.bootstrap_servers(), &gcp.bootstrap_servers(), &path, &config)?;
    let file = write_file(&text, false)?;
    let loaded = load::load(&file.path, &Environment::default()).map_err(|report| report.render(false, 100))?;
    let loaded = Arc::new(loaded);
    sample::send(&cluster("aws", &aws), TOPIC, &orders, PATIENCE).map_err(|e| format!("sending orders: {e}"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|e| e.to_string())?.block_on(copy(&loaded))?;

    // By its time, which no two orders have in common, an order is found again whatever the plugin did to it.
    let mut arrived: BTreeMap<i64, Vec<(String, SampleRecord)>> = BTreeMap::new();
    for topic in &topics {
        let records = sample::read(&cluster("gcp", &gcp), topic, PARTITIONS, PATIENCE);
        for record in records.map_err(|e| format!("reading {topic}: {e}"))? {
            arrived.entry(record.timestamp_ms).or_default().push((topic.clone(), record));
        }
    }
    let refused = sample::read(&cluster("aws", &aws), "strait.aws-to-gcp.quarantine", 1, PATIENCE);
    let refused = refused.map_err(|e| format!("reading the quarantine: {e}"))?;
    match print(&table(&orders, &arrived, &refused)) {
        End::Ok => Ok(()),
        _ => Err("nothing could be printed".to_owned()),
    }
}

fn start() -> Result<MockCluster, String> {
    MockCluster::start(3).map_err(|e| e.to_string())
}

/// Final names of the topics that the orders go to, and of the plain copy.
fn topics(path: &Path, config: &Value, orders: &[SampleRecord]) -> Result<BTreeSet<String>, String> {
    let subject = Subject::file("own", path, config.clone());
    let chains = runner::load(&runner::engine()?, &subject)?;
    let lines: Vec<Line> = orders
        .iter()
        .enumerate()
        .map(|(offset, order)| Line {
            topic: TOPIC.to_owned(),
            offset: i64::try_from(offset).unwrap_or(0),
            timestamp_ms: order.timestamp_ms,
            key: Some(order.key.clone().into_bytes()),
            value: Some(order.value.clone().into_bytes()),
            ..Line::default()
        })
        .collect();
    let outcomes = runner::run(&chains, &lines)?;
    let named = outcomes.into_iter().flat_map(|outcome| outcome.topics);
    Ok(named.chain([TOPIC.to_owned()]).map(|topic| format!("{PREFIX}{topic}")).collect())
}

fn configuration(aws: &str, gcp: &str, plugin: &Path, config: &Value) -> Result<String, String> {
    let config = toml::Value::try_from(config).map_err(|e| format!("--plugin-config: {e}"))?;
    let plugin = toml::Value::from(plugin.display().to_string());
    Ok(format!(
        r#"[clusters.aws]
bootstrap_servers = "{aws}"
[clusters.gcp]
bootstrap_servers = "{gcp}"

[[links]]
name = "aws-to-gcp"
source = "aws"
target = "gcp"
topics = ["{TOPIC}"]
delivery = "at-least-once"
lanes = 2

[[links.plugins]]
plugin = {plugin}
config = {config}

[log]
level = "error"
"#
    ))
}

/// Orders of real and of test customers, in three regions. All carry an e-mail.
fn orders() -> Vec<SampleRecord> {
    let customers = [("anna", "eu"), ("bob", "us"), ("chen", "ap"), ("robot", "eu"), ("dora", "eu"), ("eve", "us")];
    (0..12_i32)
        .zip(customers.iter().cycle())
        .map(|(n, (name, region))| {
            let kind = if *name == "robot" { "test" } else { "customer" };
            SampleRecord {
                partition: n % PARTITIONS,
                offset: 0,
                key: format!("{kind}-{name}"),
                value: format!(r#"{{"order":{n},"region":"{region}","customer":{{"email":"{name}@example.com"}}}}"#),
                headers: Vec::new(),
                timestamp_ms: 1_767_225_600_000 + i64::from(n) * 1000,
            }
        })
        .collect()
}

fn table(
    sent: &[SampleRecord],
    arrived: &BTreeMap<i64, Vec<(String, SampleRecord)>>,
    refused: &[SampleRecord],
) -> String {
    let mut out = format!("\nsent to {TOPIC} (aws), and what arrived (gcp)\n\n");
    for order in sent {
        out.push_str(&format!("{:<14} {}\n", order.key, order.value));
        let copies = arrived.get(&order.timestamp_ms).map(Vec::as_slice).unwrap_or_default();
        for (topic, copy) in copies {
            out.push_str(&format!("    > {topic:<18} {} {}\n", copy.key, copy.value));
        }
        // The original keeps key and value there.
        let kept = refused.iter().any(|kept| kept.key == order.key && kept.value == order.value);
        match (copies, kept) {
            (_, true) => out.push_str("    ! in quarantine at the source\n"),
            ([], false) => out.push_str("    - left out\n"),
            _ => {}
        }
    }
    let copies: usize = arrived.values().map(Vec::len).sum();
    out.push_str(&format!("\n{} orders sent, {copies} arrived, {} in quarantine.\n", sent.len(), refused.len()));
    out
}
