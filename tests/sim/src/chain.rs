//! A plugin chain that does to each record what its kind says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use strait_core::edit::{Content, Disposition, Generation, OutRecord, Processed, Reject, Route};
use strait_core::{Batch, SourceOffset};
use strait_flow::ports::{Chain, ChainError, ChainFactory};

use crate::source::Kind;
use crate::world::Sim;

/// Topic that several source topics feed.
pub const ROUTED: &str = "routed";

/// Where untouched records of a topic go.
#[must_use]
pub fn target_name(topic: &str) -> String {
    format!("copy.{topic}")
}

/// Makes chains.
pub struct SimChains(pub Sim);

struct SimChain {
    sim: Sim,
    /// How often it has hesitated, by record.
    hesitated: BTreeMap<u64, u32>,
}

impl ChainFactory for SimChains {
    fn chain(&self) -> Result<Box<dyn Chain>, ChainError> {
        Ok(Box::new(SimChain { sim: self.0.clone(), hesitated: BTreeMap::new() }))
    }
}

fn numbered(value: Option<&[u8]>, copy: u8) -> OutRecord {
    let mut bytes = value.unwrap_or_default().to_vec();
    bytes.push(copy);
    OutRecord { value: Content::Bytes(bytes), ..OutRecord::default() }
}

fn reject() -> Reject {
    let (plugin, digest, code) = ("sim".into(), "sha256:00".into(), "no".into());
    Reject { plugin, digest, code, text: "rejected".to_owned() }
}

impl SimChain {
    fn error(&self, offset: SourceOffset, reason: &str, retry_after: Option<Duration>) -> ChainError {
        let (plugin, generation, offset) = ("sim".into(), self.generation(), Some(offset));
        ChainError { plugin, generation, offset, reason: reason.to_owned(), retry_after }
    }
}

impl Chain for SimChain {
    fn apply(&mut self, batch: Batch, _partitions: u32) -> Result<Processed, ChainError> {
        let sim = self.sim.clone();
        let world = sim.lock();
        let mut dispositions = Vec::new();
        for (index, record) in batch.iter().enumerate() {
            let id = record.value.and_then(|v| v.try_into().ok()).map(u64::from_le_bytes);
            let Some(known) = id.and_then(|id| world.source.records.get(id as usize)) else { continue };
            let routed = |copy: OutRecord| OutRecord {
                topic: Some(ROUTED.into()),
                route: Route::Hash(record.key.unwrap_or_default().to_vec()),
                ..copy
            };
            let disposition = match known.kind {
                Kind::Drop => Disposition::Drop,
                Kind::Change => Disposition::Replace(vec![numbered(record.value, 1)]),
                Kind::Twice => Disposition::Replace(vec![numbered(record.value, 1), numbered(record.value, 2)]),
                Kind::Split => Disposition::Replace(vec![OutRecord::default(), routed(numbered(record.value, 1))]),
                Kind::Route => Disposition::Replace(vec![routed(OutRecord::default())]),
                Kind::Reject => Disposition::Reject(reject()),
                Kind::Halt => Disposition::Halt(reject()),
                Kind::Trap => return Err(self.error(record.offset, "trap", None)),
                Kind::Hesitate => {
                    let times = self.hesitated.entry(id.unwrap_or_default()).or_default();
                    *times += 1;
                    if *times == 1 {
                        return Err(self.error(record.offset, "later", Some(Duration::from_millis(700))));
                    }
                    continue;
                }
                _ => continue,
            };
            dispositions.push((index, disposition));
        }
        drop(world);
        let target_topic = target_name(batch.topic()).into();
        Ok(Processed { batch, target_topic, dispositions, generation: self.generation() })
    }

    fn target_topic(&mut self, topic: &str, _partitions: u32) -> Result<Arc<str>, ChainError> {
        Ok(target_name(topic).into())
    }

    fn generation(&self) -> Generation {
        Generation("sim-1".into())
    }
}
