//! The plugins of the link, which judge refused records again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use strait_core::progress::ChainBorder;
use strait_core::{Batch, PartitionKey};
use strait_flow::ports::{Chain, ChainError, ChainFactory, Class, PortError, SourceTopic, WarmUp};
use strait_host::HostChains;
use strait_kafka::{ReplayError, ReplayJob};
use tokio::sync::watch;

use crate::commands::plugin::runner;
use crate::compose;
use crate::run::topic_collisions::CollisionGuard;

use super::Sides;

/// How long a plugin that is not called for a while, as it fails too often, is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often stateful plugins are warmed up for one batch.
const WARM_UPS_MAX: usize = 8;

/// A chain of its own, which no lane uses.
pub struct Judge {
    chain: Box<dyn Chain>,
    /// Keeps the collision guard's list.
    _topics: watch::Sender<Arc<Vec<SourceTopic>>>,
}

impl Judge {
    /// Loads the plugins as a run does.
    ///
    /// # Errors
    /// Why they do not load.
    pub fn load(sides: &Sides, topics: Vec<SourceTopic>) -> Result<Self, String> {
        let engine = runner::engine()?;
        let chains = HostChains::load(&engine, compose::chain(&sides.loaded, &sides.link));
        let chains: Arc<dyn ChainFactory> = chains.map_err(|error| error.to_string())?;
        let (sender, receiver) = watch::channel(Arc::new(topics));
        let chain = match sides.link.merge_topics {
            true => chains.chain(),
            false => CollisionGuard::new(chains, receiver).chain(),
        };
        Ok(Self { chain: chain.map_err(|error| error.to_string())?, _topics: sender })
    }

    /// Returns what the border of a lane needs to know of the plugins.
    pub fn border(&self) -> ChainBorder {
        self.chain.border()
    }

    /// Returns whether a plugin judges records of this partition by those before them.
    pub fn looks_back(&mut self, partition: &PartitionKey, partitions: u32) -> bool {
        let needs = !self.chain.warm_up_needed(partition, strait_core::SourceOffset(0), partitions).is_empty();
        self.chain.forget(partition);
        needs
    }

    /// Judges a batch as a lane does.
    ///
    /// # Errors
    /// A plugin broke, or the source cannot be read.
    pub fn judge(
        &mut self,
        job: &mut ReplayJob,
        partition: &PartitionKey,
        batch: &Batch,
        partitions: u32,
    ) -> Result<strait_core::Processed, String> {
        let (began, mut warm_ups) = (Instant::now(), 0);
        loop {
            let Some(first) = batch.first_offset() else { return Err("an empty batch was read".to_owned()) };
            let asked = self.chain.warm_up_needed(partition, first, partitions);
            let warm = if asked.is_empty() { Ok(()) } else { self.warm_up(job, partition, batch, &asked, partitions) };
            let judged = match warm {
                Ok(()) => self.chain.apply(batch.clone(), partitions),
                Err(WarmUpError::Chain(error)) => Err(error),
                Err(WarmUpError::Source(error)) => return Err(error.to_string()),
            };
            let error = match judged {
                Ok(processed) => return Ok(processed),
                Err(error) => error,
            };
            warm_ups += usize::from(error.needs_warm_up());
            let Some(wait) = error.next.wait().filter(|_| began.elapsed() < PATIENCE && warm_ups <= WARM_UPS_MAX)
            else {
                return Err(format!("{partition} from offset {first}: {error}"));
            };
            std::thread::sleep(wait.min(Duration::from_secs(1)));
        }
    }

    /// Shows the plugins the log before a batch, as far as they ask for it.
    fn warm_up(
        &mut self,
        job: &mut ReplayJob,
        partition: &PartitionKey,
        batch: &Batch,
        asked: &[WarmUp],
        partitions: u32,
    ) -> Result<(), WarmUpError> {
        let Some(first) = batch.first_offset() else { return Ok(()) };
        let most = asked.iter().map(|asked| asked.records).max().unwrap_or(0);
        let time_ms = batch.iter().map(|record| record.timestamp_ms).filter(|time_ms| *time_ms > 0).min().unwrap_or(0);
        let has_time = asked.iter().all(|asked| asked.ms > 0);
        let longest = asked.iter().map(|asked| asked.ms).max().unwrap_or(0);
        let since_ms = if has_time { time_ms.saturating_sub_unsigned(longest) } else { i64::MIN };
        let (mut has_begun, mut broken) = (false, None);
        let range = (first.0.saturating_sub(i64::from(most)), first.0);
        let read = job.log_before(partition, range, |batch| {
            has_begun = has_begun || batch.iter().any(|record| record.timestamp_ms >= since_ms);
            if has_begun && let Err(error) = self.chain.warm_up(&batch, first, partitions) {
                broken = Some(error);
                return Err(PortError::new(Class::Retry, "warming up plugins", "a plugin broke"));
            }
            Ok(())
        });
        match (broken, read) {
            (Some(error), _) => Err(WarmUpError::Chain(error)),
            (None, Err(error)) => Err(WarmUpError::Source(error)),
            (None, Ok(())) => {
                self.chain.warmed_up(partition, first);
                Ok(())
            }
        }
    }
}

/// Why plugins are not warmed up.
enum WarmUpError {
    Chain(ChainError),
    Source(ReplayError),
}
