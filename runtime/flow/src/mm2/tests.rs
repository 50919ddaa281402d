//! The writing beside a coordinator, with a cluster in memory and time that passes by itself.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use strait_core::map::{MapKind, MapRecord, Run};
use strait_core::mm2::{Checkpoint, OffsetSync};
use strait_core::{PartitionKey, SourceOffset, TargetOffset, TopicId};
use tokio::time::Instant;

use super::*;
use crate::lock::lock;
use crate::ports::{CheckpointSink as _, GroupAnswer, MapNews, MapTail};

struct Time(Instant);

impl Clock for Time {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn unix_ms(&self) -> i64 {
        1_700_000_000_000 + i64::try_from(self.0.elapsed().as_millis()).unwrap()
    }
}

#[derive(Default)]
struct World {
    written: Mutex<BTreeMap<Mm2Topic, Vec<Mm2Record>>>,
    refused: Mutex<BTreeMap<Mm2Topic, Class>>,
    /// Topics can be opened, and not written.
    opens: Mutex<bool>,
    events: Mutex<Vec<Event>>,
    map: Mutex<Vec<MapNews>>,
}

impl World {
    fn judge(&self, topic: Mm2Topic) -> Result<(), PortError> {
        match lock(&self.refused).get(&topic) {
            Some(class) => Err(PortError::new(*class, "topic", "refused")),
            None => Ok(()),
        }
    }

    fn count(&self, topic: Mm2Topic) -> usize {
        lock(&self.written).get(&topic).map_or(0, Vec::len)
    }

    fn events(&self) -> Vec<&'static str> {
        lock(&self.events).drain(..).map(|event| event.name()).collect()
    }
}

#[async_trait]
impl Mm2Writer for World {
    async fn open(&self, topic: Mm2Topic) -> Result<(), PortError> {
        if *lock(&self.opens) { Ok(()) } else { self.judge(topic) }
    }

    async fn write(&self, topic: Mm2Topic, records: Vec<Mm2Record>) -> Result<(), PortError> {
        self.judge(topic)?;
        lock(&self.written).entry(topic).or_default().extend(records);
        Ok(())
    }
}

impl EventSink for World {
    fn emit(&self, _: &str, event: Event) {
        lock(&self.events).push(event);
    }
}

struct Feed(Arc<World>);

#[async_trait]
impl MapFeed for Feed {
    async fn follow(&self) -> Result<Box<dyn MapTail>, PortError> {
        Ok(Box::new(Self(Arc::clone(&self.0))))
    }
}

#[async_trait]
impl MapTail for Feed {
    async fn next(&mut self) -> Result<MapNews, PortError> {
        tokio::time::sleep(EVERY).await;
        let mut map = lock(&self.0.map);
        Ok(if map.is_empty() { MapNews { is_caught_up: true, ..MapNews::default() } } else { map.remove(0) })
    }
}

struct Link {
    world: Arc<World>,
    mm2: Mm2,
    clock: Time,
    status: LinkStatus,
    has_lane: watch::Sender<bool>,
}

impl Link {
    fn new() -> Self {
        let world = Arc::new(World::default());
        let mm2 = Mm2 {
            source: "a".into(),
            target: "b".into(),
            topics: Mm2Topic::ALL.to_vec(),
            copies: Arc::new(|topic| format!("a.{topic}")),
            writer: Arc::clone(&world) as _,
            map: Arc::new(Feed(Arc::clone(&world))),
            checkpoints: Arc::default(),
        };
        let (has_lane, _) = watch::channel(true);
        Self { world, mm2, clock: Time(Instant::now()), status: LinkStatus::default(), has_lane }
    }

    fn ticks(&self) {
        self.status.coordinator_mut(|status| {
            status.set(CoordinatorState::Coordinating, self.clock.now());
            status.ticked_at = Some(self.clock.now());
        });
    }

    /// Writes while the script lasts.
    async fn writes(&self, script: impl Future<Output = ()>) {
        let has_lane = self.has_lane.subscribe();
        let writing = Writing {
            mm2: &self.mm2,
            link: "l",
            has_coordinator: true,
            has_lane,
            clock: &self.clock,
            events: &*self.world,
            status: &self.status,
        };
        tokio::select! {
            () = writing.run() => {}
            () = script => {}
        }
    }

    /// Lets so many seconds pass, in which the coordinator ticks.
    async fn ticks_for(&self, seconds: u32) {
        for _ in 0..seconds * 10 {
            self.ticks();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn answer(&self, group: &str, upstream: i64, downstream: i64) {
        let answer = GroupAnswer {
            group: group.into(),
            topic: "a.orders".into(),
            partition: 0,
            upstream: SourceOffset(upstream),
            downstream: TargetOffset(downstream),
            metadata: "m".into(),
        };
        assert_eq!(self.mm2.checkpoints.answered(&[answer]), 1);
    }

    fn checkpoints(&self) -> Vec<(String, i64, i64)> {
        let written = lock(&self.world.written);
        let all = written.get(&Mm2Topic::Checkpoints).into_iter().flatten();
        let decoded = all.map(|record| Checkpoint::decode(&record.key, &record.value).unwrap());
        decoded.map(|checkpoint| (checkpoint.group, checkpoint.upstream, checkpoint.downstream)).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_a_second_while_the_process_coordinates_and_none_after() {
    let link = Link::new();
    let script = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(link.world.count(Mm2Topic::Heartbeats), 0, "it does not coordinate");
        link.ticks_for(10).await;
        for (topic, between) in [(Mm2Topic::Heartbeats, ("a", "b")), (Mm2Topic::SourceHeartbeats, ("b", "a"))] {
            let written = lock(&link.world.written).remove(&topic).unwrap();
            assert!((9..=11).contains(&written.len()), "{topic}: {}", written.len());
            for record in written {
                let heartbeat = Heartbeat::decode(&record.key, &record.value).unwrap();
                assert_eq!((&*heartbeat.source, &*heartbeat.target), between);
                assert_eq!(heartbeat.timestamp_ms, record.timestamp_ms);
            }
        }
        // The process was stopped: its last transaction is too long ago.
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert!(link.world.count(Mm2Topic::Heartbeats) <= 5);
    };
    link.writes(script).await;
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_cannot_be_written_holds_up_no_other_and_is_told_once() {
    let link = Link::new();
    lock(&link.world.refused).insert(Mm2Topic::Checkpoints, Class::Stop);
    lock(&link.world.refused).insert(Mm2Topic::OffsetSyncs, Class::Retry);
    link.answer("g", 10, 7);
    let script = async {
        link.ticks_for(20).await;
        assert!(link.world.count(Mm2Topic::Heartbeats) >= 19);
        assert_eq!(link.world.events(), ["mm2_unwritable"], "what may pass is not told at once");
        assert!(link.status.mm2()[&Mm2Topic::Checkpoints].failing.is_some());
        link.ticks_for(60).await;
        assert_eq!(link.world.events(), ["mm2_unwritable"], "the one that has failed for long");

        lock(&link.world.refused).clear();
        link.ticks_for(40).await;
        assert_eq!(link.world.events(), ["mm2_writable", "mm2_writable"]);
        assert_eq!(link.checkpoints(), [("g".to_owned(), 10, 7)], "it had waited");
        assert!(link.status.mm2().values().all(|figures| figures.failing.is_none()));

        *lock(&link.world.opens) = true;
        lock(&link.world.refused).insert(Mm2Topic::Checkpoints, Class::Stop);
        link.answer("g", 11, 8);
        link.ticks_for(100).await;
        assert_eq!(link.world.events(), ["mm2_unwritable"], "a topic that is there is not yet written");
        // What could not be written gives way to what is newer.
        link.answer("g", 12, 9);
        lock(&link.world.refused).clear();
        link.ticks_for(40).await;
        assert_eq!(link.checkpoints(), [("g".to_owned(), 10, 7), ("g".to_owned(), 12, 9)]);
    };
    link.writes(script).await;
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_for_each_change_and_again_under_a_new_coordinator() {
    let link = Link::new();
    for (upstream, downstream) in [(10, 7), (12, 9)] {
        link.answer("g", upstream, downstream);
    }
    let (g, h) = (("g".to_owned(), 12, 9), ("h".to_owned(), 1, 1));
    let script = async {
        link.ticks_for(3).await;
        link.answer("g", 12, 9);
        link.answer("h", 1, 1);
        link.ticks_for(2).await;
        assert_eq!(link.checkpoints(), [g.clone(), h.clone()], "the newest, and none that says nothing new");
        // Another process may have coordinated meanwhile.
        tokio::time::sleep(Duration::from_secs(30)).await;
        link.ticks_for(5).await;
        link.answer("g", 12, 9);
        link.ticks_for(2).await;
        assert_eq!(link.checkpoints(), [g.clone(), h.clone(), g.clone()]);
    };
    link.writes(script).await;
}

fn committed(first: i64, target: i64) -> MapRecord {
    MapRecord {
        partition: PartitionKey { topic: "orders".into(), topic_id: TopicId([1; 16]), partition: 0 },
        target_topic: "a.orders".into(),
        target_id: TopicId([2; 16]),
        kind: MapKind::Copy,
        first: SourceOffset(first),
        next: SourceOffset(first + 10),
        runs: vec![Run { source: SourceOffset(first), target_partition: 0, target: TargetOffset(target), count: 10 }],
    }
}

#[tokio::test(start_paused = true)]
async fn syncs_wait_until_the_map_is_read_and_then_are_the_newest() {
    let link = Link::new();
    let old = |records, is_caught_up| MapNews { records, is_caught_up };
    *lock(&link.world.map) = vec![
        old(vec![committed(0, 0)], false),
        old(vec![committed(10, 11)], false),
        old(vec![committed(20, 22)], true),
        old(vec![committed(30, 33), committed(40, 44)], true),
    ];
    link.writes(link.ticks_for(10)).await;
    let written = lock(&link.world.written).remove(&Mm2Topic::OffsetSyncs).unwrap();
    let syncs = written.iter().map(|record| OffsetSync::decode(&record.key, &record.value).unwrap());
    let pairs: Vec<(i64, i64)> = syncs.map(|sync| (sync.upstream, sync.downstream)).collect();
    assert_eq!(pairs, [(29, 31), (49, 53)]);
}
