//! Plugins reloaded while records flow: one version judges each record; none is lost, duplicated or
//! out of order.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use strait_e2e::{ConfigFolder, LogLine, Strait, TestClient, Writer};

use crate::support::{Pair, SOON, Turn, link, numbered, stop, unix_ms};

const PARTITIONS: i32 = 4;

/// A plugin that writes its version into a header.
pub struct Stamp {
    pub version: char,
    pub interface: &'static str,
    pub configure: u8,
    pub trouble: &'static str,
    pub schema: String,
    /// Of its memory.
    pub pages: u32,
    /// Further parts of the module.
    pub parts: String,
}

impl Stamp {
    pub fn version(version: char) -> Self {
        Self {
            version,
            interface: "0.1.0",
            configure: 0,
            trouble: "",
            schema: String::new(),
            pages: 64,
            parts: String::new(),
        }
    }

    pub fn wasm(&self) -> Vec<u8> {
        let text = include_str!("../../../../plugins/test-guests/stamp.wat")
            .replace("@STAMP@", &self.version.to_string())
            .replace("@INTERFACE@", self.interface)
            .replace("@CONFIGURE@", &self.configure.to_string())
            .replace("@TROUBLE@", self.trouble)
            .replace("@SCHEMA@", &self.schema.replace('"', "\\22"))
            .replace("@SCHEMA_BYTES@", &self.schema.len().to_string())
            .replace("@PAGES@", &self.pages.to_string())
            .replace("@PARTS@", &self.parts);
        wat::parse_str(text).unwrap()
    }

    /// Puts the file in place.
    pub fn put(&self, config: &ConfigFolder) {
        put(config, &self.wasm());
    }
}

/// Renames these bytes into the place of the plugin `stamp`, as a careful deployment does.
pub fn put(config: &ConfigFolder, bytes: &[u8]) {
    config.write("plugins/stamp.new", bytes).unwrap();
    fs::rename(config.path().join("plugins/stamp.new"), config.path().join("plugins/stamp.wasm")).unwrap();
}

/// A steady stream of records, numbered per partition.
struct Stream {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Stream {
    fn start(client: &TestClient, topic: &str, per_second: u64) -> Self {
        let writer = Writer::new(&client.config(), topic).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let began = Instant::now();
            let mut next = 0;
            while !stopped.load(Ordering::Relaxed) {
                let due = began.elapsed().as_millis() as u64 * per_second / 1000 / PARTITIONS as u64;
                for partition in 0..PARTITIONS {
                    for record in numbered(partition, next, due - next) {
                        writer.send(&record).unwrap();
                    }
                }
                next = due;
                // The rate, not a wait for something.
                std::thread::sleep(Duration::from_millis(2));
            }
            writer.flush().unwrap();
            next
        });
        Self { stop, thread }
    }

    /// Stops the stream; returns the number of records of each partition.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// The records of a partition that the reader has checked.
#[derive(Default)]
struct Seen {
    next: u64,
    version: String,
    changes: usize,
}

/// A reader that follows a target topic and checks every record.
struct Reader {
    consumer: BaseConsumer,
    seen: BTreeMap<i32, Seen>,
    by_version: BTreeMap<String, u64>,
    latencies_ms: Vec<i64>,
}

impl Reader {
    fn new(pair: &Pair, topic: &str) -> Self {
        pair.wait_target_topic(topic);
        let mut config = pair.at_target().config();
        config.set("group.id", topic).set("isolation.level", "read_committed").set("fetch.wait.max.ms", "5");
        let consumer: BaseConsumer = config.create().unwrap();
        let mut places = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            places.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&places).unwrap();
        Self { consumer, seen: BTreeMap::new(), by_version: BTreeMap::new(), latencies_ms: Vec::new() }
    }

    /// Checks one record, if one comes.
    fn poll(&mut self) -> bool {
        let Some(message) = self.consumer.poll(Duration::from_millis(20)) else { return false };
        let message = message.unwrap();
        self.latencies_ms.push(unix_ms() - message.timestamp().to_millis().unwrap());
        let headers: Vec<(String, String)> = message
            .headers()
            .into_iter()
            .flat_map(|headers| headers.iter())
            .map(|header| {
                (header.key.to_owned(), String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned())
            })
            .collect();
        let place = format!("partition {} offset {}", message.partition(), message.offset());
        assert_eq!(headers.len(), 1, "{place}: not exactly one version: {headers:?}");
        assert_eq!(headers[0].0, "version", "{place}");
        let seen = self.seen.entry(message.partition()).or_default();
        let number = String::from_utf8_lossy(message.key().unwrap());
        assert_eq!(number, seen.next.to_string(), "{place}: lost, doubled or out of order");
        seen.next += 1;
        if seen.version != headers[0].1 {
            seen.changes += 1;
            seen.version.clone_from(&headers[0].1);
        }
        *self.by_version.entry(headers[0].1.clone()).or_default() += 1;
        true
    }

    /// Reads while `more` holds.
    fn read_while(&mut self, mut more: impl FnMut(&Self) -> bool) {
        while more(self) {
            self.poll();
        }
    }

    /// Reads until every partition has this many.
    #[track_caller]
    fn read_to(&mut self, count: u64) {
        let began = Instant::now();
        self.read_while(|reader| {
            assert!(began.elapsed() < SOON, "not {count} of each partition: {:?}", reader.counts());
            reader.counts().len() < PARTITIONS as usize || reader.counts().iter().any(|read| *read < count)
        });
    }

    /// Reads until a version has come in every partition.
    #[track_caller]
    fn read_version(&mut self, version: &str) {
        let began = Instant::now();
        self.read_while(|reader| {
            assert!(began.elapsed() < SOON, "version {version} does not come: {:?}", reader.by_version);
            reader.seen.len() < PARTITIONS as usize || reader.seen.values().any(|seen| seen.version != version)
        });
    }

    fn counts(&self) -> Vec<u64> {
        self.seen.values().map(|seen| seen.next).collect()
    }

    /// Returns the median, 99th percentile and maximum of the latencies since the last call, in
    /// milliseconds.
    fn latencies(&mut self) -> [i64; 3] {
        let mut all = std::mem::take(&mut self.latencies_ms);
        all.sort_unstable();
        let at = |part: f64| all[((all.len() - 1) as f64 * part) as usize];
        [at(0.5), at(0.99), at(1.0)]
    }
}

/// A running link over the topic of its name, with version A of the plugin, and everything around
/// it.
struct Bed {
    config: ConfigFolder,
    strait: Strait,
    reader: Reader,
    stream: Stream,
}

impl Bed {
    fn start(name: &str, settle_ms: u32, per_second: u64) -> Self {
        let pair = Pair::shared();
        pair.at_source().create_topic(name, PARTITIONS, &[]).unwrap();
        let options = format!("reload = {{ settle_ms = {settle_ms} }}\n[[links.plugins]]\nplugin = \"stamp\"\n");
        let config = pair.config(&link(name, &[name], 2, &options));
        Stamp::version('A').put(&config);
        let strait = Strait::run(name, &config, &[]).unwrap();
        let reader = Reader::new(&pair, &format!("source.{name}"));
        let stream = Stream::start(&pair.at_source(), name, per_second);
        Self { config, strait, reader, stream }
    }
}

#[track_caller]
fn wait_event(strait: &Strait, event: &str, count: usize) -> LogLine {
    strait
        .wait_for(&format!("{count} x {event}"), SOON, |lines| {
            lines.iter().filter(|line| line.is_event(event)).nth(count - 1).cloned()
        })
        .unwrap()
}

#[test]
fn a_changed_file_is_reloaded_and_bad_ones_never_stop_the_flow() {
    let _turn = Turn::beside_another();
    let Bed { config, mut strait, mut reader, stream } = Bed::start("reload", 100, 2_000);
    reader.read_version("A");
    Stamp::version('B').put(&config);
    reader.read_version("B");
    let reloaded = wait_event(&strait, "plugins_reloaded", 1);
    println!("{}", reloaded.message());

    // Each is refused before a record sees it.
    let refused = [
        (Stamp { interface: "0.9.0", ..Stamp::version('C') }, "speaks strait:plugin@0.9.0"),
        (Stamp { configure: 1, ..Stamp::version('C') }, "refuses its configuration"),
    ];
    let mut refusals = 0;
    for (stamp, reason) in refused {
        stamp.put(&config);
        refusals += 1;
        let line = wait_event(&strait, "plugins_refused", refusals);
        assert!(line.message().contains(reason), "{}", line.text);
    }
    let whole = Stamp::version('C').wasm();
    config.write("plugins/stamp.wasm", &whole[..whole.len() / 2]).unwrap();
    refusals += 1;
    assert!(wait_event(&strait, "plugins_refused", refusals).message().contains("not valid WebAssembly"));
    fs::remove_file(config.path().join("plugins/stamp.wasm")).unwrap();
    refusals += 1;
    assert!(wait_event(&strait, "plugins_refused", refusals).message().contains("cannot be read"));
    let (before, after) = (reader.counts(), reader.counts()[0] + 500);
    reader.read_to(after);
    println!("{before:?} -> {:?}, all by B: {:?}", reader.counts(), reader.by_version);
    assert!(reader.seen.values().all(|seen| seen.version == "B"));

    // Each is reloaded, breaks on records and is rolled back.
    let trap = "(if (i32.gt_u (global.get $seen) (i32.const 1000)) (then unreachable))";
    let spin = "(loop $spin (br $spin))";
    let broken = [
        (Stamp { trouble: trap, ..Stamp::version('D') }, "unreachable"),
        (Stamp { trouble: spin, ..Stamp::version('E') }, "did not end within"),
    ];
    for (number, (stamp, reason)) in (1..).zip(broken) {
        stamp.put(&config);
        let line = wait_event(&strait, "plugins_rolled_back", number);
        println!("{}", line.message());
        assert!(line.message().contains(reason), "{}", line.text);
        reader.read_version("B");
        let further = reader.counts()[0] + 500;
        reader.read_to(further);
    }
    assert_eq!(reader.by_version.get("E"), None, "{:?}", reader.by_version);

    // A good one is still reloaded.
    Stamp::version('F').put(&config);
    reader.read_version("F");
    let sent = stream.stop();
    reader.read_to(sent);
    println!("{sent} records of each partition, by version: {:?}", reader.by_version);
    for event in ["plugin_failed", "lane_restarted", "quarantined"] {
        assert!(strait.events(event).is_empty(), "{:?}", strait.events(event));
    }
    stop(&mut strait);
}

/// `STRAIT_TEST_RELOADS` changes the number.
#[test]
fn a_hundred_reloads_under_load_neither_lose_nor_duplicate_nor_mix_records() {
    let reloads = std::env::var("STRAIT_TEST_RELOADS").ok().and_then(|text| text.parse().ok());
    reload_under_load("storm", reloads.unwrap_or(100));
}

#[test]
#[ignore = "soak: several minutes of reloads"]
fn five_hundred_reloads_under_load_neither_lose_nor_duplicate_nor_mix_records() {
    reload_under_load("long-storm", 500);
}

/// Reloads so many times under 20,000 records/s.
fn reload_under_load(name: &str, reloads: usize) {
    let _turn = Turn::alone();
    let Bed { config, mut strait, mut reader, stream } = Bed::start(name, 0, 20_000);
    // The start of brokers, link and reader has a backlog of its own.
    let warm = Instant::now();
    reader.read_while(|_| warm.elapsed() < Duration::from_secs(5));
    reader.latencies();
    let quiet = Instant::now();
    reader.read_while(|_| quiet.elapsed() < Duration::from_secs(8));
    let without = reader.latencies();

    let read = reader.counts().iter().sum::<u64>();
    let began = Instant::now();
    for number in 1..=reloads {
        Stamp::version(if number % 2 == 1 { 'B' } else { 'A' }).put(&config);
        let mut due = Instant::now();
        reader.read_while(|_| {
            if due.elapsed() < Duration::from_millis(10) {
                return true;
            }
            due = Instant::now();
            assert!(began.elapsed() < SOON * 10, "reload {number} does not come");
            strait.events("plugins_reloaded").len() < number
        });
    }
    let took = began.elapsed();
    let per_second = (reader.counts().iter().sum::<u64>() - read) as f64 / took.as_secs_f64();
    let with = reader.latencies();
    let sent = stream.stop();
    reader.read_to(sent);
    let changes: Vec<usize> = reader.seen.values().map(|seen| seen.changes - 1).collect();
    println!(
        "{reloads} reloads in {took:.1?} under {per_second:.0} records/s; {sent} records of each of {PARTITIONS} partitions; \
         changes of version seen per partition: {changes:?}; by version: {:?}",
        reader.by_version
    );
    println!("latency p50/p99/max ms: without reloads {without:?}, with reloads {with:?}");
    assert!(changes.iter().all(|changes| *changes <= reloads), "a batch was judged by two versions: {changes:?}");
    assert!(changes.iter().all(|changes| *changes * 2 > reloads), "most reloads were never seen: {changes:?}");
    for event in ["plugin_failed", "lane_restarted", "quarantined", "plugins_refused", "plugins_rolled_back"] {
        assert!(strait.events(event).is_empty(), "{:?}", strait.events(event));
    }
    stop(&mut strait);
}
