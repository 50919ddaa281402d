//! `strait demo`: two embedded clusters, a link with two plugins, what was sent beside what arrived.
//!
//! The clusters are librdkafka's mock, which keeps nothing on disk and does not isolate transactions: so the link is
//! at-least-once here, and this is a demonstration, not a proof. Everything else is what `strait run` does.

mod own;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use strait_kafka::MockCluster;
use strait_kafka::config::ClusterConfig;
use strait_kafka::sample::{self, SampleRecord};
use tokio_util::sync::CancellationToken;

use super::run::signalled;
use super::{End, print, say};
use crate::admin::board::Board;
use crate::cli::Demo;
use crate::load::{self, Environment, Loaded};
use crate::run;

const TOPIC: &str = "orders.v1";
const COPY: &str = "aws.orders";
const PARTITIONS: i32 = 3;
const ORDERS: usize = 24;
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the demo.
#[must_use]
pub fn demo(args: &Demo) -> End {
    let shown = match &args.plugin {
        Some(plugin) => own::show(plugin, args.plugin_config.as_deref()),
        None => show(args.keep),
    };
    match shown {
        Ok(()) => End::Ok,
        Err(error) => {
            say(&format!("the demo failed: {error}"));
            End::Failed
        }
    }
}

fn show(keep: bool) -> Result<(), String> {
    let started = Instant::now();
    let aws = MockCluster::start(3).map_err(|e| e.to_string())?;
    let gcp = MockCluster::start(3).map_err(|e| e.to_string())?;
    aws.create_topic(TOPIC, PARTITIONS).map_err(|e| e.to_string())?;
    // The mock cluster has no admin interface: what Strait makes by itself on Kafka is made for it here.
    let targets = [(COPY, PARTITIONS), ("strait.aws-to-gcp.progress", 2), ("strait.aws-to-gcp.map", 2)];
    for (topic, partitions) in targets {
        gcp.create_topic(topic, partitions).map_err(|e| e.to_string())?;
    }
    let text = configuration(&aws.bootstrap_servers(), &gcp.bootstrap_servers());
    let file = write_file(&text, keep)?;
    let loaded = load::load(&file.path, &Environment::default()).map_err(|report| report.render(false, 100))?;
    let loaded = Arc::new(loaded);

    let orders = orders();
    sample::send(&cluster("aws", &aws), TOPIC, &orders, PATIENCE).map_err(|e| format!("sending orders: {e}"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    runtime.block_on(copy(&loaded))?;
    let arrived = sample::read(&cluster("gcp", &gcp), COPY, PARTITIONS, PATIENCE)
        .map_err(|e| format!("reading the copy: {e}"))?;

    let took = started.elapsed();
    let mut out = String::new();
    out.push_str("The link (strait.toml):\n\n");
    for line in text.lines() {
        out.push_str(&format!("    {line}\n"));
    }
    out.push_str(&table(&orders, &arrived));
    out.push_str(&format!(
        "\n{} orders sent to {TOPIC} on aws, {} arrived in {COPY} on gcp, {:.1} s in all.\n",
        orders.len(),
        arrived.len(),
        took.as_secs_f32()
    ));
    if keep {
        out.push_str(&format!("\nLeft running. Look at it, for example with kcat:\n    kcat -b {} -C -t {TOPIC} -e\n    kcat -b {} -C -t {COPY} -e\nSend another order and see it cross:\n    echo '{{\"order\":99,\"region\":\"eu\"}}' | kcat -b {} -P -t {TOPIC} -k customer-7\nThe configuration is {}. Ctrl-C ends it.\n", first(&aws), first(&gcp), first(&aws), file.path.display()));
    } else {
        out.push_str("\nNext: strait demo --keep leaves it running; the README has a link between real clusters.\n");
    }
    if print(&out) == End::Failed {
        return Err("nothing could be printed".to_owned());
    }
    if keep {
        runtime.block_on(keep_running(&loaded))?;
    }
    Ok(())
}

async fn copy(loaded: &Arc<Loaded>) -> Result<(), String> {
    let board = Board::new(&loaded.config);
    let copying = run::run(loaded, true, CancellationToken::new(), &board);
    match tokio::time::timeout(PATIENCE, copying).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(errors)) => Err(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
        Err(_) => Err(format!("the link has not caught up within {PATIENCE:?}")),
    }
}

async fn keep_running(loaded: &Arc<Loaded>) -> Result<(), String> {
    let stop = CancellationToken::new();
    let board = Board::new(&loaded.config);
    let running = run::run(loaded, false, stop.clone(), &board);
    tokio::pin!(running);
    let ended = tokio::select! {
        ended = &mut running => ended,
        () = signalled() => {
            stop.cancel();
            running.await
        }
    };
    ended.map(|_| ()).map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

fn configuration(aws: &str, gcp: &str) -> String {
    format!(
        r#"[clusters.aws]
bootstrap_servers = "{aws}"
region = "eu-west-1"
[clusters.gcp]
bootstrap_servers = "{gcp}"
region = "europe-west4"

[[links]]
name = "aws-to-gcp"
source = "aws"
target = "gcp"
topics = ["orders\\..*"]
delivery = "at-least-once"
lanes = 2

[[links.plugins]]
plugin = "filter"
config = {{ keep = {{ field = "$.region", equals = "eu" }} }}

[[links.plugins]]
plugin = "rename"
config = {{ pattern = "(.*)\\.v1", replacement = "$1" }}

[log]
level = "error"
"#
    )
}

/// The configuration on disk; gone again when this is dropped, unless it is kept.
struct File {
    path: PathBuf,
    dir: PathBuf,
    keep: bool,
}

impl Drop for File {
    fn drop(&mut self) {
        if !self.keep && std::fs::remove_dir_all(&self.dir).is_err() {
            say(&format!("could not remove {}", self.dir.display()));
        }
    }
}

fn write_file(text: &str, keep: bool) -> Result<File, String> {
    let dir = std::env::temp_dir().join(format!("strait-demo-{}", std::process::id()));
    std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let file = File { path: dir.join("strait.toml"), dir, keep };
    std::fs::write(&file.path, text).map_err(|e| format!("{}: {e}", file.path.display()))?;
    Ok(file)
}

fn cluster(name: &str, mock: &MockCluster) -> ClusterConfig {
    ClusterConfig { name: name.to_owned(), bootstrap_servers: mock.bootstrap_servers(), properties: BTreeMap::new() }
}

fn first(mock: &MockCluster) -> String {
    let servers = mock.bootstrap_servers();
    servers.split(',').next().unwrap_or_default().to_owned()
}

/// Orders as shops in three regions make them: the same customer always on the same partition.
fn orders() -> Vec<SampleRecord> {
    let regions = ["eu", "us", "ap", "eu"];
    let goods = ["tea", "rice", "ink", "rope", "salt"];
    (0..ORDERS)
        .map(|n| {
            let customer = (n * 7) % 10;
            let pick = |list: &[&'static str], at: usize| list.get(at % list.len()).copied().unwrap_or_default();
            let (region, good) = (pick(&regions, customer), pick(&goods, n * 3));
            SampleRecord {
                partition: i32::try_from(customer).unwrap_or(0) % PARTITIONS,
                offset: 0,
                key: format!("customer-{customer}"),
                value: format!(r#"{{"order":{n},"region":"{region}","item":"{good}","amount":{}}}"#, 5 + (n * 37) % 90),
                headers: vec![("shop".to_owned(), format!("{region}-{}", n % 2 + 1))],
                timestamp_ms: 1_767_225_600_000 + i64::try_from(n).unwrap_or(0) * 1000,
            }
        })
        .collect()
}

/// What was sent and what became of it, side by side. A record is found again by its key and value, which no plugin changed.
fn table(sent: &[SampleRecord], arrived: &[SampleRecord]) -> String {
    let mut out = String::new();
    out.push_str(&format!(
        "\n{:<72}   {}\n",
        format!("sent to {TOPIC} (aws)"),
        format_args!("arrived in {COPY} (gcp)")
    ));
    for record in sent {
        let copies: Vec<&SampleRecord> =
            arrived.iter().filter(|a| a.key == record.key && a.value == record.value).collect();
        let fate = match copies.as_slice() {
            [] => "- left out by filter".to_owned(),
            all => all
                .iter()
                .map(|a| format!("> partition {} offset {}", a.partition, a.offset))
                .collect::<Vec<_>>()
                .join(" and again "),
        };
        out.push_str(&format!("{:<12} {:<59}   {fate}\n", record.key, record.value));
    }
    out
}
