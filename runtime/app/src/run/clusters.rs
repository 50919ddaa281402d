//! The clusters of a process, each probed once, and the memory for its plugins. All links share
//! them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use strait_core::config::Link;
use strait_core::progress::LinkIdentity;
use strait_kafka::access::{Access, AccessObserver};
use strait_kafka::config::ClusterConfig;
use strait_kafka::probe::{self, ProbeError};
use tokio::sync::OnceCell;

use super::RunError;
use crate::board::Board;
use crate::compose;
use crate::load::Loaded;
use crate::plugin_memory::PluginMemory;

/// How long a cluster may take to answer the probe.
const PROBE: Duration = Duration::from_secs(15);

/// The clusters of a configuration.
pub struct Clusters {
    loaded: Arc<Loaded>,
    process: u32,
    all: BTreeMap<String, Cluster>,
    memory: Arc<PluginMemory>,
}

struct Cluster {
    /// As it is configured.
    config: ClusterConfig,
    /// Its first answer.
    reached: OnceCell<Reached>,
}

/// A cluster that has answered.
#[derive(Clone, Debug)]
pub struct Reached {
    /// The cluster as its clients must take it.
    pub config: ClusterConfig,
    /// The time that an answer takes.
    pub round_trip: Duration,
    /// Cluster id, where the brokers report it.
    pub id: Option<Arc<str>>,
}

impl Clusters {
    /// Creates the clusters of a configuration. None is connected to before a link needs it.
    #[must_use]
    pub fn new(loaded: &Arc<Loaded>, memory: Arc<PluginMemory>, board: &Board) -> Self {
        let clusters = loaded.config.clusters.iter().map(|(name, cluster)| {
            let config = compose::cluster(loaded, name, cluster);
            if let Some(access) = board.access_to(name) {
                config.access.observe(Arc::clone(access) as Arc<dyn AccessObserver>);
            }
            (name.clone(), Cluster { config, reached: OnceCell::new() })
        });
        Self { all: clusters.collect(), loaded: Arc::clone(loaded), process: rand::random(), memory }
    }

    /// Returns the random number that stands for this process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.process
    }

    /// Returns a cluster as it is configured.
    #[must_use]
    pub fn config(&self, name: &str) -> Option<&ClusterConfig> {
        self.all.get(name).map(|cluster| &cluster.config)
    }

    /// Connects to a cluster and returns what it answers. Links that ask at the same time share one
    /// answer.
    ///
    /// # Errors
    /// [`RunError::Probe`].
    pub async fn reach(&self, name: &str) -> Result<&Reached, RunError> {
        let unknown = || ProbeError::Setting { cluster: name.to_owned(), reason: "it is not configured".to_owned() };
        let cluster = self.all.get(name).ok_or_else(unknown)?;
        let probing = cluster.reached.get_or_try_init(|| async {
            let (config, info) = probe::reach(&cluster.config, PROBE).await?;
            tracing::info!(cluster = name, id = info.cluster_id, brokers = info.brokers, "connected");
            let id = info.cluster_id.map(Into::into);
            Ok::<_, ProbeError>(Reached { config, round_trip: info.round_trip, id })
        });
        Ok(probing.await?)
    }

    /// Returns the access to a cluster that refused its login, where another login may come without
    /// a restart.
    #[must_use]
    pub fn login_behind(&self, error: &RunError) -> Option<&Access> {
        let RunError::Probe(ProbeError::Authentication { cluster, .. }) = error else { return None };
        let access = &self.all.get(cluster)?.config.access;
        access.may_change().then_some(access)
    }

    /// Returns the ends of a link, to compare with what its lanes record.
    #[must_use]
    pub fn identity(&self, link: &Link, source_cluster: Option<Arc<str>>) -> LinkIdentity {
        compose::identity(&self.loaded, link, source_cluster)
    }

    /// Refuses a link with whose lanes the plugins of this process could need more memory than
    /// there is.
    ///
    /// # Errors
    /// [`RunError::PluginMemory`].
    pub fn admit(&self, link: &Link, lanes: u32) -> Result<(), RunError> {
        self.memory.set_lanes(&link.name, lanes);
        Ok(self.memory.admit(&self.loaded.config).map(drop)?)
    }
}
