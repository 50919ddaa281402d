//! Elections at the source: those that take nothing stop nothing, and one that takes records is
//! reported where it took them.

use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use strait_e2e::{Isolation, LogLine};
use strait_test_cluster::ClusterSpec;

use crate::support::{Pair, SOON, Turn, caught_up, copy, key_range, link, now, single, wait_until, write_numbered};

/// Writes five records in a transaction, restarts the broker and ends the transaction: its marker
/// is the first entry of the next leader epoch, and nothing follows it.
fn transaction_over_a_restart(pair: &Pair, topic: &str) {
    let source = pair.at_source();
    let producer: BaseProducer = source.config().set("transactional.id", "over-a-restart").create().unwrap();
    producer.init_transactions(SOON).unwrap();
    producer.begin_transaction().unwrap();
    for key in key_range(0, 5) {
        producer.send(BaseRecord::to(topic).partition(0).key(&key).payload("in the transaction")).unwrap();
    }
    producer.flush(SOON).unwrap();
    now(pair.source.broker(0).unwrap().restart()).unwrap();
    producer.commit_transaction(SOON).unwrap();
    let marked = || source.offsets(topic, 0, Isolation::Committed).is_ok_and(|ends| ends == (0, 6));
    wait_until("the marker", SOON, || marked().then_some(()));
}

#[test]
fn an_election_in_a_transaction_stops_nothing_and_an_unclean_one_is_resumed_where_it_truncated() {
    let _turn = Turn::beside_another();
    let pair = Pair::of(ClusterSpec::new("positions-source").with_brokers(3), single("positions-target"));
    let source = pair.at_source();
    source.create_topic_on("eos", &[&[1]], &[]).unwrap();
    transaction_over_a_restart(&pair, "eos");

    // 80 records on both replicas, and 20 on the leader only.
    let unclean = [("unclean.leader.election.enable", "true"), ("min.insync.replicas", "1")];
    source.create_topic_on("lossy", &[&[1, 2]], &unclean).unwrap();
    write_numbered(&source, "lossy", 0, 0, 80);
    let (leader, follower) = (pair.source.broker(0).unwrap(), pair.source.broker(1).unwrap());
    follower.kill().unwrap();
    write_numbered(&source, "lossy", 0, 80, 20);

    let eos = link("eos", &["eos"], 1, "");
    let config = pair.config(&format!("{eos}{}", link("lossy", &["lossy"], 1, "on_gap = \"continue\"")));
    copy(&config);
    assert_eq!(pair.keys("source.eos", 0), key_range(0, 5));
    assert_eq!(pair.keys("source.lossy", 0), key_range(0, 100));

    leader.kill().unwrap();
    now(follower.restart()).unwrap();
    // The log is longer than before when it is read again.
    write_numbered(&source, "lossy", 0, 1080, 120);
    now(leader.restart()).unwrap();
    wait_until("the other topic's leader", SOON, || source.offsets("eos", 0, Isolation::Committed).ok());
    write_numbered(&source, "eos", 0, 5, 10);
    assert_eq!(source.offsets("lossy", 0, Isolation::Committed).unwrap(), (0, 200));

    let strait = caught_up("after", &config);
    let truncated = strait.events("truncated");
    let of = |link: &str| truncated.iter().filter(|line| line.field("link") == Some(link)).collect::<Vec<&LogLine>>();
    assert!(of("eos").is_empty(), "nothing was truncated: {truncated:?}");
    assert_eq!(pair.keys("source.eos", 0), key_range(0, 15));
    let [event] = of("lossy")[..] else { panic!("{truncated:?}") };
    println!("{}", event.message());
    assert!(event.message().contains("truncated at offset 80, and the next offset is 100"), "{}", event.text);
    assert_eq!(pair.keys("source.lossy", 0), [key_range(0, 100), key_range(1080, 120)].concat());
}
