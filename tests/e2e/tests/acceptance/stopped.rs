//! A stopped partition resumes in the same process once the cause is mended.

use std::fs;

use strait_e2e::{Isolation, LogLine, Record, Strait, write_records};

use crate::admin::{ADMIN, address_of};
use crate::poison::poison;
use crate::support::{Pair, SOON, Turn, key_range, keys, link, numbered, record, run_to_end, stop, wait_until};

const POISON: &str = "[[links.plugins]]\nplugin = \"poison\"\n";

/// Returns 100 good records for each of two partitions.
fn clean() -> Vec<Record> {
    [numbered(0, 0, 100), numbered(1, 0, 100)].concat()
}

/// Returns the same with a record at offset 40 of partition 0 that breaks the plugin `poison`.
fn poisoned() -> Vec<Record> {
    let mut records = clean();
    records[40] = record(Some(b"panic-me"), None);
    records
}

/// Returns the keys of [`poisoned`]'s good records in partition 0.
fn good_keys() -> Vec<String> {
    [key_range(0, 40), key_range(41, 59)].concat()
}

fn create(pair: &Pair, topic: &str, records: &[Record]) {
    pair.at_source().create_topic(topic, 2, &[]).unwrap();
    write_records(&pair.at_source().config(), topic, records).unwrap();
}

/// Returns the keys that a partition of the target has; none where there is no topic yet.
fn copies(pair: &Pair, topic: &str, partition: i32) -> Vec<String> {
    if !pair.has_target_topic(topic) {
        return Vec::new();
    }
    keys(&pair.at_target().read_records(topic, Isolation::Committed).unwrap(), partition)
}

/// Waits for these keys in partition 0 and 100 numbered ones in partition 1.
#[track_caller]
fn wait_copies(pair: &Pair, topic: &str, wanted: &[String]) {
    wait_until(&format!("{topic} copied"), SOON, || {
        (copies(pair, topic, 0) == wanted && copies(pair, topic, 1) == key_range(0, 100)).then_some(())
    });
}

#[track_caller]
fn wait_event(strait: &Strait, event: &str, link: &str, parts: &[&str]) {
    let is = |line: &LogLine| line.is_event(event) && line.field("link") == Some(link);
    let line = strait.wait_line(&format!("{event} of {link}"), SOON, is).unwrap();
    println!("{}", line.message());
    for part in parts {
        assert!(line.message().contains(part), "{}", line.text);
    }
}

#[test]
fn a_partition_stopped_by_a_cluster_reports_the_cause_and_resumes_once_it_is_mended() {
    let _turn = Turn::waiting();
    let pair = Pair::shared();
    create(&pair, "unkept", &poisoned());
    create(&pair, "narrow", &clean());
    // The link may not create its quarantine topic: the same as no right to write it.
    for name in ["unkept", "narrow"] {
        let own =
            [("progress", 1, "compact"), ("map", 1, "delete"), ("operate", 2, "compact"), ("control", 1, "compact")];
        for (topic, partitions, policy) in own {
            let topic = format!("strait.{name}.{topic}");
            pair.at_target().create_topic(&topic, partitions, &[("cleanup.policy", policy)]).unwrap();
        }
    }
    pair.at_target().create_topic("source.unkept", 2, &[]).unwrap();
    pair.at_target().create_topic("source.narrow", 1, &[]).unwrap();
    let links = [
        link("unkept", &["unkept"], 1, &format!("manage_topics = false\n{POISON}")),
        link("narrow", &["narrow"], 1, "manage_topics = false"),
    ];
    let config = pair.config(&(links.concat() + ADMIN));
    config.write("plugins/poison.wasm", poison()).unwrap();
    let mut strait = Strait::run("stopped", &config, &[]).unwrap();
    let admin = format!("http://{}", address_of(&strait));
    let retry = |topic: &str, partition: &str| {
        let arguments = ["partitions", "retry", "unkept", topic, partition, "--admin", &admin];
        run_to_end("retry", &config, &arguments, SOON)
    };
    wait_event(&strait, "quarantine_failed", "unkept", &["unkept-0: stopped at offset 40", "strait.unkept.quarantine"]);
    wait_event(&strait, "target_partitions_missing", "narrow", &["source.narrow has 1 partitions, 2 are needed"]);
    wait_copies(&pair, "source.unkept", &key_range(0, 40));

    // An operator retries what is not mended yet, which is reported anew.
    for (topic, partition, code, wanted) in
        [("unkept", "0", 0, "is retried now"), ("unkept", "1", 0, "runs already"), ("unkept", "7", 1, "does not copy")]
    {
        let (found, said) = retry(topic, partition);
        assert!(found == Some(code) && said.contains(wanted), "{topic}-{partition}: {found:?} {said}");
    }
    wait_until("the second report", SOON, || (strait.events("quarantine_failed").len() == 2).then_some(()));

    pair.at_source().create_topic("strait.unkept.quarantine", 1, &[]).unwrap();
    pair.at_target().grow_topic("source.narrow", 2).unwrap();
    let (code, said) = retry("unkept", "0");
    assert_eq!(code, Some(0), "{said}");
    wait_copies(&pair, "source.unkept", &good_keys());
    // Strait retries by itself.
    wait_copies(&pair, "source.narrow", &key_range(0, 100));
    let kept = pair.at_source().read_records("strait.unkept.quarantine", Isolation::Committed).unwrap();
    assert!(kept.len() == 1 && kept[0].key.as_deref() == Some(b"panic-me"), "{kept:?}");
    for (event, count) in [("quarantine_failed", 2), ("record_stopped", 0), ("lane_restarted", 0)] {
        assert_eq!(strait.events(event).len(), count, "{:?}", strait.events(event));
    }
    stop(&mut strait);
}

#[test]
fn a_partition_stopped_by_plugins_reports_the_cause_and_resumes_when_other_plugins_judge() {
    let _turn = Turn::waiting();
    let pair = Pair::shared();
    create(&pair, "halted", &poisoned());
    create(&pair, "one.a", &clean());
    create(&pair, "two.a", &clean());
    let halts = "on_error = \"stop\"\n";
    let rename = "[[links.plugins]]\nplugin = \"rename\"\n\
                  config = { pattern = \"(one|two)(.*)\", replacement = \"same$2\" }\n";
    let soon = "reload = { settle_ms = 100 }\n";
    let links = [
        link("halted", &["halted"], 1, &format!("{soon}{POISON}{halts}")),
        link("named", &["one\\..*", "two\\..*"], 1, &format!("{soon}{rename}")),
    ];
    let config = pair.config(&links.concat());
    config.write("plugins/poison.wasm", poison()).unwrap();
    let mut strait = Strait::run("stopped", &config, &[]).unwrap();
    wait_event(&strait, "record_stopped", "halted", &["halted-0: stopped at offset 40"]);
    wait_event(&strait, "plugin_failed", "named", &["'one.a', 'two.a'", "source.same.a"]);
    wait_copies(&pair, "source.halted", &key_range(0, 40));

    // A filter drops the record before it reaches the plugin, and the rename keeps the names apart.
    let filter = "[[links.plugins]]\nplugin = \"filter\"\nconfig = { drop = \"key == 'panic-me'\" }\n";
    let mended = fs::read_to_string(config.path().join("strait.toml")).unwrap().replace("same$2", "$1$2");
    let mended = mended.replace(&format!("{POISON}{halts}"), &format!("{filter}{POISON}{halts}"));
    config.write("strait.toml", mended).unwrap();
    wait_copies(&pair, "source.halted", &good_keys());
    wait_copies(&pair, "source.one.a", &key_range(0, 100));
    wait_copies(&pair, "source.two.a", &key_range(0, 100));
    for (event, count) in [("quarantine_failed", 0), ("record_stopped", 1), ("lane_restarted", 0)] {
        assert_eq!(strait.events(event).len(), count, "{:?}", strait.events(event));
    }
    stop(&mut strait);
}
