//! Batches that are larger than a fetch, or than the memory of the link once they are decompressed.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use strait_e2e::{Isolation, LogLine, Record, Strait, TestClient, write_records};

use crate::support::{Pair, SOON, Turn, key_range, keys, link, noise, numbered, record, wait_until};

const MIB: usize = 1 << 20;

/// Returns a writer that puts everything it gets within a second into one batch.
fn large_batches(client: &TestClient, codec: &str) -> ClientConfig {
    let mut config = client.config();
    config.set("message.max.bytes", "200000000").set("batch.size", "200000000").set("batch.num.messages", "100000");
    config.set("queue.buffering.max.kbytes", "400000").set("linger.ms", "1000").set("compression.type", codec);
    config
}

/// Creates a topic at the source, and its copy at the target, for records of 20 MiB.
fn create(pair: &Pair, topic: &str) {
    let configs = [("max.message.bytes", "20971520")];
    pair.at_source().create_topic(topic, 1, &configs).unwrap();
    pair.at_target().create_topic(&format!("source.{topic}"), 1, &configs).unwrap();
}

fn write(pair: &Pair, topic: &str, first: u64, count: u64) {
    write_records(&pair.at_source().config(), topic, &numbered(0, first, count)).unwrap();
}

fn copies(pair: &Pair, link: &str, topic: &str) -> Vec<Record> {
    let topic = format!("{link}.{topic}");
    if pair.has_target_topic(&topic) {
        pair.at_target().read_records(&topic, Isolation::Committed).unwrap()
    } else {
        Vec::new()
    }
}

#[track_caller]
fn wait_copies(pair: &Pair, link: &str, topic: &str, wanted: &[String]) -> Duration {
    let began = Instant::now();
    let mut found = Vec::new();
    wait_until(&format!("{topic} copied by {link}"), SOON, || {
        found = keys(&copies(pair, link, topic), 0);
        (found == wanted).then_some(())
    });
    began.elapsed()
}

/// Returns a link, and its source under a name of its own, which begins the names of the copies.
fn link_from(pair: &Pair, source: &str, topics: &[&str], more: &str) -> String {
    let cluster = format!("[clusters.{source}]\nbootstrap_servers = \"{}\"\n\n", pair.source.internal_bootstrap());
    cluster + &link(source, topics, 1, more).replace("source = \"source\"", &format!("source = \"{source}\""))
}

/// Waits for the event that stops a partition before a batch that is too large.
#[track_caller]
fn wait_too_large(strait: &Strait, place: &str, parts: &[&str]) {
    let is = |line: &LogLine| line.is_event("source_batch_too_large") && line.message().starts_with(place);
    let line = strait.wait_line(&format!("source_batch_too_large of {place}"), SOON, is).unwrap();
    println!("{}", line.message());
    for part in parts {
        assert!(line.message().contains(part), "{}", line.text);
    }
}

/// Returns the largest memory that a process has had, in MiB; 0 once it has ended.
fn peak_mib(strait: &Strait) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", strait.pid())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()).map_or(0, |kib| kib.parse::<u64>().unwrap() / 1024)
}

#[test]
fn a_record_larger_than_a_fetch_is_copied_in_order_and_one_above_the_memory_stops_its_partition_alone() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    for topic in ["big-record", "big-beside"] {
        create(&pair, topic);
        write(&pair, topic, 0, 100);
    }
    let big = [record(Some(b"big"), Some(&noise(12 * MIB)))];
    write_records(&large_batches(&pair.at_source(), "none"), "big-record", &big).unwrap();
    write(&pair, "big-record", 100, 100);
    write(&pair, "big-beside", 100, 100);

    // With 16 MiB of memory, half of it and a KiB are the most that a batch may have.
    let links = [link("big", &["big-.*"], 1, ""), link_from(&pair, "big-16", &["big-.*"], "memory_mib_max = 16")];
    let config = pair.config(&links.concat());
    let strait = Strait::run("big", &config, &[]).unwrap();
    let all = [key_range(0, 100), vec!["big".to_owned()], key_range(100, 100)].concat();
    println!("copied after {:.1?}", wait_copies(&pair, "source", "big-record", &all));
    wait_copies(&pair, "source", "big-beside", &key_range(0, 200));
    let value = copies(&pair, "source", "big-record").remove(100).value;
    assert_eq!(value.as_deref(), big[0].value.as_deref());

    wait_too_large(&strait, "big-record-0: stopped at offset 100", &["125", "8389632", "memory_mib_max"]);
    wait_copies(&pair, "big-16", "big-beside", &key_range(0, 200));
    write(&pair, "big-beside", 200, 100);
    println!("others go on after {:.1?}", wait_copies(&pair, "big-16", "big-beside", &key_range(0, 300)));
    assert_eq!(keys(&copies(&pair, "big-16", "big-record"), 0), key_range(0, 100));
    for event in ["lane_restarted", "quarantined"] {
        assert!(strait.events(event).is_empty(), "{:?}", strait.events(event));
    }
    assert_eq!(strait.events("source_batch_too_large").len(), 1);
}

#[test]
fn dense_batches_arrive_or_stop_their_partition_alone() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    let zeros = vec![0; MIB / 4];
    let dense: Vec<Record> = (0..240).map(|n| record(Some(format!("z{n}").as_bytes()), Some(&zeros))).collect();
    for codec in ["zstd", "lz4", "gzip"] {
        let topic = format!("dense-{codec}");
        create(&pair, &topic);
        write_records(&large_batches(&pair.at_source(), codec), &topic, &dense).unwrap();
        write(&pair, &topic, 0, 100);
    }
    create(&pair, "dense-beside");
    write(&pair, "dense-beside", 0, 100);
    let all = [dense.iter().map(|z| String::from_utf8(z.key.clone().unwrap()).unwrap()).collect(), key_range(0, 100)];
    let all = all.concat();
    for codec in ["zstd", "lz4", "gzip"] {
        let name = format!("dense-{codec}");
        let topics = [name.as_str(), "dense-beside"];
        let config = pair.config(&link_from(&pair, &name, &topics, ""));
        let mut strait = Strait::run(&name, &config, &["--until-caught-up"]).unwrap();
        // Looked at until the end: the peak is gone with the process.
        let mut peak = 0;
        let ended = wait_until("caught up", SOON, || {
            peak = peak_mib(&strait).max(peak);
            strait.poll_end().unwrap()
        });
        assert_eq!(ended.code(), Some(0), "{}", strait.stderr());
        println!("{codec}: 60 MiB from one batch, {peak} MiB at most");
        wait_copies(&pair, &name, &name, &all);
    }
    let links = link_from(&pair, "dense-16", &["dense-zstd", "dense-beside"], "memory_mib_max = 16");
    let config = pair.config(&links);
    let strait = Strait::run("dense-16", &config, &[]).unwrap();
    wait_too_large(&strait, "dense-zstd-0: stopped at offset 0", &["zstd", "8389632", "memory_mib_max"]);
    write(&pair, "dense-beside", 100, 100);
    wait_copies(&pair, "dense-16", "dense-beside", &key_range(0, 200));
    assert!(strait.events("lane_restarted").is_empty());
}
