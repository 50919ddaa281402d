//! No standstill without a word: whatever does not move is an event, a state, a metric and a line
//! of the probe, and what is not known is shown as unknown.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use serde_json::Value;
use strait_e2e::{LogLine, Strait, write_records};
use strait_test_cluster::Cluster;

use crate::admin::{ADMIN, address_of, get, series, status};
use crate::support::{Ends, Pair, SOON, Turn, link, now, numbered, run_to_end, single, stop, wait_until};

/// Deadline of what is reported within 45 s, on a busy machine.
const REPORTED: Duration = Duration::from_secs(60);

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

/// A source of three brokers, each with a partition that no other has, and a link that has copied
/// them.
struct Silent {
    pair: Pair,
    strait: Strait,
    address: String,
}

impl Silent {
    const LABELS: &str = "link=\"silent\",source=\"source\",target=\"target\"";

    fn start() -> Self {
        let alone = single("silent-source").with_brokers(3).with_property("default.replication.factor", "1");
        let source = now(Cluster::start(alone.with_property("min.insync.replicas", "1"))).unwrap();
        let pair = Pair { source: source.into(), target: Pair::shared().target };
        pair.at_source().create_topic("silent", 3, &[]).unwrap();
        (0..3).for_each(|partition| {
            write_records(&pair.at_source().config(), "silent", &numbered(partition, 0, 100)).unwrap();
        });
        let config = pair.config(&format!("{}{ADMIN}", link("silent", &["silent"], 1, "")));
        let strait = Strait::run("silent", &config, &[]).unwrap();
        let address = address_of(&strait);
        copied(&pair, "source.silent", 3, 300);
        Self { pair, strait, address }
    }

    fn page(&self) -> String {
        get(&self.address, "/metrics").1
    }

    fn of_topic(page: &str, name: &str) -> Option<f64> {
        series(page, &format!("{name}{{{},topic=\"silent\"}}", Self::LABELS))
    }

    fn reachable(page: &str) -> Option<f64> {
        series(page, &format!("strait_cluster_reachable{{{},side=\"source\"}}", Self::LABELS))
    }

    fn standing(&self) -> Vec<Value> {
        status(&self.address)["links"][0]["standing_still"].as_array().unwrap().clone()
    }

    fn wait_well(&self) {
        wait_until("no lag", REPORTED, || {
            (Self::of_topic(&self.page(), "strait_lag_records") == Some(0.0)).then_some(())
        });
        wait_until("ready", REPORTED, || (get(&self.address, "/readyz").0 == 200).then_some(()));
        assert_eq!(status(&self.address)["links"][0]["lag"]["records"], 0);
    }
}

#[test]
fn a_partition_without_a_leader_hides_no_other_and_a_dead_source_is_neither_ready_nor_without_lag() {
    let _turn = Turn::waiting();
    let mut silent = Silent::start();
    silent.wait_well();

    // One broker: its partition cannot be asked, and the two others go on as before.
    silent.pair.source.broker(2).unwrap().kill().unwrap();
    let standing = wait_event(&silent.strait, "standing_still", "the source gives no log bounds of it");
    let still: Vec<Value> = silent.standing();
    assert!(still.len() == 1 && still[0]["reason"].as_str().unwrap().contains("no log bounds"), "{still:?}");
    let lost = i32::try_from(still[0]["partition"].as_i64().unwrap()).unwrap();
    assert!(standing.contains(&format!("silent-{lost}: has not moved for")), "{standing}");
    for partition in (0..3).filter(|partition| *partition != lost) {
        write_records(&silent.pair.at_source().config(), "silent", &numbered(partition, 100, 100)).unwrap();
    }
    copied(&silent.pair, "source.silent", 3, 500);
    let page = wait_until("the lag of the others", REPORTED, || {
        let page = silent.page();
        (Silent::of_topic(&page, "strait_lag_records") == Some(0.0)).then_some(page)
    });
    assert_eq!(Silent::of_topic(&page, "strait_lag_unknown_partitions"), Some(1.0), "{page}");
    assert_eq!(series(&page, &format!("strait_partitions_standing_still{{{}}}", Silent::LABELS)), Some(1.0), "{page}");
    assert_eq!((Silent::reachable(&page), get(&silent.address, "/readyz").0), (Some(1.0), 200), "{page}");

    // The others answer, also while they elect a controller.
    assert!(silent.strait.events("source_unreachable").is_empty(), "{:?}", silent.strait.events("source_unreachable"));

    // All of them.
    (0..2).for_each(|broker| silent.pair.source.broker(broker).unwrap().kill().unwrap());
    wait_event(&silent.strait, "source_unreachable", "the source has not answered for");
    wait_until("a source that is not ready", REPORTED, || {
        let (code, missing) = get(&silent.address, "/readyz");
        (code == 503 && missing.contains("its source cluster source has not answered for")).then_some(())
    });
    let page = wait_until("an unknown lag", REPORTED, || {
        let page = silent.page();
        Silent::of_topic(&page, "strait_lag_records").is_none().then_some(page)
    });
    assert_eq!(Silent::of_topic(&page, "strait_lag_unknown_partitions"), Some(3.0), "{page}");
    assert_eq!((Silent::reachable(&page), series(&page, "strait_ready")), (Some(0.0), Some(0.0)), "{page}");
    let shown = status(&silent.address);
    assert_eq!(shown["links"][0]["lag"]["records"], Value::Null, "{shown}");
    assert_eq!(shown["links"][0]["unreachable"][0]["cluster"], "source", "{shown}");

    now(async {
        let [first, second, third] = [0, 1, 2].map(|broker| silent.pair.source.broker(broker).unwrap().restart());
        let (first, second, third) = tokio::join!(first, second, third);
        first.and(second).and(third).unwrap();
    });
    wait_event(&silent.strait, "source_reachable", "answers again");
    wait_event(&silent.strait, "moves_again", &format!("silent-{lost}"));
    silent.wait_well();
    stop(&mut silent.strait);
}

/// Writes 100 records into each partition.
fn write(pair: &Pair, topic: &str, partitions: i32, first: u64) {
    for partition in 0..partitions {
        write_records(&pair.at_source().config(), topic, &numbered(partition, first, 100)).unwrap();
    }
}

/// A member of a link's group that is no Strait: the lanes that it has nobody moves.
struct Foreign {
    leaving: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Foreign {
    /// Joins and waits until it has a lane.
    fn join(pair: &Pair, link: &str) -> Self {
        let mut config = pair.at_target().config();
        config.set("group.id", format!("strait.{link}"));
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config.set("session.timeout.ms", "10000");
        let consumer: BaseConsumer = config.create().unwrap();
        consumer.subscribe(&[&format!("strait.{link}.progress")]).unwrap();
        let leaving = Arc::new(AtomicBool::new(false));
        let (sender, joined) = std::sync::mpsc::sync_channel(1);
        let until = Arc::clone(&leaving);
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Acquire) {
                drop(consumer.poll(Duration::from_millis(100)));
                if consumer.assignment().is_ok_and(|assigned| assigned.count() > 0) {
                    sender.try_send(()).ok();
                }
            }
        });
        joined.recv_timeout(SOON).unwrap();
        Self { leaving, thread: Some(thread) }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.leaving.store(true, Ordering::Release);
        self.thread.take().map(JoinHandle::join);
    }
}

#[test]
fn a_target_without_transactions_is_named_with_its_settings_and_the_link_continues_once_they_are_mended() {
    const SETTINGS: [&str; 2] = ["transaction.state.log.replication.factor", "transaction.state.log.min.isr"];
    let _turn = Turn::waiting();
    // Kafka's defaults, on one broker.
    let defaults = single("untransacted").with_property(SETTINGS[0], "3").with_property(SETTINGS[1], "2");
    let target = now(Cluster::start(defaults)).unwrap();
    let pair = Pair { source: Pair::shared().source, target: target.into() };
    for (topic, partitions) in [("waits", 1), ("waits-plain", 4)] {
        pair.at_source().create_topic(topic, partitions, &[]).unwrap();
        write(&pair, topic, partitions, 0);
    }
    let plain = link("waits-plain", &["waits-plain"], 2, "delivery = \"at-least-once\"");
    let config = pair.config(&format!("{}{plain}{ADMIN}", link("waits", &["waits"], 1, "")));
    let mut strait = Strait::run("waits", &config, &[]).unwrap();
    let address = address_of(&strait);
    copied(&pair, "source.waits-plain", 4, 400);
    let foreign = Foreign::join(&pair, "waits-plain");
    write(&pair, "waits-plain", 4, 100);
    let restarted = wait_event(&strait, "lane_restarted", SETTINGS[0]);
    assert!(restarted.contains(SETTINGS[1]) && restarted.contains("at-least-once"), "{restarted}");
    let (code, missing) = get(&address, "/readyz");
    assert!(code == 503 && SETTINGS.iter().all(|setting| missing.contains(setting)), "{code} {missing}");
    let standing = wait_event(&strait, "standing_still", SETTINGS[0]);
    assert!(standing.contains("waits-0: has not moved for") && standing.contains("lane 0"), "{standing}");
    let (code, checked) = run_to_end("check", &config, &["check", "-c", "strait.toml"], SOON);
    assert!(code == Some(1) && SETTINGS.iter().all(|setting| checked.contains(setting)), "{code:?} {checked}");
    wait_event(&strait, "standing_still", "no process of the link moves lane");
    drop(foreign);
    copied(&pair, "source.waits-plain", 4, 800);

    // Mended on the broker, the link continues.
    let file = pair.target.folder().join("broker-1.properties");
    let text = std::fs::read_to_string(&file).unwrap();
    let mended = text.replace(&format!("{}=3", SETTINGS[0]), &format!("{}=1", SETTINGS[0]));
    std::fs::write(&file, mended.replace(&format!("{}=2", SETTINGS[1]), &format!("{}=1", SETTINGS[1]))).unwrap();
    pair.target.broker(0).unwrap().kill().unwrap();
    now(pair.target.broker(0).unwrap().restart()).unwrap();
    copied(&pair, "source.waits", 1, 100);
    wait_event(&strait, "moves_again", "waits-0");
    wait_until("ready", SOON, || (get(&address, "/readyz").0 == 200).then_some(()));

    // A target that is away is no more silent than a source.
    pair.target.broker(0).unwrap().pause().unwrap();
    wait_event(&strait, "target_unreachable", "the target has not answered for");
    // The event may be that of the outage before.
    wait_until("not ready", SOON, || {
        let (code, missing) = get(&address, "/readyz");
        (code == 503 && missing.contains("its target cluster target has not answered for")).then_some(())
    });
    let reachable = |page: &str, side: &str| {
        let labels = format!("link=\"waits\",source=\"source\",target=\"target\",side=\"{side}\"");
        series(page, &format!("strait_cluster_reachable{{{labels}}}"))
    };
    // The other link may have told it first.
    wait_until("the metric", REPORTED, || {
        let page = get(&address, "/metrics").1;
        ((reachable(&page, "source"), reachable(&page, "target")) == (Some(1.0), Some(0.0))).then_some(())
    });
    pair.target.broker(0).unwrap().resume().unwrap();
    wait_event(&strait, "target_reachable", "answers again");
    wait_until("ready again", REPORTED, || (get(&address, "/readyz").0 == 200).then_some(()));

    // Nothing can be committed any more: the drain takes its time, and a second signal ends it.
    pair.target.broker(0).unwrap().pause().unwrap();
    write_records(&pair.at_source().config(), "waits", &numbered(0, 100, 1000)).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    strait.terminate().unwrap();
    strait.wait_line("the drain", SOON, |line| line.message().starts_with("stopping: ")).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert!(strait.poll_end().unwrap().is_none(), "it drains");
    let began = Instant::now();
    strait.terminate().unwrap();
    assert_eq!(strait.wait_end(SOON).unwrap().code(), Some(130), "{}", strait.stderr());
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    pair.target.broker(0).unwrap().resume().unwrap();
}
