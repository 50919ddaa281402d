//! Settings, partitions and access lists that the target takes over.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ConfigSource, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use strait_e2e::TestClient;
use strait_test_cluster::Cluster;

use super::fixture::{Case, RECORDS, Suite, everywhere, has_topic};
use crate::support::{kafka_tool, kafka_tool_output, now, settings, stop, wait_until};

/// A look is due every half minute.
const LOOKS: Duration = Duration::from_secs(90);

fn set(client: &TestClient, topic: &str, changes: &[&str]) {
    let changes: Vec<String> = changes.iter().map(|change| format!("{topic},{change}")).collect();
    kafka_tool("topic", client.config().get("bootstrap.servers").unwrap(), &changes);
}

#[track_caller]
fn wait_setting(client: &TestClient, topic: &str, name: &str, value: &str) {
    wait_until(&format!("{name} = {value} of {topic}"), LOOKS, || {
        (has_topic(client, topic) && settings(client, topic)[name] == value).then_some(())
    });
}

/// Reports whether a setting is one of the topic itself.
fn is_own(client: &TestClient, topic: &str, name: &str) -> bool {
    let admin: AdminClient<DefaultClientContext> = client.config().create().unwrap();
    let asked = now(admin.describe_configs([&ResourceSpecifier::Topic(topic)], &AdminOptions::new()));
    let entries = asked.unwrap().remove(0).unwrap().entries;
    entries.iter().any(|entry| entry.name == name && entry.source == ConfigSource::DynamicTopic)
}

pub fn sync_topic_configs(suite: &Suite) {
    let more = "[links.sync]\nconfigs_exclude = [\"delete\\\\.retention\\\\..*\"]\n";
    let case = Case { more, ..suite.case("configs") };
    let topic = case.make(1, &[("delete.retention.ms", "1000"), ("retention.bytes", "1000")]);
    let (_config, mut strait) = case.run();
    let (backup, remote) = (suite.backup(), case.remote(&topic));
    wait_setting(&backup, &remote, "retention.bytes", "1000");
    set(&backup, &remote, &["delete.retention.ms=2000", "retention.bytes=2000"]);
    // A broker shows changes some time after they are accepted, those of a request together.
    wait_setting(&backup, &remote, "delete.retention.ms", "2000");
    wait_setting(&backup, &remote, "retention.bytes", "1000");
    assert_eq!(settings(&backup, &remote)["delete.retention.ms"], "2000");
    stop(&mut strait);
}

pub fn replicate_source_default(suite: &Suite) {
    let case = Case { more: "[links.sync]\nconfigs = \"effective\"\n", ..suite.case("source-default") };
    let topic = case.make(1, &[]);
    let (_config, mut strait) = case.run();
    let (backup, remote) = (suite.backup(), case.remote(&topic));
    let default = settings(&suite.primary(), &topic);
    wait_setting(&backup, &remote, "segment.ms", &default["segment.ms"]);
    // The last one is never followed, and says that the broker shows the others.
    let shown = "unclean.leader.election.enable";
    set(&backup, &remote, &["segment.ms=1000000", "retention.bytes=1000", &format!("{shown}=true")]);
    wait_setting(&backup, &remote, shown, "true");
    for name in ["segment.ms", "retention.bytes"] {
        wait_setting(&backup, &remote, name, &default[name]);
    }
    stop(&mut strait);
}

pub fn replicate_target_default(suite: &Suite) {
    let case = suite.case("target-default");
    let topic = case.make(1, &[("segment.ms", "1000000")]);
    let (_config, mut strait) = case.run();
    let (backup, remote) = (suite.backup(), case.remote(&topic));
    wait_setting(&backup, &remote, "segment.ms", "1000000");
    assert!(is_own(&backup, &remote, "segment.ms"));
    set(&suite.primary(), &topic, &["segment.ms="]);
    wait_until("the setting given up", LOOKS, || (!is_own(&backup, &remote, "segment.ms")).then_some(()));
    stop(&mut strait);
}

pub fn create_partitions(suite: &Suite) {
    let case = suite.case("grows");
    let (topic, _config, mut strait) = case.begin();
    suite.primary().grow_topic(&topic, 11).unwrap();
    case.write(&suite.primary(), &topic, &[10], 0, RECORDS);
    let mut numbers = everywhere(0, RECORDS);
    numbers.push((0, RECORDS));
    case.wait_copied(&topic, &numbers);
    let remote = case.remote(&topic);
    assert!(suite.backup().topics().unwrap().contains(&(remote, 11)));
    stop(&mut strait);
}

/// Needs clusters with access lists.
pub fn sync_topic_acls(suite: &Suite) {
    let case = Case { is_mutual: true, more: "[links.sync]\nacls = true\n", ..suite.case("acls") };
    let topic = case.make(1, &[]);
    suite.backup().create_topic(&topic, 1, &[]).unwrap();
    let pair = suite.pair();
    for cluster in [&pair.source, &pair.target] {
        let acl = format!("reader,TOPIC,{topic},LITERAL,DESCRIBE");
        kafka_tool("acl", &cluster.internal_bootstrap(), &[acl]);
    }
    let (_config, mut strait) = case.run();
    let has = |cluster: &Cluster, topic: &str| {
        let found = kafka_tool_output("acls", &cluster.internal_bootstrap(), &[]);
        let parts = [format!("name={topic},"), "User:reader".to_owned(), "operation=DESCRIBE".to_owned()];
        found.lines().any(|line| parts.iter().all(|part| line.contains(part)))
    };
    wait_until("both access lists followed", LOOKS, || {
        (has(&pair.target, &case.remote(&topic)) && has(&pair.source, &format!("backup.{topic}"))).then_some(())
    });
    stop(&mut strait);
}
