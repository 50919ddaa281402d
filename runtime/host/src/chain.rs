//! A lane's chain: each plugin sees what the ones before it left, and the link's naming comes last.

pub mod measure;
mod stage;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use strait_core::batch::{Batch, RecordRef};
use strait_core::edit::{Disposition, Generation, OutRecord, Processed};
use strait_core::offset::SourceOffset;
use strait_core::topic::{PartitionKey, validate_target_name};
use strait_flow::ports::{Chain, ChainError, Lookback};

use crate::columns::{Packer, Scene};
use crate::fields::{Docs, Lens};
use crate::load::PluginSet;
use crate::memory::Place;
use crate::patch::Fate;
use crate::plan::Needs;
use crate::sight::Lenses;
use crate::slots::Slots;
pub(crate) use stage::{Call, Stage, StageError};

/// Topics remembered per chain; more are asked for again. Edits can name topics without end.
pub(crate) const TOPICS_MAX: usize = 10_000;

/// A lane's instances of the plugins of a link.
pub struct PluginChain {
    pub(crate) set: Arc<PluginSet>,
    pub(crate) stages: Vec<Stage>,
    names: Names,
    /// The records of the batch at hand.
    slots: Slots,
    /// What was read of their values.
    docs: Docs,
    /// By source topic, how each stage sees the values, so that one pass serves them all.
    pub(crate) lenses: HashMap<Arc<str>, Lenses>,
    scratch: Scratch,
}

/// Final names, by the name that the plugins left.
struct Names {
    set: Arc<PluginSet>,
    known: HashMap<Arc<str>, Arc<str>>,
}

/// Reused from call to call.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) rows: Vec<usize>,
    packer: Packer,
}

impl PluginChain {
    pub(crate) fn new(set: Arc<PluginSet>) -> Result<Self, ChainError> {
        let mut stages = Vec::new();
        for plugin in &set.plugins {
            let stage = Stage::start(plugin.clone(), &set);
            stages.push(stage.map_err(|e| error(&set, plugin.name.clone(), e.into()))?);
        }
        Ok(Self {
            names: Names { set: set.clone(), known: HashMap::new() },
            set,
            stages,
            slots: Slots::default(),
            docs: Docs::default(),
            lenses: HashMap::new(),
            scratch: Scratch::default(),
        })
    }

    pub(crate) fn run(&mut self, batch: &Batch, partitions: u32, manner: Manner) -> Result<Arc<str>, ChainError> {
        let mut topic = batch.topic().clone();
        let lenses = self.lenses(&topic, partitions)?;
        self.slots.reset(batch.len());
        self.docs.clear();
        if let Manner::Recall(until) = manner {
            self.slots.leave_from(batch, until);
        }
        let mut redirects = false;
        for (stage, lens) in self.stages.iter_mut().zip(&*lenses) {
            let mut work = Work {
                set: &self.set,
                batch,
                partitions,
                slots: &mut self.slots,
                docs: &mut self.docs,
                lens: lens.as_ref(),
                scratch: &mut self.scratch,
                names: &mut self.names,
                redirects: &mut redirects,
                manner,
            };
            topic = stage.run(&topic, &mut work).map_err(|e| error(&self.set, stage.plugin.name.clone(), e))?;
            self.slots.settle();
        }
        self.names.of(&topic).map_err(|reason| self.naming_error(reason))
    }

    /// The plugins' names and the link's naming together gave a name that cannot be: the last plugin is the nearest culprit.
    fn naming_error(&self, reason: String) -> ChainError {
        let plugin = self.stages.last().map_or_else(|| "naming".into(), |stage| stage.plugin.name.clone());
        error(&self.set, plugin, reason.into())
    }

    fn dispositions(&mut self, batch: &Batch) -> Result<Vec<(usize, Disposition)>, ChainError> {
        let mut dispositions: Vec<(usize, Disposition)> = Vec::new();
        for (index, fate) in self.slots.drain() {
            let disposition = match fate {
                // One of several: the record itself beside its copies.
                Fate::Pass => Disposition::Replace(vec![OutRecord::default()]),
                Fate::Drop => Disposition::Drop,
                Fate::Reject(reject) => Disposition::Reject(*reject),
                Fate::Halt(reject) => Disposition::Halt(*reject),
                Fate::Change(mut patch) => {
                    let Some(record) = batch.get(index) else { continue };
                    let topic = patch.topic.take().map(|topic| self.names.of(&topic)).transpose();
                    let topic = topic.map_err(|reason| {
                        let plugin = self.set.plugins.last().map_or_else(|| "naming".into(), |p| p.name.clone());
                        error(&self.set, plugin, StageError { offset: Some(record.offset), ..reason.into() })
                    })?;
                    Disposition::Replace(vec![patch.finish(record, topic)])
                }
            };
            match (dispositions.last_mut(), disposition) {
                (Some((last, before)), disposition) if *last == index => join(before, disposition),
                (_, disposition) => dispositions.push((index, disposition)),
            }
        }
        Ok(dispositions)
    }

    /// What the plugin at this place looks at, by the topics it was asked about; of required plugins only.
    pub(crate) fn sights(&self, at: usize) -> impl Iterator<Item = (&Arc<str>, &BTreeSet<String>)> {
        self.stages.get(at).into_iter().flat_map(|stage| &stage.sights)
    }

    /// What the guests said of an accepted batch counts; what they said of another never happened.
    pub(crate) fn settle_words(&mut self, accepted: bool) {
        for stage in &mut self.stages {
            stage.settle_words(accepted, &self.set);
        }
    }
}

/// Puts what became of a copy to what became of the copies before it. A reject stands alone: it was settled before.
fn join(before: &mut Disposition, disposition: Disposition) {
    match (before, disposition) {
        (Disposition::Replace(records), Disposition::Replace(more)) => records.extend(more),
        (Disposition::Reject(_) | Disposition::Halt(_), _) | (Disposition::Replace(_), Disposition::Drop) => {}
        (before, disposition) => *before = disposition,
    }
}

/// What a chain makes of a batch.
pub(crate) struct Judgement {
    pub(crate) target_topic: Arc<str>,
    pub(crate) dispositions: Vec<(usize, Disposition)>,
}

impl PluginChain {
    /// Judges a batch and leaves it with the caller, who may have it judged by another chain.
    pub(crate) fn judge(&mut self, batch: &Batch, partitions: u32) -> Result<Judgement, ChainError> {
        self.judge_as(batch, partitions, Manner::Judge)
    }

    /// The same, for a chain that has to prove itself: whatever a plugin breaks on is an error at once.
    pub(crate) fn judge_strictly(&mut self, batch: &Batch, partitions: u32) -> Result<Judgement, ChainError> {
        self.judge_as(batch, partitions, Manner::Prove)
    }

    fn judge_as(&mut self, batch: &Batch, partitions: u32, manner: Manner) -> Result<Judgement, ChainError> {
        self.enter_memories(batch);
        let judged = self.run(batch, partitions, manner);
        let judged =
            judged.and_then(|target_topic| Ok(Judgement { target_topic, dispositions: self.dispositions(batch)? }));
        self.settle_words(judged.is_ok());
        if judged.is_ok() {
            self.accept_memories(batch);
        }
        judged
    }
}

impl Chain for PluginChain {
    fn lookback(&mut self, partition: &PartitionKey, next: SourceOffset, partitions: u32) -> Vec<Lookback> {
        self.lookback(partition, next, partitions)
    }

    fn remember(&mut self, batch: &Batch, until: SourceOffset, partitions: u32) -> Result<(), ChainError> {
        self.remember(batch, until, partitions)
    }

    fn remembered(&mut self, partition: &PartitionKey, until: SourceOffset) {
        self.remembered(partition, until);
    }

    fn forget(&mut self, partition: &PartitionKey) {
        self.forget(partition);
    }

    fn apply(&mut self, batch: Batch, partitions: u32) -> Result<Processed, ChainError> {
        let Judgement { target_topic, dispositions } = self.judge(&batch, partitions)?;
        Ok(Processed { batch, target_topic, dispositions, generation: self.set.generation.clone() })
    }

    fn target_topic(&mut self, topic: &str, partitions: u32) -> Result<Arc<str>, ChainError> {
        let mut name: Arc<str> = topic.into();
        for stage in &mut self.stages {
            let plan = stage.plan(&name, partitions, &self.set);
            let plan = plan.map_err(|e| error(&self.set, stage.plugin.name.clone(), e))?;
            name = plan.name.clone().unwrap_or(name);
        }
        self.settle_words(true);
        self.names.of(&name).map_err(|reason| self.naming_error(reason))
    }

    fn generation(&self) -> Generation {
        self.set.generation.clone()
    }

    fn turn(&self) -> u64 {
        0
    }
}

impl Names {
    fn of(&mut self, topic: &Arc<str>) -> Result<Arc<str>, String> {
        if let Some(name) = self.known.get(topic) {
            return Ok(name.clone());
        }
        let name = self.set.naming.apply(topic);
        validate_target_name(&name).map_err(|e| e.to_string())?;
        let name: Arc<str> = name.into();
        if self.known.len() >= TOPICS_MAX {
            self.known.clear();
        }
        self.known.insert(topic.clone(), name.clone());
        Ok(name)
    }
}

/// A batch on its way through the chain.
pub(crate) struct Work<'a> {
    pub(crate) set: &'a PluginSet,
    pub(crate) batch: &'a Batch,
    partitions: u32,
    pub(crate) slots: &'a mut Slots,
    pub(crate) docs: &'a mut Docs,
    /// How the stage sees the values of records that are under the batch's topic.
    lens: Option<&'a Lens>,
    pub(crate) scratch: &'a mut Scratch,
    names: &'a mut Names,
    /// Whether any record has a topic of its own.
    redirects: &'a mut bool,
    pub(crate) manner: Manner,
}

/// Why a chain is shown a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// To judge it.
    Judge,
    /// To judge it, and what a plugin breaks on ends the batch: the chain before is there to judge it.
    Prove,
    /// To remember the records before this offset.
    Recall(SourceOffset),
}

/// Records that go to a plugin together: those still under the batch's topic, or under one that an earlier plugin gave them.
struct Group {
    /// `None` is the batch's.
    topic: Option<Arc<str>>,
    rows: Vec<usize>,
}

impl Work<'_> {
    /// The source partition.
    pub(crate) fn place(&self) -> Place {
        self.batch.into()
    }

    pub(crate) fn is_recalling(&self) -> bool {
        matches!(self.manner, Manner::Recall(_))
    }

    /// The record of a slot, as it was fetched.
    pub(crate) fn record(&self, row: usize) -> Option<RecordRef<'_>> {
        self.batch.get(self.slots.get(row)?.record)
    }

    fn scene<'b>(&'b self, needs: &'b Needs, lens: Option<&'b Lens>) -> Scene<'b> {
        Scene { needs, batch: self.batch, slots: self.slots, docs: self.docs, lens }
    }

    /// Every record that is still on its way, by its topic; the batch's own group first.
    fn groups(&self) -> Vec<Group> {
        let mut groups = vec![Group { topic: None, rows: Vec::new() }];
        for (row, slot) in self.slots.iter().enumerate() {
            let topic = match &slot.fate {
                Fate::Pass => None,
                Fate::Change(patch) => patch.topic.as_ref(),
                Fate::Drop | Fate::Reject(_) | Fate::Halt(_) => continue,
            };
            match groups.iter_mut().find(|group| group.topic.as_ref() == topic) {
                Some(group) => group.rows.push(row),
                None => groups.push(Group { topic: topic.cloned(), rows: vec![row] }),
            }
        }
        groups
    }
}

pub(crate) fn error(set: &PluginSet, plugin: Arc<str>, error: StageError) -> ChainError {
    let StageError { offset, reason, retry_after } = error;
    ChainError { plugin, generation: set.generation.clone(), offset, reason, retry_after }
}
