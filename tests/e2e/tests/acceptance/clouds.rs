//! Clusters that speak Kafka's protocol without some of it.

use std::time::{Duration, Instant};

use strait_e2e::{ConfigFolder, Isolation, Strait, write_records};
use strait_test_cluster::Cluster;

use crate::support::{
    COPIED, Pair, SOON, Turn, key_range, keys, link, now, numbered, run_to_end, single, stop, wait_until,
};

/// InitProducerId, and the requests of transactions.
const TRANSACTIONS: [i16; 6] = [22, 24, 25, 26, 27, 28];
/// By when a run must say that it cannot work.
const SAID: Duration = Duration::from_secs(30);

fn ended(name: &str, config: &ConfigFolder, arguments: &[&str]) -> (Option<i32>, String) {
    let mut strait = Strait::start(name, config.path(), arguments).unwrap();
    let code = strait.wait_end(SOON).unwrap().code();
    (code, format!("{}\n{}", strait.stdout(), strait.stderr()))
}

#[test]
fn a_target_without_transactions_is_named_and_takes_records_at_least_once() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    let cloud = now(Cluster::start(single("cloud").with_proxies())).unwrap();
    cloud.proxy(0).unwrap().strike(&TRANSACTIONS);
    pair.at_source().create_topic("cloud", 2, &[]).unwrap();
    for partition in 0..2 {
        write_records(&pair.at_source().config(), "cloud", &numbered(partition, 0, 2_000)).unwrap();
    }
    let config = |more: &str| {
        let link = link("cloud", &["cloud"], 1, more).replace("target = \"target\"", "target = \"cloud\"");
        pair.config(&format!("[clusters.cloud]\nbootstrap_servers = \"{}\"\n\n{link}", cloud.bootstrap()))
    };
    let remedy = "cluster cloud has no transactions, which delivery = \"exactly-once\" needs: delivery = \"at-least-once\" would work";

    let exactly_once = config("");
    let (code, said) = ended("check", &exactly_once, &["check"]);
    assert!(code == Some(1) && said.contains(remedy), "{code:?} {said}");
    let began = Instant::now();
    let (code, said) = ended("run", &exactly_once, &["run"]);
    assert!(code == Some(64) && said.contains(remedy), "{code:?} {said}");
    assert!(began.elapsed() < SAID, "{:?}", began.elapsed());

    let at_least_once = config("delivery = \"at-least-once\"");
    let (code, said) = ended("check", &at_least_once, &["check"]);
    assert!(code == Some(0) && said.contains("one request is in flight"), "{code:?} {said}");

    let mut strait = Strait::run("cloud", &at_least_once, &[]).unwrap();
    let warned = |line: &strait_e2e::LogLine| line.message().contains("one request is in flight");
    strait.wait_line("the warning at the start", SOON, warned).unwrap();
    let at_cloud = strait_e2e::TestClient::new(cloud.internal_bootstrap());
    let copied = |partition: i32| {
        let records = at_cloud.read_records("source.cloud", Isolation::Committed).unwrap_or_default();
        keys(&records, partition)
    };
    for round in 1..=5_u64 {
        for partition in 0..2 {
            let more = numbered(partition, 1_000 + round * 1_000, 1_000);
            write_records(&pair.at_source().config(), "cloud", &more).unwrap();
        }
        // Answers are lost: requests are sent again.
        cloud.proxy(0).unwrap().cut();
    }
    let wanted = key_range(0, 7_000);
    for partition in 0..2 {
        let found = wait_until("everything to be copied", COPIED, || {
            let found = copied(partition);
            wanted.last().filter(|last| found.contains(last)).map(|_| found)
        });
        let mut first_seen = Vec::new();
        let mut seen = std::collections::HashSet::new();
        first_seen.extend(found.iter().filter(|key| seen.insert((*key).clone())).cloned());
        assert_eq!(first_seen, wanted, "partition {partition}: lost or reordered");
        println!("partition {partition}: {} duplicates", found.len() - wanted.len());
    }
    stop(&mut strait);

    write_records(&pair.at_source().config(), "cloud", &numbered(0, 7_000, 10)).unwrap();
    let skip = ["partitions", "skip", "cloud", "cloud", "0", "--to", "7005", "--yes"];
    let (code, said) = run_to_end("skip", &at_least_once, &skip, SOON);
    assert!(code == Some(0) && said.contains("was at offset 7000 and goes on at 7005"), "{code:?} {said}");
}
