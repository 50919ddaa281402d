//! Personal data stays at the source: whatever a value looks like and whatever plugins are beside
//! the redactor in the chain, a record is on the target without the data, or unchanged in
//! quarantine at the source.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use strait_corpus::{SECRET, Trial, corpus, leaks, rules};
use strait_e2e::{Isolation, Record, Strait, write_records};

use crate::support::{Pair, SOON, Turn, copy, link, record, wait_until};

fn redact(any_case: bool) -> String {
    format!("[[links.plugins]]\nplugin = \"redact\"\nconfig = {}\n", toml(&rules(any_case)))
}

/// Returns JSON as TOML on one line; texts without escapes are the same in both.
fn toml(json: &Value) -> String {
    match json {
        Value::Array(list) => format!("[{}]", list.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| format!("{name} = {}", toml(value)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
        scalar => scalar.to_string(),
    }
}

/// Returns the corpus as records: numbered by a header, with the secret in the key and in headers
/// as well.
fn records(trials: &[Trial], first: usize) -> Vec<Record> {
    let one = |(index, trial): (usize, &Trial)| {
        let number = first + index;
        let mut one = record(Some(format!("{SECRET}-{}", number % 7).as_bytes()), Some(&trial.value));
        one.partition = (number % 3) as i32;
        let header = |name: &[u8], value: &[u8]| (name.to_vec(), Some(value.to_vec()));
        one.headers = vec![
            header(b"number", number.to_string().as_bytes()),
            header(b"x-user", SECRET.as_bytes()),
            header(b"x-id", SECRET.as_bytes()),
        ];
        one
    };
    trials.iter().enumerate().map(one).collect()
}

fn number(record: &Record) -> usize {
    let (_, value) = record.headers.iter().find(|(name, _)| name == b"number").unwrap();
    std::str::from_utf8(value.as_deref().unwrap()).unwrap().parse().unwrap()
}

fn leaking(record: &Record) -> bool {
    let headers = record.headers.iter().any(|(name, value)| leaks(name) || value.as_deref().is_some_and(leaks));
    headers || record.key.as_deref().is_some_and(leaks) || record.value.as_deref().is_some_and(leaks)
}

/// Asserts that each record sent is on the target without the secret, `copies` times, or once in
/// quarantine with its own bytes. The records are those of the trials, which may have been sent
/// several times.
#[track_caller]
fn judge(trials: &[Trial], sent: &[Record], arrived: &[Record], quarantined: &[Record], copies: usize) {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for record in arrived {
        let number = number(record);
        assert!(!leaking(record), "{} leaked: {record:?}", trials[number % trials.len()].name);
        *counts.entry(number).or_default() += 1;
    }
    let mut kept: BTreeMap<usize, &Record> = BTreeMap::new();
    for record in quarantined {
        assert!(kept.insert(number(record), record).is_none(), "record {} is in quarantine twice", number(record));
    }
    for (record, trial) in sent.iter().zip(trials.iter().cycle()) {
        let (number, name) = (number(record), &trial.name);
        match (counts.remove(&number), kept.remove(&number)) {
            (Some(count), None) => assert_eq!((trial.expect.as_str(), count), ("redacted", copies), "{name}"),
            (None, Some(original)) => {
                assert_eq!(trial.expect, "rejected", "{name}");
                assert_eq!((&original.key, &original.value), (&record.key, &record.value), "{name}");
            }
            found => panic!("{name} is in {found:?}"),
        }
    }
    assert!(counts.is_empty() && kept.is_empty(), "these were not sent: {counts:?} {kept:?}");
}

/// Returns the records in these topics of the target, and those in the link's quarantine, which
/// stays at the source.
fn read(pair: &Pair, target: &[&str], link: &str) -> (Vec<Record>, Vec<Record>) {
    let arrived = target.iter().flat_map(|topic| pair.at_target().read_records(topic, Isolation::Committed).unwrap());
    let quarantine = format!("strait.{link}.quarantine");
    assert!(pair.at_target().topics().unwrap().iter().all(|(name, _)| *name != quarantine));
    (arrived.collect(), pair.at_source().read_records(&quarantine, Isolation::Committed).unwrap())
}

fn guest(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/target/plugins").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run plugins/build.sh", path.display()))
}

fn bypass(way: &str) -> String {
    format!("[[links.plugins]]\nplugin = \"bypass\"\nmay_see_raw = true\nconfig = {{ way = \"{way}\" }}\n")
}

#[test]
fn hostile_values_arrive_redacted_or_stay_in_quarantine_whatever_plugins_come_before_the_redactor() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    pair.at_source().create_topic("people", 3, &[]).unwrap();
    let trials = corpus(false);
    let sent = records(&trials, 0);
    write_records(&pair.at_source().config(), "people", &sent).unwrap();

    let folder = |name: &str, plugins: &str| {
        let config = pair.config(&link(name, &["people"], 2, &format!("naming = \"prefix\"\n{plugins}")));
        config.write("plugins/bypass.wasm", guest("test/bypass.wasm")).unwrap();
        config
    };
    copy(&folder("alone", &redact(false)));
    let (arrived, kept) = read(&pair, &["source.people"], "alone");
    judge(&trials, &sent, &arrived, &kept, 1);
    // The same key has the same pseudonym, in the same partition.
    let key_of = |record: &Record| (record.partition, record.key.clone());
    let keys: BTreeSet<_> = arrived.iter().map(key_of).collect();
    let redacted = sent.iter().zip(&trials).filter(|(_, trial)| trial.expect == "redacted");
    let sent_keys: BTreeSet<_> = redacted.map(|(record, _)| key_of(record)).collect();
    assert_eq!(keys.len(), sent_keys.len());

    // Copies made before the redactor pass through it, and so do records sent to another topic.
    let renamed = |prefix: &str, way: &str| {
        let rename = format!("[[links.plugins]]\nplugin = \"rename\"\nconfig = {{ prefix = \"{prefix}.\" }}\n");
        format!("{}{}{rename}", bypass(way), redact(false))
    };
    copy(&folder("people-emitted", &renamed("emitted", "emit")));
    let (arrived, kept) = read(&pair, &["source.emitted.people"], "people-emitted");
    judge(&trials, &sent, &arrived, &kept, 2);
    copy(&folder("routed", &renamed("routed", "route")));
    let (arrived, kept) = read(&pair, &["source.routed.elsewhere"], "routed");
    judge(&trials, &sent, &arrived, &kept, 1);

    // A plugin that could put the data back is not loaded behind it.
    for way in ["undo", "emit"] {
        let config = folder("undone", &format!("{}{}", redact(false), bypass(way)));
        let mut refused = Strait::run("undone", &config, &["--until-caught-up"]).unwrap();
        assert_eq!(refused.wait_end(SOON).unwrap().code(), Some(64), "{}", refused.stderr());
        assert!(refused.stderr().contains("allow_after"), "{}", refused.stderr());
    }
}

#[test]
fn names_in_another_case_are_redacted_with_ignore_case() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    pair.at_source().create_topic("case", 3, &[]).unwrap();
    let trials = corpus(true);
    let sent = records(&trials, 0);
    write_records(&pair.at_source().config(), "case", &sent).unwrap();
    copy(&pair.config(&link("case", &["case"], 2, &redact(true))));
    let (arrived, kept) = read(&pair, &["source.case"], "case");
    judge(&trials, &sent, &arrived, &kept, 1);
}

#[test]
fn a_redactor_replaced_by_a_plugin_that_does_nothing_goes_on_redacting() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    pair.at_source().create_topic("swapped", 3, &[]).unwrap();
    let trials: Vec<Trial> = corpus(false).into_iter().filter(|trial| trial.expect == "redacted").collect();
    let first = records(&trials, 0);
    let second = records(&trials, trials.len());
    write_records(&pair.at_source().config(), "swapped", &first).unwrap();
    let config = pair.config(&link("swapped", &["swapped"], 2, &redact(false)));
    config.write("plugins/redact.wasm", guest("redact.wasm")).unwrap();
    let strait = Strait::run("swapped", &config, &[]).unwrap();
    let arrived = |count: usize| {
        wait_until("copied", SOON, || {
            pair.has_target_topic("source.swapped").then_some(())?;
            let found = pair.at_target().read_records("source.swapped", Isolation::Committed).unwrap();
            (found.len() >= count).then_some(found)
        })
    };
    arrived(trials.len());

    config.write("plugins/redact.wasm", guest("test/bypass.wasm")).unwrap();
    let refused = strait.wait_line("plugins_refused", SOON, |line| line.is_event("plugins_refused")).unwrap();
    println!("{}", refused.message());
    write_records(&pair.at_source().config(), "swapped", &second).unwrap();
    let found = arrived(2 * trials.len());
    judge(&trials, &[first, second].concat(), &found, &[], 1);
}

#[test]
fn while_the_redactors_breaker_is_open_nothing_passes() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    pair.at_source().create_topic("breaker", 3, &[]).unwrap();
    // More than the plugin may hold: it breaks on each of them, and after a hundred its breaker
    // opens. Each partition has more than that, so that every later probe meets one of them as
    // well.
    let text = format!("{{\"contacts\":[{{\"email\":\"{SECRET}{}\"}}]}}", "x".repeat(400_000));
    let too_large =
        || Trial { name: "large".to_owned(), value: text.clone().into_bytes(), expect: "redacted".to_owned() };
    let breaking: Vec<Trial> = (0..330).map(|_| too_large()).collect();
    let large = records(&breaking, 0);
    let trials = corpus(false);
    let others = records(&trials, 10 * trials.len());
    write_records(&pair.at_source().config(), "breaker", &large).unwrap();

    let too_little = "limits = { memory_mib_max = 2 }\n";
    let config = pair.config(&link("breaker", &["breaker"], 2, &format!("{}{too_little}", redact(false))));
    // The second process reads on disk that the breaker is open.
    for name in ["first", "second"] {
        let mut strait = Strait::run(name, &config, &[]).unwrap();
        let waits = || strait.events("plugin_waiting");
        wait_until("partitions that wait for redact", SOON, || {
            waits().iter().any(|line| line.text.contains("it broke too often")).then_some(())
        });
        println!("{name}: {}", waits().last().unwrap().message());
        if name == "first" {
            // They come while it is open, behind the records that it broke on.
            write_records(&pair.at_source().config(), "breaker", &others).unwrap();
            let before = waits().len();
            wait_until("another probe", SOON, || (waits().len() > before).then_some(()));
        }
        strait.kill().unwrap();
        if pair.has_target_topic("source.breaker") {
            let passed = pair.at_target().read_log("source.breaker", Isolation::Uncommitted).unwrap();
            assert!(passed.is_empty(), "{} records passed unjudged", passed.len());
        }
    }
    // With enough memory the waiting records are judged: none passed, none is lost.
    let toml = std::fs::read_to_string(config.path().join("strait.toml")).unwrap();
    config.write("strait.toml", toml.replace(too_little, "")).unwrap();
    copy(&config);
    let (arrived, kept) = read(&pair, &["source.breaker"], "breaker");
    let is_large = |record: &Record| number(record) < breaking.len();
    let (large_arrived, arrived): (Vec<Record>, Vec<Record>) = arrived.into_iter().partition(is_large);
    let (large_kept, kept): (Vec<Record>, Vec<Record>) = kept.into_iter().partition(is_large);
    judge(&trials, &others, &arrived, &kept, 1);
    assert!(large_arrived.iter().all(|record| !leaking(record)));
    let met: BTreeSet<usize> = large_arrived.iter().chain(&large_kept).map(number).collect();
    assert_eq!((met.len(), large_arrived.len() + large_kept.len()), (breaking.len(), breaking.len()));
    println!("{} of the large ones in quarantine, {} redacted", large_kept.len(), large_arrived.len());
}
