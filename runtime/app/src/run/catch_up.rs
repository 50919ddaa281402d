//! `--until-caught-up`: ends when every link has committed what its source held at the start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use strait_core::{Event, LaneId, PartitionKey, SourceOffset, lanes};
use strait_flow::ports::{BoundsAnswer, Discovery, PortError, ProgressStore};
use strait_flow::{Activity, LaneState, LinkStatus, PartitionStatus};
use tokio::time::Instant;

/// How often the lanes of this process are polled.
const POLL: Duration = Duration::from_millis(100);
/// How often the lanes of other processes are polled.
const POLL_OTHERS: Duration = Duration::from_secs(1);
/// How often partitions are asked whose end is not known: they have no leader, or may not be read.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// How long they are asked before they count as stopped: enough for a broker restart.
const UNKNOWN_MAX: Duration = Duration::from_secs(60);

/// The goal of a link and what is known of its progress.
pub struct CatchUp {
    link: String,
    lanes: u32,
    progress: Arc<dyn ProgressStore>,
    status: Arc<LinkStatus>,
    /// The last stable offset of each partition at the start.
    goals: BTreeMap<PartitionKey, SourceOffset>,
    /// Partitions whose last stable offset is not known.
    unknown: BTreeSet<PartitionKey>,
    unknown_until: Instant,
    discovery: Arc<dyn Discovery>,
    next_question: Instant,
    /// Progress of partitions that other processes move.
    elsewhere: BTreeMap<PartitionKey, SourceOffset>,
    next_poll_of_others: Instant,
}

/// The offsets that a link still has to copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remaining {
    /// Offsets that are not committed yet, aborted and control records included.
    pub offsets: u64,
    /// Partitions that reached their goal.
    pub partitions_done: usize,
    /// Stopped partitions, which will not reach it.
    pub stopped: Vec<PartitionKey>,
    /// All partitions.
    pub partitions: usize,
}

impl Remaining {
    /// Returns whether every partition is done or stopped.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.partitions_done + self.stopped.len() >= self.partitions
    }
}

impl CatchUp {
    /// Records what the source holds now as the goal.
    ///
    /// # Errors
    /// [`PortError`] when the source does not answer.
    pub async fn start(
        link: &str,
        lanes: u32,
        discovery: Arc<dyn Discovery>,
        progress: Arc<dyn ProgressStore>,
        status: Arc<LinkStatus>,
    ) -> Result<Self, PortError> {
        let mut partitions = Vec::new();
        for topic in discovery.topics().await?.listed {
            for partition in 0..topic.partitions {
                let key = PartitionKey { topic: Arc::clone(&topic.topic), topic_id: topic.id, partition };
                partitions.push(key);
            }
        }
        let now = Instant::now();
        let mut this = Self {
            link: link.to_owned(),
            lanes,
            progress,
            status,
            goals: BTreeMap::new(),
            unknown: BTreeSet::new(),
            unknown_until: now + UNKNOWN_MAX,
            discovery,
            next_question: now + ASK_AGAIN,
            elsewhere: BTreeMap::new(),
            next_poll_of_others: now,
        };
        this.ask(&partitions).await?;
        Ok(this)
    }

    /// Reads the ends of partitions. One without a leader hides no other.
    async fn ask(&mut self, partitions: &[PartitionKey]) -> Result<(), PortError> {
        for (key, answer) in self.discovery.bounds(partitions).await? {
            match answer {
                BoundsAnswer::Known(bounds) => {
                    self.unknown.remove(&key);
                    self.goals.insert(key, bounds.last_stable);
                }
                BoundsAnswer::Gone => {
                    self.unknown.remove(&key);
                }
                BoundsAnswer::Failed(reason) => {
                    if self.unknown.insert(key.clone()) {
                        tracing::warn!(link = %self.link, partition = %key, reason, "where it ends is not known yet, will ask again");
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits until the link has caught up. Calls `show` with what remains after each poll.
    pub async fn wait(&mut self, mut show: impl FnMut(&Remaining)) -> Remaining {
        loop {
            let remaining = self.poll().await;
            show(&remaining);
            if remaining.is_over() {
                return remaining;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn poll(&mut self) -> Remaining {
        let mine = self.status.partitions();
        // Until it has joined it is not known which lanes are others'. A lane of this process may
        // find that what it has copied is no longer there.
        if self.status.has_joined() && Instant::now() >= self.next_poll_of_others {
            self.poll_others(&mine).await;
            self.next_poll_of_others = Instant::now() + POLL_OTHERS;
        }
        if !self.unknown.is_empty() && Instant::now() >= self.next_question {
            let asked: Vec<PartitionKey> = self.unknown.iter().cloned().collect();
            if let Err(error) = self.ask(&asked).await {
                tracing::debug!(link = %self.link, %error, "the ends of partitions cannot be read yet");
            }
            self.next_question = Instant::now() + ASK_AGAIN;
        }
        let partitions = self.goals.len() + self.unknown.len();
        let mut remaining = Remaining { partitions, ..Remaining::default() };
        if Instant::now() >= self.unknown_until {
            remaining.stopped.extend(self.unknown.iter().cloned());
        }
        let is_any_stopped = mine.values().any(|partition| partition.activity == Activity::Stopped);
        let reasons = if is_any_stopped { self.status.reasons() } else { BTreeMap::new() };
        // Whatever was committed, it is not on the target any more.
        let is_lost = |key: &PartitionKey| {
            key.entry_of(&reasons).is_some_and(|reason| matches!(reason.event, Event::TargetRecreated { .. }))
        };
        let lanes = self.status.lanes();
        for (key, goal) in &self.goals {
            let lane = lanes.get(&lanes::lane_of(&key.topic, key.partition, self.lanes)).map(|lane| lane.state);
            let here = key.entry_of(&mine);
            let known = here.map(|p| p.committed).or_else(|| key.entry_of(&self.elsewhere).copied());
            let committed = known.unwrap_or_default();
            // The default position of a partition that nobody has reported proves nothing.
            let is_known = known.is_some();
            // Its lane copies nothing until an operator has changed something.
            let is_held = matches!(lane, Some(LaneState::Refused | LaneState::Standby));
            let is_stopped = here.is_some_and(|p| p.activity == Activity::Stopped) || is_held;
            // A lane of this process that has not been taken yet has not put its plugins in force,
            // wherever the one before ended.
            let is_here = lane.is_none_or(|state| state == LaneState::Running) || is_held;
            if is_stopped && is_lost(key) {
                remaining.stopped.push(key.clone());
                continue;
            }
            if is_known && is_here && committed >= *goal {
                remaining.partitions_done += 1;
                continue;
            }
            remaining.offsets += u64::try_from(goal.0.saturating_sub(committed.0)).unwrap_or(0);
            if is_stopped {
                remaining.stopped.push(key.clone());
            }
        }
        remaining
    }

    /// Reads the progress of lanes that this process does not have.
    async fn poll_others(&mut self, mine: &BTreeMap<PartitionKey, PartitionStatus>) {
        let running = self.status.lanes();
        let lanes: BTreeSet<LaneId> = self
            .goals
            .keys()
            .filter(|key| key.entry_of(mine).is_none())
            .map(|key| lanes::lane_of(&key.topic, key.partition, self.lanes))
            .filter(|lane| !running.contains_key(lane))
            .collect();
        for lane in lanes {
            match self.progress.read(lane).await {
                Ok(progress) => {
                    self.elsewhere.extend(progress.positions.into_iter().map(|(key, position)| (key, position.next)));
                }
                Err(error) => {
                    tracing::debug!(link = %self.link, %error, "progress of another process cannot be read yet")
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use async_trait::async_trait;
    use strait_core::TopicId;
    use strait_core::progress::LaneProgress;
    use strait_flow::ports::{LogBounds, SourceTopic, SourceTopics};

    use super::*;

    /// A source with one partition that ends at 5, of a link whose progress nobody has read.
    struct One;

    #[async_trait]
    impl Discovery for One {
        async fn topics(&self) -> Result<SourceTopics, PortError> {
            let topic = SourceTopic { topic: "t".into(), id: TopicId::default(), partitions: 1 };
            Ok(SourceTopics { listed: vec![topic], ..SourceTopics::default() })
        }

        async fn bounds(&self, partitions: &[PartitionKey]) -> Result<BTreeMap<PartitionKey, BoundsAnswer>, PortError> {
            let bounds =
                LogBounds { log_start: SourceOffset(0), last_stable: SourceOffset(5), high_watermark: SourceOffset(5) };
            Ok(partitions.iter().map(|key| (key.clone(), BoundsAnswer::Known(bounds))).collect())
        }
    }

    #[async_trait]
    impl ProgressStore for One {
        async fn read(&self, _: LaneId) -> Result<LaneProgress, PortError> {
            Ok(LaneProgress::default())
        }

        async fn ends(&self, _: u32) -> Result<BTreeMap<LaneId, Result<i64, String>>, PortError> {
            Ok(BTreeMap::new())
        }
    }

    /// A source with two partitions that end at 5. The first one has no leader for so long, from
    /// the start of the test.
    struct Leaderless(Instant);

    #[async_trait]
    impl Discovery for Leaderless {
        async fn topics(&self) -> Result<SourceTopics, PortError> {
            let topic = SourceTopic { topic: "t".into(), id: TopicId::default(), partitions: 2 };
            Ok(SourceTopics { listed: vec![topic], ..SourceTopics::default() })
        }

        async fn bounds(&self, partitions: &[PartitionKey]) -> Result<BTreeMap<PartitionKey, BoundsAnswer>, PortError> {
            let mut answers = One.bounds(partitions).await?;
            if let Some(answer) = answers.get_mut(&key(0)).filter(|_| Instant::now() < self.0) {
                *answer = BoundsAnswer::Failed("no leader".to_owned());
            }
            Ok(answers)
        }
    }

    fn key(partition: i32) -> PartitionKey {
        PartitionKey { topic: "t".into(), topic_id: TopicId::default(), partition }
    }

    #[tokio::test(start_paused = true)]
    async fn a_partition_without_a_leader_is_waited_for_a_minute_and_no_longer() {
        let seconds = Duration::from_secs;
        for (away_s, over_s, stopped) in [(10, 10..16, vec![]), (100, 60..61, vec![key(0)])] {
            let began = Instant::now();
            let status = Arc::new(LinkStatus::default());
            status.set_lane(LaneId(0), LaneState::Running, Duration::ZERO);
            status.joined();
            (0..2).for_each(|partition| status.set(&key(partition), SourceOffset(5), Activity::Running));
            let source = Arc::new(Leaderless(began + seconds(away_s)));
            let mut catch_up = CatchUp::start("l", 1, source, Arc::new(One), status).await.unwrap();
            let remaining = tokio::time::timeout(seconds(200), catch_up.wait(|_| {})).await.unwrap();
            let waited_s = began.elapsed().as_secs();
            assert!(over_s.contains(&waited_s), "over after {waited_s} s, expected within {over_s:?}");
            assert_eq!((remaining.partitions, remaining.partitions_done), (2, 2 - stopped.len()));
            assert_eq!(remaining.stopped, stopped);
        }
    }

    #[tokio::test]
    async fn a_partition_is_done_once_its_lane_runs_and_not_while_it_is_being_taken() {
        let status = Arc::new(LinkStatus::default());
        let mut catch_up = CatchUp::start("l", 1, Arc::new(One), Arc::new(One), Arc::clone(&status)).await.unwrap();
        let key = key(0);
        status.set_lane(LaneId(0), LaneState::Taking, Duration::ZERO);
        status.joined();
        status.set(&key, SourceOffset(5), Activity::Running);
        assert!(!catch_up.poll().await.is_over(), "its plugins are not in force yet");
        status.set_lane(LaneId(0), LaneState::Waiting, Duration::ZERO);
        assert!(!catch_up.poll().await.is_over(), "nor where it could not be taken");
        status.set_lane(LaneId(0), LaneState::Running, Duration::ZERO);
        assert!(catch_up.poll().await.is_over());
        status.set(&key, SourceOffset(4), Activity::Running);
        assert_eq!(catch_up.poll().await.offsets, 1);
    }
}
