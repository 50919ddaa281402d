//! The ends of a link, as it remembers them: the source cluster, the names, the ids of topics.

use strait_core::PartitionKey;
use strait_core::TopicId;
use strait_core::progress::{LaneProgress, ProgressFold, ProgressKey, ProgressRecord};
use strait_e2e::{ConfigFolder, Isolation, Record, Strait, write_records};

use crate::support::{Pair, SOON, Turn, copy, key_range, keys, link, numbered, record, wait_until};

/// Returns the progress of a link with one lane.
pub fn progress_of(pair: &Pair, link: &str) -> LaneProgress {
    let mut fold = ProgressFold::default();
    for record in pair.at_target().read_records(&format!("strait.{link}.progress"), Isolation::Committed).unwrap() {
        fold.fold(record.offset, record.key.as_deref().unwrap(), record.value.as_deref());
    }
    fold.finish().unwrap()
}

/// Runs a configuration that must be refused, and returns the reason.
#[track_caller]
fn refused(config: &ConfigFolder) -> String {
    let mut strait = Strait::run("refused", config, &["--until-caught-up"]).unwrap();
    let status = strait.wait_end(SOON).unwrap();
    assert_ne!(status.code(), Some(0), "{}", strait.stderr());
    strait.stderr()
}

#[test]
fn another_source_or_naming_under_the_name_of_a_link_is_refused_by_name() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    pair.at_source().create_topic("twins", 1, &[]).unwrap();
    write_records(&pair.at_source().config(), "twins", &numbered(0, 0, 50)).unwrap();
    copy(&pair.config(&link("twins", &["twins"], 1, "")));
    let recorded = progress_of(&pair, "twins").lane.unwrap().source_cluster.unwrap();

    let reason = refused(&pair.config(&link("twins", &["twins"], 1, "naming = \"identity\"")));
    assert!(reason.contains("source.{topic}") && reason.contains("another name"), "{reason}");

    // The same file with other brokers behind the name of the source.
    let elsewhere = |topic: &str, former_ids: &str| {
        let servers = pair.target.bootstrap();
        ConfigFolder::new(&format!(
            "[clusters.source]\nbootstrap_servers = \"{servers}\"\nformer_ids = [{former_ids}]\n\
             [clusters.target]\nbootstrap_servers = \"{servers}\"\n\n{}",
            link("twins", &[topic], 1, "")
        ))
        .unwrap()
    };
    let reason = refused(&elsewhere("twins", ""));
    println!("{reason}");
    assert!(reason.contains(&*recorded) && reason.contains("former_ids"), "{reason}");

    // Another guarantee is told and no more.
    let more = |first: u64| write_records(&pair.at_source().config(), "twins", &numbered(0, first, 10)).unwrap();
    more(50);
    let strait = copy(&pair.config(&link("twins", &["twins"], 1, "delivery = \"at-least-once\"")));
    let told = strait.events("delivery_changed");
    assert_eq!(told.len(), 1, "{told:?}");
    more(60);
    let strait = copy(&pair.config(&link("twins", &["twins"], 1, "")));
    assert_eq!(strait.events("delivery_changed").len(), 1, "and when it is changed back");
    assert_eq!(copy(&pair.config(&link("twins", &["twins"], 1, ""))).events("delivery_changed").len(), 0);

    pair.at_target().create_topic("twins-moved", 1, &[]).unwrap();
    write_records(&pair.at_target().config(), "twins-moved", &numbered(0, 0, 5)).unwrap();
    copy(&elsewhere("twins-moved", &format!("\"{recorded}\"")));
    assert_ne!(progress_of(&pair, "twins").lane.unwrap().source_cluster.unwrap(), recorded);
    refused(&pair.config(&link("twins", &["twins"], 1, "")));
    let copies = pair.at_target().read_records("source.twins", Isolation::Committed).unwrap();
    assert_eq!(keys(&copies, 0), key_range(0, 70));
}

#[test]
fn positions_from_before_the_source_had_topic_ids_are_resumed() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    pair.at_source().create_topic("nameless", 2, &[]).unwrap();
    let write = |first: u64| {
        let records = [numbered(0, first, 100), numbered(1, first, 100)].concat();
        write_records(&pair.at_source().config(), "nameless", &records).unwrap();
    };
    write(0);
    let config = pair.config(&link("nameless", &["nameless"], 1, ""));
    copy(&config);
    // As a version wrote them that ran before the cluster gave topics an id.
    let mut old: Vec<Record> = Vec::new();
    for (key, position) in progress_of(&pair, "nameless").positions {
        let unknown = PartitionKey { topic_id: TopicId::UNKNOWN, ..key.clone() };
        let (stored, value) = ProgressRecord::Partition(unknown, position).encode();
        old.push(record(Some(&stored), Some(&value)));
        old.push(record(Some(&serde_json::to_vec(&ProgressKey::Partition(key)).unwrap()), None));
    }
    assert_eq!(old.len(), 4);
    write_records(&pair.at_target().config(), "strait.nameless.progress", &old).unwrap();
    write(100);
    copy(&config);
    let copies = pair.at_target().read_records("source.nameless", Isolation::Committed).unwrap();
    for partition in 0..2 {
        assert_eq!(keys(&copies, partition), key_range(0, 200), "partition {partition}");
    }
    let known = progress_of(&pair, "nameless").positions;
    assert!(known.keys().filter(|key| key.topic_id.is_known()).count() == 2, "{known:?}");
}

#[test]
fn topics_of_a_link_that_were_made_by_hand_are_checked() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    pair.at_source().create_topic("handmade", 1, &[]).unwrap();
    write_records(&pair.at_source().config(), "handmade", &numbered(0, 0, 20)).unwrap();
    let config = |more: &str| pair.config(&link("handmade", &["handmade"], 1, more));

    let reason = refused(&config("manage_topics = false"));
    assert!(reason.contains("strait.handmade.progress") && reason.contains("cleanup.policy=compact"), "{reason}");

    // Idle partitions would be forgotten with the positions in it.
    let target = pair.at_target();
    target.create_topic("strait.handmade.progress", 1, &[("cleanup.policy", "delete")]).unwrap();
    let reason = refused(&config(""));
    for part in ["kafka-configs.sh", "--entity-name strait.handmade.progress", "cleanup.policy=compact"] {
        assert!(reason.contains(part), "{part}: {reason}");
    }

    target.delete_topic("strait.handmade.progress").unwrap();
    wait_until("the topic gone", SOON, || (!pair.has_target_topic("strait.handmade.progress")).then_some(()));
    target.create_topic("strait.handmade.progress", 1, &[("cleanup.policy", "compact")]).unwrap();
    target.create_topic("strait.handmade.map", 1, &[("retention.bytes", "1000000")]).unwrap();
    // With the retention of the broker, as one makes a topic.
    pair.at_source().create_topic("strait.handmade.quarantine", 1, &[("retention.ms", "604800000")]).unwrap();
    let strait = copy(&config(""));
    let told: Vec<String> = strait.events("link_topic_unfit").iter().map(|event| event.message().to_owned()).collect();
    for part in
        ["delete.retention.ms=60000", "retention.bytes=-1", "strait.handmade.quarantine --add-config retention.ms=-1"]
    {
        assert!(told.iter().any(|message| message.contains(part)), "{part}: {told:?}");
    }
    assert_eq!(told.len(), 3, "the topic that Strait made has no fault: {told:?}");
}
