//! The layout of columns and edits, with a guest written by hand.

use std::collections::BTreeMap;

use strait_core::edit::{Content, Disposition, OutRecord, Processed, Route};
use strait_flow::ports::ChainFactory;
use strait_host::TopicNaming;

use crate::support::guest::{Guest, Process};
use crate::support::{Row, batch, fates, file, load, load_bytes};

fn run(guest: &Guest, rows: &[Row<'_>]) -> Processed {
    load_bytes(&guest.wasm(), |_| {}).unwrap().chain().unwrap().apply(batch(rows), 6).unwrap()
}

fn changed(processed: &Processed, index: usize) -> &OutRecord {
    match processed.dispositions.iter().find(|(i, _)| *i == index) {
        Some((_, Disposition::Replace(records))) => &records[0],
        other => panic!("record {index}: {other:?}"),
    }
}

fn bytes(content: &Content) -> &[u8] {
    match content {
        Content::Bytes(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

/// Returns the columns that the echo guest received, by number.
fn columns(record: &OutRecord) -> BTreeMap<u32, Vec<u8>> {
    let numbers: Vec<u32> =
        bytes(&record.key).chunks_exact(4).map(|n| u32::from_le_bytes(n.try_into().unwrap())).collect();
    let data = bytes(&record.value);
    let mut columns = BTreeMap::new();
    for entry in numbers.chunks_exact(3) {
        let (start, len) = (entry[1] as usize, entry[2] as usize);
        assert_eq!(start % 8, 0, "column {}", entry[0]);
        columns.insert(entry[0], data[start..start + len].to_vec());
    }
    columns
}

fn u32s(numbers: &[i32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

const ROWS: [Row<'static>; 3] = [
    (Some(b"k1"), Some(b"value"), &[(b"a", Some(b"1")), (b"\xff", None), (b"a", Some(b""))]),
    (None, Some(b""), &[]),
    (Some(b""), None, &[(b"b", Some(b"22"))]),
];

fn echo() -> Guest {
    Guest { process: Process::Echo, ..Guest::default() }
}

#[test]
fn every_column_has_its_documented_layout() {
    let guest = Guest { columns: vec![17, 1, 2, 3, 4, 5, 6, 12, 13, 14, 15, 16], all_headers: true, ..echo() };
    let processed = run(&guest, &ROWS);
    let record = changed(&processed, 0);
    let got = columns(record);
    assert_eq!(got[&1], u32s(&[0, 2, 4]));
    assert_eq!(got[&2], [1_000_i64, 1_001, 1_002].iter().flat_map(|t| t.to_le_bytes()).collect::<Vec<_>>());
    assert_eq!((&got[&3], got[&4].as_slice()), (&u32s(&[2, -1, 0]), &b"k1"[..]));
    assert_eq!((&got[&5], got[&6].as_slice()), (&u32s(&[5, 0, -1]), &b"value"[..]));
    assert_eq!(got[&12], u32s(&[3, 0, 1]));
    assert_eq!((&got[&13], got[&14].as_slice()), (&u32s(&[1, 1, 1, 1]), &b"a\xffab"[..]));
    assert_eq!((&got[&15], got[&16].as_slice()), (&u32s(&[1, -1, 0, 2]), &b"122"[..]));
    assert_eq!(got[&17], [1, 1, 1]);
    assert_eq!(got.len(), 12);
    // The base offset, and the topic as a header after the record's own.
    assert_eq!(record.timestamp_ms, Some(100));
    let headers = record.headers.as_ref().unwrap();
    assert_eq!(headers[1], (b"\xff".to_vec(), None));
    assert_eq!(headers[3], (b"topic".to_vec(), Some(b"orders".to_vec())));
}

#[test]
fn only_declared_columns_and_headers_are_delivered() {
    let guest = Guest { columns: vec![12, 13, 14], headers: vec![b"\xff", b"b"], ..echo() };
    let processed = run(&guest, &ROWS);
    let got = columns(changed(&processed, 0));
    assert_eq!(got[&12], u32s(&[1, 0, 1]));
    assert_eq!(got[&14], b"\xffb");
    assert_eq!(got.keys().copied().collect::<Vec<_>>(), [12, 13, 14]);
}

#[test]
fn edits_do_what_the_table_says() {
    const NULL: u32 = u32::MAX;
    let ops = [
        [0, 1, 0, NULL], // key null
        [0, 2, 0, 3],    // value
        [0, 5, 0, 1],    // first delivered header: value
        [0, 6, 1, 0],    // second delivered header: gone
        [0, 7, 1, 2],    // append x=y
        [0, 8, 0, 1],    // append z=null
        [0, 9, 0, 8],    // timestamp
        [0, 11, 4, 0],   // partition, before the topic
        [0, 10, 0, 2],   // topic
        [1, 10, 0, 2],   // topic alone: by key, here null
        [2, 0, 0, 0],    // drop
        [3, 13, 0, 4],   // reject
        [4, 12, 0, 2],   // partition by hash
        [5, 10, 0, 2],   // topic alone: by key
        [5, 1, 0, 1],    // and a new key
        [6, 2, 0, NULL], // tombstone
    ];
    let data = [&b"newHxyz"[..], &77_i64.to_le_bytes(), b"t1t1why\nhht1K"].concat();
    let guest = Guest {
        columns: vec![12],
        headers: vec![b"a"],
        output_topics: vec!["t[0-9]"],
        process: Process::Edits(ops.concat(), data),
        ..Guest::default()
    };
    let plain: Row<'_> = (Some(b"k"), Some(b"v"), &[]);
    let rows = [ROWS[0], ROWS[1], plain, plain, plain, plain, plain, plain];
    let processed = run(&guest, &rows);
    assert_eq!(fates(&processed), (vec![2], vec![3], vec![0, 1, 4, 5, 6]));
    assert_eq!(
        *changed(&processed, 0),
        OutRecord {
            topic: Some("t1".into()),
            route: Route::Partition(4),
            key: Content::Null,
            value: Content::Bytes(b"new".to_vec()),
            headers: Some(vec![
                (b"a".to_vec(), Some(b"H".to_vec())),
                (b"\xff".to_vec(), None),
                (b"x".to_vec(), Some(b"y".to_vec())),
                (b"z".to_vec(), None),
            ]),
            timestamp_ms: Some(77),
        }
    );
    assert_eq!(changed(&processed, 1).route, Route::Keep);
    let Disposition::Reject(reject) = &processed.dispositions[3].1 else { panic!() };
    assert_eq!((&*reject.code, reject.text.as_str()), ("bad", "why\\n"));
    assert_eq!(changed(&processed, 4).route, Route::Hash(b"hh".to_vec()));
    assert_eq!(changed(&processed, 5).route, Route::Hash(b"K".to_vec()));
    assert_eq!(changed(&processed, 6).value, Content::Null);
}

#[test]
fn a_later_plugin_sees_the_edits_of_an_earlier_one() {
    // The first drops record 0, changes record 1, sends record 2 elsewhere and renames the topic.
    let first = Guest {
        rename: Some("sales"),
        output_topics: vec!["else"],
        process: Process::Edits(vec![0, 0, 0, 0, 1, 1, 0, 3, 2, 10, 0, 4], b"newelse".to_vec()),
        ..Guest::default()
    };
    let second = Guest { rename: Some("final"), columns: vec![3, 4], ..echo() };
    let chains =
        load(vec![file(&first.wasm(), |_| {}), file(&second.wasm(), |_| {})], TopicNaming::Prefix("aws.".into()));
    let mut chain = chains.unwrap().chain().unwrap();
    let rows: [Row<'_>; 4] =
        [(Some(b"a"), None, &[]), (Some(b"b"), None, &[]), (Some(b"c"), None, &[]), (Some(b"d"), None, &[])];
    let processed = chain.apply(batch(&rows), 6).unwrap();
    assert_eq!(&*processed.target_topic, "aws.final");
    assert_eq!(fates(&processed), (vec![0], vec![], vec![1, 2]));

    let main = changed(&processed, 1);
    assert_eq!(columns(main)[&4], b"newd", "record 0 is dropped and record 2 is elsewhere");
    assert_eq!(main.headers.as_ref().unwrap()[0].1.as_deref(), Some(&b"sales"[..]));
    assert_eq!(main.topic, None);
    let redirected = changed(&processed, 2);
    assert_eq!(columns(redirected)[&4], b"c");
    assert_eq!(redirected.headers.as_ref().unwrap()[0].1.as_deref(), Some(&b"else"[..]));
    assert_eq!(redirected.topic.as_deref(), Some("aws.final"));
}

#[test]
fn a_plugin_sees_a_record_once_even_if_it_joins_redirected_ones() {
    // The first sends record 1 elsewhere; the second counts what it sees and sends the first record
    // of each call there too.
    let redirect = |record: u32, to: &'static str| Guest {
        output_topics: vec![to],
        in_process: "(call $count (i32.const 0) (i64.extend_i32_u (local.get $count)))".into(),
        process: Process::Edits(vec![record, 10, 0, 4], to.as_bytes().to_vec()),
        ..Guest::default()
    };
    let plugins = vec![file(&redirect(1, "else").wasm(), |_| {}), file(&redirect(0, "else").wasm(), |_| {})];
    let chains = load(plugins, TopicNaming::Identity).unwrap();
    chains.chain().unwrap().apply(batch(&ROWS), 6).unwrap();
    let counts: Vec<u64> = chains.counters().iter().map(|c| c.value).collect();
    assert_eq!(counts, [3, 3]);
}

#[test]
fn a_batch_is_cut_by_bytes_and_indexes_still_fit() {
    // Drops the first record of every call; 100 KB values: two a call.
    let guest = Guest { columns: vec![5, 6], process: Process::Edits(vec![0, 0, 0, 0], vec![]), ..Guest::default() };
    let value = vec![7_u8; 100_000];
    let rows: Vec<Row<'_>> = (0..5).map(|_| (None, Some(value.as_slice()), &[][..])).collect();
    assert_eq!(fates(&run(&guest, &rows)).0, [0, 2, 4]);
}

#[test]
fn a_value_above_the_plugins_bound_passes_or_is_rejected_unseen() {
    let rows: [Row<'_>; 3] = [(None, Some(b"large"), &[]), (None, Some(b"ok"), &[]), (None, None, &[])];
    let mut guest = Guest { value_max_bytes: 4, process: Process::Edits(vec![0, 0, 0, 0], vec![]), ..Guest::default() };
    assert_eq!(fates(&run(&guest, &rows)), (vec![1], vec![], vec![]));
    guest.fails_closed = true;
    assert_eq!(fates(&run(&guest, &rows)), (vec![1], vec![0], vec![]));
}

#[test]
fn counters_count_when_the_batch_is_accepted() {
    let mut guest = Guest {
        in_process:
            "(call $count (i32.const 0) (i64.extend_i32_u (local.get $count))) (call $count (i32.const 9) (i64.const 1))
            (call $log (i32.const 4) (i32.const 1024) (i32.const 9))"
                .into(),
        ..Guest::default()
    };
    let chains = load_bytes(&guest.wasm(), |_| {}).unwrap();
    let mut chain = chains.chain().unwrap();
    chain.apply(batch(&ROWS), 6).unwrap();
    chain.apply(batch(&ROWS), 6).unwrap();
    assert_eq!((chains.counters()[0].value, chains.counters().len()), (6, 1));

    guest.process = Process::Edits(vec![99, 0, 0, 0], vec![]);
    let chains = load_bytes(&guest.wasm(), |_| {}).unwrap();
    chains.chain().unwrap().apply(batch(&ROWS), 6).unwrap();
    assert_eq!(chains.counters()[0].value, 0);
}
