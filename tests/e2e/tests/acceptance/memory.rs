//! A stateful plugin on real brokers: its edits are the same however often its process dies.

use rand::RngExt as _;
use strait_e2e::{Isolation, Record, Strait, write_records};

use crate::support::{Ends, Pair, SOON, SlowLine, Turn, copy, link, record, seeded, stop, wait_until};

const RECORDS: usize = 60_000;
const REMEMBERED: usize = 200;
const DEDUPE: &str = "[[links.plugins]]\nplugin = \"dedupe\"\nconfig = { records = 200 }\n";

/// Returns records of which many repeat a key of the 400 before: `dedupe` still knows some of those
/// keys, others no longer.
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

/// Returns the values of the records whose key does not occur in the [`REMEMBERED`] offsets before.
fn first_ones(records: &[Record]) -> Vec<String> {
    let is_first = |at: usize| {
        let before = records.get(at.saturating_sub(REMEMBERED)..at).unwrap();
        !before.iter().any(|other| other.key == records[at].key)
    };
    (0..records.len()).filter(|at| is_first(*at)).map(|at| at.to_string()).collect()
}

#[test]
fn duplicates_are_dropped_exactly_through_kills_and_a_reload() {
    let _turn = Turn::long();
    let mut rng = seeded("memory");
    let pair = Pair::shared();
    pair.at_source().create_topic("repeated", 2, &[]).unwrap();
    let parts: Vec<Vec<Record>> = (0..2).map(|partition| repeating(partition, &mut rng)).collect();
    write_records(&pair.at_source().config(), "repeated", &parts.concat()).unwrap();
    let expected: Vec<Vec<String>> = parts.iter().map(|part| first_ones(part)).collect();
    let dropped: usize = expected.iter().map(|kept| RECORDS - kept.len()).sum();
    assert!(dropped > RECORDS / 5, "{dropped}");

    // Slow enough that each process gets a part of it.
    let line = SlowLine::throttle(&pair, 200_000);
    let config =
        pair.config_by_proxy("\"fetch.message.max.bytes\" = \"16384\"", &link("memory", &["repeated"], 2, DEDUPE));
    let ends = Ends::new(&pair.at_target(), "source.repeated", 2);
    let work = |name: &str| {
        let strait = Strait::run(name, &config, &[]).unwrap();
        // Until then, records that the previous process had in flight may still arrive.
        strait.wait_line("a warm-up", SOON, |line| line.message() == "warming up stateful plugins").unwrap();
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
    // Another chain with the same judgement.
    let text = std::fs::read_to_string(config.path().join("strait.toml")).unwrap();
    config.write("strait.toml", text.replace("records = 200", "records = 200, by = \"key\"")).unwrap();
    strait.wait_line("plugins_reloaded", SOON, |line| line.is_event("plugins_reloaded")).unwrap();
    wait_until("copying on", SOON, || ends.sum().filter(|sum| *sum > copied + 500));
    stop(&mut strait);
    drop(line);
    copy(&config);

    let copies = pair.at_target().read_records("source.repeated", Isolation::Committed).unwrap();
    for (partition, expected) in (0..).zip(&expected) {
        let of_partition = copies.iter().filter(|copy| copy.partition == partition);
        let values: Vec<String> =
            of_partition.map(|copy| String::from_utf8(copy.value.clone().unwrap()).unwrap()).collect();
        let differs = values.iter().zip(expected).position(|(found, expected)| found != expected);
        assert_eq!((differs, values.len()), (None, expected.len()), "partition {partition}");
    }
}
