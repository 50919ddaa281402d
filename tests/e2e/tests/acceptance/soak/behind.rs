//! A lane that has made very many small transactions is taken as fast as a young one.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use std::{fmt, fs};

use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use strait_e2e::{ConfigFolder, Isolation, Record, Strait, TestClient, write_records};

use crate::support::{Ends, Pair, SOON, Turn, copy, link, numbered, single, wait_until};

/// Transactions of a lane with 40 a second in an hour.
const TRANSACTIONS: usize = 136_000;
const PRODUCERS: usize = 4;
const ONE_WAY: Duration = Duration::from_millis(40);
const LATER_MAX: Duration = Duration::from_secs(1);
const READ_MAX: u64 = 8 << 20;
/// Two rounds of the cleaner, with the retention of markers between them.
const CLEANED: Duration = Duration::from_secs(240);

#[test]
#[ignore = "soak: some minutes"]
fn a_lane_behind_136_000_transactions_is_taken_as_fast_as_a_young_one_over_80_ms() {
    let _turn = Turn::alone();
    let target = single("behind-target").with_proxies().with_property("log.cleaner.backoff.ms", "1000");
    let pair = Pair::of(single("behind-source"), target);
    for name in ["old", "young"] {
        pair.at_source().create_topic(name, 1, &[]).unwrap();
        write_records(&pair.at_source().config(), name, &numbered(0, 0, 100)).unwrap();
        copy(&config(&pair, name));
    }
    let progress = "strait.old.progress";
    let last = pair.at_target().read_records(progress, Isolation::Committed).unwrap();
    let last = last.into_iter().rev().find(|record| record.value.is_some() && of_topic(record)).unwrap();

    let began = Instant::now();
    repeat(&pair.at_target(), progress, &last, TRANSACTIONS);
    println!("{TRANSACTIONS} transactions in {:.0?}, log of {} KiB", began.elapsed(), log_kib(&pair, progress));
    let began = Instant::now();
    // Each round of the cleaner needs something new in the log.
    while log_kib(&pair, progress) > READ_MAX >> 10 && began.elapsed() < CLEANED {
        repeat(&pair.at_target(), progress, &last, 500);
        thread::sleep(Duration::from_secs(5));
    }
    println!("cleaned in {:.0?}, log of {} KiB", began.elapsed(), log_kib(&pair, progress));

    pair.target.proxies().iter().for_each(|proxy| proxy.delay(ONE_WAY));
    let (young, old) = (take(&pair, "young"), take(&pair, "old"));
    println!("young: {young}\nbehind: {old}");
    assert!(old.take <= young.take + LATER_MAX, "{old} instead of {young}");
    assert!(old.bytes <= READ_MAX, "{old}");
}

fn config(pair: &Pair, name: &str) -> ConfigFolder {
    pair.config(&link(name, &[name], 1, ""))
}

/// Reports whether a record of progress is the position of the link's partition.
fn of_topic(record: &Record) -> bool {
    record.key.as_deref().is_some_and(|key| key.windows(3).any(|part| part == b"old"))
}

/// Writes the same record again and again, each in a transaction of its own.
fn repeat(client: &TestClient, topic: &str, record: &Record, times: usize) {
    thread::scope(|scope| {
        for index in 0..PRODUCERS {
            scope.spawn(move || {
                let mut config = client.config();
                config.set("transactional.id", format!("old-lane-{index}")).set("linger.ms", "0");
                let producer: ThreadedProducer<DefaultProducerContext> = config.create().unwrap();
                producer.init_transactions(SOON).unwrap();
                let (key, value) = (record.key.as_deref().unwrap(), record.value.as_deref().unwrap());
                for _ in 0..times / PRODUCERS {
                    producer.begin_transaction().unwrap();
                    let copy = BaseRecord::to(topic).partition(record.partition).key(key).payload(value);
                    producer.send(copy).map_err(|(error, _)| error).unwrap();
                    strait_e2e::commit(&producer, SOON).unwrap();
                }
            });
        }
    });
}

/// Size of the logs of a topic's only partition.
fn log_kib(pair: &Pair, topic: &str) -> u64 {
    let folder = pair.target.folder().join(format!("data-1/{topic}-0"));
    let length = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|end| end == "log")).map(|path| length(&path)).sum::<u64>() >> 10
}

/// How long a link takes to copy the record that waited for it.
struct Waited {
    /// From the start of the process, which reads the progress once to see whose the lane is.
    start: Duration,
    /// From the take of the lane.
    take: Duration,
    /// Bytes that the target has sent since the take.
    bytes: u64,
}

impl fmt::Display for Waited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start, take, bytes } = self;
        write!(f, "{take:.1?} and {bytes} bytes after the take, {start:.1?} after the start")
    }
}

/// Starts the link and waits until it has copied a record.
fn take(pair: &Pair, name: &str) -> Waited {
    let ends = Ends::new(&pair.at_target(), &format!("source.{name}"), 1);
    let before = ends.sum().unwrap();
    write_records(&pair.at_source().config(), name, &numbered(0, 100, 1)).unwrap();
    let sent = || -> u64 { pair.target.proxies().iter().map(|proxy| proxy.bytes()[1]).sum() };
    let config = config(pair, name);
    let started = Instant::now();
    let mut strait = Strait::run(name, &config, &[]).unwrap();
    let taking = strait.wait_line("the take", SOON, |line| line.message() == "taking the lane").unwrap();
    let sent_before = sent();
    wait_until("the record that waited", SOON, || ends.sum().filter(|sum| *sum > before));
    let waited = Waited { start: started.elapsed(), take: taking.at.elapsed(), bytes: sent() - sent_before };
    strait.terminate().unwrap();
    assert_eq!(strait.wait_end(SOON).unwrap().code(), Some(0), "{}", strait.stderr());
    waited
}
