//! The source is not what it was: recreated topics, retention, transactions that never end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use strait_e2e::{Isolation, LogLine, Strait, TestClient, write_records};

use crate::support::{Pair, SOON, copy, key_range, keys, link, numbered, turn, wait_until};

fn write(client: &TestClient, topic: &str, partition: i32, first: u64, count: u64) {
    write_records(&client.config(), topic, &numbered(partition, first, count)).unwrap();
}

/// Deletes a topic and makes another one of the same name, with records numbered from 1000.
fn recreate(client: &TestClient, topic: &str, count: u64) {
    client.delete_topic(topic).unwrap();
    client.create_topic(topic, 1, &[]).unwrap();
    write(client, topic, 0, 1000, count);
}

/// Waits for an event of the link `stop` about `place`.
#[track_caller]
fn wait_event(strait: &Strait, link: &str, event: &str, place: &str) -> LogLine {
    let is = |line: &LogLine| {
        line.is_event(event) && line.field("link") == Some(link) && line.message().starts_with(&format!("{place}:"))
    };
    let line = strait.wait_line(&format!("{event} for {place}"), SOON, is).unwrap();
    println!("{}", line.message());
    line
}

/// How many records of the new incarnation the event says were copied under the old one: none where it is shorter than the old
/// position, at most what it has beyond that position where it is longer.
fn copied_in_between(message: &str, count: u64) -> u64 {
    let text = message.split("copied up to offset ").nth(1).and_then(|rest| rest.split(' ').next());
    let position: u64 = text.and_then(|text| text.parse().ok()).expect(message);
    let between = position.checked_sub(100).expect(message);
    assert!(between <= count.saturating_sub(100), "{message}");
    between
}

#[test]
fn recreated_topics_and_retention_stop_their_partition_or_continue_where_policy_says() {
    let _turn = turn();
    let pair = Pair::start("gaps");
    let (source, target) = (pair.at_source(), pair.at_target());
    // The same topics twice: for the link that stops, and for the one that goes on.
    let recreated = [("live-shorter", 30), ("live-longer", 250), ("idle-shorter", 30), ("idle-longer", 250)];
    for link in ["stop", "go"] {
        for (topic, _) in recreated {
            source.create_topic(&format!("{link}-{topic}"), 1, &[]).unwrap();
            write(&source, &format!("{link}-{topic}"), 0, 0, 100);
        }
        for topic in ["retained", "steady"] {
            source.create_topic(&format!("{link}-{topic}"), 2, &[]).unwrap();
            write(&source, &format!("{link}-{topic}"), 0, 0, 100);
            write(&source, &format!("{link}-{topic}"), 1, 0, 100);
        }
    }
    let links = [link("stop", &["stop-.*"], 2, ""), link("go", &["go-.*"], 2, "on_gap = \"continue\"")];
    let config = pair.config(&links.concat());
    copy(&config);
    let read = |topic: &str, partition| {
        keys(&target.read_records(&format!("source.{topic}"), Isolation::Committed).unwrap(), partition)
    };
    let wait_read = |topic: &str, partition, wanted: Vec<String>| {
        let mut found = Vec::new();
        let began = Instant::now();
        while found != wanted {
            let ends = |keys: &[String]| (keys.len(), keys.first().cloned(), keys.last().cloned());
            assert!(began.elapsed() < SOON, "{topic}-{partition}: {:?}, not {:?}", ends(&found), ends(&wanted));
            found = read(topic, partition);
        }
    };

    // What the event says was copied of a new incarnation before it was known as one: a topic that is already longer than the
    // old position, under the same leader epoch, is told apart by its id only, which is looked at every few seconds.
    let mut between: BTreeMap<String, u64> = BTreeMap::new();
    let old = |between: &BTreeMap<String, u64>, topic: &str| {
        [key_range(0, 100), key_range(1100, between.get(topic).copied().unwrap_or(0))].concat()
    };

    // While Strait runs.
    let mut strait = Strait::run("live", &config, &[]).unwrap();
    for link in ["stop", "go"] {
        write(&source, &format!("{link}-steady"), 0, 100, 10);
        wait_read(&format!("{link}-steady"), 0, key_range(0, 110));
        for (topic, count) in recreated.into_iter().filter(|(topic, _)| topic.starts_with("live")) {
            recreate(&source, &format!("{link}-{topic}"), count);
        }
        write(&source, &format!("{link}-steady"), 0, 110, 10);
    }
    for (topic, count) in recreated.into_iter().filter(|(topic, _)| topic.starts_with("live")) {
        let event = wait_event(&strait, "stop", "topic_recreated", &format!("stop-{topic}-0"));
        between.insert(format!("stop-{topic}"), copied_in_between(event.message(), count));
        let event = wait_event(&strait, "go", "topic_recreated", &format!("go-{topic}-0"));
        between.insert(format!("go-{topic}"), copied_in_between(event.message(), count));
        wait_read(&format!("go-{topic}"), 0, [old(&between, &format!("go-{topic}")), key_range(1000, count)].concat());
    }
    for link in ["stop", "go"] {
        wait_read(&format!("{link}-steady"), 0, key_range(0, 120));
    }
    strait.terminate().unwrap();
    assert_eq!(strait.wait_end(SOON).unwrap().code(), Some(0));

    // While it does not.
    for link in ["stop", "go"] {
        for (topic, count) in recreated.into_iter().filter(|(topic, _)| topic.starts_with("idle")) {
            recreate(&source, &format!("{link}-{topic}"), count);
        }
        for partition in 0..2 {
            write(&source, &format!("{link}-retained"), partition, 100, 50);
        }
        source.delete_records(&format!("{link}-retained"), 0, 120).unwrap();
        write(&source, &format!("{link}-steady"), 0, 120, 10);
    }
    let strait = Strait::run("after", &config, &[]).unwrap();
    for (topic, count) in recreated {
        let event = wait_event(&strait, "stop", "topic_recreated", &format!("stop-{topic}-0"));
        let stopped_at = 100 + between.get(&format!("stop-{topic}")).copied().unwrap_or(0);
        assert!(event.message().contains(&format!("offset {stopped_at} ")), "{}", event.text);
        wait_read(&format!("go-{topic}"), 0, [old(&between, &format!("go-{topic}")), key_range(1000, count)].concat());
    }
    let gone = "next offset 100, but the log starts at 120; 20 records are gone";
    for link in ["stop", "go"] {
        let event = wait_event(&strait, link, "retention_overrun", &format!("{link}-retained-0"));
        assert!(event.message().contains(gone), "{}", event.text);
    }
    let resumed = wait_event(&strait, "go", "resumed", "go-retained-0");
    assert!(resumed.message().contains("offset 120"), "{}", resumed.text);
    wait_read("go-retained", 0, [key_range(0, 100), key_range(120, 30)].concat());
    for link in ["stop", "go"] {
        wait_read(&format!("{link}-retained"), 1, key_range(0, 150));
        write(&source, &format!("{link}-steady"), 0, 130, 10);
        wait_read(&format!("{link}-steady"), 0, key_range(0, 140));
    }
    // What stopped has nothing of what came after.
    for (topic, _) in recreated {
        let topic = format!("stop-{topic}");
        assert_eq!(read(&topic, 0), old(&between, &topic), "{topic}");
    }
    assert_eq!(read("stop-retained", 0), key_range(0, 100));
}

#[test]
fn a_transaction_that_never_ends_is_named_and_holds_up_its_partition_only() {
    const TOLD_AFTER: Duration = Duration::from_secs(10);
    let _turn = turn();
    let pair = Pair::start("hanging");
    let source = pair.at_source();
    source.create_topic("orders", 2, &[]).unwrap();
    write(&source, "orders", 0, 0, 30);
    let producer: BaseProducer =
        source.config().set("transactional.id", "never-ends").set("transaction.timeout.ms", "600000").create().unwrap();
    producer.init_transactions(SOON).unwrap();
    producer.begin_transaction().unwrap();
    producer.send(BaseRecord::to("orders").partition(0).key("open").payload("open")).unwrap();
    producer.flush(SOON).unwrap();
    let open = Instant::now();
    write(&source, "orders", 0, 30, 30);

    let config = pair.config(&link("hanging", &["orders"], 1, "hanging_transaction_s_max = 10"));
    let strait = Strait::run("hanging", &config, &[]).unwrap();
    let read =
        |partition| keys(&pair.at_target().read_records("source.orders", Isolation::Committed).unwrap(), partition);
    wait_until("the target topic made", SOON, || {
        pair.at_target().topics().unwrap().iter().any(|(topic, _)| topic == "source.orders").then_some(())
    });
    write(&source, "orders", 1, 0, 30);
    wait_until("copied up to the transaction", SOON, || (read(0) == key_range(0, 30)).then_some(()));
    wait_until("the other partition copied", SOON, || (read(1) == key_range(0, 30)).then_some(()));
    let named = strait.wait_line("the hanging transaction", SOON, |line| line.is_event("hanging_transaction")).unwrap();
    println!("told {:.1?} after it began: {}", named.at - open, named.message());
    assert!(named.at - open >= TOLD_AFTER, "told too early");
    assert!(named.message().starts_with("orders-0:") && named.message().contains("offset 30;"), "{}", named.text);
    write(&source, "orders", 1, 30, 30);
    wait_until("the other partition copied on", SOON, || (read(1) == key_range(0, 60)).then_some(()));
    assert_eq!(read(0), key_range(0, 30));
    assert_eq!(strait.events("hanging_transaction").len(), 1, "told more than once");

    producer.abort_transaction(SOON).unwrap();
    wait_until("copied on once the transaction ended", SOON, || (read(0) == key_range(0, 60)).then_some(()));
}
