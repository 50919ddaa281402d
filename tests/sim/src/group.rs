//! A process's view of the group, and of the source's topics.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use strait_core::progress::LaneProgress;
use strait_core::{LaneId, PartitionKey};
use strait_flow::ports::{
    BooksReader, BoundsAnswer, Discovery, Membership, MembershipEvent, OpenCount, PortError, ProgressStore,
    SourceTopics,
};
use tokio::sync::mpsc;

use crate::world::{Sim, World, retry};

/// How often a member hears whether the group's coordinator answers.
const HEARTBEAT: Duration = Duration::from_secs(3);

/// Hears from the group what a script or the storm decides.
pub struct SimMembership {
    /// The world.
    pub sim: Sim,
    /// The process.
    pub proc: usize,
    /// The events of the group.
    pub events: mpsc::Receiver<MembershipEvent>,
}

#[async_trait]
impl Membership for SimMembership {
    async fn next(&mut self) -> MembershipEvent {
        tokio::select! { biased;
            Some(event) = self.events.recv() => event,
            () = tokio::time::sleep(HEARTBEAT) => {
                let world = self.sim.lock();
                if world.now() < world.procs[self.proc].outside_until {
                    MembershipEvent::Trouble(retry("the group", "the coordinator does not answer"))
                } else {
                    MembershipEvent::Member
                }
            }
        }
    }

    async fn leave(self: Box<Self>) {}
}

/// Lists the source's topics as a broker tells them, which may be behind.
pub struct SimDiscovery {
    /// The world.
    pub sim: Sim,
    /// The process.
    pub proc: usize,
}

#[async_trait]
impl Discovery for SimDiscovery {
    async fn topics(&self) -> Result<SourceTopics, PortError> {
        let is_unlisted = {
            let mut world = self.sim.lock();
            world.source_lists[self.proc] += 1;
            world.unlisted == Some(self.proc)
        };
        if is_unlisted {
            return Err(retry("listing topics of the source", "no answer in time"));
        }
        let listed = self.sim.call("listing topics of the source", World::tell_topics).await?;
        Ok(SourceTopics { listed, ..SourceTopics::default() })
    }

    async fn bounds(&self, partitions: &[PartitionKey]) -> Result<BTreeMap<PartitionKey, BoundsAnswer>, PortError> {
        let asked = partitions.to_vec();
        let answer = move |world: &mut World| {
            let bounds = |key: PartitionKey| {
                let bounds = world.source.bounds(&key.topic, key.partition);
                (key, bounds.map_or(BoundsAnswer::Gone, BoundsAnswer::Known))
            };
            asked.into_iter().map(bounds).collect()
        };
        self.sim.call("listing offsets of the source", answer).await
    }
}

/// Reads progress for the watchdog, which has no lane.
pub struct SimCommitted(pub Sim);

#[async_trait]
impl ProgressStore for SimCommitted {
    async fn read(&self, lane: LaneId) -> Result<LaneProgress, PortError> {
        let progress =
            self.0.call("reading progress", move |world: &mut World| world.committed_progress(lane.0)).await?;
        progress.map_err(|reason| retry("reading progress", &reason))
    }

    async fn ends(&self, lanes: u32) -> Result<BTreeMap<LaneId, Result<i64, String>>, PortError> {
        let ends =
            move |world: &mut World| (0..lanes).map(|lane| (LaneId(lane), Ok(world.progress_end(lane)))).collect();
        self.0.call("listing offsets of progress", ends).await
    }
}

/// Counts the records that are open in the books.
pub struct SimBooks(pub Sim);

#[async_trait]
impl BooksReader for SimBooks {
    async fn open_records(&self) -> Result<OpenCount, PortError> {
        let count = |world: &mut World| OpenCount {
            records: world.open_records().len() as u64,
            oldest_ms: None,
            age: Duration::ZERO,
        };
        self.0.call("reading the books", count).await
    }
}
