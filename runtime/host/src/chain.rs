//! A lane's chain: each plugin sees what the ones before it left, and the link's naming comes last.

pub mod measure;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use strait_core::{
    batch::{Batch, RecordRef},
    edit::{Disposition, Generation, OutRecord, Processed},
    offset::SourceOffset,
    topic::{PartitionKey, validate_target_name},
};
use strait_flow::ports::{Chain, ChainError, Lookback};

use crate::{
    api::v0_1::{exports::strait::plugin::transform as wit, strait::plugin::host::Level},
    columns::{DATA_BYTES_MAX, Packer, Scene, cost, offset},
    edits::{Rules, apply},
    factory::{Loaded, Shared},
    failure::{Failure, FailureKind},
    fields::{Docs, Lens},
    instance::{Instance, Said},
    memory::{Memories, Place},
    patch::Fate,
    plan::{Column, Needs, Plan},
    reload::sights,
    sight::Lenses,
    slots::Slots,
    text::clean,
};

/// Topics remembered per chain; more are asked for again. Edits can name topics without end.
pub(crate) const TOPICS_MAX: usize = 10_000;
/// Records of one call, where they have no bytes that would bound it.
const CALL_RECORDS_MAX: usize = 16_384;

/// Bit 0 of a batch's mode: the records were judged before.
const MODE_RECALL: u32 = 1;

/// A topic whose `open-topic` broke is tried again after this; one that the plugin refuses is not.
const OPEN_TOPIC_RETRY: Duration = Duration::from_secs(30);

/// A lane's instances of the plugins of a link.
pub struct PluginChain {
    pub(crate) shared: Arc<Shared>,
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

/// One plugin of the chain.
pub(crate) struct Stage {
    pub(crate) plugin: Arc<Loaded>,
    /// `None` after a fault, until the next call.
    instance: Option<Instance>,
    /// Instances for topics on which it remembers.
    pub(crate) memories: Memories,
    plans: HashMap<Arc<str>, Arc<Plan>>,
    /// What a required plugin looks at, by topic: a reload must not make it less unnoticed.
    sights: HashMap<Arc<str>, BTreeSet<String>>,
    /// What was said in calls that came to a good end, until the batch is accepted.
    said: Said,
    /// Its breaker is half open, and this call tells whether it closes.
    pub(crate) probing: bool,
}

/// Final names, by the name that the plugins left.
struct Names {
    shared: Arc<Shared>,
    known: HashMap<Arc<str>, Arc<str>>,
}

/// Reused from call to call.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) rows: Vec<usize>,
    packer: Packer,
}

/// A fault of one stage that ends the batch, to be told with its plugin's name.
pub(crate) struct StageError {
    pub(crate) offset: Option<SourceOffset>,
    pub(crate) reason: String,
    /// When the batch may be tried again; `None` where waiting does not mend it.
    pub(crate) retry_after: Option<Duration>,
}

impl From<String> for StageError {
    fn from(reason: String) -> Self {
        Self { offset: None, reason, retry_after: None }
    }
}

/// What calls of a plugin on records of one batch have in common.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) topic: &'a str,
    pub(crate) needs: &'a Needs,
    /// `None` where the plugin reads no fields.
    pub(crate) lens: Option<&'a Lens>,
    pub(crate) base_offset: u64,
    /// The interface's bits.
    pub(crate) mode: u32,
    pub(crate) ms_max: u64,
}

impl PluginChain {
    pub(crate) fn new(shared: Arc<Shared>) -> Result<Self, ChainError> {
        let mut stages = Vec::new();
        for plugin in &shared.plugins {
            let instance = plugin.start(&shared.engine, &shared.link);
            let instance = Some(instance.map_err(|e| error(&shared, plugin.name.clone(), e.into()))?);
            let (plans, said) = (HashMap::new(), Said::default());
            stages.push(Stage {
                plugin: plugin.clone(),
                instance,
                memories: Memories::default(),
                plans,
                sights: HashMap::new(),
                said,
                probing: false,
            });
        }
        Ok(Self {
            names: Names { shared: shared.clone(), known: HashMap::new() },
            shared,
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
                shared: &self.shared,
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
            topic = stage.run(&topic, &mut work).map_err(|e| error(&self.shared, stage.plugin.name.clone(), e))?;
            self.slots.settle();
        }
        self.names.of(&topic).map_err(|reason| self.naming_error(reason))
    }

    /// The plugins' names and the link's naming together gave a name that cannot be: the last plugin is the nearest culprit.
    fn naming_error(&self, reason: String) -> ChainError {
        let plugin = self.stages.last().map_or_else(|| "naming".into(), |stage| stage.plugin.name.clone());
        error(&self.shared, plugin, reason.into())
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
                        let plugin = self.shared.plugins.last().map_or_else(|| "naming".into(), |p| p.name.clone());
                        error(&self.shared, plugin, StageError { offset: Some(record.offset), ..reason.into() })
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
            stage.settle_words(accepted, &self.shared);
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
        Ok(Processed { batch, target_topic, dispositions, generation: self.shared.generation.clone() })
    }

    fn target_topic(&mut self, topic: &str, partitions: u32) -> Result<Arc<str>, ChainError> {
        let mut name: Arc<str> = topic.into();
        for stage in &mut self.stages {
            let plan = stage.plan(&name, partitions, &self.shared);
            let plan = plan.map_err(|e| error(&self.shared, stage.plugin.name.clone(), e))?;
            name = plan.name.clone().unwrap_or(name);
        }
        self.settle_words(true);
        self.names.of(&name).map_err(|reason| self.naming_error(reason))
    }

    fn generation(&self) -> Generation {
        self.shared.generation.clone()
    }
}

impl Names {
    fn of(&mut self, topic: &Arc<str>) -> Result<Arc<str>, String> {
        if let Some(name) = self.known.get(topic) {
            return Ok(name.clone());
        }
        let name = self.shared.naming.apply(topic);
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
    pub(crate) shared: &'a Shared,
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

impl Stage {
    fn instance(&mut self, shared: &Shared) -> Result<&mut Instance, StageError> {
        if self.instance.as_ref().is_none_or(|instance| !instance.is_sound()) {
            self.instance = None;
            let started = self.plugin.start(&shared.engine, &shared.link);
            self.instance = Some(started.map_err(|reason| self.not_started(reason))?);
        }
        self.instance.as_mut().ok_or_else(|| "no instance".to_owned().into())
    }

    /// The plan for a topic, asked once.
    pub(crate) fn plan(&mut self, topic: &Arc<str>, partitions: u32, shared: &Shared) -> Result<Arc<Plan>, StageError> {
        if let Some(plan) = self.plans.get(topic) {
            return Ok(plan.clone());
        }
        let plugin = self.plugin.clone();
        let answer = self.instance(shared)?.open_topic(&plugin.limits, topic, partitions);
        let place = format!("open-topic for '{topic}'");
        let answer = answer.map_err(|fault| {
            plugin.health.failed(fault.kind());
            // Of this topic only: the breaker would hold up all others.
            let reason = format!("{place}: {}", fault.text(plugin.silent));
            StageError { retry_after: Some(OPEN_TOPIC_RETRY), ..reason.into() }
        })?;
        let plan = answer.map_err(|words| format!("{place}: it refuses the topic{}", told(&words, plugin.silent)))?;
        if plugin.required {
            self.sights.insert(topic.clone(), sights(&plan));
        }
        let plan = Plan::check(topic, plan, plugin.manifest.effects).map_err(|e| format!("{place}: {e}"))?;
        let plan = Arc::new(plan);
        self.keep_words();
        if self.plans.len() >= TOPICS_MAX {
            self.plans.clear();
            self.sights.clear();
        }
        self.plans.insert(topic.clone(), plan.clone());
        Ok(plan)
    }

    /// Shows the plugin every record that is still on its way. Gives the name of the batch's topic from here on.
    fn run(&mut self, topic: &Arc<str>, work: &mut Work<'_>) -> Result<Arc<str>, StageError> {
        let plan = self.plan(topic, work.partitions, work.shared)?;
        let name = plan.name.clone().unwrap_or_else(|| topic.clone());
        if plan.needs.is_none() && !*work.redirects {
            return Ok(name);
        }
        // Settled before the first call: a record that this plugin redirects is not shown to it again.
        for group in work.groups() {
            let Some(other) = &group.topic else {
                self.run_group(topic, &plan, &group, work)?;
                continue;
            };
            let plan = self.plan(other, work.partitions, work.shared)?;
            if plan.needs.as_ref().is_some_and(Needs::remembers) {
                // They come between the others of the batch, in an order that is not the same the second time.
                return Err(format!(
                    "it asks for a lookback on topic '{other}', which an earlier plugin gave to single records; a lookback goes with the topic of the source"
                )
                .into());
            }
            self.run_group(other, &plan, &group, work)?;
        }
        Ok(name)
    }

    fn run_group(
        &mut self,
        topic: &Arc<str>,
        plan: &Plan,
        group: &Group,
        work: &mut Work<'_>,
    ) -> Result<(), StageError> {
        if let (Some(name), Some(_)) = (&plan.name, &group.topic) {
            for row in &group.rows {
                if let Some(Fate::Change(patch)) = work.slots.get_mut(*row).map(|slot| &mut slot.fate) {
                    patch.topic = Some(name.clone());
                }
            }
        }
        let Some(needs) = &plan.needs else {
            return Ok(());
        };
        let lens = if group.topic.is_none() { work.lens } else { needs.lens.as_ref() };
        self.run_calls(topic, (needs, lens), &group.rows, work)
    }

    fn run_calls(
        &mut self,
        topic: &Arc<str>,
        (needs, lens): (&Needs, Option<&Lens>),
        members: &[usize],
        work: &mut Work<'_>,
    ) -> Result<(), StageError> {
        let mut bytes = 0;
        let ms_max = self.plugin.limits.process_ms_max;
        let mode = if needs.remembers() && work.is_recalling() { MODE_RECALL } else { 0 };
        let mut call = Call { topic, needs, lens, base_offset: 0, mode, ms_max };
        work.scratch.rows.clear();
        for row in members.iter().copied() {
            if !self.admit(needs, lens, row, work) {
                continue;
            }
            let scene = work.scene(needs, lens);
            let (Some(slot), Some(view)) = (scene.slots.get(row), scene.slots.view(row, scene.batch)) else {
                continue;
            };
            let (cost, offset) = (cost(&scene, slot, &view), offset(&view));
            let full = bytes + cost > DATA_BYTES_MAX
                || work.scratch.rows.len() >= CALL_RECORDS_MAX
                || u32::try_from(offset.saturating_sub(call.base_offset)).is_err();
            if full && !work.scratch.rows.is_empty() {
                self.call(&call, work)?;
                work.scratch.rows.clear();
            }
            if work.scratch.rows.is_empty() {
                (bytes, call.base_offset) = (0, offset);
            }
            work.scratch.rows.push(row);
            bytes += cost;
        }
        if work.scratch.rows.is_empty() {
            return Ok(());
        }
        self.call(&call, work)
    }

    /// One call on the records at `rows`. One that fails changes nothing, says nothing and costs the instance.
    ///
    /// # Errors
    /// What is not about these records: no instance, or what cannot be packed.
    pub(crate) fn attempt(
        &mut self,
        call: &Call<'_>,
        rows: &[usize],
        work: &mut Work<'_>,
    ) -> Result<Result<(), Failure>, StageError> {
        // Taken out: it comes back only if all goes well.
        let (mut instance, share) = if call.needs.remembers() {
            let (instance, share) = self.take_remembering(work)?;
            (instance, Some(share))
        } else {
            self.instance(work.shared)?;
            (self.instance.take().ok_or_else(|| "no instance".to_owned())?, None)
        };
        let began = self.plugin.health.now();
        let answer = self.enter(call, rows, work, &mut instance)?;
        self.plugin.health.called(rows.len(), self.plugin.health.now().saturating_sub(began));
        if answer.is_ok() {
            self.said.absorb(instance.said());
            match share {
                Some(share) => self.memories.put_back(&work.place(), (instance, share)),
                None => self.instance = Some(instance),
            }
        }
        Ok(answer)
    }

    fn enter(
        &self,
        call: &Call<'_>,
        rows: &[usize],
        work: &mut Work<'_>,
        instance: &mut Instance,
    ) -> Result<Result<(), Failure>, StageError> {
        let plugin = &self.plugin;
        let Call { topic, needs, lens, base_offset, mode, ms_max } = *call;
        let last = rows.last().and_then(|row| work.record(*row));
        let time_ms = last.map_or(0, |record| record.timestamp_ms);
        let scene = Scene { needs, batch: work.batch, slots: work.slots, docs: work.docs, lens };
        let packer = &mut work.scratch.packer;
        let packed = packer.pack(&scene, rows, base_offset);
        packed.map_err(|_| "process: the records are larger than the interface can carry".to_owned())?;
        let origins = [work.shared.link.source.as_str()];
        let batch = wit::Batch {
            topic,
            partition: u32::try_from(work.batch.partition()).unwrap_or(0),
            count: u32::try_from(rows.len()).unwrap_or(u32::MAX),
            base_offset,
            mode,
            origins: if needs.columns.contains(&Column::Origins) { &origins } else { &[] },
            columns: &packer.directory,
            data: &packer.data,
        };
        let edits = match instance.process(&plugin.limits, batch, ms_max, time_ms) {
            Ok(Ok(edits)) => edits,
            Ok(Err(words)) => {
                let reason = format!("process: it gave up{}", told(&words, plugin.silent));
                return Ok(Err(Failure { kind: FailureKind::Error, index: None, reason }));
            }
            Err(fault) => return Ok(Err(Failure::of_fault(&fault, plugin.silent))),
        };
        let (names, redirects) = (&mut *work.names, &mut *work.redirects);
        let mut rules = Rules {
            plugin: &plugin.name,
            digest: &plugin.digest,
            copies_max: plugin.limits.fan_out_max,
            emit_bytes_max: plugin.limits.emit_bytes_max,
            reject_codes: &plugin.reject_codes,
            silent: plugin.silent,
            check_topic: &mut |name| {
                *redirects = true;
                names.of(&name.into())
            },
        };
        let outcome = apply(&edits, rows, &scene, &mut rules);
        Ok(outcome.map(|outcome| work.slots.commit(outcome)).map_err(Failure::of_edits))
    }

    /// What was said in a good call is kept for the end of the batch.
    fn keep_words(&mut self) {
        if let Some(instance) = &mut self.instance {
            self.said.absorb(instance.said());
        }
    }

    fn settle_words(&mut self, accepted: bool, shared: &Shared) {
        let said = &mut self.said;
        if accepted {
            for (counter, sum) in self.plugin.counters.iter().zip(&said.counts) {
                // A guest may count to the end of numbers; going round would look like a restart.
                let add = |value: u64| Some(value.saturating_add(*sum));
                counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).ok();
            }
            let (plugin, link) = (&*self.plugin.name, shared.link.link.as_str());
            for (level, message) in &said.logs {
                let message = if self.plugin.silent { "(message withheld: the plugin is required)" } else { message };
                match level {
                    Level::Trace => tracing::trace!(plugin, link, "{message}"),
                    Level::Debug => tracing::debug!(plugin, link, "{message}"),
                    Level::Info => tracing::info!(plugin, link, "{message}"),
                    Level::Warn => tracing::warn!(plugin, link, "{message}"),
                    Level::Error => tracing::error!(plugin, link, "{message}"),
                }
            }
            if said.logs_left_out > 0 {
                tracing::warn!(
                    plugin,
                    link,
                    messages = said.logs_left_out,
                    "the plugin logs too much; messages were left out"
                );
            }
        }
        said.clear();
        // Of a call that came to no good end.
        if let Some(instance) = &mut self.instance {
            instance.said().clear();
        }
    }
}

/// The guest's own words for an error, unless they may not be told.
fn told(words: &str, silent: bool) -> String {
    if silent {
        return String::new();
    }
    format!(": {}", clean(words, 512))
}

pub(crate) fn error(shared: &Shared, plugin: Arc<str>, error: StageError) -> ChainError {
    let StageError { offset, reason, retry_after } = error;
    ChainError { plugin, generation: shared.generation.clone(), offset, reason, retry_after }
}
