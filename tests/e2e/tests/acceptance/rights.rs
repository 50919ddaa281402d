//! Rights that are taken away, and logins that are cut, while a link runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use strait_e2e::{LogLine, Strait};
use strait_test_cluster::{Cluster, ClusterSpec, Listener, User};

use crate::admin::{ADMIN, address_of, get, series, status};
use crate::bad_input::secured_config;
use crate::support::{
    Pair, SOON, Turn, kafka_tool, key_range, link, now, single, stop, wait_event, wait_until, write_numbered,
};

/// API key of the request with which a login begins.
const SASL_HANDSHAKE: i16 = 17;
/// A denied partition is retried after 30 s; its state must outlast that.
const PAST_A_RETRY: Duration = Duration::from_secs(34);

const TOPICS: [&str; 3] = ["kept-a", "kept-b", "kept-c"];
/// A topic that the configuration names and the link may not describe at first.
const UNSEEN: &str = "unseen";

fn acls() -> Vec<String> {
    let mut acls: Vec<String> = [
        "reader,GROUP,strait.,PREFIXED,READ",
        "reader,TOPIC,strait.,PREFIXED,WRITE",
        "reader,TOPIC,strait.,PREFIXED,CREATE",
        "writer,TOPIC,strait.,PREFIXED,READ",
        "writer,TOPIC,strait.,PREFIXED,WRITE",
        "writer,TOPIC,strait.,PREFIXED,CREATE",
        "writer,GROUP,strait.,PREFIXED,READ",
        "writer,TRANSACTIONAL_ID,strait.,PREFIXED,WRITE",
        "writer,TRANSACTIONAL_ID,strait.,PREFIXED,DESCRIBE",
    ]
    .map(str::to_owned)
    .to_vec();
    for topic in TOPICS {
        acls.extend(["READ", "DESCRIBE"].map(|right| format!("reader,TOPIC,{topic},LITERAL,{right}")));
    }
    for topic in TOPICS.into_iter().chain([UNSEEN]) {
        let rights = ["WRITE", "DESCRIBE", "DESCRIBE_CONFIGS", "CREATE", "ALTER"];
        acls.extend(rights.map(|right| format!("writer,TOPIC,source.{topic},LITERAL,{right}")));
    }
    acls
}

/// Starts a cluster that is source and target, at which the link has these rights.
fn secured() -> Pair {
    let users = ["reader", "writer"].map(|name| User { name: name.into(), password: format!("{name}-password") });
    let spec = ClusterSpec { users: users.to_vec(), acls: true, ..single("rights") };
    let cluster = now(Cluster::start(spec.with_listeners(&[Listener::Sasl]).with_proxies())).unwrap();
    kafka_tool("acl", &cluster.internal_bootstrap(), &acls());
    let cluster = Arc::new(cluster);
    Pair { source: Arc::clone(&cluster), target: cluster }
}

#[test]
fn rights_that_are_taken_away_stay_said_until_they_are_back_and_a_cut_login_ends_nothing() {
    const READ: [&str; 2] = ["reader,TOPIC,kept-a,LITERAL,READ", "reader,TOPIC,kept-a,LITERAL,DESCRIBE"];
    const SEE: [&str; 2] = ["reader,TOPIC,unseen,LITERAL,READ", "reader,TOPIC,unseen,LITERAL,DESCRIBE"];
    const GROUP: [&str; 1] = ["writer,GROUP,strait.,PREFIXED,READ"];
    const WRITE: [&str; 1] = ["writer,TOPIC,source.kept-b,LITERAL,WRITE"];
    let _turn = Turn::waiting();
    let pair = secured();
    let source = pair.at_source();
    let acl = |command: &str, acls: &[&str]| {
        let acls: Vec<String> = acls.iter().map(|acl| (*acl).to_owned()).collect();
        kafka_tool(command, &pair.source.internal_bootstrap(), &acls);
    };
    let wait_copies = |topic: &str, count: u64| pair.wait_keys(&format!("source.{topic}"), 0, &key_range(0, count));
    for topic in TOPICS.into_iter().chain([UNSEEN]) {
        source.create_topic(topic, 1, &[]).unwrap();
        write_numbered(&source, topic, 0, 0, 50);
    }
    let users = [("reader", "reader-password"), ("writer", "writer-password")];
    let links = format!("{}{ADMIN}", link("rights", &["kept-.*", UNSEEN], 1, ""));
    let config = secured_config(&pair.source, users, &links);
    let mut strait = Strait::run("rights", &config, &[]).unwrap();
    let address = address_of(&strait);
    for topic in TOPICS {
        wait_copies(topic, 50);
    }
    let hidden = strait.events("topic_hidden");
    assert!(hidden.len() == 1 && hidden[0].message().contains("source topic unseen cannot be described"), "{hidden:?}");

    acl("unacl", &READ);
    write_numbered(&source, "kept-a", 0, 50, 50);
    wait_event(&strait, "rights", "source_denied", "kept-a-0");
    let denied = Instant::now();
    acl("unacl", &WRITE);
    write_numbered(&source, "kept-b", 0, 50, 50);
    wait_event(&strait, "rights", "target_denied", "kept-b-0");
    write_numbered(&source, "kept-c", 0, 50, 50);
    wait_copies("kept-c", 100);
    // The rate of retries, not a wait for something.
    std::thread::sleep(PAST_A_RETRY.saturating_sub(denied.elapsed()));
    let labels = "link=\"rights\",source=\"source\",target=\"target\"";
    let (_, page) = get(&address, "/metrics");
    for (event, reason) in [("source_denied", "source_denied"), ("target_denied", "target_denied")] {
        let stopped = format!("strait_partitions{{{labels},state=\"stopped\",reason=\"{reason}\"}}");
        assert_eq!(series(&page, &stopped), Some(1.0), "{page}");
        assert_eq!(strait.events(event).len(), 1, "{:?}", strait.events(event));
    }
    acl("acl", &[&READ[..], &WRITE[..], &SEE[..]].concat());
    wait_copies("kept-a", 100);
    wait_copies("kept-b", 100);
    wait_copies(UNSEEN, 50);
    assert_eq!(strait.events("topic_hidden").len(), 1);

    // Brokers throw a member out whose right is gone. Its lanes wait for the right, and say so.
    acl("unacl", &GROUP);
    said(&strait, "not_in_group", "GROUP_AUTHORIZATION_FAILED");
    let (code, why) = get(&address, "/readyz");
    assert!(code == 503 && why.contains("GROUP_AUTHORIZATION_FAILED"), "{why}");
    write_numbered(&source, "kept-c", 0, 100, 50);
    acl("acl", &GROUP);
    said(&strait, "in_group_again", "again after ");
    wait_copies("kept-c", 150);

    // A broker that restarts cuts connections in the handshake.
    let proxy = pair.source.proxy(0).unwrap();
    proxy.cut_at(Some(SASL_HANDSHAKE));
    proxy.cut();
    let before = proxy.accepted();
    wait_until("logins cut", SOON, || (proxy.accepted() > before + 20).then_some(()));
    write_numbered(&source, "kept-c", 0, 150, 50);
    assert!(strait.poll_end().unwrap().is_none(), "the process has ended");
    proxy.cut_at(None);
    wait_copies("kept-c", 200);
    assert!(strait.events("login_refused").is_empty(), "{:?}", strait.events("login_refused"));

    wait_out_a_changed_password(&pair, &strait, &address);
    wait_copies("kept-c", 250);
    assert!(strait.poll_end().unwrap().is_none(), "the process has ended");
    stop(&mut strait);
}

fn said(strait: &Strait, event: &str, part: &str) {
    let is = |line: &LogLine| line.is_event(event) && line.message().contains(part);
    println!("{}", strait.wait_line(&format!("{event} with {part}"), SOON, is).unwrap().message());
}

/// The password of the target's user is changed at the broker, and changed back after a while.
fn wait_out_a_changed_password(pair: &Pair, strait: &Strait, address: &str) {
    let began = Instant::now();
    let bootstrap = pair.source.internal_bootstrap();
    let set = |password: &str| kafka_tool("password", &bootstrap, &["writer".to_owned(), password.to_owned()]);
    set("another-password");
    let proxy = pair.source.proxy(0).unwrap();
    proxy.cut();
    write_numbered(&pair.at_source(), "kept-c", 0, 200, 50);
    said(strait, "login_refused", "next attempt in ");
    let (before, since) = (proxy.accepted(), Instant::now());
    said(strait, "not_in_group", "Authentication failed");
    let connections = proxy.accepted() - before;
    println!("{connections} connections in {:?} of a refused login", since.elapsed());
    let (code, why) = get(address, "/readyz");
    assert!(code == 503 && why.contains("Authentication failed"), "{why}");
    let (_, page) = get(address, "/metrics");
    let labels = "link=\"rights\",source=\"source\",target=\"target\"";
    assert_eq!(series(&page, &format!("strait_group_member{{{labels}}}")), Some(0.0), "{page}");
    let status = status(address);
    let outside = status["links"][0]["not_in_group"]["reason"].as_str().unwrap_or_default();
    assert!(outside.contains("Authentication failed"), "{status}");
    set("writer-password");
    wait_until("in its group", SOON, || (strait.events("in_group_again").len() == 2).then_some(()));
    wait_until("ready", Duration::from_secs(60), || (get(address, "/readyz").0 == 200).then_some(()));
    println!("a changed password took {:?}", began.elapsed());
}
