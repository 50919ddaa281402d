//! Checks what a plugin answered and lays it over the batch. Nothing is taken on trust: every number is a guest's.

use std::{mem, sync::Arc};

use strait_core::{
    batch::Batch,
    edit::{Content, Reject},
    offset::SourceOffset,
};

use crate::{
    api::v0_1::exports::strait::plugin::transform::Edits,
    patch::{Fate, Header, Patch, PatchRoute, View},
    plan::{self, Needs},
    text::clean,
};

/// The length that stands for null.
const NULL: u32 = u32::MAX;
/// Bytes of a reason that go into quarantine headers.
const REASON_BYTES_MAX: usize = 512;

/// An answer that breaks the interface's rules.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadEdits {
    /// Offset of the record that the edit names, if it names one.
    pub(crate) offset: Option<SourceOffset>,
    pub(crate) what: String,
}

/// What the edits of one call are checked against.
pub(crate) struct Rules<'a> {
    pub(crate) plugin: &'a Arc<str>,
    pub(crate) digest: &'a Arc<str>,
    pub(crate) needs: &'a Needs,
    pub(crate) reject_codes: &'a [Arc<str>],
    /// Leave the guest's own words out.
    pub(crate) silent: bool,
    /// Whether a topic's final name is allowed; `Err` says why not.
    pub(crate) check_topic: &'a mut dyn FnMut(&str) -> Result<Arc<str>, String>,
}

/// An edit, without the record that it names.
#[derive(Clone, Copy)]
struct Op {
    op: u32,
    arg: u32,
    len: u32,
}

/// The record being edited.
struct Current {
    row: usize,
    patch: Box<Patch>,
    headers: Option<HeaderEdit>,
    /// A drop or reject, after which nothing may follow.
    end: Option<Fate>,
    routed: bool,
}

/// The headers of a record under edit. Positions of those delivered stay valid while others are removed.
struct HeaderEdit {
    all: Vec<Option<Header>>,
    delivered: Vec<usize>,
}

/// Lays the edits over the records at `rows`, in the order in which they were delivered.
pub(crate) fn apply(
    edits: &Edits,
    rows: &[usize],
    batch: &Batch,
    fates: &mut [Fate],
    rules: &mut Rules<'_>,
) -> Result<(), BadEdits> {
    let mut current: Option<(u32, Current)> = None;
    let mut data = edits.data.as_slice();
    let (ops, rest) = edits.ops.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(bad(None, format!("ops holds {} numbers, not four per edit", edits.ops.len())));
    }
    for (index, [record, op, arg, len]) in ops.iter().copied().enumerate() {
        let op = Op { op, arg, len };
        let row = rows.get(record as usize).copied();
        let Some((row, original)) = row.and_then(|row| Some((row, batch.get(row)?))) else {
            return Err(bad(None, format!("edit {index} names record {record} of {}", rows.len())));
        };
        let fail = |what: String| bad(Some(original.offset), format!("edit {index}: {what}"));

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
                if let Some((_, done)) = other {
                    done.settle(fates);
                }
                Current::new(row, fates)
            }
        };
        editing.edit(op, bytes, batch, rules).map_err(fail)?;
        current = Some((record, editing));
    }
    if let Some((_, done)) = current {
        done.settle(fates);
    }
    if !data.is_empty() {
        return Err(bad(None, format!("{} bytes belong to no edit", data.len())));
    }
    Ok(())
}

fn bad(offset: Option<SourceOffset>, what: String) -> BadEdits {
    BadEdits { offset, what }
}

impl Current {
    fn new(row: usize, fates: &mut [Fate]) -> Self {
        let patch = match fates.get_mut(row).map(mem::take) {
            Some(Fate::Change(patch)) => patch,
            _ => Box::default(),
        };
        Self { row, patch, headers: None, end: None, routed: false }
    }

    fn settle(mut self, fates: &mut [Fate]) {
        let Some(fate) = fates.get_mut(self.row) else {
            return;
        };
        if let Some(end) = self.end {
            *fate = end;
            return;
        }
        if let Some(headers) = self.headers {
            self.patch.headers = Some(headers.all.into_iter().flatten().collect());
        }
        *fate = Fate::Change(self.patch);
    }

    fn edit(&mut self, op: Op, bytes: &[u8], batch: &Batch, rules: &mut Rules<'_>) -> Result<(), String> {
        if self.end.is_some() {
            return Err("it follows a drop or reject of the same record".into());
        }
        let (effect, nullable, sized) = shape(op.op)?;
        if rules.needs.effects & effect == 0 {
            let name = plan::effect_names(effect).join("");
            return Err(format!("the effect '{name}' is not among those the plugin asked for on this topic"));
        }
        if op.len == NULL && !nullable {
            return Err(format!("operation {} takes no null", op.op));
        }
        if !sized && op.len != 0 {
            return Err(format!("operation {} takes no bytes", op.op));
        }
        if op.arg != 0 && !matches!(op.op, 5 | 6 | 7 | 11 | 13) {
            return Err(format!("operation {} takes no argument", op.op));
        }
        let content = || if op.len == NULL { None } else { Some(bytes.to_vec()) };
        match op.op {
            0 => self.end = Some(Fate::Drop),
            1 => self.patch.key = content().map_or(Content::Null, Content::Bytes),
            2 => self.patch.value = content().map_or(Content::Null, Content::Bytes),
            5 => self.headers(batch, rules.needs).delivered(op.arg)?.1 = content(),
            6 => self.headers(batch, rules.needs).remove(op.arg)?,
            7 => {
                let Some((name, value)) = bytes.split_at_checked(op.arg as usize) else {
                    return Err(format!("a name of {} bytes does not fit in {}", op.arg, bytes.len()));
                };
                let header = (name.to_vec(), Some(value.to_vec()));
                self.headers(batch, rules.needs).all.push(Some(header));
            }
            8 => self.headers(batch, rules.needs).all.push(Some((bytes.to_vec(), None))),
            9 => {
                let timestamp_ms = bytes.try_into().map(i64::from_le_bytes).map_err(|_| "a timestamp has 8 bytes")?;
                if timestamp_ms < 0 {
                    return Err(format!("{timestamp_ms} is not a timestamp"));
                }
                self.patch.timestamp_ms = Some(timestamp_ms);
            }
            10 => self.set_topic(bytes, rules)?,
            11 => {
                let partition = i32::try_from(op.arg).map_err(|_| format!("{} is not a partition", op.arg))?;
                self.route(PatchRoute::Partition(partition));
            }
            12 => self.route(PatchRoute::Hash(bytes.to_vec())),
            _ => self.end = Some(Fate::Reject(Box::new(reject(op, bytes, rules)?))),
        }
        Ok(())
    }

    fn route(&mut self, route: PatchRoute) {
        self.patch.route = route;
        self.routed = true;
    }

    fn set_topic(&mut self, bytes: &[u8], rules: &mut Rules<'_>) -> Result<(), String> {
        let name = std::str::from_utf8(bytes).map_err(|_| "a topic name that is not UTF-8")?;
        let refuse = |why: String| if rules.silent { "a topic that is not allowed".into() } else { why };
        if !rules.needs.output_topics.is_match(name) {
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

    fn headers(&mut self, batch: &Batch, needs: &Needs) -> &mut HeaderEdit {
        let (row, patch) = (self.row, &self.patch);
        self.headers.get_or_insert_with(|| {
            let mut edit = HeaderEdit { all: Vec::new(), delivered: Vec::new() };
            let Some(record) = batch.get(row) else {
                return edit;
            };
            let view = View { record, patch: Some(patch) };
            view.each_header(|header| {
                if needs.headers.delivers(header.name) {
                    edit.delivered.push(edit.all.len());
                }
                edit.all.push(Some((header.name.to_vec(), header.value.map(<[u8]>::to_vec))));
            });
            edit
        })
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
        0 => (plan::DROP, false, false),
        1 => (plan::KEY, true, true),
        2 => (plan::VALUE, true, true),
        5 => (plan::HEADER, true, true),
        6 => (plan::HEADER, false, false),
        7 | 8 => (plan::HEADER, false, true),
        9 => (plan::TIMESTAMP, false, true),
        10 => (plan::TOPIC, false, true),
        11 => (plan::PARTITION, false, false),
        12 => (plan::PARTITION, false, true),
        13 => (plan::REJECT, false, true),
        3 | 4 => return Err(format!("operation {op} edits fields, which this version of Strait does not do yet")),
        14 => return Err("operation 14 emits, which this version of Strait does not do yet".into()),
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
