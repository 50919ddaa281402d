//! Rights that are taken away, and logins that are cut, while a link runs.

use std::time::{Duration, Instant};

use strait_e2e::{Isolation, LogLine, Strait, TestClient, write_records};
use strait_test_cluster::{Cluster, ClusterSpec, Listener, User};

use crate::admin::{address_of, get, series};
use crate::bad_input::secured_config;
use crate::support::{SOON, Turn, kafka_tool, key_range, keys, link, now, numbered, single, wait_until};

/// API key of the request with which a login begins.
const SASL_HANDSHAKE: i16 = 17;
/// A denied partition is retried after 30 s; its state must outlast that.
const PAST_A_RETRY: Duration = Duration::from_secs(34);

const TOPICS: [&str; 3] = ["kept-a", "kept-b", "kept-c"];

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
        let rights = ["WRITE", "DESCRIBE", "DESCRIBE_CONFIGS", "CREATE", "ALTER"];
        acls.extend(rights.map(|right| format!("writer,TOPIC,source.{topic},LITERAL,{right}")));
    }
    acls
}

struct Secured {
    cluster: Cluster,
    client: TestClient,
}

impl Secured {
    fn start() -> Self {
        let users = ["reader", "writer"].map(|name| User { name: name.into(), password: format!("{name}-password") });
        let spec = ClusterSpec { users: users.to_vec(), acls: true, ..single("rights") };
        let cluster = now(Cluster::start(spec.with_listeners(&[Listener::Sasl]).with_proxies())).unwrap();
        let client = TestClient::new(cluster.internal_bootstrap());
        kafka_tool("acl", &cluster.internal_bootstrap(), &acls());
        Self { cluster, client }
    }

    fn tool(&self, command: &str, acls: &[&str]) {
        let acls: Vec<String> = acls.iter().map(|acl| (*acl).to_owned()).collect();
        kafka_tool(command, &self.cluster.internal_bootstrap(), &acls);
    }

    fn write(&self, topic: &str, first: u64, count: u64) {
        write_records(&self.client.config(), topic, &numbered(0, first, count)).unwrap();
    }

    #[track_caller]
    fn wait_copies(&self, topic: &str, count: u64) {
        let copy = format!("source.{topic}");
        wait_until(&format!("{count} records of {topic} copied"), SOON, || {
            let exists = self.client.topics().unwrap().iter().any(|(name, _)| *name == copy);
            let read = || keys(&self.client.read_records(&copy, Isolation::Committed).unwrap(), 0);
            (exists && read() == key_range(0, count)).then_some(())
        });
    }
}

#[track_caller]
fn wait_event(strait: &Strait, event: &str, place: &str) {
    let is = |line: &LogLine| line.is_event(event) && line.message().starts_with(place);
    let line = strait.wait_line(&format!("{event} of {place}"), SOON, is).unwrap();
    println!("{}", line.message());
}

#[test]
fn rights_that_are_taken_away_stay_said_until_they_are_back_and_a_cut_login_ends_nothing() {
    const READ: [&str; 2] = ["reader,TOPIC,kept-a,LITERAL,READ", "reader,TOPIC,kept-a,LITERAL,DESCRIBE"];
    const WRITE: [&str; 1] = ["writer,TOPIC,source.kept-b,LITERAL,WRITE"];
    let _turn = Turn::beside_another();
    let secured = Secured::start();
    for topic in TOPICS {
        secured.client.create_topic(topic, 1, &[]).unwrap();
        secured.write(topic, 0, 50);
    }
    let users = [("reader", "reader-password"), ("writer", "writer-password")];
    let links = format!("{}[admin]\nlisten = \"127.0.0.1:0\"\n", link("rights", &["kept-.*"], 1, ""));
    let config = secured_config(&secured.cluster, users, &links);
    let mut strait = Strait::run("rights", &config, &[]).unwrap();
    let address = address_of(&strait);
    for topic in TOPICS {
        secured.wait_copies(topic, 50);
    }

    secured.tool("unacl", &READ);
    secured.write("kept-a", 50, 50);
    wait_event(&strait, "source_denied", "kept-a-0:");
    let denied = Instant::now();
    secured.tool("unacl", &WRITE);
    secured.write("kept-b", 50, 50);
    wait_event(&strait, "target_denied", "kept-b-0:");
    secured.write("kept-c", 50, 50);
    secured.wait_copies("kept-c", 100);
    // The rate of retries, not a wait for something.
    std::thread::sleep(PAST_A_RETRY.saturating_sub(denied.elapsed()));
    let labels = "link=\"rights\",source=\"source\",target=\"target\"";
    let (_, page) = get(&address, "/metrics");
    for (event, reason) in [("source_denied", "source_denied"), ("target_denied", "target_denied")] {
        let stopped = format!("strait_partitions{{{labels},state=\"stopped\",reason=\"{reason}\"}}");
        assert_eq!(series(&page, &stopped), Some(1.0), "{page}");
        assert_eq!(strait.events(event).len(), 1, "{:?}", strait.events(event));
    }
    secured.tool("acl", &[&READ[..], &WRITE[..]].concat());
    secured.wait_copies("kept-a", 100);
    secured.wait_copies("kept-b", 100);

    // A broker that restarts cuts connections in the handshake.
    let proxy = secured.cluster.proxy(0).unwrap();
    proxy.cut_at(Some(SASL_HANDSHAKE));
    proxy.cut();
    let before = proxy.accepted();
    wait_until("logins cut", SOON, || (proxy.accepted() > before + 20).then_some(()));
    secured.write("kept-c", 100, 50);
    assert!(strait.poll_end().unwrap().is_none(), "the process has ended");
    proxy.cut_at(None);
    secured.wait_copies("kept-c", 150);
    assert!(strait.events("login_refused").is_empty(), "{:?}", strait.events("login_refused"));
    strait.terminate().unwrap();
    assert_eq!(strait.wait_end(SOON).unwrap().code(), Some(0));
}
