//! A running link has the target follow its source: settings, whoever coordinates, and without
//! rights.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use strait_e2e::{ConfigFolder, Strait, TestClient};
use strait_test_cluster::{Cluster, ClusterSpec, Listener, User};

use crate::admin::{ADMIN, address_of, get, series, status};
use crate::bad_input::secured_config;
use crate::plan::{planned, short};
use crate::support::{
    Pair, SOON, Turn, kafka_tool, key_range, keys, link, now, settings, single, stop, wait_until, write_numbered,
};

/// A look is due every half minute.
const LOOKS: Duration = Duration::from_secs(75);

fn set(client: &TestClient, changes: &[String]) {
    kafka_tool("topic", client.config().get("bootstrap.servers").unwrap(), changes);
}

fn of(client: &TestClient, topic: &str, name: &str) -> String {
    settings(client, topic).remove(name).unwrap_or_default()
}

#[test]
fn a_setting_that_is_edited_on_the_target_is_taken_back_and_another_name_stays() {
    let _turn = Turn::waiting();
    let pair = Pair::shared();
    let (source, target) = (pair.at_source(), pair.at_target());
    source.create_topic("follow.a", 1, &[("segment.ms", "1000000")]).unwrap();
    let config = pair.config(&(link("follow", &["follow\\..*"], 1, "") + ADMIN));
    let mut strait = Strait::run("follow", &config, &[]).unwrap();
    let copy = "source.follow.a";
    wait_until("followed", LOOKS, || {
        (pair.has_target_topic(copy) && of(&target, copy, "segment.ms") == "1000000").then_some(())
    });
    set(&target, &[format!("{copy},segment.ms=2000000"), format!("{copy},index.interval.bytes=9000")]);
    // A broker shows changes some time after they are accepted, those of a request together.
    wait_until("edited", LOOKS, || (of(&target, copy, "index.interval.bytes") == "9000").then_some(()));
    wait_until("undone", LOOKS, || (of(&target, copy, "segment.ms") == "1000000").then_some(()));
    assert_eq!(of(&target, copy, "index.interval.bytes"), "9000");
    // One that the source gives up goes, with the value that was set for it.
    set(&source, &["follow.a,segment.ms=".to_owned(), "follow.a,flush.ms=60000".to_owned()]);
    wait_until("given up", LOOKS, || (of(&target, copy, "flush.ms") == "60000").then_some(()));
    assert_eq!(of(&target, copy, "segment.ms"), "604800000");
    let (_, plan, _) = planned(&config, "follow", &[]);
    let left = ["= config source.follow.a index.interval.bytes targets_own".to_owned()];
    assert_eq!(short(&plan), left.into());
    stop(&mut strait);

    // Without metadata nothing is changed and nothing is made.
    source.create_topic("follow.b", 1, &[]).unwrap();
    set(&source, &["follow.a,flush.ms=70000".to_owned()]);
    write_numbered(&source, "follow.a", 0, 0, 10);
    let mut strait = Strait::run("follow-records", &config, &["--read-only-metadata"]).unwrap();
    pair.wait_keys(copy, 0, &key_range(0, 10));
    strait.wait_line("it says so", LOOKS, |line| line.message().contains("nothing but records is changed")).unwrap();
    assert_eq!(of(&target, copy, "flush.ms"), "60000");
    assert!(!pair.has_target_topic("source.follow.b"));
    stop(&mut strait);
}

const MANY: usize = 150;

/// Returns a setting of all topics.
fn values(client: &TestClient) -> BTreeMap<String, usize> {
    let admin: AdminClient<DefaultClientContext> = client.config().create().unwrap();
    let names: Vec<String> = (0..MANY).map(|number| format!("source.halt{number}")).collect();
    let asked: Vec<ResourceSpecifier<'_>> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
    let described = now(admin.describe_configs(&asked, &AdminOptions::new())).unwrap_or_default();
    let mut values = BTreeMap::new();
    for described in described.into_iter().flatten() {
        let value = described.entries.into_iter().find(|entry| entry.name == "flush.ms").and_then(|entry| entry.value);
        *values.entry(value.unwrap_or_default()).or_default() += 1;
    }
    values
}

fn change_all(client: &TestClient, value: &str) {
    let changes: Vec<String> = (0..MANY).map(|number| format!("halt{number},flush.ms={value}")).collect();
    set(client, &changes);
}

#[test]
fn a_coordinator_that_is_stopped_amid_its_changes_leaves_nothing_that_its_successor_does_not_mend() {
    let _turn = Turn::waiting();
    let pair = Pair::of(single("halt-source"), single("halt-target").with_proxies());
    let (source, target) = (pair.at_source(), pair.at_target());
    for number in 0..MANY {
        source.create_topic(&format!("halt{number}"), 1, &[("flush.ms", "1000")]).unwrap();
    }
    let config = pair.config(&(link("halt", &["halt.*"], 2, "") + ADMIN));
    let mut processes = ["halt-a", "halt-b"].map(|name| Strait::run(name, &config, &[]).unwrap());
    let all = |value: &str| BTreeMap::from([(value.to_owned(), MANY)]);
    wait_until("all made", LOOKS * 2, || (values(&target) == all("1000")).then_some(()));
    let at = processes.each_ref().map(address_of);
    let led = wait_until("a coordinator", SOON, || {
        at.iter().position(|address| status(address)["links"][0]["coordinator"]["state"] == "coordinating")
    });
    // Over a long line the changes take longer than a batch may.
    let proxy = pair.target.proxy(0).unwrap();
    proxy.delay(Duration::from_millis(25));
    change_all(&source, "2000");
    wait_until("some are changed", LOOKS, || (values(&target).len() == 2).then_some(()));
    processes[led].pause().unwrap();
    let stopped = values(&target);
    println!("stopped with {stopped:?}");
    assert_eq!(stopped.len(), 2, "it was stopped too late");
    proxy.heal();
    change_all(&source, "3000");
    wait_until("the successor has changed all", LOOKS * 3, || (values(&target) == all("3000")).then_some(()));
    processes[led].resume().unwrap();
    let address = &at[led];
    wait_until("it knows", SOON, || {
        let found = status(address)["links"][0]["coordinator"].clone();
        (found["state"] != "coordinating" || found["owner"].as_u64()? > 2).then_some(())
    });
    // One request may have been on its way. The next look mends it.
    wait_until("like the source", LOOKS, || (values(&target) == all("3000")).then_some(()));
    for process in &mut processes {
        stop(process);
    }
    assert_eq!(values(&target), all("3000"));
    let (code, plan, _) = planned(&config, "halt", &["--fail-on-change"]);
    assert_eq!(code, Some(0), "{plan:#}");
}

/// All rights but the one to change settings.
fn rights() -> Vec<String> {
    let all = [
        "reader,GROUP,strait.,PREFIXED,READ",
        "reader,TOPIC,less,PREFIXED,READ",
        "reader,TOPIC,less,PREFIXED,DESCRIBE",
        "reader,TOPIC,less,PREFIXED,DESCRIBE_CONFIGS",
        "writer,TOPIC,source.less,PREFIXED,WRITE",
        "writer,TOPIC,source.less,PREFIXED,DESCRIBE",
        "writer,TOPIC,source.less,PREFIXED,DESCRIBE_CONFIGS",
        "writer,TOPIC,source.less,PREFIXED,CREATE",
        "writer,TOPIC,strait.,PREFIXED,READ",
        "writer,TOPIC,strait.,PREFIXED,WRITE",
        "writer,TOPIC,strait.,PREFIXED,CREATE",
        "writer,TOPIC,strait.,PREFIXED,DESCRIBE_CONFIGS",
        "writer,GROUP,strait.,PREFIXED,READ",
        "writer,TRANSACTIONAL_ID,strait.,PREFIXED,WRITE",
    ];
    all.map(str::to_owned).to_vec()
}

fn secured() -> (Arc<Cluster>, ConfigFolder) {
    let users = ["reader", "writer"].map(|name| User { name: name.into(), password: format!("{name}-password") });
    let spec = ClusterSpec { users: users.to_vec(), acls: true, ..single("follow-rights") };
    let cluster = Arc::new(now(Cluster::start(spec.with_listeners(&[Listener::Sasl]))).unwrap());
    kafka_tool("acl", &cluster.internal_bootstrap(), &rights());
    let users = [("reader", "reader-password"), ("writer", "writer-password")];
    let links = link("less", &["less.*"], 1, "[links.sync]\nacls = true\n") + ADMIN;
    let config = secured_config(&cluster, users, &links);
    (cluster, config)
}

#[test]
fn a_missing_right_to_change_settings_is_told_once_and_records_are_copied() {
    let _turn = Turn::waiting();
    let (cluster, config) = secured();
    let client = TestClient::new(cluster.internal_bootstrap());
    for number in 0..3 {
        client.create_topic(&format!("less{number}"), 1, &[("segment.ms", "1000000")]).unwrap();
    }
    write_numbered(&client, "less0", 0, 0, 10);
    let mut strait = Strait::run("less", &config, &[]).unwrap();
    let address = address_of(&strait);
    wait_until("told", SOON, || (strait.events("metadata_denied").len() == 3).then_some(()));
    let said: Vec<String> = strait.events("metadata_denied").iter().map(|line| line.message().to_owned()).collect();
    let of_configs = said.iter().find(|said| said.contains("settings of target topics cannot be changed")).unwrap();
    let command = "kafka-acls.sh --bootstrap-server";
    assert!(of_configs.contains(command) && of_configs.contains("--operation AlterConfigs"), "{said:#?}");
    assert!(said.iter().filter(|said| said.contains("access list of the")).count() == 2, "{said:#?}");
    write_numbered(&client, "less0", 0, 10, 10);
    wait_until("copied", SOON, || {
        let read = client.read_records("source.less0", strait_e2e::Isolation::Committed).ok()?;
        (keys(&read, 0) == key_range(0, 20)).then_some(())
    });
    let denied = status(&address)["links"][0]["coordinator"]["denied"].clone();
    assert!(denied["alter_configs"].as_str().unwrap().contains("source.less"), "{denied}");
    let labels = "link=\"less\",source=\"source\",target=\"target\",right=\"alter_configs\"";
    let page = get(&address, "/metrics").1;
    assert_eq!(series(&page, &format!("strait_metadata_denied{{{labels}}}")), Some(1.0), "{page}");
    stop(&mut strait);
    assert_eq!(strait.events("metadata_denied").len(), 3, "told once");
}
