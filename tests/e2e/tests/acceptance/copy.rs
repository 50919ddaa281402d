//! Copies are exact: content, order, offsets.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

use strait_core::SourceOffset;
use strait_core::map::{FoldedMap, MapRecord};
use strait_core::progress::{FORMAT, ProgressFold, Totals};
use strait_e2e::{GeneratorSpec, Isolation, Record, generate, write_records};

use crate::support::{Pair, Turn, copy, link, noise, numbered, record, records};

#[test]
fn a_million_records_with_aborts_among_them_arrive_once_and_in_order() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    pair.at_source().create_topic("million", 4, &[]).unwrap();
    let spec = GeneratorSpec::new("million", 4, records(1_000_000), 1);
    let began = Instant::now();
    let generated = generate(&pair.at_source().config(), &spec).unwrap();
    println!(
        "{} records, {} MB, {} transactions and {} aborted ones written in {:.1?}",
        generated.committed,
        generated.committed_bytes / 1_000_000,
        generated.transactions_committed,
        generated.transactions_aborted,
        began.elapsed()
    );
    assert!(generated.transactions_aborted > 0 && generated.committed_bytes < 600_000_000);

    copy(&pair.config(&link("million", &["million"], 4, "")));
    pair.assert_exact("million", "source.million", &generated.aborted_ids);
}

/// Returns the bytes of a batch that holds this record alone, uncompressed
/// (<https://kafka.apache.org/documentation/#recordbatch>).
fn batch_bytes(record: &Record) -> usize {
    let varint = |number: i64| {
        let zigzag = ((number << 1) ^ (number >> 63)) as u64;
        (64 - zigzag.leading_zeros() as usize).div_ceil(7).max(1)
    };
    let sized = |bytes: Option<&Vec<u8>>| match bytes {
        Some(bytes) => varint(bytes.len() as i64) + bytes.len(),
        None => varint(-1),
    };
    assert!(record.headers.is_empty(), "headers are not counted here");
    let body = 1 + varint(0) + varint(0) + sized(record.key.as_ref()) + sized(record.value.as_ref()) + varint(0);
    61 + varint(body as i64) + body
}

/// Returns a record whose batch has exactly this many bytes.
pub fn record_of_batch_bytes(bytes: usize) -> Record {
    let start = record(Some(b"big"), Some(&noise(bytes - 100)));
    let value = noise(bytes - 100 + bytes - batch_bytes(&start));
    let exact = Record { value: Some(value), ..start };
    assert_eq!(batch_bytes(&exact), bytes);
    exact
}

const LIMIT_BYTES: usize = 200_000;

#[test]
fn keys_values_headers_and_timestamps_are_kept_to_the_byte() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    pair.at_source().create_topic("edges", 1, &[]).unwrap();
    let limit = LIMIT_BYTES.to_string();
    pair.at_target().create_topic("source.edges", 1, &[("max.message.bytes", limit.as_str())]).unwrap();

    let mut wanted = Vec::new();
    for key in [None, Some(&b""[..]), Some(b"k"), Some(b"\xff\x00\xfe")] {
        for value in [None, Some(&b""[..]), Some(b"v"), Some(b"\x00\xff")] {
            wanted.push(record(key, value));
        }
    }
    let header = |name: &[u8], value: Option<&[u8]>| (name.to_vec(), value.map(<[u8]>::to_vec));
    for headers in [
        vec![header(b"a", Some(b"1")), header(b"a", Some(b"2")), header(b"b", None), header(b"a", Some(b"1"))],
        vec![header(b"", None), header(b"", Some(b"")), header(b"", Some(b"x"))],
        vec![header(b"\xff\xfe", Some(b"\x00\x01")), header("s\u{fc}\u{df}".as_bytes(), Some(b"\xff"))],
        (0..200).map(|number| header(format!("h{number}").as_bytes(), Some(&noise(number)))).collect(),
        vec![header(&[b'n'; 5000], Some(&noise(20_000)))],
    ] {
        wanted.push(Record { headers, ..record(Some(b"headers"), Some(b"v")) });
    }
    // To the millisecond, not ascending, from the smallest one.
    for timestamp in [1, 999, 1_700_000_000_123, 1_600_000_000_001, 1_700_000_000_124] {
        wanted.push(Record { timestamp, ..record(Some(b"time"), None) });
    }
    wanted.push(record_of_batch_bytes(LIMIT_BYTES));
    wanted.push(record_of_batch_bytes(LIMIT_BYTES - 1));
    wanted.push(record(Some(b"last"), None));
    write_records(&pair.at_source().config(), "edges", &wanted).unwrap();

    copy(&pair.config(&link("edges", &["edges"], 1, "")));
    let found = pair.at_target().read_records("source.edges", Isolation::Committed).unwrap();
    for (index, (wanted, found)) in wanted.iter().zip(&found).enumerate() {
        assert!(
            Record { offset: found.offset, ..wanted.clone() } == *found,
            "record {index}: {wanted:?} became {found:?}"
        );
    }
    assert_eq!(found.len(), wanted.len());
}

#[test]
fn the_offset_map_is_exact_where_a_filter_leaves_records_out() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    pair.at_source().create_topic("mapped", 3, &[]).unwrap();
    let spec = GeneratorSpec { transaction_records_max: 200, ..GeneratorSpec::new("mapped", 3, records(30_000), 5) };
    let generated = generate(&pair.at_source().config(), &spec).unwrap();
    assert!(generated.transactions_aborted > 0);
    let filter = "[[links.plugins]]\nplugin = \"filter\"\nconfig = { keep = { key_prefix = \"key-1\" } }";
    copy(&pair.config(&link("mapped", &["mapped"], 2, filter)));

    type Place = (i32, i64);
    let by_place = |records: Vec<Record>| -> BTreeMap<Place, Record> {
        records.into_iter().map(|record| ((record.partition, record.offset), record)).collect()
    };
    let source = by_place(pair.at_source().read_records("mapped", Isolation::Committed).unwrap());
    let target = by_place(pair.at_target().read_records("source.mapped", Isolation::Committed).unwrap());
    let kept = |record: &Record| record.key.as_deref().is_some_and(|key| key.starts_with(b"key-1"));
    let wanted: HashSet<Place> = source.iter().filter(|(_, record)| kept(record)).map(|(place, _)| *place).collect();
    assert!(wanted.len() > 100 && wanted.len() < source.len() / 2, "{} of {}", wanted.len(), source.len());

    let mut mapped: BTreeMap<Place, Place> = BTreeMap::new();
    let mut covered: BTreeMap<i32, Vec<Place>> = BTreeMap::new();
    let mut written = 0;
    for record in pair.at_target().read_records("strait.mapped.map", Isolation::Committed).unwrap() {
        let map = MapRecord::decode(record.key.as_deref().unwrap(), record.value.as_deref().unwrap()).unwrap();
        assert_eq!((&*map.partition.topic, &*map.target_topic), ("mapped", "source.mapped"));
        written += 1;
        let partition = map.partition.partition;
        for run in &map.runs {
            for step in 0..i64::from(run.count) {
                let place = (partition, run.source.0 + step);
                assert!(place.1 >= map.first.0 && place.1 < map.next.0, "{place:?} outside of its map record");
                let doubled = mapped.insert(place, (run.target_partition, run.target.0 + step));
                assert_eq!(doubled, None, "{place:?} is mapped twice");
            }
        }
        covered.entry(partition).or_default().push((0, map.first.0));
        covered.entry(partition).or_default().push((1, map.next.0));
    }
    println!("{} records mapped by {written} map records", mapped.len());
    for (partition, bounds) in covered {
        assert!(bounds.is_sorted_by_key(|(_, offset)| *offset), "map records of partition {partition} overlap");
    }
    assert_eq!(mapped.keys().copied().collect::<HashSet<_>>(), wanted);
    for (from, to) in &mapped {
        let (of, copy) = (&source[from], &target[to]);
        assert_eq!(of.summary().content, copy.summary().content, "{from:?} is mapped to {to:?}, another record");
    }
    assert_eq!(mapped.values().collect::<HashSet<_>>().len(), target.len());
}

#[test]
fn map_and_progress_are_exact_where_a_plugin_makes_copies() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    pair.at_source().create_topic("emitted", 3, &[]).unwrap();
    for partition in 0..3 {
        let records = numbered(partition, u64::from(partition.unsigned_abs()) * 10_000, 1_000);
        write_records(&pair.at_source().config(), "emitted", &records).unwrap();
    }
    let config = pair.config(&link("emitted", &["emitted"], 2, "[[links.plugins]]\nplugin = \"emit\"\n"));
    let emit = include_str!("../../../../plugins/test-guests/emit.wat");
    config.write("plugins/emit.wasm", wat::parse_str(emit).unwrap()).unwrap();
    copy(&config);
    // More transactions, and tails that are carried over.
    write_records(&pair.at_source().config(), "emitted", &numbered(1, 50_000, 500)).unwrap();
    copy(&config);

    let read = |topic: &str| pair.at_target().read_records(topic, Isolation::Committed).unwrap();
    let offsets: HashMap<Vec<u8>, i64> = pair
        .at_source()
        .read_records("emitted", Isolation::Committed)
        .unwrap()
        .into_iter()
        .map(|record| (record.key.unwrap(), record.offset))
        .collect();
    let (copies, mut folded) = (read("source.emitted"), BTreeMap::<i32, FoldedMap>::new());
    let mut ids = HashSet::new();
    for record in read("strait.emitted.map") {
        let map = MapRecord::decode(record.key.as_deref().unwrap(), record.value.as_deref().unwrap()).unwrap();
        ids.insert(map.target_id);
        folded.entry(map.partition.partition).or_default().fold(&map);
    }
    let mut progress = ProgressFold::default();
    for record in read("strait.emitted.progress") {
        progress.fold(record.offset, record.key.as_deref().unwrap(), record.value.as_deref());
    }
    let progress = progress.finish().unwrap();
    let lane = progress.lane.clone().unwrap();
    assert_eq!(lane.format, FORMAT);
    assert!(lane.source_cluster.is_some_and(|id| !id.is_empty()));
    for (partition, count) in [(0, 1_000), (1, 1_500), (2, 1_000)] {
        let there: Vec<&Record> = copies.iter().filter(|record| record.partition == partition).collect();
        assert!(there.len() > count * 3 / 2, "{} copies of {count} records", there.len());
        let expected: Vec<(i64, i32, i64)> =
            there.iter().map(|copy| (offsets[copy.key.as_ref().unwrap()], partition, copy.offset)).collect();
        let runs = folded[&partition].runs();
        let steps = runs.iter().flat_map(|run| (0..i64::from(run.count)).map(move |step| (run, step)));
        let mapped: Vec<_> =
            steps.map(|(run, step)| (run.source.0 + step, run.target_partition, run.target.0 + step)).collect();
        assert_eq!(mapped, expected, "partition {partition}");

        let position = progress.positions.iter().find(|(key, _)| key.partition == partition).unwrap().1;
        assert_eq!((position.origin, position.next), (Some(SourceOffset(0)), SourceOffset(count as i64)));
        let (seen, made) = (count as u64, there.len() as u64);
        assert_eq!(position.totals, Some(Totals { seen, kept: seen, copies: made, ..Totals::default() }));
        let tails = position.tails.list();
        ids.extend(tails.iter().map(|tail| tail.id));
        let tails: Vec<_> = tails.iter().map(|tail| (&*tail.topic, tail.partition, tail.end.0)).collect();
        assert_eq!(tails, [("source.emitted", partition, there.last().unwrap().offset + 1)]);
    }
    assert!(ids.len() == 1 && ids.iter().all(|id| id.is_known()), "one incarnation of one topic: {ids:?}");
    assert!(pair.has_target_topic("strait.emitted.operate"));
}
