use std::time::Duration;

use strait_core::OwnerEpoch;
use strait_core::control::turn::{Step, Turn};
use strait_core::control::{ControlRecord, ListedTopic, Tick};
use strait_flow::ports::{Class, ControlEntry, ControlLog, ControlTail};
use strait_kafka::KafkaControl;

use crate::common::{Rig, WAIT, key};

fn tick(count: u64) -> ControlRecord {
    ControlRecord::Tick(Tick { owner: OwnerEpoch(count << 32), settings: "a1".into(), ..Tick::default() })
}

/// Reads until there are so many records.
async fn read(tail: &mut Box<dyn ControlTail>, count: usize) -> Vec<ControlEntry> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(tail.next().await.unwrap());
    }
    assert_eq!(all.len(), count);
    all
}

pub async fn one_coordinator_writes_and_all_read_what_it_has_committed(rig: Rig) {
    let control = KafkaControl::new(&rig.cluster, "led", WAIT);
    assert!(control.read().await.unwrap_err().to_string().contains("does not exist"));
    assert!(control.follow().await.is_err());
    rig.topics("led", 2).await;
    assert_eq!(control.read().await.unwrap().tick(), None);
    let mut early = control.follow().await.unwrap();

    // Twenty thousand topics, in parts.
    let mut first = control.take().await.unwrap();
    let known = control.read().await.unwrap();
    let mut turn = Turn::new(known, 7, "a1".into(), Duration::ZERO);
    let id = key("t", 0).topic_id;
    let topics: Vec<ListedTopic> = (0..20_000)
        .map(|number| ListedTopic { topic: format!("t-{number:0>200}").into(), id, partitions: 3 })
        .collect();
    turn.publish(&topics, Duration::ZERO);
    let Step::Commit(records) = turn.step(Duration::ZERO, 0) else { panic!() };
    first.commit(&records).await.unwrap();
    turn.committed(Duration::ZERO);
    assert_eq!(&control.read().await.unwrap(), turn.control());

    // Another one fences it, whatever it still writes.
    let mut second = control.take().await.unwrap();
    second.commit(&[tick(2)]).await.unwrap();
    let error = first.commit(&[tick(9)]).await.unwrap_err();
    assert_eq!(error.class, Class::Fenced, "{error}");
    assert!(error.to_string().contains("another process has taken over"), "{error}");
    second.commit(&[tick(3)]).await.unwrap();
    drop(first);
    let found = control.read().await.unwrap();
    assert_eq!((found.tick().map(|tick| tick.owner.count()), found.source_topics().len()), (Some(3), 20_000));

    let seen = read(&mut early, records.len() + 2).await;
    assert!(seen.iter().all(|entry| !entry.is_old), "the topic was empty");
    let mut late = control.follow().await.unwrap();
    assert!(read(&mut late, records.len() + 2).await.iter().all(|entry| entry.is_old));
    second.commit(&[tick(4)]).await.unwrap();
    for tail in [&mut early, &mut late] {
        let new = read(tail, 1).await.remove(0);
        assert_eq!((new.key, new.value, new.is_old), (tick(4).encode().0, tick(4).encode().1, false));
    }
}
