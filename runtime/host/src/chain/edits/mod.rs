//! Checks a plugin's answer and applies it to the batch. Nothing is trusted: every number comes
//! from a guest.

mod draft;
mod op;

use std::sync::Arc;

use regex::RegexSet;
use strait_core::batch::RecordRef;
use strait_core::edit::{Content, Disposition, Reject};
use strait_core::offset::SourceOffset;

use super::columns::Scene;
use super::slots::{CallEdits, Change, RecordSlot};
use crate::api::effects;
use crate::api::v0_2::exports::strait::plugin::transform::Edits;
use crate::load::Counter;
use crate::text::clean;
use draft::{Draft, Unfit};
use op::Op;

/// The length that stands for null.
const NULL: u32 = u32::MAX;
/// Bytes of a reason that go into quarantine headers.
const REASON_BYTES_MAX: usize = 512;

/// An answer that breaks the interface's rules.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadEdits {
    /// Offset of the record that the edit names, if it names one.
    pub(super) offset: Option<SourceOffset>,
    /// Its index among the records of the call: copies share their offset.
    pub(super) index: Option<usize>,
    pub(super) what: String,
}

/// The rules for the edits of one call.
pub(super) struct Rules<'a> {
    pub(super) plugin: &'a Arc<str>,
    pub(super) digest: &'a Arc<str>,
    /// Copies that may be made of one record, in the whole chain.
    pub(super) copies_max: usize,
    /// Bytes that the copies of one call may hold, beyond what they share with the original.
    pub(super) emit_bytes_max: usize,
    pub(super) reject_codes: &'a [Arc<str>],
    /// Those of the plugin, each with the rule that it is of.
    pub(super) counters: &'a [Counter],
    /// The guest's own text is withheld.
    pub(super) silent: bool,
    /// Names that the guest makes from records are withheld.
    pub(super) hides_data: bool,
    /// The operator's bound on the topics that the plugin may name.
    pub(super) topics_allowed: Option<&'a RegexSet>,
    /// Returns a topic's final name, or why it is not allowed.
    pub(super) check_topic: &'a mut dyn FnMut(&str) -> Result<Arc<str>, String>,
}

/// An edit as the guest wrote it, without the record that it names.
#[derive(Clone, Copy)]
struct RawEdit<'a> {
    op: u32,
    arg: u32,
    len: u32,
    bytes: &'a [u8],
}

/// The record being edited.
struct Current<'a> {
    /// Its index among the records of the call.
    index: u32,
    row: usize,
    slot: &'a RecordSlot,
    record: RecordRef<'a>,
    /// `None` before the first edit that changes something, and after a copy.
    draft: Option<Draft<'a>>,
    /// The counter whose rule the reject that must follow is of.
    rule: Option<u32>,
    /// A drop or reject, after which nothing may follow.
    end: Option<Disposition>,
    /// Why the record, or a copy of it, cannot be as the plugin wants it.
    unfit: Option<Unfit>,
}

/// The sum of one answer so far.
struct Sum {
    edits: CallEdits,
    emitted_bytes: usize,
    /// The record edited last and the copies that this answer made of it: several slots may be of
    /// one record.
    copied: (usize, usize),
}

/// Checks the edits of the records at `rows`, in the order in which they were delivered. Returns
/// what they amount to.
pub(super) fn apply(
    edits: &Edits,
    rows: &[usize],
    scene: &Scene<'_>,
    rules: &mut Rules<'_>,
) -> Result<CallEdits, BadEdits> {
    let mut sum = Sum { edits: CallEdits::default(), emitted_bytes: 0, copied: (usize::MAX, 0) };
    let mut current: Option<Current<'_>> = None;
    let mut data = edits.data.as_slice();
    let (ops, rest) = edits.ops.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(bad(None, format!("ops holds {} numbers, not four per edit", edits.ops.len())));
    }
    for (index, [record, op, arg, len]) in ops.iter().copied().enumerate() {
        let row = rows.get(record as usize).copied();
        let slot = row.and_then(|row| Some((row, scene.slots.get(row)?)));
        let Some((row, slot, original)) = slot.and_then(|(row, slot)| Some((row, slot, scene.batch.get(slot.record)?)))
        else {
            return Err(bad(None, format!("edit {index} names record {record} of {}", rows.len())));
        };
        let fail = |what: String| bad(Some((record, original.offset)), format!("edit {index}: {what}"));

        let bytes_len = if len == NULL { 0 } else { len as usize };
        let Some((bytes, rest)) = data.split_at_checked(bytes_len) else {
            return Err(fail(format!("{bytes_len} bytes are named, {} are left", data.len())));
        };
        data = rest;

        if let Some(last) = current.take_if(|current| current.index != record) {
            if last.index > record {
                return Err(fail(format!("records must ascend, and {record} follows {}", last.index)));
            }
            last.settle(rules, &mut sum)?;
        }
        let editing = current.get_or_insert_with(|| Current::new(record, row, slot, original));
        editing.edit(RawEdit { op, arg, len, bytes }, scene, rules, &mut sum).map_err(fail)?;
    }
    if let Some(last) = current {
        last.settle(rules, &mut sum)?;
    }
    if !data.is_empty() {
        return Err(bad(None, format!("{} bytes belong to no edit", data.len())));
    }
    Ok(sum.edits)
}

fn bad(named: Option<(u32, SourceOffset)>, what: String) -> BadEdits {
    BadEdits { offset: named.map(|(_, offset)| offset), index: named.map(|(index, _)| index as usize), what }
}

impl<'a> RawEdit<'a> {
    /// Checks what the operation takes, and that the plugin asked for its effect.
    fn check(&self, scene: &Scene<'_>) -> Result<Op, String> {
        let op = Op::try_from(self.op)?;
        if scene.needs.effects & op.effect() == 0 {
            let name = effects::effect_names(op.effect()).join("");
            return Err(format!("the effect '{name}' is not among those the plugin asked for on this topic"));
        }
        if self.len == NULL && !op.takes_null() {
            return Err(format!("operation {} takes no null", self.op));
        }
        if self.len != 0 && !op.takes_bytes() {
            return Err(format!("operation {} takes no bytes", self.op));
        }
        if self.arg != 0 && !op.takes_argument() {
            return Err(format!("operation {} takes no argument", self.op));
        }
        Ok(op)
    }

    fn nullable(&self) -> Option<&'a [u8]> {
        (self.len != NULL).then_some(self.bytes)
    }

    fn content(&self) -> Content {
        self.nullable().map_or(Content::Null, |bytes| Content::Bytes(bytes.to_vec()))
    }
}

impl<'a> Current<'a> {
    fn new(index: u32, row: usize, slot: &'a RecordSlot, record: RecordRef<'a>) -> Self {
        Self { index, row, slot, record, draft: None, rule: None, end: None, unfit: None }
    }

    fn settle(self, rules: &Rules<'_>, sum: &mut Sum) -> Result<(), BadEdits> {
        if self.rule.is_some() {
            let what = "a rule is named, and no reject follows".to_owned();
            return Err(bad(Some((self.index, self.record.offset)), what));
        }
        let unfit = self.unfit.map(|unfit| Disposition::Reject(Box::new(rules.unfit(unfit))));
        let change = match (unfit.or(self.end), self.draft) {
            (Some(end), _) => Change { disposition: Some(end), is_value_new: false },
            (None, Some(draft)) => {
                let change = draft.finish(self.record);
                change.map_err(|what| bad(Some((self.index, self.record.offset)), what))?
            }
            (None, None) => return Ok(()),
        };
        sum.edits.changes.push((self.row, change));
        Ok(())
    }

    fn edit(
        &mut self,
        edit: RawEdit<'a>,
        scene: &Scene<'_>,
        rules: &mut Rules<'_>,
        sum: &mut Sum,
    ) -> Result<(), String> {
        if self.end.is_some() {
            return Err("it follows a drop or reject of the same record".into());
        }
        let op = edit.check(scene)?;
        if self.rule.is_some() && op != Op::Reject {
            return Err("it stands between a rule and the reject that is of it".into());
        }
        let RawEdit { arg, bytes, .. } = edit;
        let (slot, record) = (self.slot, self.record);
        match op {
            Op::Drop => self.end = Some(Disposition::Drop),
            Op::OfRule => self.rule = Some(arg),
            Op::Reject => {
                let rule = self.rule.take().map(|counter| rule_of(counter, rules)).transpose()?;
                self.end = Some(Disposition::Reject(Box::new(reject(arg, rule.flatten(), bytes, rules)?)));
            }
            Op::Emit => self.emit(scene, rules, sum)?,
            Op::SetKey => self.draft().set_key(edit.content()),
            Op::SetValue => self.draft().set_value(edit.content())?,
            Op::SetField => self.draft().set_field(arg, edit.nullable(), scene, slot)?,
            Op::InsertField => self.draft().insert_field(arg, bytes, scene, slot)?,
            Op::SetHeader => self.draft().headers(scene, record).set(arg, edit.nullable().map(<[u8]>::to_vec))?,
            Op::RemoveHeader => self.draft().headers(scene, record).remove(arg)?,
            Op::AppendHeader => self.draft().headers(scene, record).append(arg, bytes)?,
            Op::AppendNullHeader => self.draft().headers(scene, record).append_null(bytes),
            Op::SetTimestamp => {
                let timestamp_ms = bytes.try_into().map(i64::from_le_bytes).map_err(|_| "a timestamp has 8 bytes")?;
                let fits = self.draft().set_timestamp(timestamp_ms);
                self.note(fits);
            }
            Op::SetTopic => {
                let fits = self.draft().set_topic(bytes, scene, rules);
                self.note(fits);
            }
            Op::SetPartition => {
                let fits = self.draft().set_partition(arg);
                self.note(fits);
            }
            Op::HashPartition => self.draft().hash_partition(bytes),
        }
        Ok(())
    }

    /// Remembers the first edit that the record cannot hold.
    fn note(&mut self, fits: Result<(), Unfit>) {
        if let Err(unfit) = fits {
            self.unfit.get_or_insert(unfit);
        }
    }

    fn draft(&mut self) -> &mut Draft<'a> {
        let slot = self.slot;
        self.draft.get_or_insert_with(|| Draft::new(slot))
    }

    /// Sends a copy of the record as it stands now; what follows starts again from the record as it
    /// was delivered.
    fn emit(&mut self, scene: &Scene<'_>, rules: &Rules<'_>, sum: &mut Sum) -> Result<(), String> {
        if sum.copied.0 != self.slot.record {
            sum.copied = (self.slot.record, 0);
        }
        if scene.slots.copies(self.slot.record) + sum.copied.1 >= rules.copies_max {
            return Err(format!("more than {} copies of one record (fan_out_max)", rules.copies_max));
        }
        if !scene.slots.has_room(sum.edits.emitted.len() + 1) {
            return Err("too many copies for one batch".into());
        }
        let change = match self.draft.take() {
            Some(draft) => draft.finish(self.record)?,
            None => Change { disposition: self.slot.disposition.clone(), is_value_new: false },
        };
        if let Some(Disposition::Replace(records)) = &change.disposition {
            sum.emitted_bytes += records.iter().map(|record| record.owned_bytes()).sum::<usize>();
        }
        if sum.emitted_bytes > rules.emit_bytes_max {
            return Err(format!("copies of more than {} bytes in one call (emit_bytes_max)", rules.emit_bytes_max));
        }
        sum.copied.1 += 1;
        sum.edits.emitted.push((self.row, change));
        Ok(())
    }
}

impl Rules<'_> {
    /// Refuses a record that cannot be as the plugin wants it. Not the plugin is broken: it makes
    /// such topics, partitions and times of what is in the record.
    fn unfit(&self, Unfit { code, text }: Unfit) -> Reject {
        let (plugin, digest) = (Arc::clone(self.plugin), Arc::clone(self.digest));
        Reject { plugin, digest, code: code.into(), rule: None, text }
    }
}

/// Returns the rule that a counter is of. The guest named it before it saw a record.
fn rule_of(counter: u32, rules: &Rules<'_>) -> Result<Option<Arc<str>>, String> {
    let declared = rules.counters;
    let counter = declared.get(counter as usize);
    let counter = counter.ok_or_else(|| format!("a rule by a counter that is not among the {}", declared.len()))?;
    Ok((!counter.rule.is_empty()).then(|| counter.rule.as_str().into()))
}

fn reject(code: u32, rule: Option<Arc<str>>, reason: &[u8], rules: &Rules<'_>) -> Result<Reject, String> {
    let declared = rules.reject_codes;
    let code =
        declared.get(code as usize).ok_or_else(|| format!("reject code {code} of {} declared", declared.len()))?;
    let reason = std::str::from_utf8(reason).map_err(|_| "a reason that is not UTF-8")?;
    Ok(Reject {
        plugin: Arc::clone(rules.plugin),
        digest: Arc::clone(rules.digest),
        code: Arc::clone(code),
        rule,
        text: if rules.silent { String::new() } else { clean(reason, REASON_BYTES_MAX) },
    })
}
