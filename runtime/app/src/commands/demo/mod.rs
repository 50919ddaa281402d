//! `strait demo`: two embedded clusters, a link with two plugins, the sent records beside the
//! arrived ones.
//!
//! The clusters are librdkafka's mock. It keeps nothing on disk and does not isolate transactions,
//! so the link is at-least-once here, and this is a demonstration, not a proof. All else is as in
//! `strait run`.

mod own;
mod setup;

use std::sync::Arc;
use std::time::Instant;

use strait_core::Record;
use strait_kafka::{MockCluster, demo_records};

use super::run::Signals;
use super::{End, print, print_message};
use crate::board::Board;
use crate::cli::Demo;
use crate::load::Loaded;
use crate::run::{self, Stop, Until};
use setup::{Clusters, File, PARTITIONS, TIMEOUT};

const TOPIC: &str = "orders.v1";
const COPY: &str = "aws.orders";
const ORDERS: usize = 24;
/// Time of the first order: 2026-01-01T00:00:00Z.
const FIRST_ORDER_MS: i64 = 1_767_225_600_000;
const PLUGINS: &str = r#"[[links.plugins]]
plugin = "filter"
config = { keep = { field = "$.region", equals = "eu" } }

[[links.plugins]]
plugin = "rename"
config = { pattern = "(.*)\\.v1", replacement = "$1" }
"#;

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
            print_message(&format!("the demo failed: {error}"));
            End::Failed
        }
    }
}

fn show(keep: bool) -> Result<(), String> {
    let started = Instant::now();
    let clusters = Clusters::start()?;
    setup::create(&clusters.aws, TOPIC, PARTITIONS)?;
    setup::create(&clusters.gcp, COPY, PARTITIONS)?;
    let text = clusters.configuration(r"orders\\..*", PLUGINS);
    let file = File::write(&text, keep)?;
    let loaded = file.load()?;
    let orders = orders();
    demo_records::send(&clusters.source(), &orders, TIMEOUT).map_err(|e| format!("sending orders: {e}"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    runtime.block_on(setup::copy(&loaded))?;
    let arrived = demo_records::read(&clusters.target(), COPY, PARTITIONS, TIMEOUT)
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
        out.push_str(&instructions(&clusters, &file));
    } else {
        out.push_str("\nNext: strait demo --keep leaves it running; the README has a link between real clusters.\n");
    }
    if print(&out) == End::Failed {
        return Err("the result cannot be printed".to_owned());
    }
    if keep {
        runtime.block_on(keep_running(&loaded))?;
    }
    Ok(())
}

/// Returns commands to try on the running demo.
fn instructions(clusters: &Clusters, file: &File) -> String {
    let (aws, gcp) = (first_broker(&clusters.aws), first_broker(&clusters.gcp));
    let config = file.path.display();
    format!(
        "\nLeft running. Look at it, for example with kcat:\n    \
         kcat -b {aws} -C -t {TOPIC} -e\n    \
         kcat -b {gcp} -C -t {COPY} -e\n\
         Send another order and see it cross:\n    \
         echo '{{\"order\":99,\"region\":\"eu\"}}' | kcat -b {aws} -P -t {TOPIC} -k customer-7\n\
         The configuration is {config}. Ctrl-C ends it.\n"
    )
}

async fn keep_running(loaded: &Arc<Loaded>) -> Result<(), String> {
    let stop = Stop::default();
    let mut signals = Signals::listen();
    let board = Board::new(&loaded.config, loaded.mask());
    let running = run::run(loaded, Until::Stopped, stop.clone(), &board);
    tokio::pin!(running);
    let ended = tokio::select! {
        ended = &mut running => ended,
        () = signals.next() => {
            stop.drain.cancel();
            running.await
        }
    };
    ended.map(|_| ()).map_err(|errors| setup::joined(&errors))
}

fn first_broker(mock: &MockCluster) -> String {
    let servers = mock.bootstrap_servers();
    servers.split(',').next().unwrap_or_default().to_owned()
}

/// Returns orders of shops in three regions. Orders of one customer go to one partition.
fn orders() -> Vec<Record> {
    let regions = ["eu", "us", "ap", "eu"];
    let goods = ["tea", "rice", "ink", "rope", "salt"];
    (0..ORDERS)
        .map(|n| {
            let customer = (n * 7) % 10;
            let pick = |list: &[&'static str], at: usize| list.get(at % list.len()).copied().unwrap_or_default();
            let (region, good) = (pick(&regions, customer), pick(&goods, n * 3));
            let value =
                format!(r#"{{"order":{n},"region":"{region}","item":"{good}","amount":{}}}"#, 5 + (n * 37) % 90);
            let shop = format!("{region}-{}", n % 2 + 1);
            Record {
                topic: TOPIC.to_owned(),
                partition: i32::try_from(customer).unwrap_or(0) % PARTITIONS,
                key: Some(format!("customer-{customer}").into_bytes()),
                value: Some(value.into_bytes()),
                headers: vec![(b"shop".to_vec(), Some(shop.into_bytes()))],
                timestamp_ms: FIRST_ORDER_MS + i64::try_from(n).unwrap_or(0) * 1000,
                ..Record::default()
            }
        })
        .collect()
}

/// Returns bytes as text to be shown; null is empty.
fn text(bytes: Option<&Vec<u8>>) -> String {
    String::from_utf8_lossy(bytes.map(Vec::as_slice).unwrap_or_default()).into_owned()
}

/// Shows each sent record beside its copies, which are found by key and value: no plugin changed
/// those.
fn table(sent: &[Record], arrived: &[Record]) -> String {
    let mut out = String::new();
    out.push_str(&format!(
        "\n{:<72}   {}\n",
        format!("sent to {TOPIC} (aws)"),
        format_args!("arrived in {COPY} (gcp)")
    ));
    for record in sent {
        let copies: Vec<&Record> = arrived.iter().filter(|a| a.key == record.key && a.value == record.value).collect();
        let fate = match copies.as_slice() {
            [] => "- left out by filter".to_owned(),
            all => all
                .iter()
                .map(|a| format!("> partition {} offset {}", a.partition, a.offset))
                .collect::<Vec<_>>()
                .join(" and again "),
        };
        out.push_str(&format!("{:<12} {:<59}   {fate}\n", text(record.key.as_ref()), text(record.value.as_ref())));
    }
    out
}
