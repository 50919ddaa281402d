//! Reads the topic with the positions of MirrorMaker 2.

use std::time::Duration;

use strait_core::config::GroupSelector;
use strait_core::mirror::{Checkpoints, MirrorPositions, PositionsError};
use strait_flow::ports::{Class, PortError};

use super::TakeOverError;
use crate::config::{ClusterConfig, own_topic_reader};
use crate::error::{own, port_error_because};
use crate::ffi::{ConsumedMessage, Consumer};
use crate::own_topic::OwnPartition;
use crate::topics::count;

/// One reading of the topic.
pub(super) struct Reading {
    pub cluster: ClusterConfig,
    pub link: String,
    pub topic: String,
    pub context: String,
    pub timeout: Duration,
}

impl Reading {
    pub fn read(&self) -> Result<MirrorPositions, TakeOverError> {
        let mut positions = MirrorPositions::default();
        let mut broken: Option<PositionsError> = None;
        let partitions = self.read_all(&mut |message| {
            let place = (message.partition(), message.offset());
            let folded = positions.fold(place, message.key().unwrap_or_default(), message.value());
            if let Err(error) = folded {
                broken.get_or_insert(error);
            }
        })?;
        if partitions == 0 {
            return Err(TakeOverError::NoTopic { cluster: self.cluster.name.clone(), topic: self.topic.clone() });
        }
        match broken {
            Some(error) => Err(own(Class::Stop, self.reading(), error.to_string()).into()),
            None => Ok(positions),
        }
    }

    /// Reads the topic as one with checkpoints.
    pub fn read_checkpoints(&self, groups: &GroupSelector) -> Result<Checkpoints, PortError> {
        let mut checkpoints = Checkpoints::default();
        self.read_all(&mut |message| {
            let key = message.key().unwrap_or_default();
            checkpoints.fold(key, message.value(), |group| groups.selects(group));
        })?;
        Ok(checkpoints)
    }

    fn reading(&self) -> String {
        format!("{}: reading {} of cluster {}", self.context, self.topic, self.cluster.name)
    }

    /// Reads all partitions to their ends. Returns their number.
    fn read_all(&self, take: &mut dyn FnMut(&ConsumedMessage<'_>)) -> Result<u32, PortError> {
        let mut settings = own_topic_reader(&self.cluster, &self.link, &format!("strait-{}-takeover", self.link));
        settings.set("statistics.interval.ms", 1_000);
        let context = self.reading();
        let new = || {
            Consumer::new(&format!("{}/takeover", self.link), &settings)
                .map_err(|error| port_error_because(context.clone(), &error, None))
        };
        let asked = new()?;
        let partitions = count(asked.client(), &self.topic, self.timeout)
            .map_err(|error| port_error_because(context.clone(), &error, asked.client().trouble()))?;
        for partition in 0..i32::try_from(partitions).unwrap_or(i32::MAX) {
            // A client for each: one reads one partition at a time.
            let mut consumer = new()?;
            // To the high watermark: MirrorMaker 2 may have died within a transaction.
            let whole = OwnPartition { topic: &self.topic, partition, waits: true, timeout: self.timeout };
            let read = whole.read(&mut consumer, take);
            read.map_err(|error| port_error_because(context.clone(), &error, consumer.client().trouble()))?;
        }
        Ok(partitions)
    }
}
