//! Consumer groups that a link keeps on the target: a group that moves there reads on with the
//! record that it would have read next, and one that lives there is left alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::RngExt as _;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;
use strait_e2e::{ConfigFolder, Isolation, Record, Strait, TestClient};

use crate::admin::{ADMIN, address_of, get, series};
use crate::support::{Pair, SOON, Turn, link, run_to_end, seeded, single, stop, unix_ms, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);
pub const FILTER: &str = "[[links.plugins]]\nplugin = \"filter\"\nconfig = { keep = { key_prefix = \"key-\" } }\n";

pub fn consumer(client: &TestClient, group: &str) -> BaseConsumer {
    let mut config = client.config();
    config.set("group.id", group).set("enable.auto.commit", "false").set("auto.offset.reset", "latest");
    config.create().unwrap()
}

/// Commits offsets as one who is no member of the group.
pub fn commit(consumer: &BaseConsumer, topic: &str, offsets: &[(i32, i64)]) {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset)).unwrap();
        let mut element = list.find_partition(topic, *partition).unwrap();
        element.set_metadata(format!("at {offset}"));
    }
    consumer.commit(&list, CommitMode::Sync).unwrap();
}

/// Returns what a group has committed in a partition, with its metadata.
pub fn committed(consumer: &BaseConsumer, topic: &str, partition: i32) -> Option<(i64, String)> {
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, partition);
    let found = consumer.committed_offsets(list, PATIENCE).unwrap();
    let found = found.find_partition(topic, partition).unwrap();
    let offset = found.offset().to_raw().filter(|offset| *offset >= 0)?;
    Some((offset, found.metadata().to_owned()))
}

/// Writes so many records to each partition, of which every third is dropped on the way.
pub fn write(pair: &Pair, topic: &str, partitions: i32, from: u64, count: u64) {
    for partition in 0..partitions {
        let one = |number: u64| {
            let word = if number.is_multiple_of(3) { "drop" } else { "key" };
            Record {
                partition,
                offset: -1,
                timestamp: unix_ms(),
                key: Some(format!("{word}-{partition}-{number}").into_bytes()),
                value: Some(b"value".to_vec()),
                headers: Vec::new(),
            }
        };
        let records: Vec<Record> = (from..from + count).map(one).collect();
        pair.at_source().write(topic, &records).unwrap();
    }
}

/// Returns the key that a reader of the source at an offset is to see first on the target.
fn first_kept(source: &[Record], partition: i32, offset: i64) -> Option<Vec<u8>> {
    let kept = source.iter().filter(|r| r.partition == partition && r.offset >= offset);
    let kept = kept.filter(|record| record.key.as_deref().is_some_and(|key| key.starts_with(b"key-")));
    kept.min_by_key(|record| record.offset).and_then(|record| record.key.clone())
}

/// Returns the offset on the target of the record that a reader of the source would read next.
fn place(source: &[Record], target: &[Record], partition: i32, offset: i64) -> i64 {
    let of_partition = || target.iter().filter(|record| record.partition == partition);
    match first_kept(source, partition, offset) {
        Some(key) => of_partition().find(|record| record.key.as_deref() == Some(&key)).unwrap().offset,
        None => of_partition().map(|record| record.offset + 1).max().unwrap(),
    }
}

pub fn groups_list(config: &ConfigFolder, link: &str, group: &str) -> Value {
    let mut strait =
        Strait::start("list", config.path(), &["groups", "list", link, "--group", group, "-o", "json"]).unwrap();
    let code = strait.wait_end(SOON).unwrap().code();
    assert_eq!(code, Some(0), "{}", strait.stderr());
    let all: Value = serde_json::from_str(&strait.stdout()).unwrap();
    all[0].clone()
}

#[test]
fn a_group_that_moves_reads_on_with_the_record_that_it_would_have_read_next() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    pair.at_source().create_topic("kept", 2, &[]).unwrap();
    write(&pair, "kept", 2, 0, 300);
    let source = pair.at_source().read_records("kept", Isolation::Committed).unwrap();
    let mut rng = seeded("kept");
    let mut places: BTreeMap<String, [i64; 2]> =
        [("kept-begin".to_owned(), [0, 0]), ("kept-end".to_owned(), [300, 300]), ("kept-dropped".to_owned(), [3, 297])]
            .into();
    for number in 0..5 {
        places.insert(format!("kept-{number}"), [rng.random_range(0..=300), rng.random_range(0..=300)]);
    }
    let at_source: BTreeMap<&String, BaseConsumer> =
        places.keys().map(|group| (group, consumer(&pair.at_source(), group))).collect();
    for (group, [one, two]) in &places {
        commit(&at_source[group], "kept", &[(0, *one), (1, *two)]);
    }
    commit(&consumer(&pair.at_source(), "others"), "kept", &[(0, 7)]);
    let more = format!("groups = [\"kept-.*\"]\ngroups_exclude = [\"kept-4\"]\n{FILTER}");
    let config = pair.config(&(link("keep", &["kept"], 2, &more) + ADMIN));
    let mut strait = Strait::run("keep", &config, &[]).unwrap();
    let address = address_of(&strait);
    let target = wait_until("all is copied", SOON, || {
        let read = pair.at_target().read_records("source.kept", Isolation::Committed).ok()?;
        (read.len() == 400).then_some(read)
    });
    let at_target = |group: &str| consumer(&pair.at_target(), group);
    let wait_synced = |group: &str, positions: &[i64; 2], target: &[Record], source: &[Record]| {
        let reader = at_target(group);
        let began = Instant::now();
        for partition in 0..2 {
            let position = positions[partition as usize];
            let wanted = (place(source, target, partition, position), format!("at {position}"));
            wait_until(&format!("{group} at {wanted:?}"), SOON, || {
                (committed(&reader, "source.kept", partition)? == wanted).then_some(())
            });
        }
        began.elapsed()
    };
    for (group, positions) in places.iter().filter(|(group, _)| *group != "kept-4") {
        wait_synced(group, positions, &target, &source);
        let listed = groups_list(&config, "keep", group);
        assert_eq!((&listed["owner"], &listed["taken"]), (&"link".into(), &Value::Null), "{listed}");
        for partition in listed["partitions"].as_array().unwrap() {
            assert_eq!(partition["exact"], true, "{listed}");
            assert_eq!(partition["offset"], partition["there"], "{listed}");
        }
    }
    for left_out in ["kept-4", "others"] {
        assert_eq!(committed(&at_target(left_out), "source.kept", 0), None, "{left_out}");
    }

    // They move on, and one goes back; records come meanwhile.
    write(&pair, "kept", 2, 300, 30);
    let source = pair.at_source().read_records("kept", Isolation::Committed).unwrap();
    let target = wait_until("all is copied", SOON, || {
        let read = pair.at_target().read_records("source.kept", Isolation::Committed).ok()?;
        (read.len() == 440).then_some(read)
    });
    for (group, positions) in [("kept-begin", [310, 315]), ("kept-end", [10, 20]), ("kept-0", [330, 331])] {
        commit(&at_source[&group.to_owned()], "kept", &[(0, positions[0]), (1, positions[1])]);
        let took = wait_synced(group, &positions, &target, &source);
        println!("{group} moved on the target after {took:.1?}");
    }
    let labels = "link=\"keep\",source=\"source\",target=\"target\"";
    wait_until("the metric", SOON, || {
        let name = format!("strait_groups{{{labels},state=\"exact\"}}");
        series(&get(&address, "/metrics").1, &name).filter(|exact| *exact >= 6.0)
    });
    assert!(strait.events("group_taken_over").is_empty() && strait.events("translation_fell").is_empty());

    // The consumer itself, as a member of its group.
    let reader = at_target("kept-dropped");
    reader.subscribe(&["source.kept"]).unwrap();
    let mut first: BTreeMap<i32, Vec<u8>> = BTreeMap::new();
    wait_until("it reads both partitions", SOON, || {
        let message = reader.poll(Duration::from_millis(100))?.ok()?;
        first.entry(message.partition()).or_insert_with(|| message.key().unwrap().to_vec());
        (first.len() == 2).then_some(())
    });
    for partition in 0..2 {
        let position = places["kept-dropped"][partition as usize];
        assert_eq!(Some(&first[&partition]), first_kept(&source, partition, position).as_ref());
    }
    stop(&mut strait);
}

#[test]
fn a_group_that_lives_on_the_target_is_left_alone_until_it_is_given_back() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    pair.at_source().create_topic("left", 1, &[]).unwrap();
    write(&pair, "left", 1, 0, 60);
    let source = pair.at_source().read_records("left", Isolation::Committed).unwrap();
    let at_source = |group: &str| consumer(&pair.at_source(), group);
    let at_target = |group: &str| consumer(&pair.at_target(), group);
    for group in ["left-there", "left-moves", "left-active"] {
        commit(&at_source(group), "left", &[(0, 10)]);
    }
    let config = pair.config(&(link("leave", &["left"], 1, &format!("groups = [\"left-.*\"]\n{FILTER}")) + ADMIN));
    let mut strait = Strait::run("leave", &config, &[]).unwrap();
    let address = address_of(&strait);
    let target = wait_until("all is copied", SOON, || {
        let read = pair.at_target().read_records("source.left", Isolation::Committed).ok()?;
        (read.len() == 40).then_some(read)
    });
    let at = |offset: i64| place(&source, &target, 0, offset);
    let there = |group: &str| committed(&at_target(group), "source.left", 0).map(|(offset, _)| offset);
    for group in ["left-there", "left-moves", "left-active"] {
        wait_until("it is kept", SOON, || (there(group) == Some(at(10))).then_some(()));
    }

    // One is a member there, without a commit of its own: it is refused, and retried.
    let member = at_target("left-active");
    member.subscribe(&["source.left"]).unwrap();
    wait_until("it reads", SOON, || member.poll(Duration::from_millis(100))?.ok().map(drop));
    commit(&at_source("left-active"), "left", &[(0, 20)]);
    let labels = "link=\"leave\",source=\"source\",target=\"target\"";
    let in_state = |state: &str| {
        member.poll(Duration::ZERO);
        series(&get(&address, "/metrics").1, &format!("strait_groups{{{labels},state=\"{state}\"}}"))
    };
    wait_until("it counts as active", SOON, || (in_state("active") == Some(1.0)).then_some(()));
    assert_eq!(there("left-active"), Some(at(10)));
    drop(member);
    wait_until("it is kept again", SOON, || (there("left-active") == Some(at(20))).then_some(()));

    // Another one reads on there and leaves.
    let own = at(31);
    commit(&at_target("left-moves"), "source.left", &[(0, own)]);
    commit(&at_source("left-moves"), "left", &[(0, 40)]);
    strait.wait_line("it is the target's", SOON, |line| line.is_event("group_taken_over")).unwrap();
    commit(&at_source("left-moves"), "left", &[(0, 50)]);
    commit(&at_source("left-there"), "left", &[(0, 50)]);
    wait_until("others are kept", SOON, || (there("left-there") == Some(at(50))).then_some(()));
    assert_eq!(there("left-moves"), Some(own));
    let listed = groups_list(&config, "leave", "left-moves");
    assert_eq!((&listed["owner"], &listed["partitions"][0]["there"]), (&"target".into(), &own.into()), "{listed}");
    assert!(listed["taken"].as_str().unwrap().contains("has not written"), "{listed}");

    // It stays so in another process, until somebody gives it back.
    stop(&mut strait);
    let mut strait = Strait::run("leave-again", &config, &[]).unwrap();
    commit(&at_source("left-there"), "left", &[(0, 20)]);
    wait_until("others are kept, back too", SOON, || (there("left-there") == Some(at(20))).then_some(()));
    assert_eq!(there("left-moves"), Some(own));
    let resync = |group: &str| run_to_end("resync", &config, &["groups", "resync", "leave", "--group", group], SOON);
    let (code, said) = resync("left-nobody");
    assert!(code == Some(1) && said.contains("knows no group 'left-nobody'"), "{said}");
    commit(&at_source("left-moves"), "left", &[(0, 5)]);
    let (code, said) = resync("left-moves");
    assert!(code == Some(0) && said.contains("given back"), "{said}");
    wait_until("it is kept again", SOON, || (there("left-moves") == Some(at(5))).then_some(()));
    assert_eq!(groups_list(&config, "leave", "left-moves")["owner"], "link");
    stop(&mut strait);
}

/// Groups move all the time, so that a process that is stopped at any moment is stopped between its
/// comparison and its write now and then.
#[test]
fn a_process_that_was_stopped_moves_no_group_that_has_moved_meanwhile() {
    const GROUPS: usize = 20;
    const ROUNDS: usize = 4;
    let _turn = Turn::alone();
    let pair = Pair::shared();
    pair.at_source().create_topic("still", 1, &[]).unwrap();
    write(&pair, "still", 1, 0, 3000);
    let config = pair.config(&link("still", &["still"], 1, &format!("groups = [\"still-.*\"]\n{FILTER}")));
    let strait = Strait::run("still", &config, &[]).unwrap();
    wait_until("all is copied", SOON, || {
        (pair.at_target().read_records("source.still", Isolation::Committed).ok()?.len() == 2000).then_some(())
    });
    let mut rng = seeded("still");
    let mut strait = strait;
    for round in 0..ROUNDS {
        let names: Vec<String> = (0..GROUPS).map(|number| format!("still-{round}-{number}")).collect();
        let source: Vec<BaseConsumer> = names.iter().map(|name| consumer(&pair.at_source(), name)).collect();
        let target: Vec<BaseConsumer> = names.iter().map(|name| consumer(&pair.at_target(), name)).collect();
        let stopped = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::clone(&stopped);
        let moving = std::thread::spawn(move || {
            for step in 1_i64.. {
                for consumer in &source {
                    commit(consumer, "still", &[(0, 3 * step)]);
                }
                if is_stopped.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        for reader in &target {
            wait_until("it is kept", SOON, || committed(reader, "source.still", 0).map(drop));
        }
        std::thread::sleep(Duration::from_millis(rng.random_range(0..1500)));
        strait.pause().unwrap();
        // What it has sent arrives, on a busy machine some time later.
        let there = || -> Vec<_> { target.iter().map(|reader| committed(reader, "source.still", 0)).collect() };
        wait_until("nothing is on its way", SOON, || {
            let before = there();
            std::thread::sleep(Duration::from_millis(500));
            (before == there()).then_some(())
        });
        for reader in &target {
            commit(reader, "source.still", &[(0, 1999)]);
        }
        std::thread::sleep(Duration::from_secs(if round == 0 { 30 } else { 6 }));
        strait.resume().unwrap();
        let began = Instant::now();
        loop {
            let taken = strait.events("group_taken_over").len();
            if taken >= (round + 1) * GROUPS {
                break;
            }
            let status = std::fs::read_to_string(format!("/proc/{}/status", strait.pid())).unwrap_or_default();
            let state = status.lines().find(|line| line.starts_with("State:"));
            assert!(began.elapsed() < 2 * SOON, "round {round}: {taken} are the target's, the process is {state:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        stopped.store(true, Ordering::Relaxed);
        moving.join().unwrap();
        let found: Vec<Option<i64>> =
            target.iter().map(|reader| committed(reader, "source.still", 0).map(|(offset, _)| offset)).collect();
        assert_eq!(found, vec![Some(1999); GROUPS], "round {round}");
    }
    stop(&mut strait);
}

/// Brokers forget the offsets of a group without members after `offsets.retention.minutes`.
#[test]
#[ignore = "soak: three minutes"]
fn an_offset_that_the_target_forgets_is_back_within_seconds_whoever_coordinates() {
    let _turn = Turn::waiting();
    let target = single("forgets-target").with_property("offsets.retention.minutes", "1");
    let target = target.with_property("offsets.retention.check.interval.ms", "5000");
    let pair = Pair::of(single("forgets-source"), target);
    pair.at_source().create_topic("forgotten", 1, &[]).unwrap();
    write(&pair, "forgotten", 1, 0, 30);
    commit(&consumer(&pair.at_source(), "quiet"), "forgotten", &[(0, 20)]);
    let config = pair.config(&link("forgets", &["forgotten"], 1, &format!("groups = [\"quiet\"]\n{FILTER}")));
    let mut strait = Strait::run("forgets", &config, &[]).unwrap();
    let reader = consumer(&pair.at_target(), "quiet");
    let place = wait_until("kept", SOON, || committed(&reader, "source.forgotten", 0));
    let (began, mut seen, mut missing, mut longest) = (Instant::now(), Instant::now(), 0, Duration::ZERO);
    let (mut was_there, mut is_next) = (true, false);
    while began.elapsed() < Duration::from_secs(170) {
        if began.elapsed() > Duration::from_secs(80) && !is_next {
            is_next = true;
            stop(&mut strait);
            strait = Strait::run("forgets-next", &config, &[]).unwrap();
        }
        match committed(&reader, "source.forgotten", 0) {
            Some(found) => {
                assert_eq!(found, place);
                longest = longest.max(seen.elapsed());
                (seen, was_there) = (Instant::now(), true);
            }
            None => {
                missing += u32::from(was_there);
                was_there = false;
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    println!("forgotten {missing} times, missing for {longest:.1?} at most");
    assert!(missing >= 1, "the target has not forgotten it");
    assert!(longest.max(seen.elapsed()) <= Duration::from_secs(35), "{longest:?}");
    stop(&mut strait);
}

/// Returns group, partition and metadata of a commit as brokers store it, if it is one.
fn stored_commit(key: &[u8], value: &[u8]) -> Option<(String, i32, String)> {
    let text = |bytes: &[u8], at: usize| {
        let length = usize::try_from(i16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?)).ok()?;
        let end = at + 2 + length;
        Some((String::from_utf8(bytes.get(at + 2..end)?.to_vec()).ok()?, end))
    };
    if key.get(..2)? > &[0, 1][..] {
        return None;
    }
    let (group, at) = text(key, 2)?;
    let (_, at) = text(key, at)?;
    let partition = i32::from_be_bytes(key.get(at..at + 4)?.try_into().ok()?);
    // Version, offset and leader epoch come first.
    let (metadata, _) = text(value, 14)?;
    Some((group, partition, metadata))
}

/// How long after its commit on the source each offset is on the target, by the brokers' clocks.
#[test]
#[ignore = "measures for some minutes"]
fn two_hundred_groups_of_twenty_partitions_follow_within_seconds() {
    const GROUPS: usize = 200;
    const PARTITIONS: i32 = 20;
    let _turn = Turn::alone();
    let pair = Pair::shared();
    pair.at_source().create_topic("fresh", PARTITIONS, &[]).unwrap();
    write(&pair, "fresh", PARTITIONS, 0, 600);
    let config = pair.config(&(link("fresh", &["fresh"], 2, &format!("groups = [\"fresh-.*\"]\n{FILTER}")) + ADMIN));
    let mut strait = Strait::run("fresh", &config, &[]).unwrap();
    let address = address_of(&strait);
    let readers: Vec<BaseConsumer> =
        (0..GROUPS).map(|number| consumer(&pair.at_source(), &format!("fresh-{number}"))).collect();
    let move_all = |which: &[usize], to: i64| -> BTreeMap<String, i64> {
        let places: Vec<(i32, i64)> = (0..PARTITIONS).map(|partition| (partition, to)).collect();
        let commit = |number: &usize| {
            commit(&readers[*number], "fresh", &places);
            (format!("fresh-{number}"), unix_ms())
        };
        which.iter().map(commit).collect()
    };
    let all: Vec<usize> = (0..GROUPS).collect();
    move_all(&all, 1);
    let labels = "link=\"fresh\",source=\"source\",target=\"target\"";
    let exact = || series(&get(&address, "/metrics").1, &format!("strait_groups{{{labels},state=\"exact\"}}"));
    let written = || series(&get(&address, "/metrics").1, &format!("strait_group_offsets_written_total{{{labels}}}"));
    wait_until("all are kept", 2 * SOON, || {
        (exact() == Some(GROUPS as f64) && written() >= Some((GROUPS as f64) * f64::from(PARTITIONS))).then_some(())
    });
    let measure = |rounds: &[(i64, BTreeMap<String, i64>)], what: &str| {
        let read = pair.at_target().read_records("__consumer_offsets", Isolation::Uncommitted).unwrap();
        let mut took: Vec<i64> = Vec::new();
        for record in &read {
            let (Some(key), Some(value)) = (&record.key, &record.value) else { continue };
            let Some((group, _, metadata)) = stored_commit(key, value) else { continue };
            let moved = rounds.iter().find(|(to, _)| metadata == format!("at {to}"));
            took.extend(moved.and_then(|(_, moved)| moved.get(&group)).map(|at| record.timestamp - at));
        }
        took.sort_unstable();
        let count = took.len();
        println!("{what}: {count} offsets, median {} ms, last {} ms", took[count / 2], took[count - 1]);
        (took[count / 2], took[count - 1])
    };
    let mut rounds = Vec::new();
    for round in 0..20_i64 {
        let which: Vec<usize> = (0..20).map(|index| (index * 7 + round as usize) % GROUPS).collect();
        let to = 10 + round * 3;
        rounds.push((to, move_all(&which, to)));
        std::thread::sleep(Duration::from_millis(1500));
    }
    std::thread::sleep(Duration::from_secs(5));
    let (median, last) = measure(&rounds, "20 of 200 groups move");
    let mut rounds = Vec::new();
    for round in 0..3_i64 {
        let to = 100 + round * 3;
        rounds.push((to, move_all(&all, to)));
        std::thread::sleep(Duration::from_secs(12));
    }
    let (_, last_of_all) = measure(&rounds, "all 200 groups move");
    assert!(median <= 1000 && last <= 3000 && last_of_all <= 8000);
    stop(&mut strait);
}
