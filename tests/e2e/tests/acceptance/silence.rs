//! No standstill without a word: whatever does not move is an event, a state, a metric and a line
//! of the probe, and what is not known is shown as unknown.

use std::time::Duration;

use serde_json::Value;
use strait_e2e::{LogLine, Strait, write_records};
use strait_test_cluster::Cluster;

use crate::admin::{address_of, get, series};
use crate::support::{Ends, Pair, SOON, Turn, link, now, numbered, single, wait_until};

/// Deadline of what is reported within 45 s, on a busy machine.
const REPORTED: Duration = Duration::from_secs(60);
const ADMIN: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n";

fn status(address: &str) -> Value {
    let (code, body) = get(address, "/api/v1/status");
    assert_eq!(code, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[track_caller]
fn wait_event(strait: &Strait, event: &str, part: &str) -> String {
    let is = |line: &LogLine| line.is_event(event) && line.message().contains(part);
    let line = strait.wait_line(&format!("{event} with {part}"), REPORTED, is).unwrap();
    println!("{event}: {}", line.message());
    line.message().to_owned()
}

fn copied(pair: &Pair, topic: &str, partitions: i32, wanted: i64) {
    pair.wait_target_topic(topic);
    let ends = Ends::new(&pair.at_target(), topic, partitions);
    wait_until(&format!("{topic} copied"), SOON, || ends.sum().filter(|sum| *sum >= wanted));
}

#[test]
fn a_dead_source_is_not_ready_and_its_lag_is_unknown_until_it_answers_again() {
    let _turn = Turn::beside_another();
    let source = now(Cluster::start(single("silent-source"))).unwrap();
    let pair = Pair { source: source.into(), target: Pair::shared().target };
    pair.at_source().create_topic("silent", 2, &[]).unwrap();
    for partition in 0..2 {
        write_records(&pair.at_source().config(), "silent", &numbered(partition, 0, 100)).unwrap();
    }
    let config = pair.config(&format!("{}{ADMIN}", link("silent", &["silent"], 1, "")));
    let mut strait = Strait::run("silent", &config, &[]).unwrap();
    let address = address_of(&strait);
    copied(&pair, "source.silent", 2, 200);
    let labels = "link=\"silent\",source=\"source\",target=\"target\"";
    let lag = |page: &str| series(page, &format!("strait_lag_records{{{labels},topic=\"silent\"}}"));
    let reachable = |page: &str| series(page, &format!("strait_cluster_reachable{{{labels},side=\"source\"}}"));
    wait_until("no lag", SOON, || (lag(&get(&address, "/metrics").1) == Some(0.0)).then_some(()));
    wait_until("ready", SOON, || (get(&address, "/readyz").0 == 200).then_some(()));
    assert_eq!(status(&address)["links"][0]["lag"]["records"], 0);

    pair.source.broker(0).unwrap().kill().unwrap();
    wait_event(&strait, "source_unreachable", "the source has not answered for");
    let (code, missing) = get(&address, "/readyz");
    assert!(code == 503 && missing.contains("its source cluster source has not answered for"), "{code} {missing}");
    let page = wait_until("an unknown lag", REPORTED, || {
        let page = get(&address, "/metrics").1;
        lag(&page).is_none().then_some(page)
    });
    let unknown = series(&page, &format!("strait_lag_unknown_partitions{{{labels},topic=\"silent\"}}"));
    assert_eq!((reachable(&page), unknown), (Some(0.0), Some(2.0)), "{page}");
    assert_eq!(series(&page, "strait_ready"), Some(0.0));
    let shown = status(&address);
    assert_eq!(shown["links"][0]["lag"]["records"], Value::Null, "{shown}");
    assert_eq!(shown["links"][0]["unreachable"][0]["cluster"], "source", "{shown}");
    // All is copied, but nobody knows what came since then.
    wait_event(&strait, "standing_still", "the source does not answer");
    let standing = wait_until("the state", SOON, || {
        let shown = status(&address);
        (shown["links"][0]["standing_still"].as_array().unwrap().len() == 2).then_some(shown)
    });
    println!("{}", standing["links"][0]["standing_still"]);
    let page = get(&address, "/metrics").1;
    assert_eq!(series(&page, &format!("strait_partitions_standing_still{{{labels}}}")), Some(2.0), "{page}");

    now(pair.source.broker(0).unwrap().restart()).unwrap();
    wait_event(&strait, "source_reachable", "answers again");
    wait_event(&strait, "moves_again", "silent-");
    wait_until("ready again", SOON, || (get(&address, "/readyz").0 == 200).then_some(()));
    wait_until("its lag again", SOON, || (lag(&get(&address, "/metrics").1) == Some(0.0)).then_some(()));
    strait.terminate().unwrap();
    assert_eq!(strait.wait_end(SOON).unwrap().code(), Some(0), "{}", strait.stderr());
}

/// Runs `strait check`; returns its exit code and what it printed.
fn run_check(folder: &std::path::Path) -> (Option<i32>, String) {
    let binary = Strait::binary().unwrap();
    let output = std::process::Command::new(binary).args(["check", "-c", "strait.toml"]).current_dir(folder).output();
    let output = output.unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.code(), text)
}

#[test]
fn a_target_without_transactions_is_named_with_its_settings_and_the_link_goes_on_once_they_are_mended() {
    const SETTINGS: [&str; 2] = ["transaction.state.log.replication.factor", "transaction.state.log.min.isr"];
    let _turn = Turn::beside_another();
    // Kafka's defaults, on one broker.
    let defaults = single("untransacted").with_property(SETTINGS[0], "3").with_property(SETTINGS[1], "2");
    let target = now(Cluster::start(defaults)).unwrap();
    let pair = Pair { source: Pair::shared().source, target: target.into() };
    for topic in ["waits", "plain"] {
        pair.at_source().create_topic(topic, 1, &[]).unwrap();
        write_records(&pair.at_source().config(), topic, &numbered(0, 0, 100)).unwrap();
    }
    let plain = link("plain", &["plain"], 1, "delivery = \"at-least-once\"");
    let config = pair.config(&format!("{}{plain}{ADMIN}", link("waits", &["waits"], 1, "")));
    let mut strait = Strait::run("waits", &config, &[]).unwrap();
    let address = address_of(&strait);
    let restarted = wait_event(&strait, "lane_restarted", SETTINGS[0]);
    assert!(restarted.contains(SETTINGS[1]) && restarted.contains("at-least-once"), "{restarted}");
    let (code, missing) = get(&address, "/readyz");
    assert!(code == 503 && SETTINGS.iter().all(|setting| missing.contains(setting)), "{code} {missing}");
    let standing = wait_event(&strait, "standing_still", SETTINGS[0]);
    assert!(standing.contains("waits-0: has not moved for") && standing.contains("lane 0"), "{standing}");
    let (code, checked) = run_check(config.path());
    assert!(code == Some(1) && SETTINGS.iter().all(|setting| checked.contains(setting)), "{code:?} {checked}");
    copied(&pair, "source.plain", 1, 100);

    // Mended on the broker, the link goes on by itself.
    let file = pair.target.folder().join("broker-1.properties");
    let text = std::fs::read_to_string(&file).unwrap();
    let mended = text.replace(&format!("{}=3", SETTINGS[0]), &format!("{}=1", SETTINGS[0]));
    std::fs::write(&file, mended.replace(&format!("{}=2", SETTINGS[1]), &format!("{}=1", SETTINGS[1]))).unwrap();
    pair.target.broker(0).unwrap().kill().unwrap();
    now(pair.target.broker(0).unwrap().restart()).unwrap();
    copied(&pair, "source.waits", 1, 100);
    wait_event(&strait, "moves_again", "waits-0");
    wait_until("ready", SOON, || (get(&address, "/readyz").0 == 200).then_some(()));
    strait.terminate().unwrap();
    assert_eq!(strait.wait_end(SOON).unwrap().code(), Some(0), "{}", strait.stderr());
}
