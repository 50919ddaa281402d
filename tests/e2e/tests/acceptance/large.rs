//! Batches that are larger than a fetch, or than the memory of the link once they are decompressed.

use rdkafka::ClientConfig;
use strait_e2e::{Isolation, Record, Strait, TestClient, write_records};

use crate::support::{
    Pair, SOON, Turn, key_range, link, noise, record, status_kib, wait_event, wait_until, write_numbered,
};

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

/// Waits for the event that stops a partition before a batch that is too large.
#[track_caller]
fn wait_too_large(strait: &Strait, link: &str, place: &str, parts: &[&str]) {
    let line = wait_event(strait, link, "source_batch_too_large", place);
    for part in parts {
        assert!(line.message().contains(part), "{}", line.text);
    }
}

#[test]
fn a_record_larger_than_a_fetch_is_copied_in_order_and_one_above_the_memory_stops_its_partition_alone() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    let source = pair.at_source();
    for topic in ["larger-record", "larger-beside"] {
        create(&pair, topic);
        write_numbered(&source, topic, 0, 0, 100);
    }
    let big = [record(Some(b"big"), Some(&noise(12 * MIB)))];
    write_records(&large_batches(&source, "none"), "larger-record", &big).unwrap();
    write_numbered(&source, "larger-record", 0, 100, 100);
    write_numbered(&source, "larger-beside", 0, 100, 100);

    // With 16 MiB of memory, half of it and a KiB are the most that a batch may have.
    let links =
        [link("larger", &["larger-.*"], 1, ""), pair.link_from("larger-16", &["larger-.*"], "memory_mib_max = 16")];
    let config = pair.config(&links.concat());
    let strait = Strait::run("larger", &config, &[]).unwrap();
    let all = [key_range(0, 100), vec!["big".to_owned()], key_range(100, 100)].concat();
    println!("copied after {:.1?}", pair.wait_keys("source.larger-record", 0, &all));
    pair.wait_keys("source.larger-beside", 0, &key_range(0, 200));
    let copies = pair.at_target().read_records("source.larger-record", Isolation::Committed).unwrap();
    assert_eq!(copies[100].value.as_deref(), big[0].value.as_deref());

    wait_too_large(
        &strait,
        "larger-16",
        "larger-record-0",
        &["larger-record-0: stopped at offset 100", "125", "8389632", "memory_mib_max"],
    );
    pair.wait_keys("larger-16.larger-beside", 0, &key_range(0, 200));
    write_numbered(&source, "larger-beside", 0, 200, 100);
    println!("others go on after {:.1?}", pair.wait_keys("larger-16.larger-beside", 0, &key_range(0, 300)));
    assert_eq!(pair.keys("larger-16.larger-record", 0), key_range(0, 100));
    for event in ["lane_restarted", "quarantined"] {
        assert!(strait.events(event).is_empty(), "{:?}", strait.events(event));
    }
    assert_eq!(strait.events("source_batch_too_large").len(), 1);
}

#[test]
fn dense_batches_arrive_or_stop_their_partition_alone() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    let source = pair.at_source();
    let zeros = vec![0; MIB / 4];
    let dense: Vec<Record> = (0..240).map(|n| record(Some(format!("z{n}").as_bytes()), Some(&zeros))).collect();
    for codec in ["zstd", "lz4", "gzip"] {
        let topic = format!("dense-{codec}");
        create(&pair, &topic);
        write_records(&large_batches(&source, codec), &topic, &dense).unwrap();
        write_numbered(&source, &topic, 0, 0, 100);
    }
    create(&pair, "dense-beside");
    write_numbered(&source, "dense-beside", 0, 0, 100);
    let all = [dense.iter().map(|z| String::from_utf8(z.key.clone().unwrap()).unwrap()).collect(), key_range(0, 100)];
    let all = all.concat();
    for codec in ["zstd", "lz4", "gzip"] {
        let name = format!("dense-{codec}");
        let topics = [name.as_str(), "dense-beside"];
        let config = pair.config(&pair.link_from(&name, &topics, ""));
        let mut strait = Strait::run(&name, &config, &["--until-caught-up"]).unwrap();
        // Looked at until the end: the peak is gone with the process.
        let mut peak = 0;
        let ended = wait_until("caught up", SOON, || {
            peak = peak.max(status_kib(&strait, "VmHWM").map_or(0, |kib| kib / 1024));
            strait.poll_end().unwrap()
        });
        assert_eq!(ended.code(), Some(0), "{}", strait.stderr());
        println!("{codec}: 60 MiB from one batch, {peak} MiB at most");
        pair.wait_keys(&format!("{name}.{name}"), 0, &all);
    }
    let link = pair.link_from("dense-16", &["dense-zstd", "dense-beside"], "memory_mib_max = 16");
    let config = pair.config(&link);
    let strait = Strait::run("dense-16", &config, &[]).unwrap();
    wait_too_large(
        &strait,
        "dense-16",
        "dense-zstd-0",
        &["dense-zstd-0: stopped at offset 0", "zstd", "8389632", "memory_mib_max"],
    );
    write_numbered(&source, "dense-beside", 0, 100, 100);
    pair.wait_keys("dense-16.dense-beside", 0, &key_range(0, 200));
    assert!(strait.events("lane_restarted").is_empty());
}
