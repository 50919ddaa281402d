//! A guest's answers under a fuzzer: whatever the numbers are, what is accepted stays within the
//! granted effects.
//!
//! An input is: two bytes of effects, a byte of switches, and then answers. An answer is a byte
//! with its number of edits, five bytes for each of them (record, operation, argument, two of the
//! length), and as many bytes of data as they name.
#![allow(clippy::indexing_slicing, reason = "a finding ends the fuzzer or the test")]

use regex::RegexSet;
use strait_core::batch::{Batch, BatchBuilder, RecordRef, TimestampType};
use strait_core::edit::{Content, Disposition, OutRecord, Route};
use strait_core::json_path::Path;
use strait_core::offset::{LeaderEpoch, SourceOffset};
use strait_core::topic::validate_target_name;

use super::columns::{Packer, Scene};
use super::edits::{Rules, apply};
use super::plan::{Headers, Needs};
use super::slots::{CallEdits, Change, RecordSlots};
use crate::api::effects;
use crate::api::v0_2::exports::strait::plugin::transform::Edits;
use crate::fields::fuzz::Tree;
use crate::fields::{Docs, Lens};
use crate::load::Counter;

const FIELDS: [&str; 4] = ["$.a", "$.b[*]", "$.c.d", "$..e"];
const COPIES_MAX: usize = 3;
const EMIT_BYTES_MAX: usize = 64;
/// Answers of one input, each by a plugin behind the one before.
const ANSWERS_MAX: usize = 4;
/// Bytes of a message, far above the longest.
const MESSAGE_BYTES_MAX: usize = 2048;

/// The bytes of an input that are not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    /// Reads an answer. A large byte stands for a number far away.
    fn answer(&mut self) -> Option<Edits> {
        let far = |byte: u8| if byte < 0xf0 { u32::from(byte) } else { u32::MAX - u32::from(0xff - byte) };
        let count = self.byte()?;
        let (mut ops, mut bytes) = (Vec::new(), 0_usize);
        for _ in 0..count {
            let (record, op, arg) = (self.byte()?, self.byte()?, self.byte()?);
            let len = self.number()?;
            let len = if len < 0xff00 { u32::from(len) } else { u32::MAX - u32::from(0xffff - len) };
            bytes = bytes.saturating_add(if len == u32::MAX { 0 } else { len as usize });
            ops.extend([far(record), far(op), far(arg), len]);
        }
        let data = self.take(bytes.min(self.0.len()))?.to_vec();
        Some(Edits { ops, data })
    }
}

fn batch() -> Batch {
    let mut batch = BatchBuilder::new("orders".into(), 0, TimestampType::Create, LeaderEpoch::default());
    let value = br#"{ "a" : 1.50, "b":[1, {"e":"x"},"t"] ,"c":{},"z":[{"e":null}] }"#;
    batch.push(SourceOffset(10), 1_000, Some(b"k0"), Some(value));
    batch.push_header(b"x", Some(b"1"));
    batch.push_header(b"y", None);
    batch.push_header(b"x", Some(b"2"));
    batch.push(SourceOffset(11), -1, None, None);
    batch.push(SourceOffset(12), 0, Some(b""), Some(b"{"));
    batch.push(SourceOffset(13), 5, Some(b"k3"), Some(br#"{"a":{"a":"s"},"b":[],"c":{"d":[]}}"#));
    batch.push_header(b"", Some(b""));
    batch.push(SourceOffset(14), 5, Some(b"k3"), Some(br#"{"a":1,"a":2}"#));
    batch.build()
}

/// Applies answers to a batch, and checks what they have done.
///
/// # Panics
/// Where an edit that was not granted is accepted, or a bound does not hold.
pub fn edits(input: &[u8]) {
    let mut rest = Rest(input);
    let (Some(granted), Some(switches)) = (rest.number(), rest.byte()) else { return };
    let granted = u32::from(granted) & ((1 << effects::EFFECT_NAMES.len()) - 1);
    let is_on = |bit: u8| switches >> bit & 1 == 1;
    let headers = match (is_on(0), is_on(1)) {
        (true, _) => Headers::All,
        (false, true) => Headers::Named(vec![b"x".to_vec()]),
        (false, false) => Headers::None,
    };
    let lens = is_on(2).then(|| Lens::new(&FIELDS.map(str::to_owned), true, granted & effects::FIELD != 0, is_on(5)));
    let (Ok(lens), Ok(output_topics)) = (lens.transpose(), RegexSet::new(["^(?:out\\..*)$"])) else { return };
    let Ok(topics_allowed) = RegexSet::new(["^(?:[a-z.]*)$"]) else { return };
    let topics_allowed = is_on(6).then_some(&topics_allowed);
    let needs = Needs {
        columns: Vec::new(),
        headers,
        effects: granted,
        output_topics,
        value_bytes_max: None,
        lookback: None,
        lens: None,
    };
    let (silent, hides_data) = (is_on(3), is_on(4));
    let batch = batch();
    let (mut slots, mut docs) = (RecordSlots::default(), Docs::default());
    slots.reset(batch.len());
    for _ in 0..ANSWERS_MAX {
        let Some(answer) = rest.answer() else { break };
        let rows = rows(&slots);
        read(&batch, &rows, lens.as_ref(), &mut slots, &mut docs);
        let scene = Scene { needs: &needs, batch: &batch, slots: &slots, docs: &docs, lens: lens.as_ref() };
        assert!(Packer::default().pack(&scene, &rows, 10).is_ok(), "the batch was packed before");
        let mut rules = Rules {
            plugin: &"p".into(),
            digest: &"sha256:0".into(),
            copies_max: COPIES_MAX,
            emit_bytes_max: EMIT_BYTES_MAX,
            counters: &[Counter { name: "c".into(), rule: "r".into(), expected: false }],
            reject_codes: &["a".into(), "b".into()],
            silent,
            hides_data,
            topics_allowed,
            check_topic: &mut |name| match validate_target_name(name) {
                Ok(()) => Ok(name.into()),
                Err(error) => Err(error.to_string()),
            },
        };
        match apply(&answer, &rows, &scene, &mut rules) {
            Ok(edits) => {
                check(&edits, &needs, &slots, &batch, silent);
                let named = edits.changes.iter().filter_map(|(_, change)| match &change.disposition {
                    Some(Disposition::Replace(records)) => records.first()?.topic.as_ref(),
                    _ => None,
                });
                let is_allowed = |topic: &str| topics_allowed.is_none_or(|allowed| allowed.is_match(topic));
                assert!(named.into_iter().all(|topic| is_allowed(topic)), "a topic that the operator does not allow");
                slots.commit(edits);
                slots.settle();
            }
            Err(bad) => {
                assert!(bad.what.len() < MESSAGE_BYTES_MAX, "a long message: {}", bad.what);
                assert!(bad.index.is_none_or(|index| index < rows.len()), "a record that was not delivered");
            }
        }
    }
    let records: Vec<usize> = slots.drain().map(|(record, _)| record).collect();
    assert!(records.is_sorted(), "the order of the records: {records:?}");
    let is_held = |record: &usize| records.iter().filter(|other| *other == record).count() <= COPIES_MAX + 1;
    assert!(records.iter().all(is_held), "copies of one record: {records:?}");
}

/// Returns the slots that are still in the chain.
fn rows(slots: &RecordSlots) -> Vec<usize> {
    let stays = |disposition: &Option<Disposition>| matches!(disposition, None | Some(Disposition::Replace(_)));
    let all = slots.iter().enumerate();
    all.filter(|(_, slot)| stays(&slot.disposition)).map(|(row, _)| row).collect()
}

fn read(batch: &Batch, rows: &[usize], lens: Option<&Lens>, slots: &mut RecordSlots, docs: &mut Docs) {
    let Some(lens) = lens else { return };
    for row in rows {
        let Some((view, known)) = slots.view(*row, batch).zip(slots.get(*row).map(|slot| slot.doc)) else { continue };
        let doc = docs.read(known, view.value(), lens);
        if let Some(slot) = slots.get_mut(*row) {
            slot.doc = doc;
        }
    }
}

fn check(edits: &CallEdits, needs: &Needs, slots: &RecordSlots, batch: &Batch, silent: bool) {
    let granted = |effect: u32| needs.effects & effect != 0;
    assert!(edits.emitted.is_empty() || granted(effects::EMIT), "a copy");
    let mut copied_bytes = 0;
    for (row, change) in &edits.emitted {
        check_change(change, *row, needs, slots, batch);
        if let Some(Disposition::Replace(records)) = &change.disposition {
            copied_bytes += records.iter().map(OutRecord::owned_bytes).sum::<usize>();
        }
        let is_end = matches!(change.disposition, Some(Disposition::Drop | Disposition::Reject(_)));
        assert!(!is_end, "a copy that is dropped or rejected");
    }
    assert!(copied_bytes <= EMIT_BYTES_MAX, "copies of {copied_bytes} bytes");
    for (row, change) in &edits.changes {
        check_change(change, *row, needs, slots, batch);
        if let Some(Disposition::Reject(reject)) = &change.disposition {
            assert!(reject.text.len() < MESSAGE_BYTES_MAX);
            // The host's own for what a place cannot hold.
            if !reject.code.starts_with("edit-") {
                assert!(matches!(&*reject.code, "a" | "b") && granted(effects::REJECT), "a reject");
                assert!(!silent || reject.text.is_empty(), "the text of a guest that is withheld");
            }
        }
    }
}

fn check_change(change: &Change, row: usize, needs: &Needs, slots: &RecordSlots, batch: &Batch) {
    let granted = |effect: u32| needs.effects & effect != 0;
    match &change.disposition {
        None => {}
        Some(Disposition::Drop) => assert!(granted(effects::DROP), "a drop"),
        Some(Disposition::Reject(_)) => {
            let effects = effects::REJECT | effects::TIMESTAMP | effects::TOPIC | effects::PARTITION;
            assert!(granted(effects), "a reject");
        }
        Some(Disposition::Halt(_)) => assert_eq!(row, usize::MAX, "an edit cannot stop a partition"),
        Some(Disposition::Replace(records)) => {
            assert_eq!(records.len(), 1, "copies have slots of their own");
            let original = slots.get(row).and_then(|slot| batch.get(slot.record));
            for (record, original) in records.iter().zip(original) {
                check_record(record, original, needs);
            }
        }
    }
}

fn check_record(record: &OutRecord, original: RecordRef<'_>, needs: &Needs) {
    let granted = |effect: u32| needs.effects & effect != 0;
    assert!(record.key == Content::Original || granted(effects::KEY), "a key");
    if record.value != Content::Original && !granted(effects::VALUE) {
        assert!(granted(effects::FIELD), "a value");
        check_fields(record.value.resolve(original.value), original.value);
    }
    assert!(record.timestamp_ms.is_none_or(|ms| ms >= 0 && granted(effects::TIMESTAMP)), "a timestamp");
    if let Some(topic) = &record.topic {
        assert!(granted(effects::TOPIC) && topic.starts_with("out.") && topic.len() <= 249, "the topic {topic}");
    }
    match record.route {
        Route::Keep => {}
        Route::ByKey => assert!(granted(effects::TOPIC), "a route by key"),
        Route::Partition(partition) => assert!(granted(effects::PARTITION) && partition >= 0, "a partition"),
        Route::Hash(_) => assert!(granted(effects::PARTITION), "a hash"),
    }
    let Some(headers) = &record.headers else { return };
    assert!(granted(effects::HEADER), "headers");
    // Headers that are not delivered stay, in their order and before any that are appended.
    let hidden = original.headers.iter().filter(|header| !needs.headers.delivers(header.name));
    let hidden = hidden.map(|header| (header.name.to_vec(), header.value.map(<[u8]>::to_vec)));
    let mut left = headers.iter();
    for header in hidden {
        assert!(left.any(|other| *other == header), "a header that was not delivered is gone");
    }
}

/// Edits of fields change nothing but what the fields name.
fn check_fields(edited: Option<&[u8]>, original: Option<&[u8]>) {
    let paths: Vec<Path> = FIELDS.iter().filter_map(|field| Path::parse(field).ok()).collect();
    let without_fields = |value: Option<&[u8]>| Some(Tree::read(value?)?.without(&paths));
    let (edited, original) = (without_fields(edited), without_fields(original));
    assert!(original.is_some() && edited == original, "{edited:?} of {original:?}");
}
