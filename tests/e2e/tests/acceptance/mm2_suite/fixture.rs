//! The fixture of MirrorMaker 2's suite: the clusters `primary` and `backup`, topics of ten
//! partitions with ten records each, and groups that are read at one and continue at the other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use strait_core::mm2::Checkpoint;
use strait_e2e::{ConfigFolder, Isolation, Record, Strait, TestClient};
use strait_test_cluster::{Cluster, ClusterSpec, Listener, User};

use crate::listeners::section;
use crate::support::{Pair, SOON, kafka_tool, key_range, keys, link_between, single, wait_until, write_numbered};

pub const PARTITIONS: i32 = 10;
/// Records of each partition at a time.
pub const RECORDS: u64 = 10;
const PATIENCE: Duration = Duration::from_secs(20);
/// All rights of the user that links log in with.
const RIGHTS: [&str; 4] = [
    "copier,TOPIC,*,LITERAL,ALL",
    "copier,GROUP,*,LITERAL,ALL",
    "copier,CLUSTER,kafka-cluster,LITERAL,ALL",
    "copier,TRANSACTIONAL_ID,*,LITERAL,ALL",
];

/// The suite, and its five variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Prefixed names in both directions, exactly once.
    Base,
    /// Unchanged names, in one direction.
    Identity,
    /// Records come in transactions, between others that are aborted.
    Transactional,
    /// Without transactions on the target.
    AtLeastOnce,
    /// The target's listener has TLS.
    Tls,
    /// Both clusters have logins and access lists.
    Secured,
}

/// The clusters of a variant.
pub struct Suite {
    pub variant: Variant,
    pair: Pair,
}

impl Suite {
    /// Returns the suite on the pair that scenarios share.
    pub fn base() -> Self {
        Self { variant: Variant::Base, pair: Pair::shared() }
    }

    /// Starts a pair for a variant.
    pub fn start(variant: Variant) -> Self {
        let (primary, backup) = (single("mm2-primary"), single("mm2-backup"));
        let pair = match variant {
            Variant::Tls => Pair::of(primary, backup.with_listeners(&[Listener::Plaintext, Listener::Tls])),
            Variant::Secured => Pair::of(secured(primary), secured(backup)),
            _ => Pair::of(primary, backup),
        };
        if variant == Variant::Secured {
            for cluster in [&pair.source, &pair.target] {
                kafka_tool("acl", &cluster.internal_bootstrap(), &RIGHTS.map(str::to_owned));
            }
        }
        Self { variant, pair }
    }

    pub fn primary(&self) -> TestClient {
        self.pair.at_source()
    }

    pub fn backup(&self) -> TestClient {
        self.pair.at_target()
    }

    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// Returns the case of this name, in one direction.
    pub fn case(&self, name: &'static str) -> Case<'_> {
        Case { suite: self, name, alias: "primary", lanes: 1, is_mutual: false, mm2: "checkpoints = true", more: "" }
    }

    fn cluster(&self, name: &str, cluster: &Cluster) -> String {
        let way = match self.variant {
            Variant::Tls if name == "backup" => (Listener::Tls, None),
            Variant::Secured => (Listener::SaslTls, Some("SCRAM-SHA-512")),
            _ => return format!("[clusters.{name}]\nbootstrap_servers = \"{}\"\n", cluster.internal_bootstrap()),
        };
        section(name, cluster, way, cluster.certificates().unwrap())
    }
}

fn secured(spec: ClusterSpec) -> ClusterSpec {
    let users = vec![User { name: "copier".to_owned(), password: "copier-password".to_owned() }];
    ClusterSpec { users, acls: true, ..spec }.with_listeners(&[Listener::SaslTls])
}

/// A case with its links: one from `primary` to `backup`, and one back if it is mutual.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    pub suite: &'a Suite,
    /// Part of the names of its topics, groups and links, so that cases run side by side.
    pub name: &'static str,
    /// The links' name for the source.
    pub alias: &'static str,
    pub lanes: u32,
    pub is_mutual: bool,
    /// Heartbeats, checkpoints and offset syncs that the links write, as options of `mm2`.
    pub mm2: &'static str,
    /// Further lines of the links.
    pub more: &'static str,
}

impl Case<'_> {
    /// Reports whether there is a link back.
    pub fn goes_back(&self) -> bool {
        // The same names in both directions are a loop.
        self.is_mutual && self.suite.variant != Variant::Identity
    }

    pub fn link(&self) -> String {
        format!("mm2s-{}", self.name)
    }

    pub fn topic(&self, number: u32) -> String {
        format!("test-topic-{}-{number}", self.name)
    }

    pub fn group(&self) -> String {
        format!("consumer-group-{}", self.name)
    }

    /// Returns the name that a topic of `primary` has at `backup`.
    pub fn remote(&self, topic: &str) -> String {
        if self.suite.variant == Variant::Identity { topic.to_owned() } else { format!("{}.{topic}", self.alias) }
    }

    /// Makes a topic of this case at `primary`, and returns its name.
    pub fn make(&self, number: u32, settings: &[(&str, &str)]) -> String {
        let topic = self.topic(number);
        self.suite.primary().create_topic(&topic, PARTITIONS, settings).unwrap();
        topic
    }

    /// Writes the configuration of the links.
    pub fn config(&self) -> ConfigFolder {
        ConfigFolder::new(&self.toml(&format!("test-topic-{}-.*", self.name))).unwrap()
    }

    /// Returns the configuration with this pattern of topics.
    pub fn toml(&self, topics: &str) -> String {
        let suite = self.suite;
        let naming = if suite.variant == Variant::Identity { "identity" } else { "prefix" };
        let delivery = if suite.variant == Variant::AtLeastOnce { "at-least-once" } else { "exactly-once" };
        let heartbeats = if self.mm2.contains("heartbeats") { "" } else { ", heartbeats = \"off\"" };
        let more = format!(
            "mm2 = {{ {}{heartbeats} }}\nnaming = \"{naming}\"\ndelivery = \"{delivery}\"\ngroups = [\"{}.*\"]\n{}",
            self.mm2,
            self.group(),
            self.more
        );
        let mut toml = suite.cluster(self.alias, &suite.pair.source) + &suite.cluster("backup", &suite.pair.target);
        toml += &link_between(&self.link(), self.alias, "backup", &[topics], self.lanes, &more);
        if self.goes_back() {
            toml += &link_between(&format!("{}-back", self.link()), "backup", self.alias, &[topics], self.lanes, &more);
        }
        toml + "[admin]\nlisten = \"127.0.0.1:0\"\n"
    }

    /// Runs the links.
    pub fn run(&self) -> (ConfigFolder, Strait) {
        let config = self.config();
        let strait = Strait::run(self.name, &config, &[]).unwrap();
        (config, strait)
    }

    /// Runs the links on a new topic with ten records in each partition, until these are copied.
    #[track_caller]
    pub fn begin(&self) -> (String, ConfigFolder, Strait) {
        let topic = self.make(1, &[]);
        self.write_all(&topic, 0);
        let (config, strait) = self.run();
        self.wait_copied(&topic, &everywhere(0, RECORDS));
        (topic, config, strait)
    }

    /// Writes records to some partitions of a topic, numbered from `first`.
    pub fn write(&self, client: &TestClient, topic: &str, partitions: &[i32], first: u64, count: u64) {
        if self.suite.variant == Variant::Transactional {
            return write_between_aborted(client, topic, partitions, first, count);
        }
        for partition in partitions {
            write_numbered(client, topic, *partition, first, count);
        }
    }

    /// Writes ten records to each partition of a topic of `primary`, numbered from `first`.
    pub fn write_all(&self, topic: &str, first: u64) {
        let all: Vec<i32> = (0..PARTITIONS).collect();
        self.write(&self.suite.primary(), topic, &all, first, RECORDS);
    }

    /// Waits until the copy of a topic has exactly these records in each partition.
    #[track_caller]
    pub fn wait_copied(&self, topic: &str, numbers: &[(u64, u64)]) {
        wait_copied(&self.suite.backup(), &self.remote(topic), numbers);
    }

    /// Waits until a group continues at `backup`, in each partition, behind as many records as it
    /// has read at `primary`; returns its offsets there.
    #[track_caller]
    pub fn wait_synced(&self, group: &str, topic: &str) -> Vec<Option<i64>> {
        let (primary, backup, remote) = (self.suite.primary(), self.suite.backup(), self.remote(topic));
        let source = read(&primary, topic);
        let target = read(&backup, &remote);
        let read = committed(&member(&primary, group), topic);
        let reader = member(&backup, group);
        assert!(read.iter().any(Option::is_some), "{group} has read nothing of {topic}");
        wait_until(&format!("{group} in its place in {remote}"), SOON, || {
            let there = committed(&reader, &remote);
            is_same_place((&source, &read), (&target, &there)).then_some(there)
        })
    }

    /// Returns the checkpoints of a group in the copy of a topic, by partition and in their order.
    pub fn checkpoints(&self, group: &str, topic: &str) -> BTreeMap<i32, Vec<(i64, i64)>> {
        let remote = self.remote(topic);
        let mut found: BTreeMap<i32, Vec<(i64, i64)>> = BTreeMap::new();
        for record in read(&self.suite.backup(), &format!("{}.checkpoints.internal", self.alias)) {
            let point = Checkpoint::decode(&record.key.unwrap_or_default(), &record.value.unwrap_or_default()).unwrap();
            if point.group == group && point.topic == remote {
                found.entry(point.partition).or_default().push((point.upstream, point.downstream));
            }
        }
        found
    }

    /// Waits until the last checkpoint of each partition is where the group is at `primary`, and as
    /// many records on.
    #[track_caller]
    pub fn wait_checkpoints(&self, group: &str, topic: &str) -> BTreeMap<i32, Vec<(i64, i64)>> {
        let (source, target) = (read(&self.suite.primary(), topic), read(&self.suite.backup(), &self.remote(topic)));
        let wanted = committed(&member(&self.suite.primary(), group), topic);
        wait_until(&format!("checkpoints of {group} in {topic}"), SOON, || {
            let found = self.checkpoints(group, topic);
            let last = |partition: i32| found.get(&partition).and_then(|points| points.last()).copied();
            let up: Vec<_> = (0..PARTITIONS).map(|partition| last(partition).map(|(up, _)| up)).collect();
            let down: Vec<_> = (0..PARTITIONS).map(|partition| last(partition).map(|(_, down)| down)).collect();
            (up == wanted && is_same_place((&source, &up), (&target, &down))).then_some(found)
        })
    }
}

/// Reports whether places in two logs have the same number of records before them, in each
/// partition.
fn is_same_place(one: (&[Record], &[Option<i64>]), other: (&[Record], &[Option<i64>])) -> bool {
    let before = |(records, places): (&[Record], &[Option<i64>]), partition: i32| {
        let place = places[usize::try_from(partition).unwrap()]?;
        Some(records.iter().filter(|record| record.partition == partition && record.offset < place).count())
    };
    (0..PARTITIONS).all(|partition| before(one, partition) == before(other, partition))
}

/// Returns `numbers` for every partition.
pub fn everywhere(first: u64, count: u64) -> Vec<(u64, u64)> {
    (0..PARTITIONS).map(|_| (first, count)).collect()
}

/// Waits until a topic has exactly these records in each partition.
#[track_caller]
pub fn wait_copied(client: &TestClient, topic: &str, numbers: &[(u64, u64)]) {
    let wanted: Vec<Vec<String>> = numbers.iter().map(|(first, count)| key_range(*first, *count)).collect();
    wait_until(&format!("all of {topic}"), SOON, || {
        has_topic(client, topic).then_some(())?;
        let records = client.read_records(topic, Isolation::Committed).ok()?;
        let found: Vec<Vec<String>> = (0..).zip(&wanted).map(|(partition, _)| keys(&records, partition)).collect();
        (found == wanted).then_some(())
    });
}

pub fn has_topic(client: &TestClient, topic: &str) -> bool {
    client.topics().unwrap().iter().any(|(name, _)| name == topic)
}

pub fn read(client: &TestClient, topic: &str) -> Vec<Record> {
    client.read_records(topic, Isolation::Committed).unwrap()
}

/// Writes a transaction that is aborted, one that is committed and another that is aborted.
fn write_between_aborted(client: &TestClient, topic: &str, partitions: &[i32], first: u64, count: u64) {
    let producer: BaseProducer = client.config().set("transactional.id", format!("of-{topic}")).create().unwrap();
    producer.init_transactions(SOON).unwrap();
    let send = |keys: &[String]| {
        producer.begin_transaction().unwrap();
        for partition in partitions {
            for key in keys {
                producer.send(BaseRecord::to(topic).partition(*partition).key(key).payload(key)).unwrap();
            }
        }
        producer.flush(SOON).unwrap();
    };
    let aborted = ["aborted".to_owned()];
    send(&aborted);
    producer.abort_transaction(SOON).unwrap();
    send(&key_range(first, count));
    producer.commit_transaction(SOON).unwrap();
    send(&aborted);
    producer.abort_transaction(SOON).unwrap();
}

/// Returns a consumer of a group, which is no member of it yet.
pub fn member(client: &TestClient, group: &str) -> BaseConsumer {
    let mut config = client.config();
    config.set("group.id", group).set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
    config.set("isolation.level", "read_committed").set("enable.partition.eof", "true");
    config.create().unwrap()
}

/// Returns what a group has committed in each partition of a topic.
pub fn committed(consumer: &BaseConsumer, topic: &str) -> Vec<Option<i64>> {
    let mut list = TopicPartitionList::new();
    list.add_partition_range(topic, 0, PARTITIONS - 1);
    let found = consumer.committed_offsets(list, PATIENCE).unwrap();
    let of = |partition| found.find_partition(topic, partition).unwrap().offset().to_raw().filter(|at| *at >= 0);
    (0..PARTITIONS).map(of).collect()
}

/// Commits a place in each partition of a topic.
pub fn commit(consumer: &BaseConsumer, topic: &str, places: &[i64]) {
    let mut list = TopicPartitionList::new();
    for (partition, place) in (0..).zip(places) {
        list.add_partition_offset(topic, partition, Offset::Offset(*place)).unwrap();
    }
    consumer.commit(&list, CommitMode::Sync).unwrap();
}

/// Reads a topic to the end of each partition as a member of a group, and commits that where
/// `commits`; returns the number of records.
#[track_caller]
pub fn read_on(client: &TestClient, group: &str, topic: &str, commits: bool) -> u64 {
    let consumer = member(client, group);
    let mut places: Vec<i64> = committed(&consumer, topic).into_iter().map(|place| place.unwrap_or(0)).collect();
    consumer.subscribe(&[topic]).unwrap();
    let (mut ends, mut count) = (BTreeSet::new(), 0);
    wait_until(&format!("{group} at the end of {topic}"), SOON, || {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                count += 1;
                ends.remove(&message.partition());
                places[usize::try_from(message.partition()).unwrap()] = message.offset() + 1;
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(ends.insert(partition)),
            _ => {}
        }
        (ends.len() == places.len()).then_some(())
    });
    if commits {
        commit(&consumer, topic, &places);
    }
    count
}
