//! Creates the clients of a link's lanes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use strait_core::LaneId;
use strait_flow::ports::{LaneConnector, PortError, Quarantine, Source, Target};

use crate::config::{ClusterConfig, SourceTuning, TargetTuning};
use crate::quarantine::KafkaQuarantine;
use crate::source::KafkaSource;
use crate::target::{self, EndedIds, KafkaTarget};
use crate::topics::maker::TopicMaker;

/// A [`LaneConnector`] between two clusters.
#[derive(Clone)]
pub struct KafkaConnector {
    /// Name of the link.
    pub link: String,
    /// The source cluster, which has the quarantine topic too.
    pub source: ClusterConfig,
    /// The target cluster.
    pub target: ClusterConfig,
    /// How the source is read.
    pub source_tuning: SourceTuning,
    /// How the target is written.
    pub target_tuning: TargetTuning,
    /// Creates target topics; `None` if Strait may create no topic, the quarantine's included.
    pub maker: Option<Arc<TopicMaker>>,
    /// How long writing refused records to quarantine may take.
    pub quarantine_timeout: Duration,
    /// Transactional ids that lanes of this process have released; empty at first.
    pub ended: EndedIds,
}

#[async_trait]
impl LaneConnector for KafkaConnector {
    async fn source(&self, lane: LaneId) -> Result<Box<dyn Source>, PortError> {
        Ok(Box::new(KafkaSource::new(&self.source, &self.link, lane.0, &self.source_tuning)?))
    }

    async fn target(&self, lane: LaneId) -> Result<Box<dyn Target>, PortError> {
        let target = KafkaTarget::new(&self.target, &self.link, lane.0, &self.target_tuning);
        Ok(Box::new(target.with_ended(&self.ended).with_maker(self.maker.clone())))
    }

    fn forget(&self, lane: LaneId) {
        target::forget(&self.ended, &self.target_tuning, &self.link, lane.0);
    }

    async fn login_changed(&self) {
        let (mut source, mut target) = (self.source.access.changes(), self.target.access.changes());
        // Each ends with its access only, which lives as long as this connector.
        tokio::select! {
            _ = source.changed() => {}
            _ = target.changed() => {}
        }
    }

    async fn quarantine(&self, _lane: LaneId) -> Result<Box<dyn Quarantine>, PortError> {
        Ok(Box::new(KafkaQuarantine::new(&self.source, &self.link, self.maker.is_some(), self.quarantine_timeout)))
    }
}
