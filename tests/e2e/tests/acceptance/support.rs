//! What the tests share: pairs of clusters, records that keep coming, waiting, comparing.

use std::collections::HashSet;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Once};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use strait_e2e::{ConfigFolder, Isolation, Record, Strait, TestClient, Writer, check};
use strait_test_cluster::{Cluster, ClusterSpec};

/// For what takes seconds when all is well.
pub const SOON: Duration = Duration::from_secs(60);
/// For copying everything there is.
pub const COPIED: Duration = Duration::from_secs(300);

static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());

/// Blocks on a future of the test clusters.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}

/// Held while a test runs: one at a time, among threads and processes. A test that fails says why once more at its end,
/// behind the logs of all that it had started: of a long output often only the end is kept.
pub struct Turn {
    _lock: File,
}

/// What the test at hand failed on.
static FAILED_ON: Mutex<String> = Mutex::new(String::new());
static HOOK: Once = Once::new();

/// Waits for this test's turn.
pub fn turn() -> Turn {
    let lock = File::create(concat!(env!("CARGO_TARGET_TMPDIR"), "/acceptance.lock")).unwrap();
    lock.lock().unwrap();
    HOOK.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            *FAILED_ON.lock().unwrap() = info.to_string();
            print(info);
        }));
    });
    Turn { _lock: lock }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the test failed on: {}", FAILED_ON.lock().unwrap());
        }
    }
}

/// The volume of a test, bounded by the environment for quick runs.
pub fn records(full: u64) -> u64 {
    let most = std::env::var("STRAIT_TEST_RECORDS").ok().and_then(|text| text.parse().ok());
    most.unwrap_or(full).min(full)
}

/// What is random in a test; printed, so that a failure can be run again.
pub fn seeded(test: &str) -> StdRng {
    let seed = std::env::var("STRAIT_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    println!("{test}: STRAIT_TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// Bytes that no codec makes smaller.
pub fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    StdRng::seed_from_u64(length as u64).fill_bytes(&mut bytes);
    bytes
}

pub fn unix_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A source and a target.
pub struct Pair {
    pub source: Cluster,
    pub target: Cluster,
}

impl Pair {
    /// Two single brokers.
    pub fn start(name: &str) -> Self {
        Self::of(single(&format!("{name}-source")), single(&format!("{name}-target")))
    }

    pub fn of(source: ClusterSpec, target: ClusterSpec) -> Self {
        let began = Instant::now();
        let (source, target) = now(async { tokio::join!(Cluster::start(source), Cluster::start(target)) });
        let pair = Self { source: source.unwrap(), target: target.unwrap() };
        println!("clusters up after {:.1?}", began.elapsed());
        pair
    }

    /// Sets up and checks the source, around its proxies.
    pub fn at_source(&self) -> TestClient {
        TestClient::new(self.source.internal_bootstrap())
    }

    /// Sets up and checks the target, around its proxies.
    pub fn at_target(&self) -> TestClient {
        TestClient::new(self.target.internal_bootstrap())
    }

    /// A configuration with both clusters, by the names `source` and `target`.
    pub fn config(&self, links: &str) -> ConfigFolder {
        self.config_with("", links)
    }

    /// The same with librdkafka properties for the source.
    pub fn config_with(&self, source_properties: &str, links: &str) -> ConfigFolder {
        let (source, target) = (self.source.bootstrap(), self.target.bootstrap());
        let toml = format!(
            "[clusters.source]\nbootstrap_servers = \"{source}\"\n[clusters.source.kafka]\n{source_properties}\n\
             [clusters.target]\nbootstrap_servers = \"{target}\"\n\n{links}"
        );
        ConfigFolder::new(&toml).unwrap()
    }

    /// The target topic is an exact copy of the source topic.
    #[track_caller]
    pub fn assert_exact(&self, source: &str, target: &str, aborted: &HashSet<u64>) {
        let began = Instant::now();
        let wanted = self.at_source().read_log(source, Isolation::Committed).unwrap();
        let found = self.at_target().read_log(target, Isolation::Committed).unwrap();
        let report = check(&wanted, &found, aborted);
        println!("{source} -> {target}: {report} (read and judged in {:.1?})", began.elapsed());
        assert!(report.is_clean(), "{source} -> {target}: {report}");
        assert!(!wanted.is_empty(), "{source} is empty: nothing was proven");
    }
}

pub fn single(name: &str) -> ClusterSpec {
    ClusterSpec { heap_mb: 512, ..ClusterSpec::new(name) }
}

/// A link from `source` to `target`; `topics` are quoted here, `more` are further lines of it.
pub fn link(name: &str, topics: &[&str], lanes: u32, more: &str) -> String {
    format!(
        "[[links]]\nname = \"{name}\"\nsource = \"source\"\ntarget = \"target\"\ntopics = {topics:?}\nlanes = {lanes}\n{more}\n\n"
    )
}

/// Runs the configuration until all is copied.
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

/// Waits for a condition; it is looked at often, and its deadline is an error.
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

/// A record of partition 0 with the present time.
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

/// Records numbered from `first`, their number as key and value.
pub fn numbered(partition: i32, first: u64, count: u64) -> Vec<Record> {
    let one = |number: u64| {
        let text = number.to_string();
        Record { partition, ..record(Some(text.as_bytes()), Some(text.as_bytes())) }
    };
    (first..first + count).map(one).collect()
}

/// Keys of a partition as text, in order.
pub fn keys(records: &[Record], partition: i32) -> Vec<String> {
    let of = records.iter().filter(|record| record.partition == partition);
    of.map(|record| String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned()).collect()
}

/// The keys that [`numbered`] gives.
pub fn key_range(first: u64, count: u64) -> Vec<String> {
    (first..first + count).map(|number| number.to_string()).collect()
}

/// Asks for the committed ends of a topic's partitions; cheap enough for a loop.
pub struct Ends {
    consumer: BaseConsumer,
    topic: String,
    partitions: i32,
}

impl Ends {
    pub fn new(client: &TestClient, topic: &str, partitions: i32) -> Self {
        let mut config = client.config();
        config.set("group.id", "strait-test-ends").set("isolation.level", "read_committed");
        config.set("reconnect.backoff.max.ms", "200").set("log_level", "2");
        Self { consumer: config.create().unwrap(), topic: topic.to_owned(), partitions }
    }

    /// Last stable offset of each partition; `None` where the cluster does not say now.
    pub fn get(&self) -> Vec<Option<i64>> {
        let ask = |partition| self.consumer.fetch_watermarks(&self.topic, partition, Duration::from_secs(1));
        (0..self.partitions).map(|partition| ask(partition).ok().map(|(_, end)| end)).collect()
    }

    /// Their sum; `None` while one of them is not known.
    pub fn sum(&self) -> Option<i64> {
        self.get().into_iter().sum()
    }
}

/// Plain records at a steady rate until stopped.
pub struct Feed {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Feed {
    /// `per_second` records for each partition, numbered per partition from 0.
    pub fn start(client: &TestClient, topic: &str, partitions: i32, per_second: u32) -> Self {
        let writer = Writer::new(&client.config(), topic).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let pause = Duration::from_secs(1) / per_second;
            let mut number = 0;
            while !told.load(Ordering::Relaxed) {
                for partition in 0..partitions {
                    for record in numbered(partition, number, 1) {
                        writer.send(&record).unwrap();
                    }
                }
                number += 1;
                // The rate, not a wait for something.
                std::thread::sleep(pause);
            }
            writer.flush().unwrap();
            number
        });
        Self { stop, thread: Some(thread) }
    }

    /// Stops it; returns the number of records of each partition.
    pub fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Looks at a topic's committed ends all the time: the longest standstill of each partition since the last mark.
pub struct Pulse {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Seen>>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy)]
struct Seen {
    end: i64,
    at: Instant,
    longest: Duration,
}

impl Pulse {
    pub fn start(client: &TestClient, topic: &str, partitions: i32) -> Self {
        let ends = Ends::new(client, topic, partitions);
        let start = Seen { end: 0, at: Instant::now(), longest: Duration::ZERO };
        let seen = Arc::new(Mutex::new(vec![start; usize::try_from(partitions).unwrap()]));
        let stop = Arc::new(AtomicBool::new(false));
        let (told, shared) = (Arc::clone(&stop), Arc::clone(&seen));
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                let found = ends.get();
                let now = Instant::now();
                for (seen, found) in shared.lock().unwrap().iter_mut().zip(found) {
                    seen.longest = seen.longest.max(now - seen.at);
                    if let Some(end) = found.filter(|end| *end > seen.end) {
                        seen.end = end;
                        seen.at = now;
                    }
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        Self { stop, seen, thread: Some(thread) }
    }

    /// Forgets the standstills so far.
    pub fn mark(&self) {
        let now = Instant::now();
        for seen in self.seen.lock().unwrap().iter_mut() {
            *seen = Seen { at: now, longest: Duration::ZERO, ..*seen };
        }
    }

    /// Longest standstill of each partition, the present one too.
    pub fn longest(&self) -> Vec<Duration> {
        self.seen.lock().unwrap().iter().map(|seen| seen.longest.max(seen.at.elapsed())).collect()
    }

    /// Committed end of each partition as last seen.
    pub fn ends(&self) -> Vec<i64> {
        self.seen.lock().unwrap().iter().map(|seen| seen.end).collect()
    }

    /// Waits until each of these partitions has moved on from where it is now.
    #[track_caller]
    pub fn wait_moved(&self, partitions: &[usize], within: Duration) {
        let before = self.ends();
        let wanted = format!("moved on in partitions {partitions:?}");
        wait_until(&wanted, within, || {
            let ends = self.ends();
            partitions.iter().all(|p| ends[*p] > before[*p]).then_some(())
        });
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// The lanes that a process has, by its log.
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

/// Runs `Tool.java` with Kafka's own client: for what librdkafka cannot do.
#[track_caller]
pub fn kafka_tool(command: &str, client_bootstrap: &str, arguments: &[String]) {
    let jars = strait_test_cluster::KafkaJars::locate().unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/acceptance/Tool.java");
    let output = std::process::Command::new("java")
        .args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
        .arg(jars.class_path())
        .args([source, command, client_bootstrap])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
