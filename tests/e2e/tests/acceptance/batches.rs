//! Batches and the target topic's limit: many source partitions that share a target partition, and
//! records that are larger than it takes.

use std::time::Instant;

use rand::Rng as _;
use strait_e2e::{ConfigFolder, Isolation, Record, Strait};

use crate::support::{COPIED, Pair, SOON, Turn, copy, keys, link, numbered, record, seeded, wait_until};

/// Returns records with values that no codec makes smaller, numbered from `first`.
fn noisy(first: u64, count: u64, bytes: usize) -> Vec<Record> {
    let mut rng = seeded("noisy");
    let one = |number: u64| {
        let mut value = vec![0; bytes];
        rng.fill_bytes(&mut value);
        record(Some(number.to_string().as_bytes()), Some(&value))
    };
    (first..first + count).map(one).collect()
}

#[test]
fn six_topics_merged_into_one_share_its_batches_and_no_record_is_blamed() {
    const EACH: u64 = 200;
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    let source = pair.at_source();
    for number in 0..6_u64 {
        let topic = format!("merged-{number}");
        source.create_topic(&topic, 1, &[]).unwrap();
        source.write(&topic, &noisy(number * 1000, EACH, 10_000)).unwrap();
    }
    let into_one = "merge_topics = true\n[[links.plugins]]\nplugin = \"rename\"\n\
                    config = { pattern = \"merged-[0-9]\", replacement = \"merged\", merge = true }\n";
    let strait = copy(&pair.config(&link("merged", &["merged-.*"], 1, into_one)));
    assert!(strait.events("quarantined").is_empty(), "{}", strait.stderr());
    let copies = pair.at_target().read_records("source.merged", Isolation::Committed).unwrap();
    let numbers: Vec<u64> = keys(&copies, 0).iter().map(|key| key.parse().unwrap()).collect();
    for number in 0..6 {
        let own: Vec<u64> = numbers.iter().copied().filter(|n| n / 1000 == number).collect();
        assert_eq!(own, (number * 1000..number * 1000 + EACH).collect::<Vec<u64>>(), "of merged-{number}");
    }
}

/// Small records, each hundredth followed by one of 200 KB that the target does not take.
fn with_big_ones(count: u64) -> Vec<Record> {
    let big = noisy(1_000_000, 1, 200_000).remove(0);
    let mut all = Vec::new();
    for record in numbered(0, 0, count) {
        all.push(record);
        if all.len() % 101 == 100 {
            all.push(big.clone());
        }
    }
    all
}

/// The target topic keeps its own limit.
const KEEPS: &str = "sync.configs = \"none\"";

#[test]
fn records_that_are_too_large_go_to_quarantine_without_a_restart_and_hold_up_nobody() {
    const SMALL: u64 = 20_000;
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    let (source, target) = (pair.at_source(), pair.at_target());
    source.create_topic("oversized", 1, &[]).unwrap();
    source.create_topic("oversized-beside", 1, &[]).unwrap();
    target.create_topic("source.oversized", 1, &[("max.message.bytes", "100000")]).unwrap();
    let records = with_big_ones(SMALL);
    let big = records.len() as u64 - SMALL;
    source.write("oversized", &records).unwrap();
    // Text that the target takes once it is compressed.
    let text = record(Some(b"text"), Some("the same words again ".repeat(20_000).as_bytes()));
    source.write("oversized", std::slice::from_ref(&text)).unwrap();
    source.write("oversized-beside", &numbered(0, 0, SMALL)).unwrap();

    let config: ConfigFolder = pair.config(&link("oversized", &["oversized", "oversized-beside"], 1, KEEPS));
    let began = Instant::now();
    let mut strait = Strait::run("oversized", &config, &["--until-caught-up"]).unwrap();
    let end =
        |topic: &str| target.offsets(&format!("source.{topic}"), 0, Isolation::Committed).map_or(0, |(_, end)| end);
    wait_until("the other topic copied", SOON, || (end("oversized-beside") >= SMALL as i64).then_some(()));
    println!("the other topic is copied after {:.1?}", began.elapsed());
    let status = strait.wait_end(COPIED).unwrap();
    println!("{big} records quarantined, all copied after {:.1?}", began.elapsed());
    assert_eq!(status.code(), Some(0), "{}", strait.stderr());
    assert!(strait.events("lane_restarted").is_empty(), "{:?}", strait.events("lane_restarted"));
    let copies = target.read_records("source.oversized", Isolation::Committed).unwrap();
    let mut wanted = keys(&numbered(0, 0, SMALL), 0);
    wanted.push("text".to_owned());
    assert!(keys(&copies, 0) == wanted, "{} copies", copies.len());
    let kept = source.read_records("strait.oversized.quarantine", Isolation::Committed).unwrap();
    assert_eq!((big, kept.len() as u64), (200, 200));
}
