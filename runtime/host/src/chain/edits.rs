//! Checks what a plugin answered and lays it over the batch. Nothing is taken on trust: every number is a guest's.

use std::sync::Arc;

use strait_core::batch::RecordRef;
use strait_core::edit::{Content, Reject};
use strait_core::offset::SourceOffset;

use super::columns::Scene;
use super::patch::{Fate, Header, Patch, PatchRoute, View};
use super::slots::{Change, Outcome, Slot};
use crate::api::effects;
use crate::api::v0_1::exports::strait::plugin::transform::Edits;
use crate::fields::FieldEdit;
use crate::text::clean;

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

/// What the edits of one call are checked against.
pub(super) struct Rules<'a> {
    pub(super) plugin: &'a Arc<str>,
    pub(super) digest: &'a Arc<str>,
    /// Copies that may be made of one record, in the whole chain.
    pub(super) copies_max: usize,
    /// Bytes that the copies of one call may hold, beyond what they share with the original.
    pub(super) emit_bytes_max: usize,
    pub(super) reject_codes: &'a [Arc<str>],
    /// Leave the guest's own words out.
    pub(super) silent: bool,
    /// Whether a topic's final name is allowed; `Err` says why not.
    pub(super) check_topic: &'a mut dyn FnMut(&str) -> Result<Arc<str>, String>,
}

/// An edit, without the record that it names.
#[derive(Clone, Copy)]
struct Op {
    op: u32,
    arg: u32,
    len: u32,
}

/// The record being edited.
struct Current<'a> {
    row: usize,
    slot: &'a Slot,
    record: RecordRef<'a>,
    /// `None` before the first edit that changes something, and after a copy.
    draft: Option<Draft<'a>>,
    /// A drop or reject, after which nothing may follow.
    end: Option<Fate>,
}

/// What the edits since the record was delivered, or since the last copy, amount to.
#[derive(Default)]
struct Draft<'a> {
    patch: Box<Patch>,
    headers: Option<HeaderEdit>,
    fields: Option<FieldEdit<'a>>,
    routed: bool,
    is_value_set: bool,
}

/// The headers of a record under edit. Positions of those delivered stay valid while others are removed.
struct HeaderEdit {
    all: Vec<Option<Header>>,
    delivered: Vec<usize>,
}

/// What one answer did so far.
struct Sum {
    outcome: Outcome,
    emitted_bytes: usize,
    /// The record edited last and the copies that this answer made of it: several slots may be of one record.
    copied: (usize, usize),
}

/// Checks the edits of the records at `rows`, in the order in which they were delivered, and says what they amount to.
pub(super) fn apply(
    edits: &Edits,
    rows: &[usize],
    scene: &Scene<'_>,
    rules: &mut Rules<'_>,
) -> Result<Outcome, BadEdits> {
    let mut sum = Sum { outcome: Outcome::default(), emitted_bytes: 0, copied: (usize::MAX, 0) };
    let mut current: Option<(u32, Current<'_>)> = None;
    let mut data = edits.data.as_slice();
    let (ops, rest) = edits.ops.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(bad(None, format!("ops holds {} numbers, not four per edit", edits.ops.len())));
    }
    for (index, [record, op, arg, len]) in ops.iter().copied().enumerate() {
        let op = Op { op, arg, len };
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

        let mut editing = match current.take() {
            Some((last, _)) if last > record => {
                return Err(fail(format!("records must ascend, and {record} follows {last}")));
            }
            Some((last, editing)) if last == record => editing,
            other => {
                if let Some((last, done)) = other {
                    done.settle(last, &mut sum)?;
                }
                Current::new(row, slot, original)
            }
        };
        editing.edit(op, bytes, scene, rules, &mut sum).map_err(fail)?;
        current = Some((record, editing));
    }
    if let Some((last, done)) = current {
        done.settle(last, &mut sum)?;
    }
    if !data.is_empty() {
        return Err(bad(None, format!("{} bytes belong to no edit", data.len())));
    }
    Ok(sum.outcome)
}

fn bad(named: Option<(u32, SourceOffset)>, what: String) -> BadEdits {
    BadEdits { offset: named.map(|(_, offset)| offset), index: named.map(|(index, _)| index as usize), what }
}

impl<'a> Draft<'a> {
    fn new(slot: &Slot) -> Self {
        let patch = match &slot.fate {
            Fate::Change(patch) => patch.clone(),
            _ => Box::default(),
        };
        Self { patch, ..Self::default() }
    }

    fn finish(mut self, record: RecordRef<'_>) -> Result<Change, String> {
        if let Some(headers) = self.headers {
            self.patch.headers = Some(headers.all.into_iter().flatten().collect());
        }
        if let Some(fields) = &self.fields {
            let view = View { record, patch: Some(&self.patch) };
            self.patch.value = Content::Bytes(fields.apply(view.value().unwrap_or_default())?);
        }
        let is_value_new = self.is_value_set || self.fields.is_some();
        Ok(Change { fate: Fate::Change(self.patch), is_value_new })
    }

    fn field(&mut self, op: Op, bytes: &'a [u8], scene: &Scene<'_>, slot: &Slot) -> Result<(), String> {
        if self.is_value_set {
            return Err("it edits a field after the whole value".into());
        }
        let doc = scene.docs.get(slot.doc);
        let (Some(lens), Some(doc)) = (scene.lens, doc) else {
            return Err("the value was not read as a document".into());
        };
        let fields = self.fields.get_or_insert_default();
        if op.op == 4 {
            return fields.insert(op.arg, bytes, scene.docs, doc, lens);
        }
        let text = (op.len != NULL).then_some(bytes);
        fields.set(op.arg, text, scene.docs, doc, lens)
    }

    fn route(&mut self, route: PatchRoute) {
        self.patch.route = route;
        self.routed = true;
    }

    fn set_topic(&mut self, bytes: &[u8], scene: &Scene<'_>, rules: &mut Rules<'_>) -> Result<(), String> {
        let name = std::str::from_utf8(bytes).map_err(|_| "a topic name that is not UTF-8")?;
        let refuse = |why: String| if rules.silent { "a topic that is not allowed".into() } else { why };
        if !scene.needs.output_topics.is_match(name) {
            let name = clean(name, 256);
            return Err(refuse(format!("the topic '{name}' is not among the plugin's output-topics")));
        }
        (rules.check_topic)(name).map_err(refuse)?;
        self.patch.topic = Some(name.into());
        // Whether it comes before or after the topic, a partition of this very answer stands.
        if !self.routed {
            self.patch.route = PatchRoute::ByKey;
        }
        Ok(())
    }

    fn headers(&mut self, scene: &Scene<'_>, record: RecordRef<'_>) -> &mut HeaderEdit {
        let Draft { patch, headers, .. } = self;
        let view = View { record, patch: Some(patch) };
        headers.get_or_insert_with(|| {
            let mut edit = HeaderEdit { all: Vec::new(), delivered: Vec::new() };
            view.each_header(|header| {
                if scene.needs.headers.delivers(header.name) {
                    edit.delivered.push(edit.all.len());
                }
                edit.all.push(Some((header.name.to_vec(), header.value.map(<[u8]>::to_vec))));
            });
            edit
        })
    }
}

impl<'a> Current<'a> {
    fn new(row: usize, slot: &'a Slot, record: RecordRef<'a>) -> Self {
        Self { row, slot, record, draft: None, end: None }
    }

    fn settle(self, index: u32, sum: &mut Sum) -> Result<(), BadEdits> {
        let change = match (self.end, self.draft) {
            (Some(fate), _) => Change { fate, is_value_new: false },
            (None, Some(draft)) => {
                let change = draft.finish(self.record);
                change.map_err(|what| bad(Some((index, self.record.offset)), what))?
            }
            (None, None) => return Ok(()),
        };
        sum.outcome.changes.push((self.row, change));
        Ok(())
    }

    fn edit(
        &mut self,
        op: Op,
        bytes: &'a [u8],
        scene: &Scene<'_>,
        rules: &mut Rules<'_>,
        sum: &mut Sum,
    ) -> Result<(), String> {
        if self.end.is_some() {
            return Err("it follows a drop or reject of the same record".into());
        }
        let (effect, nullable, sized) = shape(op.op)?;
        if scene.needs.effects & effect == 0 {
            let name = effects::effect_names(effect).join("");
            return Err(format!("the effect '{name}' is not among those the plugin asked for on this topic"));
        }
        if op.len == NULL && !nullable {
            return Err(format!("operation {} takes no null", op.op));
        }
        if !sized && op.len != 0 {
            return Err(format!("operation {} takes no bytes", op.op));
        }
        if op.arg != 0 && !matches!(op.op, 3..=7 | 11 | 13) {
            return Err(format!("operation {} takes no argument", op.op));
        }
        let content = || if op.len == NULL { None } else { Some(bytes.to_vec()) };
        match op.op {
            0 => {
                self.end = Some(Fate::Drop);
                return Ok(());
            }
            13 => {
                self.end = Some(Fate::Reject(Box::new(reject(op, bytes, rules)?)));
                return Ok(());
            }
            14 => return self.emit(scene, rules, sum),
            _ => {}
        }
        let (slot, record) = (self.slot, self.record);
        let draft = self.draft.get_or_insert_with(|| Draft::new(slot));
        match op.op {
            1 => draft.patch.key = content().map_or(Content::Null, Content::Bytes),
            2 => {
                if draft.fields.is_some() {
                    return Err("it sets the value after a field of it".into());
                }
                draft.is_value_set = true;
                draft.patch.value = content().map_or(Content::Null, Content::Bytes);
            }
            3 | 4 => draft.field(op, bytes, scene, slot)?,
            5 => draft.headers(scene, record).delivered(op.arg)?.1 = content(),
            6 => draft.headers(scene, record).remove(op.arg)?,
            7 => {
                let Some((name, value)) = bytes.split_at_checked(op.arg as usize) else {
                    return Err(format!("a name of {} bytes does not fit in {}", op.arg, bytes.len()));
                };
                let header = (name.to_vec(), Some(value.to_vec()));
                draft.headers(scene, record).all.push(Some(header));
            }
            8 => draft.headers(scene, record).all.push(Some((bytes.to_vec(), None))),
            9 => {
                let timestamp_ms = bytes.try_into().map(i64::from_le_bytes).map_err(|_| "a timestamp has 8 bytes")?;
                if timestamp_ms < 0 {
                    return Err(format!("{timestamp_ms} is not a timestamp"));
                }
                draft.patch.timestamp_ms = Some(timestamp_ms);
            }
            10 => draft.set_topic(bytes, scene, rules)?,
            11 => {
                let partition = i32::try_from(op.arg).map_err(|_| format!("{} is not a partition", op.arg))?;
                draft.route(PatchRoute::Partition(partition));
            }
            12 => draft.route(PatchRoute::Hash(bytes.to_vec())),
            _ => return Err(format!("operation {} does not exist", op.op)),
        }
        Ok(())
    }

    /// A copy goes out as the record stands now; what follows starts again from the record as it was delivered.
    fn emit(&mut self, scene: &Scene<'_>, rules: &Rules<'_>, sum: &mut Sum) -> Result<(), String> {
        if sum.copied.0 != self.slot.record {
            sum.copied = (self.slot.record, 0);
        }
        if scene.slots.copies(self.slot.record) + sum.copied.1 >= rules.copies_max {
            return Err(format!("more than {} copies of one record (fan_out_max)", rules.copies_max));
        }
        if !scene.slots.has_room(sum.outcome.emitted.len() + 1) {
            return Err("too many copies for one batch".into());
        }
        let change = match self.draft.take() {
            Some(draft) => draft.finish(self.record)?,
            None => Change { fate: self.slot.fate.clone(), is_value_new: false },
        };
        if let Fate::Change(patch) = &change.fate {
            sum.emitted_bytes += patch.owned_bytes();
        }
        if sum.emitted_bytes > rules.emit_bytes_max {
            return Err(format!("copies of more than {} bytes in one call (emit_bytes_max)", rules.emit_bytes_max));
        }
        sum.copied.1 += 1;
        sum.outcome.emitted.push((self.row, change));
        Ok(())
    }
}

impl HeaderEdit {
    fn slot(&mut self, occurrence: u32) -> Result<&mut Option<Header>, String> {
        let position = self.delivered.get(occurrence as usize);
        let slot = position.and_then(|position| self.all.get_mut(*position));
        slot.ok_or_else(|| format!("header {occurrence} of {} delivered", self.delivered.len()))
    }

    fn delivered(&mut self, occurrence: u32) -> Result<&mut Header, String> {
        self.slot(occurrence)?.as_mut().ok_or_else(|| format!("header {occurrence} was removed before"))
    }

    fn remove(&mut self, occurrence: u32) -> Result<(), String> {
        match self.slot(occurrence)?.take() {
            Some(_) => Ok(()),
            None => Err(format!("header {occurrence} was removed before")),
        }
    }
}

/// The effect that an operation takes, whether its bytes may be null, and whether it has bytes.
fn shape(op: u32) -> Result<(u32, bool, bool), String> {
    Ok(match op {
        0 => (effects::DROP, false, false),
        1 => (effects::KEY, true, true),
        2 => (effects::VALUE, true, true),
        3 => (effects::FIELD, true, true),
        4 => (effects::FIELD, false, true),
        5 => (effects::HEADER, true, true),
        6 => (effects::HEADER, false, false),
        7 | 8 => (effects::HEADER, false, true),
        9 => (effects::TIMESTAMP, false, true),
        10 => (effects::TOPIC, false, true),
        11 => (effects::PARTITION, false, false),
        12 => (effects::PARTITION, false, true),
        13 => (effects::REJECT, false, true),
        14 => (effects::EMIT, false, false),
        _ => return Err(format!("operation {op} does not exist")),
    })
}

fn reject(op: Op, bytes: &[u8], rules: &Rules<'_>) -> Result<Reject, String> {
    let code = rules.reject_codes.get(op.arg as usize);
    let code = code.ok_or_else(|| format!("reject code {} of {} declared", op.arg, rules.reject_codes.len()))?;
    let reason = std::str::from_utf8(bytes).map_err(|_| "a reason that is not UTF-8")?;
    Ok(Reject {
        plugin: rules.plugin.clone(),
        digest: rules.digest.clone(),
        code: code.clone(),
        text: if rules.silent { String::new() } else { clean(reason, REASON_BYTES_MAX) },
    })
}
