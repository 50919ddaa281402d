//! The parts that scenarios share: turns, clusters, records that keep coming, waiting, comparing.

mod authored;
mod clusters;
mod pulse;
mod turn;

use std::collections::HashSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use strait_e2e::{ConfigFolder, LogLine, Record, Strait, TestClient};

pub use authored::authored;
pub use clusters::{Pair, SlowLine, compiled_java, kafka_tool, kafka_tool_output, now, settings, single};
pub use pulse::{Ends, Feed, Pulse};
pub use turn::Turn;

/// Deadline of events that take seconds when all is well, on a machine that is busy otherwise.
pub const SOON: Duration = Duration::from_secs(120);
/// Writes nothing for MirrorMaker 2's clients.
pub const QUIET: &str = "mm2 = { heartbeats = \"off\", checkpoints = false }\n";
/// Deadline of a copy of everything.
pub const COPIED: Duration = Duration::from_secs(600);

/// Returns the number of records of a scenario, bounded by `STRAIT_TEST_RECORDS` for quick runs.
pub fn records(full: u64) -> u64 {
    let most = std::env::var("STRAIT_TEST_RECORDS").ok().and_then(|text| text.parse().ok());
    most.unwrap_or(full).min(full)
}

/// Returns a scenario's random numbers and prints their seed, so that a failure can be repeated.
pub fn seeded(test: &str) -> StdRng {
    let seed = std::env::var("STRAIT_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    println!("{test}: STRAIT_TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// Returns bytes that no codec makes smaller.
pub fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    StdRng::seed_from_u64(length as u64).fill_bytes(&mut bytes);
    bytes
}

pub fn unix_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Returns a link from `source` to `target`; `topics` are quoted here, `more` are further lines of
/// it.
pub fn link(name: &str, topics: &[&str], lanes: u32, more: &str) -> String {
    link_between(name, "source", "target", topics, lanes, more)
}

/// Returns a link between clusters of these names.
pub fn link_between(name: &str, source: &str, target: &str, topics: &[&str], lanes: u32, more: &str) -> String {
    // Scenarios share a pair and count its records and topics: heartbeats would be among them.
    let mm2 = if more.contains("mm2") { "" } else { QUIET };
    format!(
        "[[links]]\nname = \"{name}\"\nsource = \"{source}\"\ntarget = \"{target}\"\ntopics = {topics:?}\nlanes = {lanes}\n{mm2}{more}\n\n"
    )
}

/// Runs the configuration until everything is copied, without a restart of a lane.
#[track_caller]
pub fn copy(config: &ConfigFolder) -> Strait {
    let strait = caught_up("copy", config);
    let restarts = strait.events("lane_restarted");
    assert!(restarts.is_empty(), "nothing was wrong, yet: {restarts:?}");
    strait
}

/// Runs the configuration under this name until everything is copied.
#[track_caller]
pub fn caught_up(name: &str, config: &ConfigFolder) -> Strait {
    caught_up_in(name, config, &[])
}

/// Does the same with these variables in the environment.
#[track_caller]
pub fn caught_up_in(name: &str, config: &ConfigFolder, variables: &[(&str, &str)]) -> Strait {
    let began = Instant::now();
    let mut strait = Strait::run_in(name, config, &["--until-caught-up"], variables).unwrap();
    let status = strait.wait_end(COPIED).unwrap();
    println!("caught up after {:.1?}", began.elapsed());
    assert_eq!(status.code(), Some(0), "{}", strait.stderr());
    strait
}

/// Runs the binary to its end; returns its exit code and all that it printed.
#[track_caller]
pub fn run_to_end(name: &str, config: &ConfigFolder, arguments: &[&str], within: Duration) -> (Option<i32>, String) {
    let mut strait = Strait::start(name, config.path(), arguments).unwrap();
    let code = strait.wait_end(within).unwrap().code();
    (code, format!("{}\n{}", strait.stdout(), strait.stderr()))
}

/// Ends a process in an orderly way.
#[track_caller]
pub fn stop(strait: &mut Strait) {
    strait.terminate().unwrap();
    assert_eq!(strait.wait_end(SOON).unwrap().code(), Some(0), "{}", strait.stderr());
}

/// Waits for an event of a link about `place`.
#[track_caller]
pub fn wait_event(strait: &Strait, link: &str, event: &str, place: &str) -> LogLine {
    let is = |line: &LogLine| {
        line.is_event(event) && line.field("link") == Some(link) && line.message().starts_with(&format!("{place}:"))
    };
    let line = strait.wait_line(&format!("{event} for {place}"), SOON, is).unwrap();
    println!("{}", line.message());
    line
}

/// Returns a figure of `/proc/PID/status` in KiB; `None` once the process has ended.
pub fn status_kib(strait: &Strait, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", strait.pid())).ok()?;
    let figure = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(figure.split_whitespace().next()?.parse().unwrap())
}

/// Waits for a condition; a missed deadline is an error.
#[track_caller]
pub fn wait_until<T>(wanted: &str, within: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(began.elapsed() < within, "not {wanted} within {within:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Returns a record of partition 0 with the present time.
pub fn record(key: Option<&[u8]>, value: Option<&[u8]>) -> Record {
    Record {
        partition: 0,
        offset: -1,
        timestamp: unix_ms(),
        key: key.map(<[u8]>::to_vec),
        value: value.map(<[u8]>::to_vec),
        headers: Vec::new(),
    }
}

/// Returns records numbered from `first`, with the number as key and value.
pub fn numbered(partition: i32, first: u64, count: u64) -> Vec<Record> {
    let one = |number: u64| {
        let text = number.to_string();
        Record { partition, ..record(Some(text.as_bytes()), Some(text.as_bytes())) }
    };
    (first..first + count).map(one).collect()
}

/// Writes the records of [`numbered`] to a topic.
#[track_caller]
pub fn write_numbered(client: &TestClient, topic: &str, partition: i32, first: u64, count: u64) {
    client.write(topic, &numbered(partition, first, count)).unwrap();
}

/// Begins a transaction that writes the key `open` to partition 0 of a topic and stays open.
#[track_caller]
pub fn open_transaction(client: &TestClient, topic: &str) -> BaseProducer {
    let mut config = client.config();
    config.set("transactional.id", "never-ends").set("transaction.timeout.ms", "600000");
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(SOON).unwrap();
    producer.begin_transaction().unwrap();
    producer.send(BaseRecord::to(topic).partition(0).key("open").payload("open")).unwrap();
    producer.flush(SOON).unwrap();
    producer
}

/// Returns the keys of a partition as text, in order.
pub fn keys(records: &[Record], partition: i32) -> Vec<String> {
    let of = records.iter().filter(|record| record.partition == partition);
    of.map(|record| String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned()).collect()
}

/// Returns the keys of [`numbered`].
pub fn key_range(first: u64, count: u64) -> Vec<String> {
    (first..first + count).map(|number| number.to_string()).collect()
}

/// Returns the lanes that a process has, by its log.
pub fn lanes_of(strait: &Strait) -> HashSet<u32> {
    let mut lanes = HashSet::new();
    for line in strait.lines() {
        let Some(lane) = line.field("lane").and_then(|lane| lane.parse().ok()) else {
            continue;
        };
        match line.message() {
            "taking the lane" => lanes.insert(lane),
            "giving the lane up" => lanes.remove(&lane),
            _ => false,
        };
    }
    lanes
}
