//! `--until-caught-up`: ends when every link has committed what its source held at the start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use strait_core::{LaneId, PartitionKey, SourceOffset, lanes};
use strait_flow::ports::{Discovery, LaneConnector, PortError, ProgressStore};
use strait_flow::{Activity, LinkStatus};
use tokio::time::Instant;

/// How often the lanes of this process are polled.
const POLL: Duration = Duration::from_millis(100);
/// How often the lanes of other processes are polled.
const POLL_OTHERS: Duration = Duration::from_secs(1);

/// The goal of a link and what is known of its progress.
pub struct CatchUp {
    link: String,
    lanes: u32,
    progress: Arc<dyn ProgressStore>,
    status: Arc<LinkStatus>,
    /// The last stable offset of each partition at the start.
    goals: BTreeMap<PartitionKey, SourceOffset>,
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
            next_poll_of_others: Instant::now(),
        })
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
        if Instant::now() >= self.next_poll_of_others {
            self.poll_others(&mine.keys().cloned().collect()).await;
            self.next_poll_of_others = Instant::now() + POLL_OTHERS;
        }
        let mut remaining = Remaining { partitions: self.goals.len(), ..Remaining::default() };
        for (key, goal) in &self.goals {
            let here = mine.get(key);
            let committed = here.map(|p| p.committed).or_else(|| self.elsewhere.get(key).copied()).unwrap_or_default();
            // The default position of a partition that nobody has reported proves nothing.
            let is_known = here.is_some() || self.elsewhere.contains_key(key);
            if is_known && committed >= *goal {
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

    /// Reads the progress of lanes that this process does not have.
    async fn poll_others(&mut self, mine: &BTreeSet<PartitionKey>) {
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
