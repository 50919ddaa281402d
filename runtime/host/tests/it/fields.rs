//! Fields of JSON values, copies and required plugins, from both sides of the interface.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::json;
use strait_core::edit::{Content, Disposition, OutRecord, Processed};
use strait_flow::ports::{Chain, ChainError, ChainFactory};
use strait_host::{ChainSpec, HostChains, HostEngine, HostOptions, LinkInfo, TopicNaming};

use crate::support::guest::{Guest, Process};
use crate::support::world::World;
use crate::support::{Row, batch, bundled, fates, file, load, load_bytes};

const NULL: u32 = u32::MAX;
const DOCUMENT: &[u8] = br#"{ "email" : "a@b", "id":7,"list":[{"ssn":1},{"ssn" : "2"}] }"#;

fn run(plugins: &[&Guest], rows: &[Row<'_>]) -> Result<Processed, ChainError> {
    let plugins = plugins.iter().map(|guest| file(&guest.wasm(), |_| {})).collect();
    load(plugins, TopicNaming::Identity).unwrap().chain().unwrap().apply(batch(rows), 6)
}

pub fn value(record: &OutRecord) -> String {
    match &record.value {
        Content::Bytes(bytes) => String::from_utf8(bytes.clone()).unwrap(),
        other => format!("{other:?}"),
    }
}

pub fn copies(processed: &Processed, index: usize) -> &[OutRecord] {
    match processed.dispositions.iter().find(|(i, _)| *i == index) {
        Some((_, Disposition::Replace(records))) => records,
        other => panic!("record {index}: {other:?}"),
    }
}

fn code(processed: &Processed, index: usize) -> &str {
    match processed.dispositions.iter().find(|(i, _)| *i == index) {
        Some((_, Disposition::Reject(reject))) => &reject.code,
        other => panic!("record {index}: {other:?}"),
    }
}

/// Returns why the only record was refused: its plugin broke on it.
fn refusal(processed: &Processed) -> String {
    match processed.dispositions.as_slice() {
        [(0, Disposition::Reject(reject))] if &*reject.code == "plugin-bad-edits" => reject.text.clone(),
        other => panic!("{other:?}"),
    }
}

pub fn values<'a>(values: &[Option<&'a [u8]>]) -> Vec<Row<'a>> {
    values.iter().map(|value| (None, *value, &[][..])).collect()
}

fn numbers(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

fn edits(ops: &[[u32; 4]], data: &[u8]) -> Process {
    Process::Edits(ops.concat(), data.to_vec())
}

#[test]
fn columns_of_fields_have_their_documented_layout() {
    // The echo guest returns its input: the directory as the key, the data as the value.
    let guest = Guest {
        columns: vec![7, 8, 9, 10, 11, 18],
        fields: vec!["$.email", "$..ssn", "$.list[1]"],
        process: Process::Echo,
        ..Guest::default()
    };
    let rows = values(&[
        Some(DOCUMENT),
        None,
        Some(b""),
        Some(b"{"),
        Some(b"\xff"),
        Some(b"{}{}"),
        Some(br#"{"\u0065mail":1,"email":2}"#),
        Some(&[b'['; 200]),
        Some(br#"{"email":1.50}"#),
    ]);
    let processed = run(&[&guest], &rows).unwrap();
    let record = &copies(&processed, 0)[0];
    let (Content::Bytes(directory), Content::Bytes(data)) = (&record.key, &record.value) else { panic!() };
    let directory: Vec<usize> =
        directory.chunks_exact(4).map(|n| u32::from_le_bytes(n.try_into().unwrap()) as usize).collect();
    let column = |number: usize| {
        let entry = directory.chunks_exact(3).find(|entry| entry[0] == number).unwrap();
        assert_eq!(entry[1] % 8, 0);
        &data[entry[1]..entry[1] + entry[2]]
    };
    assert_eq!(column(7), [0, 1, 2, 3, 4, 5, 6, 7, 0]);
    let mut counts = vec![0; 27];
    (counts[0], counts[1], counts[2], counts[24]) = (1, 2, 1, 1);
    assert_eq!(column(8), numbers(&counts));
    assert_eq!(column(9), numbers(&[5, 1, 3, 13, 4]));
    assert_eq!(column(10), br#""a@b"1"2"{"ssn" : "2"}1.50"#);
    let pointers = ["/email", "/list/0/ssn", "/list/1/ssn", "/list/1", "/email"];
    let lengths: Vec<u32> = pointers.iter().map(|p| p.len() as u32).collect();
    assert_eq!(column(11), [numbers(&lengths), pointers.concat().into_bytes()].concat());
    assert_eq!(column(18), numbers(&[0; 9]));
}

#[test]
fn edits_of_fields_leave_the_other_bytes_unchanged() {
    let guest = Guest {
        columns: vec![8],
        fields: vec!["$.email", "$..ssn", "$.added"],
        process: edits(
            &[[0, 3, 0, 4], [0, 3, 1, NULL], [0, 4, 2, 2], [0, 1, 0, 1], [1, 3, 0, NULL], [2, 4, 2, 1]],
            b"null[]K1",
        ),
        ..Guest::default()
    };
    let rows = values(&[Some(DOCUMENT), Some(br#"{"email":1}"#), Some(b"{}"), Some(DOCUMENT), None]);
    let processed = run(&[&guest], &rows).unwrap();
    assert_eq!(value(&copies(&processed, 0)[0]), r#"{ "email" : null, "id":7,"list":[{},{"ssn" : "2"}],"added":[] }"#);
    assert_eq!(copies(&processed, 0)[0].key, Content::Bytes(b"K".to_vec()));
    assert_eq!(
        (value(&copies(&processed, 1)[0]), value(&copies(&processed, 2)[0])),
        ("{}".into(), r#"{"added":1}"#.into())
    );
    assert_eq!(fates(&processed), (vec![], vec![], vec![0, 1, 2]), "the others keep their bytes");
}

#[test]
fn a_later_plugin_sees_the_edited_document_and_its_own_fields_only() {
    let first = Guest {
        columns: vec![7],
        fields: vec!["$.email", "$.id"],
        process: edits(&[[0, 3, 1, NULL]], b""),
        ..Guest::default()
    };
    let second = Guest {
        columns: vec![7, 10],
        fields: vec!["$.list[0]", "$.id"],
        process: edits(&[[0, 3, 0, 3], [1, 3, 0, 1]], b"7001"),
        ..Guest::default()
    };
    let rows = values(&[Some(DOCUMENT), Some(br#"{"id":[ ],"email":0,"email":0}"#)]);
    let processed = run(&[&first, &second], &rows).unwrap();
    assert_eq!(value(&copies(&processed, 0)[0]), r#"{ "email" : "a@b","list":[700,{"ssn" : "2"}] }"#);
    // A duplicate name on the first plugin's path does not matter to the second.
    assert_eq!(value(&copies(&processed, 1)[0]), r#"{"id":1,"email":0,"email":0}"#);
    // The second does not see what the first removed.
    let rows = values(&[Some(br#"{"email":1,"id":2}"#)]);
    let error = refusal(&run(&[&first, &second], &rows).unwrap());
    assert!(error.contains("occurrence 0 of 0 delivered"), "{error}");
}

#[test]
fn a_record_that_no_plugin_edits_keeps_its_bytes() {
    // The first reads fields and edits record 1, the second sets a header of record 2; both see all
    // records.
    let first = Guest {
        columns: vec![5, 6, 7, 8, 9, 10],
        fields: vec!["$.email"],
        process: edits(&[[1, 3, 0, 1]], b"1"),
        ..Guest::default()
    };
    let second = Guest { columns: vec![3, 4, 5, 6], process: edits(&[[2, 7, 1, 2]], b"hx"), ..Guest::default() };
    let plugins = vec![file(&first.wasm(), |_| {}), file(&second.wasm(), |_| {})];
    let chains = load(plugins, TopicNaming::Identity).unwrap();
    let batch = batch(&values(&[Some(DOCUMENT); 4]));
    let before: Vec<*const u8> = batch.iter().map(|record| record.value.unwrap().as_ptr()).collect();
    let processed = chains.chain().unwrap().apply(batch, 6).unwrap();
    let after: Vec<*const u8> = processed.batch.iter().map(|record| record.value.unwrap().as_ptr()).collect();
    assert_eq!((before, fates(&processed)), (after, (vec![], vec![], vec![1, 2])));
    assert_eq!(copies(&processed, 2)[0].value, Content::Original);
    assert_eq!(copies(&processed, 1)[0].headers, None);
}

#[test]
fn a_record_with_an_invalid_field_edit_is_refused() {
    const LIST: &[u8] = b"[]";
    type Case = (&'static [u8], &'static [[u32; 4]], &'static [u8], &'static str);
    let cases: Vec<Case> = vec![
        (DOCUMENT, &[[0, 3, 5, NULL]], b"", "occurrence 5 of 5"),
        (DOCUMENT, &[[0, 3, NULL, NULL]], b"", "occurrence 4294967295 of 5"),
        (LIST, &[[0, 3, 0, NULL]], b"", "occurrence 0 of 0"),
        (DOCUMENT, &[[0, 3, 0, 3]], b"1,2", "not one JSON value"),
        (DOCUMENT, &[[0, 3, 0, 0]], b"", "not one JSON value"),
        (DOCUMENT, &[[0, 3, 3, NULL], [0, 3, 1, 1]], b"1", "lies inside"),
        (DOCUMENT, &[[0, 3, 0, NULL], [0, 2, 0, NULL]], b"", "sets the value after a field"),
        (DOCUMENT, &[[0, 2, 0, NULL], [0, 3, 0, NULL]], b"", "edits a field after the whole value"),
        (DOCUMENT, &[[0, 4, 2, 1]], b"1", "must end in a name"),
        (DOCUMENT, &[[0, 4, 0, 1]], b"1", "is there already"),
        (DOCUMENT, &[[0, 4, 9, 1]], b"1", "field 9 of 4"),
        (LIST, &[[0, 4, 0, 1]], b"1", "no object"),
        (DOCUMENT, &[[0, 4, 3, NULL]], b"", "takes no null"),
    ];
    for (value, ops, data, expected) in cases {
        let guest = Guest {
            columns: vec![7],
            fields: vec!["$.email", "$..ssn", "$.list[*]", "$.new.x"],
            process: edits(ops, data),
            ..Guest::default()
        };
        let error = refusal(&run(&[&guest], &values(&[Some(value)])).unwrap());
        assert!(error.contains(expected) && error.contains("at offset 100"), "{ops:?}: {error}");
    }
}

#[test]
fn a_value_that_a_required_plugin_cannot_judge_never_reaches_it() {
    let rows = values(&[
        Some(DOCUMENT),
        None,
        Some(b""),
        Some(b"{"),
        Some(b"\xff"),
        Some(b"\xef\xbb\xbf{}"),
        Some(br#"{"email":1,"em\u0061il":2}"#),
        Some(&[b'['; 200]),
    ]);
    // Drops the second record that it sees.
    let mut guest = Guest {
        columns: vec![7],
        fields: vec!["$.email"],
        fails_closed: true,
        process: edits(&[[1, 0, 0, 0]], b""),
        ..Guest::default()
    };
    let processed = run(&[&guest], &rows).unwrap();
    assert_eq!(fates(&processed), (vec![1], vec![2, 3, 4, 5, 6, 7], vec![]));
    let codes: Vec<&str> = (2..8).map(|index| code(&processed, index)).collect();
    assert_eq!(
        codes,
        [
            "value-empty",
            "value-not-json",
            "value-not-utf8",
            "value-bom-or-trailing",
            "value-name-twice",
            "value-too-deep-or-large"
        ]
    );
    // The same if the operator requires it; otherwise the plugin sees them all.
    guest.fails_closed = false;
    let required = load_bytes(&guest.wasm(), |spec| spec.required = true).unwrap();
    assert_eq!(fates(&required.chain().unwrap().apply(batch(&rows), 6).unwrap()).1.len(), 6);
    assert_eq!(fates(&run(&[&guest], &rows).unwrap()), (vec![1], vec![], vec![]));
    // A required plugin that reads no fields judges any value.
    let guest = Guest { fails_closed: true, columns: vec![7], ..Guest::default() };
    assert_eq!(fates(&run(&[&guest], &rows).unwrap()), (vec![], vec![], vec![]));
}

#[test]
fn a_value_of_another_shape_never_reaches_a_required_plugin() {
    let rows = values(&[
        Some(br#"{"customer":{"email":"a@b"}}"#),
        Some(br#"{"customer":null}"#),
        Some(b"{}"),
        Some(br#"{"customer":[{"email":"eve@x.org"}]}"#),
        Some(br#"{"customer":"eve@x.org"}"#),
        Some(br#""eve@x.org""#),
        Some(br#"[{"customer":{"email":"eve@x.org"}}]"#),
    ]);
    let is_refused = |processed: &Processed| {
        let refused = fates(processed).1;
        assert!(refused.iter().all(|index| code(processed, *index) == "value-wrong-shape"), "{processed:?}");
        refused
    };
    // In a language that knows no such state.
    let mut guest =
        Guest { columns: vec![7, 8, 9, 10], fields: vec!["$.customer.email"], fails_closed: true, ..Guest::default() };
    assert_eq!(is_refused(&run(&[&guest], &rows).unwrap()), [3, 4, 5, 6]);
    guest.fails_closed = false;
    assert_eq!(is_refused(&run(&[&guest], &rows).unwrap()), [0; 0], "the field is missing, as before");
    for (shapes, refused) in [("strict", &[3, 4, 5, 6][..]), ("lenient", &[])] {
        let config = json!({ "rules": [{ "fields": ["$.customer.email"], "with": "remove" }], "shapes": shapes });
        let chains = load(vec![bundled("redact", config)], TopicNaming::Identity).unwrap();
        assert_eq!(is_refused(&chains.chain().unwrap().apply(batch(&rows), 6).unwrap()), refused, "{shapes}");
    }
    // A filter in front of it takes the field to be missing; the redactor is asked all the same.
    let filter = bundled("filter", json!({ "keep": "value.customer.email == null" }));
    let redact = bundled("redact", json!({ "rules": [{ "fields": ["$.customer.email"], "with": "remove" }] }));
    let chains = load(vec![filter, redact], TopicNaming::Identity).unwrap();
    let processed = chains.chain().unwrap().apply(batch(&rows), 6).unwrap();
    assert_eq!((is_refused(&processed), fates(&processed).0), (vec![3, 4, 5, 6], vec![0]));
}

#[test]
fn copies_go_through_the_rest_of_the_chain_one_by_one() {
    // Of record 1: a copy to t1, a copy with another value, and the record itself with a change.
    let first = Guest {
        output_topics: vec!["t.*"],
        process: edits(
            &[[1, 10, 0, 2], [1, 14, 0, 0], [1, 2, 0, 3], [1, 14, 0, 0], [1, 7, 1, 2], [2, 14, 0, 0], [2, 0, 0, 0]],
            b"t1newhx",
        ),
        ..Guest::default()
    };
    let rows = values(&[Some(b"v0"), Some(b"v1"), Some(b"v2"), Some(b"v3")]);
    let processed = run(&[&first], &rows).unwrap();
    let [routed, set, rest] = copies(&processed, 1) else { panic!("{processed:?}") };
    assert_eq!((routed.topic.as_deref(), &routed.value, &routed.headers), (Some("t1"), &Content::Original, &None));
    assert_eq!((set.topic.as_deref(), value(set), &set.headers), (None, "new".into(), &None));
    assert_eq!((&rest.value, rest.headers.as_ref().unwrap().len()), (&Content::Original, 1));
    assert_eq!(copies(&processed, 2), [OutRecord::default()], "the copy stays though the record is dropped");
    assert_eq!(fates(&processed), (vec![], vec![], vec![1, 2]));

    // The second sees 0, the copy with a value, 1, the copy of 2, 3; and the routed copy in a
    // separate call.
    let second = |ops: &[[u32; 4]], data: &[u8]| Guest {
        columns: vec![1, 5, 6],
        in_process: "(call $count (i32.const 0) (i64.extend_i32_u (local.get $count)))".into(),
        process: edits(ops, data),
        ..Guest::default()
    };
    let processed = run(&[&first, &second(&[[0, 2, 0, 3]], b"2nd")], &rows).unwrap();
    let all: Vec<String> = copies(&processed, 1).iter().map(value).collect();
    assert_eq!(all, ["2nd", "new", "Original"], "the first record of both calls");
    assert_eq!(value(&copies(&processed, 0)[0]), "2nd");

    // One copy is refused: no part of the record goes out or goes on.
    let copying = Guest { process: edits(&[[1, 2, 0, 3], [1, 14, 0, 0], [1, 14, 0, 0]], b"new"), ..Guest::default() };
    let plugins = [&copying, &second(&[[1, 0, 0, 0], [2, 13, 0, 3]], b"why"), &second(&[], b"")];
    let plugins = plugins.map(|guest| file(&guest.wasm(), |_| {})).into();
    let chains = load(plugins, TopicNaming::Identity).unwrap();
    let processed = chains.chain().unwrap().apply(batch(&rows), 6).unwrap();
    assert_eq!(fates(&processed), (vec![], vec![1], vec![]));
    let counts: Vec<u64> = chains.counters().iter().map(|c| c.value).collect();
    assert_eq!(counts, [0, 6, 3], "three of record 1, then none");
    // Also in the answer that emitted it.
    let undecided = Guest { process: edits(&[[1, 14, 0, 0], [1, 13, 0, 0]], b""), ..Guest::default() };
    assert_eq!(fates(&run(&[&undecided], &rows).unwrap()), (vec![], vec![1], vec![]));
}

#[test]
fn copies_are_bounded_over_the_whole_chain() {
    let rows = values(&[Some(b"{}")]);
    let copying = |times: usize| Guest { process: edits(&vec![[0, 14, 0, 0]; times], b""), ..Guest::default() };
    assert_eq!(copies(&run(&[&copying(100)], &rows).unwrap(), 0).len(), 101);
    assert_eq!(copies(&run(&[&copying(40), &copying(60)], &rows).unwrap(), 0).len(), 101);
    let error = refusal(&run(&[&copying(50), &copying(51)], &rows).unwrap());
    assert!(error.contains("more than 100 copies"), "{error}");
    let large = vec![b'x'; 1 << 20];
    let heavy = Guest { process: edits(&[[0, 2, 0, 1 << 20], [0, 14, 0, 0]], &large), ..Guest::default() };
    let bytes = heavy.wasm();
    let chains = load_bytes(&bytes, |spec| spec.limits.emit_bytes_max = 1 << 19).unwrap();
    let error = refusal(&chains.chain().unwrap().apply(batch(&rows), 6).unwrap());
    assert!(error.contains("emit_bytes_max"), "{error}");
}

#[test]
fn a_plugin_written_from_the_interface_alone_works() {
    let wasm = wat::parse_str(include_str!("support/fields.wat")).unwrap();
    let chains = load_bytes(&wasm, |_| {}).unwrap();
    let rows: [Row<'_>; 4] = [
        (None, Some(DOCUMENT), &[(b"h", None)]),
        (None, Some(b"{ not json"), &[]),
        (None, None, &[]),
        (None, Some(br#"{"id":7}"#), &[]),
    ];
    let processed = chains.chain().unwrap().apply(batch(&rows), 6).unwrap();
    assert_eq!(fates(&processed), (vec![], vec![1], vec![0]));
    let [masked, removed] = copies(&processed, 0) else { panic!("{processed:?}") };
    assert_eq!(value(masked), r#"{ "email" : "***", "id":7,"list":[{"ssn":"***"},{"ssn" : "***"}] }"#);
    let headers = masked.headers.as_ref().unwrap();
    assert_eq!(headers[..], [(b"h".to_vec(), None), (b"masked".to_vec(), Some(b"3".to_vec()))]);
    assert_eq!((value(removed), &removed.headers), (r#"{ "id":7,"list":[{},{}] }"#.into(), &None));
    assert_eq!(code(&processed, 1), "not-judged");
}

/// Edits and their bytes.
type Answer = (Vec<[u32; 4]>, Vec<u8>);

/// Edits with numbers that are often valid, sometimes slightly and sometimes completely invalid.
fn hostile_edits() -> impl Strategy<Value = Answer> {
    let number = || prop_oneof![8 => 0..4_u32, 1 => 4..20_u32, 1 => any::<u32>(), 1 => Just(NULL)];
    let op = prop_oneof![12 => 0..15_u32, 1 => any::<u32>()];
    let bytes = prop::sample::select(vec![
        &b""[..],
        b"1",
        b"null",
        b"[]",
        b"{\"a\":1}",
        b"t1",
        b"tt",
        b"__x",
        b"x\xff",
        b"1,2",
        b"12345678",
        b"long enough for a header",
    ]);
    let edit = (1..6_u32, op, number(), prop::option::weighted(0.9, bytes), prop::bool::weighted(0.03));
    (prop::collection::vec(edit, 0..6), prop::bool::weighted(0.05)).prop_map(|(mut edits, disorder)| {
        if !disorder {
            edits.sort_by_key(|edit| edit.0);
        }
        let (mut ops, mut data) = (vec![[0, 0, 0, 0]], Vec::new());
        for (record, op, arg, bytes, lies) in edits {
            let bytes = if matches!(op, 0 | 6 | 11 | 14) { Some(&b""[..]) } else { bytes };
            let arg = if matches!(op, 3..=7 | 11 | 13) { arg } else { 0 };
            let len = bytes.map_or(NULL, |b| b.len() as u32 + u32::from(lies));
            data.extend_from_slice(bytes.unwrap_or_default());
            ops.push([record, op, arg, len]);
        }
        (ops, data)
    })
}

#[test]
fn whatever_a_plugin_answers_is_an_edit_or_an_error() {
    let puppet = |columns: Vec<u32>, fields: Vec<&'static str>| Guest {
        columns,
        fields,
        all_headers: true,
        topic_effects: 0x3ff,
        output_topics: vec!["t.*"],
        process: Process::Puppet,
        ..Guest::default()
    };
    let one = puppet(vec![4, 7, 8, 9, 10, 11, 12], vec!["$.email", "$.list", "$..a", "$.a.x"]);
    let two = puppet(vec![4, 8, 10, 11, 6], vec!["$.list[*].ssn", "$.email", "$.y"]);
    let clock = Arc::new(World::default());
    let engine = HostEngine::with(HostOptions { clock: clock.clock(), ..HostOptions::default() }).unwrap();
    let plugins = vec![file(&one.wasm(), |_| {}), file(&two.wasm(), |_| {})];
    let spec = ChainSpec { plugins, link: LinkInfo::default(), naming: TopicNaming::Identity };
    let chains = HostChains::load(&engine, spec).unwrap();
    let chain = RefCell::new(chains.chain().unwrap());
    let accepted = Cell::new(0);
    let mut runner = TestRunner::new(ProptestConfig::with_cases(3_000));
    let tried = runner.run(&(hostile_edits(), hostile_edits()), |(first, second)| {
        // Long enough for a breaker to start a new window.
        clock.pass(Duration::from_secs(1_000));
        accepted.set(accepted.get() + u32::from(judge(&mut **chain.borrow_mut(), &first, &second)?));
        Ok(())
    });
    tried.unwrap();
    let accepted = accepted.get();
    assert!(accepted > 150, "{accepted} of 3000 accepted: the cases are too wild to say anything");
}

/// Returns whether the chain accepted the edits of both plugins.
fn judge(chain: &mut dyn Chain, first: &Answer, second: &Answer) -> Result<bool, TestCaseError> {
    let key = |(ops, data): &Answer| {
        let ops = ops.concat();
        [numbers(&[ops.len() as u32, data.len() as u32]), numbers(&ops), data.clone()].concat()
    };
    let headers: [(&[u8], Option<&[u8]>); 3] = [(b"a", None), (b"b", Some(b"1")), (b"a", Some(b""))];
    let (first_key, second_key) = (key(first), key(second));
    // The first plugin obeys the key of record 0 and drops that record; the second one then obeys
    // the key of record 1.
    let rows: [Row<'_>; 6] = [
        (Some(&first_key), Some(b"{}"), &[]),
        (Some(&second_key), Some(DOCUMENT), &headers),
        (Some(b"k"), Some(br#"{"a":{"b":[1,{"a":2}]},"email":3}"#), &headers[..1]),
        (None, None, &[]),
        (Some(b""), Some(b"not json"), &[]),
        (Some(b"k"), Some(br#"{"email":1,"email":2,"list":[]}"#), &headers),
    ];
    let processed = chain.apply(batch(&rows), 6).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let mut is_accepted = true;
    prop_assert!(processed.dispositions.is_sorted_by(|a, b| a.0 < b.0));
    let sets_value = first.0.iter().chain(&second.0).any(|[_, op, ..]| *op == 2);
    for (index, disposition) in &processed.dispositions {
        prop_assert!(*index < rows.len());
        let records = match disposition {
            Disposition::Replace(records) => records,
            Disposition::Reject(reject) => {
                is_accepted &= !reject.code.starts_with("plugin-");
                continue;
            }
            _ => continue,
        };
        prop_assert!(!records.is_empty() && records.len() <= 101);
        for record in records {
            prop_assert!(record.topic.as_deref().is_none_or(|topic| topic.starts_with('t')));
            // A document stays valid, unless the whole value was set to something else.
            if let (Content::Bytes(bytes), false) = (&record.value, sets_value) {
                prop_assert!(serde_json::from_slice::<serde_json::Value>(bytes).is_ok(), "{:?}", record);
            }
        }
    }
    Ok(is_accepted)
}
