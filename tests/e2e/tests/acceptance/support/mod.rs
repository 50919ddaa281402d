//! The parts that scenarios share: turns, clusters, records that keep coming, waiting, comparing.

mod clusters;
mod pulse;
mod turn;

use std::collections::HashSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use strait_e2e::{ConfigFolder, Record, Strait};

pub use clusters::{Pair, SlowLine, kafka_tool, now, settings, single};
pub use pulse::{Ends, Feed, Pulse};
pub use turn::Turn;

/// Deadline of events that take seconds when all is well.
pub const SOON: Duration = Duration::from_secs(60);
/// Deadline of a copy of everything.
pub const COPIED: Duration = Duration::from_secs(300);

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
    format!(
        "[[links]]\nname = \"{name}\"\nsource = \"source\"\ntarget = \"target\"\ntopics = {topics:?}\nlanes = {lanes}\n{more}\n\n"
    )
}

/// Runs the configuration until everything is copied.
#[track_caller]
pub fn copy(config: &ConfigFolder) -> Strait {
    let began = Instant::now();
    let mut strait = Strait::run("copy", config, &["--until-caught-up"]).unwrap();
    let status = strait.wait_end(COPIED).unwrap();
    println!("caught up after {:.1?}", began.elapsed());
    assert_eq!(status.code(), Some(0), "{}", strait.stderr());
    let restarts = strait.events("lane_restarted");
    assert!(restarts.is_empty(), "nothing was wrong, yet: {restarts:?}");
    strait
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
