use std::sync::Arc;
use std::time::{Duration, Instant};

use strait_core::config::{Replication, Sync};
use strait_core::progress::{Position, ProgressRecord};
use strait_core::{Event, LeaderEpoch, OwnerEpoch, PartitionKey, Record, SourceOffset, TopicId};
use strait_flow::ports::{
    DeliveryReport, EventSink, Fetched, OutHeaders, Outgoing, ProducerSlot, ReadEpoch, ReadFrom, Source, Target,
    TargetEvent, TargetTopic, Token, TopicAnswer, TopicHandle, WantedTopic,
};
use strait_kafka::ffi::{Client, ClientKind, NewTopic};
use strait_kafka::{
    ClusterConfig, KafkaSource, KafkaTarget, LinkTopics, SourceTuning, TargetTuning, TopicMaker, config::Settings,
};

pub const WAIT: Duration = Duration::from_secs(30);

/// Takes no event.
struct Ignored;

impl EventSink for Ignored {
    fn emit(&self, _: &str, _: Event) {}
}

/// Opens a topic like the source topic of the same name. Asks again while it appears, as lanes do.
pub async fn open(target: &mut KafkaTarget, topic: &str, partitions: u32) -> TargetTopic {
    let wanted = WantedTopic { name: topic.into(), like: topic.into(), partitions, grows: true, creates: true };
    let deadline = Instant::now() + WAIT;
    loop {
        match target.open_topic(&wanted).await.unwrap() {
            TopicAnswer::Open(topic) => return topic,
            TopicAnswer::Appearing if Instant::now() < deadline => {}
            other => panic!("{other:?}"),
        }
    }
}

/// How scenarios reach the cluster.
#[derive(Clone)]
pub struct Rig {
    pub cluster: ClusterConfig,
}

impl Rig {
    pub fn new(bootstrap: &str) -> Self {
        let cluster = ClusterConfig {
            name: "rig".to_owned(),
            bootstrap_servers: bootstrap.to_owned(),
            properties: std::collections::BTreeMap::new(),
            access: Default::default(),
        };
        Self { cluster }
    }

    pub async fn topics(&self, link: &str, lanes: u32) {
        let found = self.link_topics(link, lanes).ensure().await.unwrap();
        assert_eq!((found.lanes, found.unfit), (lanes, Vec::new()));
    }

    pub fn link_topics(&self, link: &str, lanes: u32) -> LinkTopics {
        LinkTopics {
            target: self.cluster.clone(),
            link: link.to_owned(),
            lanes,
            map_retention: None,
            manage: true,
            timeout: WAIT,
        }
    }

    pub async fn taken(&self, link: &str, lane: u32, tuning: &TargetTuning) -> KafkaTarget {
        let maker = TopicMaker::new(
            &self.cluster,
            link,
            &Sync { replication: Replication::Default, ..Sync::default() },
            Arc::new(Ignored),
            WAIT,
        );
        let mut target = KafkaTarget::new(&self.cluster, link, lane, tuning).with_maker(Some(Arc::new(maker)));
        target.take().await.unwrap();
        target
    }

    pub fn source(&self, link: &str) -> Box<dyn Source> {
        Box::new(KafkaSource::new(&self.cluster, link, 0, &SourceTuning::default()).unwrap())
    }

    pub async fn create(&self, topic: &str, partitions: i32, settings: &[(&'static str, &str)]) {
        let (cluster, topic) = (self.cluster.clone(), topic.to_owned());
        let settings: Vec<(&'static str, String)> = settings.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
        tokio::task::spawn_blocking(move || {
            let client = Client::new(ClientKind::Producer, "test", &Settings::of(&cluster, "test"), None).unwrap();
            let partitions = u32::try_from(partitions).unwrap();
            let new = NewTopic { name: &topic, partitions, replication: None, settings: &settings };
            client.create_topic(&new, false, WAIT).unwrap();
        })
        .await
        .unwrap();
    }

    /// Writes `count` records without transactions and waits for them.
    pub async fn fill(&self, topic: &str, count: u64) {
        let tuning = TargetTuning { exactly_once: false, ..TargetTuning::default() };
        let mut target = self.taken("fill", 0, &tuning).await;
        let handle = open(&mut target, topic, 1).await.handle;
        for sequence in 0..count {
            let value = sequence.to_string();
            send(&mut target, ProducerSlot::A, handle, sequence, Some(value.as_bytes()), &[]);
        }
        acknowledged(&mut target, count).await;
        target.close(WAIT).await;
    }
}

pub fn key(topic: &str, partition: i32) -> PartitionKey {
    PartitionKey { topic: topic.into(), topic_id: TopicId::UNKNOWN, partition }
}

pub fn from(topic: &str, partition: i32, next: i64, epoch: i32) -> ReadFrom {
    ReadFrom { partition: key(topic, partition), next: SourceOffset(next), leader_epoch: LeaderEpoch(epoch) }
}

pub fn progress(next: i64) -> ProgressRecord {
    let position = Position {
        next: SourceOffset(next),
        leader_epoch: LeaderEpoch(0),
        generation: "none".into(),
        owner: OwnerEpoch(1),
        ids: "ab".into(),
        lanes: 1,
        config: "c".into(),
        ..Position::default()
    };
    ProgressRecord::Partition(key("orders", 0), position)
}

pub const STAMP: i64 = 1_700_000_000_123;

pub fn send(
    target: &mut KafkaTarget,
    slot: ProducerSlot,
    topic: TopicHandle,
    sequence: u64,
    value: Option<&[u8]>,
    headers: &[(Vec<u8>, Option<Vec<u8>>)],
) {
    let record = Outgoing {
        topic,
        partition: 0,
        token: Token { stream: 7, sequence },
        key: Some(b"k"),
        value,
        headers: OutHeaders::List(headers),
        timestamp_ms: STAMP,
    };
    target.produce(slot, &record).unwrap();
}

pub async fn event(target: &mut KafkaTarget) -> TargetEvent {
    tokio::time::timeout(WAIT, target.event()).await.expect("an event in time")
}

/// Waits until `count` records are acknowledged and returns the runs.
pub async fn acknowledged(target: &mut KafkaTarget, count: u64) -> Vec<(Token, u32, i64)> {
    let mut runs = Vec::new();
    let mut seen = 0;
    while seen < count {
        let TargetEvent::Delivered(deliveries) = event(target).await else { panic!("deliveries expected") };
        for delivery in deliveries {
            let DeliveryReport::Acknowledged { first, count, offset } = delivery else { panic!("{delivery:?}") };
            seen += u64::from(count);
            runs.push((first, count, offset.0));
        }
    }
    assert_eq!(seen, count);
    runs
}

pub async fn next(source: &mut Box<dyn Source>) -> Fetched {
    tokio::time::timeout(Duration::from_secs(60), source.next()).await.expect("something fetched in time").unwrap()
}

pub async fn committed(target: &mut KafkaTarget, slot: ProducerSlot) {
    target.commit(slot);
    match event(target).await {
        TargetEvent::Committed(done) => assert_eq!(done, slot),
        other => panic!("{other:?}"),
    }
}

/// Reads until the reader's position is `end`. Returns the records before it.
pub async fn read_to(source: &mut Box<dyn Source>, epoch: ReadEpoch, end: i64) -> Vec<Record> {
    let mut records = Vec::new();
    loop {
        match next(source).await {
            Fetched::Batch { epoch: found, batch } => {
                assert_eq!(found, epoch);
                records.extend(batch.iter().map(|record| Record {
                    topic: batch.topic().to_string(),
                    partition: batch.partition(),
                    offset: record.offset.0,
                    timestamp_ms: record.timestamp_ms,
                    key: record.key.map(Vec::from),
                    value: record.value.map(Vec::from),
                    headers: record.headers.iter().map(|h| (h.name.to_vec(), h.value.map(Vec::from))).collect(),
                }));
                if records.last().is_some_and(|record| record.offset + 1 == end) {
                    return records;
                }
            }
            Fetched::Moved { epoch: found, next, .. } => {
                assert_eq!(found, epoch);
                if next.0 == end {
                    return records;
                }
            }
            Fetched::Failed { failure, .. } => panic!("{failure:?}"),
        }
    }
}

pub fn arc(text: &str) -> Arc<str> {
    text.into()
}
