//! Topics that Strait creates on the target: as their source topics are, or as far as the target
//! allows. What it refuses stops nothing else.

use std::sync::Arc;
use std::time::Duration;

use strait_e2e::{Isolation, Record, Strait, TestClient};
use strait_test_cluster::Cluster;
use tempfile::TempDir;

use crate::support::{
    Pair, SOON, Turn, compiled_java, copy, key_range, link, now, numbered, run_to_end, settings, single, unix_ms,
    wait_until, write_numbered,
};

const DAY_MS: i64 = 24 * 3600 * 1000;

/// The shared source, and a target that deletes after 7 days, looks every second and has a policy.
fn pair(policy: &TempDir) -> Pair {
    let mut target = single("strict-target")
        .with_property("log.retention.ms", (7 * DAY_MS).to_string())
        .with_property("log.retention.check.interval.ms", "1000")
        .with_property("log.initial.task.delay.ms", "500")
        .with_property("create.topic.policy.class.name", "Policy");
    target.class_path = vec![policy.path().to_owned()];
    Pair { source: Pair::shared().source, target: Arc::new(now(Cluster::start(target)).unwrap()) }
}

#[track_caller]
fn assert_settings(client: &TestClient, topic: &str, wanted: &[(&str, &str)]) {
    let found = settings(client, topic);
    for (name, value) in wanted {
        assert_eq!(found.get(*name).map(String::as_str), Some(*value), "{name} of {topic}");
    }
}

/// Returns records of 30 days ago, numbered from 0.
fn aged(count: u64) -> Vec<Record> {
    let timestamp = unix_ms() - 30 * DAY_MS;
    numbered(0, 0, count).into_iter().map(|record| Record { timestamp, ..record }).collect()
}

fn create(client: &TestClient, topic: &str, settings: &[(&str, &str)], records: &[Record]) {
    client.create_topic(topic, 1, settings).unwrap();
    client.write(topic, records).unwrap();
}

/// Waits until the target has deleted what is older than its own retention.
#[track_caller]
fn wait_for_retention(client: &TestClient) {
    create(client, "canary", &[], &aged(3));
    wait_until("the retention of the target at work", SOON, || {
        let (first, end) = client.offsets("canary", 0, Isolation::Committed).unwrap();
        (first == end && end == 3).then_some(())
    });
    // Every log is looked at in the same run, but one of them is the first.
    std::thread::sleep(Duration::from_secs(2));
}

#[test]
fn target_topics_live_as_long_as_their_source_topics_and_policies_take_only_what_can_be_spared() {
    let _turn = Turn::beside_another();
    let policy = compiled_java("Policy.java");
    let pair = pair(&policy);
    let (source, target) = (pair.at_source(), pair.at_target());
    create(&source, "ways.compacted", &[("cleanup.policy", "compact"), ("max.message.bytes", "2000000")], &aged(23));
    let short = (40 * DAY_MS).to_string();
    create(&source, "ways.kept", &[("retention.ms", &short), ("retention.bytes", "1000000")], &aged(23));
    // The source's broker keeps everything: this topic has no setting of its own.
    create(&source, "ways.default", &[], &aged(23));
    create(&source, "ways.fewsettings", &[("delete.retention.ms", "1000")], &aged(23));
    create(&source, "ways.forbidden", &[], &aged(23));
    let few = link("fewsettings", &["ways\\..*"], 1, "topics_exclude = [\"ways\\\\.forbidden\"]");
    let config = pair.config(&few);
    let strait = copy(&config);
    wait_for_retention(&target);
    for topic in ["compacted", "kept", "default", "fewsettings"] {
        assert_eq!(pair.keys(&format!("source.ways.{topic}"), 0), key_range(0, 23), "{topic}");
    }
    assert_settings(
        &target,
        "source.ways.compacted",
        &[("cleanup.policy", "compact"), ("max.message.bytes", "2000000"), ("message.timestamp.type", "CreateTime")],
    );
    assert_settings(&target, "source.ways.kept", &[("retention.ms", &short), ("retention.bytes", "1000000")]);
    assert_settings(&target, "source.ways.default", &[("retention.ms", "-1"), ("cleanup.policy", "delete")]);
    // The policy refused two settings and got neither, and the rest is as it must be.
    let left_out = strait.events("settings_left_out");
    assert_eq!(left_out.len(), 1, "{left_out:?}");
    for part in ["source.ways.fewsettings", "delete.retention.ms, retention.bytes", "may not be set"] {
        assert!(left_out[0].message().contains(part), "{}", left_out[0].message());
    }
    assert_settings(&target, "source.ways.fewsettings", &[("retention.ms", "-1"), ("max.message.bytes", "1048588")]);
    assert_settings(&target, "strait.fewsettings.progress", &[("cleanup.policy", "compact")]);
    assert_settings(&target, "strait.fewsettings.map", &[("retention.ms", &(90 * DAY_MS).to_string())]);

    // A rule about one setting costs that setting alone.
    let config = pair.config(&link("bigsegments", &["ways\\.kept", "ways\\.forbidden"], 1, ""));
    let strait = Strait::run("strict", &config, &[]).unwrap();
    let refused = strait.wait_line("the refusal", SOON, |line| line.is_event("target_topic_refused")).unwrap();
    assert!(refused.message().contains("ways.forbidden-0") && refused.message().contains("no such topics here"));
    wait_until("the other topic copied", SOON, || (pair.keys("source.ways.kept", 0).len() == 46).then_some(()));
    assert_settings(&target, "strait.bigsegments.progress", &[("max.compaction.lag.ms", "3600000")]);
    assert!(strait.events("lane_restarted").is_empty(), "{:?}", strait.events("lane_restarted"));
}

#[test]
fn a_topic_that_cannot_be_created_or_grown_stops_alone_and_is_found_by_check() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    let (source, target) = (pair.at_source(), pair.at_target());
    target.create_topic("a_collides", 1, &[]).unwrap();
    source.create_topic("a.collides", 1, &[]).unwrap();
    source.create_topic("a-steady", 1, &[]).unwrap();
    source.create_topic("a-grows", 2, &[]).unwrap();
    target.create_topic("a-grows", 2, &[]).unwrap();
    target.create_topic("a-steady", 1, &[]).unwrap();
    let links = [
        link("collides", &["a\\.collides", "a-steady"], 1, "naming = \"identity\""),
        link("grows", &["a-grows"], 1, "naming = \"identity\"\nmanage_topics = false"),
    ];
    for (topic, policy) in [("progress", "compact"), ("map", "delete")] {
        target.create_topic(&format!("strait.grows.{topic}"), 1, &[("cleanup.policy", policy)]).unwrap();
    }
    let config = pair.config(&links.concat());

    let (code, text) = run_to_end("check", &config, &["check", "-c", "strait.toml"], SOON);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("a.collides") && text.contains("a_collides"), "{text}");

    let strait = Strait::run("collides", &config, &[]).unwrap();
    write_numbered(&source, "a.collides", 0, 0, 50);
    write_numbered(&source, "a-steady", 0, 0, 50);
    let refused = strait.wait_line("the refusal", SOON, |line| line.is_event("target_topic_refused")).unwrap();
    println!("{}", refused.message());
    assert!(refused.message().contains("a.collides-0") && refused.message().contains("a_collides"));
    pair.wait_keys("a-steady", 0, &key_range(0, 50));

    // Partitions with a counterpart go on while a new one has none.
    write_numbered(&source, "a-grows", 0, 0, 10);
    pair.wait_keys("a-grows", 0, &key_range(0, 10));
    source.grow_topic("a-grows", 3).unwrap();
    write_numbered(&source, "a-grows", 2, 0, 10);
    let missing = strait.wait_line("the event", SOON, |line| line.is_event("target_partitions_missing")).unwrap();
    assert!(missing.message().contains("a-grows-2: target topic a-grows has 2 partitions"), "{}", missing.message());
    write_numbered(&source, "a-grows", 0, 10, 10);
    write_numbered(&source, "a-grows", 1, 0, 10);
    pair.wait_keys("a-grows", 0, &key_range(0, 20));
    pair.wait_keys("a-grows", 1, &key_range(0, 10));
    // The steady topic did not wait for the one that cannot be created.
    write_numbered(&source, "a-steady", 0, 50, 50);
    pair.wait_keys("a-steady", 0, &key_range(0, 100));
    assert!(strait.events("lane_restarted").is_empty(), "{:?}", strait.events("lane_restarted"));

    // What was in the way goes, and the topic comes by itself.
    target.delete_topic("a_collides").unwrap();
    target.grow_topic("a-grows", 3).unwrap();
    wait_until("the topic created", SOON, || pair.has_target_topic("a.collides").then_some(()));
    pair.wait_keys("a.collides", 0, &key_range(0, 50));
    pair.wait_keys("a-grows", 2, &key_range(0, 10));
}

#[test]
fn a_target_topic_that_replaces_timestamps_is_named_by_check_and_by_the_link() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    let source = pair.at_source();
    source.create_topic("stamped", 1, &[]).unwrap();
    write_numbered(&source, "stamped", 0, 0, 20);
    pair.at_target().create_topic("source.stamped", 1, &[("message.timestamp.type", "LogAppendTime")]).unwrap();
    let config = pair.config(&link("stamped", &["stamped"], 1, "sync.configs = \"none\""));
    let (code, text) = run_to_end("check", &config, &["check", "-c", "strait.toml"], SOON);
    assert!(code == Some(0) && text.contains("timestamps are lost on source.stamped"), "{code:?} {text}");
    let strait = copy(&config);
    let lost = strait.events("timestamps_lost");
    assert!(lost.len() == 1 && lost[0].message().contains("target topic source.stamped"), "{lost:?}");
    assert_eq!(pair.keys("source.stamped", 0), key_range(0, 20));
}

#[test]
fn a_target_topic_that_is_deleted_is_reported_and_never_made_anew_silently() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    let (source, target) = (pair.at_source(), pair.at_target());
    for topic in ["gone", "gone-beside"] {
        source.create_topic(topic, 1, &[]).unwrap();
        write_numbered(&source, topic, 0, 0, 1000);
    }
    let config = pair.config(&link("gone", &["gone.*"], 1, ""));
    copy(&config);

    // Deleting records does no harm.
    target.delete_records("source.gone-beside", 0, 500).unwrap();
    // The markers of transactions have offsets too.
    let left: u64 = pair.keys("source.gone-beside", 0)[0].parse().unwrap();
    let beside = |end: u64| key_range(left, end - left);
    // At a restart, with nothing left to copy.
    target.delete_topic("source.gone").unwrap();
    let mut stopped = Strait::run("nothing new", &config, &["--until-caught-up"]).unwrap();
    assert_eq!(stopped.wait_end(SOON).unwrap().code(), Some(1), "{}", stopped.stderr());
    assert_eq!(stopped.events("target_gone").len(), 1, "{}", stopped.stderr());
    // And with more records.
    write_numbered(&source, "gone", 0, 1000, 10);
    write_numbered(&source, "gone-beside", 0, 1000, 10);
    let mut stopped = Strait::run("restarted", &config, &["--until-caught-up"]).unwrap();
    assert_eq!(stopped.wait_end(SOON).unwrap().code(), Some(1), "{}", stopped.stderr());
    let events = stopped.events("target_gone");
    assert_eq!(events.len(), 1, "{events:?}");
    for part in ["gone-0: target topic source.gone", "up to offset 1000", "on_target_recreated"] {
        assert!(events[0].message().contains(part), "{}", events[0].message());
    }
    assert!(!pair.has_target_topic("source.gone"));
    pair.wait_keys("source.gone-beside", 0, &beside(1010));

    // Somebody makes it anew.
    target.create_topic("source.gone", 1, &[]).unwrap();
    let mut strait = Strait::run("remade", &config, &[]).unwrap();
    let event = strait.wait_line("the event", SOON, |line| line.is_event("target_recreated")).unwrap();
    println!("{}", event.message());
    strait.terminate().unwrap();
    strait.wait_end(SOON).unwrap();

    // The operator wants it copied again; the topic beside it is not.
    let recopy = pair.config(&link("gone", &["gone.*"], 1, "on_target_recreated = \"recopy\""));
    let strait = copy(&recopy);
    assert_eq!(strait.events("target_recopied").len(), 1, "{:?}", strait.events("target_recopied"));
    pair.wait_keys("source.gone", 0, &key_range(0, 1010));
    assert_eq!(pair.keys("source.gone-beside", 0), beside(1010));

    // While running.
    let strait = Strait::run("running", &recopy, &[]).unwrap();
    write_numbered(&source, "gone-beside", 0, 1010, 10);
    pair.wait_keys("source.gone-beside", 0, &beside(1020));
    target.delete_topic("source.gone").unwrap();
    write_numbered(&source, "gone", 0, 1010, 10);
    strait.wait_line("the event", SOON, |line| line.is_event("target_recopied")).unwrap();
    wait_until("the topic created", SOON, || pair.has_target_topic("source.gone").then_some(()));
    pair.wait_keys("source.gone", 0, &key_range(0, 1020));
    write_numbered(&source, "gone-beside", 0, 1020, 10);
    pair.wait_keys("source.gone-beside", 0, &beside(1030));
}
