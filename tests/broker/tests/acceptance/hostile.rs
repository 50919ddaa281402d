//! Values that try to carry personal data past `redact`: each one arrives redacted or lies in the source's quarantine, whole.

#[path = "../../corpus/corpus.rs"]
mod corpus;

use std::collections::BTreeMap;

use corpus::{SECRET, corpus, leaks, rules};
use serde_json::Value;
use strait_broker::{Isolation, Record, write_records};

use crate::support::{Pair, copy, link, record, turn};

/// Which trial a record is.
fn number(record: &Record) -> usize {
    let name = record.headers.iter().find(|(name, _)| name == b"number");
    String::from_utf8(name.unwrap().1.clone().unwrap()).unwrap().parse().unwrap()
}

/// JSON as TOML has it on one line; texts without escapes are written alike.
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

#[test]
fn hostile_values_arrive_redacted_or_are_quarantined_at_the_source() {
    let _turn = turn();
    let pair = Pair::start("hostile");
    pair.at_source().create_topic("exact", 1, &[]).unwrap();
    pair.at_source().create_topic("any", 1, &[]).unwrap();
    let plugin = |any_case| format!("[[links.plugins]]\nplugin = \"redact\"\nconfig = {}\n", toml(&rules(any_case)));
    let links = [link("exact", &["exact"], 1, &plugin(false)), link("any", &["any"], 1, &plugin(true))];
    for (topic, any_case) in [("exact", false), ("any", true)] {
        let trials = corpus(any_case).into_iter().enumerate().map(|(number, trial)| Record {
            headers: vec![
                (b"x-user".to_vec(), Some(SECRET.as_bytes().to_vec())),
                (b"number".to_vec(), Some(number.to_string().into_bytes())),
            ],
            ..record(Some(b"SECRET-key"), Some(&trial.value))
        });
        write_records(&pair.at_source().config(), topic, &trials.collect::<Vec<_>>()).unwrap();
    }
    copy(&pair.config(&links.concat()));
    for (topic, any_case) in [("exact", false), ("any", true)] {
        let copies = pair.at_target().read_records(&format!("source.{topic}"), Isolation::Committed).unwrap();
        let quarantine = format!("strait.{topic}.quarantine");
        let kept = pair.at_source().read_records(&quarantine, Isolation::Committed).unwrap();
        let mut found = BTreeMap::new();
        for record in &copies {
            let parts = [record.key.as_deref(), record.value.as_deref()];
            let headers = record.headers.iter().map(|(_, value)| value.as_deref());
            for part in parts.into_iter().chain(headers).flatten() {
                assert!(!leaks(part), "{topic}: {}", String::from_utf8_lossy(&part[..part.len().min(2_000)]));
            }
            assert_eq!(found.insert(number(record), "redacted"), None, "{topic}: twice");
        }
        let trials = corpus(any_case);
        for record in &kept {
            let trial = number(record);
            assert_eq!(found.insert(trial, "rejected"), None, "{topic}: twice");
            assert_eq!(record.value.as_ref(), Some(&trials[trial].value), "{topic}: quarantine has the original");
        }
        for (number, trial) in trials.iter().enumerate() {
            assert_eq!(found.get(&number), Some(&trial.expect.as_str()), "{topic}: {}", trial.name);
        }
        // Quarantine stays at the source.
        assert!(pair.at_target().topics().unwrap().iter().all(|(name, _)| !name.contains("quarantine")));
    }
}
