//! A target partition that cannot be written to holds up no other partition, and one of progress is
//! reported.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use strait_e2e::{Isolation, Strait, TestClient};
use strait_test_cluster::ClusterSpec;

use crate::admin::{ADMIN, address_of, status};
use crate::support::{
    Feed, Pair, Pulse, SOON, Turn, key_range, link, now, single, wait_event, wait_until, write_numbered,
};

/// Returns what is wrong with the lane of the link `plain`, by the API.
fn trouble_of_plain(address: &str) -> String {
    let status = status(address);
    let plain = status["links"].as_array().unwrap().iter().find(|link| link["name"] == "plain").unwrap();
    plain["lanes"][0]["trouble"].as_str().unwrap_or_default().to_owned()
}

/// Returns how many replicas each partition of a topic has.
fn replicas_of(client: &TestClient, topic: &str) -> Vec<usize> {
    let consumer: BaseConsumer = client.config().create().unwrap();
    let found = consumer.fetch_metadata(Some(topic), SOON).unwrap();
    found.topics()[0].partitions().iter().map(|partition| partition.replicas().len()).collect()
}

#[test]
fn a_partition_below_min_isr_is_taken_out_and_loses_nothing() {
    let _turn = Turn::waiting();
    let three = ClusterSpec { heap_mb: 320, ..ClusterSpec::new("isr-target") }.with_brokers(3);
    let pair = Pair::of(single("isr-source"), three);
    pair.at_source().create_topic("orders", 3, &[]).unwrap();
    // Without broker 1 partition 0 has one of the two replicas that it needs; the others do not
    // know broker 1.
    let replicas: [&[i32]; 3] = [&[1, 2], &[2, 3], &[3, 2]];
    let min_isr = [("min.insync.replicas", "2")];
    pair.at_target().create_topic_on("source.orders", &replicas, &min_isr).unwrap();
    // The same for the progress of a link without transactions.
    pair.at_source().create_topic("plain", 1, &[]).unwrap();
    pair.at_target().create_topic_on("source.plain", &replicas[1..2], &min_isr).unwrap();
    let compacted = [min_isr[0], ("cleanup.policy", "compact")];
    pair.at_target().create_topic_on("strait.plain.progress", &replicas[..1], &compacted).unwrap();
    write_numbered(&pair.at_source(), "plain", 0, 0, 50);
    let feed = Feed::start(&pair.at_source(), "orders", 3, 50);
    // One lane: the partitions share transactions.
    let plain = link("plain", &["plain"], 1, "delivery = \"at-least-once\"");
    let config = pair.config(&format!("{}{plain}{ADMIN}", link("isr", &["orders"], 1, "")));
    let mut strait = Strait::run("isr", &config, &[]).unwrap();
    let address = address_of(&strait);
    pair.wait_keys("source.plain", 0, &key_range(0, 50));
    assert_eq!(replicas_of(&pair.at_target(), "strait.isr.progress"), [3], "as many as there are brokers, up to three");
    let pulse = Pulse::start(&pair.at_target(), "source.orders", 3);
    pulse.wait_moved(&[0, 1, 2], SOON);

    pulse.mark();
    let killed = Instant::now();
    pair.target.broker(0).unwrap().kill().unwrap();
    write_numbered(&pair.at_source(), "plain", 0, 50, 50);
    let stuck = strait
        .wait_line("target_stuck for orders-0", SOON, |line| {
            line.is_event("target_stuck") && line.message().starts_with("orders-0:")
        })
        .unwrap();
    println!("target_stuck {:.1?} after the broker's death: {}", stuck.at - killed, stuck.message());
    // Records and not offsets: the markers of aborted transactions move those too.
    let copied = || {
        let log = pair.at_target().read_log("source.orders", Isolation::Committed).unwrap();
        [0, 1, 2].map(|partition| log.iter().filter(|record| record.partition == partition).count())
    };
    let goes_on = |by: usize, within: Duration| {
        let from = copied();
        wait_until("more records beside it", within, || {
            let now = copied();
            (now[1] >= from[1] + by && now[2] >= from[2] + by).then_some(())
        });
    };
    // Kafka has to elect other leaders, and the lane has to find the stuck partition.
    goes_on(1, SOON);
    println!(
        "the other partitions continue {:.1?} after the broker's death: {:.1?}",
        killed.elapsed(),
        pulse.longest()
    );
    // Without long pauses, although partition 0 is retried from time to time.
    let began = copied();
    pulse.mark();
    let known = Instant::now();
    goes_on(1_000, SOON);
    let longest = pulse.longest();
    println!("longest standstill by partition while it is out: {longest:.1?}");
    assert!(longest[1].max(longest[2]) < Duration::from_secs(5), "the others stopped for too long: {longest:?}");
    let others = ["orders-1:", "orders-2:"];
    let named = strait.events("target_stuck").into_iter().filter(|line| line.at > known);
    let named: Vec<_> = named.filter(|line| others.iter().any(|other| line.message().starts_with(other))).collect();
    assert!(named.is_empty(), "{named:?}");
    let late = wait_event(&strait, "plain", "progress_stuck", "lane 0");
    assert!(late.message().contains("min.insync.replicas"), "{}", late.message());
    pair.wait_keys("source.plain", 0, &key_range(0, 100));
    assert!(trouble_of_plain(&address).starts_with("lane 0: the target has not acknowledged its progress"));
    // A new process finds ids whose transactions cannot end. It waits 35 s before it may leave one
    // aside, and then has to find the stuck partition.
    strait.kill().unwrap();
    let restarted = Instant::now();
    let again = Strait::run("isr again", &config, &[]).unwrap();
    goes_on(500, SOON * 2);
    println!("a new process has copied 500 of each beside it {:.1?} after its start", restarted.elapsed());
    assert_eq!(copied()[0], began[0], "partition 0 was written to: the fault has no effect");

    let restarted = Instant::now();
    now(pair.target.broker(0).unwrap().restart()).unwrap();
    println!("the broker is back after {:.1?}", restarted.elapsed());
    pulse.wait_moved(&[0], Duration::from_secs(150));
    println!("partition 0 moves {:.1?} after the broker came back", restarted.elapsed());
    let count = i64::try_from(feed.stop()).unwrap();
    // Markers of transactions that could not end move it too. Its records come with the next retry,
    // within a minute.
    wait_until("everything copied", SOON * 3, || (copied().iter().sum::<usize>() as i64 >= 3 * count).then_some(()));
    // What was copied without progress is copied again, and then no more.
    wait_until("the progress written", SOON, || {
        let keys = pair.keys("source.plain", 0);
        key_range(0, 100).iter().all(|key| keys.contains(key)).then_some(())
    });
    let address = address_of(&again);
    wait_until("no trouble", SOON, || trouble_of_plain(&address).is_empty().then_some(()));
    pair.assert_exact("orders", "source.orders", &Default::default());
}
