//! Pairs of clusters: one that most scenarios share, and those of scenarios that kill brokers or
//! configure them.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use strait_e2e::{ConfigFolder, Isolation, TestClient, check};
use strait_test_cluster::{Cluster, ClusterSpec, KafkaJars, at_exit};
use tempfile::TempDir;

use super::{SOON, keys, link_between, wait_until};

static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());
/// Started by the first scenario that uses it; ends with the process.
static SHARED: Mutex<Option<Pair>> = Mutex::new(None);
static SLOW_LINE: Mutex<()> = Mutex::new(());
/// The folder of `Tool.java`'s classes, which are compiled once.
static TOOL: OnceLock<PathBuf> = OnceLock::new();
/// The scenario that has a name on the shared target: of a link, or of a source topic.
static TAKEN: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

/// Blocks on a future of the test clusters.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}

fn shared() -> MutexGuard<'static, Option<Pair>> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The kernel ends the brokers with this process in any case; this removes their folders too.
extern "C" fn end_shared() {
    shared().take();
}

/// Keeps the logs of the shared pair: a scenario has failed.
pub fn keep_shared_logs() {
    if let Some(pair) = &*shared() {
        pair.source.keep_logs();
        pair.target.keep_logs();
    }
}

/// A source and a target.
#[derive(Clone)]
pub struct Pair {
    pub source: Arc<Cluster>,
    pub target: Arc<Cluster>,
}

impl Pair {
    /// Returns the pair that scenarios share. Each has topics and links of its own names there,
    /// leaves the brokers alone and slows the source down only by a [`SlowLine`].
    pub fn shared() -> Self {
        let mut shared = shared();
        if let Some(pair) = &*shared {
            return pair.clone();
        }
        let pair = Self::of(single("shared-source").with_proxies(), single("shared-target"));
        at_exit(end_shared).unwrap();
        *shared = Some(pair.clone());
        pair
    }

    /// Starts a pair for one scenario.
    pub fn of(source: ClusterSpec, target: ClusterSpec) -> Self {
        let began = Instant::now();
        let (source, target) = now(async { tokio::join!(Cluster::start(source), Cluster::start(target)) });
        let pair = Self { source: Arc::new(source.unwrap()), target: Arc::new(target.unwrap()) };
        println!("clusters up after {:.1?}", began.elapsed());
        pair
    }

    /// Returns a client that sets up and checks the source, around its proxies.
    pub fn at_source(&self) -> TestClient {
        TestClient::new(self.source.internal_bootstrap())
    }

    /// Returns a client that sets up and checks the target, around its proxies.
    pub fn at_target(&self) -> TestClient {
        TestClient::new(self.target.internal_bootstrap())
    }

    /// Writes a configuration with both clusters, by the names `source` and `target`. The source is
    /// read around its proxies.
    #[track_caller]
    pub fn config(&self, links: &str) -> ConfigFolder {
        self.take_names(links);
        folder(&self.source.internal_bootstrap(), "", &self.target.bootstrap(), links)
    }

    /// Writes the same through the source's proxies, and with librdkafka properties for the source.
    #[track_caller]
    pub fn config_by_proxy(&self, source_properties: &str, links: &str) -> ConfigFolder {
        self.take_names(links);
        folder(&self.source.bootstrap(), source_properties, &self.target.bootstrap(), links)
    }

    /// Takes the names of the links, and of their topics, for the running scenario: another one
    /// that used them on the shared target would disturb it.
    #[track_caller]
    fn take_names(&self, links: &str) {
        if !shared().as_ref().is_some_and(|pair| Arc::ptr_eq(&pair.target, &self.target)) {
            return;
        }
        let thread = std::thread::current();
        let scenario = thread.name().unwrap_or_default();
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        for link in links.split("[[links]]").skip(1) {
            let of = |start: &str| link.lines().find_map(|line| line.strip_prefix(start)).unwrap_or_default();
            let (name, source) = (of("name = "), of("source = "));
            let topics =
                of("topics = ").trim_matches(['[', ']']).split(", ").map(|topic| format!("{topic} of {source}"));
            for name in topics.chain([format!("link {name}")]) {
                let owner = taken.entry(name.clone()).or_insert_with(|| scenario.to_owned());
                assert_eq!(owner, scenario, "both use {name} on the shared target");
            }
        }
    }

    /// Returns a link from the source under a name of its own, which begins the names of the copies
    /// too.
    pub fn link_from(&self, source: &str, topics: &[&str], more: &str) -> String {
        let cluster = format!("[clusters.{source}]\nbootstrap_servers = \"{}\"\n\n", self.source.internal_bootstrap());
        cluster + &link_between(source, source, "target", topics, 1, more)
    }

    /// Reports whether the target has this topic.
    pub fn has_target_topic(&self, topic: &str) -> bool {
        self.at_target().topics().unwrap().iter().any(|(name, _)| name == topic)
    }

    /// Waits until the target has this topic.
    #[track_caller]
    pub fn wait_target_topic(&self, topic: &str) {
        wait_until(&format!("topic {topic} on the target"), SOON, || self.has_target_topic(topic).then_some(()));
    }

    /// Returns the keys that a partition of a target topic has, in order.
    pub fn keys(&self, topic: &str, partition: i32) -> Vec<String> {
        keys(&self.at_target().read_records(topic, Isolation::Committed).unwrap(), partition)
    }

    /// Waits until a partition of a target topic has exactly these keys; returns how long it took.
    #[track_caller]
    pub fn wait_keys(&self, topic: &str, partition: i32, wanted: &[String]) -> Duration {
        self.wait_all_keys(topic, &[(partition, wanted)])
    }

    /// Waits for the keys of several partitions, in the time of one.
    #[track_caller]
    pub fn wait_all_keys(&self, topic: &str, wanted: &[(i32, &[String])]) -> Duration {
        let ends = |keys: &[String]| (keys.len(), keys.first().cloned(), keys.last().cloned());
        let began = Instant::now();
        self.wait_target_topic(topic);
        loop {
            let records = self.at_target().read_records(topic, Isolation::Committed).unwrap();
            let other = wanted
                .iter()
                .map(|(partition, wanted)| (*partition, keys(&records, *partition), *wanted))
                .find(|(_, found, wanted)| found != wanted);
            let Some((partition, found, wanted)) = other else { return began.elapsed() };
            assert!(began.elapsed() < SOON, "{topic}-{partition}: {:?}, not {:?}", ends(&found), ends(wanted));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asserts that the target topic is an exact copy of the source topic.
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

fn folder(source: &str, source_properties: &str, target: &str, links: &str) -> ConfigFolder {
    let toml = format!(
        "[clusters.source]\nbootstrap_servers = \"{source}\"\n[clusters.source.kafka]\n{source_properties}\n\
         [clusters.target]\nbootstrap_servers = \"{target}\"\n\n{links}"
    );
    ConfigFolder::new(&toml).unwrap()
}

/// A throttled line to the shared pair's source, for links of [`Pair::config_by_proxy`]. One
/// scenario at a time has it; it is fast again once this is dropped.
pub struct SlowLine {
    source: Arc<Cluster>,
    _only: MutexGuard<'static, ()>,
}

impl SlowLine {
    /// Waits for the line and throttles it.
    pub fn throttle(pair: &Pair, bytes_per_s: u64) -> Self {
        let only = SLOW_LINE.lock().unwrap_or_else(PoisonError::into_inner);
        pair.source.proxy(0).unwrap().throttle(bytes_per_s);
        Self { source: Arc::clone(&pair.source), _only: only }
    }
}

impl Drop for SlowLine {
    fn drop(&mut self) {
        for proxy in self.source.proxies() {
            proxy.heal();
        }
    }
}

/// One broker with the heap that a copy at full speed needs.
pub fn single(name: &str) -> ClusterSpec {
    ClusterSpec { heap_mb: 512, ..ClusterSpec::new(name) }
}

/// Returns the effective settings of a topic.
pub fn settings(client: &TestClient, topic: &str) -> BTreeMap<String, String> {
    let admin: AdminClient<DefaultClientContext> = client.config().create().unwrap();
    let asked = now(admin.describe_configs([&ResourceSpecifier::Topic(topic)], &AdminOptions::new()));
    let entries = asked.unwrap().remove(0).unwrap().entries;
    entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect()
}

/// Runs `Tool.java` with Kafka's own client, for tasks that librdkafka cannot do.
#[track_caller]
pub fn kafka_tool(command: &str, client_bootstrap: &str, arguments: &[String]) {
    kafka_tool_output(command, client_bootstrap, arguments);
}

/// Runs the same, and returns what it prints.
#[track_caller]
pub fn kafka_tool_output(command: &str, client_bootstrap: &str, arguments: &[String]) -> String {
    let jars = KafkaJars::locate().unwrap();
    let classes = TOOL.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tool");
        std::fs::create_dir_all(&folder).unwrap();
        compile_java("Tool.java", &folder);
        folder
    });
    // Behind the jars, or the class archive does not hold.
    let mut class_path = jars.class_path();
    class_path.push(":");
    class_path.push(classes);
    let output = std::process::Command::new("java")
        .args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .args(jars.class_archive_flag())
        .arg("-cp")
        .arg(class_path)
        .args(["Tool", command, client_bootstrap])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Compiles a class of the tests into a folder for the brokers' class path.
#[track_caller]
pub fn compiled_java(file: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    compile_java(file, folder.path());
    folder
}

#[track_caller]
fn compile_java(file: &str, folder: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/acceptance").join(file);
    let mut javac = std::process::Command::new("javac");
    javac.arg("-cp").arg(KafkaJars::locate().unwrap().class_path()).arg("-d").arg(folder).arg(source);
    let output = javac.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
