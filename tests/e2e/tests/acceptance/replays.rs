//! `strait quarantine replay` where something went wrong before or beside it.

use strait_test_cluster::ClusterSpec;

use crate::quarantine::{MENDED, Refused, STRICT, numbered};
use crate::support::{Pair, SOON, Turn, link, now, single, wait_until};

#[test]
fn a_record_that_the_link_has_copied_again_is_not_replayed() {
    let _turn = Turn::beside_another();
    let n = ["\"late\"", "1", "\"late\"", "null"];
    let records: Vec<_> = (0..4).map(|number| numbered(0, number, n[number])).collect();
    let anew = Refused::prepare("anew", 1, &[], &records);
    assert_eq!((anew.count("open"), anew.copies(0)), (3, vec!["key-000001".to_owned()]));
    // The target topic is lost, and all is copied again, under a rule that takes two of the three.
    anew.mend("lanes = 2", "lanes = 2\non_target_recreated = \"recopy\"");
    anew.mend(STRICT, MENDED);
    anew.pair.at_target().delete_topic("source.anew").unwrap();
    anew.run();
    let copied = ["key-000000", "key-000001", "key-000002"];
    assert_eq!(anew.copies(0), copied);
    assert_eq!((anew.count("open"), anew.count("superseded"), anew.count("all")), (1, 2, 3));
    anew.fails(&["replay", "--yes"], "0 of 1 record replayed");
    assert_eq!(anew.copies(0), copied, "each once");
    // What the link has judged again needs nobody.
    anew.fails(
        &["discard", "--topic", "anew", "--offsets", "0", "--partition", "0", "--reason", "r", "--yes"],
        "no such",
    );
}

#[test]
fn a_compacted_target_topic_holds_back_its_own_records_only() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    let compacted = [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.99")];
    let topics = [("beside-a", &compacted[..]), ("beside-b", &[][..])];
    for (topic, settings) in topics {
        pair.at_source().create_topic(topic, 1, settings).unwrap();
        let records: Vec<_> = (0..3).map(|number| numbered(0, number, ["1", "\"late\"", "\"late\""][number])).collect();
        pair.at_source().write(topic, &records).unwrap();
    }
    let config = pair.config(&link("beside", &["beside-.*"], 1, STRICT));
    let beside = Refused { pair, name: "beside", config };
    beside.run();
    beside.mend(STRICT, MENDED);
    beside.run();
    let said = beside.fails(&["replay", "--yes"], "2 of 4 records replayed");
    assert!(said.contains("2 records open: target topic source.beside-a is compacted"), "{said}");
    assert!(said.contains("(beside-a-0 offset 1, beside-a-0 offset 2)"), "{said}");
    let all = ["key-000000", "key-000001", "key-000002"];
    assert_eq!(beside.pair.keys("source.beside-b", 0), all);
    assert_eq!(beside.pair.keys("source.beside-a", 0), all[..1]);
    beside.says(&["replay", "--accept-late", "--yes"]);
    assert_eq!(beside.pair.keys("source.beside-a", 0), all);
}

#[test]
fn a_target_partition_without_a_leader_holds_back_its_own_records_only() {
    let _turn = Turn::waiting();
    let three = ClusterSpec { heap_mb: 320, ..ClusterSpec::new("unled-target") }.with_brokers(3);
    let pair = Pair::of(single("unled-source"), three);
    pair.at_source().create_topic("unled", 3, &[]).unwrap();
    let replicas: [&[i32]; 3] = [&[1], &[2], &[3]];
    pair.at_target().create_topic_on("source.unled", &replicas, &[]).unwrap();
    let of = |partition: i32| {
        (0..4).map(move |number: usize| numbered(partition, number, if number == 0 { "1" } else { "\"late\"" }))
    };
    let records: Vec<_> = (0..3).flat_map(of).collect();
    pair.at_source().write("unled", &records).unwrap();
    let config = pair.config(&link("unled", &["unled"], 1, STRICT));
    let unled = Refused { pair, name: "unled", config };
    unled.run();
    unled.mend(STRICT, MENDED);
    unled.run();
    assert_eq!(unled.count("open"), 9);

    let broker = unled.pair.target.broker(0).unwrap();
    now(broker.stop()).unwrap();
    let said = unled.fails(&["replay", "--yes"], "6 of 9 records replayed");
    assert!(said.contains("3 records open: the target does not take records of source.unled-0"), "{said}");
    assert!(said.contains("(unled-0 offset 1, unled-0 offset 2, unled-0 offset 3)"), "{said}");
    now(broker.restart()).unwrap();
    wait_until("the rest", SOON, || unled.says_now(&["replay", "--yes"]).then_some(()));
    let all: Vec<String> = (0..4).map(|number| format!("key-{number:06}")).collect();
    for partition in 0..3 {
        assert_eq!(unled.copies(partition), all, "partition {partition}");
    }
    assert_eq!(unled.count("open"), 0);
}
