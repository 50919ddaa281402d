//! `strait offsets translate`: a group that moves to the target reads on with exactly the record
//! that it would have read next.

use std::time::Duration;

use rand::RngExt as _;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;
use strait_e2e::{ConfigFolder, GeneratorSpec, Isolation, Record, Strait, TestClient, generate};
use strait_test_cluster::KafkaJars;

use crate::support::{COPIED, Pair, Turn, copy, link, numbered, records, run_to_end, seeded};

/// Commits offsets for a group without members.
fn commit(client: &TestClient, group: &str, topic: &str, offsets: &[(i32, i64)]) {
    let consumer: BaseConsumer = client.config().set("group.id", group).create().unwrap();
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset)).unwrap();
    }
    consumer.commit(&list, CommitMode::Sync).unwrap();
}

fn committed(client: &TestClient, group: &str, topic: &str, partition: i32) -> Option<i64> {
    let consumer: BaseConsumer = client.config().set("group.id", group).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, partition);
    let found = consumer.committed_offsets(list, Duration::from_secs(20)).unwrap();
    found.elements().first().and_then(|element| element.offset().to_raw()).filter(|offset| *offset >= 0)
}

fn translate(config: &ConfigFolder, arguments: &[&str]) -> (Option<i32>, String, String) {
    let all = [&["offsets", "translate"], arguments].concat();
    let mut strait = Strait::start("translate", config.path(), &all).unwrap();
    let code = strait.wait_end(COPIED).unwrap().code();
    (code, strait.stdout(), strait.stderr())
}

/// Returns the answers as source partition, target offset and whether it is exact.
fn answers(config: &ConfigFolder, arguments: &[&str]) -> Vec<(i64, Option<i64>, bool, Value)> {
    let (_, out, err) = translate(config, &[arguments, &["-o", "json"]].concat());
    let answers: Vec<Value> = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
    let answers = answers.into_iter().map(|answer| {
        let to = &answer["to"];
        (to["partition"].as_i64().unwrap(), to["offset"].as_i64(), answer["exact"].as_bool().unwrap(), answer)
    });
    answers.collect()
}

/// Returns the first record of a partition at or after an offset.
fn first_from(records: &[Record], partition: i32, offset: i64) -> Option<&Record> {
    records.iter().filter(|record| record.partition == partition && record.offset >= offset).min_by_key(|r| r.offset)
}

#[test]
fn groups_continue_on_the_target_with_the_record_that_they_would_read_next() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    pair.at_source().create_topic("translated", 3, &[]).unwrap();
    let spec =
        GeneratorSpec { transaction_records_max: 200, ..GeneratorSpec::new("translated", 3, records(30_000), 9) };
    assert!(generate(&pair.at_source().config(), &spec).unwrap().transactions_aborted > 0);
    let filter = "[[links.plugins]]\nplugin = \"filter\"\nconfig = { keep = { key_prefix = \"key-1\" } }";
    let config = pair.config(&link("translate", &["translated"], 2, filter));
    let (code, said) = run_to_end("never", &config, &["offsets", "translate", "translate", "--group", "g"], COPIED);
    assert!(code == Some(1) && said.contains("group 'g' has committed no offset"), "{said}");
    copy(&config);

    let source = pair.at_source().read_records("translated", Isolation::Committed).unwrap();
    let target = pair.at_target().read_records("source.translated", Isolation::Committed).unwrap();
    let kept: Vec<Record> = source
        .into_iter()
        .filter(|record| record.key.as_deref().is_some_and(|key| key.starts_with(b"key-1")))
        .collect();
    let ends: Vec<i64> = (0..3)
        .map(|partition| pair.at_source().offsets("translated", partition, Isolation::Committed).unwrap().1)
        .collect();
    let mut rng = seeded("translated");
    for round in 0..8 {
        let group = format!("translated-{round}");
        let places: Vec<(i32, i64)> = (0..3)
            .map(|partition| {
                let end = ends[partition as usize];
                // At 0, caught up, and anywhere: on kept, dropped and aborted records, markers.
                let offset = match round {
                    0 => 0,
                    1 => end,
                    _ => rng.random_range(0..=end),
                };
                (partition, offset)
            })
            .collect();
        commit(&pair.at_source(), &group, "translated", &places);
        let found = answers(&config, &["translate", "--group", &group]);
        assert_eq!(found.len(), 3, "{found:?}");
        let mut moved = Vec::new();
        for (partition, offset, exact, answer) in found {
            let (partition, offset) = (partition as i32, offset.unwrap());
            let position = places[partition as usize].1;
            assert!(exact, "{answer}");
            let next = first_from(&kept, partition, position).map(|record| record.summary().content);
            let read = first_from(&target, partition, offset).map(|record| record.summary().content);
            assert_eq!(next, read, "{group}: {answer}");
            // Nothing that is left there comes before it.
            let before = target.iter().filter(|record| record.partition == partition && record.offset < offset).count();
            let wanted = kept.iter().filter(|record| record.partition == partition && record.offset < position).count();
            assert_eq!(before, wanted, "{group}: {answer}");
            moved.push((partition, offset));
        }
        // And back: nothing between is read twice or skipped.
        commit(&pair.at_target(), &group, "source.translated", &moved);
        for (partition, offset, exact, answer) in answers(&config, &["translate", "--group", &group, "--inverse"]) {
            let (partition, offset) = (partition as i32, offset.unwrap());
            let place = |record: Option<&Record>| record.map(|record| record.offset);
            let position = places[partition as usize].1;
            assert!(exact, "{answer}");
            assert_eq!(
                place(first_from(&kept, partition, offset)),
                place(first_from(&kept, partition, position)),
                "{answer}"
            );
        }
    }
    kafka_takes_the_file(&pair, &config);
    let one = ["translate", "--topic", "translated", "--partition", "1", "--offset"];
    let (code, csv, said) = translate(&config, &[&one[..], &["999999999", "-o", "csv"]].concat());
    assert!(code == Some(0) && csv.starts_with("source.translated,1,"), "{csv}{said}");
    assert!(said.contains(": not exact yet; ahead of the link by") && !said.contains(": exact"), "{said}");
    for (arguments, why) in [
        (
            &["translate", "--topic", "nowhere", "--partition", "0", "--offset", "1"][..],
            "has copied nothing of these topics of the source: nowhere",
        ),
        (&["other", "--group", "g"], "there are: translate"),
        (&["translate"], "--group"),
        (&["translate", "--topic", "translated"], "--partition"),
    ] {
        let (code, _, said) = translate(&config, arguments);
        assert!(code != Some(0) && said.contains(why), "{arguments:?}: {said}");
    }
}

/// Kafka's own tool reads the file and sets the group's offsets on the target.
fn kafka_takes_the_file(pair: &Pair, config: &ConfigFolder) {
    let (code, csv, said) = translate(config, &["translate", "--group", "translated-4", "-o", "csv"]);
    assert!(code == Some(0) && said.is_empty() && csv.lines().count() == 3, "{csv}{said}");
    config.write("offsets.csv", &csv).unwrap();
    let jars = KafkaJars::locate().unwrap();
    let output = std::process::Command::new("java")
        .args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
        .arg(jars.class_path())
        .args(["org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--bootstrap-server"])
        .arg(pair.at_target().config().get("bootstrap.servers").unwrap())
        .args(["--group", "moved", "--reset-offsets", "--execute", "--from-file"])
        .arg(config.path().join("offsets.csv"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    for line in csv.lines() {
        let fields: Vec<&str> = line.split(',').collect();
        let set = committed(&pair.at_target(), "moved", fields[0], fields[1].parse().unwrap());
        assert_eq!(set, fields[2].parse().ok(), "{line}");
    }
}

#[test]
fn a_group_that_reads_one_of_two_topics_merged_into_one_gets_no_answer() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    for number in 0..2_u64 {
        let topic = format!("joined-{number}");
        pair.at_source().create_topic(&topic, 1, &[]).unwrap();
        pair.at_source().write(&topic, &numbered(0, number * 1000, 100)).unwrap();
    }
    let into_one = "merge_topics = true\n[[links.plugins]]\nplugin = \"rename\"\n\
                    config = { pattern = \"joined-[0-9]\", replacement = \"joined\", merge = true }\n";
    let config = pair.config(&link("join", &["joined-.*"], 1, into_one));
    copy(&config);
    commit(&pair.at_source(), "joined", "joined-0", &[(0, 60)]);
    let (code, out, _) = translate(&config, &["join", "--group", "joined"]);
    assert!(code == Some(1) && out.contains("no_commit: records of joined-1-0 are also there"), "{out}");
    commit(&pair.at_source(), "joined", "joined-1", &[(0, 30)]);
    let found = answers(&config, &["join", "--group", "joined"]);
    let (_, offset, exact, answer) = &found[0];
    let copies = pair.at_target().read_records("source.joined", Isolation::Committed).unwrap();
    // The record number stands in the key: topic times 1000 and offset.
    let number = |record: &Record| String::from_utf8_lossy(record.key.as_deref().unwrap()).parse::<i64>().unwrap();
    let is_new = |record: &&Record| number(record) % 1000 >= if number(record) < 1000 { 60 } else { 30 };
    let first = copies.iter().filter(is_new).map(|record| record.offset).min();
    assert_eq!(*offset, first, "{answer}");
    let again = copies.iter().filter(|record| record.offset >= first.unwrap() && !is_new(record)).count();
    assert_eq!((*exact, answer["re_reads"].as_u64()), (again == 0, Some(again as u64)), "{answer}");
    // A reader of one topic alone has its place.
    let (code, out, _) = translate(&config, &["join", "--topic", "joined-0", "--partition", "0", "--offset", "60"]);
    assert!(code == Some(0) && out.contains(": exact"), "{out}");
}
