//! A link of a thousand topics and two hundred groups: what it costs while nothing is written, how
//! fast it begins, and how soon a new topic is copied.

use std::time::{Duration, Instant};

use strait_e2e::{ConfigFolder, Isolation, Strait, cpu_us, write_records};

use super::seconds;
use crate::groups::{commit, consumer};
use crate::support::{Ends, Pair, SOON, Turn, copy, link, numbered, record, single, status_kib, stop, wait_until};

const TOPICS: usize = 1_000;
const PARTITIONS: i32 = 4;
const GROUPS: usize = 200;
const NEW_TOPICS: usize = 50;
/// From the creation of a topic until its first record is on the target.
const NEW_TOPIC_MAX: Duration = Duration::from_secs(5);
const START_MAX: Duration = Duration::from_secs(15);
/// A coordinator that follows one that ended without a word waits 8 s, and everything is looked at
/// once, which takes a minute.
const SETTLE: Duration = Duration::from_secs(90);
/// The share of a core that the link's coordinator, its groups and their map may add.
const ADDED_MAX: f64 = 0.04;
const RSS_MIB_MAX: u64 = 400;

/// Runs a link until it is settled, and returns the share of a core that it takes then, and its
/// memory in MiB.
fn at_rest(name: &str, config: &ConfigFolder) -> (f64, u64) {
    let mut strait = Strait::run(name, config, &[]).unwrap();
    std::thread::sleep(SETTLE);
    let cpu = || Duration::from_micros(cpu_us(strait.pid()).unwrap());
    let (began, before) = (Instant::now(), cpu());
    std::thread::sleep(seconds("STRAIT_SOAK_REST_S", 60));
    let share = (cpu() - before).as_secs_f64() / began.elapsed().as_secs_f64();
    let rss_mib = status_kib(&strait, "VmRSS").unwrap() / 1024;
    stop(&mut strait);
    (share, rss_mib)
}

/// The same link without a coordinator and groups: with a control topic that it may not make.
fn without_coordinator(pair: &Pair) -> ConfigFolder {
    pair.at_source().create_topic("bare", 1, &[]).unwrap();
    write_records(&pair.at_source().config(), "bare", &numbered(0, 0, 1)).unwrap();
    copy(&pair.config(&link("bare", &["bare"], 4, "")));
    pair.at_target().delete_topic("strait.bare.control").unwrap();
    pair.config(&link("bare", &["bare", "many\\..*", "born\\..*"], 4, "manage_topics = false\n"))
}

fn first_record_of(pair: &Pair, number: usize) -> Duration {
    let (topic, began) = (format!("born.{number}"), Instant::now());
    pair.at_source().create_topic(&topic, 1, &[]).unwrap();
    write_records(&pair.at_source().config(), &topic, &[record(Some(b"first"), Some(b"record"))]).unwrap();
    let ends = Ends::new(&pair.at_target(), &format!("source.{topic}"), 1);
    wait_until("its first record", SOON, || ends.sum().filter(|sum| *sum > 0));
    began.elapsed()
}

#[test]
#[ignore = "soak: a quarter of an hour; STRAIT_SOAK_REST_S shortens it"]
fn a_thousand_topics_and_two_hundred_groups_cost_little_at_rest_and_hold_up_no_new_topic() {
    let _turn = Turn::alone();
    let pair = Pair::of(single("thousand-source"), single("thousand-target"));
    let source = pair.at_source();
    for number in 0..TOPICS {
        source.create_topic(&format!("many.{number}"), PARTITIONS, &[]).unwrap();
    }
    for number in 0..GROUPS {
        let (group, topic) = (consumer(&source, &format!("idle-{number}")), format!("many.{number}"));
        commit(&group, &topic, &(0..PARTITIONS).map(|partition| (partition, 0)).collect::<Vec<_>>());
    }
    let config = pair.config(&link("thousand", &["many\\..*", "born\\..*"], 4, "groups = [\"idle-.*\"]\n"));

    let (began, mut first) = (Instant::now(), Strait::run("thousand-makes", &config, &[]).unwrap());
    let copies = || {
        let all = pair.at_target().topics().unwrap();
        all.iter().filter(|(name, count)| name.starts_with("source.many.") && *count == 4).count()
    };
    wait_until("all target topics", Duration::from_secs(300), || (copies() == TOPICS).then_some(()));
    println!("{TOPICS} topics x {PARTITIONS} were made in {:.1?}", began.elapsed());
    stop(&mut first);

    write_records(&source.config(), "many.0", &numbered(0, 0, 1)).unwrap();
    let (began, mut strait) = (Instant::now(), Strait::run("thousand-begins", &config, &[]).unwrap());
    let ends = Ends::new(&pair.at_target(), "source.many.0", PARTITIONS);
    wait_until("the first record", 2 * SOON, || ends.sum().filter(|sum| *sum > 0));
    let start = began.elapsed();
    println!("start to first record: {start:.1?}");

    let mut new: Vec<Duration> = (0..NEW_TOPICS).map(|number| first_record_of(&pair, number)).collect();
    new.sort_unstable();
    println!("{NEW_TOPICS} new topics: median {:.1?}, last {:.1?}", new[NEW_TOPICS / 2], new[NEW_TOPICS - 1]);
    stop(&mut strait);

    let bare = without_coordinator(&pair);
    let mut added = Vec::new();
    let mut rss_mib = 0;
    for round in 0..2 {
        let (with, mib) = at_rest(&format!("thousand-{round}"), &config);
        let (without, mib_bare) = at_rest(&format!("bare-{round}"), &bare);
        println!(
            "at rest: {:.2} % of a core, {:.2} % without; {mib} MiB, {mib_bare} MiB",
            with * 100.0,
            without * 100.0
        );
        added.push(with - without);
        rss_mib = rss_mib.max(mib);
    }
    let read = pair.at_target().read_records("source.born.0", Isolation::Committed).unwrap();
    assert_eq!(read.len(), 1);
    assert!(start <= START_MAX, "start to first record took {start:.1?}");
    assert!(new.iter().all(|took| *took <= NEW_TOPIC_MAX), "{new:.1?}");
    assert!(rss_mib <= RSS_MIB_MAX, "{rss_mib} MiB");
    let least = added.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(least <= ADDED_MAX, "{added:?} of a core are added");
}
