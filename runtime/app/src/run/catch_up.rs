//! `--until-caught-up`: done once every link has committed what its source held when it started.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use strait_core::{LaneId, PartitionKey, SourceOffset, lanes};
use strait_flow::ports::{Discovery, LaneConnector, PortError, ProgressStore};
use strait_flow::{Activity, LinkStatus};

/// How often the lanes of this process are looked at, and those of others.
const LOOK: Duration = Duration::from_millis(100);
const LOOK_AT_OTHERS: Duration = Duration::from_secs(1);

/// What a link has to reach.
pub struct CatchUp {
    link: String,
    lanes: u32,
    progress: Arc<dyn ProgressStore>,
    status: Arc<LinkStatus>,
    /// The last stable offset of each partition when the link started.
    goals: BTreeMap<PartitionKey, SourceOffset>,
    /// Progress of partitions that other processes move.
    elsewhere: BTreeMap<PartitionKey, SourceOffset>,
    next_look_at_others: tokio::time::Instant,
}

/// How far a link is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remaining {
    /// Offsets that are not committed yet, aborted and control records included.
    pub offsets: u64,
    /// Partitions that reached their goal.
    pub partitions_done: usize,
    /// Partitions that stand still and will not reach it.
    pub stopped: Vec<PartitionKey>,
    /// All partitions.
    pub partitions: usize,
}

impl Remaining {
    /// Nothing moves any more: everything is there, or stands still.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.partitions_done + self.stopped.len() >= self.partitions
    }
}

impl CatchUp {
    /// Takes down what the source holds now.
    ///
    /// # Errors
    /// [`PortError`] when the source does not answer.
    pub async fn note(
        link: &str,
        lanes: u32,
        discovery: &dyn Discovery,
        connector: &dyn LaneConnector,
        progress: Arc<dyn ProgressStore>,
        status: Arc<LinkStatus>,
    ) -> Result<Self, PortError> {
        let mut partitions = Vec::new();
        for topic in discovery.topics().await? {
            for partition in 0..topic.partitions {
                let key = PartitionKey { topic: Arc::clone(&topic.topic), topic_id: topic.id, partition };
                partitions.push(key);
            }
        }
        let mut source = connector.source(LaneId(0)).await?;
        let bounds = source.bounds(&partitions).await;
        source.close().await;
        let goals = bounds?.into_iter().map(|(key, bounds)| (key, bounds.last_stable)).collect();
        Ok(Self {
            link: link.to_owned(),
            lanes,
            progress,
            status,
            goals,
            elsewhere: BTreeMap::new(),
            next_look_at_others: tokio::time::Instant::now(),
        })
    }

    /// Waits until the link has caught up, telling `tell` how far it is each time it looked.
    pub async fn reached(&mut self, mut tell: impl FnMut(&Remaining)) -> Remaining {
        loop {
            let remaining = self.look().await;
            tell(&remaining);
            if remaining.is_over() {
                return remaining;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn look(&mut self) -> Remaining {
        let mine = self.status.partitions();
        if tokio::time::Instant::now() >= self.next_look_at_others {
            self.look_at_others(&mine.keys().cloned().collect()).await;
            self.next_look_at_others = tokio::time::Instant::now() + LOOK_AT_OTHERS;
        }
        let mut remaining = Remaining { partitions: self.goals.len(), ..Remaining::default() };
        for (key, goal) in &self.goals {
            let here = mine.get(key);
            let committed = here.map(|p| p.committed).or_else(|| self.elsewhere.get(key).copied()).unwrap_or_default();
            // A first position that is not committed yet says nothing, unless the partition is empty.
            let known = here.is_some() || self.elsewhere.contains_key(key);
            if known && committed >= *goal {
                remaining.partitions_done += 1;
                continue;
            }
            remaining.offsets += u64::try_from(goal.0.saturating_sub(committed.0)).unwrap_or(0);
            if here.is_some_and(|p| p.activity == Activity::Stopped) {
                remaining.stopped.push(key.clone());
            }
        }
        remaining
    }

    /// Progress of lanes that this process does not have.
    async fn look_at_others(&mut self, mine: &BTreeSet<PartitionKey>) {
        let lanes: BTreeSet<LaneId> = self
            .goals
            .keys()
            .filter(|key| !mine.contains(*key))
            .map(|key| lanes::lane_of(&key.topic, key.partition, self.lanes))
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
