//! What the links of a process share: its clusters, each probed once, and the memory for its plugins.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use strait_core::config::Link;
use strait_kafka::config::ClusterConfig;
use strait_kafka::probe::{self, ProbeError};
use tokio::sync::OnceCell;

use super::RunError;
use crate::compose;
use crate::load::Loaded;

/// How long a cluster may take to answer before that is told.
const PROBE: Duration = Duration::from_secs(15);

/// The clusters of a configuration.
pub struct Clusters {
    loaded: Arc<Loaded>,
    process: u32,
    all: BTreeMap<String, Cluster>,
    /// How many lanes the links have that are known to have them.
    lanes: Mutex<BTreeMap<String, u32>>,
}

struct Cluster {
    config: ClusterConfig,
    /// How long an answer takes, once there was one.
    round_trip: OnceCell<Duration>,
}

impl Clusters {
    /// Of a configuration; none is asked anything before a link needs it.
    #[must_use]
    pub fn new(loaded: &Arc<Loaded>) -> Self {
        let clusters = loaded.config.clusters.iter().map(|(name, cluster)| {
            (name.clone(), Cluster { config: compose::cluster(name, cluster), round_trip: OnceCell::new() })
        });
        Self { all: clusters.collect(), loaded: Arc::clone(loaded), process: rand::random(), lanes: Mutex::default() }
    }

    /// The number of this process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.process
    }

    /// A cluster that has answered, and how long an answer takes. Links that ask at the same time wait for one answer.
    ///
    /// # Errors
    /// [`RunError::Probe`].
    pub async fn reach(&self, name: &str) -> Result<(&ClusterConfig, Duration), RunError> {
        let unknown = || ProbeError::Setting { cluster: name.to_owned(), reason: "it is not configured".to_owned() };
        let cluster = self.all.get(name).ok_or_else(unknown)?;
        let probing = cluster.round_trip.get_or_try_init(|| async {
            let info = probe::probe(&cluster.config, PROBE).await?;
            tracing::info!(cluster = name, id = info.cluster_id, brokers = info.brokers, "connected");
            Ok::<_, ProbeError>(info.round_trip)
        });
        Ok((&cluster.config, *probing.await?))
    }

    /// Refuses a link with which the plugins could need more memory than they may have.
    ///
    /// # Errors
    /// [`RunError::PluginMemory`].
    pub fn admit(&self, link: &Link, lanes: u32) -> Result<(), RunError> {
        let mut known = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(link.name.clone(), lanes);
        let lanes = |link: &Link| known.get(&link.name).copied().unwrap_or_else(|| link.lanes_to_create());
        compose::admit_plugins(&self.loaded.config, lanes).map(drop).map_err(RunError::PluginMemory)
    }
}
