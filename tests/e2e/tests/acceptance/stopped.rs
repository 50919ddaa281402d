//! A partition that stands still goes on in the same process, once what it stands still for is mended.

use std::fs;

use strait_e2e::{Isolation, LogLine, Record, Strait, write_records};

use crate::poison::poison;
use crate::support::{Pair, SOON, key_range, keys, link, numbered, record, turn, wait_until};

/// 100 records in each of two partitions; one of the first breaks the plugin `poison`.
fn poisoned() -> Vec<Record> {
    let mut records = numbered(0, 0, 100);
    records[40] = record(Some(b"panic-me"), None);
    records.extend(numbered(1, 0, 100));
    records
}

#[test]
fn what_stands_still_says_why_and_goes_on_when_that_is_mended() {
    let _turn = turn();
    let pair = Pair::start("stopped");
    let (source, target) = (pair.at_source(), pair.at_target());
    let clean: Vec<Record> = [numbered(0, 0, 100), numbered(1, 0, 100)].concat();
    for (topic, records) in
        [("unkept", &poisoned()), ("halted", &poisoned()), ("narrow", &clean), ("one.a", &clean), ("two.a", &clean)]
    {
        source.create_topic(topic, 2, &[]).unwrap();
        write_records(&source.config(), topic, records).unwrap();
    }
    // No quarantine topic, and the link may not make one: as good as no right to write it.
    for name in ["unkept", "narrow"] {
        for topic in ["progress", "map"] {
            target.create_topic(&format!("strait.{name}.{topic}"), 1, &[("cleanup.policy", "compact")]).unwrap();
        }
    }
    target.create_topic("source.unkept", 2, &[]).unwrap();
    target.create_topic("source.narrow", 1, &[]).unwrap();
    let (poisons, halts) = ("[[links.plugins]]\nplugin = \"poison\"\n", "on_error = \"stop\"\n");
    let rename = "[[links.plugins]]\nplugin = \"rename\"\n\
                  config = { pattern = \"(one|two)(.*)\", replacement = \"same$2\" }\n";
    let toml = [
        link("unkept", &["unkept"], 1, &format!("manage_topics = false\n{poisons}")),
        link("narrow", &["narrow"], 1, "manage_topics = false"),
        link("halted", &["halted"], 1, &format!("reload = {{ settle_ms = 100 }}\n{poisons}{halts}")),
        link("named", &["one.*", "two.*"], 1, &format!("reload = {{ settle_ms = 100 }}\n{rename}")),
    ];
    let config = pair.config(&toml.concat());
    config.write("plugins/poison.wasm", poison()).unwrap();
    let mut strait = Strait::run("stopped", &config, &[]).unwrap();

    let waits = |event: &str, link: &str, said: &[&str]| {
        let is = |line: &LogLine| line.is_event(event) && line.field("link") == Some(link);
        let line = strait.wait_line(&format!("{event} of {link}"), SOON, is).unwrap();
        println!("{}", line.message());
        for said in said {
            assert!(line.message().contains(said), "{}", line.text);
        }
    };
    waits("quarantine_failed", "unkept", &["unkept-0: stopped at offset 40", "strait.unkept.quarantine"]);
    waits("target_partitions_missing", "narrow", &["source.narrow has 1 partitions, 2 are needed"]);
    waits("record_stopped", "halted", &["halted-0: stopped at offset 40"]);
    waits("plugin_failed", "named", &["'one.a', 'two.a'", "source.same.a"]);
    let copies = |topic: &str, partition: i32| {
        let exists = target.topics().unwrap().iter().any(|(found, _)| found == topic);
        let records = if exists { target.read_records(topic, Isolation::Committed).unwrap() } else { Vec::new() };
        keys(&records, partition)
    };
    for name in ["unkept", "halted"] {
        wait_until(&format!("{name}: what comes before it, and the other partition"), SOON, || {
            let topic = format!("source.{name}");
            (copies(&topic, 0) == key_range(0, 40) && copies(&topic, 1) == key_range(0, 100)).then_some(())
        });
    }

    // At the clusters: tried again by itself.
    source.create_topic("strait.unkept.quarantine", 1, &[]).unwrap();
    target.grow_topic("source.narrow", 2).unwrap();
    // In the configuration: judged by other plugins.
    let filter = "[[links.plugins]]\nplugin = \"filter\"\nconfig = { drop = \"key == 'panic-me'\" }\n";
    let file = config.path().join("strait.toml");
    let mended = fs::read_to_string(&file).unwrap().replace("same$2", "$1$2");
    config
        .write("strait.toml", mended.replace(&format!("{poisons}{halts}"), &format!("{filter}{poisons}{halts}")))
        .unwrap();

    let rest = [key_range(0, 40), key_range(41, 59)].concat();
    for (topic, wanted) in [
        ("source.halted", &rest),
        ("source.one.a", &key_range(0, 100)),
        ("source.two.a", &key_range(0, 100)),
        ("source.unkept", &rest),
        ("source.narrow", &key_range(0, 100)),
    ] {
        wait_until(&format!("{topic} goes on"), SOON, || {
            (copies(topic, 0) == *wanted && copies(topic, 1) == key_range(0, 100)).then_some(())
        });
    }
    let kept = source.read_records("strait.unkept.quarantine", Isolation::Committed).unwrap();
    assert!(kept.len() == 1 && kept[0].key.as_deref() == Some(b"panic-me"), "{kept:?}");
    // Each was told once, and nobody was disturbed.
    for (event, count) in [("quarantine_failed", 1), ("record_stopped", 1), ("lane_restarted", 0)] {
        assert_eq!(strait.events(event).len(), count, "{:?}", strait.events(event));
    }
    strait.terminate().unwrap();
    assert_eq!(strait.wait_end(SOON).unwrap().code(), Some(0));
}
