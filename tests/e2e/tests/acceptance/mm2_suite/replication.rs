//! Records, topics, and what MirrorMaker 2's clients find, in both directions.

use std::time::Duration;

use serde_json::Value;
use strait_e2e::{ConfigFolder, Isolation, Strait};

use super::fixture::{Case, PARTITIONS, RECORDS, Suite, Variant, everywhere, has_topic, read, read_on, wait_copied};
use crate::identity::progress_of;
use crate::mm2::{mm2, newest_sync};
use crate::support::{COPIED, SOON, settings, stop, wait_until};

pub fn replication(suite: &Suite) {
    // One link alone writes to both ends what links in both directions write to their targets.
    let mm2 = if suite.variant == Variant::Identity { "heartbeats = \"both\"" } else { "heartbeats = \"target\"" };
    let sync = "[links.sync]\nconfigs_exclude = [\"delete\\\\.retention\\\\..*\"]\n";
    let case = Case { is_mutual: true, mm2, more: sync, ..suite.case("replication") };
    let (primary, backup) = (suite.primary(), suite.backup());
    let all: Vec<i32> = (0..PARTITIONS).collect();
    let own = [("cleanup.policy", "compact"), ("delete.retention.ms", "1000"), ("retention.bytes", "1000")];
    let topic = case.make(1, &own);
    case.write_all(&topic, 0);
    if case.goes_back() {
        backup.create_topic(&topic, PARTITIONS, &[]).unwrap();
        case.write(&backup, &topic, &all, 0, RECORDS);
    }
    let (config, mut strait) = case.run();
    let (remote, back) = (case.remote(&topic), format!("backup.{topic}"));
    case.wait_copied(&topic, &everywhere(0, RECORDS));
    let copied = settings(&backup, &remote);
    let found = ["cleanup.policy", "delete.retention.ms", "retention.bytes"].map(|name| copied[name].as_str());
    assert_eq!(found, ["compact", "86400000", "1000"], "one that is excluded keeps the target's value");

    let each = u64::try_from(PARTITIONS).unwrap() * RECORDS;
    let group = case.group();
    let mut aggregate = [read_on(&primary, &group, &topic, true), read_on(&backup, "mm2s-aggregate", &remote, true)];
    if case.goes_back() {
        wait_copied(&primary, &back, &everywhere(0, RECORDS));
        aggregate[0] += read_on(&primary, &group, &back, true);
        aggregate[1] += read_on(&backup, "mm2s-aggregate", &topic, true);
    }
    assert_eq!(aggregate, [if case.goes_back() { 2 * each } else { each }; 2]);
    case.wait_synced(&group, &topic);
    clients(&case, &group, &topic);
    failover_and_failback(&case, &config, &topic);

    // A topic that is made later, with records in one partition alone.
    let later = case.make(2, &[]);
    case.write(&primary, &later, &[0], 0, RECORDS);
    if case.goes_back() {
        backup.create_topic(&later, PARTITIONS, &[]).unwrap();
        case.write(&backup, &later, &all, 0, RECORDS);
        wait_copied(&primary, &format!("backup.{later}"), &everywhere(0, RECORDS));
    }
    let mut first = everywhere(0, 0);
    first[0] = (0, RECORDS);
    case.wait_copied(&later, &first);
    stop(&mut strait);
}

/// The real clients find the clusters, and the group's offsets in all partitions.
fn clients(case: &Case<'_>, group: &str, topic: &str) {
    let (primary, backup) = (case.suite.primary(), case.suite.backup());
    wait_until("heartbeats and their copies", SOON, || {
        let copies = has_topic(&backup, "primary.heartbeats") && has_topic(&primary, "heartbeats");
        let back = !case.goes_back() || has_topic(&primary, "backup.heartbeats");
        (copies && back && has_topic(&backup, "heartbeats")).then_some(())
    });
    case.wait_checkpoints(group, topic);
    let servers = case.suite.pair().target.internal_bootstrap();
    let found = mm2(&["clients", &servers, "primary", group]);
    for line in ["hops 1", "heartbeats true", "checkpoints true", "hops by utils 1"] {
        assert!(found.lines().any(|found| found == line), "{line}: {found}");
    }
    let line = |start: &str| found.lines().find_map(|line| line.strip_prefix(start)).unwrap();
    assert!(line("upstream ").trim_matches(['[', ']']).split(", ").any(|cluster| cluster == "primary"), "{found}");
    let remote = case.remote(topic);
    let of_topic = line("client ").matches(&format!("{remote}-")).count();
    assert_eq!(of_topic, usize::try_from(PARTITIONS).unwrap(), "{found}");
    assert_eq!(line("client "), line("utils "));
}

/// The group reads on at `backup` with the first record that it has not read, and its places there
/// are translated back.
fn failover_and_failback(case: &Case<'_>, config: &ConfigFolder, topic: &str) {
    let (backup, group, remote) = (case.suite.backup(), case.group(), case.remote(topic));
    assert_eq!(read_on(&backup, &group, &remote, false), 0, "records that were delivered again");
    case.write(&case.suite.primary(), topic, &[0], RECORDS, RECORDS);
    let mut numbers = everywhere(0, RECORDS);
    numbers[0].1 = 2 * RECORDS;
    case.wait_copied(topic, &numbers);
    assert_eq!(read_on(&backup, &group, &remote, true), RECORDS, "the new ones alone");

    let arguments = ["offsets", "translate", &case.link(), "--group", &group, "--inverse", "-o", "json"];
    let mut strait = Strait::start("translate", config.path(), &arguments).unwrap();
    strait.wait_end(COPIED).unwrap();
    let answers: Value = serde_json::from_str(&strait.stdout()).unwrap_or_else(|e| panic!("{e}: {}", strait.stderr()));
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), numbers.len(), "{answers:#?}");
    let source = read(&case.suite.primary(), topic);
    // A record may have come twice, so the way back is not called exact there.
    let is_exact = Value::Bool(case.suite.variant != Variant::AtLeastOnce);
    for answer in answers {
        let (partition, offset) = (answer["to"]["partition"].as_i64().unwrap(), answer["to"]["offset"].as_i64());
        let is_before =
            |record: &&strait_e2e::Record| i64::from(record.partition) == partition && Some(record.offset) < offset;
        let before = source.iter().filter(is_before).count();
        let wanted = usize::try_from(numbers[usize::try_from(partition).unwrap()].1).unwrap();
        assert_eq!((&answer["exact"], before), (&is_exact, wanted), "{answer:#}");
    }
}

pub fn replication_without_offset_sync_will_not_create_offset_syncs_topic(suite: &Suite) {
    let case = suite.case("no-syncs");
    let (topic, _config, mut strait) = case.begin();
    assert_eq!(read_on(&suite.primary(), &case.group(), &topic, true), 100);
    case.wait_synced(&case.group(), &topic);
    stop(&mut strait);
    for client in [suite.primary(), suite.backup()] {
        for alias in ["primary", "backup"] {
            assert!(!has_topic(&client, &format!("mm2-offset-syncs.{alias}.internal")));
        }
    }
}

pub fn offset_syncs_topics_on_target(suite: &Suite) {
    // A name of its own, as the topic of the others must not be there.
    let mm2 = "checkpoints = true, offset_syncs = \"target\"";
    let case = Case { alias: "primary-synced", mm2, ..suite.case("syncs") };
    let (topic, _config, mut strait) = case.begin();
    assert_eq!(read_on(&suite.primary(), &case.group(), &topic, true), 100);
    case.wait_checkpoints(&case.group(), &topic);
    let (syncs, source) = ("mm2-offset-syncs.primary-synced.internal", read(&suite.primary(), &topic));
    for partition in 0..PARTITIONS {
        let last = source.iter().filter(|record| record.partition == partition).map(|record| record.offset).max();
        wait_until("the last record has a sync", SOON, || {
            has_topic(&suite.backup(), syncs).then_some(())?;
            let found = newest_sync(&suite.backup(), syncs, (&topic, partition))?;
            (Some(found.0) == last).then_some(())
        });
    }
    stop(&mut strait);
    for name in [syncs, "mm2-offset-syncs.backup.internal"] {
        assert!(!has_topic(&suite.primary(), name), "{name}");
    }
}

pub fn replicate_from_latest(suite: &Suite) {
    let case = Case { more: "start = \"latest\"\n", ..suite.case("latest") };
    let topic = case.make(1, &[]);
    case.write_all(&topic, 0);
    let (_config, mut strait) = case.run();
    let progress = format!("strait.{}.progress", case.link());
    wait_until("the link's start decided", SOON, || {
        let is_there = has_topic(&suite.backup(), &progress);
        let ends = || suite.backup().offsets(&progress, 0, Isolation::Committed).ok();
        (is_there && ends()?.1 > 0).then_some(())?;
        (progress_of(suite.pair(), &case.link()).positions.len() == 10).then_some(())
    });
    case.write_all(&topic, RECORDS);
    case.wait_copied(&topic, &everywhere(RECORDS, RECORDS));
    stop(&mut strait);
}

/// A process that has nothing to copy when it starts.
pub fn single_node_cluster(suite: &Suite) {
    let case = suite.case("single");
    let (_config, mut strait) = case.run();
    strait.wait_line("it runs", SOON, |line| line.message() == "taking the lane").unwrap();
    let topic = case.make(1, &[]);
    case.write_all(&topic, 0);
    case.wait_copied(&topic, &everywhere(0, RECORDS));
    stop(&mut strait);
}

pub fn cluster_with_emit_offset_disabled(suite: &Suite) {
    let case = Case { alias: "primary-bare", mm2: "checkpoints = false", ..suite.case("bare") };
    let (_config, mut strait) = case.run();
    strait.wait_line("it runs", SOON, |line| line.message() == "taking the lane").unwrap();
    let topic = case.make(1, &[]);
    case.write_all(&topic, 0);
    case.wait_copied(&topic, &everywhere(0, RECORDS));
    stop(&mut strait);
    let none = ["mm2-offset-syncs.primary-bare.internal", "primary-bare.checkpoints.internal"];
    for name in none {
        assert!(!has_topic(&suite.backup(), name) && !has_topic(&suite.primary(), name), "{name}");
    }
}

/// Three processes; new topics while they run, and one after the other with a new configuration.
pub fn multi_node_cluster(suite: &Suite) {
    let case = Case { lanes: 3, ..suite.case("nodes") };
    let topics = |last: u32| format!("test-topic-nodes-[1-{last}]");
    let config = ConfigFolder::new(&case.toml(&topics(3))).unwrap();
    let mut nodes = ["node-1", "node-2", "node-3"].map(|name| Strait::run(name, &config, &[]).unwrap());
    let is_shared = |nodes: &[Strait; 3]| nodes.iter().all(|node| crate::support::lanes_of(node).len() == 1);
    wait_until("a lane for each", SOON, || is_shared(&nodes).then_some(()));
    let made = [1, 2, 3].map(|number| case.make(number, &[]));
    for topic in &made {
        case.write_all(topic, 0);
    }
    let outside = case.make(4, &[]);
    case.write_all(&outside, 0);
    for topic in &made {
        case.wait_copied(topic, &everywhere(0, RECORDS));
    }
    assert!(!has_topic(&suite.backup(), &case.remote(&outside)) || suite.variant == Variant::Identity);
    config.write("strait.toml", case.toml(&topics(4))).unwrap();
    for (index, name) in ["again-1", "again-2", "again-3"].into_iter().enumerate() {
        stop(&mut nodes[index]);
        nodes[index] = Strait::run(name, &config, &[]).unwrap();
    }
    for topic in &made {
        case.write_all(topic, RECORDS);
        case.wait_copied(topic, &everywhere(0, 2 * RECORDS));
    }
    case.wait_copied(&outside, &everywhere(0, RECORDS));
    wait_until("a lane for each", Duration::from_secs(90), || is_shared(&nodes).then_some(()));
    nodes.iter_mut().for_each(stop);
}
