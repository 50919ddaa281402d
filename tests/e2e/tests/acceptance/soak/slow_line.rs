//! A line to the target that carries less than what a lane may have in flight in five seconds.

use std::time::Instant;

use rand::Rng as _;
use strait_e2e::{Isolation, Record, Strait, write_records};

use crate::support::{COPIED, Pair, Turn, link, record, seeded, single};

const PARTITIONS: i32 = 64;
const LINE_BYTES_S: u64 = 8_000_000;
/// 240 MB in all: half a minute of the line, and more than a lane may have in flight.
const RECORDS: i32 = 24_000;
const VALUE_BYTES: usize = 10_000;

#[test]
#[ignore = "soak: a minute"]
fn a_slow_line_makes_no_partition_stuck_and_restarts_no_lane() {
    let _turn = Turn::alone();
    let mut rng = seeded("slow-line");
    let pair = Pair::of(single("slow-source"), single("slow-target").with_proxies());
    pair.at_source().create_topic("slow", PARTITIONS, &[]).unwrap();
    let mut one = |number: i32| {
        let mut value = vec![0; VALUE_BYTES];
        rng.fill_bytes(&mut value);
        Record { partition: number % PARTITIONS, ..record(Some(&number.to_be_bytes()), Some(&value)) }
    };
    let records: Vec<Record> = (0..RECORDS).map(&mut one).collect();
    write_records(&pair.at_source().config(), "slow", &records).unwrap();
    pair.target.proxy(0).unwrap().throttle(LINE_BYTES_S);
    let config = pair.config(&link("slow", &["slow"], 1, ""));
    let began = Instant::now();
    let mut strait = Strait::run("slow", &config, &["--until-caught-up"]).unwrap();
    let status = strait.wait_end(COPIED).unwrap();
    println!("copied in {:.1?}", began.elapsed());
    assert_eq!(status.code(), Some(0), "{}", strait.stderr());
    for event in ["target_stuck", "lane_restarted"] {
        assert!(strait.events(event).is_empty(), "{:?}", strait.events(event));
    }
    let copies = pair.at_target().read_log("source.slow", Isolation::Committed).unwrap();
    assert_eq!(copies.len(), records.len());
}
