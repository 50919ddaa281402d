//! A lane's plugin chain: each plugin sees the records as the ones before it leave them, and the
//! link's naming comes last.

mod call;
mod columns;
mod coverage;
mod edits;
mod error;
mod framing;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod names;
mod narrow;
mod plan;
mod revealed;
mod slots;
mod stage;
mod stateful;
mod view;
mod warm_up;
mod work;

use std::collections::HashMap;
use std::sync::Arc;

use strait_core::batch::Batch;
use strait_core::edit::{Disposition, Generation, OutRecord, Processed};
use strait_core::offset::SourceOffset;
use strait_core::progress::ChainBorder;
use strait_core::protects::Protection;
use strait_core::topic::PartitionKey;
use strait_flow::ports::{Chain, ChainError, Next, WarmUp};

use crate::api::effects::CONTENT;
use crate::fields::{Docs, Lens, share};
use crate::load::{FramedParts, PluginSet};
use columns::Column;
use coverage::Coverage;
use error::{StageError, chain_error};
use framing::Unframed;
use names::Names;
use plan::Plan;
use revealed::Revealed;
use slots::RecordSlots;
use stage::Stage;
use stateful::SourcePartition;
use work::{Purpose, Scratch, Work};

/// Topics cached per chain and plugin; edits can name topics without end.
const TOPICS_MAX: usize = 10_000;

/// One lens per stage; `None` where it reads no fields.
type Lenses = Arc<[Option<Lens>]>;

/// A lane's instances of a link's plugins.
pub struct PluginChain {
    set: Arc<PluginSet>,
    stages: Vec<Stage>,
    names: Names,
    /// The records of the current batch.
    slots: RecordSlots,
    /// Their values, as documents.
    docs: Docs,
    /// By source topic. All stages share one pass over each value.
    lenses: HashMap<Arc<str>, Lenses>,
    scratch: Scratch,
    /// The current batch as each stage leaves it, for an author who asks.
    trace: Option<Vec<StageTrace>>,
}

/// A batch as one plugin of a chain leaves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageTrace {
    /// Name of the plugin.
    pub plugin: Arc<str>,
    /// Name of the batch's topic behind it, before the link's naming.
    pub topic: Arc<str>,
    /// As in [`Processed`], with all that the plugins up to this one did.
    pub dispositions: Vec<(usize, Disposition)>,
}

impl PluginChain {
    pub(crate) fn new(set: Arc<PluginSet>) -> Result<Self, ChainError> {
        let mut stages = Vec::new();
        for plugin in &set.plugins {
            let stage = Stage::start(Arc::clone(plugin), &set);
            stages.push(stage.map_err(|e| chain_error(&set, Arc::clone(&plugin.name), e.to_string().into()))?);
        }
        Ok(Self {
            names: Names::new(&set),
            set,
            stages,
            slots: RecordSlots::default(),
            docs: Docs::default(),
            lenses: HashMap::new(),
            scratch: Scratch::default(),
            trace: None,
        })
    }

    fn run(&mut self, batch: &Batch, partitions: u32, purpose: Purpose) -> Result<Arc<str>, ChainError> {
        let mut topic = Arc::clone(batch.topic());
        let lenses = self.lenses(&topic, partitions)?;
        let parts = self.framed_parts(&topic);
        let unframed = parts.any().then(|| Unframed::of(batch, parts));
        let framed = parts.value.then_some(batch);
        let batch = unframed.as_ref().map_or(batch, |unframed| &unframed.batch);
        self.slots.reset(batch.len());
        for (index, reject) in unframed.iter().flat_map(|unframed| &unframed.refused) {
            if let Some(slot) = self.slots.get_mut(*index) {
                slot.disposition = Some(Disposition::Reject(Box::new(reject.clone())));
            }
        }
        self.docs.clear();
        if let Purpose::WarmUp(until) = purpose {
            self.slots.drop_from(batch, until);
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
                framed,
                scratch: &mut self.scratch,
                names: &mut self.names,
                redirects: &mut redirects,
                purpose,
            };
            topic =
                stage.run(&topic, &mut work).map_err(|e| chain_error(&self.set, Arc::clone(&stage.plugin.name), e))?;
            self.slots.settle();
            if let Some(trace) = &mut self.trace {
                let mut dispositions = Vec::new();
                self.slots.changed().for_each(|(index, disposition)| add(&mut dispositions, index, disposition));
                let plugin = Arc::clone(&stage.plugin.name);
                trace.push(StageTrace { plugin, topic: Arc::clone(&topic), dispositions });
            }
        }
        self.names.of(&topic).map_err(|reason| self.naming_error(reason))
    }

    /// Returns the framed parts of a topic's records; none where no plugin sees them.
    fn framed_parts(&self, topic: &str) -> FramedParts {
        if self.stages.is_empty() { FramedParts::default() } else { self.set.frames.of(topic) }
    }

    /// Asks each stage for its plan of a topic, by the name that the stages before it give to the
    /// topic. Returns the name from the last one.
    fn plan_all(
        &mut self,
        topic: Arc<str>,
        partitions: u32,
        mut see: impl FnMut(&Stage, &str, &Arc<Plan>),
    ) -> Result<Arc<str>, ChainError> {
        let mut name = topic;
        for stage in &mut self.stages {
            let plan = stage.plan(&name, partitions, &self.set);
            let plan = plan.map_err(|e| chain_error(&self.set, Arc::clone(&stage.plugin.name), e))?;
            see(stage, &name, &plan);
            name = plan.name.clone().unwrap_or(name);
        }
        Ok(name)
    }

    /// Returns the lenses of the stages for a topic, over one set of paths.
    fn lenses(&mut self, topic: &Arc<str>, partitions: u32) -> Result<Lenses, ChainError> {
        if let Some(lenses) = self.lenses.get(topic) {
            return Ok(Arc::clone(lenses));
        }
        let mut plans = Vec::new();
        self.plan_all(Arc::clone(topic), partitions, |_, _, plan| plans.push(Arc::clone(plan)))?;
        let own: Vec<Option<&Lens>> =
            plans.iter().map(|plan| plan.needs.as_ref().and_then(|needs| needs.lens.as_ref())).collect();
        let lenses: Lenses = share(&own).into();
        if self.lenses.len() >= TOPICS_MAX {
            self.lenses.clear();
        }
        self.lenses.insert(Arc::clone(topic), Arc::clone(&lenses));
        Ok(lenses)
    }

    /// The plugins and the link's naming together gave an invalid name. The last plugin is the
    /// nearest culprit.
    fn naming_error(&self, reason: String) -> ChainError {
        let plugin = self.stages.last().map_or_else(|| "naming".into(), |stage| Arc::clone(&stage.plugin.name));
        chain_error(&self.set, plugin, reason.into())
    }

    /// Returns the dispositions, one entry per record: its copies in order, then the record itself.
    fn dispositions(&mut self, batch: &Batch) -> Result<Vec<(usize, Disposition)>, ChainError> {
        let mut dispositions: Vec<(usize, Disposition)> = Vec::new();
        let parts = self.framed_parts(batch.topic());
        for (index, mut disposition) in self.slots.drain() {
            if let Some(Disposition::Replace(records)) = &mut disposition {
                let Some(original) = batch.get(index) else { continue };
                let refused = records.iter_mut().find_map(|record| framing::restore(record, original, parts).err());
                if let Some(reject) = refused {
                    add(&mut dispositions, index, Some(Disposition::Reject(Box::new(reject))));
                    continue;
                }
                for record in records {
                    self.names.finish(record, original.key).map_err(|reason| {
                        let plugin = self.set.plugins.last().map_or_else(|| "naming".into(), |p| Arc::clone(&p.name));
                        let error = StageError { offset: Some(original.offset), ..reason.into() };
                        chain_error(&self.set, plugin, error)
                    })?;
                }
            }
            add(&mut dispositions, index, disposition);
        }
        Ok(dispositions)
    }

    /// Returns the coverage of the plugin at this position by topic; nothing if it is not required.
    pub(crate) fn coverage(&self, at: usize) -> impl Iterator<Item = (&Arc<str>, &Coverage)> {
        self.stages.get(at).into_iter().flat_map(Stage::coverage)
    }

    /// Publishes the guests' output if the batch is accepted, and discards it otherwise.
    fn settle_output(&mut self, accepted: bool) {
        for stage in &mut self.stages {
            stage.settle_output(accepted, &self.set);
        }
    }
}

/// Adds the disposition of a slot to those of the slots before it. A record that passes has a slot
/// here only if it goes out with copies.
fn add(dispositions: &mut Vec<(usize, Disposition)>, index: usize, disposition: Option<Disposition>) {
    let disposition = disposition.unwrap_or_else(|| Disposition::Replace(vec![OutRecord::default()]));
    match (dispositions.last_mut(), disposition) {
        (Some((last, before)), disposition) if *last == index => join(before, disposition),
        (_, disposition) => dispositions.push((index, disposition)),
    }
}

/// Adds the disposition of a copy to that of the copies before it. A reject is always alone: the
/// slots saw to that.
fn join(before: &mut Disposition, disposition: Disposition) {
    match (before, disposition) {
        (Disposition::Replace(records), Disposition::Replace(more)) => records.extend(more),
        (Disposition::Reject(_) | Disposition::Halt(_), _) | (Disposition::Replace(_), Disposition::Drop) => {}
        (before, disposition) => *before = disposition,
    }
}

/// A chain's judgement of a batch.
pub(crate) struct Judgement {
    pub(crate) target_topic: Arc<str>,
    pub(crate) dispositions: Vec<(usize, Disposition)>,
}

impl PluginChain {
    /// Judges a batch. The caller keeps it and may have another chain judge it too.
    pub(crate) fn judge(&mut self, batch: &Batch, partitions: u32) -> Result<Judgement, ChainError> {
        self.judge_as(batch, partitions, Purpose::Judge)
    }

    /// Judges a batch, and tells how each plugin leaves it.
    ///
    /// # Errors
    /// [`ChainError`]: nothing of the batch was judged.
    pub fn apply_traced(&mut self, batch: Batch, partitions: u32) -> Result<(Processed, Vec<StageTrace>), ChainError> {
        self.trace = Some(Vec::new());
        let processed = self.apply(batch, partitions);
        let trace = self.trace.take().unwrap_or_default();
        Ok((processed?, trace))
    }

    /// Judges a batch with a chain on probation or on trial: any failure of a plugin is an error at
    /// once.
    pub(crate) fn judge_strictly(&mut self, batch: &Batch, partitions: u32) -> Result<Judgement, ChainError> {
        self.judge_as(batch, partitions, Purpose::Prove)
    }

    fn judge_as(&mut self, batch: &Batch, partitions: u32, purpose: Purpose) -> Result<Judgement, ChainError> {
        self.enter_stateful(batch);
        let judged = self.run(batch, partitions, purpose);
        let judged =
            judged.and_then(|target_topic| Ok(Judgement { target_topic, dispositions: self.dispositions(batch)? }));
        self.settle_output(judged.is_ok());
        if judged.is_ok() {
            self.accept_stateful(batch);
        }
        judged
    }

    /// Another chain judged this batch: stateful plugins have missed it.
    pub(crate) fn missed(&mut self, batch: &Batch) {
        self.each_stateful(batch, |stage, partition| stage.stateful.forget(partition));
    }

    fn enter_stateful(&mut self, batch: &Batch) {
        self.each_stateful(batch, |stage, partition| stage.stateful.enter(partition));
    }

    fn accept_stateful(&mut self, batch: &Batch) {
        let Some(last) = batch.last_offset() else { return };
        let set = Arc::clone(&self.set);
        self.each_stateful(batch, |stage, partition| stage.accept_stateful(partition, last.next(), &set));
    }

    fn each_stateful(&mut self, batch: &Batch, act: impl Fn(&mut Stage, &SourcePartition)) {
        for stage in self.stages.iter_mut().filter(|stage| !stage.stateful.is_empty()) {
            act(stage, &batch.into());
        }
    }
}

impl Chain for PluginChain {
    /// A plugin that refuses the topic needs none: judging reports it.
    fn warm_up_needed(&mut self, partition: &PartitionKey, next: SourceOffset, partitions: u32) -> Vec<WarmUp> {
        let mut asked = Vec::new();
        let mut name = Arc::clone(&partition.topic);
        for stage in &mut self.stages {
            let Ok(plan) = stage.plan(&name, partitions, &self.set) else {
                return Vec::new();
            };
            if let Some(lookback) = plan.needs.as_ref().and_then(|needs| needs.lookback) {
                asked.push((&mut stage.stateful, lookback));
            }
            name = plan.name.clone().unwrap_or(name);
        }
        if asked.iter().all(|(stateful, _)| stateful.reaches(partition, next)) {
            return Vec::new();
        }
        // All together: the state of a plugin depends on the edits of those before it. And as far
        // as all lookbacks are long: whoever stands behind must see records that those before it
        // judged with all that they look back at.
        let mut whole: Option<WarmUp> = None;
        for (stateful, lookback) in asked {
            stateful.begin_warm_up(partition);
            whole = Some(whole.map_or(lookback, |before| before.and_before(lookback)));
        }
        whole.into_iter().collect()
    }

    /// Does nothing if this chain did not ask.
    fn warm_up(&mut self, batch: &Batch, until: SourceOffset, partitions: u32) -> Result<(), ChainError> {
        let partition = batch.into();
        if !self.stages.iter().any(|stage| stage.stateful.is_warming_up(&partition)) {
            return Ok(());
        }
        if let Some(first) = batch.first_offset() {
            self.each_stateful(batch, |stage, partition| stage.stateful.shown_from(partition, first));
        }
        let done = self.run(batch, partitions, Purpose::WarmUp(until));
        self.settle_output(false);
        if done.is_err() {
            self.missed(batch);
        }
        done.map(|_| ())
    }

    fn warmed_up(&mut self, partition: &PartitionKey, until: SourceOffset) {
        let partition = partition.into();
        for stage in &mut self.stages {
            stage.stateful.end_warm_up(&partition, until);
        }
    }

    fn forget(&mut self, partition: &PartitionKey) {
        let partition = partition.into();
        for stage in &mut self.stages {
            stage.stateful.remove(&partition);
        }
    }

    fn apply(&mut self, batch: Batch, partitions: u32) -> Result<Processed, ChainError> {
        let Judgement { target_topic, dispositions } = self.judge(&batch, partitions)?;
        Ok(Processed { batch, target_topic, dispositions, generation: self.set.generation.clone() })
    }

    fn target_topic(&mut self, topic: &str, partitions: u32) -> Result<Arc<str>, ChainError> {
        let name = self.plan_all(topic.into(), partitions, |_, _, _| ())?;
        self.settle_output(true);
        self.names.of(&name).map_err(|reason| self.naming_error(reason))
    }

    fn protection(&mut self, topic: &str, partitions: u32) -> Result<Protection, ChainError> {
        let (mut protection, mut order) = (Protection::default(), Vec::new());
        let mut revealed = Revealed::default();
        self.plan_all(topic.into(), partitions, |stage, name, _| {
            let Some(own) = stage.protection(name) else { return };
            revealed.look(&stage.plugin, own);
            order.push(own.stage(stage.plugin.manifest.effects & CONTENT != 0));
            protection.add(own.clone());
        })?;
        self.settle_output(true);
        if self.set.link.residency
            && let Some(fault) = revealed.fault
        {
            let (plugin, generation) = (fault.by, self.generation());
            return Err(ChainError { plugin, generation, offset: None, reason: fault.reason, next: Next::Stop });
        }
        if order.len() > 1 {
            protection.order = order;
        }
        Ok(protection)
    }

    fn trial_protection(&mut self, _topic: &str, _partitions: u32) -> Option<Protection> {
        None
    }

    fn refuse_trial(&mut self, _losses: &str) {}

    // Its plugins are never exchanged.
    fn keep_up(&mut self) {}

    fn border(&self) -> ChainBorder {
        ChainBorder {
            generation: Arc::clone(&self.set.digest),
            has_plugins: !self.set.plugins.is_empty(),
            ..ChainBorder::default()
        }
    }

    fn generation(&self) -> Generation {
        self.set.generation.clone()
    }

    fn version(&self) -> u64 {
        0
    }
}

impl PluginChain {
    /// Returns the topics that plugins name for records of this one and that their `output_topics`
    /// in the link refuse, each with the name of the plugin. Every record that is sent there would
    /// be rejected.
    ///
    /// # Errors
    /// [`ChainError`]: a plugin has no plan for the topic.
    pub fn refused_names(&mut self, topic: &str, partitions: u32) -> Result<Vec<(Arc<str>, String)>, ChainError> {
        let mut refused = Vec::new();
        self.plan_all(topic.into(), partitions, |stage, _, plan| {
            let names = plan.refused_names(stage.plugin.topics_allowed.as_ref());
            refused.extend(names.into_iter().map(|name| (Arc::clone(&stage.plugin.name), name)));
        })?;
        self.settle_output(true);
        Ok(refused)
    }
}

/// A column of the last call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnBytes {
    /// Name of the column.
    pub name: &'static str,
    /// Its bytes.
    pub bytes: usize,
}

impl PluginChain {
    /// Returns the bytes of the linear memories of all instances. They only grow: this is also
    /// their maximum.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.stages.iter().map(Stage::memory_bytes).sum()
    }

    /// Returns the number of records in the last call of a plugin and its columns, in the order in
    /// which the plugin asked for them. Empty if no plugin looked at the last batch.
    #[must_use]
    pub fn last_columns(&self) -> (usize, Vec<ColumnBytes>) {
        let columns = self.scratch.packer.directory.chunks_exact(3).filter_map(|entry| {
            let [number, _, bytes] = *entry else { return None };
            let name = Column::new(number).ok()?.name();
            Some(ColumnBytes { name, bytes: usize::try_from(bytes).ok()? })
        });
        (self.scratch.rows.len(), columns.collect())
    }
}
