//! A plugin with memory on real brokers: what it makes of the records is the same however often its process dies.

use rand::RngExt as _;
use strait_e2e::{Isolation, Record, Strait, write_records};

use crate::support::{Ends, Pair, SOON, copy, link, record, seeded, single, turn, wait_until};

const RECORDS: usize = 60_000;
const REMEMBERED: usize = 200;
const DEDUPE: &str = "[[links.plugins]]\nplugin = \"dedupe\"\nconfig = { records = 200 }\n";

/// Many records have the key of one up to 400 before: some of those are remembered, some are not any more.
fn repeating(partition: i32, rng: &mut impl rand::Rng) -> Vec<Record> {
    let mut keys: Vec<String> = Vec::with_capacity(RECORDS);
    for number in 0..RECORDS {
        let back = rng.random_range(1..=2 * REMEMBERED);
        let repeated = number.checked_sub(back).and_then(|at| keys.get(at)).filter(|_| rng.random_bool(0.4));
        keys.push(repeated.cloned().unwrap_or_else(|| format!("{partition}-{number}")));
    }
    let made = |(number, key): (usize, &String)| {
        let value = number.to_string();
        Record { partition, ..record(Some(key.as_bytes()), Some(value.as_bytes())) }
    };
    keys.iter().enumerate().map(made).collect()
}

/// The values of those that have no other one with their key in the offsets before.
fn first_ones(records: &[Record]) -> Vec<String> {
    let is_first = |at: usize| {
        let before = records.get(at.saturating_sub(REMEMBERED)..at).unwrap();
        !before.iter().any(|other| other.key == records[at].key)
    };
    (0..records.len()).filter(|at| is_first(*at)).map(|at| at.to_string()).collect()
}

#[test]
fn duplicates_are_dropped_exactly_through_kills_and_a_reload() {
    let _turn = turn();
    let mut rng = seeded("memory");
    let pair = Pair::of(single("memory-source").with_proxies(), single("memory-target"));
    pair.at_source().create_topic("orders", 2, &[]).unwrap();
    let parts: Vec<Vec<Record>> = (0..2).map(|partition| repeating(partition, &mut rng)).collect();
    write_records(&pair.at_source().config(), "orders", &parts.concat()).unwrap();
    let expected: Vec<Vec<String>> = parts.iter().map(|part| first_ones(part)).collect();
    let dropped: usize = expected.iter().map(|kept| RECORDS - kept.len()).sum();
    assert!(dropped > RECORDS / 5, "{dropped}");

    // Slow enough that each process gets a part of it.
    pair.source.proxy(0).unwrap().throttle(200_000);
    let config = pair.config_with("\"fetch.message.max.bytes\" = \"16384\"", &link("memory", &["orders"], 2, DEDUPE));
    let ends = Ends::new(&pair.at_target(), "source.orders", 2);
    let work = |name: &str| {
        let strait = Strait::run(name, &config, &[]).unwrap();
        // Before that, what the process before had under way may still arrive.
        strait.wait_line("the log shown", SOON, |line| line.message().contains("are shown the log")).unwrap();
        let before = ends.sum().unwrap_or(0);
        let copied = wait_until("copying on", SOON, || ends.sum().filter(|sum| *sum > before + 500));
        (strait, copied)
    };
    for kill in 1..=4 {
        let (mut strait, copied) = work(&format!("until kill {kill}"));
        strait.kill().unwrap();
        println!("kill {kill} at {copied}");
    }
    let (mut strait, copied) = work("with a reload");
    // Another chain, that judges the same.
    let text = std::fs::read_to_string(config.path().join("strait.toml")).unwrap();
    config.write("strait.toml", text.replace("records = 200", "records = 200, by = \"key\"")).unwrap();
    strait.wait_line("plugins_reloaded", SOON, |line| line.is_event("plugins_reloaded")).unwrap();
    wait_until("copying on", SOON, || ends.sum().filter(|sum| *sum > copied + 500));
    strait.terminate().unwrap();
    assert_eq!(strait.wait_end(SOON).unwrap().code(), Some(0));
    pair.source.proxy(0).unwrap().heal();
    copy(&config);

    let copies = pair.at_target().read_records("source.orders", Isolation::Committed).unwrap();
    for (partition, expected) in (0..).zip(&expected) {
        let of_partition = copies.iter().filter(|copy| copy.partition == partition);
        let values: Vec<String> =
            of_partition.map(|copy| String::from_utf8(copy.value.clone().unwrap()).unwrap()).collect();
        let differs = values.iter().zip(expected).position(|(found, expected)| found != expected);
        assert_eq!((differs, values.len()), (None, expected.len()), "partition {partition}");
    }
}
