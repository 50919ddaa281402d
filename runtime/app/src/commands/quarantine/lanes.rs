//! The lanes that refused records belong to: how far they are, and the border that they hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use strait_core::books::BookKey;
use strait_core::progress::{ChainBorder, LaneProgress, LinkIdentity, Position};
use strait_core::{LaneId, PartitionKey, TopicId, lanes};
use strait_flow::ports::ProgressStore as _;
use strait_kafka::{ClusterConfig, KafkaProgressStore};

/// How long progress may stay hidden by a transaction that a lane has open.
const PATIENCE: Duration = Duration::from_secs(75);

/// The lanes of some records.
pub struct Lanes {
    store: KafkaProgressStore,
    link: String,
    count: u32,
    progress: BTreeMap<LaneId, LaneProgress>,
}

impl Lanes {
    /// Reads the progress of the lanes that these records belong to.
    ///
    /// # Errors
    /// Why it cannot be read, or why this process must not use the lanes.
    pub async fn read<'a>(
        target: &ClusterConfig,
        identity: &LinkIdentity,
        link: &str,
        keys: impl Iterator<Item = &'a BookKey>,
    ) -> Result<Self, String> {
        let store = KafkaProgressStore::new(target, link, PATIENCE);
        let first = store.read(LaneId(0)).await.map_err(|error| error.to_string())?;
        let count = first.lane.as_ref().map_or(0, |lane| lane.lanes);
        if count == 0 {
            return Err(format!(
                "link {link} has no lanes yet, or an older version has written them: run the link first"
            ));
        }
        let mut read = Self { store, link: link.to_owned(), count, progress: BTreeMap::new() };
        let needed: BTreeSet<LaneId> = keys.map(|key| read.lane_of(&key.partition)).collect();
        read.progress = needed.into_iter().map(|lane| (lane, LaneProgress::default())).collect();
        read.refresh().await?;
        let refusal = |(lane, progress): (&LaneId, &LaneProgress)| {
            let reason = progress.lane.as_ref()?.refusal(count, identity)?;
            Some(format!("lane {lane} of link {link}: {reason}"))
        };
        match read.progress.iter().find_map(refusal) {
            Some(reason) => Err(reason),
            None => Ok(read),
        }
    }

    /// Reads the progress again.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub async fn refresh(&mut self) -> Result<(), String> {
        for (lane, progress) in &mut self.progress {
            *progress = self.store.read(*lane).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Returns the lane of a source partition.
    pub fn lane_of(&self, partition: &PartitionKey) -> LaneId {
        lanes::lane_of(&partition.topic, partition.partition, self.count)
    }

    /// Returns the positions of all that was read.
    pub fn positions(&self) -> BTreeMap<PartitionKey, Position> {
        let all = self.progress.values().flat_map(|progress| &progress.positions);
        all.map(|(key, position)| (key.clone(), position.clone())).collect()
    }

    /// Returns the ids of the target topics that the lanes have written.
    pub fn written(&self) -> BTreeMap<Arc<str>, TopicId> {
        self.progress.values().flat_map(LaneProgress::target_ids).collect()
    }

    /// Checks that these plugins may judge records of the lanes: no other generation is in force.
    ///
    /// # Errors
    /// The first lane, and what to do.
    pub fn check_border(&self, chain: &ChainBorder) -> Result<(), String> {
        for (lane, progress) in &self.progress {
            let border = progress.lane.as_ref().and_then(|lane| lane.border.as_ref());
            let held = match border {
                Some(border) if border.generation == chain.generation => continue,
                None if !chain.has_plugins => continue,
                Some(border) => format!("holds the border of generation {}", border.generation),
                None => "holds no border yet".to_owned(),
            };
            return Err(format!(
                "lane {lane} of link {link} {held}, but the plugins of this configuration are generation {own}: nothing was replayed. Use the configuration and the plugins that the link runs with, or bring these into force first (a reload, or a start of the link)",
                link = self.link,
                own = chain.generation
            ));
        }
        Ok(())
    }
}
