//! `strait check` and a run of the same configuration, between mock clusters.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use strait_core::Record;
use strait_kafka::{ClusterConfig, MockCluster, demo_records};

use super::steps;
use crate::board::Board;
use crate::load::{self, Environment};
use crate::run::{self, RunError, Stop, Until};

#[test]
fn colliding_topics_are_reported_and_the_others_are_copied() {
    const PATIENCE: Duration = Duration::from_secs(60);
    let (aws, gcp) = (MockCluster::start(1).unwrap(), MockCluster::start(1).unwrap());
    let config = |cluster: &MockCluster| ClusterConfig {
        name: "mock".to_owned(),
        bootstrap_servers: cluster.bootstrap_servers(),
        properties: BTreeMap::new(),
        access: Default::default(),
    };
    for topic in ["orders.v1", "orders.v2", "payments.v1"] {
        aws.create_topic(topic, 1).unwrap();
        let record = Record {
            topic: topic.to_owned(),
            key: Some(topic.into()),
            value: Some(b"v".to_vec()),
            timestamp_ms: 1_000,
            ..Record::default()
        };
        demo_records::send(&config(&aws), &[record], PATIENCE).unwrap();
    }
    // The mock cluster has no admin interface.
    for (topic, partitions) in [("aws.orders", 1), ("aws.payments", 1), ("strait.l.progress", 1), ("strait.l.map", 1)] {
        gcp.create_topic(topic, partitions).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[clusters.aws]\nbootstrap_servers = \"{}\"\n[clusters.gcp]\nbootstrap_servers = \"{}\"\n\
         [[links]]\nname = \"l\"\nsource = \"aws\"\ntarget = \"gcp\"\ntopics = [\".*\"]\n\
         delivery = \"at-least-once\"\nlanes = 1\n[[links.plugins]]\nplugin = \"rename\"\n\
         config = {{ pattern = \"(.*)\\\\.v\\\\d\", replacement = \"$1\" }}\n\
         [[links.plugins]]\nplugin = \"route\"\noutput_topics = [\"orders.*\"]\n\
         config = {{ by = \"key\", to = \"topic\", table = {{ a = \"orders-a\", b = \"other\" }}, unmatched = \"keep\" }}\n",
        aws.bootstrap_servers(),
        gcp.bootstrap_servers()
    );
    let file = folder.path().join("strait.toml");
    std::fs::write(&file, text).unwrap();
    let loaded =
        Arc::new(load::load(&file, &Environment::default()).unwrap_or_else(|r| panic!("{}", r.render(false, 100))));

    let steps = steps::all(&loaded);
    let text: String = steps.iter().map(|step| step.text()).collect();
    assert!(text.contains("✓ topics of l: 1 with 1 partitions: payments.v1 -> aws.payments"), "{text}");
    assert!(
        text.contains(
            "✗ topics of l: the source topics 'orders.v1', 'orders.v2' would all be target topic 'aws.orders'"
        ),
        "{text}"
    );

    assert!(text.contains("! output topics of l: ") && text.contains("(edit-topic): route to other;"), "{text}");

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let board = Board::new(&loaded.config, loaded.mask());
    let copying = run::run(&loaded, Until::CaughtUp, Stop::default(), &board);
    let ended = runtime.block_on(async { tokio::time::timeout(PATIENCE, copying).await.unwrap() });
    let errors = ended.unwrap_err();
    assert!(matches!(&errors[..], [RunError::Stopped { count: 2, .. }]), "{errors:?}");
    let copied = |topic: &str| demo_records::read(&config(&gcp), topic, 1, PATIENCE).unwrap().len();
    assert_eq!((copied("aws.payments"), copied("aws.orders")), (1, 0));
}

#[test]
fn one_cluster_under_two_names_copies_no_copy_and_into_no_topic_itself() {
    let cluster = MockCluster::start(1).unwrap();
    let servers = cluster.bootstrap_servers();
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[clusters.aws]\nbootstrap_servers = \"{servers}\"\n[clusters.gcp]\nbootstrap_servers = \"{servers}\"\n\
         [[links]]\nname = \"l\"\nsource = \"aws\"\ntarget = \"gcp\"\ntopics = [\".*\"]\n\
         delivery = \"at-least-once\"\nlanes = 1\n"
    );
    let file = folder.path().join("strait.toml");
    let load = |more: &str| {
        std::fs::write(&file, format!("{text}{more}")).unwrap();
        Arc::new(load::load(&file, &Environment::default()).unwrap_or_else(|r| panic!("{}", r.render(false, 100))))
    };
    let check = |loaded: &load::Loaded| steps::all(loaded).iter().map(|step| step.text()).collect::<String>();
    // With a prefix copies are told from topics, and left alone.
    for topic in ["orders", "aws.orders"] {
        cluster.create_topic(topic, 1).unwrap();
    }
    let text = check(&load(""));
    assert!(text.contains("! clusters of l: source and target are one and the same"), "{text}");
    assert!(text.contains("✓ topics of l: 1 with 1 partitions: orders -> aws.orders"), "{text}");
    let loaded = load("naming = \"identity\"\n");
    let text = check(&loaded);
    assert!(text.contains("✗ clusters of l: source and target are one and the same Kafka cluster"), "{text}");

    let board = Board::new(&loaded.config, loaded.mask());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // Not only a run that ends by itself: no retry would help.
    let ended = runtime.block_on(run::run(&loaded, Until::Stopped, Stop::default(), &board));
    let errors = ended.map(|_| ()).unwrap_err();
    assert!(errors.len() == 1 && errors[0].is_configuration(), "{errors:?}");
    assert!(errors[0].to_string().contains("one Kafka cluster under two names"), "{}", errors[0]);
    let events = board.link("l").unwrap().events();
    assert!(events.ended.is_some() && events.counts["one_cluster"] == 1, "{events:?}");
}

#[test]
fn more_partitions_than_a_lane_reads_well_are_said() {
    let cluster = MockCluster::start(1).unwrap();
    let servers = cluster.bootstrap_servers();
    cluster.create_topic("wide", 501).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("strait.toml");
    for (lanes, is_said) in [(1, true), (2, false)] {
        let text = format!(
            "[clusters.aws]\nbootstrap_servers = \"{servers}\"\n[clusters.gcp]\nbootstrap_servers = \"{servers}\"\n\
             [[links]]\nname = \"l\"\nsource = \"aws\"\ntarget = \"gcp\"\ntopics = [\"wide\"]\n\
             delivery = \"at-least-once\"\nlanes = {lanes}\n"
        );
        std::fs::write(&file, text).unwrap();
        let loaded = load::load(&file, &Environment::default()).unwrap_or_else(|r| panic!("{}", r.render(false, 100)));
        let text = steps::all(&loaded).iter().map(|step| step.text()).collect::<String>();
        assert!(text.contains("✓ topics of l: 1 with 501 partitions: wide -> aws.wide"), "{text}");
        let said = text.contains("! topics of l: 501 partitions for 1 lanes: above 500 a lane");
        assert_eq!((said, text.contains("a lane, each fetch")), (is_said, is_said), "{text}");
    }
}
