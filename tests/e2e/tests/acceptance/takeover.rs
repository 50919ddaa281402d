//! `strait import mm2 --take-over`: MirrorMaker 2 itself copies a part of the records and is
//! stopped or killed, and the link continues from there, without a gap and without a record twice.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;
use strait_e2e::{ConfigFolder, Isolation, Strait, TestClient};
use strait_test_cluster::{KafkaJars, signal};

use crate::support::{
    COPIED, Pair, Turn, caught_up, copy, key_range, keys, link, records, run_to_end, stop, wait_until, write_numbered,
};

const PARTITIONS: i32 = 3;
/// Time for a JVM to start, and for Connect to begin.
const STARTED: Duration = Duration::from_secs(120);

/// A running MirrorMaker 2.
struct MirrorMaker {
    child: Child,
}

impl MirrorMaker {
    fn start(folder: &Path) -> Self {
        let log = File::create(folder.join("mm2.log")).unwrap();
        let mut command = Command::new("java");
        command
            .args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
            .arg(KafkaJars::locate().unwrap().class_path())
            .arg("org.apache.kafka.connect.mirror.MirrorMaker")
            .arg(folder.join("mm2.properties"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        Self { child: strait_test_cluster::spawn(command).unwrap() }
    }

    /// Stops it as its script does.
    fn stop(mut self) {
        signal(&self.child, libc::SIGTERM).unwrap();
        wait_until("stopped", STARTED, || self.child.try_wait().unwrap());
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for MirrorMaker {
    fn drop(&mut self) {
        // It has ended already, or the test has failed.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A flow of one topic, from the source under the name `alias`.
struct Flow<'a> {
    pair: &'a Pair,
    folder: ConfigFolder,
    alias: &'a str,
    topic: &'a str,
    /// Records of each partition that were written.
    written: u64,
}

impl<'a> Flow<'a> {
    fn new(pair: &'a Pair, alias: &'a str, flush_ms: u64) -> Self {
        let topic = alias;
        pair.at_source().create_topic(topic, PARTITIONS, &[]).unwrap();
        let folder = ConfigFolder::new("").unwrap();
        let (source, target) = (pair.source.internal_bootstrap(), pair.target.internal_bootstrap());
        let properties = format!(
            "clusters = {alias}, dst\n{alias}.bootstrap.servers = {source}\ndst.bootstrap.servers = {target}\n\
             {alias}->dst.enabled = true\n{alias}->dst.topics = {topic}\n{alias}->dst.groups = none\n\
             dst->{alias}.emit.heartbeats.enabled = false\nemit.heartbeats.enabled = false\n\
             emit.checkpoints.enabled = false\nemit.offset-syncs.enabled = false\n\
             sync.topic.acls.enabled = false\nreplication.factor = 1\n\
             config.storage.replication.factor = 1\noffset.storage.replication.factor = 1\n\
             status.storage.replication.factor = 1\ndst.offset.storage.partitions = 3\n\
             dst.offset.flush.interval.ms = {flush_ms}\n"
        );
        folder.write("mm2.properties", properties).unwrap();
        Self { pair, folder, alias, topic, written: 0 }
    }

    /// Has MirrorMaker 2 keep the groups that begin with the alias, each second.
    fn with_groups(self) -> Self {
        let path = self.folder.path().join("mm2.properties");
        let text = std::fs::read_to_string(path).unwrap();
        let text = text
            .replace(".groups = none", &format!(".groups = {}-.*", self.alias))
            .replace("emit.checkpoints.enabled = false", "emit.checkpoints.interval.seconds = 1")
            .replace("emit.offset-syncs.enabled = false", "offset.lag.max = 0")
            + "sync.group.offsets.enabled = true\nsync.group.offsets.interval.seconds = 1\n\
               refresh.groups.interval.seconds = 2\n\
               offset-syncs.topic.replication.factor = 1\ncheckpoints.topic.replication.factor = 1\n";
        self.folder.write("mm2.properties", text).unwrap();
        self
    }

    fn copied(&self) -> String {
        format!("{}.{}", self.alias, self.topic)
    }

    fn write(&mut self, count: u64) {
        for partition in 0..PARTITIONS {
            write_numbered(&self.pair.at_source(), self.topic, partition, self.written, count);
        }
        self.written += count;
    }

    /// Returns how many records the target has.
    fn on_target(&self) -> u64 {
        if !self.pair.has_target_topic(&self.copied()) {
            return 0;
        }
        let end = |partition| self.pair.at_target().offsets(&self.copied(), partition, Isolation::Committed).unwrap().1;
        (0..PARTITIONS).map(|partition| end(partition).unsigned_abs()).sum()
    }

    fn wait_on_target(&self, count: u64) {
        wait_until("copied by MirrorMaker 2", STARTED, || (self.on_target() >= count).then_some(()));
    }

    /// Waits until MirrorMaker 2 has written positions.
    fn wait_positions(&self) {
        let topic = format!("mm2-offsets.{}.internal", self.alias);
        let end = |partition| self.pair.at_target().offsets(&topic, partition, Isolation::Committed).unwrap().1;
        wait_until("positions", STARTED, || ((0..3).map(end).sum::<i64>() > 0).then_some(()));
    }

    fn take_over(&self) -> (Option<i32>, String) {
        let arguments = ["import", "mm2", "mm2.properties", "-o", "taken.toml", "--take-over"];
        run_to_end("import", &self.folder, &arguments, COPIED)
    }

    /// Runs the link until it has copied everything.
    fn run(&self) -> Strait {
        std::fs::copy(self.folder.path().join("taken.toml"), self.folder.path().join("strait.toml")).unwrap();
        caught_up(self.alias, &self.folder)
    }

    /// Compares the target with all that was written: each record once, in order.
    fn check(&self) {
        let target = self.pair.at_target().read_records(&self.copied(), Isolation::Committed).unwrap();
        for partition in 0..PARTITIONS {
            let found = keys(&target, partition);
            let twice = found.len() as i64 - self.written as i64;
            assert_eq!(found, key_range(0, self.written), "{}-{partition}: {twice} more than written", self.copied());
        }
    }
}

fn commit(client: &TestClient, group: &str, topic: &str, offset: i64) {
    let consumer: BaseConsumer = client.config().set("group.id", group).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
    consumer.commit(&list, CommitMode::Sync).unwrap();
}

/// Returns what a group has committed in partition 0 of a topic.
fn committed(client: &TestClient, group: &str, topic: &str) -> Option<i64> {
    let consumer: BaseConsumer = client.config().set("group.id", group).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, 0);
    let found = consumer.committed_offsets(list, STARTED).unwrap();
    found.find_partition(topic, 0).unwrap().offset().to_raw().filter(|offset| *offset >= 0)
}

/// Returns the target offset for a group at this offset of partition 0, and whether it is exact.
fn translated(flow: &Flow<'_>, offset: i64) -> (i64, bool) {
    let group = format!("{}-{offset}", flow.alias);
    commit(&flow.pair.at_source(), &group, flow.topic, offset);
    let link = format!("{}-dst", flow.alias);
    let arguments = ["offsets", "translate", &link, "--group", &group, "-o", "json"];
    let mut strait = Strait::start("translate", flow.folder.path(), &arguments).unwrap();
    strait.wait_end(COPIED).unwrap();
    let answers: Value = serde_json::from_str(&strait.stdout()).unwrap_or_else(|e| panic!("{e}: {}", strait.stderr()));
    (answers[0]["to"]["offset"].as_i64().unwrap(), answers[0]["exact"].as_bool().unwrap())
}

#[test]
fn a_mirror_maker_that_was_stopped_is_taken_over_without_a_gap_or_a_record_twice() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    let mut flow = Flow::new(&pair, "mm2-stopped", 2_000);
    let part = records(15_000) / 3;
    flow.write(part);
    let mirror = MirrorMaker::start(flow.folder.path());
    flow.wait_on_target(1);
    // It runs: its positions move while they are looked at, as records keep coming.
    let (stops, source) = (AtomicBool::new(false), pair.at_source());
    let (written, refused) = std::thread::scope(|scope| {
        let (stops, source, topic, first) = (&stops, &source, flow.topic, flow.written);
        let writer = scope.spawn(move || {
            let mut written = 0;
            while !stops.load(Ordering::Relaxed) {
                for partition in 0..PARTITIONS {
                    write_numbered(source, topic, partition, first + written, 20);
                }
                written += 20;
                std::thread::sleep(Duration::from_millis(100));
            }
            written
        });
        let refused = flow.take_over();
        mirror.stop();
        stops.store(true, Ordering::Relaxed);
        (writer.join().unwrap(), refused)
    });
    flow.written += written;
    assert!(refused.0 == Some(1) && refused.1.contains("MirrorMaker 2 is running"), "{}", refused.1);
    flow.write(part);
    let (code, said) = flow.take_over();
    assert!(code == Some(0) && said.contains("begins where MirrorMaker 2 has stopped in 3 partitions"), "{said}");
    println!("{said}");
    // Before the first run, and after it.
    let (code, again) = flow.take_over();
    assert!(code == Some(1) && again.contains("has progress already"), "{again}");
    let before = flow.on_target();
    flow.run();
    println!("{before} records by MirrorMaker 2, {} by the link", flow.on_target() - before);
    flow.check();
    let (code, again) = flow.take_over();
    assert!(code == Some(1) && again.contains("has progress already"), "{again}");
    // A reader of what MirrorMaker 2 has copied is not sent behind it, and one that has read all
    // goes on.
    assert_eq!(translated(&flow, 10), (0, false));
    let end = pair.at_target().offsets(&flow.copied(), 0, Isolation::Committed).unwrap().1;
    let (offset, is_exact) = translated(&flow, i64::try_from(flow.written).unwrap());
    assert!(is_exact && offset <= end && offset >= end - 1, "{offset} of {end}");
}

#[test]
fn groups_that_mirror_maker_has_kept_are_kept_by_the_link() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    let mut flow = Flow::new(&pair, "mm2-groups", 2_000).with_groups();
    let (goes_on, stays, reads) = ("mm2-groups-on", "mm2-groups-stays", "mm2-groups-reads");
    flow.write(2_000);
    let mirror = MirrorMaker::start(flow.folder.path());
    flow.wait_on_target(6_000);
    flow.wait_positions();
    for group in [goes_on, stays, reads] {
        commit(&pair.at_source(), group, flow.topic, 1_500);
    }
    let there = |group: &str| committed(&pair.at_target(), group, &flow.copied());
    for group in [goes_on, stays, reads] {
        wait_until("MirrorMaker 2 keeps it", STARTED, || there(group));
    }
    mirror.stop();
    let kept = there(stays);
    // One is read on the target meanwhile.
    commit(&pair.at_target(), reads, &flow.copied(), 1_777);
    let (code, said) = flow.take_over();
    assert!(code == Some(0) && said.contains("3 offsets of groups that MirrorMaker 2 has kept"), "{said}");
    flow.write(100);
    commit(&pair.at_source(), goes_on, flow.topic, 2_050);
    commit(&pair.at_source(), reads, flow.topic, 2_050);
    std::fs::copy(flow.folder.path().join("taken.toml"), flow.folder.path().join("strait.toml")).unwrap();
    let mut strait = Strait::run("mm2-groups", &flow.folder, &[]).unwrap();
    let copied = flow.copied();
    let there = |group: &str| committed(&pair.at_target(), group, &copied);
    let place = wait_until("its place is copied", COPIED, || {
        let target = pair.at_target().read_records(&copied, Isolation::Committed).unwrap();
        let source = pair.at_source().read_records(flow.topic, Isolation::Committed).unwrap();
        let next = source.iter().find(|record| record.partition == 0 && record.offset >= 2_050)?;
        target.iter().find(|record| record.partition == 0 && record.key == next.key).map(|record| record.offset)
    });
    wait_until("it goes on", COPIED, || (there(goes_on) == Some(place)).then_some(()));
    strait.wait_line("one is the target's", COPIED, |line| line.is_event("group_taken_over")).unwrap();
    assert_eq!((there(stays), there(reads)), (kept, Some(1_777)));
    let taken = strait.events("group_taken_over");
    assert!(taken.len() == 1, "{taken:?}");
    stop(&mut strait);
}

#[test]
fn a_mirror_maker_that_was_killed_is_taken_over_without_a_gap_or_a_record_twice() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    killed(&pair, "mm2-killed", records(30_000) / 3);
}

#[test]
#[ignore = "1,000,000 records by MirrorMaker 2: minutes"]
fn a_mirror_maker_that_was_killed_within_a_million_records_is_taken_over() {
    let _turn = Turn::alone();
    let pair = Pair::shared();
    killed(&pair, "mm2-million", records(1_000_000) / 3);
}

/// Writes this many records to each partition, a quarter at a time.
fn killed(pair: &Pair, alias: &str, count: u64) {
    let mut flow = Flow::new(pair, alias, 8_000);
    flow.write(count / 4);
    let mirror = MirrorMaker::start(flow.folder.path());
    flow.wait_on_target(count / 4 * 3);
    flow.wait_positions();
    // Behind its positions.
    flow.write(count / 4);
    flow.wait_on_target(count / 2 * 3 - 3);
    mirror.kill();
    flow.write(count / 2);
    let before = flow.on_target();
    let (code, said) = flow.take_over();
    assert!(code == Some(0) && said.contains("in 3 partitions"), "{said}");
    println!("{said}");
    flow.run();
    println!("{before} records by MirrorMaker 2, {} by the link", flow.on_target() - before);
    flow.check();
}

#[test]
fn names_by_a_template_hold_for_plan_run_and_translated_offsets() {
    let _turn = Turn::waiting();
    let pair = Pair::shared();
    pair.at_source().create_topic("templated", 1, &[]).unwrap();
    write_numbered(&pair.at_source(), "templated", 0, 0, 100);
    let config = pair.config(&link("template", &["templated"], 1, "naming = { template = \"{source}_{topic}\" }"));
    let (code, plan) = run_to_end("plan", &config, &["plan", "template"], COPIED);
    assert!(code == Some(0) && plan.contains("source_templated"), "{plan}");
    copy(&config);
    let copied = pair.at_target().read_records("source_templated", Isolation::Committed).unwrap();
    assert_eq!(keys(&copied, 0), key_range(0, 100));
    let one = |arguments: &[&str]| {
        let all = [&["offsets", "translate", "template", "--partition", "0", "--offset", "40"], arguments].concat();
        run_to_end("translate", &config, &all, COPIED)
    };
    let (code, said) = one(&["--topic", "templated"]);
    assert!(code == Some(0) && said.contains("source_templated-0 at 40: exact"), "{said}");
    let (code, said) = one(&["--topic", "source_templated", "--inverse"]);
    assert!(code == Some(0) && said.contains("templated-0 at 40: exact"), "{said}");
}
