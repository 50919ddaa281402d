//! Faults of the source: recreated topics, retention, transactions that never end.

use std::time::{Duration, Instant};

use rdkafka::producer::Producer as _;
use strait_e2e::{ConfigFolder, Isolation, Strait, TestClient};

use crate::support::{
    Pair, SOON, Turn, copy, key_range, keys, link, open_transaction, stop, wait_event, wait_until, write_numbered,
};

/// Deletes a topic and creates another one of the same name, with records numbered from 1000.
fn recreate(client: &TestClient, topic: &str, count: u64) {
    client.delete_topic(topic).unwrap();
    client.create_topic(topic, 1, &[]).unwrap();
    write_numbered(client, topic, 0, 1000, count);
}

/// Two links over topics of the same kinds: `PREFIX-stop` stops at a gap and `PREFIX-go` goes on.
struct Gaps {
    pair: Pair,
    config: ConfigFolder,
    prefix: &'static str,
}

impl Gaps {
    /// Creates the topics, with 100 records in each partition, and copies them.
    fn copied(prefix: &'static str, recreated: &[&str], others: &[&str]) -> Self {
        let pair = Pair::shared();
        let source = pair.at_source();
        let mut links = String::new();
        for (way, more) in [("stop", ""), ("go", "on_gap = \"continue\"")] {
            let name = format!("{prefix}-{way}");
            for topic in recreated {
                source.create_topic(&format!("{name}-{topic}"), 1, &[]).unwrap();
                write_numbered(&source, &format!("{name}-{topic}"), 0, 0, 100);
            }
            for topic in others {
                source.create_topic(&format!("{name}-{topic}"), 2, &[]).unwrap();
                write_numbered(&source, &format!("{name}-{topic}"), 0, 0, 100);
                write_numbered(&source, &format!("{name}-{topic}"), 1, 0, 100);
            }
            links.push_str(&link(&name, &[&format!("{name}-.*")], 2, more));
        }
        let config = pair.config(&links);
        copy(&config);
        Self { pair, config, prefix }
    }

    fn links(&self) -> [String; 2] {
        ["stop", "go"].map(|way| format!("{}-{way}", self.prefix))
    }

    fn read(&self, topic: &str, partition: i32) -> Vec<String> {
        let records = self.pair.at_target().read_records(&format!("source.{topic}"), Isolation::Committed).unwrap();
        keys(&records, partition)
    }

    #[track_caller]
    fn wait_read(&self, topic: &str, partition: i32, wanted: Vec<String>) {
        let mut found = Vec::new();
        let began = Instant::now();
        while found != wanted {
            let ends = |keys: &[String]| (keys.len(), keys.first().cloned(), keys.last().cloned());
            assert!(began.elapsed() < SOON, "{topic}-{partition}: {:?}, not {:?}", ends(&found), ends(&wanted));
            found = self.read(topic, partition);
        }
    }

    /// Both links discover the new incarnations while they run; the one that goes on copies them.
    fn wait_recreated_live(&self, strait: &Strait, recreated: &[(&str, u64)]) {
        for (topic, count) in recreated {
            for link in self.links() {
                let event = wait_event(strait, &link, "topic_recreated", &format!("{link}-{topic}-0"));
                assert!(event.message().ends_with("copied up to offset 100"), "{}", event.text);
            }
            let topic = format!("{}-go-{topic}", self.prefix);
            self.wait_read(&topic, 0, [key_range(0, 100), key_range(1000, *count)].concat());
        }
    }

    /// A new process reports the new incarnations of the link that stops at the same offsets; the
    /// other link has all of them.
    fn wait_recreated_after_start(&self, strait: &Strait, recreated: &[(&str, u64)]) {
        for (topic, count) in recreated {
            let (stop, go) = (format!("{}-stop-{topic}", self.prefix), format!("{}-go-{topic}", self.prefix));
            let event = wait_event(strait, &format!("{}-stop", self.prefix), "topic_recreated", &format!("{stop}-0"));
            assert!(event.message().ends_with("copied up to offset 100"), "{}", event.text);
            self.wait_read(&go, 0, [key_range(0, 100), key_range(1000, *count)].concat());
        }
    }

    /// Partitions that stopped have nothing of what came after.
    fn assert_stopped(&self, recreated: &[(&str, u64)]) {
        for (topic, _) in recreated {
            let topic = format!("{}-stop-{topic}", self.prefix);
            assert_eq!(self.read(&topic, 0), key_range(0, 100), "{topic}");
        }
    }
}

/// Shorter and longer than the position of the link.
const RECREATED: [(&str, u64); 2] = [("shorter", 30), ("longer", 250)];

#[test]
fn a_topic_recreated_while_the_link_runs_stops_its_partition_or_is_copied_as_policy_says() {
    let _turn = Turn::beside_another();
    let gaps = Gaps::copied("live", &RECREATED.map(|(topic, _)| topic), &["steady"]);
    let source = gaps.pair.at_source();
    let mut strait = Strait::run("live", &gaps.config, &[]).unwrap();
    for link in gaps.links() {
        write_numbered(&source, &format!("{link}-steady"), 0, 100, 10);
        gaps.wait_read(&format!("{link}-steady"), 0, key_range(0, 110));
        // A process that is suspended meanwhile finds a log in which its position exists.
        strait.pause().unwrap();
        for (topic, count) in RECREATED {
            recreate(&source, &format!("{link}-{topic}"), count);
        }
        strait.resume().unwrap();
        write_numbered(&source, &format!("{link}-steady"), 0, 110, 10);
    }
    gaps.wait_recreated_live(&strait, &RECREATED);
    for link in gaps.links() {
        gaps.wait_read(&format!("{link}-steady"), 0, key_range(0, 120));
    }
    stop(&mut strait);

    for link in gaps.links() {
        write_numbered(&source, &format!("{link}-steady"), 0, 120, 10);
    }
    let strait = Strait::run("after", &gaps.config, &[]).unwrap();
    gaps.wait_recreated_after_start(&strait, &RECREATED);
    for link in gaps.links() {
        write_numbered(&source, &format!("{link}-steady"), 0, 130, 10);
        gaps.wait_read(&format!("{link}-steady"), 0, key_range(0, 140));
    }
    gaps.assert_stopped(&RECREATED);
}

#[test]
fn topics_recreated_and_records_deleted_before_a_start_stop_their_partition_or_are_skipped_as_policy_says() {
    let _turn = Turn::beside_another();
    let gaps = Gaps::copied("idle", &RECREATED.map(|(topic, _)| topic), &["retained", "steady"]);
    let source = gaps.pair.at_source();
    for link in gaps.links() {
        for (topic, count) in RECREATED {
            recreate(&source, &format!("{link}-{topic}"), count);
        }
        for partition in 0..2 {
            write_numbered(&source, &format!("{link}-retained"), partition, 100, 50);
        }
        source.delete_records(&format!("{link}-retained"), 0, 120).unwrap();
        write_numbered(&source, &format!("{link}-steady"), 0, 100, 10);
    }
    let strait = Strait::run("after", &gaps.config, &[]).unwrap();
    gaps.wait_recreated_after_start(&strait, &RECREATED);
    let gone = "next offset 100, but the log starts at 120; 20 records are gone";
    for link in gaps.links() {
        let event = wait_event(&strait, &link, "retention_overrun", &format!("{link}-retained-0"));
        assert!(event.message().contains(gone), "{}", event.text);
    }
    let resumed = wait_event(&strait, "idle-go", "resumed", "idle-go-retained-0");
    assert!(resumed.message().contains("offset 120"), "{}", resumed.text);
    gaps.wait_read("idle-go-retained", 0, [key_range(0, 100), key_range(120, 30)].concat());
    for link in gaps.links() {
        gaps.wait_read(&format!("{link}-retained"), 1, key_range(0, 150));
        write_numbered(&source, &format!("{link}-steady"), 0, 110, 10);
        gaps.wait_read(&format!("{link}-steady"), 0, key_range(0, 120));
    }
    gaps.assert_stopped(&RECREATED);
    assert_eq!(gaps.read("idle-stop-retained", 0), key_range(0, 100));
}

#[test]
fn a_transaction_that_never_ends_is_reported_and_holds_up_only_its_partition() {
    const REPORTED_AFTER: Duration = Duration::from_secs(10);
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    let source = pair.at_source();
    source.create_topic("hanging", 2, &[]).unwrap();
    write_numbered(&source, "hanging", 0, 0, 30);
    let producer = open_transaction(&source, "hanging");
    let open = Instant::now();
    write_numbered(&source, "hanging", 0, 30, 30);

    let config = pair.config(&link("hanging", &["hanging"], 1, "hanging_transaction_s_max = 10"));
    let strait = Strait::run("hanging", &config, &[]).unwrap();
    let read =
        |partition| keys(&pair.at_target().read_records("source.hanging", Isolation::Committed).unwrap(), partition);
    pair.wait_target_topic("source.hanging");
    write_numbered(&source, "hanging", 1, 0, 30);
    wait_until("copied up to the transaction", SOON, || (read(0) == key_range(0, 30)).then_some(()));
    wait_until("the other partition copied", SOON, || (read(1) == key_range(0, 30)).then_some(()));
    let named = strait.wait_line("the hanging transaction", SOON, |line| line.is_event("hanging_transaction")).unwrap();
    println!("reported {:.1?} after it began: {}", named.at - open, named.message());
    assert!(named.at - open >= REPORTED_AFTER, "reported too early");
    assert!(named.message().starts_with("hanging-0:") && named.message().contains("offset 30;"), "{}", named.text);
    write_numbered(&source, "hanging", 1, 30, 30);
    wait_until("the other partition copied on", SOON, || (read(1) == key_range(0, 60)).then_some(()));
    assert_eq!(read(0), key_range(0, 30));
    assert_eq!(strait.events("hanging_transaction").len(), 1, "reported more than once");

    producer.abort_transaction(SOON).unwrap();
    wait_until("copied on once the transaction ended", SOON, || (read(0) == key_range(0, 60)).then_some(()));
}
