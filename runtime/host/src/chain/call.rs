//! One call of a guest: columns in, edits out.

use super::columns::{Column, Scene};
use super::edits::{Rules, apply};
use super::error::{Failure, StageError};
use super::plan::Needs;
use super::stage::Stage;
use super::work::Work;
use crate::api::v0_2::exports::strait::plugin::transform as wit;
use crate::fields::Lens;
use crate::guest::Instance;
use crate::health::FailureKind;
use crate::text::clean;

/// Bit 0 of a batch's mode: a warm-up.
pub(super) const MODE_WARM_UP: u32 = 1;

/// Bit 1 of a batch's mode: a second try after a fault.
pub(super) const MODE_AGAIN: u32 = 2;
/// The context that the calls of a plugin for one batch have in common.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) topic: &'a str,
    pub(super) needs: &'a Needs,
    /// `None` where the plugin reads no fields.
    pub(super) lens: Option<&'a Lens>,
    pub(super) base_offset: u64,
    /// Bits of the interface.
    pub(super) mode: u32,
    pub(super) ms_max: u64,
}

impl Stage {
    /// Calls the plugin with the records at `rows`. A failed call changes nothing, its output is
    /// discarded, and the instance is dropped.
    ///
    /// # Errors
    /// [`StageError`] if the failure is not caused by these records: there is no instance, or they
    /// cannot be packed.
    pub(super) fn attempt(
        &mut self,
        call: &Call<'_>,
        rows: &[usize],
        work: &mut Work<'_>,
    ) -> Result<Result<(), Failure>, StageError> {
        // Taken out, and put back only after success.
        let (mut instance, share) = if call.needs.is_stateful() {
            let (instance, share) = self.take_stateful(work)?;
            (instance, Some(share))
        } else {
            self.instance(work.set)?;
            (self.instance.take().ok_or_else(|| "no instance".to_owned())?, None)
        };
        let began = self.plugin.health.now();
        let answer = self.enter(call, rows, work, &mut instance)?;
        self.plugin.health.called(rows.len(), self.plugin.health.now().saturating_sub(began));
        if answer.is_ok() {
            self.output.absorb(instance.output());
            self.output.records += rows.len() as u64;
            match share {
                Some(share) => self.stateful.put_back(&work.partition(), (instance, share)),
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
            options: &[],
            origins: if needs.columns.contains(&Column::Origins) { &origins } else { &[] },
            columns: &packer.directory,
            data: &packer.data,
        };
        let edits = match instance.process(&plugin.limits, batch, ms_max, time_ms) {
            Ok(Ok(edits)) => edits,
            Ok(Err(text)) => {
                let reason = format!("process returned an error{}", quoted(&text, plugin.hides_data));
                return Ok(Err(Failure { kind: FailureKind::Error, index: None, reason }));
            }
            Err(fault) => return Ok(Err(Failure::of_fault(&fault, plugin.hides_data))),
        };
        let (names, redirects) = (&mut *work.names, &mut *work.redirects);
        let mut rules = Rules {
            plugin: &plugin.name,
            digest: &plugin.digest,
            copies_max: plugin.limits.fan_out_max,
            emit_bytes_max: plugin.limits.emit_bytes_max,
            reject_codes: &plugin.reject_codes,
            counters: &plugin.counters,
            silent: plugin.silent,
            hides_data: plugin.hides_data,
            topics_allowed: plugin.topics_allowed.as_ref(),
            check_topic: &mut |name| {
                *redirects = true;
                names.of(&name.into())
            },
        };
        let edits = apply(&edits, rows, &scene, &mut rules);
        Ok(edits.map(|edits| work.slots.commit(edits)).map_err(Failure::of_edits))
    }
}

/// Returns the guest's own text for an error message, unless it is withheld.
pub(super) fn quoted(text: &str, silent: bool) -> String {
    if silent {
        return " (its text is withheld; reveal_messages = true in the link shows it)".to_owned();
    }
    format!(": {}", clean(text, 512))
}
