use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::{Offset, TopicPartitionList};
use strait_flow::ports::{Fetched, ReadEpoch, ReadFailure, StartAt};

use crate::common::{Rig, STAMP, arc, from, key, next, read_to};

pub async fn lost_positions_are_told_apart(rig: Rig) {
    rig.fill("lossy", 100).await;
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &rig.cluster.bootstrap_servers).create().unwrap();
    let mut cut = TopicPartitionList::new();
    cut.add_partition_offset("lossy", 0, Offset::Offset(50)).unwrap();
    admin.delete_records(&cut, &AdminOptions::new()).await.unwrap();

    let mut source = rig.source("lossy");
    let cases = [
        (from("lossy", 0, 10, -1), ReadFailure::OutOfRange),
        (from("lossy", 0, 5000, -1), ReadFailure::OutOfRange),
        // The broker has never had this epoch: the position belongs to another log.
        (from("lossy", 0, 60, 99), ReadFailure::LogTruncation { end: None }),
        (from("no-such-topic", 0, 0, -1), ReadFailure::Gone),
    ];
    for (epoch, (place, expected)) in (1..).zip(cases) {
        source.assign(ReadEpoch(epoch), &[place]).await.unwrap();
        match next(&mut source).await {
            Fetched::Failed { epoch: found, failure, .. } => assert_eq!((found.0, failure), (epoch, expected)),
            other => panic!("{other:?}"),
        }
    }
    let bounds = source.bounds(&[key("lossy", 0), key("no-such-topic", 0), key("lossy", 9)]).await.unwrap();
    assert_eq!(bounds.len(), 1);
    assert_eq!(bounds[&key("lossy", 0)].log_start.0, 50);
    // After a failure the partition is read again once it is assigned again, also with a leader
    // epoch that holds.
    source.assign(ReadEpoch(9), &[from("lossy", 0, 50, 0)]).await.unwrap();
    let records = read_to(&mut source, ReadEpoch(9), 100).await;
    assert_eq!(records.first().unwrap().offset, 50);
    source.close().await;
}

pub async fn a_seek_voids_what_was_fetched_before(rig: Rig) {
    rig.fill("sought", 20_000).await;
    let mut source = rig.source("sought");
    source.assign(ReadEpoch(1), &[from("sought", 0, 0, -1)]).await.unwrap();
    assert!(matches!(next(&mut source).await, Fetched::Batch { .. }));
    for (epoch, start) in [(2_u64, 15_000_i64), (3, 7), (4, 19_990)] {
        source.assign(ReadEpoch(epoch), &[from("sought", 0, start, 0)]).await.unwrap();
        loop {
            match next(&mut source).await {
                Fetched::Batch { epoch: found, batch } if found.0 == epoch => {
                    assert_eq!(batch.first_offset().unwrap().0, start);
                    break;
                }
                Fetched::Batch { epoch: found, .. } => assert!(found.0 < epoch),
                other => panic!("{other:?}"),
            }
        }
    }
    source.unassign(&[key("sought", 0)]).await.unwrap();
    source.assign(ReadEpoch(5), &[from("sought", 0, 0, -1)]).await.unwrap();
    let mut expected = 0;
    while expected < 20_000 {
        match next(&mut source).await {
            Fetched::Batch { epoch: ReadEpoch(5), batch } => {
                assert_eq!(batch.first_offset().unwrap().0, expected);
                expected = batch.last_offset().unwrap().0 + 1;
            }
            Fetched::Batch { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    source.close().await;
}

pub async fn starts_and_bounds_are_numbers(rig: Rig) {
    rig.fill("started", 10).await;
    let mut source = rig.source("started");
    let asked = [key("started", 0), key("no-such-topic", 0)];
    for (start, offset) in [
        (StartAt::Earliest, 0),
        (StartAt::Latest, 10),
        (StartAt::Timestamp(STAMP - 1), 0),
        (StartAt::Timestamp(STAMP + 1), 10),
    ] {
        let found = source.resolve(start, &asked).await.unwrap();
        assert_eq!(
            found.into_iter().map(|(key, offset)| (key.topic, offset.unwrap().0)).collect::<Vec<_>>(),
            [(arc("started"), offset)]
        );
    }
    let ids = source.topic_ids(&[arc("started"), arc("no-such-topic")]).await.unwrap();
    assert_eq!(ids.len(), 1);
    assert!(ids[&arc("started")].is_known());
    source.close().await;
}
