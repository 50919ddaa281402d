//! A plugin chain that treats each record as its kind says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use strait_core::edit::{Content, Disposition, Generation, OutRecord, Processed, Reject, Route};
use strait_core::progress::{ChainBorder, HeldBorder};
use strait_core::protects::Protection;
use strait_core::{Batch, LaneId, PartitionKey, SourceOffset, TopicId};
use strait_flow::ports::{BorderCopies, Chain, ChainError, ChainFactory, Next, WarmUp};

use crate::world::plugins::Version;
use crate::world::source::Kind;
use crate::world::target::{ROUTED, target_name};
use crate::world::{Bug, Sim, World};

/// How many offsets before a record its plugins have in their state.
const REMEMBERED: u32 = 8;

/// A factory of simulated chains.
pub struct SimChains {
    /// The world.
    pub sim: Sim,
    /// The process.
    pub proc: usize,
}

/// The copies of borders that a process keeps.
pub struct SimCopies {
    /// The world.
    pub sim: Sim,
    /// The process.
    pub proc: usize,
}

impl BorderCopies for SimCopies {
    fn read(&self, lane: LaneId) -> Result<Option<HeldBorder>, String> {
        Ok(self.sim.lock().plugins.copies.get(&(self.proc, lane)).cloned())
    }

    fn write(&self, lane: LaneId, border: &HeldBorder) {
        self.sim.lock().plugins.copies.insert((self.proc, lane), border.clone());
    }
}

struct SimChain {
    sim: Sim,
    proc: usize,
    number: usize,
    /// The version that judges, until another one is adopted.
    version: Version,
    /// How often the chain asked for a retry, by record.
    hesitated: BTreeMap<u64, u32>,
    memories: BTreeMap<(Arc<str>, i32), Memory>,
}

/// The state of the plugins for one partition.
struct Memory {
    topic_id: TopicId,
    /// Everything before this offset was shown. `None` during a warm-up.
    next: Option<SourceOffset>,
    /// Offset and number of the newest records.
    seen: VecDeque<(i64, u64)>,
}

impl Memory {
    fn see(&mut self, offset: i64, id: u64, world: &mut World) {
        if self.seen.back().is_some_and(|(last, _)| *last >= offset) {
            world.wrong(format!("offset {offset} was shown to the plugins twice, or out of order"));
        }
        self.seen.push_back((offset, id));
        if self.seen.len() > REMEMBERED as usize {
            self.seen.pop_front();
        }
    }

    /// Checks, before a record is judged, that the state holds what the log holds before it.
    fn check(&self, topic: &str, partition: i32, offset: i64, world: &mut World) {
        let Some(log) = world.source.log(topic, partition) else { return };
        // Records that an election took may be in the state, and those in their place need not.
        let planted = world.bug.is_some_and(|bug| bug != Bug::ShortMemory);
        if log.lost || planted || world.source.topics.get(topic).is_none_or(|t| t.id != self.topic_id) {
            return;
        }
        let from = (offset - i64::from(REMEMBERED)).max(log.log_start);
        let of_log = |at: i64| {
            let id = log.entries.get(at as usize).and_then(|entry| entry.record)?;
            let committed = world.source.records.get(id as usize).is_some_and(|record| record.committed);
            committed.then_some((at, id))
        };
        let expected: Vec<(i64, u64)> = (from..offset).filter_map(of_log).collect();
        let found: Vec<(i64, u64)> = self.seen.iter().copied().filter(|(at, _)| *at >= from).collect();
        if expected != found {
            world.wrong(format!(
                "plugins judge {topic}-{partition} at {offset} and remember {found:?}, the log has {expected:?}"
            ));
        }
    }
}

impl ChainFactory for SimChains {
    fn chain(&self) -> Result<Box<dyn Chain>, ChainError> {
        let mut world = self.sim.lock();
        let (number, version) = (world.plugins.new_chain(), world.plugins.of(self.proc));
        drop(world);
        Ok(Box::new(SimChain {
            sim: self.sim.clone(),
            proc: self.proc,
            number,
            version,
            hesitated: BTreeMap::new(),
            memories: BTreeMap::new(),
        }))
    }
}

fn number(value: Option<&[u8]>) -> Option<u64> {
    value.and_then(|v| v.try_into().ok()).map(u64::from_le_bytes)
}

fn numbered(value: Option<&[u8]>, copy: u8) -> OutRecord {
    let mut bytes = value.unwrap_or_default().to_vec();
    bytes.push(copy);
    OutRecord { value: Content::Bytes(bytes), ..OutRecord::default() }
}

fn reject() -> Reject {
    let (plugin, digest, code) = ("sim".into(), "sha256:00".into(), "no".into());
    Reject { plugin, digest, code, rule: None, text: "rejected".to_owned() }
}

fn generation(world: &World, version: Version) -> Generation {
    let plugins = if world.mended { "sim-2" } else { "sim-1" };
    Generation(format!("{plugins}-{}", version.number).into())
}

impl SimChain {
    fn error(&self, world: &World, offset: SourceOffset, reason: &str, next: Next) -> ChainError {
        let (plugin, generation, offset) = ("sim".into(), generation(world, self.version), Some(offset));
        ChainError { plugin, generation, offset, reason: reason.to_owned(), next }
    }
}

impl Chain for SimChain {
    fn warm_up_needed(&mut self, partition: &PartitionKey, next: SourceOffset, _partitions: u32) -> Vec<WarmUp> {
        let sim = self.sim.clone();
        let mut world = sim.lock();
        self.version = world.plugins.of(self.proc);
        if !world.rules.memory {
            return Vec::new();
        }
        let place = (Arc::clone(&partition.topic), partition.partition);
        // A stateful plugin broke and lost its state.
        if world.rng.chance(20) {
            self.memories.remove(&place);
        }
        let memory = self.memories.get(&place).filter(|memory| memory.topic_id == partition.topic_id);
        if memory.and_then(|memory| memory.next).is_some_and(|known| known <= next) {
            return Vec::new();
        }
        world.note(format_args!("the plugins want to see {partition} before {next}"));
        self.memories.insert(place, Memory { topic_id: partition.topic_id, next: None, seen: VecDeque::new() });
        let short = u32::from(world.bug == Some(Bug::ShortMemory));
        vec![WarmUp { records: REMEMBERED - short, ms: 0 }]
    }

    fn warm_up(&mut self, batch: &Batch, until: SourceOffset, _partitions: u32) -> Result<(), ChainError> {
        let sim = self.sim.clone();
        let mut world = sim.lock();
        let Some(memory) = self.memories.get_mut(&(Arc::clone(batch.topic()), batch.partition())) else {
            world.wrong("records are shown to plugins that did not ask".to_owned());
            return Ok(());
        };
        for record in batch.iter().filter(|record| record.offset < until) {
            memory.see(record.offset.0, number(record.value).unwrap_or_default(), &mut world);
        }
        Ok(())
    }

    fn warmed_up(&mut self, partition: &PartitionKey, until: SourceOffset) {
        if let Some(memory) = self.memories.get_mut(&(Arc::clone(&partition.topic), partition.partition)) {
            memory.next = Some(until);
        }
    }

    fn forget(&mut self, partition: &PartitionKey) {
        self.memories.remove(&(Arc::clone(&partition.topic), partition.partition));
    }

    fn apply(&mut self, batch: Batch, _partitions: u32) -> Result<Processed, ChainError> {
        let sim = self.sim.clone();
        let mut world = sim.lock();
        // It comes back if the chain does not break.
        let place = (Arc::clone(batch.topic()), batch.partition());
        let mut memory = self.memories.remove(&place).filter(|_| world.rules.memory);
        if world.rules.memory && memory.as_ref().is_none_or(|memory| memory.next.is_none()) {
            world.wrong(format!("the plugins have no memory of {}-{} and are to judge it", place.0, place.1));
        }
        let mut dispositions = Vec::new();
        for (index, record) in batch.iter().enumerate() {
            let id = number(record.value);
            if let Some(id) = id {
                world.judge(self.proc, id, self.number, self.version);
            }
            if let (Some(memory), Some(id)) = (&mut memory, id) {
                memory.check(&place.0, place.1, record.offset.0, &mut world);
                memory.see(record.offset.0, id, &mut world);
            }
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
                Kind::Reject => Disposition::Reject(Box::new(reject())),
                Kind::Trap | Kind::Halt if world.mended => continue,
                Kind::Halt => Disposition::Halt(Box::new(reject())),
                Kind::Trap => return Err(self.error(&world, record.offset, "trap", Next::Stop)),
                Kind::Hesitate => {
                    let times = self.hesitated.entry(id.unwrap_or_default()).or_default();
                    *times += 1;
                    if *times == 1 {
                        return Err(self.error(
                            &world,
                            record.offset,
                            "later",
                            Next::RetryAfter(Duration::from_millis(700)),
                        ));
                    }
                    continue;
                }
                _ => continue,
            };
            dispositions.push((index, disposition));
        }
        let generation = generation(&world, self.version);
        drop(world);
        if let (Some(mut memory), Some(last)) = (memory, batch.last_offset()) {
            memory.next = Some(last.next());
            self.memories.insert(place, memory);
        }
        let target_topic = target_name(batch.topic()).into();
        Ok(Processed { batch, target_topic, dispositions, generation })
    }

    fn target_topic(&mut self, topic: &str, _partitions: u32) -> Result<Arc<str>, ChainError> {
        Ok(target_name(topic).into())
    }

    fn protection(&mut self, _topic: &str, _partitions: u32) -> Result<Protection, ChainError> {
        let is_less = self.sim.lock().bug == Some(Bug::SaysLess);
        let level = self.version.level - usize::from(is_less && self.version.level > 0);
        Ok(Version { level, ..self.version }.protection())
    }

    fn trial_protection(&mut self, _topic: &str, _partitions: u32) -> Option<Protection> {
        None
    }

    fn refuse_trial(&mut self, _losses: &str) {}

    fn keep_up(&mut self) {}

    fn border(&self) -> ChainBorder {
        let mut world = self.sim.lock();
        world.take_border(self.number, self.version);
        self.version.border(world.bug)
    }

    fn generation(&self) -> Generation {
        generation(&self.sim.lock(), self.version)
    }

    fn version(&self) -> u64 {
        let world = self.sim.lock();
        world.plugins.of(self.proc).number << 1 | u64::from(world.mended)
    }
}
