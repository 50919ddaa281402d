//! Records that break a plugin, among many that do not.

use std::time::Duration;

use strait_e2e::{Isolation, Record, Strait, Writer, write_records};

use crate::support::{Pair, Turn, copy, keys, link, numbered};

const RECORDS: u64 = 100_000;

/// Returns the guest that breaks on keys which begin with `panic` or `spin`
/// (`plugins/test-guests/poison`).
pub fn poison() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/target/plugins/test/poison.wasm");
    std::fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}; run plugins/build.sh"))
}

fn header<'a>(record: &'a Record, name: &str) -> &'a str {
    let found = record.headers.iter().find(|(n, _)| n.as_slice() == name.as_bytes());
    let value = found.and_then(|(_, value)| value.as_deref()).unwrap_or_else(|| panic!("no header {name}"));
    std::str::from_utf8(value).unwrap()
}

/// Returns the milliseconds that each search for a guilty record took, by the host's log.
fn pause_ms(strait: &Strait) -> Vec<u64> {
    let lines = strait.lines().into_iter().filter(|line| line.message().starts_with("a plugin failed on a batch"));
    lines.map(|line| line.json.get("took_ms").and_then(|ms| ms.as_u64()).unwrap()).collect()
}

#[test]
fn one_poison_record_among_100_000_lands_alone_in_quarantine_and_the_others_arrive_in_order() {
    let _turn = Turn::alone();
    let pair = Pair::shared();
    let source = pair.at_source();
    source.create_topic("poisoned", 1, &[]).unwrap();
    let mut records = numbered(0, 0, RECORDS);
    let at = 61_234;
    records[at].key = Some(b"panic-me".to_vec());
    let writer = Writer::new(&source.config(), "poisoned").unwrap();
    for record in &records {
        writer.send(record).unwrap();
    }
    writer.flush().unwrap();
    let config = pair.config(&link("poison", &["poisoned"], 1, "[[links.plugins]]\nplugin = \"poison\"\n"));
    config.write("plugins/poison.wasm", poison()).unwrap();
    let strait = copy(&config);

    let [found] = pause_ms(&strait)[..] else { panic!("{:?}", pause_ms(&strait)) };
    let failed = strait.lines().into_iter().find(|line| line.message().starts_with("a plugin failed")).unwrap();
    let [kept] = &strait.events("quarantined")[..] else { panic!("{:?}", strait.events("quarantined")) };
    // From the first call that failed to the moment when quarantine has the record and the
    // partition goes on.
    let pause = Duration::from_millis(found) + (kept.at - failed.at);
    println!("the guilty record of a trap was found in {found} ms; the partition's pause is {pause:?}");
    assert!(found < 50, "{found} ms");
    // Under 50 ms on a quiet machine; the rest is the broker's first write and this test reading
    // the log.
    assert!(pause < Duration::from_millis(250), "{pause:?}");
    let quarantined = source.read_records("strait.poison.quarantine", Isolation::Committed).unwrap();
    let [bad] = &quarantined[..] else { panic!("{} records in quarantine", quarantined.len()) };
    assert_eq!((bad.key.as_deref(), &bad.value), (Some(&b"panic-me"[..]), &records[at].value));
    for (name, value) in [
        ("strait-link", "poison"),
        ("strait-plugin", "poison"),
        ("strait-code", "plugin-trap"),
        ("strait-source-topic", "poisoned"),
        ("strait-source-partition", "0"),
        ("strait-source-offset", "61234"),
    ] {
        assert_eq!(header(bad, name), value);
    }
    let digest = header(bad, "strait-plugin-digest");
    assert!(digest.starts_with("sha256:") && digest.len() == 71, "{digest}");
    let short = digest.trim_start_matches("sha256:").get(..12).unwrap();
    assert!(header(bad, "strait-generation").starts_with(&format!("poison@{short}+")));
    // The plugin quotes the key as it panics, which is data of the record.
    let text = header(bad, "strait-text");
    assert!(text.contains("unreachable") && !text.contains("panic-me"), "{text}");
    assert!(header(bad, "strait-source-timestamp").parse::<i64>().unwrap() > 0);

    records.remove(at);
    let copies = pair.at_target().read_records("source.poisoned", Isolation::Committed).unwrap();
    assert_eq!(keys(&copies, 0), keys(&records, 0));
    assert!(copies.iter().all(|copy| header(copy, "seen") == "1"), "each was judged once");
}

#[test]
fn a_record_that_spins_holds_up_its_partition_for_the_stated_time_and_no_other_partition() {
    let _turn = Turn::alone();
    let pair = Pair::shared();
    let source = pair.at_source();
    source.create_topic("spinning", 2, &[]).unwrap();
    let mut records = numbered(0, 0, 2_000);
    records.extend(numbered(1, 0, 2_000));
    records[500].key = Some(b"spin".to_vec());
    write_records(&source.config(), "spinning", &records).unwrap();
    let plugin = "[[links.plugins]]\nplugin = \"poison\"\nlimits = { process_ms_max = 400, narrow_ms_max = 800 }\n";
    let config = pair.config(&link("spin", &["spinning"], 1, plugin));
    config.write("plugins/poison.wasm", poison()).unwrap();
    let strait = copy(&config);
    let [pause] = pause_ms(&strait)[..] else { panic!("{:?}", pause_ms(&strait)) };
    println!("the guilty record of a deadline was found in {pause} ms, after a call of 400 ms");
    // Starting an instance may come on top.
    assert!(pause < 800 + 200, "{pause} ms");
    let quarantined = source.read_records("strait.spin.quarantine", Isolation::Committed).unwrap();
    let [bad] = &quarantined[..] else { panic!("{} records in quarantine", quarantined.len()) };
    assert_eq!((bad.key.as_deref(), header(bad, "strait-code")), (Some(&b"spin"[..]), "plugin-timeout"));
    records.remove(500);
    let copies = pair.at_target().read_records("source.spinning", Isolation::Committed).unwrap();
    for partition in 0..2 {
        assert_eq!(keys(&copies, partition), keys(&records, partition));
    }
}
