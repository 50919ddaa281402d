use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::RngExt as _;
use strait_core::progress::ProgressRecord;
use strait_core::{LaneId, SourceOffset};
use strait_flow::ports::{
    Class, DeliveryReport, OutHeaders, Outgoing, ProducerSlot, ProgressStore, ReadEpoch, Target, TargetEvent, Token,
    WantedTopic,
};
use strait_kafka::{KafkaProgressStore, KafkaTarget, TargetTuning};
use strait_test_cluster::Proxy;

use crate::common::{Rig, STAMP, WAIT, acknowledged, committed, event, from, key, open, progress, read_to, send};

/// A lane that is taken opens the topics that it has written before. One by one, 40 of them would
/// take half a minute over this line.
pub async fn topics_that_exist_are_opened_in_few_round_trips(rig: Rig, line: &Proxy) {
    const ONE_WAY: Duration = Duration::from_millis(50);
    rig.topics("together", 1).await;
    let names: Vec<String> = (0..40).map(|number| format!("together-{number}")).collect();
    for name in &names {
        rig.create(name, 1, &[]).await;
    }
    let wanted = |name: &str| {
        let (name, like) = (name.into(), name.into());
        WantedTopic { name, like, partitions: 1, grows: true, creates: true }
    };
    let mut target = rig.taken("together", 0, &TargetTuning::default()).await;
    let all = names.iter().map(|name| wanted(name)).chain([wanted("together-missing")]).collect();
    line.delay(ONE_WAY);
    let began = Instant::now();
    let opened = target.open_existing(all).await.unwrap();
    let took = began.elapsed();
    line.heal();
    println!("{} topics opened in {took:.1?}", opened.len());
    let found: BTreeSet<&str> = opened.iter().map(|(name, _)| &**name).collect();
    assert_eq!(found, names.iter().map(String::as_str).collect(), "the missing one is not created either");
    assert!((ONE_WAY * 2..Duration::from_secs(3)).contains(&took), "{took:?}");

    target.begin(ProducerSlot::A).unwrap();
    for (sequence, (_, topic)) in (0..).zip(&opened) {
        assert_eq!((topic.partitions, topic.max_message_bytes), (1, 1_048_588));
        send(&mut target, ProducerSlot::A, topic.handle, sequence, Some(b"v"), &[]);
    }
    acknowledged(&mut target, 40).await;
    committed(&mut target, ProducerSlot::A).await;
    target.close(WAIT).await;
}

/// Also, no record of an aborted transaction is read, the committed progress stays, and the reader
/// reports a position behind the aborted records.
pub async fn a_committed_transaction_is_read_back_byte_for_byte(rig: Rig) {
    rig.topics("copy", 2).await;
    let mut target = rig.taken("copy", 1, &TargetTuning::default()).await;
    let topic = open(&mut target, "copied", 3).await;
    assert_eq!((topic.partitions, topic.log_append_time, topic.max_message_bytes), (3, false, 1_048_588));
    assert_eq!(open(&mut target, "copied", 2).await.handle, topic.handle);
    assert_eq!(open(&mut target, "copied", 4).await.partitions, 4);

    let headers = vec![
        (b"\xff\xfe\x00tail".to_vec(), Some(b"\x00\xff".to_vec())),
        (b"".to_vec(), None),
        (b"same".to_vec(), Some(b"".to_vec())),
        (b"same".to_vec(), Some(b"2".to_vec())),
    ];
    let value = |sequence: u64| match sequence % 10 {
        0 => None,
        1 => Some(Vec::new()),
        _ => Some(sequence.to_string().into_bytes()),
    };
    target.begin(ProducerSlot::A).unwrap();
    for sequence in 0..5000 {
        let own: &[_] = if sequence == 4 { &headers } else { &[] };
        send(&mut target, ProducerSlot::A, topic.handle, sequence, value(sequence).as_deref(), own);
    }
    // In each run sequence and offset increase together.
    let runs = acknowledged(&mut target, 5000).await;
    assert!(
        runs.iter().all(|(first, _, offset)| first.stream == 7 && i64::try_from(first.sequence).unwrap() == *offset)
    );
    assert!(runs.len() < 100, "{} runs", runs.len());
    target.produce_control(ProducerSlot::A, 9, 100, &[(&progress(5000)).into()]).unwrap();
    let books = acknowledged(&mut target, 1).await;
    assert_eq!((books[0].0, books[0].1), (Token { stream: 9, sequence: 100 }, 1));
    committed(&mut target, ProducerSlot::A).await;

    target.begin(ProducerSlot::B).unwrap();
    for sequence in 5000..5100 {
        send(&mut target, ProducerSlot::B, topic.handle, sequence, Some(b"aborted"), &[]);
    }
    target.produce_control(ProducerSlot::B, 9, 101, &[(&progress(9999)).into()]).unwrap();
    acknowledged(&mut target, 101).await;
    assert_eq!(target.replicas(topic.handle, 0).await.unwrap(), (Some(1), 1));
    target.close(WAIT).await;

    let store = KafkaProgressStore::new(&rig.cluster, "copy", WAIT);
    let read = store.read(LaneId(1)).await.unwrap();
    assert_eq!(read.positions.get(&key("orders", 0)).unwrap().next, SourceOffset(5000));
    assert!(store.read(LaneId(0)).await.unwrap().positions.is_empty());

    let mut source = rig.source("copy");
    let bounds = source.bounds(&[key("copied", 0)]).await.unwrap()[&key("copied", 0)];
    // 5000 records, a commit marker, 100 aborted ones, an abort marker.
    assert_eq!((bounds.log_start.0, bounds.last_stable.0, bounds.high_watermark.0), (0, 5102, 5102));
    source.assign(ReadEpoch(3), &[from("copied", 0, 0, -1)]).await.unwrap();
    let records = read_to(&mut source, ReadEpoch(3), bounds.last_stable.0).await;
    assert_eq!(records.len(), 5000);
    for (sequence, record) in (0..).zip(&records) {
        assert_eq!((record.offset, record.timestamp_ms), (i64::try_from(sequence).unwrap(), STAMP));
        assert_eq!((record.key.as_deref(), &record.value), (Some(&b"k"[..]), &value(sequence)));
        let own = if sequence == 4 { headers.as_slice() } else { &[] };
        assert_eq!(record.headers, own);
    }
    source.close().await;
}

pub async fn a_second_taker_fences_the_first(rig: Rig) {
    rig.topics("fence", 1).await;
    let mut zombie = rig.taken("fence", 0, &TargetTuning::default()).await;
    let handle = open(&mut zombie, "fenced", 1).await.handle;
    zombie.begin(ProducerSlot::A).unwrap();
    send(&mut zombie, ProducerSlot::A, handle, 0, Some(b"zombie"), &[]);
    zombie.produce_control(ProducerSlot::A, 9, 0, &[(&progress(77)).into()]).unwrap();
    acknowledged(&mut zombie, 2).await;
    // A reader that does not take the lane must not wait for a transaction that may never end.
    let short = KafkaProgressStore::new(&rig.cluster, "fence", Duration::from_secs(3));
    assert!(short.clone().committed_by_now().read(LaneId(0)).await.unwrap().positions.is_empty());
    let waited = short.read(LaneId(0)).await.unwrap_err();
    assert!(waited.reason.contains("was not reached"), "{waited}");

    let mut owner = rig.taken("fence", 0, &TargetTuning::default()).await;
    let store = KafkaProgressStore::new(&rig.cluster, "fence", WAIT);
    assert!(store.read(LaneId(0)).await.unwrap().positions.is_empty());
    zombie.commit(ProducerSlot::A);
    let error = loop {
        match event(&mut zombie).await {
            TargetEvent::Broken(error) => break error,
            TargetEvent::Delivered(_) | TargetEvent::TopicIds(_) => {}
            TargetEvent::Committed(_) => panic!("a zombie has committed"),
        }
    };
    assert_eq!(error.class, Class::Fenced, "{error}");

    let handle = open(&mut owner, "fenced", 1).await.handle;
    for (sequence, slot) in [(0, ProducerSlot::A), (1, ProducerSlot::B), (2, ProducerSlot::A)] {
        owner.begin(slot).unwrap();
        send(&mut owner, slot, handle, sequence, Some(b"owner"), &[]);
        acknowledged(&mut owner, 1).await;
        committed(&mut owner, slot).await;
    }
    // A fenced lane works again after another take.
    zombie.take().await.unwrap();
    zombie.close(WAIT).await;
    owner.close(WAIT).await;

    let mut source = rig.source("fence");
    let end = source.bounds(&[key("fenced", 0)]).await.unwrap()[&key("fenced", 0)].last_stable.0;
    source.assign(ReadEpoch(1), &[from("fenced", 0, 0, 0)]).await.unwrap();
    let records = read_to(&mut source, ReadEpoch(1), end).await;
    let values: Vec<_> = records.iter().map(|record| record.value.as_deref().unwrap()).collect();
    assert_eq!(values, [b"owner"; 3]);
    source.close().await;
}

/// A lane that is revoked while it is taken must not fence its next owner.
pub async fn a_take_that_is_dropped_fences_nobody(rig: Rig) {
    rig.topics("dropped", 1).await;
    let mut owner = rig.taken("dropped", 0, &TargetTuning::default()).await;
    let handle = open(&mut owner, "kept", 1).await.handle;
    let mut other = KafkaTarget::new(&rig.cluster, "dropped", 0, &TargetTuning::default());
    // Polled once: it has begun.
    assert!(tokio::time::timeout(Duration::ZERO, other.take()).await.is_err());
    // For longer than a take needs, which nobody reports the end of.
    for sequence in 0..40 {
        owner.begin(ProducerSlot::A).unwrap();
        send(&mut owner, ProducerSlot::A, handle, sequence, Some(b"owner"), &[]);
        acknowledged(&mut owner, 1).await;
        committed(&mut owner, ProducerSlot::A).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    other.close(WAIT).await;
    owner.close(WAIT).await;
}

async fn fates(target: &mut KafkaTarget, count: usize) -> Vec<DeliveryReport> {
    let mut fates = Vec::new();
    while fates.len() < count {
        match event(target).await {
            TargetEvent::Delivered(deliveries) => fates.extend(deliveries),
            TargetEvent::Broken(_) | TargetEvent::TopicIds(_) => {}
            TargetEvent::Committed(_) => panic!("nothing was committed"),
        }
    }
    fates
}

pub async fn refusals_name_the_guilty_record(rig: Rig) {
    rig.topics("refuse", 1).await;
    rig.create("small", 1, &[("max.message.bytes", "10000")]).await;
    rig.create("strict", 1, &[("cleanup.policy", "compact")]).await;
    let mut target = KafkaTarget::take_slow(&rig).await;
    let small = open(&mut target, "small", 1).await;
    assert_eq!(small.max_message_bytes, 10_000);
    let mut large = vec![0_u8; 50_000];
    rand::rng().fill(&mut large[..]);
    target.begin(ProducerSlot::A).unwrap();
    send(&mut target, ProducerSlot::A, small.handle, 0, Some(&large), &[]);
    let fate = fates(&mut target, 1).await;
    assert!(matches!(&fate[0], DeliveryReport::Refused { token, named: false, .. } if token.sequence == 0), "{fate:?}");

    // One guilty record in the middle of a batch, by its time and by its missing key.
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    for (late, keyless) in [(true, false), (false, true)] {
        target.take().await.unwrap();
        let strict = open(&mut target, "strict", 1).await;
        assert_eq!(strict.timestamp_after_max_ms, 3_600_000);
        target.begin(ProducerSlot::A).unwrap();
        for sequence in 0..5 {
            let guilty = sequence == 3;
            let record = Outgoing {
                topic: strict.handle,
                partition: 0,
                token: Token { stream: 1, sequence },
                key: (!(guilty && keyless)).then_some(b"k"),
                value: Some(b"v"),
                headers: OutHeaders::List(&[]),
                timestamp_ms: if guilty && late { now + 86_400_000 } else { now },
            };
            target.produce(ProducerSlot::A, &record).unwrap();
        }
        let fates = fates(&mut target, 5).await;
        // Nothing is written, and no innocent record is named: the guilty one is named, or is one
        // of the suspects.
        let refused = |fate: &DeliveryReport| match fate {
            DeliveryReport::Refused { token, named, .. } => Some((token.sequence, *named)),
            DeliveryReport::Failed { token, .. } => {
                assert_ne!(token.sequence, 3, "{fate:?}");
                None
            }
            DeliveryReport::Acknowledged { .. } => panic!("{fate:?}"),
        };
        let refused: Vec<(u64, bool)> = fates.iter().filter_map(refused).collect();
        println!("late {late}, keyless {keyless}: {refused:?}");
        let everyone: Vec<(u64, bool)> = (0..5).map(|sequence| (sequence, false)).collect();
        assert!(refused == [(3, true)] || refused == everyone, "{fates:?}");
    }
    target.close(WAIT).await;
}

/// A target that waits long enough for the records of one test to share a batch.
trait TakeSlow {
    async fn take_slow(rig: &Rig) -> strait_kafka::KafkaTarget;
}

impl TakeSlow for KafkaTarget {
    async fn take_slow(rig: &Rig) -> KafkaTarget {
        let tuning = TargetTuning { linger: Duration::from_millis(500), ..TargetTuning::default() };
        rig.taken("refuse", 0, &tuning).await
    }
}

pub async fn at_least_once_delivers_without_transactions(rig: Rig) {
    rig.topics("alo", 1).await;
    let tuning = TargetTuning { exactly_once: false, ..TargetTuning::default() };
    let mut target = rig.taken("alo", 0, &tuning).await;
    let handle = open(&mut target, "alo-copied", 1).await.handle;
    for sequence in 0..10 {
        send(&mut target, ProducerSlot::A, handle, sequence, Some(b"v"), &[]);
    }
    acknowledged(&mut target, 10).await;
    target.produce_control(ProducerSlot::A, 9, 0, &[(&progress(10)).into()]).unwrap();
    acknowledged(&mut target, 1).await;
    let started = tokio::time::Instant::now();
    while target.round_trip().is_zero() {
        assert!(started.elapsed() < WAIT, "no statistics");
        send(&mut target, ProducerSlot::A, handle, 10, Some(b"v"), &[]);
        acknowledged(&mut target, 1).await;
    }
    target.close(WAIT).await;
    let read = KafkaProgressStore::new(&rig.cluster, "alo", WAIT).read(LaneId(0)).await.unwrap();
    assert_eq!(read.positions.get(&key("orders", 0)).unwrap().next, SourceOffset(10));
}

/// An answer counts once all of it is there, and one of the usual size takes longer than a read may
/// go without anything new.
pub async fn progress_is_read_over_a_slow_line(rig: Rig, line: Rig, proxy: &Proxy) {
    rig.topics("slow", 1).await;
    let mut target = rig.taken("slow", 0, &TargetTuning { exactly_once: false, ..TargetTuning::default() }).await;
    for partition in 0..1_000 {
        let ProgressRecord::Partition(_, mut position) = progress(10) else { unreachable!() };
        // Nothing that is compressed to little.
        position.config = (0..20).map(|_| format!("{:016x}", rand::rng().random::<u64>())).collect::<String>().into();
        let record = ProgressRecord::Partition(key("orders", partition), position);
        target.produce_control(ProducerSlot::A, 9, 0, &[(&record).into()]).unwrap();
        // Small batches: none is split.
        if partition % 20 == 19 {
            acknowledged(&mut target, 20).await;
        }
    }
    target.close(WAIT).await;
    let store = KafkaProgressStore::new(&line.cluster, "slow", Duration::from_secs(4));
    proxy.throttle(30_000);
    let first = store.read(LaneId(0)).await.unwrap_err();
    assert!(first.reason.contains("was not reached"), "{first}");
    assert_eq!(store.read(LaneId(0)).await.unwrap().positions.len(), 1_000);
}
