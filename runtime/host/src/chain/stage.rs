//! One plugin of a chain: its instance, its plans by topic, and the calls in which it is shown a batch.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use strait_core::offset::SourceOffset;

use super::{Group, TOPICS_MAX, Work};
use crate::api::v0_1::exports::strait::plugin::transform as wit;
use crate::api::v0_1::strait::plugin::host::Level;
use crate::columns::{DATA_BYTES_MAX, Scene, cost, offset};
use crate::edits::{Rules, apply};
use crate::failure::Failure;
use crate::fields::Lens;
use crate::guest::{Instance, Said};
use crate::health::FailureKind;
use crate::load::{Loaded, PluginSet};
use crate::memory::Memories;
use crate::patch::Fate;
use crate::plan::{Column, Needs, Plan};
use crate::reload::sights;
use crate::text::clean;

/// Records of one call, where they have no bytes that would bound it.
const CALL_RECORDS_MAX: usize = 16_384;

/// Bit 0 of a batch's mode: the records were judged before.
const MODE_RECALL: u32 = 1;

/// A topic whose `open-topic` broke is tried again after this; one that the plugin refuses is not.
const OPEN_TOPIC_RETRY: Duration = Duration::from_secs(30);

/// One plugin of the chain.
pub(crate) struct Stage {
    pub(crate) plugin: Arc<Loaded>,
    /// `None` after a fault, until the next call.
    instance: Option<Instance>,
    /// Instances for topics on which it remembers.
    pub(crate) memories: Memories,
    plans: HashMap<Arc<str>, Arc<Plan>>,
    /// What a required plugin looks at, by topic: a reload must not make it less unnoticed.
    pub(super) sights: HashMap<Arc<str>, BTreeSet<String>>,
    /// What was said in calls that came to a good end, until the batch is accepted.
    said: Said,
    /// Its breaker is half open, and this call tells whether it closes.
    pub(crate) probing: bool,
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

impl Stage {
    pub(super) fn start(plugin: Arc<Loaded>, set: &PluginSet) -> Result<Self, String> {
        Ok(Self {
            instance: Some(plugin.start(&set.engine, &set.link)?),
            plugin,
            memories: Memories::default(),
            plans: HashMap::new(),
            sights: HashMap::new(),
            said: Said::default(),
            probing: false,
        })
    }

    /// Linear memories of its instances, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.instance.as_ref().map_or(0, Instance::memory_bytes) + self.memories.memory_bytes()
    }

    fn instance(&mut self, set: &PluginSet) -> Result<&mut Instance, StageError> {
        if self.instance.as_ref().is_none_or(|instance| !instance.is_sound()) {
            self.instance = None;
            let started = self.plugin.start(&set.engine, &set.link);
            self.instance = Some(started.map_err(|reason| self.not_started(reason))?);
        }
        self.instance.as_mut().ok_or_else(|| "no instance".to_owned().into())
    }

    /// The plan for a topic, asked once.
    pub(crate) fn plan(&mut self, topic: &Arc<str>, partitions: u32, set: &PluginSet) -> Result<Arc<Plan>, StageError> {
        if let Some(plan) = self.plans.get(topic) {
            return Ok(plan.clone());
        }
        let plugin = self.plugin.clone();
        let answer = self.instance(set)?.open_topic(&plugin.limits, topic, partitions);
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
    pub(super) fn run(&mut self, topic: &Arc<str>, work: &mut Work<'_>) -> Result<Arc<str>, StageError> {
        let plan = self.plan(topic, work.partitions, work.set)?;
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
            let plan = self.plan(other, work.partitions, work.set)?;
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
            self.instance(work.set)?;
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
        let origins = [work.set.link.source.as_str()];
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

    pub(super) fn settle_words(&mut self, accepted: bool, set: &PluginSet) {
        let said = &mut self.said;
        if accepted {
            for (counter, sum) in self.plugin.counters.iter().zip(&said.counts) {
                // A guest may count to the end of numbers; going round would look like a restart.
                let add = |value: u64| Some(value.saturating_add(*sum));
                counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).ok();
            }
            let (plugin, link) = (&*self.plugin.name, set.link.link.as_str());
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
