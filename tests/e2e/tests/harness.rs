//! The harness itself against a real broker: a reader finds what the generator says it wrote.

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use strait_e2e::{AnomalyKind, Generator, GeneratorSpec, Isolation, Record, TestClient, check, generate, offset_pairs};
use strait_test_cluster::{Cluster, ClusterSpec, Listener, User};

#[allow(clippy::unwrap_used, reason = "a helper that fails ends its test")]
async fn cluster(name: &str) -> Cluster {
    Cluster::start(ClusterSpec::new(name).with_proxies()).await.unwrap()
}

/// Records per partition without their offsets.
fn by_partition(records: impl IntoIterator<Item = Record>) -> BTreeMap<i32, Vec<Record>> {
    let mut partitions: BTreeMap<i32, Vec<Record>> = BTreeMap::new();
    for record in records {
        partitions.entry(record.partition).or_default().push(Record { offset: -1, ..record });
    }
    partitions
}

#[tokio::test]
async fn every_byte_is_read_back_and_topics_are_grown_trimmed_and_deleted() {
    let cluster = cluster("bytes").await;
    let client = TestClient::new(cluster.internal_bootstrap());
    client.create_topic("all", 3, &[("max.message.bytes", "2000000")]).unwrap();
    assert!(client.topics().unwrap().contains(&("all".into(), 3)));

    // One producer and no aborts, so that the order in the log is the generator's.
    let spec = GeneratorSpec { producers: 1, abort_share: 0.0, ..GeneratorSpec::new("all", 3, 20_000, 7) };
    let generated = generate(&TestClient::new(cluster.bootstrap()).config(), &spec).unwrap();
    let expected: Vec<Record> = Generator::new(&spec).take(20_000).map(|one| one.record).collect();
    let has = |what: &dyn Fn(&Record) -> bool| expected.iter().any(what);
    assert!(has(&|one| one.value.is_none()) && has(&|one| one.value.as_deref() == Some(b"")));
    assert!(has(&|one| one.key.is_none()) && has(&|one| one.key.as_deref() == Some(b"")));
    assert!(has(&|one| one.headers.iter().any(|(name, _)| std::str::from_utf8(name).is_err())));
    assert!(has(&|one| one.headers.iter().any(|(name, value)| name.is_empty() && value.is_none())));
    assert!(has(&|one| one.headers.iter().filter(|(name, _)| name == b"content-type").count() > 1));
    assert!(has(&|one| one.value.as_ref().is_some_and(|value| value.len() > 100_000)));
    assert!(has(&|one| one.id().is_none()) && has(&|one| one.value.is_none() && one.id().is_some()));

    assert_eq!((generated.committed, generated.transactions_aborted), (20_000, 0));
    let read = client.read_records("all", Isolation::Committed).unwrap();
    assert!(by_partition(read) == by_partition(expected), "what was read differs from what was generated");

    client.grow_topic("all", 5).unwrap();
    let (first, end) = client.offsets("all", 0, Isolation::Committed).unwrap();
    client.delete_records("all", 0, end / 2).unwrap();
    assert_eq!((first, client.offsets("all", 0, Isolation::Committed).unwrap()), (0, (end / 2, end)));
    client.delete_topic("all").unwrap();
    assert!(!client.topics().unwrap().iter().any(|(name, _)| name == "all"));
}

#[tokio::test]
async fn aborted_records_are_in_the_log_and_the_checker_reports_them() {
    let cluster = cluster("aborts").await;
    let client = TestClient::new(cluster.internal_bootstrap());
    client.create_topic("orders", 4, &[]).unwrap();
    let spec = GeneratorSpec {
        abort_share: 0.3,
        producers: 3,
        transaction_records_max: 500,
        ..GeneratorSpec::new("orders", 4, 100_000, 11)
    };
    let began = Instant::now();
    let generated = generate(&client.config(), &spec).unwrap();
    let wrote = began.elapsed();
    let committed = client.read_log("orders", Isolation::Committed).unwrap();
    let all = client.read_log("orders", Isolation::Uncommitted).unwrap();
    println!(
        "{} committed ({} MB), {} aborted transactions; written in {wrote:?}, read twice in {:?}",
        generated.committed,
        generated.committed_bytes / 1_000_000,
        generated.transactions_aborted,
        began.elapsed() - wrote
    );

    // The reader and the generator agree about the committed records.
    assert_eq!(committed.len() as u64, generated.committed);
    assert!(generated.committed >= spec.records && generated.transactions_aborted > 0);
    let ids: HashSet<u64> = committed.iter().filter_map(|record| record.id).collect();
    assert_eq!(ids, generated.committed_ids);
    assert!(generated.aborted_ids.is_disjoint(&generated.committed_ids));

    // A replicator that ignored transactions would have copied `all`.
    let report = check(&committed, &all, &generated.aborted_ids);
    let aborted_with_markers = (all.len() - committed.len()) as u64;
    assert_eq!(report.count(AnomalyKind::AbortedRead), aborted_with_markers, "{report}");
    assert_eq!(report.count(AnomalyKind::Lost) + report.count(AnomalyKind::Reordered), 0, "{report}");
    assert!(check(&committed, &committed, &HashSet::new()).is_clean());
    assert!(offset_pairs(&committed, &committed).is_some());

    // An open transaction ends the committed log, not the uncommitted one.
    let (_, stable) = client.offsets("orders", 0, Isolation::Committed).unwrap();
    let (_, high) = client.offsets("orders", 0, Isolation::Uncommitted).unwrap();
    assert_eq!(stable, high, "every transaction has ended");
}

#[tokio::test]
#[ignore = "soak: measures the generator, the reader and the checker at the size of the delivery tests"]
async fn a_million_records_are_written_read_and_checked() {
    let cluster = cluster("million").await;
    let client = TestClient::new(cluster.internal_bootstrap());
    client.create_topic("big", 4, &[]).unwrap();
    let began = Instant::now();
    let generated = generate(&client.config(), &GeneratorSpec::new("big", 4, 1_000_000, 3)).unwrap();
    let wrote = began.elapsed();
    let log = client.read_log("big", Isolation::Committed).unwrap();
    let read = began.elapsed() - wrote;
    let report = check(&log, &log, &generated.aborted_ids);
    println!(
        "{} MB written in {wrote:?}, read in {read:?}, checked in {:?}",
        generated.committed_bytes / 1_000_000,
        began.elapsed() - wrote - read
    );
    assert!(report.is_clean() && log.len() as u64 == generated.committed, "{report}");
}

#[tokio::test]
async fn sasl_users_need_their_password_and_an_acl() {
    let users = ["admin", "alice"].map(|name| User { name: name.into(), password: format!("{name}-secret") });
    let spec = ClusterSpec { users: users.to_vec(), acls: true, ..ClusterSpec::new("sasl") };
    let spec = spec.with_listeners(&[Listener::Sasl]);
    let cluster = Cluster::start(spec).await.unwrap();
    let user = |mechanism: &str, name: &str, password: &str| {
        TestClient::new(cluster.bootstrap())
            .with_property("security.protocol", "SASL_PLAINTEXT")
            .with_property("sasl.mechanism", mechanism)
            .with_property("sasl.username", name)
            .with_property("sasl.password", password)
    };
    user("PLAIN", "admin", "admin-secret").create_topic("by-plain", 1, &[]).unwrap();
    user("SCRAM-SHA-512", "admin", "admin-secret").create_topic("by-scram", 1, &[]).unwrap();
    let denied = user("SCRAM-SHA-512", "alice", "alice-secret").create_topic("denied", 1, &[]).unwrap_err();
    assert!(denied.to_string().to_lowercase().contains("authorization"), "{denied}");

    let names: HashSet<String> =
        TestClient::new(cluster.internal_bootstrap()).topics().unwrap().into_iter().map(|(name, _)| name).collect();
    assert!(names.contains("by-plain") && names.contains("by-scram") && !names.contains("denied"), "{names:?}");
}
