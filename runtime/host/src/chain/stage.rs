//! One plugin of a chain: its instances, its plans by topic, and its calls for a batch.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use strait_core::config::OnError;
use strait_core::edit::{Disposition, Reject};
use strait_core::offset::SourceOffset;
use strait_core::protects::Protection;
use strait_flow::ports::Next;

use super::TOPICS_MAX;
use super::call::{Call, MODE_WARM_UP, quoted};
use super::columns::{DATA_BYTES_MAX, cost, offset};
use super::coverage::{Coverage, report};
use super::error::{Failure, PlanError, PlanProblem, StageError};
use super::framing::explained;
use super::plan::{Needs, Plan};
use super::stateful::{SourcePartition, StatefulInstances};
use super::work::{Group, Purpose, Work};
use crate::api::v0_2::exports::strait::plugin::transform::TopicInfo;
use crate::api::v0_2::strait::plugin::host::Level;
use crate::fields::Lens;
use crate::guest::{GuestOutput, Instance};
use crate::health::{Admission, CallOutcome, FailureKind};
use crate::load::{LoadedPlugin, PluginSet, StartError};

/// Records of one call, if their bytes do not bound it.
const CALL_RECORDS_MAX: usize = 16_384;

/// Reject code of the host: a value above `value-max-bytes` of a required plugin.
const VALUE_TOO_LARGE: &str = "value-too-large";

/// Stands for what is wrong with a plan, where the plugin's own words in it are withheld.
const UNTOLD: &str =
    "its plan is not valid (strait plugin test tells why; reveal_messages = true in the link shows it)";

/// A plan that gives the topic a name outside of the operator's bound.
const RENAME_NOT_ALLOWED: &str =
    "it gives the topic a name that output_topics in the link does not allow; allow it there, or change the plugin";

/// One plugin of the chain.
pub(super) struct Stage {
    pub(super) plugin: Arc<LoadedPlugin>,
    /// `None` after a failed call, until the next one.
    pub(super) instance: Option<Instance>,
    /// Instances for topics on which it is stateful.
    pub(super) stateful: StatefulInstances,
    plans: HashMap<Arc<str>, Arc<Plan>>,
    /// By topic; empty if the plugin is not required.
    coverage: HashMap<Arc<str>, Coverage>,
    /// Output of successful calls, until the batch is accepted.
    pub(super) output: GuestOutput,
    /// The next call is a probe, which decides whether the breaker closes.
    pub(super) probing: bool,
}

impl Stage {
    pub(super) fn start(plugin: Arc<LoadedPlugin>, set: &PluginSet) -> Result<Self, StartError> {
        Ok(Self {
            instance: Some(plugin.start(&set.engine, &set.link)?),
            plugin,
            stateful: StatefulInstances::default(),
            plans: HashMap::new(),
            coverage: HashMap::new(),
            output: GuestOutput::default(),
            probing: false,
        })
    }

    /// Returns its coverage by topic; nothing if it is not required.
    pub(super) fn coverage(&self) -> impl Iterator<Item = (&Arc<str>, &Coverage)> {
        self.coverage.iter()
    }

    /// Returns its protection of a topic that it was asked about, if it is required.
    pub(super) fn protection(&self, topic: &str) -> Option<&Protection> {
        self.coverage.get(topic).map(Coverage::protection)
    }

    /// Returns the bytes of the linear memories of its instances.
    pub(super) fn memory_bytes(&self) -> usize {
        self.instance.as_ref().map_or(0, Instance::memory_bytes) + self.stateful.memory_bytes()
    }

    pub(super) fn instance(&mut self, set: &PluginSet) -> Result<&mut Instance, StageError> {
        if self.instance.as_ref().is_none_or(|instance| !instance.is_sound()) {
            self.instance = None;
            let started = self.plugin.start(&set.engine, &set.link);
            self.instance = Some(started.map_err(|error| self.not_started(error.to_string()))?);
        }
        self.instance.as_mut().ok_or_else(|| "no instance".to_owned().into())
    }

    /// Returns the plan for a topic. The plugin is asked once.
    pub(super) fn plan(&mut self, topic: &Arc<str>, partitions: u32, set: &PluginSet) -> Result<Arc<Plan>, StageError> {
        if let Some(plan) = self.plans.get(topic) {
            return Ok(Arc::clone(plan));
        }
        let plugin = Arc::clone(&self.plugin);
        let answer =
            self.instance(set)?.open_topic(&plugin.limits, TopicInfo { name: topic, partitions, options: &[] });
        let failed = |problem| PlanError { topic: Arc::clone(topic), problem };
        let answer = answer.map_err(|fault| {
            plugin.health.failed(fault.kind());
            failed(PlanProblem::Broke(fault.text(plugin.hides_data)))
        })?;
        let plan = answer.map_err(|text| failed(PlanProblem::Refused(quoted(&text, plugin.silent))))?;
        // It can quote what the plugin makes of the records that this instance has seen.
        let invalid =
            |reason: String| failed(PlanProblem::Invalid(if plugin.hides_data { UNTOLD.to_owned() } else { reason }));
        if self.plans.len() >= TOPICS_MAX {
            self.plans.clear();
            self.coverage.clear();
        }
        if plugin.required {
            let (coverage, unmade) = Coverage::of(&plan).map_err(invalid)?;
            report(&unmade, &plugin, set);
            self.coverage.insert(Arc::clone(topic), coverage);
        }
        let plan = Arc::new(Plan::check(topic, plan, plugin.manifest.effects, plugin.shapes()).map_err(invalid)?);
        if !plan.is_allowed_by(plugin.topics_allowed.as_ref()) {
            return Err(failed(PlanProblem::Invalid(RENAME_NOT_ALLOWED.to_owned())).into());
        }
        self.keep_output();
        self.plans.insert(Arc::clone(topic), Arc::clone(&plan));
        Ok(plan)
    }

    /// Calls the plugin with every record that is still in the chain. Returns the name of the
    /// batch's topic from here on.
    pub(super) fn run(&mut self, topic: &Arc<str>, work: &mut Work<'_>) -> Result<Arc<str>, StageError> {
        let plan = self.plan(topic, work.partitions, work.set)?;
        let name = plan.name.clone().unwrap_or_else(|| Arc::clone(topic));
        if plan.needs.is_none() && !*work.redirects {
            return Ok(name);
        }
        // Grouped before the first call: a record that this plugin redirects is not shown to it
        // again.
        for group in work.groups() {
            let Some(other) = &group.topic else {
                self.run_group(topic, &plan, &group, work)?;
                continue;
            };
            let plan = self.plan(other, work.partitions, work.set)?;
            if plan.needs.as_ref().is_some_and(Needs::is_stateful) {
                // They come among other records of the batch, in an order that a warm-up cannot
                // repeat.
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
                if let Some(slot) = work.slots.get_mut(*row) {
                    slot.rename_topic(name);
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
        let mode = if needs.is_stateful() && work.is_warm_up() { MODE_WARM_UP } else { 0 };
        let mut call = Call { topic, needs, lens, base_offset: 0, mode, ms_max };
        work.scratch.rows.clear();
        for row in members.iter().copied() {
            if work.docs.is_full() {
                if !work.scratch.rows.is_empty() {
                    self.call(&call, work)?;
                    work.scratch.rows.clear();
                }
                work.docs.forget();
            }
            if !self.shows(needs, lens, row, work) {
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

    /// Returns whether the plugin sees a record. Reads the value as a document if the plugin asks
    /// for that. A record that a required plugin cannot judge is rejected here.
    pub(super) fn shows(&self, needs: &Needs, lens: Option<&Lens>, row: usize, work: &mut Work<'_>) -> bool {
        let Some(value) = work.slots.view(row, work.batch).map(|view| view.value()) else {
            return false;
        };
        if needs.value_bytes_max.is_some_and(|max| value.is_some_and(|v| v.len() > max)) {
            if self.plugin.required {
                let text = "the value is larger than the plugin takes (value-max-bytes)";
                self.refuse(row, (VALUE_TOO_LARGE, text), work);
            }
            return false;
        }
        let Some(lens) = lens else {
            return true;
        };
        let known = work.slots.get(row).map(|slot| slot.doc).unwrap_or_default();
        let id = work.docs.read(known, value, lens);
        let unjudged = work.docs.get(id).and_then(|doc| doc.state(lens).unjudged());
        if let Some(slot) = work.slots.get_mut(row) {
            slot.doc = id;
        }
        match unjudged {
            Some((code, text)) if self.plugin.required && !lens.fields.is_empty() => {
                let value = work.slots.view(row, work.batch).and_then(|view| view.value());
                let text = match code {
                    "value-not-json" | "value-not-utf8" => explained(text, value, work.framed(row)),
                    _ => text.into(),
                };
                self.refuse(row, (code, &text), work);
                false
            }
            _ => true,
        }
    }

    /// Rejects a record on behalf of the plugin.
    fn refuse(&self, row: usize, (code, text): (&str, &str), work: &mut Work<'_>) {
        if let Some(slot) = work.slots.get_mut(row) {
            let (plugin, digest) = (Arc::clone(&self.plugin.name), Arc::clone(&self.plugin.digest));
            let reject = Reject { plugin, digest, code: code.into(), rule: None, text: text.into() };
            slot.disposition = Some(Disposition::Reject(Box::new(reject)));
        }
    }

    /// Has the plugin judge the records in `work.scratch.rows`, and settles those that break it.
    pub(super) fn call(&mut self, call: &Call<'_>, work: &mut Work<'_>) -> Result<(), StageError> {
        if work.is_warm_up() && !call.needs.is_stateful() {
            return self.call_stateless_in_warm_up(call, work);
        }
        if !self.may_call(call, work)? {
            return Ok(());
        }
        if call.needs.is_stateful() {
            return self.call_stateful(call, work);
        }
        let health = Arc::clone(&self.plugin.health);
        let rows = mem::take(&mut work.scratch.rows);
        let done = match self.attempt(call, &rows, work) {
            Ok(Ok(())) => {
                health.judged(rows.len() as u64, mem::take(&mut self.probing));
                Ok(())
            }
            Ok(Err(Failure { reason, .. })) if work.purpose == Purpose::Prove => {
                Err(StageError { offset: None, reason, next: Next::Stop })
            }
            Ok(Err(failure)) => self.narrow(call, &rows, failure, work),
            Err(error) => Err(error),
        };
        self.probing = false;
        work.scratch.rows = rows;
        done
    }

    /// Asks the breaker. If it is open, the batch waits, unless the records may pass unjudged.
    fn may_call(&mut self, call: &Call<'_>, work: &Work<'_>) -> Result<bool, StageError> {
        if self.probing {
            return Ok(true);
        }
        match self.plugin.health.admission() {
            Admission::Call => Ok(true),
            Admission::Probe => {
                self.probing = true;
                Ok(true)
            }
            // `on_error = "pass"`: records pass rather than wait. A stateful plugin would never see
            // them.
            Admission::Wait { .. }
                if self.plugin.on_error == OnError::Pass
                    && !call.needs.is_stateful()
                    && work.purpose != Purpose::Prove =>
            {
                Ok(false)
            }
            Admission::Wait { after, reason } => {
                Err(StageError { offset: None, reason, next: Next::RetryAfter(after) })
            }
        }
    }

    /// Opens the breaker because no instance can be started, so nothing can be judged.
    pub(super) fn not_started(&self, reason: String) -> StageError {
        let health = &self.plugin.health;
        health.failed(FailureKind::Start);
        let after = health.broken(CallOutcome::default(), &reason);
        StageError { offset: None, reason, next: Next::RetryAfter(after) }
    }

    /// Keeps the output of a successful call until the batch is accepted.
    fn keep_output(&mut self) {
        if let Some(instance) = &mut self.instance {
            self.output.absorb(instance.output());
        }
    }

    pub(super) fn settle_output(&mut self, accepted: bool, set: &PluginSet) {
        let output = &mut self.output;
        if accepted {
            self.plugin.shown.fetch_add(output.records, Ordering::Relaxed);
            for (counter, sum) in self.plugin.counts.iter().zip(&output.counts) {
                // Saturates: a wrapped counter would look like a restart.
                let add = |value: u64| Some(value.saturating_add(*sum));
                counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).ok();
            }
            let (plugin, link) = (&*self.plugin.name, set.link.link.as_str());
            let rate = &self.plugin.log_rate;
            for (level, message) in &output.logs {
                // The output of one plugin must not hold up the links that share it.
                if !is_shown(*level) || !rate.admits() {
                    continue;
                }
                let message = if self.plugin.silent {
                    "(message withheld; reveal_messages = true in the link shows it)"
                } else {
                    message
                };
                match level {
                    Level::Trace => tracing::trace!(plugin, link, "{message}"),
                    Level::Debug => tracing::debug!(plugin, link, "{message}"),
                    Level::Info => tracing::info!(plugin, link, "{message}"),
                    Level::Warn => tracing::warn!(plugin, link, "{message}"),
                    Level::Error => tracing::error!(plugin, link, "{message}"),
                }
            }
            if let Some(messages) = rate.left_out(output.logs_left_out) {
                tracing::warn!(plugin, link, messages, "the plugin logs too much; messages were dropped");
            }
        }
        output.clear();
        // Output of a failed call.
        if let Some(instance) = &mut self.instance {
            instance.output().clear();
        }
        if self.instance.as_mut().is_some_and(|instance| accepted && instance.is_worn(&self.plugin.limits)) {
            self.say_worn(set);
            self.instance = None;
        }
    }

    /// A batch of a partition was judged; everything before `next` was shown.
    pub(super) fn accept_stateful(&mut self, partition: &SourcePartition, next: SourceOffset, set: &PluginSet) {
        if self.stateful.accept(partition, next, &self.plugin.limits) {
            self.say_worn(set);
        }
    }

    fn say_worn(&self, set: &PluginSet) {
        tracing::info!(
            link = set.link.link,
            plugin = &*self.plugin.name,
            memory_bytes_max = self.plugin.limits.memory_bytes_max,
            "the memory of an instance has grown near its limit; a fresh one takes its place for the next batch"
        );
    }
}

/// Returns whether the log takes messages of this level.
fn is_shown(level: Level) -> bool {
    match level {
        Level::Trace => tracing::enabled!(tracing::Level::TRACE),
        Level::Debug => tracing::enabled!(tracing::Level::DEBUG),
        Level::Info => tracing::enabled!(tracing::Level::INFO),
        Level::Warn => tracing::enabled!(tracing::Level::WARN),
        Level::Error => tracing::enabled!(tracing::Level::ERROR),
    }
}
