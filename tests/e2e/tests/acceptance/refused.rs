//! A record that the target refuses is dealt with by policy; everything beside it goes on in order.

use strait_e2e::{Isolation, LogLine, Record, Strait, write_records};

use crate::copy::record_of_batch_bytes;
use crate::support::{Pair, SOON, kafka_tool, key_range, keys, link, numbered, record, turn, unix_ms, wait_until};

const LIMIT_BYTES: usize = 100_000;
const HOUR_MS: i64 = 3_600_000;

#[test]
fn refused_records_are_kept_or_stop_their_partition_and_all_others_go_on() {
    let _turn = turn();
    let pair = Pair::start("refused");
    let (source, target) = (pair.at_source(), pair.at_target());
    let write = |topic: &str, records: &[Record]| write_records(&source.config(), topic, records).unwrap();

    let big = record_of_batch_bytes(LIMIT_BYTES + 1);
    let header = |name: &[u8], value: Option<&[u8]>| (name.to_vec(), value.map(<[u8]>::to_vec));
    let late = Record {
        timestamp: unix_ms() + 24 * HOUR_MS,
        headers: vec![header(b"a", Some(b"\xff")), header(b"a", None), header(b"\xfe", Some(b""))],
        ..record(Some(b"late"), Some(b"too late"))
    };
    // In each topic: partition 0 has 50 good records, a bad one and 50 good ones, partition 1 has good ones only.
    let limit = LIMIT_BYTES.to_string();
    let topics = [
        ("big", &[("max.message.bytes", limit.as_str())][..], Some(&big)),
        ("big-stop", &[("max.message.bytes", limit.as_str())], Some(&big)),
        ("late", &[("message.timestamp.after.max.ms", "3600000")], Some(&late)),
        ("zero", &[], None),
        ("zero-keep", &[], None),
        ("zero-now", &[], None),
    ];
    for (topic, configs, _) in topics {
        source.create_topic(topic, 2, &[("message.timestamp.after.max.ms", "9223372036854775807")]).unwrap();
        target.create_topic(&format!("source.{topic}"), 2, configs).unwrap();
        write(topic, &numbered(1, 0, 100));
        write(topic, &numbered(0, 0, 50));
    }
    let zeros: Vec<String> = topics.iter().filter(|t| t.2.is_none()).map(|t| t.0.to_owned()).collect();
    kafka_tool("zero", &pair.source.internal_bootstrap(), &zeros);
    for (topic, _, bad) in topics {
        write(topic, &bad.into_iter().cloned().collect::<Vec<_>>());
        write(topic, &numbered(0, 50, 50));
    }

    let links = [
        link("big", &["big"], 1, ""),
        link("big-stop", &["big-stop"], 1, "on_refused = \"stop\""),
        link("late", &["late"], 1, ""),
        link("zero", &["zero"], 1, ""),
        link("zero-keep", &["zero-keep"], 1, "on_timestamp_zero = \"quarantine\""),
        link("zero-now", &["zero-now"], 1, "on_timestamp_zero = \"now\""),
    ];
    let config = pair.config(&links.concat());
    let began_ms = unix_ms();
    let mut strait = Strait::run("refused", &config, &[]).unwrap();
    let read = |topic: &str| target.read_records(&format!("source.{topic}"), Isolation::Committed).unwrap();
    let wait = |topic: &str, wanted: Vec<String>| {
        wait_until(&format!("{topic} copied"), SOON, || (keys(&read(topic), 0) == wanted).then_some(()));
        wait_until(&format!("{topic} copied beside it"), SOON, || {
            (keys(&read(topic), 1) == key_range(0, 100)).then_some(())
        });
    };
    let all_good = key_range(0, 100);
    let first_half = key_range(0, 50);
    wait("big", all_good.clone());
    wait("late", all_good.clone());
    wait("zero-keep", all_good.clone());
    wait("big-stop", first_half.clone());
    wait("zero", first_half.clone());
    let stamped = [&first_half[..], &["zero".to_owned()], &key_range(50, 50)[..]].concat();
    wait("zero-now", stamped);
    let now: Vec<i64> =
        read("zero-now").iter().filter(|r| r.key.as_deref() == Some(b"zero")).map(|r| r.timestamp).collect();
    assert!(now.len() == 1 && (began_ms..=unix_ms()).contains(&now[0]), "{now:?}");

    // The events name the record.
    for (event, link, place) in [
        ("quarantined", "big", "big-0: record at offset 50 "),
        ("quarantined", "late", "late-0: record at offset 50 "),
        ("quarantined", "zero-keep", "zero-keep-0: record at offset 50 "),
        ("record_stopped", "big-stop", "big-stop-0: stopped at offset 50:"),
        ("record_stopped", "zero", "zero-0: stopped at offset 50:"),
    ] {
        let is = |line: &LogLine| line.is_event(event) && line.field("link") == Some(link);
        let line = strait.wait_line(&format!("{event} of {link}"), SOON, is).unwrap();
        assert!(line.message().starts_with(place), "{}", line.text);
    }
    // Nothing else happened to anyone.
    for line in strait.lines() {
        let expected = ["quarantined", "record_stopped", "lane_restarted"];
        assert!(line.field("event").is_none_or(|event| expected.contains(&event)), "{}", line.text);
    }

    // Quarantine has what was refused, as it was, and says where it was.
    let zero = Record { timestamp: 0, ..record(Some(b"zero"), Some(b"0")) };
    for (topic, original) in [("big", &big), ("late", &late), ("zero-keep", &zero)] {
        let kept = source.read_records(&format!("strait.{topic}.quarantine"), Isolation::Committed).unwrap();
        assert_eq!(kept.len(), 1, "{topic}");
        assert!((&kept[0].key, &kept[0].value) == (&original.key, &original.value), "{topic}");
        let (first, added) = kept[0].headers.split_at(original.headers.len());
        assert_eq!(first, original.headers, "{topic}");
        let added = |name: &str| {
            let found = added.iter().find(|(found, _)| found == name.as_bytes());
            String::from_utf8(found.unwrap().1.clone().unwrap()).unwrap()
        };
        let place =
            ["strait-link", "strait-source-topic", "strait-source-partition", "strait-source-offset"].map(added);
        assert_eq!(place, [topic, topic, "0", "50"]);
        assert_eq!(added("strait-source-timestamp"), original.timestamp.to_string());
        println!("{topic}: {} ({}): {}", added("strait-plugin"), added("strait-code"), added("strait-text"));
    }
    for topic in ["big-stop", "zero", "zero-now"] {
        let name = format!("strait.{topic}.quarantine");
        assert!(!source.topics().unwrap().iter().any(|(found, _)| *found == name), "{name} was made");
    }

    // A stopped partition stays stopped at the same record in the next run, which says so.
    strait.terminate().unwrap();
    assert_eq!(strait.wait_end(SOON).unwrap().code(), Some(0));
    let mut again = Strait::run("again", &config, &["--until-caught-up"]).unwrap();
    assert_eq!(again.wait_end(SOON).unwrap().code(), Some(1), "{}", again.stderr());
    let mut stopped: Vec<String> =
        again.events("record_stopped").iter().map(|l| l.field("link").unwrap().to_owned()).collect();
    stopped.sort();
    assert_eq!(stopped, ["big-stop", "zero"]);
    assert_eq!(keys(&read("big-stop"), 0), first_half);
}
