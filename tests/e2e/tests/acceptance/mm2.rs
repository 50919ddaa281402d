//! MirrorMaker 2's own clients, formatters and checkpoint connector, on what a link has written.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use strait_core::mm2::{Checkpoint, Heartbeat, OffsetSync};
use strait_e2e::{ConfigFolder, Isolation, Record, Strait, TestClient};
use strait_test_cluster::{Cluster, KafkaJars};

use crate::admin::{ADMIN, address_of, series};
use crate::groups;
use crate::support::{Pair, SOON, Turn, link, link_between, now, record, single, stop, wait_event, wait_until};

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../runtime/core/src/mm2/vectors.txt");

/// Returns a JVM that runs this with Kafka's jars.
fn java(arguments: &[&str]) -> Command {
    let mut java = Command::new("java");
    java.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dstdout.encoding=UTF-8"]);
    java.args(["-Dfile.encoding=UTF-8", "-cp"]);
    java.arg(KafkaJars::locate().unwrap().class_path()).args(arguments);
    java
}

/// Runs `Mm2.java`, and returns what it prints.
#[track_caller]
pub fn mm2(arguments: &[&str]) -> String {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/acceptance/Mm2.java");
    let output = java(&[source]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the first records of a topic as a formatter prints them, `most` of them.
#[track_caller]
fn formatted(servers: &str, topic: &str, formatter: &str, most: u32) -> String {
    let class = format!("org.apache.kafka.connect.mirror.formatters.{formatter}");
    let consumer = "org.apache.kafka.tools.consumer.ConsoleConsumer";
    let most = most.to_string();
    let end = ["--from-beginning", "--max-messages", &most, "--timeout-ms", "10000"];
    let mut reader = java(&[consumer, "--bootstrap-server", servers, "--topic", topic, "--formatter", &class]);
    let output = reader.args(end).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.is_empty(), "{topic}: {}", String::from_utf8_lossy(&output.stderr));
    text
}

fn read(client: &TestClient, topic: &str) -> Vec<Record> {
    client.read_records(topic, Isolation::Committed).unwrap()
}

fn heartbeats(client: &TestClient, topic: &str) -> Vec<(String, String)> {
    let decode = |record: Record| {
        let key = record.key.unwrap_or_default();
        let heartbeat = Heartbeat::decode(&key, &record.value.unwrap_or_default()).ok()?;
        assert_eq!(heartbeat.timestamp_ms, record.timestamp);
        Some((heartbeat.source, heartbeat.target))
    };
    read(client, topic).into_iter().filter_map(decode).collect()
}

#[test]
fn vectors_and_names_are_those_of_mirror_makers_classes() {
    let _turn = Turn::beside_another();
    let printed = mm2(&["vectors"]);
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        fs::write(VECTORS, &printed).unwrap();
    }
    assert_eq!(printed, fs::read_to_string(VECTORS).unwrap(), "UPDATE_VECTORS=1 writes them");

    let separators: [(&str, &[&str]); 3] = [
        (".", &["a.checkpoints.internal", "mm2-offset-syncs.b.internal"]),
        ("_", &["a_checkpoints_internal", "mm2-offset-syncs_b_internal"]),
        ("-", &["a-checkpoints-internal", "mm2-offset-syncs-b-internal"]),
    ];
    let of_kafka = ["__x", ".x"];
    let copied = ["heartbeats", "a.heartbeats", "internal", "orders_internal", "internal.orders", "mm2.orders"];
    for (separator, own) in separators {
        let printed = mm2(&[&["names", separator], own, &of_kafka, &copied].concat());
        for line in printed.lines() {
            let (name, is_internal) = line.split_once(' ').unwrap();
            let is_reserved = strait_core::topic::is_reserved(name);
            assert_eq!(is_reserved.to_string(), is_internal, "{name} with separator {separator}");
        }
        let internal = printed.lines().filter(|line| line.ends_with("true")).count();
        assert_eq!(internal, own.len() + of_kafka.len(), "{printed}");
    }
}

/// A worker of Kafka Connect with the checkpoint connector alone.
struct CheckpointConnector {
    worker: Child,
    folder: tempfile::TempDir,
}

impl CheckpointConnector {
    fn start(source: &str, target: &str, alias: &str, groups: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| -> PathBuf {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let bytes = "org.apache.kafka.connect.converters.ByteArrayConverter";
        let offsets = folder.path().join("offsets");
        let worker = file(
            "worker.properties",
            &format!(
                "bootstrap.servers={target}\nkey.converter={bytes}\nvalue.converter={bytes}\n\
                 offset.storage.file.filename={}\nlisteners=http://127.0.0.1:0\nplugin.discovery=service_load\n",
                offsets.display()
            ),
        );
        let connector = file(
            "connector.properties",
            &format!(
                "name=checkpoints\nconnector.class=org.apache.kafka.connect.mirror.MirrorCheckpointConnector\n\
                 source.cluster.alias={alias}\ntarget.cluster.alias=target\n\
                 source.cluster.bootstrap.servers={source}\ntarget.cluster.bootstrap.servers={target}\n\
                 offset-syncs.topic.location=target\ngroups={groups}\ntopics=.*\n\
                 checkpoints.topic.replication.factor=1\noffset-syncs.topic.replication.factor=1\n\
                 emit.checkpoints.interval.seconds=1\nrefresh.groups.interval.seconds=1\n\
                 sync.group.offsets.enabled=true\nsync.group.offsets.interval.seconds=1\n"
            ),
        );
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = java(&["org.apache.kafka.connect.cli.ConnectStandalone"]);
        let worker = command.args([worker, connector]).stdout(log.try_clone().unwrap()).stderr(Stdio::from(log));
        Self { worker: worker.spawn().unwrap(), folder }
    }

    fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

impl Drop for CheckpointConnector {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.log());
        }
        self.worker.kill().ok();
        self.worker.wait().ok();
    }
}

fn group(client: &TestClient, group: &str) -> BaseConsumer {
    client.config().set("group.id", group).create().unwrap()
}

fn list(topic: &str, offsets: &[(i32, Offset)]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        list.add_partition_offset(topic, *partition, *offset).unwrap();
    }
    list
}

fn commit(client: &TestClient, name: &str, topic: &str, offsets: &[(i32, i64)]) {
    let offsets: Vec<(i32, Offset)> = offsets.iter().map(|(p, offset)| (*p, Offset::Offset(*offset))).collect();
    group(client, name).commit(&list(topic, &offsets), CommitMode::Sync).unwrap();
}

fn committed(client: &TestClient, name: &str, topic: &str, partition: i32) -> Option<i64> {
    let asked = list(topic, &[(partition, Offset::Invalid)]);
    let found = group(client, name).committed_offsets(asked, Duration::from_secs(20)).unwrap();
    match found.elements()[0].offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}

/// Returns the newest sync of a partition that MirrorMaker 2's reader would find.
pub fn newest_sync(client: &TestClient, syncs: &str, (topic, partition): (&str, i32)) -> Option<(i64, i64)> {
    let all = read(client, syncs).into_iter().filter_map(|record| {
        OffsetSync::decode(&record.key.unwrap_or_default(), &record.value.unwrap_or_default()).ok()
    });
    let of_partition: Vec<OffsetSync> = all.filter(|sync| sync.topic == topic && sync.partition == partition).collect();
    assert!(of_partition.is_sorted_by(|one, two| one.upstream < two.upstream), "{of_partition:?}");
    of_partition.last().map(|sync| (sync.upstream, sync.downstream))
}

/// The link's own name for its source, which begins the names of its copies.
const SOURCE: &str = "mm2c";

fn running(pair: &Pair) -> (ConfigFolder, Strait) {
    // One leaves out what has no such key, the other refuses what is no JSON: a heartbeat is
    // neither.
    let more = "mm2 = { heartbeats = \"both\", offset_syncs = \"target\" }\nreveal_messages = true\n\
                groups = [\"mm2c-kept\"]\n\
                [[links.plugins]]\nplugin = \"filter\"\nconfig = { keep = { key_prefix = \"even\" } }\n\
                [[links.plugins]]\nplugin = \"redact\"\n\
                config = { rules = [{ fields = [\"$.a\"], with = \"remove\" }] }\n";
    let config = pair.config(&(String::from(ADMIN) + &pair.link_from(SOURCE, &["mm2c\\..*"], more)));
    let strait = Strait::run("mm2", &config, &[]).unwrap();
    (config, strait)
}

#[test]
fn the_clients_of_mirror_maker_find_what_a_link_writes() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    let (source, target) = (pair.at_source(), pair.at_target());
    let servers = pair.target.internal_bootstrap();
    source.create_topic("mm2c.orders", 2, &[]).unwrap();
    let numbered = |partition: i32, count: i64| {
        let key = |number: i64| if number % 2 == 0 { &b"even"[..] } else { b"odd" };
        let one = |number: i64| Record { partition, ..record(Some(key(number)), Some(b"{}")) };
        (0..count).map(one).collect::<Vec<_>>()
    };
    source.write("mm2c.orders", &[numbered(0, 101), numbered(1, 50)].concat()).unwrap();
    commit(&source, "mm2c-kept", "mm2c.orders", &[(0, 10)]);
    let (_config, mut strait) = running(&pair);

    // Heartbeats, by this link on both of its ends, and the copy that clients look for.
    let copy = format!("{SOURCE}.heartbeats");
    wait_until("heartbeats are copied", SOON, || {
        (pair.has_target_topic(&copy) && heartbeats(&target, &copy).len() >= 3).then_some(())
    });
    let own = (SOURCE.to_owned(), "target".to_owned());
    let opposite = ("target".to_owned(), SOURCE.to_owned());
    assert!(heartbeats(&target, "heartbeats").contains(&own));
    assert!(heartbeats(&target, &copy).contains(&opposite));
    // Something else in such a topic goes through the plugins.
    source.write("heartbeats", &[record(Some(b"even"), Some(b"no JSON"))]).unwrap();
    wait_event(&strait, SOURCE, "quarantined", "heartbeats-0");
    let before = heartbeats(&target, &copy).len();
    wait_until("heartbeats go on", SOON, || (heartbeats(&target, &copy).len() > before + 1).then_some(()));
    assert!(read(&target, &copy).iter().all(|record| record.value.as_deref() != Some(b"no JSON")));
    assert_eq!(strait.events("quarantined").len(), 1, "no heartbeat is refused");

    // Checkpoints, in the topic that the link has made.
    let checkpoints = format!("{SOURCE}.checkpoints.internal");
    pair.wait_target_topic(&checkpoints);
    let topic = format!("{SOURCE}.mm2c.orders");
    let answers = [(0, 10, 5, "a"), (0, 101, 51, "größe"), (1, 49, 25, "")];
    let records = answers.map(|(partition, upstream, downstream, metadata)| {
        let (group, topic, metadata) = ("mm2c-answers".to_owned(), topic.clone(), metadata.to_owned());
        let (key, value) = Checkpoint { group, topic, partition, upstream, downstream, metadata }.encode().unwrap();
        record(Some(&key), Some(&value))
    });
    target.write(&checkpoints, &records).unwrap();
    let offsets = format!("{{{topic}-0=51 größe, {topic}-1=25 }}");
    let found = mm2(&["clients", &servers, SOURCE, "mm2c-answers"]);
    for line in [
        "hops 1".to_owned(),
        "heartbeats true".to_owned(),
        "checkpoints true".to_owned(),
        format!("remote [{copy}, {topic}]"),
        format!("client {offsets}"),
        format!("utils {offsets}"),
        "hops by utils 1".to_owned(),
    ] {
        assert!(found.lines().any(|found| found == line), "{line}: {found}");
    }
    let upstream = found.lines().find_map(|line| line.strip_prefix("upstream ")).unwrap();
    assert!(upstream.trim_matches(['[', ']']).split(", ").any(|cluster| cluster == SOURCE), "{found}");

    // The answer for a group that the link keeps.
    let there = wait_until("the group is kept", SOON, || committed(&target, "mm2c-kept", &topic, 0));
    let translated = format!("utils {{{topic}-0={there} }}");
    wait_until("its checkpoint", SOON, || {
        let found = mm2(&["clients", &servers, SOURCE, "mm2c-kept"]);
        found.lines().any(|line| line == translated).then_some(())
    });

    formatters_print(&servers, &copy, &checkpoints);
    checkpoint_connector_translates(&pair, &topic);
    let page = crate::admin::get(&address_of(&strait), "/metrics").1;
    for (topic, least) in [("heartbeats", 5.0), ("source_heartbeats", 5.0), ("offset_syncs", 2.0)] {
        let labels = format!("link=\"{SOURCE}\",source=\"{SOURCE}\",target=\"target\",topic=\"{topic}\"");
        let records = series(&page, &format!("strait_mm2_records_total{{{labels}}}"));
        assert!(records >= Some(least), "{topic}: {records:?}");
    }
    assert!(strait.events("mm2_unwritable").is_empty());
    stop(&mut strait);
}

fn formatters_print(servers: &str, copy: &str, checkpoints: &str) {
    let line = formatted(servers, copy, "HeartbeatFormatter", 1);
    assert!(line.contains("sourceClusterAlias=target, targetClusterAlias=mm2c"), "{line}");
    // Those of groups that the link keeps are among them.
    let lines = formatted(servers, checkpoints, "CheckpointFormatter", 100);
    let parts = ["mm2c-answers", "upstreamOffset=10", "downstreamOffset=5", "metadata=a"];
    assert!(lines.lines().any(|line| parts.iter().all(|part| line.contains(part))), "{lines}");
    let syncs = format!("mm2-offset-syncs.{SOURCE}.internal");
    let line = formatted(servers, &syncs, "OffsetSyncFormatter", 20);
    // Heartbeats are copied too, and have syncs of their own.
    assert!(line.lines().any(|line| line.contains("mm2c.orders") && line.contains("upstreamOffset=")), "{line}");
}

/// The real connector on the link's offset syncs: exact where a group has read everything, and
/// never ahead of it.
fn checkpoint_connector_translates(pair: &Pair, topic: &str) {
    let (source, target) = (pair.at_source(), pair.at_target());
    let syncs = format!("mm2-offset-syncs.{SOURCE}.internal");
    let synced = |partition, last| {
        wait_until("the last record with a copy has a sync", SOON, || {
            newest_sync(&target, &syncs, ("mm2c.orders", partition)).filter(|(upstream, _)| *upstream == last)
        })
    };
    let (last, behind) = (synced(0, 100).1, synced(1, 48).1);
    commit(&source, "mm2c-caught-up", "mm2c.orders", &[(0, 101), (1, 50)]);
    let connector = CheckpointConnector::start(
        &pair.source.internal_bootstrap(),
        &pair.target.internal_bootstrap(),
        SOURCE,
        "mm2c-caught-up",
    );
    for (partition, end) in [(0, last + 1), (1, behind + 1)] {
        let found = wait_until("the connector has translated the group", SOON, || {
            committed(&target, "mm2c-caught-up", topic, partition)
        });
        assert_eq!(found, end, "partition {partition}");
    }
    drop(connector);
}

#[test]
fn a_topic_heartbeats_of_somebodys_own_is_left_alone_and_holds_up_nothing() {
    let _turn = Turn::beside_another();
    // Source and target are one cluster here: the names differ.
    let cluster = now(Cluster::start(single("mm2-own"))).unwrap();
    let client = TestClient::new(cluster.internal_bootstrap());
    client.create_topic("heartbeats", 2, &[]).unwrap();
    client.write("heartbeats", &[record(Some(b"mine"), Some(b"1"))]).unwrap();
    client.create_topic("orders", 1, &[]).unwrap();
    client.write("orders", &[record(Some(b"k"), Some(b"v"))]).unwrap();
    let servers = cluster.internal_bootstrap();
    let config = ConfigFolder::new(&format!(
        "[clusters.a]\nbootstrap_servers = \"{servers}\"\n[clusters.b]\nbootstrap_servers = \"{servers}\"\n\n{}",
        link_between("owned", "a", "b", &["orders"], 1, "mm2 = { offset_syncs = \"target\" }\n")
    ));
    let config = config.unwrap();
    let mut strait = Strait::run("mm2-own", &config, &[]).unwrap();
    let told = strait.wait_line("the topic is told", SOON, |line| line.is_event("mm2_unwritable")).unwrap();
    let parts = ["topic heartbeats on cluster b", "it has 2 partitions", "mm2.heartbeats = \"off\"", "owned"];
    for part in parts {
        assert!(told.text.replace("\\\"", "\"").contains(part), "{part}: {}", told.text);
    }
    let syncs = "mm2-offset-syncs.a.internal";
    wait_until("the others are written", SOON, || {
        let topics: Vec<String> = client.topics().unwrap().into_iter().map(|(name, _)| name).collect();
        let is_there = |name: &str| topics.iter().any(|topic| topic == name);
        (is_there("a.orders") && is_there("a.checkpoints.internal") && is_there(syncs)).then_some(())?;
        newest_sync(&client, syncs, ("orders", 0))
    });
    stop(&mut strait);
    assert_eq!(read(&client, "heartbeats").len(), 1, "nothing was written to it");
    assert!(!client.topics().unwrap().iter().any(|(name, _)| name == "a.heartbeats"), "and it was not copied");
    assert_eq!(strait.events("mm2_unwritable").len(), 1);
}

#[test]
fn groups_that_are_only_translated_have_checkpoints_and_stay_as_they_are() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    pair.at_source().create_topic("shown", 1, &[]).unwrap();
    groups::write(&pair, "shown", 1, 0, 30);
    commit(&pair.at_source(), "shown-1", "shown", &[(0, 12)]);
    let options = "groups = [\"shown-.*\"]\nsync = { groups = false }\nmm2 = { heartbeats = \"off\" }\n";
    let more = format!("{options}{}", groups::FILTER);
    let config = pair.config(&(link("shown", &["shown"], 1, &more) + ADMIN));
    let mut strait = Strait::run("shown", &config, &[]).unwrap();
    let newest = |upstream: i64| {
        wait_until(&format!("the checkpoint of {upstream}"), SOON, || {
            let all = pair
                .has_target_topic("source.checkpoints.internal")
                .then(|| read(&pair.at_target(), "source.checkpoints.internal"))?;
            let mut all = all.iter().filter_map(|r| Checkpoint::decode(r.key.as_deref()?, r.value.as_deref()?).ok());
            all.rfind(|found| found.group == "shown-1" && found.upstream == upstream)
        })
    };
    for upstream in [12, 21] {
        commit(&pair.at_source(), "shown-1", "shown", &[(0, upstream)]);
        let found = newest(upstream);
        // Every third record is dropped, this one among them.
        let next = format!("key-0-{}", upstream + 1);
        let copies = pair.at_target().read_records("source.shown", Isolation::Committed).unwrap();
        let place = copies.iter().find(|copy| copy.key.as_deref() == Some(next.as_bytes())).unwrap().offset;
        assert_eq!((found.topic.as_str(), found.partition, found.downstream), ("source.shown", 0, place));
    }
    let labels = "link=\"shown\",source=\"source\",target=\"target\"";
    let page = crate::admin::get(&address_of(&strait), "/metrics").1;
    assert_eq!(series(&page, &format!("strait_groups{{{labels},state=\"exact\"}}")), Some(1.0), "{page}");
    assert_eq!(series(&page, &format!("strait_group_offsets_written_total{{{labels}}}")), Some(0.0), "{page}");
    assert_eq!(committed(&pair.at_target(), "shown-1", "source.shown", 0), None);
    stop(&mut strait);
}
